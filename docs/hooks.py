"""Generate documentation pages from the code: help screens, options of objectives, and method pages.

What is generated here cannot be out of date: the same dataclasses make the flags, the TOML
keys and these tables.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from mkdocs.structure.files import File, Files

from masscli.cli.app import COMMANDS
from masscli.cli.foreign.table import ForeignFlag, programs
from masscli.core.config import OptionInfo, iter_options
from masscli.objectives.registry import OBJECTIVES
from masscli.training.recipe import Recipe

OBJECTIVES_FOLDER = Path(__file__).parents[1] / "masscli" / "objectives"


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages to those in the docs folder."""
    pages = {
        "reference/commands.md": commands_page(),
        "reference/objectives.md": objectives_page(),
        "reference/settings.md": settings_page(),
        "reference/other-toolkits.md": other_toolkits_page(),
        "methods/index.md": methods_page(),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def commands_page() -> str:
    """Return the help screen of each command."""
    parts = ["# Commands\n\nThe help screens, as `masscli COMMAND --help` prints them."]
    for name in COMMANDS:
        parts.append(f"## masscli {name}\n\n```text\n{help_screen(name)}\n```")
    return "\n\n".join(parts) + "\n"


def help_screen(command: str) -> str:
    """Return what `masscli COMMAND --help` prints on a terminal 80 columns wide."""
    from masscli.__main__ import run

    output = io.StringIO()
    with (
        mock.patch.dict("os.environ", {"COLUMNS": "80", "NO_COLOR": "1"}),
        redirect_stdout(output),
    ):
        run([command, "--help"])
    return output.getvalue().rstrip()


def objectives_page() -> str:
    """Return a table of options for each objective and task."""
    parts = [
        "# Objectives and tasks\n\nOptions of an objective are given as flags (`--mask-prob`) where it is "
        "chosen with `--objective` or `--task`, or as keys of `objective` in a stream of a "
        "recipe (`mask_prob`)."
    ]
    for name in OBJECTIVES.builtin_names():
        options = [
            option
            for option in iter_options(OBJECTIVES.load(name))
            if option.key != "name"
        ]
        parts.append(f"## {name}\n\n{options_table(options)}")
    return "\n\n".join(parts) + "\n"


def settings_page() -> str:
    """Return a table of all settings of a run, section by section."""
    sections: dict[str, list[OptionInfo]] = {}
    for option in iter_options(Recipe):
        section, _, _ = option.key.rpartition(".")
        sections.setdefault(section, []).append(option)
    parts = [
        "# Settings of a run\n\nKeys of `recipe.toml`. The flag of a key is its last part: "
        "`optim.lr` is `--lr`. "
        "Any key can be given with `--set KEY=VALUE`."
    ]
    for section, options in sections.items():
        parts.append(f"## {section or 'run'}\n\n{options_table(options)}")
    return "\n\n".join(parts) + "\n"


def options_table(options: list[OptionInfo]) -> str:
    """Return options as a Markdown table."""
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for option in options:
        default = "" if option.default in (None, ()) else f"`{option.default}`"
        # A bar would end the table cell, even inside code.
        kind = option.type.replace("|", ", ")
        cells = [f"`{option.key}`", kind, default, option.help.replace("|", "/")]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def other_toolkits_page() -> str:
    """Return a table with the equivalent of each flag of other toolkits."""
    parts = [
        "# Flags of other toolkits\n\n`masscli convert-command` reads command lines of these programs and "
        "uses this table. See [Migrate from another toolkit](../how-to/other-toolkits.md)."
    ]
    for program in programs().values():
        rows = ["| flag | in masscli |", "|---|---|"]
        rows += [
            f"| `{flag.name}` | {foreign_cell(flag)} |"
            for flag in program.flags.values()
        ]
        defaults = (
            f"Flags for defaults that differ: `{program.defaults}`\n\n"
            if program.defaults
            else ""
        )
        parts.append(
            f"## {program.name}\n\nIn masscli: `masscli {program.command}`. {defaults}\n"
            + "\n".join(rows)
        )
    return "\n\n".join(parts) + "\n"


def foreign_cell(flag: ForeignFlag) -> str:
    """Return the equivalent of a flag as the text of a table cell."""
    if flag.always is not None:
        return f"always: {flag.always}"
    if flag.missing is not None:
        return f"no equivalent: {flag.missing}"
    if not flag.choices:
        return f"`{str(flag.template).replace('{}', 'VALUE')}`"
    cells = []
    for value, flags in flag.choices.items():
        cells.append(f"`{value}`: `{flags}`" if flags else f"`{value}`: nothing")
    return "<br>".join(cells)


def methods_page() -> str:
    """Return one page with the README of every family of objectives."""
    parts = [
        "# Methods\n\nWhat each family of objectives learns, with equations and sources. "
        "These pages are in the repository, in the folders of `masscli/objectives/`."
    ]
    for readme in sorted(OBJECTIVES_FOLDER.glob("*/README.md")):
        text = readme.read_text(encoding="utf-8").strip()
        parts.append(
            "\n".join(
                f"#{line}" if line.startswith("#") else line
                for line in text.split("\n")
            )
        )
    return "\n\n".join(parts) + "\n"

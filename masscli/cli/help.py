"""Help pages: usage, what the command does, a panel for each group of options, examples at the foot.

Typer would draw them with rich, which doubles the time a help screen takes, squeezes the sentences into what four columns leave at 80
characters and reads square brackets as markup.  This knows only texts and widths.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

from typer.core import TyperArgument, TyperOption

NAMES = 30
"""Widest column of option names; longer names get a line of their own."""


def page(command: Any, ctx: Any, commands: Mapping[str, str] | None = None) -> str:
    """The help page of a command, or of the group that has `commands`."""
    width = max(50, min(shutil.get_terminal_size().columns, 110))
    text, _, examples = (command.help or "").partition("\nExamples:\n")
    panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    if commands is not None:
        panels["Commands"] = list(commands.items())
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None:
            name, sentence = record
            own = param.rich_help_panel if isinstance(param, (TyperOption, TyperArgument)) else None
            if isinstance(param, TyperArgument):
                name = name.partition(" <")[0]  # its metavar says enough
            panels.setdefault(
                own or ("Arguments" if isinstance(param, TyperArgument) else "Options"), []
            ).append((name, sentence))
    blocks = [_wrap(command.get_usage(ctx), width), _wrap(text, width)]
    blocks += ["\n".join(_panel(title, rows, width)) for title, rows in panels.items() if rows]
    if examples:
        blocks.append(f"{_bold('Examples')}\n{examples.rstrip()}")
    return "\n\n".join(blocks).replace("╯\n\n╭", "╯\n╭") + "\n"


def _panel(title: str, rows: list[tuple[str, str]], width: int) -> list[str]:
    left = min(NAMES, max(len(name) for name, _ in rows))
    right = width - left - 6
    head = textwrap.shorten(title, width - 6, placeholder="...")
    lines = [f"╭─ {_bold(head)} {'─' * (width - len(head) - 5)}╮"]
    for name, sentence in rows:
        names = textwrap.wrap(name, left, break_long_words=False) if len(name) <= left else []
        if not names:
            lines += [f"│ {_bold(part.ljust(width - 4))} │" for part in textwrap.wrap(name, width - 4)]
        words = textwrap.wrap(" ".join(sentence.split()), right, break_on_hyphens=False) or [""]
        for i, line in enumerate(words):
            start = names[i] if i < len(names) else ""
            lines.append(f"│ {_bold(start.ljust(left))}  {line.ljust(right)} │")
    return [*lines, f"╰{'─' * (width - 2)}╯"]


def _wrap(text: str, width: int) -> str:
    """Fill paragraphs; an indented one is left as it is."""
    paragraphs = text.strip("\n").split("\n\n")
    return "\n\n".join(
        p if p.startswith(" ") else textwrap.fill(" ".join(p.split()), width, break_on_hyphens=False)
        for p in paragraphs
    )


def _bold(text: str) -> str:
    plain = (
        "NO_COLOR" in os.environ
        or os.environ.get("TERM") == "dumb"
        or not sys.stdout.isatty()
        or not text.strip()
    )
    return text if plain else f"\x1b[1m{text}\x1b[0m"

"""Scripts and pages hold commands that the real masscli accepts, and the quickstart runs for real."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from masscli.core.errors import MasscliError
from masscli.metrics import score
from masscli.metrics.config import ScoreConfig
from tests.commands import succeed
from tests.preloaded import Preloaded
from tests.recipes.command_lines import (
    ROOT,
    accept,
    bash,
    fenced_blocks,
    find_calls,
    flags_of,
    known_flags,
    toml_recipes,
)

SCRIPTS = [*sorted(ROOT.glob("recipes/*.sh")), ROOT / "tests/run.sh", ROOT / ".ci/run"]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("recipes/**/*.md")),
]
RECIPES = sorted(path.parent for path in ROOT.glob("recipes/*/README.md"))


def test_calls_are_found_in_scripts() -> None:
    script = 'masscli score a.de --ref "$x/b c" \\\n  --metric bleu,chrf | tee out\n# masscli no\nx=$(masscli generate -s en < f > g)\n'
    assert list(find_calls(script)) == [
        ["score", "a.de", "--ref", "$x/b c", "--metric", "bleu,chrf"],
        ["generate", "-s", "en"],
    ]
    assert flags_of(["score", "-", "--temperature=-1", "-1", "-s"]) == [
        "--temperature",
        "-s",
    ]


def test_a_wrong_flag_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"--nosuch"} == set(
        flags_of(["finetune", "--nosuch", "--lr"])
    ) - known_flags(["finetune"])
    accept(["pretrain", "--objective", "mass", "--k", "0.5"], monkeypatch)
    with pytest.raises(MasscliError, match=r"k: must lie above 0"):
        accept(["pretrain", "--objective", "mass", "--k", "5"], monkeypatch)


@pytest.mark.parametrize(
    "script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_scripts_parse_and_their_flags_exist(script: Path, tmp_path: Path) -> None:
    parsed = bash("-n", script, cwd=tmp_path)
    assert (parsed.returncode, parsed.stderr) == (0, "")
    for call in find_calls(script.read_text(encoding="utf-8")):
        assert set(flags_of(call)) <= known_flags(call), (
            f"{script}: masscli {shlex.join(call)}"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_shell_blocks_of_pages_parse_and_have_known_flags(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    for recipe in toml_recipes(text):
        (tmp_path / "run.toml").write_text(recipe, encoding="utf-8")
    for block in fenced_blocks(text):
        parsed = bash("-n", "-c", block, cwd=tmp_path)
        assert (parsed.returncode, parsed.stderr) == (0, ""), block
        for call in find_calls(block):
            # `masscli --help` and `masscli --version` have no command.
            if not call or not call[0].startswith("-"):
                accept(call, monkeypatch)


@pytest.mark.parametrize("folder", RECIPES, ids=lambda path: path.name)
def test_recipes_can_be_listed_and_their_settings_are_known(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed(["recipe", "list"])
    assert f"{folder.name} " in capsys.readouterr().out
    # The recipe ende has the settings of enfr.
    settings = folder if folder.name != "ende" else folder.parent / "enfr"
    succeed(["recipe", "check", *map(str, sorted(settings.glob("*.toml")))])


def test_quickstart_runs_and_runs_again(tmp_path: Path, preloaded: Preloaded) -> None:
    place = tmp_path / "first contact"
    variables = {
        "QUICKSTART_UPDATES": "3",
        "PATH": f"{preloaded.bin}:{os.environ['PATH']}",
    }
    first = bash(ROOT / "recipes/quickstart.sh", place, cwd=tmp_path, **variables)
    assert first.returncode == 0, first.stderr

    names = ("text/test.en", "text/test.de", "scratch.de", "finetuned.de")
    text = {
        name: (place / name).read_text(encoding="utf-8").split("\n")[:-1]
        for name in names
    }
    assert len({len(lines) for lines in text.values()}) == 1
    table = ""
    for number in range(6):
        source, reference, scratch, finetuned = (text[name][number] for name in names)
        table += f"\nsource        {source}\nreference     {reference}\n"
        table += f"from scratch  {scratch}\nMASS          {finetuned}\n"
    assert first.stdout.startswith(table)
    bleu = {}
    for name in ("scratch.de", "finetuned.de"):
        bleu[name] = round(
            score(text[name], [text["text/test.de"]], ScoreConfig())[0].value, 2
        )
    gain = bleu["finetuned.de"] - bleu["scratch.de"]
    assert first.stdout.endswith(f"\nMASS pre-training: {gain:+.1f} BLEU\n")

    made = {}
    for path in place.rglob("*"):
        if path.name in ("log.jsonl", "finetuned.de", "scratch.de"):
            made[path] = path.stat().st_mtime_ns
    assert len(made) == 5
    again = bash(ROOT / "recipes/quickstart.sh", place, cwd=tmp_path, **variables)
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    assert {path: path.stat().st_mtime_ns for path in made} == made, (
        "what was finished was made again"
    )

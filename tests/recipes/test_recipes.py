"""What is shipped as shell is run: the quickstart for real, the Multi30k recipes with a `masscli` that only writes down how it was called.

Every command line, and those of README.md, must be one that the real commands accept.
"""

from __future__ import annotations

import functools
import gzip
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from masscli.cli.app import COMMANDS, build_command, module_of
from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.metrics import score
from masscli.metrics.config import ScoreConfig
from masscli.objectives.registry import OBJECTIVES
from masscli.training.recipe import Recipe
from masscli.training.setup.request import TrainRequest

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted(ROOT.glob("recipes/**/*.sh")), ROOT / "tests/run.sh", ROOT / ".ci/run"]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("recipes/**/*.md"))]
SEPARATORS = re.compile(r"[|;&<>()]+")
INTRODUCTIONS = {"", "run", "-m", "then", "else", "do", "{", "!", "$", "time"}
"""What may stand before the name of a command, besides separators; $ is the prompt, -m that of `torchrun -m masscli`."""


# -- reading command lines -----------------------------------------------------------------------------------------------------------


def fenced(page: str) -> list[str]:
    """The bash blocks of a Markdown page."""
    return re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def recipes(page: str) -> list[str]:
    """The TOML blocks of a Markdown page that are recipes; its commands call the last one run.toml."""
    return [b for b in re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if "[stream." in b]


def calls(script: str) -> Iterator[list[str]]:
    """What follows `masscli` in each simple command of a script, with variables as they stand."""
    for line in script.replace("\\\n", " ").split("\n"):
        if "masscli" not in line or line.lstrip().startswith("#"):
            continue
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        call: list[str] | None = None
        before = ""
        for word in words:
            if SEPARATORS.fullmatch(word):
                if call is not None:
                    yield call
                call = None
            elif call is not None:
                call.append(word)
            elif word == "masscli" and (before in INTRODUCTIONS or SEPARATORS.fullmatch(before)):
                call = []
            before = word
        if call is not None:
            yield call


def flags(call: Sequence[str]) -> list[str]:
    """The flags of a call: all that begins with a dash and is neither a number, nor the dash of standard input."""
    return [word.partition("=")[0] for word in call if re.match(r"--?[A-Za-z]", word)]


def known(call: Sequence[str]) -> set[str]:
    """The flags that the real command of a call takes."""
    command = build_command(call[0], call[1:])
    return {"--help", *(name for param in command.params for name in (*param.opts, *param.secondary_opts))}


def accept(call: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse and decode a call as the real command does, without running it.  Whatever is wrong is raised."""
    assert call[0] in COMMANDS, f"there is no command {call[0]}"
    module = importlib.import_module(module_of(call[0]))
    with monkeypatch.context() as patch:
        patch.setattr(module, "run", functools.wraps(module.run)(_decode))
        command = build_command(call[0], call[1:])
        command.invoke(command.make_context(call[0], list(call[1:])))


def _decode(**given: object) -> None:
    """In the place of a command: what is decoded before it runs has been; a training request decodes the rest of it later."""
    for request in given.values():
        if isinstance(request, TrainRequest):
            from_dict(Recipe, request.recipe_options)
            if request.objective is not None:
                from_dict(
                    OBJECTIVES.load(request.objective),
                    {"name": request.objective, **request.options_for(request.objective)},
                )


def test_calls_are_found_in_scripts() -> None:
    script = 'run masscli score a.de --ref "$x/b c" \\\n  --metric bleu,chrf | tee out\n# masscli no\nx=$(masscli generate -s en < f > g)\n'
    assert list(calls(script)) == [
        ["score", "a.de", "--ref", "$x/b c", "--metric", "bleu,chrf"],
        ["generate", "-s", "en"],
    ]
    assert flags(["score", "-", "--temperature=-1", "-1", "-s"]) == ["--temperature", "-s"]


def test_a_wrong_flag_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"--nosuch"} == set(flags(["finetune", "--nosuch", "--lr"])) - known(["finetune"])
    accept(["pretrain", "--objective", "mass", "--k", "0.5"], monkeypatch)
    with pytest.raises(MasscliError, match=r"k: must lie above 0"):
        accept(["pretrain", "--objective", "mass", "--k", "5"], monkeypatch)


# -- scripts and pages ---------------------------------------------------------------------------------------------------------------


def bash(*args: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run bash with the commands of this interpreter's environment in front, and without its standard input."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    own = {
        **os.environ,
        "PATH": path,
        "MASSCLI_NO_VENV": "1",
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
        **environment,
    }
    return subprocess.run(
        ["bash", *map(str, args)], cwd=cwd, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_scripts_parse_and_their_flags_exist(script: Path, tmp_path: Path) -> None:
    parsed = bash("-n", script, cwd=tmp_path)
    assert (parsed.returncode, parsed.stderr) == (0, "")
    for call in calls(script.read_text(encoding="utf-8")):
        assert set(flags(call)) <= known(call), f"{script}: masscli {shlex.join(call)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_blocks_of_pages_parse_and_are_accepted(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for recipe in recipes(page.read_text(encoding="utf-8")):
        (tmp_path / "run.toml").write_text(recipe, encoding="utf-8")
    for block in fenced(page.read_text(encoding="utf-8")):
        parsed = bash("-n", "-c", block, cwd=tmp_path)
        assert (parsed.returncode, parsed.stderr) == (0, ""), block
        for call in calls(block):
            if call and call[0].startswith("-"):
                continue  # masscli --help, masscli --version
            accept(call, monkeypatch)


# -- the Multi30k recipes, written down ----------------------------------------------------------------------------------------------

STUB = """#!/usr/bin/env bash
printf '%s\\0' "$@" >> "$CALLS"
printf '\\n' >> "$CALLS"
[ "$1" != score ] || echo "multi-bleu = $((10 + $(wc -l < "$CALLS"))).50  signature"
"""


def stubbed(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Put a script in the place of masscli; where it writes its calls down, each ended by a newline, words by NUL."""
    stub = folder / "bin" / "masscli"
    stub.parent.mkdir()
    stub.write_text(script)
    stub.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stub.parent / "python"))  # `bash` puts its folder in front
    return folder / "calls"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stub writes its calls down."""
    return stubbed(tmp_path, monkeypatch, STUB)


def recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The calls written down, each of them accepted by the real command."""
    found = [line.split("\0")[:-1] for line in path.read_text().split("\n")[:-1]]
    for call in found:
        accept(call, monkeypatch)
    return found


def value(call: Sequence[str], flag: str) -> str:
    return call[call.index(flag) + 1]


def test_multi30k_passes_its_settings_on(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = bash(
        ROOT / "recipes/multi30k/run.sh",
        "m30k",
        "en-fr",
        "out",
        cwd=tmp_path,
        CALLS=str(written),
        UPDATES="70",
        TEXT="--moses",
    )
    assert done.returncode == 0, done.stderr
    found = recorded(written, monkeypatch)
    assert [call[0] for call in found] == ["preprocess", "finetune", "average", "generate", "score"]
    preprocess, finetune, average, generate, scored = found
    assert (value(preprocess, "--langs"), value(preprocess, "--testpref")) == ("en,fr", "m30k/test2016")
    assert "--moses" in preprocess and "--lowercase" not in preprocess
    published = {
        "--dropout": "0.3",
        "--lr": "0.005",
        "--warmup-updates": "2000",
        "--label-smoothing": "0.1",
        "--max-tokens": "4096",
    }
    assert {flag: value(finetune, flag) for flag in published} == published
    assert (value(finetune, "--max-update"), value(finetune, "-s"), value(finetune, "-t")) == (
        "70",
        "en",
        "fr",
    )
    assert (
        average[1] == value(finetune, "--save-dir")
        and value(average, "--last") == value(finetune, "--keep-interval-updates") == "10"
    )
    assert generate[1] == value(average, "--output") and value(generate, "--beam") == "5"
    assert (
        scored[1] == value(generate, "--output")
        and value(scored, "--ref") == "m30k/test2016.fr"
        and value(scored, "--lang") == "fr"
    )
    assert "$ masscli preprocess --langs en,fr --trainpref m30k/train" in done.stderr


def test_lowres_compares_like_with_like_and_goes_on(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "novels").mkdir()
    for language in ("en", "de"):
        lines = "".join(f"{language} {n}\n" for n in range(9))
        (tmp_path / f"novels/{language}.txt.gz").write_bytes(gzip.compress(lines.encode()))
    small = {"CALLS": str(written), "SIZES": "10 20", "SEEDS": "1 2", "NOVEL_LINES": "4", "UPDATES": "30"}
    done = bash(ROOT / "recipes/multi30k/lowres.sh", "m30k", "novels", "out", cwd=tmp_path, **small)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/novels.de").read_text() == "de 0\nde 1\nde 2\nde 3\n"
    found = recorded(written, monkeypatch)
    assert [call[0] for call in found] == ["preprocess"] * 2 + ["dictionary"] + ["pretrain"] * 2 + [
        "finetune",
        "generate",
        "score",
    ] * 12
    assert value(found[2], "--max-examples") == "1000" and value(found[3], "--switch-dictionary") == value(
        found[2], "--output"
    )
    everything, novels = found[:2]
    assert "--no-pairs-as-mono" in novels and "--no-pairs-as-mono" not in everything
    assert value(novels, "--spm-model") == f"{value(everything, '--destdir')}/vocab.model"
    tuned = [call for call in found if call[0] == "finetune"]
    starts = {("scratch", ""): 4, ("mass", "out/mass"): 4, ("novels", "out/novels"): 4}
    methods = [
        (
            Path(value(c, "--save-dir")).name.split("-")[0],
            value(c, "--init-from") if "--init-from" in c else "",
        )
        for c in tuned
    ]
    assert {method: methods.count(method) for method in methods} == starts
    own = {"--init-from", "--arch", "--languages", "--max-examples", "--seed", "--save-dir"}
    settings = {tuple(sorted((f, value(c, f)) for f in flags(c) if f not in own)) for c in tuned}
    assert len(settings) == 1
    head, *rows = [row.split() for row in done.stdout.split("\n") if row]
    assert head == ["pairs", "scratch", "mass", "novels"] and [row[0] for row in rows] == ["10", "20"]
    # The stub's scores are 10.5 plus the number of calls so far: 18.5 and 21.5 from scratch, then 24.5 and 27.5, 30.5 and 33.5.
    assert rows[0][1:] == ["20.0+-2.1", "26.0+-2.1", "32.0+-2.1"]
    (tmp_path / "out/mass-20-2.bleu").unlink()
    written.unlink()
    again = bash(ROOT / "recipes/multi30k/lowres.sh", "m30k", "novels", "out", cwd=tmp_path, **small)
    assert again.returncode == 0, again.stderr
    assert [call[0] for call in recorded(written, monkeypatch)][5:] == ["finetune", "generate", "score"]


# -- the quickstart, for real --------------------------------------------------------------------------------------------------------


def test_quickstart_runs_and_runs_again(tmp_path: Path) -> None:
    place = tmp_path / "first contact"
    first = bash(ROOT / "recipes/quickstart.sh", place, cwd=tmp_path, QUICKSTART_UPDATES="3")
    assert first.returncode == 0, first.stderr

    text = {name: (place / name).read_text(encoding="utf-8").split("\n")[:-1] for name in
            ("text/test.en", "text/test.de", "scratch.de", "finetuned.de")}  # fmt: skip
    assert len({len(lines) for lines in text.values()}) == 1
    table = "".join(
        f"\nsource        {text['text/test.en'][n]}\nreference     {text['text/test.de'][n]}\n"
        f"from scratch  {text['scratch.de'][n]}\nMASS          {text['finetuned.de'][n]}\n"
        for n in range(6)
    )  # fmt: skip
    assert first.stdout.startswith(table)
    bleu = {
        name: round(score(text[name], [text["text/test.de"]], ScoreConfig())[0].value, 2)
        for name in ("scratch.de", "finetuned.de")
    }
    assert first.stdout.endswith(
        f"\nMASS pre-training: {bleu['finetuned.de'] - bleu['scratch.de']:+.1f} BLEU\n"
    )

    made = {
        path: path.stat().st_mtime_ns
        for path in place.rglob("*")
        if path.name in ("log.jsonl", "finetuned.de", "scratch.de")
    }
    assert len(made) == 5
    again = bash(ROOT / "recipes/quickstart.sh", place, cwd=tmp_path, QUICKSTART_UPDATES="3")
    assert (again.returncode, again.stdout) == (0, first.stdout), again.stderr
    assert {path: path.stat().st_mtime_ns for path in made} == made, "what was finished was made again"

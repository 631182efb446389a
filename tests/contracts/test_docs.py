"""Every shell block of the README and of the documentation runs as it stands, on small data and for three updates.

A block marked `bash` is run; one marked `console` shows a command that a test cannot run (installations, GPUs, hours) or its output.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.preloaded import Preloaded

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BASH = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
TOML = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)

SHORT = """#!/usr/bin/env bash
# masscli with less to do: a small vocabulary and three updates. Everything else is as typed.
words=("$@")
for i in "${!words[@]}"; do
    case ${words[i]} in
        --vocab-size) words[i + 1]=300 ;;
        --max-update) words[i + 1]=3 ;;
    esac
done
case " ${words[*]} " in
    *" --max-update "*) ;;
    *" pretrain "* | *" finetune "*) words+=(--max-update 3) ;;
esac
case " ${words[*]} " in
    *" --vocab-size "* | *" --spm-model "* | *" --extend "*) ;;
    *" preprocess "*) words+=(--vocab-size 300) ;;
esac
exec $MASSCLI "${words[@]}"
"""

PAIRS = "--langs en,de --trainpref multi30k/train --validpref multi30k/valid --testpref multi30k/test2016"
SMALL_FILES = f"PYTHONPATH={ROOT}:${{PYTHONPATH:-}} {sys.executable} -m tests.peers.small_files . multi30k/*.en multi30k/*.de"
"""Writes files in the formats of other programs; see tests/peers/small_files.py."""
BEFORE = {
    "how-to/mass-checkpoints.md": SMALL_FILES,
    "how-to/fairseq-checkpoints.md": SMALL_FILES,
    "how-to/add-a-language.md": f"""
        masscli preprocess {PAIRS}
        masscli finetune --task translate -s en -t de --save-dir runs/ende
        mkdir rosts
        for split in train valid; do
            cp multi30k/$split.en rosts/$split.en
            sed 's/a/ă/g; s/ch/ș/g' multi30k/$split.de > rosts/$split.ro
        done
    """,
    "how-to/control-a-run.md": f"masscli preprocess {PAIRS}",
    "how-to/deploy.md": f"""
        masscli preprocess {PAIRS}
        masscli finetune --task translate -s en -t de --save-dir runs/ende
        cp multi30k/test2016.en test.en
    """,
    "how-to/several-streams.md": f"masscli preprocess {PAIRS}",
    "how-to/labeled-data.md": """
        mkdir headlines
        for split in train valid test; do
            cp multi30k/train.en headlines/$split.src
            cp multi30k/valid.en headlines/$split.tgt
        done
    """,
    "how-to/filter-and-mine.md": f"""
        masscli preprocess {PAIRS}
        cp multi30k/train.en web.en
        cp multi30k/train.de web.de
        sed 's/[aeiou]/é/g' multi30k/train.de > web.fr
        gzip -dc novels/en.txt.gz > novels.en
        gzip -dc novels/de.txt.gz > novels.de
    """,
    "how-to/watch-and-compare.md": f"""
        masscli preprocess {PAIRS}
        masscli finetune --task translate -s en -t de --save-dir runs/ende
        cp -r runs/ende runs/candidate
        cp -r runs/ende runs/deployed
        cp multi30k/test2016.en test.en
        cp multi30k/test2016.de test.de
    """,
    "how-to/serve.md": f"""
        masscli preprocess {PAIRS}
        masscli finetune --task translate -s en -t de --save-dir runs/ende
    """,
    "how-to/generate-and-score.md": f"""
        masscli preprocess {PAIRS}
        masscli finetune --task translate -s en -t de --save-dir runs/ende
        cp multi30k/test2016.en test.en
        cp multi30k/test2016.de test.de
        cp test.de scratch.de
    """,
}
"""What has to be there before the blocks of a page can run."""

PYTHON_PAGE = "how-to/python.md"
"""Its Python blocks are run, one after another, as one program."""
BEFORE_PYTHON = f"""
    masscli preprocess {PAIRS} --tsv train=sst2/train.tsv --tsv valid=sst2/valid.tsv
    masscli finetune --task translate -s en -t de --save-dir runs/ende
    masscli pretrain --objective gpt --langs en --save-dir runs/gpt
    masscli finetune --task classify --save-dir runs/classify
"""

INSTEAD = {" --from text": "", " --vectors vectors": ""}
"""The sample text is too small to align two languages without pairs, so a dictionary of its pairs stands in."""


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preloaded: Preloaded
) -> Path:
    """A folder with small corpora under the names that the documentation uses, and a `masscli` that trains for three updates."""
    monkeypatch.setenv("MASSCLI", str(preloaded.program))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "masscli").write_text(SHORT)
    (tmp_path / "bin" / "masscli").chmod(0o755)
    for folder in ("multi30k", "novels", "sst2", "squad"):
        (tmp_path / folder).mkdir()
    run("masscli demo text", tmp_path)
    for language in ("en", "de"):
        for name, split in (
            ("train", "train"),
            ("valid", "valid"),
            ("test", "test2016"),
        ):
            lines = (
                (tmp_path / f"text/{name}.{language}")
                .read_text(encoding="utf-8")
                .split("\n")[:60]
            )
            (tmp_path / f"multi30k/{split}.{language}").write_text(
                "\n".join(lines) + "\n", encoding="utf-8"
            )
        mono = (tmp_path / f"text/mono.{language}.txt").read_bytes().split(b"\n")[:200]
        (tmp_path / f"novels/{language}.txt.gz").write_bytes(
            gzip.compress(b"\n".join(mono) + b"\n")
        )
        words = sorted(
            set(
                (tmp_path / f"multi30k/train.{language}")
                .read_text(encoding="utf-8")
                .split()
            )
        )
        vectors = "".join(f"{word} {' '.join(['0.5'] * 128)}\n" for word in words)
        (tmp_path / f"vectors.{language}").write_text(vectors, encoding="utf-8")
    write_labeled(tmp_path)
    return tmp_path


def write_labeled(folder: Path) -> None:
    """Write sentences with labels and questions with answers, made from the sample text."""
    lines = (folder / "multi30k/train.en").read_text(encoding="utf-8").split("\n")[:40]
    rows = "".join(f"{number % 2}\t{line}\n" for number, line in enumerate(lines))
    for split in ("train", "valid", "test"):
        (folder / f"sst2/{split}.tsv").write_text(
            "label\tsentence\n" + rows, encoding="utf-8"
        )
    questions = []
    for number, line in enumerate(lines):
        word = line.split()[0]
        answers = [{"text": word, "answer_start": 0}] if number % 2 else []
        question = {
            "id": str(number),
            "question": "who?",
            "answers": answers,
            "is_impossible": not answers,
        }
        questions.append({"context": line, "qas": [question]})
    for split in ("train", "dev"):
        data = {"version": "v2.0", "data": [{"title": "", "paragraphs": questions}]}
        (folder / f"squad/{split}.json").write_text(json.dumps(data), encoding="utf-8")


def run(script: str, folder: Path) -> str:
    """Run a script and return what it prints; the test fails with its messages if it fails."""
    result = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_the_tour_of_the_readme(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts the real program for each command, as a user does; the other pages use one that is preloaded."""
    monkeypatch.setenv("MASSCLI", f"{sys.executable} -m masscli")
    tour, bare = BASH.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert re.search(
        r"^BLEU += [\d.]+ .*\n^chrF2 = [\d.]+", run(tour, place), re.MULTILINE
    )
    assert (place / "hyp.de").read_text(encoding="utf-8").count("\n") == 60
    # The second block needs a data folder at its default place.
    (place / "data-bin/m30k").rename(place / "shards")
    (place / "data-bin").rmdir()
    (place / "shards").rename(place / "data-bin")
    assert run(bare, place).count("\n") == 60


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES[1:] if BASH.search(page.read_text(encoding="utf-8"))],
    ids=lambda page: str(page.relative_to(ROOT / "docs")),
)
def test_the_blocks_of_a_page(page: Path, place: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for number, block in enumerate(TOML.findall(text)):
        (place / ("run.toml" if number == 0 else f"run{number}.toml")).write_text(
            block, encoding="utf-8"
        )
    script = BEFORE.get(str(page.relative_to(ROOT / "docs")), "") + "\n"
    script += "\n".join(BASH.findall(text))
    for typed, run_instead in INSTEAD.items():
        script = script.replace(typed, run_instead)
    if "runs/a runs/b" in script:
        script = script.replace("runs/a runs/b", "runs/ende runs/ende")
    run(script, place)


def test_the_program_of_the_python_page(place: Path) -> None:
    """It prints translations, scores, labels and events, and warns of nothing."""
    blocks = PYTHON.findall((ROOT / "docs" / PYTHON_PAGE).read_text(encoding="utf-8"))
    assert len(blocks) == 5
    # Examples of a user follow the steps before them, as in a session.
    (place / "program.py").write_text("".join(blocks), encoding="utf-8")
    run(BEFORE_PYTHON, place)
    printed = run(f"{sys.executable} -W error program.py", place)
    for expected in ("'</s>'", "{'0': ", "Stepped(step=", "Finished(step=3"):
        assert expected in printed


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Links, anchors and references to Python objects lead somewhere (extra `docs`)."""
    pytest.importorskip("material", reason="needs the extra masscli[docs]")
    command = [
        sys.executable,
        *"-m mkdocs build --strict --quiet --site-dir".split(),
        tmp_path / "site",
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "site/reference/commands/index.html").read_text(encoding="utf-8")
    assert "Usage: masscli pretrain" in page

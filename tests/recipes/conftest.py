"""A folder with tiny corpora under the names that the recipes read, and a `masscli` that only writes down how it was called."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest

MASSCLI = """#!/usr/bin/env bash
printf '%s\\0' "$@" >> "$CALLS"
printf '\\n' >> "$CALLS"
command=$1 source=$2 target=$3
while [ $# -gt 1 ]; do
    case $1 in
        -s) from=$2 ;;
        -t) to=$2 ;;
        --output | --append)
            mkdir -p "$(dirname "$2")"
            case $command in
                filter) cp "$source" "$2.$from"; cp "$target" "$2.$to" ;;
                average) mkdir -p "$2" ;;
                *) echo x > "$2" ;;
            esac ;;
        --save-dir) mkdir -p "$2"; [ -e "$2/log.jsonl" ] || echo x > "$2/log.jsonl" ;;
        --destdir) mkdir -p "$2" ;;
    esac
    shift
done
"""
TORCHRUN = """#!/usr/bin/env bash
while [ "$1" != masscli ]; do shift; done
exec "$@"
"""
SACREBLEU = """#!/usr/bin/env bash
echo "$*"
"""
CURL = """#!/usr/bin/env bash
# Stand in for the servers: --output FILE URL, from a folder whose files have the names of the addresses.
while [ $# -gt 1 ]; do
    if [ "$1" = --output ]; then target=$2; fi
    shift
done
exec cp "$SERVERS/$(basename "$1")" "$target"
"""
PYTHON = f"""#!/usr/bin/env bash
# Stand in for the script that writes the text of the recipe onset: SCRIPT CORPORA TEXT.
case $1 in
    */shifted_english.py) mkdir -p "$3"; touch "$3/vocab.txt" ;;
    *) exec {sys.executable} "$@" ;;
esac
"""
LANGUAGES = ("en", "fr", "de", "ro")


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put scripts in the place of masscli and of the programs that download; return where calls are written down."""
    folder = tmp_path / "bin"
    folder.mkdir()
    programs = {
        "masscli": MASSCLI,
        "torchrun": TORCHRUN,
        "sacrebleu": SACREBLEU,
        "curl": CURL,
        "python3": PYTHON,
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    # `bash` puts the folder of the interpreter in front.
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return tmp_path / "calls"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """A folder with every corpus that a recipe reads; training texts have eight lines, novels nine."""
    folder = tmp_path / "corpora"
    for corpus, splits in (
        ("multi30k", ("train", "valid", "test2016")),
        ("rosts", ("train", "valid")),
    ):
        for split in splits:
            count = 8 if split == "train" else 1002
            for language in LANGUAGES:
                lines = [
                    f"{language} {split} {number}\n" for number in range(1, count + 1)
                ]
                write(folder / corpus / f"{split}.{language}", "".join(lines))
    (folder / "novels").mkdir()
    for language in LANGUAGES:
        lines = [f"{language} novel {number}\n" for number in range(9)]
        (folder / f"novels/{language}.txt.gz").write_bytes(
            gzip.compress("".join(lines).encode())
        )
    for split in ("train", "valid"):
        write(
            folder / f"dialogue/{split}.en.txt",
            f"{split} hello\thow are you ?\tfine\nyes\tno\n",
        )
        write(folder / f"headlines/{split}.src", f"{split} one\n{split} two\n")
        write(folder / f"headlines/{split}.tgt", "a\nb\n")
    return folder

"""Where weights are from, and their license, stays with them: import, fine-tuning, export, import again."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.attribution import MAX_LENGTH, read_attribution
from tests.commands import succeed
from tests.published_seq2seq import LINES, make_seq2seq

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")
CARD = "---\nlanguage:\n- en\nlicense: cc-by-4.0\nbase_model: some/one\n---\n# A model\nlicense: none of it\n"


def test_attribution_survives_import_fine_tuning_and_export(tmp_path: Path) -> None:
    make_seq2seq("marian", tmp_path / "opus")
    (tmp_path / "opus" / "README.md").write_text(CARD, encoding="utf-8")
    run = str(tmp_path / "run")
    succeed(["import", str(tmp_path / "opus"), "--langs", "en,de", "--output", run])
    line = "folder opus, license cc-by-4.0, base_model some/one"
    assert Checkpoint.open(tmp_path / "run").state.attribution == (line,)

    for language, lines in (("en", LINES), ("de", [text.upper() for text in LINES])):
        for split in ("train", "valid"):
            (tmp_path / f"{split}.{language}").write_text(
                "".join(f"{text}\n" for text in lines), encoding="utf-8"
            )
    data, tuned = str(tmp_path / "data"), str(tmp_path / "tuned")
    prefixes = [
        "--trainpref",
        str(tmp_path / "train"),
        "--validpref",
        str(tmp_path / "valid"),
    ]
    succeed(
        [
            *f"preprocess --spm-model {run} --langs en,de".split(),
            *prefixes,
            "--destdir",
            data,
        ]
    )
    task = [
        *"--task translate -s en -t de --init-from".split(),
        run,
        "--max-update",
        "2",
        "--num-workers",
        "0",
    ]
    succeed(["finetune", data, *task, "--precision", "fp32", "--save-dir", tuned])
    for to in ("huggingface", "safetensors"):
        succeed(["export", tuned, "--to", to, "--output", str(tmp_path / to)])
        assert f"- {line}\n" in (tmp_path / to / "NOTICE").read_text(encoding="utf-8")
    # What was imported before comes first.
    assert read_attribution(tmp_path / "huggingface", {}) == (
        line,
        "folder huggingface",
    )


def test_a_card_cannot_write_lines_or_escapes_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(
        b"---\nlicense: a\x1b[31m\tb" + b"c" * 999 + b"\n---\n\xff"
    )
    (line,) = read_attribution(tmp_path, {"_name_or_path": "x\ny"})
    assert line.isprintable() and len(line) < 2 * MAX_LENGTH and "name x y" in line
    assert read_attribution(tmp_path / "nothing", {"_name_or_path": 5}) == (
        "folder nothing",
    )


def test_a_run_of_its_own_has_no_notice(toy: Path, tmp_path: Path) -> None:
    from tests.translators import random_translator

    run = random_translator("default", toy, tmp_path / "run")
    succeed(f"export {run.path} --to safetensors --output {tmp_path}/out")
    assert not (tmp_path / "out" / "NOTICE").exists()

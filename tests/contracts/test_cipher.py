"""The proof that translation without pairs works: languages that a cipher turns into each other, learned from monolingual text alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from masscli.metrics import bleu
from tests.cipher import Cipher
from tests.commands import succeed

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")


def learn(
    folder: Path,
    cipher: Cipher,
    lines: int,
    vocabulary: int,
    pretrain: int,
    backtranslate: int,
    *model: str,
) -> list[dict[str, float]]:
    """The real commands, from text to BLEU in both directions at each validation; valid is parallel, training text is not."""
    cipher.write(folder, lines, 200)
    data = str(folder / "data")
    mono = [
        word
        for language in ("aa", "bb")
        for word in ("--mono", f"{language}={folder / f'mono.{language}'}")
    ]
    succeed(["preprocess", "--langs", "aa,bb", *mono, "--validpref", str(folder / "valid"), "--dedup", "--drop-held-out",
                    "--vocab-size", str(vocabulary), "--destdir", data])  # fmt: skip
    common = [
        "--arch",
        "tiny",
        *model,
        *"--max-tokens 2000 --precision fp32 --num-workers 0".split(),
    ]
    succeed(["pretrain", data, "--objective", "mass", "--auxiliary", "denoise", "--languages", "tag", *common, "--lr", "0.003",
                    "--warmup-updates", "100", "--max-update", str(pretrain), "--save-dir", str(folder / "mass")])  # fmt: skip
    fade = f"denoise=0:1,{backtranslate // 2}:0.1,{backtranslate}:0"
    succeed(["finetune", data, "--task", "backtranslate", "--langs", "aa,bb", "--init-from", str(folder / "mass"), *common,
                    "--min-piece-count", "2", "--auxiliary", fade, "--lr", "0.002", "--warmup-updates", "50", "--lr-scheduler", "linear",
                    "--max-update", str(backtranslate), "--validate-interval-updates", str(max(1, backtranslate // 4)),
                    "--eval-bleu", "--eval-beam", "1", "--eval-roundtrip", "--best-metric", "roundtrip",
                    "--save-dir", str(folder / "bt")])  # fmt: skip
    log = [
        json.loads(line)
        for line in (folder / "bt/log.jsonl").read_text(encoding="utf-8").split("\n")
        if line
    ]
    return [event["metrics"] for event in log if event["event"] == "evaluated"]


def test_a_small_cipher_is_broken(tmp_path: Path) -> None:
    """After half a minute BLEU is far above that of a copy of the source in both directions, and above that at the
    start."""
    small = (
        "--dim",
        "48",
        "--ffn-dim",
        "96",
        "--encoder-layers",
        "1",
        "--decoder-layers",
        "1",
        "--heads",
        "4",
    )
    found = learn(tmp_path, Cipher(9, 3), 2000, 140, 300, 200, *small)
    text = {
        language: (tmp_path / f"valid.{language}")
        .read_text(encoding="utf-8")
        .split("\n")[:-1]
        for language in ("aa", "bb")
    }
    for source, target in (("aa", "bb"), ("bb", "aa")):
        before = tmp_path / f"before.{target}"
        succeed(["generate", str(tmp_path / "mass"), "-s", source, "-t", target, "--beam", "1", "--input",
                        str(tmp_path / f"valid.{source}"), "--output", str(before)])  # fmt: skip
        written = before.read_text(encoding="utf-8").split("\n")[:-1]
        others = (
            bleu(text[source], text[target]).value,
            bleu(written, text[target]).value,
        )
        assert found[-1][f"bleu.{source}-{target}"] > max(others) + 10


@pytest.mark.slow
def test_a_cipher_is_broken(tmp_path: Path) -> None:
    """This takes some four minutes of a CPU."""
    shape = (
        "--dim",
        "64",
        "--ffn-dim",
        "128",
        "--encoder-layers",
        "2",
        "--decoder-layers",
        "2",
    )
    found = learn(tmp_path, Cipher(18, 6), 5000, 190, 1200, 800, *shape)
    assert min(found[-1]["bleu.aa-bb"], found[-1]["bleu.bb-aa"]) > 90

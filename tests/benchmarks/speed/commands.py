"""Whole commands beside what they are made of: preprocessing, scoring, and the first line of a cold start."""

from __future__ import annotations

import os
import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.speed.measure import Contestant, Row, Value, seconds_of
from tests.benchmarks.speed.pretraining import SYLLABLES

MASSCLI = [sys.executable, "-m", "masscli"]
SENTENCEPIECE_ALONE = """
import sys, numpy, sentencepiece
model = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
with open(sys.argv[2], encoding="utf-8") as lines, open(sys.argv[3], "wb") as output:
    while chunk := lines.readlines(1 << 24):
        for ids in model.encode([line.rstrip("\\n") for line in chunk], num_threads=2):
            output.write(numpy.array(ids, dtype=numpy.uint16).tobytes())
"""


def keep_compiled_modules(folder: Path) -> None:
    """Let the Python programs that are started keep their compiled modules in `folder`, as a user's do."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "pycache")


def write_sentences(path: Path, lines: int, seed: int) -> None:
    """Write lines of 10 to 30 words, whose frequencies fall as in real text (Zipf)."""
    draw = random.Random(seed)
    words = [
        "".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(20_000)
    ]
    weights = [1 / (rank + 10) for rank in range(len(words))]
    drawn = iter(draw.choices(words, weights, k=30 * lines))
    text = [
        " ".join(next(drawn) for _ in range(draw.randint(10, 30))) for _ in range(lines)
    ]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")


def preprocess_row(megabytes: int) -> Row:
    """Return the row of preprocessing with a given vocabulary and two workers, in megabytes of text a second."""
    held = ExitStack()
    folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
    keep_compiled_modules(folder)
    text = folder / "text.en"
    write_sentences(text, 8_000 * megabytes, 1)
    size = text.stat().st_size / 1e6
    sample = folder / "sample.en"
    write_sentences(sample, 20_000, 1)
    learn = f"preprocess --mono en={sample} --vocab-size 8000 --destdir {folder}/first"
    seconds_of([*MASSCLI, *learn.split()])
    vocabulary = folder / "first" / "vocab.model"

    def rate_of(command: list[str]) -> Value:
        taken = seconds_of(command)
        return Value(size / taken.wall, size / taken.cpu)

    def masscli(seconds: float) -> Value:
        with tempfile.TemporaryDirectory(dir=folder) as data:
            command = f"preprocess --mono en={text} --spm-model {vocabulary} --workers 2 --destdir {data}/data"
            return rate_of([*MASSCLI, *command.split()])

    def sentencepiece(seconds: float) -> Value:
        arguments = [str(vocabulary), str(text), str(folder / "ids")]
        return rate_of([sys.executable, "-c", SENTENCEPIECE_ALONE, *arguments])

    contestants = [
        Contestant("masscli", masscli, held.close),
        Contestant("SentencePiece", sentencepiece),
    ]
    return Row("preprocess, 2 workers", "MB/s", contestants)


def score_row() -> Row:
    """Return the row of scoring 100,000 lines, in seconds of the whole command."""
    held = ExitStack()
    folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
    keep_compiled_modules(folder)
    write_sentences(folder / "ref", 100_000, 1)
    reference = (folder / "ref").read_text(encoding="utf-8").split("\n")
    # Every other word of the output is that of the reference, as in a fair translation.
    words = [line.split() for line in reference]
    kept = [
        " ".join(word if i % 2 else "ba" for i, word in enumerate(line))
        for line in words
    ]
    (folder / "hyp").write_text("\n".join(kept), encoding="utf-8")
    hypothesis, reference_path = str(folder / "hyp"), str(folder / "ref")

    def masscli(seconds: float) -> Value:
        return seconds_of(
            [*MASSCLI, "score", hypothesis, "--ref", reference_path, "--metric", "bleu"]
        )

    def sacrebleu(seconds: float) -> Value:
        return seconds_of(
            [
                sys.executable,
                "-m",
                "sacrebleu",
                reference_path,
                "-i",
                hypothesis,
                "-m",
                "bleu",
            ]
        )

    contestants = [
        Contestant("masscli", masscli, held.close),
        Contestant("sacreBLEU", sacrebleu),
    ]
    return Row(
        "score 100,000 lines, BLEU", "seconds", contestants, lower_is_better=True
    )


def cold_start_row() -> Row:
    """Return the row of one line through a tiny model from a cold start, beside the import of torch alone."""
    held = ExitStack()
    folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
    keep_compiled_modules(folder)
    for split, lines in (("train", 2_000), ("valid", 20)):
        for number, language in enumerate(("en", "de")):
            write_sentences(folder / f"{split}.{language}", lines, number)
    data, run = folder / "data", folder / "run"
    pair = f"--trainpref {folder}/train --validpref {folder}/valid --vocab-size 8000 --destdir {data}"
    seconds_of([*MASSCLI, "preprocess", "-s", "en", "-t", "de", *pair.split()])
    train = f"finetune {data} --task translate -s en -t de --arch tiny --max-update 1 --save-dir {run}"
    seconds_of([*MASSCLI, *train.split()])
    line = b"ba be bi bo bu\n"

    def generate(seconds: float) -> Value:
        return seconds_of(
            [*MASSCLI, "generate", str(run), "--max-len-a", "0", "--max-len-b", "8"],
            line,
        )

    def import_torch(seconds: float) -> Value:
        return seconds_of([sys.executable, "-c", "import torch"])

    contestants = [
        Contestant("masscli", generate, held.close),
        Contestant("import torch", import_torch),
    ]
    return Row(
        "generate, one line from a cold start",
        "seconds",
        contestants,
        lower_is_better=True,
    )

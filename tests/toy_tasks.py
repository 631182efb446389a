"""A toy in the form of every task, and tiny runs that learn it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

from masscli.data.prepare.config import PreprocessConfig
from tests.commands import succeed

WORDS = [consonant + vowel for consonant in "bdfgk" for vowel in "aeiou"]
REST = [
    "--lr", "0.01", "--warmup-updates", "4", "--precision", "fp32", "--num-workers", "0", "--max-tokens", "600", "--log-interval", "1000",
    "--dropout", "0",
]  # fmt: skip
ONE_LAYER = [
    *"--dim 16 --ffn-dim 32 --heads 2 --encoder-layers 1 --max-positions 128".split(),
    *REST,
]
TINY = [*ONE_LAYER, "--decoder-layers", "1"]
ENCODER = [*ONE_LAYER, "--decoder-layers", "0"]


def save(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write(folder: Path, count: int, split: str) -> None:
    """The same toy in every form: a sentence is positive when it holds `ga`, which is also the answer, the entity and the right choice."""
    draw = random.Random(split)
    sentences = [
        [w for w in draw.choices(WORDS, k=draw.randint(4, 12)) if w != "ga"] or ["ba"]
        for _ in range(count)
    ]
    for n, words in enumerate(sentences):
        if n % 2:
            words.insert(draw.randrange(len(words) + 1), "ga")
    label = ["yes" if "ga" in words else "no" for words in sentences]
    texts = [" ".join(words) for words in sentences]
    save(
        folder / f"{split}.tsv",
        ["label\tsentence", *(f"{a}\t{b}" for a, b in zip(label, texts, strict=True))],
    )
    pairs = zip(label, texts, reversed(texts), strict=True)
    save(
        folder / f"{split}.pairs.tsv",
        [
            "label\tsentence1\tsentence2\tscore",
            *(f"{a}\t{b}\t{c}\t{len(b.split())}" for a, b, c in pairs),
        ],
    )
    save(
        folder / f"{split}.conll",
        [
            line
            for words in sentences
            for line in (*(f"{w}\t{'B-X' if w == 'ga' else 'O'}" for w in words), "")
        ],
    )
    rows = []
    for text in texts:
        choices = draw.choices([w for w in WORDS if w != "ga"], k=draw.randint(1, 3))
        choices.insert(at := draw.randrange(len(choices) + 1), "ga")
        rows.append(json.dumps({"context": text, "choices": choices, "label": at}))
    save(folder / f"{split}.jsonl", rows)
    asked = [
        {"context": text, "qas": [{"id": f"{split}{n}", "question": "bo?", "is_impossible": "ga" not in text,
                                   "answers": [{"text": "ga", "answer_start": text.index("ga")}] if "ga" in text else []}]}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    (folder / f"{split}.json").write_text(
        json.dumps({"data": [{"paragraphs": asked}]}), encoding="utf-8"
    )
    save(folder / f"{split}.src", texts)
    save(folder / f"{split}.tgt", [" ".join(words[:2]) for words in sentences])
    save(
        folder / f"{split}.txt",
        ["\t".join([text, *reversed(texts[:2])]) for text in texts],
    )


def make_tasks(made: Path) -> Path:
    """Files, and `data` made of them."""
    from masscli.cli.preprocess import run

    for split, count in (("train", 64), ("valid", 12)):
        write(made, count, split)

    def both(name: str, ending: str) -> tuple[str, ...]:
        return tuple(
            f"{name}{split}={made / split}.{ending}" for split in ("train", "valid")
        )

    aligned = tuple(
        f"heads.{split}={made / split}.src:{made / split}.tgt"
        for split in ("train", "valid")
    )
    run(PreprocessConfig(langs=("en",), vocab_size=46, destdir=made / "data", mono=(f"en={made / 'train.src'}",), aligned=aligned,
                         tsv=(*both("one.", "tsv"), *both("two.", "pairs.tsv")), conll=both("", "conll"), jsonl=both("", "jsonl"),
                         squad=both("", "json"), dialogues=both("", "txt")))  # fmt: skip
    return made


def finetune(
    folder: Path, run_folder: Path, *options: str, updates: int = 4
) -> list[dict[str, float]]:
    """Run it; the validations."""
    command = (
        f"finetune {folder}/data --save-dir {run_folder} --max-update {updates}".split()
    )
    succeed([*command, *options])
    events = [
        json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()
    ]
    return [event["metrics"] for event in events if event["event"] == "evaluated"]

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


def draw_sentences(draw: random.Random, count: int) -> list[list[str]]:
    """Sentences of words, every second one with a `ga`."""
    sentences = []
    for _ in range(count):
        words = draw.choices(WORDS, k=draw.randint(4, 12))
        sentences.append([word for word in words if word != "ga"] or ["ba"])
    for words in sentences[1::2]:
        words.insert(draw.randrange(len(words) + 1), "ga")
    return sentences


def tagged(words: Sequence[str]) -> list[str]:
    """CoNLL lines of a sentence, in which `ga` is an entity."""
    lines = [f"{word}\t{'B-X' if word == 'ga' else 'O'}" for word in words]
    return [*lines, ""]


def choice(draw: random.Random, text: str) -> str:
    """A JSON line with two to four choices, of which `ga` is the right one."""
    choices = draw.choices(
        [word for word in WORDS if word != "ga"], k=draw.randint(1, 3)
    )
    label = draw.randrange(len(choices) + 1)
    choices.insert(label, "ga")
    return json.dumps({"context": text, "choices": choices, "label": label})


def question(text: str, name: str) -> dict[str, object]:
    """A paragraph of SQuAD with a question, whose answer is `ga`, or which has none."""
    answers = []
    if "ga" in text:
        answers = [{"text": "ga", "answer_start": text.index("ga")}]
    asked = {
        "id": name,
        "question": "bo?",
        "is_impossible": not answers,
        "answers": answers,
    }
    return {"context": text, "qas": [asked]}


def write(folder: Path, count: int, split: str) -> None:
    """The same toy in every form: a sentence is positive when it holds `ga`, which is also the answer, the entity and the right choice."""
    draw = random.Random(split)
    sentences = draw_sentences(draw, count)
    labels = ["yes" if "ga" in words else "no" for words in sentences]
    texts = [" ".join(words) for words in sentences]
    lines = [f"{label}\t{text}" for label, text in zip(labels, texts, strict=True)]
    save(folder / f"{split}.tsv", ["label\tsentence", *lines])
    pairs = [
        f"{line}\t{other}\t{len(text.split())}"
        for line, text, other in zip(lines, texts, reversed(texts), strict=True)
    ]
    header = "label\tsentence1\tsentence2\tscore"
    save(folder / f"{split}.pairs.tsv", [header, *pairs])
    save(
        folder / f"{split}.conll",
        [line for words in sentences for line in tagged(words)],
    )
    save(folder / f"{split}.jsonl", [choice(draw, text) for text in texts])
    paragraphs = [question(text, f"{split}{n}") for n, text in enumerate(texts)]
    squad = json.dumps({"data": [{"paragraphs": paragraphs}]})
    (folder / f"{split}.json").write_text(squad, encoding="utf-8")
    save(folder / f"{split}.src", texts)
    save(folder / f"{split}.tgt", [" ".join(words[:2]) for words in sentences])
    dialogues = ["\t".join([text, *reversed(texts[:2])]) for text in texts]
    save(folder / f"{split}.txt", dialogues)


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

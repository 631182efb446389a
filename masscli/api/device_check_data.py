"""Sample text with labels, in every form that an objective of masscli reads, for the checks of a device.

The text is that of `masscli demo`. Labels are derived from it: they have no meaning, but can be
learned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.core.config import from_dict
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.pipeline import preprocess
from masscli.text.demo import draw_sentences

SIZES = {"train": 60, "valid": 12}
"""Number of sentences in each split."""
SENTENCES_PER_DOCUMENT = 5


def make_data_folder(folder: Path) -> Path:
    """Write sample text and labels into `folder`, preprocess them, and return the data folder.

    It has the languages en and de, the pair en-de, and the tables rows (TSV), jsonl, conll, squad, dialogues
    and heads.
    """
    sentences = iter(draw_sentences(sum(SIZES.values())))
    options: dict[str, list[str]] = {}
    for split, size in SIZES.items():
        pairs = [next(sentences) for _ in range(size)]
        english = [pair["en"] for pair in pairs]
        _write_text(folder, split, pairs)
        _write_labels(folder, split, english)
        requested = {
            "mono": f"{split}.en={folder}/{split}.documents",
            "tsv": f"rows.{split}={folder}/{split}.tsv",
            "conll": f"{split}={folder}/{split}.conll",
            "jsonl": f"{split}={folder}/{split}.jsonl",
            "squad": f"{split}={folder}/{split}.json",
            "dialogues": f"{split}={folder}/{split}.talks",
            "aligned": f"heads.{split}={folder}/{split}.en:{folder}/{split}.short",
        }
        for option, value in requested.items():
            options.setdefault(option, []).append(value)
    common: dict[str, Any] = {
        "langs": ["en", "de"],
        "trainpref": f"{folder}/train",
        "validpref": f"{folder}/valid",
        "vocab_size": 200,
        "destdir": f"{folder}/data",
    }
    config = from_dict(PreprocessConfig, common | options)
    preprocess(config, _NoProgress())
    return config.destdir


class _NoProgress:
    """A reporter of progress that shows nothing."""

    def note(self, text: str) -> None:
        """Show nothing of a message."""

    def warn(self, text: str) -> None:
        """Show nothing of a warning."""

    def start(self, what: str, total: int) -> None:
        """Show nothing of a task that begins, which has `total` bytes to do."""

    def advance(self, amount: int) -> None:
        """Show nothing of `amount` further bytes being done."""


def _write_text(folder: Path, split: str, pairs: Sequence[Mapping[str, str]]) -> None:
    """Write pairs, documents of a few lines, summaries (the first two words) and dialogues of three turns."""
    english = [pair["en"] for pair in pairs]
    _write(folder / f"{split}.en", english)
    _write(folder / f"{split}.de", [pair["de"] for pair in pairs])
    documents = []
    for number, line in enumerate(english, 1):
        documents.append(line)
        # An empty line ends a document.
        if number % SENTENCES_PER_DOCUMENT == 0:
            documents.append("")
    _write(folder / f"{split}.documents", documents)
    _write(folder / f"{split}.short", [" ".join(line.split()[:2]) for line in english])
    _write(
        folder / f"{split}.talks",
        ["\t".join(english[i : i + 3]) for i in range(len(english) - 2)],
    )


def _write_labels(folder: Path, split: str, english: Sequence[str]) -> None:
    """Write labeled texts with a number each, tagged words, multiple choice, and questions."""
    rows, words, choices, paragraphs = ["label\tsentence\tscore"], [], [], []
    for number, line in enumerate(english):
        first, second, *_ = line.split()
        rows.append(f"{'ab'[number % 2]}\t{line}\t{len(line)}")
        for word in line.split():
            tag = "B-X" if len(word) > 3 else "O"
            words.append(f"{word}\t{tag}")
        words.append("")
        choices.append(
            json.dumps(
                {"context": line, "choices": [first, second], "label": number % 2}
            )
        )
        answer = {"text": second, "answer_start": len(first) + 1}
        question = {
            "id": str(number),
            "question": first,
            "is_impossible": False,
            "answers": [answer],
        }
        paragraphs.append({"context": line, "qas": [question]})
    _write(folder / f"{split}.tsv", rows)
    _write(folder / f"{split}.conll", words)
    _write(folder / f"{split}.jsonl", choices)
    _write(
        folder / f"{split}.json", [json.dumps({"data": [{"paragraphs": paragraphs}]})]
    )


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

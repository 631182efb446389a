"""Write English text in two artificial languages that share no word.

    python shifted_english.py CORPORA OUTPUT

The text is split into 2,000 pieces (SentencePiece BPE, lower-cased). Language `aa` writes piece 17 as
the word `a0017` and language `bb` as `b0017`, so that a sentence and its translation have corresponding
words in the same places (the "fake English" of Dufter and Schuetze 2020). The script reads
novels/en.txt.gz and multi30k/train.en from CORPORA and writes

    mono.aa, mono.bb            two halves of the text without a sentence in common
    valid.*, pairs.*, test.*    1,000 sentences each in both languages, which are in neither half
    vocab.txt                   the words of both languages, in the format of BERT's vocab.txt
"""

import gzip
import random
import re
import sys
import tempfile
from pathlib import Path

import sentencepiece

LINES = 130_000
PIECES = 2000


def sentences(text: str) -> list[str]:
    """Return the lines of 3 to 60 words, lower-cased, with a space between words and punctuation marks."""
    found = []
    for line in text.lower().splitlines():
        words = re.findall(r"\w+|[^\w\s]", line)
        if 3 <= len(words) <= 60:
            found.append(" ".join(words))
    return found


def in_pieces(lines: list[str]) -> list[list[int]]:
    """Train a subword model on all lines; return the piece ids of those with 4 to 100 pieces."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "text")
        text.write_text("\n".join(lines) + "\n", encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(text),
            model_prefix=f"{folder}/pieces",
            vocab_size=PIECES,
            model_type="bpe",
            num_threads=1,
            character_coverage=0.9995,
            minloglevel=2,
        )
        model = sentencepiece.SentencePieceProcessor(
            model_file=f"{folder}/pieces.model"
        )
    rows = [model.encode(line) for line in lines]
    return [row for row in rows if 4 <= len(row) <= 100]


def write(path: Path, rows: list[list[int]]) -> None:
    """Write rows in the language that the file's name ends with: `aa` or `bb`."""
    letter = path.name[-1]
    with open(path, "w", encoding="ascii") as file:
        for row in rows:
            file.write(" ".join(f"{letter}{piece:04d}" for piece in row) + "\n")


def main(corpora: Path, output: Path) -> None:
    """Read the English text of `corpora` and write both languages into `output`."""
    with gzip.open(corpora / "novels/en.txt.gz", "rt", encoding="utf-8") as file:
        novels = file.read()
    captions = (corpora / "multi30k/train.en").read_text(encoding="utf-8")
    # Duplicates are removed so that no sentence is in two parts.
    lines = list(dict.fromkeys(sentences(novels) + sentences(captions)))
    random.Random(1).shuffle(lines)
    rows = in_pieces(lines[:LINES])
    output.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(("valid", "pairs", "test")):
        part = rows[1000 * number : 1000 * (number + 1)]
        write(output / f"{name}.aa", part)
        write(output / f"{name}.bb", part)
    write(output / "mono.aa", rows[3000::2])
    write(output / "mono.bb", rows[3001::2])
    used = sorted({piece for row in rows for piece in row})
    words = [f"{letter}{piece:04d}" for letter in "ab" for piece in used]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    text = "\n".join(special + words) + "\n"
    (output / "vocab.txt").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

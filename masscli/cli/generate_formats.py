"""Output formats of `masscli generate`: text, JSON lines, and fairseq's format."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from masscli.text.single_line import json_line, one_line

if TYPE_CHECKING:
    from masscli.generation.translation import Translation
    from masscli.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of input with its number from 1, its reference if any, and its translations, the best first."""

    line: int
    source: str
    reference: str | None
    translations: list[Translation]


def choose_format(
    name: str, tokenizer: Tokenizer, source: str, nbest: int, scores_only: bool
) -> Callable[[Entry], str]:
    """Return the function that formats an entry in the format `name`: text, jsonl or fairseq.

    `source` is the language of the input. Text has `nbest` lines for each entry; with `scores_only`, it has
    the score of the first translation instead.
    """
    if name == "jsonl":
        return as_json
    if name == "fairseq":
        return lambda entry: as_fairseq(entry, tokenizer, source)
    if scores_only:
        return lambda entry: f"{entry.translations[0].hypothesis.score:.6f}\n"
    return lambda entry: as_text(entry, nbest)


def as_text(entry: Entry, nbest: int) -> str:
    """Return the translations of an entry as exactly `nbest` lines; missing ones are empty lines."""
    texts = [translation.text for translation in entry.translations]
    # So line n of the output, from 0, always belongs to line n // nbest of the input.
    texts += [""] * (nbest - len(texts))
    return "".join(f"{one_line(text)}\n" for text in texts)


def as_json(entry: Entry) -> str:
    """Return an entry as one line of JSON with its translations in `hypotheses`.

    `tokens` and `token_scores` have equal length; the last token is the end symbol. Both are empty for an
    output that was not searched for, such as that of an empty line. Scores are natural logarithms.
    """
    hypotheses = []
    for translation in entry.translations:
        hypotheses.append(
            {
                "text": translation.text,
                "score": translation.score,
                "tokens": list(translation.pieces),
                "token_scores": list(translation.piece_scores),
                "hit_max_len": translation.hypothesis.hit_max_len,
            }
        )
    fields: dict[str, Any] = {"line": entry.line, "source": entry.source}
    if entry.reference is not None:
        fields["reference"] = entry.reference
    return json_line({**fields, "hypotheses": hypotheses}) + "\n"


def as_fairseq(entry: Entry, tokenizer: Tokenizer, source: str) -> str:
    """Return an entry in the output format of fairseq-generate; `source` is the language of the input.

    Lines are numbered from 0 and scores are logarithms to base 2. S and H lines hold pieces, T and D lines
    text, and P lines the scores of the pieces and of the end symbol. The S line has all pieces of the source,
    also those that the model does not read because it is too long.
    """
    number = entry.line - 1
    source_pieces = tokenizer.ids_to_pieces(tokenizer.encode(entry.source, source))
    rows = [f"S-{number}\t{' '.join(source_pieces)}"]
    if entry.reference is not None:
        rows.append(f"T-{number}\t{entry.reference}")
    for translation in entry.translations:
        hypothesis = translation.hypothesis
        # fairseq prints logarithms to base 2, and computes natural ones, as masscli does.
        score = hypothesis.score / math.log(2)
        pieces = " ".join(tokenizer.ids_to_pieces(hypothesis.ids))
        token_scores = [
            f"{value / math.log(2):.4f}" for value in hypothesis.token_scores
        ]
        rows.append(f"H-{number}\t{score}\t{pieces}")
        rows.append(f"D-{number}\t{score}\t{translation.text}")
        rows.append(f"P-{number}\t{' '.join(token_scores)}")
    return "".join(f"{one_line(row)}\n" for row in rows)

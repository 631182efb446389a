"""One or two segments of a document in BERT's format: [CLS] A [SEP], or [CLS] A [SEP] B [SEP].

BERT, ALBERT, RoBERTa's pairs, ELECTRA and UniLM read the examples of `segment_pairs.SegmentPairDataset` in
this format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.shared.corruption import Bools
from masscli.objectives.shared.options import DocumentOptions
from masscli.objectives.shared.pair_maker import PairKind, PairRules
from masscli.objectives.shared.segment_pairs import SegmentPairDataset
from masscli.text.word_starts import word_starts


@dataclass(frozen=True)
class PairedText:
    """One or two segments as a sequence of L tokens, with [CLS] and [SEP].

    `ids`, `segments` (0 or 1), `is_text` (true for all tokens but the special ones that were added) and
    `starts_word` (true for the first token of each word, and for [CLS] and [SEP]) have shape (L,). `label` is
    the label of the pair: 1 if the second segment is random or the segments are exchanged, otherwise 0.
    """

    ids: Ids
    segments: Ids
    is_text: Bools
    starts_word: Bools
    label: int


def add_special_tokens(example: Example, framing: Framing) -> PairedText:
    """Return an example of `SegmentPairDataset` as one sequence, with [CLS] and [SEP] around its segments."""
    first, second, label, text_starts_word = example.fields
    vocab = framing.vocab
    parts: list[Ids | list[int]] = [[vocab.cls], first, [vocab.sep]]
    if len(second):
        parts += [second, [vocab.sep]]
    ids = np.concatenate(parts)
    is_text = np.ones(len(ids), np.bool_)
    # With one segment, the last two of these are the same token.
    is_text[[0, len(first) + 1, -1]] = False
    # A special token counts as a word of its own.
    starts_word = np.ones(len(ids), np.bool_)
    starts_word[is_text] = text_starts_word != 0
    # The first [SEP] belongs to segment A, as in BERT.
    segments = (np.arange(len(ids)) > len(first) + 1).astype(np.int64)
    return PairedText(ids, segments, is_text, starts_word, int(label[0]))


def segment_pairs(
    data: DataFolder,
    split: str,
    context: ObjectiveContext,
    options: DocumentOptions,
    kind: PairKind,
    max_examples: int | None,
    albert_word_starts: bool = False,
) -> SegmentPairDataset:
    """Return the segment pairs of a split of the language of `context`.

    The split `train` is read --dupe-factor times in an epoch, others once. `kind` is a kind of pair (see
    masscli/objectives/shared/segment_pairs.py). `max_examples` limits the number of sentences, not of pairs.
    `albert_word_starts` says to find word starts as the released ALBERT does. Raises MasscliError if `kind`
    is `strict-sop` and no document has two sentences.
    """
    sentences = data.monolingual(split, context.dataset_name)
    copies = options.dupe_factor if split == "train" else 1
    rules = PairRules(
        kind,
        options.tokens_per_sample,
        short_prob=options.short_seq_prob,
        copies=copies,
        seed=options.pair_seed,
    )
    pairs = SegmentPairDataset(
        sentences,
        rules,
        word_starts(data.tokenizer(), albert_word_starts),
        max_sentences=max_examples,
        folder=data.folder,
    )
    if kind == "strict-sop" and not len(pairs) and len(sentences):
        raise MasscliError(
            f"{data.folder}: no document of {context.dataset_name} ({split}) has two sentences",
            "one sentence per line, and a blank line after each document; or leave out --strict-sop",
        )
    return pairs


def refuse_language_tags(name: str, context: ObjectiveContext) -> None:
    """Raise MasscliError if the model marks languages by tags, which BERT's input format cannot contain.

    `name` is the objective or the option that reads this format, for the error.
    """
    if context.framing.language_tag:
        raise MasscliError(
            f"{name} cannot read language tags",
            "use --languages embedding, or none",
        )

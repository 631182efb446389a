"""Warnings about a vocabulary that lacks something, or about training text that does not suit it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from masscli.core.listing import count_of
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.round_trip import (
    normalization_warnings,
    round_trip_warnings,
)
from masscli.data.prepare.split_text import split_text_warnings
from masscli.text import bpe_codes
from masscli.text.corpus import FileScan
from masscli.text.tokenizer import Tokenizer
from masscli.text.unknown_pieces import lacks_capitals


def vocabulary_warnings(
    config: PreprocessConfig,
    files: Mapping[str, Sequence[FileScan]],
    tokenizer: Tokenizer,
    is_given: bool,
) -> Iterator[str]:
    """Yield warnings about a vocabulary and the training files of each language.

    `is_given` says whether the user gave the vocabulary, instead of having one trained on these files.
    """
    if config.bpe_vocab is not None:
        skipped = bpe_codes.skipped_lines(config.bpe_vocab)
        if skipped:
            lines = count_of(len(skipped), "line")
            yield (
                f"--bpe-vocab {config.bpe_vocab}: {lines} from line {skipped[0]} on get no id, "
                "as in XLM, since they repeat a piece or are not PIECE COUNT"
            )
    # A vocabulary that is trained on this text covers its letters.
    if is_given and lacks_capitals(tokenizer):
        advice = "add --lowercase"
        # A folder also says how text is preprocessed for its vocabulary, which the option would contradict.
        if config.spm_model is not None and config.spm_model.is_dir():
            advice = "lower-case the text before (for an imported model, `masscli import --lowercase` does)"
        yield f"the vocabulary has no capital letters, which will be unknown: {advice}"
    yield from split_text_warnings(files, tokenizer if is_given else None)
    if tokenizer.preprocessing.moses:
        yield from round_trip_warnings(files, tokenizer.preprocessing)
    yield from normalization_warnings(files, tokenizer)

"""The flags of a training command that choose its streams, such as --langs, --pairs and --table."""

from __future__ import annotations

from typing import Annotated

from masscli.core.config import Flags, check, config, each_once


@config
class StreamSelection:
    """The datasets to train on, for a recipe that does not list its training streams."""

    langs: Annotated[tuple[str, ...], Flags("-l")] = ()
    """Languages, such as en,de (default: all languages of the data)."""
    source_lang: Annotated[str | None, Flags("-s")] = None
    """Source language of a direction."""
    target_lang: Annotated[str | None, Flags("-t")] = None
    """Target language of a direction."""
    pairs: tuple[str, ...] = ()
    """Directions, such as en-de,de-en, for one model that translates in all of them."""
    auxiliary: tuple[str, ...] = ()
    """NAME=WEIGHT: train with another objective on the same languages too. Its streams together are sampled
    as often as the main ones. WEIGHT multiplies the loss; it is a number or a schedule over updates,
    such as denoise=0:1,100000:0.1,300000:0 (default: 1). While it is 0 the stream is not sampled.
    NAME@FOLDER reads another data folder with the same vocabulary, such as
    translate@data-bin/synthetic=0.5; its pairs are trained in the direction of their names there, also
    if they are of other languages than the main ones.
    Repeatable."""
    table: tuple[str, ...] = ()
    """Tables of labeled examples to fine-tune on (default: the only table of the data that fits)."""
    lang_temperature: float = 1.0
    """Sample each language or direction in proportion to its number of examples to the power of 1/T.
    Higher values make the shares more equal. Directions of back-translation are sampled equally often,
    whatever T is."""
    max_examples: int | None = None
    """Use only the first N examples of each stream (for running text and documents, the first N lines),
    for studies with little data."""

    def __post_init__(self) -> None:
        check(
            *each_once(self, langs="language", pairs="direction", table="table"),
            (
                self.lang_temperature >= 0.01,
                "lang_temperature",
                f"must be at least 0.01, got {self.lang_temperature}",
            ),
            (
                self.max_examples is None or self.max_examples > 0,
                "max_examples",
                f"must be above 0, got {self.max_examples}",
            ),
        )

"""Find translation pairs in two monolingual files.

A sentence is represented by the mean of its encoder states, minus the mean of its language. Pairs are
scored by their margin: the cosine divided by the mean cosine of both sentences with their nearest
neighbors (Artetxe and Schwenk 2019). The result has a line for each pair, best first: margin, source
and target, separated by tabs.

`masscli inspect RUN --retrieval` shows how well the encoder of a run aligns the two languages. Every
source sentence is compared with every target sentence.

Examples:
  masscli mine runs/mass --input-source news.en --input-target news.de -s en -t de > mined.tsv
  masscli mine runs/both -i news.en -j news.de -s en -t de --min-margin 1.1 --output mined.tsv
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from masscli.cli.messages import warn
from masscli.cli.output import check_inputs_stay, check_output, writer
from masscli.cli.text_inputs import warn_of_examples, warn_of_untrained
from masscli.core.config import Flags, config
from masscli.core.errors import MasscliError
from masscli.core.files import given_again
from masscli.core.listing import count_of
from masscli.generation.config import STANDARD_STREAM
from masscli.text.corpus import iter_lines
from masscli.text.single_line import one_cell


@config
class MineConfig:
    """What is compared, and what counts as a translation."""

    input_source: Annotated[Path, Flags("-i")]
    """Sentences of the source language, one per line."""
    input_target: Annotated[Path, Flags("-j")]
    """Sentences of the target language, one per line."""
    source_lang: Annotated[str, Flags("-s")]
    """Language of --input-source."""
    target_lang: Annotated[str, Flags("-t")]
    """Language of --input-target."""
    output: Annotated[Path, Flags("-o")] = STANDARD_STREAM
    """Where the pairs go; - is standard output."""
    min_margin: float = 1.06
    """Minimum margin of a pair; 1 means no more similar than the neighbors."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Precision of the encoder."""


def run(
    options: MineConfig,
    path: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run or checkpoint with an encoder.")
    ],
) -> None:
    """Encode the sentences of both files, and write the pairs whose margin is high enough."""
    import numpy as np

    from masscli.api.ensemble import Ensemble
    from masscli.generation.mining import mine_pairs
    from masscli.generation.retrieval import sentence_vectors
    from masscli.text.unknown_pieces import count_unknown, list_lines

    _check_files(options)
    ensemble = Ensemble.open([path], options.device, options.precision)
    if not ensemble.first.recipe.model.encoder_layers:
        raise MasscliError(
            f"{path}: has no encoder, so that there are no sentences to compare"
        )
    texts, vectors = [], []
    sides = (
        (options.input_source, options.source_lang),
        (options.input_target, options.target_lang),
    )
    for file, language in sides:
        if language not in ensemble.tokenizer.vocab.languages:
            known = ", ".join(ensemble.tokenizer.vocab.languages)
            raise MasscliError(
                f"{path}: knows no language {language!r}", f"it has {known}"
            )
        warn_of_untrained(path, ensemble.first, [language])
        # Every sentence is compared with every other, so both files must fit into memory.
        lines = list(iter_lines(file))
        if not lines:
            raise MasscliError(f"{file}: has no lines", "give a sentence per line")
        encoded = ensemble.tokenizer.encode_lines(lines, language)
        unknown = count_unknown(ensemble.tokenizer, encoded)
        if unknown.lines:
            warn(unknown.warning(str(file)))
        print(unknown.summary(str(file)), file=sys.stderr)
        empty = [number for number, ids in enumerate(encoded, 1) if not len(ids)]
        if empty:
            warn(f"{file}: {list_lines(empty)} empty, and cannot be in a pair")
        ids = [np.asarray(row) for row in encoded]
        texts.append(lines)
        vectors.append(
            sentence_vectors(ensemble.models[0], ensemble.framing, ids, language)
        )
    pairs = mine_pairs(vectors[0], vectors[1], options.min_margin)
    with writer(options.output) as write:
        for margin, source, target in pairs:
            # A tab in a sentence would end its column.
            write(
                f"{margin:.4f}\t{one_cell(texts[0][source])}\t{one_cell(texts[1][target])}\n"
            )
    print(
        f"{count_of(len(pairs), 'pair')} of {len(texts[0]):,} and {len(texts[1]):,} sentences "
        f"with a margin of {options.min_margin:g} or more",
        file=sys.stderr,
    )


def _check_files(options: MineConfig) -> None:
    """Raise MasscliError for an output that cannot be written; warn of inputs that may be wrong."""
    files = (options.input_source, options.input_target)
    check_output(options.output)
    check_inputs_stay({"--output": options.output}, files)
    warn_of_examples(*files)
    if given_again(files):
        warn(
            f"{' and '.join(map(str, files))} are the same: is one of them the wrong file?"
        )

"""Translate lines as they are typed.

RUN is the folder of a run (its best checkpoint, else its last) or a checkpoint; the default is the latest
run under runs. Several decode together as an ensemble. Each line of standard input, from a terminal or a
pipe, is answered immediately with one line (or --nbest lines); an empty line gives an empty line. End of
file (Ctrl-D) ends the command. For files, `masscli generate` is faster, since it translates many lines
together.

Examples:
  masscli interactive runs/ende
  masscli interactive runs/ende -s en -t de --nbest 3 --scores
  some-program | masscli interactive runs/ende --split-sentences --keep-placeholders
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masscli.cli.latest_run import latest_run
from masscli.cli.messages import warn
from masscli.cli.output import writer
from masscli.cli.search_options import GivenSearch
from masscli.cli.unused_options import check_changed_options
from masscli.core.config import UnusedOption
from masscli.core.memory import tune_heap
from masscli.generation.config import (
    STANDARD_STREAM,
    GenerationConfig,
    InteractiveConfig,
)
from masscli.text.corpus import is_terminal, iter_lines
from masscli.text.single_line import one_line

if TYPE_CHECKING:
    from masscli.api.text_translation import LineTranslation

UNREAD = {
    "truncated": "was truncated: it is longer than the model reads",
    "not-understood": "was not understood: no piece of it, or of a sentence of it, is known",
}
"""What a warning says of a line with one of these flags, of which the model has not read everything."""


def run(
    command: InteractiveConfig,
    search: GenerationConfig,
    given: Annotated[dict[str, Any], GivenSearch],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN", help="Runs or checkpoints; several are an ensemble."
        ),
    ] = None,
) -> None:
    """Translate each line of standard input at once, and print the result."""
    from masscli.api.model import load
    from masscli.api.text_translation import TextTranslator

    # There is no reference from which to take forced prefixes.
    check_changed_options(
        search, UnusedOption(True, "prefix_size", "there is no --prefix here", True)
    )
    check_changed_options(
        command,
        UnusedOption(
            not search.sampling, "seed", "nothing is drawn without --sampling"
        ),
    )
    tune_heap()
    opened = load(
        *paths or [latest_run("interactive")],
        device=command.device,
        precision=command.precision,
        backend=command.backend,
        shortlist=command.shortlist,
    )
    model = opened.text_model(command.stream, command.source_lang, command.target_lang)
    search = model.search_config(given)
    warn(*model.warnings, *model.search_warnings(search))
    translator = TextTranslator(
        model,
        search,
        split=command.split_sentences,
        keep_placeholders=command.keep_placeholders,
        seed=command.seed,
    )
    # The weights are loaded now, so that the first line is answered as fast as the others.
    translator.translate([""])
    if is_terminal():
        task = model.task
        print(
            f"{task.source} to {task.target}; an end of file (Ctrl-D) ends the command",
            file=sys.stderr,
        )
    with writer(STANDARD_STREAM) as write:
        for number, line in enumerate(iter_lines(STANDARD_STREAM), 1):
            (translated,) = translator.translate([line])[0].lines
            write(_format(translated, search.nbest, command.scores))
            for flag, reason in UNREAD.items():
                if flag in translated.flags:
                    warn(f"line {number} {reason}")
    if translator.unknown.unknown:
        print(translator.unknown.summary("the input"), file=sys.stderr)


def _format(line: LineTranslation, nbest: int, scores: bool) -> str:
    """Return the translations of a line as exactly `nbest` lines; missing ones are empty lines.

    With `scores`, the natural log-probability, confidence and flags come before each text, separated by tabs.
    """
    rows = []
    for rank, text in enumerate(line.texts):
        columns = [one_line(text)]
        if scores:
            flags = "-"
            # Only the best translation has been examined.
            if rank == 0 and line.flags:
                flags = ",".join(line.flags)
            columns = [
                f"{line.log_probability(rank):.4f}",
                f"{line.confidence_of(rank):.4f}",
                flags,
                *columns,
            ]
        rows.append("\t".join(columns))
    rows += [""] * (nbest - len(rows))
    return "".join(f"{row}\n" for row in rows)

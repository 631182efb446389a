"""Generate, or score, the outputs of `masscli generate` line by line, and write them as they come."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from masscli.cli.generate_formats import Entry
from masscli.cli.output import writer
from masscli.generation.config import GenerateConfig
from masscli.generation.parallel_lines import ParallelLines
from masscli.text.corpus import iter_lines
from masscli.text.wmt_markup import translation_lines

if TYPE_CHECKING:
    from masscli.api.text_model import TextModel
    from masscli.generation.translation import Translation
    from masscli.generation.translator import Translator


def write_outputs(
    model: TextModel,
    translator: Translator,
    command: GenerateConfig,
    nbest: int,
    texts: Iterable[str],
    references: Iterator[str] | None,
    show: Callable[[Entry], str],
) -> None:
    """Generate, or score, an output for each of `texts`, and write it as `show` formats it.

    Of outputs that --closest-to-reference has ranked, the first `nbest` are written. Raises MasscliError
    unless there are as many `references`, if any, as texts.
    """
    reference_lines = None
    if references is not None:
        reference_lines = ParallelLines(references, "--reference")
    # The translator reads ahead, so the source of each line is kept until its translation arrives.
    texts, sources = itertools.tee(texts)
    outputs = _outputs(model, translator, command, texts)
    with (
        writer(command.output) as write,
        _alignment_writer(command, nbest) as write_alignments,
    ):
        for number, (translations, source) in enumerate(
            zip(outputs, sources, strict=False), 1
        ):
            reference = None
            if reference_lines is not None:
                [reference] = reference_lines.take(1)
            if command.closest_to_reference is not None and reference is not None:
                ranked = _rank_by_closeness(
                    translations, reference, command.closest_to_reference
                )
                translations = ranked[:nbest]
            write(show(Entry(number, source, reference, translations)))
            write_alignments(translations)
        if reference_lines is not None:
            reference_lines.require_end()


@contextmanager
def _alignment_writer(
    command: GenerateConfig, nbest: int
) -> Iterator[Callable[[Sequence[Translation]], object]]:
    """Give a function that writes the alignments of a line's translations to --alignments, if it is given.

    There are `nbest` lines for each line of input, as in the text that is written; missing ones are empty.
    """
    if command.alignments is None:
        yield lambda translations: None
        return
    from masscli.data.formats.pharaoh import format_links

    lines = 1 if command.score_reference is not None else nbest
    with writer(command.alignments, "--alignments") as write:

        def write_alignments(translations: Sequence[Translation]) -> None:
            rows = [
                format_links(translation.hypothesis.links)
                for translation in translations
            ]
            rows += [""] * (lines - len(rows))
            write("".join(f"{row}\n" for row in rows))

        yield write_alignments


def _outputs(
    model: TextModel,
    translator: Translator,
    command: GenerateConfig,
    texts: Iterable[str],
) -> Iterator[list[Translation]]:
    """Yield the translations of each line, the best one first.

    With --score-reference they are the given translations, one for each line, with the model's scores.
    """
    source, target = model.task.source, model.task.target
    if command.score_reference is None:
        prefixes = (
            translation_lines(command.prefix) if command.prefix is not None else None
        )
        constraints = (
            iter_lines(command.constraints) if command.constraints is not None else None
        )
        yield from translator.translate(texts, source, target, prefixes, constraints)
        return
    for translation in translator.score(
        texts, translation_lines(command.score_reference), source, target
    ):
        yield [translation]


def _rank_by_closeness(
    translations: Sequence[Translation], reference: str, metric: Literal["bleu", "chrf"]
) -> list[Translation]:
    """Return the translations of a line by their sentence score against its reference, highest first."""
    from masscli.generation.closeness import rank_by_closeness

    texts = [translation.text for translation in translations]
    return [
        translations[place] for place in rank_by_closeness(texts, reference, metric)
    ]

"""Turn text into text with a trained model.

RUN is the folder of a run (its best checkpoint, else its last) or a checkpoint; the default is the
latest run under runs. Several runs, or a list separated by colons, decode together as an ensemble. A
decoder-only model (gpt, clm) continues each line as a prompt; an encoder-only model generates if it was
fine-tuned for that (s2s, summarize, respond). Every line of input gives one line of output (or --nbest
lines), in the same order; an empty line gives an empty line. A summary is printed to standard error.

Examples:
  masscli generate runs/ende -s en -t de --beam 5 < test.en > hyp.de
  masscli generate runs/ende --input test.en.gz --output hyp.de --lenpen 0.6
  masscli generate runs/a runs/b --gen-subset test --format fairseq --nbest 5
  masscli generate runs/ende --sampling --sampling-topp 0.9 --seed 7 --format jsonl < test.en
  masscli generate runs/gpt --sampling --sampling-topp 0.9 --max-len-b 60 < prompts.en
  masscli generate runs/ende --score-reference test.de < test.en
  masscli generate runs/headlines --gen-subset test --write-reference test.ref --output test.hyp
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from masscli.cli.generate_formats import Entry, choose_format
from masscli.cli.latest_run import latest_run
from masscli.cli.options import check_changed_options, flag, flag_text
from masscli.cli.output import (
    check_distinct,
    check_inputs_stay,
    check_is_file,
    writer,
)
from masscli.cli.search_options import GivenSearch
from masscli.cli.text_inputs import refuse_text_as_run, warn_of_examples
from masscli.core import distributed
from masscli.core.config import UnusedOption, iter_options
from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.core.memory import tune_heap
from masscli.generation.config import GenerateConfig, GenerationConfig
from masscli.reporting.score_log import parse_tags
from masscli.text.corpus import is_terminal, iter_lines
from masscli.text.single_line import one_line
from masscli.text.wmt_markup import source_lines, translation_lines

if TYPE_CHECKING:
    import torch

    from masscli.api.text_model import TextModel
    from masscli.generation.shared_decoding import WorkGroup
    from masscli.generation.text_decoder import TextDecoder
    from masscli.generation.translator import Report, Translation, Translator

ONE_EACH = "it must have a line for each line of the input"


def run(
    command: GenerateConfig,
    search: GenerationConfig,
    given: Annotated[dict[str, Any], GivenSearch],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN", help="Runs or checkpoints; several are an ensemble."
        ),
    ] = None,
) -> None:
    """Generate outputs for each line of the input, or score given ones; torchrun distributes the work."""
    check_is_file({"--append": command.append})
    written = {
        "--output": command.output,
        "--write-reference": command.write_reference,
        "--alignments": command.alignments,
        "--append": command.append,
    }
    check_distinct(written)
    check_inputs_stay(
        written,
        (
            command.input,
            command.reference,
            command.score_reference,
            command.prefix,
            command.constraints,
            command.shortlist,
        ),
    )
    if (command.prefix is not None) != (search.prefix_size > 0):
        raise MasscliError(
            "--prefix and --prefix-size belong together",
            "--prefix FILE --prefix-size N",
        )
    if command.constraints is not None and (
        search.sampling or search.diverse_beam_groups > 1
    ):
        raise MasscliError(
            "--constraints need a plain beam search",
            "leave out --sampling and --diverse-beam-groups",
        )
    refuse_text_as_run(paths or [])
    tune_heap()
    # An error in a tag is reported before the work, not after it.
    parse_tags(command.tag, "--tag")
    if distributed.world_size == 1:
        _generate(command, search, given, paths, None)
        return
    from masscli.generation.shared_decoding import WorkGroup
    from masscli.training.precision import choose_device

    device = choose_device(command.device, distributed.local_rank)
    group = WorkGroup(device)
    if distributed.rank > 0:
        _help_first_process(command, given, group, device)
        return
    # Whether the work succeeds or fails, notify the other processes, which would otherwise wait for
    # days.
    with closing(group):
        _generate(command, search, given, paths, group)


def _help_first_process(
    command: GenerateConfig,
    given: Mapping[str, Any],
    group: WorkGroup,
    device: torch.device,
) -> None:
    """Decode the batches that the first process sends, until it has finished or given up.

    Only the first process reads the input, and writes the output and messages.
    """
    from masscli.generation.shared_decoding import SharedDecoder

    # None if the first process has given up.
    model = group.receive()
    if model is not None:
        search = model.search_config(given)
        decoder = _make_decoder(model.on_device(device), command, search)
        SharedDecoder(group, decoder).serve()
    distributed.stop()


def _generate(
    command: GenerateConfig,
    search: GenerationConfig,
    given: Mapping[str, Any],
    paths: list[Path] | None,
    group: WorkGroup | None,
) -> None:
    """Read the input, generate or score its lines, and write the results and a summary.

    `given` are the search options that were typed. The processes of `group`, if there is one, help decoding.
    """
    from masscli.api.model import load

    _check_unused_options(command, search)
    started = time.perf_counter()
    opened = load(
        *paths or [latest_run("generate")],
        device=command.device,
        precision=command.precision,
        backend=command.backend,
        shortlist=command.shortlist,
    )
    model = opened.text_model(
        stream=command.stream, source=command.source_lang, target=command.target_lang
    )
    if not command.quiet:
        for warning in model.warnings:
            _warn(warning)
    search = _resolve_search(model, command, search, given)
    texts, references = _open_input(model, command)
    # The other processes wait for the model, and get it only after all checks.
    if group is not None:
        group.send(model)
    decoder = _make_decoder(model, command, search)
    if group is not None:
        from masscli.generation.shared_decoding import SharedDecoder

        decoder = SharedDecoder(group, decoder)
    translator = _make_translator(model, command, decoder)
    ready = time.perf_counter()
    scores_only = command.score_reference is not None
    show = choose_format(
        command.format,
        translator.tokenizer,
        model.task.source,
        search.nbest,
        scores_only,
    )
    _write_outputs(model, translator, command, search.nbest, texts, references, show)
    seconds = time.perf_counter() - ready
    if command.append is not None:
        _append_speed(
            command.append, command, search, model, translator.report.lines, seconds
        )
    if not command.quiet:
        verb = "scored" if scores_only else "translated"
        _summarize(
            verb,
            translator.report,
            translator.max_source_length,
            ready - started,
            seconds,
        )


def _resolve_search(
    model: TextModel,
    command: GenerateConfig,
    search: GenerationConfig,
    given: Mapping[str, Any],
) -> GenerationConfig:
    """Return the search options: those that were imported with the model, overridden by those `given`.

    A model without imported options has `search`, the options of the command line. Prints a warning if the
    backend does not follow them. Raises MasscliError if --closest-to-reference has nothing to choose from.
    """
    imported = model.ensemble.first.state.generation
    if imported:
        search = model.search_config(given)
        _show_search(imported, command.quiet)
    if command.score_reference is None:
        for warning in model.search_warnings(search):
            _warn(warning)
    if command.closest_to_reference is not None and (search.beam == 1 or search.mbr):
        raise MasscliError(
            "--closest-to-reference chooses among several outputs",
            "give --beam 5, without --mbr",
        )
    return search


def _write_outputs(
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
            reference = _next_reference(references, number)
            if command.closest_to_reference is not None and reference is not None:
                ranked = _rank_by_closeness(
                    translations, reference, command.closest_to_reference
                )
                translations = ranked[:nbest]
            write(show(Entry(number, source, reference, translations)))
            write_alignments(translations)
        if references is not None and next(references, None) is not None:
            raise MasscliError(
                f"--reference has more lines than the input, which has {translator.report.lines}",
                ONE_EACH,
            )


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


def _show_search(imported: Mapping[str, str], quiet: bool) -> None:
    """Print the search options that were imported with the checkpoint, unless `quiet`."""
    if quiet:
        return
    options = [_typed_option(name, value) for name, value in imported.items()]
    print(
        f"search: {' '.join(options)}, as the model's own program does, unless flags say otherwise",
        file=sys.stderr,
    )


def _typed_option(name: str, value: str) -> str:
    """Return an option as it is typed on the command line, from the name and the text value of its field."""
    if value in ("True", "False"):
        return flag_text(name, value == "True")
    return f"{flag(name)} {value}"


def _make_decoder(
    model: TextModel, command: GenerateConfig, search: GenerationConfig
) -> TextDecoder:
    """Return a decoder with the options of the command."""
    allowed = None
    if command.closest_to_reference is not None:
        # The choice is among all outputs of a line.
        search = replace(search, nbest=search.beam)
    if command.min_piece_count:
        allowed = model.frequent_pieces(command.min_piece_count, command.data)
    return model.decoder(
        search,
        batch_tokens=command.batch_tokens,
        batch_size=command.batch_size,
        seed=command.seed,
        allowed=allowed,
        piece_scores=command.format != "text",
    )


def _make_translator(
    model: TextModel, command: GenerateConfig, decoder: TextDecoder
) -> Translator:
    """Return a translator with the options of the command. Warn if nothing has taught it to align."""
    with_alignments = command.alignments is not None
    if with_alignments and not command.quiet and model.alignment_head().heads is None:
        _warn(
            "no head has learned to align (--guided-alignment), so that alignments are rough"
        )
    return model.translator(
        decoder, buffer_size=command.buffer_size, alignments=with_alignments
    )


def _check_unused_options(command: GenerateConfig, search: GenerationConfig) -> None:
    """Print warnings about options that have no effect together with other options."""
    # Scores are divided by the length in any case.
    search_options = [
        option.key
        for option in iter_options(GenerationConfig)
        if option.key != "lenpen"
    ]
    scores_only = command.score_reference is not None
    check_changed_options(
        search,
        UnusedOption(
            scores_only,
            " ".join(search_options),
            "--score-reference searches for nothing",
        ),
    )
    if (
        command.backend == "ctranslate2"
        and command.shortlist is not None
        and not command.quiet
    ):
        _warn(
            "CTranslate2 takes the candidates of all lines of a batch, so that results depend on batches"
        )
    check_changed_options(
        command,
        UnusedOption(
            not search.sampling, "seed", "nothing is drawn without --sampling"
        ),
        UnusedOption(
            command.backend == "ctranslate2" and command.batch_size is not None,
            "batch_tokens",
            "CTranslate2 takes one limit, which is --batch-size",
        ),
    )


def _open_input(
    model: TextModel, command: GenerateConfig
) -> tuple[Iterable[str], Iterator[str] | None]:
    """Return (input lines, references); the references are None if there are none.

    The lines come from the split of --gen-subset or else from the file of --input, and the references from
    the file of --reference or else from that split. The references of the split are also written to the file
    of --write-reference.
    """
    warn_of_examples(
        command.reference,
        command.score_reference,
        command.prefix,
        command.constraints,
    )
    references = (
        translation_lines(command.reference) if command.reference is not None else None
    )
    if command.gen_subset is not None:
        texts, targets = model.split(command.gen_subset, command.data)
        if command.write_reference is not None:
            with writer(command.write_reference, "--write-reference") as write:
                for text in targets:
                    write(f"{one_line(text)}\n")
        return texts, references or iter(targets)
    path = command.input or Path("-")
    warn_of_examples(
        path,
        advice="; to generate from its examples, preprocess it and use --gen-subset",
    )
    if str(path) == "-" and is_terminal():
        answer = f"{command.buffer_size} lines or an end of file (Ctrl-D) start the translation"
        if command.buffer_size == 1:
            answer = (
                "each is answered at once, and an end of file (Ctrl-D) ends the command"
            )
        print(
            f"reading lines in {model.task.source!r} from the terminal; {answer}",
            file=sys.stderr,
        )
    return _opened_lines(path), references


def _opened_lines(path: Path) -> Iterator[str]:
    """Open a file at once, so that a missing one is noticed before the work begins; return its lines."""
    remaining = source_lines(path)
    first = next(remaining, None)
    if first is None:
        return iter(())
    return itertools.chain([first], remaining)


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


def _append_speed(
    path: Path,
    command: GenerateConfig,
    search: GenerationConfig,
    model: TextModel,
    lines: int,
    seconds: float,
) -> None:
    """Add the speed of a number of lines to the log of scores `path`, with the tags of the command.

    Its signature has what speeds must have in common to be compared: search, batches, device and threads.
    Without lines there is no speed, and a warning says so.
    """
    if not lines:
        _warn("--append: the input has no lines, so that there is no speed to add")
        return
    import torch

    from masscli.reporting.score_log import LoggedScore, append_scores

    batches = (
        f"batch-tokens:{command.batch_tokens}|batch-size:{command.batch_size or 'any'}"
    )
    work = f"beam:{search.beam}"
    if command.score_reference is not None:
        work = "score-reference"
    device = f"device:{model.ensemble.device}|threads:{torch.get_num_threads()}"
    signature = f"{work}|{batches}|{device}"
    tags = tuple(parse_tags(command.tag, "--tag").items())
    append_scores(path, [LoggedScore("sentences/s", lines / seconds, signature, tags)])


def _next_reference(references: Iterator[str] | None, line: int) -> str | None:
    """Return the next reference, for input line number `line`, or None if there are no references.

    Raises MasscliError if the references end before the input.
    """
    if references is None:
        return None
    reference = next(references, None)
    if reference is None:
        raise MasscliError(
            f"--reference has {line - 1} lines, the input has more", ONE_EACH
        )
    return reference


def _summarize(
    verb: str, report: Report, max_source: int, loading: float, seconds: float
) -> None:
    """Print the warnings of a report, perplexities if outputs were scored, and a line with counts and speed.

    `max_source` is the length in pieces at which sources are truncated. `loading` and `seconds` are the times
    in seconds of loading the model and of the work after it; `verb` says what was done to the lines.
    """
    from masscli.metrics.perplexity import metric_text, perplexity

    for warning in report.warnings(max_source):
        _warn(warning)
    if report.words:
        per_piece = metric_text(perplexity(report.nats, report.tokens), ".2f")
        per_word = metric_text(perplexity(report.nats, report.words), ".2f")
        print(
            f"ppl-piece {per_piece}  ppl-word {per_word}  (the end symbol counts as one of either)",
            file=sys.stderr,
        )
    speed = f"{report.lines / seconds:.1f} sentences/s, {report.tokens / seconds:.0f} tokens/s"
    counts = (
        f"{len(report.empty)} empty, {len(report.truncated)} truncated, "
        f"{len(report.hit_max_len)} ended by the length limit"
    )
    for name, unknown in report.unknown.items():
        counts += f", {unknown.summary(name)}"
    print(
        f"{verb} {count_of(report.lines, 'line')} in {seconds:.1f} s (after {loading:.1f} s of loading): "
        f"{speed}; {counts}",
        file=sys.stderr,
    )


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)

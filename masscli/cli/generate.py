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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masscli.cli.generate_formats import choose_format
from masscli.cli.generate_outputs import write_outputs
from masscli.cli.generate_summary import append_speed, summarize
from masscli.cli.latest_run import latest_run
from masscli.cli.messages import warn
from masscli.cli.output import (
    check_distinct,
    check_inputs_stay,
    check_is_file,
    writer,
)
from masscli.cli.search_options import GivenSearch
from masscli.cli.text_inputs import refuse_text_as_run, warn_of_examples
from masscli.cli.typer_parameters import flag, flag_text
from masscli.cli.unused_options import check_changed_options
from masscli.core import distributed
from masscli.core.config import UnusedOption, iter_options
from masscli.core.errors import MasscliError
from masscli.core.memory import tune_heap
from masscli.generation.config import GenerateConfig, GenerationConfig
from masscli.reporting.score_log import parse_tags
from masscli.text.corpus import is_terminal
from masscli.text.single_line import one_line
from masscli.text.wmt_markup import source_lines, translation_lines

if TYPE_CHECKING:
    import torch

    from masscli.api.text_model import TextModel
    from masscli.generation.shared_decoding import WorkGroup
    from masscli.generation.text_decoder import TextDecoder
    from masscli.generation.translator import Translator


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
    _check_options(command, search)
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


def _check_options(command: GenerateConfig, search: GenerationConfig) -> None:
    """Raise MasscliError for files that would be overwritten, and for options that exclude each other."""
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
        warn(*model.warnings)
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
    write_outputs(model, translator, command, search.nbest, texts, references, show)
    seconds = time.perf_counter() - ready
    if command.append is not None:
        append_speed(
            command.append, command, search, model, translator.report.lines, seconds
        )
    if not command.quiet:
        verb = "scored" if scores_only else "translated"
        summarize(
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
        warn(*model.search_warnings(search))
    if command.closest_to_reference is not None and (search.beam == 1 or search.mbr):
        raise MasscliError(
            "--closest-to-reference chooses among several outputs",
            "give --beam 5, without --mbr",
        )
    return search


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
        warn(
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
        warn(
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
    references = None
    if command.reference is not None:
        references = translation_lines(command.reference)
    if command.gen_subset is not None:
        texts, targets = model.split(command.gen_subset, command.data)
        if command.write_reference is not None:
            with writer(command.write_reference, "--write-reference") as write:
                for text in targets:
                    write(f"{one_line(text)}\n")
        return texts, references or iter(targets)
    return _open_lines(model, command), references


def _open_lines(model: TextModel, command: GenerateConfig) -> Iterator[str]:
    """Return the lines of --input or of standard input; a terminal is told how to end them."""
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
    # Read at once, so that a missing file is noticed before the work begins.
    remaining = source_lines(path)
    first = next(remaining, None)
    if first is None:
        return iter(())
    return itertools.chain([first], remaining)

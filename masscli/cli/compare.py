"""Compare two models, or their outputs, line by line.

OLD and NEW are runs or checkpoints, which translate the lines of --input in turn, as `masscli generate`
would, or files with their outputs (text, or the JSON lines of `masscli generate`). The report shows the
share of changed lines, the lines that lost most, the speed and, with --ref, the scores of both and the
significance of the difference by paired bootstrap resampling.

The exit status is 3 if NEW is worse: if a metric is lower with a p-value below --alpha, or if more
lines changed than --max-changed allows. A pipeline can therefore stop before a model is replaced.

Examples:
  masscli compare runs/deployed runs/candidate --input test.en --ref test.de
  masscli compare old.de new.de --input test.en --ref test.de --metric bleu,chrf --worst 20
  masscli compare runs/ende runs/ende-averaged --input live.en --max-changed 0.1 --format json
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from masscli.cli.messages import warn
from masscli.cli.score_inputs import output_lines
from masscli.cli.search_options import GivenSearch
from masscli.cli.text_inputs import warn_of_examples
from masscli.cli.unused_options import check_changed_options
from masscli.core.config import (
    Flags,
    UnusedOption,
    check,
    config,
    iter_options,
    not_negative,
    positive,
)
from masscli.core.errors import MasscliError
from masscli.core.files import given_again
from masscli.core.listing import count_of
from masscli.data.formats.registry import guess_format
from masscli.generation.config import GenerationConfig
from masscli.metrics.config import ScoreConfig
from masscli.metrics.sanity_checks import check_duration
from masscli.text.corpus import missing_file_hint
from masscli.text.single_line import json_line, one_line
from masscli.text.wmt_markup import source_lines, translation_lines

if TYPE_CHECKING:
    from masscli.reporting.comparison import Comparison

WORSE = 3
"""Exit status of the command if the new model counts as worse."""


@config
class CompareConfig:
    """What is compared, and when a model counts as worse."""

    input: Annotated[Path, Flags("-i")]
    """Lines to translate, as text (also .gz, .xz, .zst)."""
    ref: Annotated[Path | None, Flags("-r")] = None
    """File of reference translations, one per line."""
    metric: Annotated[tuple[str, ...], Flags("-m")] = ("bleu", "chrf")
    """Metrics to compare over all lines; they need --ref."""
    worst: int = 5
    """Number of lines to show: those whose chrF dropped most or, without --ref, that changed most."""
    alpha: float = 0.05
    """NEW is worse in a metric if the p-value of the difference is below this."""
    max_changed: float = 1.0
    """Maximum share of changed lines, from 0 to 1; if more lines change, NEW counts as worse."""
    source_lang: Annotated[str | None, Flags("-s")] = None
    """Language of the input (default: that of the run, when it has one direction)."""
    target_lang: Annotated[str | None, Flags("-t")] = None
    """Language of the outputs (default: that of the run, when it has one direction)."""
    batch_tokens: Annotated[int, Flags("--max-tokens")] = 8000
    """Maximum number of source tokens times beams in a batch."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""
    precision: Literal["auto", "bf16", "fp16", "fp32", "int8"] = "auto"
    """Precision of both models; int8 uses 8-bit weights, only on a CPU."""
    format: Literal["text", "json"] = "text"
    """Output format of the report."""

    def __post_init__(self) -> None:
        check(
            *positive(self, "batch_tokens"),
            *not_negative(self, "worst"),
            (
                0 <= self.max_changed <= 1,
                "max_changed",
                f"must lie in [0, 1], got {self.max_changed}",
            ),
            (0 < self.alpha < 1, "alpha", f"must lie in (0, 1), got {self.alpha}"),
        )

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """Rules that say which options have no effect: without references, those about scores."""
        return (
            UnusedOption(
                self.ref is None,
                "metric alpha",
                "nothing is scored without --ref",
                misleading=True,
            ),
        )


def run(
    options: CompareConfig,
    search: GenerationConfig,
    given: Annotated[dict[str, Any], GivenSearch],
    old: Annotated[
        Path,
        typer.Argument(
            metavar="OLD", help="A run, a checkpoint, or a file of outputs."
        ),
    ],
    new: Annotated[
        Path,
        typer.Argument(
            metavar="NEW", help="The run, checkpoint or file to compare with OLD."
        ),
    ],
) -> None:
    """Compare the outputs of two models, print the report, and exit with 3 if the new model is worse.

    It is worse if a metric is significantly lower, or if more lines changed than --max-changed allows.
    """
    from masscli.metrics import build_metrics
    from masscli.reporting.comparison import compare_outputs

    _check_unused_options(options, search, old.is_file() and new.is_file())
    if given_again((old, new)):
        warn(f"{old} and {new} are the same")
    metrics = ScoreConfig(metric=options.metric)
    # An unknown metric is refused before anything is translated.
    build_metrics(metrics)
    sources, references = _read_input(options)
    # Files that do not belong together are refused before anything is translated.
    read = _read_outputs((old, new), sources)
    old_outputs, old_speed = _outputs(old, sources, read, given, options)
    new_outputs, new_speed = _outputs(new, sources, read, given, options)
    if references is not None:
        warn(*check_duration(str(new), new_outputs, [references], metrics))
    speeds = {str(old): old_speed, str(new): new_speed}
    comparison = compare_outputs(
        sources, old_outputs, new_outputs, references, metrics, options.worst
    )
    reasons = _reasons(comparison, options)
    if options.format == "json":
        fields = {
            **asdict(comparison),
            "sentences_per_second": speeds,
            "worse_because": reasons,
        }
        print(json_line(fields))
    else:
        _print_report(comparison, speeds)
    for reason in reasons:
        print(f"{new} is worse than {old}: {reason}", file=sys.stderr)
    # A status of its own, so that a pipeline can tell a worse model from a mistake (2).
    if reasons:
        raise typer.Exit(WORSE)


def _check_unused_options(
    options: CompareConfig, search: GenerationConfig, only_files: bool
) -> None:
    """Print warnings about options without effect; raise ConfigError for --prefix-size.

    `only_files` says that both outputs are read from files, so that nothing is translated.
    """
    reason = "OLD and NEW are files of outputs"
    search_options = " ".join(option.key for option in iter_options(GenerationConfig))
    check_changed_options(
        search,
        UnusedOption(True, "prefix_size", "there is no --prefix here", True),
        UnusedOption(only_files, search_options, reason),
        UnusedOption(True, "nbest", "the best output of each line is compared"),
    )
    model_options = "source_lang target_lang batch_tokens device precision"
    check_changed_options(options, UnusedOption(only_files, model_options, reason))


def _reasons(comparison: Comparison, options: CompareConfig) -> list[str]:
    """Return the reasons why the new model counts as worse, as texts; an empty list if it does not."""
    reasons = []
    for name in comparison.significantly_worse(options.alpha):
        reasons.append(f"{name} is lower (p < {options.alpha:g})")
    share = comparison.changed_share
    if share > options.max_changed:
        reasons.append(
            f"{share:.1%} of the lines changed (--max-changed {options.max_changed:g})"
        )
    return reasons


def _read_input(options: CompareConfig) -> tuple[list[str], list[str] | None]:
    """Return the lines of --input, and those of --ref if it is given.

    Raises MasscliError if there are no lines, or if the number of references differs.
    """
    warn_of_examples(options.input, options.ref)
    sources = list(source_lines(options.input))
    if not sources:
        raise MasscliError(
            f"--input {options.input}: has no lines", "give it some text"
        )
    if options.ref is None:
        return sources, None
    references = list(translation_lines(options.ref))
    _check_number(references, f"--ref {options.ref}", sources)
    return sources, references


def _read_outputs(
    paths: Sequence[Path], sources: Sequence[str]
) -> dict[Path, list[str]]:
    """Return the lines of those of `paths` that are files of outputs; the others are runs or checkpoints.

    Outputs may be text, or JSON lines of `masscli generate`. Raises MasscliError if one of the paths does not
    exist, or if a file has not as many outputs as there are `sources`.
    """
    read = {}
    for path in paths:
        if path.is_file():
            # JSON lines are read as what they are.
            if guess_format(path) != "jsonl":
                warn_of_examples(path)
            read[path] = output_lines(path)
            _check_number(read[path], str(path), sources)
        elif not path.exists():
            raise MasscliError(
                f"{path}: no such run, checkpoint or file of outputs",
                missing_file_hint(path),
            )
    return read


def _check_number(lines: Sequence[str], name: str, sources: Sequence[str]) -> None:
    """Raise MasscliError unless there is a line for each source; `name` is what the error calls them."""
    if len(lines) != len(sources):
        raise MasscliError(
            f"{name}: {count_of(len(lines), 'line')}, but --input has {len(sources):,}",
            "each line of the input needs one",
        )


def _outputs(
    path: Path,
    sources: Sequence[str],
    read: Mapping[Path, list[str]],
    given: Mapping[str, Any],
    options: CompareConfig,
) -> tuple[list[str], float | None]:
    """Return the outputs for `sources` and the speed in sentences per second.

    A run or checkpoint translates them, with the search options that were typed (`given`) or that it has
    itself; outputs of a file are in `read`, by its path, and their speed is None.
    """
    if path in read:
        return read[path], None
    from masscli.api.ensemble import Ensemble
    from masscli.api.text_model import TextModel

    # Models are opened one after the other, so that only one of them is in memory.
    ensemble = Ensemble.open([path], options.device, options.precision)
    model = TextModel.open(
        ensemble, source=options.source_lang, target=options.target_lang
    )
    warn(*model.warnings)
    search = model.search_config(given)
    decoder = model.decoder(search, batch_tokens=options.batch_tokens)
    translator = model.translator(decoder)
    # Loading is not part of the speed.
    started = time.perf_counter()
    translations = translator.translate(sources, model.task.source, model.task.target)
    lines = [one_line(hypotheses[0].text) for hypotheses in translations]
    seconds = time.perf_counter() - started
    for warning in translator.report.warnings(translator.max_source_length):
        warn(f"{path}: {warning}")
    return lines, len(lines) / seconds


def _print_report(comparison: Comparison, speeds: Mapping[str, float | None]) -> None:
    """Print a comparison as text; `speeds` are in sentences per second by model, None for files."""
    from masscli.cli.score_formats import as_table

    print(f"lines    {comparison.lines:,}")
    counts = f"{comparison.changed:,} ({comparison.changed_share:.1%})"
    if comparison.better is not None:
        counts += f": {comparison.better:,} better, {comparison.worse:,} worse by chrF"
    print(f"changed  {counts}")
    for name, speed in speeds.items():
        if speed is not None:
            print(f"speed    {speed:.1f} sentences/s  {name}")
    if comparison.new_scores:
        print()
        print(as_table({"old": comparison.old_scores, "new": comparison.new_scores}))
    _print_worst(comparison)


def _print_worst(comparison: Comparison) -> None:
    """Print the lines whose chrF fell most, with their source, reference and both outputs."""
    if comparison.worst:
        measure = "largest changes, by chrF of the new output against the old one"
        if comparison.new_scores:
            measure = "largest regressions, by chrF against the reference"
        print(f"\n{measure}:")
    for line in comparison.worst:
        # Without a reference, the old output takes its place.
        scores = f"{line.new_score:.1f}"
        if line.reference is not None:
            scores = f"{line.old_score:.1f} -> {scores}"
        print(f"line {line.number}: {scores}")
        print(f"  source     {line.source}")
        if line.reference is not None:
            print(f"  reference  {line.reference}")
        print(f"  old        {line.old}")
        print(f"  new        {line.new}")

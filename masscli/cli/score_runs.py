"""Measure runs on a split of their data: `masscli score RUN --gen-subset SPLIT`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from masscli.cli.messages import warn
from masscli.core.config import UnusedOption, config, is_changed, iter_options
from masscli.core.errors import MasscliError
from masscli.metrics.config import ScoreConfig
from masscli.metrics.perplexity import metric_text
from masscli.reporting.score_log import LoggedScore, append_scores

if TYPE_CHECKING:
    from masscli.training.setup.measure import Measurement

USED_OPTIONS = ("format",)
"""Options of `ScoreConfig` that are allowed with --gen-subset, too."""


@config
class MeasureConfig:
    """Measuring runs instead of files."""

    gen_subset: str | None = None
    """Measure runs on this split (test, valid, ...)."""
    data: Path | None = None
    """Data of --gen-subset (default: those of the run)."""
    context_window: int | None = None
    """With --gen-subset: measure the perplexity of running text in windows whose first N tokens are
    context that is not scored again."""
    device: str = "auto"
    """Device of --gen-subset: cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Precision of --gen-subset; auto as in `masscli generate`."""

    @property
    def is_asked_for(self) -> bool:
        """Whether runs are to be measured: an option other than `device` and `precision` was given."""
        return (self.gen_subset, self.data, self.context_window) != (None, None, None)

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rules that say which options have no effect, with the reason for each."""
        reason = "no model is run without --gen-subset"
        return (UnusedOption(not self.is_asked_for, "device precision", reason),)


def score_runs(
    options: ScoreConfig,
    request: MeasureConfig,
    runs: Sequence[Path],
    ref: Sequence[Path] | None,
    append: Path | None,
    tags: Mapping[str, str],
) -> None:
    """Measure each of `runs`, print its metrics and, if `append` names a log, add them to it with `tags`.

    Raises MasscliError if an option is given that only applies to files with outputs.
    """
    _check(options, request, runs, ref)
    measured = {}
    for path in runs:
        measured[str(path)] = _measure(path, request)
        warn(*measured[str(path)].warnings)
    if options.format == "json":
        print(_as_json(measured, str(request.gen_subset)))
    else:
        print(_as_lines(measured))
    # The signature keeps losses of one split from being compared with those of another.
    if append is not None:
        _append(append, measured, f"split:{request.gen_subset}", tags)


def _check(
    options: ScoreConfig,
    request: MeasureConfig,
    runs: Sequence[Path],
    ref: Sequence[Path] | None,
) -> None:
    """Raise MasscliError for options that do not go with runs, and for a path that is none."""
    if request.gen_subset is None:
        raise MasscliError(
            "--data and --context-window: are for runs", "add --gen-subset test"
        )
    if ref is not None:
        raise MasscliError(
            "--ref: the references of --gen-subset are those of the data",
            "leave it out",
        )
    for option in iter_options(type(options)):
        # An option that still has its default was most likely not given.
        if option.key not in USED_OPTIONS and is_changed(options, option.key):
            flag = f"--{option.key.replace('_', '-')}"
            raise MasscliError(
                f"{flag}: a run is measured as validation does it",
                "leave it out, or score what `masscli generate` or `predict` writes",
            )
    for path in runs:
        if not path.is_dir():
            raise MasscliError(
                f"{path}: is not a run or checkpoint", "name the folder of a run"
            )


def _measure(path: Path, request: MeasureConfig) -> Measurement:
    """Return everything that validation measures of a run, or its perplexity on running text."""
    from masscli.training.precision import choose_device
    from masscli.training.setup.measure import TrainedRun

    run = TrainedRun(
        path, request.data, choose_device(request.device), request.precision
    )
    if request.context_window is not None:
        return run.measure_running_text(str(request.gen_subset), request.context_window)
    return run.measure(str(request.gen_subset))


def _as_lines(measured: Mapping[str, Measurement]) -> str:
    """Return the report as text: a line for each metric, after the name of its run if there are several."""
    rows = []
    for run, measurement in measured.items():
        prefix = f"{run}  " if len(measured) > 1 else ""
        for name, value in measurement.metrics.items():
            rows.append(
                (
                    f"{prefix}{name}",
                    metric_text(value, ".4f"),
                    measurement.signatures.get(name, ""),
                )
            )
    width = max(len(name) for name, _, _ in rows)
    value_width = max(len(value) for _, value, _ in rows)
    lines = []
    for name, shown_value, signature in rows:
        line = f"{name:<{width}} = {shown_value:>{value_width}}  {signature}"
        # Many metrics have no signature.
        lines.append(line.rstrip())
    return "\n".join(lines)


def _as_json(measured: Mapping[str, Measurement], split: str) -> str:
    """Return a JSON list with one object for each run and metric; values are not rounded."""
    objects = []
    for run, measurement in measured.items():
        for name, value in measurement.metrics.items():
            fields = {"run": run, "split": split, "name": name, "value": value}
            if name in measurement.signatures:
                fields["signature"] = measurement.signatures[name]
            objects.append(fields)
    return json.dumps(objects, ensure_ascii=False, indent=1)


def _append(
    path: Path, measured: Mapping[str, Measurement], split: str, tags: Mapping[str, str]
) -> None:
    """Append metrics with their tags to the log `path`; several runs get the tag `run` with their path.

    A metric without a signature gets `split` as its signature.
    """
    logged = []
    for run, measurement in measured.items():
        own_tags = dict(tags)
        # Without it, the scores of several runs would replace each other in the log.
        if len(measured) > 1:
            own_tags["run"] = run
        for name, value in measurement.metrics.items():
            signature = measurement.signatures.get(name, split)
            logged.append(LoggedScore(name, value, signature, tuple(own_tags.items())))
    append_scores(path, logged)

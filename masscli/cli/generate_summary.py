"""What `masscli generate` reports of its work: a summary with warnings, and its speed for a log of scores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from masscli.cli.messages import warn
from masscli.core.listing import count_of
from masscli.generation.config import GenerateConfig, GenerationConfig
from masscli.reporting.score_log import parse_tags

if TYPE_CHECKING:
    from masscli.api.text_model import TextModel
    from masscli.generation.translation import Report


def summarize(
    verb: str, report: Report, max_source: int, loading: float, seconds: float
) -> None:
    """Print the warnings of a report, perplexities if outputs were scored, and a line with counts and speed.

    `max_source` is the length in pieces at which sources are truncated. `loading` and `seconds` are the times
    in seconds of loading the model and of the work after it; `verb` says what was done to the lines.
    """
    from masscli.metrics.perplexity import metric_text, perplexity

    warn(*report.warnings(max_source))
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


def append_speed(
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
        warn("--append: the input has no lines, so that there is no speed to add")
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

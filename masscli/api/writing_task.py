"""Choose what a trained model generates: for which of its tasks, and from which language to which.

A checkpoint may have been trained on several streams (a dataset with an objective, see
masscli/training/recipe.py), and so for several directions or generation tasks. These functions take what the
user has specified, or nothing, and return the only task that fits. They raise MasscliError, with a hint on
what to specify, if several do. For a run that was only pre-trained they guess a direction, with a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from masscli.api.trained_languages import (
    tells_languages_apart,
    untrained_languages,
)
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.objectives.write.options import ConditionalGenerationOptions
from masscli.training.recipe import StreamConfig


@dataclass(frozen=True, slots=True)
class WritingTask:
    """A generation task: the source and target languages, and the training stream that learned the task.

    `stream` is None if the languages alone say what to do, as in translation.
    """

    source: str
    target: str
    stream: StreamConfig | None
    warnings: tuple[str, ...] = ()
    """What a user should know before relying on the output."""


def select_writing_task(
    checkpoint: Checkpoint,
    stream_name: str | None,
    source: str | None,
    target: str | None,
) -> WritingTask:
    """Return the only generation task with this stream name, source language and target language.

    Each of the three may be None, which fits everything. For a run that was trained neither for a direction
    nor for a task, a language that is None is guessed, with a warning. Raises MasscliError if no task fits,
    or several.
    """
    stream = _select_stream(checkpoint, stream_name, source, target)
    if stream is not None:
        return WritingTask(*_languages_of(stream), stream)
    task = _select_direction(checkpoint, source, target)
    return replace(
        task, warnings=(*task.warnings, *_language_warnings(checkpoint, task))
    )


def _select_stream(
    checkpoint: Checkpoint,
    stream_name: str | None,
    source: str | None,
    target: str | None,
) -> StreamConfig | None:
    """Return the stream `stream_name`; if that is None, the only one that generates text from a table.

    The result is None if no stream over a table has the given languages, so that the languages alone say what
    to do. Raises MasscliError if the named stream does not exist or has other languages, or if several tasks
    fit.
    """
    # Only tasks that write can be meant: those over tables, and directions of translation.
    table_tasks = checkpoint.writers
    candidates = {}
    for name, stream in checkpoint.recipe.stream.items():
        if name in table_tasks or stream.objective.input_kind.has_direction:
            candidates[name] = stream
    listed = ", ".join(candidates)
    if stream_name is not None:
        if stream_name not in candidates:
            raise MasscliError(
                f"--stream {stream_name}: {checkpoint.path} has no such generation task",
                f"it has {listed or 'none'}",
            )
        _check_languages(stream_name, candidates[stream_name], source, target)
        return candidates[stream_name]
    # A task over a table reads and writes one language, so both languages must be that one or open.
    fitting = [
        name
        for name, options in table_tasks.items()
        if {source, target} <= {None, options.language}
    ]
    if not fitting:
        return None
    # If there are directions too, a language alone does not say whether the table is meant.
    both_given = source is not None and target is not None
    if len(fitting) > 1 or not (both_given or len(candidates) == 1):
        raise MasscliError(
            f"{checkpoint.path}: has several tasks",
            f"masscli generate --stream NAME chooses one of {listed}",
        )
    return candidates[fitting[0]]


def _check_languages(
    name: str, stream: StreamConfig, source: str | None, target: str | None
) -> None:
    """Raise MasscliError if `source` or `target` is given but is not that language of the stream `name`."""
    known_source, known_target = _languages_of(stream)
    for flag, given, known in (
        ("-s", source, known_source),
        ("-t", target, known_target),
    ):
        if given not in (None, known):
            raise MasscliError(
                f"{flag} {given}: the language of --stream {name} is {known}",
                "leave one of them out",
            )


def _languages_of(stream: StreamConfig) -> tuple[str, str]:
    """Return the source and the target language of a training stream."""
    if isinstance(stream.objective, ConditionalGenerationOptions):
        return stream.objective.language, stream.objective.language
    source, target = stream.dataset.split("-")
    return source, target


def _select_direction(
    checkpoint: Checkpoint, source: str | None, target: str | None
) -> WritingTask:
    """Return the task of translating from `source` to `target`, without a stream.

    A language that is None is filled in if the run was trained for a single direction that fits, or if it was
    not trained for any direction. A model without an encoder reads and writes the same language, unless two
    are given. Raises MasscliError for a language that the model does not know, or if none or several of the
    trained directions fit.
    """
    known = list(checkpoint.framing().vocab.languages)
    _check_known(known, source, target)
    # A decoder alone continues the prompt in the language of the prompt.
    is_decoder = not checkpoint.recipe.model.encoder_layers
    given_languages = {source, target} - {None}
    if is_decoder and len(given_languages) < 2:
        first_dataset = next(iter(checkpoint.recipe.stream.values())).dataset
        language = target or source or first_dataset
        return WritingTask(language, language, None)
    # Two languages may be any, since a model of several languages can be asked for a direction that it never
    # saw.
    trained = checkpoint.directions
    if source is not None and target is not None:
        warnings = []
        if trained and (source, target) not in trained:
            warnings.append(
                f"trained for {_list_directions(trained)}, not for {source}-{target}"
            )
        return WritingTask(source, target, None, tuple(warnings))
    if not trained:
        return _guess_direction(known, source, target)
    return WritingTask(*_fitting_direction(trained, source, target), None)


def _language_warnings(checkpoint: Checkpoint, task: WritingTask) -> list[str]:
    """Return warnings if the languages of a task mean nothing to the model, or if it never read them."""
    direction = (task.source, task.target)
    if direction in checkpoint.directions:
        return []
    warnings = []
    untrained = untrained_languages(checkpoint, direction)
    if untrained:
        warnings.append(
            f"the run was never trained on text of {' or '.join(untrained)}"
        )
    knows_several = len(checkpoint.framing().vocab.languages) > 1
    if knows_several and not tells_languages_apart(checkpoint):
        warnings.append(
            "the model does not tell languages apart: -s and -t do not decide in which one it writes"
        )
    return warnings


def _fitting_direction(
    trained: Sequence[tuple[str, str]], source: str | None, target: str | None
) -> tuple[str, str]:
    """Return the only one of the `trained` directions with this source or target, of which one may be None.

    Raises MasscliError if there is none, or if there are several.
    """
    fitting = []
    for known_source, known_target in trained:
        if source in (None, known_source) and target in (None, known_target):
            fitting.append((known_source, known_target))
    if not fitting:
        # One of the two languages is given, or any direction would have fitted.
        asked = f"into {target}" if source is None else f"from {source}"
        raise MasscliError(
            f"the run was not trained to translate {asked}",
            f"it was trained for {_list_directions(trained)}; -s and -t together choose another direction",
        )
    if len(fitting) > 1:
        raise MasscliError(
            "the direction is ambiguous",
            f"choose it with -s and -t; the run was trained for {_list_directions(trained)}",
        )
    return fitting[0]


def _check_known(known: Sequence[str], source: str | None, target: str | None) -> None:
    """Raise MasscliError if `source` or `target` is neither None nor one of the `known` languages."""
    for flag, language in (("--source-lang", source), ("--target-lang", target)):
        if language is not None and language not in known:
            raise MasscliError(
                f"{flag} {language}: the model does not know this language",
                f"it knows {', '.join(known)}",
            )


def _guess_direction(
    known: Sequence[str], source: str | None, target: str | None
) -> WritingTask:
    """Return a task for a model that was only pre-trained, with a warning that it cannot translate yet.

    A language that is None becomes the first known language that is not the other one. What such a model
    generates in another language is an early sign of successful pre-training.
    """
    # The first language that is not the other one; of a single language, both.
    source = source or next(
        (language for language in known if language != target), known[0]
    )
    target = target or next(
        (language for language in known if language != source), source
    )
    warning = (
        f"the run was not trained to translate; reading {source}, writing {target} "
        "(choose with -s and -t)"
    )
    return WritingTask(source, target, None, (warning,))


def writing_stack(
    checkpoint: Checkpoint, task: WritingTask
) -> Literal["encoder", "decoder"] | None:
    """Return the only stack (encoder or decoder) to generate with, or None to generate with both.

    A single stack is used if all training streams of the task used that stack alone. If the task has no
    stream of its own, the streams of its direction count, or else all streams that generate text.
    """
    objectives = [stream.objective for stream in _streams_of_task(checkpoint, task)]
    if not objectives:
        return None
    # Streams that disagree were trained with encoder and decoder together.
    if all(objective.encoder_generates for objective in objectives):
        return "encoder"
    if all(objective.stacks == "decoder" for objective in objectives):
        return "decoder"
    return None


def _streams_of_task(checkpoint: Checkpoint, task: WritingTask) -> list[StreamConfig]:
    """Return the streams of a checkpoint that were trained for this task.

    If there are none, return those of its translation direction, or else all that generate text.
    """
    generating = [
        s for s in checkpoint.recipe.stream.values() if s.objective.generates_text
    ]
    if task.stream is not None:
        same_task = [stream for stream in generating if _same_task(stream, task.stream)]
        if same_task:
            return same_task
    direction = f"{task.source}-{task.target}"
    # Several streams may have learned one direction, with different stacks.
    same_direction = []
    for stream in generating:
        if stream.objective.input_kind.has_direction and stream.dataset == direction:
            same_direction.append(stream)
    return same_direction or generating


def _same_task(first: StreamConfig, second: StreamConfig) -> bool:
    return (
        first.dataset == second.dataset
        and first.objective.name == second.objective.name
    )


def _list_directions(directions: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{source}-{target}" for source, target in directions)

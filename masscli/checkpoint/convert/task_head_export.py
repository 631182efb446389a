"""Convert heads of downstream tasks to those of Hugging Face's classes, with their labels.

head_classes.py lists the classes. masscli's regression head predicts numbers scaled to [0, 1]. Hugging
Face's class does no scaling, so the scale is folded into the weights and the bias of the last layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.families import Family, Names
from masscli.checkpoint.convert.head_classes import (
    CHOICES,
    SPANS,
    TEXTS,
    WORDS,
    HeadClass,
    class_name,
    head_class,
)
from masscli.models.config import ModelConfig
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.labeled.options import (
    ChooseOptions,
    ClassifyOptions,
    RegressOptions,
    TagOptions,
    TextTaskOptions,
)
from masscli.objectives.registry import ObjectiveConfig
from masscli.objectives.shared.table_options import TableOptions


@dataclass(frozen=True)
class ConvertedHead:
    """The head of a downstream task or of pre-training, converted to a Hugging Face class."""

    class_name: str
    tensors: dict[str, Tensor]
    """The tensors of the head by Hugging Face's names."""
    our_names: list[str]
    """Names of the masscli tensors that it was converted from, as `STREAM.NAME`."""
    config: dict[str, Any]
    """Entries of config.json about the head: its dropout and its labels."""
    unused_parts: list[Names]
    """Tables of tensor names for the parts of the model that the class does not have."""
    note: str | None
    """A note for the user on how texts must be formatted for it; None for a head of pre-training."""


def convert_task_head(
    family: Family, checkpoint: Checkpoint, objective_state: Mapping[str, Tensor]
) -> ConvertedHead | None:
    """Convert the head of a fine-tuned run to a class of the family; return None if no class fits.

    `objective_state` holds the tensors of the checkpoint's objectives by `STREAM.NAME`. No class fits a
    run with several streams, since it has several heads, nor a head with tensors that the class does
    not have.
    """
    # A run with several tasks has several heads, but a class has only one.
    if len(checkpoint.recipe.stream) != 1:
        return None
    [(stream, stream_config)] = checkpoint.recipe.stream.items()
    options = stream_config.objective
    if not isinstance(options, TableOptions):
        return None
    suffix = _suffix(options)
    head = head_class(family, suffix)
    if head is None or not _corresponds(head, options, checkpoint.recipe.model):
        return None
    names = {}
    for ours, theirs in head.tensor_names().items():
        names[theirs] = f"{stream}.{ours}"
    # A head with more tensors would be exported only in part, and compute something else.
    if set(names.values()) != set(objective_state):
        return None

    tensors = {theirs: objective_state[ours] for theirs, ours in names.items()}
    if isinstance(options, RegressOptions):
        assert options.low is not None and options.high is not None
        _unscale(tensors, head.layers["head.out"], options.low, options.high)
    # Classes without a pooler read the states themselves.
    unused_parts = [family.lm_head]
    if not head.pooler:
        unused_parts.append(family.pooler)
    return ConvertedHead(
        class_name=class_name(family, suffix),
        tensors=tensors,
        our_names=list(names.values()),
        config=_head_config(head, options),
        unused_parts=unused_parts,
        note=_framing_note(options),
    )


def missing_class_note(family: Family, checkpoint: Checkpoint) -> str | None:
    """Return why no class of the family has the head of a run that was fine-tuned for one task.

    Return None if there is no such head, or if its options do not say why.
    """
    if len(checkpoint.recipe.stream) != 1:
        return None
    [stream] = checkpoint.recipe.stream.values()
    options = stream.objective
    if not isinstance(options, TableOptions):
        return None
    suffix = _suffix(options)
    head = head_class(family, suffix)
    if head is None:
        return "no class of Hugging Face's library has such a head"
    name = class_name(family, suffix)
    if options.head != head.head:
        return (
            f"{name} has the head of --head {head.head}, not of --head {options.head}"
        )
    if head.pooler and not checkpoint.recipe.model.pooler:
        return f"the head of {name} reads a pooler, which this model lacks"
    if head.pooler is False and checkpoint.recipe.model.pooler:
        return f"the head of {name} reads no pooler, but this model has one"
    return None


def _framing_note(options: TableOptions) -> str:
    """Return a note for the user on how texts must be formatted, which tokenizer files do not say.

    It names the format of pairs (BERT's or RoBERTa's) and the maximum number of tokens.
    """
    pair_format = options.pair_format
    if pair_format == "auto":
        pair_format = "bert"
    return (
        f"it reads texts framed as those of {pair_format} (see masscli finetune --help), "
        f"of at most {options.max_length} tokens"
    )


def _unscale(tensors: dict[str, Tensor], layer: str, low: float, high: float) -> None:
    """Change the last layer so that it predicts numbers from `low` to `high` instead of from 0 to 1.

    Its weight and bias are replaced in `tensors`, where `layer` is its name.
    """
    tensors[f"{layer}.weight"] = tensors[f"{layer}.weight"] * (high - low)
    tensors[f"{layer}.bias"] = tensors[f"{layer}.bias"] * (high - low) + low


def _suffix(options: ObjectiveConfig) -> str:
    """Return what the name of a class with a head for the task of `options` ends in; "" if there is none."""
    match options:
        # A head over both orders of two texts adds the states of two passes, which no class there does.
        case TextTaskOptions(both_orders=False):
            return TEXTS
        case TagOptions():
            return WORDS
        case ExtractOptions(qa_head="linear"):
            return SPANS
        case ChooseOptions():
            return CHOICES
    return ""


def _corresponds(head: HeadClass, options: TableOptions, model: ModelConfig) -> bool:
    """Return whether a class computes the same as masscli's head with these options on this model."""
    return options.head == head.head and head.pooler in (None, model.pooler)


def _head_config(head: HeadClass, options: TableOptions) -> dict[str, Any]:
    """Return the entries of config.json about a head: its dropout and its labels."""
    labels = _label_config(options)
    if head.dropout_key is None:
        return labels
    return {head.dropout_key: options.dropout, **labels}


def _label_config(options: ObjectiveConfig) -> dict[str, Any]:
    """Return the entries of config.json about a task's labels and type; none for tasks without labels.

    A regression counts as a task with one label.
    """
    match options:
        case ClassifyOptions(labels=labels):
            return {**_label_ids(labels), "problem_type": "single_label_classification"}
        case TagOptions(labels=labels):
            return _label_ids(labels)
        case RegressOptions():
            return {**_label_ids(("LABEL_0",)), "problem_type": "regression"}
    return {}


def _label_ids(labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "id2label": {str(label_id): label for label_id, label in enumerate(labels)},
        "label2id": {label: label_id for label_id, label in enumerate(labels)},
    }

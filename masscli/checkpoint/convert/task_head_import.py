"""Import the head of a downstream task from one of Hugging Face's classes, as the head of a fine-tuned run.

head_classes.py lists the classes. A head that no task of masscli computes is not imported, and a note says
why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from masscli.checkpoint.convert.families import Family
from masscli.checkpoint.convert.head_classes import (
    CHOICES,
    SPANS,
    SUFFIXES,
    TEXTS,
    WORDS,
    XLM_SPANS,
    HeadClass,
    class_name,
    head_class,
    why_not_imported,
)
from masscli.checkpoint.convert.published import to_float32
from masscli.checkpoint.convert.tensors import Tensors
from masscli.checkpoint.convert.vocabulary import PAIR_FORMATS, ImportedVocabulary
from masscli.core.digits import parse_digits
from masscli.core.errors import MasscliError
from masscli.core.listing import list_some
from masscli.models.config import ModelConfig
from masscli.objectives.registry import PairFormatName
from masscli.text.single_line import one_line

_LISTED_LABELS = 10
"""Maximum number of labels that a note lists."""
_WINDOW = (384, 64, 128)
"""The defaults of --max-length, --max-query and --doc-stride for questions (Devlin et al. 2019)."""
_SHORTEST = 8
"""The smallest --max-length."""
_DEFAULT_LABELS = 2
"""Hugging Face's number of labels if config.json does not give any."""


@dataclass(frozen=True)
class Published:
    """A published model: its family, config.json, weights and vocabulary."""

    family: Family
    config: Mapping[str, Any]
    """The content of config.json."""
    model: ModelConfig
    """The model that config.json describes."""
    tensors: Tensors
    """The weights, with the names that `normalize_names` gives."""
    stored: int
    """Number of tensors in the file of the weights, including buffers, which are not among `tensors`."""
    vocab_size: int
    """Number of token embeddings."""
    vocabulary: ImportedVocabulary
    language: str
    """The language of its texts."""
    config_path: Path
    weights_path: Path


@dataclass(frozen=True)
class ImportedHead:
    """What a published model was trained for, as the objective of a run, with its head and its model."""

    objective: dict[str, Any]
    """The task and its options, as in a recipe; without the head of a task, the objective of the family."""
    tensors: dict[str, Tensor]
    """The tensors of the head of a task, by masscli's names; empty if there is none."""
    model: ModelConfig
    """The model without the parts that the class of the head lacks."""
    rest: Tensors
    """The published tensors of this model, by Hugging Face's names."""
    unread: list[str]
    """Names of published tensors of parts that the class of the head lacks."""
    notes: list[str]
    """Notes for the user: the class, the task, and how it reads texts, or why there is no head."""


class _LeftBehindError(Exception):
    """A head is not imported; the message is the reason, for a note."""


def read_task_head(published: Published) -> ImportedHead:
    """Return the head of a downstream task, if a published model has one that masscli knows.

    Raises MasscliError, which names a file, if only a part of the head exists, if a tensor does not have the
    shape that the task asks for, or if a setting is wrong.
    """
    family = published.family
    suffix = _suffix(published)
    stored = {
        name for name in published.tensors if name.startswith(family.task_prefixes)
    }
    notes = []
    try:
        if suffix is not None or stored:
            return _read_head(published, suffix, stored)
    except _LeftBehindError as reason:
        notes.append(f"the head of its task is not imported: {reason}")
    objective = {"name": family.objective}
    return ImportedHead(objective, {}, published.model, published.tensors, [], notes)


def _suffix(published: Published) -> str | None:
    """Return what the name of the model's class ends in; None if it has no head that masscli knows."""
    classes = published.config.get("architectures")
    if not isinstance(classes, list) or not classes:
        return None
    for suffix in SUFFIXES:
        if str(classes[0]).endswith(suffix) and head_class(published.family, suffix):
            return suffix
    return None


def _read_head(
    published: Published, suffix: str | None, stored: set[str]
) -> ImportedHead:
    """Return the head of the class whose name ends in `suffix`.

    `stored` are the names of all tensors of heads in the weights. Raises _LeftBehindError if masscli has no
    such head, and MasscliError as `read_task_head` does.
    """
    if suffix is None:
        raise _LeftBehindError(_why_unknown(published))
    found = head_class(published.family, suffix)
    assert found is not None
    name = class_name(published.family, suffix)
    _check_structure(name, found, published, stored)
    labels: tuple[str, ...] = ()
    if suffix in (TEXTS, WORDS):
        labels = _labels(published, found.layers["head.out"])
    objective = {
        **_task(suffix, labels, published.config),
        "head": found.head,
        "head_dropout": _dropout(found, published),
        "pair_format": published.vocabulary.pair_format or _usual_format(published),
        "language": published.language,
        **_lengths(suffix, published),
    }
    # For spans, the scores are those of starts and of ends.
    outputs = len(labels) or (1 if suffix == CHOICES else 2)
    head = {}
    for ours, theirs in found.tensor_names().items():
        head[ours] = _tensor(theirs, ours, outputs, published)
    model, unread = _without_unread_parts(found, published)
    taken = {*found.tensor_names().values(), *unread}
    rest = {
        theirs: tensor
        for theirs, tensor in published.tensors.items()
        if theirs not in taken
    }
    return ImportedHead(
        objective, head, model, rest, unread, _notes(name, objective, published)
    )


def _why_unknown(published: Published) -> str:
    """Return why the head of a model is not one that masscli knows, by its config.json, as a clause."""
    config, family = published.config, published.family
    named = config.get("architectures")
    if isinstance(named, list) and named:
        reason = why_not_imported(str(named[0]))
        if reason is not None:
            return f"that of {named[0]} {reason}"
    spelled = repr(named) if "architectures" in config else "missing"
    reason = f"architectures in config.json is {spelled}, no class with a head that masscli knows"
    if head_class(family, TEXTS) is None:
        return reason
    example = class_name(family, TEXTS)
    return f"{reason}; if the head is that of {example} or another one, name the class there"


def _without_unread_parts(
    head: HeadClass, published: Published
) -> tuple[ModelConfig, list[str]]:
    """Return the model without the parts that a class does not have, and the names of their tensors.

    A pooler that the class does not read would change what its head reads. The head of the pre-training
    objective belongs to another stream than that of the task. A new LM head would be of no use.
    """
    family, model = published.family, published.model
    parts = [family.objective_head]
    if head.pooler is False:
        parts.append(family.pooler)
        model = replace(model, pooler=False)
    lm_head = family.tensor_names(family.lm_head, layers=0).values()
    if not any(theirs in published.tensors for (theirs,) in lm_head):
        model = replace(model, head_transform=False, output_bias=False)
    names = family.tensor_names(*parts, layers=0).values()
    return model, [theirs for (theirs,) in names if theirs in published.tensors]


def _check_structure(
    name: str, head: HeadClass, published: Published, stored: set[str]
) -> None:
    """Raise _LeftBehindError if a head computes something else than that of the class `name`.

    `stored` are the names of all tensors of heads in the weights.
    """
    names = head.tensor_names().values()
    if stored.isdisjoint(names):
        raise _LeftBehindError(f"{published.weights_path} has no {next(iter(names))}")
    unknown = sorted(stored.difference(names))
    if unknown:
        raise _LeftBehindError(f"{name} has no {unknown[0]}")
    for key, required in head.required_config.items():
        value = published.config.get(key, required)
        if value != required:
            raise _LeftBehindError(f"{key} is {value!r}, not {required!r}")
    if head.pooler and not published.model.pooler:
        raise _LeftBehindError(f"that of {name} reads a pooler, which is missing")


def _labels(published: Published, layer: str) -> tuple[str, ...]:
    """Return the labels in config.json in the order of their ids; `layer` is the layer that scores them.

    Raises _LeftBehindError if they cannot be those of a task, and MasscliError as `_numbered_labels` does.
    """
    table = published.config.get("id2label")
    if table is None:
        return _numbered_labels(published, layer)
    labels: dict[int | None, str] = {}
    if isinstance(table, Mapping):
        for key, label in table.items():
            if isinstance(label, str | int):
                labels[parse_digits(key)] = str(label)
    if not labels or len(labels) != len(table) or set(labels) != {*range(len(labels))}:
        raise _LeftBehindError("id2label in config.json has no label for each id")
    in_order = tuple(labels[number] for number in range(len(labels)))
    _check_distinct(in_order)
    return in_order


def _check_distinct(labels: Sequence[str]) -> None:
    """Raise _LeftBehindError if a label is blank or occurs twice."""
    for label in labels:
        if not label.strip():
            raise _LeftBehindError("id2label in config.json has a blank label")
        if labels.count(label) > 1:
            raise _LeftBehindError(
                f"id2label in config.json has several labels {label!r}"
            )


def _numbered_labels(published: Published, layer: str) -> tuple[str, ...]:
    """Return the names that Hugging Face's library gives to labels without one.

    Raises MasscliError if their number is none, or above that of all numbers in the layer that scores them.
    """
    count = published.config.get("num_labels", _DEFAULT_LABELS)
    weight = published.tensors.get(f"{layer}.weight")
    most = 0 if weight is None else weight.numel()
    if type(count) is not int or not 1 <= count <= most:
        raise MasscliError(
            f"{published.config_path}: num_labels is {count!r}",
            "expected the number of labels that the head of the weights scores",
        )
    return tuple(f"LABEL_{number}" for number in range(count))


def _task(
    suffix: str, labels: tuple[str, ...], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the name of masscli's task and the options that depend on the labels.

    `config` is the content of config.json. Raises _LeftBehindError if no task learns such labels.
    """
    if suffix in (SPANS, XLM_SPANS):
        return {"name": "extract"}
    if suffix == CHOICES:
        return {"name": "choose"}
    if suffix == WORDS:
        outside = "O" if "O" in labels else labels[0]
        return {"name": "tag", "labels": labels, "truncated_label": outside}
    problem = config.get("problem_type")
    if len(labels) == 1 and problem in (None, "regression"):
        # Its numbers are not scaled.
        return {"name": "regress", "low": 0.0, "high": 1.0}
    if len(labels) > 1 and problem in (None, "single_label_classification"):
        return {"name": "classify", "labels": labels}
    count = "one label" if len(labels) == 1 else f"{len(labels)} labels"
    raise _LeftBehindError(
        f"problem_type is {problem!r} with {count}, for which masscli has no task"
    )


def _dropout(head: HeadClass, published: Published) -> float:
    """Return the dropout of a head.

    Raises MasscliError if that in config.json is not a probability below 1.
    """
    value = None
    if head.dropout_key is not None:
        value = published.config.get(head.dropout_key)
    if value is None:
        return published.model.dropout
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise MasscliError(
            f"{published.config_path}: {head.dropout_key} is {value!r}",
            "expected a probability below 1",
        )
    return float(value)


def _lengths(suffix: str, published: Published) -> dict[str, int]:
    """Return the options about lengths: what the model and its tokenizer allow, and for questions 384.

    Raises _LeftBehindError if that is too short.
    """
    longest = published.model.max_positions
    if published.vocabulary.max_length is not None:
        longest = min(longest, published.vocabulary.max_length)
    if longest < _SHORTEST:
        raise _LeftBehindError(
            f"it reads {longest} tokens, and masscli at least {_SHORTEST}"
        )
    if suffix not in (SPANS, XLM_SPANS):
        return {"max_length": longest}
    max_length, max_query, doc_stride = _WINDOW
    length = min(longest, max_length)
    # With a quarter each for the question and the stride, no token of a text is between two windows.
    return {
        "max_length": length,
        "max_query": min(max_query, length // 4),
        "doc_stride": min(doc_stride, length // 4),
    }


def _tensor(name: str, ours: str, outputs: int, published: Published) -> Tensor:
    """Return the tensor `name` of a head with `outputs` scores in float32; `ours` is masscli's name of it.

    Raises MasscliError if it is missing or has another shape.
    """
    path = published.weights_path
    if name not in published.tensors:
        raise MasscliError(
            f"{path}: has no {name}, but the rest of this head", "is the file damaged?"
        )
    width = published.model.dim
    rows = outputs if ours.startswith("head.out") else width
    shape = (rows, width) if ours.endswith("weight") else (rows,)
    tensor = to_float32(name, published.tensors[name], str(path))
    if tensor.shape != shape:
        raise MasscliError(
            f"{path}: {name} is {tuple(tensor.shape)}, by config.json {shape}",
            "weights and config.json belong to different models",
        )
    return tensor


def _usual_format(published: Published) -> PairFormatName:
    """Return how the tokenizers of a family usually join two texts."""
    return PAIR_FORMATS[published.family.tokenizer_class]


def _notes(name: str, objective: Mapping[str, Any], published: Published) -> list[str]:
    """Return the notes on an imported head, of the class `name`, with the options `objective`."""
    note = f"{name}: a model of --task {objective['name']}"
    if "labels" in objective:
        labels = [one_line(label) for label in objective["labels"]]
        note += f" with labels {list_some(labels, _LISTED_LABELS)}"
    note += (
        f"; masscli predict gives it texts framed as those of {objective['pair_format']}, "
        f"of at most {objective['max_length']} tokens"
    )
    if published.vocabulary.pair_format is None:
        note += ", since its tokenizer does not say how it joins two texts"
    if not published.vocabulary.cuts_start:
        return [note]
    return [
        note,
        "its tokenizer cuts off the start of a text that is too long (truncation_side), and masscli the end",
    ]

"""Heads of downstream tasks, as Hugging Face's classes have them: which of ours have a counterpart, under what names, with what labels.

    classify, regress   BERT and ALBERT: one layer on the pooler; RoBERTa: tanh between two, ELECTRA: gelu between two, no pooler
    tag                 one layer on every state           extract   two scores of each state (--qa-head linear)
    choose              BERT and ALBERT: one layer on the pooler

A regression here learns numbers scaled to [0, 1]; the scale is multiplied into the layer, since there is none there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.families import Family, Names
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.labelled.options import (
    ChooseOptions,
    ClassifyOptions,
    RegressOptions,
    TagOptions,
    TextTaskOptions,
)
from masscli.objectives.registry import ObjectiveConfig
from masscli.objectives.shared.table_options import TableOptions

_ONE = {"head.out": "classifier"}
_TWO = {"head.dense": "classifier.dense", "head.out": "classifier.out_proj"}
_SPANS = {"head.out": "qa_outputs"}


@dataclass(frozen=True, slots=True)
class _Class:
    """What follows `Bert` in the name of a class there, its layers, and the model and the head (--head) that it is of here."""

    title: str
    layers: Mapping[str, str]
    head: str = "linear"
    pooler: bool | None = None


_POOLED = _Class("ForSequenceClassification", _ONE, pooler=True)
_TEXTS = {
    "bert": _POOLED,
    "albert": _POOLED,
    "roberta": _Class("ForSequenceClassification", _TWO, head="tanh", pooler=False),
    "electra": _Class("ForSequenceClassification", _TWO, head="gelu", pooler=False),
}
_TAGS, _ANSWERS = _Class("ForTokenClassification", _ONE), _Class("ForQuestionAnswering", _SPANS)
_CHOICES = {kind: _Class("ForMultipleChoice", _ONE, pooler=True) for kind in ("bert", "albert")}


@dataclass(frozen=True)
class Tuned:
    """A head with a counterpart: the class, its tensors by their names, ours that they are made of, and what config.json has of it."""

    title: str
    tensors: dict[str, Tensor]
    ours: list[str]
    card: dict[str, Any]
    unused: list[Names]
    """Parts of the model that the class has not."""
    framed: str


def tuned(family: Family, found: Checkpoint, heads: Mapping[str, Tensor]) -> Tuned | None:
    """The head of the only stream of a run, where there is a class for it."""
    [*streams] = found.recipe.stream.items()
    if len(streams) != 1 or not isinstance(streams[0][1].objective, TableOptions):
        return None
    stream, options = streams[0][0], streams[0][1].objective
    kind, model = _class(family, options), found.recipe.model
    if (
        kind is None
        or options.head != kind.head
        or (kind.pooler is not None and kind.pooler is not model.pooler)
    ):
        return None
    names = {
        f"{theirs}.{part}": f"{stream}.{ours}.{part}"
        for ours, theirs in kind.layers.items()
        for part in ("weight", "bias")
    }
    if {*names.values()} != {*heads}:
        return None
    tensors = {theirs: heads[ours] for theirs, ours in names.items()}
    if isinstance(options, RegressOptions):
        assert options.low is not None and options.high is not None
        last = list(kind.layers.values())[-1]
        tensors = {
            name: t * (options.high - options.low) if name.startswith(last) else t
            for name, t in tensors.items()
        }
        tensors[f"{last}.bias"] = tensors[f"{last}.bias"] + options.low
    card = {
        "classifier_dropout_prob" if family.model_type == "albert" else "classifier_dropout": options.dropout,
        **_labels(options),
    }
    frame = "bert" if options.pair_format == "auto" else options.pair_format
    framed = f"it has learned texts framed as those of {frame} (see masscli finetune --help), of at most {options.max_length} tokens"
    unused = [family.output, *([] if kind.pooler else [family.pooler])]
    return Tuned(
        f"{family.classes[2].removesuffix('Model')}{kind.title}",
        tensors,
        [*names.values()],
        card,
        unused,
        framed,
    )


def _class(family: Family, options: ObjectiveConfig) -> _Class | None:
    match options:
        case TextTaskOptions(both_orders=False):
            return _TEXTS.get(family.model_type)
        case TagOptions():
            return _TAGS if family.prefix != "transformer." else None
        case ExtractOptions(qa_head="linear"):
            return _ANSWERS if family.prefix != "transformer." else None
        case ChooseOptions():
            return _CHOICES.get(family.model_type)
    return None


def _labels(options: ObjectiveConfig) -> dict[str, Any]:
    match options:
        case ClassifyOptions(labels=labels):
            return {**_numbered(labels), "problem_type": "single_label_classification"}
        case TagOptions(labels=labels):
            return _numbered(labels)
        case RegressOptions():
            return {**_numbered(("LABEL_0",)), "problem_type": "regression"}
    return {}


def _numbered(labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "id2label": {str(n): label for n, label in enumerate(labels)},
        "label2id": {label: n for n, label in enumerate(labels)},
    }

"""The classes of Hugging Face's library with a head for a downstream task, and how masscli describes them.

    task                class                       head
    classify, regress   ForSequenceClassification   BERT, ALBERT: one layer on the pooler
                                                    others: two layers on the first state with tanh (RoBERTa,
                                                    XLM-R, CamemBERT), gelu (ELECTRA) or relu (DistilBERT)
    tag                 ForTokenClassification      one layer on every state
    extract             ForQuestionAnswering        two scores of each state (--qa-head linear)
    choose              ForMultipleChoice           ELECTRA, DistilBERT: as above; others: as BERT

XLM has one layer on the first state for texts, and calls the class of spans ForQuestionAnsweringSimple; its
heads are imported, but XLM is not exported.

This module does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from masscli.checkpoint.convert.families import Family

TEXTS = "ForSequenceClassification"
WORDS = "ForTokenClassification"
SPANS = "ForQuestionAnswering"
XLM_SPANS = "ForQuestionAnsweringSimple"
CHOICES = "ForMultipleChoice"
SUFFIXES = (TEXTS, WORDS, SPANS, XLM_SPANS, CHOICES)
"""What follows the family's name in the names of the classes; there are four kinds, of which that of spans
has another name in XLM."""


@dataclass(frozen=True, slots=True)
class HeadClass:
    """A Hugging Face class with a head, and the heads and models of masscli that it corresponds to."""

    layers: Mapping[str, str]
    """Names of the head's layers in Hugging Face's class, by masscli's names."""
    head: str = "linear"
    """The value of masscli's option --head that the class corresponds to."""
    pooler: bool | None = None
    """Whether the model must have a pooler (True) or must not (False); None if both are possible."""
    dropout_key: str | None = "classifier_dropout"
    """The key of config.json for the dropout of the head; None if it is that of the layers."""
    required_config: Mapping[str, Any] = field(default_factory=dict)
    """Values that keys of config.json must have if they are present."""

    def tensor_names(self) -> dict[str, str]:
        """Return Hugging Face's names of the head's tensors, by masscli's names."""
        names = {}
        for ours, theirs in self.layers.items():
            for kind in ("weight", "bias"):
                names[f"{ours}.{kind}"] = f"{theirs}.{kind}"
        return names


_ONE_LAYER = {"head.out": "classifier"}
_TWO_LAYERS = {"head.dense": "classifier.dense", "head.out": "classifier.out_proj"}
_SPAN_LAYER = {"head.out": "qa_outputs"}

_POOLED = HeadClass(_ONE_LAYER, pooler=True)
_BERT = {
    TEXTS: _POOLED,
    WORDS: HeadClass(_ONE_LAYER),
    SPANS: HeadClass(_SPAN_LAYER),
    CHOICES: _POOLED,
}
_ROBERTA = _BERT | {TEXTS: HeadClass(_TWO_LAYERS, head="tanh", pooler=False)}
_ALBERT_DROPOUT = "classifier_dropout_prob"
_POOLED_ALBERT = HeadClass(_ONE_LAYER, pooler=True, dropout_key=_ALBERT_DROPOUT)
_ALBERT = {
    TEXTS: _POOLED_ALBERT,
    WORDS: HeadClass(_ONE_LAYER, dropout_key=_ALBERT_DROPOUT),
    SPANS: HeadClass(_SPAN_LAYER, dropout_key=_ALBERT_DROPOUT),
    CHOICES: _POOLED_ALBERT,
}
_ELECTRA = _BERT | {
    TEXTS: HeadClass(_TWO_LAYERS, head="gelu", pooler=False),
    CHOICES: HeadClass(
        {"head.dense": "sequence_summary.summary", "head.out": "classifier"},
        head="gelu",
        pooler=False,
        dropout_key="summary_last_dropout",
        # Other values summarize a sequence by other states or layers.
        required_config={
            "summary_type": "first",
            "summary_use_proj": True,
            "summary_activation": "gelu",
            "summary_proj_to_labels": False,
        },
    ),
}
_FIRST_STATE = HeadClass(
    {"head.dense": "pre_classifier", "head.out": "classifier"},
    head="relu",
    pooler=False,
    dropout_key="seq_classif_dropout",
)
_DISTILBERT = {
    TEXTS: _FIRST_STATE,
    WORDS: HeadClass(_ONE_LAYER, dropout_key=None),
    SPANS: HeadClass(_SPAN_LAYER, dropout_key="qa_dropout"),
    CHOICES: _FIRST_STATE,
}
_XLM = {
    TEXTS: HeadClass(
        {"head.out": "sequence_summary.summary"},
        dropout_key="summary_first_dropout",
        # Other values summarize a text by other states, or in another width.
        required_config={
            "summary_type": "first",
            "summary_use_proj": True,
            "summary_activation": None,
            "summary_proj_to_labels": True,
        },
    ),
    WORDS: HeadClass(_ONE_LAYER, dropout_key=None),
    # Its other class for spans scores their ends given their start.
    XLM_SPANS: HeadClass(_SPAN_LAYER, dropout_key=None),
}
_CLASSES: Mapping[str, Mapping[str, HeadClass]] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
    "albert": _ALBERT,
    "electra": _ELECTRA,
    "xlm": _XLM,
}
"""The classes of each family, by its `model_type` and what follows the family's name in theirs."""

UNSHIFTED = (
    "its decoder reads a text one token later than the encoder, after decoder_start_token_id, and masscli's "
    "tasks read it in both alike"
)
"""Why heads of encoder-decoders are not imported."""
_WITHOUT_FRAME = (
    "reads texts without special tokens around them, and masscli's tasks put some there"
)
_OF_A_TOKEN = "reads the state of a token that each example names"
_REASONS: Mapping[str, str] = {
    "GPT2For": _WITHOUT_FRAME,
    "OpenAIGPTFor": _WITHOUT_FRAME,
    "GPT2DoubleHeads": _OF_A_TOKEN,
    "OpenAIGPTDoubleHeads": _OF_A_TOKEN,
    "XLMForQuestionAnswering": "scores the end of an answer given its start",
    "XLMForMultipleChoice": "scores a choice by the scores of labels",
}
"""Why the heads of other classes are not imported, by the beginning of the names of the classes. A reason is
a clause without its subject, the head."""


def why_not_imported(name: str) -> str | None:
    """Return why the head of the class `name`, which is not among those above, is not imported.

    The reason is a clause without its subject, the head; None if the class is not known.
    """
    for start, reason in _REASONS.items():
        if name.startswith(start):
            return reason
    return None


def head_class(family: Family, suffix: str) -> HeadClass | None:
    """Return the family's class whose name ends in `suffix`; None if the library or masscli has none."""
    return _CLASSES.get(family.model_type, {}).get(suffix)


def class_name(family: Family, suffix: str) -> str:
    """Return the whole name of the family's class whose name ends in `suffix`."""
    return family.bare_class.removesuffix("Model") + suffix

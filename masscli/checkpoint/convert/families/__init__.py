"""The families of Hugging Face's encoders and language models that masscli can import and export."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from masscli.checkpoint.convert.families.albert import ALBERT
from masscli.checkpoint.convert.families.bert import BERT
from masscli.checkpoint.convert.families.distilbert import DISTILBERT
from masscli.checkpoint.convert.families.electra import ELECTRA
from masscli.checkpoint.convert.families.family import Family, Names, expand_names
from masscli.checkpoint.convert.families.gpt import GPT, GPT2
from masscli.checkpoint.convert.families.roberta import CAMEMBERT, ROBERTA, XLMR
from masscli.checkpoint.convert.families.xlm import XLM

__all__ = [
    "ALBERT", "BERT", "CAMEMBERT", "DISTILBERT", "ELECTRA", "FAMILIES", "GPT", "GPT2", "ROBERTA", "XLM",
    "XLMR", "Family", "Names", "expand_names",
]  # fmt: skip

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.model_type: family
        for family in (
            BERT,
            ROBERTA,
            XLMR,
            CAMEMBERT,
            DISTILBERT,
            ALBERT,
            ELECTRA,
            GPT,
            GPT2,
        )
    }
)

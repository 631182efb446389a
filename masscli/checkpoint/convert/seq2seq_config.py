"""Choose the family of Hugging Face's library that a translation model belongs to; write its config.json."""

from __future__ import annotations

from typing import Any

from masscli.checkpoint.convert.one_direction import DirectedModel
from masscli.checkpoint.convert.seq2seq import NORM_EPS, SEQ2SEQ_FAMILIES, Seq2SeqFamily
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.text.vocabulary import Vocabulary

ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_tanh": "gelu_new", "swish": "swish"}
"""Names of activations in config.json, by masscli's names in `ModelConfig.activation`."""

_HINT = "CTranslate2 computes it: --to ctranslate2"


def choose_seq2seq_family(model: ModelConfig, directed: DirectedModel, vocab: Vocabulary) -> Seq2SeqFamily:
    """Return the family of Hugging Face's that computes exactly what the model of one direction does.

    `model` is the configuration before it was reduced to one direction, and `vocab` its vocabulary. Raises
    MasscliError, which names a setting that no family has, if there is none.
    """
    config = directed.config
    decoder = config.for_stack("decoder")
    required = {
        "norm_eps": (config.norm_eps, NORM_EPS),
        "decoder_norm": (decoder.norm, config.norm),
        "decoder_max_positions": (decoder.max_positions, config.max_positions),
        "final_norm": (_final_norms(config), (config.norm == "pre",) * 2),
    }
    for field, (value, theirs) in required.items():
        if value != theirs:
            raise _no_family(model, field)
    # They force one token, such as the tag of the target.
    if len(directed.forced_tokens) > 1:
        raise MasscliError("outputs begin with several forced tokens; Hugging Face's begin with one", _HINT)
    for family in SEQ2SEQ_FAMILIES.values():
        if _fits(family, model, vocab):
            return family
    if model.norm_embedding:
        raise _no_family(model, "norm_embedding")
    raise _no_family(model, "norm")


def _fits(family: Seq2SeqFamily, model: ModelConfig, vocab: Vocabulary) -> bool:
    """Return whether a family can have the layer norms, output bias and positions of a model.

    With learned positions any can be exported, and also language vectors and segments, as part of the table.
    """
    if (model.norm, model.norm_embedding) != (family.norm, family.norm_embedding):
        return False
    if model.output_bias and not family.output_bias:
        return False
    # Every vector that is added to tokens can be part of a table that is stored.
    if family.sinusoids is None:
        return True
    return (
        model.positions == model.for_stack("decoder").positions == "sinusoidal"
        and model.sinusoids == family.sinusoids
        and model.position_offset == family.offset(vocab.pad)
        and model.languages != "embedding"
        and model.segments == 0
    )


def _final_norms(config: ModelConfig) -> tuple[bool, ...]:
    """Return two values: whether the encoder ends with a layer norm, and whether the decoder does."""
    return tuple(config.has_final_norm(stack) for stack in ("encoder", "decoder"))


def _no_family(model: ModelConfig, field: str) -> MasscliError:
    return MasscliError(
        f"{field} is {getattr(model, field)}: no translator of Hugging Face's computes this", _HINT
    )


def seq2seq_config(family: Seq2SeqFamily, config: ModelConfig) -> dict[str, Any]:
    """Return the settings of config.json for a model, but for those that depend on its vocabulary."""
    decoder = config.for_stack("decoder")
    return {
        "model_type": family.model_type,
        "architectures": [family.full_class],
        "is_encoder_decoder": True,
        "tie_word_embeddings": config.embeddings == "tied" and config.tie_output,
        "d_model": config.dim,
        "encoder_layers": config.encoder_layers,
        "decoder_layers": config.decoder_layers,
        "encoder_attention_heads": config.heads,
        "decoder_attention_heads": decoder.heads,
        "encoder_ffn_dim": config.ffn_dim,
        "decoder_ffn_dim": decoder.ffn_dim,
        "max_position_embeddings": config.max_positions,
        "activation_function": ACTIVATIONS[config.activation],
        "scale_embedding": config.scale_embedding,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "init_std": 0.02,
    }

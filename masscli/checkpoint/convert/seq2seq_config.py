"""Choose the Hugging Face family that a translation model is exported to, and write its config.json."""

from __future__ import annotations

from typing import Any

from masscli.checkpoint.convert.one_direction import DirectedModel
from masscli.checkpoint.convert.seq2seq import (
    MARIAN,
    NORM_EPS,
    SEQ2SEQ_FAMILIES,
    Seq2SeqFamily,
)
from masscli.core.config import to_dict
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.text.vocabulary import Vocabulary

ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_tanh": "gelu_new",
    "swish": "swish",
}
"""Activations as named in config.json, by masscli's names in `ModelConfig.activation`."""

_HINT = "CTranslate2 computes it: --to ctranslate2"


def choose_seq2seq_family(
    model: ModelConfig, directed: DirectedModel, vocab: Vocabulary
) -> Seq2SeqFamily:
    """Return the Hugging Face family that computes exactly what the model for one direction does.

    `model` is the configuration before the reduction to one direction, and `vocab` its vocabulary. If
    several families qualify, the first in `SEQ2SEQ_FAMILIES` is returned. If none does, raises
    MasscliError, which names what no family has.
    """
    config = directed.config
    decoder = config.for_stack("decoder")
    # In all families, both stacks have the same norms and positions, and pre-norm stacks end with a
    # norm.
    required = {
        "norm_eps": (config.norm_eps, NORM_EPS),
        "decoder_norm": (decoder.norm, config.norm),
        "decoder_max_positions": (decoder.max_positions, config.max_positions),
        "final_norm": (_final_norms(config), (config.norm == "pre",) * 2),
    }
    for field, (value, theirs) in required.items():
        if value != theirs:
            raise _no_family(model, field)
    # These families force a single token, such as the tag of the target.
    if len(directed.forced_tokens) > 1:
        raise MasscliError(
            "outputs begin with several forced tokens; Hugging Face's begin with one",
            _HINT,
        )
    pad = directed.target_row(vocab.pad)
    if directed.has_two_vocabularies:
        _check_special_rows(directed, vocab)
    for family in SEQ2SEQ_FAMILIES.values():
        if _fits(family, model, directed, pad):
            return family
    raise _no_shape(model, directed)


def _no_shape(model: ModelConfig, directed: DirectedModel) -> MasscliError:
    """Return, without raising it, the error for a model whose vocabularies or norms no family supports."""
    if directed.has_two_vocabularies:
        return MasscliError(
            "source and target have separate vocabularies: no Hugging Face translator supports this with "
            "such layers",
            _HINT,
        )
    if model.norm_embedding:
        return _no_family(model, "norm_embedding")
    return _no_family(model, "norm")


def _check_special_rows(directed: DirectedModel, vocab: Vocabulary) -> None:
    """Raise MasscliError if padding or the end symbol has different rows in encoder and decoder."""
    for name, number in (("padding", vocab.pad), ("the end symbol", vocab.eos)):
        if directed.source_ids.index(number) != directed.target_ids.index(number):
            raise MasscliError(
                f"{name} has different ids in source and target; in Hugging Face's library it has one",
                _HINT,
            )


def _fits(
    family: Seq2SeqFamily, model: ModelConfig, directed: DirectedModel, pad: int | None
) -> bool:
    """Return whether a family can have the vocabularies, layer norms, output bias and positions of a model.

    `pad` is the row of padding, None if it has none. A family with learned positions can represent any
    positions, as well as language vectors and segments, which become part of the table.
    """
    if (model.norm, model.norm_embedding) != (family.norm, family.norm_embedding):
        return False
    if model.output_bias and not family.output_bias:
        return False
    if directed.has_two_vocabularies and not (family.own_tables or family is MARIAN):
        return False
    # Any vectors that are added to tokens can be folded into a stored table.
    if family.sinusoids is None:
        return True
    return (
        model.positions == model.for_stack("decoder").positions == "sinusoidal"
        and model.sinusoids == family.sinusoids
        and pad is not None
        and model.position_offset == family.offset(pad)
        and model.languages != "embedding"
        and model.segments == 0
    )


def _final_norms(config: ModelConfig) -> tuple[bool, ...]:
    """Return whether the encoder ends with a layer norm, and whether the decoder does."""
    return tuple(config.has_final_norm(stack) for stack in ("encoder", "decoder"))


def _no_family(model: ModelConfig, field: str) -> MasscliError:
    return MasscliError(
        f"{field} is {to_dict(model)[field]}: no Hugging Face translator supports this",
        _HINT,
    )


def seq2seq_config(family: Seq2SeqFamily, directed: DirectedModel) -> dict[str, Any]:
    """Return a model's entries of config.json, except those for special tokens and languages."""
    config = directed.config
    decoder = config.for_stack("decoder")
    is_tied = config.embeddings == "tied" and config.tie_output
    sizes: dict[str, Any] = {"vocab_size": len(directed.target_ids)}
    if family.own_tables:
        is_tied = False
        sizes = {
            "src_vocab_size": len(directed.source_ids),
            "tgt_vocab_size": len(directed.target_ids),
        }
    elif directed.has_two_vocabularies:
        is_tied = config.tie_output
        sizes = {
            "vocab_size": len(directed.source_ids),
            "decoder_vocab_size": len(directed.target_ids),
            "share_encoder_decoder_embeddings": False,
        }
    return {
        **sizes,
        "model_type": family.model_type,
        "architectures": [family.full_class],
        "is_encoder_decoder": True,
        "tie_word_embeddings": is_tied,
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
        # Only weights that a file lacks are initialized, and these files lack none.
        "init_std": 0.02,
    }

"""Convert the tensors of a translation model for one direction to Hugging Face's names and layout."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from masscli.checkpoint.convert.one_direction import DirectedModel, output_layer
from masscli.checkpoint.convert.seq2seq import Seq2SeqFamily


def to_seq2seq(family: Seq2SeqFamily, directed: DirectedModel) -> dict[str, Tensor]:
    """Return the tensors of a model under Hugging Face's names and in its layout.

    Fused projections are split, and tables of positions get the family's number of unused rows.
    """
    config = directed.config
    converted: dict[str, Tensor] = {}
    for ours, their_names in family.tensor_names(config).items():
        tensor = directed.tensors[ours]
        # In each family, learned positions come after a fixed number of rows, whatever the id of
        # padding is.
        if ours.endswith("positions.weight"):
            tensor = _with_unread_rows(tensor, config.position_offset, family.offset(0))
        parts = tensor.chunk(len(their_names))
        for theirs, part in zip(their_names, parts, strict=True):
            converted[theirs] = part
    weight, bias = output_layer(directed)
    if family.own_tables or directed.has_two_vocabularies:
        converted.pop("model.shared.weight", None)
        converted |= _own_tables(family, directed, weight)
    elif not (config.embeddings == "tied" and config.tie_output):
        converted |= _separate_embeddings(directed.tensors, weight)
    if family.output_bias and bias is not None:
        # In Hugging Face's library it is a matrix with one row.
        converted["final_logits_bias"] = bias[None]
    return converted


def _with_unread_rows(table: Tensor, old: int, new: int) -> Tensor:
    """Return a table of positions with `new` instead of `old` unused rows at its beginning.

    New rows are zeros; if the numbers are equal, the table is returned unchanged.
    """
    if old == new:
        return table
    return torch.cat([table.new_zeros(new, table.shape[1]), table[old:]])


def _separate_embeddings(
    tensors: Mapping[str, Tensor], output_weight: Tensor
) -> dict[str, Tensor]:
    """Return the embeddings of encoder, decoder and output layer under Hugging Face's names.

    This is for models that do not tie all of them; Hugging Face's `model.shared` is then a second copy of the
    encoder's table.
    """
    shared = tensors.get("token_embeddings.shared")
    encoder = tensors.get("token_embeddings.encoder", shared)
    decoder = tensors.get("token_embeddings.decoder", shared)
    assert encoder is not None and decoder is not None
    return {
        "model.shared.weight": encoder,
        "model.encoder.embed_tokens.weight": encoder,
        "model.decoder.embed_tokens.weight": decoder,
        "lm_head.weight": output_weight,
    }


def _own_tables(
    family: Seq2SeqFamily, directed: DirectedModel, output_weight: Tensor
) -> dict[str, Tensor]:
    """Return the embeddings and output weights, by Hugging Face's names, of a model with separate tables.

    The output weights are left out if they are the decoder's embeddings, except in a family that always
    stores them (FSMT).
    """
    shared = directed.tensors.get("token_embeddings.shared")
    encoder = directed.tensors.get("token_embeddings.encoder", shared)
    decoder = directed.tensors.get("token_embeddings.decoder", shared)
    assert encoder is not None and decoder is not None
    tables = {
        "model.encoder.embed_tokens.weight": encoder,
        "model.decoder.embed_tokens.weight": decoder,
    }
    if family.own_tables or not directed.config.tie_output:
        tables[family.output_weight] = output_weight
    return tables

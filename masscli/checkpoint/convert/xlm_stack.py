"""Convert the tensors of one stack of an XLM model: encoder, decoder, or the only one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from masscli.checkpoint.convert.foreign import (
    ImportRequest,
    TensorTable,
    take_with_new_rows,
)
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig

TITLE = "XLM"
"""The name of the program in messages."""


class XlmStack:
    """The conversion of one part of a file to the tensors of masscli's stack `stack` (encoder or decoder).

    `table` has the tensors of the part. `vocab_size` is the number of masscli's ids, `language_ids` are the
    file's ids of all languages by name, and `languages` those that the model has parameters for.
    """

    def __init__(
        self,
        request: ImportRequest,
        stack: str,
        table: TensorTable,
        config: ModelConfig,
        vocab_size: int,
        language_ids: Mapping[str, int],
        languages: Sequence[str],
    ) -> None:
        self._request = request
        self._stack = stack
        self._table = table
        self._config = config
        self._vocab_size = vocab_size
        self._language_ids = language_ids
        self._languages = languages

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the stack by masscli's names; this empties the table of the file's tensors.

        Raises MasscliError if a tensor is missing, or if one has no counterpart in masscli's model.
        """
        tensors = {**self._embeddings(), **self._output_layer()}
        for layer in range(self._table.count_layers("attentions.")):
            tensors |= self._layer(layer)
        self._table.require_empty(TITLE)
        return tensors

    def _embeddings(self) -> dict[str, Tensor]:
        """Take the token, position and language embeddings and their norm; return them by masscli's names.

        Raises MasscliError if one is missing.
        """
        table = self._table
        ours = f"embeddings.{self._stack}"
        self._embedding = table.take("embeddings.weight")
        tensors = table.take_linear(f"{ours}.norm", "layer_norm_emb")
        tensors[f"token_embeddings.{self._stack}"] = take_with_new_rows(
            self._embedding, self._vocab_size
        )
        positions = table.take("position_embeddings.weight")
        if self._config.positions == "learned":
            tensors[f"{ours}.positions.weight"] = positions[
                : self._config.max_positions
            ]
        if not self._languages:
            return tensors
        # For a stack without language vectors, zeros are equivalent.
        vectors = torch.zeros(len(self._languages), self._config.dim)
        if "lang_embeddings.weight" in table:
            theirs = table.take("lang_embeddings.weight")
            # Rows are matched by language name: a file may number its languages in any order.
            vectors = theirs[
                [self._language_ids[language] for language in self._languages]
            ]
        tensors[f"{ours}.languages.weight"] = vectors
        return tensors

    def _output_layer(self) -> dict[str, Tensor]:
        """Return the output bias by name, and the output weights unless they are tied to the embeddings.

        Raises MasscliError if one is missing, or if tied weights differ from the embeddings.
        """
        table = self._table
        if "pred_layer.proj.bias" not in table:
            raise MasscliError(
                f"{self._request.path}: its {self._stack} has no output layer (pred_layer)"
            )
        bias = take_with_new_rows(table.take("pred_layer.proj.bias"), self._vocab_size)
        weight = table.take("pred_layer.proj.weight")
        tensors = {f"output_biases.{self._stack}": bias}
        if not self._config.tie_output:
            tensors[f"output_weights.{self._stack}"] = take_with_new_rows(
                weight, self._vocab_size
            )
        elif not torch.equal(weight, self._embedding):
            raise MasscliError(
                f"{self._request.path}: pred_layer.proj.weight differs from embeddings.weight",
                "its options say that they are shared (share_inout_emb)",
            )
        return tensors

    def _layer(self, layer: int) -> dict[str, Tensor]:
        """Take the tensors of the layer with number `layer`, from 0, and return them by masscli's names."""
        table = self._table
        ours = f"{self._stack}.layers.{layer}"
        attention = f"attentions.{layer}"
        tensors = table.take_linear(
            f"{ours}.self_attention.qkv",
            *(f"{attention}.{name}_lin" for name in ("q", "k", "v")),
        )
        tensors |= table.take_linear(
            f"{ours}.self_attention.out", f"{attention}.out_lin"
        )
        tensors |= table.take_linear(f"{ours}.self_norm", f"layer_norm1.{layer}")
        tensors |= table.take_linear(f"{ours}.fc1", f"ffns.{layer}.lin1")
        tensors |= table.take_linear(f"{ours}.fc2", f"ffns.{layer}.lin2")
        tensors |= table.take_linear(f"{ours}.ffn_norm", f"layer_norm2.{layer}")
        if self._stack == "decoder" and self._config.encoder_layers:
            tensors |= self._cross_attention(layer)
        return tensors

    def _cross_attention(self, layer: int) -> dict[str, Tensor]:
        """Take the tensors of a layer's cross-attention and its norm; return them by masscli's names.

        There are output projections for each language if the model has them (MASS).
        """
        table = self._table
        theirs = f"encoder_attn.{layer}"
        ours = f"decoder.layers.{layer}.cross_attention"
        tensors = table.take_linear(f"{ours}.q", f"{theirs}.q_lin")
        tensors |= table.take_linear(f"{ours}.kv", f"{theirs}.k_lin", f"{theirs}.v_lin")
        tensors |= table.take_linear(
            f"decoder.layers.{layer}.cross_norm", f"layer_norm15.{layer}"
        )
        if self._config.cross_output == "shared":
            return tensors | table.take_linear(
                f"{ours}.out.shared", f"{theirs}.out_lin"
            )
        for language in self._languages:
            number = self._language_ids[language]
            tensors |= table.take_linear(
                f"{ours}.out.language_{language}", f"{theirs}.out_lin.{number}"
            )
        return tensors

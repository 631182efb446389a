"""The encoder or decoder of a fairseq model: infer its structure from its tensors, and convert them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.checkpoint.convert.fairseq_vocabulary import FairseqVocabulary
from masscli.checkpoint.convert.foreign import TensorTable
from masscli.models.config import ModelConfig

NO_FINAL_NORM_VERSIONS = {"encoder": 1, "decoder": 2}
"""Up to this version of the code a stack had no final norm, whatever the file holds."""


class FairseqStack:
    """An encoder or a decoder, whose tensors begin with `prefix`."""

    def __init__(self, name: str, prefix: str, table: TensorTable, vocabulary: FairseqVocabulary) -> None:
        self.name = name
        self.prefix = prefix
        self._table = table
        self._vocabulary = vocabulary
        self.num_layers = table.count_layers(f"{prefix}layers.")
        self.embedding = table.take(f"{prefix}embed_tokens.weight")
        """Its token embeddings, (V, D) with the rows of fairseq."""
        self.dim = self.embedding.shape[1]
        self.ffn_dim = table.shape(f"{prefix}layers.0.fc1.weight")[0]
        self.output = self._take_output()
        """Its output weights (V, D); None if it has none, or has its embeddings."""
        self.has_embedding_norm = f"{prefix}layernorm_embedding.weight" in table
        self.has_final_norm = self._find_final_norm()
        self.position_rows = 0
        """Rows of its table of positions; 0 if positions are not learned."""
        if f"{prefix}embed_positions.weight" in table:
            self.position_rows = table.shape(f"{prefix}embed_positions.weight")[0]

    def _take_output(self) -> Tensor | None:
        for name in ("output_projection.weight", "embed_out"):
            if f"{self.prefix}{name}" in self._table:
                return self._table.take(f"{self.prefix}{name}")
        return None

    def _find_final_norm(self) -> bool:
        """Return whether the stack ends with a layer norm, and drop one that its code did not use."""
        version = NO_FINAL_NORM_VERSIONS[self.name] + 1.0
        if f"{self.prefix}version" in self._table:
            version = float(self._table.take(f"{self.prefix}version").flatten()[0])
        if version <= NO_FINAL_NORM_VERSIONS[self.name]:
            for part in ("weight", "bias"):
                self._table.drop(f"{self.prefix}layer_norm.{part}")
        return f"{self.prefix}layer_norm.weight" in self._table

    def tensors(self, config: ModelConfig) -> dict[str, Tensor]:
        """Return our tensors of the stack, with its embeddings and its output weights."""
        table, ours = self._table, f"embeddings.{self.name}"
        tensors = self._token_tables(config)
        if self.position_rows:
            tensors[f"{ours}.positions.weight"] = table.take(f"{self.prefix}embed_positions.weight")
        if self.has_embedding_norm:
            tensors |= table.take_linear(f"{ours}.norm", f"{self.prefix}layernorm_embedding")
        if self.has_final_norm:
            tensors |= table.take_linear(f"{self.name}.norm", f"{self.prefix}layer_norm")
        for layer in range(self.num_layers):
            tensors |= self._layer(layer, cross=self.name == "decoder" and config.encoder_layers > 0)
        return tensors

    def _token_tables(self, config: ModelConfig) -> dict[str, Tensor]:
        """Return token embeddings and output weights under the name of their owner."""
        owner = self.name if config.embeddings == "separate" else "shared"
        ids = self._vocabulary.tokenizer.vocab.id_ranges
        assert ids is not None
        ours, rows = ids.embedded(owner), self._vocabulary.rows[self.name]
        tensors = {f"token_embeddings.{owner}": self.place_rows(self.embedding, rows, ours)}
        if not config.tie_output:
            # An encoder has no output layer; its embeddings take the place, for objectives that need one.
            output = self.embedding if self.output is None else self.output
            tensors[f"output_weights.{owner}"] = self.place_rows(output, rows, ours)
        return tensors

    @staticmethod
    def place_rows(theirs: Tensor, rows: Sequence[int], ours: range) -> Tensor:
        """Return a table for the ids `ours`, in which row n of `theirs` is that of id `rows[n]`.

        Symbols that masscli adds have rows of zeros.
        """
        placed = theirs.new_zeros(len(ours), *theirs.shape[1:])
        placed[torch.tensor(rows) - ours.start] = theirs
        return placed

    def _layer(self, layer: int, cross: bool) -> dict[str, Tensor]:
        table = self._table
        theirs = f"{self.prefix}layers.{layer}"
        ours = f"{self.name}.layers.{layer}"
        tensors = {}
        for part in ("weight", "bias"):
            fused = self._take_projections(f"{theirs}.self_attn", part)
            tensors[f"{ours}.self_attention.qkv.{part}"] = fused
        tensors |= table.take_linear(f"{ours}.self_attention.out", f"{theirs}.self_attn.out_proj")
        tensors |= table.take_linear(f"{ours}.self_norm", f"{theirs}.self_attn_layer_norm")
        tensors |= table.take_linear(f"{ours}.fc1", f"{theirs}.fc1")
        tensors |= table.take_linear(f"{ours}.fc2", f"{theirs}.fc2")
        tensors |= table.take_linear(f"{ours}.ffn_norm", f"{theirs}.final_layer_norm")
        if not cross:
            return tensors
        for part in ("weight", "bias"):
            fused = self._take_projections(f"{theirs}.encoder_attn", part)
            tensors[f"{ours}.cross_attention.q.{part}"] = fused[: self.dim]
            tensors[f"{ours}.cross_attention.kv.{part}"] = fused[self.dim :]
        tensors |= table.take_linear(f"{ours}.cross_attention.out.shared", f"{theirs}.encoder_attn.out_proj")
        tensors |= table.take_linear(f"{ours}.cross_norm", f"{theirs}.encoder_attn_layer_norm")
        return tensors

    def _take_projections(self, attention: str, part: str) -> Tensor:
        """Return queries, keys and values, stacked; before version 0.9 they were one tensor."""
        if f"{attention}.in_proj_{part}" in self._table:
            return self._table.take(f"{attention}.in_proj_{part}")
        return self._table.take_stacked([f"{attention}.{name}_proj.{part}" for name in ("q", "k", "v")])

"""Infer the structure of a fairseq model's encoder or decoder from its tensors, and convert them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.checkpoint.convert.fairseq_vocabulary import FairseqVocabulary
from masscli.checkpoint.convert.foreign import TensorTable
from masscli.models.config import ModelConfig

NO_FINAL_NORM_VERSIONS = {"encoder": 1, "decoder": 2}
"""By stack, the largest value of the buffer `version` for which fairseq ignores a final norm in the file."""


class FairseqStack:
    """The stack `name` (encoder or decoder) of a fairseq model, whose tensor names begin with `prefix`.

    The constructor takes its token embeddings, output weights and `version` from `table`; the method
    `tensors` takes the rest. Both raise MasscliError if a tensor is missing.
    """

    def __init__(
        self, name: str, prefix: str, table: TensorTable, vocabulary: FairseqVocabulary
    ) -> None:
        self.name = name
        self.prefix = prefix
        self._table = table
        self._vocabulary = vocabulary
        self.num_layers = table.count_layers(f"{prefix}layers.")
        narrow = table.take(f"{prefix}embed_tokens.weight")
        project_in = self._take_if_present("project_in_dim.weight")
        project_out = self._take_if_present("project_out_dim.weight")
        self.has_projections = project_in is not None or project_out is not None
        """Whether embeddings or output weights have another width than the model, with projections between.
        These are multiplied into the tables, which then compute the same."""
        self.embedding = narrow
        """Token embeddings (V, D): V pieces in the order of fairseq's dictionary, D the model width."""
        if project_in is not None:
            self.embedding = _product(narrow, project_in.T)
        self.dim = self.embedding.shape[1]
        self.ffn_dim = table.shape(f"{prefix}layers.0.fc1.weight")[0]
        self.output = self._take_output()
        """Output weights (V, D); None if the file has none besides the embeddings."""
        if self.output is None and self.has_projections and name == "decoder":
            self.output = narrow
        if self.output is not None and project_out is not None:
            self.output = _product(self.output, project_out)
        self.has_embedding_norm = f"{prefix}layernorm_embedding.weight" in table
        self.has_final_norm = self._find_final_norm()
        # In RoBERTa the meaning of the option has changed over time.
        self.heeds_norm_option = "sentence_encoder" not in prefix
        """Whether the option `encoder_normalize_before`, or that of the decoder, says where norms are."""
        self.position_rows = 0
        """Number of rows of the table of learned positions; 0 if positions are not learned."""
        if f"{prefix}embed_positions.weight" in table:
            self.position_rows = table.shape(f"{prefix}embed_positions.weight")[0]

    def _take_output(self) -> Tensor | None:
        """Take the output weights of this stack from the table and return them; None if there are none."""
        for name in ("output_projection.weight", "embed_out"):
            output = self._take_if_present(name)
            if output is not None:
                return output
        return None

    def _take_if_present(self, name: str) -> Tensor | None:
        """Take a tensor of this stack from the table and return it; None if it is not there."""
        if f"{self.prefix}{name}" in self._table:
            return self._table.take(f"{self.prefix}{name}")
        return None

    def _find_final_norm(self) -> bool:
        """Return whether the stack ends with a layer norm.

        The buffer `version` is taken from the table. If it says that fairseq did not use the norm in the
        file, the norm is dropped from the table.
        """
        # In a file without this buffer, such as an old RoBERTa, the norm is used if its tensors exist.
        version = NO_FINAL_NORM_VERSIONS[self.name] + 1.0
        if f"{self.prefix}version" in self._table:
            version = float(self._table.take(f"{self.prefix}version").flatten()[0])
        if version <= NO_FINAL_NORM_VERSIONS[self.name]:
            for part in ("weight", "bias"):
                self._table.drop(f"{self.prefix}layer_norm.{part}")
        return f"{self.prefix}layer_norm.weight" in self._table

    def tensors(self, config: ModelConfig) -> dict[str, Tensor]:
        """Return all tensors of the stack, embeddings included, by masscli's names.

        Those that the constructor has not taken are taken from the table. `config` is that of the
        model.
        """
        table, ours = self._table, f"embeddings.{self.name}"
        tensors = self._token_tables(config)
        if self.position_rows:
            tensors[f"{ours}.positions.weight"] = table.take(
                f"{self.prefix}embed_positions.weight"
            )
        if self.has_embedding_norm:
            tensors |= table.take_linear(
                f"{ours}.norm", f"{self.prefix}layernorm_embedding"
            )
        if self.has_final_norm:
            tensors |= table.take_linear(
                f"{self.name}.norm", f"{self.prefix}layer_norm"
            )
        for layer in range(self.num_layers):
            tensors |= self._layer(
                layer, cross=self.name == "decoder" and config.encoder_layers > 0
            )
        return tensors

    def _token_tables(self, config: ModelConfig) -> dict[str, Tensor]:
        """Return token embeddings, and output weights if these are not tied, under masscli's names.

        The names end with the name of the stack if the stacks have separate embeddings, else with `shared`;
        rows are in the order of masscli's ids.
        """
        owner = self.name if config.embeddings == "separate" else "shared"
        # With two vocabularies, each stack only has rows for its own range of ids.
        ids = self._vocabulary.tokenizer.vocab.id_ranges
        assert ids is not None
        ours, rows = ids.embedded(owner), self._vocabulary.rows[self.name]
        tensors = {
            f"token_embeddings.{owner}": self.place_rows(self.embedding, rows, ours)
        }
        if not config.tie_output:
            # An encoder has no output layer; its embeddings serve as one for objectives that need it.
            output = self.embedding if self.output is None else self.output
            tensors[f"output_weights.{owner}"] = self.place_rows(output, rows, ours)
        return tensors

    @staticmethod
    def place_rows(theirs: Tensor, rows: Sequence[int], ours: range) -> Tensor:
        """Return a table with a row for each id in `ours`, where the row of id `rows[n]` is `theirs[n]`.

        `theirs` may have any number of further dimensions. Other rows, which are those of symbols that
        masscli adds, are zeros.
        """
        placed = theirs.new_zeros(len(ours), *theirs.shape[1:])
        placed[torch.tensor(rows) - ours.start] = theirs
        return placed

    def _layer(self, layer: int, cross: bool) -> dict[str, Tensor]:
        """Take the tensors of the layer with number `layer`, from 0, and return them by masscli's names.

        `cross` says whether it has cross-attention.
        """
        table = self._table
        theirs = f"{self.prefix}layers.{layer}"
        ours = f"{self.name}.layers.{layer}"
        tensors = {}
        for part in ("weight", "bias"):
            fused = self._take_projections(f"{theirs}.self_attn", part)
            tensors[f"{ours}.self_attention.qkv.{part}"] = fused
        tensors |= table.take_linear(
            f"{ours}.self_attention.out", f"{theirs}.self_attn.out_proj"
        )
        tensors |= table.take_linear(
            f"{ours}.self_norm", f"{theirs}.self_attn_layer_norm"
        )
        tensors |= table.take_linear(f"{ours}.fc1", f"{theirs}.fc1")
        tensors |= table.take_linear(f"{ours}.fc2", f"{theirs}.fc2")
        tensors |= table.take_linear(f"{ours}.ffn_norm", f"{theirs}.final_layer_norm")
        if not cross:
            return tensors
        for part in ("weight", "bias"):
            fused = self._take_projections(f"{theirs}.encoder_attn", part)
            # Queries are projected from different states than keys and values, which share one product
            # here.
            tensors[f"{ours}.cross_attention.q.{part}"] = fused[: self.dim]
            tensors[f"{ours}.cross_attention.kv.{part}"] = fused[self.dim :]
        tensors |= table.take_linear(
            f"{ours}.cross_attention.out.shared", f"{theirs}.encoder_attn.out_proj"
        )
        tensors |= table.take_linear(
            f"{ours}.cross_norm", f"{theirs}.encoder_attn_layer_norm"
        )
        return tensors

    def _take_projections(self, attention: str, part: str) -> Tensor:
        """Take an attention's query, key and value projections; return them concatenated along dimension 0.

        `attention` is the prefix of their names, and `part` is weight or bias. Files of versions before
        fairseq 0.9 already store them as one tensor.
        """
        if f"{attention}.in_proj_{part}" in self._table:
            return self._table.take(f"{attention}.in_proj_{part}")
        names = [
            f"{attention}.{projection}_proj.{part}" for projection in ("q", "k", "v")
        ]
        return self._table.take_stacked(names)


def _product(first: Tensor, second: Tensor) -> Tensor:
    """Return the matrix product of two tensors in float32, rounded once."""
    return (first.double() @ second.double()).float()

"""Reduce a translation model to one direction, without changing what it computes.

Other programs do not support language vectors, per-language output projections, segments and shared
layers. For one direction none of them is needed: vectors that are added to every token are added to the
positions instead, the language's projection is chosen, and shared layers are duplicated. The result is
again a Transformer of masscli, with learned positions and without languages.

Shapes: P positions, D model width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.input_embedding import InputEmbedding
from masscli.models.transformer import Transformer
from masscli.text.vocabulary import IdRanges

_ATTENTION_PARTS = ("self_attention", "self_norm", "cross_attention", "cross_norm")
_FFN_PARTS = ("fc1", "fc2", "ffn_norm")


@dataclass(frozen=True, slots=True)
class DirectedModel:
    """A translation model for one direction, and the ids of the special tokens that are put around texts."""

    config: ModelConfig
    source_ids: Sequence[int]
    """masscli's id of each row of the encoder's embeddings."""
    target_ids: Sequence[int]
    """masscli's id of each row of the decoder's embeddings and of the output layer."""
    tensors: Mapping[str, Tensor]
    """The weights, by masscli's names for a model with the configuration `config`."""
    source_prefix: Sequence[int]
    """masscli's ids of the special tokens before every source."""
    source_suffix: Sequence[int]
    """masscli's ids of the special tokens after every source: the end symbol, and possibly a tag."""
    target_start: int
    """masscli's id of the token that the decoder reads first."""
    forced_tokens: Sequence[int]
    """masscli's ids of the tokens that every output begins with, after `target_start`."""

    @property
    def has_two_vocabularies(self) -> bool:
        """Whether source and target have separate vocabularies."""
        return self.source_ids != self.target_ids

    def target_row(self, token_id: int) -> int | None:
        """Return the row of one of masscli's ids in the decoder's embeddings; None if it has none."""
        if token_id not in self.target_ids:
            return None
        return self.target_ids.index(token_id)


def fold_direction(checkpoint: Checkpoint, source: str, target: str) -> DirectedModel:
    """Return a model that computes what the checkpoint's model does from language `source` to `target`.

    Both must be languages of the model. Raises MasscliError if the checkpoint has no encoder or no
    decoder, or has parts that only masscli supports, or if its vocabularies are for another direction.
    """
    _check_exportable(checkpoint)
    model = checkpoint.model()
    framing = checkpoint.framing()
    source_ids, target_ids = _exported_ids(checkpoint, source, target)
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name.startswith(("token_embeddings.", "output_")):
            owner = name.rpartition(".")[2]
            # With two vocabularies each stack has the rows of its own; other programs do not support
            # anything else.
            rows = torch.tensor(source_ids if owner == "encoder" else target_ids)
            tensors[name] = tensor[rows - model.id_ranges.embedded(owner).start]
        # Norms of embeddings and of whole stacks stay as they are; those within layers come with the layers.
        elif ".norm." in name:
            tensors[name] = tensor
    for stack, language in (("encoder", source), ("decoder", target)):
        index = framing.language_index(language)
        tensors[f"embeddings.{stack}.positions.weight"] = _position_table(
            model, stack, index
        )
        tensors |= _layers(model, stack, index)
    # Settings that were folded into the tensors no longer apply, and the pooler is not used.
    config = replace(
        model.config,
        positions="learned",
        decoder_position_type="same",
        position_offset=_unread_positions(model.config),
        languages="none",
        cross_output="shared",
        segments=0,
        share_layers="none",
        pooler=False,
    )
    # The special tokens of a source without any words.
    around = framing.encoder_input(np.array([], np.int64), source, target).tolist()
    return DirectedModel(
        config,
        source_ids,
        target_ids,
        tensors,
        source_prefix=around[: framing.prefix_length],
        source_suffix=around[framing.prefix_length :],
        target_start=framing.decoder_start(target),
        forced_tokens=framing.forced_tokens(target),
    )


def _check_exportable(checkpoint: Checkpoint) -> None:
    """Raise MasscliError if the model has no encoder or decoder, or has a part that other programs lack."""
    config = checkpoint.recipe.model
    if not config.encoder_layers or not config.decoder_layers:
        raise MasscliError(
            f"{checkpoint.path}: is a single stack, not a translator",
            "an encoder or a GPT can be exported with --to huggingface, and any model with --to safetensors",
        )
    parts = (
        ("head_transform", config.head_transform, config.head_transform),
        ("embedding_dim", config.embedding_dim, config.projects_embeddings),
        ("relative_buckets", config.relative_buckets, config.relative_buckets > 0),
    )
    for field, value, is_present in parts:
        if is_present:
            raise MasscliError(
                f"{field} is {value}: no other program has a translator with this part",
                "any model can be exported with --to safetensors",
            )


def _exported_ids(
    checkpoint: Checkpoint, source: str, target: str
) -> tuple[Sequence[int], Sequence[int]]:
    """Return masscli's id of each row of an exported encoder's embeddings, and of a decoder's.

    With one vocabulary they are all n ids that the model predicts, in order; with two they are the ids
    of each vocabulary, in its own order. Raises MasscliError if two vocabularies are for another
    direction, if the predicted ids are not 0 .. n - 1, or if the id of padding, of the end symbol or of
    the unknown piece is n or above.
    """
    tokenizer = checkpoint.tokenizer()
    vocab = tokenizer.vocab
    ranges = vocab.id_ranges or IdRanges.all_of(vocab.size)
    if ranges.has_two_vocabularies:
        vocab.check_direction(source, target)
        return tokenizer.own_ids(source), tokenizer.own_ids(target)
    needed = {
        "padding": vocab.pad,
        "the end symbol": vocab.eos,
        "the unknown piece": vocab.unk,
    }
    for name, number in needed.items():
        if number not in ranges.predicted or ranges.predicted.start > 0:
            raise MasscliError(
                f"{checkpoint.path}: {name} is an id that the model does not predict",
                "such a model can be exported with --to safetensors",
            )
    return ranges.predicted, ranges.predicted


def _unread_positions(config: ModelConfig) -> int:
    """Return the number of unused rows to keep at the beginning of both tables of positions.

    They are kept so that an imported model is written back as it was, but only if both stacks have
    learned positions, since in other programs both stacks have the same number; otherwise the number is
    0.
    """
    both_learned = (
        config.positions == config.for_stack("decoder").positions == "learned"
    )
    if both_learned:
        return config.position_offset
    return 0


def _position_table(model: Transformer, stack: str, language: int | None) -> Tensor:
    """Return the table (P, D) of everything that a stack adds to token embeddings at each position.

    It is the sum of the position, the vector of the language and that of segment 0. `language` is the
    index of the language's vector, or None. Unused rows at the beginning are included in P.
    """
    unread = _unread_positions(model.config)
    config = model.config.for_stack(stack)
    first = config.position_offset - unread
    embedding = model.embeddings[stack]
    assert isinstance(embedding, InputEmbedding)
    # Other programs always add positions, and zeros add nothing.
    if config.positions == "none":
        table = torch.zeros(config.max_positions + unread, config.dim)
    elif embedding.positions is not None:
        table = embedding.positions.weight[first:].clone()
    else:
        table = embedding.get_buffer("sinusoids")[first:].clone()
    if embedding.languages is not None and language is not None:
        table += embedding.languages.weight[language]
    # In translation every token is in segment 0.
    if embedding.segments is not None:
        table += embedding.segments.weight[0]
    return table


def _layers(model: Transformer, stack: str, language: int | None) -> dict[str, Tensor]:
    """Return the tensors of all layers of a stack, under the names of a model that shares no weights.

    `language` is the index of the stack's language, whose output projection of cross-attention is chosen; it
    is None for a model without parameters for languages.
    """
    tensors = {}
    output = 0
    if language is not None and model.config.cross_output == "language":
        output = language
    layers = model.encoder if stack == "encoder" else model.decoder
    assert layers is not None
    for number, (attention_layer, ffn_layer) in enumerate(layers.layer_halves):
        prefix = f"{stack}.layers.{number}."
        for name, tensor in attention_layer.state_dict().items():
            if name.startswith(_ATTENTION_PARTS) and not name.startswith(
                "cross_attention.out."
            ):
                tensors[prefix + name] = tensor
        if attention_layer.cross_attention is not None:
            cross = attention_layer.cross_attention
            projection = cross.out[cross.outputs[output]]
            tensors[f"{prefix}cross_attention.out.shared.weight"] = projection.weight
            tensors[f"{prefix}cross_attention.out.shared.bias"] = projection.bias
        # Where layers share weights, the attention and feed-forward parts of a layer may come from
        # different modules.
        for name, tensor in ffn_layer.state_dict().items():
            if name.startswith(_FFN_PARTS):
                tensors[prefix + name] = tensor
    return tensors


def output_layer(directed: DirectedModel) -> tuple[Tensor, Tensor | None]:
    """Return the weight (V, D) and the bias (V,) of the output layer for V ids; the bias may be None."""
    owner = directed.config.embedding_owners[-1]
    weight = directed.tensors[f"token_embeddings.{owner}"]
    weight = directed.tensors.get(f"output_weights.{owner}", weight)
    return weight, directed.tensors.get(f"output_biases.{owner}")

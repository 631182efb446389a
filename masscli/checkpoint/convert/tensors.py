"""Convert tensors with Hugging Face's names to ours, and back. Every tensor is accounted for.

Queries, keys and values are stacked into one tensor. GPT stores its matrices transposed. Rows of position
embeddings before the first position are dropped. Rows of the token embeddings are put in the order of our
ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from masscli.checkpoint.convert.families import Family
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer

Tensors = Mapping[str, Tensor]

NEW_ROW = -1
"""Stands for the row of a token that the published vocabulary does not have."""
_BUFFERS = re.compile(r"(.*\.)?(position_ids|token_type_ids|attn\.bias|attn\.masked_bias)")
_VOCAB_SIZED = ("token_embeddings.shared", "output_biases.shared")


@dataclass(frozen=True)
class ImportedTensors:
    """The tensors of a model and its objective, and what became of the rest."""

    model: dict[str, Tensor]
    objective: dict[str, Tensor]
    new: list[str]
    """Our tensors that the published weights do not have, drawn at random."""
    left_behind: list[str]
    """Their tensors that were not used."""
    notes: list[str]


def normalize_names(family: Family, tensors: Tensors) -> dict[str, Tensor]:
    """Return the tensors under the names of today, without buffers.

    Old files say gamma and beta, and a bare model is saved without the prefix of its family.
    """
    normalized = {}
    for name, tensor in tensors.items():
        if not _BUFFERS.fullmatch(name):
            name = re.sub(r"\.beta$", ".bias", name)
            normalized[re.sub(r"\.gamma$", ".weight", name)] = tensor
    if any(name.startswith(family.prefix) for name in normalized):
        return normalized
    # Heads, if a bare model has any, never had the prefix.
    prefixed_parts = set()
    for pattern in (*family.body.values(), *family.pooler.values()):
        prefixed_parts.add(pattern.removeprefix("~").split(".")[0])
    prefixed = {}
    for name, tensor in normalized.items():
        prefix = family.prefix if name.split(".")[0] in prefixed_parts else ""
        prefixed[prefix + name] = tensor
    return prefixed


def has_pooler(family: Family, tensors: Tensors) -> bool:
    """Return whether a pooler is among the tensors."""
    pooler = family.tensor_names(family.pooler, layers=0)
    return any(theirs in tensors for (theirs,) in pooler.values())


def from_hf(
    family: Family,
    config: ModelConfig,
    tensors: Tensors,
    rows: Sequence[int],
    vocab_size: int,
    position_offset: int,
    path: str,
) -> ImportedTensors:
    """Convert published tensors, whose names are normalized, to ours.

    `rows` has, for each of our ids, the row of their token embeddings or `NEW_ROW`; those embeddings have
    `vocab_size` rows. `position_offset` is the number of rows before the first position. What is new is drawn
    with a fixed seed. Raises MasscliError, which names `path`, if a tensor is missing, has another shape, or
    is unknown.
    """
    remaining, notes = _merge_tied(family, tensors, path)
    sources = _take_sources(family, config, remaining, vocab_size, position_offset, path)
    objective = {}
    for name, (theirs,) in family.tensor_names(family.objective_head, layers=0).items():
        if theirs in remaining:
            objective[name] = remaining.pop(theirs).float()
    left_behind = sorted(name for name in remaining if name.startswith(family.task_prefixes))
    # A tensor that is not understood may be a part that changes what the model computes.
    unknown = sorted(remaining.keys() - left_behind)
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise MasscliError(
            f"{path}: {unknown[0]}{more} has no place in {family.title}", family.unknown_tensor_hint
        )

    # Tensors are drawn in the order of the model, so that the same file always gives the same run.
    names = _model_names(family, config)
    row_ids = torch.tensor(rows)
    generator = torch.Generator().manual_seed(1)
    model, new = {}, []
    for name, like in _meta_tensors(config, len(rows)).items():
        if name not in names or names[name][0] not in sources:
            model[name] = _initial_value(name, like.shape, generator)
            new.append(name)
            continue
        tensor = _stack(family, name, [sources[theirs] for theirs in names[name]])
        # Cloned, so that the dropped rows are not kept in memory and saved.
        if name.endswith("positions.weight"):
            tensor = tensor[position_offset:].clone()
        # Clamped, since -1 would be the last row; new rows are overwritten.
        if name in _VOCAB_SIZED:
            tensor = tensor[row_ids.clamp(min=0)]
            is_new = row_ids == NEW_ROW
            tensor[is_new] = _initial_value(name, tensor[is_new].shape, generator)
        model[name] = tensor
    return ImportedTensors(model, objective, new, left_behind, notes)


def to_hf(family: Family, config: ModelConfig, tensors: Tensors, position_offset: int) -> dict[str, Tensor]:
    """Convert our tensors to theirs, with `position_offset` rows of zeros before the first position."""
    converted: dict[str, Tensor] = {}
    for name, their_names in _model_names(family, config).items():
        if name not in tensors:
            continue
        tensor = tensors[name]
        if name.endswith("positions.weight"):
            tensor = torch.cat([tensor.new_zeros(position_offset, tensor.shape[1]), tensor])
        for theirs, part in zip(their_names, tensor.chunk(len(their_names)), strict=True):
            converted[theirs] = part.T if _is_transposed(family, name) else part
    return converted


def _take_sources(
    family: Family,
    config: ModelConfig,
    remaining: dict[str, Tensor],
    vocab_size: int,
    position_offset: int,
    path: str,
) -> dict[str, Tensor]:
    """Move the tensors of the model out of `remaining`, in float32, and check that they are there and fit."""
    lm_head = {theirs for (theirs,) in family.tensor_names(family.lm_head, layers=0).values()}
    # A bare model is saved without the whole LM head; half a head means a damaged file.
    optional = lm_head if lm_head.isdisjoint(remaining) else set()
    # The shapes that config.json describes, in their layout.
    expected = to_hf(family, config, _meta_tensors(config, vocab_size), position_offset)
    sources = {}
    for name, like in expected.items():
        if name in optional:
            continue
        if name not in remaining:
            raise MasscliError(
                f"{path}: has no {name}", f"the {family.title} that config.json describes has one"
            )
        tensor = remaining.pop(name).float()
        if tensor.shape != like.shape:
            raise MasscliError(
                f"{path}: {name} is {tuple(tensor.shape)}, by config.json {tuple(like.shape)}",
                "weights and config.json are of different models",
            )
        sources[name] = tensor
    return sources


def _stack(family: Family, name: str, parts: Sequence[Tensor]) -> Tensor:
    """Return our tensor of this name, made from theirs."""
    if _is_transposed(family, name):
        return torch.cat([part.T for part in parts])
    return torch.cat(list(parts))


def _model_names(family: Family, config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Return the tensors of the model, and what each is stacked from."""
    layers = max(config.encoder_layers, config.decoder_layers)
    return family.tensor_names(family.body, family.pooler, family.lm_head, layers=layers)


def _meta_tensors(config: ModelConfig, vocab_size: int) -> Tensors:
    """Return the tensors of a model without memory, for their names and shapes."""
    with torch.device("meta"):
        return Transformer(config, vocab_size, ()).state_dict()


def _initial_value(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return a new tensor: biases 0, weights of norms 1, others from N(0, 0.02), as in all families."""
    if name.endswith("bias") or name.startswith("output_biases."):
        return torch.zeros(shape)
    if "norm" in name:
        return torch.ones(shape)
    return torch.empty(shape).normal_(0, 0.02, generator=generator)


def _is_transposed(family: Family, name: str) -> bool:
    """Return whether the family stores this matrix of a layer as (in, out)."""
    is_matrix = ".layers." in name and name.endswith("weight") and "norm" not in name
    return family.transposed and is_matrix


def _merge_tied(family: Family, tensors: Tensors, path: str) -> tuple[dict[str, Tensor], list[str]]:
    """Merge tied tensors under their first name, and return notes on those whose copies differ.

    Of two different biases the library adds the one under the second name. Two different token embeddings
    cannot be imported.
    """
    merged = dict(tensors)
    notes = []
    for second_name, name in family.tied_names.items():
        if second_name not in merged:
            continue
        second = merged.pop(second_name)
        # Some files have the second name only.
        first = merged.setdefault(name, second)
        if torch.equal(first, second):
            continue
        if not second_name.endswith("bias"):
            raise MasscliError(
                f"{path}: {second_name} differs from {name}",
                "here they are one; a model that is not tied cannot be imported",
            )
        notes.append(f"{second_name} differs from {name}, and is used, as Hugging Face's model does")
        merged[name] = second
    return merged, notes

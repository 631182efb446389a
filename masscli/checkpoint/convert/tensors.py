"""Convert the tensors of encoders and language models from Hugging Face's names to masscli's, and back.

masscli concatenates queries, keys and values into one tensor. GPT stores its matrices transposed, as
(in, out). On import, token embeddings get rows for the ids that masscli adds, after the published ones,
and every tensor is either used, reported or refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from masscli.checkpoint.convert.families import Family
from masscli.checkpoint.convert.model_config import Contents
from masscli.checkpoint.convert.published import add_unique, to_float32, without_wrapper
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer

Tensors = Mapping[str, Tensor]

_BUFFERS = re.compile(
    r"(.*\.)?(position_ids|token_type_ids|attn\.bias|attn\.masked_bias)"
)
_OUTPUT_WEIGHT = "output_weights.shared"
_VOCAB_SIZED = ("token_embeddings.shared", "output_biases.shared", _OUTPUT_WEIGHT)
"""masscli's names of the tensors with a row for each id of the vocabulary."""


@dataclass(frozen=True)
class ImportedTensors:
    """The tensors of an imported model and of its objective's head, and a report on the other tensors."""

    model: dict[str, Tensor]
    """All tensors of the model, by masscli's names."""
    objective: dict[str, Tensor]
    """The tensors of the head of the family's objective, by masscli's names; empty if there is no head."""
    new: list[str]
    """Names of the model's tensors that the published weights lack and that were initialized."""
    left_behind: list[str]
    """Names of published tensors that were not used."""
    notes: list[str]
    """Notes for the user."""


def normalize_names(family: Family, tensors: Tensors, path: str) -> dict[str, Tensor]:
    """Return published tensors, except buffers, under the names that Hugging Face's library uses today.

    Old files call the weight and bias of a norm gamma and beta, a bare model is saved without the
    prefix of its family, and PyTorch's wrappers add parts to names. Raises MasscliError, which names
    `path`, if two tensors would have the same name.
    """
    normalized: dict[str, Tensor] = {}
    for name, tensor in without_wrapper(tensors, path).items():
        if not _BUFFERS.fullmatch(name):
            name = re.sub(r"\.beta$", ".bias", name)
            add_unique(normalized, re.sub(r"\.gamma$", ".weight", name), tensor, path)
    if any(name.startswith(family.prefix) for name in normalized):
        return normalized
    # Any heads of a bare model never had the prefix.
    prefixed_parts = set()
    for pattern in (*family.body.values(), *family.pooler.values()):
        prefixed_parts.add(pattern.removeprefix("~").split(".")[0])
    prefixed = {}
    for name, tensor in normalized.items():
        if name.split(".")[0] in prefixed_parts:
            name = family.prefix + name
        prefixed[name] = tensor
    return prefixed


def find_contents(family: Family, tensors: Tensors) -> Contents:
    """Return which parts published weights have; `tensors` must have the names of `normalize_names`."""
    return Contents(
        pooler=_has_any(family.tensor_names(family.pooler, layers=0), tensors),
        lm_head=_has_any(family.tensor_names(family.lm_head, layers=0), tensors),
        own_output=family.output_weight in tensors,
        numbers=sum(tensor.numel() for tensor in tensors.values()),
        layers=_count_layers(family, tensors),
    )


def _count_layers(family: Family, tensors: Tensors) -> int | None:
    """Return the number of layers that have tensors; None in a family whose only layer is repeated."""
    names = [theirs for ours, theirs in family.body.items() if "#" in ours]
    if not names:
        return None
    start = names[0].partition("#")[0].replace("~", family.prefix)
    pattern = re.compile(re.escape(start) + r"([0-9]+)\.")
    matches = [pattern.match(name) for name in tensors]
    return len({match[1] for match in matches if match is not None})


def _has_any(names: Mapping[str, Sequence[str]], tensors: Tensors) -> bool:
    return any(theirs in tensors for theirs in chain.from_iterable(names.values()))


def embedding_rows(family: Family, tensors: Tensors) -> int | None:
    """Return the number of rows of the published token embeddings, or None if there is no such matrix.

    If only the tied output weights are stored, their rows are counted.
    """
    [name] = family.tensor_names(family.body, layers=0)["token_embeddings.shared"]
    # Some files store only one of two tied tensors, not always the embeddings.
    table = tensors.get(name, tensors.get(family.output_weight))
    if table is None or table.dim() != 2:
        return None
    return table.shape[0]


def from_hf(
    family: Family,
    config: ModelConfig,
    tensors: Tensors,
    vocab_size: int,
    size: int,
    path: str,
) -> ImportedTensors:
    """Convert published tensors to masscli's.

    `tensors` have the names that `normalize_names` gives. Their token embeddings have `vocab_size`
    rows, masscli's have `size`. New rows and tensors are initialized with a fixed seed. Raises
    MasscliError, which names `path`, if a tensor is missing, has the wrong shape, is not finite, or is
    unknown, or if tensors that config.json ties differ.
    """
    remaining, notes = _merge_tied(family, config, tensors, path)
    sources = _take_sources(family, config, remaining, vocab_size, path)
    objective = _take_objective_head(family, config, remaining, path)
    left_behind = sorted(
        name for name in remaining if name.startswith(family.task_prefixes)
    )
    # An unknown tensor may belong to a part that changes what the model computes.
    unknown = sorted(remaining.keys() - left_behind)
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        raise MasscliError(
            f"{path}: {unknown[0]}{more} has no place in {family.title}",
            family.unknown_tensor_hint,
        )

    # Tensors are initialized in the order of the model, so that the same file always gives the same
    # run.
    names = _model_names(family, config)
    generator = torch.Generator().manual_seed(1)
    model, new = {}, []
    for name, like in _meta_tensors(config, size).items():
        if name not in names or names[name][0] not in sources:
            model[name] = _initial_value(name, like.shape, generator)
            new.append(name)
            continue
        tensor = _concatenate(family, name, [sources[theirs] for theirs in names[name]])
        if name in _VOCAB_SIZED:
            new_rows = torch.Size((size - vocab_size, *tensor.shape[1:]))
            tensor = torch.cat([tensor, _initial_value(name, new_rows, generator)])
        model[name] = tensor
    return ImportedTensors(model, objective, new, left_behind, notes)


def to_hf(
    family: Family,
    config: ModelConfig,
    tensors: Tensors,
    position_offset: int,
    size: int,
) -> dict[str, Tensor]:
    """Convert masscli's tensors of a model to Hugging Face's, with `size` rows of token embeddings.

    Tensors that `tensors` lacks are left out. In the converted table of positions `position_offset` rows come
    before the first position; if masscli's has another number of such rows, zeros take their place.
    """
    converted: dict[str, Tensor] = {}
    for name, their_names in _model_names(family, config).items():
        if name not in tensors:
            continue
        tensor = tensors[name]
        if (
            name.endswith("positions.weight")
            and position_offset != config.position_offset
        ):
            unused = tensor.new_zeros(position_offset, tensor.shape[1])
            tensor = torch.cat([unused, tensor[config.position_offset :]])
        if name in _VOCAB_SIZED:
            tensor = tensor[:size]
        # A tensor that masscli concatenates is split into equal parts again.
        for theirs, part in zip(
            their_names, tensor.chunk(len(their_names)), strict=True
        ):
            converted[theirs] = part.T if _is_transposed(family, name) else part
    # Their output layer has a bias of its own if its weights are not tied.
    for second_name, name in family.tied_bias.items():
        if not config.tie_output and name in converted:
            converted[second_name] = converted[name]
    return converted


def _take_sources(
    family: Family,
    config: ModelConfig,
    remaining: dict[str, Tensor],
    vocab_size: int,
    path: str,
) -> dict[str, Tensor]:
    """Remove the tensors of the model from `remaining`, and return them in float32 by Hugging Face's names.

    Token embeddings must have `vocab_size` rows. The whole LM head may be absent. Raises MasscliError,
    which names `path`, if another tensor is missing, or if one does not have the shape that `config`
    asks for, or has numbers that are not finite.
    """
    lm_head = {
        theirs for (theirs,) in family.tensor_names(family.lm_head, layers=0).values()
    }
    # A bare model is saved without any part of the LM head; an incomplete head means a damaged file.
    optional = lm_head if lm_head.isdisjoint(remaining) else set()
    # The shapes that config.json describes, in Hugging Face's layout.
    expected = to_hf(
        family,
        config,
        _meta_tensors(config, vocab_size),
        config.position_offset,
        vocab_size,
    )
    for second_name in family.tied_bias:
        expected.pop(second_name, None)
    sources = {}
    for name, like in expected.items():
        if name in optional:
            continue
        if name not in remaining:
            raise MasscliError(
                f"{path}: has no {name}",
                f"the {family.title} that config.json describes has one",
            )
        tensor = to_float32(name, remaining.pop(name), path)
        if tensor.shape != like.shape:
            raise MasscliError(
                f"{path}: {name} is {tuple(tensor.shape)}, by config.json {tuple(like.shape)}",
                "weights and config.json belong to different models",
            )
        sources[name] = tensor
    return sources


def _take_objective_head(
    family: Family, config: ModelConfig, remaining: dict[str, Tensor], path: str
) -> dict[str, Tensor]:
    """Remove the head of the family's objective from `remaining`, and return it by masscli's names.

    The whole head may be absent. Raises MasscliError, which names `path`, if only part of it exists, or
    if a tensor does not have the shape that the objective and `config` ask for.
    """
    names = family.tensor_names(family.objective_head, layers=0)
    if all(theirs not in remaining for (theirs,) in names.values()):
        return {}
    objective = {}
    for name, (theirs,) in names.items():
        if theirs not in remaining:
            raise MasscliError(
                f"{path}: has no {theirs}, but the rest of this head",
                "is the file damaged?",
            )
        tensor = to_float32(theirs, remaining.pop(theirs), path)
        layer, _, kind = name.rpartition(".")
        outputs = family.objective_outputs.get(layer, config.dim)
        expected = (outputs, config.dim) if kind == "weight" else (outputs,)
        if tensor.shape != expected:
            raise MasscliError(
                f"{path}: {theirs} is {tuple(tensor.shape)}, expected {expected}",
                "is it of a model with another head?",
            )
        objective[name] = tensor
    return objective


def _concatenate(family: Family, name: str, parts: Sequence[Tensor]) -> Tensor:
    """Return masscli's tensor `name`: its parts, concatenated along the first dimension.

    Each part is transposed first if the family stores this tensor as (in, out).
    """
    if _is_transposed(family, name):
        return torch.cat([part.T for part in parts])
    return torch.cat(list(parts))


def _model_names(family: Family, config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """Return masscli's names of the model's tensors, each with Hugging Face's names of its parts."""
    layers = max(config.encoder_layers, config.decoder_layers)
    names = family.tensor_names(
        family.body, family.pooler, family.lm_head, layers=layers
    )
    if not config.tie_output:
        names[_OUTPUT_WEIGHT] = (family.output_weight,)
    return names


def _meta_tensors(config: ModelConfig, vocab_size: int) -> Tensors:
    """Return the tensors of a model on the meta device, which have names and shapes but use no memory."""
    with torch.device("meta"):
        return Transformer(config, vocab_size, ()).state_dict()


def _initial_value(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return the initial value of a tensor, or of new rows of one, that published weights lack.

    As in all families, biases are 0, norm weights are 1, and others are drawn from a normal
    distribution with mean 0 and standard deviation 0.02. `name` is masscli's.
    """
    if name.endswith("bias") or name.startswith("output_biases."):
        return torch.zeros(shape)
    if "norm" in name:
        return torch.ones(shape)
    return torch.empty(shape).normal_(0, 0.02, generator=generator)


def _is_transposed(family: Family, name: str) -> bool:
    """Return whether the family stores the tensor `name` as (in, out), the transpose of masscli's matrix."""
    is_matrix = ".layers." in name and name.endswith("weight") and "norm" not in name
    return family.transposed and is_matrix


def _merge_tied(
    family: Family, config: ModelConfig, tensors: Tensors, path: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors with each tied one under one name, and notes on biases whose two copies differ.

    The output bias has two names in some families (`Family.tied_bias`). If its copies differ, the one
    under the second name is kept, since that is the one Hugging Face's library adds to the logits.
    Raises MasscliError if output weights differ from the token embeddings although config.json ties
    them: versions of the library disagree on which of the two is used.
    """
    merged = dict(tensors)
    notes = []
    for second_name, name in family.tied_bias.items():
        if second_name not in merged:
            continue
        second = merged.pop(second_name)
        # Some files only have the second name.
        if not torch.equal(merged.setdefault(name, second), second):
            notes.append(
                f"{second_name} differs from {name}, and is used, as Hugging Face's model does"
            )
            merged[name] = second
    if config.tie_output and family.output_weight in merged:
        [name] = family.tensor_names(family.body, layers=0)["token_embeddings.shared"]
        output_weight = merged.pop(family.output_weight)
        if not torch.equal(merged.setdefault(name, output_weight), output_weight):
            raise MasscliError(
                f"{path}: {family.output_weight} differs from {name}, but config.json ties them",
                'if they are meant to differ, write "tie_word_embeddings": false there',
            )
    return merged, notes

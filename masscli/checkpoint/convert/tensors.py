"""Tensors under Hugging Face's names to tensors under ours, and back: every one is accounted for.

Ours are made of theirs by stacking (queries, keys, values), by turning (GPT stores its matrices the other way round), by leaving out the
rows of positions that lie before the first, and by putting the rows of the vocabulary in our order.
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

NEW = -1
"""In the place of a row of theirs: there is none."""
_BUFFERS = re.compile(r"(.*\.)?(position_ids|token_type_ids|attn\.bias|attn\.masked_bias)")
_BY_ID = ("token_embeddings.shared", "output_biases.shared")


@dataclass(frozen=True)
class Taken:
    """Tensors of a model and of its objective; which of the model's are new, which of theirs were left behind, and what else to say."""

    model: dict[str, Tensor]
    heads: dict[str, Tensor]
    fresh: list[str]
    left: list[str]
    notes: list[str]


def canonical(family: Family, tensors: Tensors) -> dict[str, Tensor]:
    """The same under the names of today, without buffers: old files say gamma and beta, those of a bare model leave out the prefix."""
    named = {
        re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", k)): t
        for k, t in tensors.items()
        if not _BUFFERS.fullmatch(k)
    }
    if any(name.startswith(family.prefix) for name in named):
        return named
    own = [
        theirs.removeprefix("~").split(".")[0] for theirs in (*family.body.values(), *family.pooler.values())
    ]
    return {family.prefix + name if name.split(".")[0] in own else name: t for name, t in named.items()}


def pools(family: Family, theirs: Tensors) -> bool:
    """Whether there is a pooler among the tensors."""
    return any(name in theirs for (name,) in family.names(family.pooler, layers=0).values())


def take(
    family: Family, config: ModelConfig, theirs: Tensors, rows: Sequence[int], size: int, skip: int, path: str
) -> Taken:
    """Ours, from theirs under canonical names.

    `rows` are the rows of their table of `size` for each of our ids, `skip` those of positions before the first; what is new is always
    drawn alike.  Raises MasscliError, which names `path`, when a tensor is missing, has another shape, or has no place.
    """
    left, notes = _untied(family, theirs, path)
    output = {name for (name,) in family.names(family.output, layers=0).values()}
    bare = not output & left.keys()
    found: dict[str, Tensor] = {}
    for name, like in give(family, config, _shapes(config, size), skip).items():
        if bare and name in output:
            continue
        if name not in left:
            raise MasscliError(
                f"{path}: has no {name}", f"the {family.title} that config.json describes has one"
            )
        found[name] = left.pop(name).float()
        if found[name].shape != like.shape:
            raise MasscliError(f"{path}: {name} is {tuple(found[name].shape)}, by config.json {tuple(like.shape)}",
                               "they are not of one model")  # fmt: skip
    heads = {
        ours: left.pop(name).float()
        for ours, (name,) in family.names(family.heads, layers=0).items()
        if name in left
    }
    behind = sorted(name for name in left if name.startswith(family.tasks))
    if strange := [name for name in sorted(left) if name not in behind]:
        more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
        raise MasscliError(f"{path}: {strange[0]}{more} has no place in {family.title}", family.hint)
    came = {name: sources for name, sources in _names(family, config).items() if sources[0] in found}
    draw, ids = torch.Generator().manual_seed(1), torch.tensor(rows)
    made: dict[str, Tensor] = {}
    for name, like in _shapes(config, len(rows)).items():
        if name not in came:
            made[name] = _drawn(name, like.shape, draw)
            continue
        made[name] = torch.cat(
            [found[source].T if _turned(family, name) else found[source] for source in came[name]]
        )
        if name.endswith("positions.weight"):
            made[name] = made[name][skip:].clone()
        if name in _BY_ID:
            made[name] = made[name][ids.clamp(min=0)]
            made[name][ids == NEW] = _drawn(name, made[name][ids == NEW].shape, draw)
    return Taken(made, heads, [name for name in made if name not in came], behind, notes)


def give(family: Family, config: ModelConfig, ours: Tensors, skip: int) -> dict[str, Tensor]:
    """Theirs, from ours; `skip` rows of zeros stand before the positions."""
    made: dict[str, Tensor] = {}
    for name, sources in _names(family, config).items():
        if name not in ours:
            continue
        tensor = ours[name]
        if name.endswith("positions.weight"):
            tensor = torch.cat([tensor.new_zeros(skip, tensor.shape[1]), tensor])
        for source, part in zip(sources, tensor.chunk(len(sources)), strict=True):
            made[source] = part.T if _turned(family, name) else part
    return made


def _names(family: Family, config: ModelConfig) -> dict[str, tuple[str, ...]]:
    """The model's tensors, and what each is stacked from."""
    return family.names(
        family.body, family.pooler, family.output, layers=max(config.encoder_layers, config.decoder_layers)
    )


def _shapes(config: ModelConfig, size: int) -> Tensors:
    """A model's tensors without their numbers."""
    with torch.device("meta"):
        return Transformer(config, size, ()).state_dict()


def _drawn(name: str, shape: torch.Size, draw: torch.Generator) -> Tensor:
    """What a tensor that is new begins with: N(0, 0.02), as all of these models; zero biases, norms that change nothing."""
    if name.endswith("bias") or name.startswith("output_biases."):
        return torch.zeros(shape)
    return torch.ones(shape) if "norm" in name else torch.empty(shape).normal_(0, 0.02, generator=draw)


def _turned(family: Family, name: str) -> bool:
    return family.turned and ".layers." in name and name.endswith("weight") and "norm" not in name


def _untied(family: Family, theirs: Tensors, path: str) -> tuple[dict[str, Tensor], list[str]]:
    """Each tied tensor once, under its first name; and a line where it was two.

    Of two biases it is the second name's that their library adds; two tables have no place here.
    """
    left, notes = dict(theirs), []
    for alias, name in family.aliases.items():
        if alias not in left:
            continue
        second = left.pop(alias)
        if torch.equal(left.setdefault(name, second), second):
            continue
        if not alias.endswith("bias"):
            raise MasscliError(
                f"{path}: {alias} differs from {name}",
                "here they are one; a model that is not tied cannot be imported",
            )
        notes.append(f"{alias} differs from {name}, and is taken: it is what is added there")
        left[name] = second
    return left, notes

"""Begin with the weights of another run: tensors by name, languages by name, and a report of what was and was not taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.models.transformer import Transformer
from masscli.text.vocabulary import Vocabulary
from masscli.training.recipe import Recipe


class Taken(NamedTuple):
    """The tensors that came, and what to tell of the others in the checkpoint."""

    names: set[str]
    report: list[str]


def begin(
    model: Transformer,
    recipe: Recipe,
    open_checkpoint: Callable[[Path], Checkpoint],
    vocab: Vocabulary,
    own: Sequence[str],
) -> list[str]:
    """Begin with the checkpoints that a recipe names; lines that say what came, what was left behind and what is new.

    `own` are the parameters of the objectives, which always begin anew.
    """
    assert recipe.init_from is not None
    first = "encoder" if recipe.init_decoder_from is not None else recipe.init_stacks
    taken = initialise(model, open_checkpoint(recipe.init_from), vocab, first)
    names, report = set(taken.names), list(taken.report)
    if recipe.init_decoder_from is not None:
        more = initialise(model, open_checkpoint(recipe.init_decoder_from), vocab, "decoder", table=False)
        names, report = names | more.names, report + more.report
    new = [name for name in model.state_dict() if name not in names] + [f"heads.{name}" for name in own]
    return report + ([f"new, drawn at random: {_summary(new)}"] if new else [])


def initialise(
    model: Transformer, checkpoint: Checkpoint, vocab: Vocabulary, stack: str = "both", table: bool = True
) -> Taken:
    """Copy what fits into `model`: of one stack, or both, and the shared token table if wanted.

    The decoder of a model that has none is its encoder, as XLM begins translation with an MLM on both sides (Lample & Conneau 2019);
    attention to the source is new then.

    Raises MasscliError when the vocabularies differ, when a tensor's shape does, or when nothing at all would be copied.
    """
    if checkpoint.tokenizer().vocab.fingerprint != vocab.fingerprint:
        raise MasscliError(
            f"{checkpoint.path}: was trained with another vocabulary than the data",
            f"preprocess the text with --spm-model {checkpoint.path}",
        )
    theirs, ours = checkpoint.weights(), model.state_dict()
    turned = stack == "decoder" and not any(name.startswith("decoder.") for name in theirs)
    if turned:
        theirs = {_as_decoder(name): tensor for name, tensor in theirs.items()}
    old, new = checkpoint.state.languages, model.languages
    taken: list[str] = []
    longer: list[str] = []
    for name, tensor in ours.items():
        if name not in theirs or not _wanted(name, stack, table):
            continue
        source = theirs[name]
        if name.endswith("languages.weight") and old != new:
            _by_name(tensor, source, old, new)
        elif name.endswith("positions.weight") and len(tensor) > len(source):
            tensor.copy_(source[torch.arange(len(tensor)) % len(source)])
            longer = [f"positions {len(source)} to {len(tensor) - 1} are those from 0 on again"]
        elif source.shape != tensor.shape:
            raise MasscliError(f"{checkpoint.path}: {name} is {tuple(source.shape)}, the model wants {tuple(tensor.shape)}",
                               "leave out the options that change the model's shape")  # fmt: skip
        else:
            tensor.copy_(source)
        taken.append(name)
    if stack != "both" and not any(stack in name.split(".")[:2] for name in taken):
        raise MasscliError(
            f"{checkpoint.path}: has no {stack}", "leave out --init-stacks, or take another run"
        )
    if not taken:
        raise MasscliError(
            f"{checkpoint.path}: shares no weight with this model",
            "was it made for another kind of objective?",
        )
    unused = [n for n in theirs if n not in taken] + [f"heads.{n}" for n in checkpoint.objective_state()]
    fresh = [n for n in new if n not in old]
    report = [
        f"{len(taken)} tensors from {checkpoint.path}"
        + (", of its encoder: it has no decoder" if turned else "")
    ]
    report += longer
    report += [f"left behind: {_summary(unused)}"] if unused else []
    report += (
        [f"languages without a vector there, drawn at random: {', '.join(fresh)}"] if fresh and old else []
    )
    return Taken(set(taken), report)


def _wanted(name: str, stack: str, table: bool) -> bool:
    """Whether a tensor belongs to a stack: `decoder.layers.0...`, `embeddings.decoder...`, `token_embeddings.decoder`; or is shared by both."""
    owner = next((part for part in name.split(".")[:2] if part in ("encoder", "decoder")), None)
    return table if owner is None else stack in ("both", owner)


def _as_decoder(name: str) -> str:
    """What a tensor of the encoder is called in the decoder."""
    parts = name.split(".")
    return ".".join(["decoder" if n < 2 and part == "encoder" else part for n, part in enumerate(parts)])


def freeze(model: Transformer, parts: Sequence[str]) -> list[str]:
    """Keep parts of a model as they are: embeddings, a stack, or the first layers of each."""
    for part in parts:
        last = (
            [f"{stack}.layers.{int(part) - 1}." for stack in ("encoder", "decoder")]
            if part.isdigit()
            else _prefixes(part)
        )
        if not any(name.startswith(prefix) for name, _ in model.named_parameters() for prefix in last):
            raise MasscliError(
                f"--freeze {part}: the model has nothing of the kind",
                "name embeddings, a stack or layers that it has",
            )
    prefixes = [prefix for part in parts for prefix in _prefixes(part)]
    stopped = total = 0
    for name, p in model.named_parameters():
        total += p.numel()
        if any(name.startswith(prefix) for prefix in prefixes):
            p.requires_grad_(False)
            stopped += p.numel()
    return [f"frozen: {', '.join(parts)} ({stopped:,} of {total:,} parameters)"] if parts else []


def _prefixes(part: str) -> list[str]:
    if part == "embeddings":
        return ["token_embeddings.", "embeddings.", "embedding_projections.", "output_biases."]
    if part in ("encoder", "decoder"):
        return [f"{part}.", *(["relative."] if part == "encoder" else [])]
    return [f"{stack}.layers.{n}." for stack in ("encoder", "decoder") for n in range(int(part))]


def _by_name(tensor: Tensor, source: Tensor, old: Sequence[str], new: Sequence[str]) -> None:
    for row, language in enumerate(new):
        if language in old:
            tensor[row].copy_(source[list(old).index(language)])


def _summary(names: Sequence[str]) -> str:
    """`decoder (120), tables (1)`."""
    heads: dict[str, int] = {}
    for name in names:
        head = name.partition(".")[0]
        heads[head] = heads.get(head, 0) + 1
    return ", ".join(f"{head} ({count})" for head, count in heads.items())

"""Start from the weights of another run.

Tensors and languages are matched by name, and a report says what was copied and what was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.models.transformer import Transformer
from masscli.text.vocabulary import Vocabulary
from masscli.training.recipe import Recipe

STACKS = ("encoder", "decoder")


class Initialization(NamedTuple):
    """What was initialized: the names of the copied tensors, and the lines of a report for the user."""

    copied: set[str]
    report: list[str]


def initialize_model(
    model: Transformer,
    recipe: Recipe,
    open_checkpoint: Callable[[Path], Checkpoint],
    vocab: Vocabulary,
    objective_parameters: Sequence[str],
) -> list[str]:
    """Copy the weights of the checkpoints that a recipe names, and return a report for the user.

    `objective_parameters` are the names of the objectives' own parameters, which are never copied and so keep
    their random weights.
    """
    assert recipe.init_from is not None
    stacks = "encoder" if recipe.init_decoder_from is not None else recipe.init_stacks
    copied, report = initialize_from(model, open_checkpoint(recipe.init_from), vocab, stacks)
    if recipe.init_decoder_from is not None:
        decoder_checkpoint = open_checkpoint(recipe.init_decoder_from)
        more = initialize_from(model, decoder_checkpoint, vocab, "decoder", shared_tensors=False)
        copied = copied | more.copied
        report = report + more.report
    new = [name for name in model.state_dict() if name not in copied]
    new += [f"heads.{name}" for name in objective_parameters]
    if new:
        report = [*report, f"new, drawn at random: {_summarize(new)}"]
    return report


def initialize_from(
    model: Transformer,
    checkpoint: Checkpoint,
    vocab: Vocabulary,
    stacks: str = "both",
    shared_tensors: bool = True,
) -> Initialization:
    """Copy the tensors of one stack or of both into `model`, and those that belong to no stack if wanted.

    If the checkpoint has no decoder, its encoder becomes the decoder, as XLM initializes translation with a
    masked language model on both sides (Lample and Conneau 2019); attention to the source is new then. Raises
    MasscliError if the vocabularies differ, if the shapes of a tensor do, or if nothing at all would be
    copied.
    """
    if checkpoint.tokenizer().vocab.fingerprint != vocab.fingerprint:
        raise MasscliError(
            f"{checkpoint.path}: was trained with another vocabulary than the data",
            f"preprocess the text with --spm-model {checkpoint.path}",
        )
    sources = checkpoint.weights()
    has_decoder = any(name.startswith("decoder.") for name in sources)
    decoder_from_encoder = stacks == "decoder" and not has_decoder
    if decoder_from_encoder:
        sources = {_as_decoder(name): tensor for name, tensor in sources.items()}
    remarks = {}
    for name, tensor in model.state_dict().items():
        if name in sources and _is_wanted(name, stacks, shared_tensors):
            remarks[name] = _copy(name, tensor, sources[name], checkpoint, model)
    copied = list(remarks)
    _check_copied(checkpoint, stacks, copied)
    first_line = f"{len(copied)} tensors from {checkpoint.path}"
    if decoder_from_encoder:
        first_line += ", of its encoder: it has no decoder"
    report = [first_line, *dict.fromkeys(filter(None, remarks.values()))]
    unused = [name for name in sources if name not in remarks]
    report += _report_rest(checkpoint, unused, model.languages)
    return Initialization(set(copied), report)


def _report_rest(checkpoint: Checkpoint, unused: Sequence[str], languages: Sequence[str]) -> list[str]:
    """Return lines about tensors that were not copied, and about languages without a vector."""
    report = []
    left_behind = [*unused, *(f"heads.{name}" for name in checkpoint.objective_state())]
    if left_behind:
        report.append(f"left behind: {_summarize(left_behind)}")
    old_languages = checkpoint.state.languages
    unknown = [language for language in languages if language not in old_languages]
    if unknown and old_languages:
        report.append(f"languages without a vector there, drawn at random: {', '.join(unknown)}")
    return report


def _copy(name: str, tensor: Tensor, source: Tensor, checkpoint: Checkpoint, model: Transformer) -> str:
    """Copy the checkpoint's tensor `source` to the model's tensor `name`; return a note for the user, or "".

    Language vectors are copied by the names of the languages, and a table of positions that is too short is
    repeated. Raises MasscliError if the shapes differ otherwise.
    """
    old_languages = checkpoint.state.languages
    if name.endswith("languages.weight") and old_languages != model.languages:
        _copy_languages(tensor, source, old_languages, model.languages)
        return ""
    if name.endswith("positions.weight") and len(tensor) > len(source):
        # More positions than the checkpoint has: its table is repeated, as UniLM extends it.
        first = model.config.position_offset
        old, new = len(source) - first, len(tensor) - first
        tensor.copy_(torch.cat([source[:first], source[first + torch.arange(new) % old]]))
        return f"positions {old} to {new - 1} are those from 0 on again"
    if source.shape != tensor.shape:
        raise MasscliError(
            f"{checkpoint.path}: {name} is {tuple(source.shape)}, the model needs {tuple(tensor.shape)}",
            "leave out the options that change the model's shape",
        )
    tensor.copy_(source)
    return ""


def _check_copied(checkpoint: Checkpoint, stacks: str, copied: Sequence[str]) -> None:
    """Raise MasscliError if nothing was copied, or nothing of the stack that --init-stacks names."""
    if stacks != "both" and not any(stacks in name.split(".")[:2] for name in copied):
        raise MasscliError(
            f"{checkpoint.path}: has no {stacks}", "leave out --init-stacks, or take another run"
        )
    if not copied:
        raise MasscliError(
            f"{checkpoint.path}: shares no weight with this model",
            "was it made for another kind of objective?",
        )


def _is_wanted(name: str, stacks: str, shared_tensors: bool) -> bool:
    """Return whether a tensor is to be copied.

    A stack is part of names such as decoder.layers.0..., embeddings.decoder... and token_embeddings.decoder;
    other tensors are shared by both stacks.
    """
    for part in name.split(".")[:2]:
        if part in STACKS:
            return stacks in ("both", part)
    return shared_tensors


def _as_decoder(name: str) -> str:
    """Return the name of the decoder tensor that corresponds to an encoder tensor."""
    parts = name.split(".")
    for position, part in enumerate(parts[:2]):
        if part == "encoder":
            parts[position] = "decoder"
    return ".".join(parts)


def _copy_languages(
    tensor: Tensor, source: Tensor, old_languages: Sequence[str], new_languages: Sequence[str]
) -> None:
    """Copy the language vectors of the languages that both models have."""
    for row, language in enumerate(new_languages):
        if language in old_languages:
            tensor[row].copy_(source[list(old_languages).index(language)])


def freeze(model: Transformer, parts: Sequence[str]) -> list[str]:
    """Exclude parts of a model from training, and return a note that says how much is frozen.

    A part is `embeddings`, a stack, or a number N for the first N layers of each stack. Raises MasscliError
    if the model has no such part.
    """
    if not parts:
        return []
    for part in parts:
        # Of a number of layers the last one must be there.
        required = _prefixes(part)
        if part.isdigit():
            required = [f"{stack}.layers.{int(part) - 1}." for stack in STACKS]
        if not any(_starts_with_any(name, required) for name, _ in model.named_parameters()):
            raise MasscliError(
                f"--freeze {part}: the model has no such part",
                "name embeddings, a stack or layers that it has",
            )
    prefixes = [prefix for part in parts for prefix in _prefixes(part)]
    frozen = total = 0
    for name, parameter in model.named_parameters():
        total += parameter.numel()
        if _starts_with_any(name, prefixes):
            parameter.requires_grad_(False)
            frozen += parameter.numel()
    return [f"frozen: {', '.join(parts)} ({frozen:,} of {total:,} parameters)"]


def _prefixes(part: str) -> list[str]:
    """Return the prefixes of the parameter names that belong to a part."""
    if part == "embeddings":
        return [
            "token_embeddings.",
            "embeddings.",
            "embedding_projections.",
            "output_weights.",
            "output_biases.",
        ]
    if part == "encoder":
        return ["encoder.", "relative."]
    if part == "decoder":
        return ["decoder."]
    return [f"{stack}.layers.{number}." for stack in STACKS for number in range(int(part))]


def _starts_with_any(name: str, prefixes: Iterable[str]) -> bool:
    return any(name.startswith(prefix) for prefix in prefixes)


def _summarize(names: Sequence[str]) -> str:
    """Return the leading components of names with their counts, such as `decoder (120), tables (1)`."""
    counts: dict[str, int] = {}
    for name in names:
        first_part = name.partition(".")[0]
        counts[first_part] = counts.get(first_part, 0) + 1
    return ", ".join(f"{part} ({count})" for part, count in counts.items())

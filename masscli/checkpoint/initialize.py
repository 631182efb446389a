"""Initialize a model with the weights of another run, or freeze parts of it.

Tensors and languages are matched by name, and a report says what was copied and what was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.new_rows import TOKEN_TABLES, NewRows
from masscli.core.digits import parse_digits
from masscli.core.errors import MasscliError
from masscli.models.transformer import Transformer
from masscli.text.tokenizer import Tokenizer
from masscli.training.recipe import Recipe

STACKS = ("encoder", "decoder")


class Initialization(NamedTuple):
    """The names of the model's tensors that were copied, and the lines of a report for the user."""

    copied: set[str]
    report: list[str]


def initialize_model(
    model: Transformer,
    recipe: Recipe,
    open_checkpoint: Callable[[Path], Checkpoint],
    tokenizer: Tokenizer,
    objective_parameters: Sequence[str],
) -> list[str]:
    """Copy weights into `model` from the checkpoints of --init-from and --init-decoder-from in the recipe.

    The recipe must have --init-from; `open_checkpoint` opens the checkpoint that a path refers to.
    `tokenizer` is that of the data. `objective_parameters` are the names of the objectives' own
    parameters, which are not copied and keep their random values. Returns lines of a report for the
    user. Raises MasscliError as `initialize_from` does.
    """
    assert recipe.init_from is not None
    stacks = "encoder" if recipe.init_decoder_from is not None else recipe.init_stacks
    new_rows = NewRows(tokenizer, recipe.init_new)
    copied, report = initialize_from(
        model, open_checkpoint(recipe.init_from), new_rows, stacks
    )
    # Tensors that the stacks share come from the first checkpoint.
    if recipe.init_decoder_from is not None:
        decoder_checkpoint = open_checkpoint(recipe.init_decoder_from)
        more = initialize_from(
            model, decoder_checkpoint, new_rows, "decoder", shared_tensors=False
        )
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
    new_rows: NewRows,
    stacks: str = "both",
    shared_tensors: bool = True,
) -> Initialization:
    """Copy tensors of the same names from a checkpoint into `model`, in place.

    `stacks` is `encoder`, `decoder` or `both`; tensors that belong to no stack are copied if
    `shared_tensors` is set. If only the decoder is asked for and the checkpoint has none, its encoder
    is copied into the decoder, as XLM initializes both sides of a translation model with a masked
    language model (Lample and Conneau 2019); cross-attention then keeps its random weights. `new_rows`
    has the vocabulary of the data, and fills the rows of pieces that the checkpoint's vocabulary lacks.
    Raises MasscliError if the vocabulary of the data is neither that of the checkpoint nor an extension
    of it, if shapes differ, or if nothing is copied.
    """
    new_rows.check_vocabulary(checkpoint)
    sources = checkpoint.weights()
    has_decoder = any(name.startswith("decoder.") for name in sources)
    decoder_from_encoder = stacks == "decoder" and not has_decoder
    if decoder_from_encoder:
        sources = {_as_decoder(name): tensor for name, tensor in sources.items()}
    remarks = {}
    for name, tensor in model.state_dict().items():
        if name in sources and _is_wanted(name, stacks, shared_tensors):
            remarks[name] = _copy(
                name, tensor, sources[name], checkpoint, model, new_rows
            )
    copied = list(remarks)
    _check_copied(checkpoint, stacks, copied)
    first_line = f"{len(copied)} tensors from {checkpoint.path}"
    if decoder_from_encoder:
        first_line += ", of its encoder: it has no decoder"
    report = [first_line]
    # Several tensors may have the same note, which is reported once.
    for remark in remarks.values():
        if remark and remark not in report:
            report.append(remark)
    unused = [name for name in sources if name not in remarks]
    report += _report_rest(checkpoint, unused)
    return Initialization(set(copied), report)


def _report_rest(checkpoint: Checkpoint, unused: Sequence[str]) -> list[str]:
    """Return a list with a line on the checkpoint's tensors that were not copied, or an empty list.

    `unused` are the names of those of its model; those of its objectives, which are never copied, are added.
    """
    left_behind = [*unused, *(f"heads.{name}" for name in checkpoint.objective_state())]
    if not left_behind:
        return []
    return [f"left behind: {_summarize(left_behind)}"]


def _copy(
    name: str,
    tensor: Tensor,
    source: Tensor,
    checkpoint: Checkpoint,
    model: Transformer,
    new_rows: NewRows,
) -> str:
    """Copy the checkpoint's tensor `source` into the model's `tensor`, which is called `name`, in place.

    Return a note for the user, or "". Language vectors are matched by the names of the languages, and
    rows of token tables by id; `new_rows` fills the rest of both. A table with fewer positions than the
    model's is repeated until it fills the model's. Raises MasscliError if shapes differ otherwise.
    """
    # Only the number of rows may differ: a table cannot be filled from one of a different width.
    if source.shape[1:] != tensor.shape[1:]:
        raise _wrong_shape(name, tensor, source, checkpoint)
    # Languages may have different indices in the new vocabulary, so their vectors are matched by name.
    old_languages = checkpoint.state.languages
    if name.endswith("languages.weight") and old_languages != model.languages:
        return new_rows.copy_languages(tensor, source, old_languages, model.languages)
    if name.startswith(TOKEN_TABLES) and len(tensor) > len(source):
        return new_rows.copy_tokens(tensor, source)
    if name.endswith("positions.weight") and len(tensor) > len(source):
        # The model has more positions than the checkpoint: the table is repeated, as in UniLM.
        first = model.config.position_offset
        old, new = len(source) - first, len(tensor) - first
        tensor.copy_(
            torch.cat([source[:first], source[first + torch.arange(new) % old]])
        )
        return f"positions {old} to {new - 1} are those from 0 on again"
    if source.shape != tensor.shape:
        raise _wrong_shape(name, tensor, source, checkpoint)
    tensor.copy_(source)
    return ""


def _wrong_shape(
    name: str, tensor: Tensor, source: Tensor, checkpoint: Checkpoint
) -> MasscliError:
    """Return, without raising it, the error for a `source` whose shape differs from the model's `tensor`.

    `name` is the name of both; `source` is in `checkpoint`.
    """
    return MasscliError(
        f"{checkpoint.path}: {name} is {tuple(source.shape)}, the model needs {tuple(tensor.shape)}",
        "leave out the options that change the model's shape",
    )


def _check_copied(checkpoint: Checkpoint, stacks: str, copied: Sequence[str]) -> None:
    """Raise MasscliError if no tensor was copied, or none of the stack that `stacks` names.

    `stacks` is `encoder`, `decoder` or `both`, and `copied` are the names of the copied tensors.
    """
    if stacks != "both" and not any(stacks in name.split(".")[:2] for name in copied):
        raise MasscliError(
            f"{checkpoint.path}: has no {stacks}",
            "leave out --init-stacks, or take another run",
        )
    if not copied:
        raise MasscliError(
            f"{checkpoint.path}: shares no weight with this model",
            "was it made for another kind of objective?",
        )


def _is_wanted(name: str, stacks: str, shared_tensors: bool) -> bool:
    """Return whether the tensor of this name is to be copied.

    A tensor belongs to a stack if one of the first two parts of its name is `encoder` or `decoder`, as in
    decoder.layers.0... or token_embeddings.decoder, and is copied if `stacks` is this stack or `both`. Any
    other tensor is shared by both stacks, and is copied if `shared_tensors` is set.
    """
    for part in name.split(".")[:2]:
        if part in STACKS:
            return stacks in ("both", part)
    return shared_tensors


def _as_decoder(name: str) -> str:
    """Return a name with `encoder` replaced by `decoder` in its first two parts."""
    parts = name.split(".")
    for position, part in enumerate(parts[:2]):
        if part == "encoder":
            parts[position] = "decoder"
    return ".".join(parts)


def freeze(model: Transformer, parts: Sequence[str]) -> list[str]:
    """Exclude parts of a model from training; return a list with a line on how many parameters are frozen.

    A part is `embeddings`, `encoder`, `decoder`, or a number N for the first N layers of each stack. Without
    parts, nothing is frozen and the list is empty. Raises MasscliError if the model has no such part, or if
    no stack has N layers.
    """
    if not parts:
        return []
    for part in parts:
        # Only one stack may have fewer layers; otherwise there is no such part.
        layers = parse_digits(part)
        if layers is None:
            required = _prefixes(part)
        else:
            required = [f"{stack}.layers.{layers - 1}." for stack in STACKS]
        if not any(
            _starts_with_any(name, required) for name, _ in model.named_parameters()
        ):
            raise MasscliError(
                f"--freeze {part}: the model has no such part",
                "name embeddings, a stack or layers that it has",
            )
    prefixes: list[str] = []
    for part in parts:
        prefixes += _prefixes(part)
    frozen = total = 0
    for name, parameter in model.named_parameters():
        total += parameter.numel()
        if _starts_with_any(name, prefixes):
            parameter.requires_grad_(False)
            frozen += parameter.numel()
    return [f"frozen: {', '.join(parts)} ({frozen:,} of {total:,} parameters)"]


def _prefixes(part: str) -> list[str]:
    """Return the prefixes of the names of the parameters of a part.

    The part is `embeddings`, `encoder`, `decoder`, or a number N for the first N layers of both stacks.
    """
    if part == "embeddings":
        return [*TOKEN_TABLES, "embeddings.", "embedding_projections."]
    if part == "encoder":
        # Only encoders have relative positions (models with relative_buckets).
        return ["encoder.", "relative."]
    if part == "decoder":
        return ["decoder."]
    prefixes = []
    for stack in STACKS:
        prefixes += [f"{stack}.layers.{number}." for number in range(int(part))]
    return prefixes


def _starts_with_any(name: str, prefixes: Iterable[str]) -> bool:
    return any(name.startswith(prefix) for prefix in prefixes)


def _summarize(names: Sequence[str]) -> str:
    """Count tensor names by the part before their first dot, and return text such as `decoder (9)`."""
    counts: dict[str, int] = {}
    for name in names:
        first_part = name.partition(".")[0]
        counts[first_part] = counts.get(first_part, 0) + 1
    return ", ".join(f"{part} ({count})" for part, count in counts.items())

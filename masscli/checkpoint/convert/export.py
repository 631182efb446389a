"""Export a run as a folder for Hugging Face's library: config.json, model.safetensors, vocabulary files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.attribution import notice_file
from masscli.checkpoint.convert.families import FAMILIES, Family
from masscli.checkpoint.convert.folder import CONFIG, json_bytes, write_folder
from masscli.checkpoint.convert.generation_settings import (
    GENERATION_CONFIG,
    write_continuation_settings,
)
from masscli.checkpoint.convert.matching_family import choose_family
from masscli.checkpoint.convert.model_config import position_offset, write_config
from masscli.checkpoint.convert.task_head_export import (
    ConvertedHead,
    convert_task_head,
    missing_class_note,
)
from masscli.checkpoint.convert.tensors import Tensors, to_hf
from masscli.checkpoint.convert.vocabulary_export import export_vocabulary
from masscli.checkpoint.saving import require_empty_folder
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig


def export_checkpoint(path: Path, output: Path, family_name: str | None) -> list[str]:
    """Export an encoder or a language model as the folder `output` for Hugging Face's library.

    `path` is a run or a checkpoint. `family_name` is a `model_type` such as bert; if it is None, the
    family is that of the model's preset or, if the model has no counterpart in that family, the most
    similar one. Returns notes for the user on what was written and what was left out. Raises
    MasscliError if `output` is not empty or cannot be written, or if no model of the family computes
    the same function; the message then names the setting.
    """
    require_empty_folder(output)
    checkpoint = Checkpoint.open(path)
    model = checkpoint.recipe.model
    tokenizer = checkpoint.tokenizer()
    if family_name is None:
        family = choose_family(model)
    else:
        family = _named_family(family_name)
    vocabulary = export_vocabulary(checkpoint, family)
    config = write_config(family, model, tokenizer.vocab, vocabulary.size)
    weights = checkpoint.weights()
    objective_state = checkpoint.objective_state()

    # One head is exported with the model: that of the downstream task, or else of the objective.
    task_head = convert_task_head(family, checkpoint, objective_state)
    head = task_head or _objective_head(family, checkpoint, objective_state)
    unused_names = family.tensor_names(*head.unused_parts, layers=0)
    unused_weights = [name for name in unused_names if name in weights]
    exported = {
        name: tensor for name, tensor in weights.items() if name not in unused_weights
    }
    offset = position_offset(family, model, tokenizer.vocab)
    tensors = to_hf(family, model, exported, offset, vocabulary.size) | head.tensors

    count = sum(tensor.numel() for tensor in exported.values())
    notes = [
        f"{head.class_name}: {len(tensors)} tensors, {count:,} parameters of the model"
    ]
    if head.note is not None:
        notes.append(head.note)
    left_behind = [
        name for name in objective_state if name not in head.our_names
    ] + unused_weights
    if left_behind:
        notes.append(f"left behind: {_summarize(left_behind)}")
    if task_head is None:
        notes += _missing_head_notes(family, checkpoint, head.class_name)
    files = {
        **vocabulary.files,
        **notice_file(checkpoint.state.attribution),
        **_config_files(family, checkpoint, config, head),
    }
    write_folder(output, files, tensors)
    return notes + vocabulary.notes


def _config_files(
    family: Family, checkpoint: Checkpoint, config: dict[str, Any], head: ConvertedHead
) -> dict[str, bytes]:
    """Return config.json and, for a language model, generation_config.json: their contents by file name.

    `config` has the entries of config.json about the model.
    """
    content = {"architectures": [head.class_name], **config, **head.config}
    files = {CONFIG: json_bytes(content)}
    if not family.is_encoder and head.class_name == family.full_class:
        ids = {key: value for key, value in config.items() if key.endswith("_token_id")}
        search = write_continuation_settings(
            checkpoint.state.generation, checkpoint.recipe.model.max_target_positions
        )
        files[GENERATION_CONFIG] = json_bytes({**ids, **search})
    return files


def _objective_head(
    family: Family, checkpoint: Checkpoint, objective_state: Tensors
) -> ConvertedHead:
    """Return the head of the family's pre-training objective, and the class to export the model as.

    If `_objective_head_names` finds no such head, the result has no tensors.
    """
    names = _objective_head_names(family, checkpoint, objective_state)
    return ConvertedHead(
        class_name=_class_name(family, checkpoint.recipe.model, bool(names)),
        tensors={theirs: objective_state[ours] for theirs, ours in names.items()},
        our_names=list(names.values()),
        config={},
        unused_parts=[],
        note=None,
    )


def _missing_head_notes(
    family: Family, checkpoint: Checkpoint, class_name: str
) -> list[str]:
    """Return notes on a head that the library has no class for, and on one that the model lacks.

    `class_name` is the class of the library that a model without the head of its task is exported as.
    """
    notes = []
    reason = missing_class_note(family, checkpoint)
    if reason is not None:
        notes.append(reason)
    # The library fills it with random numbers, so its predictions are meaningless until it is trained.
    if family.lm_head and not checkpoint.recipe.model.head_transform:
        notes.append(
            f"the model has no transform before its output layer, but {class_name} has one"
        )
    return notes


def _named_family(name: str) -> Family:
    """Return the family with the `model_type` given by --family. Raises MasscliError if there is none."""
    if name not in FAMILIES:
        raise MasscliError(
            f"--family {name}: no such family", f"expected one of {', '.join(FAMILIES)}"
        )
    return FAMILIES[name]


def _objective_head_names(
    family: Family, checkpoint: Checkpoint, objective_state: Tensors
) -> dict[str, str]:
    """Return masscli's name of each tensor of the pre-training objective's head, by its exported name.

    The result is empty unless exactly one stream has the objective that the family was published with, all
    tensors of its head are in `objective_state`, and the model has the pooler and head transform that the
    family's class for this objective requires.
    """
    model = checkpoint.recipe.model
    # The class with both heads has a pooler and an LM head, which the library would fill with random numbers.
    if family.lm_head and family.pooler and not (model.pooler and model.head_transform):
        return {}
    streams = []
    for stream, config in checkpoint.recipe.stream.items():
        if config.objective.name == family.objective:
            streams.append(stream)
    # With two heads it would be a guess which one to export.
    if len(streams) != 1:
        return {}
    names = {}
    for ours, (theirs,) in family.tensor_names(family.objective_head, layers=0).items():
        names[theirs] = f"{streams[0]}.{ours}"
    if not all(ours in objective_state for ours in names.values()):
        return {}
    return names


def _class_name(family: Family, model: ModelConfig, has_objective_head: bool) -> str:
    """Return the name of Hugging Face's class to export as, chosen by the heads that the model has.

    `has_objective_head` says whether the head of the family's pre-training objective is exported.
    """
    # GPT has no LM head of its own.
    if not family.lm_head:
        return family.full_class
    # ELECTRA has the head of its objective, or an LM head, but not both.
    if has_objective_head and not model.head_transform:
        return family.full_class
    if not model.head_transform:
        return family.bare_class
    return family.full_class if model.pooler else family.lm_class


def _summarize(names: list[str]) -> str:
    """Return how many names begin with the same two parts, between dots, as text: `a.head (2), a.out (1)`."""
    counts: Counter[str] = Counter()
    for name in names:
        first_parts = name.split(".")[:2]
        counts[".".join(first_parts)] += 1
    return ", ".join(f"{part} ({count})" for part, count in counts.items())

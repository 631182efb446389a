"""Export a checkpoint with masscli's own names: as a run without optimizer state, or as bare tensors.

Bare tensors are safetensors files, accompanied by the settings of the model and its vocabulary.
"""

from __future__ import annotations

import json
from pathlib import Path

from masscli.checkpoint import saving
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.attribution import notice_file
from masscli.checkpoint.convert.folder import CONFIG, WEIGHTS
from masscli.checkpoint.saving import require_empty_folder
from masscli.checkpoint.tensor_file import save_tensors
from masscli.core.atomic_files import fsync_path, new_folder, write_synced
from masscli.core.config import to_dict
from masscli.core.errors import cannot_be_written
from masscli.version import __version__


def export_masscli(checkpoint: Checkpoint, output: Path) -> list[str]:
    """Write the run `output` with this checkpoint, without the parts only training needs; return notes.

    The notes are for the user. Left out are the optimizer's state and, with --ema-decay, the weights that
    training continues from. Raises MasscliError if `output` is not empty or cannot be written.
    """
    require_empty_folder(output)
    path = saving.save_new_run(
        output,
        checkpoint.recipe,
        checkpoint.state,
        checkpoint.tokenizer(),
        model=checkpoint.weights(),
        objectives=checkpoint.objective_state(),
    )
    return [
        f"{path}: every command accepts it; a new run starts from it with --init-from"
    ]


def export_safetensors(checkpoint: Checkpoint, output: Path) -> list[str]:
    """Write the folder `output` and return notes for the user.

    It holds model.safetensors and, if objectives have tensors, objective.safetensors, both with masscli's
    names, a config.json with the model's settings, the two files of the vocabulary, and NOTICE for imported
    weights. Raises MasscliError if it is not empty or cannot be written.
    """
    require_empty_folder(output)
    tokenizer = checkpoint.tokenizer()
    vocab = tokenizer.vocab
    tensors = checkpoint.weights()
    heads = checkpoint.objective_state()
    config = {
        "masscli": __version__,
        "model": to_dict(checkpoint.recipe.model),
        "vocab_size": vocab.size,
        "languages": list(checkpoint.state.languages),
        "special_ids": vocab.role_ids,
    }
    try:
        with new_folder(output) as folder:
            save_tensors(tensors, folder / WEIGHTS)
            if heads:
                save_tensors(heads, folder / "objective.safetensors")
            tokenizer.save(folder)
            # The functions that write these files do not flush them to disk.
            for path in folder.iterdir():
                fsync_path(path)
            write_synced(
                folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode()
            )
            for name, content in notice_file(checkpoint.state.attribution).items():
                write_synced(folder / name, content)
    except OSError as error:
        raise cannot_be_written(
            f"--output {output}", error, "choose another folder"
        ) from None
    count = sum(tensor.numel() for tensor in tensors.values())
    return [
        f"{len(tensors)} tensors, {count:,} parameters of the model; {len(heads)} tensors of objectives"
    ]

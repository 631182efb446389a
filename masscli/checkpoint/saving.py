"""Write, replace and remove checkpoints: a kill at any moment leaves each of them complete or absent.

A checkpoint is written under a temporary name in the same folder and renamed when it is complete (see
`masscli.checkpoint.checkpoint` for its files).
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from torch import Tensor

from masscli.checkpoint.checkpoint import (
    CONTINUATION_FILES,
    MODEL,
    OBJECTIVES,
    OPTIMIZER,
    TRAINED,
)
from masscli.checkpoint.run_state import RunState
from masscli.checkpoint.state_file import (
    StateFile,
    read_state_file,
    write_state_file,
)
from masscli.checkpoint.tensor_file import save_tensors
from masscli.core.atomic_files import (
    fsync_path,
    new_folder,
    remove_leftovers,
    update_link,
    write_synced,
)
from masscli.core.config import (
    to_dict,
    to_toml,
)
from masscli.core.errors import MasscliError, cannot_be_written
from masscli.core.files import sha256_of
from masscli.text.tokenizer import Tokenizer
from masscli.training.recipe import Recipe


def checkpoint_name(step: int) -> str:
    """Return the name of the folder of the checkpoint after `step` updates."""
    return f"step-{step:07d}"


def save_checkpoint(
    folder: Path,
    recipe: Recipe,
    state: RunState,
    tokenizer: Tokenizer,
    *,
    model: Mapping[str, Tensor],
    objectives: Mapping[str, Tensor] | None = None,
    optimizer: Mapping[str, Tensor] | None = None,
    trained: Mapping[str, Tensor] | None = None,
    metrics: Mapping[str, float] | None = None,
) -> Path:
    """Write the checkpoint `folder`/step-N, where N is `state.step`, and return its path.

    N has at least seven digits. A checkpoint of this name is replaced. `model`, `objectives`,
    `optimizer` and `trained` are tensors by name; without tensors no file is written. If
    `model` and `objectives` hold a moving average of the weights, `trained` holds the weights
    themselves, from which training continues. `metrics` are the values of a validation. Raises
    MasscliError if the files cannot be written; partially written files are then removed, and an
    earlier checkpoint is kept.
    """
    final = folder / checkpoint_name(state.step)
    # remove_partial_saves recognizes what a kill leaves behind by this name.
    partial = folder / f".{final.name}.new"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        write_synced(partial / "recipe.toml", to_toml(to_dict(recipe)).encode())
        tokenizer.save(partial)
        files = {
            MODEL: model,
            OBJECTIVES: objectives,
            OPTIMIZER: optimizer,
            TRAINED: trained,
        }
        for name, tensors in files.items():
            if tensors:
                # safetensors only writes contiguous tensors in main memory.
                on_cpu = {
                    key: tensor.detach().contiguous().cpu()
                    for key, tensor in tensors.items()
                }
                save_tensors(on_cpu, partial / name)
        for path in partial.iterdir():
            fsync_path(path)
        checksums = {path.name: sha256_of(path) for path in sorted(partial.iterdir())}
        # state.json is written last: a folder without it is not a checkpoint.
        write_state_file(
            partial,
            StateFile(
                state=asdict(state), metrics=dict(metrics or {}), files=checksums
            ),
        )
        fsync_path(partial)
        _put_in_place(partial, final)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise cannot_be_written(str(final), error) from None
    return final


def _put_in_place(partial: Path, final: Path) -> None:
    """Rename the written folder `partial` to `final`, in the same folder; an existing checkpoint is replaced.

    Raises OSError if it cannot be renamed; an earlier checkpoint is then kept.
    """
    replaced = final.with_name(f".{final.name}.old")
    if final.exists():
        # A folder cannot replace another atomically. If the run is killed between the two renames,
        # remove_partial_saves restores the replaced checkpoint.
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    try:
        partial.rename(final)
    except OSError:
        if replaced.exists():
            replaced.rename(final)
        raise
    fsync_path(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def save_new_run(
    folder: Path,
    recipe: Recipe,
    state: RunState,
    tokenizer: Tokenizer,
    *,
    model: Mapping[str, Tensor],
    objectives: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a run with a single checkpoint into `folder`, and return the path of the checkpoint.

    The run's folder `checkpoints` appears only when it is complete. Without an optimizer state the run
    cannot be continued, but others can start from it (--init-from). Raises MasscliError if it cannot be
    written, or if `folder` contains a folder `checkpoints` that is not empty.
    """
    final = folder / "checkpoints"
    aside = final
    try:
        with new_folder(final) as aside:
            saved = save_checkpoint(
                aside, recipe, state, tokenizer, model=model, objectives=objectives
            )
            link_checkpoint(aside, "last", saved)
    except MasscliError as error:
        # The user does not know about the temporary folder.
        raise MasscliError(
            error.message.replace(str(aside), str(final)), error.hint
        ) from None
    except OSError as error:
        raise cannot_be_written(
            str(folder), error, "choose another folder with --output"
        ) from None
    return final / saved.name


def rank_steps(scores: Mapping[int, float | None], lower_is_better: bool) -> list[int]:
    """Return the steps sorted by score, best first; of two with equal scores the earlier comes first.

    Steps whose score is None are left out.
    """
    known = {step: score for step, score in scores.items() if score is not None}
    sign = 1 if lower_is_better else -1
    return sorted(known, key=lambda step: (sign * known[step], step))


def link_checkpoint(folder: Path, name: str, target: Path) -> None:
    """Make the symbolic link `folder`/`name` (`last` or `best`) point to a checkpoint in the same folder."""
    update_link(folder / name, target.name)


def remove_copied_links(folder: Path) -> None:
    """Remove the folders `last` and `best` that a copy of a run has in the place of links, as `scp -r` makes.

    `folder` has the checkpoints of a run. Raises MasscliError if such a folder is no copy of one of them.
    """
    for copy in (folder / "last", folder / "best"):
        if copy.is_symlink() or not copy.is_dir():
            continue
        names = sorted(path.name for path in copy.iterdir())
        # Every file is compared, since the other checkpoint may be damaged.
        if not any(
            filecmp.cmpfiles(copy, other, names, shallow=False)[0] == names
            for other in folder.glob("step-*")
        ):
            raise MasscliError(
                f"{copy}: is a folder in the place of a link, and no copy of a checkpoint beside it",
                "move it away or, if the run has no other checkpoint, call it step-N for N updates",
            )
        shutil.rmtree(copy)


def remove_checkpoint(folder: Path, step: int) -> None:
    """Delete the checkpoint of a step from the folder of checkpoints.

    It is renamed first, so that an interruption leaves no incomplete folder under the checkpoint's name.
    """
    name = checkpoint_name(step)
    aside = folder / f".{name}.new"
    (folder / name).rename(aside)
    shutil.rmtree(aside)


def drop_optimizer_state(path: Path) -> None:
    """Delete the files of a checkpoint that only continuing the run needs, and remove them from its list.

    These are the optimizer state and, with --ema-decay, the weights that training continues from.
    """
    contents = read_state_file(path)
    # The list of files is changed first: a kill in between leaves only a file that is not listed.
    files = {
        name: digest
        for name, digest in contents.files.items()
        if name not in CONTINUATION_FILES
    }
    if files != contents.files:
        write_state_file(path, replace(contents, files=files))
    for name in CONTINUATION_FILES:
        (path / name).unlink(missing_ok=True)


def remove_partial_saves(run: Path) -> None:
    """Remove the incomplete folders that interrupted saves and deletions of checkpoints left in a run.

    `run` is the folder of the run. A checkpoint that was about to be replaced gets its name back. Only
    the process that trains the run may call this: another one would remove a save in progress.
    """
    for partial in (run / "checkpoints").glob(".step-*.new"):
        shutil.rmtree(partial)
    for replaced in (run / "checkpoints").glob(".step-*.old"):
        final = replaced.with_name(replaced.name.removeprefix(".").removesuffix(".old"))
        if final.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(final)


def require_empty_folder(folder: Path) -> None:
    """Raise MasscliError if the folder of `--output` contains a file at any depth, or is a file itself.

    A folder that does not exist is accepted. Leftovers of a killed `save_new_run` are removed first.
    """
    if folder.exists() and not folder.is_dir():
        raise MasscliError(f"{folder}: is a file", "choose a folder with --output")
    remove_leftovers(folder / "checkpoints")
    # Empty folders hold nothing that could be lost.
    if any(path.is_file() for path in folder.rglob("*")):
        raise MasscliError(
            f"{folder}: is not empty", "choose another folder with --output"
        )

"""From a published folder to a checkpoint of a new run, which every command accepts; what came, what is new and what was left is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from masscli.checkpoint import checkpoint
from masscli.checkpoint.checkpoint import RunState
from masscli.checkpoint.convert.families import FAMILIES, GPT, Family
from masscli.checkpoint.convert.folder import CONFIG, read_json, read_weights
from masscli.checkpoint.convert.shapes import lead, read_shape
from masscli.checkpoint.convert.tensors import canonical, pools, take
from masscli.checkpoint.convert.vocabulary import read_vocabulary
from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.models.presets import presets
from masscli.training.recipe import Recipe


def import_folder(
    folder: Path, output: Path, languages: Sequence[str], allow_pickle: bool
) -> tuple[Path, list[str]]:
    """Write the run `output`; its checkpoint, and lines that say what was done.

    Raises MasscliError when something is missing, left over, of another size, or nothing that is known here.
    """
    checkpoint.require_empty_folder(output)
    raw = read_json(folder / CONFIG)
    family, size = _family(folder, raw.get("model_type")), raw.get("vocab_size")
    if type(size) is not int:
        raise MasscliError(f"{folder / CONFIG}: has no vocab_size", f"{family.title} needs it")
    found = read_vocabulary(folder, family, size, languages)
    path, weights = read_weights(folder, allow_pickle)
    theirs = canonical(family, weights)
    model = read_shape(family, raw, pools(family, theirs), str(folder / CONFIG))
    taken = take(family, model, theirs, found.rows, size, lead(family, raw), str(path))
    stream = {family.objective: {"dataset": languages[0], "objective": {"name": family.objective}}}
    recipe = from_dict(Recipe, {"save_dir": str(output), "stream": stream})
    recipe = replace(recipe, model=model)
    state = RunState(vocab_fingerprint=found.tokenizer.vocab.fingerprint)
    heads = {f"{family.objective}.{name}": tensor for name, tensor in taken.heads.items()}
    saved = checkpoint.save_checkpoint(
        output / "checkpoints", recipe, state, {}, found.tokenizer, taken.model, heads, {}
    )
    checkpoint.link_checkpoint(output / "checkpoints", "last", saved)
    notes = [f"{family.title}: {len(weights)} tensors from {path}", *found.remarks, *taken.notes]
    if presets()[family.arch].get("pooler") and not model.pooler:
        notes.append(
            "it has no pooler, and neither has the model: the first state stands for a text as it is"
        )
    if taken.fresh:
        notes.append(f"new, drawn at random: {', '.join(taken.fresh)}")
    if taken.left:
        notes.append(f"left behind: {', '.join(taken.left)}")
    if family is GPT and raw.get("embd_pdrop", model.dropout) != model.dropout:
        notes.append(
            f"dropout of embeddings is {raw['embd_pdrop']} there; here it is that of the layers, {model.dropout}"
        )
    return saved, notes


def _family(folder: Path, kind: object) -> Family:
    if kind is None:
        raise MasscliError(f"{folder / CONFIG}: has no model_type", f"add it: one of {', '.join(FAMILIES)}")
    if kind not in FAMILIES:
        raise MasscliError(
            f"{folder / CONFIG}: {kind} is no family that can be imported", f"there are {', '.join(FAMILIES)}"
        )
    return FAMILIES[str(kind)]

"""Turn a published folder into a checkpoint of a new run, which every command accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from masscli.checkpoint import checkpoint
from masscli.checkpoint.checkpoint import RunState
from masscli.checkpoint.convert.families import FAMILIES, GPT, Family
from masscli.checkpoint.convert.folder import CONFIG, read_json, read_weights
from masscli.checkpoint.convert.model_config import position_offset, read_config
from masscli.checkpoint.convert.seq2seq import SEQ2SEQ_FAMILIES
from masscli.checkpoint.convert.seq2seq_import import import_seq2seq
from masscli.checkpoint.convert.tensors import from_hf, has_pooler, normalize_names
from masscli.checkpoint.convert.vocabulary import read_vocabulary
from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.models.presets import presets
from masscli.training.recipe import Recipe


def import_folder(
    folder: Path, output: Path, languages: Sequence[str], allow_pickle: bool
) -> tuple[Path, list[str]]:
    """Write the run `output`, and return its checkpoint and notes for the user.

    The notes say what was imported, what is new and what was left behind. Raises MasscliError if something in
    the folder is missing, unknown, or does not fit the rest.
    """
    # First, so that nothing is read in vain.
    checkpoint.require_empty_folder(output)
    config = read_json(folder / CONFIG)
    if str(config.get("model_type")) in SEQ2SEQ_FAMILIES:
        return import_seq2seq(folder, config, output, languages, allow_pickle)
    family = _family(folder, config.get("model_type"))
    vocab_size = config.get("vocab_size")
    if type(vocab_size) is not int:
        raise MasscliError(f"{folder / CONFIG}: has no vocab_size", f"{family.title} needs it")
    vocabulary = read_vocabulary(folder, family, vocab_size, languages)
    tokenizer = vocabulary.tokenizer
    weights_path, weights = read_weights(folder, allow_pickle)
    tensors = normalize_names(family, weights)
    model = read_config(family, config, has_pooler(family, tensors), str(folder / CONFIG))
    offset = position_offset(family, config)
    imported = from_hf(family, model, tensors, vocabulary.rows, vocab_size, offset, str(weights_path))

    # A stream for the head of the objective; the recipe says that no update was made.
    stream = {family.objective: {"dataset": languages[0], "objective": {"name": family.objective}}}
    recipe = replace(from_dict(Recipe, {"save_dir": str(output), "stream": stream}), model=model)
    state = RunState(vocab_fingerprint=tokenizer.vocab.fingerprint)
    objective = {f"{family.objective}.{name}": tensor for name, tensor in imported.objective.items()}
    path = checkpoint.save_new_run(output, recipe, state, tokenizer, imported.model, objective)

    notes = [f"{family.title}: {len(weights)} tensors from {weights_path}", *vocabulary.notes]
    notes += imported.notes
    if presets()[family.arch].get("pooler") and not model.pooler:
        notes.append("it has no pooler: the first state itself represents a text")
    if imported.new:
        notes.append(f"new, drawn at random: {', '.join(imported.new)}")
    if imported.left_behind:
        notes.append(f"left behind: {', '.join(imported.left_behind)}")
    # Here embeddings have no dropout rate of their own.
    embedding_dropout = config.get("embd_pdrop", model.dropout)
    if family is GPT and embedding_dropout != model.dropout:
        notes.append(
            f"dropout of embeddings is {embedding_dropout} there; "
            f"here it is that of the layers, {model.dropout}"
        )
    return path, notes


def _family(folder: Path, model_type: object) -> Family:
    """Return the family of a model type. Raises MasscliError if it is missing or unknown."""
    known = ", ".join([*FAMILIES, *SEQ2SEQ_FAMILIES])
    if model_type is None:
        raise MasscliError(f"{folder / CONFIG}: has no model_type", f"add it: one of {known}")
    if str(model_type) not in FAMILIES:
        raise MasscliError(
            f"{folder / CONFIG}: models of type {model_type} cannot be imported", f"expected one of {known}"
        )
    return FAMILIES[str(model_type)]

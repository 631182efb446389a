"""Import a model folder of Hugging Face's library as a new run with one checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from masscli.checkpoint import saving
from masscli.checkpoint.convert import xlm_folder
from masscli.checkpoint.convert.attribution import read_attribution
from masscli.checkpoint.convert.config_json import (
    refuse_other_models,
    unused_settings,
    with_own_keys,
)
from masscli.checkpoint.convert.families import FAMILIES, Family
from masscli.checkpoint.convert.folder import (
    CONFIG,
    read_json,
    read_weights,
    refuse_broken_links,
    refuse_quantized,
)
from masscli.checkpoint.convert.generation_settings import read_continuation_settings
from masscli.checkpoint.convert.model_config import check_padding, read_config
from masscli.checkpoint.convert.seq2seq import SEQ2SEQ_FAMILIES
from masscli.checkpoint.convert.seq2seq_import import import_seq2seq
from masscli.checkpoint.convert.task_head_import import (
    ImportedHead,
    Published,
    read_task_head,
)
from masscli.checkpoint.convert.tensors import (
    Tensors,
    embedding_rows,
    find_contents,
    from_hf,
    normalize_names,
)
from masscli.checkpoint.convert.vocabulary import read_vocabulary
from masscli.checkpoint.run_state import RunState
from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.presets import presets
from masscli.training.recipe import Recipe


def import_folder(
    folder: Path,
    output: Path,
    languages: Sequence[str],
    allow_pickle: bool,
    given_vocabulary: Path | None = None,
) -> tuple[Path, list[str]]:
    """Import the model in `folder` as the run `output`; return the path of its checkpoint, and notes.

    The notes tell the user what was imported, what is new and what was left out. `languages` are those
    that the run is to support, at least one. Weights that are a pickle are read only with
    `allow_pickle`. `given_vocabulary` is a run, checkpoint, data folder or model file whose vocabulary
    an encoder-decoder uses instead of the one in its folder. Raises MasscliError if `output` contains a
    file, if something in `folder` is missing, unknown, or inconsistent with the rest, or if
    `given_vocabulary` does not match the model or cannot be used with it.
    """
    # This is checked first, before anything is read.
    saving.require_empty_folder(output)
    refuse_broken_links(folder)
    config = read_json(folder / CONFIG)
    refuse_quantized(config, folder / CONFIG)
    config.setdefault("model_type", _type_of_class(config))
    if str(config.get("model_type")) in SEQ2SEQ_FAMILIES:
        return import_seq2seq(
            folder, config, output, languages, allow_pickle, given_vocabulary
        )
    is_xlm = config["model_type"] == xlm_folder.MODEL_TYPE
    family = None if is_xlm else _family(folder, config["model_type"])
    if given_vocabulary is not None:
        raise MasscliError(
            f"--spm-model: {folder} is not a translator, and it applies only to one",
            "leave it out",
        )
    if family is None:
        return xlm_folder.import_xlm_folder(
            folder, config, output, languages, allow_pickle
        )
    refuse_other_models(
        family.title, config, folder / CONFIG, is_causal=not family.is_encoder
    )
    published = _read_published(family, folder, config, languages, allow_pickle)
    return _save_run(folder, published, output)


def _read_published(
    family: Family,
    folder: Path,
    config: dict[str, Any],
    languages: Sequence[str],
    allow_pickle: bool,
) -> Published:
    """Return the model in `folder`, with its weights and vocabulary; `config` is its config.json.

    Raises MasscliError, which names a file, if one is missing, unknown, or inconsistent with the rest.
    """
    config = with_own_keys(config, family.config_keys, folder / CONFIG)
    weights_path, weights = read_weights(folder, allow_pickle)
    tensors = normalize_names(family, weights, str(weights_path))
    vocab_size = _vocab_size(folder, family, config, tensors, weights_path)
    vocabulary = read_vocabulary(folder, family.tokenizer_class, vocab_size, languages)
    model = read_config(
        family, config, find_contents(family, tensors), str(folder / CONFIG)
    )
    check_padding(family, model, vocabulary.tokenizer.vocab, str(folder / CONFIG))
    return Published(
        family=family,
        config=config,
        model=model,
        tensors=tensors,
        stored=len(weights),
        vocab_size=vocab_size,
        vocabulary=vocabulary,
        language=languages[0],
        config_path=folder / CONFIG,
        weights_path=weights_path,
    )


def _save_run(
    folder: Path, published: Published, output: Path
) -> tuple[Path, list[str]]:
    """Save a published model, which was read from `folder`, as the run `output`.

    Return the path of its checkpoint, and notes for the user. Raises MasscliError if its weights are not
    those of its config.json, or if the run cannot be written.
    """
    family, config = published.family, published.config
    tokenizer = published.vocabulary.tokenizer
    head = read_task_head(published)
    imported = from_hf(
        family,
        head.model,
        head.rest,
        published.vocab_size,
        tokenizer.vocab.size,
        str(published.weights_path),
    )

    generation: dict[str, str] = {}
    generation_notes: list[str] = []
    if not family.is_encoder:
        generation, generation_notes = read_continuation_settings(
            folder, config, tokenizer.vocab.eos
        )
    state = RunState(
        vocab_fingerprint=tokenizer.vocab.fingerprint,
        generation=generation,
        attribution=read_attribution(folder, config),
    )
    stream = head.objective["name"]
    # One of the two is empty: the head of a task is not imported beside that of the pre-training objective.
    heads = imported.objective | head.tensors
    path = saving.save_new_run(
        output,
        _recipe(head, output, published.language),
        state,
        tokenizer,
        model=imported.model,
        objectives={f"{stream}.{name}": tensor for name, tensor in heads.items()},
    )

    notes = [
        f"{family.title}: {published.stored} tensors from {published.weights_path}",
        *published.vocabulary.notes,
        *head.notes,
    ]
    notes += [*generation_notes, *imported.notes]
    notes += _model_notes(family, head.model, config)
    if imported.new:
        notes.append(f"new, drawn at random: {', '.join(imported.new)}")
    left_behind = [*imported.left_behind, *head.unread]
    if left_behind:
        notes.append(f"left behind: {', '.join(left_behind)}")
    return path, notes


def _recipe(head: ImportedHead, output: Path, language: str) -> Recipe:
    """Return the recipe of an imported run: a stream for the head, and a model of this size."""
    objective = head.objective
    stream = {objective["name"]: {"dataset": language, "objective": objective}}
    recipe = from_dict(Recipe, {"save_dir": str(output), "stream": stream})
    return replace(recipe, model=head.model)


def _model_notes(
    family: Family, model: ModelConfig, config: Mapping[str, Any]
) -> list[str]:
    """Return notes for the user on how the imported model differs from its family or its config.json.

    There is one if it lacks the family's pooler. Others say what of config.json (`config` is its content)
    has no effect: a separate dropout rate for embeddings, weights of an output layer that it lacks, and
    settings that an import does not read.
    """
    notes = []
    if presets()[family.arch].get("pooler") and not model.pooler:
        notes.append("it has no pooler: the first state itself represents a text")
    # In masscli, embeddings have no separate dropout rate.
    embedding_dropout = config.get("embd_pdrop", model.dropout)
    if embedding_dropout != model.dropout:
        notes.append(
            f"dropout of embeddings is {embedding_dropout} there; "
            f"here it is that of the layers, {model.dropout}"
        )
    if config.get("tie_word_embeddings") is False and model.tie_output:
        notes.append(
            "tie_word_embeddings is false, but there are no output weights: those of the embeddings are used"
        )
    notes += unused_settings(
        config, {*family.config_keys.values(), *family.required_config, "n_inner"}
    )
    return notes


def _type_of_class(config: Mapping[str, Any]) -> str | None:
    """Return the model_type implied by the class in `architectures` of a config.json; None if unknown.

    Files of 2019 have no model_type. `BertForMaskedLM` is a class of `bert`.
    """
    classes = config.get("architectures")
    if not isinstance(classes, list) or not classes or not isinstance(classes[0], str):
        return None
    prefixes = {family.full_class: family.model_type for family in FAMILIES.values()}
    prefixes[xlm_folder.FULL_CLASS] = xlm_folder.MODEL_TYPE
    prefixes |= {
        family.full_class: family.model_type for family in SEQ2SEQ_FAMILIES.values()
    }
    for full_class, model_type in prefixes.items():
        if _class_prefix(full_class) == _class_prefix(classes[0]):
            return model_type
    return None


def _class_prefix(class_name: str) -> str:
    """Return the prefix of all class names of a family, such as `Bert` in `BertForMaskedLM`."""
    return re.sub(
        "(For[A-Z]|With[A-Z]|LMHeadModel|MTModel|DoubleHeadsModel|Model).*",
        "",
        class_name,
    )


def _family(folder: Path, model_type: object) -> Family:
    """Return the family of the `model_type` in config.json. Raises MasscliError if it is None or unknown."""
    known = ", ".join([*FAMILIES, xlm_folder.MODEL_TYPE, *SEQ2SEQ_FAMILIES])
    if model_type is None:
        raise MasscliError(
            f"{folder / CONFIG}: has no model_type", f"add it: one of {known}"
        )
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise MasscliError(
            f"{folder / CONFIG}: models of type {model_type} cannot be imported",
            f"expected one of {known}",
        )
    return FAMILIES[model_type]


def _vocab_size(
    folder: Path,
    family: Family,
    config: Mapping[str, Any],
    tensors: Tensors,
    weights_path: Path,
) -> int:
    """Return the `vocab_size` in the content of config.json (`config`), the number of token embeddings.

    Raises MasscliError if it is missing, or if the token embeddings are missing or have another number of
    rows.
    """
    vocab_size = config.get("vocab_size")
    if type(vocab_size) is not int:
        raise MasscliError(
            f"{folder / CONFIG}: has no vocab_size", f"{family.title} needs it"
        )
    rows = embedding_rows(family, tensors)
    if rows is None:
        raise MasscliError(
            f"{weights_path}: has no token embeddings", f"is it a {family.title}?"
        )
    if rows != vocab_size:
        raise MasscliError(
            f"{weights_path}: has {rows} token embeddings, by config.json {vocab_size}",
            "weights and config.json belong to different models",
        )
    return vocab_size

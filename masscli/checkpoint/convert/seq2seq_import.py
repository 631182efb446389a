"""Import an encoder-decoder model of Hugging Face's library as a new run with one checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

from masscli.checkpoint import saving
from masscli.checkpoint.convert.attribution import read_attribution
from masscli.checkpoint.convert.config_json import (
    unused_settings,
    with_own_keys,
)
from masscli.checkpoint.convert.folder import CONFIG, read_weights
from masscli.checkpoint.convert.generation_settings import (
    decoder_start_notes,
    read_generation_settings,
)
from masscli.checkpoint.convert.head_classes import UNSHIFTED
from masscli.checkpoint.convert.published import without_wrapper
from masscli.checkpoint.convert.seq2seq import (
    SEQ2SEQ_FAMILIES,
)
from masscli.checkpoint.convert.seq2seq_config_import import (
    GENERAL_SIZES,
    KNOWN_KEYS,
    check_config,
    check_sizes,
    find_max_positions,
    read_model_config,
    vocab_sizes,
)
from masscli.checkpoint.convert.seq2seq_tokenizer import read_seq2seq_tokenizer
from masscli.checkpoint.convert.seq2seq_vocabulary import row_of
from masscli.checkpoint.convert.seq2seq_weights import (
    convert_weights,
    normalize_weights,
    read_tables,
)
from masscli.checkpoint.run_state import RunState
from masscli.core.config import from_dict
from masscli.models.config import ModelConfig
from masscli.text.vocabulary import Vocabulary
from masscli.training.recipe import Recipe


def import_seq2seq(
    folder: Path,
    config: dict[str, Any],
    output: Path,
    languages: Sequence[str],
    allow_pickle: bool,
    given: Path | None = None,
) -> tuple[Path, list[str]]:
    """Import the model in `folder` as the run `output`; return the path of its checkpoint, and notes.

    The notes are lines for the user. `config` is the content of config.json. For a model with language
    tags, `languages` are those that the run is to support; for one without, they are its source and
    target, or its only language. Weights that are a pickle are read only with `allow_pickle`. `given`
    is a run, checkpoint, data folder or model file whose vocabulary the model uses; None means the one
    in `folder`. `output` must be empty. Raises MasscliError if something in the folder is missing,
    unknown, or inconsistent with the rest.
    """
    path = folder / CONFIG
    family = SEQ2SEQ_FAMILIES[str(config["model_type"])]
    check_config(family, config, path)
    config = with_own_keys(config, GENERAL_SIZES, path)
    # Cheap checks come first, before large tensors are copied.
    weights_path, weights = read_weights(folder, allow_pickle)
    weights = without_wrapper(weights, str(weights_path))
    # Inferred values are used only where config.json has none.
    config = {"max_position_embeddings": find_max_positions(family, weights), **config}
    check_sizes(config, weights, path)
    read = normalize_weights(family, config, weights, str(weights_path))
    tables = read_tables(family, config, read.tensors, str(weights_path))
    sizes = vocab_sizes(family, config, tables, path)
    tokenizer, vocabulary, rows = read_seq2seq_tokenizer(
        family, folder, config, sizes, languages, given
    )
    # Positions of M2M100 and FSMT begin after the row of padding.
    offset = family.offset(
        row_of("pad", tokenizer.vocab, rows["encoder"], vocabulary.path)
    )
    model = read_model_config(
        family, config, read.tensors, tables, vocabulary.framing, rows, offset, path
    )
    imported = convert_weights(
        family, model, read.tensors, tables, tokenizer.vocab, rows, str(weights_path)
    )

    recipe = replace(
        from_dict(Recipe, _recipe(output, languages, model, vocabulary.targets)),
        model=model,
    )
    generation, generation_notes = _read_generation(
        folder, config, model, tokenizer.vocab, rows["decoder"], vocabulary.path
    )
    state = RunState(
        vocab_fingerprint=tokenizer.vocab.fingerprint,
        generation=generation,
        attribution=read_attribution(folder, config),
    )
    saved = saving.save_new_run(output, recipe, state, tokenizer, model=imported)
    notes = [f"{family.title}: {len(weights)} tensors from {weights_path}"]
    # Two equal numbers mean a single vocabulary.
    counts = [f"{size:,}" for size in dict.fromkeys(sizes)]
    notes.append(f"vocabulary {vocabulary.path}: {' and '.join(counts)} ids")
    notes += [*vocabulary.notes, *tables.notes, *generation_notes]
    notes += unused_settings(config, KNOWN_KEYS)
    if family.sinusoids is not None and model.positions == "learned":
        notes.append(
            "positions are those of the file, which are not exactly sinusoids; Hugging Face's library reads "
            "them, too"
        )
    new = tokenizer.vocab.size - len({*rows["encoder"], *rows["decoder"]})
    if new:
        notes.append(
            f"{new} ids are new, drawn at random: symbols that the vocabulary lacks"
        )
    if read.left_behind:
        notes.append(f"the head of its task is not imported: {UNSHIFTED}")
        notes.append(f"left behind: {', '.join(read.left_behind)}")
    return saved, notes


def _read_generation(
    folder: Path,
    config: Mapping[str, Any],
    model: ModelConfig,
    vocab: Vocabulary,
    decoder_rows: Sequence[int],
    vocabulary_path: Path,
) -> tuple[dict[str, str], list[str]]:
    """Return the default search of the model in `folder`, and notes for the user.

    The search has values, as typed on the command line, by field of `GenerationConfig`. `config` is the
    content of config.json. `decoder_rows` has masscli's id of each row of the decoder's embeddings. Raises
    MasscliError, which names `vocabulary_path`, if no row is that of the end symbol.
    """
    # A forced tag is added to the forced tokens that are the same for all languages.
    forced = len(vocab.forced_prefix) + int(model.target_tag == "forced")
    generated = {vocab.eos, vocab.unk}
    never = [
        row
        for row, number in enumerate(decoder_rows)
        if number in vocab.special_ids and number not in generated
    ]
    end = row_of("eos", vocab, decoder_rows, vocabulary_path)
    generation, notes = read_generation_settings(folder, config, forced, never, end)
    # If a decoder reads a tag first, no setting says which.
    if (model.languages, model.target_tag) != ("tag", "start"):
        notes += decoder_start_notes(folder, config)
    return generation, notes


def _recipe(
    output: Path,
    languages: Sequence[str],
    model: ModelConfig,
    targets: Sequence[str] | None,
) -> dict[str, Any]:
    """Return the recipe of the imported run as a table: `save_dir`, and a stream for each task of the model.

    The tasks are translation from each language to each other one if there are language tags, else from
    the first language to the second; a model of one language gets denoising. `targets` are the
    languages that the model can generate; None means all.
    """
    directions = list(pairwise(languages))
    # With tags, a model translates from each language to each other one.
    if model.languages == "tag":
        directions = list(permutations(languages, 2))
    streams = {}
    for source, target in directions:
        dataset = f"{source}-{target}"
        if targets is None or target in targets:
            streams[f"translate-{dataset}"] = {
                "dataset": dataset,
                "objective": {"name": "translate"},
            }
    if not streams:
        # BART and Pegasus were trained to reconstruct a text.
        streams["denoise"] = {"dataset": languages[0], "objective": {"name": "denoise"}}
    return {"save_dir": str(output), "stream": streams}

"""Export a translation model as a folder that Hugging Face's library can load and generate with.

The folder holds one direction: `AutoModelForSeq2SeqLM.from_pretrained(folder).generate(ids)` then translates
as `masscli generate --early-stop` does. The settings of that search are in generation_config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.attribution import notice_file
from masscli.checkpoint.convert.folder import CONFIG, json_bytes, write_folder
from masscli.checkpoint.convert.generation_settings import (
    GENERATION_CONFIG,
    write_generation_settings,
)
from masscli.checkpoint.convert.given_vocabulary import source_token_keys
from masscli.checkpoint.convert.lines_to_try import lines_to_try
from masscli.checkpoint.convert.one_direction import DirectedModel, fold_direction
from masscli.checkpoint.convert.seq2seq_config import (
    choose_seq2seq_family,
    seq2seq_config,
)
from masscli.checkpoint.convert.seq2seq_tensors import to_seq2seq
from masscli.checkpoint.convert.translator_tokenizer import tokenizer_files
from masscli.checkpoint.convert.vocabulary import OWN_VOCABULARY
from masscli.checkpoint.convert.vocabulary_export import own_vocabulary_files
from masscli.checkpoint.saving import require_empty_folder
from masscli.text.vocabulary import Vocabulary


def export_translator(
    checkpoint: Checkpoint, source: str, target: str, output: Path
) -> list[str]:
    """Write the folder `output` for translation from `source` to `target`, and return notes for the user.

    Both must be languages of the model. Raises MasscliError if `output` is not empty or cannot be
    written, or if no Hugging Face family is equivalent to the model; the message then names the setting
    that prevents it.
    """
    require_empty_folder(output)
    directed = fold_direction(checkpoint, source, target)
    tokenizer = checkpoint.tokenizer()
    vocab = tokenizer.vocab
    family = choose_seq2seq_family(checkpoint.recipe.model, directed, vocab)
    tensors = to_seq2seq(family, directed)
    special_ids = _special_ids(directed, vocab)
    config = {**seq2seq_config(family, directed), **special_ids}
    # FSMT's dictionaries are for one direction, which its config.json names.
    if family.own_tables:
        config["langs"] = [source, target]
    generation = {
        **special_ids,
        **_search_settings(directed, vocab, checkpoint.state.generation),
    }
    pair = f"{source}-{target}"
    lines, tried = lines_to_try(checkpoint, ((pair, source), (pair, target)))
    files, tokenizer_note = tokenizer_files(
        family, tokenizer, directed, (source, target), lines, tried
    )
    notes = [
        f"{family.full_class}, {source} to {target}: {len(tensors)} tensors",
        tokenizer_note,
    ]
    if not files:
        files = own_vocabulary_files(tokenizer)
        around = source_token_keys(directed)
        config |= around
        notes.append(
            f"its vocabulary is in the folder {OWN_VOCABULARY}, which masscli import reads"
        )
        listed = ", ".join(f"{key} {ids}" for key, ids in around.items())
        notes.append(f"special tokens around sources: {listed}")
    files |= notice_file(checkpoint.state.attribution)
    files[CONFIG] = json_bytes(config)
    files[GENERATION_CONFIG] = json_bytes(generation)
    write_folder(output, files, tensors)
    left_behind = list(checkpoint.objective_state())
    if left_behind:
        notes.append(f"left behind: {', '.join(left_behind)}")
    return notes


def _special_ids(directed: DirectedModel, vocab: Vocabulary) -> dict[str, Any]:
    """Return the special ids of a model by their keys in config.json and generation_config.json.

    They are rows of the decoder's embeddings; None for a symbol without a row there.
    """
    ids = {
        "pad_token_id": vocab.pad,
        "bos_token_id": vocab.bos,
        "eos_token_id": vocab.eos,
        "decoder_start_token_id": directed.target_start,
        # masscli also adds the end symbol at the length limit.
        "forced_eos_token_id": vocab.eos,
    }
    if directed.forced_tokens:
        [ids["forced_bos_token_id"]] = directed.forced_tokens
    return {key: directed.target_row(number) for key, number in ids.items()}


def _search_settings(
    directed: DirectedModel, vocab: Vocabulary, options: Mapping[str, str]
) -> dict[str, Any]:
    """Return entries of generation_config.json for the same search as `masscli generate --early-stop`.

    `options` are the generation options that were imported with the model, by field of
    `GenerationConfig`, which may turn off --early-stop and --lookahead; they are empty for a model that
    was not imported.
    """
    forced = len(directed.forced_tokens)
    # Hugging Face's library does not force a token that it suppresses.
    never_generated = vocab.special_ids - {
        vocab.eos,
        vocab.unk,
        *directed.forced_tokens,
    }
    return {
        **write_generation_settings(options, directed.config.max_positions, forced),
        "suppress_tokens": [
            row
            for row, number in enumerate(directed.target_ids)
            if number in never_generated
        ],
    }

"""Convert the weights of Hugging Face's encoder-decoder models to masscli's tensors.

Every tensor is either used, reported to the user or refused: an unknown one may belong to a part that
changes what the model computes.

Shapes: V vocabulary size, D model width, P positions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from masscli.checkpoint.convert.folder import CONFIG, read_flag
from masscli.checkpoint.convert.published import add_unique, to_float32
from masscli.checkpoint.convert.seq2seq import (
    MARIAN,
    Seq2SeqFamily,
    position_names,
)
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.input_embedding import sinusoids
from masscli.models.transformer import Transformer
from masscli.text.vocabulary import Vocabulary

SHARED = "model.shared.weight"
ENCODER = "model.encoder.embed_tokens.weight"
DECODER = "model.decoder.embed_tokens.weight"
OUTPUT = "lm_head.weight"
"""Hugging Face's names of the token embeddings shared by both stacks, of those of each stack, and of
the output weights (here also for FSMT)."""
_POSITIONS = re.compile(
    r"model\.(encoder|decoder)\.embed_positions\.(weight|weights|_float_tensor)"
)
_BUFFERS = re.compile(r"(.*\.)?(version|position_ids)")
_HEADS = ("classification_head.", "qa_outputs.")
_ROUNDING = 1e-5
"""The largest difference between sinusoids that two programs compute in fp32 for thousands of positions."""
_NEW_STD = 0.02
"""Standard deviation of the embeddings of new ids."""


@dataclass(frozen=True)
class Seq2SeqWeights:
    """The tensors of a file under the names of the class with the output layer, and those left out."""

    tensors: Mapping[str, Tensor]
    left_behind: Sequence[str]
    """Names of tensors of heads for downstream tasks."""


def normalize_weights(
    family: Seq2SeqFamily,
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    path: str,
) -> Seq2SeqWeights:
    """Return the weights in float32 under the names of the family's class with the output layer.

    Their names must not contain those of PyTorch's wrappers. The prefix `model.` is added to the names
    of a model that was saved without it, and FSMT's output weights are named as in the other families.
    Heads of downstream tasks are not imported. Buffers are dropped, as are tables of sinusoids, which
    masscli computes; if the family's library reads such tables, and one is not of sinusoids, both stacks
    have a table. Pegasus's positions, which are sinusoids too unless they were trained, are
    computed if a file lacks those of both stacks, as Hugging Face's library does. `config` is the
    content of config.json with valid sizes. Raises MasscliError, which names `path`, if two tensors
    would have the same name, or if the numbers of one are not finite or not floating-point.
    """
    # The library saves a model without its output layer under names without this prefix.
    has_prefix = any(name.startswith("model.") for name in weights)
    tensors: dict[str, Tensor] = {}
    stored: dict[str, Tensor] = {}
    left_behind = [name for name in weights if name.startswith(_HEADS)]
    for name in weights.keys() - left_behind:
        theirs, tensor = name, weights[name]
        if not has_prefix and name not in ("final_logits_bias", OUTPUT):
            name = f"model.{name}"
        if name == family.output_weight:
            name = OUTPUT
        is_table = family.sinusoids is not None and _POSITIONS.fullmatch(name)
        if is_table and family.loads_positions and name.endswith(".weight"):
            stored[name] = to_float32(theirs, tensor, path)
        elif not is_table and not _BUFFERS.fullmatch(name):
            add_unique(tensors, name, to_float32(theirs, tensor, path), path)
    tensors |= _missing_positions(family, config, tensors, stored, path)
    return Seq2SeqWeights(tensors, sorted(left_behind))


def _missing_positions(
    family: Seq2SeqFamily,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    stored: Mapping[str, Tensor],
    path: str,
) -> dict[str, Tensor]:
    """Return the tables of positions by name that a model has besides the `tensors` that were read.

    `stored` are tables in the file `path` of a family whose positions are sinusoids unless it has others.
    Raises MasscliError if one is not a matrix.
    """
    names = [position_names(stack)[1] for stack in ("encoder", "decoder")]
    size: tuple[int, int] = config["max_position_embeddings"], config["d_model"]
    # A file with only one of the two tables is damaged; the missing one is reported later.
    if family.computes_missing_positions and not any(name in tensors for name in names):
        return dict.fromkeys(names, sinusoids(*size, "marian"))
    for name, table in stored.items():
        if table.dim() != 2:
            raise wrong_shape(path, name, table, size)
        expected = sinusoids(len(table), table.shape[1], family.sinusoids or "")
        # The row of padding is zero in FSMT, and never read.
        used = table.ne(0).any(1)
        if not torch.allclose(table[used], expected[used], rtol=0, atol=_ROUNDING):
            # A stack without a table has sinusoids, in as many rows.
            return {**dict.fromkeys(names, expected), **stored}
    return {}


@dataclass(frozen=True)
class TokenTables:
    """The token embeddings and output weights of a file, each (V, D), and which of them are shared."""

    encoder: Tensor
    decoder: Tensor
    output: Tensor
    one_embedding: bool
    """Whether encoder and decoder have the same embeddings, by their names or their values."""
    is_tied: bool
    """Whether the output weights are the decoder's embeddings, so the output layer has no weights of
    its own."""
    notes: Sequence[str] = ()
    """Lines for the user about tied tables that are stored with differing values."""


def read_tables(
    family: Seq2SeqFamily,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    path: str,
) -> TokenTables:
    """Return the token embeddings and output weights of the model described by a config.json (`config`).

    `tensors` are named as by `normalize_weights`. Raises MasscliError, which names their file `path`, if a
    table is missing, or if tables that should be one differ; it names the config.json in the same folder if
    tie_word_embeddings is neither true nor false there.
    """
    tied_by_default = family.config_defaults["tie_word_embeddings"]
    is_tied = read_flag(
        config, "tie_word_embeddings", tied_by_default, Path(path).with_name(CONFIG)
    )
    if has_own_tables(family, config):
        return _own_tables(family, tensors, is_tied, path)
    shared = tensors.get(SHARED)
    if not is_tied:
        encoder = _require(tensors.get(ENCODER, shared), SHARED, path)
        decoder = _require(tensors.get(DECODER, shared), SHARED, path)
        if OUTPUT not in tensors:
            raise MasscliError(
                f"{path}: has no {OUTPUT}", "config.json says that it is not tied"
            )
        return TokenTables(
            encoder, decoder, tensors[OUTPUT], torch.equal(encoder, decoder), False
        )
    # Some files have only the copies of tied tensors.
    copies = {
        name: tensors[name] for name in (ENCODER, DECODER, OUTPUT) if name in tensors
    }
    if shared is None:
        shared = _require(next(iter(copies.values()), None), SHARED, path)
        _require_equal(copies, path)
    notes = []
    for name, copy in copies.items():
        if SHARED in tensors and not torch.equal(copy, shared):
            notes.append(
                f"{name} differs from {SHARED}, which is used as in Hugging Face's model"
            )
    return TokenTables(shared, shared, shared, True, True, notes)


def _require_equal(copies: Mapping[str, Tensor], path: str) -> None:
    """Raise MasscliError, which names `path`, if tables that should be one, given by name, differ."""
    first, *others = copies
    for name in others:
        if not torch.equal(copies[name], copies[first]):
            raise MasscliError(
                f"{path}: {name} differs from {first}, but by config.json they are one",
                "is tie_word_embeddings or share_encoder_decoder_embeddings wrong there?",
            )


def has_own_tables(family: Seq2SeqFamily, config: Mapping[str, Any]) -> bool:
    """Return whether encoder and decoder have separate embeddings, according to config.json (`config`)."""
    # Other families share them, whatever this setting says.
    if family is MARIAN:
        return config.get("share_encoder_decoder_embeddings", True) is False
    return family.own_tables


def _own_tables(
    family: Seq2SeqFamily, tensors: Mapping[str, Tensor], is_tied: bool, path: str
) -> TokenTables:
    """Return the tables of a model whose stacks, according to config.json, do not share their embeddings.

    `is_tied` is tie_word_embeddings of config.json: whether the output weights are the decoder's
    embeddings and, in FSMT, whether those are also the encoder's. Raises MasscliError, which names
    `path`, if a table is missing.
    """
    encoder = _require(tensors.get(ENCODER), ENCODER, path)
    if family.own_tables and is_tied:
        return TokenTables(encoder, encoder, encoder, True, True)
    decoder = _require(tensors.get(DECODER), DECODER, path)
    output = decoder
    if not is_tied:
        output = _require(tensors.get(OUTPUT), family.output_weight, path)
    same = encoder.shape == decoder.shape and torch.equal(encoder, decoder)
    return TokenTables(
        encoder, decoder, output, same, is_tied or torch.equal(output, decoder)
    )


def _require(table: Tensor | None, name: str, path: str) -> Tensor:
    """Return a table. Raises MasscliError, which names `path` and the table `name`, if it is None."""
    if table is None:
        raise MasscliError(f"{path}: has no {name}", "is it complete?")
    return table


def convert_weights(
    family: Seq2SeqFamily,
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    tables: TokenTables,
    vocab: Vocabulary,
    rows: Mapping[str, Sequence[int]],
    path: str,
) -> dict[str, Tensor]:
    """Return the tensors of masscli's model by name.

    `tensors` are named as by `normalize_weights`, and `tables` are those of the same file. `rows` has,
    for `encoder` and `decoder`, masscli's id of each row of their embeddings. Embeddings of further ids
    in `vocab` are initialized randomly with a fixed seed, and their output biases are 0. Raises
    MasscliError, which names `path`, if a tensor is missing, has another shape, or is unknown.
    """
    # These are in `tables` already.
    of_tables = (SHARED, ENCODER, DECODER, OUTPUT)
    remaining = {
        name: tensor for name, tensor in tensors.items() if name not in of_tables
    }
    bias = torch.zeros(len(rows["decoder"]))
    if config.output_bias:
        bias = _take(remaining, "final_logits_bias", (1, len(bias)), path, family)[0]
    names = family.tensor_names(config)
    tables_of_positions = map(position_names, ("encoder", "decoder"))
    names |= {ours: (theirs,) for ours, theirs in tables_of_positions}
    with torch.device("meta"):
        expected = Transformer(config, vocab.size, (), vocab.id_ranges).state_dict()
    # The seed is fixed, so that the same file always gives the same run.
    generator = torch.Generator().manual_seed(1)
    converted = {}
    for name, like in expected.items():
        part, _, owner = name.rpartition(".")
        ids = rows["encoder" if owner == "encoder" else "decoder"]
        assert vocab.id_ranges is not None
        first = vocab.id_ranges.embedded(owner).start
        if part in ("token_embeddings", "output_weights"):
            table = _table(tables, part, owner)
            if table.shape != (len(ids), like.shape[1]):
                raise wrong_shape(path, name, table, (len(ids), like.shape[1]))
            converted[name] = _with_new_rows(
                table, torch.tensor(ids) - first, len(like), generator
            )
        elif part == "output_biases":
            converted[name] = torch.zeros(len(like))
            # An encoder with separate embeddings predicts nothing.
            if owner != "encoder":
                converted[name][torch.tensor(ids) - first] = bias
        else:
            # A tensor that masscli concatenates is several of equal size there, such as query, key and
            # value.
            shape = (len(like) // len(names[name]), *like.shape[1:])
            parts = [
                _take(remaining, theirs, shape, path, family) for theirs in names[name]
            ]
            converted[name] = torch.cat(parts)
    if remaining:
        raise MasscliError(
            f"{path}: {min(remaining)} has no place in {family.title}",
            "a model with other parts than the published ones cannot be imported",
        )
    return converted


def _with_new_rows(
    table: Tensor, places: Tensor, size: int, generator: torch.Generator
) -> Tensor:
    """Return a table (size, D) with row n of `table` (V, D) at `places[n]`; other rows are random."""
    is_new = torch.ones(size, dtype=torch.bool)
    is_new[places] = False
    placed = torch.empty(size, table.shape[1])
    placed[places] = table
    new = torch.empty(int(is_new.sum()), table.shape[1]).normal_(
        0, _NEW_STD, generator=generator
    )
    placed[is_new] = new
    return placed


def _table(tables: TokenTables, part: str, owner: str) -> Tensor:
    """Return the table that becomes masscli's tensor `part.owner`, such as `output_weights.shared`.

    `part` is token_embeddings or output_weights. In masscli, an encoder with separate embeddings also
    has output weights; the file has none for it, so its embeddings are used.
    """
    if owner == "encoder":
        return tables.encoder
    if part == "output_weights":
        return tables.output
    return tables.decoder


def wrong_shape(
    path: str, name: str, tensor: Tensor, expected: tuple[object, ...]
) -> MasscliError:
    """Return, without raising it, the error for a tensor whose shape differs from that in config.json."""
    return MasscliError(
        f"{path}: {name} is {tuple(tensor.shape)}, by config.json {expected}",
        "weights and config.json belong to different models",
    )


def _take(
    remaining: dict[str, Tensor],
    name: str,
    shape: tuple[int, ...],
    path: str,
    family: Seq2SeqFamily,
) -> Tensor:
    """Remove a tensor from `remaining`, and return it.

    Raises MasscliError, which names `path`, if the tensor is missing or its shape is not `shape`.
    """
    if name not in remaining:
        raise MasscliError(
            f"{path}: has no {name}",
            f"the {family.title} that config.json describes has one",
        )
    tensor = remaining.pop(name)
    if tensor.shape != shape:
        raise wrong_shape(path, name, tensor, shape)
    return tensor

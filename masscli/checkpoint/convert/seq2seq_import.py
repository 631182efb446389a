"""Import an encoder-decoder model of Hugging Face's library as a new run with one checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from masscli.checkpoint import checkpoint
from masscli.checkpoint.checkpoint import RunState
from masscli.checkpoint.convert.attribution import read_attribution
from masscli.checkpoint.convert.bart import read_bart
from masscli.checkpoint.convert.folder import CONFIG, read_weights
from masscli.checkpoint.convert.generation_settings import read_generation_settings
from masscli.checkpoint.convert.m2m100 import read_m2m100
from masscli.checkpoint.convert.marian import read_marian
from masscli.checkpoint.convert.mbart import read_mbart
from masscli.checkpoint.convert.pegasus import read_pegasus
from masscli.checkpoint.convert.seq2seq import NORM_EPS, SEQ2SEQ_FAMILIES, Seq2SeqFamily
from masscli.checkpoint.convert.seq2seq_vocabulary import Seq2SeqVocabulary
from masscli.core.config import ConfigError, from_dict
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.presets import resolve
from masscli.models.transformer import Transformer
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.subword_model import BadModelError
from masscli.text.tokenizer import Tokenizer
from masscli.text.vocabulary import Vocabulary
from masscli.training.recipe import Recipe

VocabularyReader = Callable[[Path, dict[str, Any], int, Sequence[str]], Seq2SeqVocabulary]
_READERS: Mapping[str, VocabularyReader] = MappingProxyType(
    {
        "bart": read_bart,
        "mbart": read_mbart,
        "m2m_100": read_m2m100,
        "marian": read_marian,
        "pegasus": read_pegasus,
    }
)
_ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "swish": "swish",
    "silu": "swish",
}
"""Names of activations in `ModelConfig`, by their names in config.json."""

_SIZES = {
    "dim": "d_model",
    "encoder_layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "heads": "encoder_attention_heads",
    "decoder_heads": "decoder_attention_heads",
    "ffn_dim": "encoder_ffn_dim",
    "decoder_ffn_dim": "decoder_ffn_dim",
    "max_positions": "max_position_embeddings",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
}
"""Keys of config.json, by the fields of `ModelConfig` that they give."""

_TIED = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight")
_POSITIONS = re.compile(r"model\.(encoder|decoder)\.embed_positions\.(weight|weights|_float_tensor)")
MAX_POSITIONS = 1 << 20
"""The most positions that are accepted, more than any model has. Sinusoids are computed for all of them, so
that a damaged config.json could use up the memory."""
_NEW_STD = 0.02
"""Standard deviation of the embeddings of new ids."""


def import_seq2seq(
    folder: Path, config: dict[str, Any], output: Path, languages: Sequence[str], allow_pickle: bool
) -> tuple[Path, list[str]]:
    """Import the model in `folder` as the run `output`; return the path of its checkpoint, and notes.

    The notes are lines for the user. `config` is the content of config.json. For a model with language tags,
    `languages` are those that the run is to know; for one without, they are its source and target, or its
    only language. Weights that are a pickle are read only with `allow_pickle`. Raises MasscliError if
    something in the folder is missing, unknown, or does not fit the rest.
    """
    path = folder / CONFIG
    family = SEQ2SEQ_FAMILIES[str(config["model_type"])]
    _check_config(family, config, path)
    weights_path, weights = read_weights(folder, allow_pickle)
    tensors = _own_names(family, weights)
    size = _vocab_size(family, config, tensors, path)
    _check_sizes(config, tensors, path)
    try:
        vocabulary = _READERS[family.model_type](folder, config, size, languages)
    except BadModelError as error:
        raise MasscliError(f"{folder}: its SentencePiece model {error.message}", error.hint) from None
    tokenizer = _tokenizer(vocabulary, config, size, languages)
    model = _read_model_config(family, config, tensors, tokenizer.vocab, vocabulary, path)
    imported, notes = _convert(family, model, tensors, tokenizer.vocab, size, str(weights_path))

    recipe = replace(from_dict(Recipe, _recipe(output, languages, model)), model=model)
    forced = len(tokenizer.vocab.forced_prefix) + int(model.target_tag == "forced")
    state = RunState(
        vocab_fingerprint=tokenizer.vocab.fingerprint,
        generation=read_generation_settings(folder, config, forced),
        attribution=read_attribution(folder, config),
    )
    saved = checkpoint.save_new_run(output, recipe, state, tokenizer, imported, {})
    vocabulary_note = f"vocabulary {vocabulary.path}: {size:,} ids"
    return saved, [
        f"{family.title}: {len(weights)} tensors from {weights_path}",
        vocabulary_note,
        *vocabulary.notes,
        *notes,
    ]


def _check_config(family: Seq2SeqFamily, config: dict[str, Any], path: Path) -> None:
    """Raise MasscliError if config.json asks for a variant of the family that cannot be imported.

    Such are layer norms in other places than the family's, or embeddings that the stacks do not share.
    """
    required = {
        "normalize_before": family.norm == "pre",
        "normalize_embedding": family.norm_embedding,
        "share_encoder_decoder_embeddings": True,
    }
    for key, value in required.items():
        if config.get(key, value) != value:
            raise MasscliError(
                f"{path}: {key} is {config[key]}",
                f"only {family.title} whose {key} is {value} can be imported",
            )


def _vocab_size(
    family: Seq2SeqFamily, config: dict[str, Any], tensors: Mapping[str, Tensor], path: Path
) -> int:
    """Return the `vocab_size` of config.json.

    Raises MasscliError if it is missing, or if a table of embeddings has another number of rows.
    """
    size = config.get("vocab_size")
    if type(size) is not int:
        raise MasscliError(f"{path}: has no vocab_size", f"{family.title} needs it")
    for name in ("model.shared.weight", *_TIED):
        if name in tensors and (tensors[name].dim() != 2 or len(tensors[name]) != size):
            raise _wrong_shape(str(path), name, tensors[name], (size, config.get("d_model")))
    return size


def _check_sizes(config: dict[str, Any], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise MasscliError if config.json has other numbers of layers than the weights, or too many positions.

    This is checked before a model of these sizes uses up memory.
    """
    for stack in ("encoder", "decoder"):
        layers = config.get(f"{stack}_layers")
        found = sum(name.startswith(f"model.{stack}.") and name.endswith(".fc1.weight") for name in tensors)
        if layers != found:
            raise MasscliError(
                f"{path}: {stack}_layers is {layers}, but the weights have {found}",
                "weights and config.json are of different models",
            )
    positions = config.get("max_position_embeddings")
    if type(positions) is not int or not 0 < positions <= MAX_POSITIONS:
        raise MasscliError(
            f"{path}: max_position_embeddings is {positions}", f"expected 1 to {MAX_POSITIONS:,}"
        )


def _tokenizer(
    vocabulary: Seq2SeqVocabulary, config: dict[str, Any], size: int, languages: Sequence[str]
) -> Tokenizer:
    """Return the tokenizer of a vocabulary that was read, with the decoder's first token and forced tokens.

    Ids from `size` on are symbols that masscli adds; the tokenizer says that the model does not predict them.
    Raises MasscliError if config.json has other ids of padding or of the end symbol.
    """
    tokenizer = Tokenizer.from_bytes(vocabulary.path, vocabulary.model, TextPreprocessing(), languages)
    for role in ("pad", "eos"):
        number, own = config.get(f"{role}_token_id"), getattr(tokenizer.vocab, role)
        if number is not None and number != own:
            raise MasscliError(
                f"{vocabulary.path}: {role}_token_id is {number} by config.json, but {own} here",
                "vocabulary and config.json are of different models",
            )
    fields: dict[str, Any] = {}
    if tokenizer.vocab.size > size:
        fields["predicted_ids"] = (0, size)
    # With tags in place of the start symbol, a decoder begins with the tag.
    start = config.get("decoder_start_token_id")
    if type(start) is int:
        if not 0 <= start < size:
            raise MasscliError(
                f"decoder_start_token_id is {start}, but the model has {size} rows",
                "vocabulary and config.json are of different models",
            )
        fields["decoder_start"] = start
    if vocabulary.forced_prefix:
        fields["forced_prefix"] = vocabulary.forced_prefix
    return tokenizer.with_card_fields(**fields)


def _own_names(family: Seq2SeqFamily, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights in float32 under the names of the class with the output layer.

    The prefix `model.` is added to the names of a model that was saved without it. Tables of sinusoids are
    left out, since masscli computes them.
    """
    has_prefix = any(name.startswith("model.") for name in weights)
    tensors = {}
    for name, tensor in weights.items():
        if not has_prefix and name not in ("final_logits_bias", "lm_head.weight"):
            name = f"model.{name}"
        # Sinusoids are computed, whatever a file says.
        if family.sinusoids is None or not _POSITIONS.fullmatch(name):
            tensors[name] = tensor.float()
    return tensors


def _read_model_config(
    family: Seq2SeqFamily,
    config: dict[str, Any],
    tensors: Mapping[str, Tensor],
    vocab: Vocabulary,
    vocabulary: Seq2SeqVocabulary,
    path: Path,
) -> ModelConfig:
    """Return the configuration of the model, from config.json, its tensors and its vocabulary.

    Raises MasscliError, which names `path`, if a setting is missing or wrong.
    """
    values: dict[str, Any] = {"arch": "base", "languages": "none", **vocabulary.framing}
    for field, key in _SIZES.items():
        if key not in config:
            raise MasscliError(f"{path}: has no {key}", f"{family.title} needs it")
        values[field] = config[key]
    for field in ("heads", "ffn_dim"):
        # The decoder has values of its own only where they differ.
        if values[f"decoder_{field}"] == values[field]:
            values[f"decoder_{field}"] = 0
    activation = str(config.get("activation_function"))
    if activation not in _ACTIVATIONS:
        raise MasscliError(
            f"{path}: activation_function is {activation}", f"expected one of {', '.join(_ACTIVATIONS)}"
        )
    is_tied = config.get("tie_word_embeddings", True) is True
    one_table = is_tied or _is_equal(tensors, *_TIED[:2])
    values |= {
        "activation": _ACTIVATIONS[activation],
        "scale_embedding": config.get("scale_embedding", False),
        "norm": family.norm,
        "norm_embedding": family.norm_embedding,
        "norm_eps": NORM_EPS,
        "positions": "learned" if family.sinusoids is None else "sinusoidal",
        "sinusoids": family.sinusoids or "tensor2tensor",
        "position_offset": family.offset(vocab.pad),
        "embeddings": "tied" if one_table else "separate",
        "tie_output": is_tied,
        "output_bias": "final_logits_bias" in tensors,
        "init": "bert",
    }
    try:
        return resolve(values)
    except (TypeError, ValueError, ConfigError) as error:
        raise MasscliError(f"{path}: {error}".replace("model.", ""), "is it as it was published?") from None


def _is_equal(tensors: Mapping[str, Tensor], first: str, second: str) -> bool:
    """Return whether the tensors of two names are equal; also return True if one of them is missing."""
    if first not in tensors or second not in tensors:
        return True
    return torch.equal(tensors[first], tensors[second])


def _convert(
    family: Seq2SeqFamily,
    config: ModelConfig,
    tensors: dict[str, Tensor],
    vocab: Vocabulary,
    size: int,
    path: str,
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of masscli's model by name, and notes for the user.

    Published embeddings have `size` rows; those of further ids in `vocab` are drawn with a fixed seed. Raises
    MasscliError, which names `path`, if a tensor is missing, has another shape, or is unknown.
    """
    remaining = dict(tensors)
    tables, notes = _take_tables(config, remaining, path)
    bias = torch.zeros(size)
    if config.output_bias:
        bias = _take(remaining, "final_logits_bias", (1, size), path, family)[0]
    names = family.tensor_names(config)
    with torch.device("meta"):
        expected = Transformer(config, vocab.size, (), vocab.id_ranges).state_dict()
    generator = torch.Generator().manual_seed(1)
    converted = {}
    for name, like in expected.items():
        part, _, owner = name.rpartition(".")
        if part in ("token_embeddings", "output_weights"):
            if tables[name].shape != (size, like.shape[1]):
                raise _wrong_shape(path, name, tables[name], (size, like.shape[1]))
            new = torch.empty(len(like) - size, like.shape[1]).normal_(0, _NEW_STD, generator=generator)
            tensor = torch.cat([tables[name], new])
        elif part == "output_biases":
            tensor = torch.zeros(len(like))
            # An encoder with embeddings of its own predicts nothing.
            if owner != "encoder":
                tensor[: len(bias)] = bias
        else:
            rows = len(like) // len(names[name])
            shape = (rows, *like.shape[1:])
            tensor = torch.cat([_take(remaining, theirs, shape, path, family) for theirs in names[name]])
        converted[name] = tensor
    _refuse_rest(remaining, path, family)
    if vocab.size > size:
        notes.append(f"{vocab.size - size} ids are new, drawn at random: symbols that the vocabulary lacks")
    return converted, notes


def _refuse_rest(remaining: Mapping[str, Tensor], path: str, family: Seq2SeqFamily) -> None:
    """Raise MasscliError if tensors are left over that were not converted.

    They may belong to a part that changes what the model computes.
    """
    if remaining:
        raise MasscliError(
            f"{path}: {min(remaining)} has no place in {family.title}",
            "a model with other parts than the published ones cannot be imported",
        )


def _wrong_shape(path: str, name: str, tensor: Tensor, expected: tuple[object, ...]) -> MasscliError:
    return MasscliError(
        f"{path}: {name} is {tuple(tensor.shape)}, by config.json {expected}",
        "weights and config.json are of different models",
    )


def _take_tables(
    config: ModelConfig, remaining: dict[str, Tensor], path: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Remove the token embeddings and output weights from `remaining`; return them by our names, and notes.

    The result has entries for the encoder, the decoder and both, more than a model needs. Notes tell the user
    of tied tables that are stored with different values. Raises MasscliError if a table is missing.
    """
    shared = remaining.pop("model.shared.weight", None)
    copies = {name: remaining.pop(name, shared) for name in _TIED}
    encoder, decoder, output = copies.values()
    # Some files have only copies of what is tied.
    if shared is None:
        shared = encoder
    if shared is None or encoder is None or decoder is None:
        raise MasscliError(f"{path}: has no model.shared.weight", "is it complete?")
    notes: list[str] = []
    tables = {
        "token_embeddings.shared": shared,
        "token_embeddings.encoder": encoder,
        "token_embeddings.decoder": decoder,
    }
    if not config.tie_output:
        if output is None:
            raise MasscliError(f"{path}: has no lm_head.weight", "config.json says that it is not tied")
        tables["output_weights.shared"] = tables["output_weights.decoder"] = output
        tables["output_weights.encoder"] = encoder
        if config.embeddings == "tied":
            tables["token_embeddings.shared"] = encoder
        return tables, notes
    for name, copy in copies.items():
        if copy is not None and not torch.equal(copy, shared):
            notes.append(f"{name} differs from model.shared.weight, which is used as in Hugging Face's model")
    return tables, notes


def _take(
    remaining: dict[str, Tensor], name: str, shape: tuple[int, ...], path: str, family: Seq2SeqFamily
) -> Tensor:
    """Remove a tensor from `remaining`, and return it.

    Raises MasscliError, which names `path`, if the tensor is missing or has another shape than `shape`.
    """
    if name not in remaining:
        raise MasscliError(f"{path}: has no {name}", f"the {family.title} that config.json describes has one")
    tensor = remaining.pop(name)
    if tensor.shape != shape:
        raise _wrong_shape(path, name, tensor, shape)
    return tensor


def _recipe(output: Path, languages: Sequence[str], model: ModelConfig) -> dict[str, Any]:
    """Return the recipe of the imported run as a table: its folder, and a stream for each task of the model.

    These are translation in each direction, or denoising if there is only one language.
    """
    directions = list(pairwise(languages))
    # With tags, a model translates from each language to each other one.
    if model.languages == "tag":
        directions = list(permutations(languages, 2))
    streams = {}
    for source, target in directions:
        dataset = f"{source}-{target}"
        streams[f"translate-{dataset}"] = {"dataset": dataset, "objective": {"name": "translate"}}
    if not streams:
        # BART and Pegasus learned to write a text anew.
        streams["denoise"] = {"dataset": languages[0], "objective": {"name": "denoise"}}
    return {"save_dir": str(output), "stream": streams}

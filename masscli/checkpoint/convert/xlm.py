"""Import models of XLM, and of its fork, the released MASS code for unsupervised translation.

A file holds `encoder` and `decoder`, or only `model`, along with the dictionary and all training options
(`params`). Only these say whether `model` is a masked language model, whose states see the whole text,
or a causal one: the tensors are the same. Texts begin and end with `</s>`. Pieces keep the ids of the
dictionary; the symbols that masscli adds have the ids after them, which the model never predicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from masscli.checkpoint.convert.config_json import describe_problem
from masscli.checkpoint.convert.folder import read_flag
from masscli.checkpoint.convert.foreign import (
    ForeignModel,
    ImportRequest,
    TensorTable,
)
from masscli.checkpoint.convert.inert_objects import attributes, plain
from masscli.checkpoint.convert.xlm_stack import TITLE, XlmStack
from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.input_embedding import sinusoids
from masscli.models.presets import resolve
from masscli.text.bpe_codes import (
    MASK_ID,
    XLM_SPECIAL_PIECES,
    pack_bpe_codes,
    read_merges,
)
from masscli.text.dictionary_model import pack_dictionary
from masscli.text.tokenizer import Tokenizer

GENERATION = {"beam": 1, "lenpen": 1.0, "max_len_a": 1.5, "max_len_b": 10}
"""The default search of translate.py in XLM and MASS, as fields of `GenerationConfig`. There the length
limit depends on the longest source of a batch; here each source has its own limit."""
EOS_ID = XLM_SPECIAL_PIECES.index("</s>")
_KEYS = {
    "dim": "emb_dim",
    "heads": "n_heads",
    "norm_eps": "layer_norm_eps",
}
"""XLM's names of options, by the fields of `ModelConfig` that are called otherwise."""
MODEL = "model"
"""The key of a file under which a model with a single stack is."""


def is_xlm(content: Any) -> bool:
    """Return whether the content of a file, read by `read_torch_file`, is a model of XLM or MASS."""
    return (
        isinstance(content, Mapping)
        and "params" in content
        and "dico_id2word" in content
    )


def convert_xlm(request: ImportRequest, content: Mapping[str, Any]) -> ForeignModel:
    """Return the model in `content`, a checkpoint file of XLM or MASS, in masscli's form.

    Raises MasscliError if the file is incomplete, or if the model or an option of the request is not
    supported. A file with wrong types raises other errors, which `import_file` reports.
    """
    params = attributes(content["params"])
    request.refuse(
        TITLE,
        "dictionaries",
        "spm_model",
        "vocab_file",
        "encoder_json",
        "vocab_bpe",
        "arch",
    )
    _refuse_unsupported(request, content, params)
    parts: dict[str, TensorTable] = {}
    single = "decoder" if _is_causal(params) else "encoder"
    for key, stack in (("encoder", "encoder"), ("decoder", "decoder"), (MODEL, single)):
        if isinstance(content.get(key), Mapping):
            parts[stack] = TensorTable(request.path, content[key])
    if not parts:
        raise MasscliError(
            f"{request.path}: holds no model", "expected encoder and decoder, or model"
        )
    language_ids = _language_ids(request, params)
    tokenizer, notes = _tokenizer(request, content, list(language_ids))
    for stack, table in parts.items():
        rows, pieces = table.shape("embeddings.weight")[0], len(tokenizer.all_pieces())
        if rows != pieces:
            raise MasscliError(
                f"{request.path}: its {stack} has {rows:,} embeddings, its dictionary {pieces:,} pieces",
                "is the file damaged?",
            )
    languages = _languages_of_model(parts, language_ids)
    config = _config(request, params, parts, languages)
    tensors: dict[str, Tensor] = {}
    for stack, table in parts.items():
        converted = XlmStack(
            request, stack, table, config, tokenizer.vocab.size, language_ids, languages
        )
        tensors |= converted.tensors()
    return ForeignModel(
        title=f"{TITLE} ({', '.join(parts)})",
        config=config,
        tokenizer=tokenizer,
        languages=languages,
        tensors=tensors,
        streams=_streams(request, params, parts, list(language_ids)),
        generation=GENERATION if len(parts) > 1 else {},
        notes=notes,
    )


def _is_causal(params: Mapping[str, Any]) -> bool:
    """Return whether a single stack is a causal language model, by the file's training options `params`.

    Such a model was trained with the steps `clm_steps` alone. One with steps of both kinds is a masked
    language model here, as is one that names no steps.
    """
    return bool(params.get("clm_steps")) and not params.get("mlm_steps")


def _refuse_unsupported(
    request: ImportRequest, content: Mapping[str, Any], params: Mapping[str, Any]
) -> None:
    """Raise MasscliError if the file's training options ask for a variant of XLM that is not supported."""
    setting = params.get("attention_setting", "v1")
    # Only a decoder attends to another stack, and with one language there is one attention in any
    # setting.
    has_setting = "decoder" in content and not params.get("english_only")
    if setting != "v1" and has_setting:
        raise MasscliError(
            f"{request.path}: has attention_setting {setting}, with separate attention for each language",
            "only attention_setting v1 is supported, the default of MASS",
        )
    for option, meaning in (
        ("asm", "adaptive softmax"),
        ("use_memory", "memory layers"),
    ):
        if params.get(option):
            raise MasscliError(
                f"{request.path}: has {meaning} ({option})",
                "such models are not supported",
            )


def _language_ids(request: ImportRequest, params: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids of a file's languages by name, in the order of ids, from its training options `params`.

    Raises MasscliError if it has none, or if the ids are not 0, 1, ... without gaps.
    """
    ids = params.get("lang2id")
    if isinstance(ids, Mapping):
        # Some files have NumPy numbers.
        ids = {language: plain(number) for language, number in ids.items()}
    valid = isinstance(ids, Mapping) and all(
        type(number) is int for number in ids.values()
    )
    if not valid or not ids or sorted(ids.values()) != list(range(len(ids))):
        raise MasscliError(
            f"{request.path}: has no lang2id, the numbers of its languages"
        )
    return dict(sorted(ids.items(), key=lambda item: item[1]))


def _tokenizer(
    request: ImportRequest, content: Mapping[str, Any], languages: Sequence[str]
) -> tuple[Tokenizer, list[str]]:
    """Return a tokenizer with the ids of the file's dictionary, and notes for the user about it.

    It splits words with the BPE codes of the request, or text only at white space if there are none.
    Raises MasscliError if the dictionary or the BPE codes are damaged.
    """
    pieces = _pieces(request, content["dico_id2word"])
    if request.bpe_codes is not None:
        data = pack_bpe_codes(
            pieces[len(XLM_SPECIAL_PIECES) :], read_merges(request.bpe_codes)
        )
        notes = [
            f"vocabulary: {len(pieces):,} pieces, of words split by {request.bpe_codes}"
        ]
    else:
        special = {
            name: XLM_SPECIAL_PIECES.index(name)
            for name in ("<s>", "</s>", "<pad>", "<unk>")
        }
        special["<mask>"] = MASK_ID
        # The other pieces called <special...> are reserved and do not occur in text.
        unused = []
        for number, piece in enumerate(XLM_SPECIAL_PIECES):
            if "special" in piece and number != MASK_ID:
                unused.append(number)
        data = pack_dictionary(pieces, special, unused_ids=unused)
        notes = [
            f"vocabulary: {len(pieces):,} pieces, split at white space: the file has no BPE codes. Give them "
            "with --bpe-codes, or text that applybpe has split into pieces"
        ]
    notes[0] += f"; {request.text_note()}"
    tokenizer = Tokenizer.from_bytes(
        request.path, data, request.preprocessing, languages
    )
    # The dictionary has <s>, but every text of XLM begins with </s>.
    return tokenizer.with_card_fields(bos=EOS_ID, predicted_ids=(0, len(pieces))), notes


def _pieces(request: ImportRequest, id2word: Any) -> list[str]:
    """Return the pieces of XLM's dictionary in the order of their ids; `id2word` should map ids to pieces.

    Raises MasscliError if it is damaged, or does not begin with XLM's special pieces.
    """
    valid = isinstance(id2word, Mapping) and set(id2word) == set(range(len(id2word)))
    if not valid or any(type(word) is not str for word in id2word.values()):
        raise MasscliError(f"{request.path}: its dictionary (dico_id2word) is damaged")
    pieces = [id2word[number] for number in range(len(id2word))]
    if tuple(pieces[: len(XLM_SPECIAL_PIECES)]) != XLM_SPECIAL_PIECES:
        raise MasscliError(
            f"{request.path}: its dictionary does not begin with XLM's symbols",
            f"expected {' '.join(XLM_SPECIAL_PIECES)}",
        )
    return pieces


def _languages_of_model(
    parts: Mapping[str, TensorTable], language_ids: Mapping[str, int]
) -> tuple[str, ...]:
    """Return the languages for which the model has vectors or output projections, in the order of their ids.

    The result is empty if it has neither.
    """
    has_vectors = any("lang_embeddings.weight" in table for table in parts.values())
    has_projections = (
        "decoder" in parts and "encoder_attn.0.out_lin.0.weight" in parts["decoder"]
    )
    if has_vectors or has_projections:
        return tuple(language_ids)
    return ()


def _config(
    request: ImportRequest,
    params: Mapping[str, Any],
    parts: Mapping[str, TensorTable],
    languages: Sequence[str],
) -> ModelConfig:
    """Return the configuration of the model, with sizes from its tensors and other values from `params`.

    `params` are the file's training options, `parts` its tensors by stack, and `languages` those that
    the model has parameters for. Raises MasscliError if neither the request nor the file gives the
    number of attention heads, or if an option is damaged.
    """
    # Encoder and decoder have the same sizes in XLM.
    table = next(iter(parts.values()))
    heads = request.heads or params.get("n_heads")
    if type(heads) is not int:
        raise MasscliError(
            f"{request.path}: does not give its number of attention heads",
            "give it with --heads",
        )
    # A model has one maximum text length for both stacks, but their numbers of rows in a file may
    # differ.
    position_rows = [
        part.shape("position_embeddings.weight")[0] for part in parts.values()
    ]
    cross_output = "shared"
    if "decoder" in parts and "encoder_attn.0.out_lin.0.weight" in parts["decoder"]:
        cross_output = "language"
    path = request.options_path
    activation = "relu"
    if read_flag(params, "gelu_activation", False, path):
        activation = "gelu"
    # XLM reads what the file holds, which half precision or training may have changed.
    positions, sinusoid_layout = "learned", "tensor2tensor"
    is_sinusoidal = read_flag(params, "sinusoidal_embeddings", False, path)
    if is_sinusoidal and all(_has_sinusoids(part) for part in parts.values()):
        positions, sinusoid_layout = "sinusoidal", "interleaved"
    values = {
        "arch": "mass-xlm",
        "dim": table.shape("embeddings.weight")[1],
        "ffn_dim": table.shape("ffns.0.lin1.weight")[0],
        "heads": heads,
        "max_positions": min(position_rows),
        "activation": activation,
        "tie_output": read_flag(params, "share_inout_emb", True, path),
        "languages": "embedding" if languages else "none",
        "cross_output": cross_output,
        "positions": positions,
        "sinusoids": sinusoid_layout,
        "norm_eps": params.get("layer_norm_eps", 1e-12),
        "dropout": params.get("dropout", 0.1),
        "attention_dropout": params.get("attention_dropout", 0.1),
    }
    for stack in ("encoder", "decoder"):
        layers = parts[stack].count_layers("attentions.") if stack in parts else 0
        values[f"{stack}_layers"] = layers
    try:
        return resolve(values)
    except ConfigError as error:
        raise MasscliError(
            f"{path}: {describe_problem(error, _KEYS)}",
            "was it changed after it was published?",
        ) from None


def _has_sinusoids(table: TensorTable) -> bool:
    """Return whether the positions of a stack are the interleaved sinusoids that XLM computes."""
    positions = table.read("position_embeddings.weight")
    expected = sinusoids(len(positions), positions.shape[1], "interleaved")
    return torch.allclose(positions, expected, rtol=0, atol=1e-6)


def _streams(
    request: ImportRequest,
    params: Mapping[str, Any],
    parts: Mapping[str, TensorTable],
    languages: Sequence[str],
) -> dict[str, Any]:
    """Return the table `stream` of a recipe, with a stream for each task that the model was trained for.

    A model without a decoder has masked language modeling for each of `languages`, all that the file has,
    and one without an encoder has causal language modeling. Otherwise -s and -t give the only direction, or
    the file's training options (`params`) list the directions of translation and back-translation; if they
    list none, each language has MASS. Raises MasscliError if only one of -s and -t is given, if a language is
    unknown, or if a model that has no direction is given one.
    """
    if len(parts) < 2:
        request.refuse(f"{TITLE} with one stack", "source", "target")
    if "decoder" not in parts:
        return _named_streams([("mlm", language) for language in languages])
    if "encoder" not in parts:
        return _named_streams([("clm", language) for language in languages])
    _check_languages(request, languages)
    if request.source is not None and request.target is not None:
        return _named_streams([("translate", f"{request.source}-{request.target}")])
    trained = []
    for source, target in _tuples(params.get("mt_steps"), 2):
        trained.append(("translate", f"{source}-{target}"))
    # A step (en, fr, en) translates en to fr, and trains fr to en.
    for target, source, _ in _tuples(params.get("bt_steps"), 3):
        trained.append(("backtranslate", f"{source}-{target}"))
    if not trained:
        trained = [("mass", language) for language in languages]
    return _named_streams(trained)


def _check_languages(request: ImportRequest, languages: Sequence[str]) -> None:
    """Raise MasscliError if only one of -s and -t is given, or one is not among the model's `languages`."""
    for flag, language in (("-s", request.source), ("-t", request.target)):
        if language is not None and language not in languages:
            raise MasscliError(
                f"{flag} {language}: {request.path} does not know this language",
                f"it knows {', '.join(languages)}",
            )
    if (request.source is None) != (request.target is None):
        raise MasscliError(
            "-s and -t belong together",
            "without both, the run has all of its directions",
        )


def _named_streams(trained: Sequence[tuple[str, str]]) -> dict[str, Any]:
    streams = {}
    for objective, dataset in trained:
        streams[f"{objective}-{dataset}"] = {
            "dataset": dataset,
            "objective": {"name": objective},
        }
    return streams


def _tuples(value: Any, size: int) -> list[tuple[str, ...]]:
    """Return the tuples of length `size` in a list of training steps; return [] if `value` is not a list."""
    if not isinstance(value, list):
        return []
    return [step for step in value if isinstance(step, tuple) and len(step) == size]

"""Import XLM from a Hugging Face folder, by restoring the XLM file that it was converted from.

Tensors have XLM's names with the prefix `transformer.`. The dictionary is vocab.json, in which a piece
that ends a word is marked with `</w>`, while XLM's own marks all other pieces with `@@`; merges.txt has
the codes of fastBPE. Text is normalized and tokenized by Moses' rules; most models then lower-case it
and remove accents.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from masscli.checkpoint.convert.attribution import read_attribution
from masscli.checkpoint.convert.config_json import (
    refuse_other_models,
    unused_settings,
    with_own_keys,
)
from masscli.checkpoint.convert.families import XLM
from masscli.checkpoint.convert.folder import (
    CONFIG,
    SETTINGS,
    read_flag,
    read_json,
    read_json_if_present,
    read_weights,
)
from masscli.checkpoint.convert.foreign import ForeignModel, ImportRequest
from masscli.checkpoint.convert.import_file import save_foreign, use_converter
from masscli.checkpoint.convert.published import without_wrapper
from masscli.checkpoint.convert.published_vocabulary import LISTED_TOKENS
from masscli.checkpoint.convert.task_head_import import Published, read_task_head
from masscli.checkpoint.convert.tokenizer_files import added_words
from masscli.checkpoint.convert.vocabulary import (
    PAIR_FORMATS,
    ImportedVocabulary,
    cuts_start,
    read_max_length,
)
from masscli.checkpoint.convert.xlm import EOS_ID, convert_xlm
from masscli.core.errors import MasscliError
from masscli.core.listing import list_some
from masscli.text.bpe_codes import WORD_END, XLM_SPECIAL_PIECES
from masscli.text.markers import BPE_CONTINUATION
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer

MODEL_TYPE = XLM.model_type
FULL_CLASS = XLM.full_class
VOCABULARY, MERGES = "vocab.json", "merges.txt"
BOS_ID = XLM_SPECIAL_PIECES.index("<s>")
_BODY = XLM.prefix
_HEAD = "pred_layer."
_BODY_PARTS = (
    "embeddings.",
    "position_embeddings.",
    "lang_embeddings.",
    "layer_norm",
    "attentions.",
    "ffns.",
    "memories.",
    "encoder_attn.",
)
"""Prefixes of the names of XLM's own tensors, except those of its output layer."""
OTHER_TOKENIZERS = {"ja": "KyTea", "th": "PyThaiNLP", "zh": "jieba"}
"""Programs with which XLMTokenizer splits text into words, for languages not covered by Moses' rules."""
_LAYER = re.compile(r"ffns\.\d+\.lin1\.weight")
"""Matches the name of a tensor that each layer has."""
_OTHER = "weights and config.json belong to different models"
_REQUIRED = {"causal": False, "is_encoder": True, "asm": False}
"""Settings of config.json, each with the only value that can be imported."""
_OWN_KEYS = {"dim": "emb_dim", "heads": "n_heads", "encoder_layers": "n_layers"}
_KEYS = (
    *_REQUIRED,
    "attention_dropout",
    "attention_setting",
    "dropout",
    "emb_dim",
    "gelu_activation",
    "id2lang",
    "lang2id",
    "layer_norm_eps",
    "max_position_embeddings",
    "max_vocab",
    "min_count",
    "n_heads",
    "n_langs",
    "n_layers",
    "n_words",
    "same_enc_dec",
    "share_inout_emb",
    "sinusoidal_embeddings",
    "use_lang_emb",
    "use_memory",
)
"""Keys of config.json that an import reads, and those of XLM's own files that have no effect."""


def import_xlm_folder(
    folder: Path,
    config: Mapping[str, Any],
    output: Path,
    languages: Sequence[str],
    allow_pickle: bool,
) -> tuple[Path, list[str]]:
    """Import the XLM in `folder` as the run `output`; return the path of its checkpoint, and notes.

    `config` is the content of its config.json, and `languages` are those that the user names. The run
    supports all languages of the model. Raises MasscliError if a file is missing, damaged or
    inconsistent.
    """
    for key, only in _REQUIRED.items():
        if read_flag(config, key, only, folder / CONFIG) is not only:
            raise MasscliError(
                f"{folder / CONFIG}: {key} is {not only}",
                f"only XLM whose {key} is {only} can be imported",
            )
    refuse_other_models("XLM", config, folder / CONFIG, is_causal=False)
    config = with_own_keys(config, _OWN_KEYS, folder / CONFIG)
    weights_path, weights = read_weights(folder, allow_pickle)
    tensors, heads, notes = _own_tensors(config, weights, weights_path)
    _check_sizes(config, tensors, folder / CONFIG)
    dictionary, dictionary_notes = _dictionary(folder, tensors)
    notes += dictionary_notes
    content = {
        "model": tensors,
        "dico_id2word": dictionary,
        "params": _params(folder, config, languages),
    }
    request = ImportRequest(
        weights_path,
        config=folder / CONFIG,
        bpe_codes=_present(folder / MERGES),
        own_preprocessing=_preprocessing(folder),
    )
    model = use_converter(convert_xlm, request, content)
    for language in languages:
        known = model.tokenizer.vocab.languages
        if language not in known:
            raise MasscliError(
                f"{folder}: has no language {language!r}",
                f"--langs {','.join(known)}",
            )
    for language in languages:
        if language in OTHER_TOKENIZERS:
            notes.append(
                f"text of {language} is tokenized by Moses' rules, where XLMTokenizer uses "
                f"{OTHER_TOKENIZERS[language]}"
            )
    model = replace(model, tokenizer=_with_frame(model.tokenizer))
    model, head_notes = _with_head(
        model, heads, folder, config, weights_path, languages[0]
    )
    notes = [*model.notes, *head_notes, *notes, *unused_settings(config, _KEYS)]
    model = replace(model, notes=notes)
    return save_foreign(
        model, weights_path, output, attribution=read_attribution(folder, config)
    )


def _with_frame(tokenizer: Tokenizer) -> Tokenizer:
    """Return a tokenizer of XLM that puts special tokens around texts as XLMTokenizer does.

    XLM begins every text with `</s>`, but XLMTokenizer has `<s> A </s>` for one text, and `<s> A </s> B
    </s>` for two.
    """
    vocab = tokenizer.vocab
    # The ids that masscli added for the start and for what separates two texts have no use here.
    spare = (*vocab.spare, vocab.cls, vocab.sep)
    return tokenizer.with_card_fields(bos=BOS_ID, cls=BOS_ID, sep=EOS_ID, spare=spare)


def _with_head(
    model: ForeignModel,
    heads: Mapping[str, Tensor],
    folder: Path,
    config: Mapping[str, Any],
    weights_path: Path,
    language: str,
) -> tuple[ForeignModel, list[str]]:
    """Return the model with the head of its task, if the library has such a class, and notes for the user.

    `heads` are all tensors in `folder` but those of the model below, and `language` is that of the task's
    texts. Raises MasscliError if a part of the head is missing or of another size.
    """
    settings = read_json_if_present(folder / SETTINGS)
    published = Published(
        family=XLM,
        config=config,
        model=model.config,
        tensors=heads,
        stored=len(heads),
        vocab_size=model.tokenizer.vocab.size,
        vocabulary=ImportedVocabulary(
            model.tokenizer,
            [],
            PAIR_FORMATS[XLM.tokenizer_class],
            read_max_length(settings),
            cuts_start(settings),
        ),
        language=language,
        config_path=folder / CONFIG,
        weights_path=weights_path,
    )
    head = read_task_head(published)
    notes = [*head.notes]
    left_behind = set(heads)
    if head.tensors:
        left_behind = {name for name in heads if not name.startswith(XLM.task_prefixes)}
        stream = head.objective["name"]
        if model.languages:
            notes.append(
                "left behind: the vectors of languages, which Hugging Face's model adds only to texts whose "
                "languages (langs) it is given; its tokenizer does not give them"
            )
        tensors = dict(model.tensors)
        tensors.pop("embeddings.encoder.languages.weight", None)
        model = replace(
            model,
            config=replace(model.config, languages="none"),
            languages=(),
            tensors=tensors,
            streams={stream: {"dataset": language, "objective": head.objective}},
            heads={f"{stream}.{name}": tensor for name, tensor in head.tensors.items()},
        )
    if left_behind:
        notes.append(f"left behind: {', '.join(sorted(left_behind))}")
    return model, notes


def _present(path: Path) -> Path:
    """Return `path`. Raises MasscliError if there is no such file."""
    if not path.is_file():
        raise MasscliError(
            f"{path.parent}: has no {path.name}",
            f"an XLMTokenizer needs {VOCABULARY} and {MERGES}",
        )
    return path


def _own_tensors(
    config: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    """Return the tensors of a folder under XLM's names, those of heads of tasks, and notes on missing ones.

    A model without the output layer, such as a classifier, gets one with a bias of 0. `config` is the
    content of config.json. Raises MasscliError, which names the file `path` of the weights, if two tensors
    have the same name, or if an output layer lacks weights that are not tied.
    """
    tensors = {}
    heads = {}
    for name, tensor in without_wrapper(weights, str(path)).items():
        own = name.removeprefix(_BODY)
        if own.startswith((*_BODY_PARTS, _HEAD)):
            tensors[own] = tensor
        # The buffer of position numbers is not a weight.
        elif not own.endswith("position_ids"):
            heads[name] = tensor
    notes: list[str] = []
    embeddings = tensors.get("embeddings.weight")
    if embeddings is None:
        return tensors, heads, notes
    has_head = f"{_HEAD}proj.bias" in tensors
    is_tied = read_flag(config, "tie_word_embeddings", True, path.with_name(CONFIG))
    if has_head and not is_tied and f"{_HEAD}proj.weight" not in tensors:
        raise MasscliError(
            f"{path}: has no {_HEAD}proj.weight", "tie_word_embeddings is false"
        )
    # Tied weights are stored once.
    tensors.setdefault(f"{_HEAD}proj.weight", embeddings)
    if not has_head:
        tensors[f"{_HEAD}proj.bias"] = torch.zeros(len(embeddings))
        notes.append("it has no output layer: it gets the tied weights and a bias of 0")
    return tensors, heads, notes


def _check_sizes(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path
) -> None:
    """Raise MasscliError if config.json (`path`, with the content `config`) has other sizes than the tensors.

    Hugging Face's library would leave out layers, or vectors of languages, that config.json does not ask for.
    """
    table = tensors.get("embeddings.weight")
    # Without this table, or with a damaged one, the conversion reports it.
    if table is None or table.dim() != 2:
        return
    sizes = {
        "n_layers": sum(_LAYER.fullmatch(name) is not None for name in tensors),
        "emb_dim": table.shape[1],
        "vocab_size": len(table),
    }
    # With one language there are no vectors, whatever use_lang_emb says.
    if "lang_embeddings.weight" in tensors:
        sizes["n_langs"] = len(tensors["lang_embeddings.weight"])
        if not read_flag(config, "use_lang_emb", True, path):
            raise MasscliError(
                f"{path}: use_lang_emb is false, but the weights have lang_embeddings",
                _OTHER,
            )
    if "position_embeddings.weight" in tensors:
        sizes["max_position_embeddings"] = len(tensors["position_embeddings.weight"])
    for key, size in sizes.items():
        if config.get(key, size) != size:
            raise MasscliError(
                f"{path}: {key} is {config[key]}, but the weights have {size}", _OTHER
            )


def _dictionary(
    folder: Path, tensors: Mapping[str, Tensor]
) -> tuple[dict[int, str], list[str]]:
    """Return the piece of each id, spelled as in XLM's own dictionary, from vocab.json, and notes.

    Further rows of the token embeddings in `tensors`, such as those of added tokens, get names that occur in
    no text. Raises MasscliError if the file is missing or damaged.
    """
    path = _present(folder / VOCABULARY)
    pieces = {}
    for piece, number in read_json(path).items():
        if type(number) is not int:
            raise MasscliError(f"{path}: {piece!r} has the id {number!r}")
        if piece in XLM_SPECIAL_PIECES:
            pieces[number] = piece
        elif piece.endswith(WORD_END):
            pieces[number] = piece.removesuffix(WORD_END)
        else:
            pieces[number] = piece + BPE_CONTINUATION
    notes = []
    first, rows = len(pieces), len(tensors.get("embeddings.weight", ()))
    if first < rows and max(pieces, default=-1) < rows:
        # Text is split at spaces, so that no piece of it has one.
        unused = {number: f"<unused row {number}>" for number in range(first, rows)}
        pieces = {**unused, **pieces}
        notes.append(
            f"rows {first} to {rows - 1} of the token embeddings have no piece"
        )
    added = added_words(folder)
    if added:
        notes.append(
            f"added tokens are split like other text: {list_some(added, LISTED_TOKENS)}; Hugging Face's "
            "tokenizer matches them in text"
        )
    return pieces, notes


def _params(
    folder: Path, config: Mapping[str, Any], languages: Sequence[str]
) -> dict[str, Any]:
    """Return the XLM training options equivalent to config.json, whose content is `config`.

    Raises MasscliError if it does not name the languages of a multilingual model, and the number of
    `languages` differs.
    """
    # XLM's own option has another default.
    params = {"gelu_activation": True, **config}
    params["share_inout_emb"] = read_flag(
        config, "tie_word_embeddings", True, folder / CONFIG
    )
    if config.get("lang2id"):
        return params
    count = config.get("n_langs", 1)
    if count != len(languages):
        raise MasscliError(
            f"{folder / CONFIG}: does not name its {count} languages (lang2id)",
            "name them in their order with --langs",
        )
    params["lang2id"] = {language: number for number, language in enumerate(languages)}
    return params


def _preprocessing(folder: Path) -> TextPreprocessing:
    """Return how XLMTokenizer preprocesses text before it is split into pieces."""
    settings = read_json_if_present(folder / SETTINGS)
    removes_accents = read_flag(
        settings, "do_lowercase_and_remove_accent", True, folder / SETTINGS
    )
    return TextPreprocessing(published="xlm" if removes_accents else "xlm-keep-accents")

"""Import fairseq models: translation, language models, RoBERTa, BART, and MASS, which is a fairseq plug-in.

The options in a checkpoint are a Namespace (`args`) or an omegaconf configuration with sections
(`cfg`); a file may also hold a state dict without options. Sizes, shared weights, final norms and
learned positions are inferred from tensors. A model with a part that masscli's Transformer lacks is
refused with an error that names the option or the tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from masscli.checkpoint.convert.fairseq_config import read_fairseq_config
from masscli.checkpoint.convert.fairseq_layout import (
    Layout,
    architecture,
    find_layout,
    is_bart,
    source_and_target,
    todays_names,
)
from masscli.checkpoint.convert.fairseq_notes import (
    assumptions,
    projection_notes,
    task_notes,
    training_notes,
)
from masscli.checkpoint.convert.fairseq_stack import FairseqStack
from masscli.checkpoint.convert.fairseq_vocabulary import (
    FairseqVocabulary,
    MaskPlace,
    read_bert_vocabulary,
    read_fairseq_vocabulary,
)
from masscli.checkpoint.convert.foreign import ForeignModel, ImportRequest, TensorTable
from masscli.checkpoint.convert.inert_objects import attributes
from masscli.checkpoint.convert.torch_file import StoredTensor
from masscli.core.errors import MasscliError

GENERATION = {
    "beam": 5,
    "lenpen": 1.0,
    "early_stop": True,
    "max_len_a": 0.0,
    "max_len_b": 200,
}
"""The default search of fairseq-generate, as fields of `GenerationConfig`."""
UNSUPPORTED = {
    "adaptive_softmax_cutoff": "adaptive softmax",
    "adaptive_input": "adaptive input",
    "character_embeddings": "character embeddings",
    "encoder_layers_to_keep": "left-out layers",
    "decoder_layers_to_keep": "left-out layers",
    "cross_self_attention": "joint cross- and self-attention",
    "no_cross_attention": "a decoder without cross-attention",
    "base_layers": "BASE layers",
    "output_dictionary_size": "an output layer for a part of the dictionary",
    "scale_fc": "scaled feed-forward layers",
    "scale_attn": "scaled attention",
    "scale_heads": "scaled heads",
    "scale_resids": "scaled residuals",
    "quant_noise_pq": "a layer after the embeddings, for quantization noise",
    "encoder_xformers_att_config": "attention of xformers",
    "decoder_xformers_att_config": "attention of xformers",
}
"""fairseq's options for parts that masscli's Transformer lacks, each with the part's name in errors."""

UNSUPPORTED_TASKS = {
    "translation_moe": "outputs that begin with the name of an expert",
    "translation_lev": "outputs that are not written from left to right",
}
"""fairseq's tasks for models that are used in another way than masscli's, although their tensors may be
those of a Transformer, each with what errors say of the model."""
UNSUPPORTED_ARCHITECTURES = {
    "transformer_unidirectional": "an encoder in which a word sees only those before it",
}
"""The same for architectures, by the beginning of their names."""


_NUMBER_OF_PARTS = "model_parallel_size"
"""fairseq's option for the number of processes, each with a file of its own, that share every weight."""


def is_fairseq(content: Any) -> bool:
    """Return whether `content`, the mapping in a file, is a checkpoint or a state dict of fairseq.

    A checkpoint has its weights under `model`, and options under `args` or `cfg`; a state dict has tensors.
    """
    if isinstance(content.get("model"), Mapping):
        return "args" in content or "cfg" in content
    return any(str(name).endswith("embed_tokens.weight") for name in content)


def convert_fairseq(request: ImportRequest, content: Mapping[str, Any]) -> ForeignModel:
    """Return the model in `content`, a checkpoint or a state dict of fairseq, in masscli's form.

    Raises MasscliError, which names the option, tensor or file, if the model is not supported or
    incomplete, or if an option of the request does not apply to it. A file with wrong types raises
    other errors, which `import_file` reports.
    """
    weights = content.get("model")
    if not isinstance(weights, Mapping):
        weights = {
            name: tensor
            for name, tensor in content.items()
            if isinstance(tensor, StoredTensor)
        }
    options = _options(content)
    _check_request(request, options)
    table = TensorTable(request.path, todays_names(weights, str(request.path)))
    layout, notes = find_layout(request, options, table)
    _refuse_unsupported(request, options)
    languages = _stack_languages(request, options, layout)
    # The number of embeddings shows where the dictionary was padded, so it is needed before the vocabulary.
    sizes = {}
    for stack, prefix in layout.prefixes.items():
        sizes[stack] = table.shape(f"{prefix}embed_tokens.weight")[0]
    vocabulary = _vocabulary(request, layout, languages, sizes)
    stacks = {}
    for stack, prefix in layout.prefixes.items():
        stacks[stack] = FairseqStack(stack, prefix, table, vocabulary)
    config = read_fairseq_config(request, options, layout, stacks, vocabulary, table)
    tensors: dict[str, Tensor] = {}
    for converted in stacks.values():
        tensors |= converted.tensors(config)
    if layout.head:
        tensors |= _lm_head(table, layout.head, vocabulary)
        # RoBERTa in Hugging Face's library has a segment vector for all tokens, which is 0 in models
        # trained by fairseq.
        tensors["embeddings.encoder.segments.weight"] = torch.zeros(1, config.dim)
    name = architecture(request, options) or "unknown"
    table.require_empty(f"fairseq's {layout.kind} (architecture: {name})")
    return ForeignModel(
        title=f"fairseq {layout.kind}",
        config=config,
        tokenizer=vocabulary.tokenizer,
        languages=(),
        tensors=tensors,
        streams=_streams(options, layout, languages),
        generation=GENERATION if len(layout.prefixes) > 1 else {},
        notes=[
            *vocabulary.notes,
            *notes,
            *task_notes(options, layout, languages),
            *projection_notes(stacks.values()),
            *training_notes(content, options),
            *assumptions(options, config, layout, stacks.values()),
        ],
    )


def _check_request(request: ImportRequest, options: Mapping[str, Any]) -> None:
    """Raise MasscliError if the request contradicts itself or the file, whose training options are `options`.

    This is so if it gives two ways to split text, only one of the two files of GPT-2's BPE, or --bos for a
    model other than BART.
    """
    subword_files = {
        "--spm-model": request.spm_model,
        "--bpe-codes": request.bpe_codes,
        "--vocab-file": request.vocab_file,
        "--encoder-json": request.encoder_json,
    }
    given = [name for name, path in subword_files.items() if path is not None]
    if len(given) > 1:
        raise MasscliError(
            f"{' and '.join(given)}: only one of them can split text",
            "leave the others out",
        )
    if (request.encoder_json is None) != (request.vocab_bpe is None):
        raise MasscliError(
            "--encoder-json and --vocab-bpe belong together", "give both"
        )
    if request.bos and not is_bart(request, options):
        raise MasscliError("--bos: is only for fairseq's BART", "leave it out")


def _options(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a checkpoint in one dict, empty for a file without options.

    They are the attributes of `args`, overridden by those of the sections `task` and `model` of `cfg`, and
    of its section `common` the number of files that a model is split into. The option `task`, if present,
    is the name of the task that the model was trained on.
    """
    options = attributes(content.get("args"))
    sections = attributes(content.get("cfg"))
    common = attributes(sections.get("common"))
    if _NUMBER_OF_PARTS in common:
        options[_NUMBER_OF_PARTS] = common[_NUMBER_OF_PARTS]
    task = attributes(sections.get("task"))
    options |= task
    options |= attributes(sections.get("model"))
    # An omegaconf section has its name under a different key from a Namespace.
    if "task" not in options and "_name" in task:
        options["task"] = task["_name"]
    return options


def _refuse_unsupported(request: ImportRequest, options: Mapping[str, Any]) -> None:
    """Raise MasscliError, which names the option, for a model with parts that masscli lacks.

    The same holds for a file with a part of each weight.
    """
    parts = options.get(_NUMBER_OF_PARTS, 1)
    if parts != 1:
        raise MasscliError(
            f"{request.path}: holds one of {parts} parts of each weight (--model-parallel-size {parts})",
            "join the parts into one model first",
        )
    task, name = str(options.get("task")), architecture(request, options)
    unsupported = []
    if task in UNSUPPORTED_TASKS:
        unsupported.append(f"{UNSUPPORTED_TASKS[task]} (--task {task})")
    for start, part in UNSUPPORTED_ARCHITECTURES.items():
        if name.startswith(start):
            unsupported.append(f"{part} (--arch {name})")
    for option, part in UNSUPPORTED.items():
        # 0, an empty list and the like do not ask for the part, and neither does a size of -1.
        if options.get(option) not in (None, False, 0, -1, "", "None", []):
            unsupported.append(f"{part} (--{option.replace('_', '-')})")
    if unsupported:
        raise MasscliError(
            f"{request.path}: has {', '.join(unsupported)}",
            "such models are not supported",
        )


def _stack_languages(
    request: ImportRequest, options: Mapping[str, Any], layout: Layout
) -> dict[str, str]:
    """Return the language by stack (`encoder`, `decoder`), from -s and -t or from the checkpoint's options.

    Models of one language have the same one in all stacks: that of -s, else that of -t, else `en`.
    Raises MasscliError if neither the request nor a translation model names its languages.
    """
    # The names of the stacks of MASS for translation include their languages.
    if layout.kind == "mass_translation":
        prefixes = layout.prefixes.items()
        return {stack: prefix.split(".")[1] for stack, prefix in prefixes}
    source, target = source_and_target(request, options)
    is_undirected = layout.kind == "bart" and (source is None or target is None)
    # Models of one language do not say which one it is.
    if is_undirected or layout.kind in (
        "roberta",
        "transformer_lm",
        "mass_summarization",
    ):
        language = str(request.source or request.target or "en")
        return dict.fromkeys(layout.prefixes, language)
    if source is None or target is None:
        raise MasscliError(
            f"{request.path}: does not name its languages", "give them with -s and -t"
        )
    return {"encoder": source, "decoder": target}


def _vocabulary(
    request: ImportRequest,
    layout: Layout,
    languages: Mapping[str, str],
    sizes: Mapping[str, int],
) -> FairseqVocabulary:
    """Return the vocabulary of a model; `languages` and `sizes` are its language and number of rows by stack.

    Raises MasscliError if a file of it is missing or does not match the model, or if the request
    names a file of another kind of vocabulary.
    """
    if layout.kind == "mass_summarization":
        request.refuse(
            "MASS for summarization", "spm_model", "bpe_codes", "encoder_json"
        )
        return read_bert_vocabulary(request, languages["encoder"], sizes["encoder"])
    request.refuse(f"fairseq's {layout.kind}", "vocab_file")
    places: dict[str, MaskPlace] = {
        "mass_translation": "fifth",
        "roberta": "last",
        "bart": "last if room",
    }
    place = places.get(layout.kind, "none")
    vocabulary = read_fairseq_vocabulary(request, languages, sizes, place, layout.tags)
    tokenizer = vocabulary.tokenizer
    # The decoder of such a model was trained on `</s> <s> words`, where `<s>` is forced rather than
    # predicted.
    if layout.kind == "bart" and layout.has_bos:
        tokenizer = tokenizer.with_card_fields(forced_prefix=(tokenizer.vocab.bos,))
    if layout.kind == "transformer_lm" and layout.has_bos:
        tokenizer = tokenizer.with_card_fields(decoder_start=tokenizer.vocab.bos)
    return replace(vocabulary, tokenizer=tokenizer)


def _lm_head(
    table: TensorTable, prefix: str, vocabulary: FairseqVocabulary
) -> dict[str, Tensor]:
    """Remove RoBERTa's LM head, except its output weights, from the table; return it under masscli's names.

    The result has the transform, its norm, and the output bias, with zeros for symbols that masscli adds. The
    names of the head's tensors in the table begin with `prefix`.
    """
    tensors = table.take_linear("head_transforms.shared.dense", f"{prefix}dense")
    tensors |= table.take_linear("head_transforms.shared.norm", f"{prefix}layer_norm")
    bias = table.take(f"{prefix}bias")
    size = vocabulary.tokenizer.vocab.size
    return tensors | {
        "output_biases.shared": FairseqStack.place_rows(
            bias, range(len(bias)), range(size)
        )
    }


def _streams(
    options: Mapping[str, Any], layout: Layout, languages: Mapping[str, str]
) -> dict[str, Any]:
    """Return the `stream` table of a recipe: one stream with the objective that the model was trained with.

    The dataset is named for the languages, such as `de-en` for translation and `en` for RoBERTa.
    """
    source, target = languages.get("encoder", ""), languages.get("decoder", "")
    objective, dataset = "translate", f"{source}-{target}"
    if layout.kind == "roberta":
        objective, dataset = "roberta", source
    elif layout.kind == "transformer_lm":
        objective, dataset = "gpt", target
    # A model that was fine-tuned maps text to text in the same language.
    elif (
        layout.kind == "mass_summarization"
        and options.get("task") != "translation_mass"
    ):
        objective, dataset = "mass", source
    elif layout.kind == "bart" and source == target:
        objective, dataset = "denoise", source
    return {
        f"{objective}-{dataset}": {"dataset": dataset, "objective": {"name": objective}}
    }

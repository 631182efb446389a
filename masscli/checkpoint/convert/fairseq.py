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

from masscli.checkpoint.convert.config_json import describe_problem
from masscli.checkpoint.convert.fairseq_layout import (
    Kind,
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
    PAD_ID,
    FairseqVocabulary,
    MaskPlace,
    read_bert_vocabulary,
    read_fairseq_vocabulary,
)
from masscli.checkpoint.convert.folder import read_flag
from masscli.checkpoint.convert.foreign import ForeignModel, ImportRequest, TensorTable
from masscli.checkpoint.convert.inert_objects import attributes
from masscli.checkpoint.convert.torch_file import StoredTensor
from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.presets import resolve

GENERATION = {
    "beam": 5,
    "lenpen": 1.0,
    "early_stop": True,
    "max_len_a": 0.0,
    "max_len_b": 200,
}
"""The default search of fairseq-generate, as fields of `GenerationConfig`."""
PRESETS: dict[Kind, str] = {
    "transformer": "base",
    "transformer_lm": "base",
    "roberta": "roberta-base",
    "bart": "base",
    "mass_translation": "base",
    "mass_summarization": "mass-base-uncased",
}
"""The preset (presets.toml) of each kind of model, for settings that neither options nor tensors
determine."""
HEADS = {
    "transformer": 8,
    "transformer_iwslt_de_en": 4,
    "transformer_wmt_en_de": 8,
    "transformer_vaswani_wmt_en_de_big": 16,
    "transformer_wmt_en_de_big": 16,
    "transformer_wmt_en_de_big_t2t": 16,
    "transformer_mass_base": 12,
    "transformer_mass_middle": 16,
    "transformer_mass_big": 16,
    "xtransformer": 8,
    "transformer_lm": 8,
    "transformer_lm_big": 16,
    "roberta_base": 12,
    "roberta_large": 16,
    "bart_base": 12,
    "bart_large": 16,
    "mbart_base": 12,
    "mbart_base_wmt20": 12,
    "mbart_large": 16,
    "denoising_base": 12,
    "denoising_large": 16,
}
"""Number of attention heads of fairseq's architectures, for files whose options do not give it."""
ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_accurate": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "swish": "swish",
}
"""masscli's names of activations by fairseq's; others are not supported."""
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
    config = _config(request, options, layout, stacks, vocabulary, table)
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


def _config(
    request: ImportRequest,
    options: Mapping[str, Any],
    layout: Layout,
    stacks: Mapping[str, FairseqStack],
    vocabulary: FairseqVocabulary,
    table: TensorTable,
) -> ModelConfig:
    """Return the configuration of the model.

    Sizes, shared weights, final norms and learned positions come from the tensors in `stacks`, other
    settings from fairseq's `options`, and the rest from the preset of the kind of model. RoBERTa's
    output weights are removed from `table`. Raises MasscliError if a setting is unknown or not
    supported.
    """
    first = next(iter(stacks.values()))
    # Older files lack options that were added later; the default is then the behavior at the time.
    has_gelu = layout.kind in ("roberta", "bart", "mass_summarization")
    activation = str(options.get("activation_fn") or ("gelu" if has_gelu else "relu"))
    if activation not in ACTIVATIONS:
        raise MasscliError(
            f"{request.path}: activation_fn is {activation}",
            f"supported are {', '.join(ACTIVATIONS)}",
        )
    is_lm_head = bool(layout.head)
    # In files without options, BART does not scale its embeddings, but mBART does.
    is_mbart = architecture(request, options).startswith("mbart")
    is_unscaled = is_lm_head or (layout.kind == "bart" and not is_mbart)
    values: dict[str, Any] = {
        "arch": PRESETS[layout.kind],
        "encoder_layers": 0,
        "decoder_layers": 0,
        "languages": "none",
        "dim": first.dim,
        "norm_eps": 1e-5,
        "activation": ACTIVATIONS[activation],
        "norm_embedding": first.has_embedding_norm,
        "scale_embedding": not read_flag(
            options, "no_scale_embedding", is_unscaled, request.path
        ),
        "output_bias": is_lm_head,
        "head_transform": is_lm_head,
        "segments": int(is_lm_head),
        "source_bos": layout.has_bos and "encoder" in stacks,
        "position_offset": _position_offset(layout, vocabulary),
        "dropout": options.get("dropout", 0.1),
        "attention_dropout": options.get("attention_dropout", 0.0),
        "activation_dropout": options.get(
            "activation_dropout", options.get("relu_dropout", 0.0)
        ),
    }
    values |= layout.tags.framing
    values |= _sharing(stacks, layout, table)
    values["final_norm"] = _final_norm(stacks)
    for name, stack in stacks.items():
        if (
            stack.dim != first.dim
            or stack.has_embedding_norm != first.has_embedding_norm
        ):
            raise MasscliError(
                f"{request.path}: encoder and decoder differ in width or in layernorm_embedding",
                "such models are not supported",
            )
        values[f"{name}_layers"] = stack.num_layers
        own = _stack_values(request, options, name, stack, values["position_offset"])
        if stack is first:
            values |= own
            continue
        # Decoder-only fields are set only where the decoder differs.
        for field, value in own.items():
            if value != values[field]:
                values[_decoder_field(field)] = value
    config = _resolve(request, next(iter(stacks)), values)
    # `auto` wherever it is equivalent, since exporters compare settings with those of other programs by
    # name.
    usual = replace(config, final_norm="auto")
    if all(
        usual.has_final_norm(name) == config.has_final_norm(name) for name in stacks
    ):
        return usual
    return config


def _resolve(
    request: ImportRequest, stack: str, values: Mapping[str, Any]
) -> ModelConfig:
    """Return the configuration with the given values by field; `stack` is the model's first stack.

    Raises MasscliError, which names fairseq's option, if a value is not possible.
    """
    try:
        return resolve(values)
    except ConfigError as error:
        keys = {
            "dim": f"{stack}_embed_dim",
            "heads": "--heads" if request.heads else f"{stack}_attention_heads",
            "decoder_heads": "decoder_attention_heads",
        }
        raise MasscliError(
            f"{request.path}: {describe_problem(error, keys)}",
            "its options and its weights do not match",
        ) from None


def _position_offset(layout: Layout, vocabulary: FairseqVocabulary) -> int:
    """Return the row of the first position in fairseq's table of positions: the row after padding's id."""
    if layout.kind == "mass_summarization":
        return vocabulary.tokenizer.vocab.pad + 1
    return PAD_ID + 1


def _final_norm(stacks: Mapping[str, FairseqStack]) -> str:
    """Return which stacks end with a layer norm: `encoder`, `decoder`, `both` or `none`."""
    names = [name for name, stack in stacks.items() if stack.has_final_norm]
    if len(names) == 2:
        return "both"
    if names:
        return names[0]
    return "none"


def _decoder_field(field: str) -> str:
    if field == "positions":
        return "decoder_position_type"
    return f"decoder_{field}"


def _stack_values(
    request: ImportRequest,
    options: Mapping[str, Any],
    name: str,
    stack: FairseqStack,
    offset: int,
) -> dict[str, Any]:
    """Return the fields of `ModelConfig` that may differ between stacks, for the stack `name`.

    They are ffn_dim, heads, norm, positions and max_positions. `offset` is the number of rows in a table of
    positions before the first position. Raises MasscliError if neither the request, the options nor the name
    of the architecture gives the number of attention heads.
    """
    heads = request.heads or options.get(f"{name}_attention_heads")
    heads = heads or HEADS.get(architecture(request, options))
    if not isinstance(heads, int):
        raise MasscliError(
            f"{request.path}: does not give its number of attention heads",
            f"give --heads, or --arch: {', '.join(HEADS)}",
        )
    is_pre_norm = stack.has_final_norm
    if stack.heeds_norm_option:
        option = f"{name}_normalize_before"
        is_pre_norm = read_flag(options, option, stack.has_final_norm, request.path)
    # For language models and RoBERTa, the option for the length of texts is tokens_per_sample.
    side = {"encoder": "source", "decoder": "target"}[name]
    max_positions = (
        options.get(f"max_{side}_positions") or options.get("tokens_per_sample") or 1024
    )
    positions = "sinusoidal"
    if stack.position_rows:
        positions, max_positions = "learned", stack.position_rows - offset
    elif read_flag(options, "no_token_positional_embeddings", False, request.path):
        positions = "none"
    return {
        "ffn_dim": stack.ffn_dim,
        "heads": heads,
        "norm": "pre" if is_pre_norm else "post",
        "positions": positions,
        "max_positions": max_positions,
    }


def _sharing(
    stacks: Mapping[str, FairseqStack], layout: Layout, table: TensorTable
) -> dict[str, Any]:
    """Return the fields `embeddings` and `tie_output` of `ModelConfig`, found by comparing the weights.

    RoBERTa's output weights are taken from `table` and set as `output` of its stack.
    """
    tables = [stack.embedding for stack in stacks.values()]
    last = list(stacks.values())[-1]
    if layout.head and f"{layout.head}weight" in table:
        last.output = table.take(f"{layout.head}weight")
    # Equal tables are equivalent to a shared one, whatever the options say.
    is_joined = len(tables) < 2 or _same(tables[0], tables[1])
    return {
        "embeddings": "tied" if is_joined else "separate",
        "tie_output": last.output is None or _same(last.output, last.embedding),
    }


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool((first == second).all())


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

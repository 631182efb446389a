"""Find out which fairseq model a file holds, and which prefix the tensor names of each stack have.

Both are inferred from tensor names and the file's options. Tensors of older versions are first renamed
as in fairseq 0.12.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from masscli.checkpoint.convert.fairseq_tags import (
    LanguageTags,
    find_tags,
    is_mbart_task,
    refuse_tags_of_prompts,
)
from masscli.checkpoint.convert.foreign import ImportRequest, TensorTable
from masscli.checkpoint.convert.published import add_unique, without_wrapper
from masscli.core.errors import MasscliError

Kind = Literal[
    "transformer",
    "transformer_lm",
    "roberta",
    "bart",
    "mass_translation",
    "mass_summarization",
]
BART_NAMES = ("bart", "mbart", "denoising")
"""Prefixes of fairseq's names for the architectures of BART."""
_POSITION_BUFFERS = ("embed_positions._float_tensor", "embed_positions.weights")
"""Ends of the names of buffers for sinusoidal positions; masscli computes these and does not import them."""


@dataclass(frozen=True)
class Layout:
    """The kind of a fairseq model, and where its tensors are found."""

    kind: Kind
    prefixes: Mapping[str, str]
    """Prefix of the tensor names of each stack (`encoder`, `decoder`) that the model has."""
    head: str = ""
    """Prefix of the tensor names of RoBERTa's LM head; empty for other models."""
    has_bos: bool = False
    """Whether sources begin with `<s>`, and with them the outputs of a decoder."""
    tags: LanguageTags = field(default_factory=LanguageTags)
    """The language tags that the model's task puts around texts."""


def todays_names(weights: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the tensors under the names that they have in fairseq 0.12.

    Buffers of sinusoidal positions are left out, as are the untrained copies of encoder weights that
    fairseq 0.12 saves. Raises MasscliError, which names `path`, if two tensors would have the same
    name.
    """
    renamed: dict[str, Any] = {}
    plain = without_wrapper(weights, path)
    # Programs that wrap fairseq keep the model as one of their attributes.
    if plain and all(name.startswith("model.") for name in plain):
        plain = {name.removeprefix("model."): tensor for name, tensor in plain.items()}
    for old_name, tensor in plain.items():
        if _is_stale_copy(old_name, plain) or old_name.endswith(_POSITION_BUFFERS):
            continue
        # The norm of embeddings as named by RoBERTa and by MASS.
        name = old_name.replace(".emb_layer_norm.", ".layernorm_embedding.")
        # Before 2018 the norms of a layer were a list.
        is_encoder = name.startswith("encoder")
        norms = ["self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"]
        if is_encoder:
            norms.remove("encoder_attn_layer_norm")
        for number, norm in enumerate(norms):
            name = name.replace(f".layer_norms.{number}.", f".{norm}.")
        add_unique(renamed, name, tensor, path)
    return renamed


def _is_stale_copy(name: str, weights: Mapping[str, Any]) -> bool:
    """Return whether a tensor is an untrained copy of encoder weights, made before training.

    fairseq 0.12 saves such copies under names such as `encoder.layers.0.fc1_weight`, in addition to
    `encoder.layers.0.fc1.weight`.
    """
    match = re.fullmatch(
        r"(.*encoder\.(?:.*\.)?layers\.\d+\.)(in_proj|out_proj|fc1|fc2)_(weight|bias)",
        name,
    )
    # If the file has no other tensor of this kind, it would be the real one.
    return match is not None and f"{match[1]}fc1.{match[3]}" in weights


def architecture(request: ImportRequest, options: Mapping[str, Any]) -> str:
    """Return fairseq's name of the architecture, from --arch or else the file's options; "" if unknown."""
    return str(request.arch or options.get("arch") or options.get("_name") or "")


def find_layout(
    request: ImportRequest, options: Mapping[str, Any], table: TensorTable
) -> tuple[Layout, list[str]]:
    """Return the layout of the model in `table`, and notes about tensors that are not imported.

    Those tensors, heads of downstream tasks and stacks of other languages, are dropped from `table`. Raises
    MasscliError if the model is of no known kind, or if languages that its kind needs are not given.
    """
    # With FSDP, parameters are flattened vectors, and each file holds a shard of them.
    if any("flat_param" in name for name in table.names()):
        raise MasscliError(
            f"{request.path}: holds a part of each weight (--use-sharded-state)",
            "save the model as a whole, which fairseq-train does without that flag",
        )
    notes = _drop_heads(table)
    # In early files RoBERTa's encoder is called `decoder`.
    for stack in ("encoder", "decoder"):
        if f"{stack}.sentence_encoder.embed_tokens.weight" in table:
            prefixes = {"encoder": f"{stack}.sentence_encoder."}
            if f"{stack}.lm_head.dense.weight" not in table:
                raise _no_transformer(request, options, "no LM head of RoBERTa")
            return Layout("roberta", prefixes, f"{stack}.lm_head.", has_bos=True), notes
    # MASS for translation has stacks by language, such as `encoders.en`.
    if any(name.startswith("encoders.") for name in table.names()):
        layout, left_behind = _mass_translation(request, options, table)
        return layout, notes + left_behind
    model, left_behind = _choose_direction(request, options, table)
    notes += left_behind
    prefixes = {"encoder": f"{model}encoder.", "decoder": f"{model}decoder."}
    if not _has_attention(table, prefixes["decoder"]):
        raise _no_transformer(request, options, "no decoder of a Transformer")
    if not table.count_layers(f"{prefixes['encoder']}layers."):
        refuse_tags_of_prompts(request, options)
        # What the task language_modeling puts before a prompt.
        has_bos = bool(options.get("add_bos_token"))
        prefixes.pop("encoder")
        return Layout("transformer_lm", prefixes, has_bos=has_bos), notes
    return _encoder_decoder(request, options, table, prefixes), notes


def _no_transformer(
    request: ImportRequest, options: Mapping[str, Any], holds: str
) -> MasscliError:
    """Return the error for an unsupported kind of model; `holds` names what the file does not hold."""
    name = architecture(request, options) or "unknown"
    return MasscliError(
        f"{request.path}: holds {holds} (architecture: {name})",
        "supported are transformer, transformer_lm, roberta, bart, and the models of MASS",
    )


def _encoder_decoder(
    request: ImportRequest,
    options: Mapping[str, Any],
    table: TensorTable,
    prefixes: Mapping[str, str],
) -> Layout:
    """Return the layout of a model with both stacks, whose tensor names begin with `prefixes`.

    Raises MasscliError if its texts have language tags, but neither -s and -t nor the file's options
    name two of these languages.
    """
    tags = find_tags(request, options)
    languages = source_and_target(request, options)
    if tags.framing or tags.forces_target:
        tags.require(request.path, languages)
    if is_bart(request, options):
        # The task translation adds no start symbol; BART's other tasks and its Python interface do.
        has_bos = request.bos or (None in languages and not tags.framing)
        return Layout("bart", prefixes, has_bos=has_bos, tags=tags)
    if _is_mass_summarization(request, options, table):
        return Layout("mass_summarization", prefixes)
    return Layout("transformer", prefixes, tags=tags)


def _has_attention(table: TensorTable, prefix: str) -> bool:
    """Return whether `table` has self-attention in a layer of the stack whose names begin with `prefix`.

    Stacks of recurrent and convolutional models also have layers.
    """
    return any(
        name.startswith(f"{prefix}layers.") and ".self_attn." in name
        for name in table.names()
    )


def is_bart(request: ImportRequest, options: Mapping[str, Any]) -> bool:
    """Return whether a file holds BART or mBART, going by the name of its architecture or its task.

    The released files have the architecture `bart_large`, or an older name that does not tell.
    """
    is_of_task = options.get("task") == "denoising" or is_mbart_task(options)
    return is_of_task or architecture(request, options).startswith(BART_NAMES)


def source_and_target(
    request: ImportRequest, options: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    """Return the languages of source and target, from -s and -t or else from the file's options.

    One that neither of them names is None.
    """
    languages = []
    for given, key in (
        (request.source, "source_lang"),
        (request.target, "target_lang"),
    ):
        language = given or options.get(key)
        languages.append(language if isinstance(language, str) else None)
    return languages[0], languages[1]


def _is_mass_summarization(
    request: ImportRequest, options: Mapping[str, Any], table: TensorTable
) -> bool:
    """Return whether a model with both stacks is MASS for summarization.

    The name of its architecture decides or, if neither --arch nor the options give one, its tensors.
    """
    if architecture(request, options):
        return architecture(request, options).startswith("transformer_mass")
    # Among models without options, it is the only one with this norm and fused projections.
    is_fused = "encoder.layers.0.self_attn.in_proj_weight" in table
    return is_fused and "encoder.layernorm_embedding.weight" in table


def _mass_translation(
    request: ImportRequest, options: Mapping[str, Any], table: TensorTable
) -> tuple[Layout, list[str]]:
    """Return the layout of MASS for translation in one direction, and notes about what is not imported.

    Such a model has an encoder and a decoder for each language; those of other languages are dropped
    from `table`. If there is only one of each, as after fine-tuning, its language need not be named.
    Raises MasscliError unless -s and -t, or the file's options, name a source and a target among its
    languages.
    """
    source, target = source_and_target(request, options)
    sources = _languages_of(table, "encoders.")
    targets = _languages_of(table, "decoders.")
    if source is None and len(sources) == 1:
        source = sources[0]
    if target is None and len(targets) == 1:
        target = targets[0]
    if source not in sources or target not in targets:
        raise MasscliError(
            f"{request.path}: has encoders of {', '.join(sources)} and decoders of {', '.join(targets)}",
            "choose with -s and -t",
        )
    prefixes = {"encoder": f"encoders.{source}.", "decoder": f"decoders.{target}."}
    notes = _keep(table, tuple(prefixes.values()))
    return Layout("mass_translation", prefixes), notes


def _languages_of(table: TensorTable, prefix: str) -> list[str]:
    """Return the languages that follow `prefix` in the names of tensors, in sorted order."""
    names = [name for name in table.names() if name.startswith(prefix)]
    return sorted({name.split(".")[1] for name in names})


def _choose_direction(
    request: ImportRequest, options: Mapping[str, Any], table: TensorTable
) -> tuple[str, list[str]]:
    """Return the prefix of one direction's tensor names, and notes about what is not imported.

    multilingual_transformer has a model for each direction, under prefixes such as `models.en-de.`; the
    models of other directions are dropped from `table`. For other architectures the prefix is "".
    Raises MasscliError unless -s and -t, or the file's options, name one of the directions.
    """
    of_directions = [name for name in table.names() if name.startswith("models.")]
    if not of_directions:
        return "", []
    known = sorted({name.split(".")[1] for name in of_directions})
    source, target = source_and_target(request, options)
    if f"{source}-{target}" not in known:
        raise MasscliError(
            f"{request.path}: has models of {', '.join(known)}", "choose with -s and -t"
        )
    prefix = f"models.{source}-{target}."
    return prefix, _keep(table, (prefix,))


def _keep(table: TensorTable, prefixes: tuple[str, ...]) -> list[str]:
    """Drop all tensors from `table` whose names begin with none of `prefixes`.

    Returns a list with a note that lists them by the first two parts of their names, or an empty list.
    """
    left_behind = [name for name in table.names() if not name.startswith(prefixes)]
    for name in left_behind:
        table.drop(name)
    others = sorted({".".join(name.split(".")[:2]) for name in left_behind})
    return [f"left behind: {', '.join(others)}"] if others else []


def _drop_heads(table: TensorTable) -> list[str]:
    """Drop classification heads from `table`; return notes that name them and say why, or an empty list."""
    heads = [name for name in table.names() if name.startswith("classification_heads.")]
    for name in heads:
        table.drop(name)
    if not heads:
        return []
    return [
        "the head of its task is not imported: the file does not name its labels",
        f"left behind: {', '.join(sorted(heads))}",
    ]

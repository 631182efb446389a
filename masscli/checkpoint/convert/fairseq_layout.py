"""Which model of fairseq some tensors are of, and where in them its stacks are.

Files of all versions are brought to the names of fairseq 0.12 first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from masscli.checkpoint.convert.foreign import ImportRequest, TensorTable
from masscli.core.errors import MasscliError

Kind = Literal["transformer", "transformer_lm", "roberta", "mass_translation", "mass_summarization"]
_POSITION_BUFFERS = ("embed_positions._float_tensor", "embed_positions.weights")
"""What files hold of sinusoidal positions, which are computed."""


@dataclass(frozen=True)
class Layout:
    """Where the tensors of a model are."""

    kind: Kind
    prefixes: Mapping[str, str]
    """How the names of a stack's tensors begin."""
    head: str = ""
    """How the names of RoBERTa's output layer begin."""


def todays_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors under the names of fairseq 0.12, without buffers and stale copies."""
    renamed = {}
    for old_name, tensor in weights.items():
        name = str(old_name).removeprefix("module.")
        if _is_stale_copy(name, weights) or name.endswith(_POSITION_BUFFERS):
            continue
        name = name.replace(".emb_layer_norm.", ".layernorm_embedding.")
        # Before 2018 the norms of a layer were a list.
        is_encoder = name.startswith("encoder")
        norms = ["self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"]
        if is_encoder:
            norms.remove("encoder_attn_layer_norm")
        for number, norm in enumerate(norms):
            name = name.replace(f".layer_norms.{number}.", f".{norm}.")
        renamed[name] = tensor
    return renamed


def _is_stale_copy(name: str, weights: Mapping[str, Any]) -> bool:
    """Return whether a tensor is what fairseq 0.12 keeps beside the real ones, from before the training."""
    match = re.fullmatch(r"(.*encoder\.(?:.*\.)?layers\.\d+\.)(in_proj|out_proj|fc1|fc2)_(weight|bias)", name)
    # In a file that has nothing else, it would be the real one.
    return match is not None and f"{match[1]}fc1.{match[3]}" in weights


def architecture(request: ImportRequest, options: Mapping[str, Any]) -> str:
    """Return the name of the architecture: by --arch, or by the options of the file, or an empty one."""
    return str(request.arch or options.get("arch") or options.get("_name") or "")


def find_layout(
    request: ImportRequest, options: Mapping[str, Any], table: TensorTable
) -> tuple[Layout, list[str]]:
    """Return which model the tensors are of, and notes about those that are left behind.

    Raises MasscliError if they are of none that is known.
    """
    notes = _drop_heads(table)
    # RoBERTa stood under `decoder` at first.
    for stack in ("encoder", "decoder"):
        if f"{stack}.sentence_encoder.embed_tokens.weight" in table:
            prefixes = {"encoder": f"{stack}.sentence_encoder."}
            return Layout("roberta", prefixes, f"{stack}.lm_head."), notes
    if any(name.startswith("encoders.") for name in table.names()):
        layout, left_behind = _mass_translation(request, options, table)
        return layout, notes + left_behind
    if not table.count_layers("decoder.layers."):
        raise MasscliError(f"{request.path}: holds no decoder", "expected a transformer of fairseq")
    if not table.count_layers("encoder.layers."):
        return Layout("transformer_lm", {"decoder": "decoder."}), notes
    kind: Kind = "transformer"
    if _is_mass_summarization(request, options, table):
        kind = "mass_summarization"
    return Layout(kind, {"encoder": "encoder.", "decoder": "decoder."}), notes


def _is_mass_summarization(request: ImportRequest, options: Mapping[str, Any], table: TensorTable) -> bool:
    """Return whether a transformer is that of MASS for summarization."""
    if architecture(request, options):
        return architecture(request, options).startswith("transformer_mass")
    # Of models without options, it alone has this norm with fused projections.
    is_fused = "encoder.layers.0.self_attn.in_proj_weight" in table
    return is_fused and "encoder.layernorm_embedding.weight" in table


def _mass_translation(
    request: ImportRequest, options: Mapping[str, Any], table: TensorTable
) -> tuple[Layout, list[str]]:
    """Return the layout of one direction: MASS has an encoder and a decoder for each language."""
    source = request.source or options.get("source_lang")
    target = request.target or options.get("target_lang")
    known = sorted({name.split(".")[1] for name in table.names() if name.startswith("encoders.")})
    if source not in known or f"decoders.{target}.embed_tokens.weight" not in table:
        raise MasscliError(
            f"{request.path}: has encoders and decoders of {', '.join(known)}", "choose with -s and -t"
        )
    prefixes = {"encoder": f"encoders.{source}.", "decoder": f"decoders.{target}."}
    left_behind = [name for name in table.names() if not name.startswith(tuple(prefixes.values()))]
    for name in left_behind:
        table.drop(name)
    others = sorted({".".join(name.split(".")[:2]) for name in left_behind})
    notes = [f"left behind: {', '.join(others)}"] if others else []
    return Layout("mass_translation", prefixes), notes


def _drop_heads(table: TensorTable) -> list[str]:
    """Leave out the heads of tasks, and return a note about them."""
    heads = [name for name in table.names() if name.startswith("classification_heads.")]
    for name in heads:
        table.drop(name)
    return [f"left behind: {', '.join(sorted(heads))}"] if heads else []

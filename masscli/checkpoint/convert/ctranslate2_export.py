"""Convert a translation model into a folder that CTranslate2 can load.

The folder is for one direction and holds model.bin, config.json and the vocabulary: a list of tokens,
or one list each for source and target. A token's index in the list is its id in masscli, or, if there
are two lists, its index in the vocabulary of its language. The package `ctranslate2` comes with the
extra `ct2`. This module fills in the package's model specification (`TransformerSpec`), and the package
writes the files.

Shapes: V vocabulary size, D model width.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.attribution import notice_file
from masscli.checkpoint.convert.one_direction import (
    DirectedModel,
    fold_direction,
    output_layer,
)
from masscli.checkpoint.convert.token_names import token_names
from masscli.checkpoint.saving import require_empty_folder
from masscli.core.atomic_files import fsync_path, new_folder, write_synced
from masscli.core.errors import MasscliError, cannot_be_written
from masscli.generation.shortlist_file import read_shortlist
from masscli.models.config import ModelConfig
from masscli.text.vocabulary import Vocabulary

Quantization = Literal["fp32", "fp16", "int8"]
NEVER = -1e4
"""Output bias of special tokens other than the end symbol and the unknown piece in exported folders, so low
that they are never generated."""

_QUANTIZATIONS = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
_ACTIVATIONS = {
    "relu": "RELU",
    "gelu": "GELU",
    "gelu_tanh": "GELUTanh",
    "swish": "SWISH",
}


def import_ctranslate2() -> Any:
    """Return the module `ctranslate2`. Raises MasscliError if the package is not installed."""
    try:
        import ctranslate2
    except ImportError:
        raise MasscliError(
            "CTranslate2 is not installed", "install it: pip install 'masscli[ct2]'"
        ) from None
    return ctranslate2


def export_ctranslate2(
    checkpoint: Checkpoint,
    source: str,
    target: str,
    output: Path,
    quantization: Quantization,
    shortlist: Path | None = None,
) -> list[str]:
    """Convert the model of a checkpoint for one direction into the folder `output`.

    `shortlist` is a file of candidates, which is copied to vmap.txt. Returns notes for the user, among them
    how to call CTranslate2. Raises MasscliError if CTranslate2 is not installed or cannot compute the model
    (the message names the setting), if the shortlist is damaged or for another vocabulary or direction, or if
    the folder is not empty or cannot be written.
    """
    ctranslate2 = import_ctranslate2()
    require_empty_folder(output)
    directed = fold_direction(checkpoint, source, target)
    tokenizer = checkpoint.tokenizer()
    names = token_names(tokenizer)
    if shortlist is not None:
        # CTranslate2 silently replaces pieces that it does not know with the unknown piece.
        read = read_shortlist(shortlist, names, tokenizer.vocab.id_ranges)
        read.require_direction(source, target)
    try:
        with new_folder(output) as folder:
            convert_directed(
                ctranslate2,
                directed,
                names,
                tokenizer.vocab,
                folder,
                quantization,
                stands_alone=True,
                shortlist=shortlist,
            )
            for name, content in notice_file(checkpoint.state.attribution).items():
                write_synced(folder / name, content)
    except OSError as error:
        raise cannot_be_written(
            f"--output {output}", error, "choose another folder"
        ) from None
    # Two equal sizes usually mean a single vocabulary, and are given once.
    sizes = dict.fromkeys((len(directed.source_ids), len(directed.target_ids)))
    tokens = " and ".join(f"{size:,}" for size in sizes)
    notes = [f"CTranslate2, {source} to {target}, {quantization}: {tokens} tokens"]
    notes.append(
        "give sources as pieces, with max_input_length=0, else long ones are truncated to 1,024"
    )
    if shortlist is not None:
        notes.append(
            "translate with use_vmap=True; the candidates of a batch are those of all its lines"
        )
    if len(directed.source_suffix) > 1:
        around = " ".join(names[number] for number in directed.source_suffix)
        notes.append(f"end every source with {around}")
    if directed.forced_tokens:
        forced = [names[number] for number in directed.forced_tokens]
        notes.append(f"begin every output with target_prefix {forced}")
    return notes


def convert_directed(
    ctranslate2: Any,
    directed: DirectedModel,
    names: list[str],
    vocab: Vocabulary,
    folder: Path,
    quantization: Quantization,
    stands_alone: bool,
    shortlist: Path | None = None,
) -> None:
    """Write CTranslate2's files for a model into the existing folder `folder`.

    `ctranslate2` is the imported package, and `names` are the token strings by id. A standalone folder
    is for callers that know nothing of masscli: a bias keeps special tokens out of outputs, and
    CTranslate2 adds the special tokens around a source itself if only one follows it. Otherwise the
    caller does both. `shortlist` is a file of candidates to be copied to vmap.txt, if any. Raises
    MasscliError if CTranslate2 cannot compute the model.
    """
    spec = _specification(ctranslate2.specs, directed)
    _fill_stack(spec.encoder, "encoder", directed)
    _fill_stack(spec.decoder, "decoder", directed)
    # masscli itself suppresses these tokens in each call, and does not need the bias.
    never = vocab.special_ids - {vocab.eos, vocab.unk} if stands_alone else frozenset()
    _fill_output(spec.decoder.projection, directed, never)
    spec.register_source_vocabulary([names[number] for number in directed.source_ids])
    spec.register_target_vocabulary([names[number] for number in directed.target_ids])
    spec.config.layer_norm_epsilon = directed.config.norm_eps
    spec.config.unk_token = names[vocab.unk]
    spec.config.eos_token = names[vocab.eos]
    spec.config.bos_token = names[vocab.bos]
    spec.config.decoder_start_token = names[directed.target_start]
    if stands_alone and len(directed.source_suffix) == 1:
        spec.config.add_source_eos = True
        if directed.source_prefix:
            # This token starts nothing else, so it may be a tag.
            spec.config.add_source_bos = True
            spec.config.bos_token = names[directed.source_prefix[0]]
    if shortlist is not None:
        spec.register_vocabulary_mapping(str(shortlist))
    spec.validate()
    spec.optimize(quantization=_QUANTIZATIONS[quantization])
    spec.save(str(folder))
    # The package does not flush its files to disk.
    for path in folder.iterdir():
        fsync_path(path)


def _specification(specs: Any, directed: DirectedModel) -> Any:
    """Return a `TransformerSpec` of the model's shape, without weights; `specs` is `ctranslate2.specs`.

    Raises MasscliError for a post-norm stack that ends with a layer norm, which CTranslate2 lacks.
    """
    config = directed.config
    # TransformerSpec.from_config would give both stacks the same number of heads and the same placement
    # of norms.
    parts = []
    for stack, kind in (
        ("encoder", specs.TransformerEncoderSpec),
        ("decoder", specs.TransformerDecoderSpec),
    ):
        own = config.for_stack(stack)
        if own.norm == "post" and config.has_final_norm(stack):
            raise MasscliError(
                f"final_norm is {config.final_norm}: CTranslate2 has no norm after a post-norm {stack}",
                "export with --to safetensors",
            )
        part = kind(
            _layer_count(config, stack),
            own.heads,
            pre_norm=own.norm == "pre",
            no_final_norm=not config.has_final_norm(stack),
            activation=specs.Activation[_ACTIVATIONS[config.activation]],
            layernorm_embedding=config.norm_embedding,
        )
        part.scale_embeddings = 1.0
        if config.scale_embedding:
            part.scale_embeddings = math.sqrt(config.dim)
        parts.append(part)
    return specs.TransformerSpec(*parts)


def _layer_count(config: ModelConfig, stack: str) -> int:
    if stack == "encoder":
        return config.encoder_layers
    return config.decoder_layers


def _fill_stack(spec: Any, stack: str, directed: DirectedModel) -> None:
    """Copy the embeddings, layers and norms of `stack` (encoder or decoder) into its specification `spec`."""
    tensors = directed.tensors
    owners = directed.config.embedding_owners
    owner = stack if stack in owners else owners[0]
    embeddings = spec.embeddings
    # CTranslate2's encoder has a list of embeddings, since it can read several factors of a token.
    if isinstance(embeddings, list):
        [embeddings] = embeddings
    embeddings.weight = _array(tensors[f"token_embeddings.{owner}"])
    # CTranslate2 counts positions from 0, without unused rows before the first.
    positions = tensors[f"embeddings.{stack}.positions.weight"]
    spec.position_encodings.encodings = _array(
        positions[directed.config.position_offset :]
    )
    if directed.config.norm_embedding:
        _fill_norm(spec.layernorm_embedding, tensors, f"embeddings.{stack}.norm")
    if directed.config.has_final_norm(stack):
        _fill_norm(spec.layer_norm, tensors, f"{stack}.norm")
    for number, layer in enumerate(spec.layer):
        name = f"{stack}.layers.{number}"
        _fill_linear(
            layer.self_attention.linear[0], tensors, f"{name}.self_attention.qkv"
        )
        _fill_linear(
            layer.self_attention.linear[1], tensors, f"{name}.self_attention.out"
        )
        _fill_norm(layer.self_attention.layer_norm, tensors, f"{name}.self_norm")
        if stack == "decoder":
            _fill_linear(
                layer.attention.linear[0], tensors, f"{name}.cross_attention.q"
            )
            _fill_linear(
                layer.attention.linear[1], tensors, f"{name}.cross_attention.kv"
            )
            _fill_linear(
                layer.attention.linear[2], tensors, f"{name}.cross_attention.out.shared"
            )
            _fill_norm(layer.attention.layer_norm, tensors, f"{name}.cross_norm")
        _fill_linear(layer.ffn.linear_0, tensors, f"{name}.fc1")
        _fill_linear(layer.ffn.linear_1, tensors, f"{name}.fc2")
        _fill_norm(layer.ffn.layer_norm, tensors, f"{name}.ffn_norm")


def _fill_output(spec: Any, directed: DirectedModel, never: Collection[int]) -> None:
    """Copy the output layer into its specification `spec`.

    The bias of the ids in `never` is set to NEVER, so that they are not generated.
    """
    weight, bias = output_layer(directed)
    if bias is None:
        bias = torch.zeros(len(weight))
    # The bias may be the checkpoint's own tensor, which must not be changed.
    bias = bias.clone()
    for row, number in enumerate(directed.target_ids):
        if number in never:
            bias[row] = NEVER
    spec.weight = _array(weight)
    spec.bias = _array(bias)


def _fill_linear(spec: Any, tensors: Mapping[str, Tensor], name: str) -> None:
    spec.weight = _array(tensors[f"{name}.weight"])
    spec.bias = _array(tensors[f"{name}.bias"])


def _fill_norm(spec: Any, tensors: Mapping[str, Tensor], name: str) -> None:
    spec.gamma = _array(tensors[f"{name}.weight"])
    spec.beta = _array(tensors[f"{name}.bias"])


def _array(tensor: Tensor) -> Any:
    """Return a NumPy copy of a tensor, since CTranslate2 changes arrays of its specification in place."""
    return tensor.detach().contiguous().numpy().copy()

"""Random translators of odd shapes, with the vocabulary of the toy language."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masscli.checkpoint import saving
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.run_state import RunState
from masscli.core.config import from_dict, to_dict
from masscli.data.batches.batch import Tokens
from masscli.data.storage.data_folder import DataFolder
from masscli.models.presets import resolve
from masscli.models.transformer import Transformer
from masscli.training.recipe import Recipe

SIZES: dict[str, Any] = {
    "arch": "tiny",
    "dim": 16,
    "ffn_dim": 24,
    "heads": 2,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "max_positions": 40,
}
SHAPES: dict[str, dict[str, Any]] = {
    "default": {"languages": "embedding"},
    "tag": {"languages": "tag", "output_bias": True},
    "learned": {"positions": "learned", "embeddings": "separate", "output_bias": True, "source_bos": True, "activation": "gelu"},
    "shared": {"share_layers": "all", "languages": "embedding", "cross_output": "language", "activation": "gelu_tanh", "scale_embedding": False},
    "untied": {"tie_output": False, "segments": 2, "position_offset": 1},
    "bart": {"norm": "post", "norm_embedding": True, "positions": "learned", "languages": "embedding", "decoder_heads": 4,
             "decoder_ffn_dim": 20, "activation": "swish"},
    "mbart": {"norm": "pre", "norm_embedding": True, "languages": "tag", "source_tag": "last", "position_offset": 2, "positions": "learned"},
    "m2m_100": {"position_offset": 1, "languages": "tag", "target_tag": "forced"},
    "fsmt": {"norm": "post", "position_offset": 1},
    "marian": {"norm": "post", "sinusoids": "marian", "output_bias": True},
    "post": {"norm": "post", "languages": "embedding"},
    "xlm": {"norm": "post", "norm_embedding": True, "norm_eps": 1e-12, "positions": "learned"},
}  # fmt: skip
"""Variants of the model by name."""
WITHOUT_COUNTERPART = ("post", "xlm")
"""Those that Hugging Face's library has no model for."""


def random_translator(name: str, toy: Path, output: Path, **changes: Any) -> Checkpoint:
    """Write the checkpoint of a translator from en to de with random weights, and open it."""
    model = resolve({**SIZES, "languages": "none", **SHAPES[name], **changes})
    data = DataFolder.open(toy)
    languages = ("en", "de") if model.languages == "embedding" else ()
    torch.manual_seed(1)
    weights = {}
    for key, like in (
        Transformer(model, data.vocab.size, languages).state_dict().items()
    ):
        scale = 0.1
        if like.dim() > 1:
            # Strong layers, so that outputs depend on the source and do not repeat one piece.
            scale = 1.0 if ".layers." in key else 0.2
        weights[key] = scale * torch.randn_like(like)
        if "norm" in key and key.endswith("weight"):
            weights[key] += 1.0
    _let_outputs_end(weights, model.has_final_norm("decoder"), data.vocab.eos)
    stream = {"pairs": {"dataset": "en-de", "objective": {"name": "translate"}}}
    recipe = from_dict(
        Recipe, {"data": str(toy), "model": to_dict(model), "stream": stream}
    )
    state = RunState(languages=languages)
    return Checkpoint.open(
        saving.save_checkpoint(output, recipe, state, data.tokenizer(), model=weights)
    )


def _let_outputs_end(
    weights: dict[str, Tensor], has_final_norm: bool, eos: int
) -> None:
    """Make the end symbol likely in every step: programs differ in what they do at the length limit."""
    last_norm = (
        "decoder.norm.bias"
        if has_final_norm
        else max(
            key
            for key in weights
            if key.startswith("decoder.") and key.endswith("ffn_norm.bias")
        )
    )
    weights[last_norm] = torch.nn.functional.normalize(
        torch.randn_like(weights[last_norm]), dim=0
    )
    for key in weights:
        if key.startswith(("token_embeddings.", "output_weights.")):
            weights[key][eos] = 3 * weights[last_norm]


def framed_pair(run: Checkpoint) -> tuple[Tensor, Tensor]:
    """Return an encoder's input (1, L) and a decoder's input and last label (1, T) with their special tokens."""
    framing = run.framing()
    ordinary = run.tokenizer().vocab.ordinary_ids
    source = framing.encoder_input(ordinary[[3, 30, 4, 17, 20]], "en")
    target = framing.with_special_tokens(ordinary[[9, 21, 8, 40]], "de")
    return torch.from_numpy(np.asarray(source))[None], torch.from_numpy(
        np.asarray(target)
    )[None]


def logits_of(run: Checkpoint, source: Tensor, target: Tensor) -> Tensor:
    """Return what masscli computes for framed ids: the logits (1, T, V)."""
    model, framing = run.model(), run.framing()
    encoder_input = Tokens(
        source,
        torch.tensor([source.shape[1]]),
        language=framing.language_tensor("en", 1),
    )
    decoder_input = Tokens(
        target,
        torch.tensor([target.shape[1]]),
        language=framing.language_tensor("de", 1),
    )
    with torch.no_grad():
        return model.logits(model.decode(decoder_input, model.encode(encoder_input)))

"""Decoding with a model of one stack: read the source once, then write token by token after it.

    decoder   [start], prompt | y_1 ...             each token predicts the next one
    encoder   [CLS] source [SEP] | y_1 ... [M]      the state of an appended [M] predicts the next token

The keys and values of the source take the first slots of the cache, which all rows of a sentence share; every
row's own output follows in slots of its own (see masscli/models/cache.py). A decoder reads and writes
causally. An encoder reads the source in both directions; its output attends to the source and to the output
so far. That is UniLMv2's rule for a source of step 0 and a target of steps 1, 2, ... (Bao et al. 2020,
section 3), as its released fine-tuning code, s2s-ft, decodes.

Shapes: S sentences, W rows (beams) each, N = S * W, L source tokens, D model width, V vocabulary size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from masscli.data.batches.batch import Ids, Tokens, pad
from masscli.data.batches.framing import Framing
from masscli.generation.stepper import CachedStepper
from masscli.models.cache import Cache, LayerCache
from masscli.models.masks import causal_mask, self_attention_mask
from masscli.models.output_subset import Candidates
from masscli.models.stack import Stack
from masscli.models.transformer import Transformer


def extract_stack(
    model: Transformer, stack: Literal["encoder", "decoder"]
) -> Transformer:
    """Return a model that has only this stack of `model`, whose weights it shares.

    `model` itself keeps both stacks. This is for an encoder and a decoder of which one was not trained to
    work with the other.
    """
    # A shallow copy has a dictionary of modules of its own, so that the model keeps both of its stacks.
    single = copy.copy(model)
    single._modules = dict(model._modules)
    single._modules["decoder" if stack == "encoder" else "encoder"] = None
    return single


def forward_with_cache(
    model: Transformer, source: Tokens, width: int
) -> tuple[Tensor, Cache]:
    """Read S sources with the only stack of a model, and cache their keys and values.

    Return the state (S, D) of the last token of each source, and a cache for decoding `width` rows (beams)
    per source.
    """
    name, stack = _single_stack(model)
    batch_size, length = source.ids.shape
    mask = self_attention_mask(source) if name == "encoder" else causal_mask(source)
    if model.relative is not None and name == "encoder":
        mask = model.relative.add_to(mask, source)
    x_SLD = model.inputs(source, name)
    cache_dtype = model.cache_dtype(x_SLD.device)
    layer_caches = []
    for attention_layer, ffn_layer in stack.layer_halves:
        x_SLD, (keys, values) = attention_layer.attention_block_with_cache(x_SLD, mask)
        # Views of the projection would keep it in memory as a whole, queries included.
        layer_caches.append(
            LayerCache(
                keys.to(cache_dtype, copy=True), values.to(cache_dtype, copy=True)
            )
        )
        x_SLD = ffn_layer.ffn_block(x_SLD)
    positions = torch.arange(length, device=x_SLD.device).expand(batch_size, -1)
    visible = (
        (positions < source.lengths[:, None])[:, None]
        .expand(-1, width, -1)
        .contiguous()
    )
    hidden_SLD = stack.apply_norm(x_SLD)
    last_SD = hidden_SLD[
        torch.arange(batch_size, device=x_SLD.device), source.lengths - 1
    ]
    # The output continues from the position of the last slot, which must therefore be the last real
    # position. The positions of other padding slots are never used.
    last_positions = source.lengths[:, None] - 1
    slot_positions = torch.cat([positions[:, :-1], last_positions], 1)
    cache = Cache(
        width,
        layer_caches,
        None,
        visible,
        prompt_slots=length,
        slot_positions=slot_positions,
    )
    return last_SD, cache


def decode_step(model: Transformer, token: Tokens, cache: Cache) -> Tensor:
    """Read one more token of each of N rows, append its keys and values to the cache, and return its state.

    The result is (N, 1, D). `Cache.retract` removes the token again.
    """
    name, stack = _single_stack(model)
    mask = cache.advance()
    assert cache.slot_positions is not None
    # A sentence that is done may stay in the batch while others continue, and has no position left then.
    last_position = model.config.positions_for(name) - 1
    current_position = cache.slot_positions[:, -1:].clamp(max=last_position)
    if model.relative is not None and name == "encoder":
        # The prompt's slots are among the keys, and rows of a sentence share all positions.
        bias: Tensor = model.relative(current_position, cache.slot_positions)
        mask = bias if mask is None else bias + mask
    positions = current_position.repeat_interleave(cache.width, 0)
    # The rows of a sentence attend together.
    x_SWD = model.inputs(replace(token, positions=positions), name).view(
        cache.sentences, cache.width, -1
    )
    for (attention_layer, ffn_layer), layer_cache in zip(
        stack.layer_halves, cache.layers, strict=True
    ):
        x_SWD = ffn_layer.ffn_block(
            attention_layer.attention_block_step(x_SWD, mask, cache, layer_cache, 0)
        )
    return stack.apply_norm(x_SWD).flatten(0, 1)[:, None]


def _single_stack(model: Transformer) -> tuple[Literal["encoder", "decoder"], Stack]:
    """Return the name of the model's only stack, `encoder` or `decoder`, and the stack itself."""
    if model.encoder is not None:
        assert model.decoder is None
        return "encoder", model.encoder
    assert model.decoder is not None
    return "decoder", model.decoder


class SingleStackStepper(CachedStepper):
    """A `Stepper` over a model of one stack, which reads the sources first and continues them.

    `sources` are token ids without special tokens, `width` is the number of rows for each sentence, and
    `language` is the language of the text. With `candidates`, only these ids are scored.
    """

    def __init__(
        self,
        model: Transformer,
        sources: Sequence[Ids],
        width: int,
        framing: Framing,
        language: str,
        candidates: Candidates | None = None,
    ) -> None:
        vocab = framing.vocab
        self.mask_id = vocab.mask
        self.uses_pseudo_masks = model.decoder is None
        if self.uses_pseudo_masks:
            prompts = [
                np.concatenate([[vocab.cls], ids, [vocab.sep]]) for ids in sources
            ]
        else:
            # A decoder's prompt ends with the token before the first of the output.
            prompts = [framing.prompt(ids, language) for ids in sources]
        device = next(model.parameters()).device
        ids, lengths = pad(prompts, vocab.pad)
        languages = framing.language_tensor(language, len(prompts))
        source = Tokens(ids, lengths, language=languages).to(device)
        # An encoder with segment embeddings reads its output as segment 1.
        self.segment = int(self.uses_pseudo_masks and model.config.segments > 1)
        self.started = False
        self.prompt_state, cache = forward_with_cache(model, source, width)
        super().__init__(model, cache, width, source.language, candidates)

    def __call__(self, ids: Tensor) -> Tensor:
        """Read the last ids (N,) of all rows, and return the log-probabilities (N, V) of their next tokens.

        The first call ignores the ids, because the token that the search begins with is part of the prompt.
        """
        if self.started:
            hidden = decode_step(self.model, self._tokens(ids), self.cache)[:, 0]
        else:
            # All rows of a sentence begin after the same prompt.
            hidden = self.prompt_state.repeat_interleave(self.width, 0)
        if self.uses_pseudo_masks:
            # An encoder predicts at an [M] after the output, which leaves no trace in the cache.
            mask_ids = torch.full_like(ids, self.mask_id)
            hidden = decode_step(self.model, self._tokens(mask_ids), self.cache)[:, 0]
            self.cache.retract()
        self.started = True
        return self.scores(hidden)

    def _tokens(self, ids: Tensor) -> Tokens:
        """Return ids (N,) as a block of one token for each row, with the segment id of outputs, if any."""
        tokens = self.tokens(ids)
        if not self.model.config.segments:
            return tokens
        return replace(tokens, segments=torch.full_like(tokens.ids, self.segment))

"""Going on from a text with one stack, a token at a time, without reading it again.

The text is read once; its keys and values take the first slots of the cache, which all rows of a sentence see, and what is written
follows in slots of its own (see cache.py).  A decoder reads and writes causally.  An encoder reads its text in both directions, and what
is written sees the text and what was written before it: UniLMv2's rule for a source of step 0 and a target of steps 1, 2, ...
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from masscli.data.batches.batch import Tokens
from masscli.models.cache import Cache, LayerCache
from masscli.models.masks import causal_mask, self_attention_mask
from masscli.models.transformer import Stack, Transformer


def remember(model: Transformer, text: Tokens, width: int) -> tuple[Tensor, Cache]:
    """Read S texts: the state (S, D) of the last token of each, and a cache for `width` continuations of it."""
    name, stack = _only(model)
    rows, length = text.ids.shape
    mask = self_attention_mask(text) if name == "encoder" else causal_mask(text)
    if model.relative is not None and name == "encoder":
        mask = model.relative.add_to(mask, text)
    x = model.inputs(text, name)
    kept = torch.float32 if x.device.type == "cpu" else model.compute
    layers = []
    for mixing, feeding in stack.depths:
        x, (keys, values) = mixing.remember(x, mask)
        layers.append(LayerCache(keys.to(kept, copy=True), values.to(kept, copy=True)))
        x = feeding.ffn_block(x)
    every = torch.arange(length, device=x.device).expand(rows, -1)
    paths = (every < text.lengths[:, None])[:, None].expand(-1, width, -1).contiguous()
    hidden = x if stack.norm is None else stack.norm(x)
    last = hidden[torch.arange(rows, device=x.device), text.lengths - 1]
    # The places of padding do not matter but for the last, from which writing goes on.
    places = torch.cat([every[:, :-1], text.lengths[:, None] - 1], 1)
    return last, Cache(width, layers, None, paths, start=length, places=places)


def go_on(model: Transformer, token: Tokens, cache: Cache) -> Tensor:
    """States (S*W, 1, D) of one more token for each row, which stays in the cache (`Cache.retract` takes it back)."""
    name, stack = _only(model)
    mask = cache.advance()
    assert cache.places is not None
    now = cache.places[:, -1:]
    if model.relative is not None and name == "encoder":
        bias: Tensor = model.relative(now, cache.places)
        mask = bias if mask is None else bias + mask
    x = model.inputs(replace(token, positions=now.repeat_interleave(cache.width, 0)), name)
    for (mixing, feeding), layer in zip(stack.depths, cache.layers, strict=True):
        x = feeding.ffn_block(mixing.step(x, mask, cache, layer, 0))
    out: Tensor = x if stack.norm is None else stack.norm(x)
    return out


def _only(model: Transformer) -> tuple[str, Stack]:
    stack = model.encoder if model.encoder is not None else model.decoder
    assert stack is not None and (model.encoder is None or model.decoder is None)
    return ("encoder" if model.encoder is not None else "decoder"), stack

"""Who may attend to whom, built on the device from lengths, steps and documents; nothing dense is shipped.

Masks are additive float32, broadcastable to (B, H, T, L).

UniLMv2 (Bao et al. 2020, section 3) reads originals, [M]s and pseudo-masks [P] in one sequence.  Every token has a signed step: context and
[M] have 0, the originals of block i have +i, its pseudo-masks -i.  A query q may attend to a key k

    k = 0                   always;
    k > 0 (an original)     when k <= q (its own block and earlier ones), or when k < -q (a pseudo-mask: earlier ones);
    k < 0 (a pseudo-mask)   when k = q.

All steps 0 is a bidirectional encoder; steps 1..n are a causal one; a source of 0 with a target of 1..T is sequence to sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor

from masscli.data.batches.batch import Tokens

MASKED_SCORE = -1e30  # added to a score that must vanish; finite, so that a row of them is not NaN


def self_attention_mask(tokens: Tokens) -> Tensor | None:
    """Additive mask (B, 1, 1 or L, L) of what a bidirectional stack may attend to within its own text."""
    visible = _real(tokens)
    if tokens.self_attention_mask is not None:
        visible = tokens.self_attention_mask if visible is None else visible & tokens.self_attention_mask
    if visible is not None:
        visible = visible[:, None]
    for rule in (
        _same(tokens.documents),
        None if tokens.steps is None else step_visibility(tokens.steps, tokens.steps),
    ):
        if rule is not None:
            visible = rule if visible is None else visible & rule
    return None if visible is None else additive_mask(visible)[:, None]


def step_visibility(queries: Tensor, keys: Tensor) -> Tensor:
    """UniLMv2's rule for the steps of queries (B, T) and keys (B, L): (B, T, L) bool."""
    last = torch.where(queries < 0, -queries - 1, queries)[:, :, None]
    q, k = queries[:, :, None], keys[:, None]
    return (k == 0) | ((k > 0) & (k <= last)) | ((k < 0) & (k == q))


def cross_attention_mask(tokens: Tokens) -> Tensor | None:
    """Additive mask (B, 1, 1, L) of what another stack may attend to."""
    visible = _real(tokens)
    if tokens.cross_attention_mask is not None:
        visible = tokens.cross_attention_mask if visible is None else visible & tokens.cross_attention_mask
    return None if visible is None else additive_mask(visible)[:, None, None]


def causal_mask(tokens: Tokens) -> Tensor:
    """Additive mask (1 or B, 1, T, T): each token sees itself and those before it (of its own document).

    Padding needs no mask of its own: it stands behind the last real token, where no real one looks.
    """
    length = tokens.ids.shape[1]
    visible = torch.ones(length, length, dtype=torch.bool, device=tokens.ids.device).tril()[None]
    same = _same(tokens.documents)
    return additive_mask(visible if same is None else visible & same)[:, None]


def additive_mask(visible: Tensor) -> Tensor:
    """0 where something may be seen, else a score that vanishes."""
    return torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, MASKED_SCORE)


def _same(documents: Tensor | None) -> Tensor | None:
    """(B, L, L) bool: tokens of one document."""
    return None if documents is None else documents[:, :, None] == documents[:, None]


def _real(tokens: Tokens) -> Tensor | None:
    """(B, L) bool, or None when no row is padded."""
    length = tokens.ids.shape[1]
    if bool((tokens.lengths == length).all()):
        return None
    return torch.arange(length, device=tokens.ids.device) < tokens.lengths[:, None]

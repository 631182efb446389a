"""Attention masks, built on the device from lengths, steps and documents instead of being transferred.

Masks are additive, in float32, and broadcastable to (B, H, T, L).

UniLMv2 (Bao et al. 2020, section 3) reads originals, [M]s and pseudo-masks [P] in one sequence. Every
token has a signed step: context and [M] have 0, the originals of block i have +i, its pseudo-masks -i. A
query of step q may attend to a key of step k

    k = 0                   always
    k > 0 (an original)     when k <= q (its block and earlier ones), or k < -q (a pseudo-mask: earlier ones)
    k < 0 (a pseudo-mask)   when k = q

With all steps 0 this is a bidirectional encoder, with steps 1..n a causal one, and with 0 for the source and
1..T for the target it is sequence to sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor

from masscli.data.batches.batch import Tokens

MASKED_SCORE = -1e30
"""Value added to the attention score of a hidden key; it is finite, so that a softmax over only hidden
keys is not NaN."""


def self_attention_mask(tokens: Tokens) -> Tensor | None:
    """Return the additive self-attention mask (B, 1, 1 or L, L) of an encoder that reads `tokens`.

    It hides padding and what the fields `self_attention_mask`, `documents` and `steps` of `tokens` hide.
    Return None where every token may attend to every other one.
    """
    visible = _not_padding(tokens)
    if tokens.self_attention_mask is not None:
        visible = _both(visible, tokens.self_attention_mask)
    # Rules so far concern keys only, (B, 1, L); those below depend on the query as well.
    if visible is not None:
        visible = visible[:, None]
    if tokens.documents is not None:
        visible = _both(visible, _same_document(tokens.documents))
    if tokens.steps is not None:
        visible = _both(visible, step_visibility(tokens.steps, tokens.steps))
    if visible is None:
        return None
    # The new dimension is that of heads.
    return additive_mask(visible)[:, None]


def step_visibility(queries: Tensor, keys: Tensor) -> Tensor:
    """Return which queries may attend to which keys in UniLMv2: (B, T, L) bool.

    `queries` (B, T) and `keys` (B, L) are signed steps: 0 for context, i for the originals of block i, and -i
    for its pseudo-masks. Context is visible to all; originals are visible to originals of their own and later
    blocks and to pseudo-masks of later blocks; pseudo-masks are visible to those of their own block only.
    """
    # The last block whose originals a query may attend to.
    last_block = torch.where(queries < 0, -queries - 1, queries)[:, :, None]
    q = queries[:, :, None]
    k = keys[:, None]
    return (k == 0) | ((k > 0) & (k <= last_block)) | ((k < 0) & (k == q))


def cross_attention_mask(tokens: Tokens) -> Tensor | None:
    """Return the additive mask (B, 1, 1, L) of the source tokens that a decoder may attend to.

    It hides padding and what `tokens.cross_attention_mask` excludes. Return None where nothing is hidden.
    """
    visible = _not_padding(tokens)
    if tokens.cross_attention_mask is not None:
        visible = _both(visible, tokens.cross_attention_mask)
    if visible is None:
        return None
    return additive_mask(visible)[:, None, None]


def causal_mask(tokens: Tokens) -> Tensor:
    """Return the additive mask (1 or B, 1, T, T) that lets each token attend to itself and to earlier ones.

    With packed documents, only tokens of the same document are visible. Padding needs no mask: it comes
    after the last real token, where no real token attends.
    """
    length = tokens.ids.shape[1]
    visible = torch.ones(
        length, length, dtype=torch.bool, device=tokens.ids.device
    ).tril()[None]
    if tokens.documents is not None:
        visible = visible & _same_document(tokens.documents)
    return additive_mask(visible)[:, None]


def additive_mask(visible: Tensor) -> Tensor:
    """Return an fp32 mask of the shape of `visible` (bool): 0 where it is true, else MASKED_SCORE."""
    return torch.zeros(visible.shape, device=visible.device).masked_fill_(
        ~visible, MASKED_SCORE
    )


def _both(visible: Tensor | None, rule: Tensor) -> Tensor:
    """Return the bool mask of what both `visible` and `rule` allow; a `visible` of None allows everything."""
    return rule if visible is None else visible & rule


def _same_document(documents: Tensor) -> Tensor:
    """Return which pairs of tokens have the same number in `documents` (B, L): (B, L, L) bool."""
    return documents[:, :, None] == documents[:, None]


def _not_padding(tokens: Tokens) -> Tensor | None:
    """Return which tokens are not padding: (B, L) bool, or None when no row is padded."""
    length = tokens.ids.shape[1]
    # Without a mask the attention kernels are faster.
    if bool((tokens.lengths == length).all()):
        return None
    return torch.arange(length, device=tokens.ids.device) < tokens.lengths[:, None]

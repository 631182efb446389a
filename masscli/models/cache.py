"""The incremental state of decoding: keys and values of all source and output tokens, outside the modules.

Shapes: S sentences, W rows (beams) per sentence, H heads, L source tokens, C steps of capacity, K head size.

Self-attention keys are not moved when beams are reordered. A sentence keeps the keys of all its rows, W
slots for each step, and `ancestor_mask` says which slots belong to the history of each row. Reordering
is then a gather of a small bit matrix, and the attention products have W query rows instead of one.
Since beams soon share most of their histories, many slots no longer belong to any history; every few
steps these are dropped, so that attention reads little more than one history. Cross-attention keys are
computed once per source.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STEPS_OF_GROWTH = 16
"""Number of decoding steps for which a cache has room at first, and by which it grows when it is full."""
STEPS_BETWEEN_COMPACTIONS = 4
"""Number of decoding steps after which a cache looks for slots that no row needs any more."""


@dataclass(slots=True)
class LayerCache:
    """The cached keys and values of one layer.

    `keys` and `values` (S, H, slots, K) are those of self-attention, for S sentences, H heads and head size
    K; each decoding step fills one slot for each of the W rows (beams) of a sentence. `cross` holds the keys
    and values (S, H, L, K) of the L source tokens, and is None in a layer without cross-attention.
    """

    keys: Tensor
    values: Tensor
    cross: tuple[Tensor, Tensor] | None = None

    def append(
        self, keys: Tensor, values: Tensor, first_slot: int
    ) -> tuple[Tensor, Tensor]:
        """Store the keys and values (S, H, W, K) of one step in the W slots from `first_slot` on.

        The cache grows if it has too few slots. Return the keys and the values of all slots up to and
        including the new ones, each (S, H, first_slot + W, K).
        """
        width = keys.shape[2]
        end = first_slot + width
        # Capacity grows by several steps at once, because every growth copies the whole cache.
        if end > self.keys.shape[2]:
            extra = keys.new_empty(
                *keys.shape[:2], STEPS_OF_GROWTH * width, keys.shape[3]
            )
            self.keys = torch.cat([self.keys, extra], 2)
            self.values = torch.cat([self.values, extra], 2)
        self.keys[:, :, first_slot:end] = keys
        self.values[:, :, first_slot:end] = values
        return self.keys[:, :, :end], self.values[:, :, :end]

    def keep_slots(self, slots: Tensor) -> None:
        """Move the slots with these indices, n for each sentence (S, n), to the front, in this order.

        The contents of the slots from n on are lost.
        """
        sentences, heads, capacity, size = self.keys.shape
        first_slots = torch.arange(sentences * heads, device=slots.device) * capacity
        rows = first_slots.view(sentences, heads, 1) + slots[:, None]
        kept = slots.shape[1]
        for tensor in (self.keys, self.values):
            # Selecting whole rows is many times faster than gathering single numbers.
            moved = tensor.reshape(-1, size).index_select(0, rows.flatten())
            tensor[:, :, :kept] = moved.view(sentences, heads, kept, size)


@dataclass(slots=True)
class Cache:
    """The state of decoding for S * W rows, in sentence-major order: row = sentence * W + beam."""

    width: int
    """W, the number of rows (beams) of each sentence."""
    layers: list[LayerCache]
    """The keys and values of each layer, in the order of the layers."""
    cross_mask: Tensor | None
    """Additive cross-attention mask (S, 1, 1, L) over the source tokens; None hides none of them."""
    ancestor_mask: Tensor
    """(S, W, slots) bool: which slots each row may attend to, because they belong to its own history."""
    length: int = 0
    """Number of decoding steps so far, the one that `advance` has started included."""
    prompt_slots: int = 0
    """Number of slots at the front that held a prompt at first, which all rows of a sentence share; 0 without
    a prompt."""
    slot_positions: Tensor | None = None
    """(S, slots) the position of the token in each slot where a prompt is continued, else None."""

    @property
    def sentences(self) -> int:
        """Return the number of sentences that are still in the batch."""
        return self.ancestor_mask.shape[0]

    @property
    def current_slot(self) -> int:
        """Return the index of the first of the W slots of the step that `advance` has started."""
        return self.ancestor_mask.shape[2] - self.width

    def advance(self) -> Tensor | None:
        """Start the next decoding step: add W slots for it to the masks and positions of this cache.

        Return the additive self-attention mask (S, 1, W, slots), with -inf at slots that are not in a row's
        own history, or None with one row per sentence and no prompt, where nothing is hidden.
        """
        device = self.ancestor_mask.device
        # Each row attends to its own new slot, and to none of the other rows' slots.
        new_slots = torch.eye(self.width, dtype=torch.bool, device=device).expand(
            self.sentences, -1, -1
        )
        self.ancestor_mask = torch.cat([self.ancestor_mask, new_slots], 2)
        self.length += 1
        # Rows of a sentence are at the same step, so their new slots share a position.
        if self.slot_positions is not None:
            # The first step follows the last token of the prompt, which is in its last slot.
            if self.length == 1:
                previous = self.slot_positions[
                    :, self.prompt_slots - 1 : self.prompt_slots
                ]
            else:
                previous = self.slot_positions[:, -1:]
            new_positions = (previous + 1).expand(-1, self.width)
            self.slot_positions = torch.cat([self.slot_positions, new_positions], 1)
        # With one row and no padded prompt, every slot is visible.
        if self.width == 1 and not self.prompt_slots:
            return None
        # Every row sees at least its own new slot, so -inf cannot make a softmax NaN.
        mask = torch.zeros(self.ancestor_mask.shape, device=device)
        return mask.masked_fill_(~self.ancestor_mask, float("-inf"))[:, None]

    def retract(self) -> None:
        """Remove the last decoding step from the cache, as if `advance` had not been called for it."""
        self.length -= 1
        # Its keys and values stay in the layers, where the next step overwrites them.
        self.ancestor_mask = self.ancestor_mask[..., : -self.width]
        if self.slot_positions is not None:
            self.slot_positions = self.slot_positions[:, : -self.width]

    def reorder(self, parents: Tensor) -> None:
        """Give each row n the history of row `parents[n]`, which must be a row of the same sentence.

        `parents` (S*W,) are row numbers in the whole batch. Only the mask changes, unless it is time to drop
        the slots that are in no history any more.
        """
        # A single row has no other row to continue.
        if self.width == 1:
            return
        self.ancestor_mask = self.ancestor_mask.flatten(0, 1)[parents].view_as(
            self.ancestor_mask
        )
        # Before the first step there are no slots besides those of the prompt.
        if self.length > 0 and self.length % STEPS_BETWEEN_COMPACTIONS == 0:
            self._compact()

    def _compact(self) -> None:
        """Drop slots that are in no row's history, the same number of slots from each sentence."""
        needed = self.ancestor_mask.any(1)
        kept = int(needed.sum(1).max())
        # Moving keys pays off only where many slots are dropped.
        if kept > 0.75 * needed.shape[1]:
            return
        # A stable sort moves the needed slots to the end, in the order of the steps; sentences that
        # need fewer slots than others keep some that stay hidden.
        slots = needed.int().sort(dim=1, stable=True).indices[:, -kept:]
        self.ancestor_mask = self.ancestor_mask.gather(
            2, slots[:, None].expand(-1, self.width, -1)
        )
        if self.slot_positions is not None:
            self.slot_positions = self.slot_positions.gather(1, slots)
        for layer in self.layers:
            layer.keep_slots(slots)

    def widen(self, width: int) -> None:
        """Expand the single row that each sentence has had so far to `width` rows (beams)."""
        assert self.width == 1
        # The history of the single row becomes the prompt of the new rows.
        self.prompt_slots = self.ancestor_mask.shape[2]
        self.ancestor_mask = self.ancestor_mask.repeat(1, width, 1)
        self.width = width

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences but those with these indices (1-D), and order these as the indices are."""
        self.ancestor_mask = self.ancestor_mask[sentences]
        if self.cross_mask is not None:
            self.cross_mask = self.cross_mask[sentences]
        if self.slot_positions is not None:
            self.slot_positions = self.slot_positions[sentences]
        # Indexing copies, so the memory of the dropped sentences is freed.
        for layer in self.layers:
            layer.keys = layer.keys[sentences]
            layer.values = layer.values[sentences]
            if layer.cross is not None:
                cross_keys, cross_values = layer.cross
                layer.cross = (cross_keys[sentences], cross_values[sentences])

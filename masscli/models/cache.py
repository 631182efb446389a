"""Incremental state of decoding: keys and values of what has been read and written so far, kept outside the modules.

S sentences, W rows (beams) each, H heads, C steps of room, K = head size.  Self-attention keys are never moved when beams are reordered:
a sentence keeps the keys of all its rows, step t in slots t*W..t*W+W-1, and `paths` says which slots lie on the path of a row.
Reordering is then a gather of a small bit matrix, and the products have W query rows instead of one.  Cross-attention keys are
computed once per source.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

ROOM = 16  # steps that are added when a cache is full


@dataclass(slots=True)
class LayerCache:
    """Keys and values of one layer: own (S, H, C*W, K), cross (S, H, L, K) or None in a decoder without memory."""

    keys: Tensor
    values: Tensor
    cross: tuple[Tensor, Tensor] | None = None

    def append(self, keys: Tensor, values: Tensor, at: int) -> tuple[Tensor, Tensor]:
        """Store (S, H, W, K) in slots at.., return all keys and values up to there."""
        width = keys.shape[2]
        if at + width > self.keys.shape[2]:
            room = keys.new_zeros(*keys.shape[:2], ROOM * width, keys.shape[3])
            self.keys, self.values = torch.cat([self.keys, room], 2), torch.cat([self.values, room], 2)
        self.keys[:, :, at : at + width] = keys
        self.values[:, :, at : at + width] = values
        return self.keys[:, :, : at + width], self.values[:, :, : at + width]


@dataclass(slots=True)
class Cache:
    """The state of S * W rows, sentence-major: row = sentence * W + beam."""

    width: int
    layers: list[LayerCache]
    cross_mask: Tensor | None
    """Additive (S, 1, 1, L)."""
    ancestor_mask: Tensor
    """(S, W, length*W) bool: the slots each row descends from."""
    length: int = 0
    language: Tensor | None = field(default=None)
    """(S,) target language of each sentence."""
    start: int = 0
    """Slots of a text that all rows of a sentence go on from; see masscli/models/single_stack_decoding.py."""
    places: Tensor | None = None
    """(S, slots) the position of each slot, where a text is gone on from."""

    @property
    def sentences(self) -> int:
        """How many sentences are still here."""
        return self.ancestor_mask.shape[0]

    def advance(self) -> Tensor | None:
        """Open the slots of the next step; the additive self-attention mask (S, 1, W, slots), None when nothing is hidden."""
        own = torch.eye(self.width, dtype=torch.bool, device=self.ancestor_mask.device).expand(
            self.sentences, -1, -1
        )
        self.ancestor_mask = torch.cat([self.ancestor_mask, own], 2)
        self.length += 1
        if self.places is not None:
            following = (
                self.places[:, self.start - 1 : self.start] if self.length == 1 else self.places[:, -1:]
            )
            self.places = torch.cat([self.places, (following + 1).expand(-1, self.width)], 1)
        if self.width == 1 and not self.start:
            return None
        mask = torch.zeros(self.ancestor_mask.shape, device=self.ancestor_mask.device).masked_fill_(
            ~self.ancestor_mask, float("-inf")
        )
        return mask[:, None]

    def retract(self) -> None:
        """Forget the last step; its slots are written anew by the next."""
        self.length -= 1
        self.ancestor_mask = self.ancestor_mask[..., : -self.width]
        if self.places is not None:
            self.places = self.places[:, : -self.width]

    def reorder(self, parents: Tensor) -> None:
        """Row n continues row `parents[n]` (N,), which is of the same sentence."""
        if self.width > 1:
            self.ancestor_mask = self.ancestor_mask.flatten(0, 1)[parents].view_as(self.ancestor_mask)

    def keep(self, sentences: Tensor) -> None:
        """Only these sentences (indices) stay."""
        self.ancestor_mask = self.ancestor_mask[sentences]
        if self.cross_mask is not None:
            self.cross_mask = self.cross_mask[sentences]
        if self.language is not None:
            self.language = self.language[sentences]
        if self.places is not None:
            self.places = self.places[sentences]
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[sentences], layer.values[sentences]
            if layer.cross is not None:
                layer.cross = (layer.cross[0][sentences], layer.cross[1][sentences])

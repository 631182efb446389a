"""Keep the rows of old pieces and languages fixed, bit by bit, while new ones in the same tables are trained.

An optimizer moves a whole tensor, by weight decay and by its moments even where the gradient is zero. So the
gradient of old rows is set to zero, which leaves them out of the norm that is clipped, and after each update
the old rows are put back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from masscli.checkpoint.checkpoint import RunState
from masscli.checkpoint.new_rows import TOKEN_TABLES
from masscli.models.transformer import Transformer
from masscli.training.fsdp import local_part, shard_like

OLD_EMBEDDINGS = "old-embeddings"
"""The value of --freeze that stands for these rows."""


class FrozenRows:
    """The rows of the tables of tokens and languages that came with --init-from, with their values.

    `state` has their number, and `frozen` is the value of --freeze; if OLD_EMBEDDINGS is not in it, there are
    no such rows. Only tables that are trained are looked after. If the model is sharded, each process looks
    after its own rows.
    """

    def __init__(self, model: Transformer, state: RunState, frozen: Sequence[str]) -> None:
        self._rows: list[tuple[nn.Parameter, Tensor, Tensor]] = []
        self.notes: list[str] = []
        """A line for the user on how many parameters are frozen, if any."""
        if OLD_EMBEDDINGS not in frozen:
            return
        total = 0
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            if name.startswith(TOKEN_TABLES):
                count = min(state.initial_ids, len(parameter))
            elif name.endswith("languages.weight"):
                count = state.initial_languages
            else:
                continue
            total += count * parameter[0].numel()
            is_old = torch.zeros(parameter.shape, dtype=torch.bool)
            is_old[:count] = True
            mask = local_part(shard_like(is_old, parameter))
            self._rows.append((parameter, mask, local_part(parameter.detach()).clone()))
        self.notes.append(f"frozen: old rows of the embeddings ({total:,} parameters)")

    @torch.no_grad()
    def clear_gradients(self) -> None:
        """Set the gradients of the rows to zero."""
        for parameter, is_old, _ in self._rows:
            if parameter.grad is not None:
                local_part(parameter.grad).masked_fill_(is_old, 0.0)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the values of the rows back."""
        for parameter, is_old, values in self._rows:
            local = local_part(parameter)
            local.copy_(torch.where(is_old, values, local))

"""Keep the rows of old pieces and languages fixed, bit for bit, while new rows of the same tables train.

An optimizer changes a whole tensor, through weight decay and its moments even where the gradient is
zero. Therefore the gradients of old rows are set to zero, which excludes them from the clipped norm,
and after each update the old values are restored.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from masscli.checkpoint.new_rows import TOKEN_TABLES
from masscli.checkpoint.run_state import RunState
from masscli.models.transformer import Transformer
from masscli.training.config import OLD_EMBEDDINGS
from masscli.training.fsdp import local_part, shard_like


class FrozenRows:
    """The rows of the tables of tokens and languages that came with --init-from, with their values.

    `state` has their number, and `frozen` is the value of --freeze; if OLD_EMBEDDINGS is not in it,
    there are no such rows. Only trained tables are handled. If the model is sharded, each process
    handles its own rows.
    """

    def __init__(
        self, model: Transformer, state: RunState, frozen: Sequence[str]
    ) -> None:
        self._tables: list[tuple[nn.Parameter, Tensor]] = []
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
            row_size = parameter[0].numel()
            total += count * row_size
            is_old = torch.zeros(parameter.shape, dtype=torch.bool)
            is_old[:count] = True
            # A shard consists of whole rows in order, so its old rows, if any, come first.
            own_count = int(local_part(shard_like(is_old, parameter)).sum()) // row_size
            self._tables.append(
                (parameter, local_part(parameter.detach())[:own_count].clone())
            )
        self.notes.append(f"frozen: old rows of the embeddings ({total:,} parameters)")

    @torch.no_grad()
    def clear_gradients(self) -> None:
        """Set the gradients of the rows to zero."""
        for parameter, values in self._tables:
            if parameter.grad is not None:
                local_part(parameter.grad)[: len(values)].zero_()

    @torch.no_grad()
    def restore(self) -> None:
        """Put the values of the rows back."""
        for parameter, values in self._tables:
            local_part(parameter)[: len(values)].copy_(values)

"""What may be generated: rules that overwrite the log-probabilities of one step, for all rows at once.

Special ids never are (padding, start, mask, language tags, ...; the unknown piece may be, at a price).  Forbidden pieces get -inf; the
others keep the model's own log-probability, so that scores stay those of the model.  A rule that forces a piece beats all others: the end
symbol at the length limit first, then a prefix.  Knows nothing of beams.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.generation.config import GenerationConfig
from masscli.text.vocabulary import Vocabulary


class Constraints:
    """The rules for S sentences of W rows.

    `limits` (S,) are the most pieces, the end symbol not counted; `prefixes` the pieces each output must begin with; `allowed` (V,) bool
    the pieces that may be written at all (default: all that are not special).
    """

    def __init__(
        self,
        config: GenerationConfig,
        vocabulary: Vocabulary,
        limits: Tensor,
        prefixes: Sequence[Sequence[int]] | None,
        device: torch.device,
        allowed: Tensor | None = None,
    ) -> None:
        self.config, self.vocabulary, self.device = config, vocabulary, device
        self.limits = (
            limits.cpu()
        )  # on the CPU, like the prefixes: asking them costs no wait for the accelerator
        never = sorted(vocabulary.special_ids - {vocabulary.eos, vocabulary.unk})
        if allowed is not None:
            never = sorted({*never, *(~allowed).nonzero()[:, 0].tolist()} - {vocabulary.eos})
        self.never = torch.tensor(never, device=device)
        self.prefixes: Tensor | None = None
        if prefixes is not None and any(len(p) for p in prefixes):
            self.prefixes = torch.full((len(prefixes), max(map(len, prefixes))), -1)
            for row, prefix in zip(self.prefixes, prefixes, strict=True):
                row[: len(prefix)] = torch.as_tensor(prefix)

    def keep(self, sentences: Tensor) -> None:
        """Only these sentences (indices, on the CPU) stay."""
        self.limits = self.limits[sentences]
        if self.prefixes is not None:
            self.prefixes = self.prefixes[sentences]

    def apply(self, scores: Tensor, history: Tensor) -> None:
        """Overwrite `scores` (S, W, V) of the piece that follows `history` (S, W, t)."""
        eos, step, n = self.vocabulary.eos, history.shape[2], self.config.no_repeat_ngram_size
        forced = self._forced(step)
        sentences = (forced >= 0).nonzero()[:, 0]
        pieces = forced[sentences].to(self.device)
        sentences = sentences.to(self.device)
        own = scores[
            sentences, :, pieces
        ]  # (F, W): what the model thinks of the pieces that are forced, before any rule

        scores.index_fill_(2, self.never, -torch.inf)
        if self.config.unkpen:
            scores[..., self.vocabulary.unk] -= self.config.unkpen
        if 0 < n <= step:
            forbid_repeats(scores, history, n)
        if step < self.config.min_len:
            scores[..., eos] = -torch.inf
        if len(sentences):
            scores[sentences] = -torch.inf
            scores[sentences, :, pieces] = own

    def _forced(self, step: int) -> Tensor:
        """(S,) the piece that each sentence must take now, -1 where it is free."""
        forced = torch.full_like(self.limits, -1)
        if self.prefixes is not None and step < self.prefixes.shape[1]:
            forced = self.prefixes[:, step]
        return torch.where(self.limits <= step, self.vocabulary.eos, forced)


def forbid_repeats(scores: Tensor, history: Tensor, n: int) -> None:
    """-inf for each piece that would complete an n-gram that the row already holds."""
    windows = history.unfold(2, n, 1)  # (S, W, t-n+1, n): every n-gram so far
    tail = history[..., history.shape[2] - n + 1 :]  # (S, W, n-1): the n-gram now being completed
    s, w, i = (windows[..., :-1] == tail[:, :, None]).all(-1).nonzero(as_tuple=True)
    scores[s, w, windows[s, w, i, -1]] = -torch.inf

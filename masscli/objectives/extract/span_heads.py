"""What stands on the states of a window, to say where an answer starts and ends and whether there is one.

    linear    two scores of each token over the whole sequence; no answer is a start and an end at [CLS] (Devlin et al. 2019, section 4.3)
    roberta   the same, and a classifier of [CLS] beside it, whose loss is added (Liu et al. 2019, section 5.2)
    albert    the end is scored on the end's state and the start's, [h_end; h_start] -> tanh -> layer norm -> 1, and so is that there is no
              answer, [sum_i p(start = i) h_i; h_CLS] -> tanh -> 1, with half the weight (Lan et al. 2019 on SQuAD 2.0, after XLNet)
    electra   the same with a GELU of width 512 in either, and no layer norm (Clark et al. 2020)

albert and electra look for starts and ends in the window and at [CLS] alone; in training the end is asked for with the right start, in
prediction with each of the best ones.  What says that there is no answer learns, for albert and roberta, whether the answer is in the
window, and for electra whether the question has one; where all questions have answers it is left out.  A decoder's last symbol stands for
[CLS].  Their scores of starts and ends are log-probabilities, those of the first two are not normalised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.dropout import dropout
from masscli.models.linear import LayerNorm, Linear
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.shared.finetuning_base import ClassificationHead, ExampleOutput

NEVER = -1e30
"""The score of a place where nothing may start or end."""
ELECTRA_WIDTH = 512


@dataclass(frozen=True)
class WindowStates:
    """A batch of windows: states (B, L, D), and for each row its length, the place of its text's first token, how many tokens the text has,
    and the place that stands for no answer."""

    states: Tensor
    lengths: Tensor
    first: Tensor
    size: Tensor
    null_position: Tensor

    def real(self) -> Tensor:
        """(B, L): what is no padding."""
        return torch.arange(self.states.shape[1], device=self.states.device) < self.lengths[:, None]

    def text(self) -> Tensor:
        """(B, L): the tokens of the text, and the place of no answer."""
        at = torch.arange(self.states.shape[1], device=self.states.device)
        inside = (at >= self.first[:, None]) & (at < (self.first + self.size)[:, None])
        return inside | (at == self.null_position[:, None])

    def at(self, places: Tensor) -> Tensor:
        """(B, K, D): the states at places (B, K)."""
        return self.states[torch.arange(len(places), device=places.device)[:, None], places]


class SpanLogits(NamedTuple):
    """The scores (B, L) of starts; of ends (B, K, L), given starts (B, K); and (B,) of there being no answer, where a part of its own says
    so: above 0 if that is the likelier."""

    starts: Tensor
    ends: Callable[[Tensor], Tensor]
    no_answer: Tensor | None


class SpanHead(Protocol):
    """A head, and how the loss of its `no_answer` is weighed and asked for."""

    weight: float
    by_question: bool

    def span_logits(self, windows: WindowStates) -> SpanLogits:
        """What it makes of states in fp32."""


class LinearSpans(ClassificationHead):
    """Two scores of each token."""

    weight, by_question = 1.0, False

    def __init__(self, options: ExtractOptions, model: ModelConfig) -> None:
        super().__init__(options, model.dim, 2)

    def span_logits(self, windows: WindowStates) -> SpanLogits:
        scores = self(windows.states).masked_fill(~windows.real()[:, :, None], NEVER)
        return SpanLogits(
            scores[:, :, 0], lambda starts: scores[:, None, :, 1].expand(-1, starts.shape[1], -1), None
        )


class RobertaSpans(LinearSpans):
    """And a classifier."""

    def __init__(self, options: ExtractOptions, model: ModelConfig) -> None:
        super().__init__(options, model)
        self.no_answer = ClassificationHead(options, model.dim, 1) if options.unanswerable else None

    def span_logits(self, windows: WindowStates) -> SpanLogits:
        found = super().span_logits(windows)
        return (
            found
            if self.no_answer is None
            else found._replace(no_answer=self.no_answer(windows.at(windows.null_position[:, None]))[:, 0, 0])
        )


class StartThenEnd(nn.Module):
    """What ALBERT and ELECTRA have in common: a start, and then an end and the absence of an answer in view of it."""

    weight, by_question = 0.5, False

    def __init__(self, model: ModelConfig, end: nn.Module, no_answer: nn.Module | None) -> None:
        super().__init__()
        self.start, self.end, self.no_answer = Linear(model.dim, 1), end, no_answer
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def span_logits(self, windows: WindowStates) -> SpanLogits:
        text, states = windows.text(), windows.states
        starts = F.log_softmax(self.start(states)[:, :, 0].masked_fill(~text, NEVER), -1)

        def ends(places: Tensor) -> Tensor:
            found = []
            for start in windows.at(places).unbind(
                1
            ):  # one after another: side by side they would be as many copies of all states
                scores = self.end(torch.cat([states, start[:, None].expand_as(states)], -1))[:, :, 0]
                found.append(F.log_softmax(scores.masked_fill(~text, NEVER), -1))
            return torch.stack(found, 1)

        if self.no_answer is None:
            return SpanLogits(starts, ends, None)
        mean, first = (
            torch.einsum("bl,bld->bd", starts.exp(), states),
            windows.at(windows.null_position[:, None])[:, 0],
        )
        return SpanLogits(starts, ends, self.no_answer(torch.cat([mean, first], -1))[:, 0])


class AlbertSpans(StartThenEnd):
    """Tanh, layer norm, dropout, as in XLNet."""

    def __init__(self, options: ExtractOptions, model: ModelConfig) -> None:
        wide, dim = 2 * model.dim, model.dim
        end = nn.Sequential(Linear(wide, dim), nn.Tanh(), LayerNorm(dim, model.norm_eps), Linear(dim, 1))
        no_answer = nn.Sequential(
            Linear(wide, dim), nn.Tanh(), Dropout(options.dropout), nn.Linear(dim, 1, bias=False)
        )
        super().__init__(model, end, no_answer if options.unanswerable else None)


class ElectraSpans(StartThenEnd):
    """GELU of one width, whatever the model's."""

    by_question = True

    def __init__(self, options: ExtractOptions, model: ModelConfig) -> None:
        end, no_answer = (
            nn.Sequential(Linear(2 * model.dim, ELECTRA_WIDTH), nn.GELU(), Linear(ELECTRA_WIDTH, 1))
            for _ in ("end", "no_answer")
        )
        super().__init__(model, end, no_answer if options.unanswerable else None)


class Dropout(nn.Module):
    """The project's own, whose noise is that of the update."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.share, self.training)


OBJECTIVES_FILE: dict[str, Callable[[ExtractOptions, ModelConfig], SpanHead]] = {
    "linear": LinearSpans, "roberta": RobertaSpans, "albert": AlbertSpans, "electra": ElectraSpans,
}  # fmt: skip


def span_head(options: ExtractOptions, model: ModelConfig) -> SpanHead:
    """The head of the options."""
    if options.head != "linear" and options.qa_head in ("albert", "electra"):
        raise MasscliError(
            f"--head {options.head}: --qa-head {options.qa_head} has layers of its own",
            "leave one of them out",
        )
    return OBJECTIVES_FILE[options.qa_head](options, model)


def loss(head: SpanHead, windows: WindowStates, spans: Tensor, answered: Tensor) -> Tensor:
    """Summed over windows: (cross-entropy of the start + that of the end) / 2, and the weighted one of there being no answer.

    `spans` (B, 2) are the right starts and ends, `answered` (B,) whether the question has an answer, in this window or another.
    """
    span_logits, (start, end) = head.span_logits(windows), spans.unbind(1)
    found = F.cross_entropy(span_logits.starts, start, reduction="sum")
    found = (found + F.cross_entropy(span_logits.ends(start[:, None])[:, 0], end, reduction="sum")) / 2
    if span_logits.no_answer is not None:
        no_answer = ~answered if head.by_question else start == windows.null_position
        found = found + head.weight * F.binary_cross_entropy_with_logits(
            span_logits.no_answer, no_answer.float(), reduction="sum"
        )
    return found


@torch.no_grad()
def candidates(head: SpanHead, windows: WindowStates, n_best: int, max_answer: int) -> list[ExampleOutput]:
    """For each window: the score of no answer; then, one after another, the first and last token (counted in the window's text) and the
    score of each span that is looked at: the `n_best` starts, and with each of them the `n_best` ends."""
    span_logits, found = head.span_logits(windows), list[ExampleOutput]()
    first, size = windows.first.tolist(), windows.size.tolist()
    scores = span_logits.starts.double().cpu().numpy()
    tops = [_top(row[a : a + n], n_best) for row, a, n in zip(scores, first, size, strict=True)]
    places = windows.null_position[:, None].repeat(
        1, 1 + max(map(len, tops))
    )  # first of all the one of no answer, which fills up the rest, too
    for row, (a, top) in enumerate(zip(first, tops, strict=True)):
        places[row, 1 : 1 + len(top)] = torch.tensor(top, device=places.device) + a
    ends = span_logits.ends(places).double().cpu().numpy()
    for row, (a, n, null_position) in enumerate(
        zip(first, size, windows.null_position.tolist(), strict=True)
    ):
        null = (
            scores[row, null_position] + ends[row, 0, null_position]
            if span_logits.no_answer is None
            else float(span_logits.no_answer[row])
        )
        spans = [
            (i, j, scores[row, a + i] + ends[row, k, a + j])
            for k, i in enumerate(tops[row], 1)
            for j in _top(ends[row, k, a : a + n], n_best)
            if i <= j < i + max_answer
        ]
        found.append(np.array([null, *(number for span in spans for number in span)], np.float64))
    return found


def _top(scores: ExampleOutput, count: int) -> list[int]:
    found: list[int] = np.argsort(-scores, kind="stable")[:count].tolist()
    return found

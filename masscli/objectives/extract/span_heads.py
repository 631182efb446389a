"""The heads of --qa-head, which score where an answer starts and ends, and whether there is one.

    linear    two scores of each token, and [CLS] stands for no answer (Devlin et al. 2019, section 4.3)
    roberta   the same, and a classifier on [CLS], whose loss is added (Liu et al. 2019, section 5.2)
    albert    end:        [h_end; h_start] -> tanh -> layer norm -> 1
              no answer:  [sum_i p(start = i) h_i; h_CLS] -> tanh -> 1, its loss with half the weight
              (Lan et al. 2020 on SQuAD 2.0, after XLNet)
    electra   the same with a GELU of width 512 in both, and no layer norm (Clark et al. 2020)

albert and electra score starts and ends in the window's text and at [CLS] only, and their scores are
log-probabilities; those of linear and roberta are not normalized, and cover the question as well. In
training, ends of albert and electra are scored given the right start, in prediction given each of the best
starts. The classifier learns whether there is no answer in the window (roberta, albert) or to the question
(electra); if all questions have answers, it is left out. For a decoder, the last token takes the place of
[CLS].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.dropout import dropout
from masscli.models.linear import LayerNorm, Linear
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.shared.classification_head import INIT_STD, ClassificationHead

MASKED_LOGIT = -1e30
"""The logit of positions where no answer may start or end."""
ELECTRA_WIDTH = 512
"""Width of ELECTRA's layers, whatever the width of the model."""


@dataclass(frozen=True)
class WindowStates:
    """The hidden states of a batch of windows, with the positions of the text, the padding and no answer."""

    states: Tensor
    """(B, L, D) hidden states in fp32."""
    lengths: Tensor
    """(B,) number of tokens of each sequence, without padding."""
    text_start: Tensor
    """(B,) position of the first token of the text, which follows the question."""
    text_size: Tensor
    """(B,) number of the text's tokens."""
    null_position: Tensor
    """(B,) the null position, which stands for no answer: that of [CLS], or of a decoder's last token."""

    def is_token(self) -> Tensor:
        """Return a mask (B, L) of the positions that are not padding."""
        return self._positions() < self.lengths[:, None]

    def is_answer_position(self) -> Tensor:
        """Return a mask (B, L) of the positions that are tokens of the text or the null position."""
        positions = self._positions()
        text_end = self.text_start + self.text_size
        is_text = (positions >= self.text_start[:, None]) & (
            positions < text_end[:, None]
        )
        return is_text | (positions == self.null_position[:, None])

    def states_at(self, positions: Tensor) -> Tensor:
        """Return the hidden states (B, K, D) at K positions in each window, given as `positions` (B, K)."""
        rows = torch.arange(len(positions), device=positions.device)
        return self.states[rows[:, None], positions]

    def null_states(self) -> Tensor:
        """Return the states at the null positions: (B, D)."""
        return self.states_at(self.null_position[:, None])[:, 0]

    def _positions(self) -> Tensor:
        return torch.arange(self.states.shape[1], device=self.states.device)


class SpanLogits(NamedTuple):
    """The output of a span head for a batch of windows."""

    starts: Tensor
    """(B, L) logit that the answer starts at each position."""
    ends: Callable[[Tensor], Tensor]
    """A function that returns, for K start positions (B, K), the logits (B, K, L) that the answer ends at
    each position."""
    no_answer: Tensor | None
    """(B,) logits that there is no answer; None if the head has no classifier for this."""


class SpanHead(Protocol):
    """The interface of a head that scores spans from the states of windows."""

    no_answer_weight: float
    """Weight of the loss of the classifier that says whether there is no answer."""
    no_answer_by_question: bool
    """Whether the classifier's target is that the question has no answer in any window; otherwise it is that
    the window has none."""

    def span_logits(self, windows: WindowStates) -> SpanLogits:
        """Return the logits of starts, ends and no answer for a batch of windows."""


class LinearSpans(ClassificationHead):
    """BERT's head: for each token a score that the answer starts there, and one that it ends there."""

    no_answer_weight = 1.0
    no_answer_by_question = False

    def __init__(self, options: ExtractOptions, model: ModelConfig) -> None:
        super().__init__(options, model.dim, 2)

    def span_logits(self, windows: WindowStates) -> SpanLogits:
        """Return logits of starts and ends for a batch of windows; those of ends are equal for all starts."""
        # BERT scores all tokens, those of the question included.
        scores = self(windows.states).masked_fill(
            ~windows.is_token()[:, :, None], MASKED_LOGIT
        )
        start_logits, end_logits = scores.unbind(-1)

        def ends(starts: Tensor) -> Tensor:
            # The ends are the same, whatever the start is.
            expanded: Tensor = end_logits[:, None].expand(-1, starts.shape[1], -1)
            return expanded

        return SpanLogits(start_logits, ends, None)


class RobertaSpans(LinearSpans):
    """RoBERTa's head: a start and an end score of each token, and a classifier of no answer.

    The classifier reads the state at the null position. It is left out if all questions have answers.
    """

    def __init__(self, options: ExtractOptions, model: ModelConfig) -> None:
        super().__init__(options, model)
        self.no_answer = (
            ClassificationHead(options, model.dim, 1) if options.unanswerable else None
        )

    def span_logits(self, windows: WindowStates) -> SpanLogits:
        """Return the logits of starts, ends and no answer for a batch of windows."""
        logits = super().span_logits(windows)
        if self.no_answer is None:
            return logits
        return logits._replace(no_answer=self.no_answer(windows.null_states())[:, 0])


class ConditionalEndSpans(nn.Module):
    """The common part of ALBERT's and ELECTRA's heads, which score ends given the start.

    `end` maps the states of a token and of the start (2 D) to a score. `no_answer` is the classifier of
    unanswerable questions, or None. It maps the mean state under the probabilities of starts and the state at
    the null position (2 D) to a logit.
    """

    no_answer_weight = 0.5
    no_answer_by_question = False

    def __init__(
        self, model: ModelConfig, end: nn.Module, no_answer: nn.Module | None
    ) -> None:
        super().__init__()
        self.start = Linear(model.dim, 1)
        self.end = end
        self.no_answer = no_answer
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, INIT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def span_logits(self, windows: WindowStates) -> SpanLogits:
        """Return log-probabilities of starts and ends, and logits of no answer, for a batch of windows.

        Only tokens of the text and the null position can be starts or ends.
        """
        states = windows.states
        is_masked = ~windows.is_answer_position()
        start_scores = self.start(states)[:, :, 0].masked_fill(is_masked, MASKED_LOGIT)
        start_logits = F.log_softmax(start_scores, -1)

        def ends(starts: Tensor) -> Tensor:
            end_logits = []
            # One start after another, since all at once would need as many copies of all states.
            for start_states in windows.states_at(starts).unbind(1):
                both_states = torch.cat(
                    [states, start_states[:, None].expand_as(states)], -1
                )
                end_scores = self.end(both_states)[:, :, 0].masked_fill(
                    is_masked, MASKED_LOGIT
                )
                end_logits.append(F.log_softmax(end_scores, -1))
            return torch.stack(end_logits, 1)

        if self.no_answer is None:
            return SpanLogits(start_logits, ends, None)
        # In place of the unknown start, the classifier reads the mean state under the probabilities of
        # starts.
        expected_start_states = torch.einsum("bl,bld->bd", start_logits.exp(), states)
        features = torch.cat([expected_start_states, windows.null_states()], -1)
        return SpanLogits(start_logits, ends, self.no_answer(features)[:, 0])


class AlbertSpans(ConditionalEndSpans):
    """ALBERT's head: layers with tanh, with layer norm for ends and dropout for no answer, as in XLNet."""

    def __init__(self, options: ExtractOptions, model: ModelConfig) -> None:
        dim = model.dim
        end = nn.Sequential(
            Linear(2 * dim, dim),
            nn.Tanh(),
            LayerNorm(dim, model.norm_eps),
            Linear(dim, 1),
        )
        # The classifier is built even if it is left out, so that the other initial weights do not depend on
        # it.
        no_answer = nn.Sequential(
            Linear(2 * dim, dim),
            nn.Tanh(),
            Dropout(options.dropout),
            nn.Linear(dim, 1, bias=False),
        )
        kept_classifier = no_answer if options.unanswerable else None
        super().__init__(model, end, kept_classifier)


class ElectraSpans(ConditionalEndSpans):
    """ELECTRA's head: a GELU layer of width 512 both for ends and for no answer."""

    no_answer_by_question = True

    def __init__(self, options: ExtractOptions, model: ModelConfig) -> None:
        end = _electra_layers(model)
        # As in AlbertSpans, the classifier is built even if it is left out.
        no_answer = _electra_layers(model)
        kept_classifier = no_answer if options.unanswerable else None
        super().__init__(model, end, kept_classifier)


def _electra_layers(model: ModelConfig) -> nn.Sequential:
    return nn.Sequential(
        Linear(2 * model.dim, ELECTRA_WIDTH), nn.GELU(), Linear(ELECTRA_WIDTH, 1)
    )


class Dropout(nn.Module):
    """The dropout of masscli/models/dropout.py as a layer; `probability` is that of zeroing a value."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Return the tensor with dropout in training, and unchanged otherwise."""
        return dropout(x, self.probability, self.training)


def build_span_head(options: ExtractOptions, model: ModelConfig) -> SpanHead:
    """Return a new span head of the kind that --qa-head names.

    Raises MasscliError if --head is given for `albert` or `electra`, whose layers are fixed.
    """
    if options.head != "linear" and options.qa_head in ("albert", "electra"):
        raise MasscliError(
            f"--head {options.head}: --qa-head {options.qa_head} has layers of its own",
            "leave one of them out",
        )
    heads: dict[str, Callable[[ExtractOptions, ModelConfig], SpanHead]] = {
        "linear": LinearSpans,
        "roberta": RobertaSpans,
        "albert": AlbertSpans,
        "electra": ElectraSpans,
    }
    return heads[options.qa_head](options, model)


def span_loss(
    head: SpanHead,
    windows: WindowStates,
    starts: Tensor,
    ends: Tensor,
    has_answer: Tensor,
) -> Tensor:
    """Return the loss of a head, summed over windows.

        (cross-entropy of start + cross-entropy of end) / 2 + weight * binary cross-entropy of no answer

    The last term is left out for heads without a classifier of no answer. `starts` and `ends` (B,) are the
    right positions, which are the null position if the window does not hold the answer. `has_answer` (B,)
    says whether the question has an answer, in this window or another one.
    """
    logits = head.span_logits(windows)
    loss = F.cross_entropy(logits.starts, starts, reduction="sum")
    end_logits = logits.ends(starts[:, None])[:, 0]
    loss = (loss + F.cross_entropy(end_logits, ends, reduction="sum")) / 2
    if logits.no_answer is None:
        return loss
    # ELECTRA's classifier learns about the question, the others learn about the window.
    if head.no_answer_by_question:
        no_answer = ~has_answer
    else:
        no_answer = starts == windows.null_position
    classifier_loss = F.binary_cross_entropy_with_logits(
        logits.no_answer, no_answer.float(), reduction="sum"
    )
    return loss + head.no_answer_weight * classifier_loss

"""Heads of question answering are compared with their definitions, written out token by token in numpy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.data.batches.windows import best_window_per_token, split_into_windows
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.objectives.extract.objective import Extract
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.extract.question_windows import QuestionWindow
from masscli.objectives.extract.span_heads import (
    SpanHead,
    WindowStates,
    build_span_head,
    span_loss,
)
from masscli.objectives.extract.span_search import rank_spans, search_windows

Array = NDArray[np.float64]
HEADS = ("linear", "roberta", "albert", "electra")
DIM = 6
QUESTION_LENGTH = 3
WINDOW_SIZE = 9
STRIDE = 4
TEXT_LENGTH = 23
MODEL = from_dict(ModelConfig, {"dim": DIM, "heads": 2})


def options(kind: str, **more: object) -> ExtractOptions:
    return from_dict(ExtractOptions, {"qa_head": kind, "unanswerable": True, **more})


def random_head(kind: str, seed: int, **more: object) -> SpanHead:
    """Return a head with weights that are large enough to matter."""
    head = build_span_head(options(kind, **more), MODEL)
    assert isinstance(head, torch.nn.Module)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in head.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator))
    head.eval()
    return head


def random_windows(seed: int, padding: int = 0, decoder: bool = False) -> WindowStates:
    """Return the windows of one text, each behind a question; a decoder has its null position at the end."""
    sizes = torch.tensor(
        [size for _, size in split_into_windows(TEXT_LENGTH, WINDOW_SIZE, STRIDE)]
    )
    lengths = sizes + QUESTION_LENGTH + 3
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(
        len(sizes), WINDOW_SIZE + QUESTION_LENGTH + 3, DIM, generator=generator
    )
    states = torch.cat([states, torch.full((len(sizes), padding, DIM), 7.0)], 1)
    null_position = lengths - 1 if decoder else torch.zeros_like(sizes)
    return WindowStates(
        states,
        lengths,
        torch.full_like(sizes, QUESTION_LENGTH + 2),
        sizes,
        null_position,
    )


# -- The definitions ----------------------------------------------------------------------------------------


def log_softmax(scores: Array) -> Array:
    result: Array = (
        scores
        - math.log(sum(math.exp(x - scores.max()) for x in scores))
        - scores.max()
    )
    return result


class SlowHead:
    """A head applied to one window; `positions` are those where an answer may start or end."""

    def __init__(
        self, kind: str, head: SpanHead, windows: WindowStates, row: int
    ) -> None:
        assert isinstance(head, torch.nn.Module)
        self.kind = kind
        self.weights = {
            name: w.detach().double().numpy() for name, w in head.named_parameters()
        }
        self.null_position = int(windows.null_position[row])
        self.first = int(windows.text_start[row])
        self.size = int(windows.text_size[row])
        self.states = windows.states[row, : int(windows.lengths[row])].double().numpy()
        if kind in ("linear", "roberta"):
            self.positions = list(range(len(self.states)))
        else:
            self.positions = sorted(
                {self.null_position, *range(self.first, self.first + self.size)}
            )

    def layer(self, name: str, x: Array) -> Array:
        bias = self.weights.get(f"{name}.bias", np.zeros(1))
        result: Array = self.weights[f"{name}.weight"] @ x + bias
        return result

    def two_layers(self, name: str, x: Array) -> float:
        """Apply both layers of ALBERT's or ELECTRA's head, and what is between them."""
        inner = self.layer(f"{name}.0", x)
        if self.kind == "electra":
            inner = np.array([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in inner])
            return float(self.layer(f"{name}.2", inner)[0])
        inner = np.tanh(inner)
        if name == "end":
            inner = (inner - inner.mean()) / math.sqrt(inner.var() + MODEL.norm_eps)
            inner = inner * self.weights["end.2.weight"] + self.weights["end.2.bias"]
        return float(self.layer(f"{name}.3", inner)[0])

    def starts(self) -> dict[int, float]:
        """Return the score of a start at each position."""
        if self.kind in ("linear", "roberta"):
            return {
                p: float(self.layer("out", self.states[p])[0]) for p in self.positions
            }
        scores = np.array(
            [float(self.layer("start", self.states[p])[0]) for p in self.positions]
        )
        return dict(zip(self.positions, log_softmax(scores).tolist(), strict=True))

    def ends(self, start: int) -> dict[int, float]:
        """Return the score of an end at each position, given the start."""
        if self.kind in ("linear", "roberta"):
            return {
                p: float(self.layer("out", self.states[p])[1]) for p in self.positions
            }
        inputs = [
            np.concatenate([self.states[p], self.states[start]]) for p in self.positions
        ]
        scores = np.array([self.two_layers("end", x) for x in inputs])
        return dict(zip(self.positions, log_softmax(scores).tolist(), strict=True))

    def no_answer(self) -> float | None:
        """Return the classifier's score that there is no answer."""
        if self.kind == "linear":
            return None
        if self.kind == "roberta":
            return float(
                self.layer("no_answer.out", self.states[self.null_position])[0]
            )
        mean = np.zeros(DIM)
        for position, log_probability in self.starts().items():
            mean += math.exp(log_probability) * self.states[position]
        return self.two_layers(
            "no_answer", np.concatenate([mean, self.states[self.null_position]])
        )

    def null_span(self) -> float:
        """Return the score of the span that stands for no answer."""
        return (
            self.starts()[self.null_position]
            + self.ends(self.null_position)[self.null_position]
        )


# -- Prediction ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("seed", range(3))
def test_the_search_agrees_with_trying_all_spans(
    seed: int, kind: str, decoder: bool
) -> None:
    head = random_head(kind, seed)
    windows = random_windows(seed, padding=4, decoder=decoder)
    max_answer = 5
    parts = split_into_windows(TEXT_LENGTH, WINDOW_SIZE, STRIDE)
    best_window = best_window_per_token(parts, TEXT_LENGTH)
    expected: dict[tuple[int, int], float] = {}
    expected_nulls = []
    for number, (window_start, size) in enumerate(parts):
        slow = SlowHead(kind, head, windows, number)
        starts = slow.starts()
        no_answer = slow.no_answer()
        expected_nulls.append(slow.null_span() if no_answer is None else no_answer)
        for i in range(size):
            if best_window[window_start + i] != number:
                continue
            ends = slow.ends(slow.first + i)
            for j in range(i, min(size, i + max_answer)):
                score = starts[slow.first + i] + ends[slow.first + j]
                expected[window_start + i, window_start + j] = score
    outputs = search_windows(head, windows, 100, max_answer)
    question_windows = [
        QuestionWindow(0, number, *part) for number, part in enumerate(parts)
    ]
    spans = rank_spans(list(zip(question_windows, outputs, strict=True)))
    assert len(spans) == len(expected)
    assert {(span.start, span.end): span.score for span in spans} == pytest.approx(
        expected, abs=1e-4
    )
    assert [span.score for span in spans] == sorted(
        (span.score for span in spans), reverse=True
    )
    assert [output[0] for output in outputs] == pytest.approx(expected_nulls, abs=1e-4)


@pytest.mark.parametrize("kind", HEADS)
def test_a_narrow_search_tries_the_best_starts_and_the_best_ends_of_each(
    kind: str,
) -> None:
    head = random_head(kind, 5)
    windows = random_windows(5)
    for row, output in enumerate(search_windows(head, windows, 2, 30)):
        slow = SlowHead(kind, head, windows, row)
        text = range(slow.first, slow.first + slow.size)
        expected = set()
        for start in sorted(text, key=slow.starts().__getitem__)[-2:]:
            for end in sorted(text, key=slow.ends(start).__getitem__)[-2:]:
                if start <= end:
                    expected.add((start - slow.first, end - slow.first))
        assert {
            (int(start), int(end)) for start, end, _ in output[1:].reshape(-1, 3)
        } == expected


# -- Training -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decoder", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("kind", HEADS)
def test_the_loss_is_that_of_the_definition(kind: str, decoder: bool) -> None:
    """The answer is in the second window; then the question has none."""
    head = random_head(kind, 9)
    windows = random_windows(9, padding=4, decoder=decoder)
    starts = windows.null_position.clone()
    ends = windows.null_position.clone()
    starts[1] = QUESTION_LENGTH + 4
    ends[1] = QUESTION_LENGTH + 6
    for answered in (True, False):
        if not answered:
            starts[1] = windows.null_position[1]
            ends[1] = windows.null_position[1]
        expected = 0.0
        for row, (start, end) in enumerate(
            zip(starts.tolist(), ends.tolist(), strict=True)
        ):
            slow = SlowHead(kind, head, windows, row)
            for scores, right in ((slow.starts(), start), (slow.ends(start), end)):
                expected += (
                    math.log(sum(map(math.exp, scores.values()))) - scores[right]
                ) / 2
            no_answer = slow.no_answer()
            if no_answer is not None:
                weight = 1.0 if kind == "roberta" else 0.5
                label = (
                    not answered if kind == "electra" else start == slow.null_position
                )
                expected += weight * math.log1p(
                    math.exp(-no_answer if label else no_answer)
                )
        has_answer = torch.full((len(starts),), answered)
        loss = float(span_loss(head, windows, starts, ends, has_answer).detach())
        assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "weight"),
    [("linear", 0.0), ("roberta", 1.0), ("albert", 0.5), ("electra", 0.5)],
)
def test_the_loss_of_a_new_head_is_that_of_a_uniform_guess(
    kind: str, weight: float
) -> None:
    """The losses are the logarithm of the number of positions, and log 2 for the classifier."""
    torch.manual_seed(3)
    windows = random_windows(1)
    num_positions = (
        windows.lengths if kind in ("linear", "roberta") else windows.text_size + 1
    )
    no_dropout = {} if kind == "electra" else {"head_dropout": 0.0}
    head = build_span_head(options(kind, **no_dropout), MODEL)
    nulls = windows.null_position
    loss = span_loss(
        head, windows, nulls, nulls, torch.zeros(len(nulls), dtype=torch.bool)
    )
    expected = float(num_positions.log().sum()) + weight * math.log(2) * len(nulls)
    assert float(loss.detach()) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("kind", HEADS)
def test_padding_changes_nothing(kind: str) -> None:
    head = random_head(kind, 2)
    plain = search_windows(head, random_windows(2), 4, 9)
    padded = search_windows(head, random_windows(2, padding=6), 4, 9)
    for a, b in zip(plain, padded, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("kind", ["roberta", "albert", "electra"])
def test_the_classifier_is_left_out_where_all_questions_have_answers(kind: str) -> None:
    head = random_head(kind, 4, unanswerable=False)
    windows = random_windows(4)
    assert isinstance(head, torch.nn.Module)
    assert not any("no_answer" in name for name, _ in head.named_parameters())
    starts = windows.text_start + 1
    losses = []
    for answered in (True, False):
        has_answer = torch.full((len(starts),), answered)
        losses.append(
            float(span_loss(head, windows, starts, starts, has_answer).detach())
        )
    assert losses[0] == losses[1]
    null_span = SlowHead(kind, head, windows, 0).null_span()
    assert search_windows(head, windows, 3, 9)[0][0] == pytest.approx(
        null_span, abs=1e-4
    )


def test_layers_of_its_own(labeled: Path) -> None:
    electra = options("electra", head_dropout=0.1)
    with pytest.raises(
        MasscliError, match=r"^--head-dropout: --qa-head electra has no dropout$"
    ):
        Extract.fill_from_data(electra, DataFolder.open(labeled / "data"), "squad")
    with pytest.raises(MasscliError) as caught:
        build_span_head(options("albert", head="tanh"), MODEL)
    assert caught.value.message == "--head tanh: --qa-head albert has layers of its own"
    assert caught.value.hint == "leave one of them out"

"""Heads of question answering against their definitions, written out token by token in numpy (spec: 8.5 and 12.4, property 24)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.data.batches import windows as cutting
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.objectives.extract.objective import Extract
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.extract.question_windows import QuestionWindow
from masscli.objectives.extract.span_heads import SpanHead, WindowStates, build_span_head, span_loss
from masscli.objectives.extract.span_search import rank_spans, search_windows

Array = NDArray[np.float64]
KINDS = ("linear", "roberta", "albert", "electra")
DIM, ASKED, ROOM, STRIDE, TEXT = 6, 3, 9, 4, 23
MODEL = from_dict(ModelConfig, {"dim": DIM, "heads": 2})


def made(kind: str, seed: int, **options: object) -> SpanHead:
    """A head with weights large enough to matter."""
    head = build_span_head(
        from_dict(ExtractOptions, {"qa_head": kind, "unanswerable": True, **options}), MODEL
    )
    assert isinstance(head, torch.nn.Module)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in head.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator))
    head.eval()
    return head


def batch(seed: int, padding: int = 0, last: bool = False) -> WindowStates:
    """The windows of one text, with a question before each and symbols between them; `last`: no answer is at the last symbol."""
    cuts = cutting.split_into_windows(TEXT, ROOM, STRIDE)
    sizes = torch.tensor([size for _, size in cuts])
    lengths = sizes + ASKED + 3
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(len(cuts), ROOM + ASKED + 3, DIM, generator=generator)
    states = torch.cat([states, torch.full((len(cuts), padding, DIM), 7.0)], 1)
    return WindowStates(
        states,
        lengths,
        torch.full_like(sizes, ASKED + 2),
        sizes,
        lengths - 1 if last else torch.zeros_like(sizes),
    )


# -- the definitions -----------------------------------------------------------------------------------------------------------------------


def normalised(scores: Array) -> Array:
    """Log-probabilities."""
    found: Array = scores - math.log(sum(math.exp(x - scores.max()) for x in scores)) - scores.max()
    return found


class Slow:
    """One window under one head: `starts` (places,), `ends(start)` (places,), `no_answer`; places that cannot be marked are left out."""

    def __init__(self, kind: str, head: SpanHead, windows: WindowStates, row: int) -> None:
        assert isinstance(head, torch.nn.Module)
        self.kind, self.weights = (
            kind,
            {name: w.detach().double().numpy() for name, w in head.named_parameters()},
        )
        self.null_position, self.first, self.size = (
            int(x[row]) for x in (windows.null_position, windows.text_start, windows.text_size)
        )
        self.states = windows.states[row, : int(windows.lengths[row])].double().numpy()
        text = sorted({self.null_position, *range(self.first, self.first + self.size)})
        self.places = list(range(len(self.states))) if kind in ("linear", "roberta") else text

    def layer(self, name: str, x: Array) -> Array:
        found: Array = self.weights[f"{name}.weight"] @ x + self.weights.get(f"{name}.bias", np.zeros(1))
        return found

    def two(self, name: str, x: Array) -> float:
        """Both layers of ALBERT's or ELECTRA's, and what is between them."""
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
        if self.kind in ("linear", "roberta"):
            return {at: float(self.layer("out", self.states[at])[0]) for at in self.places}
        found = normalised(np.array([float(self.layer("start", self.states[at])[0]) for at in self.places]))
        return dict(zip(self.places, found.tolist(), strict=True))

    def ends(self, start: int) -> dict[int, float]:
        if self.kind in ("linear", "roberta"):
            return {at: float(self.layer("out", self.states[at])[1]) for at in self.places}
        both = [np.concatenate([self.states[at], self.states[start]]) for at in self.places]
        return dict(
            zip(self.places, normalised(np.array([self.two("end", x) for x in both])).tolist(), strict=True)
        )

    def no_answer(self) -> float | None:
        """The classifier's score that there is no answer."""
        if self.kind == "linear":
            return None
        if self.kind == "roberta":
            return float(self.layer("no_answer.out", self.states[self.null_position])[0])
        mean = np.zeros(DIM)
        for at, share in self.starts().items():
            mean += math.exp(share) * self.states[at]
        return self.two("no_answer", np.concatenate([mean, self.states[self.null_position]]))


# -- prediction ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_what_a_walk_over_all_spans_finds(seed: int, kind: str, last: bool) -> None:
    head, windows, longest = made(kind, seed), batch(seed, padding=4, last=last), 5
    cuts = cutting.split_into_windows(TEXT, ROOM, STRIDE)
    owner = cutting.best_window_per_token(cuts, TEXT)
    expected: dict[tuple[int, int], float] = {}
    nulls = []
    for n, (begin, size) in enumerate(cuts):
        slow = Slow(kind, head, windows, n)
        starts = slow.starts()
        no_answer = slow.no_answer()
        nulls.append(
            starts[slow.null_position] + slow.ends(slow.null_position)[slow.null_position]
            if no_answer is None
            else no_answer
        )
        for i in range(size):
            if owner[begin + i] == n:
                ends = slow.ends(slow.first + i)
                for j in range(i, min(size, i + longest)):
                    expected[begin + i, begin + j] = starts[slow.first + i] + ends[slow.first + j]
    outputs = search_windows(head, windows, 100, longest)
    found = rank_spans(
        [
            (QuestionWindow(0, n, *cut), output)
            for n, (cut, output) in enumerate(zip(cuts, outputs, strict=True))
        ]
    )
    assert len(found) == len(expected)
    assert {(c.start, c.end): c.score for c in found} == pytest.approx(expected, abs=1e-4)
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    assert [output[0] for output in outputs] == pytest.approx(nulls, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrow_search_looks_at_the_best_starts_and_with_each_at_the_best_ends(kind: str) -> None:
    head, windows = made(kind, 5), batch(5)
    for n, output in enumerate(search_windows(head, windows, 2, 30)):
        slow = Slow(kind, head, windows, n)
        text = range(slow.first, slow.first + slow.size)
        starts = sorted(text, key=slow.starts().__getitem__)[-2:]
        expected = {
            (i - slow.first, j - slow.first)
            for i in starts
            for j in sorted(text, key=slow.ends(i).__getitem__)[-2:]
            if i <= j
        }
        assert {(int(i), int(j)) for i, j, _ in output[1:].reshape(-1, 3)} == expected


# -- training ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_the_definition(kind: str, last: bool) -> None:
    """An answer in the second window; and a question that has none."""
    head, windows = made(kind, 9), batch(9, padding=4, last=last)
    spans = torch.stack([windows.null_position, windows.null_position], 1)
    spans[1] = torch.tensor([ASKED + 4, ASKED + 6])
    for answered in (True, False):
        if not answered:
            spans[1] = windows.null_position[1]
        expected = 0.0
        for n in range(len(spans)):
            slow, (start, end) = Slow(kind, head, windows, n), spans[n].tolist()
            for scores, right in ((slow.starts(), start), (slow.ends(start), end)):
                expected += (math.log(sum(map(math.exp, scores.values()))) - scores[right]) / 2
            no_answer = slow.no_answer()
            if no_answer is not None:
                label = not answered if kind == "electra" else start == slow.null_position
                expected += (1.0 if kind == "roberta" else 0.5) * math.log1p(
                    math.exp(-no_answer if label else no_answer)
                )
        told = torch.full((len(spans),), answered)
        assert float(span_loss(head, windows, *spans.unbind(1), told).detach()) == pytest.approx(
            expected, rel=1e-4
        )


@pytest.mark.parametrize(
    ("kind", "more"), [("linear", 0.0), ("roberta", 1.0), ("albert", 0.5), ("electra", 0.5)]
)
def test_a_new_head_knows_nothing(kind: str, more: float) -> None:
    """Its losses are the logarithms of how many places and answers there are."""
    torch.manual_seed(3)
    windows = batch(1)
    count = windows.lengths if kind in ("linear", "roberta") else windows.text_size + 1
    still = {} if kind == "electra" else {"head_dropout": 0.0}
    head = build_span_head(from_dict(ExtractOptions, {"qa_head": kind, "unanswerable": True, **still}), MODEL)
    null_position = torch.stack([windows.null_position, windows.null_position], 1)
    found = float(
        span_loss(
            head, windows, *null_position.unbind(1), torch.zeros(len(null_position), dtype=torch.bool)
        ).detach()
    )
    assert found == pytest.approx(
        float(count.log().sum()) + more * math.log(2) * len(null_position), rel=0.03
    )


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind: str) -> None:
    head, plain, padded = made(kind, 2), batch(2), batch(2, padding=6)
    for a, b in zip(search_windows(head, plain, 4, 9), search_windows(head, padded, 4, 9), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("kind", ["roberta", "albert", "electra"])
def test_the_classifier_is_left_out_where_all_questions_have_answers(kind: str) -> None:
    head, windows = made(kind, 4, unanswerable=False), batch(4)
    assert isinstance(head, torch.nn.Module)
    assert not any("no_answer" in name for name, _ in head.named_parameters())
    spans = (windows.text_start + 1)[:, None].repeat(1, 2)
    both = [
        float(span_loss(head, windows, *spans.unbind(1), torch.full((len(spans),), x)).detach())
        for x in (True, False)
    ]
    assert both[0] == both[1]
    slow = Slow(kind, head, windows, 0)
    null = slow.starts()[slow.null_position] + slow.ends(slow.null_position)[slow.null_position]
    assert search_windows(head, windows, 3, 9)[0][0] == pytest.approx(null, abs=1e-4)


def test_layers_of_its_own(labelled: Path) -> None:
    dropping = from_dict(ExtractOptions, {"qa_head": "electra", "head_dropout": 0.1})
    with pytest.raises(MasscliError, match=r"^--head-dropout: the layers of --qa-head electra have none$"):
        Extract.fill_from_data(dropping, DataFolder.open(labelled / "data"), "squad")
    with pytest.raises(MasscliError) as caught:
        build_span_head(from_dict(ExtractOptions, {"qa_head": "albert", "head": "tanh"}), MODEL)
    assert (caught.value.message, caught.value.hint) == (
        "--head tanh: --qa-head albert has layers of its own",
        "leave one of them out",
    )

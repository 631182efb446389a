"""Small learning checks (spec: objectives.md 12.5): every objective can fit 32 fixed examples, and sees what only its form can see."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from masscli.config import decode
from masscli.data.batch import Batch
from masscli.data.framing import Framing
from masscli.data.noise import example_rng
from masscli.data.view import Example
from masscli.models.transformer import Transformer
from masscli.objectives.base import Objective, Setting
from masscli.recipe import OBJECTIVES, ModelConfig
from masscli.text.vocabulary import Vocabulary

VOCAB = Vocabulary(size=60, pad=0, bos=1, eos=2, unk=3, mask=4, cls=5, sep=6, spare=(7,), languages={"en": 8}, fingerprint="")
STACKS: dict[str, dict[str, int]] = {"encoder": {"decoder_layers": 0}, "decoder": {"encoder_layers": 0}, "encoder-decoder": {}}
EXAMPLES = 32
FIRST = math.log(EXAMPLES) / 10
"""What the first of ten tokens costs, which nothing precedes."""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def build(name: str, **options: Any) -> tuple[Objective, Transformer]:
    torch.manual_seed(1)
    config: Any = decode(OBJECTIVES.schema(name), {"name": name, **options})
    shape: dict[str, Any] = {"dim": 64, "ffn_dim": 128, "heads": 4, "encoder_layers": 2, "decoder_layers": 2, "segments": 2, "dropout": 0.0,
                             "languages": "none"}  # fmt: skip
    model = ModelConfig(**(shape | STACKS[config.stacks]))
    cls: Any = OBJECTIVES.load(name)
    return cls(config, Setting(Framing(VOCAB, False, False, ()), model, "en")), Transformer(model, VOCAB.size, ())


def examples(name: str) -> list[Example]:
    draw = np.random.default_rng(1)
    made = []
    for row in range(EXAMPLES):
        a, b = draw.integers(10, 60, 10), draw.integers(10, 60, 9)
        flat = {"roberta": (a, np.ones(10, np.int64)), "gpt": (a,), "bert+lm": (a,)}
        made.append(Example(row, flat.get(name, (a, b, np.array([row % 2]), np.ones(19, np.int64)))))
    return made


def learn(made: Objective, model: Transformer, batches: list[Batch], steps: int) -> list[dict[str, float]]:
    """Losses by term of every step; the batches are gone through in turn."""
    parameters = [*model.parameters(), *made.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2e-3)
    history = []
    for step in range(steps):
        batch = batches[step % len(batches)]
        torch.manual_seed(step)
        terms = made(model, batch)
        mean = {term: t.loss / batch.counts[term] for term, t in terms.items()}
        optimizer.zero_grad()
        torch.autograd.backward(torch.stack([value * made.weights[term] for term, value in mean.items()]).sum())
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        history.append({term: float(t.nll) / batch.counts[term] for term, t in terms.items()})
    return history


def batch(made: Objective, rows: list[Example], epoch: int = 0) -> Batch:
    return made.collator()(rows, [example_rng(1, "s", epoch, e.row) for e in rows])


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("bert", {"mlm": 0.1, "nsp": 0.05}), ("albert", {"mlm": 0.1, "sop": 0.05}), ("roberta", {"mlm": 0.1}),
        ("gpt", {"lm": 0.1 + FIRST}), ("bert+lm", {"mlm": 0.1, "clm": 0.1 + FIRST}), ("unilm", {"ae": 0.1, "par": 0.1}),
    ],
)  # fmt: skip
def test_thirty_two_examples_are_learned_by_heart(name: str, bounds: dict[str, float]) -> None:
    made, model = build(name)
    last = learn(made, model, [batch(made, examples(name))], 300)[-1]
    for term, bound in bounds.items():
        assert last[term] < bound, last


def test_the_detector_does_better_than_the_share_of_fakes() -> None:
    """H(f), for a share f of replaced tokens, is what a constant can reach."""
    made, model = build("electra", mask_prob=0.3)
    fixed = batch(made, examples("electra"))
    made.eval()  # the samples of a generator that has learned are right; so are those of one that never does
    for p in made.generator.parameters():  # type: ignore[union-attr]
        p.requires_grad_(False)
    history = learn(made, model, [fixed], 300)
    share = 0.3 * 19 / 22
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert history[-1]["rtd"] < 0.3 * entropy


def test_a_mask_that_changes_is_not_learned_by_heart() -> None:
    last = {}
    for masks in ("static", "dynamic"):
        made, model = build("bert", masks=masks, tokens_per_sample=64)
        batches = [batch(made, examples("bert"), epoch) for epoch in range(200)]
        last[masks] = np.mean([h["mlm"] for h in learn(made, model, batches, 200)[-20:]])
    assert last["dynamic"] > last["static"] + 0.5


def test_blocks_that_depend_on_each_other_are_better_predicted_in_steps() -> None:
    """An example is one token over and over, all of it masked: AE guesses at ln 50, and so does PAR at its first block, but at no later."""
    made, model = build("unilm", mask_prob=0.7, ngram_prob=0.0, corruption="all-mask")
    draw = np.random.default_rng(2)
    batches = []
    for epoch in range(150):
        kinds = enumerate(draw.integers(10, 60, EXAMPLES))
        rows = [Example(r, (np.full(4, t), np.full(3, t), np.array([0]), np.ones(7, np.int64))) for r, t in kinds]
        batches.append(batch(made, rows, epoch))
    assert {b.counts["ae"] for b in batches} == {7.0 * EXAMPLES}
    history = learn(made, model, batches, 150)
    last = {term: np.mean([h[term] for h in history[-20:]]) for term in ("ae", "par")}
    assert last["ae"] > 0.9 * math.log(50)
    assert last["par"] < 0.5 * math.log(50)  # one block of seven is a guess

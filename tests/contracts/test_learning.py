"""Small learning checks: every objective can fit 32 fixed examples, and sees what only its form can see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from masscli.core.config import from_dict
from masscli.core.rng import example_generator
from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.electra.objective import Electra
from masscli.objectives.objective import Objective, ObjectiveContext
from masscli.objectives.registry import OBJECTIVES, objective_class
from tests.vocabularies import vocabulary_of_ids

VOCAB = vocabulary_of_ids(60)
STACKS: dict[str, dict[str, int]] = {
    "encoder": {"decoder_layers": 0},
    "decoder": {"encoder_layers": 0},
    "encoder-decoder": {},
}
EXAMPLES = 32
FIRST = math.log(EXAMPLES) / 10
"""What the first of ten tokens costs, which nothing precedes."""
WHOLE = {"bert", "albert", "electra", "unilm"}
"""What reads two segments with a label."""

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def build(
    name: str, relative_buckets: int = 0, **options: Any
) -> tuple[Objective, Transformer]:
    torch.manual_seed(1)
    config: Any = from_dict(OBJECTIVES.load(name), {"name": name, **options})
    shape: dict[str, Any] = {"dim": 64, "ffn_dim": 128, "heads": 4, "encoder_layers": 2, "decoder_layers": 2, "segments": 2, "dropout": 0.0,
                             "languages": "none", "relative_buckets": relative_buckets, "relative_distance": 16}  # fmt: skip
    model = ModelConfig(**(shape | STACKS[config.stacks]))
    cls: Any = objective_class(name)
    context = ObjectiveContext(
        Framing(VOCAB, False, False, ()),
        model,
        "en-de" if config.input_kind.has_direction else "en",
    )
    return cls(config, context), Transformer(model, VOCAB.size, ())


def examples(name: str) -> list[Example]:
    """Of every kind: two segments and a label, two texts, or one."""
    draw = np.random.default_rng(1)
    made = []
    for row in range(EXAMPLES):
        a, b = draw.integers(10, 60, 10), draw.integers(10, 60, 9)
        if name in WHOLE:
            made.append(
                Example(row, (a, b, np.array([row % 2]), np.ones(19, np.int64)))
            )
        elif name == "roberta":
            made.append(Example(row, (a, np.ones(10, np.int64))))
        else:
            made.append(
                Example(row, (a, b) if name in ("translate", "tlm", "s2s") else (a,))
            )
    return made


def learn(
    objective: Objective,
    model: Transformer,
    batches: list[Batch],
    steps: int,
    only: str | None = None,
) -> list[dict[str, float]]:
    """Train on the batches in turn, and return the losses of each step by term; `only` is the one term that is learned, if given."""
    weights = objective.weights if only is None else {only: 1.0}
    parameters = [*model.parameters(), *objective.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2e-3)
    history = []
    for step in range(steps):
        batch = batches[step % len(batches)]
        torch.manual_seed(step)
        terms = objective(model, batch)
        mean = {term: t.loss / batch.counts[term] for term, t in terms.items()}
        optimizer.zero_grad()
        torch.autograd.backward(
            torch.stack([mean[term] * weight for term, weight in weights.items()]).sum()
        )
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        history.append(
            {term: float(t.nll) / batch.counts[term] for term, t in terms.items()}
        )
    return history


def batch(objective: Objective, rows: list[Example], epoch: int = 0) -> Batch:
    return objective.collator()(
        rows, [example_generator(1, "s", epoch, e.number) for e in rows]
    )


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("bert", {"mlm": 0.1, "nsp": 0.05}), ("albert", {"mlm": 0.1, "sop": 0.05}), ("roberta", {"mlm": 0.1}),
        ("gpt", {"lm": 0.1 + FIRST}), ("bert+lm", {"mlm": 0.1, "clm": 0.1 + FIRST}), ("unilm", {"ae": 0.1, "par": 0.1}),
        ("mass", {"mass": 0.1}), ("denoise", {"denoise": 0.1}), ("mlm", {"mlm": 0.1}), ("clm", {"clm": 0.1 + FIRST}),
        ("translate", {"translate": 0.1}), ("tlm", {"mlm": 0.1}), ("s2s", {"s2s": 0.1}),
    ],
)  # fmt: skip
def test_thirty_two_examples_are_learned_by_heart(
    name: str, bounds: dict[str, float]
) -> None:
    objective, model = build(
        name, **({"label_smoothing": 0.0} if name in ("translate", "s2s") else {})
    )
    last = learn(objective, model, [batch(objective, examples(name))], 300)[-1]
    for term, bound in bounds.items():
        assert last[term] < bound, last


def test_the_detector_does_better_than_the_share_of_fakes() -> None:
    """H(f), for a share f of replaced tokens, is what a constant can reach; and fakes look like fakes: the area under the ROC curve."""
    objective, model = build("electra", mask_prob=0.3)
    assert isinstance(objective, Electra) and objective.detector is not None
    fixed = batch(objective, examples("electra"))
    objective.eval()  # the samples of a generator that has learned are right; so are those of one that never does
    for p in objective.generator.parameters():
        p.requires_grad_(False)
    history = learn(objective, model, [fixed], 300)
    share = 0.3 * 19 / 22
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    assert history[-1]["rtd"] < 0.3 * entropy
    read: list[Tensor] = []
    scores: list[Tensor] = []
    model.embeddings["encoder"].register_forward_hook(
        lambda module, inputs, out: read.append(inputs[0].ids)
    )
    objective.detector.register_forward_hook(
        lambda module, inputs, out: scores.append(out)
    )
    with torch.no_grad():
        objective(model, fixed)
    real = fixed.labels["real"]
    fake = read[-1].flatten()[real.positions] != real.ids
    assert fake.any()
    assert float((scores[0][fake][:, None] > scores[0][~fake]).float().mean()) > 0.9


def test_a_mask_that_changes_is_not_learned_by_heart() -> None:
    last = {}
    for masks in ("static", "dynamic"):
        objective, model = build("bert", masks=masks, tokens_per_sample=64)
        batches = [batch(objective, examples("bert"), epoch) for epoch in range(200)]
        last[masks] = np.mean(
            [h["mlm"] for h in learn(objective, model, batches, 200)[-20:]]
        )
    assert last["dynamic"] > last["static"] + 0.5


def test_blocks_that_depend_on_each_other_are_better_predicted_in_steps() -> None:
    """An example is one token over and over, all of it masked in n-grams: AE guesses at ln 50, and so does PAR in the first block, but in
    no later one."""
    objective, model = build("unilm", mask_prob=0.7, corruption="all-mask")
    draw = np.random.default_rng(2)
    batches = []
    for epoch in range(150):
        kinds = enumerate(draw.integers(10, 60, EXAMPLES))
        rows = [
            Example(
                r, (np.full(4, t), np.full(3, t), np.array([0]), np.ones(7, np.int64))
            )
            for r, t in kinds
        ]
        batches.append(batch(objective, rows, epoch))
    assert {b.counts["ae"] for b in batches} == {7.0 * EXAMPLES}
    learn(objective, model, batches, 150)
    first: list[float] = []
    later: list[float] = []
    for b in batches[-5:]:
        assert b.source.steps is not None
        loss = nll(objective, model, b, "par")
        blocks = -b.source.steps.flatten()[b.labels["par"].positions]
        assert int(torch.bincount(blocks)[1]) > EXAMPLES  # n-grams among them
        first += loss[blocks == 1].tolist()
        later += loss[blocks > 1].tolist()
        assert float(nll(objective, model, b, "ae").mean()) > 0.9 * math.log(50)
    assert np.mean(first) > 0.9 * math.log(50)
    assert np.mean(later) < 0.1 * math.log(50)


def nll(objective: Objective, model: Transformer, batch: Batch, term: str) -> Tensor:
    """What every label of a term costs."""
    expected = batch.labels[term]
    with torch.no_grad():
        logits = model.logits(
            model.read(batch.source).flatten(0, 1)[expected.positions]
        )
    return torch.nn.functional.cross_entropy(logits, expected.ids, reduction="none")


def copies(seed: int, count: int = 64) -> list[Example]:
    """A B A B A B A B A B, with other A and B in every line: 20 words."""
    draw = np.random.default_rng(seed)
    return [
        Example(row, (np.tile(draw.choice(np.arange(10, 30), 2, replace=False), 5),))
        for row in range(count)
    ]


def test_a_repeated_word_is_predicted_from_both_sides_and_from_the_left_after_its_first_occurrence() -> (
    None
):
    options = {"mask_prob": 0.3, "leave_unmasked_prob": 0.0, "random_token_prob": 0.0}
    objective, model = build("mlm", relative_buckets=16, **options)
    learn(
        objective,
        model,
        [batch(objective, copies(seed), seed) for seed in range(350)],
        350,
    )
    new = batch(objective, copies(1_000, 200))
    assert (
        float((nll(objective, model, new, "mlm") < math.log(2)).float().mean()) > 0.95
    )  # the right one has more than half
    objective, model = build("clm")
    learn(
        objective,
        model,
        [batch(objective, copies(seed), seed) for seed in range(150)],
        150,
    )
    new = batch(objective, copies(1_000, 200))
    loss, place = (
        nll(objective, model, new, "clm"),
        new.labels["clm"].positions % new.source.ids.shape[1],
    )
    assert float(loss[place < 2].mean()) > 0.9 * math.log(20)
    assert float(loss[place >= 2].mean()) < 0.1


# -- two ways to learn what follows --------------------------------------------------------------------------------------------------------

NAMES = {"nsp": "bert", "sop": "albert"}
TOPICS, RING = (0, 1, 2, 3), 12
"""Every document keeps to the 12 words of its topic, and its sentences step around the ring of them."""


def passage(topic: int, start: int) -> np.ndarray:
    return 10 + RING * topic + (start + np.arange(4)) % RING


def segments(
    kind: str, seed: int, count: int, topics: Sequence[int] = TOPICS
) -> list[Example]:
    """A and what follows it (0); or another topic (1, nsp), or the two exchanged (1, sop)."""
    draw, made = np.random.default_rng(seed), []
    for row in range(count):
        topic, start, label = (
            int(draw.choice(topics)),
            int(draw.integers(RING)),
            int(draw.integers(2)),
        )
        a, b = passage(topic, start), passage(topic, start + 4)
        if label and kind == "sop":
            a, b = b, a
        elif label:
            b = passage(
                int(draw.choice([t for t in topics if t != topic])),
                int(draw.integers(RING)),
            )
        made.append(Example(row, (a, b, np.array([label]), np.ones(8, np.int64))))
    return made


def probe(model: Transformer, kind: str) -> float:
    """How often a linear classifier of the frozen states is right on two topics, when it has learned from the two others."""
    objective, _ = build(NAMES[kind], leave_unmasked_prob=1.0, random_token_prob=0.0)
    known, new = (
        batch(objective, segments(kind, seed, 600, topics))
        for seed, topics in ((1_001, TOPICS[:2]), (1_002, TOPICS[2:]))
    )
    with torch.no_grad():
        x, y = (model.pool(model.encode(b.source).hidden) for b in (known, new))
    x, y = ((states - x.mean(0)) / (x.std(0) + 1e-6) for states in (x, y))
    linear = torch.nn.Linear(x.shape[1], 2)
    optimizer = torch.optim.Adam(linear.parameters(), lr=0.05, weight_decay=1e-3)
    for _ in range(200):
        optimizer.zero_grad()
        torch.autograd.backward(
            torch.nn.functional.cross_entropy(linear(x), known.labels[kind].ids)
        )
        optimizer.step()
    return float((linear(y).argmax(-1) == new.labels[kind].ids).float().mean())


def test_a_model_that_knows_the_order_predicts_the_next_word_but_not_the_previous_one() -> (
    None
):
    """Lan et al. 2020, table 5: topics alone tell what does not follow, and they tell nothing of the order."""
    found = {}
    for kind, name in NAMES.items():
        objective, model = build(name, leave_unmasked_prob=1.0, random_token_prob=0.0)
        assert probe(model, "nsp") < 0.6  # before it has learned anything
        learn(
            objective,
            model,
            [batch(objective, segments(kind, seed, 64)) for seed in range(130)],
            130,
            kind,
        )
        found[kind] = {other: probe(model, other) for other in NAMES}
    assert min(found["nsp"]["nsp"], found["sop"]["sop"]) > 0.95, found
    assert found["sop"]["nsp"] > 0.65, found
    assert found["nsp"]["sop"] < 0.6, found

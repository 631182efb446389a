"""UniLMv2's pseudo-masked language model: who sees whom at any depth, and what each of its two predictions is equal to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from masscli.data.batches.batch import Tokens
from masscli.data.batches.dataset import Example
from masscli.models.masks import step_visibility
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective
from masscli.objectives.shared import pseudo_masking
from masscli.objectives.shared.paired_text import PairedText, add_special_tokens
from masscli.objectives.shared.pseudo_masking import (
    PseudoMaskExample,
    pseudo_mask_batch,
)
from masscli.objectives.unilm.corruption import build_example
from tests.objectives.test_pretraining import (
    FRAMING,
    VOCAB,
    make_batch,
    make_model,
    make_objective,
    pair,
    rngs,
    words,
)

N = 12
ORDER = [np.array([4, 5]), np.array([2]), np.array([8, 9, 10])]
MASKED = [4, 5, 2, 8, 9, 10]


def text(seed: int = 1) -> PairedText:
    return add_special_tokens(pair(words(seed, 5), words(seed + 1, N - 8)), FRAMING)


def laid(
    order: Sequence[Any] = ORDER, terms: Sequence[str] = ("ae", "par"), seed: int = 1
) -> PseudoMaskExample:
    shown = np.full(sum(map(len, order)), VOCAB.mask)
    return build_example(text(seed), order, shown, VOCAB.mask, list(terms))


def probe(*, layers: int = 3, **options: Any) -> tuple[Objective, Transformer]:
    objective = make_objective("unilm")
    model = make_model(
        objective,
        encoder_layers=layers,
        relative_buckets=8,
        relative_distance=16,
        **options,
    )
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return objective, model


def tokens(x: PseudoMaskExample) -> Tokens:
    terms = tuple(x.label_positions)
    return pseudo_mask_batch([x], terms, FRAMING, "en", [0]).source


def losses(
    objective: Objective, model: Transformer, x: PseudoMaskExample
) -> dict[str, float]:
    return {
        term: float(t.nll)
        for term, t in objective(
            model, pseudo_mask_batch([x], tuple(x.label_positions), FRAMING, "en", [0])
        ).items()
    }


def plain(ids: Sequence[int], segments: Sequence[int]) -> Tokens:
    """What BERT reads."""
    return Tokens(
        torch.tensor([ids]),
        torch.tensor([len(ids)]),
        segments=torch.tensor([segments]),
        language=torch.tensor([1]),
    )


def corrupted() -> Tokens:
    """The text with [M] at its masked places."""
    whole = text()
    ids = whole.ids.copy()
    ids[MASKED] = VOCAB.mask
    return plain(ids.tolist(), whole.segments.tolist())


def bare(n: int) -> PairedText:
    """A text without special symbols, so that all of it can be masked."""
    return PairedText(
        np.array(words(5, n)),
        np.zeros(n, np.int64),
        np.ones(n, np.bool_),
        np.ones(n, np.bool_),
        0,
    )


def test_copies_stand_at_the_place_and_in_the_segment_of_what_they_copy() -> None:
    x, whole = laid(), text()
    assert x.ids.tolist() == [*whole.ids.tolist(), *[VOCAB.mask] * 12]
    assert x.positions.tolist() == [*range(N), *MASKED, *MASKED]
    assert x.segments.tolist() == whole.segments[[*range(N), *MASKED, *MASKED]].tolist()
    assert x.steps.tolist() == [
        0,
        0,
        2,
        0,
        1,
        1,
        0,
        0,
        3,
        3,
        3,
        0,
        *[0] * 6,
        -1,
        -1,
        -2,
        -3,
        -3,
        -3,
    ]
    assert (
        x.labels["ae"].tolist()
        == x.labels["par"].tolist()
        == whole.ids[MASKED].tolist()
    )
    assert x.ids[x.label_positions["par"]].tolist() == [VOCAB.mask] * 6


def slow_sees(q: int, k: int) -> bool:
    """The visibility table of UniLMv2: a row for each kind of query, a column for each kind of key."""
    context_or_mask = k == 0
    if q == 0:  # context, [M]
        return context_or_mask
    if q > 0:  # an original of block q
        return context_or_mask or 0 < k <= q
    return context_or_mask or 0 < k < -q or k == q  # [P] of block -q


def test_the_rule_is_its_table() -> None:
    every = list(range(-4, 5))
    found = step_visibility(torch.tensor([every]), torch.tensor([every]))[0]
    assert found.tolist() == [[slow_sees(q, k) for k in every] for q in every]


def reach(model: Transformer, source: Tokens, at: int) -> set[int]:
    """The tokens whose vectors have a gradient that is not exactly 0 under the logits at a place."""
    vectors: list[Tensor] = []
    stack = "encoder" if model.encoder is not None else "decoder"
    handle = model.embeddings[stack].register_forward_hook(
        lambda module, inputs, out: vectors.append(out)
    )
    logits = model.logits(model.read(source)[0, at])
    handle.remove()
    [gradient] = torch.autograd.grad((logits * torch.randn_like(logits)).sum(), vectors)
    return set(torch.nonzero(gradient[0].abs().sum(-1))[:, 0].tolist())


@pytest.mark.parametrize("short", [256, 0], ids=["short texts", "PyTorch's kernel"])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_a_prediction_depends_on_its_condition_and_on_nothing_else(
    layers: int, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From two layers on, a token could also come by way of others that have read it."""
    monkeypatch.setattr("masscli.models.attention.SHORT", short)
    _, model = probe(layers=layers)
    x = laid()
    source = tokens(x)
    context = set(np.flatnonzero(x.steps == 0).tolist())  # the [M] among it
    for block, places in enumerate(ORDER):
        earlier = {int(place) for b in ORDER[:block] for place in b}
        own = {
            int(at)
            for at, place in zip(x.label_positions["par"], MASKED, strict=True)
            if place in places
        }
        for place in places:
            n = MASKED.index(place)
            assert reach(model, source, int(x.label_positions["ae"][n])) == context
            assert (
                reach(model, source, int(x.label_positions["par"][n]))
                == context | earlier | own
            )


def test_no_prediction_depends_on_what_it_may_not_see() -> None:
    """At three layers: [P] of block i on originals of blocks i and later, [M] on any masked original."""
    _, model = probe()
    x = laid()
    source = tokens(x)
    hidden = model.encode(source).hidden[0]
    for changed in MASKED:
        ids = source.ids.clone()
        ids[0, changed] = 11 if int(ids[0, changed]) != 11 else 12
        other = model.encode(replace(source, ids=ids)).hidden[0]
        step = next(i for i, block in enumerate(ORDER) if changed in block)
        for i, place in enumerate(MASKED):
            block = next(j for j, b in enumerate(ORDER) if place in b)
            assert torch.equal(
                hidden[x.label_positions["ae"][i]], other[x.label_positions["ae"][i]]
            )
            assert torch.equal(
                hidden[x.label_positions["par"][i]], other[x.label_positions["par"][i]]
            ) is (block <= step)


@pytest.mark.parametrize(
    "order",
    [
        ORDER,
        ORDER[::-1],
        [np.array([n]) for n in (9, 2, 10, 4, 8, 5)],
        [np.array(MASKED)],
    ],
    ids=len,
)
def test_autoencoding_is_bert(order: list[Any]) -> None:
    """Whatever the factorization order, predictions at [M] are those of a plain pass over the corrupted text."""
    _, model = probe()
    expected = model.encode(corrupted()).hidden[0, np.concatenate(order)]
    for x in (laid(order), laid(order, ["ae"])):
        assert torch.allclose(
            model.encode(tokens(x)).hidden[0, x.label_positions["ae"]],
            expected,
            atol=1e-5,
        )


def test_partially_autoregressive_prediction_is_a_cloze_for_each_step() -> None:
    """Every block of the joint pass equals a pass of its own with the context, [M], the originals of earlier blocks and its own [P]."""
    _, model = probe()
    x = laid()
    joint = model.encode(tokens(x)).hidden[0]
    for step in (1, 2, 3):
        kept = np.flatnonzero(
            (x.steps == 0) | ((x.steps > 0) & (x.steps < step)) | (x.steps == -step)
        )
        part = PseudoMaskExample(
            x.ids[kept],
            x.positions[kept],
            x.segments[kept],
            x.steps[kept],
            {"par": kept[:0]},
            {"par": kept[:0]},
        )
        hidden = model.encode(tokens(part)).hidden[0]
        here = np.flatnonzero(x.steps[kept] == -step)
        assert torch.allclose(hidden[here], joint[kept[here]], atol=1e-5)


@pytest.mark.parametrize("terms", [("ar",), ("ae", "ar")])
def test_blocks_of_one_token_are_an_autoregressive_model_in_their_order(
    terms: tuple[str, ...],
) -> None:
    """The chain rule: the loss is the sum of as many passes, each of which predicts one token from those before it in the order."""
    objective, model = make_objective("unilm", variant="+".join(terms)), probe()[1]
    order = [np.array([n]) for n in (9, 2, 10, 4, 8, 5)]
    x = laid(order, terms)
    total = 0.0
    for step in range(1, len(order) + 1):
        kept = np.flatnonzero(
            (x.steps == 0) | ((x.steps > 0) & (x.steps < step)) | (x.steps == -step)
        )
        none = dict.fromkeys(terms, kept[:0])
        labels, at = (
            none | {"ar": x.labels["ar"][step - 1 : step]},
            none | {"ar": np.flatnonzero(x.steps[kept] == -step)},
        )
        part = PseudoMaskExample(
            x.ids[kept], x.positions[kept], x.segments[kept], x.steps[kept], labels, at
        )
        total += losses(objective, model, part)["ar"]
    assert losses(objective, model, x)["ar"] == pytest.approx(total, rel=1e-5)


def test_from_left_to_right_it_is_a_causal_language_model_that_knows_the_position() -> (
    None
):
    """All tokens masked one by one, without [M]: each is predicted as a decoder with the same weights does that reads those before it, and
    then a mask."""
    objective, n = make_objective("unilm", variant="ar"), 7
    model, decoder = (
        make_model(objective, encoder_layers=3),
        make_model(objective, encoder_layers=0, decoder_layers=3),
    )
    decoder.load_state_dict(
        {
            name.replace("encoder", "decoder"): tensor
            for name, tensor in model.state_dict().items()
        }
    )
    whole = bare(n)
    x = build_example(
        whole, [np.array([t]) for t in range(n)], whole.ids, VOCAB.mask, ["ar"]
    )
    hidden = model.encode(tokens(x)).hidden[0]
    for t, at in enumerate(x.label_positions["ar"]):
        read = plain([*whole.ids[:t].tolist(), VOCAB.mask], [0] * (t + 1))
        assert torch.allclose(hidden[at], decoder.read(read)[0, -1], atol=1e-5)
    assert torch.allclose(
        hidden[:n], decoder.read(plain(whole.ids.tolist(), [0] * n))[0], atol=1e-5
    )


def test_one_block_without_masks_is_bert_on_pseudo_masks() -> None:
    """This holds for one layer: in the next one, BERT's context has attended to the masks, and the context here has not.

    With both kinds of loss, the sequence holds [M] and pseudo-masks, so that masks are attended to twice.
    """
    _, model = probe(layers=1)
    x, twice = laid([np.array(MASKED)], ["par"]), laid([np.array(MASKED)])
    expected = model.encode(corrupted()).hidden[0, MASKED]
    assert torch.allclose(
        model.encode(tokens(x)).hidden[0, x.label_positions["par"]], expected, atol=1e-5
    )
    assert not torch.allclose(
        model.encode(tokens(twice)).hidden[0, twice.label_positions["par"]],
        expected,
        atol=1e-2,
    )


def test_one_block_of_everything_is_bert_on_masks_at_any_depth() -> None:
    """No context is left that could attend to the masks."""
    _, model = probe(layers=3)
    whole = bare(7)
    x = build_example(whole, [np.arange(7)], whole.ids, VOCAB.mask, ["par"])
    masks = plain([VOCAB.mask] * 7, [0] * 7)
    assert torch.allclose(
        model.encode(tokens(x)).hidden[0, x.label_positions["par"]],
        model.encode(masks).hidden[0],
        atol=1e-5,
    )


def test_the_order_within_a_block_does_not_matter_and_that_of_blocks_does() -> None:
    objective, model = probe()
    first = losses(objective, model, laid())
    within = losses(
        objective, model, laid([np.array([5, 4]), np.array([2]), np.array([10, 8, 9])])
    )
    among = losses(objective, model, laid(ORDER[::-1]))
    assert within == pytest.approx(first, rel=1e-5)
    assert among["ae"] == pytest.approx(first["ae"], rel=1e-5)
    assert abs(among["par"] - first["par"]) > 1e-2


def test_the_physical_order_of_a_sequence_does_not_matter() -> None:
    objective, model = probe()
    x = laid()
    order = np.random.default_rng(1).permutation(len(x.ids))
    at = {term: np.argsort(order)[places] for term, places in x.label_positions.items()}
    mixed = PseudoMaskExample(
        x.ids[order],
        x.positions[order],
        x.segments[order],
        x.steps[order],
        x.labels,
        at,
    )
    assert torch.allclose(
        model.encode(tokens(x)).hidden[0, order],
        model.encode(tokens(mixed)).hidden[0],
        atol=1e-5,
    )
    assert losses(objective, model, mixed) == pytest.approx(
        losses(objective, model, x), rel=1e-5
    )


@pytest.mark.parametrize(
    ("variant", "terms"),
    [("ae", {"ae"}), ("par", {"par"}), ("ar", {"ar"}), ("ae+ar", {"ae", "ar"})],
)
def test_the_ablations_of_unilm_leave_out_what_they_do_not_need(
    variant: str, terms: set[str]
) -> None:
    objective = make_objective("unilm", variant=variant)
    batch = make_batch(objective, (30, 20), (10, 0))
    assert set(batch.counts) == set(objective.weights) == terms
    assert batch.source.steps is not None and batch.source.positions is not None
    if "ar" in terms:
        steps = batch.source.steps[0]
        assert sorted(steps[steps > 0].tolist()) == list(
            range(1, int(steps.max()) + 1)
        )  # blocks of one token
    if terms == {"ae"}:
        assert batch.source.ids.shape[1] == 53
    # Batches are planned by the most tokens that a sequence may take up, which blocks of one token do take up.
    [planned] = objective.batch_lengths(np.array([[53]])).tolist()
    assert batch.source.ids.shape[1] <= planned
    if "par" not in terms:
        assert batch.source.ids.shape[1] == planned
    assert set(objective(make_model(objective), batch)) == terms


def test_sequence_to_sequence_by_pseudo_masks_sees_the_target_before_it() -> None:
    objective = make_objective("s2s", target_mask_prob=0.0)
    model = make_model(objective, relative_buckets=8, relative_distance=16)
    x = pseudo_masking.build_example(
        np.array([5, 10, 11, 6]),
        np.array([20, 21, 22, 2]),
        np.array([20, 21, 22, 2]),
        VOCAB.mask,
        "s2s",
    )
    assert x.positions.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7]
    assert x.ids.tolist() == [5, 10, 11, 6, 20, 21, 22, 2, *[VOCAB.mask] * 4]
    assert x.segments.tolist() == [0] * 4 + [1] * 8
    assert x.steps.tolist() == [0, 0, 0, 0, 1, 2, 3, 4, -1, -2, -3, -4]
    assert x.labels["s2s"].tolist() == [20, 21, 22, 2]
    assert x.label_positions["s2s"].tolist() == [8, 9, 10, 11]
    source = tokens(x)
    hidden = model.encode(source).hidden[0]
    for t in range(4):
        ids = source.ids.clone()
        ids[0, 4 + t] = 33
        other = model.encode(replace(source, ids=ids)).hidden[0]
        same = [torch.equal(hidden[i], other[i]) for i in range(12)]
        assert same == [True] * (4 + t) + [False] * (4 - t) + [True] * (t + 1) + [
            False
        ] * (3 - t)


def test_what_is_read_of_a_target_is_corrupted_and_what_is_written_is_not() -> None:
    objective = make_objective("s2s", target_mask_prob=0.5)
    target = words(3, 400)
    batch = objective.collator()(
        [Example(0, (np.array([10, 11]), np.array(target)))], rngs(1)
    )
    shown = batch.source.ids[0, 4:405]
    assert batch.labels["s2s"].ids.tolist() == [*target, VOCAB.eos]
    several = objective.collator()(
        [Example(n, (np.array([10, 11]), np.array(words(n, 5 + n)))) for n in range(3)],
        rngs(3),
    )
    model = make_model(objective)
    assert objective.prepare(model, several) is several
    plain = (
        objective.eval().prepare(model, several).source
    )  # what is validated is writing
    for row in range(3):
        assert plain.ids[row, 4 : 10 + row].tolist() == [
            *words(row, 5 + row),
            VOCAB.eos,
        ]
    hidden = several.source.steps is not None and several.source.steps <= 0
    assert torch.equal(plain.ids[hidden], several.source.ids[hidden])
    # Half of the tokens are corrupted: of these, eight in ten are masks, one is random, and one is kept.
    assert float((shown == VOCAB.mask).float().mean()) == pytest.approx(0.4, abs=0.05)
    assert float((shown[:-1] == torch.tensor(target)).float().mean()) == pytest.approx(
        0.55, abs=0.06
    )
    assert batch.source.ids[0, 405:].tolist() == [VOCAB.mask] * 401

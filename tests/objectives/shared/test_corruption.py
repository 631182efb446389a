"""What the objectives hide and make of documents, in numbers, and what a fresh model makes of it."""

from __future__ import annotations

import copy
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from masscli.core.config import ConfigError, from_dict
from masscli.data.batches.batch import Batch, Tokens
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.electra.objective import Electra
from masscli.objectives.objective import Objective, ObjectiveContext
from masscli.objectives.registry import OBJECTIVES, objective_class
from masscli.objectives.shared.masking import split_into_words
from tests.objectives.shared.test_segment_pairs import (
    MASK,
    Pieces,
    Text,
    document,
    framed,
    masker,
    pairs,
    sentence,
)
from tests.objectives.test_pretraining import (
    VOCAB,
    make_model,
    make_objective,
    pair,
    rngs,
    streams,
)

# -- masks ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "still"),
    [
        ("bert", {}, True), ("bert", {"masks": "dynamic"}, False), ("albert", {}, True), ("roberta", {}, False),
        ("roberta", {"masks": "static"}, True), ("roberta", {"whole_words": True}, False), ("electra", {}, False), ("unilm", {}, False),
    ],
)  # fmt: skip
def test_masks_of_an_example_are_those_of_its_epoch_or_of_all(
    name: str, options: dict[str, Any], still: bool, toy: Path
) -> None:
    data = DataFolder.open(toy)
    objective = make_objective(
        **{
            "framing": Framing(data.vocab, False, False, ("de", "en")),
            **streams(name, options)["one"]["objective"],
        }
    )

    def shown(epoch: int) -> Tensor:
        dataset, collator = objective.dataset(data, "train")
        return BatchBuilder("one", dataset, collator, 1)(
            np.arange(4) % len(dataset), epoch
        ).source.ids

    assert torch.equal(shown(0), shown(0)) and torch.equal(shown(3), shown(3))
    first, second = shown(0), shown(3)
    assert (first.shape == second.shape and torch.equal(first, second)) is still


def several(
    n: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """n ids with special ones at both ends and in the middle, and words of one to four of them."""
    ids, text = framed(n)
    starts = np.random.default_rng(seed).random(n) < 0.4
    return ids, text, starts | ~text


def test_all_pieces_of_a_roberta_word_are_masked_alike() -> None:
    """All of a word is predicted, or nothing; hidden, replaced and kept words are 8 : 1 : 1, whatever their lengths."""
    fates, by_piece = Counter[str](), 0
    for seed in range(400):
        ids, text, starts = several(128, seed)
        shown, places = masker("dynamic-words")(
            ids, text, starts, 0, np.random.default_rng(seed)
        )
        chosen = set(places.tolist())
        for word in split_into_words(text, starts):
            found = {
                "mask"
                if shown[i] == MASK
                else "kept"
                if shown[i] == ids[i]
                else "random"
                for i in word
            }
            assert not chosen & set(word.tolist()) or chosen >= set(word.tolist())
            if chosen & set(word.tolist()):
                assert len(found) == 1
                fates[found.pop()] += 1
        again, places = masker("words")(
            ids, text, starts, 0, np.random.default_rng(seed)
        )  # BERT's: each piece has its own
        by_piece += any(
            len({bool(again[i] == MASK) for i in w}) == 2
            for w in split_into_words(text, starts)
            if w[0] in places
        )
    assert by_piece > 100
    for fate, share in (("mask", 0.8), ("random", 0.1), ("kept", 0.1)):
        assert fates[fate] / sum(fates.values()) == pytest.approx(
            share, abs=4 * math.sqrt(share * (1 - share) / sum(fates.values()))
        )


def test_robertas_words_are_counted_as_words() -> None:
    """floor(0.15 w + u) of w words (with symbols) are masked: the expectation is exact, however long the words
    are."""
    ids, text, starts = several(512, 1)
    units = split_into_words(text, starts)
    exact = 0.15 * (len(units) + 3)
    assert len(units) < 256 and 0.1 < exact % 1 < 0.9
    numbers = []
    for seed in range(2_000):
        places = set(
            masker("dynamic-words")(ids, text, starts, 0, np.random.default_rng(seed))[
                1
            ].tolist()
        )
        numbers.append(sum(int(word[0]) in places for word in units))
    assert set(numbers) == {int(exact), int(exact) + 1}
    assert np.mean(numbers) == pytest.approx(exact, abs=0.05)
    few = [
        len(
            masker("dynamic-words", max_masked=20)(
                ids, text, starts, 0, np.random.default_rng(seed)
            )[1]
        )
        for seed in range(200)
    ]
    assert min(few) > 15 and max(few) == 20  # --max-predictions is of tokens


def block(*lengths: int) -> Example:
    """Sentences of ordinary words, each behind a continuation of the word before its end, closed by the end symbol."""
    ids = np.concatenate([[*range(10, 10 + n), VOCAB.eos] for n in lengths])
    return Example(0, (ids, (np.arange(len(ids)) % 2).astype(np.int64)))


@pytest.mark.parametrize("whole", [True, False])
def test_robertas_symbols_are_masked_as_often_as_words_unless_they_may_not_be(
    whole: bool,
) -> None:
    one = block(12, 9, 14)
    row = np.concatenate([[VOCAB.bos], one.fields[0]])
    symbols = np.flatnonzero((row == VOCAB.bos) | (row == VOCAB.eos))
    for allowed in (True, False):
        collator = make_objective(
            "roberta", mask_specials=allowed, whole_words=whole
        ).collator()
        hits = np.zeros(len(row))
        for seed in range(3_000):
            hits[collator([one], rngs(1, seed)).labels["mlm"].positions.numpy()] += (
                1 / 3_000
            )
        assert hits[symbols] == pytest.approx(0.15 if allowed else 0.0, abs=0.03)
        if not whole:
            assert hits.sum() == pytest.approx(
                0.15 * len(row), abs=0.05
            )  # the share is of all, whichever may be chosen


def test_a_word_never_continues_after_a_special_symbol() -> None:
    """A sentence that was cut begins with a continuation, and is not hidden together with the symbol before it."""
    cut = Example(
        0,
        (
            np.array([10, 11, VOCAB.eos, 12, 13, VOCAB.eos]),
            np.array([0, 0, 1, 0, 0, 1]),
        ),
    )
    collator = make_objective("roberta", whole_words=True, mask_prob=0.2).collator()
    seen = {
        frozenset(collator([cut], rngs(1, seed)).labels["mlm"].positions.tolist())
        for seed in range(300)
    }
    assert {frozenset(x) for x in ([0], [1, 2], [3], [4, 5], [6])} <= seen
    assert all(
        (1 in places) == (2 in places) and (4 in places) == (5 in places)
        for places in seen
    )


def test_robertas_random_tokens_are_ordinary_ones() -> None:
    collator = make_objective(
        "roberta", leave_unmasked_prob=0.0, random_token_prob=1.0, mask_prob=1.0
    ).collator()
    shown = torch.cat(
        [collator([block(20, 20)], rngs(1, seed)).source.ids[0] for seed in range(200)]
    ).tolist()
    ordinary = set(range(VOCAB.size)) - VOCAB.special_ids
    assert set(shown) == ordinary


def test_ngrams_are_runs_of_whole_words() -> None:
    """No more than k tokens; what is hidden begins and ends where words do."""
    full = 0
    for seed in range(300):
        ids, text, starts = several(512, seed)
        for most, k in ((None, 77), (20, 20)):
            _, places = masker("ngrams", max_masked=most)(
                ids, text, starts, 0, np.random.default_rng(seed)
            )
            chosen = set(places.tolist())
            assert 0 < len(chosen) <= k
            assert all(
                chosen >= set(w.tolist()) or not chosen & set(w.tolist())
                for w in split_into_words(text, starts)
            )
            full += len(chosen) == k
    assert full > 500  # short of k only where no word is short enough


def test_words_of_albert_follow_its_rule() -> None:
    """Two digits are one word by their marker, and two words in the released code."""

    class Folder:
        folder = Path("data")

        def monolingual(self, split: str, text: str) -> Text:
            return Text([[3, 3]])

        def tokenizer(self) -> Pieces:
            return Pieces("▁1", "9", "re")

    for rule, begins in (
        ("words", [True, False, False]),
        ("released", [True, True, False]),
    ):
        view: Any = make_objective("albert", ngram_rule=rule).dataset(
            Folder(), "train"
        )[0]  # type: ignore[arg-type]
        assert view.word_starts(np.array([4, 5, 6])).tolist() == begins
        cut = (
            np.array([10, 11]),
            np.array([12, 13]),
            np.array([0]),
            np.array([1, 1, 0, 1]),
        )  # what 12 went on from is gone
        collator = make_objective("albert", ngram_rule=rule, mask_prob=0.3).collator()
        found = [
            collator([Example(row, cut)], rngs(1)).labels["mlm"].ids.tolist()
            for row in range(100)
        ]  # masks are static
        assert all((11 in x) == (12 in x) for x in found) is (rule == "released")
    with pytest.raises(
        ConfigError, match=r"^ngram_rule: has no effect without --ngrams$"
    ):
        make_objective("albert", ngram_rule="released", ngrams=False)


@pytest.mark.parametrize("keep", [0.15, 0.0])
def test_electra_shows_some_of_what_the_generator_predicts(keep: float) -> None:
    objective, hidden, slots = (
        make_objective("electra", mask_keep=keep, tokens_per_sample=128),
        0,
        0,
    )
    for seed in range(120):
        batch = objective.collator()(
            [pair([10 + i % 50 for i in range(60)], [10 + i % 50 for i in range(65)])]
            * 10,
            rngs(10, seed),
        )
        shown, original = batch.source.ids.flatten(), batch.labels["real"].ids
        at = torch.unique(batch.labels["mlm"].positions)
        assert set(shown[shown != original].tolist()) == {VOCAB.mask}  # nothing random
        hidden, slots = hidden + int((shown[at] == VOCAB.mask).sum()), slots + len(at)
    assert slots > 20_000
    assert hidden / slots == pytest.approx(1 - keep, abs=0.01) and (
        keep or hidden == slots
    )


def test_only_resampled_tokens_count_as_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The discriminator's input differs from the text only at masked positions, and its labels say where it
    differs."""
    objective = make_objective("electra", mask_prob=0.5, tokens_per_sample=512)
    model = make_model(objective, size=13)
    batch = objective.collator()(
        [pair([10 + i % 3 for i in range(120)], [10 + i % 3 for i in range(110)])] * 3,
        rngs(3),
    )
    labels: list[Tensor] = []
    read: list[Tensor] = []
    plain = torch.nn.functional.binary_cross_entropy_with_logits
    monkeypatch.setattr("masscli.objectives.electra.objective.F.binary_cross_entropy_with_logits",
                        lambda logits, wanted, **how: (labels.append(wanted), plain(logits, wanted, **how))[1])  # fmt: skip
    model.embeddings["encoder"].register_forward_pre_hook(
        lambda module, inputs: read.append(inputs[0].ids.flatten())
    )
    assert isinstance(objective, Electra) and objective.generator.output is not None
    objective.generator.output.bias = torch.nn.Parameter(
        torch.cat([torch.full((10,), -9.0), torch.zeros(3)])
    )  # samples among the three words
    objective(model, batch)
    real, slots = batch.labels["real"], torch.unique(batch.labels["mlm"].positions)
    replaced = read[1][real.positions] != real.ids
    assert torch.equal(labels[0], replaced.float())
    where = set(real.positions[replaced].tolist())
    assert where < set(
        slots.tolist()
    )  # not all: one sample in three is the word that stood there
    assert abs(len(where) / len(slots) - 2 / 3) < 0.15


def test_unilm_numbers_its_blocks_without_a_gap() -> None:
    objective = make_objective("unilm", tokens_per_sample=128)
    for seed in range(30):
        batch = objective.collator()(
            [pair([10 + i % 50 for i in range(60)], [10 + i % 50 for i in range(65)])],
            rngs(1, seed),
        )
        assert batch.source.steps is not None
        steps = batch.source.steps[0]
        originals, copies = steps[:128], steps[128:]
        hidden = int((originals > 0).sum())
        assert set(originals.tolist()) == set(range(int(steps.max()) + 1))
        assert copies[:hidden].tolist() == [0] * hidden
        assert sorted((-copies[hidden:]).tolist()) == sorted(
            originals[originals > 0].tolist()
        )
        assert 0.15 * 128 <= hidden < 0.15 * 128 + 6


# -- pairs ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nsp", "sop"])
def test_chunks_of_one_sentence_change_the_shares_of_labels(kind: str) -> None:
    """P(second label) = q + (1 - q) / 2, with q the share of chunks of one sentence: here those of the documents of one."""
    column = Text([[40]] * 80 + [[5] * 90] * 15)
    view = pairs(column, kind, max_length=33, short_prob=0.0, copies=20)
    alone, labels = [], []
    for row in range(len(view)):
        a, _, label, _ = view[row].fields
        alone.append(document(a) < 80)
        labels.append(int(label[0]))
    q, n = float(np.mean(alone)), len(labels)
    assert 0.1 < q < 0.8
    last = 8 * 20 / n  # the last chunk of a document may have one sentence too
    assert np.mean(labels) == pytest.approx(
        q + (1 - q) / 2, abs=4 * math.sqrt((1 - q) / 4 / n) + last
    )
    assert all(label for one, label in zip(alone, labels, strict=True) if one)


def test_sentences_that_a_random_b_displaced_begin_the_next_pair() -> None:
    view = pairs(Text([[5] * 99] * 6), "nsp", max_length=33, short_prob=0.0)
    follow = 0
    for row in range(len(view) - 1):
        (a, b, label, _), (after, *_) = view[row].fields, view[row + 1].fields
        if document(a) != document(after):
            continue
        last = sentence(a[-1]) if label[0] else sentence(b[-1])
        assert sentence(after[0]) == last + 1
        follow += int(label[0])
    assert follow > 10


# -- a fresh model -------------------------------------------------------------------------------------------------------------------------

TOTALS = {
    ("bert", 30_522): math.log(30_522) + math.log(2), ("albert", 30_000): math.log(30_000) + math.log(2),
    ("roberta", 50_265): math.log(50_265), ("gpt", 40_478): math.log(40_478),
    ("electra", 30_522): math.log(30_522) + 50 * math.log(2), ("unilm", 30_522): 2 * math.log(30_522),
}  # fmt: skip


def fresh(name: str, size: int, **options: Any) -> tuple[Objective, Transformer]:
    """A small model over a vocabulary of published size, drawn as published."""
    config: Any = from_dict(OBJECTIVES.load(name), {"name": name, **options})
    shape = ModelConfig(dim=64, ffn_dim=128, heads=2, encoder_layers=2 * (name != "gpt"), decoder_layers=2 * (name == "gpt"), norm="post",
                        norm_embedding=name != "gpt", scale_embedding=False, positions="learned", segments=2, init="truncated",
                        activation="gelu", head_transform=name in ("bert", "albert", "roberta", "unilm"), pooler=name in ("bert", "albert"),
                        embedding_dim=32 if name == "albert" else 0, languages="none", dropout=0.0)  # fmt: skip
    torch.manual_seed(5)
    cls: Any = objective_class(name)
    return cls(
        config,
        ObjectiveContext(
            Framing(replace(VOCAB, size=size), False, False, ()), shape, "en"
        ),
    ), Transformer(shape, size, ())


def texts(name: str, objective: Objective, size: int) -> Batch:
    """Text of all kinds of words."""
    draw = np.random.default_rng(1)
    if name in ("roberta", "gpt"):
        return objective.collator()(
            [Example(0, (draw.integers(10, size, 400), np.ones(400, np.int64)))],
            rngs(1),
        )
    sides = [draw.integers(10, size, (2, 50)).tolist() for _ in range(4)]
    return objective.collator()(
        [pair(a, b, i % 2, i) for i, (a, b) in enumerate(sides)], rngs(4)
    )


@pytest.mark.parametrize(("name", "size"), TOTALS)
def test_the_initial_loss_is_that_of_a_uniform_guess(name: str, size: int) -> None:
    """The weighted sum of what is lost on each target is that of guessing."""
    objective, model = fresh(name, size)
    found = texts(name, objective, size)
    with torch.no_grad():
        total = sum(
            objective.weights[term] * float(t.nll) / found.counts[term]
            for term, t in objective(model, found).items()
        )
    # A logit of 0.1 that all tokens have in common, as the detector's xavier-uniform layer gives, costs 50 (1/2 - 13%) 0.1 of 45.
    assert total == pytest.approx(
        TOTALS[name, size], rel=0.04 if name == "electra" else 0.015
    )


def test_a_constant_detector_loses_the_entropy_of_the_fakes() -> None:
    """No constant does better than saying the share of tokens that are replaced."""
    objective, model = fresh("electra", 30_522)
    found, lost = texts("electra", objective, 30_522), {}
    assert isinstance(objective, Electra) and objective.detector is not None
    with torch.no_grad():
        objective.detector.out.weight.zero_()
        slots = len(
            torch.unique(found.labels["mlm"].positions)
        )  # all samples of a fresh generator are wrong
        share = slots / found.counts["rtd"]
        for said in (share / 2, share, 2 * share):
            objective.detector.out.bias.fill_(math.log(said / (1 - said)))
            lost[said] = float(objective(model, found)["rtd"].nll) / found.counts["rtd"]
    assert lost[share] == pytest.approx(
        -share * math.log(share) - (1 - share) * math.log(1 - share), abs=1e-3
    )
    assert min(lost.values()) == lost[share]


# -- what is one and the same --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "albert", "electra"])
def test_tied_embeddings_stay_tied_when_loaded_and_moved(
    name: str, tmp_path: Path
) -> None:
    """After loading or moving there is one tensor of embeddings, which the output layer also uses."""
    objective, model = fresh(name, 90)
    save_file(model.state_dict(), tmp_path / "model")
    with torch.device("meta"):
        read = Transformer(model.config, 90, ())
    read.load_state_dict(load_file(tmp_path / "model"), assign=True)
    for again in (model, read, copy.deepcopy(model), read.to(torch.float64)):
        again.compute_dtype = next(again.parameters()).dtype
        rows = [
            p
            for p in (*again.parameters(), *objective.parameters())
            if p.dim() == 2 and p.shape[0] == 90
        ]
        assert [p.data_ptr() for p in rows] == [
            again.token_embedding("encoder").data_ptr()
        ]
        with torch.no_grad():
            tokens = Tokens(torch.tensor([[11]]), torch.tensor([1]))
            before = again.embed(tokens, "encoder").clone()
            again.token_embedding("encoder")[11] = torch.linspace(
                -1, 1, rows[0].shape[1]
            )
            assert not torch.allclose(again.embed(tokens, "encoder"), before)
            again.token_embedding("encoder")[11] *= 1_000
            state = torch.ones(1, 64, dtype=again.compute_dtype)
            if name != "electra":
                assert int(again.logits(state).abs().argmax()) == 11


def test_electras_two_networks_share_all_embeddings_and_nothing_else() -> None:
    """A change of tokens, positions, segments or their norm reaches both losses and comes from both; one of the layers, its own."""
    objective, model = fresh("electra", 90, mask_prob=0.4)
    objective.eval()  # the same samples each time
    found, names = (
        texts("electra", objective, 90),
        {"shared": 0, "generator": 0, "model": 0},
    )

    def losses() -> list[float]:
        with torch.no_grad():
            terms = objective(model, found)
        return [float(terms["mlm"].nll), float(terms["rtd"].nll)]

    plain = losses()
    assert isinstance(objective, Electra)
    for owner, module in (
        ("shared", model.token_embeddings),
        ("shared", model.embeddings),
        ("model", model.encoder),
        ("generator", objective.generator),
    ):
        assert module is not None
        for parameter in module.parameters():
            with torch.no_grad():
                kept = parameter.clone()
                parameter += 0.3 * torch.randn_like(parameter)
                changed = [a != b for a, b in zip(losses(), plain, strict=True)]
                parameter.copy_(kept)
            names[owner] += 1
            assert changed[0] is (owner != "model") and (
                owner == "generator" or changed[1]
            )
    assert names["shared"] == 5 and names["model"] and names["generator"]
    both = [*model.token_embeddings.parameters(), *model.embeddings.parameters()]
    for term in objective(model, found).values():
        assert all(
            bool(gradient.any())
            for gradient in torch.autograd.grad(term.loss, both, retain_graph=True)
        )

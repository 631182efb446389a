"""What the objectives make of examples, and what their losses may depend on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from masscli.core.config import to_dict
from masscli.core.rng import example_generator
from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.causal_lm.clm import CausalLM
from masscli.objectives.causal_lm.options import CausalLMOptions
from masscli.objectives.denoise.objective import Denoise
from masscli.objectives.denoise.options import DenoiseOptions
from masscli.objectives.masked_lm.mlm import MaskedLM
from masscli.objectives.masked_lm.options import MaskedLMOptions
from masscli.objectives.mass.objective import Mass
from masscli.objectives.mass.options import MassOptions
from masscli.objectives.objective import Objective, ObjectiveContext
from masscli.objectives.shared.masking import TokenMasker
from masscli.objectives.shared.sentence_noise import add_noise
from masscli.objectives.translate.objective import Translate
from masscli.objectives.translate.options import TranslateOptions

CLASSES: dict[type, type[Objective]] = {
    MassOptions: Mass, TranslateOptions: Translate, DenoiseOptions: Denoise, CausalLMOptions: CausalLM, MaskedLMOptions: MaskedLM,
}  # fmt: skip
ALL = [
    MassOptions(), MassOptions(preset="xlm"), MassOptions(preset="fairseq", source_shift=1),
    MassOptions(preset="summarization", window=20, block=8), MassOptions(k=1.0, mask_visibility="none"),
    MassOptions(k_tokens=1), MassOptions(span=1, feed="all"), MassOptions(first_input="mask"),
    TranslateOptions(), TranslateOptions(label_smoothing=0.0), DenoiseOptions(), CausalLMOptions(), MaskedLMOptions(),
]  # fmt: skip
PLAIN = {"mask_share": 1.0, "random_share": 0.0}
"""Always [M]: what is hidden can be told from what is shown."""


def describe(options: Any) -> str:
    """An objective and what it was told, for the name of a test."""
    plain = to_dict(type(options)())
    return " ".join(
        [
            options.name,
            *(
                f"{key}={value}"
                for key, value in to_dict(options).items()
                if plain.get(key) != value
            ),
        ]
    )


@pytest.fixture(scope="module")
def data(toy: Path) -> DataFolder:
    return DataFolder.open(toy)


@pytest.fixture(scope="module")
def framing(data: DataFolder) -> Framing:
    """Sources without a start symbol; the model's languages are not in the order of the data's."""
    return Framing(data.vocab, False, False, ("de", "fr", "en"))


def make_objective(options: Any, framing: Framing) -> Objective:
    return CLASSES[type(options)](
        options,
        ObjectiveContext(
            framing,
            ModelConfig(),
            "en-de" if options.input_kind.has_direction else "en",
        ),
    )  # type: ignore[call-arg]


def batch_builder(options: Any, framing: Framing, data: DataFolder) -> BatchBuilder:
    objective = make_objective(options, framing)
    return BatchBuilder("stream", *objective.dataset(data, "train"), 1)


def make_batch(
    options: Any, framing: Framing, *lines: Sequence[int], seed: int = 1
) -> Batch:
    """A batch of given ids; pairs translate a line into itself backwards."""
    fields = [(np.array(line), np.array(line[::-1])) for line in lines]
    rngs = [example_generator(seed, "stream", 0, row) for row in range(len(lines))]
    return make_objective(options, framing).collator()(
        [Example(row, both) for row, both in enumerate(fields)], rngs
    )


def make_model(size: int = 96, **options: Any) -> Transformer:
    torch.manual_seed(3)
    values: dict[str, Any] = {
        "dim": 16,
        "ffn_dim": 24,
        "heads": 2,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "languages": "embedding",
    }
    return Transformer(
        ModelConfig(**(values | {"dropout": 0.0} | options)), size, ("de", "fr", "en")
    )


WORDS = list(range(40, 52))


# -- the shape of batches ------------------------------------------------------------------------------------------------------------------


def test_translate_shifts_the_target_by_one(framing: Framing) -> None:
    vocab = framing.vocab
    batch = make_batch(TranslateOptions(), framing, [40, 41, 42], [50])
    assert batch.source.ids.tolist() == [
        [40, 41, 42, vocab.eos],
        [50, vocab.eos, vocab.pad, vocab.pad],
    ]
    assert batch.target is not None
    assert batch.target.ids.tolist() == [
        [vocab.bos, 42, 41, 40],
        [vocab.bos, 50, vocab.pad, vocab.pad],
    ]
    assert batch.labels["translate"].ids.tolist() == [
        42,
        41,
        40,
        vocab.eos,
        50,
        vocab.eos,
    ]
    assert batch.labels["translate"].positions.tolist() == [0, 1, 2, 3, 4, 5]
    assert (
        batch.source.lengths.tolist(),
        batch.target.lengths.tolist(),
        batch.counts,
    ) == (
        [4, 2],
        [4, 2],
        {"translate": 6.0},
    )
    assert batch.target.positions is None


def test_mass_keeps_the_places_of_what_it_hides(framing: Framing) -> None:
    """a b c d e f: a fragment of three from u on, read from u - 1 at the places of the sentence with its start symbol."""
    vocab = framing.vocab
    batch = make_batch(MassOptions(**PLAIN), framing, *[[40, 41, 42, 43, 44, 45]] * 8)
    assert batch.target is not None and batch.target.positions is not None
    row = [vocab.bos, 40, 41, 42, 43, 44, 45, vocab.eos]
    begins = [ids.tolist().index(vocab.mask) + 1 for ids in batch.source.ids]
    for n, u in enumerate(begins):
        assert batch.source.ids[n].tolist() == [
            *row[1:u],
            *[vocab.mask] * 3,
            *row[u + 3 :],
        ]
        assert batch.target.ids[n].tolist() == row[u - 1 : u + 2]
        assert batch.target.positions[n].tolist() == [u - 1, u, u + 1]
        assert batch.labels["mass"].ids[3 * n : 3 * n + 3].tolist() == row[u : u + 3]
    assert set(begins) > {min(begins), max(begins)}
    assert batch.labels["mass"].positions.tolist() == list(range(24))


def test_labels_of_ragged_rows_point_at_their_own_row(framing: Framing) -> None:
    batch = make_batch(
        MassOptions(k_tokens=2), framing, WORDS[:6], WORDS[:1], WORDS[:3]
    )
    assert batch.target is not None
    assert batch.target.lengths.tolist() == [2, 1, 2]
    assert batch.labels["mass"].positions.tolist() == [0, 1, 2, 4, 5]
    assert batch.counts == {"mass": 5.0}


@pytest.mark.parametrize("options", ALL, ids=describe)
def test_every_objective_counts_its_labels_and_names_its_rows(
    options: Any, data: DataFolder, framing: Framing
) -> None:
    batch = batch_builder(options, framing, data)(np.array([3, 17, 4]), 0)
    assert batch.example_numbers.tolist() == [3, 17, 4]
    for term, label in batch.labels.items():
        assert batch.counts[term] == len(label.ids) == len(label.positions)
        assert len(set(label.positions.tolist())) == len(label.positions)
        read = batch.target or batch.source
        row, column = (
            label.positions // read.ids.shape[1],
            label.positions % read.ids.shape[1],
        )
        assert bool((column < read.lengths[row]).all())


@pytest.mark.parametrize(
    "options",
    [MassOptions(**PLAIN), MassOptions(k_tokens=3, **PLAIN), MassOptions(span=1, **PLAIN), MassOptions(preset="xlm", **PLAIN),
     MassOptions(preset="xlm", span=2, **PLAIN), MassOptions(preset="fairseq", decoder_mask_share=0, decoder_random_share=0, **PLAIN),
     MassOptions(preset="summarization", block=4, k=0.5, **PLAIN)], ids=describe,
)  # fmt: skip
def test_what_is_hidden_is_what_is_written_in_rows_of_any_length(
    options: MassOptions, framing: Framing
) -> None:
    """The released code is out of step where the rows of a batch differ in length."""
    vocab, lines = framing.vocab, [WORDS[:n] for n in (12, 1, 5, 0, 2, 7, 7)]
    for seed in range(10):
        batch = make_batch(options, framing, *lines, seed=seed)
        target = batch.target
        assert target is not None and target.positions is not None
        written = iter(batch.labels["mass"].ids.tolist())
        for n, line in enumerate(lines):
            # The encoder reads all but the start symbol.
            row = [vocab.bos, *line, vocab.eos]
            source = batch.source.ids[n, : len(row) - 1].tolist()
            hidden = [
                place for place, shown in enumerate(source, 1) if shown == vocab.mask
            ]
            assert all(
                shown in (vocab.mask, original)
                for shown, original in zip(source, row[1:], strict=True)
            )
            length = int(target.lengths[n])
            before = [place - 1 for place in hidden]
            assert [next(written) for _ in range(length)] == [row[i] for i in hidden]
            assert target.ids[n, :length].tolist() == [row[i] for i in before]
            positions = range(length) if options.preset == "fairseq" else before
            assert target.positions[n, :length].tolist() == list(positions)
        assert next(written, None) is None


def test_a_source_may_begin_with_a_symbol_or_with_a_tag(framing: Framing) -> None:
    vocab = framing.vocab
    started, tagged = (
        replace(framing, source_bos=True),
        replace(framing, language_tag=True),
    )
    en, de = vocab.languages["en"], vocab.languages["de"]
    for frame, source, target in ((started, vocab.bos, vocab.bos), (tagged, en, de)):
        batch = make_batch(TranslateOptions(), frame, [40, 41])
        assert batch.target is not None
        assert batch.source.ids.tolist() == [[source, 40, 41, vocab.eos]]
        assert batch.target.ids.tolist() == [[target, 41, 40]]
        masked = make_batch(MassOptions(k=1.0, **PLAIN), frame, [40, 41])
        assert masked.target is not None
        assert masked.source.ids.tolist() == [
            [source, vocab.mask, vocab.mask, vocab.eos]
        ]
        assert masked.target.ids.tolist() == [[source, 40]]


@pytest.mark.parametrize("options", ALL, ids=describe)
def test_languages_are_matched_by_name(options: Any, framing: Framing) -> None:
    batch = make_batch(options, framing, WORDS, WORDS[:9])
    assert batch.source.language is not None
    assert batch.source.language.tolist() == [2, 2]
    if batch.target is not None:
        assert batch.target.language is not None
        assert batch.target.language.tolist() == (
            [0, 0] if options.input_kind.has_direction else [2, 2]
        )
    assert (
        make_batch(options, replace(framing, languages=()), WORDS).source.language
        is None
    )


# -- what is hidden from whom --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "outside", "inside"),
    [("paper", False, False), ("xlm", True, False), ("fairseq", True, True)],
)
def test_presets_hide_masks_from_cross_attention_or_from_the_encoder_too(
    preset: Any, outside: bool, inside: bool, data: DataFolder, framing: Framing
) -> None:
    batch = batch_builder(MassOptions(preset=preset), framing, data)(np.arange(40), 0)
    real = torch.arange(batch.source.ids.shape[1]) < batch.source.lengths[:, None]
    shown = batch.source.ids != framing.vocab.mask
    assert not bool(shown[real].all())
    for is_masked, given in (
        (outside, batch.source.cross_attention_mask),
        (inside, batch.source.self_attention_mask),
    ):
        assert (given is not None) == is_masked
        assert given is None or torch.equal(given[real], shown[real])


def test_a_row_whose_tokens_would_all_be_hidden_stays_visible(framing: Framing) -> None:
    batch = make_batch(
        MassOptions(preset="xlm", k=1.0, **PLAIN), framing, WORDS[:3], WORDS[:5]
    )
    assert bool((batch.source.ids[0, :4] == framing.vocab.mask).all())
    assert batch.source.cross_attention_mask is not None and bool(
        batch.source.cross_attention_mask.all()
    )


def test_a_mask_that_was_drawn_as_random_token_is_hidden_as_well(
    framing: Framing,
) -> None:
    """xlm draws random ids from all of them; its test is the id, not how it came there."""
    tiny = replace(framing, vocab=replace(framing.vocab, size=6, mask=4))
    batch = make_batch(
        MassOptions(preset="xlm", mask_share=0.0, random_share=1.0),
        tiny,
        *[[3] * 12] * 20,
    )
    assert batch.source.cross_attention_mask is not None
    assert torch.equal(batch.source.cross_attention_mask, batch.source.ids != 4)
    assert not bool(batch.source.cross_attention_mask.all())


@pytest.mark.parametrize(
    "options",
    [MassOptions(**PLAIN), MassOptions(preset="xlm", **PLAIN), MassOptions(feed="all", span=2, **PLAIN),
     MassOptions(preset="fairseq", decoder_mask_share=0, decoder_random_share=0, **PLAIN),
     MassOptions(preset="summarization", block=4, k=0.5, **PLAIN)], ids=describe,
)  # fmt: skip
def test_nothing_leaks_from_hidden_tokens(options: Any, framing: Framing) -> None:
    """Another word under an [M] changes its own label and what is written after it; the encoder and all steps up to it stay as they are."""
    model = make_model().eval().requires_grad_(False)
    before = make_batch(options, framing, WORDS)
    states = read(model, before)
    assert before.target is not None
    for n, (label, place) in enumerate(
        zip(
            before.labels["mass"].ids.tolist(),
            before.labels["mass"].positions.tolist(),
            strict=True,
        )
    ):
        if label == framing.vocab.eos:
            continue
        after = make_batch(
            options, framing, [60 if word == label else word for word in WORDS]
        )
        assert torch.equal(after.source.ids, before.source.ids)
        assert torch.nonzero(
            after.labels["mass"].ids != before.labels["mass"].ids
        ).tolist() == [[n]]
        assert torch.equal(read(model, after)[:, : place + 1], states[:, : place + 1])


def read(model: Transformer, batch: Batch) -> Tensor:
    assert batch.target is not None
    return model.decode(batch.target, model.encode(batch.source))


def test_a_masked_word_does_not_affect_a_masked_language_model(
    framing: Framing,
) -> None:
    options = MaskedLMOptions(leave_unmasked_prob=0.0, random_token_prob=0.0)
    before = make_batch(options, framing, WORDS)
    hidden = before.labels["mlm"].ids.tolist()
    after = make_batch(
        options, framing, [60 if word in hidden else word for word in WORDS]
    )
    assert torch.equal(after.source.ids, before.source.ids)
    assert set(after.labels["mlm"].ids.tolist()) == {60}


# -- losses --------------------------------------------------------------------------------------------------------------------------------


def losses(
    options: Any, framing: Framing, model: Transformer, batch: Batch
) -> tuple[list[float], list[Tensor]]:
    """The sums of every term, and the gradients of the first ones."""
    terms = make_objective(options, framing)(model, batch)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(
        sum((t.loss for t in terms.values()), torch.zeros(())),
        parameters,
        allow_unused=True,
    )
    sums = [float(x) for term in terms.values() for x in (term.loss.detach(), term.nll)]
    return sums, [
        g if g is not None else torch.zeros_like(p)
        for g, p in zip(gradients, parameters, strict=True)
    ]


@pytest.mark.parametrize("options", ALL, ids=describe)
def test_a_batch_is_the_sum_of_its_rows(
    options: Any, data: DataFolder, framing: Framing
) -> None:
    model, collate = make_model(), batch_builder(options, framing, data)
    rows = np.array([5, 60, 31, 2, 9])
    sums, gradients = losses(options, framing, model, collate(rows, 2))
    parts = [
        losses(options, framing, model, collate(rows[i : i + 1], 2))
        for i in range(len(rows))
    ]
    assert sums == pytest.approx(
        [sum(values) for values in zip(*(p[0] for p in parts), strict=True)], rel=1e-5
    )
    for i, whole in enumerate(gradients):
        assert (
            float((whole - sum(p[1][i] for p in parts)).norm())
            <= 1e-5 * float(whole.norm()) + 1e-6
        )


def test_label_smoothing_is_in_the_loss_and_not_in_the_report(framing: Framing) -> None:
    model, batch = (
        make_model(),
        make_batch(TranslateOptions(label_smoothing=0.2), framing, WORDS, WORDS[:4]),
    )
    logits = (
        model.logits(read(model, batch))
        .detach()
        .flatten(0, 1)[batch.labels["translate"].positions]
        .double()
    )
    term = make_objective(TranslateOptions(label_smoothing=0.2), framing)(model, batch)[
        "translate"
    ]
    expected = batch.labels["translate"].ids
    for actual, smoothing in ((term.loss.detach(), 0.2), (term.nll, 0.0)):
        assert float(actual) == pytest.approx(
            float(
                F.cross_entropy(
                    logits, expected, reduction="sum", label_smoothing=smoothing
                )
            ),
            rel=1e-5,
        )


def test_mass_of_everything_is_a_causal_language_model(
    data: DataFolder, framing: Framing
) -> None:
    """k = n, the end included: with an encoder that says nothing, the loss is that of the same decoder on its own (spec item 15)."""
    model = make_model(norm="pre")
    with torch.no_grad():
        for layer in model.decoder.layers:  # type: ignore[union-attr]
            layer.cross_attention.out["shared"].weight.zero_()  # type: ignore[index, operator, union-attr]
            layer.cross_attention.out["shared"].bias.zero_()  # type: ignore[index, operator, union-attr]
    rows, whole = (
        np.arange(8),
        MassOptions(k=1.0, mask_eos=True, k_of="sequence", **PLAIN),
    )
    masked, causal = (
        batch_builder(whole, framing, data)(rows, 0),
        batch_builder(CausalLMOptions(), framing, data)(rows, 0),
    )
    assert bool(
        (
            (masked.source.ids == framing.vocab.mask)
            | (masked.source.ids == framing.vocab.pad)
        ).all()
    )
    assert masked.target is not None and torch.equal(
        masked.target.ids, causal.source.ids
    )
    found = (
        make_objective(whole, framing)(model, masked)["mass"],
        make_objective(CausalLMOptions(), framing)(model, causal)["clm"],
    )
    assert masked.counts["mass"] == causal.counts["clm"]
    assert float(found[0].nll) == pytest.approx(float(found[1].nll), rel=1e-6)


def test_mass_of_one_token_is_a_masked_language_model_with_one_mask(
    framing: Framing,
) -> None:
    """The same texts with one [M], and the same tokens to write (spec item 15)."""
    one, few = (
        MassOptions(k_tokens=1, **PLAIN),
        MaskedLMOptions(mask_prob=1e-6, leave_unmasked_prob=0, random_token_prob=0),
    )
    found = []
    for options, term in ((one, "mass"), (few, "mlm")):
        batch = make_batch(options, framing, *[WORDS] * 200)
        found.append(
            set(
                zip(
                    map(tuple, batch.source.ids.tolist()),
                    batch.labels[term].ids.tolist(),
                    strict=True,
                )
            )
        )
    assert found[0] == found[1]
    assert len(found[0]) == len(WORDS)


def test_an_encoder_of_only_masks_knows_only_the_length(
    framing: Framing,
) -> None:
    whole, model = (
        MassOptions(k=1.0, mask_eos=True, k_of="sequence", **PLAIN),
        make_model(),
    )
    these, those, longer = (
        model.encode(make_batch(whole, framing, line).source).hidden
        for line in (WORDS[:6], WORDS[6:], WORDS[:7])
    )
    assert torch.equal(these, those)
    assert not torch.allclose(these, longer[:, :7], atol=1e-3)


def test_text_without_a_target_has_a_loss_of_0(framing: Framing) -> None:
    """A window of six tokens is too short for 15% of it."""
    options = MassOptions(preset="summarization")
    batch = make_batch(options, framing, WORDS[:6], WORDS[:2])
    sums, gradients = losses(options, framing, make_model(), batch)
    assert batch.counts == {"mass": 0.0}
    assert sums == [0.0, 0.0] and not any(bool(g.any()) for g in gradients)


# -- noise ---------------------------------------------------------------------------------------------------------------------------------

LINE, MASK = np.arange(100, 400), 4


def noisy(
    shuffle: float, drop: float, blank: float, draws: int = 200
) -> list[list[int]]:
    return [
        add_noise(
            LINE, shuffle, drop, blank, MASK, example_generator(1, "en", 0, i)
        ).tolist()
        for i in range(draws)
    ]


def test_denoise_drops_and_blanks_at_the_given_rates() -> None:
    assert noisy(0, 0, 0, 1) == [LINE.tolist()]
    assert abs(np.mean([len(line) for line in noisy(0, 0.1, 0)]) / 300 - 0.9) < 0.005
    assert (
        abs(np.mean([line.count(MASK) for line in noisy(0, 0, 0.2)]) / 300 - 0.2)
        < 0.007
    )
    both = noisy(0, 0.1, 0.2)
    assert (
        abs(sum(line.count(MASK) for line in both) / sum(map(len, both)) - 0.2) < 0.007
    )
    for line in both:
        assert [x for x in line if x != MASK] == sorted(x for x in line if x != MASK)


def test_denoise_moves_no_word_further_than_three_places() -> None:
    moves = np.concatenate(
        [np.abs(np.array(line) - 100 - np.arange(300)) for line in noisy(3, 0, 0)]
    )
    assert moves.max() == 3
    assert np.mean(moves > 0) > 0.5


def noisy_words(
    shuffle: float, drop: float, blank: float, draws: int = 200
) -> list[list[list[int]]]:
    """Noise on words of three tokens, as triples."""
    starts = np.arange(300) % 3 == 0
    found = []
    for i in range(draws):
        rng = example_generator(1, "en", 0, i)
        line = add_noise(LINE, shuffle, drop, blank, MASK, rng, starts).tolist()
        found.append([line[place : place + 3] for place in range(0, len(line), 3)])
    return found


def test_noise_on_whole_words_leaves_words_whole() -> None:
    words = [list(range(number, number + 3)) for number in range(100, 400, 3)]
    for line in noisy_words(3, 0.1, 0.1):
        assert all(word == [MASK] * 3 or word in words for word in line)
    dropped = noisy_words(0, 0.1, 0)
    assert abs(np.mean([len(line) for line in dropped]) / 100 - 0.9) < 0.01
    blank = noisy_words(0, 0, 0.2)
    assert abs(np.mean([line.count([MASK] * 3) for line in blank]) / 100 - 0.2) < 0.012
    moves = np.concatenate(
        [
            np.abs(np.array([words.index(word) for word in line]) - np.arange(100))
            for line in noisy_words(3, 0, 0)
        ]
    )
    assert moves.max() == 3
    assert np.mean(moves > 0) > 0.5


def test_noise_on_words_of_one_token_is_noise_on_tokens() -> None:
    for first_begins in (True, False):
        starts = np.ones(300, np.bool_)
        starts[0] = first_begins
        rng = example_generator(1, "en", 0, 7)
        found = add_noise(LINE, 3, 0.1, 0.1, MASK, rng, starts)
        assert found.tolist() == noisy(3, 0.1, 0.1, 8)[7]


@pytest.mark.parametrize("k", [2, 3, 4])
def test_the_shuffle_of_xlm_and_fairseq_reaches_one_place_further(k: int) -> None:
    """XLM sorts by place + U(0, k): what is moved by up to k - 1 places, and here called k - 1."""
    rng = np.random.default_rng(1)
    theirs = []
    for _ in range(300):
        order = np.argsort(np.arange(300) + rng.uniform(0, k, 300))
        theirs.append(np.abs(order - np.arange(300)))
    ours = [
        np.abs(np.array(line) - 100 - np.arange(300))
        for line in noisy(k - 1, 0, 0, 300)
    ]
    for distance in range(k + 1):
        assert (
            abs(
                np.mean(np.array(theirs) == distance)
                - np.mean(np.array(ours) == distance)
            )
            < 0.01
        )


def test_denoise_keeps_at_least_a_word() -> None:
    assert all(len(line) == 1 for line in noisy(3, 1.0, 0, 20))
    assert (
        add_noise(
            LINE[:0], 3, 0.5, 0.5, MASK, example_generator(1, "en", 0, 0)
        ).tolist()
        == []
    )


def test_mlm_chooses_fifteen_percent_and_shows_eighty_ten_ten() -> None:
    choosable = np.ones(300, np.bool_)
    choosable[::10] = False
    masker = TokenMasker("sentence-tokens", 0.15, 0.1, 0.1, MASK, np.arange(500, 900))
    counts, kinds = [], []
    for i in range(400):
        shown, places = masker(
            LINE, choosable, None, i, example_generator(1, "en", 0, i)
        )
        assert bool(choosable[places].all())
        untouched = np.setdiff1d(np.arange(300), places)
        assert np.array_equal(shown[untouched], LINE[untouched])
        counts.append(len(places))
        kinds.append(
            np.select(
                [
                    shown[places] == MASK,
                    shown[places] == LINE[places],
                    shown[places] >= 500,
                ],
                [0, 1, 2],
                3,
            )
        )
    assert set(counts) == {40, 41}  # 0.15 * 270 = 40.5, rounded up or down by chance
    shares = np.bincount(np.concatenate(kinds), minlength=3) / sum(counts)
    assert np.abs(shares - [0.8, 0.1, 0.1]).max() < 0.01


def test_mlm_chooses_at_least_one_word_and_never_a_special(
    data: DataFolder, framing: Framing
) -> None:
    for row in range(60):
        batch = batch_builder(
            MaskedLMOptions(mask_prob=0.01), replace(framing, source_bos=True), data
        )(np.array([row]), 0)
        assert batch.counts == {"mlm": 1.0}
        assert not set(batch.labels["mlm"].ids.tolist()) & framing.vocab.special_ids


def test_noise_is_fresh_every_epoch_and_the_same_in_every_batch(
    data: DataFolder, framing: Framing
) -> None:
    for options in (MassOptions(), DenoiseOptions(), MaskedLMOptions()):
        collate = batch_builder(options, framing, data)
        one, many = (
            collate(np.array([7]), 0).source,
            collate(np.array([3, 7, 4]), 0).source,
        )
        assert many.ids[1, : int(many.lengths[1])].tolist() == one.ids[0].tolist()
        assert (
            len(
                {
                    tuple(collate(np.array([7]), n).source.ids[0].tolist())
                    for n in range(8)
                }
            )
            > 1
        )


def test_translation_blanks_words_of_either_side_in_training_only(
    data: DataFolder, framing: Framing
) -> None:
    options, model = TranslateOptions(source_blank=0.3, target_blank=0.6), make_model()
    taught, rows = make_objective(options, framing), np.arange(200)
    given = batch_builder(options, framing, data)(rows, 0)
    batch = taught.prepare(model, given)
    assert given.target is not None and batch.target is not None
    for before, after, share in (
        (given.source, batch.source, 0.3),
        (given.target, batch.target, 0.6),
    ):
        changed = before.ids != after.ids
        assert bool((after.ids[changed] == framing.vocab.mask).all())
        words = ~torch.isin(before.ids, torch.tensor(sorted(framing.vocab.special_ids)))
        assert not bool((changed & ~words).any())
        assert float(changed.sum() / words.sum()) == pytest.approx(
            share, abs=4 * (share * (1 - share) / float(words.sum())) ** 0.5
        )
    # What is replaced on one side says nothing about the other.
    width = min(given.source.ids.shape[1], given.target.ids.shape[1])
    specials = torch.tensor(sorted(framing.vocab.special_ids))
    sides = [(given.source, batch.source), (given.target, batch.target)]
    words = [~torch.isin(before.ids[:, :width], specials) for before, _ in sides]
    blank = [(after.ids == framing.vocab.mask)[:, :width] for _, after in sides]
    places = words[0] & words[1]
    both = float((blank[0] & blank[1] & places).sum() / places.sum())
    spread = (0.18 * 0.82 / float(places.sum())) ** 0.5
    assert both == pytest.approx(0.3 * 0.6, abs=4 * spread)
    assert torch.equal(batch.labels["translate"].ids, given.labels["translate"].ids)
    alone = taught.prepare(model, batch_builder(options, framing, data)(rows[9:10], 0))
    assert (
        alone.source.ids[0].tolist()
        == batch.source.ids[9, : int(batch.source.lengths[9])].tolist()
    )
    again = taught.prepare(model, batch_builder(options, framing, data)(rows, 1))
    assert not torch.equal(again.source.ids, batch.source.ids)
    taught.eval()
    assert taught.prepare(model, given) is given

"""BERT and its relatives: what their batches hold, what their losses may depend on, and that each of them learns and goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from masscli.__main__ import run as masscli
from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.core.rng import example_generator
from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchLimits, BatchSampler
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.models.presets import resolve
from masscli.models.transformer import Transformer, count_parameters
from masscli.objectives.electra import collator as electra_collator
from masscli.objectives.electra.generator import Generator, generator_config
from masscli.objectives.electra.objective import Electra
from masscli.objectives.electra.options import ElectraOptions
from masscli.objectives.objective import Objective, ObjectiveContext
from masscli.objectives.registry import OBJECTIVES, objective_class
from masscli.objectives.shared.paired_text import add_special_tokens
from masscli.training.events import Evaluated, Event, Stepped
from masscli.training.setup.build import build
from masscli.training.trainer import Trainer
from tests.commands import succeed
from tests.objectives.shared.test_segment_pairs import Text, pairs
from tests.objectives.shared.test_segment_pairs import pairs as segment_pairs
from tests.toy import recipe
from tests.training.test_trainer import same_run
from tests.vocabularies import vocabulary_of_ids

VOCAB = vocabulary_of_ids(60)
FRAMING = Framing(VOCAB, False, False, ("de", "en"))
SHAPE: dict[str, Any] = {"dim": 16, "ffn_dim": 24, "heads": 2, "encoder_layers": 2, "decoder_layers": 2, "languages": "embedding",
                         "segments": 2, "dropout": 0.0}  # fmt: skip
STACKS = {
    "encoder": {"decoder_layers": 0},
    "decoder": {"encoder_layers": 0},
    "encoder-decoder": {},
}
TERMS = {
    "bert": {"mlm", "nsp"}, "roberta": {"mlm"}, "albert": {"mlm", "sop"}, "electra": {"mlm", "rtd"}, "gpt": {"lm"},
    "unilm": {"ae", "par"}, "bert+lm": {"mlm", "clm"}, "tlm": {"mlm"}, "s2s": {"s2s"},
}  # fmt: skip


def make_objective(name: str, framing: Framing = FRAMING, **options: Any) -> Objective:
    torch.manual_seed(4)
    schema = OBJECTIVES.load(name)
    config: Any = from_dict(schema, {"name": name, **options})
    model = ModelConfig(**(SHAPE | STACKS[config.stacks]))
    cls: Any = objective_class(name)
    objective: Objective = cls(
        config,
        ObjectiveContext(
            framing, model, "en-de" if config.input_kind.has_direction else "en"
        ),
    )
    return objective


def make_model(
    objective: Objective, size: int = VOCAB.size, **options: Any
) -> Transformer:
    torch.manual_seed(3)
    return Transformer(replace(objective.context.model, **options), size, ("de", "en"))


def pair(a: Sequence[int], b: Sequence[int], label: int = 0, row: int = 0) -> Example:
    return Example(
        row,
        (
            np.array(a),
            np.array(b, np.int64),
            np.array([label]),
            np.ones(len(a) + len(b), np.int64),
        ),
    )


def words(seed: int, n: int) -> list[int]:
    return np.random.default_rng(seed).integers(10, 60, n).tolist()


def rngs(n: int, seed: int = 1) -> list[np.random.Generator]:
    return [example_generator(seed, "stream", 0, row) for row in range(n)]


def make_batch(objective: Objective, *lengths: tuple[int, int]) -> Batch:
    return objective.collator()(
        [
            pair(words(i, a), words(99 + i, b), i % 2, i)
            for i, (a, b) in enumerate(lengths)
        ],
        rngs(len(lengths)),
    )


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("mass", {"mass": 1.0}),
        ("denoise", {"denoise": 1.0}),
        ("mlm", {"mlm": 1.0}),
        ("clm", {"clm": 1.0}),
        ("bert+lm", {"mlm": 1.0, "clm": 1.0}),
        ("tlm", {"mlm": 1.0}),
        ("bert", {"mlm": 1.0, "nsp": 1.0}),
        ("roberta", {"mlm": 1.0}),
        ("albert", {"mlm": 1.0, "sop": 1.0}),
        # Clark et al. 2020, section 3.2: lambda = 50.
        ("electra", {"mlm": 1.0, "rtd": 50.0}),
        ("gpt", {"lm": 1.0}),
        ("unilm", {"ae": 1.0, "par": 1.0}),
        ("translate", {"translate": 1.0}),
        ("s2s", {"s2s": 1.0}),
        ("backtranslate", {"backtranslate": 1.0}),
    ],
)
def test_loss_terms_have_the_published_weights(
    name: str, weights: dict[str, float]
) -> None:
    assert dict(make_objective(name).weights) == weights


@pytest.mark.parametrize(
    "name",
    ["mass", "denoise", "translate", "backtranslate", "mlm", "clm", "bert+lm", "tlm", "electra", "gpt", "unilm", "s2s"],
)  # fmt: skip
def test_the_use_of_a_source_is_measured_where_a_decoder_predicts_from_one(
    name: str,
) -> None:
    reads = name in ("mass", "denoise", "translate", "backtranslate")
    assert make_objective(name).predicts_from_source is reads


# -- batches -------------------------------------------------------------------------------------------------------------------------------


def test_a_pair_is_framed_as_published() -> None:
    framed = add_special_tokens(pair([10, 11], [12, 13]), FRAMING)
    assert framed.ids.tolist() == [5, 10, 11, 6, 12, 13, 6]
    assert framed.segments.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert framed.is_text.tolist() == [False, True, True, False, True, True, False]
    alone = add_special_tokens(pair([10, 11], []), FRAMING)
    assert (alone.ids.tolist(), alone.segments.tolist()) == (
        [5, 10, 11, 6],
        [0, 0, 0, 0],
    )


def test_an_exchanged_pair_is_framed_as_it_is_shown() -> None:
    """The worked string of ALBERT: [CLS] c d [SEP] a b [SEP], segments 0 0 0 0 1 1 1, label 1."""
    a, b, c, d = 10, 11, 12, 13
    column = Text([[2, 2]] * 20)
    column.rows = [np.array([a, b]), np.array([c, d])] * 20
    view = pairs(column, "sop", short_prob=0.0)
    objective = make_objective("albert", leave_unmasked_prob=1.0, random_token_prob=0.0)
    batch = objective.collator()([view[row] for row in range(20)], rngs(20))
    assert (
        batch.source.segments is not None
        and batch.source.segments.tolist() == [[0, 0, 0, 0, 1, 1, 1]] * 20
    )
    shown = {0: [5, a, b, 6, c, d, 6], 1: [5, c, d, 6, a, b, 6]}
    assert batch.source.ids.tolist() == [
        shown[label] for label in batch.labels["sop"].ids.tolist()
    ]
    assert set(batch.labels["sop"].ids.tolist()) == {0, 1}


@pytest.mark.parametrize("name", ["bert", "albert"])
def test_special_symbols_are_never_predicted(name: str) -> None:
    objective = make_objective(name)
    for seed in range(20):
        expected = objective.collator()(
            [pair(words(seed, 9), words(seed + 1, 7), 1, seed)], rngs(1)
        )
        assert expected.counts[(name == "bert" and "nsp") or "sop"] == 1.0
        assert min(expected.labels["mlm"].ids.tolist()) >= 10


def test_roberta_begins_a_block_with_the_start_symbol() -> None:
    objective = make_objective(
        "roberta", mask_prob=0.01, leave_unmasked_prob=1.0, random_token_prob=0.0
    )
    block = Example(0, (np.array([10, 11, 2, 12, 2]), np.ones(5, np.int64)))
    batch = objective.collator()([block], rngs(1))
    assert batch.source.ids.tolist() == [[1, 10, 11, 2, 12, 2]]
    assert batch.source.segments is None


def test_electra_keeps_the_originals_beside_what_the_generator_reads() -> None:
    objective = make_objective("electra", mask_prob=0.4, mask_keep=0.5)
    batch = make_batch(objective, (12, 9), (5, 0))
    real, slots = batch.labels["real"], batch.labels["mlm"]
    shown = batch.source.ids.flatten()
    assert batch.counts == {"mlm": float(len(slots.ids)), "rtd": 24.0 + 7.0}
    original = shown.clone().index_copy(0, real.positions, real.ids)
    assert torch.equal(original[slots.positions], slots.ids)
    changed = torch.nonzero(shown != original)[:, 0]
    assert set(changed.tolist()) <= set(slots.positions.tolist())
    assert set(shown[changed].tolist()) == {VOCAB.mask}  # no random tokens


def test_a_text_window_is_predicted_from_its_start() -> None:
    found = make_objective("gpt").collator()(
        [Example(0, (np.array([10, 11, 2, 12]),))], rngs(1)
    )
    assert found.source.ids.tolist() == [[1, 10, 11, 2]]
    assert found.labels["lm"].ids.tolist() == [10, 11, 2, 12]


def test_windows_may_be_as_long_as_there_are_positions(toy: Path) -> None:
    objective = make_objective("gpt", tokens_per_sample=32)
    view: Any = objective.dataset(DataFolder.open(toy), "train")[0]
    assert view.sizes(0, 1).tolist() == [[32]]
    assert objective.collator()([view[0]], rngs(1)).source.ids.shape == (1, 32)


def test_both_sides_of_a_translation_count_from_0_in_their_own_language() -> None:
    objective = make_objective("tlm", mask_prob=0.3)
    batch = objective.collator()(
        [Example(0, (np.array([10, 11]), np.array([12])))], rngs(1)
    )
    assert batch.source.positions is not None and batch.source.language is not None
    assert batch.source.positions.tolist() == [[0, 1, 2, 3, 0, 1, 2]]
    assert batch.source.language.tolist() == [[1, 1, 1, 1, 0, 0, 0]]
    model = make_model(objective)
    once = replace(batch.source, language=torch.tensor([1]))
    assert not torch.equal(model.read(batch.source), model.read(once))
    assert torch.allclose(
        model.read(replace(batch.source, language=torch.full((1, 7), 1))),
        model.read(once),
    )


def test_the_encoder_predicts_masks_and_the_decoder_predicts_without_it() -> None:
    objective = make_objective("bert+lm")
    batch = objective.collator()([Example(0, (np.array(words(1, 9)),))], rngs(1))
    model = make_model(objective)
    terms = objective(model, batch)
    torch.autograd.backward(terms["clm"].loss)
    assert all(
        p.grad is None for n, p in model.named_parameters() if n.startswith("encoder")
    )
    assert all(p.grad is None for n, p in model.named_parameters() if "cross" in n)
    assert batch.target is not None and batch.target.ids[0, 0] == VOCAB.bos


@pytest.mark.parametrize("name", ["bert", "albert", "electra", "unilm", "s2s"])
def test_objectives_without_a_place_for_language_tags_refuse_them(name: str) -> None:
    with pytest.raises(MasscliError, match=f"^{name} cannot read language tags$"):
        make_objective(name, replace(FRAMING, language_tag=True))


# -- sizes of what belongs to the objective ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "size", "count"),
    [
        (
            {"dim": 256, "ffn_dim": 1024, "heads": 4, "embedding_dim": 128},
            0.25,
            14_196_219,
        ),
        ({"dim": 768, "ffn_dim": 3072, "heads": 12}, 1 / 3, 119_386_427),
        (
            {"dim": 1024, "ffn_dim": 4096, "heads": 16, "encoder_layers": 24},
            0.25,
            354_655_291,
        ),
    ],
)
def test_electra_has_as_many_parameters_as_published(
    arch: dict[str, Any], size: float, count: int
) -> None:
    vocab = replace(VOCAB, size=30_522)
    model = ModelConfig(**({"encoder_layers": 12, "decoder_layers": 0, "norm": "post", "positions": "learned", "max_positions": 512,
                            "segments": 2, "norm_embedding": True, "languages": "none"} | arch))  # fmt: skip
    config: Any = from_dict(
        OBJECTIVES.load("electra"), {"name": "electra", "generator_size": size}
    )
    with torch.device("meta"):
        whole = Electra(
            config, ObjectiveContext(Framing(vocab, False, False, ()), model, "en")
        )
        assert (
            count_parameters(whole) + count_parameters(Transformer(model, 30_522, ()))
            == count
        )


def test_the_head_of_pairs_is_the_objectives() -> None:
    assert count_parameters(make_objective("bert")) == 2 * 16 + 2
    assert count_parameters(make_objective("roberta")) == 0
    assert (
        count_parameters(make_objective("roberta", input_form="sentence-pair"))
        == 2 * 16 + 2
    )


def test_the_generator_is_narrower() -> None:
    config = generator_config(ModelConfig(dim=768, heads=12), 1 / 3)
    assert (config.dim, config.heads, config.ffn_dim) == (256, 4, 1024)
    for arch, width in (
        ("electra-small", 64),
        ("electra-base", 256),
        ("electra-large", 256),
    ):
        model = replace(resolve({"arch": arch}, "encoder"), languages="none")
        with torch.device("meta"):
            objective = Electra(
                from_dict(ElectraOptions, {"name": "electra"}),
                ObjectiveContext(Framing(VOCAB, False, False, ()), model, "en"),
            )
        assert objective.generator.width == width
    assert (
        count_parameters(
            Generator(
                ModelConfig(dim=32, heads=2, encoder_layers=1, decoder_layers=0),
                1.0,
                60,
            )
        )
        > 0
    )


# -- losses --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "albert", "electra", "unilm"])
def test_initial_losses_are_those_of_a_uniform_guess(name: str) -> None:
    objective = make_objective(
        name, **({"mask_prob": 0.3} if name == "electra" else {})
    )
    model = make_model(
        objective, init="bert", scale_embedding=False, norm_embedding=True
    )
    batch = make_batch(objective, (20, 18), (15, 15), (20, 20))
    per_target = {
        term: float(t.nll) / batch.counts[term]
        for term, t in objective(model, batch).items()
    }
    assert set(per_target) == TERMS[name]
    for term, value in per_target.items():
        assert value == pytest.approx(
            math.log(2) if term in ("nsp", "sop", "rtd") else math.log(60), abs=0.12
        )


def test_the_generator_gets_no_gradient_from_the_discriminator() -> None:
    objective = make_objective("electra", mask_prob=0.3)
    model = make_model(objective)
    terms = objective(model, make_batch(objective, (20, 18)))
    torch.autograd.backward(terms["rtd"].loss, retain_graph=True)
    assert isinstance(objective, Electra)
    assert all(p.grad is None for p in objective.generator.parameters())
    table = model.token_embeddings["shared"]
    assert table.grad is not None
    alone = table.grad.clone()
    torch.autograd.backward(terms["mlm"].loss)
    assert not torch.equal(alone, table.grad)
    assert all(p.grad is not None for p in objective.generator.parameters())


def test_the_discriminator_has_the_models_non_linearity() -> None:
    tanh = -0.5 * (1 + math.tanh((2 / math.pi) ** 0.5 * (-1 - 0.044715)))
    options: Any = from_dict(OBJECTIVES.load("electra"), {"name": "electra"})
    for activation, expected in (
        ("relu", 0.0),
        ("gelu", -0.5 * (1 + math.erf(-(0.5**0.5)))),
        ("gelu_tanh", tanh),
    ):
        objective: Any = Electra(
            options,
            ObjectiveContext(
                FRAMING, from_dict(ModelConfig, {"activation": activation}), "en"
            ),
        )
        for parameter in objective.detector.parameters():
            torch.nn.init.constant_(parameter, 0.0)
        torch.nn.init.constant_(objective.detector.dense.bias, -1.0)
        torch.nn.init.constant_(objective.detector.out.weight, 1 / 128)
        assert objective.detector(torch.ones(1, 128)).item() == pytest.approx(
            expected, abs=1e-6
        )


def test_a_correct_sample_counts_as_original(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worked example: [CLS] the chef cooked [SEP], slots 1 and 3, samples `the` and `ate`."""
    the, chef, cooked, ate = 20, 21, 22, 23
    objective = make_objective("electra", mask_keep=0.0)
    assert isinstance(objective, Electra) and objective.detector is not None
    monkeypatch.setattr(
        electra_collator, "choose_positions", lambda *args: np.array([1, 3])
    )
    monkeypatch.setattr(
        objective, "_sample", lambda states, table, batch: torch.tensor([the, ate])
    )
    actual = objective.collator()([pair([the, chef, cooked], [])], rngs(1))
    assert actual.source.ids.tolist() == [
        [VOCAB.cls, VOCAB.mask, chef, VOCAB.mask, VOCAB.sep]
    ]
    assert actual.labels["mlm"].ids.tolist() == [the, cooked]
    model, read, judged = make_model(objective), [], []
    model.embeddings["encoder"].register_forward_hook(
        lambda module, inputs, out: read.append(inputs[0].ids.tolist())
    )
    objective.detector.register_forward_hook(
        lambda module, inputs, out: judged.append(out)
    )
    loss = objective(model, actual)["rtd"].nll
    assert read == [
        actual.source.ids.tolist(),
        [[VOCAB.cls, the, chef, ate, VOCAB.sep]],
    ]  # the generator, the discriminator
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        judged[0], torch.tensor([0.0, 0, 0, 1, 0]), reduction="sum"
    )
    assert torch.allclose(loss, expected)


@pytest.mark.parametrize("variant", ["electra-15", "replace-mlm", "all-tokens-mlm"])
def test_the_ablations_of_electra_have_gradients_everywhere(variant: str) -> None:
    objective = make_objective("electra", variant=variant, mask_prob=0.3)
    model = make_model(objective)
    batch = make_batch(objective, (20, 18), (4, 0))
    terms = objective(model, batch)
    assert set(terms) == set(objective.weights) == set(batch.counts)
    torch.autograd.backward(torch.stack([t.loss for t in terms.values()]).sum())
    assert all(p.grad is not None for p in objective.parameters())


def test_each_stage_of_two_has_the_loss_of_what_learns_in_it() -> None:
    objective = make_objective("electra", variant="two-stage", generator_updates=1)
    model = make_model(objective)
    both = make_batch(objective, (9, 8), (7, 6))
    for handed, term in ((False, "mlm"), (True, objective.model_term)):
        objective.get_buffer("handed").fill_(handed)
        assert set(objective.train().prepare(model, both).counts) == {term}
        assert set(objective(model, objective.prepare(model, both))) == {term}
        # Both are measured in validation.
        measured = objective.eval().prepare(model, both)
        assert set(objective(model, measured)) == {"mlm", objective.model_term}


def test_predictions_for_all_tokens_mix_copying_and_predicting() -> None:
    objective = make_objective("electra", variant="all-tokens-mlm")
    assert (
        isinstance(objective, Electra)
        and objective.gate is not None
        and objective.output is not None
    )
    model = make_model(objective)
    hidden, shown, labels = (
        torch.randn(5, 16),
        torch.tensor([10, 11, 12, 13, 14]),
        torch.tensor([10, 11, 20, 13, 21]),
    )
    table = model.token_embedding("encoder")
    gate = torch.sigmoid(objective.gate(hidden)[:, 0])
    p = (1 - gate) * objective.output.logits(hidden, table).softmax(-1)[
        torch.arange(5), labels
    ] + gate * (shown == labels)
    assert torch.allclose(
        objective._copy_loss(hidden, shown, labels, table).loss,
        -p.log().sum(),
        atol=1e-5,
    )


def test_validation_draws_the_same_samples_each_time() -> None:
    objective = make_objective("electra", mask_prob=0.3).eval()
    model, batch = make_model(objective), make_batch(objective, (20, 18))
    assert torch.equal(
        objective(model, batch)["rtd"].nll, objective(model, batch)["rtd"].nll
    )


# -- rows of a batch -----------------------------------------------------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {name: {} for name in TERMS} | {
    "electra": {"temperature": 1e-6}
}
"""Nothing may be drawn in a loss; the generator of ELECTRA takes what it thinks best."""


def ragged(name: str) -> list[Example]:
    """Four examples of different lengths in the form that an objective reads."""
    made = []
    for row, (a, b) in enumerate([(9, 8), (4, 2), (7, 12), (3, 1)]):
        whole = pair(words(row, a), words(row + 9, b), row % 2, row)
        fields = {"roberta": (whole.fields[0], np.ones(a, np.int64)), "gpt": whole.fields[:1], "bert+lm": whole.fields[:1],
                  "tlm": whole.fields[:2], "s2s": whole.fields[:2]}  # fmt: skip
        made.append(whole._replace(fields=fields.get(name, whole.fields)))
    return made


def taught(
    objective: Objective, model: Transformer, batch: Batch
) -> tuple[dict[str, float], list[Tensor]]:
    """The sum of every term, and the gradients of their total."""
    terms = objective(model, batch)
    parameters = [*model.parameters(), *objective.parameters()]
    gradients = torch.autograd.grad(
        torch.stack([t.loss for t in terms.values()]).sum(),
        parameters,
        allow_unused=True,
    )
    return {term: float(t.nll) for term, t in terms.items()}, [
        torch.zeros_like(p) if g is None else g
        for g, p in zip(gradients, parameters, strict=True)
    ]


@pytest.mark.parametrize("name", TERMS)
def test_a_batch_is_the_sum_of_its_rows_whatever_stands_in_its_padding(
    name: str,
) -> None:
    objective, rows = make_objective(name, **OPTIONS[name]), ragged(name)
    model, collate = make_model(objective), objective.collator()
    whole = collate(rows, rngs(4))
    sums, gradients = taught(objective, model, whole)
    parts = [
        taught(objective, model, collate(rows[n : n + 1], rngs(4)[n : n + 1]))
        for n in range(4)
    ]
    assert sums == pytest.approx(
        {term: sum(p[0][term] for p in parts) for term in TERMS[name]}, rel=1e-5
    )
    for n, gradient in enumerate(gradients):
        assert torch.allclose(
            gradient, torch.stack([p[1][n] for p in parts]).sum(0), rtol=1e-3, atol=1e-4
        )
    for side, block in (("source", whole.source), ("target", whole.target)):
        if block is not None:
            padding = torch.arange(block.ids.shape[1]) >= block.lengths[:, None]
            junk = replace(block, ids=torch.where(padding, 33, block.ids))
            assert padding.any()
            assert taught(objective, model, replace(whole, **{side: junk}))[
                0
            ] == pytest.approx(sums, rel=1e-6)


# -- the whole way -------------------------------------------------------------------------------------------------------------------------

RUNS: list[tuple[str, dict[str, Any]]] = [
    ("bert", {"whole_words": True}), ("roberta", {}), ("roberta", {"input_form": "doc-sentences", "whole_words": True}),
    ("roberta", {"input_form": "segment-pair"}), ("roberta", {"input_form": "sentence-pair"}),
    ("albert", {}), ("albert", {"ngram_rule": "released"}), ("electra", {}), ("electra", {"variant": "all-tokens-mlm"}),
    ("electra", {"variant": "adversarial"}), ("gpt", {}),
    ("unilm", {}), ("bert+lm", {}), ("tlm", {}), ("s2s", {}),
]  # fmt: skip


def streams(name: str, options: dict[str, Any]) -> dict[str, Any]:
    if "tokens_per_sample" in OBJECTIVES.load(name).__dataclass_fields__:
        options = {"tokens_per_sample": 24, **options}
    return {
        "one": {
            "dataset": "en-de" if name in ("tlm", "s2s") else "en",
            "objective": {"name": name, **options},
        }
    }


@pytest.mark.usefixtures("no_sync", "one_thread")
@pytest.mark.parametrize(
    ("name", "options"),
    RUNS,
    ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values())),
)
def test_every_objective_trains_validates_and_resumes(
    name: str, options: dict[str, Any], toy: Path, tmp_path: Path
) -> None:
    halves = {
        "encoder": ["model.decoder_layers=0"],
        "decoder": ["model.encoder_layers=0"],
    }
    stacks = halves.get(OBJECTIVES.load(name).stacks, [])  # type: ignore[attr-defined]
    changes = [
        *stacks,
        "model.segments=2",
        "model.max_positions=64",
        "train.max_tokens=200",
    ]

    def run(folder: str, last: int) -> tuple[Trainer, list[Event]]:
        settings = [*changes, f"train.max_update={last}"]
        trainer, _ = build(
            recipe(toy, tmp_path / folder, *settings, streams=streams(name, options))
        )
        return trainer, list(trainer.run())

    whole, events = run("whole", 6)
    weights = whole.streams["one"].objective.weights
    steps = [event for event in events if isinstance(event, Stepped)]
    assert set(steps[-1].losses) == {f"one.{term}" for term in weights}
    for step in steps:
        assert all(map(math.isfinite, step.losses.values()))
    measured = [event for event in events if isinstance(event, Evaluated)][-1].metrics
    assert all(map(math.isfinite, measured.values()))
    if len(weights) == 1:
        assert set(measured) == {"loss", "one.loss", "ppl"}
    else:
        # The loss is the weighted sum of those of the terms, and has no perplexity.
        losses = {term: measured[f"one.{term}.loss"] for term in weights}
        total = sum(weight * losses[term] for term, weight in weights.items())
        assert measured["loss"] == pytest.approx(total)
        assert len(measured) == 2 + len(weights)
    run("parts", 4)
    again, _ = run("parts", 6)
    assert same_run(tmp_path / "whole", tmp_path / "parts")
    own_weights = again.streams["one"].objective.state_dict()
    for key, tensor in whole.streams["one"].objective.state_dict().items():
        assert torch.equal(tensor, own_weights[key]), key


def test_collations_do_not_depend_on_what_else_is_in_the_batch(toy: Path) -> None:
    data = DataFolder.open(toy)
    framing = Framing(data.vocab, False, False, ("de", "en"))
    for name, options in RUNS:
        objective = make_objective(
            **{"framing": framing, **streams(name, options)["one"]["objective"]}
        )
        batch_builder = BatchBuilder("one", *objective.dataset(data, "train"), 1)
        rows = np.arange(5) if len(batch_builder.dataset) > 5 else np.arange(2)
        together, alone = batch_builder(rows, 1), batch_builder(rows[1:2], 1)
        n = int(alone.source.lengths[0])
        assert torch.equal(together.source.ids[1, :n], alone.source.ids[0, :n]), name


@pytest.mark.parametrize("label", [0, 1])
def test_pairs_with_only_one_label_are_reported(label: int) -> None:
    column = Text([[5, 5]])
    objective = make_objective("albert")
    for seed in range(20):
        dataset = segment_pairs(column, "sop", max_length=40, seed=seed)
        found = objective.data_warnings(dataset)
        if dataset[0].fields[2].tolist() == [label]:
            assert len(found) == 1 and found[0].startswith("all pairs have the same")
            break
    else:
        pytest.fail("no seed has this label")
    both = segment_pairs(Text([[5, 5]] * 30), "sop", max_length=40)
    assert objective.data_warnings(both) == []


@pytest.mark.parametrize(
    ("lines", "options", "remark"),
    [
        ("ba bo fe di ga\n\n" * 20, ["bert"], "bert-en: all pairs have the same label, so it teaches nothing"),
        ("ba bo di\nfe ga bo\n" * 20, ["bert"], "bert-en: no blank line ends a document: negative examples come from the same document"),
        ("ba bo fe di ga\n\n" * 20, ["albert"], "albert-en: all pairs have the same label, so it teaches nothing"),
        ("ba bo fe di ga\n\n" * 20, ["albert", "--strict-sop"], "no document of en (train) has two sentences"),
        ("ba bo\nfe di\nga\n\n" * 20, ["bert"], None),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("no_sync", "one_thread")
def test_text_from_which_no_order_can_be_learned_is_reported(
    lines: str,
    options: list[str],
    remark: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "text").write_text(lines, encoding="utf-8")
    succeed(
        f"preprocess --mono en={tmp_path}/text --vocab-size 28 "
        f"--destdir {tmp_path}/data"
    )
    small = (
        "--dim 16 --heads 2 --encoder-layers 1 --decoder-layers 0 "
        "--max-update 1 --num-workers 0"
    ).split()
    command = [
        *small,
        *f"--max-tokens 400 --tokens-per-sample 32 --save-dir {tmp_path}/run".split(),
    ]
    capsys.readouterr()
    code = masscli(
        ["pretrain", str(tmp_path / "data"), "--objective", *options, *command]
    )
    stderr = capsys.readouterr().err
    assert code == (2 if "--strict-sop" in options else 0)
    assert (remark or "bert-en") in stderr
    assert ("same label" in stderr or "no blank line" in stderr) == (
        remark is not None and code == 0
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [*RUNS, ("mass", {}), ("denoise", {}), ("mlm", {}), ("clm", {}), ("translate", {}), ("backtranslate", {}),
     ("unilm", {"variant": "ar"}), ("unilm", {"variant": "ae"}), ("unilm", {"mask_prob": 0.5, "max_ngram": 9})],
    ids=str,
)  # fmt: skip
def test_no_batch_is_larger_than_max_tokens(
    name: str, options: dict[str, Any], toy: Path
) -> None:
    """Everything that an objective adds to the text, such as pseudo-masks, counts."""
    stream = streams(name, options)["one"]
    if name in ("translate", "backtranslate"):
        stream["dataset"] = "en-de"
    data = DataFolder.open(toy)
    config = from_dict(OBJECTIVES.load(name), stream["objective"])
    context = ObjectiveContext(
        Framing(data.vocab, False, False, ("de", "en")),
        resolve({**SHAPE, "arch": "tiny"}),
        stream["dataset"],
    )
    objective = objective_class(name)(config, context)  # type: ignore[call-arg]
    dataset, collator = objective.dataset(data, "train")
    builder = BatchBuilder("one", dataset, collator, 1)
    sampler = BatchSampler(
        len(dataset),
        dataset.sizes,
        BatchLimits(90),
        1,
        "one",
        batch_lengths=objective.batch_lengths,
    )
    sizes = []
    for numbers in sampler.epoch()[:40]:
        batch = builder(numbers, 0)
        sizes += [
            tokens.ids.numel()
            for tokens in (batch.source, batch.target)
            if tokens is not None
        ]
    assert max(sizes) <= 90
    assert max(sizes) > 45, "batches are filled"

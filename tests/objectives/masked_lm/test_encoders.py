"""What BERT and its relatives ask of the Transformer: published sizes, shared layers, narrow embeddings, relative positions, steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens
from masscli.models.config import ModelConfig
from masscli.models.lm_head import HeadTransform
from masscli.models.masks import self_attention_mask, step_visibility
from masscli.models.presets import resolve
from masscli.models.relative_positions import bucket
from masscli.models.transformer import Transformer, count_parameters
from masscli.training.setup.architecture import ARCHITECTURE_FIELDS

V = 60


def make(**options: Any) -> Transformer:
    torch.manual_seed(2)
    values: dict[str, Any] = {"dim": 16, "ffn_dim": 24, "heads": 2, "encoder_layers": 3, "decoder_layers": 0, "max_positions": 320,
                              "dropout": 0.0}  # fmt: skip
    model = Transformer(ModelConfig(**(values | options)), V, ())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


# -- sizes ---------------------------------------------------------------------------------------------------------------------------------

BARE: Mapping[str, Any] = {"head_transform": False, "output_bias": False}


@pytest.mark.parametrize(
    ("arch", "vocab", "change", "count"),
    [
        ("bert-base", 30_522, BARE, 109_482_240),
        ("bert-base", 30_522, BARE | {"pooler": False}, 108_891_648),
        (
            "bert-base",
            30_522,
            {},
            110_106_428 - 1_538,
        ),  # the objective has the two-way head of NSP
        ("bert-base", 30_522, {"pooler": False}, 109_514_298),
        ("bert-base", 28_996, BARE, 108_310_272),
        ("bert-large", 30_522, BARE, 335_141_888),
        ("bert-large", 30_522, {}, 336_226_108 - 2_050),
        ("roberta-base", 50_265, {}, 124_697_433),
        ("roberta-base", 50_265, BARE | {"pooler": True}, 124_645_632),
        ("roberta-large", 50_265, {}, 355_412_057),
        ("albert-base", 30_000, BARE, 11_683_584),
        ("albert-large", 30_000, BARE, 17_683_968),
        ("albert-xlarge", 30_000, BARE, 58_724_864),
        ("albert-xxlarge", 30_000, BARE, 222_595_584),
        ("albert-base", 30_000, {}, 11_813_810 - 1_538),
        ("albert-base", 30_000, BARE | {"embedding_dim": 64}, 9_681_408),
        ("albert-base", 30_000, BARE | {"embedding_dim": 256}, 15_687_936),
        ("albert-base", 30_000, BARE | {"embedding_dim": 768}, 31_705_344),
        ("albert-base", 30_000, BARE | {"embedding_dim": 0}, 31_705_344),
        ("albert-base", 30_000, BARE | {"encoder_layers": 24}, 11_683_584),
        ("albert-base", 30_000, BARE | {"share_layers": "attention"}, 63_647_232),
        ("albert-base", 30_000, BARE | {"share_layers": "ffn"}, 37_686_528),
        ("albert-base", 30_000, BARE | {"share_layers": "none"}, 89_650_176),
        ("electra-small", 30_522, {}, 13_483_008),
        ("electra-base", 30_522, {}, 108_891_648),
        ("electra-large", 30_522, {}, 334_092_288),
        ("gpt", 40_478, {}, 116_534_784),
        ("gpt", 40_481, {}, 116_537_088),
        ("unilmv2-base", 30_522, BARE, 108_892_032),
        ("unilmv2-base", 30_522, BARE | {"pooler": True}, 109_482_624),
    ],
)
def test_parameters_are_as_many_as_published(
    arch: str, vocab: int, change: Mapping[str, Any], count: int
) -> None:
    with torch.device("meta"):
        assert (
            count_parameters(Transformer(resolve({"arch": arch, **change}), vocab, ()))
            == count
        )


def test_the_number_of_heads_is_no_parameter() -> None:
    with torch.device("meta"):
        counts = {
            count_parameters(
                Transformer(resolve({"arch": "albert-xlarge", "heads": h}), 30_000, ())
            )
            for h in (16, 32)
        }
    assert len(counts) == 1


# -- sharing -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", ["attention", "ffn", "all"])
def test_shared_layers_are_equal_layers_whose_gradients_add_up(share: str) -> None:
    shared, apart = make(share_layers=share), make()
    with torch.no_grad():
        for name, weight in apart.state_dict().items():
            first = (
                ".".join(["encoder", "layers", "0", *name.split(".")[3:]])
                if name.startswith("encoder.layers.")
                else name
            )
            weight.copy_(shared.state_dict().get(name, shared.state_dict()[first]))
    tokens = Tokens(torch.randint(5, V, (2, 9)), torch.tensor([9, 7]))
    for model in (shared, apart):
        torch.autograd.backward(model.encode(tokens).hidden.pow(2).sum())
    grads = {name: p.grad for name, p in apart.named_parameters()}
    assert torch.equal(shared.encode(tokens).hidden, apart.encode(tokens).hidden)
    for name, p in shared.named_parameters():
        rest = name.split(".")[3:]
        part = "attention" if rest[:1] in (["self_attention"], ["self_norm"]) else "ffn"
        own = name.startswith("encoder.layers.") and share in (part, "all")
        expected = (
            [grads[".".join(["encoder", "layers", str(i), *rest])] for i in range(3)]
            if own
            else [grads[name]]
        )
        present = [g for g in expected if g is not None]
        assert bool(present) == (p.grad is not None)
        if p.grad is not None:
            assert torch.allclose(
                p.grad, torch.stack(present).sum(0), atol=1e-4, rtol=1e-4
            ), name


def test_a_shared_weight_is_saved_once() -> None:
    state = make(share_layers="all").state_dict()
    assert len({t.data_ptr() for t in state.values()}) == len(state)
    assert not any(name.startswith("encoder.layers.1") for name in state)


# -- embeddings, heads ---------------------------------------------------------------------------------------------------------------------


def test_narrow_embeddings_are_projected_after_their_norm_and_back_by_the_head() -> (
    None
):
    model = make(
        embedding_dim=8, norm_embedding=True, head_transform=True, output_bias=True
    )
    tokens = Tokens(torch.randint(5, V, (1, 4)), torch.tensor([4]))
    assert model.embed(tokens, "encoder").shape == (1, 4, 8)
    assert torch.equal(
        model.inputs(tokens, "encoder"),
        model.embedding_projections["encoder"](model.embed(tokens, "encoder")),
    )
    hidden = model.encode(tokens).hidden
    head = model.head_transforms["shared"]
    assert isinstance(head, HeadTransform)
    table = model.token_embeddings["shared"]
    expected = (
        head.norm(torch.relu(head.dense(hidden))) @ table.t()
        + model.output_biases["shared"]
    )
    assert torch.allclose(model.logits(hidden), expected, atol=1e-5)
    labels = torch.tensor([7, 8, 9, 10])
    _, nll = model.loss(hidden[0], labels)
    assert torch.allclose(
        nll,
        torch.nn.functional.cross_entropy(expected[0], labels, reduction="sum"),
        atol=1e-4,
    )


def test_architecture_options_come_with_the_weights() -> None:
    """With --init-from, whatever would change names or sizes of weights is taken from the checkpoint."""
    changes: dict[str, Any] = {
        "encoder_layers": 2, "decoder_layers": 1, "dim": 32, "ffn_dim": 8, "norm": "post", "norm_embedding": True, "positions": "learned",
        "output_bias": True, "segments": 2, "embedding_dim": 8, "project_embeddings": True, "share_layers": "all", "head_transform": True,
        "pooler": True, "relative_buckets": 8,
    }  # fmt: skip
    plain = {name: p.shape for name, p in make().named_parameters()}
    for field, value in changes.items():
        assert {
            name: p.shape for name, p in make(**{field: value}).named_parameters()
        } != plain
        assert field in ARCHITECTURE_FIELDS


def test_albert_projects_embeddings_of_any_width() -> None:
    """Where they are as wide as the layers too; ELECTRA and BERT do not."""
    plain, projected = make(), make(project_embeddings=True)
    tokens = Tokens(torch.randint(5, V, (1, 4)), torch.tensor([4]))
    assert torch.equal(plain.inputs(tokens, "encoder"), plain.embed(tokens, "encoder"))
    layer = projected.embedding_projections["encoder"]
    expected = projected.embed(tokens, "encoder") @ layer.weight.t() + layer.bias
    assert torch.allclose(projected.inputs(tokens, "encoder"), expected, atol=1e-6)
    assert count_parameters(projected) - count_parameters(plain) == 16 * 16 + 16


def test_without_a_head_narrow_embeddings_cannot_be_predicted() -> None:
    model = make(embedding_dim=8)
    with pytest.raises(
        MasscliError,
        match=r"^the model's embeddings are narrower than its layers, and no layer maps back to their width$",
    ):
        model.logits(torch.zeros(1, 16))


def test_the_pooler_reads_the_first_state() -> None:
    plain, pooled, hidden = make(), make(pooler=True), torch.randn(2, 3, 16)
    assert torch.equal(plain.pool(hidden), hidden[:, 0])
    assert pooled.pooler is not None
    assert torch.equal(pooled.pool(hidden), torch.tanh(pooled.pooler(hidden[:, 0])))


def test_text_without_segment_ids_is_segment_0() -> None:
    model = make(segments=2)
    ids, lengths = torch.randint(5, V, (1, 4)), torch.tensor([4])
    assert torch.equal(
        model.read(Tokens(ids, lengths)),
        model.read(Tokens(ids, lengths, segments=torch.zeros(1, 4, dtype=torch.long))),
    )
    assert not torch.equal(
        model.read(Tokens(ids, lengths)),
        model.read(Tokens(ids, lengths, segments=torch.ones(1, 4, dtype=torch.long))),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"head_transform": True, "segments": 2},
        {"relative_buckets": 8, "relative_distance": 16},
    ],
)
def test_extra_padding_changes_nothing(change: Mapping[str, Any]) -> None:
    model = make(**change).eval()
    ids = torch.randint(5, V, (1, 6))
    longer = torch.cat([ids, torch.randint(5, V, (1, 3))], 1)
    with torch.no_grad():
        found = model.read(Tokens(longer, torch.tensor([6])))[:, :6]
        assert torch.allclose(
            found, model.read(Tokens(ids, torch.tensor([6]))), atol=1e-5
        )


def test_truncated_weights_keep_within_two_deviations() -> None:
    model = Transformer(
        ModelConfig(init="truncated", dim=64, decoder_layers=0), 500, ()
    )
    table = model.token_embeddings["shared"].detach()
    assert float(table.abs().max()) <= 0.04
    assert (
        0.017 < float(table.std()) < 0.018
    )  # a normal of 0.02 cut off at twice that has 0.88 of its deviation


# -- relative positions --------------------------------------------------------------------------------------------------------------------


def test_buckets_are_those_of_t5() -> None:
    known = {
        0: 0,
        -1: 1,
        -7: 7,
        -8: 8,
        -16: 10,
        -64: 14,
        -128: 15,
        -500: 15,
        1: 17,
        8: 24,
        16: 26,
        64: 30,
        127: 31,
        400: 31,
    }
    assert bucket(torch.tensor(list(known)), 32, 128).tolist() == list(known.values())


@pytest.mark.parametrize("length", [12, 300])  # both kernels of a CPU
def test_relative_biases_are_added_to_the_scores_and_learned(length: int) -> None:
    model = make(relative_buckets=8, relative_distance=16, encoder_layers=1)
    assert model.relative is not None
    tokens = Tokens(
        torch.randint(5, V, (2, length)), torch.tensor([length, length - 3])
    )
    bias = model.relative(*[torch.arange(length)[None]] * 2)
    weights = model.relative.table.weight
    for q, k in ((0, 0), (0, 5), (7, 2)):
        assert torch.equal(
            bias[0, :, q, k], weights[int(bucket(torch.tensor(k - q), 8, 16))]
        )
    state = torch.randn(2, length, 16)
    torch.autograd.backward((model.encode(tokens).hidden * state).sum())
    assert weights.grad is not None
    slope, size = float(weights.grad[1, 0]), 1e-2
    sums = []
    with torch.no_grad():
        for step in (size, -2 * size):
            weights[1, 0] += step
            sums.append(float((model.encode(tokens).hidden.double() * state).sum()))
    assert slope == pytest.approx((sums[0] - sums[1]) / (2 * size), rel=0.05, abs=5e-3)


def test_copies_at_one_position_are_at_distance_0() -> None:
    model = make(relative_buckets=8, relative_distance=16)
    assert model.relative is not None
    tokens = Tokens(
        torch.randint(5, V, (1, 3)),
        torch.tensor([3]),
        positions=torch.tensor([[4, 9, 4]]),
    )
    bias = model.relative.add_to(self_attention_mask(tokens), tokens)
    assert torch.equal(bias[0, :, 0, 2], bias[0, :, 0, 0])


# -- steps ---------------------------------------------------------------------------------------------------------------------------------

WORKED = """
1 0 1 0 0 1 1 1 1 0 0 0
1 1 1 1 1 1 1 1 1 0 0 0
1 0 1 0 0 1 1 1 1 0 0 0
1 0 1 1 1 1 1 1 1 0 0 0
1 0 1 1 1 1 1 1 1 0 0 0
1 0 1 0 0 1 1 1 1 0 0 0
1 0 1 0 0 1 1 1 1 0 0 0
1 0 1 0 0 1 1 1 1 0 0 0
1 0 1 0 0 1 1 1 1 0 0 0
1 0 1 1 1 1 1 1 1 1 0 0
1 0 1 0 0 1 1 1 1 0 1 1
1 0 1 0 0 1 1 1 1 0 1 1
"""


def test_the_worked_example_of_the_attention_rule() -> None:
    """x1..x6 factorized as {4, 5} then {2}: x1..x6, M2 M4 M5, P2 P4 P5."""
    steps = torch.tensor([[0, 2, 0, 1, 1, 0, 0, 0, 0, -2, -1, -1]])
    expected = [[int(x) for x in line.split()] for line in WORKED.split("\n") if line]
    assert step_visibility(steps, steps)[0].int().tolist() == expected


def test_the_rule_holds_bidirectional_and_causal_attention() -> None:
    assert bool(step_visibility(torch.zeros(1, 5), torch.zeros(1, 5)).all())
    steps = torch.arange(1, 6)[None]
    assert torch.equal(
        step_visibility(steps, steps)[0], torch.ones(5, 5, dtype=torch.bool).tril()
    )


def test_the_number_of_visible_keys_is_that_of_the_formula() -> None:
    """(c + m)^2 + 2 m (c + m) + 2 sum_i b_i S_i, for blocks of b_i tokens, S_i in the first i of them, m in all, c of context."""
    draw = np.random.default_rng(1)
    for _ in range(20):
        sizes, context = (
            draw.integers(1, 5, draw.integers(1, 6)),
            int(draw.integers(0, 9)),
        )
        steps = np.repeat(np.arange(1, len(sizes) + 1), sizes)
        every = torch.from_numpy(
            np.concatenate([np.zeros(context + len(steps), np.int64), steps, -steps])
        )[None]
        m, sums = len(steps), np.cumsum(sizes)
        expected = (
            (context + m) ** 2 + 2 * m * (context + m) + 2 * int((sizes * sums).sum())
        )
        assert int(step_visibility(every, every).sum()) == expected

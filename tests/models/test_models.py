"""Tests of the Transformer and its parts: slow versions, published parameter counts, padding, caches."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from masscli.core.config import ConfigError
from masscli.data.batches.batch import Tokens
from masscli.models import loss as loss_module
from masscli.models.attention import attend
from masscli.models.cache import STEPS_OF_GROWTH, Cache
from masscli.models.config import ModelConfig
from masscli.models.dropout import add_dropout, dropout, keep_mask
from masscli.models.input_embedding import sinusoids
from masscli.models.loss import linear_cross_entropy
from masscli.models.presets import presets, resolve
from masscli.models.short_attention import short_attention
from masscli.models.transformer import Transformer, count_parameters
from masscli.text.vocabulary import IdRanges
from tests.oracles import slow_attention

PAD, V = 0, 31


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    yield
    torch.set_num_threads(before)


def make(names: tuple[str, ...] = (), **options: Any) -> Transformer:
    """A small model with random biases and norms too, so that nothing is hidden by a zero or a one."""
    values: dict[str, Any] = {
        "dim": 16,
        "ffn_dim": 24,
        "heads": 2,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "max_positions": 40,
    }
    model = Transformer(ModelConfig(**(values | {"dropout": 0.1} | options)), V, names)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def block(*lengths: int, width: int = 0, **fields: Tensor) -> Tokens:
    """Random words, padded to `width` or the longest."""
    ids = torch.randint(1, V, (len(lengths), max(width, *lengths)))
    for row, length in enumerate(lengths):
        ids[row, length:] = PAD
    return Tokens(ids, torch.tensor(lengths), **fields)


def close(actual: Tensor, expected: Tensor, within: float = 2e-5) -> bool:
    return (
        actual.shape == expected.shape
        and float((actual - expected).detach().abs().max()) < within
    )


# -- sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "vocab", "languages", "count"),
    [
        (
            "mass-xlm",
            64_139,
            ("en", "fr"),
            315_196_694,
        ),  # 141,848,203 in the encoder, 173,348,491 in the decoder
        ("mass-base-uncased", 30_522, (), 123_469_824),
        ("mass-middle-uncased", 30_522, (), 208_666_624),
        # By hand, with D the width and F that of the FFN: attention 4 D^2 + 4 D, feed-forward 2 D F + D + F, norm 2 D
        # And a last norm on each stack.
        (
            "tiny",
            8_000,
            (),
            8_000 * 128 + 4 * (3 * 66_048 + 2 * 65_920 + 5 * 256) + 2 * 256,
        ),
        (
            "base",
            8_000,
            (),
            8_000 * 512 + 6 * (3 * 1_050_624 + 2 * 2_099_712 + 5 * 1_024) + 2 * 1_024,
        ),
    ],
)
def test_parameters_are_as_many_as_published(
    arch: str, vocab: int, languages: tuple[str, ...], count: int
) -> None:
    with torch.device("meta"):
        assert (
            count_parameters(Transformer(resolve({"arch": arch}), vocab, languages))
            == count
        )


def test_options_of_the_user_override_those_of_a_size() -> None:
    config = resolve({"arch": "base", "dim": "64"}, "decoder")
    assert (
        config.dim,
        config.ffn_dim,
        config.encoder_layers,
        config.decoder_layers,
    ) == (64, 2048, 0, 6)
    assert resolve({"arch": "tiny"}, "encoder").decoder_layers == 0
    with pytest.raises(ConfigError) as error:
        resolve({"arch": "bass"})
    assert (
        error.value.message == "model.arch: no size called 'bass', did you mean 'base'?"
    )


def test_every_size_can_be_built() -> None:
    for name in presets():
        with torch.device("meta"):
            Transformer(resolve({"arch": name}), 100, ("en", "de"))


# -- attention --------------------------------------------------------------------------------------


def test_attention_is_the_equation() -> None:
    q, k, v = (
        torch.randn(2, 3, length, 4, dtype=torch.float64) for length in (5, 7, 7)
    )
    sees = torch.rand(2, 1, 5, 7) < 0.6
    sees[..., 2] = True
    mask = torch.zeros(sees.shape).masked_fill(~sees, -1e30)
    actual = attend(q, k, v, mask, 0.0)
    for b, h in itertools.product(range(2), range(3)):
        expected = slow_attention(
            q[b, h].tolist(), k[b, h].tolist(), v[b, h].tolist(), sees[b, 0].tolist()
        )
        assert close(actual[b, h], torch.tensor(expected, dtype=torch.float64), 1e-12)


@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize("cross", [False, True], ids=["self", "cross"])
@pytest.mark.parametrize("keys", [5, 15, 16, 21])
def test_short_attention_has_the_values_and_gradients_of_plain_products(
    keys: int, cross: bool, p: float
) -> None:
    """Compare with autograd on the equation; keys below 16 are padded, and a mask may be learned."""
    rows, heads, size = 3, 2, 4
    queries = 6 if cross else keys
    fused = torch.randn(
        rows, queries, heads * size * (1 if cross else 3), requires_grad=True
    )
    memory = (
        torch.randn(rows, keys, 2 * heads * size, requires_grad=True) if cross else None
    )
    mask = (
        torch.randn(rows, 1, 1, keys)
        .masked_fill_(torch.rand(rows, 1, 1, keys) < 0.3, -1e30)
        .requires_grad_()
    )
    slope = torch.randn(rows, queries, heads * size)
    torch.manual_seed(5)
    actual = short_attention(fused, memory, heads, mask, p)
    leaves = [leaf for leaf in (fused, memory, mask) if leaf is not None]
    ours = torch.autograd.grad(actual, leaves, slope)

    split = (
        fused.view(rows, queries, -1, heads, size)
        if memory is None
        else memory.view(rows, keys, 2, heads, size)
    )
    k, v = split[:, :, -2].transpose(1, 2), split[:, :, -1].transpose(1, 2)
    q = fused.view(rows, queries, -1, heads, size)[:, :, 0].transpose(1, 2)
    weights = (q @ k.mT / size**0.5 + mask).softmax(-1)
    torch.manual_seed(5)
    keep = (
        keep_mask(torch.Size((rows, heads, queries, max(16, keys))), p, torch.float32)[
            ..., :keys
        ]
        if p
        else 1.0
    )
    expected = (weights * keep @ v).transpose(1, 2).flatten(2)
    assert close(actual, expected)
    for a, b in zip(ours, torch.autograd.grad(expected, leaves, slope), strict=True):
        assert close(a, b)


@pytest.mark.parametrize("keys", [5, 16, 60])
def test_short_attention_in_bf16_differs_by_its_rounding_only(keys: int) -> None:
    """Compare with the same numbers in fp32, for values, gradients and the gradient of a learned mask."""
    rows, heads, size = 4, 2, 32
    fused = torch.randn(rows, keys, 3 * heads * size).bfloat16().requires_grad_()
    exact = fused.detach().float().requires_grad_()
    mask = torch.randn(rows, 1, keys, keys, requires_grad=True)
    slope = torch.randn(rows, keys, heads * size).bfloat16()
    torch.manual_seed(5)
    actual = short_attention(fused, None, heads, mask, 0.1)
    ours = torch.autograd.grad(actual, (fused, mask), slope)
    torch.manual_seed(5)
    expected = short_attention(exact, None, heads, mask, 0.1)
    theirs = torch.autograd.grad(expected, (exact, mask), slope.float())
    assert actual.dtype == ours[0].dtype == torch.bfloat16
    assert ours[1].dtype == torch.float32
    for a, b in zip((actual, *ours), (expected, *theirs), strict=True):
        error = (a.detach().float() - b.detach()).norm() / b.detach().norm()
        assert float(error) < 0.01


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "swish"])
def test_a_layer_is_the_published_one(norm: str, activation: str) -> None:
    """Against torch's own layer, which has the same parameters under other names."""
    model = make(norm=norm, activation=activation, norm_eps=1e-5, decoder_layers=0)
    ours = model.encoder.layers[0]
    functions = {"relu": F.relu, "gelu": F.gelu, "swish": F.silu}
    theirs = torch.nn.TransformerEncoderLayer(
        16,
        2,
        24,
        0.0,
        functions[activation],
        1e-5,
        batch_first=True,
        norm_first=norm == "pre",
    ).eval()
    a, n = (
        ours.self_attention,
        [
            (ours.fc1, "linear1"),
            (ours.fc2, "linear2"),
            (ours.self_norm, "norm1"),
            (ours.ffn_norm, "norm2"),
        ],
    )
    renamed = {
        f"{theirs_}.{k}": t
        for module, theirs_ in n
        for k, t in module.state_dict().items()
    }
    renamed |= {
        "self_attn.in_proj_weight": a.qkv.weight,
        "self_attn.in_proj_bias": a.qkv.bias,
    }
    renamed |= {
        "self_attn.out_proj.weight": a.out.weight,
        "self_attn.out_proj.bias": a.out.bias,
    }
    theirs.load_state_dict(renamed)
    theirs.requires_grad_(False)
    x = torch.randn(3, 6, 16)
    assert close(ours(x, None, None, 0), theirs(x))
    assert (model.encoder.norm is None) == (norm == "post")


# -- what may be seen -------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_padding_changes_nothing(norm: str) -> None:
    model = make(norm=norm)
    source, target = block(6, 3, 1), block(4, 5, 2)
    hidden = model.decode(target, model.encode(source))
    for width, fill in ((6, 9), (11, 9), (11, PAD)):
        wide = [torch.full((3, width), fill) for _ in range(2)]
        for ids, part in zip(wide, (source, target), strict=True):
            for row, length in enumerate(part.lengths):
                ids[row, :length] = part.ids[row, :length]
        other = model.decode(
            Tokens(wide[1], target.lengths),
            model.encode(Tokens(wide[0], source.lengths)),
        )
        for row, length in enumerate(target.lengths):
            assert close(other[row, :length], hidden[row, :length])
    for row, (n, m) in enumerate(
        zip(source.lengths, target.lengths, strict=True)
    ):  # each row alone
        alone = model.decode(
            Tokens(target.ids[row : row + 1, :m], m[None]),
            model.encode(Tokens(source.ids[row : row + 1, :n], n[None])),
        )
        assert close(alone[0], hidden[row, :m])


def test_no_state_depends_on_later_tokens() -> None:
    model, source, target = make(), block(5, 5), block(8, 8)
    before = model.decode(target, model.encode(source))
    for t in range(1, 8):
        ids = target.ids.clone()
        ids[:, t:] = (ids[:, t:] + 1) % V
        after = model.decode(replace(target, ids=ids), model.encode(source))
        assert torch.equal(after[:, :t], before[:, :t])
        assert (after[:, t:] - before[:, t:]).abs().amin(1).max() > 1e-4


def changed(before: Tensor, after: Tensor) -> list[bool]:
    """Which positions of (1, L, D) differ."""
    return [bool(x) for x in (before != after).any(-1)[0]]


def test_keys_hidden_from_cross_attention_are_visible_in_their_own_stack() -> None:
    model, target = make(), block(3)
    keys = torch.tensor([[True, False, True, True]])
    source = block(4, cross_attention_mask=keys)
    other = replace(source, ids=source.ids.clone())
    other.ids[0, 1] = (source.ids[0, 1] + 1) % V
    assert (
        changed(model.encode(source).hidden, model.encode(other).hidden) == [True] * 4
    )  # the encoder reads it
    memory = model.encode(source)
    blind = replace(memory, hidden=memory.hidden.clone())
    blind.hidden[0, 1] = 99.0
    assert (
        changed(model.decode(target, memory), model.decode(target, blind))
        == [False] * 3
    )  # the decoder does not
    blind.hidden[0, 2] = 99.0
    assert (
        changed(model.decode(target, memory), model.decode(target, blind)) == [True] * 3
    )


def test_tokens_hidden_from_self_attention_do_not_affect_their_stack() -> None:
    model = make()
    source = block(4, self_attention_mask=torch.tensor([[True, False, True, True]]))
    other = replace(source, ids=source.ids.clone())
    other.ids[0, 1] = (source.ids[0, 1] + 1) % V
    assert changed(model.encode(source).hidden, model.encode(other).hidden) == [
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_packed_documents_do_not_see_each_other(stack: str) -> None:
    model = make(**{f"{'decoder' if stack == 'encoder' else 'encoder'}_layers": 0})
    packed = block(
        7,
        documents=torch.tensor([[0, 0, 0, 1, 1, 1, 1]]),
        positions=torch.tensor([[0, 1, 2, 0, 1, 2, 3]]),
    )
    hidden = model.read(packed)
    for span in (slice(0, 3), slice(3, 7)):
        ids = packed.ids[:, span]
        assert close(
            model.read(Tokens(ids, torch.tensor([ids.shape[1]]))), hidden[:, span]
        )


# -- languages, positions, outputs ------------------------------------------------------------------


def test_languages_have_vectors_and_cross_attention_outputs_of_their_own() -> None:
    model = make(("en", "de"), languages="embedding", cross_output="language")
    source, target = block(4, 4), block(3, 3)

    def decode(language: int) -> Tensor:
        return model.decode(
            replace(target, language=torch.full((2,), language)), model.encode(source)
        )

    before = [decode(0), decode(1)]
    assert not close(*before, 1e-3)
    model.decoder.layers[1].cross_attention.out["language_de"].weight.mul_(2.0)
    assert torch.equal(decode(0), before[0])
    assert not close(decode(1), before[1], 1e-3)


def test_a_language_may_have_any_name() -> None:
    """`to` is the code of Tongan, but also a method of every module."""
    make(("to", "train"), languages="embedding", cross_output="language")


def test_given_positions_are_embedded() -> None:
    for kind in ("sinusoidal", "learned"):
        model = make(positions=kind, encoder_layers=0)
        text = block(6)
        assert close(
            model.read(replace(text, positions=torch.arange(6)[None])), model.read(text)
        )
        assert not close(
            model.read(replace(text, positions=torch.arange(3, 9)[None])),
            model.read(text),
            1e-3,
        )


def test_sinusoids_are_tensor2tensors() -> None:
    """first half sines, second half cosines, frequencies 10000^(-i / (d/2 - 1))."""
    found = sinusoids(50, 8)
    for t, i in itertools.product(range(50), range(4)):
        angle = t * 10_000 ** (-i / 3)
        assert abs(float(found[t, i]) - math.sin(angle)) < 1e-6
        assert abs(float(found[t, 4 + i]) - math.cos(angle)) < 1e-6
    assert sinusoids(5, 7).shape == (5, 7)


def test_sinusoids_of_marian_and_as_published() -> None:
    """PE(t, 2i) = sin(t / 10000^(2i/d)) and PE(t, 2i+1) = cos of the same; Marian puts the sines first."""
    for dim in (8, 7):
        published = sinusoids(50, dim, "interleaved")
        for t, column in itertools.product(range(50), range(dim)):
            angle = t / 10_000 ** (2 * (column // 2) / dim)
            wave = math.cos(angle) if column % 2 else math.sin(angle)
            assert abs(float(published[t, column]) - wave) < 1e-6
        columns = [*range(0, dim, 2), *range(1, dim, 2)]
        assert torch.equal(sinusoids(50, dim, "marian"), published[:, columns])


@pytest.mark.parametrize("kind", ["learned", "sinusoidal"])
def test_positions_begin_at_the_row_of_their_offset(kind: str) -> None:
    plain = make(positions=kind)
    moved = make(positions=kind, position_offset=3, max_positions=37)
    moved.load_state_dict(plain.state_dict())
    source, target = block(5, 2), block(4, 4)
    rows = [
        torch.arange(text.ids.shape[1]).expand(text.ids.shape) + 3
        for text in (source, target)
    ]
    memory = plain.encode(replace(source, positions=rows[0]))
    found = moved.decode(target, moved.encode(source))
    assert close(found, plain.decode(replace(target, positions=rows[1]), memory), 1e-6)
    explicit = replace(target, positions=rows[1] - 3)
    assert close(found, moved.decode(explicit, moved.encode(source)), 1e-6)


def test_a_model_without_positions_does_not_know_the_order() -> None:
    model = make(positions="none", decoder_layers=0)
    text = block(6)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    shuffled = replace(text, ids=text.ids[:, order])
    assert close(model.read(shuffled), model.read(text)[:, order])


@pytest.mark.parametrize("final_norm", ["auto", "both", "encoder", "decoder", "none"])
def test_stacks_may_differ(final_norm: str) -> None:
    """Each stack equals that of a model in which both stacks have its values."""
    own = {
        "ffn_dim": 40,
        "heads": 4,
        "norm": "post",
        "positions": "learned",
        "max_positions": 9,
    }
    decoder = {f"decoder_{field}": value for field, value in own.items()}
    decoder["decoder_position_type"] = decoder.pop("decoder_positions")
    both = make(final_norm=final_norm, **decoder)
    encoder_only = make(decoder_layers=0, final_norm=final_norm)
    like_decoder = make(
        **(own | {"final_norm": "both" if both.decoder.norm is not None else "none"})
    )
    states = both.state_dict()
    encoder_only.load_state_dict(
        {name: states[name] for name in encoder_only.state_dict()}
    )
    like_decoder.decoder.load_state_dict(both.decoder.state_dict())
    like_decoder.embeddings["decoder"].load_state_dict(
        both.embeddings["decoder"].state_dict()
    )
    like_decoder.token_embeddings.load_state_dict(both.token_embeddings.state_dict())
    source, target = block(5, 2), block(4, 3)
    memory = both.encode(source)
    assert close(memory.hidden, encoder_only.encode(source).hidden)
    assert close(both.decode(target, memory), like_decoder.decode(target, memory))
    has_norm = {"auto": "encoder", "both": "encoder decoder", "none": ""}.get(
        final_norm, final_norm
    )
    for stack in ("encoder", "decoder"):
        assert (getattr(both, stack).norm is not None) == (stack in has_norm)


def test_an_output_layer_may_have_weights_of_its_own() -> None:
    model = make(tie_output=False)
    hidden, labels = torch.randn(3, 16), torch.tensor([4, 7, 1])
    logits = hidden @ model.output_weights["shared"].T
    assert close(model.logits(hidden), logits)
    assert close(
        model.loss(hidden, labels)[1],
        F.cross_entropy(logits, labels, reduction="sum"),
        1e-4,
    )


@pytest.mark.parametrize("tie_output", [True, False])
def test_parts_that_know_fewer_ids_are_slices_of_those_that_know_all(
    tie_output: bool,
) -> None:
    """Tables of ranges of ids give the states, logits and losses of whole tables."""
    ranges = IdRanges(range(20), range(12, V), range(15, V))
    config = {"embeddings": "separate", "output_bias": True, "tie_output": tie_output}
    whole = make(**config)
    part = Transformer(whole.config, V, (), ranges).eval()
    states = whole.state_dict()
    for name in states:
        first, _, owner = name.partition(".")
        if first in ("token_embeddings", "output_weights", "output_biases"):
            ids = ranges.source if owner == "encoder" else ranges.target
            states[name] = states[name][ids.start : ids.stop]
    part.load_state_dict(states)
    source = Tokens(torch.randint(1, 20, (2, 5)), torch.tensor([5, 5]))
    target = Tokens(torch.randint(12, V, (2, 4)), torch.tensor([4, 4]))
    hidden = whole.decode(target, whole.encode(source))
    assert close(part.decode(target, part.encode(source)), hidden)
    actual = part.logits(hidden)
    assert actual.shape == (2, 4, V)
    assert close(actual[..., 15:], whole.logits(hidden)[..., 15:])
    assert bool((actual[..., :15] == -torch.inf).all())
    labels = torch.randint(15, V, (8,))
    expected = F.cross_entropy(
        actual[..., 15:].flatten(0, 1),
        labels - 15,
        reduction="sum",
        label_smoothing=0.1,
    )
    assert close(part.loss(hidden.flatten(0, 1), labels, 0.1)[0], expected, 1e-4)


def test_tied_tables_are_one_and_separate_ones_two() -> None:
    assert set(make().token_embeddings) == {"shared"}
    model = make(embeddings="separate", output_bias=True)
    assert (
        set(model.token_embeddings)
        == set(model.output_biases)
        == {"encoder", "decoder"}
    )
    hidden = torch.randn(3, 16)
    for stack in ("encoder", "decoder"):
        assert close(
            model.logits(hidden, stack),
            hidden @ model.token_embeddings[stack].T + model.output_biases[stack],
        )
    assert torch.equal(model.logits(hidden), model.logits(hidden, "decoder"))


def test_initial_weights_have_the_published_spread() -> None:
    for kind, products, tables in (("bert", 0.02, 0.02), ("fairseq", math.sqrt(6 / (4 * 128)) / math.sqrt(3), 128**-0.5),
                                   ("xlm", 1 / math.sqrt(3 * 128), 128**-0.5)):  # fmt: skip
        model = Transformer(
            ModelConfig(dim=128, ffn_dim=128, init=kind), 500, ()
        ).requires_grad_(False)
        assert float(
            model.decoder.layers[0].self_attention.qkv.weight.std()
        ) == pytest.approx(products, rel=0.02)
        assert float(
            model.decoder.layers[0].cross_attention.kv.weight.std()
        ) == pytest.approx(products, rel=0.02)
        assert float(model.token_embeddings["shared"].std()) == pytest.approx(
            tables, rel=0.02
        )
        assert (float(model.encoder.layers[0].fc1.bias.abs().max()) == 0) == (
            kind != "xlm"
        )


def test_the_projection_of_narrow_embeddings_is_drawn_as_released() -> None:
    """ELECTRA's is xavier-uniform; ALBERT's is a normal cut off at two standard deviations, like the rest."""
    for arch, spread in (
        ("electra-small", math.sqrt(2 / (128 + 256))),
        ("albert-base", 0.88 * 0.02),
    ):
        config = replace(
            resolve({"arch": arch, "encoder_layers": 1}, "encoder"), languages="none"
        )
        model = Transformer(config, 500, ()).requires_grad_(False)
        assert float(
            model.embedding_projections["encoder"].weight.std()
        ) == pytest.approx(spread, rel=0.02)
        table = model.token_embeddings[
            "encoder" if "encoder" in model.token_embeddings else "shared"
        ]
        assert float(table.abs().max()) <= 0.04 and float(table.std()) == pytest.approx(
            0.88 * 0.02, rel=0.02
        )


# -- decoding a token at a time ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "pre", "positions": "learned"},
        {"languages": "embedding", "cross_output": "language"},
        {
            "position_offset": 2,
            "decoder_heads": 4,
            "decoder_ffn_dim": 20,
            "decoder_norm": "post",
        },
    ],
)
def test_cached_states_are_those_without_cache(options: dict[str, Any]) -> None:
    """Follow three beams of three sentences past the cache's first capacity; rows change parents, one leaves."""
    names = ("en", "de") if "languages" in options else ()
    model, width, steps = make(names, **options), 3, 20
    source = block(5, 2, 4)
    rng = np.random.default_rng(1)
    cache = model.prefill(source, width)
    rows = torch.randint(1, V, (9, 1))
    for step in range(steps):
        sentences = len(rows) // width
        language = torch.ones(len(rows), dtype=torch.int64) if names else None
        found = model.decode(
            Tokens(rows[:, -1:], torch.ones(len(rows)), language=language), None, cache
        )
        repeated = Tokens(
            source.ids.repeat_interleave(width, 0),
            source.lengths.repeat_interleave(width),
        )
        whole = Tokens(rows, torch.full((len(rows),), rows.shape[1]), language=language)
        assert close(found[:, 0], model.decode(whole, model.encode(repeated))[:, -1])
        parents = torch.from_numpy(
            np.concatenate(
                [s * width + rng.integers(width, size=width) for s in range(sentences)]
            )
        )
        cache.reorder(parents)
        rows = rows[parents]
        if step == 10:
            stay = torch.tensor([2, 0])
            cache.keep(stay)
            source = Tokens(source.ids[stay], source.lengths[stay])
            rows = rows.view(sentences, width, -1)[stay].flatten(0, 1)
        rows = torch.cat([rows, torch.randint(1, V, (len(rows), 1))], 1)


def test_widening_one_row_to_a_beam_changes_nothing() -> None:
    model, width = make((), positions="learned"), 3
    source = block(5, 3)
    one, many = model.prefill(source, 1, width), model.prefill(source, width)
    first = torch.randint(1, V, (2, 1))
    actual = model.decode(Tokens(first, torch.ones(2)), None, one)
    rows = Tokens(first.repeat_interleave(width, 0), torch.ones(2 * width))
    expected = model.decode(rows, None, many)
    assert close(actual.repeat_interleave(width, 0), expected)
    one.widen(width)
    capacity = one.layers[0].keys.shape[2]
    for _ in range(6):
        rows = Tokens(torch.randint(1, V, (2 * width, 1)), torch.ones(2 * width))
        assert close(model.decode(rows, None, one), model.decode(rows, None, many))
        parents = torch.tensor([1, 0, 2, 3, 3, 5])
        one.reorder(parents)
        many.reorder(parents)
    assert one.layers[0].keys.shape[2] == capacity


def test_slots_that_no_beam_needs_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow three beams of two sentences in a cache that drops slots, and in one that never does."""
    model, width, steps = make((), positions="learned"), 3, 24
    source = block(5, 3)
    dropping, keeping = model.prefill(source, width), model.prefill(source, width)
    rng = np.random.default_rng(4)
    for _ in range(steps):
        rows = Tokens(torch.randint(1, V, (2 * width, 1)), torch.ones(2 * width))
        assert close(
            model.decode(rows, None, dropping), model.decode(rows, None, keeping)
        )
        parents = torch.from_numpy(
            np.concatenate([rng.integers(3, size=3), 3 + rng.integers(3, size=3)])
        )
        dropping.reorder(parents)
        with monkeypatch.context() as patch:
            patch.setattr(Cache, "_compact", lambda _: None)
            keeping.reorder(parents)
    assert keeping.ancestor_mask.shape[2] == steps * width
    assert dropping.ancestor_mask.shape[2] < 0.6 * steps * width
    assert dropping.layers[0].keys.shape[2] <= STEPS_OF_GROWTH * width


# -- cross-entropy ----------------------------------------------------------------------------------


def reference(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    smoothing: float,
) -> list[Tensor]:
    """Loss, plain loss and gradients by torch, in float64."""
    leaves = [
        t.detach().double().requires_grad_()
        for t in (hidden, weight, bias)
        if t is not None
    ]
    logits = F.linear(leaves[0], leaves[1], leaves[2] if bias is not None else None)
    loss = F.cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
    return [
        loss.detach(),
        F.cross_entropy(logits, labels, reduction="sum").detach(),
        *torch.autograd.grad(3 * loss, leaves),
    ]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize(
    ("dtype", "within"),
    [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 3e-3)],
)
def test_linear_cross_entropy_is_cross_entropy(
    smoothing: float,
    with_bias: bool,
    dtype: torch.dtype,
    within: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        loss_module, "CHUNK_BYTES", 7 * V * dtype.itemsize
    )  # 23 rows are three chunks and a bit
    # Sums take four rows of weights at a time.
    monkeypatch.setattr(loss_module, "CAST_NUMBERS", 4 * 16)
    hidden, weight, labels = (
        torch.randn(23, 16).to(dtype),
        torch.randn(V, 16),
        torch.randint(V, (23,)),
    )
    bias = torch.randn(V) if with_bias else None
    leaves = [
        t.clone().requires_grad_() for t in (hidden, weight, bias) if t is not None
    ]
    loss, nll = linear_cross_entropy(
        leaves[0], leaves[1], leaves[2] if with_bias else None, labels, smoothing
    )
    (3 * loss).backward()
    found = [loss.detach(), nll, *(leaf.grad for leaf in leaves)]
    for ours, theirs in zip(
        found, reference(hidden, weight, bias, labels, smoothing), strict=True
    ):
        assert ours is not None
        assert float((ours.double() - theirs).norm() / theirs.norm()) < within
    assert leaves[1].grad is not None and leaves[1].grad.dtype == torch.float32
    assert not nll.requires_grad


def test_linear_cross_entropy_without_gradients_or_labels() -> None:
    hidden, weight, labels = (
        torch.randn(5, 16),
        torch.randn(V, 16),
        torch.randint(V, (5,)),
    )
    loss, nll = linear_cross_entropy(hidden, weight, None, labels)
    assert not loss.requires_grad
    assert close(
        loss, F.cross_entropy(hidden @ weight.T, labels, reduction="sum")
    ) and torch.equal(loss, nll)
    weight.requires_grad_()
    loss, _ = linear_cross_entropy(hidden[:0], weight, None, labels[:0])
    loss.backward()
    assert float(loss.detach()) == 0 and float(weight.grad.abs().max()) == 0


@pytest.mark.parametrize(
    ("dtype", "within"),
    [(torch.float32, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 1e-2)],
)
def test_linear_cross_entropy_of_labels_that_are_next_to_impossible(
    dtype: torch.dtype, within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probability of such a label is too small for the dtype, but its loss is exact, and so is that of a
    likely label."""
    monkeypatch.setattr(loss_module, "CHUNK_BYTES", 8 * 3 * dtype.itemsize)
    hidden, weight = torch.full((11, 1), 300.0), torch.tensor([[1.0], [0.5], [0.0]])
    labels = torch.tensor([2] * 10 + [0])
    loss, nll = linear_cross_entropy(hidden.to(dtype), weight, None, labels, 0.1)
    assert float(nll) == pytest.approx(10 * 300.0, rel=within)
    # Smoothing gives a tenth to all three tokens alike.
    assert float(loss) == pytest.approx(
        0.9 * 10 * 300 + 0.1 * 11 * (0 + 150 + 300) / 3, rel=within
    )


def test_linear_cross_entropy_of_many_large_logits_is_exact() -> None:
    """Both of its sums are near half a million here, where fp32 has 0.03 between two numbers."""
    torch.manual_seed(0)
    hidden, weight = torch.randn(512, 4), torch.randn(8, 4)
    bias, labels = torch.full((8,), 1000.0), torch.randint(8, (512,))
    loss, _ = linear_cross_entropy(hidden, weight, bias, labels)
    logits = F.linear(hidden.double(), weight.double(), bias.double())
    exact = F.cross_entropy(logits, labels, reduction="sum")
    assert abs(float(loss) - float(exact)) < 0.005


# -- dropout ----------------------------------------------------------------------------------------


def test_dropout_drops_its_share_and_keeps_the_expectation() -> None:
    x = torch.ones(1000, 1001)
    for p in (0.1, 0.3, 0.5):
        y = dropout(x, p, True)
        dropped = float((y == 0).float().mean())
        assert abs(dropped - p) < 1 / 512 + 0.002
        assert (
            abs(float(y.double().mean()) - 1) < 0.004
        )  # four standard deviations at p = 0.5
        kept = y[y != 0]
        assert (
            float(kept.min())
            == float(kept.max())
            == pytest.approx(1 / (1 - round(p * 256) / 256))
        )
        for axis in (0, 1):  # no row or column is favored
            assert float((y == 0).float().mean(axis).std()) < 0.025


def test_dropout_follows_the_seed() -> None:
    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return dropout(torch.ones(37, 3), 0.4, True)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sum_with_dropout_is_the_sum_of_both(dtype: torch.dtype) -> None:
    x, y = (torch.randn(50, 30).to(dtype).requires_grad_() for _ in range(2))
    slope = torch.randn(50, 30).to(dtype)
    torch.manual_seed(3)
    actual = add_dropout(x, y, 0.3, True)
    torch.manual_seed(3)
    expected = x + dropout(y, 0.3, True)
    # One rounding in place of two.
    assert torch.allclose(actual, expected, rtol=0, atol=8 * torch.finfo(dtype).eps)
    for a, b in zip(
        torch.autograd.grad(actual, (x, y), slope),
        torch.autograd.grad(expected, (x, y), slope),
        strict=True,
    ):
        assert torch.equal(a, b)
    assert torch.equal(add_dropout(x, y, 0.3, False), x + y)


def test_dropout_of_0_changes_nothing() -> None:
    x = torch.randn(4, 5)
    assert dropout(x, 0.0, True) is x
    assert dropout(x, 0.9, False) is x
    model, source = (
        make(dropout=0.5, attention_dropout=0.5, activation_dropout=0.5),
        block(5, 3),
    )
    assert torch.equal(model.encode(source).hidden, model.encode(source).hidden)
    assert not torch.equal(
        model.train().encode(source).hidden, model.encode(source).hidden
    )


@pytest.mark.parametrize("p", [0.001, 0.999])
def test_dropout_near_0_and_1(p: float) -> None:
    y = dropout(torch.ones(2000, 1000), p, True)
    assert float((y == 0).float().mean()) == pytest.approx(p, abs=0.004)
    assert float((y == 0).float().mean()) > 0
    assert torch.isfinite(y).all()


def test_bf16_differs_by_its_rounding_only() -> None:
    model, source, target = make(), block(6, 3), block(4, 5)
    expected = model.logits(model.decode(target, model.encode(source)))
    model.compute_dtype = torch.bfloat16
    actual = model.logits(model.decode(target, model.encode(source)))
    assert actual.dtype == torch.bfloat16
    assert float((actual.float() - expected).norm() / expected.norm()) < 0.03

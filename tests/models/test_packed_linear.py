"""Tests of linear layers with packed weights against products in float64, and of models that have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from masscli.data.batches.batch import Tokens
from masscli.generation.config import GenerationConfig
from masscli.generation.constraints import Requirements
from masscli.generation.search import search
from masscli.generation.stepper import ModelStepper
from masscli.models.config import ModelConfig
from masscli.models.inference_layers import InferenceNorm
from masscli.models.int8 import Int8Linear
from masscli.models.linear import LayerNorm
from masscli.models.output_subset import Candidates
from masscli.models.packed_linear import (
    PackedLinear,
    pack_weights,
    packed_linear,
    packing_pays,
)
from masscli.models.transformer import Transformer
from tests.vocabularies import vocabulary_of_ids

DTYPES = [torch.float32, torch.bfloat16]
VOCAB_SIZE = 300
VOCABULARY = vocabulary_of_ids(VOCAB_SIZE)


def make_model(dtype: torch.dtype) -> Transformer:
    """Random weights, large enough to be packed in fp32."""
    torch.manual_seed(3)
    config = ModelConfig(
        dim=256,
        ffn_dim=512,
        heads=4,
        encoder_layers=2,
        decoder_layers=2,
        dropout=0.0,
        output_bias=True,
    )
    model = Transformer(config, VOCAB_SIZE, ()).eval().requires_grad_(False)
    model.compute_dtype = dtype
    return model.to(dtype)


def needs_packing(dtype: torch.dtype) -> None:
    if not packing_pays(torch.zeros(512, 512, dtype=dtype)):
        pytest.skip("this processor, or this build of PyTorch, packs no weights")


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_products_are_those_of_the_plain_layer(
    dtype: torch.dtype, has_bias: bool
) -> None:
    needs_packing(dtype)
    torch.manual_seed(1)
    weight = torch.randn(301, 517).to(dtype)
    bias = torch.randn(301).to(dtype) if has_bias else None
    layer = PackedLinear(weight, bias)
    for shape in [(1, 517), (7, 517), (3, 5, 517), (320, 517)]:
        x = torch.randn(shape).to(dtype)
        exact = F.linear(
            x.double(), weight.double(), None if bias is None else bias.double()
        )
        result = layer(x)
        assert result.dtype == dtype and result.shape == exact.shape
        # Sums of some 500 products are as large as 100; bf16 has 8 significant bits.
        tolerance = 1e-4 if dtype == torch.float32 else 2**-8 * 128
        assert (result.double() - exact).abs().max() < tolerance
        # A strided view has the same rows.
        strided = x.repeat_interleave(2, 0)[::2]
        assert torch.equal(layer(strided), result)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_hardly_depends_on_its_batch(dtype: torch.dtype) -> None:
    needs_packing(dtype)
    torch.manual_seed(2)
    weight, bias = torch.randn(512, 256).to(dtype), torch.randn(512).to(dtype)
    layer = PackedLinear(weight, bias)
    x = torch.randn(320, 256).to(dtype)
    together = layer(x)
    for rows in (1, 2, 5, 40, 160):
        difference = (layer(x[:rows]) - together[:rows]).abs().float()
        # Plain products in fp32 differ in their last bits, too.
        assert difference.max() <= (1e-4 if dtype == torch.float32 else 2**-8 * 64)
        assert difference.mean() < 1e-5


def test_small_weights_and_other_types_are_not_packed() -> None:
    for weight in (torch.randn(64, 32), torch.randn(512, 512).double()):
        assert packed_linear(weight, None) is None


@pytest.mark.parametrize("missing", ["oneDNN", "AVX2", "bf16"])
def test_processors_without_the_kernels_keep_plain_products(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dtype = torch.bfloat16 if missing == "bf16" else torch.float32
    needs_packing(dtype)
    if missing == "oneDNN":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    elif missing == "AVX2":
        monkeypatch.setattr(torch.cpu, "_is_avx2_supported", lambda: False)
    else:
        monkeypatch.setattr(
            torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False
        )
    model = pack_weights(make_model(dtype))
    assert not any(isinstance(layer, PackedLinear) for layer in model.modules())
    hidden = torch.randn(5, 256).to(dtype)
    assert torch.equal(model.logits(hidden), make_model(dtype).logits(hidden))


def test_layers_for_inference_do_not_depend_on_the_file_of_the_weights() -> None:
    """Weights may be mapped from a file that is overwritten while a server runs."""
    weight, bias = torch.randn(512, 512), torch.randn(512)
    norm = LayerNorm(512)
    layers = [PackedLinear(weight, bias), Int8Linear(weight, bias), InferenceNorm(norm)]
    x = torch.randn(3, 512)
    before = [layer(x) for layer in layers]
    with torch.no_grad():
        for tensor in (weight, bias, norm.weight, norm.bias):
            tensor.fill_(7.0)
    for layer, result in zip(layers, before, strict=True):
        assert torch.equal(layer(x), result)


@pytest.mark.parametrize("shortlist", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_search_finds_the_same_with_packed_weights(
    dtype: torch.dtype, shortlist: bool
) -> None:
    needs_packing(dtype)
    plain = make_model(dtype)
    packed = pack_weights(make_model(dtype))
    layers = [m for m in packed.modules() if isinstance(m, PackedLinear)]
    # Four products in each encoder layer, seven in each decoder layer, and the output layer.
    assert len(layers) == 2 * 4 + 2 * 7 + 1
    rng = np.random.default_rng(5)
    ids = torch.from_numpy(rng.integers(7, VOCAB_SIZE, (6, 9)))
    source = Tokens(ids, torch.full((6,), 9))
    candidates = None
    if shortlist:
        allowed = torch.ones(6, VOCAB_SIZE, dtype=torch.bool)
        candidates = Candidates(torch.arange(VOCAB_SIZE), allowed)
    config = GenerationConfig(beam=3, nbest=3, max_len_a=0.0, max_len_b=8)
    results = []
    for model in (plain, packed):
        with torch.inference_mode():
            stepper = ModelStepper(model, source, 3, candidates=candidates)
            found = search(
                stepper, torch.full((6,), 1), Requirements([8] * 6), config, VOCABULARY
            )
        results.append(found)
    for before, after in zip(*results, strict=True):
        if dtype == torch.float32:
            assert [h.ids for h in after] == [h.ids for h in before]
            assert [h.score for h in after] == pytest.approx(
                [h.score for h in before], abs=1e-4
            )
        else:
            # A last bit may change what is found, but hardly its score.
            assert after[0].score == pytest.approx(before[0].score, abs=0.05)

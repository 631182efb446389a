"""Tests of models of one stack that generate: with and without cache, alone and in a batch."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from masscli.data.batches.batch import Tokens
from masscli.data.batches.framing import Framing
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.generation.single_stack_decoding import SingleStackStepper
from masscli.models import cache
from masscli.models.cache import Cache, LayerCache
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.shared.pseudo_masking import build_example, pseudo_mask_batch
from tests.commands import succeed
from tests.vocabularies import vocabulary_of_ids

VOCAB = vocabulary_of_ids(40)
FRAMING = Framing(VOCAB, False, False, ("de", "en"))
KINDS: dict[str, dict[str, Any]] = {
    "decoder": {"encoder_layers": 0},
    "gpt": {"encoder_layers": 0, "norm": "post", "positions": "learned", "activation": "gelu_tanh"},
    "encoder": {"decoder_layers": 0, "segments": 2},
    "unilm": {"decoder_layers": 0, "segments": 2, "norm": "post", "positions": "learned", "relative_buckets": 8, "relative_distance": 16,
              "head_transform": True, "norm_embedding": True},
    "albert": {"decoder_layers": 0, "segments": 2, "share_layers": "all", "embedding_dim": 8, "head_transform": True},
}  # fmt: skip


def make(kind: str) -> Transformer:
    torch.manual_seed(1)
    values: dict[str, Any] = {"dim": 16, "ffn_dim": 24, "heads": 2, "encoder_layers": 2, "decoder_layers": 2, "languages": "embedding",
                              "max_positions": 48}  # fmt: skip
    model = Transformer(ModelConfig(**(values | KINDS[kind])), VOCAB.size, ("de", "en"))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model.eval().requires_grad_(False)


def words(n: int, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(seed).integers(10, 40, n)


def plain(model: Transformer, source: Any, target: Any) -> torch.Tensor:
    """Log-probabilities of the target and its end, in one uncached pass."""
    expected = torch.tensor([*target.tolist(), VOCAB.eos])
    if model.decoder is None:
        ids = np.append(target, VOCAB.eos)
        x = build_example(
            np.array([VOCAB.cls, *source, VOCAB.sep]), ids, ids, VOCAB.mask, "s2s"
        )
        batch = pseudo_mask_batch([x], ("s2s",), FRAMING, "en", [0])
        hidden = model.encode(batch.source).hidden.flatten(0, 1)[
            batch.labels["s2s"].positions
        ]
    else:
        row = torch.tensor([[VOCAB.bos, *source, *target]])
        hidden = model.decode(
            Tokens(row, torch.tensor([row.shape[1]]), language=torch.tensor([1])), None
        )[0, len(source) :]
    return torch.log_softmax(model.logits(hidden), -1)[
        torch.arange(len(expected)), expected
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_step_by_step_equals_one_pass(kind: str) -> None:
    model = make(kind)
    sources, target = [words(n, n) for n in (7, 3, 1)], words(5, 20)
    stepper = SingleStackStepper(model, sources, 2, FRAMING, "en")
    inputs = [VOCAB.bos, *target.tolist()]
    actual = torch.stack([stepper(torch.full((6,), i)) for i in inputs], 1)
    expected = torch.tensor([*target.tolist(), VOCAB.eos])
    for row in range(6):
        scores = actual[row, torch.arange(6), expected]
        assert torch.allclose(
            scores, plain(model, sources[row // 2], target), atol=1e-4
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampling", [False, True])
def test_outputs_have_the_reported_score_alone_and_in_a_batch(
    kind: str, sampling: bool
) -> None:
    model = make(kind)
    config = GenerationConfig(
        beam=3, nbest=2, max_len_a=0.0, max_len_b=6, sampling=sampling
    )
    decoder = Decoder([model], FRAMING, config)
    sources = [words(n, n) for n in (7, 3, 1, 5)]
    together = decoder.generate(sources, "en", "en")
    for source, hypotheses in zip(sources, together, strict=True):
        alone = decoder.generate([source], "en", "en")[0]
        assert [h.ids for h in alone] == [h.ids for h in hypotheses]
        for h in hypotheses:
            ids = np.array(h.ids, np.int64)
            scores = plain(model, source, ids)
            assert math.isclose(
                float(scores.sum()) / len(scores), h.score, abs_tol=1e-4
            )
            again = decoder.score([source], [ids], "en", "en")[0]
            assert math.isclose(again.score, h.score, abs_tol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_slots_that_no_beam_needs_are_dropped_after_a_prompt(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions and padding of prompts are moved together with their slots."""
    config = GenerationConfig(
        beam=4, nbest=4, min_len=12, max_len_a=0.0, max_len_b=12, early_stop=True
    )
    decoder = Decoder([make(kind)], FRAMING, config)
    sources = [words(n, n) for n in (7, 3, 1, 5)]
    moved = []
    keep_slots = LayerCache.keep_slots

    def count(layer: LayerCache, slots: Tensor) -> None:
        moved.append(slots.shape[1])
        keep_slots(layer, slots)

    monkeypatch.setattr(LayerCache, "keep_slots", count)
    monkeypatch.setattr(cache, "STEPS_BETWEEN_COMPACTIONS", 1)
    dropping = decoder.generate(sources, "en", "en")
    assert moved
    monkeypatch.setattr(Cache, "_compact", lambda _: None)
    keeping = decoder.generate(sources, "en", "en")
    for actual, expected in zip(dropping, keeping, strict=True):
        assert [h.ids for h in actual] == [h.ids for h in expected]
        assert [h.score for h in actual] == pytest.approx(
            [h.score for h in expected], abs=1e-5
        )


def test_an_output_ends_at_the_last_position() -> None:
    model = make("gpt")
    decoder = Decoder(
        [model], FRAMING, GenerationConfig(beam=1, min_len=40, max_len_b=400)
    )
    # The start symbol and the text take positions, and so does each piece, which the end symbol follows.
    assert decoder.max_source_length == 46
    found = decoder.generate([words(46, 1), words(9, 2)], "en", "en")
    assert [len(h[0].ids) for h in found] == [1, 38]
    bare = Framing(replace(VOCAB, prompt_start=False), False, False, ("de", "en"))
    decoder = Decoder([model], bare, decoder.config)
    assert decoder.max_source_length == 47
    found = decoder.generate([words(47, 1), words(9, 2)], "en", "en")
    assert [len(h[0].ids) for h in found] == [1, 39]


@pytest.mark.parametrize("kind", KINDS)
def test_a_sentence_without_positions_waits_for_the_others(kind: str) -> None:
    """A finished sentence stays in the batch until a quarter of the sentences are done."""
    model = make(kind)
    decoder = Decoder(
        [model], FRAMING, GenerationConfig(beam=2, min_len=40, max_len_b=400)
    )
    sources = [words(40, 1), *(words(3, n) for n in range(2, 7))]
    together = decoder.generate(sources, "en", "en")
    alone = [decoder.generate([source], "en", "en")[0] for source in sources]
    assert [h[0].ids for h in together] == [h[0].ids for h in alone]


def test_outputs_do_not_repeat_their_prompt_either() -> None:
    """Each piece of 30 is once in the prompt or in the output; both lengths of a prompt are in one batch."""
    config = GenerationConfig(beam=2, min_len=5, max_len_b=5, no_repeat_ngram_size=1)
    sources = [np.arange(10, 30), np.arange(10, 36)]
    decoder = Decoder([make("gpt")], FRAMING, replace(config, max_len_a=0.0))
    for source, [best] in zip(
        sources, decoder.generate(sources, "en", "en"), strict=True
    ):
        assert not {*best.ids} & {*source.tolist()}
    # An encoder reads its source as another text.
    decoder = Decoder([make("encoder")], FRAMING, replace(config, max_len_a=0.0))
    found = decoder.generate(sources, "en", "en")
    assert any({*best.ids} & {*sources[0].tolist()} for [best] in found)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_that_fit_are_scored_together_as_alone(kind: str) -> None:
    """A long source with a short target, and the reverse, together need more positions than there are."""
    decoder = Decoder([make(kind)], FRAMING, GenerationConfig())
    pairs = [(words(35, 1), words(5, 3)), (words(2, 2), words(38, 4))]
    together = decoder.score([a for a, _ in pairs], [b for _, b in pairs], "en", "en")
    for (source, target), found in zip(pairs, together, strict=True):
        alone = decoder.score([source], [target], "en", "en")[0]
        assert found.token_scores == pytest.approx(alone.token_scores, abs=1e-4)
        assert len(found.token_scores) == len(target) + 1


def test_a_prompt_may_be_empty() -> None:
    model = make("gpt")
    assert (
        len(
            Decoder([model], FRAMING, GenerationConfig(beam=2))
            .score([words(0, 1)], [words(3, 1)], "en", "en")[0]
            .token_scores
        )
        == 4
    )
    scores = (
        Decoder([model], FRAMING, GenerationConfig(beam=2))
        .score([words(0, 1)], [words(3, 1)], "en", "en")[0]
        .token_scores
    )
    assert torch.allclose(
        torch.tensor(scores), plain(model, words(0, 1), words(3, 1)), atol=1e-4
    )


def test_a_vocabulary_may_say_that_prompts_have_no_start_symbol() -> None:
    model = make("gpt")
    framing = Framing(
        replace(VOCAB, prompt_start=False), False, False, ("de", "en"), "first"
    )
    source, target = words(4, 1), words(3, 2)
    for decoder_framing, start in ((framing, []), (FRAMING, [VOCAB.bos])):
        row = torch.tensor([[*start, *source, *target]])
        hidden = model.decode(
            Tokens(row, torch.tensor([row.shape[1]]), language=torch.tensor([1])), None
        )[0, len(start) + len(source) - 1 :]
        scores = torch.log_softmax(model.logits(hidden), -1)
        expected = scores[range(4), [*target.tolist(), VOCAB.eos]].tolist()
        decoder = Decoder([model], decoder_framing, GenerationConfig(beam=2))
        [actual] = decoder.score([source], [target], "en", "en")
        assert actual.token_scores == pytest.approx(expected, abs=1e-4)
    # An empty prompt leaves only the start symbol to read.
    bare = Decoder([model], framing, GenerationConfig(beam=2))
    usual = Decoder([model], FRAMING, GenerationConfig(beam=2))
    empty = words(0, 1)
    assert bare.score([empty], [target], "en", "en") == usual.score(
        [empty], [target], "en", "en"
    )


@pytest.mark.usefixtures("no_sync", "one_thread")
def test_from_the_command_line(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from masscli.__main__ import run

    tiny = (
        "--dim 16 --ffn-dim 32 --heads 2 --max-update 3 --max-tokens 300 "
        "--num-workers 0"
    ).split()
    small = tiny
    prompts = tmp_path / "prompts"
    prompts.write_text("ba be bi\n\nbo\n", encoding="utf-8")
    one, two, three = (str(tmp_path / name) for name in ("gpt", "unilm", "bert"))
    succeed(
        [
            *(
                f"pretrain {toy} --objective gpt -l en --tokens-per-sample 24 "
                "--save-dir"
            ).split(),
            one,
            *small,
        ]
    )
    succeed(["pretrain", str(toy), "--objective", "unilm", "-l", "en", "--tokens-per-sample", "24", "--save-dir", two, "--segments", "2",
                *small])  # fmt: skip
    succeed(["finetune", str(toy), "--task", "s2s", "-s", "en", "-t", "de", "--init-from", two, "--save-dir", two + "-s2s",
                *small[6:]])  # fmt: skip
    capsys.readouterr()
    for path, more in (
        (one, []),
        (one, ["--sampling", "--sampling-topk", "5"]),
        (two + "-s2s", ["--beam", "2"]),
    ):
        succeed(["generate", path, "--input", str(prompts), *more])
        out = capsys.readouterr().out.split("\n")
        assert len(out) == 4 and out[1] == ""
    succeed(
        [
            *(
                f"pretrain {toy} --objective bert -l en --tokens-per-sample 24 "
                "--save-dir"
            ).split(),
            three,
            *small,
        ]
    )
    capsys.readouterr()
    assert run(["generate", three, "--input", str(prompts)]) == 2
    assert (
        f"{three}: has no decoder, so it cannot turn text into text"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_forced_first_tokens_are_in_the_prompt_of_a_score_too(kind: str) -> None:
    model = make(kind)
    # Their positions would change the scores if they were read before the output once more.
    framing = Framing(
        replace(VOCAB, forced_prefix=(10,)), False, False, ("de", "en"), "first"
    )
    decoder = Decoder([model], framing, GenerationConfig(beam=2))
    sources = [words(5, 1), words(9, 2)]
    found = [n_best[0] for n_best in decoder.generate(sources, "en", "en")]
    targets = [np.array(hypothesis.ids) for hypothesis in found]
    scored = decoder.score(sources, targets, "en", "en")
    for searched, given in zip(found, scored, strict=True):
        assert given.token_scores == pytest.approx(searched.token_scores, abs=1e-5)
        assert given.score == pytest.approx(searched.score, abs=1e-5)

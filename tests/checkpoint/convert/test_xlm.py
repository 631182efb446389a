"""Models of XLM and MASS against what the released MASS code computed with them."""

from __future__ import annotations

import argparse
import os
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.foreign import ImportRequest
from masscli.checkpoint.convert.import_file import import_file
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.models.transformer import Transformer
from tests.peers.small_files import XLM_SPECIAL, xlm_stack

peer_samples = pytest.mark.peer_samples
LIMIT = 1e-5
BOTH = ("sample", "sample-legacy", "sample-english-only")


def samples() -> Path:
    folder = os.environ.get("MASSCLI_PEERS")
    if folder is None:
        pytest.skip("MASSCLI_PEERS names no folder of samples of other programs")
    return Path(folder) / "xlm"


@cache
def imported(name: str, folder: Path) -> Checkpoint:
    codes = samples() / "codes" if name in ("sample", "sample-legacy") else None
    request = ImportRequest(
        samples() / f"{name}.pth", bpe_codes=codes, moses=True, lowercase=True
    )
    path, _ = import_file(request, None, folder / name)
    return Checkpoint.open(path)


def test_a_vocabulary_of_small_letters_asks_for_lowercase(tmp_path: Path) -> None:
    for lowercase in (False, True):
        request = ImportRequest(
            samples() / "sample.pth",
            bpe_codes=samples() / "codes",
            moses=True,
            lowercase=lowercase,
        )
        _, notes = import_file(request, None, tmp_path / str(lowercase))
        assert any("add --lowercase" in note for note in notes) is not lowercase


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("xlm")


def expected(name: str) -> dict[str, Any]:
    stored = name.replace("-legacy", "")
    with np.load(samples() / f"{stored}-expected.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def block(
    ids: Any, lengths: Any, checkpoint: Checkpoint, language: str, **fields: Tensor
) -> Tokens:
    """Ids (L, B) of XLM as a block of ours."""
    rows = torch.from_numpy(np.ascontiguousarray(ids.T))
    known = checkpoint.state.languages
    vector = torch.full((len(rows),), known.index(language)) if known else None
    return Tokens(rows, torch.as_tensor(lengths), language=vector, **fields)


def distance(actual: Tensor, expected: Any, lengths: Any) -> float:
    """The largest difference of states (B, L, D) to XLM's (L, B, D), padding left out."""
    theirs = torch.from_numpy(expected).transpose(0, 1)[..., : actual.shape[-1]]
    real = torch.arange(actual.shape[1]) < torch.as_tensor(lengths)[:, None]
    return float((actual[..., : theirs.shape[-1]] - theirs)[real].abs().max())


@peer_samples
@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("direction", ["en-de", "de-en", "en-en"])
def test_states_and_logits_are_those_of_the_original(
    name: str, direction: str, runs: Path
) -> None:
    checkpoint, stored = imported(name, runs), expected(name)
    model = checkpoint.model()
    source_language, target_language = direction.split("-")
    case = {
        key.rpartition(".")[2]: value
        for key, value in stored.items()
        if f"mt.{direction}." in key
    }
    source = block(case["x"], case["xlen"], checkpoint, source_language)
    target = block(case["y"], case["ylen"], checkpoint, target_language)
    memory = model.encode(source)
    hidden = model.decode(target, memory)
    assert distance(memory.hidden, case["encoder"], case["xlen"]) < LIMIT
    assert distance(hidden, case["decoder"], case["ylen"]) < LIMIT
    logits = model.logits(hidden)
    assert distance(logits, case["logits"], case["ylen"]) < LIMIT
    # Symbols that masscli added have no probability.
    assert bool((logits[..., case["logits"].shape[-1] :] == -torch.inf).all())


@peer_samples
@pytest.mark.parametrize("name", [*BOTH, "sample-xlm-mlm"])
def test_masked_tokens_are_predicted_as_by_the_original(name: str, runs: Path) -> None:
    checkpoint, stored = imported(name, runs), expected(name)
    model = checkpoint.model()
    for language in ("en", "de"):
        lengths = stored[f"mlm.{language}.len"]
        hidden = model.encode(
            block(stored[f"mlm.{language}.x"], lengths, checkpoint, language)
        ).hidden
        if f"mlm.{language}.hidden" in stored:
            assert distance(hidden, stored[f"mlm.{language}.hidden"], lengths) < LIMIT
        logits = model.logits(hidden, "encoder")
        assert distance(logits, stored[f"mlm.{language}.logits"], lengths) < LIMIT


@peer_samples
@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("language", ["en", "de"])
def test_the_loss_of_mass_is_that_of_the_original(
    name: str, language: str, runs: Path
) -> None:
    checkpoint, stored = imported(name, runs), expected(name)
    case = {
        key.rpartition(".")[2]: value
        for key, value in stored.items()
        if f"mass.{language}." in key
    }
    model = checkpoint.model()
    # The decoder does not attend to [M].
    visible = (
        torch.from_numpy(np.ascontiguousarray(case["x"].T))
        != checkpoint.tokenizer().vocab.mask
    )
    source = block(
        case["x"], case["xlen"], checkpoint, language, cross_attention_mask=visible
    )
    positions = torch.from_numpy(np.ascontiguousarray(case["positions"].T))
    target = block(
        case["inputs"], [len(case["inputs"])], checkpoint, language, positions=positions
    )
    logits = model.logits(model.decode(target, model.encode(source)))[0]
    assert (
        float(
            (logits[:, : case["logits"].shape[1]] - torch.from_numpy(case["logits"]))
            .abs()
            .max()
        )
        < LIMIT
    )
    labels = torch.from_numpy(case["labels"][:, 0])
    assert abs(float(F.cross_entropy(logits, labels)) - float(case["loss"])) < LIMIT


@peer_samples
@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(("beam", "key"), [(1, "greedy"), (3, "beam3")])
def test_search_gives_the_outputs_of_the_original(
    name: str, beam: int, key: str, runs: Path
) -> None:
    checkpoint, stored = imported(name, runs), expected(name)
    tokenizer = checkpoint.tokenizer()
    for direction in ("en-de", "de-en", "en-en"):
        source, target = direction.split("-")
        ids = stored[f"mt.{direction}.x"]
        lengths = stored[f"mt.{direction}.xlen"]
        # Without </s> at both ends.
        sources = [ids[1 : length - 1, row] for row, length in enumerate(lengths)]
        # XLM counts both ends in its limit of 20.
        config = GenerationConfig(beam=beam, max_len_a=0.0, max_len_b=18)
        decoder = Decoder([checkpoint.model()], checkpoint.framing(), config)
        found = decoder.generate(sources, source, target)
        for row, hypotheses in enumerate(found):
            theirs = stored[f"mt.{direction}.{key}"][:, row].tolist()
            ours = [tokenizer.vocab.eos, *hypotheses[0].ids, tokenizer.vocab.eos]
            assert ours == theirs[: len(ours)]


@peer_samples
@pytest.mark.parametrize("name", ["sample", "sample-legacy"])
def test_text_gets_the_ids_of_the_original(name: str, runs: Path) -> None:
    stored = expected(name)
    tokenizer = imported(name, runs).tokenizer()
    vocab = tokenizer.vocab
    assert (vocab.bos, vocab.eos, vocab.pad, vocab.unk, vocab.mask) == (1, 1, 2, 3, 5)
    for language in ("en", "de"):
        for number in range(3):
            ids = stored[f"ids.{language}.{number}"].tolist()
            assert tokenizer.encode(tokenizer.decode(ids, language), language) == ids


@peer_samples
def test_the_old_format_gives_the_same_run(runs: Path) -> None:
    new, old = (imported(name, runs) for name in ("sample", "sample-legacy"))
    assert all(
        torch.equal(tensor, old.weights()[name])
        for name, tensor in new.weights().items()
    )
    assert new.tokenizer().vocab == old.tokenizer().vocab


@peer_samples
def test_what_is_not_supported_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(MasscliError, match="attention_setting v2"):
        import_file(ImportRequest(samples() / "sample-v2.pth"), None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@peer_samples
@pytest.mark.parametrize("name", ["sample", "sample-english-only"])
def test_training_continues_from_the_loss_of_the_original(
    name: str, runs: Path
) -> None:
    checkpoint, stored = imported(name, runs), expected(name)
    case = {
        key.rpartition(".")[2]: value
        for key, value in stored.items()
        if "mass.en." in key
    }
    model = checkpoint.model().requires_grad_(True)
    visible = (
        torch.from_numpy(np.ascontiguousarray(case["x"].T))
        != checkpoint.tokenizer().vocab.mask
    )
    source = block(
        case["x"], case["xlen"], checkpoint, "en", cross_attention_mask=visible
    )
    positions = torch.from_numpy(np.ascontiguousarray(case["positions"].T))
    target = block(
        case["inputs"], [len(case["inputs"])], checkpoint, "en", positions=positions
    )
    labels = torch.from_numpy(case["labels"][:, 0])
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for _ in range(50):
        hidden = model.decode(target, model.encode(source)).flatten(0, 1)
        loss, nll = model.loss(hidden, labels)
        losses.append(float(nll) / len(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert abs(losses[0] - float(case["loss"])) < LIMIT
    assert losses[-1] < losses[0] - 1


# -- files that are made here, with other choices than the samples have ------------------------------


class SlowXlm:
    """XLM's forward pass on one sentence, from the tensors of a file and with the equations of its code."""

    def __init__(self, state: dict[str, Tensor], heads: int, gelu: bool) -> None:
        self.state, self.heads, self.activation = (
            state,
            heads,
            F.gelu if gelu else F.relu,
        )

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(
            x,
            x.shape[-1:],
            self.state[f"{name}.weight"],
            self.state[f"{name}.bias"],
            1e-12,
        )

    def attend(
        self, name: str, out: str, x: Tensor, keys: Tensor, causal: bool
    ) -> Tensor:
        size = x.shape[-1] // self.heads
        q, k, v = (
            self.linear(f"{name}.{p}_lin", y)
            for p, y in (("q", x), ("k", keys), ("v", keys))
        )
        parts = []
        for head in range(self.heads):
            part = slice(head * size, (head + 1) * size)
            scores = (q[:, part] / size**0.5) @ k[:, part].T
            if causal:
                scores = scores.masked_fill(
                    torch.ones_like(scores).triu(1).bool(), -torch.inf
                )
            parts.append(scores.softmax(-1) @ v[:, part])
        return self.linear(f"{name}.{out}", torch.cat(parts, 1))

    def __call__(
        self,
        ids: list[int],
        lang: int | None,
        layers: int,
        memory: Tensor | None,
        out: str,
        causal: bool = False,
    ) -> Tensor:
        causal = causal or memory is not None
        s = self.state
        x = s["embeddings.weight"][ids] + s["position_embeddings.weight"][: len(ids)]
        if lang is not None:
            x = x + s["lang_embeddings.weight"][lang]
        x = self.norm("layer_norm_emb", x)
        for i in range(layers):
            x = self.norm(
                f"layer_norm1.{i}",
                x + self.attend(f"attentions.{i}", "out_lin", x, x, causal),
            )
            if memory is not None:
                x = self.norm(
                    f"layer_norm15.{i}",
                    x + self.attend(f"encoder_attn.{i}", out, x, memory, False),
                )
            hidden = self.linear(
                f"ffns.{i}.lin2", self.activation(self.linear(f"ffns.{i}.lin1", x))
            )
            x = self.norm(f"layer_norm2.{i}", x + hidden)
        return x


@pytest.mark.parametrize(
    ("dim", "heads", "layers", "langs", "cross", "shared", "gelu", "dtype"),
    [
        (
            18,
            3,
            (1, 3),
            {"ro": 1, "en": 0, "cs": 2},
            "languages",
            True,
            True,
            torch.float32,
        ),
        (15, 5, (3, 1), {"fr": 0, "en": 1}, "plain", False, False, torch.float32),
        (8, 1, (2, 2), {"en": 0}, "plain", True, True, torch.float16),
        (12, 2, (2, 0), {"en": 0, "de": 1}, "", True, False, torch.float32),
    ],
    ids=["three languages", "untied relu", "one language in fp16", "masked lm"],
)
def test_files_with_other_choices(
    dim: int,
    heads: int,
    layers: tuple[int, int],
    langs: dict[str, int],
    cross: str,
    shared: bool,
    gelu: bool,
    dtype: torch.dtype,
    tmp_path: Path,
) -> None:
    torch.manual_seed(1)
    words = 30
    vectors = len(langs) if len(langs) > 1 else 0
    names = ["<s>", "</s>", "<pad>", "<unk>", *(f"<special{i}>" for i in range(10))]
    names += [f"w{i}" for i in range(words - len(names))]
    stacks = {"encoder": xlm_stack(dim, layers[0], words, vectors, "", shared)}
    if layers[1]:
        stacks["decoder"] = xlm_stack(dim, layers[1], words, vectors, cross, shared)
    stacks = {
        name: {key: t.to(dtype) for key, t in state.items()}
        for name, state in stacks.items()
    }
    content: dict[str, Any] = {
        # Files of several GPUs keep the prefix, and checkpoint.pth has the state of the optimizer.
        name if layers[1] else "model": {f"module.{key}": t for key, t in state.items()}
        for name, state in stacks.items()
    }
    content |= {
        "dico_id2word": dict(enumerate(names)),
        "params": {
            "n_heads": heads,
            "gelu_activation": gelu,
            "share_inout_emb": shared,
            "lang2id": langs,
            "n_words": np.int64(words),
            "mask_scores": np.arange(4.0),
        },
        "encoder_optimizer": {
            "state": {0: {"exp_avg": torch.zeros(3)}},
            "param_groups": [{"lr": 1e-4}],
        },
    }
    torch.save(content, tmp_path / "checkpoint.pth")
    path, _ = import_file(
        ImportRequest(tmp_path / "checkpoint.pth"), None, tmp_path / "run"
    )
    checkpoint = Checkpoint.open(path)
    model: Transformer = checkpoint.model()
    slow = {
        n: SlowXlm({k: t.float() for k, t in s.items()}, heads, gelu)
        for n, s in stacks.items()
    }
    source, target = [1, 14, 20, 17, 1], [1, 25, 14, 15]
    first, *_, last = [*langs, *langs]
    numbers = [langs[language] if vectors else None for language in (first, last)]
    memory = slow["encoder"](source, numbers[0], layers[0], None, "")
    tokens = block(np.array([source]).T, [5], checkpoint, first)
    assert float((model.encode(tokens).hidden[0] - memory).abs().max()) < LIMIT
    stack, hidden, expected = "encoder", model.encode(tokens).hidden, memory
    if layers[1]:
        out = f"out_lin.{langs[last]}" if cross == "languages" else "out_lin"
        expected = slow["decoder"](target, numbers[1], layers[1], memory, out)
        hidden = model.decode(
            block(np.array([target]).T, [4], checkpoint, last), model.encode(tokens)
        )
        stack = "decoder"
        assert float((hidden[0] - expected).abs().max()) < LIMIT
    logits = model.logits(hidden)[0, :, :words]
    assert (
        float((logits - slow[stack].linear("pred_layer.proj", expected)).abs().max())
        < LIMIT
    )


def test_an_encoder_is_read_whatever_the_setting_of_cross_attention(
    tmp_path: Path,
) -> None:
    words = [*XLM_SPECIAL, "a", "b"]
    content = {
        "model": xlm_stack(8, 1, len(words), 0, "", True),
        "dico_id2word": dict(enumerate(words)),
        "params": {
            "n_heads": 2,
            "lang2id": {"en": 0},
            "attention_setting": "v2",
        },
    }
    torch.save(content, tmp_path / "model.pth")
    import_file(ImportRequest(tmp_path / "model.pth"), None, tmp_path / "run")


def test_a_causal_language_model_is_told_from_a_masked_one_by_its_steps(
    tmp_path: Path,
) -> None:
    """The tensors of both are the same (xlm_clm_enfr_1024.pth and xlm_mlm_enfr_1024.pth)."""
    torch.manual_seed(1)
    words = [*XLM_SPECIAL, *"abcdefgh"]
    state = xlm_stack(12, 2, len(words), 2, "", True)
    params = {"n_heads": 2, "lang2id": {"fr": 1, "en": 0}}
    causal, masked = {"clm_steps": [("en", None)]}, {"mlm_steps": [("en", None)]}
    kinds = []
    for steps in (causal, masked, causal | masked, {"clm_steps": []}):
        content = {
            "model": state,
            "dico_id2word": dict(enumerate(words)),
            "params": params | steps,
        }
        torch.save(content, tmp_path / "model.pth")
        path, _ = import_file(
            ImportRequest(tmp_path / "model.pth"), None, tmp_path / f"{len(kinds)}"
        )
        kinds.append(list(Checkpoint.open(path).recipe.stream))
    assert kinds == [["clm-en", "clm-fr"], *[["mlm-en", "mlm-fr"]] * 3]
    with pytest.raises(
        MasscliError, match=r"^-s: .* is of .* with one stack, to which"
    ):
        import_file(
            ImportRequest(tmp_path / "model.pth", source="en", target="fr"),
            None,
            tmp_path / "new",
        )
    checkpoint = Checkpoint.open(tmp_path / "0")
    ids = [1, 14, 20, 17, 16]
    tokens = block(np.array([ids]).T, [5], checkpoint, "fr")
    model = checkpoint.model()
    hidden = model.decode(tokens, None)
    slow = SlowXlm(state, 2, False)
    expected = slow(ids, 1, 2, None, "", causal=True)
    assert float((hidden[0] - expected).abs().max()) < LIMIT
    logits = model.logits(hidden)[0, :, : len(words)]
    expected = slow.linear("pred_layer.proj", expected)
    assert float((logits - expected).abs().max()) < LIMIT


def test_damage_and_unknown_parts_are_named(tmp_path: Path) -> None:
    words = [
        "<s>",
        "</s>",
        "<pad>",
        "<unk>",
        *(f"<special{i}>" for i in range(10)),
        "a",
        "b",
    ]
    state = xlm_stack(8, 1, len(words), 0, "", True)
    content = {
        "model": state,
        "dico_id2word": dict(enumerate(words)),
        "params": {"n_heads": 2, "lang2id": {"en": 0}},
    }

    def message(**changes: Any) -> str:
        torch.save({**content, **changes}, tmp_path / "model.pth")
        with pytest.raises(MasscliError) as error:
            import_file(ImportRequest(tmp_path / "model.pth"), None, tmp_path / "run")
        assert "\n" not in error.value.message
        return error.value.message

    assert "asm" in message(params={**content["params"], "asm": True})
    assert "memories.0" in message(model={**state, "memories.0.keys": torch.zeros(2)})
    assert "pred_layer.proj.weight differs" in message(
        model={**state, "pred_layer.proj.weight": torch.zeros(16, 8)}
    )
    assert "has no tensor ffns.0.lin2.bias" in message(
        model={key: value for key, value in state.items() if key != "ffns.0.lin2.bias"}
    )
    assert "16 embeddings, its dictionary 15 pieces" in message(
        dico_id2word=dict(enumerate(words[:-1]))
    )
    for name, shape in (
        ("ffns.0.lin1.weight", ()),
        ("attentions.0.k_lin.weight", (8, 7)),
        ("embeddings.weight", (16,)),
    ):
        damaged = {**state, name: torch.zeros(shape)}
        if name == "embeddings.weight":
            damaged["pred_layer.proj.weight"] = damaged[name]
        assert "shapes of its tensors are inconsistent" in message(model=damaged)
    assert "lang2id" in message(params={"n_heads": 2})
    assert "heads" in message(params={"lang2id": {"en": 0}})
    assert "dictionary" in message(dico_id2word={0: "a"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_containers_numbers_and_sinusoids_of_other_writers(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    """A defaultdict, NumPy's numbers, options as a Namespace; rounded sinusoids are taken as they are, as in XLM."""
    words = [
        "<s>",
        "</s>",
        "<pad>",
        "<unk>",
        *(f"<special{i}>" for i in range(10)),
        "a",
        "b",
    ]
    state = xlm_stack(8, 1, len(words), 0, "", True)
    positions = np.arange(len(state["position_embeddings.weight"]))[:, None]
    angles = positions / 10000 ** (2 * (np.arange(8) // 2) / 8)
    angles[:, 0::2], angles[:, 1::2] = np.sin(angles[:, 0::2]), np.cos(angles[:, 1::2])
    state["position_embeddings.weight"] = torch.from_numpy(angles)
    params = {
        "n_heads": np.int64(2),
        "lang2id": {"en": np.int64(0)},
        "sinusoidal_embeddings": True,
    }
    content = {
        "model": {name: tensor.to(dtype) for name, tensor in state.items()},
        "dico_id2word": defaultdict(str, enumerate(words)),
        "dico_counts": Counter(words),
        "params": argparse.Namespace(**params),
    }
    torch.save(content, tmp_path / "model.pth")
    path, _ = import_file(ImportRequest(tmp_path / "model.pth"), None, tmp_path / "run")
    run = Checkpoint.open(path)
    assert run.tokenizer().all_pieces() == words
    model = run.recipe.model
    if dtype == torch.float32:
        assert (model.positions, model.sinusoids) == ("sinusoidal", "interleaved")
        return
    assert model.positions == "learned"
    table = run.weights()["embeddings.encoder.positions.weight"]
    stored = content["model"]["position_embeddings.weight"]
    assert torch.equal(table, stored.float())


def test_options_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    words = [
        "<s>",
        "</s>",
        "<pad>",
        "<unk>",
        *(f"<special{i}>" for i in range(10)),
        "a",
        "b",
    ]
    content = {
        "encoder": xlm_stack(8, 1, len(words), 2, "", True),
        "decoder": xlm_stack(8, 1, len(words), 2, "languages", True),
        "dico_id2word": dict(enumerate(words)),
        "params": {
            "n_heads": 2,
            "lang2id": {"en": 0, "de": 1},
            "bt_steps": [("en", "de", "en")],
        },
    }
    path = tmp_path / "model.pth"
    torch.save(content, path)
    for request, reason in (
        (ImportRequest(path, source="en"), "-s and -t belong together"),
        (
            ImportRequest(path, source="en", target="fr"),
            "-t fr: .* does not know this language",
        ),
        (ImportRequest(path, spm_model=tmp_path), "--spm-model: .* does not apply"),
        (ImportRequest(path, dictionaries={"": tmp_path}), "--dict: .* does not apply"),
        (
            ImportRequest(path, bpe_codes=tmp_path / "none"),
            "--bpe-codes .*none: No such file",
        ),
    ):
        with pytest.raises(MasscliError, match=reason):
            import_file(request, None, tmp_path / "run")
    # The file says what it was trained for, and -s and -t overrule it.
    checkpoint, _ = import_file(ImportRequest(path), None, tmp_path / "trained")
    assert Checkpoint.open(checkpoint).directions == (("de", "en"),)
    checkpoint, _ = import_file(
        ImportRequest(path, source="en", target="de"), None, tmp_path / "chosen"
    )
    assert Checkpoint.open(checkpoint).directions == (("en", "de"),)


def test_data_of_xlm_is_not_taken_for_a_model(tmp_path: Path) -> None:
    content = {
        "dico": argparse.Namespace(id2word={0: "<s>"}),
        "positions": np.zeros((2, 2), np.int64),
        "sentences": np.zeros(9, np.uint16),
        "unk_words": {},
    }
    torch.save(content, tmp_path / "train.en.pth", pickle_protocol=4)
    request = ImportRequest(tmp_path / "train.en.pth")
    with pytest.raises(MasscliError, match=r"holds the text of a corpus, .*no model"):
        import_file(request, None, tmp_path / "run")

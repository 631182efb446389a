"""XLM as Hugging Face's library has it: the same model as in a file of XLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.foreign import ImportRequest
from masscli.checkpoint.convert.import_ import import_folder
from masscli.checkpoint.convert.import_file import import_file
from masscli.core.errors import MasscliError
from tests.peers.small_files import XLM_SPECIAL, xlm_stack

pytestmark = pytest.mark.usefixtures("no_sync")
# Pieces that end a word, with the others behind them; of fastBPE these have @@, and of the library those </w>.
ENDS = ["a", "b", "c", "é", "cab", ".", ","]
OTHERS = ["a", "b", "c", "ca"]
MERGES = "c a 9\nca b</w> 5\n"
LANGUAGES = {"de": 0, "en": 1}


def write_folder(folder: Path, state: dict[str, Tensor], **config: Any) -> Path:
    folder.mkdir()
    pieces = [*XLM_SPECIAL, *(f"{piece}</w>" for piece in ENDS), *OTHERS]
    ids = {piece: number for number, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text(MERGES)
    given = {
        "model_type": "xlm",
        "n_heads": 2,
        "n_langs": 2,
        "lang2id": LANGUAGES,
        "gelu_activation": True,
        **config,
    }
    (folder / "config.json").write_text(json.dumps(given))
    tensors = {}
    for name, tensor in state.items():
        # A tied weight is stored once.
        if name != "pred_layer.proj.weight":
            own = name if name.startswith("pred_layer") else f"transformer.{name}"
            tensors[own] = tensor
    tensors["transformer.position_ids"] = torch.arange(100)[None]
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(1)
    words = len(XLM_SPECIAL) + len(ENDS) + len(OTHERS)
    return xlm_stack(8, 2, words, len(LANGUAGES), "", True)


def test_a_folder_is_the_file_that_it_was_made_from(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    pieces = [*XLM_SPECIAL, *ENDS, *(f"{piece}@@" for piece in OTHERS)]
    content = {
        "model": state,
        "dico_id2word": dict(enumerate(pieces)),
        "params": {"n_heads": 2, "lang2id": LANGUAGES, "gelu_activation": True},
    }
    torch.save(content, tmp_path / "xlm.pth")
    (tmp_path / "codes").write_text(MERGES)
    request = ImportRequest(tmp_path / "xlm.pth", bpe_codes=tmp_path / "codes")
    path, _ = import_file(request, None, tmp_path / "of-file")
    expected = Checkpoint.open(path)
    folder = write_folder(tmp_path / "hf", state)
    path, _ = import_folder(folder, tmp_path / "run", ["en"], allow_pickle=False)
    actual = Checkpoint.open(path)
    assert actual.recipe.model == expected.recipe.model
    assert actual.weights().keys() == expected.weights().keys()
    for name, tensor in expected.weights().items():
        assert torch.equal(actual.weights()[name], tensor), name
    # The library begins a text with <s>, and XLM itself with </s>.
    assert (actual.framing().source_start("en"), actual.tokenizer().vocab.eos) == (0, 1)
    assert expected.framing().source_start("en") == 1


@pytest.mark.parametrize(
    ("settings", "text", "pieces"),
    [
        ({}, "Cab, Bé.", "cab , b@@ <unk> ."),
        ({"do_lowercase_and_remove_accent": True}, "caé", "ca@@ <unk>"),
        ({"do_lowercase_and_remove_accent": False}, "caé", "ca@@ é"),
        # An abbreviation at the end of a line keeps its full stop, and a full stop of Chinese becomes one.
        ({}, "a.c.", "a@@ <unk> c@@ ."),
        ({}, "cab\u3002", "cab ."),
    ],
)
def test_text_is_prepared_as_its_tokenizer_does(
    settings: dict[str, bool],
    text: str,
    pieces: str,
    state: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    folder = write_folder(tmp_path / "hf", state)
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    path, _ = import_folder(folder, tmp_path / "run", ["en"], allow_pickle=False)
    tokenizer = Checkpoint.open(path).tokenizer()
    found = tokenizer.ids_to_pieces(tokenizer.encode(text, "en"))
    # Without accents é is e, which the vocabulary lacks.
    assert " ".join(found) == pieces


def test_rows_without_a_piece_are_kept(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    """The library lets a table grow beyond the vocabulary, for added tokens or to a round number."""
    plain = write_folder(tmp_path / "plain", state)
    path, _ = import_folder(plain, tmp_path / "plain.run", ["en"], False)
    wanted = Checkpoint.open(path)
    words, more = len(state["embeddings.weight"]), torch.randn(3, 8)
    state["embeddings.weight"] = torch.cat([state["embeddings.weight"], more])
    state["pred_layer.proj.bias"] = torch.cat(
        [state["pred_layer.proj.bias"], more[:, 0]]
    )
    folder = write_folder(tmp_path / "hf", state)
    added = {"covid": words, "<e1>": words + 1}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    path, notes = import_folder(folder, tmp_path / "run", ["en"], False)
    assert f"rows {words} to {words + 2} of the token embeddings have no piece" in notes
    assert any("added tokens are split like other text: covid" in n for n in notes)
    run = Checkpoint.open(path)
    for line in ("cab covid, ca", f"<unused row {words}>"):
        expected = wanted.tokenizer().encode(line, "en")
        assert run.tokenizer().encode(line, "en") == expected
    found = run.weights()
    name = "token_embeddings.encoder"
    assert torch.equal(found[name][:words], wanted.weights()[name][:words])
    assert torch.equal(found[name][words : words + 3], more)
    assert torch.equal(found["output_biases.encoder"][words : words + 3], more[:, 0])


HEADS = [
    ("XLMForSequenceClassification", "sequence_summary.summary", 3, "classify"),
    ("XLMForTokenClassification", "classifier", 3, "tag"),
    ("XLMForQuestionAnsweringSimple", "qa_outputs", 2, "extract"),
]


def write_head(
    folder: Path,
    state: dict[str, Tensor],
    kind: str,
    layer: str,
    rows: int,
    **more: Any,
) -> dict[str, Tensor]:
    body = {name: t for name, t in state.items() if not name.startswith("pred_layer")}
    write_folder(folder, body, architectures=[kind], **more)
    head = {f"{layer}.weight": torch.randn(rows, 8), f"{layer}.bias": torch.randn(rows)}
    path = folder / "model.safetensors"
    save_file({**load_file(path), **head}, path)
    return head


@pytest.mark.parametrize(("kind", "layer", "rows", "task"), HEADS)
def test_heads_of_tasks_are_imported(
    kind: str,
    layer: str,
    rows: int,
    task: str,
    state: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    labels = {"0": "no", "1": "O", "2": "yes"}
    # The library's positions and heads are those of masked language modeling.
    head = write_head(tmp_path / "hf", state, kind, layer, rows, id2label=labels)
    path, notes = import_folder(tmp_path / "hf", tmp_path / "run", ["en", "de"], False)
    run = Checkpoint.open(path)
    [(stream, described)] = run.recipe.stream.items()
    assert (stream, described.dataset) == (task, "en")
    options = described.objective
    assert getattr(options, "pair_format", None) == "bert"
    assert getattr(options, "labels", tuple(labels.values())) == ("no", "O", "yes")
    found = run.objective_state()
    assert torch.equal(found[f"{task}.head.out.weight"], head[f"{layer}.weight"])
    assert torch.equal(found[f"{task}.head.out.bias"], head[f"{layer}.bias"])
    # Texts stand between <s> and </s>, and are of no language, as the library's tokenizer gives them.
    vocab = run.tokenizer().vocab
    assert (vocab.cls, vocab.sep, run.state.languages) == (0, 1, ())
    assert any(note.startswith("left behind: the vectors of lang") for note in notes)
    assert not any(name.startswith(layer) for name in " ".join(notes).split())


@pytest.mark.parametrize(
    ("kind", "layer", "config", "reason"),
    [
        ("XLMForQuestionAnswering", "qa_outputs.start_logits.dense", {}, "scores the end of"),
        ("XLMForMultipleChoice", "logits_proj", {}, "scores a choice by the scores of"),
        ("XLMForSequenceClassification", "sequence_summary.summary", {"summary_type": "last"}, "summary_type is 'last', not 'first'"),
        ("XLMForSequenceClassification", "sequence_summary.summary", {"summary_activation": "tanh"}, "summary_activation is 'tanh', not None"),
    ],
)  # fmt: skip
def test_other_heads_are_named_with_the_reason(
    kind: str,
    layer: str,
    config: dict[str, Any],
    reason: str,
    state: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    write_head(tmp_path / "hf", state, kind, layer, 2, **config)
    path, notes = import_folder(tmp_path / "hf", tmp_path / "run", ["en"], False)
    [note] = [note for note in notes if note.startswith("the head of its task is not")]
    assert reason in note
    assert f"left behind: {layer}.bias, {layer}.weight" in notes
    # The model below is that of the folder, languages included.
    assert Checkpoint.open(path).state.languages == ("de", "en")


def test_a_classifier_is_imported_without_its_head(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    body = {name: t for name, t in state.items() if not name.startswith("pred_layer")}
    folder = write_folder(tmp_path / "hf", body, architectures=["X"], lang2id=None)
    path = folder / "model.safetensors"
    save_file({**load_file(path), "sequence_summary.summary.bias": torch.ones(3)}, path)
    _, notes = import_folder(folder, tmp_path / "run", ["en", "zh"], False)
    text = "\n".join(notes)
    assert "left behind: sequence_summary.summary.bias" in text
    assert "a bias of 0" in text
    assert "text of zh is tokenized by Moses' rules, where XLMTokenizer uses jieba" in (
        text
    )


@pytest.mark.parametrize(
    ("config", "languages", "message"),
    [
        ({"causal": True}, ["en"], "causal is True"),
        ({"is_encoder": False}, ["en"], "is_encoder is False"),
        ({"asm": True}, ["en"], "asm is True"),
        ({"lang2id": None}, ["en"], "does not name its 2 languages"),
        ({}, ["fr"], "has no language 'fr'"),
        ({"use_memory": True}, ["en"], "memory layers"),
        ({"n_layers": 1}, ["en"], "n_layers is 1, but the weights have 2"),
        ({"n_langs": 3}, ["en"], "n_langs is 3, but the weights have 2"),
        ({"vocab_size": 9}, ["en"], "vocab_size is 9, but the weights have 25"),
        ({"use_lang_emb": False}, ["en"], "use_lang_emb is false, but the weights"),
        ({"tie_word_embeddings": False}, ["en"], "has no pred_layer.proj.weight"),
        ({"layer_norm_eps": 0.0}, ["en"], "config.json: layer_norm_eps: must be above"),
    ],
)
def test_sizes_that_contradict_the_weights_are_named(
    config: dict[str, Any],
    languages: list[str],
    message: str,
    state: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    folder = write_folder(tmp_path / "hf", state, **config)
    with pytest.raises(MasscliError, match=message):
        import_folder(folder, tmp_path / "run", languages, allow_pickle=False)
    assert not (tmp_path / "run").exists()


def test_files_that_are_missing_are_named(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    for name in ("vocab.json", "merges.txt"):
        folder = write_folder(tmp_path / name, state)
        (folder / name).unlink()
        with pytest.raises(MasscliError, match=f"has no {name}"):
            import_folder(folder, tmp_path / "run", ["en"], allow_pickle=False)


def test_a_file_of_2019_has_no_model_type(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    folder = write_folder(
        tmp_path / "hf",
        state,
        model_type=None,
        architectures=["XLMWithLMHeadModel"],
    )
    config = json.loads((folder / "config.json").read_text())
    # Their library has GELU by default, and XLM itself ReLU.
    del config["model_type"], config["gelu_activation"]
    (folder / "config.json").write_text(json.dumps(config))
    path, _ = import_folder(folder, tmp_path / "run", ["en"], allow_pickle=False)
    model = Checkpoint.open(path).recipe.model
    assert (model.encoder_layers, model.activation) == (2, "gelu")

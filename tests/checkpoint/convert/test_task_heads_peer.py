"""Heads of downstream tasks, for every class that has one: predictions of transformers, and a round trip bit by bit.

Run alone:  pip install transformers && pytest tests/checkpoint/convert/test_task_heads_peer.py
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from masscli.api.model import load
from masscli.checkpoint.convert.export import export_checkpoint
from masscli.checkpoint.convert.import_ import import_folder
from tests.checkpoint.convert.test_huggingface_families_peer import (
    AFTER_PADDING,
    DISTILBERT,
    ENCODER,
    NARROW,
    albert,
    camembert,
    roberta,
    wordpiece,
    xlmr,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers: Any = pytest.importorskip(
        "transformers", reason="Hugging Face's transformers is not installed"
    )

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("no_sync"),
]

FAMILIES: dict[str, tuple[dict[str, Any], Any]] = {
    "Bert": (ENCODER, wordpiece),
    "Roberta": (AFTER_PADDING, roberta),
    "XLMRoberta": (AFTER_PADDING, xlmr),
    "Camembert": (AFTER_PADDING, camembert),
    "DistilBert": (DISTILBERT, wordpiece),
    "Albert": (NARROW, albert),
    "Electra": (NARROW | {"hidden_act": "gelu_new"}, wordpiece),
}
NAMES = {0: "no", 1: "maybe", 2: "B-yes"}
CLOSE = 1e-5


def write_peer(folder: Path, family: str, suffix: str, **settings: Any) -> Any:
    """Write a folder of random weights as the library does, and return its model."""
    sizes, write_vocabulary = FAMILIES[family]
    size = write_vocabulary(folder)
    peer_class = getattr(transformers, family + suffix)
    torch.manual_seed(3)
    config = peer_class.config_class(vocab_size=size, **sizes, **settings)
    peer = peer_class(config).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    peer.save_pretrained(folder)
    return peer


def read_peer(folder: Path) -> Any:
    """Return a function that reads texts as the library does, with segments where the model has two kinds.

    ALBERT's tokenizer gives them in version 4 of the library, and in version 5 only when asked.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    has_segments = config.get("type_vocab_size") == 2

    def read(*texts: Any, **options: Any) -> Any:
        return tokenizer(
            *texts,
            return_tensors="pt",
            return_token_type_ids=has_segments,
            **options,
        )

    return read


def task_model(folder: Path, run: Path) -> tuple[Any, list[str]]:
    """Import a folder, and return the task of the run with the notes."""
    _, notes = import_folder(folder, run, ("en",), allow_pickle=False)
    return load(run, device="cpu", precision="fp32").task_model(), notes


def assert_round_trip(peer: Any, folder: Path, run: Path, back: Path) -> None:
    """Export the run, and compare it with the folder that it was imported from, and as the library reads it."""
    notes = export_checkpoint(run, back, None)
    assert not any(note.startswith("left behind") for note in notes)
    ours, theirs = (load_file(path / "model.safetensors") for path in (back, folder))
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    read, info = type(peer).from_pretrained(back, output_loading_info=True)
    assert not any(
        info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")
    )
    assert read.config.architectures == [type(peer).__name__]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_classes_of_texts_and_pairs(family: str, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    settings = {"id2label": NAMES, "label2id": {name: n for n, name in NAMES.items()}}
    peer = write_peer(folder, family, "ForSequenceClassification", **settings)
    ours, _ = task_model(folder, tmp_path / "run")
    tokenizer = read_peer(folder)
    texts = ["dab fig a dog", "", "bib, kod", "gag bed runs"]
    for pairs in (None, ["kid", "abe fed", "b", "a dog runs"]):
        examples = texts if pairs is None else [*zip(texts, pairs, strict=True)]
        table = ours.table_of(examples)
        scores, _ = ours.outputs(table, 8000)
        for row, text in enumerate(texts):
            pair = None if pairs is None else pairs[row]
            logits = peer(**tokenizer(text, pair)).logits[0]
            assert scores[row] == pytest.approx(logits.tolist(), abs=CLOSE)
            label = NAMES[int(logits.argmax())]
            prediction = ours.answers(table, scores)[row]
            assert prediction.text == label
            expected = dict(
                zip(NAMES.values(), logits.softmax(0).tolist(), strict=True)
            )
            assert prediction.details["probabilities"] == pytest.approx(
                expected, abs=CLOSE
            )
    assert_round_trip(peer, folder, tmp_path / "run", tmp_path / "back")
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert config["id2label"] == {str(number): name for number, name in NAMES.items()}


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_classes_of_words(family: str, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    peer = write_peer(folder, family, "ForTokenClassification", id2label=NAMES)
    # The library asks for this setting where words are given; the folder of a tagger has it.
    if family == "Roberta":
        settings = {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    ours, _ = task_model(folder, tmp_path / "run")
    tokenizer = read_peer(folder)
    sentences = [["dab", "fig", "a", "dog"], ["kid"], ["bed", "gag", "runs", "a"]]
    table = ours.table_of(sentences)
    outputs, _ = ours.outputs(table, 8000)
    for words, prediction in zip(sentences, ours.answers(table, outputs), strict=True):
        read = tokenizer(words, is_split_into_words=True)
        number_of_word = read.word_ids()
        first = [number_of_word.index(number) for number in range(len(words))]
        best = peer(**read).logits[0, first].softmax(-1).max(-1)
        assert prediction.details["tags"] == [NAMES[int(n)] for n in best.indices]
        expected = pytest.approx(best.values.tolist(), abs=CLOSE)
        assert prediction.details["probabilities"] == expected
    assert_round_trip(peer, folder, tmp_path / "run", tmp_path / "back")


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_classes_of_spans(family: str, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    peer = write_peer(folder, family, "ForQuestionAnswering")
    ours, _ = task_model(folder, tmp_path / "run")
    tokenizer = read_peer(folder)
    question, context = "a dog", "gag kid bed dab fig"
    table = ours.table_of([{"question": question, "context": context}])
    outputs, _ = ours.outputs(table, 8000)
    [prediction] = ours.answers(table, outputs)
    read = tokenizer(question, context, return_offsets_mapping=True)
    offsets = read.pop("offset_mapping")[0].tolist()
    scores = peer(**read)
    text = [n for n, part in enumerate(read.sequence_ids(0)) if part == 1]
    spans = {}
    for start in text:
        for end in text:
            if start <= end:
                answer = context[offsets[start][0] : offsets[end][1]]
                score = float(scores.start_logits[0, start] + scores.end_logits[0, end])
                spans[answer] = max(score, spans.get(answer, score))
    found = {each["text"]: each["score"] for each in prediction.details["n_best"]}
    best = dict(sorted(spans.items(), key=lambda item: -item[1])[: len(found)])
    assert len(found) > 10
    assert found == pytest.approx(best, abs=CLOSE)
    null = float(scores.start_logits[0, 0] + scores.end_logits[0, 0])
    odds = null - max(spans.values())
    assert prediction.details["null_odds"] == pytest.approx(odds, abs=CLOSE)
    assert prediction.text == next(iter(best))
    # Whether there may be no answer is for the user to say.
    for threshold, answer in ((odds - 0.1, ""), (odds + 0.1, next(iter(best)))):
        [said] = load(tmp_path / "run", device="cpu", precision="fp32").predict(
            [{"question": question, "context": context}], null_threshold=threshold
        )
        assert said.text == answer
    assert_round_trip(peer, folder, tmp_path / "run", tmp_path / "back")


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_classes_of_choices(family: str, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    peer = write_peer(folder, family, "ForMultipleChoice")
    ours, _ = task_model(folder, tmp_path / "run")
    tokenizer = read_peer(folder)
    context, choices = "gag kid", ["bed", "dab fig", "a dog runs"]
    table = ours.table_of([{"context": context, "choices": choices}])
    [scores], _ = ours.outputs(table, 8000)
    logits = []
    for choice in choices:
        read = tokenizer(context, choice)
        alone = {name: tensor[None] for name, tensor in read.items()}
        logits.append(float(peer(**alone).logits[0, 0]))
    assert scores == pytest.approx(logits, abs=CLOSE)
    assert_round_trip(peer, folder, tmp_path / "run", tmp_path / "back")


@pytest.mark.parametrize("family", ["Bert", "Roberta"])
@torch.no_grad()
def test_one_label_is_a_number(family: str, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    peer = write_peer(folder, family, "ForSequenceClassification", num_labels=1)
    ours, _ = task_model(folder, tmp_path / "run")
    tokenizer = read_peer(folder)
    table = ours.table_of(["dab fig", "a dog"])
    outputs, _ = ours.outputs(table, 8000)
    for text, prediction in zip(
        ["dab fig", "a dog"], ours.answers(table, outputs), strict=True
    ):
        value = float(peer(**tokenizer(text)).logits[0, 0])
        assert prediction.details["value"] == pytest.approx(value, abs=CLOSE)
    assert_round_trip(peer, folder, tmp_path / "run", tmp_path / "back")


@torch.no_grad()
def test_a_pooler_that_the_class_does_not_read_is_left_behind(tmp_path: Path) -> None:
    """Versions of the library before 4.3 saved one with every RoBERTa."""
    folder = tmp_path / "theirs"
    peer = write_peer(folder, "Roberta", "ForSequenceClassification", id2label=NAMES)
    path = folder / "model.safetensors"
    weights = load_file(path)
    width = peer.config.hidden_size
    pooler = {
        "roberta.pooler.dense.weight": torch.ones(width, width),
        "roberta.pooler.dense.bias": torch.ones(width),
    }
    save_file(weights | pooler, path, {"format": "pt"})
    ours, notes = task_model(folder, tmp_path / "run")
    left = "left behind: roberta.pooler.dense.weight, roberta.pooler.dense.bias"
    assert left in notes
    tokenizer = read_peer(folder)
    [scores], _ = ours.outputs(ours.table_of(["dab fig"]), 8000)
    logits = peer(**tokenizer("dab fig")).logits[0].tolist()
    assert scores == pytest.approx(logits, abs=CLOSE)


@torch.no_grad()
def test_the_tokenizer_says_how_two_texts_are_joined(tmp_path: Path) -> None:
    """A RoBERTa with BERT's tokenizer is joined as BERT's texts are, as in KLUE."""
    folder = tmp_path / "theirs"
    peer = write_peer(folder, "Roberta", "ForSequenceClassification", id2label=NAMES)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    size = peer.config.vocab_size
    pieces = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]", *"abcdefgh"]
    pieces += [f"[unused{number}]" for number in range(size - len(pieces))]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    ours, _ = task_model(folder, tmp_path / "run")
    tokenizer = read_peer(folder)
    read = tokenizer("a b", "c d")
    [scores], _ = ours.outputs(ours.table_of([("a b", "c d")]), 8000)
    assert scores == pytest.approx(peer(**read).logits[0].tolist(), abs=CLOSE)

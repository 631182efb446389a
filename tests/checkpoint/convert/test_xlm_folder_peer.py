"""XLM of Hugging Face's library: its states, its logits and the ids of its tokenizer.

Run alone:  pip install transformers && pytest tests/checkpoint/convert/test_xlm_folder_peer.py
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masscli.api.model import load
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.import_ import import_folder
from masscli.data.batches.batch import Tokens

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
SPECIAL = ["<s>", "</s>", "<pad>", "<unk>", *(f"<special{i}>" for i in range(10))]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,'\"-?!éüßș"
MERGES = ["t h", "th e</w>", "i n", "in g</w>", "e r", "U .", "u .", "d e", "de r</w>"]
LINES = [
    "The dog runs, and the older ring-finger of Mr. Smith is 3.5 mm thick.",
    "“Quoted” text — it's the U.S.",
    "Über die Brücke… der Hund; e.g.",
    "zero\u200bwidth  and\ttabs",
    "ș and Ș",
    "",
    "漢字。done",
]


def write_vocabulary(folder: Path) -> int:
    folder.mkdir()
    pieces = [*SPECIAL, *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    pieces += [merge.replace(" ", "") for merge in MERGES]
    ids = {piece: number for number, piece in enumerate(pieces)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("".join(f"{merge} 7\n" for merge in MERGES))
    return len(ids)


NAMES = {0: "no", 1: "O", 2: "B-yes"}
HEADS = [
    ("XLMForSequenceClassification", {"n_langs": 1, "lang2id": {"en": 0}}),
    ("XLMForSequenceClassification", {"n_langs": 2, "lang2id": {"de": 0, "en": 1}}),
    ("XLMForTokenClassification", {"n_langs": 2, "lang2id": {"de": 0, "en": 1}}),
    ("XLMForQuestionAnsweringSimple", {"n_langs": 1, "lang2id": {"en": 0}}),
]


@pytest.mark.parametrize(("kind", "config"), HEADS, ids=range(4))
@torch.no_grad()
def test_heads_of_tasks_score_as_in_the_library(
    kind: str, config: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "theirs"
    size = write_vocabulary(folder)
    labels = {} if "Question" in kind else {"id2label": NAMES}
    settings = transformers.XLMConfig(
        vocab_size=size, emb_dim=24, n_layers=2, n_heads=3, pad_token_id=2, **labels, **config
    )  # fmt: skip
    torch.manual_seed(1)
    peer = getattr(transformers, kind)(settings).eval()
    for parameter in peer.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    peer.save_pretrained(folder)
    import_folder(folder, tmp_path / "run", ["en"], allow_pickle=False)
    ours = load(tmp_path / "run", device="cpu", precision="fp32").task_model()
    tokenizer = transformers.XLMTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt")
    )
    if "Sequence" in kind:
        examples = [("the dog runs", "a ring"), ("", "in"), ("over", "the sea. of")]
        for row in (examples, [first for first, _ in examples]):
            scores, _ = ours.outputs(ours.table_of(row), 8000)
            for text, found in zip(row, scores, strict=True):
                texts = text if isinstance(text, tuple) else (text,)
                read = tokenizer(*texts, return_tensors="pt")
                wanted = peer(**read).logits[0].tolist()
                assert found == pytest.approx(wanted, abs=1e-5)
        return
    if "Token" in kind:
        words = ["the", "dog", "runs", "in", "rings"]
        table = ours.table_of([words])
        [tagged] = ours.answers(table, ours.outputs(table, 8000)[0])
        pieces = [tokenizer.tokenize(word) for word in words]
        together = [piece for of_word in pieces for piece in of_word]
        first = np.cumsum([1, *map(len, pieces)])[: len(words)]
        ids = tokenizer.convert_tokens_to_ids(together)
        read = torch.tensor([[0, *ids, 1]])
        best = peer(read).logits[0, torch.from_numpy(first)].softmax(-1).max(-1)
        assert tagged.details["tags"] == [NAMES[int(n)] for n in best.indices]
        expected = pytest.approx(best.values.tolist(), abs=1e-5)
        assert tagged.details["probabilities"] == expected
        return
    question, context = "the dog", "in the ring"
    read = tokenizer(question, context, return_tensors="pt")
    scores = peer(**read)
    table = ours.table_of([{"question": question, "context": context}])
    [found] = ours.answers(table, ours.outputs(table, 8000)[0])
    # Before the text are <s>, the question and </s>, and </s> is after it.
    start = 2 + len(tokenizer.tokenize(question))
    starts = scores.start_logits[0, start:-1, None]
    best_span = (starts + scores.end_logits[0, None, start:-1]).triu()
    below = torch.ones_like(best_span).tril(-1).bool()
    highest = float(best_span.masked_fill(below, -torch.inf).max())
    n_best = found.details["n_best"]
    assert n_best[0]["score"] == pytest.approx(highest, abs=1e-5)


CASES = [
    (
        "XLMWithLMHeadModel",
        {"n_langs": 3, "lang2id": {"en": 0, "ro": 1, "de": 2}},
        True,
    ),
    ("XLMWithLMHeadModel", {"n_langs": 1, "gelu_activation": False}, False),
    (
        "XLMWithLMHeadModel",
        {"n_langs": 2, "lang2id": {"de": 0, "en": 1}, "tie_word_embeddings": False},
        True,
    ),
    (
        "XLMForSequenceClassification",
        {
            "n_langs": 2,
            "lang2id": {"de": 0, "en": 1},
            "use_lang_emb": False,
            "sinusoidal_embeddings": True,
            "layer_norm_eps": 1e-6,
        },
        False,
    ),
]


@pytest.mark.parametrize(("kind", "config", "removes_accents"), CASES, ids=range(4))
@torch.no_grad()
def test_states_logits_and_ids(
    kind: str, config: dict[str, Any], removes_accents: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "theirs"
    size = write_vocabulary(folder)
    settings = transformers.XLMConfig(
        vocab_size=size, emb_dim=24, n_layers=2, n_heads=3, pad_token_id=2, **config
    )
    torch.manual_seed(1)
    peer = getattr(transformers, kind)(settings).eval()
    for name, parameter in peer.named_parameters():
        if "position" not in name or not settings.sinusoidal_embeddings:
            parameter.add_(0.1 * torch.randn_like(parameter))
    peer.save_pretrained(folder)
    theirs = transformers.XLMTokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        do_lowercase_and_remove_accent=removes_accents,
    )
    card = {"do_lowercase_and_remove_accent": removes_accents}
    (folder / "tokenizer_config.json").write_text(json.dumps(card))
    path, _ = import_folder(folder, tmp_path / "run", ["en"], allow_pickle=False)
    run = Checkpoint.open(path)
    model, own = run.model(), run.state.languages
    ids, lengths = torch.tensor([[0, 20, 30, 40, 1], [0, 50, 1, 2, 2]]), [5, 3]
    languages, ours = {}, None
    if own:
        languages["langs"] = torch.full_like(ids, config["lang2id"]["en"])
        ours = torch.full((2,), own.index("en"))
    expected = peer.transformer(ids, lengths=torch.tensor(lengths), **languages)
    actual = model.encode(Tokens(ids, torch.tensor(lengths), language=ours)).hidden
    real = torch.arange(5) < torch.tensor(lengths)[:, None]
    states = expected.last_hidden_state
    assert float((actual - states)[real].abs().max()) < 1e-5
    if hasattr(peer, "pred_layer"):
        logits = model.logits(actual, "encoder")[..., :size]
        distance = (logits - peer.pred_layer.proj(states))[real].abs().max()
        assert float(distance) < 1e-5
    tokenizer, framing = run.tokenizer(), run.framing()
    for language in tokenizer.vocab.languages:
        for line in LINES:
            words = theirs._tokenize(line, lang=language)
            wanted_ids = [0, *theirs.convert_tokens_to_ids(words), 1]
            inner = np.array(tokenizer.encode(line, language), np.int64)
            assert framing.encoder_input(inner, language).tolist() == wanted_ids

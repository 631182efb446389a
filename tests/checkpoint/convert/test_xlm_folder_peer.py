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
    wanted = peer.transformer(ids, lengths=torch.tensor(lengths), **languages)
    found = model.encode(Tokens(ids, torch.tensor(lengths), language=ours)).hidden
    real = torch.arange(5) < torch.tensor(lengths)[:, None]
    states = wanted.last_hidden_state
    assert float((found - states)[real].abs().max()) < 1e-5
    if hasattr(peer, "pred_layer"):
        logits = model.logits(found, "encoder")[..., :size]
        distance = (logits - peer.pred_layer.proj(states))[real].abs().max()
        assert float(distance) < 1e-5
    tokenizer, framing = run.tokenizer(), run.framing()
    for language in tokenizer.vocab.languages:
        for line in LINES:
            words = theirs._tokenize(line, lang=language)
            wanted_ids = [0, *theirs.convert_tokens_to_ids(words), 1]
            inner = np.array(tokenizer.encode(line, language), np.int64)
            assert framing.encoder_input(inner, language).tolist() == wanted_ids

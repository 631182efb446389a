"""Import: outputs of the model, the round trip, tensors that are missing or unknown, and messages.

Hugging Face's library is not needed: tests/published.py writes its folders by hand.
test_huggingface_peer.py compares with the library.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from masscli.__main__ import run
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.export import export_checkpoint
from masscli.checkpoint.convert.import_ import import_folder
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens
from masscli.objectives.electra.objective import Detector
from masscli.text.sentencepiece_model import train_sentencepiece
from tests.commands import succeed
from tests.published import (
    CONFIGS,
    PIECES,
    SPECIAL,
    D,
    E,
    P,
    Published,
    V,
    assert_same_tensors,
    error_of,
    import_run,
    sentence_pieces,
    tensors,
    texts,
    write,
    write_merges,
)

pytestmark = pytest.mark.usefixtures("no_sync")
KINDS = list(CONFIGS)


# -- import -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_an_imported_model_computes_the_same_as_the_published_one(
    kind: str, tmp_path: Path
) -> None:
    weights = write(tmp_path, kind)
    actual, oracle = import_run(tmp_path, tmp_path / "run"), Published(kind, weights)
    model, heads = (
        actual.model(),
        {
            name.partition(".")[2]: tensor
            for name, tensor in actual.objective_state().items()
        },
    )
    block, lengths, segments = texts(V, P)
    hidden = model.read(Tokens(block, lengths, segments=segments))
    for row, length in enumerate(lengths.tolist()):
        expected = oracle.hidden(block[row, :length], segments[row, :length])
        assert (hidden[row, :length] - expected).abs().max() < 1e-5
        if kind == "electra":
            detector = Detector(D, "gelu")
            detector.load_state_dict(
                {
                    name.removeprefix("detector."): tensor
                    for name, tensor in heads.items()
                }
            )
            assert (
                detector(hidden[row, :length]) - oracle.logits(expected)[:, 0]
            ).abs().max() < 1e-5
        else:
            assert (
                model.logits(hidden[row, :length]) - oracle.logits(expected)
            ).abs().max() < 1e-4
        if kind in ("bert", "albert"):
            order = (
                model.pool(hidden[row : row + 1])[0] @ heads["head.weight"].T
                + heads["head.bias"]
            )
            assert (order - oracle.order(expected)).abs().max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_published_weights_survive_import_and_export_bit_by_bit(
    kind: str, tmp_path: Path
) -> None:
    weights = write(tmp_path, kind)
    import_run(tmp_path, tmp_path / "run")
    export_checkpoint(tmp_path / "run", tmp_path / "back", None)
    assert_same_tensors(load_file(tmp_path / "back" / "model.safetensors"), weights)
    written = json.loads((tmp_path / "back" / "config.json").read_text())
    assert {key: written[key] for key in CONFIGS[kind]} == CONFIGS[kind]
    assert (tmp_path / "back" / "vocab.txt").read_bytes() == (
        tmp_path / "vocab.txt"
    ).read_bytes()


@pytest.mark.parametrize("kind", ["bert", "albert", "roberta"])
def test_a_file_without_a_head_gets_a_new_one_that_is_named(
    kind: str, tmp_path: Path
) -> None:
    prefix = f"{kind}."
    weights = {
        name.removeprefix(prefix): t
        for name, t in tensors(kind).items()
        if name.startswith(prefix)
    }  # as a bare model is saved
    write(tmp_path, kind, weights)
    (saved, notes), (other, _) = (
        import_folder(tmp_path, tmp_path / name, ("en",), False)
        for name in ("one", "two")
    )
    dense, norm = "head_transforms.shared.dense", "head_transforms.shared.norm"
    new = [
        "output_biases.shared",
        f"{dense}.weight",
        f"{dense}.bias",
        f"{norm}.weight",
        f"{norm}.bias",
    ]
    assert [note for note in notes if note.startswith("new")] == [
        f"new, drawn at random: {', '.join(new)}"
    ]
    one, two = Checkpoint.open(saved).weights(), Checkpoint.open(other).weights()
    assert_same_tensors(one, two)
    assert 0.01 < float(one[f"{dense}.weight"].std()) < 0.03
    assert all(
        float(one[name].abs().sum()) == 0
        for name in ("output_biases.shared", f"{dense}.bias", f"{norm}.bias")
    )
    assert one[f"{norm}.weight"].tolist() == [1.0] * len(one[f"{norm}.weight"])
    assert torch.equal(
        one["token_embeddings.shared"], weights["embeddings.word_embeddings.weight"]
    )
    assert not Checkpoint.open(saved).objective_state()


def test_a_file_without_a_pooler_makes_a_model_without_one(tmp_path: Path) -> None:
    write(
        tmp_path,
        "bert",
        {
            name: t
            for name, t in tensors("bert").items()
            if "pooler" not in name and "seq_relationship" not in name
        },
    )
    saved, notes = import_folder(tmp_path, tmp_path / "run", ("en",), False)
    assert notes[-1] == "it has no pooler: the first state itself represents a text"
    assert not Checkpoint.open(saved).recipe.model.pooler
    export_checkpoint(saved, tmp_path / "back", None)
    assert json.loads((tmp_path / "back" / "config.json").read_text())[
        "architectures"
    ] == ["BertForMaskedLM"]


def test_task_heads_are_not_imported_and_buffers_are_not_weights(
    tmp_path: Path,
) -> None:
    weights = tensors("bert") | {"classifier.weight": torch.ones(3, D), "classifier.bias": torch.ones(3),
                                 "bert.embeddings.position_ids": torch.arange(P)[None]}  # fmt: skip
    write(tmp_path, "bert", weights)
    _, notes = import_folder(tmp_path, tmp_path / "run", ("en",), False)
    reason = (
        "architectures in config.json is missing, no class with a head that masscli knows; if the head is "
        "that of BertForSequenceClassification or another one, name the class there"
    )
    assert f"the head of its task is not imported: {reason}" in notes
    assert notes[-1] == "left behind: classifier.bias, classifier.weight"


def test_old_names_and_tied_second_names(tmp_path: Path) -> None:
    weights = tensors("bert")
    older = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    old = {
        re.sub(r"LayerNorm\.\w+", lambda found: older[found[0]], name): tensor
        for name, tensor in weights.items()
    }
    table = weights["bert.embeddings.word_embeddings.weight"]
    old["cls.predictions.decoder.weight"] = table
    old["cls.predictions.decoder.bias"] = old.pop(
        "cls.predictions.bias"
    )  # a tied tensor is kept under either name
    (tmp_path / "old").mkdir()
    write(tmp_path, "bert")
    write(
        tmp_path / "old", "bert", {name: tensor.clone() for name, tensor in old.items()}
    )
    assert_same_tensors(
        import_run(tmp_path / "old", tmp_path / "a").weights(),
        import_run(tmp_path, tmp_path / "b").weights(),
    )

    write(
        tmp_path / "old", "bert", {**old, "cls.predictions.decoder.weight": table + 1}
    )
    assert error_of(lambda: import_run(tmp_path / "old", tmp_path / "c")) == (
        f"{tmp_path / 'old' / 'model.safetensors'}: cls.predictions.decoder.weight differs from bert.embeddings.word_embeddings.weight,"
        " but config.json ties them",
        'if they are meant to differ, write "tie_word_embeddings": false there',
    )


def test_of_two_biases_that_should_be_one_the_one_in_use_is_imported(
    tmp_path: Path,
) -> None:
    weights = tensors("albert")
    write(
        tmp_path,
        "albert",
        {**weights, "predictions.decoder.bias": weights["predictions.bias"] + 1},
    )
    saved, notes = import_folder(tmp_path, tmp_path / "run", ("en",), False)
    assert torch.equal(
        Checkpoint.open(saved).weights()["output_biases.shared"],
        weights["predictions.bias"] + 1,
    )
    assert (
        notes[-1]
        == "predictions.decoder.bias differs from predictions.bias, and is used, as Hugging Face's model does"
    )


def test_several_files_and_half_precision(tmp_path: Path) -> None:
    weights = {
        name: tensor.bfloat16() for name, tensor in write(tmp_path, "bert").items()
    }
    names = sorted(weights)
    for number, part in enumerate((names[:9], names[9:])):
        save_file(
            {name: weights[name] for name in part},
            tmp_path / f"model-{number}.safetensors",
        )
    (tmp_path / "model.safetensors").unlink()
    index = {
        name: f"model-{int(place >= 9)}.safetensors" for place, name in enumerate(names)
    }
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": index})
    )
    found = import_run(tmp_path, tmp_path / "run").weights()
    assert torch.equal(
        found["token_embeddings.shared"],
        weights["bert.embeddings.word_embeddings.weight"].float(),
    )


# -- vocabularies -------------------------------------------------------------------------------------------------------------------------


def test_the_vocabulary_of_albert(tmp_path: Path) -> None:
    """Its start, end and mask symbols are found; new ids follow its own, and have new rows."""
    pieces = sentence_pieces(
        tmp_path / "spiece.model",
        40,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols="[CLS],[SEP],[MASK]",
    )
    weights = tensors("albert")
    size = len(pieces)
    for name in ("albert.embeddings.word_embeddings.weight", "predictions.bias"):
        weights[name] = weights[name][:size].clone()
    write(tmp_path, "albert", weights, vocab_size=size)
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    saved, notes = import_folder(tmp_path, tmp_path / "run", ("en", "de"), False)
    found = Checkpoint.open(saved)
    vocab, model = found.tokenizer().vocab, found.weights()
    assert [
        pieces[i] for i in (vocab.pad, vocab.unk, vocab.cls, vocab.sep, vocab.mask)
    ] == [
        "<pad>",
        "<unk>",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]
    assert (vocab.bos, vocab.eos, vocab.size) == (vocab.cls, vocab.sep, size + 2 + 8)
    assert torch.equal(
        model["token_embeddings.shared"][:size],
        weights["albert.embeddings.word_embeddings.weight"],
    )
    assert 0.01 < float(model["token_embeddings.shared"][size:].std()) < 0.03
    assert torch.equal(
        model["output_biases.shared"],
        torch.cat([weights["predictions.bias"], torch.zeros(10)]),
    )
    assert notes[1:] == [
        f"vocabulary {tmp_path / 'spiece.model'}: {size} pieces, lower-cased",
        "10 ids are new, drawn at random: symbols and languages that the vocabulary lacks",
    ]
    tokenizer = found.tokenizer()
    assert tokenizer.encode("``B\u00c4'' ba", "en") == tokenizer.encode(
        '"ba" ba', "en"
    ), "as ALBERT reads text"
    export_checkpoint(tmp_path / "run", tmp_path / "back", None)
    assert (tmp_path / "back" / "spiece.model").read_bytes() == (
        tmp_path / "spiece.model"
    ).read_bytes()
    settings = json.loads((tmp_path / "back" / "tokenizer_config.json").read_text())
    assert settings == {
        "tokenizer_class": "AlbertTokenizer", "do_lower_case": True, "model_max_length": 20, "keep_accents": False,
            "pad_token": "<pad>", "unk_token": "<unk>",
        "bos_token": "[CLS]", "eos_token": "[SEP]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
    }  # fmt: skip
    again = load_file(tmp_path / "back" / "model.safetensors")
    assert_same_tensors(again, {name: weights[name] for name in again})


def test_the_ids_of_xlm_r_are_those_of_fairseq(tmp_path: Path) -> None:
    """<s> <pad> </s> <unk>, then the pieces from the third on, then <mask>."""
    pieces = sentence_pieces(tmp_path / "sentencepiece.bpe.model", 40)
    theirs = ["<s>", "<pad>", "</s>", "<unk>", *pieces[3:], "<mask>"]
    weights = tensors("roberta")
    for name in ("roberta.embeddings.word_embeddings.weight", "lm_head.bias"):
        weights[name] = weights[name][: len(theirs)].clone()
    write(
        tmp_path, "roberta", weights, vocab_size=len(theirs), model_type="xlm-roberta"
    )
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    found = import_run(tmp_path, tmp_path / "run")
    tokenizer = found.tokenizer()
    assert tokenizer.all_pieces() == theirs
    table = weights["roberta.embeddings.word_embeddings.weight"]
    assert torch.equal(found.weights()["token_embeddings.shared"][: len(theirs)], table)
    vocab = tokenizer.vocab
    roles = (
        vocab.bos,
        vocab.eos,
        vocab.pad,
        vocab.mask,
        vocab.cls,
        vocab.sep,
        vocab.unk,
    )
    assert [theirs[i] for i in roles] == [
        "<s>",
        "</s>",
        "<pad>",
        "<mask>",
        "<s>",
        "</s>",
        "<unk>",
    ]
    export_checkpoint(found.path, tmp_path / "back", None)
    assert_same_tensors(load_file(tmp_path / "back" / "model.safetensors"), weights)
    # The same vocabulary in a folder that says nothing of it, and in one of a smaller model.
    write(tmp_path, "roberta", weights, vocab_size=len(theirs))
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    assert error_of(lambda: import_run(tmp_path, tmp_path / "no")) == (
        f"{tmp_path}: has sentencepiece.bpe.model, but a RobertaTokenizer needs vocab.json",
        "tokenizer_class in tokenizer_config.json says how pieces are numbered, such as XLMRobertaTokenizer",
    )
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "XLMRobertaTokenizer"}'
    )
    assert import_run(tmp_path, tmp_path / "two").tokenizer().all_pieces() == theirs
    few = {
        name: t[:30].clone() if t.shape[0] == len(theirs) else t
        for name, t in weights.items()
    }
    write(tmp_path, "roberta", few, vocab_size=30, model_type="xlm-roberta")
    (tmp_path / "tokenizer_config.json").unlink()
    assert error_of(lambda: import_run(tmp_path, tmp_path / "no"))[0] == (
        f"{tmp_path / 'sentencepiece.bpe.model'}: has {len(theirs)} pieces, but the model has 30 rows (vocab_size)"
    )


def test_the_merges_of_gpt(tmp_path: Path) -> None:
    """Rows keep the order of the pieces; symbols that GPT lacks get new rows."""
    ids = write_merges(tmp_path)
    weights = write(tmp_path, "openai-gpt")
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    saved, notes = import_folder(tmp_path, tmp_path / "run", ("en",), False)
    found = Checkpoint.open(saved)
    tokenizer, table = found.tokenizer(), found.weights()["token_embeddings.shared"]
    cut = {"abc": ["abc</w>"], "abcab": ["ab", "c", "ab</w>"], "Ca": ["c", "a</w>"], "aba bc": ["ab", "a</w>", "b", "c</w>"],
           "ax": ["a", "<unk>"], "b,": ["b</w>", "<unk>"], "\u00e0 B": ["a</w>", "b</w>"]}  # fmt: skip
    for text, pieces in cut.items():
        rows = [ids[piece] for piece in pieces]
        assert torch.equal(
            table[tokenizer.encode(text, "en")],
            weights["transformer.tokens_embed.weight"][rows],
        )
    vocab = tokenizer.vocab
    assert {vocab.bos, vocab.eos, vocab.pad, vocab.mask, *vocab.spare}.isdisjoint(
        tokenizer.encode(" ".join(cut), "en")
    )
    assert notes[1:] == [
        f"vocabulary {tmp_path / 'vocab.json'}: 11 pieces, lower-cased",
        f"rows 11 to {V - 1} of the token embeddings have no piece",
        f"no eos_token_id is set: outputs end at the end symbol ({vocab.eos}), and in Hugging Face's library at the length limit",
    ]
    assert export_checkpoint(saved, tmp_path / "out", None)[1:] == []
    assert_same_tensors(load_file(tmp_path / "out" / "model.safetensors"), weights)
    assert json.loads((tmp_path / "out" / "vocab.json").read_text()) == ids
    assert (tmp_path / "out" / "merges.txt").read_text() == (
        tmp_path / "merges.txt"
    ).read_text()
    (tmp_path / "merges.txt").write_text("a b\nab  c</w>\n")
    wrong = f"{tmp_path / 'merges.txt'}: expected PIECE PIECE, got 'ab  c</w>'"
    assert error_of(lambda: import_run(tmp_path, tmp_path / "no")) == (wrong, None)
    for odd in ({"zz": 12}, {"zz": -1}, {"zz": 3}):
        write_merges(tmp_path, odd)
        gaps = f"{tmp_path / 'vocab.json'}: the ids of its pieces are not 0, 1, 2, ... without gaps"
        assert error_of(lambda: import_run(tmp_path, tmp_path / "no"))[0] == gaps
    write_merges(tmp_path)
    (tmp_path / "merges.txt").write_text("a b\nc b\n")
    assert error_of(lambda: import_run(tmp_path, tmp_path / "no"))[0] == (
        f"{tmp_path / 'vocab.json'}: has no piece for the merge of 'c' and 'b'"
    )


def test_wordpiece_in_tokenizer_json_and_the_message_about_case(tmp_path: Path) -> None:
    write(tmp_path, "bert")
    expected = import_run(tmp_path, tmp_path / "one").tokenizer()
    pieces = (tmp_path / "vocab.txt").read_text().split()
    (tmp_path / "vocab.txt").unlink()
    card = {"model": {"type": "WordPiece", "vocab": {piece: n for n, piece in reversed(list(enumerate(pieces)))}},
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                           "lowercase": True}, "pre_tokenizer": {"type": "BertPreTokenizer"}}  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(card))
    assert import_run(tmp_path, tmp_path / "two").tokenizer().vocab == expected.vocab
    assert expected.preprocessing.lowercase
    card["normalizer"] |= {"lowercase": False, "strip_accents": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(card))
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": True}  # fmt: skip
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    saved, notes = import_folder(tmp_path, tmp_path / "three", ("en",), False)
    tokenizer = Checkpoint.open(saved).tokenizer()
    assert not tokenizer.preprocessing.lowercase
    assert tokenizer.encode("\u00e0b", "en") == tokenizer.encode("ab", "en"), (
        "accents are taken off"
    )
    assert notes[1] == f"vocabulary {tmp_path / 'tokenizer.json'}: {V} pieces, cased"
    assert len(notes) == 3
    assert "masscli puts [CLS] and [SEP] around a text" in notes[2]


def write_gpt(folder: Path) -> None:
    """Write a GPT with its own vocabulary of a few letters."""
    write(folder, "openai-gpt")
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer_config.json").unlink(missing_ok=True)
    write_merges(folder)


def gpt_card(folder: Path, merges: Any) -> dict[str, Any]:
    """What Hugging Face's fast tokenizer of GPT keeps in tokenizer.json, with the vocabulary of a folder."""
    vocab = json.loads((folder / "vocab.json").read_text())
    return {
        "model": {"type": "BPE", "vocab": vocab, "merges": merges, "unk_token": "<unk>", "end_of_word_suffix": "</w>"},
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": {"type": "BPEDecoder", "suffix": "</w>"},
    }  # fmt: skip


@pytest.mark.parametrize("as_text", [True, False])
def test_bpe_in_tokenizer_json_is_that_of_the_older_files(
    as_text: bool, tmp_path: Path
) -> None:
    """Up to version 0.19 of the library a merge was one string, and since then it is a list of two."""
    write_gpt(tmp_path)
    expected = import_run(tmp_path, tmp_path / "one").tokenizer()
    lines = (tmp_path / "merges.txt").read_text().splitlines()
    merges = [line for line in lines if not line.startswith("#")]
    assert merges
    card = gpt_card(
        tmp_path, merges if as_text else [line.split(" ") for line in merges]
    )
    (tmp_path / "tokenizer.json").write_text(json.dumps(card))
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).unlink()
    found = import_run(tmp_path, tmp_path / "two").tokenizer()
    assert found.vocab == expected.vocab
    for line in ("ab ba c", "cab, a bc"):
        assert found.encode(line, "en") == expected.encode(line, "en")


@pytest.mark.parametrize(
    ("merges", "reason"),
    [
        (None, "has no merges"),
        ({"a": "b"}, "has no merges"),
        (["a b c"], "expected a merge of two pieces, got 'a b c'"),
        ([["a"]], "expected a merge of two pieces, got ['a']"),
        ([["a", 1]], "expected a merge of two pieces, got ['a', 1]"),
        ([7], "expected a merge of two pieces, got 7"),
    ],
)
def test_damaged_merges_in_tokenizer_json_are_named(
    merges: Any, reason: str, tmp_path: Path
) -> None:
    write_gpt(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(gpt_card(tmp_path, merges)))
    message, _ = error_of(lambda: import_run(tmp_path, tmp_path / "no"))
    assert message == f"{path}: {reason}"


NATIVE = {
    "model": {"type": "WordPiece", "vocab": {piece: n for n, piece in enumerate(PIECES)}},
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                   "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"normalizer": {"handle_chinese_chars": False}}, "its normalizer leaves Chinese characters together"),
        ({"normalizer": {"clean_text": False}}, "its normalizer keeps control characters"),
        ({"normalizer": {"type": "NFC"}}, "its normalizer is not BERT's"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "it splits text by Whitespace"),
        ({"model": {"type": "Unigram"}}, "its pieces are a Unigram"),
        ({"model": {"max_input_chars_per_word": 7}}, "its longest word has 7 characters"),
        ({"model": {"continuing_subword_prefix": "@"}}, "its pieces continue words with @"),
        ({"added_tokens": [{"id": 3, "content": "[unused2]", "special": False}]}, "it has added tokens ([unused2])"),
        (
            {"added_tokens": [{"id": 3 + number, "content": f"[unused{number}]", "special": False} for number in range(2, 6)]},
            "it has added tokens ([unused2], [unused3], [unused4] and 1 more)",
        ),
    ],
)  # fmt: skip
def test_tokenizers_that_only_the_library_can_read_are_named(
    changes: dict[str, Any],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path, "bert")
    (tmp_path / "vocab.txt").unlink()
    content: dict[str, Any] = {**NATIVE, "decoder": {"type": "WordPiece"}}
    for part, change in changes.items():
        content[part] = content[part] | change if isinstance(change, dict) else change
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    settings = {"tokenize_chinese_chars": content["normalizer"]["handle_chinese_chars"]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert error_of(lambda: import_run(tmp_path, tmp_path / "no")) == (
        f"{tmp_path / 'tokenizer.json'}: {reason}; that needs Hugging Face's tokenizers",
        "pip install 'masscli[hf]'",
    )


def test_settings_that_no_reader_knows_and_tokens_without_tokenizer_json(
    tmp_path: Path,
) -> None:
    write(tmp_path, "bert")
    hint = "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes one"
    for settings, reason in (
        ({"do_basic_tokenize": False}, "do_basic_tokenize is false"),
        ({"tokenize_chinese_chars": False}, "tokenize_chinese_chars is false"),
        ({"never_split": ["abc"]}, "it has words that are never split"),
        (
            {"tokenizer_class": "BertJapaneseTokenizer"},
            "its tokenizer is a BertJapaneseTokenizer",
        ),
        ({"mask_token": "[unused1]"}, "its mask_token is [unused1]"),
        (
            {"added_tokens_decoder": {"60": {"content": "covid"}}},
            "it has added tokens (covid)",
        ),
    ):
        (tmp_path / "tokenizer_config.json").write_text(
            json.dumps({"tokenizer_class": "BertTokenizer"} | settings)
        )
        message, given = error_of(lambda: import_run(tmp_path, tmp_path / "no"))
        assert message == (
            f"{tmp_path / 'tokenizer_config.json'}: {reason}, and there is no tokenizer.json to read it from"
        )
        # The library has no fast version of BERT's tokenizer for Japanese.
        if "Japanese" in reason:
            assert given is not None and given.startswith("this class cannot write one")
        else:
            assert given == hint
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "BertTokenizer"}'
    )
    (tmp_path / "added_tokens.json").write_text('{"covid": 60}')
    assert "it has added tokens (covid)" in str(
        error_of(lambda: import_run(tmp_path, tmp_path / "no"))
    )


def test_special_added_tokens_have_their_rows(tmp_path: Path) -> None:
    weights = {
        n: torch.cat([t, t[:2]]) if t.shape[0] == V else t
        for n, t in tensors("bert").items()
    }
    write(tmp_path, "bert", weights, vocab_size=V + 2)
    added = {
        str(V): {"content": "[E1]", "special": True},
        str(V + 1): {"content": "[E2]", "special": True},
    }
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "added_tokens_decoder": added})
    )
    found = import_run(tmp_path, tmp_path / "run")
    assert found.tokenizer().all_pieces()[-2:] == ["[E1]", "[E2]"]
    assert found.weights()["token_embeddings.shared"].shape[0] == V + 2
    for odd in (
        {"7": {"content": "[E1]"}},
        {"x": {"content": "[E1]"}},
        {str(V): {}},
        {str(V): 3},
    ):
        (tmp_path / "tokenizer_config.json").write_text(
            json.dumps(
                {"tokenizer_class": "BertTokenizer", "added_tokens_decoder": odd}
            )
        )
        assert (
            "added token" in error_of(lambda: import_run(tmp_path, tmp_path / "no"))[0]
        )


def test_rows_without_a_piece_are_kept_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "bert")
    (tmp_path / "vocab.txt").write_text(
        "".join(f"{piece}\n" for piece in [*SPECIAL, "a", "b"])
    )
    saved, notes = import_folder(tmp_path, tmp_path / "run", ("en",), False)
    assert notes[-1] == f"rows 17 to {V - 1} of the token embeddings have no piece"
    assert Checkpoint.open(saved).weights()["token_embeddings.shared"].shape == (V, D)


class Evil:
    """What a pickle may hold."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_refused_or_read_for_tensors_alone(tmp_path: Path) -> None:
    weights, path = write(tmp_path, "bert"), tmp_path / "pytorch_model.bin"
    expected = import_run(tmp_path, tmp_path / "expected").weights()
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, path)
    assert error_of(lambda: import_run(tmp_path, tmp_path / "run")) == (
        f"{path}: is a pickle, which could run code", "--pickle reads it with a loader that creates only tensors")  # fmt: skip
    assert_same_tensors(
        import_run(tmp_path, tmp_path / "run", pickles=True).weights(), expected
    )

    refused = (
        f"{path}: holds something other than tensors, or is damaged",
        "only tensors are read from a pickle",
    )
    torch.save({**weights, "more": Evil(tmp_path / "trodden")}, path)
    assert (
        error_of(lambda: import_run(tmp_path, tmp_path / "no", pickles=True)) == refused
    )
    path.write_bytes(pickle.dumps(Evil(tmp_path / "trodden"), protocol=2))
    assert (
        error_of(lambda: import_run(tmp_path, tmp_path / "no", pickles=True)) == refused
    )
    path.write_bytes(b"PK\x03\x04 cut off")
    assert (
        error_of(lambda: import_run(tmp_path, tmp_path / "no", pickles=True)) == refused
    )
    # PyTorch itself does not notice a bit that has changed.
    torch.save(weights, path)
    content = bytearray(path.read_bytes())
    content[content.index(next(iter(weights.values())).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    torch.load(path)
    assert (
        error_of(lambda: import_run(tmp_path, tmp_path / "no", pickles=True)) == refused
    )
    assert not (tmp_path / "trodden").exists() and not (tmp_path / "no").exists()
    torch.save([1, 2], path)
    assert (
        error_of(lambda: import_run(tmp_path, tmp_path / "no", pickles=True))[0]
        == f"{path}: is not a table of tensors"
    )


KNOWN = (
    "bert, roberta, xlm-roberta, camembert, distilbert, albert, electra, openai-gpt, gpt2, "
    "xlm, marian, fsmt, m2m_100, pegasus, bart, mbart"
)
CONFIG, WEIGHTS = "{folder}/config.json", "{folder}/model.safetensors"


@pytest.mark.parametrize(
    ("kind", "changes", "message", "hint"),
    [
        ("bert", {"model_type": "t5"}, f"{CONFIG}: models of type t5 cannot be imported",
         f"expected one of {KNOWN}"),
        ("bert", {"model_type": None}, f"{CONFIG}: has no model_type",
         f"add it: one of {KNOWN}"),
        ("bert", {"vocab_size": None}, f"{CONFIG}: has no vocab_size", "BERT needs it"),
        ("bert", {"vocab_size": 59}, f"{WEIGHTS}: has 60 token embeddings, by config.json 59",
         "weights and config.json belong to different models"),
        ("bert", {"vocab_size": 61}, f"{WEIGHTS}: has 60 token embeddings, by config.json 61",
         "weights and config.json belong to different models"),
        ("bert", {"hidden_size": None}, f"{CONFIG}: has no hidden_size", "BERT needs it"),
        ("bert", {"hidden_size": "wide"}, f"{CONFIG}: hidden_size: expected int, got 'wide'", "was it changed after it was published?"),
        ("bert", {"num_attention_heads": 3}, f"{CONFIG}: num_attention_heads: must divide hidden_size (16), got 3", "was it changed after it was published?"),
        ("bert", {"intermediate_size": 25},
         f"{WEIGHTS}: bert.encoder.layer.0.intermediate.dense.weight is (24, 16), by config.json (25, 16)",
         "weights and config.json belong to different models"),
        ("bert", {"num_hidden_layers": 3}, f"{CONFIG}: num_hidden_layers is 3, but the weights have 2",
         "weights and config.json belong to different models"),
        ("bert", {"num_hidden_layers": 1}, f"{CONFIG}: num_hidden_layers is 1, but the weights have 2",
         "weights and config.json belong to different models"),
        ("openai-gpt", {"n_layer": 1}, f"{CONFIG}: n_layer is 1, but the weights have 2",
         "weights and config.json belong to different models"),
        ("bert", {"hidden_act": {"name": "gelu"}}, f"{CONFIG}: hidden_act is {{'name': 'gelu'}}",
         "BERT can be imported with gelu, gelu_python, gelu_new, gelu_pytorch_tanh, gelu_fast, gelu_accurate, relu, silu, swish"),
        ("bert", {"hidden_act": "mish"}, f"{CONFIG}: hidden_act is mish",
         "BERT can be imported with gelu, gelu_python, gelu_new, gelu_pytorch_tanh, gelu_fast, gelu_accurate, relu, silu, swish"),
        ("roberta", {"hidden_act": "relu"}, f"{CONFIG}: hidden_act is relu, and the LM head of RoBERTa has gelu",
         "here both are the same; without its head, as saved from a bare class, it can be imported"),
        ("bert", {"hidden_size": 10**12}, f"{CONFIG}: hidden_size is 1000000000000, but the weights have 5,934 numbers in all",
         "weights and config.json belong to different models"),
        ("bert", {"layer_norm_eps": float("inf")}, f"{CONFIG}: layer_norm_eps is inf", "was it changed after it was published?"),
        ("bert", {"layer_norm_eps": 0.0}, f"{CONFIG}: layer_norm_eps: must be above 0, got 0.0",
         "was it changed after it was published?"),
        ("bert", {"hidden_size": -1}, f"{CONFIG}: hidden_size is -1", "was it changed after it was published?"),
        ("bert", {"num_hidden_layers": 10**9}, f"{CONFIG}: num_hidden_layers is 1000000000", "was it changed after it was published?"),
        ("bert", {"tie_word_embeddings": 2}, f"{CONFIG}: tie_word_embeddings is 2", "expected true or false"),
        ("roberta", {"pad_token_id": 16}, f"{CONFIG}: pad_token_id is 16, and positions of RoBERTa begin after it",
         "expected an id from 0 to 15"),
        ("roberta", {"pad_token_id": -1}, f"{CONFIG}: pad_token_id is -1, and positions of RoBERTa begin after it",
         "expected an id from 0 to 15"),
        ("bert", {"position_embedding_type": "relative_key"}, f"{CONFIG}: position_embedding_type is relative_key",
         "only BERT whose position_embedding_type is absolute can be imported"),
        ("bert", {"is_decoder": True}, f"{CONFIG}: is_decoder is True", "only BERT whose is_decoder is False can be imported"),
        ("albert", {"num_hidden_groups": 2}, f"{CONFIG}: num_hidden_groups is 2",
         "only ALBERT whose num_hidden_groups is 1 can be imported"),
        ("bert", {"quantization_config": {"quant_method": "gptq", "bits": 4}},
         f"{CONFIG}: quantization_config says that the weights are quantized (gptq)",
         "import the model that was quantized, in full or half precision"),
        ("bert", {"pruned_heads": {"0": [1]}}, f"{CONFIG}: pruned_heads is {{'0': [1]}}",
         "only models with as many heads in each layer can be imported"),
        ("bert", {"auto_map": {"AutoModel": "own.OwnModel"}}, f"{CONFIG}: auto_map names code of the model's own (own.OwnModel), which is not run",
         "if the weights are those of BERT all the same, remove it from the file"),
        ("openai-gpt", {"num_attention_heads": 1}, f"{CONFIG}: num_attention_heads is 1, and n_head is 2",
         "they are one setting, and the former counts in Hugging Face's library: remove one of them"),
        ("openai-gpt", {"is_causal": False}, f"{CONFIG}: is_causal is False",
         "if the weights are those of GPT all the same, remove it from the file"),
        ("roberta", {"pad_token_id": "one"}, f"{CONFIG}: pad_token_id is one, and positions of RoBERTa begin after it",
         "expected an id from 0 to 15"),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit(
    kind: str, changes: dict[str, Any], message: str, hint: str, tmp_path: Path
) -> None:
    write(tmp_path, kind, **changes)
    assert error_of(lambda: import_run(tmp_path, tmp_path / "run")) == (
        message.replace("{folder}", str(tmp_path)),
        hint,
    )
    assert not (tmp_path / "run").exists()


def test_settings_that_have_no_effect_are_named_once(tmp_path: Path) -> None:
    """Keys that the family reads, that change nothing, or that are not set are not named."""
    others = {"rotary_dim": 4, "auto_map": {"AutoConfig": "own.OwnConfig"}, "new": None}
    write(
        tmp_path, "bert", **others, pooler_type="first_token_transform", use_cache=True
    )
    _, notes = import_folder(tmp_path, tmp_path / "run", ("en",), allow_pickle=False)
    named = [note for note in notes if "without effect" in note]
    assert named == [
        "config.json has settings without effect here: rotary_dim, auto_map"
    ]
    write(tmp_path, "bert")
    _, notes = import_folder(tmp_path, tmp_path / "none", ("en",), allow_pickle=False)
    assert not [note for note in notes if "without effect" in note]


def test_vocabularies_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    def complaint() -> tuple[str, str | None]:
        return error_of(lambda: import_run(tmp_path, tmp_path / "run"))

    write(tmp_path, "roberta")
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    assert complaint() == (
        f"{tmp_path}: has no vocabulary",
        "a RobertaTokenizer needs vocab.json or tokenizer.json",
    )
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": {"type": "BPE"}}')
    assert complaint()[0].startswith(
        f"{path}: it splits text by None, and its decoder None does not show"
    )
    # A WordPiece that says nothing of how it prepares text.
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "BertTokenizer"}'
    )
    path.write_text(
        '{"model": {"type": "WordPiece", "vocab": {"[PAD]": 0, "[UNK]": 2}}}'
    )
    gaps = f"{path}: the ids of its pieces are not 0, 1, 2, ... without gaps"
    assert complaint() == (gaps, "was it damaged in transfer?")
    for broken in (
        '{"type": "WordPiece"}',
        '{"type": "WordPiece", "vocab": ["a"]}',
        '{"type": "WordPiece", "vocab": {"a": "0", "b": 1}}',
    ):
        path.write_text(f'{{"model": {broken}}}')
        assert complaint()[0] == f"{path}: has no vocabulary from pieces to ids"
    path.unlink()
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_bytes(b"\xff")
    message, hint = complaint()
    assert message == f"{tmp_path / 'merges.txt'}:1: not UTF-8 (byte 0xff at offset 0)"
    assert hint == "convert it, for example: iconv -f ENCODING -t UTF-8"
    (tmp_path / "merges.txt").unlink()
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "BertTokenizer"}'
    )
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    assert complaint() == (
        f"{tmp_path / 'vocab.txt'}: is not a SentencePiece model",
        "expected what spm_train wrote, or BERT's vocab.txt",
    )
    (tmp_path / "vocab.txt").write_text(
        "".join(f"{piece}\n" for piece in [*SPECIAL, "a", "a"])
    )
    assert complaint() == (
        f"{tmp_path / 'vocab.txt'}: the piece 'a' occurs twice",
        "a vocab.txt has one piece a line, each once",
    )

    write(tmp_path, "roberta")
    note = "version https://git-lfs.github.com/spec/v1\n"
    (tmp_path / "model.safetensors").write_text(note)
    message, hint = complaint()
    assert message.startswith(f"{tmp_path / 'model.safetensors'}: cannot be read (")
    assert hint == "is it complete? Git LFS leaves a pointer in place of a file"
    (tmp_path / "model.safetensors").unlink()
    assert complaint() == (
        f"{tmp_path}: has no model.safetensors",
        "weights of TensorFlow, Flax, ONNX and GGUF cannot be imported",
    )
    (tmp_path / "config.json").write_text('{"model_type": "\\ud800"}')
    assert complaint()[0].startswith(f"{tmp_path / 'config.json'}: cannot be read (")
    (tmp_path / "config.json").write_text("[]")
    assert complaint() == (f"{tmp_path / 'config.json'}: is not a JSON object", None)
    (tmp_path / "config.json").write_text("{")
    assert complaint()[0].startswith(f"{tmp_path / 'config.json'}: cannot be read (")
    (tmp_path / "config.json").unlink()
    hint = "name a folder as Hugging Face distributes it; nothing is downloaded"
    assert complaint() == (f"{tmp_path / 'config.json'}: no such file", hint)


def test_tensors_that_have_no_place_or_are_missing_or_broken(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"

    def complaint(
        kind: str, weights: dict[str, torch.Tensor]
    ) -> tuple[str, str | None]:
        write(tmp_path, kind, weights)
        return error_of(lambda: import_run(tmp_path, tmp_path / "run"))

    # A generator and a discriminator in one file are two models.
    generator = {
        "generator_lm_head.bias": torch.ones(V),
        "generator_predictions.dense.weight": torch.ones(E, D),
    }
    assert complaint("electra", tensors("electra") | generator)[0] == (
        f"{path}: has no generator_predictions.dense.bias"
    )
    assert complaint(
        "bert", tensors("bert") | {"bert.adapter.weight": torch.ones(2)}
    ) == (
        f"{path}: bert.adapter.weight has no place in BERT",
        "a model with other parts than the published ones cannot be imported",
    )
    bert = tensors("bert")
    del bert[
        "cls.predictions.transform.LayerNorm.bias"
    ]  # half a head is not a head that is missing
    assert complaint("bert", bert) == (
        f"{path}: has no cls.predictions.transform.LayerNorm.bias",
        "the BERT that config.json describes has one",
    )
    # The head of an objective has the shape that the objective computes with.
    for kind, name in (("bert", "cls.seq_relationship.bias"), ("albert", "sop_classifier.classifier.weight"),
                       ("electra", "discriminator_predictions.dense_prediction.weight")):  # fmt: skip
        head = tensors(kind)[name]
        shape = tuple(head.shape)
        for changed in (torch.cat([head, head[:1]]), head.sum()):
            assert complaint(kind, tensors(kind) | {name: changed})[0] == (
                f"{path}: {name} is {tuple(changed.shape)}, expected {shape}"
            )
    name = "bert.encoder.layer.1.output.dense.weight"
    for value in (float("nan"), float("inf")):
        bert = tensors("bert")
        bert[name][3, 4] = value
        assert (
            complaint("bert", bert)[0]
            == f"{path}: {name} holds numbers that are not finite"
        )
    assert complaint(
        "bert", tensors("bert") | {name: torch.ones(D, 24, dtype=torch.int64)}
    ) == (
        f"{path}: {name} holds torch.int64, not floating-point numbers",
        "a quantized model cannot be imported: take it in full or half precision",
    )


def test_a_generator_of_electra_has_an_lm_head(tmp_path: Path) -> None:
    weights = {
        n: t for n, t in tensors("electra").items() if not n.startswith("discriminator")
    }
    weights |= {
        "generator_predictions.dense.weight": torch.randn(E, D),
        "generator_predictions.dense.bias": torch.randn(E),
        "generator_predictions.LayerNorm.weight": torch.randn(E),
        "generator_predictions.LayerNorm.bias": torch.randn(E),
        "generator_lm_head.bias": torch.randn(V),
    }
    write(tmp_path, "electra", weights)
    assert import_run(tmp_path, tmp_path / "run").recipe.model.head_transform
    notes = export_checkpoint(tmp_path / "run", tmp_path / "back", None)
    assert notes[0].startswith("ElectraForMaskedLM: ")
    assert_same_tensors(load_file(tmp_path / "back" / "model.safetensors"), weights)


def test_names_of_data_parallel_and_weights_in_shards_of_both_formats(
    tmp_path: Path,
) -> None:
    weights = write(tmp_path, "bert")
    expected = import_run(tmp_path, tmp_path / "expected").weights()
    parallel = {f"module.{name}": tensor for name, tensor in weights.items()}
    write(tmp_path, "bert", parallel)
    assert_same_tensors(import_run(tmp_path, tmp_path / "parallel").weights(), expected)

    # Of two formats, safetensors is read; a pickle needs a word of the user.
    torch.save({"other": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    assert_same_tensors(import_run(tmp_path, tmp_path / "both").weights(), expected)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").unlink()
    names = sorted(weights)
    for number, part in enumerate((names[:9], names[9:])):
        torch.save(
            {name: weights[name] for name in part},
            tmp_path / f"pytorch_model-{number}.bin",
        )
    index_path = tmp_path / "pytorch_model.bin.index.json"
    index = {
        name: f"pytorch_model-{int(place >= 9)}.bin" for place, name in enumerate(names)
    }
    index_path.write_text(json.dumps({"weight_map": index}))
    assert error_of(lambda: import_run(tmp_path, tmp_path / "no"))[0] == (
        f"{index_path}: is a pickle, which could run code"
    )
    assert_same_tensors(
        import_run(tmp_path, tmp_path / "shards", pickles=True).weights(), expected
    )
    (tmp_path / "pytorch_model-1.bin").unlink()
    assert error_of(lambda: import_run(tmp_path, tmp_path / "no", pickles=True)) == (
        f"{index_path}: lists pytorch_model-1.bin, which is not there",
        "is the download complete?",
    )
    for odd in (
        {},
        {"weight_map": {}},
        {"weight_map": {"a": "../a"}},
        {"weight_map": {"a": 1}},
    ):
        index_path.write_text(json.dumps(odd))
        assert (
            "has no weight_map"
            in error_of(lambda: import_run(tmp_path, tmp_path / "no", pickles=True))[0]
        )


def test_shards_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    weights = write(tmp_path, "bert")
    names = sorted(weights)
    (tmp_path / "model.safetensors").unlink()
    shards = [
        tmp_path / f"model-0000{number}-of-00002.safetensors" for number in (1, 2)
    ]
    index_path = tmp_path / "model.safetensors.index.json"

    def write_shards(**moved: str) -> None:
        first, second = names[:9], names[9:]
        for shard, part in zip(shards, (first, second), strict=True):
            save_file({name: weights[name] for name in part}, shard)
        weight_map = dict.fromkeys(first, shards[0].name)
        weight_map |= dict.fromkeys(second, shards[1].name)
        index_path.write_text(json.dumps({"weight_map": weight_map | moved}))

    def complaint() -> tuple[str, str | None]:
        found = error_of(lambda: import_run(tmp_path, tmp_path / "no"))
        assert not (tmp_path / "no").exists()
        return found

    write_shards(more=shards[1].name)
    assert complaint() == (
        f"{index_path}: lists more in {shards[1].name}, which does not hold it",
        "are shards of two models mixed?",
    )
    write_shards()
    shards[1].write_bytes(shards[0].read_bytes())
    assert complaint() == (
        f"{shards[1]}: has {names[0]}, and so has another shard",
        "are shards of two models mixed?",
    )
    index_path.unlink()
    assert complaint() == (
        f"{tmp_path}: has {shards[0].name}, but no model.safetensors.index.json",
        "is the download complete?",
    )
    for shard in shards:
        shard.unlink()
    torch.save(weights, tmp_path / "pytorch_model-00001-of-00001.bin")
    assert complaint() == (
        f"{tmp_path}: has pytorch_model-00001-of-00001.bin, but no pytorch_model.bin.index.json",
        "is the download complete?",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_untied_output_layer_survives_import_and_export(
    kind: str, tmp_path: Path
) -> None:
    """With tie_word_embeddings false; ELECTRA's discriminator has no output layer."""
    weights = tensors(kind)
    names = {
        "bert": "cls.predictions.decoder",
        "roberta": "lm_head.decoder",
        "albert": "predictions.decoder",
        "openai-gpt": "lm_head",
    }
    if kind in names:
        width = E if kind == "albert" else D
        weights[f"{names[kind]}.weight"] = torch.randn(V, width)
    bias = {
        "bert": "cls.predictions.bias",
        "roberta": "lm_head.bias",
        "albert": "predictions.bias",
    }
    if kind in bias:
        weights[f"{names[kind]}.bias"] = weights[bias[kind]].clone()
    write(tmp_path, kind, weights, tie_word_embeddings=False)
    found = import_run(tmp_path, tmp_path / "run")
    assert found.recipe.model.tie_output is (kind not in names)
    export_checkpoint(tmp_path / "run", tmp_path / "back", None)
    assert_same_tensors(load_file(tmp_path / "back" / "model.safetensors"), weights)


def test_folders_with_other_contents_cause_an_error_with_a_hint(tmp_path: Path) -> None:
    for place in ("cache/snapshots/abc", "trainer/checkpoint-500"):
        (tmp_path / place).mkdir(parents=True)
        write(tmp_path / place, "bert")
    for name, inside in (("cache", "snapshots/abc"), ("trainer", "checkpoint-500")):
        folder = tmp_path / name
        message, hint = error_of(lambda at=folder: import_run(at, tmp_path / "run"))
        assert message == f"{folder / 'config.json'}: no such file"
        assert hint == f"name the folder that holds it: {folder / inside}"
    write(tmp_path / "variant", "bert")
    weights = tmp_path / "variant" / "model.safetensors"
    weights.rename(weights.with_name("model.fp16.safetensors"))
    message, hint = error_of(lambda: import_run(tmp_path / "variant", tmp_path / "run"))
    assert message.endswith("has no model.safetensors, but model.fp16.safetensors")
    assert hint == "give the weights of the model the name model.safetensors"
    # What is not listed is counted.
    for number in range(4):
        (tmp_path / "variant" / f"{number}.safetensors").touch()
        (tmp_path / "trainer" / f"{number}").mkdir()
        (tmp_path / "trainer" / f"{number}" / "config.json").touch()
    message, _ = error_of(lambda: import_run(tmp_path / "variant", tmp_path / "run"))
    assert message.endswith(
        ", but 0.safetensors, 1.safetensors, 2.safetensors and 2 more"
    )
    _, hint = error_of(lambda: import_run(tmp_path / "trainer", tmp_path / "run"))
    assert str(hint).endswith(f"{tmp_path / 'trainer' / '2'} and 2 more")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    _, hint = error_of(lambda: import_run(tmp_path / "adapter", tmp_path / "run"))
    assert "merge_and_unload" in str(hint)


def test_wrong_options_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "bert")
    assert run(f"import {tmp_path} --output {tmp_path}/run --langs en,en".split()) == 2
    assert (
        capsys.readouterr().err
        == "error: --langs: expected languages, such as en,de, each once, got en,en\nhint: masscli import --help\n"
    )
    succeed(["import", str(tmp_path), "--output", str(tmp_path / "run")])
    capsys.readouterr()
    succeed(["inspect", str(tmp_path / "run")])
    shown = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith(("[", "data"))
    ]
    assert shown == ["[model]"], "nothing is said of a run that there was not"
    assert run(["import", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path}: is not empty\nhint: choose another folder with --output\n"
    )


def write_albert(folder: Path, model: bytes) -> None:
    """Write an ALBERT whose vocabulary is a SentencePiece model alone."""
    write(folder, "albert")
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer_config.json").unlink()
    (folder / "spiece.model").write_bytes(model)


@pytest.mark.parametrize(
    "content", [b"", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_a_file_that_is_not_a_sentencepiece_model_is_refused(
    content: bytes, tmp_path: Path
) -> None:
    """SentencePiece itself takes an empty file for a model without pieces."""
    write_albert(tmp_path, content)
    with pytest.raises(
        MasscliError, match=r"spiece.model: is not a SentencePiece model"
    ):
        import_folder(tmp_path, tmp_path / "run", ("en",), False)


def test_a_sentencepiece_model_with_a_piece_that_is_not_text_is_refused(
    tmp_path: Path,
) -> None:
    """SentencePiece itself fails only when it is asked for the piece."""
    model = train_sentencepiece(iter(["ab abc", "cab ba", "ab cab"]), 16, 1.0, [])
    assert "▁cab".encode() in model
    write_albert(tmp_path, model.replace("▁cab".encode(), "▁ca".encode() + b"\xc0"))
    with pytest.raises(
        MasscliError, match=r"spiece.model: is not a SentencePiece model"
    ):
        import_folder(tmp_path, tmp_path / "run", ("en",), False)

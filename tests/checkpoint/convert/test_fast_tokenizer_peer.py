"""Exported tokenizers, read by Hugging Face's library: the ids of SentencePiece itself, also for odd text.

Run alone:  pip install transformers && pytest tests/checkpoint/convert/test_fast_tokenizer_peer.py
"""

from __future__ import annotations

import json
import random
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.export import export_checkpoint
from masscli.checkpoint.convert.fast_tokenizer import Template, fast_tokenizer_files
from masscli.checkpoint.convert.import_ import import_folder
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from tests.checkpoint.convert.test_export import random_run
from tests.published import V
from tests.published_seq2seq import write_spm

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers: Any = pytest.importorskip(
        "transformers", reason="transformers is not installed"
    )

tokenizers: Any = pytest.importorskip(
    "tokenizers", reason="tokenizers is not installed"
)

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("no_sync"),
]

WORDS = re.split(
    " ",
    "the quick brown fox jumps over a lazy dog while many people walk through old streets of K\u00f6ln and "
    "\u00c6r\u00f8sk\u00f8bing na\u00efve 12 345 don't U.S. e-mail x_y",
)
ODD = [
    "", "   ", " leading", "  two  spaces   here ", "tab\tand\u00a0other\u3000space", "\u2581dog", "a\u2581b \u2581 c\u2581", "\u2581",
    "emoji \U0001f600\U0001f469\u200d\U0001f467 ok", "control \x01\x02 x", "zero\u200bwidth\ufeff", "\ufb01ne \uff46\uff55\uff4c\uff4c",
    "e\u0301 \u00e9", "\u6f22\u5b57 \u6f22", "DOG \u00c0 \u0130 \u00df", "``quoted'' \u2026 9,123", "a" * 100, "<extra>dog a<extra>b SYMdog",
]  # fmt: skip
NAMES = [
    "<s> dog </s> <pad> <unk> <mask>",
    "<s><s> x",
    "x</s>",
    "<extra>",
    "SYM dog",
    "<0x41>",
]
"""Text that looks like special tokens, and is only text."""
VARIANTS: dict[str, dict[str, Any]] = {
    "unigram": {},
    "bpe": {"model_type": "bpe"},
    "identity": {"normalization_rule_name": "identity"},
    "nfkc": {"normalization_rule_name": "nfkc"},
    "lower-case": {"normalization_rule_name": "nmt_nfkc_cf"},
    "bytes": {"byte_fallback": True, "vocab_size": 400},
    "bytes-bpe": {"byte_fallback": True, "vocab_size": 400, "model_type": "bpe"},
    "no-dummy-prefix": {"add_dummy_prefix": False},
    "spaces-kept": {"remove_extra_whitespaces": False},
    "spaces-kept-bpe": {"remove_extra_whitespaces": False, "model_type": "bpe"},
    "spaces-as-pieces": {
        "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True,
    },
    "user-defined": {"user_defined_symbols": "SYM,<extra>"},
    "user-defined-bpe": {"user_defined_symbols": "SYM,<extra>", "model_type": "bpe"},
    "control": {"control_symbols": "SYM,<extra>"},
    "over-words": {"split_by_whitespace": False},
    "other-ids": {"pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3},
    "no-start": {"bos_id": -1, "unk_piece": "[UNK]"},
}
NOT_EXPRESSED: dict[str, dict[str, Any]] = {
    "words": {"model_type": "word"},
    "letters": {"model_type": "char"},
    "spaces-behind": {"treat_whitespace_as_suffix": True},
}


def trained(folder: Path, options: dict[str, Any]) -> Tokenizer:
    draw = random.Random(1)
    lines = [" ".join(draw.choices(WORDS, k=9)) for _ in range(300)]
    size = options.get("vocab_size", 120)
    rest = {name: value for name, value in options.items() if name != "vocab_size"}
    path = folder / "spm.model"
    data = write_spm(path, size, lines, **rest)
    return Tokenizer.from_bytes(path, data, TextPreprocessing(), ("en",))


@pytest.mark.parametrize("variant", VARIANTS)
def test_ids_are_those_of_sentencepiece(variant: str, tmp_path: Path) -> None:
    tokenizer = trained(tmp_path, VARIANTS[variant])
    vocab = tokenizer.vocab
    template = Template([], [vocab.eos])
    files, note = fast_tokenizer_files(
        tokenizer,
        vocab.size,
        template,
        {"split_special_tokens": True},
        [("en", "dog")],
        "x",
    )
    assert note.startswith("tokenizer.json: its ids were equal")
    (tmp_path / "theirs").mkdir()
    for name, content in files.items():
        (tmp_path / "theirs" / name).write_bytes(content)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_bytes)
    draw = random.Random(2)
    lines = [" ".join(draw.choices(WORDS, k=9)) for _ in range(50)]
    for text in [*lines, *ODD, *NAMES]:
        expected = processor.encode(text)
        assert theirs(text).input_ids == [*expected, vocab.eos], text
        if processor.unk_id() not in expected:
            decoded = theirs.decode(expected)
            assert decoded.strip() == processor.decode(expected).strip(), text


@pytest.mark.parametrize(
    ("lower", "accents"), [(True, None), (False, None), (True, False), (False, True)]
)
def test_wordpiece_gives_the_ids_of_bert(
    lower: bool, accents: bool | None, tmp_path: Path
) -> None:
    vocab_txt = write_wordpiece_of(WORDS, tmp_path)
    rule = {True: "strip-accents", False: "keep-accents", None: None}[accents]
    rules = TextPreprocessing(lowercase=lower, published=rule)
    path = tmp_path / "vocab.txt"
    tokenizer = Tokenizer.from_bytes(path, vocab_txt.encode(), rules, ("en", "de"))
    size, sep = len(vocab_txt.splitlines()), tokenizer.vocab.sep
    settings = {"split_special_tokens": True}
    files, note = fast_tokenizer_files(
        tokenizer, size, Template([], [sep]), settings, [("en", "dog")], "x"
    )
    assert note.startswith("tokenizer.json: its ids were equal")
    (tmp_path / "theirs").mkdir()
    for name, content in files.items():
        (tmp_path / "theirs" / name).write_bytes(content)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    bert = transformers.BertTokenizer(
        str(path), do_lower_case=lower, strip_accents=accents, split_special_tokens=True
    )
    for text in [" ".join(WORDS), *ODD, "[SEP] dog [MASK]"]:
        expected = bert(text, add_special_tokens=False).input_ids
        assert theirs(text).input_ids == [*expected, sep], text


def write_wordpiece_of(words: list[str], folder: Path) -> str:
    """Write a vocab.txt with all letters of some words, and some of the words; return its text."""
    letters = sorted({letter for word in words for letter in word})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    pieces += [f"##{letter}" for letter in letters]
    pieces += [word for word in words if word.isalpha() and len(word) > 1][::2]
    text = "".join(f"{piece}\n" for piece in pieces)
    (folder / "vocab.txt").write_text(text, encoding="utf-8")
    return text


@pytest.mark.parametrize("variant", NOT_EXPRESSED)
def test_a_tokenizer_that_the_library_cannot_express_is_not_written(
    variant: str, tmp_path: Path
) -> None:
    tokenizer = trained(tmp_path, NOT_EXPRESSED[variant])
    files, note = fast_tokenizer_files(
        tokenizer, tokenizer.vocab.size, Template([], []), {}, [("en", "a dog")], "x"
    )
    assert not files and note.startswith("no tokenizer: ")


@pytest.mark.parametrize("arch", ["bert-base", "roberta-base", "gpt"])
def test_a_single_stack_has_a_tokenizer_with_the_ids_of_its_own_vocabulary(
    arch: str, toy: Path, tmp_path: Path
) -> None:
    run = random_run(arch, toy, tmp_path / "run")
    notes = export_checkpoint(run.path, tmp_path / "theirs", None)
    assert any("its ids were equal on all" in note for note in notes)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    ours, vocab = run.tokenizer(), run.tokenizer().vocab
    for text in (
        "ba be",
        "",
        "  ba\t be ",
        "zzz \u00df\u00df ba",
        "\u2581ba",
        "\uff42\uff41",
    ):
        [ids] = [ours.encode(text, "en")]
        framed = {
            "bert-base": [vocab.cls, *ids, vocab.sep],
            "roberta-base": [vocab.bos, *ids, vocab.eos],
            "gpt": [vocab.bos, *ids],
        }
        assert theirs(text).input_ids == framed[arch], text
    first, second = ours.encode("ba be", "en"), ours.encode("be", "en")
    pair = theirs("ba be", "be")
    if arch == "bert-base":
        assert pair.input_ids == [vocab.cls, *first, vocab.sep, *second, vocab.sep]
        assert pair.token_type_ids == [0] * (2 + len(first)) + [1] * (1 + len(second))
    elif arch == "roberta-base":
        assert pair.input_ids == [vocab.bos, *first, vocab.eos, vocab.eos, *second, vocab.eos]  # fmt: skip
    if arch != "gpt":
        assert "token_type_ids" not in pair or arch == "bert-base"
        # Users write the mask into their text.
        assert theirs(f"ba {theirs.mask_token}").input_ids[-2] == vocab.mask
        model = transformers.AutoModel.from_pretrained(tmp_path / "theirs")
        model(**theirs("ba be", "be", return_tensors="pt"))


@pytest.mark.parametrize(
    "options",
    [
        {"normalization_rule_name": "identity"},
        {"model_type": "bpe"},
        {"byte_fallback": True, "vocab_size": 400},
    ],
    ids=["identity", "bpe", "bytes"],
)
def test_a_sentencepiece_model_that_xlm_r_would_read_in_another_way_becomes_a_tokenizer_json(
    options: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    ours = trained(folder, options)
    (folder / "spm.model").rename(folder / "sentencepiece.bpe.model")
    processor = sentencepiece.SentencePieceProcessor(model_proto=ours.model_bytes)
    config = transformers.XLMRobertaConfig(
        vocab_size=len(processor) + 2, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=V, type_vocab_size=1,
    )  # fmt: skip
    transformers.XLMRobertaForMaskedLM(config).save_pretrained(folder)
    import_folder(folder, tmp_path / "run", ("en",), allow_pickle=False)
    export_checkpoint(tmp_path / "run", tmp_path / "back", None)
    assert not (tmp_path / "back" / "sentencepiece.bpe.model").exists()
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    for text in ODD:
        # Its ids are SentencePiece's plus one, and its unknown piece is 3.
        expected = [3 if i == 0 else i + 1 for i in processor.encode(text)]
        assert theirs(text).input_ids == [0, *expected, 2], text


def test_a_decoder_of_single_steps_shows_where_words_begin(tmp_path: Path) -> None:
    """Hugging Face's library writes such decoders for SentencePiece models without a class of their own."""
    folder = tmp_path / "published"
    folder.mkdir()
    tokenizer = trained(folder, {"model_type": "bpe"})
    files, _ = fast_tokenizer_files(
        tokenizer, tokenizer.vocab.size, Template([1], [2]), {}, [], "nothing"
    )
    (folder / "tokenizer.json").write_bytes(files["tokenizer.json"])
    steps = json.loads(files["tokenizer.json"])["decoder"]["decoders"]
    assert steps[0] == {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}  # fmt: skip
    size = tokenizers.Tokenizer.from_file(
        str(folder / "tokenizer.json")
    ).get_vocab_size()
    config = transformers.BertConfig(
        vocab_size=size, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
    )  # fmt: skip
    transformers.BertForMaskedLM(config).save_pretrained(folder)
    names = {"unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    path, _ = import_folder(folder, tmp_path / "run", ("en",), allow_pickle=False)
    assert path.exists()


@pytest.mark.parametrize("change", ["lower", "digits", "nothing"])
def test_a_tokenizer_json_of_xlm_r_counts_more_than_its_sentencepiece_model(
    change: str, tmp_path: Path
) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    trained(folder, {})
    (folder / "spm.model").rename(folder / "sentencepiece.bpe.model")
    size = len(
        sentencepiece.SentencePieceProcessor(
            model_file=str(folder / "sentencepiece.bpe.model")
        )
    )
    theirs = transformers.XLMRobertaTokenizer.from_pretrained(folder)
    config = transformers.XLMRobertaConfig(
        vocab_size=size + 2, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=V, type_vocab_size=1,
    )  # fmt: skip
    transformers.XLMRobertaForMaskedLM(config).save_pretrained(folder)
    theirs.save_pretrained(folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    steps = content["pre_tokenizer"]["pretokenizers"]
    if change == "lower":
        content["normalizer"] = {
            "type": "Sequence",
            "normalizers": [{"type": "Lowercase"}, content["normalizer"]],
        }
    elif change == "digits":
        steps.insert(0, {"type": "Digits", "individual_digits": True})
    path.write_text(json.dumps(content))
    checkpoint, notes = import_folder(folder, tmp_path / "run", ("en",), False)
    through_library = any("read through Hugging Face's" in note for note in notes)
    assert through_library is (change != "nothing")
    ours = Checkpoint.open(checkpoint).tokenizer()
    fast = tokenizers.Tokenizer.from_file(str(path))
    for text in ("the QUICK brown", "a dog 12345 x_y", "na\u00efve  dog"):
        expected = fast.encode(text, add_special_tokens=False).ids
        assert ours.encode(text, "en") == expected, text

"""Text to ids and back: the same files for the same text, and no text that becomes a special symbol."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.tokenizer_card import TokenizerCard

SENTENCE = "the small big red house garden dog cat sees has walks to from der die das kleine große Haus Garten Hund Katze geht"
WORDS = SENTENCE.split(" ")
LANGUAGES = ("en", "de")


def text(count: int = 400) -> Iterator[str]:
    """Lines of words, the same every time."""
    state = 1
    for _ in range(count):
        line = []
        for _ in range(3 + state % 7):
            state = (state * 1103515245 + 12345) % (1 << 31)
            line.append(WORDS[(state >> 16) % len(WORDS)])
        yield " ".join(line) + "."


def make(folder: Path, vocab_size: int = 120, **options: Any) -> Tokenizer:
    preprocessing = TextPreprocessing(**options)
    folder.mkdir(parents=True, exist_ok=True)
    return Tokenizer.train(
        text(),
        vocab_size=vocab_size,
        preprocessing=preprocessing,
        languages=LANGUAGES,
        folder=folder,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    make(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.load(folder)


def test_round_trip(tokenizer: Tokenizer) -> None:
    for line in text():
        assert tokenizer.decode(tokenizer.encode(line, "en"), "en") == line


def test_same_text_same_bytes(folder: Path, tmp_path: Path) -> None:
    make(tmp_path)
    for name in ("vocab.model", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_saved_copies_are_identical(folder: Path, tmp_path: Path) -> None:
    Tokenizer.load(folder).save(tmp_path / "checkpoint")
    assert sorted(path.name for path in (tmp_path / "checkpoint").iterdir()) == [
        "tokenizer.json",
        "vocab.model",
    ]
    for path in (tmp_path / "checkpoint").iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_special_ids(tokenizer: Tokenizer) -> None:
    vocab = tokenizer.vocab
    assert (vocab.pad, vocab.bos, vocab.eos, vocab.unk, vocab.size) == (0, 1, 2, 3, 120)
    assert list(vocab.languages) == ["en", "de"] and len(vocab.spare) == 8
    assert len(vocab.special_ids) == 7 + 8 + 2
    assert max(vocab.special_ids) < vocab.size


def test_no_text_becomes_a_special_symbol(tokenizer: Tokenizer) -> None:
    vocab = tokenizer.vocab
    for name in (
        "<pad>",
        "<s>",
        "</s>",
        "<mask>",
        "<cls>",
        "<sep>",
        "<lang:en>",
        "<spare0>",
    ):
        for line in (name, f"the {name} dog", f"the{name}dog"):
            assert not set(tokenizer.encode(line, "en")) & (
                vocab.special_ids - {vocab.unk}
            )


def test_special_symbols_are_left_out_of_decoded_text(tokenizer: Tokenizer) -> None:
    ids, vocab = tokenizer.encode("the dog walks", "en"), tokenizer.vocab
    wrapped = [
        vocab.languages["en"],
        vocab.bos,
        ids[0],
        vocab.mask,
        vocab.pad,
        *ids[1:],
        *vocab.spare,
        vocab.eos,
    ]
    assert tokenizer.decode(wrapped, "en") == "the dog walks"


def test_unknown_characters_are_visible_in_decoded_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the 世界 dog", "en")
    assert tokenizer.vocab.unk in ids
    assert tokenizer.decode(ids, "en").split() == ["the", "\u2047", "dog"]


ODD = "  aehrtuß\u0301\u0308\u00a0\u200b\u3000\u2581\t\x01\xad\ufb01"
CHARACTERS = st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"]))


@settings(max_examples=300)
@given(lines=st.lists(st.text(CHARACTERS, max_size=20), max_size=6))
@example(lines=["", " ", "  the  dog ", "a\u2581 b", "the dog", "fi\ufb01 \u0301x"])
def test_word_by_word_gives_what_sentencepiece_gives(
    folder: Path, lines: list[str]
) -> None:
    """Against SentencePiece on whole lines, with one tokenizer whose memory fills up as the examples go by."""
    reference = sentencepiece.SentencePieceProcessor(
        model_file=str(folder / "vocab.model")
    )
    assert _kept(folder).encode_lines(lines, "en") == reference.encode(lines)


_tokenizers: dict[Path, Tokenizer] = {}


def _kept(folder: Path) -> Tokenizer:
    if folder not in _tokenizers:
        _tokenizers[folder] = Tokenizer.load(folder)
    return _tokenizers[folder]


def test_the_memory_for_words_is_bounded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masscli.text.word_cache.MAX_CACHED_IDS", 50)
    tokenizer, whole = Tokenizer.load(folder), Tokenizer.load(folder)
    lines = list(text())
    assert [tokenizer.encode(line, "en") for line in lines] == whole.encode_lines(
        lines, "en"
    )


def test_the_order_of_languages_does_not_change_the_fingerprint(
    folder: Path, tmp_path: Path
) -> None:
    model, adopted = next(folder.glob("vocab.model")), []
    for n, languages in enumerate((LANGUAGES, LANGUAGES[::-1])):
        (tmp_path / str(n)).mkdir()
        adopted.append(
            Tokenizer.from_model_file(
                model,
                preprocessing=TextPreprocessing(),
                languages=languages,
                folder=tmp_path / str(n),
            ).vocab
        )
    assert (
        adopted[0].fingerprint
        == adopted[1].fingerprint
        == Tokenizer.load(folder).vocab.fingerprint
    )
    assert adopted[0].languages == adopted[1].languages


def test_the_fingerprint_covers_settings_and_languages(
    folder: Path, tmp_path: Path
) -> None:
    prints = {Tokenizer.load(folder).vocab.fingerprint}
    for n, options in enumerate(
        [{"lowercase": True}, {"moses": True}, {"normalize": True}, {"vocab_size": 121}]
    ):
        prints.add(make(tmp_path / str(n), **options).vocab.fingerprint)
    other = Tokenizer.from_model_file(
        folder / "vocab.model",
        preprocessing=TextPreprocessing(),
        languages=("en", "de", "fr"),
        folder=tmp_path,
    )
    prints.add(other.vocab.fingerprint)
    assert len(prints) == 6


def test_lower_case(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train((line.lower() for line in text()), vocab_size=110, preprocessing=TextPreprocessing(lowercase=True),
                                languages=LANGUAGES, folder=tmp_path)  # fmt: skip
    assert (
        tokenizer.decode(tokenizer.encode("Die KATZE geht.", "de"), "de")
        == "die katze geht."
    )
    assert Tokenizer.load(tmp_path).encode("Die KATZE geht.", "de") == tokenizer.encode(
        "die katze geht.", "de"
    )


def test_moses_is_undone(tmp_path: Path) -> None:
    preprocessing = TextPreprocessing(moses=True, normalize=True)
    lines = [*text(), "the dog , the cat 's house ( small ) ! & < |", '" the dog "']
    tokenizer = Tokenizer.train(
        iter(lines),
        vocab_size=130,
        preprocessing=preprocessing,
        languages=LANGUAGES,
        folder=tmp_path,
    )
    line = "the dog's house (small), the cat!"
    assert tokenizer.decode(tokenizer.encode(line, "en"), "en") == line
    assert tokenizer.encode("the dog.", "en") != Tokenizer.load(
        make(tmp_path / "plain") and tmp_path / "plain"
    ).encode("the dog.", "en")
    assert tokenizer.encode("„the dog“", "en") == tokenizer.encode('"the dog"', "en")


def test_a_vocabulary_size_that_is_too_large_names_the_maximum(tmp_path: Path) -> None:
    with pytest.raises(MasscliError) as caught:
        make(tmp_path, vocab_size=8000)
    assert caught.value.message == "--vocab-size 8000 is too large for this text"
    largest = re.fullmatch(r"the largest possible is (\d+)", caught.value.hint or "")
    assert largest
    assert make(tmp_path, vocab_size=int(largest[1])).vocab.size == int(largest[1])
    with pytest.raises(MasscliError):
        make(tmp_path, vocab_size=int(largest[1]) + 1)


def test_a_vocabulary_size_that_is_too_small_names_the_minimum(tmp_path: Path) -> None:
    with pytest.raises(MasscliError) as caught:
        make(tmp_path, vocab_size=20)
    smallest = re.match(r"give at least (\d+),", caught.value.hint or "")
    assert smallest
    assert make(tmp_path, vocab_size=int(smallest[1])).vocab.size == int(smallest[1])


@pytest.mark.parametrize(("coverage", "rare_is_known"), [(1.0, True), (0.999, False)])
def test_characters_beyond_the_coverage_get_no_piece(
    coverage: float, rare_is_known: bool, tmp_path: Path
) -> None:
    tokenizer = Tokenizer.train(
        iter([*text(), "the ж dog"]),
        vocab_size=120,
        character_coverage=coverage,
        preprocessing=TextPreprocessing(),
        languages=LANGUAGES,
        folder=tmp_path,
    )
    pieces = tokenizer.encode("ж", "en")
    assert (tokenizer.vocab.unk not in pieces) is rare_is_known
    assert tokenizer.vocab.unk not in tokenizer.encode("the small große dog", "en")


def test_no_text_at_all(tmp_path: Path) -> None:
    with pytest.raises(MasscliError, match="there is no text to train a vocabulary on"):
        Tokenizer.train(
            iter([]),
            vocab_size=8000,
            preprocessing=TextPreprocessing(),
            languages=LANGUAGES,
            folder=tmp_path,
        )


def foreign_model(path: Path, **options: object) -> Path:
    written = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=text(),
        model_writer=written,
        vocab_size=50,
        minloglevel=2,
        **{"model_type": "unigram", **options},
    )
    path.write_bytes(written.getvalue())
    return path


def test_an_adopted_model_keeps_its_ids(tmp_path: Path) -> None:
    model = foreign_model(tmp_path / "their.model")
    tokenizer = Tokenizer.from_model_file(
        model, preprocessing=TextPreprocessing(), languages=LANGUAGES, folder=tmp_path
    )
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(model))
    lines = list(text())
    assert tokenizer.encode_lines(lines, "en") == theirs.encode(lines)
    assert (tokenizer.vocab.unk, tokenizer.vocab.bos, tokenizer.vocab.eos) == (0, 1, 2)
    new = [
        tokenizer.vocab.pad,
        tokenizer.vocab.mask,
        tokenizer.vocab.cls,
        tokenizer.vocab.sep,
        *tokenizer.vocab.languages.values(),
    ]
    assert sorted([*new, *tokenizer.vocab.spare]) == list(
        range(50, tokenizer.vocab.size)
    )
    assert (tmp_path / "vocab.model").read_bytes() == model.read_bytes()
    ids = tokenizer.encode(lines[0], "en")
    assert (
        Tokenizer.load(tmp_path).decode([*new, *ids, *tokenizer.vocab.spare], "en")
        == lines[0]
    )


def test_an_adopted_piece_that_text_can_contain_is_not_taken_for_a_special_one(
    tmp_path: Path,
) -> None:
    model = foreign_model(
        tmp_path / "their.model",
        user_defined_symbols=["<mask>"],
        control_symbols=["<sep>"],
    )
    tokenizer = Tokenizer.from_model_file(
        model, preprocessing=TextPreprocessing(), languages=LANGUAGES, folder=tmp_path
    )
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(model))
    assert tokenizer.vocab.sep == theirs.piece_to_id("<sep>")
    assert tokenizer.vocab.mask >= 50
    assert theirs.piece_to_id("<mask>") in tokenizer.encode("the <mask> dog", "en")


def test_the_symbols_of_an_albert_are_found_by_their_older_names(
    tmp_path: Path,
) -> None:
    model = foreign_model(
        tmp_path / "spiece.model",
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
    )
    vocab = Tokenizer.from_model_file(
        model, preprocessing=TextPreprocessing(), languages=LANGUAGES, folder=tmp_path
    ).vocab
    assert (vocab.pad, vocab.unk, vocab.cls, vocab.sep, vocab.mask) == (0, 1, 2, 3, 4)
    assert (vocab.bos, vocab.eos) == (vocab.cls, vocab.sep), (
        "the frame is the start and the end, as with WordPiece"
    )
    assert sorted([*vocab.languages.values(), *vocab.spare]) == list(
        range(50, vocab.size)
    )


def test_adopting_our_own_model_changes_no_id(folder: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_model_file(
        folder / "vocab.model",
        preprocessing=TextPreprocessing(),
        languages=LANGUAGES,
        folder=tmp_path,
    )
    original = Tokenizer.load(folder).vocab
    assert (
        tokenizer.vocab.special_ids,
        tokenizer.vocab.size,
        tokenizer.vocab.mask,
    ) == (
        original.special_ids,
        original.size,
        original.mask,
    )


def test_files_that_are_not_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.model").write_bytes(b"this is not a model")
    (tmp_path / "empty.model").touch()
    for name, message in (
        ("x.model", "is not a SentencePiece model"),
        ("empty.model", "has no pieces"),
        ("y.model", "No such file or directory"),
    ):
        with pytest.raises(MasscliError) as caught:
            Tokenizer.from_model_file(
                tmp_path / name,
                preprocessing=TextPreprocessing(),
                languages=LANGUAGES,
                folder=tmp_path / "out",
            )
        assert caught.value.message == f"--spm-model {tmp_path / name}: {message}"
    assert not (tmp_path / "out").exists()


def reseal(card: dict[str, Any], model: bytes) -> str:
    """Return the text of a tokenizer.json that matches its fingerprint and this model."""
    made = from_dict(
        TokenizerCard, {**card, "model_sha256": hashlib.sha256(model).hexdigest()}
    )
    if made.find_damage() is not None:
        return made.to_json()
    return replace(made, fingerprint=made.compute_fingerprint()).to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"language_ids": [7]}, "it has 2 languages, but 1 of their ids"),
        ({"mask": 10**6}, "id 1000000 is not from 0 to"),
        ({"unk": -1}, "id -1 is not from 0 to"),
        ({"pieces": 10**6, "size": 10**6}, "is of a model with 1000000"),
        ({"kind": "wordpiece"}, "is not UTF-8"),
        ({"kind": "charlm"}, "'charlm' is not a kind of model"),
        ({"kind": "bpe-codes"}, "is not made of BPE codes"),
    ],
)
def test_damage_with_a_correct_checksum_is_named(
    folder: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """masscli writes no card that contradicts itself or the model, but such a card must not cause a traceback."""
    model = (folder / "vocab.model").read_bytes()
    card = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "vocab.model").write_bytes(model)
    (tmp_path / "tokenizer.json").write_text(
        reseal(card | change, model), encoding="utf-8"
    )
    with pytest.raises(MasscliError, match=message):
        Tokenizer.load(tmp_path)


def test_an_empty_model_with_a_correct_checksum_is_named(
    folder: Path, tmp_path: Path
) -> None:
    card = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "vocab.model").touch()
    (tmp_path / "tokenizer.json").write_text(reseal(card, b""), encoding="utf-8")
    with pytest.raises(MasscliError, match=r"vocab\.model: has no pieces"):
        Tokenizer.load(tmp_path)


def test_damage_is_named(folder: Path, tmp_path: Path) -> None:
    def load(model: bytes, card: str) -> str:
        (tmp_path / "vocab.model").write_bytes(model)
        (tmp_path / "tokenizer.json").write_text(card, encoding="utf-8")
        with pytest.raises(MasscliError) as caught:
            Tokenizer.load(tmp_path)
        return caught.value.message.removeprefix(f"{tmp_path}/")

    model, card = (
        (folder / "vocab.model").read_bytes(),
        (folder / "tokenizer.json").read_text(encoding="utf-8"),
    )
    raw = json.loads(card)
    assert (
        load(model[:-1], card)
        == "vocab.model: is not the model that tokenizer.json describes"
    )
    assert load(model, card[:-20]).startswith("tokenizer.json: is damaged (")
    assert (
        load(model, json.dumps(raw | {"mask": 9}))
        == "tokenizer.json: does not match its fingerprint"
    )
    assert (
        load(model, json.dumps(raw | {"format": 99}))
        == "tokenizer.json: has format 99, this masscli reads 1"
    )
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(MasscliError, match=r"tokenizer\.json: no such file"):
        Tokenizer.load(tmp_path)


def test_normal_form_is_nfkc(tokenizer: Tokenizer) -> None:
    line = "gro\u00dfe Katze \ufb01 e\u0301"
    composed = unicodedata.normalize("NFKC", line)
    assert composed != line
    assert tokenizer.encode(line, "de") == tokenizer.encode(composed, "de")

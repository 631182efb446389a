"""Vocabularies that grow: old ids and old text stay, new text is cut by the merges that a slow oracle learns too."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from masscli.core.errors import MasscliError
from masscli.text.dictionary_model import pack_dictionary
from masscli.text.extended_model import HEADER, ExtendedModel, Extension, pack_extended
from masscli.text.model_kinds import EXTENDED, open_model
from masscli.text.moses import MARKED_TO_PLAIN
from masscli.text.piece_spelling import PieceSpelling, PieceSplitter
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.vocabulary_extension import (
    ExtensionReport,
    extend_vocabulary,
    load_to_extend,
    why_not_extended,
)
from tests.text.extensible import MAKERS, NEW, OLD, PLAIN, SPECIAL, prepared

HUNGARIAN = [
    "az öreg kutya a kertben alszik, és a macska hazamegy őszre.",
    "új iskola, új ház, új kert",
] * 3
UNSEEN = "școlile țărilor noastre învață câini și pisici, Ștefan."


@pytest.fixture(params=MAKERS, scope="module")
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, Tokenizer]:
    """A tokenizer of each kind, and the same extended by Romanian."""
    old = MAKERS[request.param](tmp_path_factory.mktemp("old"))
    return old, extended(old)[0]


def extended(
    old: Tokenizer,
    lines: Sequence[str] = NEW,
    languages: Sequence[str] = ("ro",),
    new_pieces: int = 60,
) -> tuple[Tokenizer, ExtensionReport]:
    return extend_vocabulary(old, prepared(old, lines), languages, new_pieces)


def test_old_text_and_old_ids_stay(pair: tuple[Tokenizer, Tokenizer]) -> None:
    old, new = pair
    assert why_not_extended(new, old) is None
    for language in ("en", "de"):
        # Also text of other languages under an old name, and text that is reserved.
        lines = [*OLD, *NEW, UNSEEN, "<s> <lang:ro> [MASK] ▁x", ""]
        assert new.encode_lines(lines, language) == old.encode_lines(lines, language)
        for ids in old.encode_lines(lines, language):
            assert new.decode(ids, language) == old.decode(ids, language)
    assert new.all_pieces()[: len(old.all_pieces())] == old.all_pieces()
    assert old.vocab.special_ids | {old.vocab.size} == new.vocab.special_ids
    assert new.vocab.languages == {**old.vocab.languages, "ro": old.vocab.size}
    assert new.preprocessing == old.preprocessing and new.base_kind == old.model_kind


def test_new_text_is_encoded_in_fewer_pieces_and_decoded_exactly(
    pair: tuple[Tokenizer, Tokenizer],
) -> None:
    old, new = pair
    before, after = old.encode_lines(NEW, "en"), new.encode_lines(NEW, "ro")
    assert all(new.vocab.unk not in ids for ids in after)
    # An unknown word of WordPiece is one piece, which says nothing.
    if all(old.vocab.unk not in ids for ids in before):
        assert sum(map(len, after)) < 0.8 * sum(map(len, before))
    assert max(max(ids) for ids in after) == new.vocab.size - 1
    for line, ids in zip(prepared(new), after, strict=True):
        text = new.preprocessing.undo(line, "ro")
        if new.base_kind == "wordpiece" and new.preprocessing.lowercase:
            text = text.translate(MARKED_TO_PLAIN)
        assert new.decode(ids, "ro").replace(" ", "") == text.replace(" ", "")
        # Old languages can write what was learned from the new one.
        assert new.decode(ids, "en").replace(" ", "") == text.replace(" ", "")


def test_a_saved_extension_is_the_same(
    pair: tuple[Tokenizer, Tokenizer], tmp_path: Path
) -> None:
    _, new = pair
    new.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.vocab == new.vocab
    assert loaded.encode_lines([*NEW, UNSEEN], "ro") == new.encode_lines(
        [*NEW, UNSEEN], "ro"
    )
    again = Tokenizer.from_model_file(
        tmp_path, preprocessing=PLAIN, languages=("ro", "en"), folder=tmp_path / "x"
    )
    assert again.vocab.fingerprint == new.vocab.fingerprint


def test_lines_and_words_get_the_same_pieces(pair: tuple[Tokenizer, Tokenizer]) -> None:
    """Encoding whole lines, one by one and all together, gives what the words of each line give."""
    _, new = pair
    lines = [*NEW, UNSEEN]
    assert [new.encode(line, "ro") for line in lines] == new.encode_lines(lines, "ro")
    for line in lines:
        if new.preprocessing.moses:
            continue
        words = line.split(" ")
        by_words = [number for ids in new.encode_words(words, "ro") for number in ids]
        assert by_words == new.encode(line, "ro")


def test_merges_are_those_of_a_slow_learner(pair: tuple[Tokenizer, Tokenizer]) -> None:
    """All pairs of all words are counted anew for each merge, and merges are applied one after another."""
    old, new = pair
    model = new.subword_model
    assert isinstance(model, ExtendedModel)
    spelling = PieceSpelling(model.marker)
    new_pieces = set(model.new_pieces)
    lines = [words(model, line) for line in prepared(new)]
    learned: list[tuple[str, str]] = []
    for _ in model.extensions[0].merges:
        counts: Counter[tuple[str, str]] = Counter()
        for line in lines:
            for word in line:
                counts.update(
                    pair
                    for pair in pairwise(word)
                    if spelling.joined(*pair) is not None
                )
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        assert counts[best] >= 2
        learned.append(best)
        lines = [
            [slowly_merged(word, best, spelling) for word in line] for line in lines
        ]
    assert learned == list(model.extensions[0].merges)
    # What the text has become in training is what encoding makes of it.
    for line, ids in zip(lines, new.encode_lines(NEW, "ro"), strict=True):
        assert [piece for word in line for piece in word] == [
            spelled(model)[number] for number in ids
        ]
    assert len(new_pieces) == len(model.new_pieces)
    assert new.vocab.size - old.vocab.size == 1 + 60


def words(model: ExtendedModel, line: str) -> list[list[str]]:
    """The words of a line before any merge: old pieces, and what the old model lacks cut by trying all lengths."""
    spelling = PieceSpelling(model.marker)
    merged = {spelling.joined(*pair) for pair in model.extensions[0].merges}
    known = set(model.text_ids) - merged | set(model.base.text_ids)
    splitter = PieceSplitter(spelling, known)
    result: list[list[str]] = []
    # As the tokenizer does for these kinds, word by word.
    for piece in model.base.encode_as_pieces(line):
        parts = [piece] if piece in known else splitter.split(piece)
        for part in parts:
            if not result or spelling.begins_word(result[-1][-1], part):
                result.append([])
            result[-1].append(part)
    return result


def test_long_text_of_unknown_letters_is_split_with_few_lookups() -> None:
    """As a line of Chinese, which has no spaces, for a vocabulary without Chinese."""

    class Counted(set[str]):
        lookups = 0

        def __contains__(self, piece: object) -> bool:
            self.lookups += 1
            return super().__contains__(piece)

    text = "".join(chr(0x4E00 + number) for number in range(3000))
    known = Counted({"ab", text[10:15], text[12:20]})
    pieces = PieceSplitter(PieceSpelling("▁"), known).split(text)
    assert pieces == [*text[:10], text[10:15], *text[15:]]
    assert known.lookups <= 3000 * 8


def slowly_merged(
    word: list[str], pair: tuple[str, str], spelling: PieceSpelling
) -> list[str]:
    joined = spelling.joined(*pair)
    assert joined is not None
    for place in range(len(word) - 1):
        if (word[place], word[place + 1]) == pair:
            return [
                *word[:place],
                joined,
                *slowly_merged(word[place + 2 :], pair, spelling),
            ]
    return word


def spelled(model: ExtendedModel) -> dict[int, str]:
    return {number: piece for piece, number in model.text_ids.items()}


def test_a_second_extension_does_not_change_the_first(
    pair: tuple[Tokenizer, Tokenizer],
) -> None:
    old, new = pair
    newer, _ = extended(new, HUNGARIAN, ("hu",), 40)
    assert why_not_extended(newer, new) is None and why_not_extended(newer, old) is None
    for lines, language in ((OLD, "de"), ([*NEW, *HUNGARIAN], "ro")):
        assert newer.encode_lines(lines, language) == new.encode_lines(lines, language)
    assert all(
        newer.vocab.unk not in ids for ids in newer.encode_lines(HUNGARIAN, "hu")
    )
    assert newer.vocab.languages["hu"] == new.vocab.size
    # Another extension of the first vocabulary has other pieces under the same ids.
    other, _ = extended(old, HUNGARIAN, ("hu",), 40)
    assert why_not_extended(newer, other) == "it was made from a different vocabulary"
    assert why_not_extended(old, new) == "it was not extended"


def test_parts_spell_the_piece(pair: tuple[Tokenizer, Tokenizer]) -> None:
    """The old pieces that a new one is made of spell it, except for characters that are new."""
    old, new = pair
    model = new.subword_model
    assert isinstance(model, ExtendedModel)
    spelling = PieceSpelling(model.marker)
    names = spelled(model)
    merged = {spelling.joined(*pair) for pair in model.extensions[0].merges}
    new_letters = {
        spelling.text(piece) for piece in model.new_pieces if piece not in merged
    }
    for number in range(old.vocab.size + 1, new.vocab.size):
        parts = model.parts(number, old.vocab.size)
        assert all(part < old.vocab.size for part in parts)
        rest = "".join(spelling.text(names[part]) for part in parts)
        for letter in spelling.text(names[number]):
            if rest.startswith(letter):
                rest = rest[1:]
            else:
                assert letter in new_letters
        assert not rest


def test_only_a_language_can_be_added(tmp_path: Path) -> None:
    old = MAKERS["trained"](tmp_path)
    new, report = extended(old, languages=("ro", "hu"), new_pieces=0)
    assert (report.characters, report.merged_pieces) == (0, 0)
    assert new.vocab.size == old.vocab.size + 2
    assert new.encode_lines(NEW, "ro") == old.encode_lines(NEW, "en")


def test_fewer_pieces_than_asked_for_and_rare_characters(tmp_path: Path) -> None:
    old = MAKERS["trained"](tmp_path)
    lines = ["ș ș ș ș ș ș ș ș ș ț"]
    new, report = extend_vocabulary(old, lines, ("ro",), 50)
    # "▁ș" is all that occurs twice.
    assert (report.characters, report.merged_pieces) == (2, 1)
    assert [new.ids_to_pieces(ids) for ids in new.encode_lines(["ș ț"], "ro")] == [
        ["▁ș", "▁", "ț"]
    ]
    new, report = extend_vocabulary(old, lines, ("ro",), 50, character_coverage=0.9)
    assert report.characters == 1 and new.vocab.unk in new.encode("ț", "ro")
    with pytest.raises(MasscliError) as error:
        extend_vocabulary(old, lines, ("ro",), 1)
    assert (
        error.value.message
        == "--new-pieces 1 is too small: 2 characters are not in the vocabulary"
    )
    assert (
        error.value.hint
        == "give at least 2, or a lower --character-coverage such as 0.9995"
    )


def test_romanian_letters_may_be_prepared_where_romanian_is_new(tmp_path: Path) -> None:
    old = MAKERS["trained"](tmp_path)
    load_to_extend(tmp_path, TextPreprocessing(romanian="commas"), ("ro",))
    new, _ = extend_vocabulary(old, NEW, ("ro",), 60, romanian="commas")
    assert new.encode("ştiinţă", "ro") == new.encode("știință", "ro")
    assert why_not_extended(new, old) is None


@pytest.mark.parametrize(
    ("preprocessing", "languages", "message"),
    [
        (PLAIN, ("de", "en"), "--extend {path}: its vocabulary has de, en already"),
        (
            TextPreprocessing(lowercase=True),
            ("ro",),
            "--lowercase: differs from the preprocessing of the vocabulary of --extend {path}",
        ),
    ],
)
def test_refused(
    preprocessing: TextPreprocessing,
    languages: tuple[str, ...],
    message: str,
    tmp_path: Path,
) -> None:
    MAKERS["trained"](tmp_path)
    with pytest.raises(MasscliError) as error:
        load_to_extend(tmp_path, preprocessing, languages)
    assert error.value.message == message.format(path=tmp_path) and error.value.hint


def test_vocabularies_that_cannot_be_extended(tmp_path: Path) -> None:
    from masscli.text.gpt_bpe import pack_gpt_bpe
    from masscli.text.two_vocabularies import pack_two_vocabularies

    words = pack_dictionary([*SPECIAL, "house"], SPECIAL)
    found = {
        "is a dictionary of whole words, without merges": words,
        "is of the kind gpt-bpe": pack_gpt_bpe([*SPECIAL, "a</w>"], [], SPECIAL),
        "is of the kind two-vocabularies": pack_two_vocabularies(
            ("en", words), ("de", words)
        ),
    }
    for obstacle, data in found.items():
        Tokenizer.from_bytes(Path("x"), data, PLAIN, ("en", "de")).save(tmp_path)
        with pytest.raises(MasscliError) as error:
            load_to_extend(tmp_path, PLAIN, ("ro",))
        assert (
            error.value.message
            == f"--extend {tmp_path}: its vocabulary {obstacle}, and cannot be extended"
        )
    MAKERS["numbered"](tmp_path).save(tmp_path / "tags")
    Tokenizer.load(tmp_path / "tags").with_card_fields(languages=("en", "fr")).save(
        tmp_path / "tags"
    )
    with pytest.raises(MasscliError) as error:
        load_to_extend(tmp_path / "tags", PLAIN, ("de",))
    assert "has the tag de_DE for de already" in error.value.message
    for path, message in (
        (tmp_path / "none", "no such folder"),
        (tmp_path / "vocab.model", "has no vocabulary with"),
    ):
        with pytest.raises(MasscliError) as error:
            load_to_extend(path, PLAIN, ("ro",))
        assert error.value.message.startswith(f"--extend {path}: {message}")


def test_the_first_occurrence_of_a_merge_counts() -> None:
    """Two merges may have one result, whose merge with the next piece can then become frequent again."""
    base = pack_dictionary(
        [*SPECIAL, *"abcde", *(f"{letter}@@" for letter in "abcde")], SPECIAL, ["x y"]
    )
    merges = (("c@@", "d@@"), ("d@@", "e"), ("c@@", "d@@"))
    special = {**SPECIAL, "<lang:ro>": 15}
    data = pack_extended(
        base, special, ["<lang:ro>", "cd@@", "de"], [Extension(("ro",), merges, 18)]
    )
    model = open_model(data, EXTENDED, PLAIN)
    assert isinstance(model, ExtendedModel)
    side = model.sides["ro"]
    assert side.id_to_piece(side.encode(["acde"])[0]) == ["a@@", "cd@@", "e"]


def test_damaged_extensions_are_refused(tmp_path: Path) -> None:
    new, _ = extended(MAKERS["trained"](tmp_path))
    data = new.model_bytes
    assert isinstance(new.subword_model, ExtendedModel)
    known = new.subword_model.text_ids
    # A way to cut a new piece that leaves a part which is no piece.
    first, second = next(
        (piece[:place], piece[place:])
        for piece in new.subword_model.new_pieces
        for place in range(1, len(piece))
        if piece in known and piece[:place] not in known
    )
    for broken in (
        HEADER,
        HEADER + b"[]",
        data.replace(b'"<unk>":3,', b""),
        data.replace(b'"<unk>":3', b'"<unk>":99999'),
        data.replace(b'"size":', b'"size":9'),
        data.replace(b'"merges":[["', b'"merges":[["q","x"],["'),
        data.replace(b'"merges":[["', f'"merges":[["{first}","{second}"],["'.encode()),
        data.replace(b'"merges":[["', f'"merges":[["","{first + second}"],["'.encode()),
        data.replace(b'"languages":["ro"]', b'"languages":[1]'),
        data.replace(b'"base":"', b'"base":"?'),
    ):
        assert broken != data
        with pytest.raises(
            MasscliError,
            match="is a damaged vocabulary of the kind extended-vocabulary",
        ):
            Tokenizer.from_bytes(Path("x"), broken, PLAIN, ("en", "ro"))


@pytest.mark.skipif(
    "MASSCLI_DATA" not in os.environ, reason="MASSCLI_DATA names no folder of corpora"
)
def test_old_real_text_is_cut_as_before(tmp_path: Path) -> None:
    """All of Multi30k in English and German has the same ids before and after Romanian is added; Romanian text has
    fewer pieces."""
    corpora = Path(os.environ["MASSCLI_DATA"])
    lines = {}
    for language in ("en", "de"):
        lines[language] = (
            (corpora / f"multi30k/train.{language}").read_text("utf-8").split("\n")
        )
    romanian = (corpora / "rosts/train.ro").read_text("utf-8").split("\n")
    old = Tokenizer.train(
        iter([*lines["en"][:4000], *lines["de"][:4000]]),
        vocab_size=2000,
        preprocessing=PLAIN,
        languages=("en", "de"),
        folder=tmp_path,
    )
    new, report = extend_vocabulary(old, romanian, ("ro",), 500)
    for language, text in lines.items():
        assert new.encode_lines(text, language) == old.encode_lines(text, language)
    assert report.pieces_per_word_after < 0.75 * report.pieces_per_word_before
    assert all(new.vocab.unk not in ids for ids in new.encode_lines(romanian, "ro"))

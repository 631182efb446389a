"""Words of one language in the text of another, and dictionaries out of token tables."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from masscli.__main__ import run as masscli
from masscli.core.errors import MasscliError
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon import from_embeddings as of_table
from masscli.lexicon import from_pairs
from masscli.lexicon.cooccurrence import reduce_information
from masscli.lexicon.csls import csls
from masscli.lexicon.dictionary import WordPair, read_dictionary, unusable_entries
from masscli.lexicon.from_text import InducedDictionary
from masscli.lexicon.model1 import ROUNDS, model1
from masscli.lexicon.spelling import spelling_similarity
from masscli.models.config import ModelConfig
from masscli.objectives.causal_lm.bert_lm import BertLM
from masscli.objectives.causal_lm.options import BertLMOptions
from masscli.objectives.denoise.objective import Denoise
from masscli.objectives.denoise.options import DenoiseOptions
from masscli.objectives.masked_lm.mlm import MaskedLM
from masscli.objectives.masked_lm.options import MaskedLMOptions, TranslationLMOptions
from masscli.objectives.masked_lm.tlm import TranslationLM
from masscli.objectives.mass.objective import Mass
from masscli.objectives.mass.options import MassOptions
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.shared.code_switching import CodeSwitcher
from masscli.objectives.shared.options import CodeSwitchingOptions
from masscli.training.setup.build import build
from tests.cipher import ANCHORS, Cipher
from tests.commands import refusal, succeed
from tests.toy import WORDS, make_data, recipe
from tests.training.test_trainer import train

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """The toy language with a vocabulary in which every word is a piece."""
    return DataFolder.open(make_data(tmp_path_factory.mktemp("words"), 130))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "en-de.txt"
    found.write_text(
        "".join(
            f"{a}\t{b}\t0.5\n" for a, b in zip(WORDS["en"], WORDS["de"], strict=True)
        ),
        encoding="utf-8",
    )
    return found


def words(data: DataFolder, ids: np.ndarray) -> list[str]:
    return data.tokenizer().decode(ids.tolist(), "en").split()


def test_words_become_their_translations(data: DataFolder, path: Path) -> None:
    always, never, often = (
        CodeSwitcher(read_dictionary(path, data), share) for share in (1.0, 0.0, 0.3)
    )
    line = data.monolingual("train", "en")[0]
    there = always(line, np.random.default_rng(1))
    assert words(data, there) == [
        WORDS["de"][WORDS["en"].index(word)] for word in words(data, line)
    ]
    assert always(there, np.random.default_rng(1)).tolist() == line.tolist()
    assert never(line, np.random.default_rng(1)).tolist() == line.tolist()
    many = np.tile(line, 500)
    share = (often(many, np.random.default_rng(1)) != many).mean()
    assert share == pytest.approx(0.3, abs=4 * (0.21 / len(many)) ** 0.5)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        (DenoiseOptions(word_shuffle=0, word_dropout=0, word_blank=0), Denoise, "en"), (MassOptions(random_share=0.0), Mass, "en"),
        (MaskedLMOptions(random_token_prob=0.0), MaskedLM, "en"), (BertLMOptions(random_token_prob=0.0), BertLM, "en"),
        (TranslationLMOptions(random_token_prob=0.0), TranslationLM, "en-de"),
    ],
    ids=lambda value: value.name if isinstance(value, CodeSwitchingOptions) else "",
)  # fmt: skip
def test_only_the_encoder_reads_switched_words(
    options: CodeSwitchingOptions, kind: type, text: str, data: DataFolder, path: Path
) -> None:
    """The input of the decoder and the targets are unchanged."""
    frame = Framing(data.vocab, False, False, ("en", "de"))
    batches = []
    for given in (options, replace(options, switch_dictionary=path, switch_share=1.0)):
        made = kind(given, ObjectiveContext(frame, ModelConfig(), text))
        batches.append(
            BatchBuilder("s", *made.dataset(data, "train"), 1)(np.arange(8), 0)
        )
    plain, switched = batches
    assert all(
        torch.equal(labels.ids, switched.labels[term].ids)
        for term, labels in plain.labels.items()
    )
    assert (plain.target is None) == (switched.target is None)
    if plain.target is not None and switched.target is not None:
        assert torch.equal(plain.target.ids, switched.target.ids)
    foreign = {
        data.tokenizer().encode(word, "de")[0]
        for language in ("de", "en")[: len(text) // 2]
        for word in WORDS[language]
    }
    changed = plain.source.ids != switched.source.ids
    assert changed.any() and set(switched.source.ids[changed].tolist()) <= foreign
    known = set(read_dictionary(path, data))
    assert not known & set(
        switched.source.ids[~changed].tolist()
    )  # each word that could be exchanged was


def test_phrases_between_tabs_are_no_pairs_of_their_words(
    data: DataFolder, tmp_path: Path
) -> None:
    """The first two words of `in front of<TAB>devant` do not translate each other."""
    path = tmp_path / "x"
    (first, second), (third, fourth) = WORDS["en"][:2], WORDS["de"][:2]
    path.write_text(f"{first}\t{third}\n", encoding="utf-8")
    expected = read_dictionary(path, data)
    path.write_text(
        f"{first}\t {third}\t0.9\n{first} {second}\t{fourth}\n{second}\t{third} {fourth}\n",
        encoding="utf-8",
    )
    found = read_dictionary(path, data)
    assert {piece: list(others) for piece, others in found.items()} == {
        piece: list(others) for piece, others in expected.items()
    }
    assert unusable_entries(path, data) == (
        f"{path}: 2 of its 3 pairs have a word that is not one piece of the vocabulary, and are not used"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog\n", "{path}:1: expected two words, got 'dog'"),
        ("a dog\t\n", "{path}:1: expected two words, got 'a dog'"),
        (
            "qqq zzz\n",
            "{path}: none of its 1 pairs are pieces of the vocabulary of {data}",
        ),
    ],
)
def test_files_that_are_not_dictionaries_are_refused(
    text: str, message: str, data: DataFolder, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MasscliError) as error:
        read_dictionary(path, data)
    assert error.value.message == message.format(path=path, data=data.folder)


def test_pairs_that_cannot_be_exchanged_are_counted(
    data: DataFolder, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_text(
        "".join(f"{a} {b}\n" for a, b in zip(WORDS["en"], WORDS["de"], strict=True)),
        encoding="utf-8",
    )
    assert unusable_entries(path, data) is None
    path.write_text(
        path.read_text(encoding="utf-8") + "qqq zzz\n" + f"{WORDS['en'][0]} zzz\n\n",
        encoding="utf-8",
    )
    count = len(WORDS["en"]) + 2
    assert (
        unusable_entries(path, data)
        == f"{path}: 2 of its {count} pairs have a word that is not one piece of the vocabulary, and are not used"
    )


def test_aligned_tables_give_the_dictionary_and_random_ones_do_not(
    data: DataFolder,
) -> None:
    torch.manual_seed(1)
    table = torch.randn(data.vocab.size, 24)
    tokenizer = data.tokenizer()
    random = {
        (a, b)
        for a, b, _ in of_table.induce(
            {"token_embeddings.shared": table}, data, ("en", "de"), 100, 1
        )
    }
    truth = set(zip(WORDS["en"], WORDS["de"], strict=True))
    assert len(random & truth) < 6
    for a, b in truth:
        table[tokenizer.encode(b, "de")[0]] = (
            table[tokenizer.encode(a, "en")[0]] + 0.3 * torch.randn(24) + 2
        )  # a language stands apart
    found = of_table.induce(
        {"token_embeddings.shared": table}, data, ("en", "de"), 100, 1
    )
    assert {(a, b) for a, b, _ in found} == truth
    assert [score for *_, score in found] == sorted(
        (score for *_, score in found), reverse=True
    )


def test_the_command_and_a_run_with_what_it_makes(
    data: DataFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, streams = (
        tmp_path / "made.txt",
        {"mass": {"dataset": "en", "objective": {"name": "mass"}}},
    )
    train(recipe(data.folder, tmp_path / "run", "train.max_update=1", streams=streams))
    succeed(f"dictionary {tmp_path}/run --langs en,de --output {made} --min-count 1")
    lines = made.read_text(encoding="utf-8").split("\n")[:-1]
    assert capsys.readouterr().err == (
        f"warning: {tmp_path / 'run'}: was never trained on text of de\n"
        f"{made}: {len(lines)} pairs of words\n"
    )
    assert all(len(line.split("\t")) == 3 for line in lines)
    streams["mass"]["objective"] = {"name": "mass", "switch_dictionary": str(made)}
    trainer, _ = build(
        recipe(data.folder, tmp_path / "next", "train.max_update=1", streams=streams)
    )
    assert len(list(trainer.run())) > 1
    assert masscli(["dictionary", str(tmp_path / "run"), "--langs", "en"]) == 2
    assert (
        capsys.readouterr().err
        == "error: --langs: expected two languages, such as en,fr, got en\nhint: masscli dictionary --help\n"
    )


def em(
    given: list[list[int]], written: list[list[int]]
) -> dict[tuple[int, int], float]:
    """Model 1 as section 4.2 of Brown et al. (1993) tells it, a token at a time; -1 is NULL."""
    t = {
        (e, f): 1.0
        for source, target in zip(given, written, strict=True)
        for e in [-1, *source]
        for f in target
    }
    for _ in range(ROUNDS):
        count: dict[tuple[int, int], float] = defaultdict(float)
        for source, target in zip(given, written, strict=True):
            for f in target:
                total = sum(t[e, f] for e in [-1, *source])
                for e in [-1, *source]:
                    count[e, f] += t[e, f] / total
        sums: dict[int, float] = defaultdict(float)
        for (e, _f), value in count.items():
            sums[e] += value
        t = {(e, f): value / sums[e] for (e, f), value in count.items()}
    return {pair: value for pair, value in t.items() if pair[0] >= 0}


def test_model_1_is_that_of_its_paper() -> None:
    rng = np.random.default_rng(1)
    given = [rng.integers(0, 6, rng.integers(1, 5)).tolist() for _ in range(12)]
    written = [rng.integers(0, 5, rng.integers(1, 5)).tolist() for _ in range(12)]
    assert model1(given, written) == pytest.approx(em(given, written))
    assert model1([[], [3]], [[], []]) == {}


def written_pairs(path: Path) -> list[tuple[str, str]]:
    """The pairs of words of a dictionary file, whose third column is a score."""
    pairs = []
    for line in path.read_text(encoding="utf-8").splitlines():
        first, second, *_ = line.split("\t")
        pairs.append((first, second))
    return pairs


def without_scores(
    dictionary: Iterable[tuple[str, str, float]],
) -> list[tuple[str, str]]:
    return [(first, second) for first, second, _ in dictionary]


def test_pairs_give_the_dictionary(data: DataFolder) -> None:
    truth = set(zip(WORDS["en"], WORDS["de"], strict=True))
    found = from_pairs.induce(data, ("en", "de"), 2)
    assert set(without_scores(found)) == truth
    assert all(score > 0.9 for *_, score in found)
    backward = from_pairs.induce(data, ("de", "en"), 2)
    assert {(b, a) for a, b in without_scores(backward)} == truth
    assert 0 < len(from_pairs.induce(data, ("en", "de"), 2, 6)) < len(truth)


def test_the_command_writes_the_dictionary_of_pairs(
    data: DataFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = from_pairs.induce(data, ("en", "de"), 2, 6)
    path = tmp_path / "made.txt"
    command = f"dictionary {data.folder} --langs en,de --output {path}"
    succeed(f"{command} --limit 6")
    summary = f"{path}: {len(few)} pairs of words, from 6 pairs of 240\n"
    assert capsys.readouterr().err == summary
    assert written_pairs(path) == without_scores(few)
    succeed(f"{command} --max-words 50 --dim 8")
    assert capsys.readouterr().err.splitlines()[:-1] == [
        "warning: --max-words has no effect: with pairs all words are considered",
        "warning: --dim has no effect: it is the width of --vectors",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "en,de --min-count 10000",
            "no words of en and de were found to mean the same",
        ),
        ("en,fr --from pairs", "has no pairs en-fr in its split train"),
        (
            "en,de --vectors v",
            "error: --vectors: would have no effect: a dictionary from pairs has none",
        ),
        ("en,de --data x", "error: --data: would have no effect: {} is a data folder"),
        ("en,de --from model", "error: --from model: {} is a data folder"),
        ("en,de --from text", "en and de spell 0 words alike, too few to begin with"),
        (
            "en,de --from text --min-count 9999",
            "has 0 words of en that occur 9999 times",
        ),
        ("en,fr", "has no language 'fr'"),
    ],
)
def test_options_that_a_data_folder_cannot_serve_are_refused(
    options: str,
    message: str,
    data: DataFolder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = f"dictionary {data.folder} --langs {options}"
    lines = refusal(capsys, *command.split())
    assert message.format(data.folder) in "\n".join(lines)


def test_a_folder_without_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"dictionary {tmp_path} --langs en,de --from text"
    lines = refusal(capsys, *command.split())
    assert f"error: --from text: {tmp_path} is not a data folder" in lines[0]


def test_an_unreliable_dictionary_causes_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The languages share anchors and nothing else, since other words are drawn at random."""
    rng = random.Random(1)
    for language in ("aa", "bb"):
        words = [
            *(f"{language}{b}{c}" for b in "abcdefghijkl" for c in "abcdefghijkl"),
            *(f"name{c}" for c in "abcdefghijkl"),
        ]
        (tmp_path / f"mono.{language}").write_text(
            "".join(" ".join(rng.choices(words, k=8)) + "\n" for _ in range(600)),
            encoding="utf-8",
        )
    mono = [
        arg
        for language in ("aa", "bb")
        for arg in ("--mono", f"{language}={tmp_path / f'mono.{language}'}")
    ]
    for options, advice in ((["--moses", "--lowercase"], False), ([], True)):
        folder = str(tmp_path / f"data{advice}")
        succeed(
            [
                "preprocess",
                "--langs",
                "aa,bb",
                *mono,
                "--vocab-size",
                "300",
                *options,
                "--destdir",
                folder,
            ]
        )
        capsys.readouterr()
        succeed(f"dictionary {folder} --langs aa,bb --output {tmp_path}/made.txt")
        warned = capsys.readouterr().err
        assert (
            "% only: the texts are too small or too different; do not trust this dictionary"
            in warned
        )
        assert ("hint: preprocess with --moses --lowercase" in warned) == advice


def test_low_agreement_of_the_votes_causes_a_warning(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Halves agree on 25% where 3% of the pairs are right, and on 57% where a third is."""
    options = ["--langs", "en,de", "--from", "text", "-o", str(tmp_path / "made")]
    for share, is_doubted in ((0.25, True), (0.399, True), (0.4, False), (0.57, False)):
        induced = InducedDictionary(
            [WordPair("a", "b", 1.0)], share, [[], []], (torch.zeros(0), torch.zeros(0))
        )
        monkeypatch.setattr(
            "masscli.lexicon.from_text.induce", lambda *_, made=induced: made
        )
        succeed(["dictionary", str(toy), *options])
        assert ("do not trust this" in capsys.readouterr().err) == is_doubted


Vectors = dict[str, NDArray[np.float64]]


def read_unit_vectors(path: Path, width: int) -> Vectors:
    """Read a file of --vectors, whose first line says how many words and columns it has; scale to length 1."""
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    assert head == f"{len(rows)} {width}"
    vectors = {}
    for row in rows:
        word, *values = row.split(" ")
        vector = np.array(values, float)
        vectors[word] = vector / np.linalg.norm(vector)
    return vectors


def nearest_words(first: Vectors, second: Vectors) -> set[tuple[str, str]]:
    """Each word of the first language with that of the second whose vector has the largest cosine."""
    words, table = list(second), np.stack(list(second.values()))
    return {
        (word, words[int((table @ vector).argmax())]) for word, vector in first.items()
    }


def test_text_alone_gives_the_dictionary_of_a_cipher(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines of the two languages differ; words are reordered, and only anchors are spelled alike."""
    cipher = Cipher(90, 30)
    cipher.write(tmp_path, 4000, 10)
    mono = f"--mono aa={tmp_path}/mono.aa --mono bb={tmp_path}/mono.bb"
    folder, path = tmp_path / "data", tmp_path / "made.txt"
    succeed(f"preprocess --langs aa,bb {mono} --vocab-size 540 --destdir {folder}")
    capsys.readouterr()
    succeed(
        f"dictionary {folder} --langs aa,bb --output {path} --vectors {tmp_path}/vec --dim 48"
    )
    share = re.search(
        r"pairs of words, from text; (\d+)% of the common ones are found by both halves of the vote\n$",
        capsys.readouterr().err,
    )
    assert share is not None and int(share[1]) > 75
    found = set(written_pairs(path))
    truth = set()
    for first, second in zip(cipher.words("aa"), cipher.words("bb"), strict=True):
        if first not in ANCHORS:
            truth.add((first, second))
    assert len(found & truth) > 0.75 * max(len(truth), len(found))
    # The vectors of both languages are in one space.
    near = nearest_words(
        read_unit_vectors(tmp_path / "vec.aa", 48),
        read_unit_vectors(tmp_path / "vec.bb", 48),
    )
    assert len(near & truth) > 0.6 * len(truth)
    vectors = f"--init-vectors aa={tmp_path}/vec.aa --init-vectors bb={tmp_path}/vec.bb"
    succeed(
        f"pretrain {folder} --objective mass {vectors} --save-dir {tmp_path}/run --dim 48 --heads 4 "
        "--encoder-layers 1 --decoder-layers 1 --max-update 1 --num-workers 0"
    )
    assert f"{tmp_path / 'vec.bb'}: vectors for " in capsys.readouterr().err


def test_the_random_state_of_the_calling_program_is_unchanged() -> None:
    information = torch.rand(40, 30, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    first, drawn = reduce_information(information), torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    assert torch.equal(first, reduce_information(information))


def test_csls_prefers_what_is_near_to_little_else() -> None:
    a, b = (
        torch.tensor([[1.0, 0.0], [0.8, 0.6]]),
        torch.tensor([[0.8, 0.6], [0.0, 1.0]]),
    )
    cosine = a @ b.T
    expected = [
        [
            2 * float(cosine[i, j])
            - float(cosine[i].mean())
            - float(cosine[:, j].mean())
            for j in range(2)
        ]
        for i in range(2)
    ]
    assert csls(a, b).tolist() == [pytest.approx(row) for row in expected]


def test_similarly_spelled_words_are_matched() -> None:
    """Counts by hand: <abcd> has 5 pairs and 4 triples; <abce> shares <a, ab, bc, <ab, abc with it."""
    found = spelling_similarity(
        ["abcd", "securit\u0103\u021bi", "and", "1999"],
        ["abce", "abcd", "securitati", "zzzz", "and", "1999"],
    )
    assert found[0].tolist() == pytest.approx([5 / 9 - 0.3, 1 - 0.3, 0, 0, 0, 0])
    assert found[1].tolist() == pytest.approx(
        [0, 0, 0.7, 0, 0, 0]
    )  # accents do not count
    assert not found[
        2:
    ].any()  # short words are false friends, and numbers are anchors already
    assert spelling_similarity(
        ["word"], ["\u0441\u043b\u043e\u0432\u043e"]
    ).tolist() == [[0.0]]  # another script


def test_wordpiece_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##c", ""]),
        encoding="utf-8",
    )
    for language in ("en", "de"):
        (tmp_path / f"train.{language}").write_text("a b\nac b\n", encoding="utf-8")
    folder = str(tmp_path / "data")
    succeed(["preprocess", "--langs", "en,de", "--trainpref", str(tmp_path / "train"), "--spm-model", str(tmp_path / "vocab.txt"),
                    "--destdir", folder])  # fmt: skip
    capsys.readouterr()
    for origin in ("pairs", "text"):
        assert (
            masscli(["dictionary", folder, "--langs", "en,de", "--from", origin]) == 2
        )
        assert capsys.readouterr().err == (f"error: {folder}: its vocabulary does not mark where words begin\n"
                                           "hint: dictionaries need a SentencePiece vocabulary\n")  # fmt: skip


def test_sides_of_unequal_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Vectors have one width even where a language has few words; the folder of the output must exist."""
    Cipher(90, 30).write(tmp_path, 3000, 10)
    few = "".join(
        (tmp_path / "mono.bb")
        .read_text(encoding="utf-8")
        .splitlines(keepends=True)[:60]
    )
    (tmp_path / "mono.bb").write_text(few, encoding="utf-8")
    mono = [
        arg
        for language in ("aa", "bb")
        for arg in ("--mono", f"{language}={tmp_path / f'mono.{language}'}")
    ]
    folder = tmp_path / "data"
    succeed(
        [
            "preprocess",
            "--langs",
            "aa,bb",
            *mono,
            "--vocab-size",
            "400",
            "--destdir",
            str(folder),
        ]
    )
    succeed(
        f"dictionary {folder} --langs aa,bb --min-count 2 --output {tmp_path}/made.txt"
    )
    for place, said in (
        (tmp_path, "is a folder"),
        (tmp_path / "nowhere/made.txt", "its folder does not exist"),
    ):
        capsys.readouterr()
        assert (
            masscli(
                ["dictionary", str(folder), "--langs", "aa,bb", "--output", str(place)]
            )
            == 2
        )
        assert (
            capsys.readouterr().err
            == f"error: --output {place}: {said}\nhint: name a file\n"
        )

"""Input kinds find the datasets that a command asks for, check them, and count their examples."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from masscli.core.errors import MasscliError
from masscli.objectives.input_kinds import (
    BACK_TRANSLATION,
    PAIRS,
    SENTENCES,
    TABLE,
    InputKind,
)
from masscli.objectives.stream_selection import StreamSelection

DATA: Any = SimpleNamespace(
    folder="data-bin",
    languages=("en", "de", "ro"),
    pairs=("en-de",),
    table_formats={"one": "tsv", "words": "conll"},
    monolingual=lambda split, language: range({"en": 5, "de": 4, "ro": 3}[language]),
    pair=lambda split, source, target: (range(2), range(2)),
    table=lambda name, split: range(7),
)
OBJECTIVE: Any = SimpleNamespace(name="task", formats=("tsv", "jsonl"))


@pytest.mark.parametrize(
    ("kind", "flags", "datasets"),
    [
        (SENTENCES, StreamSelection(), ["en", "de", "ro"]),
        (SENTENCES, StreamSelection(langs=("de",)), ["de"]),
        (PAIRS, StreamSelection(), ["en-de"]),
        (PAIRS, StreamSelection(source_lang="de"), ["de-en"]),
        (PAIRS, StreamSelection(langs=("ro", "en")), ["ro-en"]),
        (PAIRS, StreamSelection(pairs=("en-de", "de-en")), ["en-de", "de-en"]),
        (BACK_TRANSLATION, StreamSelection(langs=("en", "de")), ["en-de", "de-en"]),
        (
            BACK_TRANSLATION,
            StreamSelection(source_lang="ro", target_lang="en"),
            ["ro-en"],
        ),
        (BACK_TRANSLATION, StreamSelection(source_lang="ro"), ["ro-en", "ro-de"]),
        (
            BACK_TRANSLATION,
            StreamSelection(langs=("en", "de"), target_lang="en"),
            ["de-en"],
        ),
        (TABLE, StreamSelection(), ["one"]),
        (TABLE, StreamSelection(table=("two",)), ["two"]),
    ],
)
def test_flags_select_datasets(
    kind: InputKind, flags: StreamSelection, datasets: list[str]
) -> None:
    assert kind.select_datasets(OBJECTIVE, flags, DATA) == datasets


def test_back_translation_from_a_missing_language_is_refused() -> None:
    with pytest.raises(MasscliError) as error:
        BACK_TRANSLATION.select_datasets(
            OBJECTIVE, StreamSelection(source_lang="fr"), DATA
        )
    assert error.value.message == (
        "no direction between en, de, ro has the language fr of -s or -t"
    )


@pytest.mark.parametrize("kind", [SENTENCES, PAIRS, BACK_TRANSLATION])
def test_only_tasks_on_tables_take_a_table(kind: InputKind) -> None:
    with pytest.raises(
        MasscliError, match=r"^--table: task does not learn from labeled examples$"
    ):
        kind.select_datasets(OBJECTIVE, StreamSelection(table=("one",)), DATA)


@pytest.mark.parametrize(
    ("kind", "separate", "datasets"),
    [
        (SENTENCES, False, ["de", "en"]),
        (PAIRS, False, ["de-en"]),
        (BACK_TRANSLATION, False, ["de-en", "en-de"]),
    ],
)
def test_auxiliary_streams_have_the_languages_of_the_main_ones(
    kind: InputKind, separate: bool, datasets: list[str]
) -> None:
    assert kind.auxiliary_datasets("other", ["de-en"], DATA, separate) == datasets


def test_pairs_of_a_separate_folder_are_learned_in_one_direction() -> None:
    """The other side of a pair may be synthetic in such a folder."""
    assert PAIRS.auxiliary_datasets("translate", ["en-de", "de-en"], DATA, True) == [
        "en-de"
    ]
    with pytest.raises(MasscliError, match="has no pairs of de, en"):
        PAIRS.auxiliary_datasets("translate", ["de-en"], DATA, True)
    # A model that learns a new language keeps the old pairs, which the command names only by their folder.
    assert PAIRS.auxiliary_datasets("translate", ["en-ro"], DATA, True) == ["en-de"]
    with pytest.raises(MasscliError, match="has no pairs of en, ro"):
        PAIRS.auxiliary_datasets("translate", ["en-ro"], DATA, False)


@pytest.mark.parametrize(
    ("kind", "dataset", "count"),
    [
        (SENTENCES, "de", 4),
        (PAIRS, "en-de", 2),
        (BACK_TRANSLATION, "en-ro", 3),
        (TABLE, "one", 7),
    ],
)
def test_examples_are_counted(kind: InputKind, dataset: str, count: int) -> None:
    kind.check("stream", dataset, OBJECTIVE, DATA)
    assert kind.num_training_examples(dataset, DATA) == count


@pytest.mark.parametrize(
    ("kind", "dataset", "message"),
    [
        (SENTENCES, "en-de", "stream s: 'en-de' is not a language"),
        (SENTENCES, "fr", "data-bin: has no language 'fr'"),
        (PAIRS, "en", "stream s: 'en' is not a direction such as en-de"),
        (PAIRS, "en-ro", "data-bin: has no pair en-ro"),
        (BACK_TRANSLATION, "de-de", "stream s: de-de goes from a language to itself"),
        (TABLE, "two", "data-bin: has no table 'two'"),
        (TABLE, "words", "stream s: task does not read conll"),
    ],
)
def test_datasets_that_do_not_fit_are_refused(
    kind: InputKind, dataset: str, message: str
) -> None:
    with pytest.raises(MasscliError) as refused:
        kind.check("s", dataset, OBJECTIVE, DATA)
    assert refused.value.message == message


def test_a_folder_without_pairs_says_where_pairs_come_from() -> None:
    tables_only: Any = SimpleNamespace(
        folder="data-bin", languages=("en", "de"), pairs=(), table_formats={}
    )
    with pytest.raises(MasscliError) as unclear:
        PAIRS.select_datasets(OBJECTIVE, StreamSelection(), tables_only)
    with pytest.raises(MasscliError) as missing:
        PAIRS.check("s", "en-de", OBJECTIVE, tables_only)
    for error in (unclear, missing):
        assert "--trainpref PREFIX reads line n of PREFIX.en" in str(error.value.hint)

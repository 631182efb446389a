"""The kinds of input that an objective can learn from: sentences, pairs, back-translation and tables.

A stream of a run names a dataset in the data folder. The objective's input kind determines what such a
name means: a language (`en`), a direction (`en-de`), or a table of labeled examples. An input kind
finds the datasets that a command line asks for, checks that they exist, and counts their examples. This
module does not import torch, so that --help is fast.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING, ClassVar

from masscli.core.errors import MasscliError
from masscli.objectives.stream_selection import StreamSelection

if TYPE_CHECKING:
    from masscli.data.storage.data_folder import DataFolder
    from masscli.objectives.registry import ObjectiveConfig


class InputKind(ABC):
    """The kind of input that an objective reads from a training stream, and how its datasets are found."""

    has_direction: ClassVar[bool] = False
    """Whether a dataset is a direction such as `en-de`, so that the objective trains translation between its
    languages."""
    is_table: ClassVar[bool] = False
    """Whether a dataset is a table of labeled examples."""
    makes_sources: ClassVar[bool] = False
    """Whether the model itself makes the source of each example, by translating the target."""
    sampled_by_size: ClassVar[bool] = True
    """Whether streams with more examples are sampled more often (see --lang-temperature); otherwise all are
    sampled equally often."""

    @abstractmethod
    def select_datasets(
        self, objective: ObjectiveConfig, flags: StreamSelection, data: DataFolder
    ) -> list[str]:
        """Return the names of the datasets that `flags` choose for the main training streams of a run.

        Raises MasscliError if a flag does not fit this kind of input, or if the flags leave open which
        datasets are meant.
        """

    @abstractmethod
    def auxiliary_datasets(
        self,
        objective: str,
        datasets: Sequence[str],
        data: DataFolder,
        separate_folder: bool,
    ) -> list[str]:
        """Return the names of the datasets that the streams of `--auxiliary OBJECTIVE` read.

        `datasets` are the datasets of the main training streams, whose languages the result is limited to.
        `separate_folder` says whether `data` is another folder than that of the run. Raises MasscliError if
        pairs are needed and `data` has none that fit.
        """

    @abstractmethod
    def check(
        self, stream: str, dataset: str, objective: ObjectiveConfig, data: DataFolder
    ) -> None:
        """Raise MasscliError if the data folder does not have `dataset`, or if the objective cannot read it.

        `stream` is the name of the training stream, for the error.
        """

    @abstractmethod
    def num_training_examples(self, dataset: str, data: DataFolder) -> int:
        """Return how many examples the training part of a dataset has."""


class Sentences(InputKind):
    """Sentences of one language; a dataset is a language such as `en`."""

    def select_datasets(
        self, objective: ObjectiveConfig, flags: StreamSelection, data: DataFolder
    ) -> list[str]:
        """Return the languages of --langs, each of which is a dataset; without it, all languages.

        Raises MasscliError for flags that choose directions or tables, which this objective does not read.
        """
        _refuse_tables(objective, flags)
        if flags.source_lang or flags.target_lang or flags.pairs:
            raise MasscliError(
                f"{objective.name} reads one language at a time",
                "choose languages with --langs",
            )
        return list(flags.langs or data.languages)

    def auxiliary_datasets(
        self,
        objective: str,
        datasets: Sequence[str],
        data: DataFolder,
        separate_folder: bool,
    ) -> list[str]:
        """Return every language that the names of the main streams' `datasets` contain."""
        return languages_of(datasets)

    def check(
        self, stream: str, dataset: str, objective: ObjectiveConfig, data: DataFolder
    ) -> None:
        """Raise MasscliError if `dataset` is not the name of a language of the data."""
        _check_languages(stream, dataset, 1, data)

    def num_training_examples(self, dataset: str, data: DataFolder) -> int:
        """Return the number of training sentences of the language `dataset`."""
        return len(data.monolingual("train", dataset))


class Pairs(InputKind):
    """Sentences and their translations; a dataset is a direction such as `en-de`."""

    has_direction = True

    def select_datasets(
        self, objective: ObjectiveConfig, flags: StreamSelection, data: DataFolder
    ) -> list[str]:
        """Return the directions of --pairs, or else the single direction that -s, -t or --langs choose.

        What these flags leave open is filled in if the data has only one pair of languages; otherwise
        MasscliError is raised.
        """
        _refuse_tables(objective, flags)
        return list(flags.pairs) or [_only_direction(flags, data)]

    def auxiliary_datasets(
        self,
        objective: str,
        datasets: Sequence[str],
        data: DataFolder,
        separate_folder: bool,
    ) -> list[str]:
        """Return the directions of the main streams for which `data` has sentence pairs.

        If the main streams read single languages, all directions between these languages are tried. A pair
        serves both directions, but in a separate folder only that of its name. A separate folder with
        nothing but pairs of other languages is read whole, such as the old pairs of a model that learns a
        new language. Raises MasscliError if there are no pairs to read.
        """
        languages = languages_of(datasets)
        # Main streams that read one language each, as in pre-training, do not determine directions.
        directions = [
            dataset for dataset in datasets if "-" in dataset
        ] or _all_directions(languages)
        known = set(data.pairs)
        # In a separate folder one side may be synthetic, and the model should not learn to generate
        # that side.
        if not separate_folder:
            known |= {_reverse(pair) for pair in data.pairs}
        available = [dataset for dataset in directions if dataset in known]
        is_opposite = any(_reverse(dataset) in known for dataset in directions)
        if separate_folder and not available and not is_opposite:
            available = list(data.pairs)
        if not available:
            raise MasscliError(
                f"--auxiliary {objective}: {data.folder} has no pairs of {', '.join(languages)}",
                "preprocess them with --trainpref",
            )
        return available

    def check(
        self, stream: str, dataset: str, objective: ObjectiveConfig, data: DataFolder
    ) -> None:
        """Raise MasscliError if `dataset` is not a direction, or the data has no such pair."""
        _check_languages(stream, dataset, 2, data)
        # A pair is stored once, and read in both directions.
        if dataset not in data.pairs and _reverse(dataset) not in data.pairs:
            raise MasscliError(
                f"{data.folder}: has no pair {dataset}",
                _pairs_hint(data),
            )

    def num_training_examples(self, dataset: str, data: DataFolder) -> int:
        """Return the number of sentence pairs for training in the direction `dataset`."""
        source, target = dataset.split("-")
        return len(data.pair("train", source, target)[0])


class BackTranslation(InputKind):
    """Sentences of the target language of a direction such as `en-de`.

    For `en-de` the training text is German, and the model makes the English sources by translating it.
    """

    has_direction = True
    makes_sources = True
    # As in XLM and MASS: the model must also learn to generate the language with less data.
    sampled_by_size = False

    def select_datasets(
        self, objective: ObjectiveConfig, flags: StreamSelection, data: DataFolder
    ) -> list[str]:
        """Return the directions of --pairs, or the one of -s and -t, or else all between the languages.

        The languages are those of --langs, or all languages of the data. If only one of -s and -t is given,
        the directions are those with this source or target. Raises MasscliError if there are fewer than two
        languages, or no such direction.
        """
        _refuse_tables(objective, flags)
        if flags.pairs:
            return list(flags.pairs)
        if flags.source_lang and flags.target_lang:
            return [f"{flags.source_lang}-{flags.target_lang}"]
        languages = flags.langs or data.languages
        if len(languages) < 2:
            raise MasscliError(
                "back-translation needs two languages",
                f"add --langs; the data has {', '.join(data.languages)}",
            )
        directions = _all_directions(languages)
        if flags.source_lang:
            directions = [
                d for d in directions if d.startswith(f"{flags.source_lang}-")
            ]
        elif flags.target_lang:
            directions = [d for d in directions if d.endswith(f"-{flags.target_lang}")]
        if not directions:
            raise MasscliError(
                f"no direction between {', '.join(languages)} has the language "
                f"{flags.source_lang or flags.target_lang} of -s or -t",
                "name one of these, or leave it out",
            )
        return directions

    def auxiliary_datasets(
        self,
        objective: str,
        datasets: Sequence[str],
        data: DataFolder,
        separate_folder: bool,
    ) -> list[str]:
        """Return all directions between the languages that the main streams' `datasets` contain."""
        return _all_directions(languages_of(datasets))

    def check(
        self, stream: str, dataset: str, objective: ObjectiveConfig, data: DataFolder
    ) -> None:
        """Raise MasscliError if `dataset` is not a direction between two different languages of the data."""
        _check_languages(stream, dataset, 2, data)
        source, target = dataset.split("-")
        if source == target:
            raise MasscliError(
                f"stream {stream}: {dataset} goes from a language to itself",
                "back-translation needs two languages",
            )

    def num_training_examples(self, dataset: str, data: DataFolder) -> int:
        """Return the number of training sentences of the direction's target language."""
        # The model makes the source side, so only sentences of the target language are read.
        return len(data.monolingual("train", dataset.split("-")[1]))


class Table(InputKind):
    """Labeled examples; a dataset is a table in one of the formats that the objective reads."""

    is_table = True

    def select_datasets(
        self, objective: ObjectiveConfig, flags: StreamSelection, data: DataFolder
    ) -> list[str]:
        """Return the tables of --table, or else the only table in a format that the objective reads.

        Raises MasscliError if several tables fit equally well or none fits, or for flags that choose
        languages or directions.
        """
        if flags.source_lang or flags.target_lang or flags.pairs or flags.langs:
            raise MasscliError(
                f"{objective.name} reads a table of labeled examples",
                "choose it with --table, and its language with --language",
            )
        return list(flags.table) or [_only_table(objective, data)]

    def auxiliary_datasets(
        self,
        objective: str,
        datasets: Sequence[str],
        data: DataFolder,
        separate_folder: bool,
    ) -> list[str]:
        """Return the languages of the main streams, each as the name of a table.

        Whether such tables exist is not checked here, but by `check`.
        """
        return languages_of(datasets)

    def check(
        self, stream: str, dataset: str, objective: ObjectiveConfig, data: DataFolder
    ) -> None:
        """Raise MasscliError if no table is called `dataset`, or if the objective cannot read its format."""
        table_format = data.table_formats.get(dataset)
        if table_format is None:
            raise MasscliError(
                f"{data.folder}: has no table {dataset!r}",
                f"its tables are {', '.join(data.table_formats) or 'none'}",
            )
        if table_format not in objective.formats:
            raise MasscliError(
                f"stream {stream}: {objective.name} does not read {table_format}",
                f"it reads {', '.join(objective.formats)}",
            )

    def num_training_examples(self, dataset: str, data: DataFolder) -> int:
        """Return the number of rows of the table's training part."""
        return len(data.table(dataset, "train"))


SENTENCES = Sentences()
PAIRS = Pairs()
BACK_TRANSLATION = BackTranslation()
TABLE = Table()


def languages_of(datasets: Sequence[str]) -> list[str]:
    """Return the languages that occur in the names of datasets (languages or directions), each once."""
    return list(
        dict.fromkeys(
            language for dataset in datasets for language in dataset.split("-")
        )
    )


def _all_directions(languages: Sequence[str]) -> list[str]:
    return [f"{source}-{target}" for source, target in permutations(languages, 2)]


def _reverse(direction: str) -> str:
    return "-".join(reversed(direction.split("-")))


def _refuse_tables(objective: ObjectiveConfig, flags: StreamSelection) -> None:
    if flags.table:
        raise MasscliError(
            f"--table: {objective.name} does not learn from labeled examples",
            "leave it out",
        )


def _check_languages(stream: str, dataset: str, count: int, data: DataFolder) -> None:
    """Raise MasscliError if `dataset` does not consist of `count` languages (1 or 2) of the data.

    `stream` is the name of the training stream, for the error.
    """
    languages = dataset.split("-")
    if len(languages) != count:
        expected = "language" if count == 1 else "direction such as en-de"
        raise MasscliError(
            f"stream {stream}: {dataset!r} is not a {expected}",
            f"the data has languages {', '.join(data.languages)} and pairs {', '.join(data.pairs) or 'none'}",
        )
    for language in languages:
        if language not in data.languages:
            raise MasscliError(
                f"{data.folder}: has no language {language!r}",
                f"it has {', '.join(data.languages)}",
            )


def _only_direction(flags: StreamSelection, data: DataFolder) -> str:
    """Return the direction that -s and -t name, or else the two languages of --langs in their order.

    If only one of -s and -t is given, or no flag at all, and the data has a single pair, the direction of
    that pair that fits is returned. Raises MasscliError if the direction is still unclear.
    """
    if flags.source_lang and flags.target_lang:
        return f"{flags.source_lang}-{flags.target_lang}"
    if flags.langs and not (flags.source_lang or flags.target_lang):
        if len(flags.langs) != 2:
            raise MasscliError(
                f"--langs {','.join(flags.langs)}: a direction has two languages",
                "use -s and -t, or --pairs en-de,de-en",
            )
        return "-".join(flags.langs)
    if len(data.pairs) == 1:
        # A single flag, or none, can be completed to the only pair, in either order.
        for direction in (data.pairs[0], _reverse(data.pairs[0])):
            source, target = direction.split("-")
            if flags.source_lang in (None, source) and flags.target_lang in (
                None,
                target,
            ):
                return direction
    raise MasscliError(
        f"{data.folder}: the direction is unclear",
        f"add -s LANG -t LANG; {_pairs_hint(data)}",
    )


def _pairs_hint(data: DataFolder) -> str:
    """Return the part of a hint that lists the pairs of a data folder, or says how it would get some."""
    if data.pairs:
        return f"it has {', '.join(data.pairs)}"
    return (
        "it has no pairs, which come from aligned files: masscli preprocess --langs en,de --trainpref PREFIX "
        "reads line n of PREFIX.en and PREFIX.de as a pair"
    )


def _only_table(objective: ObjectiveConfig, data: DataFolder) -> str:
    """Return the only table of the first format in `objective.formats` of which the data has a table.

    Raises MasscliError if it has several tables of that format, or no table that the objective can read.
    """
    readable: list[str] = []
    # A table of the usual format is preferred to those of others.
    for table_format in objective.formats:
        tables = [
            table
            for table, its_format in data.table_formats.items()
            if its_format == table_format
        ]
        # Several tables in a better format leave open which is meant, even if this format has only one.
        if len(tables) == 1 and not readable:
            return tables[0]
        readable += tables
    if readable:
        raise MasscliError(
            "the data has several tables that fit",
            f"choose one with --table; {objective.name} can read {', '.join(readable)}",
        )
    existing = [
        f"{table} ({its_format})" for table, its_format in data.table_formats.items()
    ]
    raise MasscliError(
        f"{data.folder}: has no table that {objective.name} reads ({', '.join(objective.formats)})",
        f"its tables: {', '.join(existing) or 'none'}",
    )

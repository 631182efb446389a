"""Find words that mean the same, in pairs, text or a model.

From pairs, words are aligned with Model 1 of Brown et al. (1993) in both directions. A pair of words is
kept if each is the most likely translation of the other, or if it is certain enough. A thousand lines
are enough for the frequent words.

From unaligned text, words are compared by their vectors and by the words around them, starting with words
that are spelled alike in both languages (Artetxe et al. 2018); six dictionaries made in this way vote. Pairs
of mutual nearest neighbors are kept. More than half of the frequent words are translated correctly if both
texts are from one domain and not too small (captions). A warning says when the texts are too different.

From a run, the token embeddings are compared, centered by language. A dictionary is only as good as its
source, so look at the result. Each line is WORD, WORD and a score, the most certain pair first; from
text, where scores mean little, the most frequent first.

Examples:
  masscli dictionary data-bin --langs en,de --limit 1000 --output en-de.txt
  masscli dictionary data-bin --langs en,fr --from text --output en-fr.txt --vectors vectors
  masscli dictionary runs/mass --langs en,fr --output en-fr.txt
  masscli pretrain data-bin --objective mass --switch-dictionary en-de.txt
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from masscli.cli.messages import warn
from masscli.cli.output import check_output, writer
from masscli.cli.text_inputs import warn_of_untrained
from masscli.cli.unused_options import check_changed_options
from masscli.core.config import Flags, UnusedOption, check, config, positive
from masscli.core.errors import MasscliError
from masscli.core.listing import count_of

if TYPE_CHECKING:
    from masscli.data.storage.data_folder import DataFolder
    from masscli.lexicon.dictionary import WordPair
    from masscli.lexicon.from_text import InducedDictionary

MAX_PAIRS = 20_000
"""Default of --limit with pairs. Model 1 keeps every combination of a source and a target word of each pair
in memory: about 18 kB for a pair of 15 words each, growing with the square of the length."""
MAX_WORDS = 5_000
"""Default of --max-words with text and with a model."""
VECTOR_DIM = 128
"""Default of --dim."""
MIN_AGREEMENT = 0.4
"""If two halves of the vote agree on a smaller share of the frequent words, a warning is printed. They agree
on 19% and 25% where 3% of the pairs are right, and on 57% where 34% are (docs/results/dictionaries.md)."""


Source = Literal["model", "pairs", "text"]
"""What a dictionary is extracted from: aligned pairs, monolingual text, or a trained model."""


@config
class DictionaryConfig:
    """What is read, and where the dictionary goes."""

    langs: Annotated[tuple[str, ...], Flags("-l")]
    """The two languages."""
    output: Annotated[Path, Flags("-o")] = Path("dictionary.txt")
    """File for the dictionary."""
    min_count: int | None = None
    """Leave out words that occur less often than this (default: 2 with pairs, otherwise 5)."""
    limit: int | None = None
    """Read only this many pairs (default: 20000), or lines of each language (default: all)."""
    max_words: int | None = None
    """Consider only this many words of each language, the most frequent (default: 5000; all with pairs)."""
    vectors: Path | None = None
    """From text: also write the word vectors, which are in one space, to VECTORS.LANG, for --init-vectors."""
    dim: int | None = None
    """Width of these vectors, which must be that of the model (default: 128)."""
    data: Path | None = None
    """With a run: the data folder with both languages (default: the run's)."""

    def __post_init__(self) -> None:
        has_two_languages = len(self.langs) == 2 and self.langs[0] != self.langs[1]
        given = ",".join(self.langs)
        check(
            (
                has_two_languages,
                "langs",
                f"expected two languages, such as en,fr, got {given}",
            ),
            *positive(self, "min_count", "limit"),
            (
                self.max_words is None or self.max_words >= 20,
                "max_words",
                "must be at least 20",
            ),
            (self.dim is None or self.dim >= 2, "dim", "must be at least 2"),
        )

    @property
    def pair(self) -> tuple[str, str]:
        """The two languages, in the order of the columns of the dictionary."""
        first, second = self.langs
        return first, second


def run(
    options: DictionaryConfig,
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="A data folder, or a run or checkpoint."),
    ],
    source: Annotated[
        Source | None,
        typer.Option(
            "--from",
            help="What to make the dictionary from (default: the model of a run; the pairs of a data folder,"
            " or its text if it has no pairs).",
        ),
    ] = None,
) -> None:
    """Find words that mean the same, write them to a file, and print how many there are."""
    from masscli.lexicon.dictionary import dictionary_text

    # Everything is checked before the slow part.
    check_output(options.output)
    source = _choose_source(path, source, options.pair)
    _check_unused_options(path, source, options)
    if options.vectors is not None and not (
        options.vectors.name and options.vectors.parent.is_dir()
    ):
        raise MasscliError(
            f"--vectors {options.vectors}: its folder does not exist, or it has no name",
            "name a prefix of files",
        )
    match source:
        case "model":
            pairs, remark = _from_model(path, options), ""
        case "pairs":
            pairs, remark = _from_pairs(path, options)
        case "text":
            pairs, remark = _from_text(path, options)
    # An empty file would look like a valid result, and pre-training would replace no words.
    if not pairs:
        raise MasscliError(
            f"{path}: no words of {options.langs[0]} and {options.langs[1]} were found to mean the same",
            "lower --min-count, or add text",
        )
    with writer(options.output) as write:
        write(dictionary_text(pairs))
    print(
        f"{options.output}: {count_of(len(pairs), 'pair')} of words{remark}",
        file=sys.stderr,
    )


def _from_model(path: Path, options: DictionaryConfig) -> list[WordPair]:
    """Return the words whose token embeddings in the run or checkpoint `path` are each other's nearest."""
    from masscli.checkpoint.checkpoint import Checkpoint
    from masscli.data.storage.verification import open_verified
    from masscli.lexicon import from_embeddings

    checkpoint = Checkpoint.open(path)
    folder = open_verified(options.data or checkpoint.find_data())
    warn_of_untrained(path, checkpoint, options.pair)
    max_words, min_count = options.max_words or MAX_WORDS, options.min_count or 5
    # The text of the folder shows which pieces are words of which language, and how frequent they are.
    return from_embeddings.induce(
        checkpoint.weights(), folder, options.pair, max_words, min_count
    )


def _from_pairs(path: Path, options: DictionaryConfig) -> tuple[list[WordPair], str]:
    """Return the words that the pairs of the data folder `path` align, and a remark for the report."""
    from masscli.data.storage.verification import open_verified
    from masscli.lexicon import from_pairs

    folder = open_verified(path)
    available = len(folder.pair("train", *options.pair)[0])
    used = min(options.limit or MAX_PAIRS, available)
    pairs = from_pairs.induce(folder, options.pair, options.min_count or 2, used)
    return pairs, _pairs_remark(used, available)


def _from_text(path: Path, options: DictionaryConfig) -> tuple[list[WordPair], str]:
    """Return the words whose vectors, made of the text in the data folder `path`, are each other's nearest.

    Also returns a remark for the report, and writes the vectors if --vectors asks for them.
    """
    from masscli.data.storage.verification import open_verified
    from masscli.lexicon import from_text

    folder = open_verified(path)
    max_words, min_count = options.max_words or MAX_WORDS, options.min_count or 5
    induced = from_text.induce(
        folder, options.pair, max_words, min_count, options.limit
    )
    _warn_of_low_agreement(induced, folder)
    if options.vectors is not None:
        from_text.write_vectors(
            options.vectors, options.pair, induced, options.dim or VECTOR_DIM
        )
    share = f"{induced.agreement:.0%}"
    return (
        induced.pairs,
        f", from text; {share} of the common ones are found by both halves of the vote",
    )


def _choose_source(
    path: Path, source: Source | None, languages: tuple[str, str]
) -> Source:
    """Return what to extract the dictionary from: the source that --from names, or the default for `path`.

    The default is the model for a run, pairs for a data folder that has training pairs of the languages, and
    text for any other data folder. Raises MasscliError if `path` is not of the kind that --from needs.
    """
    from masscli.data.storage.data_folder import DataFolder, MissingDataError

    is_data_folder = _is_data_folder(path)
    if source == "model" and is_data_folder:
        raise MasscliError(
            f"--from {source}: {path} is a data folder", "name a run or checkpoint"
        )
    if source in ("pairs", "text") and not is_data_folder:
        raise MasscliError(
            f"--from {source}: {path} is not a data folder",
            "name the --destdir of masscli preprocess",
        )
    if not is_data_folder:
        return "model"
    if source is not None:
        return source
    # Pairs say directly which words mean the same, so they come before text.
    try:
        DataFolder.open(path).pair("train", *languages)
    except MissingDataError:
        return "text"
    return "pairs"


def _check_unused_options(
    path: Path, source: Source, options: DictionaryConfig
) -> None:
    """Warn about given options that only apply to another source.

    Raises ConfigError for those of them that name files or folders (--data, --vectors).
    """
    check_changed_options(
        options,
        UnusedOption(source == "model", "limit", f"{path} is not a data folder"),
        UnusedOption(
            source != "model",
            "data",
            f"{path} is a data folder",
            misleading=True,
        ),
        UnusedOption(
            source == "pairs", "max_words", "with pairs all words are considered"
        ),
        UnusedOption(
            source != "text",
            "vectors",
            f"a dictionary from {source} has none",
            misleading=True,
        ),
        UnusedOption(options.vectors is None, "dim", "it is the width of --vectors"),
    )


def _pairs_remark(used: int, available: int) -> str:
    """Return the end of a message that says how many of the available pairs of lines were used."""
    if used == available:
        return f", from {used:,} pairs"
    return f", from {used:,} pairs of {available:,}"


def _is_data_folder(path: Path) -> bool:
    from masscli.data.storage.manifest import MANIFEST_FILE

    return (path / MANIFEST_FILE).exists()


def _warn_of_low_agreement(induced: InducedDictionary, data: DataFolder) -> None:
    """Print a warning if two halves of the vote agree on less than MIN_AGREEMENT of an induced dictionary."""
    if induced.agreement >= MIN_AGREEMENT:
        return
    warn(
        f"two halves of the vote agree on {induced.agreement:.0%} only: the texts are too small or "
        "too different; do not trust this dictionary"
    )
    # Words in several forms, by case and punctuation, are a cause that the user can remove.
    preprocessing = data.tokenizer().preprocessing
    if not (preprocessing.moses and preprocessing.lowercase):
        print(
            "hint: preprocess with --moses --lowercase; without, The, the and the. are three words",
            file=sys.stderr,
        )

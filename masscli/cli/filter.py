"""Filter noisy pairs of sentences.

SOURCE and TARGET are aligned files. Rules drop pairs that are empty, copied, too long, of very
different lengths or in the wrong language. With --forward, and with --backward if that model does not
translate in both directions, each remaining pair gets a score by dual conditional cross-entropy
(Junczys-Dowmunt 2018): with H the cross-entropy per piece in each direction, it is exp(-(|H1 - H2| +
(H1 + H2) / 2)), between 0 and 1. --min-score and --keep-best drop pairs with low scores.

The kept lines are written to OUTPUT.LANG for both languages. The reasons for dropping pairs are printed
with counts and examples, and --scores writes for each line the verdict, the score and both
cross-entropies.

Examples:
  masscli filter web.en web.de -s en -t de --output clean
  masscli filter web.en web.de -s en -t de --clean en=news.en --clean de=news.de --output clean
  masscli filter web.en web.de -s en -t de --other-lang fr=news.fr --output clean
  masscli filter web.en web.de -s en -t de --forward runs/both --keep-best 0.5 --output clean --scores web.tsv
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from masscli.cli.messages import warn
from masscli.cli.output import (
    check_distinct,
    check_inputs_stay,
    check_output,
    writer,
)
from masscli.cli.text_inputs import warn_of_examples
from masscli.core.config import (
    Flags,
    Rule,
    UnusedOption,
    check,
    config,
    not_negative,
    positive,
)
from masscli.core.errors import MasscliError
from masscli.core.files import FileState, require_unchanged
from masscli.text.corpus import iter_lines

if TYPE_CHECKING:
    from masscli.api.pair_scorer import PairScore, PairScorer
    from masscli.data.prepare.language_profiles import Profile

CHUNK = 16_384
"""Number of pairs that are read, judged and scored together."""
PROFILE_LINES = 20_000
"""Maximum number of lines from which the profile of a language is made."""
EXAMPLES = 2
"""Number of dropped pairs that the report shows for each reason."""
LOW_SCORE = "score too low"
"""The verdict on a pair that --min-score or --keep-best drops."""
NO_POSITIONS = "too long for the models"
"""The verdict on a pair that the models of --forward and --backward cannot score."""


@config
class FilterConfig:
    """What is kept, and where it goes."""

    source_lang: Annotated[str, Flags("-s")]
    """Language of SOURCE."""
    target_lang: Annotated[str, Flags("-t")]
    """Language of TARGET."""
    output: Annotated[Path, Flags("-o")]
    """Prefix of the kept files, which are called OUTPUT.LANG."""
    scores: Path | None = None
    """Also write a row for each line: verdict, score and both cross-entropies, separated by tabs."""
    min_len: int = 1
    """Minimum number of words of either side, separated by white space; pairs with fewer are dropped."""
    max_len: int = 250
    """Maximum number of words of either side, separated by white space; pairs with more are dropped."""
    max_ratio: float = 3.0
    """Maximum ratio of the two lengths in characters; pairs with a larger ratio are dropped."""
    filter_lang: bool = True
    """Drop lines that look like the other language of the pair."""
    clean: tuple[str, ...] = ()
    """LANG=FILE: clean sample text of a language (default: the files themselves, most lines of which
    must then be in the right language). Repeatable."""
    other_lang: tuple[str, ...] = ()
    """LANG=FILE: text of a third language; lines that look like it are dropped, too. Repeatable."""
    forward: Path | None = None
    """A run that translates from source to target, and gives the pairs their scores."""
    backward: Path | None = None
    """A run that translates from target to source (default: --forward)."""
    min_score: float = 0.0
    """Drop pairs with a lower score of the models of --forward and --backward, from 0 to 1."""
    keep_best: float = 1.0
    """Keep this share, from 0 to 1, of the scored pairs: those with the highest scores."""
    batch_tokens: Annotated[int, Flags("--max-tokens")] = 8000
    """Maximum number of tokens in a batch of the models."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Precision of the models."""

    def __post_init__(self) -> None:
        scored = self.forward is not None
        # They become parts of file names.
        languages = {"source_lang": self.source_lang, "target_lang": self.target_lang}
        for key, name in languages.items():
            is_name = re.fullmatch(r"\w+", name) is not None
            check((is_name, key, f"{name!r} cannot be the name of a language"))
        check(
            *positive(self, "max_len", "batch_tokens"),
            *not_negative(self, "min_len", "min_score"),
            (
                self.min_len <= self.max_len,
                "min_len",
                f"must not exceed --max-len ({self.max_len}), got {self.min_len}",
            ),
            (
                self.source_lang != self.target_lang,
                "target_lang",
                "is the source language, too",
            ),
            *_languages_of_files("clean", self.clean),
            *_languages_of_files("other_lang", self.other_lang),
            (
                self.max_ratio >= 1,
                "max_ratio",
                f"must be at least 1, got {self.max_ratio}",
            ),
            (
                0 < self.keep_best <= 1,
                "keep_best",
                f"must lie in (0, 1], got {self.keep_best}",
            ),
            (scored or self.backward is None, "backward", "goes with --forward"),
            (
                scored or self.min_score == 0,
                "min_score",
                "pairs have scores only with --forward",
            ),
            (
                scored or self.keep_best == 1,
                "keep_best",
                "pairs have scores only with --forward",
            ),
            (self.filter_lang or not self.clean, "clean", "goes with --filter-lang"),
            (
                self.filter_lang or not self.other_lang,
                "other_lang",
                "goes with --filter-lang",
            ),
        )

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """Rules that say which options have no effect, given the values of the others."""
        return (
            UnusedOption(
                self.forward is None,
                "batch_tokens device precision",
                "no model scores the pairs without --forward",
            ),
        )


def _languages_of_files(key: str, entries: Sequence[str]) -> list[Rule]:
    """Return the rules that each entry of an option is LANG=FILE, and that no language has two files."""
    parts = [entry.partition("=") for entry in entries]
    languages = [language for language, _, _ in parts]
    return [
        (
            all(language and path for language, _, path in parts),
            key,
            "expected LANG=FILE",
        ),
        (len(set(languages)) == len(languages), key, "names a language twice"),
    ]


def run(
    options: FilterConfig,
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Lines of the source language.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="Their supposed translations.")
    ],
) -> None:
    """Judge every pair of lines, write the kept ones, and report what was dropped and why."""
    from masscli.data.prepare.pair_rules import KEPT

    _check_places(options, source, target)
    # Reading gives better errors for what is missing.
    inputs = [path for path in (source, target) if path.exists()]
    states = {path: FileState.of(path) for path in inputs}
    verdicts, scores = _judge_all(options, source, target)
    _drop_low_scores(options, verdicts, scores)
    _write(options, states, source, target, verdicts, scores)
    if KEPT not in verdicts:
        names = " and ".join(map(str, _kept_files(options)))
        warn(f"no pair is kept, and {names} are empty")


def _check_places(options: FilterConfig, source: Path, target: Path) -> None:
    """Raise MasscliError for an input that can be read only once, and for a result that cannot be written.

    Warn of inputs whose names are those of labeled examples.
    """
    named = [entry.partition("=")[2] for entry in (*options.clean, *options.other_lang)]
    inputs = (source, target, *map(Path, named))
    warn_of_examples(*inputs)
    for path in (source, target):
        if str(path) == "-" or (path.exists() and not path.is_file()):
            raise MasscliError(
                f"{path}: is not a file, but text is read more than once",
                "write it to a file first",
            )
    for path in _kept_files(options):
        check_output(path)
        written = {"--output": path, "--scores": options.scores}
        check_inputs_stay(written, inputs)
        check_distinct(written)


def _judge_all(
    options: FilterConfig, source: Path, target: Path
) -> tuple[list[str], dict[int, PairScore]]:
    """Return the verdict on each pair, and the scores of the kept pairs by the number of the pair, from 0.

    There are no scores without --forward. A verdict is KEPT or the reason to drop the pair. Raises
    MasscliError if the files have no lines.
    """
    from masscli.data.prepare.pair_rules import LengthRules, judge

    # The rules are cheap and come first: only pairs that they keep are scored by the models.
    lengths = LengthRules(options.min_len, options.max_len, options.max_ratio)
    langs = (options.source_lang, options.target_lang)
    profiles = None
    if options.filter_lang:
        profiles = _profiles(
            options, {options.source_lang: source, options.target_lang: target}
        )
    scorer = _open_scorer(options)
    verdicts: list[str] = []
    scores: dict[int, PairScore] = {}
    for pairs in _chunks(source, target):
        judged = [
            judge(first, second, lengths, profiles, langs) for first, second in pairs
        ]
        if scorer is not None:
            scores |= _score(scorer, pairs, judged, len(verdicts))
        verdicts += judged
    if not verdicts:
        raise MasscliError(
            f"{source}: has no lines", "give two files with a line for each pair"
        )
    if scorer is not None:
        _report_unknown(
            scorer, {options.source_lang: source, options.target_lang: target}
        )
    return verdicts, scores


def _score(
    scorer: PairScorer,
    pairs: Sequence[tuple[str, str]],
    verdicts: list[str],
    first: int,
) -> dict[int, PairScore]:
    """Return the scores of the kept pairs of a chunk, by their number in the whole file, from 0.

    `first` is the number of the first pair, and `verdicts` are those on the pairs of the chunk. There, pairs
    that are too long for the models get the verdict NO_POSITIONS, in place.
    """
    from masscli.data.prepare.pair_rules import KEPT

    kept = [number for number, verdict in enumerate(verdicts) if verdict == KEPT]
    sources = [pairs[number][0] for number in kept]
    targets = [pairs[number][1] for number in kept]
    scored = scorer.score(sources, targets, [first + number + 1 for number in kept])
    scores = {}
    for number, score in zip(kept, scored, strict=True):
        if score is None:
            verdicts[number] = NO_POSITIONS
        else:
            scores[first + number] = score
    return scores


def _report_unknown(scorer: PairScorer, files: Mapping[str, Path]) -> None:
    """Print how many pieces each run did not know in the text that it scored; `files` are by language."""
    for (run_path, language), unknown in scorer.unknown.items():
        name = str(files[language])
        if unknown.lines:
            warn(f"{run_path}: {unknown.warning(name)}")
        print(f"{run_path}: {unknown.summary(name)}", file=sys.stderr)


def _drop_low_scores(
    options: FilterConfig, verdicts: list[str], scores: Mapping[int, PairScore]
) -> None:
    """Set the verdict LOW_SCORE, in place, for scored pairs below --min-score or outside of --keep-best."""
    # The number breaks ties, so that the same pairs are kept every time.
    ranked = sorted(scores, key=lambda number: (-scores[number].score, number))
    best = set(ranked[: round(options.keep_best * len(ranked))])
    for number, score in scores.items():
        if number not in best or score.score < options.min_score:
            verdicts[number] = LOW_SCORE


def _write(
    options: FilterConfig,
    states: Mapping[Path, FileState],
    source: Path,
    target: Path,
    verdicts: Sequence[str],
    scores: Mapping[int, PairScore],
) -> None:
    """Write the kept lines of both files and, with --scores, a row for each pair; print a summary.

    Raises MasscliError, and writes nothing, if the files are not in the given states, in which they were when
    the pairs were judged.
    """
    from masscli.data.prepare.pair_rules import KEPT

    examples: dict[str, list[str]] = {}
    with ExitStack() as stack:
        files = []
        for path in _kept_files(options):
            files.append(stack.enter_context(writer(path)))
        table = None
        if options.scores is not None:
            table = stack.enter_context(writer(options.scores, "--scores"))
            table("line\tverdict\tscore\tforward\tbackward\n")
        require_unchanged(states)
        # The files are read a second time, since the lines may be more than fit in memory.
        pairs = chain.from_iterable(_chunks(source, target))
        # They may have grown even now, which is noticed at the end.
        for number, (verdict, pair) in enumerate(zip(verdicts, pairs, strict=False)):
            if verdict == KEPT:
                for write, line in zip(files, pair, strict=True):
                    write(f"{line}\n")
            elif len(examples.setdefault(verdict, [])) < EXAMPLES:
                examples[verdict].append(
                    f"line {number + 1}: {pair[0][:60]!r} | {pair[1][:60]!r}"
                )
            if table is not None:
                table(_row(number, verdict, scores.get(number)))
        require_unchanged(states)
    _report(verdicts, examples)


def _kept_files(options: FilterConfig) -> list[Path]:
    """Return the files for the kept lines of source and target language."""
    name = options.output.name
    if not name:
        raise MasscliError(
            f"--output {options.output}: is not a prefix of files",
            "the files of clean/train are clean/train.LANG",
        )
    # `with_suffix` would replace the part of the name after a dot.
    return [
        options.output.with_name(f"{name}.{language}")
        for language in (options.source_lang, options.target_lang)
    ]


def _row(number: int, verdict: str, score: PairScore | None) -> str:
    """Return the row of a pair for --scores: line number from 1, verdict, score and both cross-entropies.

    The last three columns are empty for a pair without a score.
    """
    cells = ["", "", ""]
    if score is not None:
        cells = [f"{value:.6f}" for value in score]
    return "\t".join([str(number + 1), verdict, *cells]) + "\n"


def _report(verdicts: Sequence[str], examples: Mapping[str, Sequence[str]]) -> None:
    """Print the number and share of pairs with each verdict, and examples of dropped pairs."""
    for verdict, count in Counter(verdicts).most_common():
        print(
            f"{verdict:32} {count:>12,} {count / len(verdicts):>8.2%}", file=sys.stderr
        )
        for example in examples.get(verdict, ()):
            print(f"  {example}", file=sys.stderr)


def _chunks(source: Path, target: Path) -> Iterator[list[tuple[str, str]]]:
    """Yield the pairs of lines of two files, in lists of up to CHUNK pairs.

    Raises MasscliError if one file has more lines than the other.
    """
    sources, targets = iter_lines(source), iter_lines(target)
    # The first file may end exactly with a chunk, so the second is checked for more lines at the end.
    while first := list(islice(sources, CHUNK)):
        second = list(islice(targets, len(first)))
        if len(second) < len(first):
            raise MasscliError(
                f"{target}: has fewer lines than {source}", "the files must be aligned"
            )
        yield list(zip(first, second, strict=True))
    if next(targets, None) is not None:
        raise MasscliError(
            f"{target}: has more lines than {source}", "the files must be aligned"
        )


def _profiles(options: FilterConfig, files: Mapping[str, Path]) -> dict[str, Profile]:
    """Return a profile of each language, which tells what its text looks like, by language.

    That of a language of the pair is made from the file that --clean names, or else from the file in `files`.
    --other-lang names the files of further languages. Raises MasscliError if --clean names another language,
    or --other-lang one of the pair.
    """
    from masscli.data.prepare.language_profiles import make_profile

    texts = dict(files)
    # Clean text is not required for both languages: for the other one, its file is used.
    for entry in options.clean:
        language, _, path = entry.partition("=")
        if language not in files:
            raise MasscliError(
                f"--clean {entry}: {language!r} is neither of the languages of the pair",
                f"--other-lang {entry} drops lines that look like it",
            )
        texts[language] = Path(path)
    for entry in options.other_lang:
        language, _, path = entry.partition("=")
        if language in files:
            raise MasscliError(
                f"--other-lang {entry}: {language!r} is a language of the pair",
                f"use --clean {entry}",
            )
        texts[language] = Path(path)
    profiles = {}
    for language, text in texts.items():
        profiles[language] = make_profile(islice(iter_lines(text), PROFILE_LINES))
    return profiles


def _open_scorer(options: FilterConfig) -> PairScorer | None:
    """Open the models of --forward and --backward as a scorer of pairs; return None without --forward."""
    if options.forward is None:
        return None
    from masscli.api.pair_scorer import PairScorer

    scorer = PairScorer(
        options.forward,
        options.backward or options.forward,
        (options.source_lang, options.target_lang),
        batch_tokens=options.batch_tokens,
        device=options.device,
        precision=options.precision,
    )
    warn(*scorer.warnings)
    return scorer

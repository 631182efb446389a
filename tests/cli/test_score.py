"""Scores equal those of independent computations, and say how they were made."""

from __future__ import annotations

import io
import json
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from sacremoses import MosesTokenizer

from masscli.__main__ import run
from masscli.core.config import ConfigError
from masscli.metrics import METRICS, bleu, compare, score, score_lines
from masscli.metrics.config import ScoreConfig
from masscli.metrics.rouge import common_subsequence_length
from tests.commands import succeed

TEXT = 'Der Hund läuft, die Katze schläft. Ein Mann (mit Hut) sagt: "Nein!" z.B. 3,5 km/h saftig-grünes Gras don\'t'
WORDS = TEXT.split()


def corpus(lines: int, seed: int) -> tuple[list[str], list[str], list[str]]:
    """Hypotheses and two sets of references that share much with them."""
    rng = random.Random(seed)
    first = [" ".join(rng.choices(WORDS, k=rng.randint(4, 14))) for _ in range(lines)]

    def noisy(line: str) -> str:
        return " ".join(
            rng.choice(WORDS) if rng.random() < 0.15 else word
            for word in line.split()
            if rng.random() > 0.05
        )

    return [noisy(line) for line in first], first, [noisy(line) for line in first]


HYP, REF, REF2 = corpus(120, seed=1)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, lines in {
        "hyp": HYP,
        "ref": REF,
        "ref2": REF2,
        "hyp2": corpus(120, seed=1)[2],
    }.items():
        Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tmp_path


def sacrebleu_cli(folder: Path, *args: str) -> list[dict[str, str]]:
    command = [sys.executable, "-m", "sacrebleu", *args, "-w", "8", "-f", "json"]
    result = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    found = json.loads(result.stdout)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["-m", "bleu,chrf,ter"], ["-m", "bleu", "chrf", "ter"]),
        (
            ["-m", "bleu,chrf", "--lowercase"],
            ["-m", "bleu", "chrf", "--lowercase", "--chrf-lowercase"],
        ),
        (["-m", "bleu", "--tokenize", "intl"], ["-m", "bleu", "--tokenize", "intl"]),
        (["-m", "bleu", "--tokenize", "char"], ["-m", "bleu", "--tokenize", "char"]),
        (["-m", "chrf++"], ["-m", "chrf", "--chrf-word-order", "2"]),
        (
            ["-m", "bleu,chrf", "--confidence", "--bootstrap", "50"],
            ["-m", "bleu", "chrf", "--confidence", "--confidence-n", "50"],
        ),
    ],
    ids=["default", "lower-case", "intl", "char", "chrf++", "confidence"],
)
@pytest.mark.parametrize("references", [["ref"], ["ref", "ref2"]], ids=["one", "two"])
def test_numbers_and_signatures_are_those_of_sacrebleu(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    references: list[str],
    ours: list[str],
    theirs: list[str],
) -> None:
    succeed(
        [
            "score",
            "hyp",
            *[arg for name in references for arg in ("--ref", name)],
            *ours,
            "--format",
            "json",
        ]
    )
    found = json.loads(capsys.readouterr().out)
    expected = sacrebleu_cli(files, *references, "-i", "hyp", *theirs)
    assert len(found) == len(expected)
    for score_, peer in zip(found, expected, strict=True):
        assert (score_["name"], score_["signature"]) == (
            peer["name"],
            peer["signature"],
        )
        assert score_["value"] == pytest.approx(float(peer["score"]), abs=1e-7)
        if "confidence_var" in peer:
            assert score_["mean"] == pytest.approx(
                float(peer["confidence_mean"]), abs=1e-7
            )
            assert score_["ci"] == pytest.approx(
                float(peer["confidence_var"]), abs=1e-7
            )


def papers_bleu(
    hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]
) -> float:
    """BLEU by its definition: clipped n-gram counts, geometric mean, brevity penalty against the closest reference length."""
    log_precision, ours, theirs = 0.0, 0, 0
    for n in range(1, 5):
        matches, total = 0, 0
        for hyp, refs in zip(hypotheses, references, strict=True):
            grams = [tuple(hyp[i : i + n]) for i in range(len(hyp) - n + 1)]
            total += len(grams)
            for gram in set(grams):
                best = max(
                    sum(tuple(ref[i : i + n]) == gram for i in range(len(ref) - n + 1))
                    for ref in refs
                )
                matches += min(grams.count(gram), best)
        if matches == 0:
            return 0.0
        log_precision += math.log(matches / total) / 4
    for hyp, refs in zip(hypotheses, references, strict=True):
        ours += len(hyp)
        theirs += min((abs(len(ref) - len(hyp)), len(ref)) for ref in refs)[1]
    return 100 * math.exp(log_precision + min(0.0, 1 - theirs / ours))


@pytest.mark.parametrize("lang", ["en", "de", "fr"])
@pytest.mark.parametrize("lowercase", [False, True], ids=["cased", "lower-cased"])
@pytest.mark.parametrize("references", [[REF], [REF, REF2]], ids=["one", "two"])
def test_multi_bleu_is_the_definition_on_moses_tokens(
    references: list[list[str]], lowercase: bool, lang: str
) -> None:
    moses = MosesTokenizer(lang=lang)

    def tokens(line: str) -> list[str]:
        found = moses.tokenize(line, escape=False)
        # Moses splits the last full stop from any word, which its port in Python does not.
        found[-1:] = re.sub(r"(?<=[^.])\.$", " .", found[-1]).split()
        return [token.lower() for token in found] if lowercase else list(found)

    expected = papers_bleu(
        [tokens(h) for h in HYP],
        [[tokens(r) for r in refs] for refs in zip(*references, strict=True)],
    )
    (found,) = score(
        HYP,
        references,
        ScoreConfig(metric=("multi-bleu",), lang=lang, lowercase=lowercase),
    )
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert 5 < found.value < 95
    case = "lc" if lowercase else "mixed"
    assert found.signature.startswith(
        f"nrefs:{len(references)}|case:{case}|eff:no|tok:moses-{lang}|smooth:none|version:masscli-"
    )


def test_multi_bleu_is_not_smoothed() -> None:
    hypotheses, references = ["a b c x"], [["a b c d"]]
    assert (
        score(hypotheses, references, ScoreConfig(metric=("multi-bleu",)))[0].value == 0
    )
    assert score(hypotheses, references, ScoreConfig(metric=("bleu",)))[0].value > 0


def test_training_reports_the_same_score_as_the_command(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed(["score", "hyp", "--ref", "ref"])
    inside = bleu(HYP, REF)
    assert capsys.readouterr().out == f"BLEU = {inside.value:.2f}  {inside.signature}\n"
    assert bleu(HYP, REF, lowercase=True).signature.startswith("nrefs:1|case:lc|")


@pytest.mark.parametrize(
    ("hypothesis", "reference", "expected"),
    [
        (
            "police killed the gunman",
            "police kill the gunman",
            (3 / 4, 1 / 3, 3 / 4),
        ),  # Lin 2004, section 3
        ("the gunman kill police", "police kill the gunman", (1, 1 / 3, 2 / 4)),
        (
            "the the the cat",
            "the cat sat",
            (2 * 2 / 7, 2 * 1 / 5, 2 * 2 / 7),
        ),  # a repeated word counts once
        ("The CAT, sat!", "the cat sat", (1, 1, 1)),
        (
            "Frère élève",
            "frère eleve",
            (1 / 2, 0, 1 / 2),
        ),  # letters outside a-z are letters
        ("", "the cat", (0, 0, 0)),
        ("the", "the", (1, 0, 1)),  # one word has no bigram
    ],
)
def test_rouge_by_hand(
    hypothesis: str, reference: str, expected: tuple[float, float, float]
) -> None:
    found = score([hypothesis], [[reference]], ScoreConfig(metric=("rouge",)))
    assert [s.name for s in found] == ["ROUGE-1", "ROUGE-2", "ROUGE-L"]
    assert [s.value for s in found] == pytest.approx(
        [100 * value for value in expected]
    )


def test_rouge_is_the_mean_over_lines_of_the_best_reference() -> None:
    (found,) = score(
        ["a b", "c d"],
        [["a x", "x y"], ["a b", "c y"]],
        ScoreConfig(metric=("rouge-1",)),
    )
    assert found.value == pytest.approx(100 * (1 + 1 / 2) / 2)


def test_long_lines_are_scored_quickly_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An oracle that keeps a table of both sides would take hours."""
    words = [f"w{n % 1000}" for n in range(50_000)]
    assert common_subsequence_length(words[1:], ["x", *words[:-1]]) == 49_998
    for name, line in (("hyp", "x " * 200_000), ("ref", "x y")):
        (tmp_path / name).write_text(f"a b\n{line}\n", encoding="utf-8")
    files = [str(tmp_path / "hyp"), "--ref", str(tmp_path / "ref")]
    assert run(["score", *files, "-m", "ter"]) == 2
    stderr = capsys.readouterr().err
    assert "error: TER: a line has 200,000 words, and 5,000 at most" in stderr
    assert "leave out the metric ter" in stderr
    succeed(["score", *files, "-m", "bleu,chrf,rouge"])


def test_ter_warns_that_it_takes_long(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The slow computation itself is left out here."""

    def leave_out(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr("masscli.cli.score._compute", leave_out)
    monkeypatch.setattr("masscli.reporting.comparison.compare_outputs", leave_out)
    monkeypatch.chdir(tmp_path)
    Path("hyp").write_text(f"a\n{'a ' * 600}\na\n{'a ' * 700}\n")
    Path("ref").write_text(f"a\na\na\n{'b ' * 1800}\n")
    message = (
        "warning: hyp: TER of long lines takes minutes, as in sacreBLEU: line 4 has 1,800 words "
        "(2 lines of more than 500)"
    )
    scoring = ["score", "hyp", "--ref", "ref", "-m"]
    comparison = ["compare", "ref", "hyp", "-i", "ref", "--ref", "ref", "-m"]
    for command in (scoring, comparison):
        for metric in ("ter", "bleu"):
            with pytest.raises(SystemExit):
                run([*command, metric])
            err = capsys.readouterr().err.splitlines()
            assert (message in err) == (metric == "ter")


def test_the_longest_common_subsequence_is_the_longest() -> None:
    rng = random.Random(3)
    for _ in range(50):
        a, b = (rng.choices("abc", k=rng.randint(0, 7)) for _ in range(2))
        subsequences = (
            {
                "".join(s[i] for i in range(len(s)) if mask >> i & 1)
                for mask in range(1 << len(s))
            }
            for s in (a, b)
        )
        first, second = subsequences
        assert common_subsequence_length(a, b) == max(map(len, first & second))


def test_accuracy() -> None:
    def value(lowercase: bool) -> float:
        return score(
            ["a", "B ", "c"],
            [["a", "b", "x"]],
            ScoreConfig(metric=("accuracy",), lowercase=lowercase),
        )[0].value

    assert (value(False), value(True)) == (
        pytest.approx(100 / 3),
        pytest.approx(200 / 3),
    )


def test_a_line_is_scored_as_a_corpus_of_one_line() -> None:
    options = ScoreConfig(metric=("chrf", "ter", "rouge-l", "accuracy"))
    rows = score_lines(HYP[:5], [REF[:5], REF2[:5]], options)
    for hypothesis, first, second, row in zip(HYP, REF, REF2, rows, strict=False):
        assert row == score([hypothesis], [[first], [second]], options)


def test_a_system_does_not_differ_from_itself_and_differs_from_a_bad_one() -> None:
    options = ScoreConfig(metric=("bleu", "rouge-l"), bootstrap=100)
    found = compare({"base": HYP, "same": list(HYP), "bad": HYP[::-1]}, [REF], options)
    assert [s.p for s in found["base"]] == [None, None]
    assert all(s.p is not None and s.p > 0.5 for s in found["same"])
    assert all(s.p is not None and s.p < 0.05 for s in found["bad"])
    assert [s.value for s in found["same"]] == [
        s.value for s in score(HYP, [REF], options)
    ]
    assert [s.signature.split("|")[:3] for s in found["bad"]] == [
        ["nrefs:1", "bs:100", "seed:12345"]
    ] * 2


def test_equal_scores_do_not_differ() -> None:
    """The outputs differ, but no line has two words in common with its reference, so all scores are 0 in every
    sample."""
    options = ScoreConfig(metric=("rouge-2", "accuracy"), bootstrap=100)
    lines = {"base": ["a b"] * 9, "other": ["c d"] * 9}
    for one in compare(lines, [["x y"] * 9], options)["other"]:
        assert (one.value, one.p) == (0, 1)


def test_the_paired_test_is_sacrebleus(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed("score hyp hyp2 --ref ref --paired --bootstrap 60 --format json")
    ours = json.loads(capsys.readouterr().out)
    args = "ref -i hyp hyp2 -m bleu --paired-bs --paired-bs-n 60".split()
    peers = sacrebleu_cli(files, *args)
    assert [s["value"] for s in ours] == pytest.approx(
        [p["BLEU"]["score"] for p in peers], abs=1e-6
    )
    assert ours[1]["p"] == pytest.approx(peers[1]["BLEU"]["p_value"], abs=1e-6)


def test_columns(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    succeed(["score", "hyp", "--ref", "ref,ref2", "--metric", "bleu,rouge-1"])
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("BLEU    = ") and second.startswith("ROUGE-1 = ")
    assert first.index("nrefs:2") == second.index("nrefs:2")
    succeed(["score", "hyp", "hyp2", "--ref", "ref", "--paired", "--bootstrap", "10"])
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table if line] == [
        "BLEU",
        "hyp",
        "hyp2",
        "BLEU",
    ]
    assert "(p = " in table[2] and "(p = " not in table[1]


def test_a_language_without_moses_rules_is_reported(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for language, warned in (("xx", True), ("de", False)):
        succeed([*"score hyp --ref ref --metric multi-bleu --lang".split(), language])
        found = (
            f"warning: --lang {language}: the Moses tokenizer has no rules for it and takes those of English"
            in capsys.readouterr().err
        )
        assert found == warned


def test_a_reference_named_after_another_language_is_noticed(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Moses' rules for English split French words elsewhere than those for French do."""
    (files / "ref.fr").write_bytes((files / "ref").read_bytes())
    command = ["score", "hyp", "--ref", "ref.fr", "--metric"]
    asked = (
        "ref.fr: multi-bleu tokenizes it by the rules of en; should it be --lang fr?"
    )
    for options, noticed in (
        (["multi-bleu"], True),
        (["multi-bleu", "--lang", "fr"], False),
        (["bleu"], False),
    ):
        succeed([*command, *options])
        assert (f"warning: {asked}" in capsys.readouterr().err) == noticed


def test_one_number_per_line(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the cat\nsat down\n"))
    )
    (files / "two").write_text("the cat\nsat up\n")
    succeed(
        ["score", "-", "--ref", "two", "--sentence-level", "-m", "rouge-1,accuracy"]
    )
    assert capsys.readouterr().out == "100.00\t100.00\n50.00\t0.00\n"


DETACHED = "end in a detached full stop; they look tokenized"
PIECES = (
    "hyp: 4 of 4 hypotheses contain subword marks (@@ or \u2581); join the pieces first"
)
MISTAKES = {
    "tokenised": (
        "Ein Hund .",
        "Ein Hund.",
        f"hyp: 4 of 4 hypotheses {DETACHED}, but scores are for plain text",
    ),
    "subwords": ("Ein Hu@@ nd.", "Ein Hund.", PIECES),
    "pieces": ("\u2581Ein \u2581Hund.", "Ein Hund.", PIECES),
    "unknown": (
        "Ein <unk>.",
        "Ein Hund.",
        "hyp: 4 of 4 hypotheses contain unknown pieces (<unk> or \u2047)",
    ),
    "empty": ("", "Ein Hund.", "hyp: 4 of 4 hypotheses are empty"),
    "empty reference": (
        "Ein Hund.",
        "",
        "ref: 4 of 4 references are empty, and count as such, but their hypotheses are not",
    ),
    "same": ("Ein Hund.", "Ein Hund.", "hyp: every line is equal to the reference ref"),
    "case": (
        "ein hund.",
        "Ein Hund.",
        "hyp: has no capital letter, but ref does; with --lowercase case does not count",
    ),
    "copied": ("A dog.", "Ein Hund.", "hyp: is identical to the source"),
    "reference": ("Ein Hund.", "Ein Hund .", f"ref: 4 of 4 references {DETACHED}"),
    "fine": ("Ein Tier.", "Ein Hund.", None),
}


@pytest.mark.parametrize(
    ("hypothesis", "reference", "warning"), MISTAKES.values(), ids=list(MISTAKES)
)
def test_classical_mistakes_are_pointed_out(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    hypothesis: str,
    reference: str,
    warning: str | None,
) -> None:
    for name, line in {"hyp": hypothesis, "ref": reference, "src": "A dog."}.items():
        Path(name).write_text(f"{line}\n" * 4, encoding="utf-8")
    succeed(["score", "hyp", "--ref", "ref", "--src", "src", "-m", "chrf"])
    found = capsys.readouterr().err.splitlines()
    assert (f"warning: {warning}" in found) if warning is not None else found == []


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (["hyp", "--ref", "short"],
         ["error: hyp has 120 lines, but short has 1", "hint: line n of one is scored against line n of the other"]),
        (["hyp", "--ref", "ref", "--src", "short"],
         ["error: --src short: has 1 line, but hyp has 120", "hint: line n of one is the source of line n of the other"]),
        (["none", "--ref", "ref"], ["error: none: is empty", "hint: there is nothing to score"]),
        (["hyp", "--ref", "ref", "-m", "blue"],
         ["error: --metric: no metric called 'blue', did you mean 'bleu'?", "hint: masscli score --help"]),
        (["hyp", "--ref", "ref", "-m", "exact_match"],
         ["error: --metric: no metric called 'exact_match' (known: accuracy, bleu, chrf, chrf++, entity-f1, f1, mcc, multi-bleu, pearson, "
          "rouge, rouge-1, rouge-2, rouge-l, rouge-lsum, spearman, squad, ter)", "hint: masscli score --help"]),
        (["hyp", "--ref", "ref", "--format", "xml"], ["error: --format: 'xml' is not one of text, json", "hint: masscli score --help"]),
        (["hyp", "--ref", "ref", "--bootstrap", "9999999999"],
         ["error: --bootstrap: must not exceed 1000000, got 9999999999", "hint: masscli score --help"]),
        (["hyp", "--ref", "ref", "--bootstrap", "1"], ["error: --bootstrap: must be above 1, got 1", "hint: masscli score --help"]),
        (["hyp", "--ref", "ref", "--paired"],
         ["error: --paired: compares two or more files, got one", "hint: masscli score BASELINE OTHER... --ref FILE --paired"]),
        (["hyp", "hyp", "--ref", "ref"], ["error: hyp: given twice"]),
        (["hyp", "--ref", "latin"],
         ["error: latin:2: not UTF-8 (byte 0xe9 at offset 4)", "hint: convert it, for example: iconv -f ENCODING -t UTF-8"]),
        (["nothing", "--ref", "ref"], ["error: nothing: no such file", "hint: nothing in . has a name like it"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_a_hint(
    files: Path, capsys: pytest.CaptureFixture[str], args: list[str], lines: list[str]
) -> None:
    (files / "short").write_text("x\n")
    (files / "none").write_text("")
    (files / "latin").write_bytes(b"ok\nn\xe9e\n")
    assert run(["score", *args]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", lines)


def test_no_tokenizer_is_downloaded(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "masscli.metrics.sacrebleu_metrics.SACREBLEU_DIR", str(files / "home")
    )
    assert run(["score", "hyp", "--ref", "ref", "--tokenize", "flores200"]) == 2
    path = files / "home" / "models" / "flores200sacrebleuspm"
    assert capsys.readouterr().err.splitlines() == [
        f"error: --tokenize flores200: there is no {path}", "hint: masscli downloads nothing: put sacreBLEU's own model there"
    ]  # fmt: skip


def test_every_metric_scores_a_copy_perfectly() -> None:
    numbers = ["1", "2.5", "-4"]
    kinds = {
        "pearson": numbers,
        "spearman": numbers,
        "mcc": ["a", "b", "a"],
        "f1": ["a", "b", "a"],
        "entity-f1": ["B-x O I-y", "O B-z"],
    }
    for name in METRICS.names():
        text = kinds.get(name, REF)
        (found,) = score(text, [text], ScoreConfig(metric=(name,)))
        assert found.value == pytest.approx(0 if name == "ter" else 100)
        assert Counter(found.signature)["|"] > 0 and "version:" in found.signature
    with pytest.raises(ConfigError):
        score(REF, [REF], ScoreConfig(metric=("comet",)))


SHORT = (
    "no line has 4 words, so there is no 4-gram; --metric chrf measures such short lines, "
    "and --sentence-level leaves missing n-grams out"
)
BRIEF = "the hypotheses have 4 words and the references 4000, so that the brevity penalty is 0; is the output complete?"
UNSMOOTHED = "no 3-gram is, and nothing is smoothed; --metric bleu smooths, and --metric chrf measures parts of words"


@pytest.mark.parametrize(
    ("hypothesis", "reference", "metric", "reasons"),
    [
        ("a small cat\nno\n", "a small cat\nno\n", "bleu,chrf", {"BLEU": SHORT}),
        ("a small cat\n", "a big cat\n", "multi-bleu", {"multi-BLEU": SHORT}),
        ("a b c d e\n", "a b x d e\n", "bleu,multi-bleu", {"multi-BLEU": UNSMOOTHED}),
        # The penalty is exp(1 - 4000 / 4), below the smallest positive float.
        ("a b c d\n", "a b c d " * 1000 + "\n", "bleu", {"BLEU": BRIEF}),
        # Nothing is right, and four words are enough.
        ("a b c d\n", "e f g h\n", "bleu,multi-bleu", {}),
        ("a b c d\n", "a b c d\n", "bleu,multi-bleu", {}),
    ],
)
@pytest.mark.parametrize("options", [[], ["--paired", "--bootstrap", "10"]], ids=str)
def test_a_bleu_of_zero_is_explained(
    options: list[str],
    hypothesis: str,
    reference: str,
    metric: str,
    reasons: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ref").write_text(reference)
    names = ["hyp", "other"][: 1 + len(options)]
    for name in names:
        Path(name).write_text(hypothesis)
    succeed(["score", *names, "--ref", "ref", "--metric", metric, *options])
    messages = [line for line in capsys.readouterr().err.splitlines() if "is 0" in line]
    assert messages == [
        f"warning: {name}: {title} is 0 although words are right: {reason}"
        for name in names
        for title, reason in reasons.items()
    ]

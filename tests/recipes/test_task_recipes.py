"""The recipes of understanding, summarization and dialogue, written down: what they ask of the commands, and what they make of text."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path

import pytest

from tests.recipes.test_recipes import ROOT, accept, bash, flags, stubbed, value

STUB = """#!/usr/bin/env bash
printf '%s\\0' "$@" >> "$CALLS"
printf '\\n' >> "$CALLS"
if [ "$1" = score ]; then
    n=$(wc -l < "$CALLS")
    for name in accuracy F1 Matthews Pearson "entity F1" exact f1 ROUGE-1 ROUGE-2 ROUGE-L; do echo "$name = $n.50  signature"; done
fi
[ "$1" != inspect ] || echo "# model 3,928,064 parameters; heads 516"
while [ $# -gt 1 ]; do
    case $1 in
        --output) echo x > "$2" ;;
        --save-dir) mkdir -p "$2"; for n in 40.5 30.25 35; do
            echo '{"event": "evaluated", "metrics": {"respond-x.ppl-piece": 1.0, "ppl-piece": '$n', "ppl-word": 1e+02}}'
        done > "$2/log.jsonl"; cat "${LOG:-/dev/null}" >> "$2/log.jsonl" ;;
    esac
    shift
done
"""
WRITERS = ("scratch", "mass", "mass-paper", "bertlm", "dae", "unilm")
SMALL = {"NOVEL_LINES": "3", "HELD": "1", "SEEDS": "1 2"}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stub writes its calls down; as the real commands, it leaves outputs and logs."""
    return stubbed(tmp_path, monkeypatch, STUB)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Novels of five lines in two languages, dialogues, headlines, a task of each form."""
    (tmp_path / "novels").mkdir()
    for language in ("en", "ro"):
        (tmp_path / f"novels/{language}.txt.gz").write_bytes(
            gzip.compress("".join(f"{language} {n}\n" for n in range(5)).encode())
        )
    for split in ("train", "valid"):
        put(tmp_path / f"dialogue/{split}.en.txt", f"{split} hello\thow are you ?\tfine\nyes\tno\n")
        put(tmp_path / f"headlines/{split}.src", f"{split} one\n{split} two\n")
        put(tmp_path / f"headlines/{split}.tgt", "a\nb\n")
        for task in ("sst2", "cola"):
            put(tmp_path / f"{task}/{split}.tsv", "label\tsentence\n1\tx\n")
        put(tmp_path / f"rosts-similarity/{split}.tsv", "label\tsentence1\tsentence2\n1\tx\ty\n")
        put(tmp_path / f"ud-romanian/{split}.conll", "un\tDET\n\n")
        put(tmp_path / f"wnut17/{split}.conll", "a\tO\n\n")
        put(tmp_path / f"nextturn/{split}.jsonl", '{"context": "c", "choices": ["a", "b"], "label": 1}\n')
        put(tmp_path / f"squad2/{split}.json", "{}")
    return tmp_path


def recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The calls written down; of those that differ in paths and seeds alone, the real command accepts the first."""
    found = [line.split("\0")[:-1] for line in path.read_text().split("\n")[:-1]]
    kinds = {
        (call[0], *flags(call), *(value(call, f) for f in ("--objective", "--task") if f in call)): call
        for call in reversed(found)
    }
    for call in kinds.values():
        accept(call, monkeypatch)
    return found


def settings(calls: list[list[str]], own: set[str]) -> set[tuple[tuple[str, str], ...]]:
    """The flags of some calls with their values, but for those that may differ."""
    return {tuple((f, v) for f, v in pairwise(call) if f.startswith("--") and f not in own) for call in calls}


def test_understanding_gives_every_system_the_same_budget(
    text: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems = "scratch bert roberta albert electra gpt unilm mlm clm mass denoise bert+lm"
    small = {**SMALL, "CALLS": str(written), "METHODS": systems, "TASKS": "sst2 rosts-similarity"}
    script = ROOT / "recipes/understanding/run.sh"
    done = bash(script, ".", "out", cwd=text, **small)
    assert done.returncode == 0, done.stderr
    assert (
        text / "out/text/mono.en"
    ).read_text() == "en 1\nen 2\nen 3\n\ntrain hello\nhow are you ?\nfine\n\nyes\nno\n\n"
    assert (
        text / "out/text/valid.en"
    ).read_text() == "en 0\n\nvalid hello\nhow are you ?\nfine\n\nyes\nno\n\n"
    found = recorded(written, monkeypatch)
    learned = [call for call in found if call[0] == "pretrain"]
    assert [value(call, "--objective") for call in learned] == systems.split()[1:]
    assert {value(call, "--langs") for call in learned} == {"en,ro"}
    assert (
        len(
            {
                (value(c, "--max-update"), value(c, "--max-tokens"), value(c, "--lr"), value(c, "--arch"))
                for c in learned
            }
        )
        == 1
    )
    tuned = [call for call in found if call[0] == "finetune"]
    assert len(tuned) == 12 * 2 * 2
    own = {"--init-from", "--arch", "--seed", "--save-dir", "--decoder-layers", "--segments", "--languages", "--pair-format", "--head",
           "--lm-weight", "--both-orders", "--double-unordered"}  # fmt: skip
    for task in ("classify", "regress"):
        assert len(settings([call for call in tuned if value(call, "--task") == task], own)) == 1
    starts = [
        value(call, "--init-from") if "--init-from" in call else "scratch"
        for call in tuned
        if value(call, "--seed") == "1"
    ]
    assert starts[:12] == ["scratch", *(f"out/pre-{name}" for name in systems.split()[1:])] == starts[12:]
    # Every vocabulary is that of the text; the Romanian task is read as Romanian, and judged by another measure.
    _, english, romanian = (call for call in found if call[0] == "preprocess")
    assert [value(call, "--spm-model") for call in (english, romanian)] == ["out/data"] * 2
    assert [value(call, "--table-lang") for call in (english, romanian)] == ["en", "ro"]
    assert {value(call, "--best-metric") for call in tuned} == {"accuracy", "pearson"}
    head, *rows = [row.split() for row in done.stdout.splitlines()]
    assert head == ["task", *systems.split()] and [row[0] for row in rows] == ["sst2", "rosts-similarity"]
    # The stub's scores are the number of calls so far and a half; a pair of seeds is three calls apart, so 2.1 is their deviation.
    assert all(cell.endswith("+-2.1") for row in rows for cell in row[1:])
    first = next(n for n, call in enumerate(found, 1) if call[0] == "score")
    assert rows[0][1] == f"{first + 2}.0+-2.1"
    (text / "out/scores/sst2-mass-2.txt").unlink()
    written.unlink()
    again = bash(script, ".", "out", cwd=text, **small)
    assert again.returncode == 0, again.stderr
    once = [call[0] for call in recorded(written, monkeypatch) if call[0] not in ("preprocess", "pretrain")]
    assert once == ["finetune", "predict", "score"]


def test_the_text_of_tasks_may_be_read_without_its_labels(text: Path, written: Path) -> None:
    for split in ("train", "valid"):
        put(text / f"mrpc/{split}.tsv", "label\tsentence1\tsentence2\n1\ta b\tc\n0\td\te\n")
    small = {
        **SMALL,
        "CALLS": str(written),
        "METHODS": "mlm",
        "TASKS": "sst2",
        "TASK_TEXT": "mrpc rosts-similarity",
    }
    done = bash(ROOT / "recipes/understanding/run.sh", ".", "out", cwd=text, **small)
    assert done.returncode == 0, done.stderr
    assert (text / "out/text/mono.en").read_text().endswith("\nyes\nno\n\na b\n\nc\n\nd\n\ne\n\n")
    assert (text / "out/text/mono.ro").read_text() == "ro 1\nro 2\nro 3\n\nx\n\ny\n\n"
    assert not {"a b", "x"} & {*(text / "out/text/valid.en").read_text().split("\n")}


def test_curves_of_objectives(text: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row out of a log: losses at their updates, medians, the most memory; tlm reads pairs and nothing else does."""
    stepped = [(50, 20.0, 1000, 0.51), (100, 10.0, 900, 0.62), (150, 30.0, 3000, 0.5)]
    put(text / "log", "".join(
        f'{{"event": "stepped", "time": 1.5, "step": {s}, "targets": {t}, "seconds": {c}, "memory": {m}}}\n' for s, c, t, m in stepped
    ) + '{"event": "evaluated", "step": 100, "metrics": {"bert-en.loss": 9.5, "loss": 7.25, "ppl": 8.0}}\n'
        '{"event": "finished", "step": 150, "seconds": 119.0}\n')  # fmt: skip
    variants = [
        "electra-two-stage",
        "electra-adversarial",
        "electra-15",
        "electra-replace-mlm",
        "electra-all-tokens-mlm",
    ]
    small = {**SMALL, "METHODS": " ".join(["bert", "tlm", *variants]),
             "PRETRAIN_UPDATES": "200", "PRETRAIN_VALIDATE": "100", "PAIRS": "pairs/train",
             "PAIRS_VALID": "pairs/valid", "CALLS": str(written), "LOG": str(text / "log")}  # fmt: skip
    done = bash(ROOT / "recipes/objectives/run.sh", ".", "out", cwd=text, **small)
    assert done.returncode == 0, done.stderr
    rows = [row.split() for row in done.stdout.splitlines()]
    assert rows[0] == ["objective", "parameters", "@100", "@200", "s/update", "labels/s", "GiB", "minutes"]
    assert rows[1:] == [
        [name, "3,928,064", "7.250", "-", "0.40", "90", "0.6", "2"] for name in ("bert", "tlm", *variants)
    ]
    found = recorded(written, monkeypatch)
    learned = [call for call in found if call[0] == "pretrain"]
    assert [call[1] for call in learned] == ["out/data", "out/pairs", *["out/data"] * len(variants)]
    assert {value(call, "--validate-interval-updates") for call in learned} == {"100"}
    assert {value(call, "--objective") for call in learned[2:]} == {"electra"}
    assert [value(call, "--variant") for call in learned[2:]] == [
        "two-stage",
        "adversarial",
        "electra-15",
        "replace-mlm",
        "all-tokens-mlm",
    ]
    assert value(learned[2], "--generator-updates") == "100"
    pairs = next(call for call in found if call[0] == "preprocess" and "--trainpref" in call)
    assert (value(pairs, "--spm-model"), value(pairs, "--trainpref")) == ("out/data", "./pairs/train")


def test_understanding_scores_every_kind_of_task_its_own_way(
    text: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {
        **SMALL,
        "SEEDS": "1",
        "CALLS": str(written),
        "METHODS": "scratch",
        "TASKS": "cola wnut17 ud-romanian nextturn squad2",
    }
    done = bash(ROOT / "recipes/understanding/run.sh", ".", "out", cwd=text, **small)
    assert done.returncode == 0, done.stderr
    found = recorded(written, monkeypatch)
    tasks = [(value(c, "--task"), value(c, "--best-metric")) for c in found if c[0] == "finetune"]
    assert tasks == [
        ("classify", "mcc"),
        ("tag", "entity-f1"),
        ("tag", "accuracy"),
        ("choose", "accuracy"),
        ("extract", "f1"),
    ]
    scored = [
        (value(c, "--ref"), value(c, "--metric"), "--column" in c and value(c, "--column"))
        for c in found
        if c[0] == "score"
    ]
    assert scored == [
        ("./cola/valid.tsv", "mcc,accuracy", "label"), ("./wnut17/valid.conll", "entity-f1", False),
        ("./ud-romanian/valid.conll", "accuracy", False), ("./nextturn/valid.jsonl", "accuracy", "label"),
        ("./squad2/valid.json", "squad", False),
    ]  # fmt: skip
    assert not [call for call in found if call[0] == "pretrain"]


def test_every_system_answers_questions_with_its_own_head(
    text: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ALBERT's where there may be no answer; on SQuAD 1.1 it has BERT's."""
    for split in ("train", "valid"):
        put(text / f"xquad/{split}.en.json", "{}")
    systems = "bert roberta albert electra"
    small = {**SMALL, "SEEDS": "1", "CALLS": str(written), "METHODS": systems, "TASKS": "squad2 xquad-en"}
    done = bash(ROOT / "recipes/understanding/run.sh", ".", "out", cwd=text, **small)
    assert done.returncode == 0, done.stderr
    tuned = [call for call in recorded(written, monkeypatch) if call[0] == "finetune"]
    heads = [value(call, "--qa-head") if "--qa-head" in call else None for call in tuned]
    assert heads == [None, "roberta", "albert", "electra", None, "roberta", None, "electra"]


def test_glue_as_it_is_distributed(text: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(text / "glue/CoLA/train.tsv", "gj04\t1\t\tOur friends.\n")
    put(text / "glue/CoLA/dev.tsv", "gj04\t0\t*\tFriends our.\n")
    for split in ("train", "dev"):
        put(text / f"glue/MRPC/{split}.tsv", "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t2\t3\ta\tb\n")
    put(text / "wiki.txt", "one\n")
    public = {
        "PRETRAIN_TEXT": "en=wiki.txt",
        "LANGS": "en",
        "TASKS": "CoLA MRPC",
        "METHODS": "scratch",
        "SEEDS": "1",
    }
    done = bash(ROOT / "recipes/understanding/run.sh", "glue", "out", cwd=text, CALLS=str(written), **public)
    assert done.returncode == 0, done.stderr
    assert (
        text / "out/text/CoLA.dev.tsv"
    ).read_text() == "source\tlabel\tmark\tsentence\ngj04\t0\t*\tFriends our.\n"
    first, cola, mrpc = (call for call in recorded(written, monkeypatch) if call[0] == "preprocess")
    assert value(first, "--mono") == "en=wiki.txt"
    assert value(cola, "--tsv") == "train=out/text/CoLA.train.tsv,valid=out/text/CoLA.dev.tsv"
    assert value(mrpc, "--tsv") == "train=glue/MRPC/train.tsv,valid=glue/MRPC/dev.tsv"
    tuned = [call for call in recorded(written, monkeypatch) if call[0] == "finetune"]
    assert (value(tuned[1], "--label-column"), value(tuned[1], "--text-columns")) == (
        "Quality",
        "#1 String,#2 String",
    )


def test_headlines_from_every_beginning(text: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {**SMALL, "CALLS": str(written), "SIZES": "10 all"}
    script = ROOT / "recipes/summarization/run.sh"
    done = bash(script, ".", "out", cwd=text, **small)
    assert done.returncode == 0, done.stderr
    assert (text / "out/text/mono.en").read_text().endswith("\ntrain one\n\ntrain two\n\n")
    found = recorded(written, monkeypatch)
    learned = {Path(value(call, "--save-dir")).name: call for call in found if call[0] == "pretrain"}
    assert {name: value(call, "--objective") for name, call in learned.items()} == {
        "pre-mass-summarization": "mass", "pre-mass-paper": "mass", "pre-bert+lm": "bert+lm", "pre-denoise": "denoise",
        "pre-unilm": "unilm",
    }  # fmt: skip
    assert [value(learned[f"pre-mass-{preset}"], "--preset") for preset in ("paper", "summarization")] == [
        "paper",
        "summarization",
    ]
    assert {value(call, "--langs") for call in learned.values()} == {"en"}
    tuned = {Path(value(call, "--save-dir")).name: call for call in found if call[0] == "finetune"}
    assert len(tuned) == 6 * 2 * 2
    assert ("--max-examples" in tuned["mass-all-1"], value(tuned["mass-10-2"], "--max-examples")) == (
        False,
        "10",
    )
    own = {"--init-from", "--arch", "--languages", "--save-dir", "--seed", "--max-examples"}
    assert (
        len(settings(list(tuned.values()), own)) == 1 and value(tuned["unilm-all-1"], "--task") == "summarize"
    )
    assert {value(call, "--metric") for call in found if call[0] == "score"} == {"rouge"}
    rows = [row.split() for row in done.stdout.split("\n\n")[0].splitlines()]
    assert rows[0] == ["method", "examples", "ROUGE-1", "ROUGE-2", "ROUGE-L"]
    assert [row[:2] for row in rows[1:]] == [[m, n] for n in ("10", "all") for m in WRITERS]
    written.unlink()
    again = bash(script, ".", "out", cwd=text, **small)
    assert (again.returncode, again.stdout) == (0, done.stdout), again.stderr
    assert {call[0] for call in recorded(written, monkeypatch)} == {"preprocess", "pretrain"}


def test_gigaword_as_it_is_distributed(text: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    giga = text / "sumdata"
    put(giga / "Giga/input.txt", "test article\n")
    put(giga / "Giga/task1_ref0.txt", "test title\n")
    for kind in ("article", "title"):
        put(giga / f"train/valid.{kind}.filter.txt", f"valid {kind}\n")
        (giga / f"train/train.{kind}.txt.gz").write_bytes(gzip.compress(f"train {kind}\n".encode()))
    public = {
        "FORM": "gigaword",
        "PRETRAIN_TEXT": "en=news.txt",
        "METHODS": "mass",
        "SEEDS": "1",
        "CALLS": str(written),
    }
    done = bash(ROOT / "recipes/summarization/run.sh", "sumdata", "out", cwd=text, **public)
    assert done.returncode == 0, done.stderr
    made = {
        name: (text / f"out/text/{name}").read_text()
        for name in ("train.en", "train.title", "valid.en", "test.en", "test.title")
    }
    assert made == {"train.en": "train article\n", "train.title": "train title\n", "valid.en": "valid article\n",
                    "test.en": "test article\n", "test.title": "test title\n"}  # fmt: skip
    generate = next(call for call in recorded(written, monkeypatch) if call[0] == "generate")
    assert value(generate, "--input") == "out/text/test.en"


def test_dialogue_says_perplexity_by_two_units(
    text: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ROOT / "recipes/dialogue/run.sh"
    done = bash(script, ".", "out", cwd=text, CALLS=str(written), **SMALL)
    assert done.returncode == 0, done.stderr
    found = recorded(written, monkeypatch)
    tuned = [call for call in found if call[0] == "finetune"]
    assert len(tuned) == 6 * 2 and {value(call, "--task") for call in tuned} == {"respond"}
    assert len(settings(tuned, {"--init-from", "--arch", "--languages", "--save-dir", "--seed"})) == 1
    rows = [row.split() for row in done.stdout.splitlines()]
    assert rows[0] == ["method", "examples", "ppl-piece", "ppl-word"]
    assert rows[1:] == [[name, "all", "30.2+-0.0", "100.0+-0.0"] for name in WRITERS]


def test_cornell_as_it_is_distributed(text: Path, written: Path) -> None:
    mark = " +++$+++ "
    lines = [
        ("L1", "Caf\xe9?"),
        ("L2", "Yes\there."),
        ("L3", ""),
        ("L4", "No."),
        ("L5", "Why?"),
        ("L6", "So."),
    ]
    spoken = "".join(f"{mark.join((name, 'u0', 'm0', 'BIANCA', said))}\n" for name, said in reversed(lines))
    talks = "".join(
        f"{mark.join(('u0', 'u2', 'm0', str(names)))}\n"
        for names in (["L1", "L2"], ["L2", "L3", "L4"], ["L4", "L5", "L6"])
    )
    (text / "cornell").mkdir()
    (text / "cornell/movie_lines.txt").write_bytes(spoken.encode("windows-1252"))
    (text / "cornell/movie_conversations.txt").write_bytes(talks.encode("windows-1252"))
    public = {
        "FORM": "cornell",
        "PRETRAIN_TEXT": "en=x.txt",
        "METHODS": "scratch",
        "SEEDS": "1",
        "VALID_EACH": "2",
        "CALLS": str(written),
    }
    done = bash(ROOT / "recipes/dialogue/run.sh", "cornell", "out", cwd=text, **public)
    assert done.returncode == 0, done.stderr
    assert (text / "out/text/train.txt").read_text(encoding="utf-8") == "Café?\tYes here.\n"
    assert (text / "out/text/valid.txt").read_text(encoding="utf-8") == "No.\tWhy?\tSo.\n"


def test_sweeps(text: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {**SMALL, "CALLS": str(written), "RATES": "0.1 0.2", "MASKS": "0.05 0.5"}
    script = ROOT / "recipes/understanding/sweep.sh"
    done = bash(script, "rates", ".", "out", cwd=text, **small)
    assert done.returncode == 0, done.stderr
    found = recorded(written, monkeypatch)
    assert [value(call, "--lr") for call in found if call[0] == "finetune"] == ["0.1", "0.1", "0.2", "0.2"]
    rows = [row.split() for row in done.stdout.splitlines()]
    assert (
        rows[0] == ["rates", "mean", "1", "2"]
        and [row[0] for row in rows[1:]] == ["0.1", "0.2"]
        and len(rows[1]) == 4
    )
    written.unlink()
    done = bash(script, "masks", ".", "out", cwd=text, **small)
    assert done.returncode == 0, done.stderr
    found = recorded(written, monkeypatch)
    learned = [call for call in found if call[0] == "pretrain"]
    places = ["out/pre-bert-0.05", "out/pre-bert-0.5"]
    assert [(value(call, "--mask-prob"), value(call, "--save-dir")) for call in learned] == list(
        zip(("0.05", "0.5"), places, strict=True)
    )
    assert [value(call, "--init-from") for call in found if call[0] == "finetune"] == [
        place for place in places for _ in range(2)
    ]
    wrong = bash(script, "heads", ".", "out", cwd=text)
    assert (wrong.returncode, wrong.stderr) == (2, "error: heads: expected rates or masks\n")


@pytest.mark.parametrize(
    ("recipe", "given", "lines"),
    [
        ("understanding", {"METHODS": "scratch xlnet"},
         ["error: no method called xlnet",
          "hint: METHODS are of: scratch bert roberta albert electra gpt unilm mlm clm mass denoise bert+lm "
          "electra-two-stage electra-adversarial electra-15 electra-replace-mlm electra-all-tokens-mlm"]),
        ("understanding", {"TASKS": "sst3"}, ["error: no task called sst3"]),
        ("understanding", {"TASKS": "QNLI"}, ["error: ./QNLI/train.tsv: no such file"]),
        ("understanding", {"SCALE": "paper"}, ["error: SCALE=paper: expected tiny or gpu"]),
        ("summarization", {"FORM": "cnndm"}, ["error: FORM=cnndm: expected headlines or gigaword"]),
        ("summarization", {"FORM": "gigaword"}, ["error: ./train/train.article.txt: no such file"]),
        ("dialogue", {"FORM": "opus"}, ["error: FORM=opus: expected turns or cornell"]),
        ("dialogue", {"METHODS": "bert"},
         ["error: no method called bert", "hint: METHODS are of: scratch mass mass-paper bertlm dae unilm"]),
    ],
)  # fmt: skip
def test_mistakes(recipe: str, given: dict[str, str], lines: list[str], text: Path) -> None:
    done = bash(ROOT / f"recipes/{recipe}/run.sh", ".", "out", cwd=text, **given)
    assert (done.returncode, done.stderr.splitlines()) == (2, lines)

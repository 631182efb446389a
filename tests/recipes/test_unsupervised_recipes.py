"""The recipes of translation without pairs and of the paper's studies, written down: what they ask of the real commands."""

from __future__ import annotations

import gzip
import json
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tests.recipes.test_recipes import ROOT, STUB, bash, recorded, stubbed, value

SMALL = {"NOVEL_LINES": "3", "BT_UPDATES": "40", "SIZES": "10"}


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stub writes its calls down; as the real one, `generate` leaves a file and pre-training a log."""
    more = """
while [ $# -gt 1 ]; do
    case $1 in
        --output) echo x > "$2" ;;
        --save-dir) mkdir -p "$2"; echo '{"event": "evaluated", "metrics": {"loss": 1.0, "ppl": 2.5}}' > "$2/log.jsonl" ;;
    esac
    shift
done
"""
    return stubbed(tmp_path, monkeypatch, STUB + more)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """The folders that the small scales read: eight pairs of captions and of stories, novels."""
    for place, splits in (("multi30k", ("train", "valid", "test2016")), ("rosts", ("train", "valid"))):
        (tmp_path / place).mkdir()
        for split in splits:
            for language in ("en", "fr", "de", "ro"):
                lines = "".join(
                    f"{language} {split} {n}\n" for n in range(1, 9 if split == "train" else 1003)
                )
                (tmp_path / place / f"{split}.{language}").write_text(lines, encoding="utf-8")
    (tmp_path / "novels").mkdir()
    for language in ("en", "fr", "de", "ro"):
        lines = "".join(f"{language} novel {n}\n" for n in range(9))
        (tmp_path / f"novels/{language}.txt.gz").write_bytes(gzip.compress(lines.encode()))
    return tmp_path


def kinds(calls: Sequence[Sequence[str]]) -> list[str]:
    return [call[0] for call in calls]


def test_no_pair_is_ever_seen(text: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = bash(
        ROOT / "recipes/multi30k/unsupervised.sh",
        "multi30k",
        "novels",
        "en-fr",
        "out",
        cwd=text,
        CALLS=str(written),
        **SMALL,
    )
    assert done.returncode == 0, done.stderr
    novels = [f"novel {n}" for n in range(3)]
    assert (text / "out/text/mono.en").read_text().split("\n")[:-1] == [
        f"en {x}" for x in [*(f"train {n}" for n in range(1, 5)), *novels]
    ]
    assert (text / "out/text/mono.fr").read_text().split("\n")[:-1] == [
        f"fr {x}" for x in [*(f"train {n}" for n in range(5, 9)), *novels]
    ]
    found = recorded(written, monkeypatch)
    assert kinds(found) == ["preprocess", "preprocess", "dictionary", "pretrain", "inspect", "finetune", *["score"] * 4,
                            *["generate", "score", "score"] * 4]  # fmt: skip
    preprocess, near, dictionary, pretrain, _, finetune = found[:6]
    assert (
        f"en={Path('out/text/half.en')}" in near
        and value(near, "--spm-model") == f"{value(preprocess, '--destdir')}/vocab.model"
    )
    assert finetune[1] == value(near, "--destdir") != value(preprocess, "--destdir") == pretrain[1]
    assert value(dictionary, "--from") == "text" and value(dictionary, "--output") == value(
        pretrain, "--switch-dictionary"
    )
    assert "--trainpref" not in preprocess and "--dedup" in preprocess and "--drop-held-out" in preprocess
    vectors = value(dictionary, "--vectors")
    assert (
        value(pretrain, "--init-vectors") == f"en={vectors}.en,fr={vectors}.fr"
        and value(pretrain, "--auxiliary") == "denoise"
    )
    assert (
        value(finetune, "--auxiliary") == "denoise=0:1,13:0.1,40:0"
        and value(finetune, "--best-metric") == "roundtrip"
    )
    assert (
        value(finetune, "--init-from") == value(pretrain, "--save-dir")
        and value(finetune, "--batch-reuse") == "2"
    )
    assert "en-fr 32.76, fr-en 32.07" in done.stdout and "no text but multi30k and novels" in done.stdout


def test_a_second_round_begins_with_what_the_first_model_writes(
    text: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = bash(ROOT / "recipes/multi30k/unsupervised.sh", "multi30k", "novels", "en-fr", "out", cwd=text, CALLS=str(written), ROUNDS="2",
                **SMALL)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = recorded(written, monkeypatch)
    dictionary = [call for call in found if call[0] == "dictionary"][-1]
    mass = [call for call in found if call[0] == "pretrain"][-1]
    again = [call for call in found if call[0] == "finetune"][-1]
    assert value(dictionary, "--from") == "pairs"
    assert (
        value(mass, "--switch-dictionary")
        == value(again, "--switch-dictionary")
        == value(dictionary, "--output")
    )
    assert value(again, "--init-from") == value(mass, "--save-dir") == "out/mass-2"
    halves = {side: (text / f"out/text/half.{side}").read_text() for side in ("en", "fr")}
    assert (text / "out/text/round2.en").read_text() == halves[
        "en"
    ] + "x\n"  # each side's own text is beside what the model made of it
    assert (text / "out/text/round2.fr").read_text() == "x\n" + halves["fr"]
    # Beside back-translation it learns to write real text from what was made of it, and not the other way.
    beside = [item for item, before in zip(again[1:], again, strict=False) if before == "--auxiliary"]
    assert beside == [
        "denoise=0:1,13:0.1,40:0",
        *(f"translate@out/offline2-{way}=0:1,20:0.1,40:0" for way in ("en-fr", "fr-en")),
    ]
    offline = {
        value(call, "--langs"): call
        for call in found
        if call[0] == "preprocess" and "offline2" in value(call, "--destdir")
    }
    assert set(offline) == {"en,fr", "fr,en"}
    for way, call in offline.items():
        made, real = way.split(",")
        prefix = text / value(call, "--trainpref")
        assert (
            Path(f"{prefix}.{made}").read_text() == "x\n"
            and Path(f"{prefix}.{real}").read_text() == halves[real]
        )
        assert value(call, "--destdir") == f"out/offline2-{made}-{real}"
    assert [row.split()[0] for row in done.stdout.split("\n")[:5]] == [
        "system",
        "copy",
        "mass",
        "unsupervised",
        "unsupervised-2",
    ]


def test_what_each_step_took_stands_at_the_end(text: Path, written: Path) -> None:
    done = bash(
        ROOT / "recipes/multi30k/unsupervised.sh",
        "multi30k",
        "novels",
        "en-fr",
        "out",
        cwd=text,
        CALLS=str(written),
        **SMALL,
    )
    assert {"mass", "unsupervised", "test:copy", "test:mass", "test:unsupervised"} <= {
        row.split()[0] for row in costs(done.stdout)[1:]
    }
    log = [
        {"event": "stepped", "memory": 1.5},
        {"event": "stepped", "memory": 2.25, "seconds": 9},
        {"event": "finished", "seconds": 150.0},
    ]
    (text / "out/mass/log.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in log))
    (text / "again.sh").write_text(f"source {ROOT}/recipes/unsupervised.sh; output=out lang=fr; costs")
    rows = [row.split() for row in costs(bash(text / "again.sh", cwd=text).stdout)]
    assert rows[0] == ["step", "minutes", "memory-GiB", "disk-MiB"] and ["mass", "2.5", "2.2"] in [
        row[:3] for row in rows
    ]


def costs(printed: str) -> list[str]:
    return printed[printed.index("step ") :].splitlines()


def test_the_control_is_back_translation_alone(
    text: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {
        "SWITCH": "0",
        "BESIDE": "",
        "ONLY_SEEN": "0",
        "PRETRAIN_BESIDE": "",
        "BT_NOISE": "",
        "CALLS": str(written),
        **SMALL,
    }
    done = bash(
        ROOT / "recipes/multi30k/unsupervised.sh", "multi30k", "novels", "en-de", "out", cwd=text, **alone
    )
    assert done.returncode == 0, done.stderr
    pretrain, finetune = (
        next(call for call in recorded(written, monkeypatch) if call[0] == kind)
        for kind in ("pretrain", "finetune")
    )
    assert (
        "--auxiliary" not in pretrain
        and "--auxiliary" not in finetune
        and value(finetune, "--min-piece-count") == "0"
    )
    assert not {"--switch-dictionary", "--init-vectors", "--source-dropout"} & {*pretrain, *finetune}


def test_stories_are_mixed_two_by_two(text: Path, written: Path) -> None:
    """rosts goes from captions to headlines, and two lines in a row are paraphrases: both halves have all kinds, none has one of two."""
    for side in ("en", "ro"):
        (text / f"rosts/train.{side}").write_text("".join(f"{side} {n}\n" for n in range(400)))
    done = bash(ROOT / "recipes/enro/run.sh", ".", "out", cwd=text, CALLS=str(written), **SMALL)
    assert done.returncode == 0, done.stderr
    english, romanian = ([int(line.split()[1]) for line in (text / f"out/text/half.{side}").read_text().splitlines()]
                         for side in ("en", "ro"))  # fmt: skip
    assert sorted(english + romanian) == list(range(400))
    assert {n // 2 for n in english} & {n // 2 for n in romanian} == set() and english[1::2] == [
        n + 1 for n in english[::2]
    ]
    assert 0.3 < sum(n < 200 for n in english) / len(english) < 0.7
    pairs = [
        (text / f"out/text/pairs.{side}").read_text().replace(side, "").split("\n") for side in ("en", "ro")
    ]
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize(
    ("lang", "reported"), [("fr", "37.5 34.9"), ("de", "28.3 35.2"), ("ro", "35.2 33.1")]
)
def test_small_scales_make_a_table_and_go_on(
    lang: str, reported: str, text: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ROOT / f"recipes/en{lang}/run.sh"
    done = bash(script, ".", "out", "--scale", "tiny", cwd=text, CALLS=str(written), **SMALL)
    assert done.returncode == 0, done.stderr
    found = recorded(written, monkeypatch)
    pairs = [call for call in found if call[0] == "finetune" and "translate" in call]
    extra = ["pairs-and-bt"] if lang == "ro" else []
    assert [Path(value(call, "--save-dir")).name for call in pairs] == ["scratch-10", "mass-10", *extra]
    assert all(value(call, "--pairs") == f"en-{lang},{lang}-en" for call in pairs)
    base = (
        "mass-few" if lang == "ro" else "mass"
    )  # little text connects English and Romanian: a dictionary of the pairs does
    assert [Path(value(call, "--init-from")).name for call in pairs[1:]] == [base] * (1 + len(extra))
    dictionaries = [call for call in found if call[0] == "dictionary"]
    assert [value(call, "--from") for call in dictionaries] == ["text", *["pairs"] * len(extra)]
    learned = [call for call in found if call[0] == "pretrain"][-1]
    assert value(learned, "--switch-dictionary") == value(dictionaries[-1], "--output")
    assert [("--init-from" in call, "--max-examples" in call) for call in pairs[:2]] == [
        (False, True),
        (True, True),
    ]
    assert (["--plain-romanian" in call for call in found if call[0] == "score"].count(True) > 0) == (
        lang == "ro"
    )
    rows = [row.split()[0] for row in done.stdout.split("\n")[: 6 + len(extra)]]
    assert rows == ["system", "copy", "mass", "unsupervised", "scratch-10", "mass-10", *extra]
    assert reported in done.stdout
    written.unlink()
    again = bash(script, ".", "out", cwd=text, CALLS=str(written), **SMALL)
    assert (again.returncode, again.stdout) == (0, done.stdout), again.stderr
    assert not {"generate", "score"} & set(
        kinds(recorded(written, monkeypatch))
    )  # the rest goes on by itself


def test_the_scale_of_the_paper(text: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text / "wmt").mkdir()
    for name in ("mono", "valid", "test", "pairs"):
        for language in ("en", "fr"):
            lines = f"{language} {name}\n".encode()
            path = text / "wmt" / f"{name}.{language}"
            path.write_bytes(lines) if name != "mono" else path.with_name(path.name + ".gz").write_bytes(
                gzip.compress(lines)
            )
    done = bash(ROOT / "recipes/enfr/run.sh", "wmt", "out", "--scale", "paper", cwd=text, CALLS=str(written))
    assert done.returncode == 0, done.stderr
    found = recorded(written, monkeypatch)
    pretrain = next(call for call in found if call[0] == "pretrain")
    published = {
        "--arch": "mass-xlm",
        "--preset": "xlm",
        "--k": "0.5",
        "--lr": "0.0001",
        "--max-tokens": "3000",
        "--dropout": "0.1",
    }
    assert {flag: value(pretrain, flag) for flag in published} == published and not {
        "--auxiliary",
        "--switch-dictionary",
    } & {*pretrain}
    backtranslate = next(call for call in found if call[0] == "finetune")
    assert (
        "--auxiliary" not in backtranslate and value(backtranslate, "--min-piece-count") == "0"
    )  # the paper's has neither
    assert [value(call, "--max-examples") for call in found if "--max-examples" in call] == [
        n for n in ("10000", "100000", "1000000") for _ in range(2)
    ]
    assert f"en={Path('out/text/mono.en.gz')}" in found[0]


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        ([], ["error: FOLDER is missing", "hint: bash recipes/enfr/run.sh FOLDER [OUTPUT] [--scale tiny|gpu|paper]"]),
        (["x", "--scale", "huge"], ["error: --scale huge: expected tiny, gpu or paper"]),
        (["x", "--size", "huge"], ["error: no such option: --size",
                                   "hint: bash recipes/enfr/run.sh FOLDER [OUTPUT] [--scale tiny|gpu|paper]"]),
        (["x", "--scale"], ["error: --scale: expected tiny, gpu or paper",
                            "hint: bash recipes/enfr/run.sh FOLDER [OUTPUT] [--scale tiny|gpu|paper]"]),
        (["x", "y", "z"], ["error: 3 words where 0 to 2 are expected",
                           "hint: bash recipes/enfr/run.sh FOLDER [OUTPUT] [--scale tiny|gpu|paper]"]),
        (["x", "--scale", "paper"], ["error: x/mono.en: no such file, nor .gz or .xz of it",
                                     "hint: bash recipes/news.sh fr x downloads what the paper used"]),
        (["x"], ["error: x/multi30k/train.en: no such file"]),
    ],
)  # fmt: skip
def test_mistakes(args: list[str], lines: list[str], tmp_path: Path) -> None:
    done = bash(ROOT / "recipes/enfr/run.sh", *args, cwd=tmp_path)
    assert (done.returncode, done.stderr.split("\n")[:-1]) == (2, lines)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"BT_UPDATES": "101"}, "error: BT_UPDATES=101: expected at least 6, and a multiple of REUSE=2"),
        ({"BT_UPDATES": "abc"}, "error: BT_UPDATES=abc: expected a whole number"),
        ({"PAIR_UPDATES": "4"}, "error: PAIR_UPDATES=4: expected at least 6, and a multiple of REUSE=2"),
    ],
)
def test_settings_are_looked_at_first(given: dict[str, str], line: str, text: Path, written: Path) -> None:
    done = bash(ROOT / "recipes/enfr/run.sh", ".", "out", cwd=text, CALLS=str(written), **given)
    assert (done.returncode, done.stderr) == (2, f"{line}\n") and not written.exists()


def test_what_other_settings_have_made_is_not_taken_for_ones_own(text: Path, written: Path) -> None:
    script, small = ROOT / "recipes/enfr/run.sh", {**SMALL, "CALLS": str(written)}
    assert bash(script, ".", "out", cwd=text, **small).returncode == 0
    written.unlink()
    done = bash(script, ".", "out", cwd=text, **{**small, "BEAM": "4"})
    assert done.returncode == 2 and not written.exists()
    assert (
        done.stderr
        == "error: out was made with BEAM=2, not BEAM=4\nhint: name another OUTPUT, or remove out\n"
    )
    more = bash(
        script, ".", "out", cwd=text, **{**small, "SIZES": "5", "PRETRAIN_UPDATES": "1002"}
    )  # what goes on may
    assert more.returncode == 0, more.stderr


SHARED = ["preprocess", "preprocess", "dictionary", "preprocess"]  # all text, captions, word vectors, pairs
MEASURED = ["generate", "score", "score"] * 2


def test_the_study_of_k(text: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"CALLS": str(written), "KS": "token 0.5 1.0", "SEEDS": "1 2", "NOVEL_LINES": "3"}
    done = bash(ROOT / "recipes/k_study/run.sh", "multi30k", "novels", "en-fr", "out", cwd=text, **small)
    assert done.returncode == 0, done.stderr
    found = recorded(written, monkeypatch)
    assert kinds(found) == [*SHARED, *["pretrain", *["finetune", *MEASURED] * 2] * 3]
    assert {value(call, "--switch-dictionary") for call in found if call[0] == "pretrain"} == {
        value(found[2], "--output")
    }
    first, second, last = (call for call in found if call[0] == "pretrain")
    assert value(first, "--k-tokens") == "1" and (value(second, "--k"), value(last, "--k")) == ("0.5", "1.0")
    tuned = [call for call in found if call[0] == "finetune"]
    assert {value(call, "--max-examples") for call in tuned} == {"1000"} and {
        value(call, "--pairs") for call in tuned
    } == {"en-fr,fr-en"}
    rows = [row.split() for row in done.stdout.split("\n")[:-1]]
    assert rows[0] == ["k", "perplexity", "BLEU"] and [row[:2] for row in rows[1:]] == [
        [k, "2.5"] for k in ("token", "0.5", "1.0")
    ]


@pytest.mark.parametrize(
    ("script", "args", "given", "line"),
    [
        (
            "k_study/run.sh",
            ["multi30k", "novels"],
            {"KS": "0.5 2"},
            "error: KS: 2: expected token, or a share above 0, up to 1",
        ),
        ("k_study/run.sh", ["multi30k", "novels", "de-en"], {}, "error: de-en: expected en-de or en-fr"),
        ("k_study/run.sh", ["multi30k"], {}, "error: 1 words where 2 to 4 are expected"),
        (
            "ablations/run.sh",
            ["multi30k", "novels"],
            {"METHODS": "feed bogus"},
            "error: no method called bogus",
        ),
        ("news.sh", ["ro", "x"], {"YEARS": "2015 abc"}, "error: year=abc: expected a whole number"),
    ],
)
def test_studies_look_at_what_they_are_told_first(
    script: str, args: list[str], given: dict[str, str], line: str, text: Path, written: Path
) -> None:
    done = bash(ROOT / "recipes" / script, *args, cwd=text, CALLS=str(written), **given)
    assert (done.returncode, done.stderr.split("\n")[0]) == (2, line) and not written.exists()


def test_the_ablations(text: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = bash(
        ROOT / "recipes/ablations/run.sh",
        "multi30k",
        "novels",
        "en-de",
        "out",
        cwd=text,
        CALLS=str(written),
        NOVEL_LINES="3",
    )
    assert done.returncode == 0, done.stderr
    found = recorded(written, monkeypatch)
    learned = {Path(value(call, "--save-dir")).name: call for call in found if call[0] == "pretrain"}
    assert {name: value(call, "--objective") for name, call in learned.items()} == {
        "pre-dae": "denoise", "pre-bertlm": "bert+lm", "pre-discrete": "mass", "pre-feed": "mass", "pre-mass": "mass",
    }  # fmt: skip
    own = {"--objective", "--k", "--span", "--feed", "--save-dir"}
    assert (
        len(
            {
                tuple((f, v) for f, v in pairwise(c) if f.startswith("--") and f not in own)
                for c in learned.values()
            }
        )
        == 1
    )
    assert value(learned["pre-discrete"], "--span") == "1" and value(learned["pre-feed"], "--feed") == "all"
    tuned = {
        Path(value(call, "--save-dir")).name: call
        for call in found
        if call[0] == "finetune" and "translate" in call
    }
    assert "--init-from" not in {*tuned["scratch-1"], *tuned["vectors-1"]}
    assert "--init-vectors" not in tuned["scratch-1"]
    assert value(tuned["vectors-1"], "--init-vectors") == value(learned["pre-mass"], "--init-vectors")
    assert (
        value(tuned["bertlm-1"], "--init-from") == "out/pre-bertlm"
        and value(tuned["encoder-1"], "--init-from") == "out/pre-mass"
    )
    assert [value(tuned[f"{stack}-1"], "--init-stacks") for stack in ("encoder", "decoder")] == [
        "encoder",
        "decoder",
    ]
    own = {"--init-from", "--init-vectors", "--arch", "--languages", "--init-stacks", "--save-dir"}
    settings = {tuple((f, v) for f, v in pairwise(call) if f.startswith("--") and f not in own)
                for call in tuned.values()}  # fmt: skip
    assert len(settings) == 1
    alone = {
        Path(value(call, "--save-dir")).name: value(call, "--init-from")
        for call in found
        if "backtranslate" in call
    }
    assert alone == {f"unsupervised-{name}": f"out/pre-{name}" for name in ("dae", "bertlm", "mass")}
    assert [row.split()[0] for row in done.stdout.split("\n")[:-1]] == [
        "method", "scratch", "vectors", "dae", "bertlm", "discrete", "feed", "encoder", "decoder", "mass",
    ]  # fmt: skip


def test_text_of_the_papers_scale_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything comes from folders that stand for the servers; what was cut off goes on, what is there is not fetched again."""
    for language in ("en", "fr"):
        for year in (2007, 2008):
            place = tmp_path / f"news/{language}/news.{year}.{language}.shuffled.deduped.gz"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(gzip.compress(f"{language} {year}\n".encode()))
    (tmp_path / "xlm").mkdir()
    for name in ("codes", "vocab"):
        (tmp_path / f"xlm/{name}_enfr").write_text(f"{name}\n")
    (tmp_path / "pairs").mkdir()
    for archive in ("europarl-v7", "commoncrawl"):
        (tmp_path / f"training/{archive}").mkdir(parents=True)
        for language in ("en", "fr"):
            lines = "".join(f"{archive} {n}\t{language}\n" for n in range(50))
            (tmp_path / f"training/{archive}/{archive}.fr-en.{language}").write_text(lines)
        with tarfile.open(tmp_path / f"pairs/training-parallel-{archive}.tgz", "w:gz") as tar:
            tar.add(tmp_path / f"training/{archive}", arcname=archive)
    stub = tmp_path / "bin/sacrebleu"
    stub.parent.mkdir()
    stub.write_text('#!/usr/bin/env bash\necho "$*"\n')
    stub.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(stub.parent / "python"))  # `bash` puts its folder in front
    (tmp_path / "out/download").mkdir(parents=True)
    whole = (tmp_path / "news/en/news.2007.en.shuffled.deduped.gz").read_bytes()
    (tmp_path / "out/download/news.2007.en.gz.part").write_bytes(whole[:9])
    servers = {
        "NEWS": f"file://{tmp_path}/news",
        "XLM": f"file://{tmp_path}/xlm",
        "EUROPARL": f"file://{tmp_path}/pairs",
    }
    done = bash(ROOT / "recipes/news.sh", "fr", "out", cwd=tmp_path, YEARS="2007 2008", PAIRS="40", **servers)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert gzip.decompress((out / "mono.en.gz").read_bytes()) == b"en 2007\nen 2008\n"
    assert gzip.decompress((out / "mono.fr.gz").read_bytes()) == b"fr 2007\nfr 2008\n"
    assert (out / "valid.en").read_text() == "--test-set wmt13 --language-pair en-fr --echo src\n"
    assert (out / "test.fr").read_text() == "--test-set wmt14 --language-pair en-fr --echo ref\n"
    english, french = ((out / f"pairs.{language}").read_text().split("\n")[:-1] for language in ("en", "fr"))
    assert len(english) == 40 == len(set(english)) and len({line.split()[0] for line in english}) == 2
    assert [line.replace(" en", "") for line in english] == [line.replace(" fr", "") for line in french]
    assert (
        english != sorted(english)
        and (out / "codes").read_text() == "codes\n"
        and (out / "vocab").read_text() == "vocab\n"
    )
    again = bash(
        ROOT / "recipes/news.sh", "fr", "out", cwd=tmp_path, YEARS="2007 2008", NEWS="file:///nowhere"
    )
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    for name in ("codes", "download/codes"):
        (out / name).unlink()
    (out / "download/codes.part").write_text(
        "half a"
    )  # a server that breaks off again leaves no file that looks whole
    broken = bash(ROOT / "recipes/news.sh", "fr", "out", cwd=tmp_path, XLM=f"file://{tmp_path}/gone")
    assert broken.returncode != 0 and not (out / "codes").exists() and not (out / "download/codes").exists()
    wrong = bash(ROOT / "recipes/news.sh", "xx", "out", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (2, "error: xx: expected fr, de or ro\n")


def test_romanian_pairs_are_those_of_wmt(tmp_path: Path) -> None:
    """Europarl in a tar file, SETIMES2 in a zip file that names the languages the other way round; all other text is there already."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("mono.en.gz", "mono.ro.gz", "valid.en", "valid.ro", "test.en", "test.ro"):
        (out / name).write_bytes(b"")
    for name, count in (("europarl-v8.ro-en", 3), ("SETIMES.en-ro", 2)):
        for side in ("en", "ro"):
            (tmp_path / f"{name}.{side}").write_text("".join(f"{name} {n}\n" for n in range(count)))
    with (
        tarfile.open(tmp_path / "training-parallel-ep-v8.tgz", "w:gz") as tar,
        zipfile.ZipFile(tmp_path / "en-ro.txt.zip", "w") as packed,
    ):
        for side in ("en", "ro"):
            tar.add(
                tmp_path / f"europarl-v8.ro-en.{side}",
                arcname=f"training-parallel-ep-v8/europarl-v8.ro-en.{side}",
            )
            packed.write(tmp_path / f"SETIMES.en-ro.{side}", f"SETIMES.en-ro.{side}")
    here = f"file://{tmp_path}"
    done = bash(ROOT / "recipes/news.sh", "ro", "out", cwd=tmp_path, CODES="0", ROMANIAN=here, SETIMES=here)
    assert done.returncode == 0, done.stderr
    english, romanian = ((out / f"pairs.{side}").read_text().splitlines() for side in ("en", "ro"))
    wanted = [*(f"europarl-v8.ro-en {n}" for n in range(3)), *(f"SETIMES.en-ro {n}" for n in range(2))]
    assert english == romanian and sorted(english) == sorted(wanted)


def test_merges_that_lie_in_the_folder_are_used(
    text: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text / "wmt").mkdir()
    for name in ("mono", "valid", "test"):
        for language in ("en", "ro"):
            (text / f"wmt/{name}.{language}").write_text(f"{language} {name}\n")
    for name in ("codes", "vocab"):
        (text / f"wmt/{name}").write_text("x\n")
    done = bash(ROOT / "recipes/enro/run.sh", "wmt", "out", "--scale", "paper", cwd=text, CALLS=str(written))
    assert done.returncode == 0, done.stderr
    preprocess = recorded(written, monkeypatch)[0]
    assert (value(preprocess, "--bpe-codes"), value(preprocess, "--bpe-vocab")) == ("wmt/codes", "wmt/vocab")
    assert "--vocab-size" not in preprocess

"""Every recipe is run, step by step, with a `masscli` that only writes down how it was called; the real commands accept each call."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from masscli.reporting.recipe_folders import steps_of
from masscli.training.recipe_file import read_toml
from tests.recipes.command_lines import ROOT, accept, bash, flags_of, value
from tests.recipes.conftest import write

RECIPES = ROOT / "recipes"
Calls = list[list[str]]


def run_script(
    script: Path,
    corpora: Path,
    stubs: Path,
    monkeypatch: pytest.MonkeyPatch,
    scale: str = "tiny",
) -> Calls:
    """Run a script, or all steps of a recipe, check that the real commands accept the calls, and return them."""
    stubs.unlink(missing_ok=True)
    stubs.touch()
    variables = {
        "DATA": str(corpora),
        "OUTPUT": "out",
        "SCALE": scale,
        "CALLS": str(stubs),
    }
    for step in steps_of(script) or [script]:
        result = bash(step, cwd=corpora.parent, **variables)
        assert result.returncode == 0, result.stderr
    calls = [line.split("\0")[:-1] for line in stubs.read_text().split("\n")[:-1]]
    # Of calls that differ in paths and seeds alone, one is enough.
    kinds = {}
    for call in calls:
        kinds[
            call[0], *flags_of(call), value(call, "--objective"), value(call, "--task")
        ] = call
    for call in kinds.values():
        accept(call, monkeypatch)
    return calls


def steps(calls: Calls) -> str:
    """Return the commands in their order, repetitions left out."""
    return " ".join(name for name, _ in groupby(call[0] for call in calls))


def of_command(calls: Calls, name: str) -> Calls:
    return [call for call in calls if call[0] == name]


def by_folder(calls: Calls) -> dict[str, list[str]]:
    """Return training calls by the name of the run's folder."""
    return {
        Path(value(call, "--save-dir")).name: call
        for call in calls
        if "--save-dir" in call
    }


def values(calls: Calls, flag: str) -> list[str]:
    return [value(call, flag) for call in calls]


def settings(calls: Calls, free: set[str]) -> set[tuple[tuple[str, str], ...]]:
    """Return the flags of calls with their values, but for those that may differ."""
    return {
        tuple((flag, value(call, flag)) for flag in flags_of(call) if flag not in free)
        for call in calls
    }


def text_of(corpora: Path, name: str) -> str:
    return (corpora.parent / "out/text" / name).read_text(encoding="utf-8")


TRANSLATION = (
    "preprocess dictionary pretrain finetune "
    + "generate score report " * 2
    + "inspect report"
)
ENRO = TRANSLATION.replace("pretrain", "pretrain dictionary pretrain")
PAPER = TRANSLATION.replace("dictionary ", "")
STUDY = "preprocess dictionary pretrain finetune"


def student_steps(models: int) -> str:
    """Each model is exported once, and decodes and is scored six times: with a shortlist and without, in three rounds."""
    measured = "generate score " * 2
    made = "preprocess finetune generate preprocess shortlist finetune "
    return (
        made + f"average export {measured}" * models + measured * 2 * models + "report"
    )


@pytest.mark.parametrize(
    ("recipe", "scale", "expected"),
    [
        *((recipe, scale, TRANSLATION) for recipe in ("enfr", "ende") for scale in ("tiny", "small", "gpu")),
        ("enro", "tiny", ENRO),
        ("enro", "gpu", ENRO),
        *((recipe, "paper", PAPER) for recipe in ("enfr", "ende", "enro")),
        ("multi30k", "small", "preprocess finetune average generate score"),
        ("multi30k", "paper", "preprocess finetune average generate score"),
        ("lowres", "tiny", "preprocess dictionary pretrain finetune " + "generate score " * 3 + "report"),
        ("k_study", "tiny", f"{STUDY} " + "report generate score " * 22 + "report"),
        ("ablations", "tiny", f"{STUDY} " + ("generate score " * 12 + "report ") * 2),
        ("summarization", "tiny", "preprocess pretrain finetune " + "generate score " * 18 + "report"),
        ("dialogue", "tiny", "preprocess pretrain finetune report"),
        ("objectives", "tiny", "preprocess pretrain report"),
        ("onset", "tiny", "preprocess pretrain finetune " + ("generate score " * 15 + "report ") * 2),
        ("student", "tiny", student_steps(models=5)),
        ("student", "gpu", student_steps(models=8)),
    ],
)  # fmt: skip
def test_the_steps_of_a_recipe(
    recipe: str,
    scale: str,
    expected: str,
    corpora: Path,
    stubs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if scale == "paper" and recipe != "multi30k":
        # The downloads are there already.
        monkeypatch.setenv("SERVERS", "/nowhere")
        language = recipe.removeprefix("en")
        names = [f"mono.{side}.gz" for side in ("en", language)]
        names += [
            f"{part}.{side}"
            for part in ("valid", "test", "pairs")
            for side in ("en", language)
        ]
        for name in [*names, "codes", "vocab"]:
            write(corpora / f"wmt-{recipe}/{name}", "x\n")
    calls = run_script(RECIPES / recipe, corpora, stubs, monkeypatch, scale)
    assert steps(calls) == expected.strip()


@pytest.mark.parametrize(
    "script",
    ["enfr", "lowres", "ablations", "multi30k/distill.sh", "enfr/offline-rounds.sh"],
)
def test_finished_steps_are_not_repeated(
    script: str, corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preprocessing and training find out by themselves that they are complete."""
    if script == "enfr/offline-rounds.sh":
        # It goes on from the recipe.
        run_script(RECIPES / "enfr", corpora, stubs, monkeypatch)
    run_script(RECIPES / script, corpora, stubs, monkeypatch)
    again = run_script(RECIPES / script, corpora, stubs, monkeypatch)
    assert {call[0] for call in again} <= {
        "preprocess",
        "pretrain",
        "finetune",
        "score",
        "inspect",
        "report",
    }


@pytest.mark.parametrize(
    "recipe",
    ["lowres", "k_study", "ablations", "summarization", "dialogue", "understanding"],
)
def test_the_scale_of_a_gpu(
    recipe: str, corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in ("2-preprocess.sh", "3-pretrain.sh"):
        calls = run_script(RECIPES / recipe / step, corpora, stubs, monkeypatch, "gpu")
    assert {
        Path(value(call, "--config")).name for call in of_command(calls, "pretrain")
    } == {"pretrain.gpu.toml"}


def test_an_unknown_scale_is_refused(corpora: Path, stubs: Path) -> None:
    for recipe in (
        "enfr",
        "ende",
        "enro",
        "lowres",
        "k_study",
        "ablations",
        "onset",
        "summarization",
        "dialogue",
        "student",
    ):
        result = bash(
            steps_of(RECIPES / recipe)[0],
            cwd=corpora.parent,
            DATA=str(corpora),
            SCALE="huge",
        )
        assert result.returncode != 0
        assert result.stderr.startswith("error: SCALE=huge: this recipe has tiny")
    assert not stubs.exists()


def test_no_pair_is_ever_seen(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = run_script(RECIPES / "enfr", corpora, stubs, monkeypatch, "small")
    novels = [f"novel {number}" for number in range(9)]
    assert text_of(corpora, "mono.en").splitlines() == [
        f"en {x}" for x in [*(f"train {n}" for n in range(1, 5)), *novels]
    ]
    assert text_of(corpora, "mono.fr").splitlines() == [
        f"fr {x}" for x in [*(f"train {n}" for n in range(5, 9)), *novels]
    ]
    everything, captions, _ = of_command(calls, "preprocess")
    assert "en=out/text/half.en" in captions and "--trainpref" not in {
        *everything,
        *captions,
    }
    dictionary, pretrain, finetune = calls[3:6]
    assert value(dictionary, "--from") == "text"
    assert value(dictionary, "--output") == value(pretrain, "--switch-dictionary")
    vectors = value(dictionary, "--vectors")
    assert value(pretrain, "--init-vectors") == f"en={vectors}.en,fr={vectors}.fr"
    assert (pretrain[1], finetune[1]) == (
        value(everything, "--destdir"),
        value(captions, "--destdir"),
    )
    assert value(finetune, "--init-from") == value(pretrain, "--save-dir")
    assert value(finetune, "--auxiliary") == "denoise=0:1,600:0.1,1800:0"
    # Without pairs there is no other fine-tuning.
    assert len(of_command(calls, "finetune")) == 1


@pytest.mark.parametrize("recipe", ["enfr", "ende", "enro"])
def test_few_pairs_from_scratch_and_from_mass(
    recipe: str, corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = run_script(RECIPES / recipe, corpora, stubs, monkeypatch)
    runs = by_folder(calls)
    pairs = ["scratch-1000", "mass-1000"] + ["pairs-and-bt"] * (recipe == "enro")
    assert [
        name for name, call in runs.items() if value(call, "--task") == "translate"
    ] == pairs
    language = recipe.removeprefix("en")
    assert {value(runs[name], "--pairs") for name in pairs} == {
        f"en-{language},{language}-en"
    }
    assert "--init-from" not in runs["scratch-1000"]
    # So little text connects English and Romanian that a dictionary of the pairs begins another pre-training.
    base = "out/mass-pairs" if recipe == "enro" else "out/mass"
    assert {value(runs[name], "--init-from") for name in pairs[1:]} == {base}
    assert (
        len(
            settings(
                [runs[name] for name in pairs[:2]],
                {"--init-from", "--save-dir", "--expected-curve"},
            )
        )
        == 1
    )
    without_marks = ["--plain-romanian" in call for call in of_command(calls, "score")]
    assert any(without_marks) == (recipe == "enro")


def test_the_settings_of_the_paper_are_visible() -> None:
    for recipe in ("enfr", "enro"):
        pretrain = read_toml(RECIPES / recipe / "pretrain.paper.toml")
        assert pretrain["model"] == {
            "arch": "mass-xlm",
            "languages": "embedding",
            "dropout": 0.1,
        }
        assert pretrain["optim"] == {
            "lr": 1e-4,
            "lr_scheduler": "inverse_sqrt",
            "clip_norm": 5.0,
        }
        assert pretrain["train"] == {"max_tokens": 3000, "max_update": 600_000}
        backtranslate = read_toml(RECIPES / recipe / "backtranslate.paper.toml")
        assert backtranslate["train"] == {
            "max_tokens": 2000,
            "max_update": 200_000,
            "batch_reuse": 1,
        }
    published = read_toml(RECIPES / "multi30k/finetune.paper.toml")
    assert published["optim"] == {
        "lr": 0.005,
        "lr_scheduler": "inverse_sqrt",
        "warmup_updates": 2000,
    }
    assert published["train"] == {"max_tokens": 4096, "max_update": 8000}


def test_stories_are_mixed_two_by_two(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rosts goes from captions to headlines, and two lines in a row are paraphrases, which stay in one half."""
    for side in ("en", "ro"):
        write(
            corpora / f"rosts/train.{side}",
            "".join(f"{side} {n}\n" for n in range(400)),
        )
    run_script(RECIPES / "enro/2-preprocess.sh", corpora, stubs, monkeypatch)
    english, romanian = (
        [int(line.split()[1]) for line in text_of(corpora, f"half.{side}").splitlines()]
        for side in ("en", "ro")
    )
    assert sorted(english + romanian) == list(range(400))
    assert not {n // 2 for n in english} & {n // 2 for n in romanian}
    assert english[1::2] == [n + 1 for n in english[::2]]
    assert 0.3 < sum(n < 200 for n in english) / len(english) < 0.7
    mixed = [
        text_of(corpora, f"mixed-train.{side}").replace(side, "")
        for side in ("en", "ro")
    ]
    assert mixed[0] == mixed[1]


@pytest.mark.parametrize("target", ["fr", "de"])
def test_an_offline_round_learns_real_text_from_what_its_teachers_write(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setenv("TARGET", target)
    run_script(RECIPES / "enfr", corpora, stubs, monkeypatch, "small")
    calls = run_script(
        RECIPES / "enfr/offline-rounds.sh", corpora, stubs, monkeypatch, "small"
    )
    halves = {side: text_of(corpora, f"half.{side}") for side in ("en", target)}
    runs = by_folder(calls)
    translations = [call for call in of_command(calls, "generate") if "--beam" in call]
    # A run's name, the run it begins with, and its teachers, in the order in which they are trained.
    rounds = [
        ("offline-1.1", "mass", ["long-1"]),
        ("offline-1.2", "offline-1.1", ["offline-1.1", "long-1", "long-2"]),
        ("offline-1.3", "offline-1.2", ["offline-1.2", "offline-1.1", "long-2"]),
        ("offline-2.1", "mass-2", ["long-2"]),
        ("offline-2.2", "offline-2.1", ["offline-2.1", "long-2", "long-1"]),
        ("offline-2.3", "offline-2.2", ["offline-2.2", "offline-2.1", "long-1"]),
        ("offline-joint", "offline-2.3", ["offline-2.3", "offline-1.3"]),
    ]
    for number, (name, begin, teachers) in enumerate(rounds):
        run = runs[name]
        assert value(run, "--init-from") == f"out/{begin}"
        with_back_translation = name.endswith((".1", ".2"))
        for way, from_, to in (
            ("to-english", target, "en"),
            ("to-target", "en", target),
        ):
            call = translations[2 * number + (way == "to-english")]
            models = [f"out/{teacher}" for teacher in teachers]
            assert call[1 : 1 + len(models)] == models
            assert value(call, "--input") == f"out/text/half.{to}"
            # The stubs write x as a translation, and filter keeps all pairs.
            pairs = corpora.parent / f"out/text/{name}/{from_}-{to}"
            assert Path(f"{pairs}.{from_}").read_text() == "x\n"
            assert Path(f"{pairs}.{to}").read_text() == halves[to]
            folder = f"out/data-{name}-{from_}-{to}"
            assert folder in values(of_command(calls, "preprocess"), "--destdir")
            assert f"stream.offline-{way}.data_dir={folder}" in run
            assert f"stream.offline-{way}.dataset={from_}-{to}" in run
            assert f"stream.back-{way}.dataset={from_}-{to}" in run
            off = f"stream.back-{way}.loss_weight=0"
            assert (off not in run) == with_back_translation


def test_distillation_adds_the_translations_of_each_round_to_the_text_of_the_next(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = run_script(
        RECIPES / "multi30k/distill.sh", corpora, stubs, monkeypatch, "small"
    )
    train = {
        side: (corpora / f"multi30k/train.{side}").read_text() for side in ("en", "de")
    }
    # The stub writes x. The third round also has a second source for each real target.
    source, target = train["en"], train["de"]
    texts = {
        "round-1": (source * 2, target + "x\n"),
        "round-2": (source * 3, target + "x\n" * 2),
        "round-3": (source * 3 + "x\n" + source, target + "x\n" * 2 + target + "x\n"),
    }
    prefixes = [value(call, "--trainpref") for call in of_command(calls, "preprocess")]
    assert prefixes == [f"out/text/{name}" for name in texts]
    for name, written in texts.items():
        for side, text in zip(("en", "de"), written, strict=True):
            assert (corpora.parent / f"out/text/{name}.{side}").read_text() == text
    runs = by_folder(calls)
    for seed in ("1", "2", "3"):
        first, second = runs[f"round-1.{seed}"], runs[f"round-2.{seed}"]
        assert first[1] == "out/data" and "--init-from" not in first
        assert second[1] == "out/data-1"
        assert value(second, "--init-from") == f"out/round-1.{seed}.average"
    second, back, third = runs["distilled"], runs["back"], runs["third"]
    assert second[1] == "out/data-2"
    assert value(second, "--init-from") == "out/round-2.1.average"
    assert back[1] == "out/data" and "--init-from" not in back
    assert [value(back, "-s"), value(back, "-t")] == ["de", "en"]
    assert third[1] == "out/data-3"
    assert value(third, "--init-from") == "out/distilled.average"


def test_the_control_is_back_translation_alone(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrain, finetune = run_script(
        RECIPES / "enfr/control.sh", corpora, stubs, monkeypatch
    )
    helpers = {
        "--auxiliary",
        "--switch-dictionary",
        "--init-vectors",
        "--source-dropout",
        "--min-piece-count",
    }
    assert not helpers & {*pretrain, *finetune}


def test_all_methods_learn_the_same_few_pairs(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIRS", "500")
    monkeypatch.setenv("SEEDS", "1 2")
    calls = run_script(RECIPES / "lowres", corpora, stubs, monkeypatch)
    everything, few = of_command(calls, "preprocess")
    # The vocabulary of the training from scratch is made of the few pairs alone.
    assert "--spm-model" not in few
    assert value(few, "--trainpref") == "out/text/few-500"
    of_pairs = (corpora.parent / "out/text/few-500.en").read_text().splitlines()
    all_pairs = (corpora / "multi30k/train.en").read_text().splitlines()
    assert of_pairs == all_pairs[:500]
    words, *_ = of_command(calls, "dictionary")
    assert value(words, "--limit") == "500"
    runs = by_folder(calls)
    for seed in ("1", "2"):
        scratch = runs[f"scratch.500.{seed}"]
        pretrained = runs[f"pretrained.500.{seed}"]
        backtranslate = runs[f"backtranslate.500.{seed}"]
        assert scratch[1] == value(few, "--destdir") and "--init-from" not in scratch
        assert pretrained[1] == backtranslate[1] == value(everything, "--destdir")
        begins = value(pretrained, "--init-from"), value(backtranslate, "--init-from")
        assert set(begins) == {"out/pretrained-500"}
        assert value(pretrained, "--max-examples") == "500"
        changed = [
            word for before, word in pairwise(backtranslate) if before == "--set"
        ]
        assert changed == [
            f"stream.pairs-{way}.max_examples=500" for way in ("en-de", "de-en")
        ]
        assert {
            value(run, "--seed") for run in (scratch, pretrained, backtranslate)
        } == {seed}


def test_more_pairs_are_learned_for_longer(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates = []
    for pairs in ("1000", "5000"):
        monkeypatch.setenv("PAIRS", pairs)
        calls = run_script(RECIPES / "lowres", corpora, stubs, monkeypatch)
        runs = by_folder(calls)
        updates.append(
            [
                value(runs[f"{method}.{pairs}.1"], "--max-update")
                for method in ("scratch", "pretrained")
            ]
        )
    assert updates == [["", ""], ["6000", "1000"]]


def test_the_controls_of_few_pairs_differ_in_one_thing(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_script(RECIPES / "lowres", corpora, stubs, monkeypatch)
    calls = run_script(RECIPES / "lowres/control.sh", corpora, stubs, monkeypatch)
    (novels,) = of_command(calls, "preprocess")
    assert "--no-pairs-as-mono" in novels
    assert value(novels, "--spm-model") == "out/data"
    tuned = of_command(calls, "finetune")
    assert values(tuned, "--init-from") == [
        "",
        *(f"out/{name}-1000" for name in ("mass", "mass-alone", "novels")),
    ]
    assert len(settings(tuned, {"--init-from", "--save-dir"})) == 1
    assert "--switch-dictionary" not in by_folder(calls)["mass-alone-1000"]


def test_the_study_of_k(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = run_script(RECIPES / "k_study", corpora, stubs, monkeypatch)
    pretrain, tuned = of_command(calls, "pretrain"), of_command(calls, "finetune")
    shares = ["", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]
    assert values(pretrain, "--k") == shares and value(pretrain[0], "--k-tokens") == "1"
    assert len(settings(pretrain, {"--k", "--k-tokens", "--save-dir"})) == 1
    assert values(tuned, "--init-from") == values(pretrain, "--save-dir")
    assert {value(call, "--metric") for call in of_command(calls, "report")} == {
        "ppl",
        "",
    }


def test_methods_of_the_onset_recipe_differ_in_the_visible_share(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEEDS", "1 2")
    calls = run_script(RECIPES / "onset", corpora, stubs, monkeypatch)
    pretrain, tuned = of_command(calls, "pretrain"), of_command(calls, "finetune")
    runs = by_folder(pretrain)
    assert {value(call, "--seed") for call in pretrain} == {"1", "2"}
    assert len(runs) == 2 * 10 and len(tuned) == 2 * 15
    shares = {
        name: value(call, "--mask-share")
        for name, call in runs.items()
        if name.endswith("-2")
    }
    assert shares == {
        "dae-2": "",
        "hidden-2": "1",
        "visible30-2": "0.7",
        "visible10-2": "0.9",
        "paper-2": "0.8",
        "falling30-2": "0.7",
        "falling20-2": "0.8",
        "falling10-2": "0.9",
        "falling-2": "1",
        "dae-first-2": "1",
    }
    assert value(runs["falling-2"], "--init-from") == value(
        runs["falling10-2"], "--save-dir"
    )
    varied = {"--max-update", "--init-from", "--save-dir", "--seed", "--mask-share"}
    varied |= {"--objective", "--k", "--random-share", "--warmup-updates"}
    assert len(settings(pretrain, varied | {"--auxiliary"})) == 1


def test_the_ablations(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = run_script(RECIPES / "ablations", corpora, stubs, monkeypatch)
    pretrain = of_command(calls, "pretrain")
    objectives = ["mass", "mass", "mass", "denoise", "bert+lm"]
    assert values(pretrain, "--objective") == objectives
    assert (
        len(
            settings(pretrain, {"--objective", "--k", "--span", "--feed", "--save-dir"})
        )
        == 1
    )
    runs = by_folder(of_command(calls, "finetune")[:9])
    assert "--init-from" not in {*runs["scratch.1"], *runs["vectors.1"]}
    assert (
        value(runs["vectors.1"], "--init-vectors")
        == value(pretrain[0], "--init-vectors")
        != ""
    )
    assert [
        value(runs[f"{stack}.1"], "--init-stacks") for stack in ("encoder", "decoder")
    ] == [
        "encoder",
        "decoder",
    ]
    assert value(runs["encoder.1"], "--init-from") == "out/mass"
    free = {"--init-from", "--init-vectors", "--init-stacks", "--save-dir"}
    assert len(settings(list(runs.values()), free)) == 1
    alone = [call for call in calls if value(call, "--task") == "backtranslate"]
    assert values(alone, "--init-from") == ["out/dae", "out/bertlm", "out/mass"]


def test_headlines_with_all_initial_weights(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = run_script(RECIPES / "summarization", corpora, stubs, monkeypatch)
    dialogues = "train hello\nhow are you ?\nfine\n\nyes\nno\n\n"
    assert text_of(corpora, "mono.en").endswith(
        f"en novel 8\n\n{dialogues}train one\n\ntrain two\n\n"
    )
    pretrain, tuned = of_command(calls, "pretrain"), of_command(calls, "finetune")
    assert values(pretrain, "--objective") == [
        "mass",
        "mass",
        "bert+lm",
        "denoise",
        "unilm",
    ]
    assert values(pretrain[:2], "--preset") == ["summarization", "paper"]
    assert len(tuned) == 6 * 3
    assert len(settings(tuned, {"--init-from", "--seed", "--save-dir"})) == 1
    assert {value(call, "--metric") for call in of_command(calls, "score")} == {"rouge"}


def test_gigaword_as_it_is_distributed(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = corpora / "sumdata"
    write(folder / "Giga/input.txt", "test article\n")
    write(folder / "Giga/task1_ref0.txt", "test title\n")
    for kind in ("article", "title"):
        write(folder / f"train/valid.{kind}.filter.txt", f"valid {kind}\n")
        (folder / f"train/train.{kind}.txt.gz").write_bytes(
            gzip.compress(f"train {kind}\n".encode())
        )
    run_script(RECIPES / "summarization/2-preprocess.sh", corpora, stubs, monkeypatch)
    for part in ("train", "valid", "test"):
        assert text_of(corpora, f"{part}.en") == f"{part} article\n"
        assert text_of(corpora, f"{part}.title") == f"{part} title\n"


def test_dialogue_with_all_initial_weights(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = run_script(RECIPES / "dialogue", corpora, stubs, monkeypatch)
    tuned = of_command(calls, "finetune")
    assert {value(call, "--task") for call in tuned} == {"respond"} and len(
        tuned
    ) == 6 * 3
    assert len(settings(tuned, {"--init-from", "--seed", "--save-dir"})) == 1
    reports = of_command(calls, "report")
    assert all({"ppl-piece", "ppl-word"} <= {*call} for call in reports[:-1])


def test_cornell_as_it_is_distributed(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = " +++$+++ "
    turns = [
        ("L1", "Caf\xe9?"),
        ("L2", "Yes\there."),
        ("L3", ""),
        ("L4", "No."),
        ("L5", "Why?"),
        ("L6", "So."),
    ]
    lines = "".join(
        f"{mark.join((name, 'u0', 'm0', 'BIANCA', turn))}\n"
        for name, turn in reversed(turns)
    )
    conversations = [
        ["L1", "L2"],
        ["L2", "L3", "L4"],
        *([["L1", "L2"]] * 12),
        ["L4", "L5", "L6"],
    ]
    talks = "".join(
        f"{mark.join(('u0', 'u2', 'm0', str(names)))}\n" for names in conversations
    )
    (corpora / "cornell").mkdir()
    (corpora / "cornell/movie_lines.txt").write_bytes(lines.encode("windows-1252"))
    (corpora / "cornell/movie_conversations.txt").write_bytes(
        talks.encode("windows-1252")
    )
    run_script(RECIPES / "dialogue/2-preprocess.sh", corpora, stubs, monkeypatch)
    # A conversation of one turn is left out; the fourteenth of the others is for validation.
    assert text_of(corpora, "train.txt") == "Caf\xe9?\tYes here.\n" * 13
    assert text_of(corpora, "valid.txt") == "No.\tWhy?\tSo.\n"


@pytest.fixture
def all_tasks(tmp_path: Path, corpora: Path) -> Path:
    """A copy of the recipe of understanding with one seed and every row of tasks.txt, and a file for each."""
    shutil.copytree(RECIPES / "understanding", tmp_path / "understanding")
    lines = (RECIPES / "understanding/tasks.txt").read_text().splitlines()
    rows = [line.lstrip("#") for line in lines if not line.startswith("# ")]
    write(tmp_path / "understanding/tasks.txt", "".join(f"{row}\n" for row in rows))
    finetune = (RECIPES / "understanding/4-finetune.sh").read_text()
    write(
        tmp_path / "understanding/4-finetune.sh",
        finetune.replace("for seed in 1 2 3", "for seed in 1"),
    )
    for row in rows:
        for name in row.split()[3:5]:
            if ".header." not in name:
                write(corpora / name, "x\n")
    for split in ("train", "dev"):
        write(
            corpora / f"MRPC/{split}.tsv",
            "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t2\t3\ta\tb\n",
        )
        write(corpora / f"CoLA/{split}.tsv", "gj04\t1\t\tOur friends.\n")
    return tmp_path / "understanding"


def finetune_by_task(calls: Calls) -> dict[str, Calls]:
    tasks: dict[str, Calls] = {}
    for call in of_command(calls, "finetune"):
        tasks.setdefault(Path(call[1]).name, []).append(call)
    return tasks


def test_understanding_gives_every_system_the_same_budget(
    all_tasks: Path, corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = run_script(RECIPES / "understanding", corpora, stubs, monkeypatch)
    assert text_of(corpora, "valid.en").startswith("en novel 0\n")
    assert text_of(corpora, "mono.en").endswith(
        "\ntrain hello\nhow are you ?\nfine\n\nyes\nno\n\n"
    )
    pretrain = of_command(calls, "pretrain")
    systems = ["bert", "roberta", "albert", "electra", "gpt", "unilm", "mlm", "mass"]
    assert values(pretrain, "--objective") == systems
    tasks = finetune_by_task(calls)
    assert list(tasks) == ["sst2", "agnews", "mrpc", "rosts-similarity"]
    free = {"--init-from", "--decoder-layers", "--segments", "--pair-format", "--head", "--lm-weight", "--both-orders",
            "--double-unordered", "--seed", "--save-dir"}  # fmt: skip
    for tuned in tasks.values():
        assert len(tuned) == 9 * 3 and len(settings(tuned, free)) == 1
        assert values(tuned[::3], "--init-from") == [
            "",
            *(f"out/{system}" for system in systems),
        ]
    tables = of_command(calls, "preprocess")[1:]
    assert values(tables, "--spm-model") == ["out/data"] * 4
    assert values(tables, "--table-lang") == ["en", "en", "en", "ro"]


def test_every_task_is_learned_and_scored_in_its_own_way(
    all_tasks: Path, corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = run_script(all_tasks, corpora, stubs, monkeypatch)
    header = (corpora / "CoLA/dev.header.tsv").read_text()
    assert header == "source\tlabel\tmark\tsentence\ngj04\t1\t\tOur friends.\n"
    assert (
        (corpora / "MRPC/train.header.tsv")
        .read_text()
        .startswith("Quality\t#1 ID\t#2 ID\tsentence1\tsentence2\n")
    )
    tasks = finetune_by_task(calls)
    kinds = {"cola": ("classify", "mcc"), "wnut17": ("tag", "entity-f1"), "ud-romanian": ("tag", "accuracy"),
             "nextturn": ("choose", "accuracy"), "squad2": ("extract", "f1"), "STS-B": ("regress", "pearson")}  # fmt: skip
    for name, expected in kinds.items():
        assert (
            value(tasks[name][0], "--task"),
            value(tasks[name][0], "--best-metric"),
        ) == expected
    assert value(tasks["MRPC"][0], "--label-column") == "Quality"
    # ALBERT's head is for questions that may have no answer; without them it has BERT's.
    heads = {}
    for name in ("squad2", "xquad-en"):
        heads[name] = [value(call, "--qa-head") for call in tasks[name]][:5]
    assert heads == {
        "squad2": ["", "", "roberta", "albert", "electra"],
        "xquad-en": ["", "", "roberta", "", "electra"],
    }
    scored = {}
    for call in of_command(calls, "score"):
        scored[Path(call[1]).parents[1].name] = (
            value(call, "--metric"),
            value(call, "--column"),
        )
    assert (scored["cola"], scored["wnut17"]) == (
        ("mcc,accuracy", "label"),
        ("entity-f1", ""),
    )
    assert (scored["nextturn"], scored["squad2"]) == (
        ("accuracy", "label"),
        ("squad", ""),
    )


def test_a_student_learns_the_translations_of_its_teacher(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = run_script(RECIPES / "student", corpora, stubs, monkeypatch, "gpu")
    runs = by_folder(calls)
    students = {
        name: call for name, call in runs.items() if name.startswith("student-")
    }
    assert len(students) == 4 and {call[1] for call in students.values()} == {
        "out/data-distilled"
    }
    assert runs["control-12-1-512"][1] == "out/data"
    # Real text is less regular, so the control may drop out more.
    free = {"--save-dir", "--dropout"}
    assert (
        len(settings([runs["control-12-1-512"], runs["student-12-1-512"]], free)) == 1
    )
    distill = next(call for call in calls if "--closest-to-reference" in call)
    # All teachers translate together, and read what the students read.
    assert distill[1:4] == ["out/teacher-1", "out/teacher-2", "out/teacher-3"]
    assert (corpora.parent / "out/text/distilled.en").read_text() == (
        corpora / "multi30k/train.en"
    ).read_text()
    shortlists = {
        value(call, "--shortlist")
        for call in of_command(calls, "generate")
        if "--append" in call
    }
    assert shortlists == {"", value(of_command(calls, "shortlist")[0], "--output")}


def test_sweeps(corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = run_script(
        RECIPES / "understanding/sweep-rates.sh", corpora, stubs, monkeypatch
    )
    rates = ["0.0001", "0.0003", "0.001", "0.003"]
    assert values(of_command(calls, "finetune")[::3], "--lr") == rates
    calls = run_script(
        RECIPES / "understanding/sweep-masks.sh", corpora, stubs, monkeypatch
    )
    pretrain = of_command(calls, "pretrain")
    assert values(pretrain, "--mask-prob") == [
        "0.05",
        "0.1",
        "0.15",
        "0.2",
        "0.3",
        "0.4",
        "0.5",
    ]
    assert values(of_command(calls, "finetune")[::3], "--init-from") == values(
        pretrain, "--save-dir"
    )


def test_curves_of_objectives(
    corpora: Path, stubs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = run_script(RECIPES / "objectives", corpora, stubs, monkeypatch)
    pretrain = of_command(calls, "pretrain")
    names = [
        "bert",
        "roberta",
        "albert",
        "electra",
        "gpt",
        "unilm",
        "mlm",
        "clm",
        "tlm",
        "denoise",
        "bert+lm",
        "mass",
    ]
    assert values(pretrain, "--objective") == names
    # Only TLM reads pairs.
    assert [call[1] for call in pretrain if call[1] != "out/data"] == ["out/pairs"]
    calls = run_script(RECIPES / "objectives/electra.sh", corpora, stubs, monkeypatch)
    variants = [
        "two-stage",
        "adversarial",
        "electra-15",
        "replace-mlm",
        "all-tokens-mlm",
    ]
    assert values(of_command(calls, "pretrain"), "--variant") == variants


def download(corpora: Path, stubs: Path, arguments: Sequence[str]) -> None:
    """Run the script that downloads, from the files in the folder `servers`."""
    servers = {"SERVERS": str(corpora.parent / "servers"), "CALLS": str(stubs)}
    result = bash(RECIPES / "news.sh", *arguments, cwd=corpora.parent, **servers)
    assert result.returncode == 0, result.stderr


def pack_pairs(folder: Path, archive: str, name: str, count: int) -> None:
    """Write an archive with a file of pairs in each of two languages; the languages stand at the end of `name`."""
    sides = name.rpartition(".")[2].split("-")
    for side in sides:
        write(
            folder / f"{name}.{side}",
            "".join(f"{name} {n}\t{side}\n" for n in range(count)),
        )
    if archive.endswith(".zip"):
        with zipfile.ZipFile(folder / archive, "w") as packed:
            for side in sides:
                packed.write(folder / f"{name}.{side}", f"{name}.{side}")
        return
    with tarfile.open(folder / archive, "w:gz") as tar:
        for side in sides:
            tar.add(folder / f"{name}.{side}", arcname=f"training/{name}.{side}")


@pytest.mark.parametrize("language", ["fr", "ro"])
def test_text_of_the_papers_scale_is_downloaded(
    language: str, corpora: Path, stubs: Path
) -> None:
    servers = corpora.parent / "servers"
    servers.mkdir()
    for side in ("en", language):
        for year in range(2015 if side == "ro" else 2007, 2018):
            text = gzip.compress(f"{side} {year}\n".encode())
            (servers / f"news.{year}.{side}.shuffled.deduped.gz").write_bytes(text)
    for name in ("codes", "vocab"):
        write(servers / f"{name}_en{language}", f"{name}\n")
    if language == "fr":
        pack_pairs(
            servers, "training-parallel-europarl-v7.tgz", "europarl-v7.fr-en", 50
        )
        pack_pairs(
            servers, "training-parallel-commoncrawl.tgz", "commoncrawl.fr-en", 50
        )
    else:
        pack_pairs(servers, "training-parallel-ep-v8.tgz", "europarl-v8.ro-en", 50)
        pack_pairs(servers, "en-ro.txt.zip", "SETIMES.en-ro", 50)
    download(corpora, stubs, [language, "out"])
    out = corpora.parent / "out"
    first = 2015 if language == "ro" else 2007
    lines = "".join(f"{language} {year}\n" for year in range(first, 2018))
    assert gzip.decompress((out / f"mono.{language}.gz").read_bytes()).decode() == lines
    tests = {"fr": "wmt14", "ro": "wmt16"}
    assert (
        (out / f"test.{language}").read_text()
        == f"--test-set {tests[language]} --language-pair en-{language} --echo ref\n"
    )
    english, other = (
        (out / f"pairs.{side}").read_text().splitlines() for side in ("en", language)
    )
    # Drawn from both archives, in another order than theirs, side by side, and with no tab that would shift the columns.
    assert len(english) == len(set(english)) == 100 and english != sorted(english)
    assert [line.removesuffix(" en") for line in english] == [
        line.removesuffix(f" {language}") for line in other
    ]
    assert (out / "codes").read_text() == "codes\n"
    # Nothing is downloaded again.
    shutil.rmtree(servers)
    download(corpora, stubs, [language, "out"])

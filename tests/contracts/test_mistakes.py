"""What a user may get wrong on a real command line: one line that names it, a hint, exit status 2, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import refusal, succeed

SMALL = (
    "--encoder-layers 1 --decoder-layers 1 --dim 16 --ffn-dim 16 "
    "--heads 2 --num-workers 0"
).split()


@pytest.fixture(scope="module")
def trained(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that translates, badly."""
    place = tmp_path_factory.mktemp("trained") / "ende"
    succeed(
        [
            "finetune",
            str(toy),
            "--task",
            "translate",
            *SMALL,
            "--max-update",
            "1",
            "--save-dir",
            str(place),
        ]
    )
    return place


def pretrained(toy: Path, place: Path) -> Path:
    """Make one update of MASS in the folder `place`, and return the folder."""
    command = f"pretrain {toy} --objective mass --max-update 1 --save-dir {place}"
    succeed([*command.split(), *SMALL])
    return place


def error_and_hint(capsys: pytest.CaptureFixture[str], *args: str) -> list[str]:
    """The error and the hint of a command that has to be refused, without warnings."""
    lines = refusal(capsys, *args)
    return [line for line in lines if line.startswith(("error: ", "hint: "))]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--lr", "nan"], "--lr: expected a finite number, got nan"),
        (["--end-lr", "-5"], "--end-lr: must not be negative, got -5.0"),
        (["--weight-decay", "-1"], "--weight-decay: must not be negative, got -1.0"),
        (["--adam-eps", "-1"], "--adam-eps: must be above 0, got -1.0"),
        (["--min-loss-scale", "-1"], "--min-loss-scale: must be above 0, got -1.0"),
        (["--norm-eps", "-1"], "--norm-eps: must be above 0, got -1.0"),
        (["--segments", "-1"], "--segments: must not be negative, got -1"),
        (["--threads", "100000"], "--threads: must not exceed 1024, got 100000"),
        (["--max-source-positions", "-5"], "--max-source-positions: must be above 0, got -5"),
        (["--device", "mps"], "--device mps: no such device"),
        (["--decoder-mask-share", "0.9", "--decoder-random-share", "0.9"],
         "--decoder-random-share: with decoder_mask_share, must not exceed 1"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_numbers_out_of_bounds(
    flags: list[str],
    line: str,
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = [
        "pretrain",
        str(toy),
        "--objective",
        "mass",
        *SMALL,
        "--max-update",
        "1",
        "--save-dir",
        str(tmp_path / "run"),
    ]
    assert error_and_hint(capsys, *args, *flags)[0] == f"error: {line}"
    assert not list(tmp_path.rglob("step-*"))


def test_a_vocabulary_without_room_for_a_letter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four symbols and a letter are the least; for all letters of a text more are needed."""
    (tmp_path / "text").write_text("red dog\n" * 9)
    command = ["preprocess", f"--mono=en={tmp_path / 'text'}"]
    command += ["--destdir", str(tmp_path / "data"), "--vocab-size"]
    for size in ("1", "3", "4"):
        message = f"error: --vocab-size: must be at least 5, got {size}"
        assert error_and_hint(capsys, *command, size)[0] == message
    assert (
        "--vocab-size 5 is too small: each" in error_and_hint(capsys, *command, "5")[0]
    )


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--lenpen", "1e9"], "--lenpen: must lie in [-100, 100], got 1000000000.0"),
        (["--unkpen", "nan"], "--unkpen: expected a finite number, got nan"),
        (["--max-len-a", "inf"], "--max-len-a: expected a finite number, got inf"),
        (["--max-len-a", "-1"], "--max-len-a: must not be negative, got -1.0"),
        (["--max-len-b", "-1"], "--max-len-b: must not be negative, got -1"),
        (
            ["--max-len-a", "0", "--max-len-b", "4", "--min-len", "5"],
            "--max-len-b: with --max-len-a 0, must be at least --min-len (5), got 4",
        ),
        (
            ["--temperature", "0.5"],
            "--temperature: would have no effect: nothing is sampled without --sampling",
        ),
        (
            ["--sampling-topk", "5"],
            "--sampling-topk: would have no effect: nothing is sampled without --sampling",
        ),
        (["--device", "mps"], "--device mps: no such device"),
        (["--prefix", "-", "--prefix-size", "2"], "standard input (-) is read twice"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_impossible_search_options_are_refused(
    flags: list[str],
    line: str,
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ba be\n")))
    assert (
        error_and_hint(capsys, "generate", str(trained), "-i", "-", *flags)[0]
        == f"error: {line}"
    )


@pytest.mark.parametrize(
    ("flags", "warning"),
    [
        (
            ["--diverse-beam-strength", "2"],
            "--diverse-beam-strength has no effect: there are no groups without --diverse-beam-groups",
        ),
        (
            ["--temperature", "1"],
            "--temperature has no effect: nothing is sampled without --sampling",
        ),
        (["--seed", "3"], "--seed has no effect: nothing is drawn without --sampling"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_search_with_one_flag_too_many_runs(
    flags: list[str],
    warning: str,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "x.en").write_text("ba be\n", encoding="utf-8")
    capsys.readouterr()
    succeed(["generate", str(trained), "-i", str(tmp_path / "x.en"), *flags])
    out, err = capsys.readouterr()
    assert err.splitlines().count(f"warning: {warning}") == 1
    assert len(out.splitlines()) == 1


def test_different_models_are_not_averaged(
    trained: Path, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = pretrained(toy, tmp_path / "mass")
    first, hint = error_and_hint(
        capsys, "average", str(trained), str(other), "-o", str(tmp_path / "mean")
    )
    assert first.endswith(
        f"is not the same model as {(trained / 'checkpoints/last').resolve()}"
    )
    assert hint == "hint: average checkpoints of one run"
    file = tmp_path / "file"
    file.touch()
    assert (
        error_and_hint(capsys, "average", str(trained), str(trained), "-o", str(file))[
            0
        ]
        == f"error: {file}: is a file"
    )
    assert not (tmp_path / "mean").exists()


def test_processes_without_torchrun(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("masscli.core.distributed.world_size", 2)
    args = [
        "pretrain",
        str(toy),
        "--objective",
        "mass",
        *SMALL,
        "--save-dir",
        str(tmp_path / "run"),
    ]
    assert error_and_hint(capsys, *args) == ["error: WORLD_SIZE is 2, but RANK, MASTER_ADDR, MASTER_PORT are not set",
                                  "hint: start with torchrun, or unset WORLD_SIZE"]  # fmt: skip


def test_a_failure_before_anything_was_saved_promises_nothing(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [
        "pretrain",
        str(toy),
        "--objective",
        "mass",
        *SMALL,
        *"--lr 1e30 --warmup-updates 0 --max-update 9".split(),
    ]
    first, hint = error_and_hint(
        capsys, *args, "--clip-norm", "0", "--save-dir", str(tmp_path / "run")
    )
    assert first.startswith("error: update ") and hint.endswith(
        "nothing was saved yet: the run starts over"
    )


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--objective", "clm"], "the recipe trains mass, not clm"),
        (["--langs", "en"], "--langs chooses streams, and the recipe has its own"),
        (
            ["--lang-temperature", "5"],
            "--lang-temperature chooses streams, and the recipe has its own",
        ),
        (["--set", "stream=5"], "--set stream: expected a table, got '5'"),
        (
            ["--set", "stream.mass-en.objective=mass"],
            "--set stream.mass-en.objective: expected a table, got 'mass'",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_that_contradict_a_recipe_are_refused(
    flags: list[str],
    line: str,
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = pretrained(toy, tmp_path / "mass")
    args = f"pretrain --config {begun}/recipe.toml --save-dir {tmp_path}/other".split()
    assert error_and_hint(capsys, *args, *flags)[0] == f"error: {line}"
    succeed(
        f"pretrain --config {begun}/recipe.toml --objective mass "
        f"--save-dir {tmp_path}/same"
    )


def test_set_does_not_change_the_streams_that_flags_make(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["pretrain", str(toy), "--objective", "mass"]
    *_, hint = error_and_hint(capsys, *args, "--set", "stream.mass-en.loss_weight=2")
    assert "are changed by flags, and not with --set stream..." in hint
    *_, hint = error_and_hint(
        capsys, *args, "--langs", "en", "--set", "stream.mass-en.loss_weight=2"
    )
    assert "leave --config and --set stream... out" in hint


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            ["finetune", "--task", "translate", "--langs", "en,de,fr"],
            "--langs en,de,fr: a direction has two languages",
        ),
        (
            ["pretrain", "--objective", "mass", "--langs", "en,en"],
            "--langs: names a language twice: en,en",
        ),
        (
            ["finetune", "--task", "translate", "--pairs=en-de", "--pairs=en-de"],
            "--pairs: names a direction twice: en-de,en-de",
        ),
        (
            ["pretrain", "--adam-betas", "0.9,0.9", "--adam-betas", "0.9,0.98"],
            "--adam-betas: expected two numbers in [0, 1), got 0.9,0.9,0.9,0.98",
        ),
        (
            ["pretrain", "--objective", "mlm", "--decoder-layers", "1"],
            "--decoder-layers: mlm-en, mlm-de would never train the decoder",
        ),
        (
            ["pretrain", "--objective", "mass", "--valid-subset", "vald"],
            "--valid-subset vald: {toy} has no vald split",
        ),
        (
            ["pretrain", "--objective", "mass", "--lang-temperature", "1e-9"],
            "--lang-temperature: must be at least 0.01, got 1e-09",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_requests_that_cannot_be_fulfilled_are_refused(
    flags: list[str],
    line: str,
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = "--dim 16 --ffn-dim 16 --heads 2 --num-workers 0 --max-update 1".split()
    args = [flags[0], str(toy), *small, "--save-dir", str(tmp_path / "run"), *flags[1:]]
    assert error_and_hint(capsys, *args)[0] == f"error: {line.format(toy=toy)}"


def test_a_run_is_not_continued_on_other_text_or_another_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        f"ba be bi {word}\n"
        for word in ("bo", "bu", "da", "de", "di", "do", "du", "fa", "fe", "fi")
    ]

    def preprocess(*more: str) -> None:
        args = (
            f"preprocess --langs en --mono en={text} --destdir {tmp_path}/bin".split()
        )
        succeed([*args, *more])

    text = tmp_path / "text.en"
    text.write_text("".join(lines), encoding="utf-8")
    preprocess("--vocab-size", "40")
    args = [
        "pretrain",
        str(tmp_path / "bin"),
        "--objective",
        "mass",
        *SMALL,
        "--save-dir",
        str(tmp_path / "run"),
    ]
    succeed([*args, "--max-update", "1"])
    said = error_and_hint(
        capsys,
        "pretrain",
        str(tmp_path / "bin"),
        "--objective",
        "denoise",
        *SMALL,
        "--save-dir",
        str(tmp_path / "run"),
    )
    assert (
        said[0]
        == f"error: {tmp_path / 'run'}: holds a run of mass-en, not of denoise-en"
    )
    text.write_text("".join(reversed(lines)), encoding="utf-8")
    preprocess(
        "--overwrite", "--spm-model", str(tmp_path / "run/checkpoints/last/vocab.model")
    )
    said = error_and_hint(capsys, *args, "--max-update", "2")
    assert said[0].endswith(
        f"the run was trained on different text from what is in {tmp_path / 'bin'} now"
    )


def test_inspect_verifies_what_training_alone_reads(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree((trained / "checkpoints/last").resolve(), copy)
    succeed(["inspect", str(copy), "--verify"])
    assert (
        f"# all {len(list(copy.iterdir())) - 1} files match their checksums\n"
        in capsys.readouterr().out
    )
    moments = copy / "optimizer.safetensors"
    damaged = bytearray(moments.read_bytes())
    damaged[-1] ^= 1
    moments.write_bytes(damaged)
    assert (
        error_and_hint(capsys, "inspect", str(copy), "--verify")[0]
        == f"error: {moments}: damaged (its checksum differs)"
    )

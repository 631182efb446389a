"""Training as processes: under torchrun, with workers, and told to stop from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from masscli.__main__ import run as masscli
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core import distributed
from masscli.core.config import to_dict, to_toml
from masscli.core.errors import MasscliError
from masscli.training.fsdp import check_can_shard
from masscli.training.recipe import Recipe
from masscli.training.trainer import Trainer
from tests.commands import succeed
from tests.preloaded import Preloaded
from tests.toy import recipe
from tests.toy_tasks import ENCODER, finetune
from tests.training.test_grown_vocabulary import extend
from tests.training.test_trainer import during_update, last_checkpoint, same_run, train

pytestmark = pytest.mark.usefixtures("one_thread")

UPDATES = 60


def typed(run: Recipe, path: Path) -> list[str]:
    """The command line of a run."""
    path.write_text(to_toml(to_dict(run)), encoding="utf-8")
    return ["finetune", "--config", str(path)]


@contextmanager
def started(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process, and its children, in a process group of their own; nothing of it is left in the end."""
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


TWO = ["--standalone", "--nproc-per-node", "2"]
"""What torchrun is told, to start two processes."""


def torchrun(args: Sequence[str], restarts: int = 0) -> list[str]:
    """The command of two processes, which torchrun starts again so often when one of them dies."""
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        *TWO,
        "--max-restarts",
        str(restarts),
    ]
    return [*launcher, "-m", "masscli", *args]


def run_two(
    preloaded: Preloaded, args: Sequence[str], restarts: int = 0
) -> subprocess.CompletedProcess[str]:
    """Two processes under torchrun, to their end. All three are forked from one that has imported everything."""
    launcher = [
        *preloaded.module("torch.distributed.run"),
        *TWO,
        "--max-restarts",
        str(restarts),
    ]
    command = [*launcher, "--no-python", str(preloaded.program), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def run_one(
    preloaded: Preloaded, args: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """One process, to its end."""
    return subprocess.run(
        [str(preloaded.program), *args], capture_output=True, text=True, timeout=200
    )


def finish(preloaded: Preloaded, args: Sequence[str]) -> str:
    """Two processes to their end; what they said is returned, and stands in the failure.

    A second start is allowed: what is asked is what they learn, not that a busy machine lets two processes find each other at once.
    """
    ended = run_two(preloaded, args, restarts=1)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def read(process: subprocess.Popen[str], beginning: str | None = None) -> str:
    """What it says up to a line that begins so, or to its end."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if beginning is not None and line.startswith(beginning):
            return seen
    assert beginning is None, seen
    return seen


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The events of one kind in the log of a run."""
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def logged(folder: Path) -> dict[int, dict[str, float]]:
    """Losses by update."""
    return {event["step"]: event["losses"] for event in events(folder, "stepped")}


def norms(folder: Path) -> list[float]:
    """Of the gradients, update by update."""
    return [event["grad_norm"] for event in events(folder, "stepped")]


def measured(folder: Path) -> dict[int, dict[str, float]]:
    """Metrics of the validation set by update."""
    return {event["step"]: event["metrics"] for event in events(folder, "evaluated")}


def alike(
    actual: dict[int, dict[str, float]], expected: dict[int, dict[str, float]]
) -> bool:
    """The same streams in the same updates, and losses equal to 1e-5."""
    pairs = (
        [(actual[step], expected[step]) for step in expected]
        if actual.keys() == expected.keys()
        else []
    )
    return bool(pairs) and all(a == pytest.approx(b, abs=1e-5) for a, b in pairs)


@pytest.fixture(scope="module")
def alone(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process from the first update to the last."""
    folder = tmp_path_factory.mktemp("alone")
    run = recipe(
        toy, folder / "run", f"train.max_update={UPDATES}", "valid.eval_bleu=true"
    )
    succeed(typed(run, folder / "recipe.toml"))
    return folder / "run"


@pytest.mark.parametrize("shared_out", ["false", "true"])
def test_a_run_begun_by_one_process_is_continued_by_two(
    shared_out: str, toy: Path, tmp_path: Path, alone: Path, preloaded: Preloaded
) -> None:
    folder = tmp_path / "run"
    succeed(typed(recipe(toy, folder, "train.max_update=3"), tmp_path / "a.toml"))
    more = (
        f"train.max_update={UPDATES}",
        "train.num_workers=1",
        "valid.eval_bleu=true",
        f"train.shard_model={shared_out}",
    )
    whole = typed(recipe(toy, folder, *more), tmp_path / "b.toml")
    finish(preloaded, whole)
    assert alike(logged(folder), logged(alone))
    after, expected = measured(folder)[UPDATES], measured(alone)[UPDATES]
    assert (
        after == pytest.approx(expected, abs=1e-3) and expected["bleu"] > 0
    )  # each process has translated half of the lines


@pytest.mark.parametrize(("micro_batches", "is_named"), [(3, True), (4, False)])
def test_micro_batches_that_do_not_keep_both_processes_busy_are_named(
    micro_batches: int, is_named: bool, toy: Path, tmp_path: Path, preloaded: Preloaded
) -> None:
    """As with fairseq's --update-freq 1, which counts the micro-batches of one process."""
    changes = (f"train.update_freq={micro_batches}", "train.max_update=1")
    run = recipe(toy, tmp_path / "run", *changes)
    printed = finish(preloaded, typed(run, tmp_path / "a.toml"))
    message = f"an update of this run has {micro_batches} micro-batches in all, so that some of the 2 processes wait"
    assert (message in printed) == is_named


def test_frozen_rows_stay_frozen_in_a_sharded_model(
    preloaded: Preloaded, toy: Path, tmp_path: Path
) -> None:
    """Two processes, each with a part of the model, keep the old rows bit by bit, and learn the same as one
    process."""
    text = {"text": {"dataset": "en", "objective": {"name": "mass"}}}
    succeed(
        typed(
            recipe(toy, tmp_path / "old", "train.max_update=2", streams=text),
            tmp_path / "a.toml",
        )
    )
    grown = extend(toy, tmp_path, "\u0219")
    changes = [
        "optim.freeze=old-embeddings",
        f"init_from={tmp_path / 'old'}",
        "optim.weight_decay=0.1",
    ]
    for name, shared_out in (("one", "false"), ("two", "true")):
        made = recipe(grown, tmp_path / name, *changes, "train.max_update=6", f"train.shard_model={shared_out}",
                      streams={"pairs": {"dataset": "en-ro", "objective": {"name": "translate"}}})  # fmt: skip
        command = typed(made, tmp_path / f"{name}.toml")
        if name == "one":
            succeed(command)
        else:
            finish(preloaded, command)
    before = Checkpoint.open(tmp_path / "old").weights()["token_embeddings.shared"]
    weights = [Checkpoint.open(tmp_path / name).weights() for name in ("one", "two")]
    for found in weights:
        table = found["token_embeddings.shared"]
        assert torch.equal(table[: len(before)], before)
        assert torch.allclose(table, weights[0]["token_embeddings.shared"], atol=1e-4)
        assert torch.equal(
            found["embeddings.decoder.languages.weight"][:2],
            before_languages(tmp_path / "old"),
        )
    assert alike(logged(tmp_path / "two"), logged(tmp_path / "one"))


def before_languages(run: Path) -> torch.Tensor:
    return Checkpoint.open(run).weights()["embeddings.decoder.languages.weight"]


ELECTRA = {"name": "electra", "tokens_per_sample": 24}
METHODS = {
    "heads": {"en": ELECTRA, "de": ELECTRA},
    "searching": {"de-en": {"name": "backtranslate"}, "en": {"name": "denoise"}},
}


@pytest.mark.parametrize(
    ("method", "optimizer"), [("heads", "lamb"), ("searching", "adamw")]
)
def test_a_sharded_model_learns_the_same(
    method: str, optimizer: str, toy: Path, tmp_path: Path, preloaded: Preloaded
) -> None:
    """Two processes, each with a part of the model, and then one with all of it learn the same as one process
    alone."""
    streams = {
        f"of-{text}": {"dataset": text, "objective": objective}
        for text, objective in METHODS[method].items()
    }

    def run(folder: str, final: int, *more: str) -> list[str]:
        stacks = (
            ("model.decoder_layers=0", "train.reduction=batch_mean")
            if method == "heads"
            else ("valid.eval_roundtrip=true",)
        )
        made = recipe(toy, tmp_path / folder, f"train.max_update={final}", f"optim.optimizer={optimizer}", "model.encoder_layers=2",
                      *stacks, *more, streams=streams)  # fmt: skip
        return typed(made, tmp_path / f"{folder}-{final}.toml")

    succeed(run("alone", 10))
    finish(preloaded, run("two", 6, "train.shard_model=true"))
    succeed(run("two", 10))
    assert alike(logged(tmp_path / "two"), logged(tmp_path / "alone"))
    assert norms(tmp_path / "two") == pytest.approx(norms(tmp_path / "alone"), rel=1e-3)
    for step, expected in measured(tmp_path / "alone").items():
        assert measured(tmp_path / "two")[step] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("train.update_freq=3",), "--shard-model: 3 micro-batches of an update cannot be divided among 2 processes"),
        *(((f"stream.mass.objective.name={name}",),
           "--shard-model: streams pairs and mass use different parts of the model, and processes must use the same")
          for name in ("mlm", "bert+lm")),
        (("train.compile=true",), "--shard-model: cannot be combined with --compile"),
        (("model.cross_output=language",), "--shard-model: cannot be combined with output projections by language"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_sharded_are_refused(
    change: tuple[str, ...],
    message: str,
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distributed, "world_size", 2)
    made = recipe(toy, tmp_path / "run", *change)
    with pytest.raises(MasscliError) as caught:
        check_can_shard(made, made.train.update_freq or 1)
    assert caught.value.message == message and caught.value.hint


def test_two_processes_stop_together_and_one_process_continues(
    toy: Path, tmp_path: Path, alone: Path
) -> None:
    """SIGTERM to one of two: both end after the same update, with a checkpoint."""
    folder = tmp_path / "run"
    long = typed(
        recipe(
            toy,
            folder,
            "train.max_update=100000",
            "checkpoint.save_interval_updates=100000",
        ),
        tmp_path / "a.toml",
    )
    with started(torchrun(long)) as process:
        read(process, "3: ")
        ranks = (
            Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        )
        os.kill(int(ranks[-1]), signal.SIGTERM)
        assert "stopped by SIGTERM after" in read(process)
        assert process.wait() != 0
    stopped = last_checkpoint(folder).state.step
    short = recipe(toy, folder, f"train.max_update={max(UPDATES, stopped + 1)}")
    succeed(typed(short, tmp_path / "b.toml"))
    found = logged(folder)
    assert alike({step: found[step] for step in logged(alone)}, logged(alone))


def test_a_killed_process_is_restarted_and_the_run_continues(
    toy: Path, tmp_path: Path, alone: Path
) -> None:
    """kill -9 of one of two, under `torchrun --max-restarts`: as though nothing had happened."""
    folder = tmp_path / "run"
    args = typed(
        recipe(toy, folder, f"train.max_update={UPDATES}", "valid.eval_bleu=true"),
        tmp_path / "recipe.toml",
    )
    with started(torchrun(args, restarts=1)) as process:
        said = read(process, "saved ")
        ranks = (
            Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        )
        os.kill(int(ranks[-1]), signal.SIGKILL)
        said += read(process)
        assert process.wait() == 0, said
    assert f"continuing {folder} from update " in said
    assert alike(logged(folder), logged(alone))


FAILING = '''
import os
import sys

from masscli.__main__ import main
from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.training import micro_batches, validation, validation_tasks

rank, place, error = os.environ["FAILURE"].split()
calls = 0


def fail(function):
    """Return what does as the function does, and fails at its third call."""
    def failing(*arguments, **options):
        global calls
        calls += 1
        if calls == 3:
            raise MasscliError("broken", "mend it") if error == "mistake" else ZeroDivisionError("no number")
        return function(*arguments, **options)
    return failing


def fail_later(iterate):
    def failing(*arguments, **options):
        yield from map(fail(lambda item: item), iterate(*arguments, **options))
    return failing


if int(rank) == distributed.rank:
    if place == "losses":
        calls = 2
        validation.with_less_memory = fail(validation.with_less_memory)
    elif place == "texts":
        calls = 2
        validation_tasks.Translator.translate = fail(validation_tasks.Translator.translate)
    elif place == "scores":
        calls = 2
        validation_tasks.bleu = fail(validation_tasks.bleu)
    else:
        micro_batches.load = fail_later(micro_batches.load)
main()
'''
"""A masscli of which one process fails: in the losses of a validation, in the texts that it generates, in the computation of their
scores, when nothing more is exchanged, or in reading its third micro-batch."""


@pytest.mark.parametrize(
    ("failure", "shared_out", "step", "message"),
    [
        ("0 losses mistake", "true", 4, "error: broken\nhint: mend it\n"),
        ("1 texts mistake", "false", 4, "error: process 1: broken\nhint: mend it\n"),
        ("1 scores bug", "false", 4, "ZeroDivisionError: no number\n"),
        ("1 data bug", "true", 2, "ZeroDivisionError: no number\n"),
    ],
)
def test_a_process_that_fails_alone_loses_no_update(
    failure: str, shared_out: str, step: int, message: str, toy: Path, tmp_path: Path, preloaded: Preloaded, alone: Path
) -> None:  # fmt: skip
    """All processes save the run together, and one of them reports the error."""
    (tmp_path / "failing.py").write_text(FAILING)
    bleu, shards = "valid.eval_bleu=true", f"train.shard_model={shared_out}"
    run = recipe(toy, tmp_path / "run", "train.max_update=5", bleu, shards)
    args = typed(run, tmp_path / "recipe.toml")
    launcher = [*preloaded.module("torch.distributed.run"), *TWO, "--no-python"]
    failed = subprocess.run(
        [*launcher, *preloaded.module("failing"), *args],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=tmp_path,
        env={**os.environ, "FAILURE": failure},
    )
    assert failed.returncode == 1 and message in failed.stderr, failed.stderr
    assert last_checkpoint(tmp_path / "run").state.step == step
    assert last_checkpoint(tmp_path / "run").metrics == {}
    one = recipe(toy, tmp_path / "run", "train.max_update=5", bleu)
    succeed(typed(one, tmp_path / "one.toml"))
    found, wanted = measured(tmp_path / "run"), measured(alone)
    assert found[4] == pytest.approx(wanted[4], abs=1e-3)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
)
def test_an_interrupted_command_says_so_and_can_be_continued(
    number: signal.Signals, code: int, toy: Path, tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    args = typed(
        recipe(toy, tmp_path / "run", f"train.max_update={UPDATES}"),
        tmp_path / "recipe.toml",
    )
    during_update(5, lambda trainer: signal.raise_signal(number), monkeypatch)
    with pytest.raises(SystemExit) as stop:
        masscli(args)
    assert stop.value.code == code
    assert f"stopped by {number.name} after 5 updates and" in capsys.readouterr().err
    succeed(args)
    assert f"continuing {tmp_path / 'run'} from update 5\n" in capsys.readouterr().err
    assert same_run(tmp_path / "run", alone)
    assert logged(tmp_path / "run") == logged(alone)


def test_the_log_drops_updates_that_will_be_repeated(
    toy: Path, tmp_path: Path, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed after update 6 goes on from 4; half a line at the end does no harm."""

    class Killed(BaseException):
        pass

    def die(trainer: Trainer) -> None:
        raise Killed

    args = typed(
        recipe(toy, tmp_path / "run", f"train.max_update={UPDATES}"),
        tmp_path / "recipe.toml",
    )
    during_update(7, die, monkeypatch)
    with pytest.raises(Killed):
        masscli(args)
    with open(tmp_path / "run/log.jsonl", "a") as file:
        file.write('{"event": "stepp')
    succeed(args)
    assert logged(tmp_path / "run") == logged(alone)


def test_two_runs_cannot_train_in_the_same_folder(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = typed(
        recipe(toy, tmp_path / "run", "train.max_update=1"), tmp_path / "recipe.toml"
    )
    second: list[int] = []
    during_update(1, lambda trainer: second.append(masscli(args)), monkeypatch)
    succeed(args)
    assert second == [2]
    assert (
        f"error: {tmp_path / 'run'}: another process is training in it\n"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--batch-size", "-1"], "--batch-size: must be above 0, got -1"),
        (["--max-update", "0"], "--max-update: must be above 0, got 0"),
        (["--seed", "-1"], "--seed: must lie between 0 and 2^63 - 1, got -1"),
        (["--max-examples", "0"], "--max-examples: must be above 0, got 0"),
        (
            ["--lang-temperature", "0"],
            "--lang-temperature: must be at least 0.01, got 0.0",
        ),
        (["--max-valid-rows", "0"], "--max-valid-rows: must be above 0, got 0"),
        (
            ["--max-tokens", "5"],
            "stream mass-en: an example of 11 tokens does not fit --max-tokens 5",
        ),
        (
            ["--max-source-positions", "5"],
            "stream mass-en: all 240 examples are too long",
        ),
        (["--init-from", "nowhere"], "nowhere: no such run or checkpoint"),
        (["--device", "cuda:7"], "--device cuda:7: this PyTorch sees no GPU"),
        (["--device", "gpu"], "--device gpu: no such device"),
        (["--best-metric", "blue"], "--best-metric blue: is not measured"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_user_errors_are_one_line(
    change: list[str],
    message: str,
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = [
        *f"pretrain {toy} --objective mass --save-dir {tmp_path}/run".split(),
        *change,
    ]
    if "--max-update" not in change:
        args += ["--max-update", "1"]
    assert masscli(args) == 2
    first, *rest = capsys.readouterr().err.rstrip("\n").split("\n")
    assert first == f"error: {message}"
    assert len(rest) <= 1 and all(line.startswith("hint: ") for line in rest)


@pytest.fixture
def translating(toy: Path, tmp_path: Path) -> Path:
    """A run that translates, and in.en with lines of all lengths, two of them empty."""
    streams = {"pairs": {"dataset": "en-de", "objective": {"name": "translate"}}}
    train(recipe(toy, tmp_path / "run", "train.max_update=4", streams=streams))
    lines = [
        " ".join(["bab", "deg", "fik"][: number % 4] * (number % 3 + 1))
        for number in range(21)
    ]
    (tmp_path / "in.en").write_text("\n".join(["", *lines]) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    "args",
    [["--nbest", "2"], ["--sampling", "--beam", "2"], ["--score-reference"]],
    ids=str,
)
def test_generate_distributes_the_lines_and_keeps_their_order(
    args: list[str], translating: Path, preloaded: Preloaded
) -> None:
    """Two processes write the output of one process, once, and one summary."""
    place = translating
    if "--score-reference" in args:
        args = ["--score-reference", str(place / "in.en")]
    command = f"generate {place}/run --input {place}/in.en --precision fp32".split()
    command += ["--buffer-size", "9", *args]
    alone, together = run_one(preloaded, command), run_two(preloaded, command)
    assert (alone.returncode, together.returncode) == (0, 0), together.stderr
    assert together.stdout == alone.stdout
    assert together.stderr.count(" 22 lines in ") == 1


def test_predict_distributes_the_examples_and_keeps_their_order(
    labeled: Path, tmp_path: Path, preloaded: Preloaded
) -> None:
    finetune(
        labeled,
        tmp_path / "run",
        "--task",
        "classify",
        "--table",
        "one",
        *ENCODER,
        updates=2,
    )
    command = (
        f"predict {tmp_path}/run --input {labeled}/valid.tsv --format jsonl".split()
    )
    command += ["--precision", "fp32", "--batch-tokens", "40"]
    alone, together = run_one(preloaded, command), run_two(preloaded, command)
    assert (alone.returncode, together.returncode) == (0, 0), together.stderr
    assert together.stdout == alone.stdout
    assert together.stderr.count("predicted 12 examples") == 1
    command[3] = "-"
    refused = run_two(preloaded, command)
    assert (
        refused.stderr.count("error: --input -: processes cannot share standard input")
        == 1
    )


def test_other_commands_run_once(preloaded: Preloaded) -> None:
    command = ["recipe", "list"]
    alone, together = run_one(preloaded, command), run_two(preloaded, command)
    assert (together.returncode, together.stdout) == (0, alone.stdout)


def test_a_user_error_is_reported_once(tmp_path: Path, preloaded: Preloaded) -> None:
    result = run_two(preloaded, ["generate", str(tmp_path / "nothing")])
    assert result.returncode != 0
    assert (
        result.stderr.count("error: ") == 1
        and "no such run or checkpoint" in result.stderr
    )


def test_a_run_that_fails_tells_the_losses_of_all_processes(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = recipe(
        toy,
        tmp_path / "one",
        "train.max_update=9",
        "train.update_freq=2",
        "optim.lr=1e30",
        "optim.clip_norm=0",
    )
    assert masscli(typed(run, tmp_path / "recipe.toml")) == 2
    alone = re.search(
        r"update \d+: the gradient is .* \(losses: [^;]*", capsys.readouterr().err
    )
    assert alone is not None
    args = [*typed(run, tmp_path / "recipe.toml"), "--save-dir", str(tmp_path / "two")]
    ended = subprocess.run(torchrun(args), capture_output=True, text=True, timeout=200)
    assert ended.returncode
    assert alone[0] in ended.stderr

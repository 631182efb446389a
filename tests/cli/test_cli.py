"""The command line as a user meets it: help, messages word for word, exit codes, and what a command receives from what was typed.

`tests/cli/flags.txt` is the frozen list of options; after an intended change:  python -m tests.cli.test_cli > tests/cli/flags.txt
"""

from __future__ import annotations

import dataclasses
import errno
import importlib
import inspect
import os
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

import masscli as masscli_package
from masscli.__main__ import run
from masscli.cli.allowed_code import peek_option
from masscli.cli.app import COMMANDS, module_of
from masscli.cli.options import bind
from masscli.cli.training_options import TrainingOptions
from masscli.core import distributed
from masscli.core.config import config, from_dict, iter_options
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.generation.config import GenerateConfig, GenerationConfig
from masscli.metrics.config import ScoreConfig
from masscli.objectives.registry import OBJECTIVES
from masscli.objectives.stream_selection import StreamSelection
from masscli.training.recipe import Recipe
from masscli.training.setup.request import TrainRequest
from masscli.version import __version__
from tests.commands import refusal, succeed

Seen = list[Any]
PRETRAIN_HELP = "hint: masscli pretrain --help"
CONTRADICTION = [
    "error: --fp16, --bf16 and --precision contradict each other",
    "hint: give one of them",
]


def command(
    monkeypatch: pytest.MonkeyPatch, name: str, run_: Callable[..., None]
) -> None:
    """Put `run_` in the place of a command."""
    module = types.ModuleType(
        f"masscli.cli.{name}", f"{COMMANDS[name]}\n\nExamples:\n  masscli {name}\n"
    )
    module.run = run_  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, f"masscli.cli.{name}", module)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What `pretrain` was asked for; it goes on to decode it all, as the real one does."""
    seen: Seen = []

    def take(request: Annotated[TrainRequest, TrainingOptions]) -> None:
        from_dict(Recipe, request.recipe_options)
        if request.objective is not None:
            options = {
                "name": request.objective,
                **request.options_for(request.objective),
            }
            from_dict(OBJECTIVES.load(request.objective), options)
        seen.append(request)

    command(monkeypatch, "pretrain", take)
    return seen


# -- the frame ---------------------------------------------------------------------------------------------------------------------------


def test_help_lists_every_command_and_imports_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in COMMANDS:
        monkeypatch.setitem(
            sys.modules, module_of(name), None
        )  # importing it now fails
    for args in (["--help"], []):
        succeed(args)
        out = capsys.readouterr().out
        for name, summary in COMMANDS.items():
            assert f"\n  {name.ljust(max(map(len, COMMANDS)))}  {summary}\n" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_is_the_first_line_of_the_docstring(name: str) -> None:
    module = importlib.import_module(module_of(name))
    doc = inspect.getdoc(module)
    assert doc is not None and doc.split("\n")[0] == COMMANDS[name]
    about, examples, _ = doc.partition("\nExamples:\n")
    assert examples
    # Help screens join the lines of a paragraph, so that a line that is set in would leave a hole.
    assert "\n " not in about


@pytest.mark.parametrize(
    "args",
    [[], *([name] for name in COMMANDS), ["pretrain", "--objective", "mass"]],
    ids=" ".join,
)
def test_help_fits_a_terminal_of_80_columns(
    args: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    succeed([*args, "--help"])
    out, err = capsys.readouterr()
    page, _, examples = out.partition("\nExamples:\n")
    assert max(map(len, page.splitlines())) <= 80
    assert examples and err == "" and "\x1b" not in out


def test_help_has_a_panel_for_each_section(
    capsys: pytest.CaptureFixture[str], requests: Seen
) -> None:
    succeed(["pretrain", "--objective", "mass", "--help"])
    out = capsys.readouterr().out
    for title in (
        "Options of mass",
        "Data, folder and initial weights of the run",
        "Optimizer and learning rate [optim]",
        "The datasets to train on, for a recipe that does not list its training streams",
    ):
        assert f"\n{title}:\n" in out
    # Texts are wrapped at the width of the terminal.
    assert "--max-tokens INT" in out and "[default: 4096]" in " ".join(out.split())
    assert "--k FLOAT" in out
    succeed(["pretrain", "--objective", "clm", "--help"])
    assert "--k FLOAT" not in capsys.readouterr().out


@pytest.mark.parametrize("args", [[], ["pretrain"], ["score"], ["recipe"]], ids=str)
def test_h_is_short_for_help(
    args: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    succeed([*args, "-h"])
    short = capsys.readouterr().out
    succeed([*args, "--help"])
    assert capsys.readouterr().out == short


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    succeed(["--version"])
    assert capsys.readouterr().out == f"masscli {__version__}\n"


def test_both_spellings_of_the_program() -> None:
    outputs = [
        subprocess.run(
            [*program, "--version"], capture_output=True, text=True, check=True
        ).stdout
        for program in (
            [sys.executable, "-m", "masscli"],
            [str(Path(sys.executable).parent / "masscli")],
        )
    ]
    assert outputs == [f"masscli {__version__}\n"] * 2


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("masscli pre", ["preprocess", "pretrain", "predict"]),
        ("masscli score --sent", ["--sentence-level"]),
        ("masscli score --tokenize ja", ["ja-mecab"]),
        ("masscli pretrain --objective mass --k-t", ["--k-tokens"]),
        ("masscli pretrain --objective ma", ["mass"]),
        ("masscli pretrain --objective nonsense --lr", []),
        ("masscli pretrain --lr 1 --lr 2 --clip-", ["--clip-norm"]),
        ("masscli nonsense --lr", []),
    ],
)
def test_completion(typed: str, offered: list[str]) -> None:
    environment = {
        **os.environ,
        "_MASSCLI_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    result = subprocess.run(
        [sys.executable, "-m", "masscli"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (result.stdout.split(), result.stderr) == (offered, "")


# -- mistakes ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (["pretrian"], ["error: no command called 'pretrian', did you mean 'pretrain'?", "hint: masscli --help"]),
        (["pre"], ["error: no command called 'pre', did you mean 'predict' or 'preprocess' or 'pretrain'?", "hint: masscli --help"]),
        (["--zzz"], ["error: no such option: --zzz", "hint: masscli --help"]),
        (["pretrain", "--objective", "mas"], ["error: --objective: no objective called 'mas', did you mean 'mass'?", PRETRAIN_HELP]),
        (["pretrain", "--objective", "nowhere:Mine"],
         ["error: --objective: objective 'nowhere:Mine': there is no module 'nowhere'", "hint: install the package, or put its folder into PYTHONPATH"]),
        (["pretrain", "--max-tokens", "x"], ["error: --max-tokens: expected int, got 'x'", PRETRAIN_HELP]),
        (["pretrain", "--max-tokens", "0", "--lr=a", "--norm", "mid"],
         ["error: --norm: 'mid' is not one of pre, post", "error: --lr: expected float, got 'a'",
          "error: --max-tokens: must be above 0, got 0", PRETRAIN_HELP]),
        (["pretrain", "--objective", "mass", "--k", "half"], ["error: --k: expected float, got 'half'", PRETRAIN_HELP]),
        (["pretrain", "--objective", "clm", "--k", "0.5"],
         ["error: --k is an option of --objective mass", "hint: add --objective mass, or leave it out"]),
        (["pretrain", "--k", "0.5"], ["error: --k is an option of --objective mass", "hint: add --objective mass, or leave it out"]),
        (["pretrain", "--fp16", "--bf16"], CONTRADICTION),
        (["pretrain", "--fp16", "--precision", "bf16"], CONTRADICTION),
        (["finetune", "--task", "translate", "--seed", "1", "--task", "summarize"],
         ["error: --task names one objective, not translate and summarize",
          "hint: --task translate --auxiliary summarize learns both"]),
        (["pretrain", "--save-dir", ""], ["error: --save-dir: expected a path, got ''", PRETRAIN_HELP]),
        (["pretrain", "--set", "lr"], ["error: --set lr: expected KEY=VALUE", PRETRAIN_HELP]),
        (["pretrain", "--set", "optim.lrr=1"], ["error: --set optim.lrr: unknown key, did you mean 'lr'?", PRETRAIN_HELP]),
        (["pretrain", "--max-examples", "some"], ["error: --max-examples: expected int, got 'some'", PRETRAIN_HELP]),
        (["pretrain", "--config", "none.toml"],
         ["error: none.toml: there is no such file", "hint: a recipe is a TOML file; `masscli recipe show RUN` prints that of a run"]),
        (["recipe", "show", "enfrr"], ["error: no recipe called 'enfrr', did you mean 'enfr'?", "hint: masscli recipe list"]),
        (["recipe", "lost"], ["error: recipe: no action called 'lost', did you mean 'list'?", "hint: masscli recipe --help"]),
        (["bench", "--rows", "0", "--seconds=soon", "--precision", "fp8"],
         ["error: --seconds: expected float, got 'soon'",
          "error: --precision: 'fp8' is not one of auto, bf16, fp16, fp32", "hint: masscli bench --help"]),
        (["bench", "--rows", "0", "--vocab-size", "9", "--seconds", "0"],
         ["error: --rows: must be above 0, got 0", "error: --vocab-size: must be at least 16, got 9",
          "error: --seconds: must be at least 0.1, got 0.0", "hint: masscli bench --help"]),
        (["export", "run", "-o", "new", "--to", "onnx"],
         ["error: --to: 'onnx' is not one of huggingface, ctranslate2, safetensors, masscli", "hint: masscli export --help"]),
        (["filter", "a.en", "a.de", "-s", "en", "-t", "de"], ["error: --output: required", "hint: masscli filter --help"]),
        (["dictionary", "data", "--langs", "en,de", "--from", "words"],
         ["error: --from: 'words' is not one of model, pairs, text", "hint: masscli dictionary --help"]),
        (["average", "run", "-o", "new", "--last", "-1"], ["error: --last: must be at least 1, got -1", "hint: masscli average --help"]),
        (["recipe", "show"], ["error: recipe show: expected 1 recipe, got 0", "hint: masscli recipe --help"]),
    ],
)  # fmt: skip
def test_error_messages_word_for_word(
    args: list[str],
    lines: list[str],
    capsys: pytest.CaptureFixture[str],
    requests: Seen,
) -> None:
    assert refusal(capsys, *args) == lines
    assert requests == []


def test_keys_that_set_gives_two_values_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, requests: Seen
) -> None:
    settings = ["optim.lr=1", "seed=3", "optim.lr=2", "seed=3"]
    flags = [word for setting in settings for word in ("--set", setting)]
    # The same value twice is no contradiction.
    twice = ["--objective", "mass", "--objective=mass"]
    succeed(["pretrain", *twice, *flags])
    assert requests[0].recipe_options["optim"]["lr"] == "2"
    assert capsys.readouterr().err.splitlines() == [
        "warning: --set optim.lr is given 2 times, and only the last one counts: 2",
    ]
    # Under torchrun, the first process says it for all.
    monkeypatch.setattr(distributed, "rank", 1)
    succeed(["pretrain", *twice, *flags])
    assert not capsys.readouterr().err


def test_all_misspelled_flags_are_named_with_the_most_similar_ones(
    capsys: pytest.CaptureFixture[str], requests: Seen
) -> None:
    assert refusal(capsys, "pretrain", "--max-tokenz", "3", "--sed=1", "--zzzz") == [
        "error: no such option: --max-tokenz, did you mean --max-tokens?",
        "error: no such option: --sed, did you mean --seed?",
        "error: no such option: --zzzz",
        PRETRAIN_HELP,
    ]
    assert requests == []
    # Hyphens are no similarity, and help replaces nothing.
    assert refusal(capsys, "predict", "--model", "run")[0] == (
        "error: no such option: --model"
    )
    assert refusal(capsys, "preprocess", "--joint-bpe")[0] == (
        "error: no such option: --joint-bpe"
    )
    assert refusal(capsys, "generate", "--do_sample")[0] == (
        "error: no such option: --do_sample, did you mean --sampling?"
    )


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (
            ["finetune", "--data", "bin", "--max-update=1"],
            ["error: --data is the argument bin here", "hint: masscli finetune --help"],
        ),
        (
            ["pretrain", "--data"],
            ["error: --data is the argument DATA here", PRETRAIN_HELP],
        ),
        (
            ["interactive", "bin", "--remove-bpe", "--gen-subset", "test"],
            [
                "error: --remove-bpe (of fairseq-generate): leave it out; pieces are joined to words in D- lines",
                "error: --gen-subset is an option of masscli generate",
                "hint: masscli convert-command 'fairseq-train ...' converts a whole command line",
            ],
        ),
        (
            ["interactive", "bin", "--input", "test.en", "--output=test.de"],
            [
                "error: --input is an option of masscli generate",
                "error: --output is an option of masscli generate",
                "hint: interactive answers the lines of standard input; for a file: masscli generate RUN --input FILE",
            ],
        ),
    ],
)
def test_arguments_written_as_flags_and_flags_of_other_commands_are_explained(
    capsys: pytest.CaptureFixture[str], args: list[str], lines: list[str]
) -> None:
    assert refusal(capsys, *args) == lines


@pytest.mark.parametrize("name", COMMANDS)
def test_typer_parses_nothing(name: str) -> None:
    """Messages of typer differ between its versions, so it only gets flags and types that accept any text."""
    module = importlib.import_module(module_of(name))
    for parameter in inspect.signature(bind(module.run, name, [])).parameters.values():
        kind, *_ = typing.get_args(parameter.annotation)
        assert kind in (*(bool, bool | None, str | None, list[str] | None),), (
            parameter.name
        )


def path_parameters(command: str) -> list[tuple[str, bool]]:
    """Return the flag, or the name in the help, of each path that a command takes, and whether it is an option."""
    module = importlib.import_module(module_of(command))
    paths = []
    for declared in inspect.signature(module.run, eval_str=True).parameters.values():
        kind, *rest = typing.get_args(declared.annotation) or (declared.annotation,)
        if dataclasses.is_dataclass(kind):
            for option in iter_options(typing.cast(type, kind)):
                if option.kind in (Path, Path | None):
                    name = option.key.rpartition(".")[2].replace("_", "-")
                    paths.append((f"--{name}", True))
        elif kind in (Path, Path | None, list[Path], list[Path] | None):
            (info,) = rest
            is_option = isinstance(info, typer.models.OptionInfo)
            flag = f"--{declared.name.replace('_', '-')}"
            if is_option and isinstance(info.default, str):
                flag = info.default
            paths.append((flag if is_option else info.metavar, is_option))
    return paths


LANGUAGES = ["--source-lang", "en", "--target-lang", "de"]
REQUIRED = {
    "compare": ["--input", "x"],
    "average": ["--output", "x"],
    "import": ["--output", "x"],
    "export": ["--output", "x"],
    "filter": [*LANGUAGES, "--output", "x"],
    "mine": [*LANGUAGES, "--input-source", "x", "--input-target", "x"],
    "align": LANGUAGES,
    "shortlist": LANGUAGES,
    "recipe": ["run"],
}
"""What a command needs besides the arguments that are paths."""


@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_path_is_not_the_current_folder(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An empty path is usually a shell variable that was never set."""
    monkeypatch.chdir(tmp_path)
    paths = path_parameters(name)
    for path, is_option in paths:
        options = [*REQUIRED.get(name, [])]
        if is_option:
            options.append(f"{path}=")
        arguments = [
            "" if other == path else "x"
            for other, is_other_option in paths
            if not is_other_option
        ]
        assert run([name, *options, *arguments]) == 2
        assert f"{path}: expected a path, got ''" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "name", "line"),
    [
        (errno.ENOSPC, "runs/x/model", "error: runs/x/model: No space left on device"),
        (errno.EACCES, "runs/x/model", "error: runs/x/model: Permission denied"),
        (errno.EROFS, "runs/x/model", "error: runs/x/model: Read-only file system"),
        (errno.ENOSPC, None, "error: No space left on device"),
    ],
)
def test_disk_errors_are_one_line(
    number: int,
    name: str | None,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise OSError(number, os.strerror(number), name)

    command(monkeypatch, "inspect", fail)
    assert refusal(capsys, "inspect")[0] == line


def test_other_errors_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise FileNotFoundError(errno.ENOENT, "not there", "x")

    command(monkeypatch, "inspect", fail)
    with pytest.raises(FileNotFoundError):
        run(["inspect"])


def test_exit_statuses(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    def refused() -> None:
        raise MasscliError("this cannot be done", "do that")

    command(monkeypatch, "inspect", interrupted)
    assert run(["inspect"]) == 130
    assert capsys.readouterr().err == "stopped by SIGINT\n"
    command(monkeypatch, "inspect", refused)
    assert refusal(capsys, "inspect") == ["error: this cannot be done", "hint: do that"]


def test_a_bug_exits_with_1_and_a_plain_traceback(tmp_path: Path) -> None:
    code = "import sys, masscli.cli.score_inputs as s; s.iter_lines = lambda path: 1 / 0; sys.argv = ['masscli', 'score', 'a', '--ref', 'b']; "
    result = subprocess.run(
        [sys.executable, "-c", code + "from masscli.__main__ import main; main()"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("Traceback") and result.stderr.endswith(
        "ZeroDivisionError: division by zero\n"
    )
    assert "╭" not in result.stderr


def test_a_closed_pipe_is_not_an_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "masscli", "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_results_that_cannot_be_written_are_not_a_success() -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "masscli", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "error: standard output: cannot be written (No space left on device)",
        "hint: make room, then run the same command again",
    ]


# -- what a command receives -------------------------------------------------------------------------------------------------------------


def test_only_what_was_given_is_in_the_request(requests: Seen) -> None:
    succeed(["pretrain"])
    succeed(["pretrain", "bin", "--objective=mass", "--k", "0.3", "-a", "base", "--keep-interval-updates", "2", "--no-scale-embedding",
                "--adam-betas", "0.9,0.999", "--bf16", "--langs", "en", "-l", "de,fr", "--pairs", "en-de,de-en", "-s", "en", "-t", "de",
                "--lang-temperature", "5", "--max-examples", "100", "--set", "stream.en.loss_weight=2", "--set", "train.max_tokens=9",
                "--max-tokens", "8"])  # fmt: skip
    empty, full = requests
    assert empty == TrainRequest()
    assert full.recipe_options == {
        "data": "bin",
        "model": {"arch": "base", "scale_embedding": False},
        "optim": {"adam_betas": "0.9,0.999"},
        "train": {"max_tokens": "9", "precision": "bf16"},
        "checkpoint": {"keep_last": "2"},
    }
    assert full.stream_tables == {"en": {"loss_weight": "2"}}
    assert (full.objective, full.objective_options) == ("mass", {"k": "0.3"})
    assert full.selection == StreamSelection(
        langs=("en", "de", "fr"),
        source_lang="en",
        target_lang="de",
        pairs=("en-de", "de-en"),
        lang_temperature=5.0,
        max_examples=100,
    )
    assert "optim.adam_betas" in full.flag_keys and "train.max_tokens" in full.flag_keys
    assert full.names["train.max_tokens"] == "--set train.max_tokens"
    assert (
        full.names["model.scale_embedding"] == "--no-scale-embedding"
        and full.names["k"] == "--k"
    )


STREAMS = """
[stream.en]
dataset = "en"
objective = { name = "mass", k = 0.3 }
[stream.pairs]
dataset = "en-de"
objective = { name = "translate" }
"""


def test_flags_win_over_the_file(tmp_path: Path, requests: Seen) -> None:
    path = tmp_path / "run.toml"
    path.write_text("seed = 3\n[optim]\nlr = 1e-3\nclip_norm = 2.0\n" + STREAMS)
    succeed(f"pretrain --config {path} --lr 5e-4 --k 0.7 --label-smoothing 0.2")
    (request,) = requests
    assert request.recipe_options == {
        "seed": 3,
        "optim": {"lr": "5e-4", "clip_norm": 2.0},
    }
    assert list(request.stream_tables) == ["en", "pairs"]
    assert (request.options_for("mass"), request.options_for("translate")) == (
        {"k": "0.7"},
        {"label_smoothing": "0.2"},
    )


def test_an_empty_list_overrules_that_of_the_file(
    tmp_path: Path, requests: Seen
) -> None:
    file = tmp_path / "frozen.toml"
    file.write_text('[optim]\nfreeze = ["embeddings"]\n')
    command = ["pretrain", "--objective", "mass", "--config", str(file)]
    assert run(command) == run([*command, "--freeze", ""]) == 0
    kept, cleared = (
        from_dict(Recipe, request.recipe_options).optim.freeze for request in requests
    )
    assert (kept, cleared) == (("embeddings",), ())


def test_an_error_in_a_file_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], requests: Seen
) -> None:
    path = tmp_path / "run.toml"
    path.write_text("[optim]\nlrr = 1e-3\n[train]\nmax_tokens = 0\n" + STREAMS)
    assert refusal(capsys, "pretrain", "--config", str(path)) == [
        f"error: {path}: optim.lrr: unknown key, did you mean 'lr'?",
        f"error: {path}: train.max_tokens: must be above 0, got 0",
        PRETRAIN_HELP,
    ]
    path.write_text("[optim\n")
    first, hint = refusal(capsys, "pretrain", "--config", str(path))
    assert first.startswith(f"error: {path}: ") and "line 1" in first
    assert hint == "hint: the file must be TOML in UTF-8"
    path.write_text('[stream.en]\ntext = "en"\nobjective = { name = "mas" }\n')
    assert (
        refusal(capsys, "pretrain", "--config", str(path))[0]
        == f"error: {path}: no objective called 'mas', did you mean 'mass'?"
    )


def test_the_objective_is_found_before_the_line_is_parsed() -> None:
    assert peek_option([], "--objective") is None
    assert (
        peek_option(["x", "--objective", "mass", "--k", "1"], "--objective") == "mass"
    )
    assert peek_option(["--objective=a", "--objective=b"], "--objective") == "b"
    assert peek_option(["--objective"], "--objective") is None
    assert peek_option(["--", "--objective", "mass"], "--objective") is None


def test_a_dataclass_defines_the_options_of_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @config
    class Settings:
        """Settings."""

        width: int = 3
        """How wide."""
        quick: bool = True
        """Hurry."""

        def __post_init__(self) -> None:
            if self.width > 9:
                raise MasscliError("too wide")

    seen: Seen = []

    def take(settings: Settings) -> None:
        seen.append(settings)

    take.__annotations__ = {"settings": Settings, "return": None}
    command(monkeypatch, "inspect", take)
    succeed(["inspect"])
    succeed(["inspect", "--width", "7", "--no-quick"])
    assert seen == [Settings(), Settings(width=7, quick=False)]
    assert refusal(capsys, "inspect", "--width", "wide") == [
        "error: --width: expected int, got 'wide'",
        "hint: masscli inspect --help",
    ]
    assert refusal(capsys, "inspect", "--width", "10") == ["error: too wide"]


# -- recipes -----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes" / "more").mkdir(parents=True)
    (tmp_path / "recipes" / "first.toml").write_text(
        "# The first.\n[model]\narch = 'base'\n[optim]\nlr = 1e-3\n" + STREAMS
    )
    (tmp_path / "recipes" / "more" / "second.toml").write_text("[optim]\nlr = 2e-3\n")
    (tmp_path / "recipes" / "wrong.toml").write_text(
        "[optim]\nlrr = 2e-3\nlr = 'high'\n"
    )
    return tmp_path


def test_settings_are_shown_checked_and_compared(
    recipes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["recipe", "check", "recipes/first.toml", "recipes/wrong.toml"]) == 2
    out, err = capsys.readouterr()
    assert out == "recipes/first.toml: ok\n"
    assert err.splitlines()[:2] == [
        "error: recipes/wrong.toml: optim.lrr: unknown key, did you mean 'lr'?",
        "error: recipes/wrong.toml: optim.lr: expected float, got 'high'",
    ]
    succeed(["recipe", "show", "recipes/first.toml"])
    shown = capsys.readouterr().out.splitlines()
    assert (
        "lr = 0.001" in shown and "seed = 1  # default" in shown and "k = 0.3" in shown
    )
    assert "dim = 512  # default" in shown  # what base stands for
    assert {'arch = "base"', 'dataset = "en"', 'name = "mass"'} < set(shown)
    (recipes / "shown.toml").write_text("\n".join(shown))
    succeed(["recipe", "diff", "recipes/first.toml", "shown.toml"])
    assert capsys.readouterr().out == ""
    # A file with all settings in it, as a run has one, shows the same defaults.
    succeed(["recipe", "show", "shown.toml"])
    assert capsys.readouterr().out.splitlines() == shown
    (recipes / "run").mkdir()
    (recipes / "run" / "recipe.toml").write_text("[optim]\nlr = 2e-3\nclip_norm = 0\n")
    succeed(["recipe", "diff", "recipes/more/second.toml", "run"])
    assert capsys.readouterr().out == "optim.clip_norm: 1.0 -> 0.0\n"


# -- the frozen list of options ----------------------------------------------------------------------------------------------------------


def flags() -> Iterator[str]:
    """Every option made from a dataclass: the command, the key, its spellings, its type."""
    commands: dict[str, list[type]] = {
        "preprocess": [PreprocessConfig],
        "pretrain, finetune": [StreamSelection, Recipe],
        **{
            f"pretrain, finetune: {name}": [OBJECTIVES.load(name)]
            for name in OBJECTIVES.builtin_names()
        },
        "generate": [GenerateConfig, GenerationConfig],
        "score": [ScoreConfig],
    }
    for command_, classes in commands.items():
        yield f"[{command_}]"
        for row in (row for cls in classes for row in iter_options(cls)):
            if row.key not in ("name", "stream"):
                spellings = " ".join(
                    ["--" + row.key.rpartition(".")[2].replace("_", "-"), *row.flags]
                )
                yield f"{row.key:<40} {spellings:<50} {row.type}"
        yield ""


def test_options_change_only_on_purpose() -> None:
    frozen = Path(__file__).with_name("flags.txt").read_text(encoding="utf-8")
    assert "\n".join(flags()) + "\n" == frozen, (
        "if this was intended: python -m tests.cli.test_cli > tests/cli/flags.txt"
    )


if __name__ == "__main__":
    print("\n".join(flags()))


def test_modules_in_the_current_folder_are_not_imported(tmp_path: Path) -> None:
    """`python -m` puts this folder first on the path of imports; a downloaded one may hold a typing.py."""
    for name in (
        "typing",
        "json",
        "torch",
        "masscli_plugin",
        "sitecustomize_of_nobody",
    ):
        (tmp_path / f"{name}.py").write_text(
            "raise SystemExit('code of the current folder was run')"
        )
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(masscli_package.__file__).parents[1]),
    }
    command = [sys.executable, "-m", "masscli", "inspect", "nowhere"]
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "code of the current folder" not in result.stderr

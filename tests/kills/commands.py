"""The commands that write: what each begins with, its command line, and what it must leave."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masscli.reporting.score_log import LoggedScore, latest_scores, read_scores
from tests.fuzz import sound
from tests.fuzz.sound import TINY, command

IGNORED = (".lock", ".verified.json")
"""Files that say nothing about results."""


@dataclass(frozen=True)
class Case:
    """A command: `make` makes its input in a folder, and `line` is its command line, with {} for that folder.

    `result` returns what it has left, in a form that is the same whenever it did the same.
    """

    name: str
    make: Callable[[Path], None]
    line: Sequence[str]
    result: Callable[[Path], Any]
    is_gradual: bool = False
    """Whether the command adds to its output step by step, so that a part of it may be there."""

    def arguments(self, folder: Path) -> list[str]:
        """Return the command line for a folder."""
        return [part.replace("{}", str(folder)) for part in self.line]

    def result_if_any(self, folder: Path) -> Any:
        """Return the result of a command that may have left nothing; None where a file of it is missing."""
        try:
            return self.result(folder)
        except FileNotFoundError:
            return None


def files(folder: Path) -> dict[str, str]:
    """Return the checksum of every file below a folder, by its name there, and the target of every link."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file() and path.name not in IGNORED:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def outputs(*names: str) -> Callable[[Path], Any]:
    """Return what reads some files or folders of results."""

    def read(folder: Path) -> Any:
        found = {}
        for name in names:
            place = folder / name
            if place.is_dir() and not files(place):
                raise FileNotFoundError(place)
            found[name] = (
                files(place)
                if place.is_dir()
                else hashlib.sha256(place.read_bytes()).hexdigest()
            )
        # Nothing else may be left, whatever its name.
        hidden = [
            path.name for path in folder.rglob("*.new") if "text" not in path.parts
        ]
        return found, hidden

    return read


def run_result(folder: Path) -> Any:
    """Return the last checkpoint of a run and its links, and what is left unfinished.

    A process that dies between a save and what follows it leaves a checkpoint that the next save removes, and a log
    that ends before its last lines, or within one; nothing is trained again, and the commands skip half a line.
    """
    run = folder / "made"
    last = (run / "checkpoints/last").resolve().name
    found = {}
    for name, checksum in files(run).items():
        path = Path(name)
        # These hold seconds, and the recipe nothing but the folder.
        is_timed = path.name in ("state.json", "log.jsonl", "recipe.toml")
        if not is_timed and (last in path.parts or path.parent.name == "checkpoints"):
            found[name] = checksum
    state = json.loads((run / "checkpoints" / last / "state.json").read_text())[
        "state"
    ]["step"]
    return found, state, [path.name for path in run.rglob("*.new")]


def scores_of(path: Path) -> Sequence[LoggedScore]:
    """Return the scores of a log. Raises FileNotFoundError if nothing was logged."""
    if not path.exists() or not path.stat().st_size:
        raise FileNotFoundError(path)
    return latest_scores(read_scores(path))


def scores_result(name: str) -> Callable[[Path], Any]:
    """Return what reads a log of scores. A command that was killed after it had written writes its line again."""

    def read(folder: Path) -> Any:
        return [
            [score.metric, score.value, score.tags]
            for score in scores_of(folder / name)
        ]

    return read


def speed_result(folder: Path) -> Any:
    """Return the outputs of a split and their references, and whose speed was logged."""
    # A command that was killed after it had written logs its speed again.
    logged = {
        (score.metric, str(score.tags)) for score in scores_of(folder / "speed.jsonl")
    }
    return outputs("made.txt", "made.ref")(folder), logged


def make_averaged(folder: Path) -> None:
    """A run with two checkpoints."""
    sound.make_run(folder)


def make_exported(folder: Path) -> None:
    """An imported BERT."""
    sound.make_huggingface("bert")(folder)
    command("import", folder / "model", "--output", folder / "bert", "--langs", "en")


def make_scored(folder: Path) -> None:
    """A log of scores, and text to be scored."""
    sound.make_score_input(folder)
    row = {"metric": "BLEU", "value": 1.0, "signature": "x", "tags": {"seed": "0"}}
    (folder / "scores.jsonl").write_text(json.dumps(row | {"metric": "other"}) + "\n")


def make_reported(folder: Path) -> None:
    """Logs of scores and of a run."""
    sound.make_scores(folder)
    shutil.copy(folder / "scores/scores.jsonl", folder / "log.jsonl")


def make_preprocessed(folder: Path) -> None:
    """Text, and examples in tables."""
    sound.make_data(folder)
    shutil.rmtree(folder / "data")


def make_parts(folder: Path) -> None:
    """Text in two parts that are encoded with a given vocabulary."""
    sound.make_data(folder)
    for part in (1, 2):
        command(
            "preprocess",
            *part_options(folder, part),
            "--destdir",
            folder / f"parts/{part}",
        )


def part_options(folder: Path | str, part: int) -> list[str]:
    """Return the options of preprocess that encode a part of two."""
    return ["--mono", f"en={folder}/text/mono.en", "--langs", "en", "--spm-model", f"{folder}/data/vocab.model",
            "--part", f"{part}/2", "--workers", "1"]  # fmt: skip


def make_new_language(folder: Path) -> None:
    """A data folder, and text of a language that it lacks."""
    sound.make_data(folder)
    lines = sound.sentences(40, "de", 9)
    (folder / "text/mono.fr").write_text("".join(f"{line.upper()}\n" for line in lines))


DATA = (
    "--langs en,de --trainpref {}/text/train --validpref {}/text/valid "
    "--mono en={}/text/mono.en"
).split()
TABLES = [
    "--tsv",
    "pairs.train={}/text/train.pairs.tsv",
    "--conll",
    "tags.train={}/text/train.conll",
]
TRAIN = [*TINY, "--keep-last", "1", "--save-dir", "{}/made"]

CASES = {
    case.name: case
    for case in (
        Case("preprocess", make_preprocessed,
             ["preprocess", *DATA, *TABLES, "--vocab-size", "90", "--workers", "1", "--destdir", "{}/made"], outputs("made"), True),
        Case("preprocess-part", sound.make_data, ["preprocess", *part_options("{}", 1), "--destdir", "{}/made"], outputs("made"), True),
        Case("merge-data", make_parts, ["merge-data", "{}/parts/1", "{}/parts/2", "--destdir", "{}/made"], outputs("made"), True),
        Case("preprocess-extend", make_new_language,
             ["preprocess", "--extend", "{}/data", "--langs", "en,de,fr", "--mono", "fr={}/text/mono.fr", "--new-pieces", "20",
              "--workers", "1", "--destdir", "{}/made"], outputs("made"), True),
        Case("pretrain", sound.make_data, ["pretrain", "{}/data", "--objective", "mass", *TRAIN], run_result, True),
        Case("finetune", sound.make_data,
             ["finetune", "{}/data", "--task", "classify", "--table", "tsv", "--text-columns", "sentence1", "--label-column", "label", *TRAIN],
             run_result, True),
        Case("average", make_averaged, ["average", "{}/run", "--last", "2", "--output", "{}/made"], outputs("made")),
        Case("import", sound.make_huggingface("bert"), ["import", "{}/model", "--output", "{}/made", "--langs", "en"], outputs("made")),
        Case("export", make_exported, ["export", "{}/bert", "--output", "{}/made"], outputs("made")),
        Case("export-masscli", make_averaged, ["export", "{}/run", "--to", "masscli", "--output", "{}/made"], outputs("made")),
        Case("export-translator", sound.make_translator, ["export", "{}/run", "--output", "{}/made"], outputs("made")),
        Case("export-safetensors", sound.make_translator,
             ["export", "{}/run", "--to", "safetensors", "--output", "{}/made"], outputs("made")),
        Case("import-mass", sound.make_mass,
             ["import", "{}/model/mass_ende_1024.pth", "--output", "{}/made"], outputs("made")),
        Case("generate", sound.make_translator,
             ["generate", "{}/run", "--input", "{}/input/in.en", "--beam", "1", "--precision", "fp32", "--output", "{}/made.txt"],
             outputs("made.txt")),
        Case("generate-split", sound.make_translator,
             ["generate", "{}/run", "--gen-subset", "valid", "--beam", "1", "--precision", "fp32", "--write-reference", "{}/made.ref",
              "--output", "{}/made.txt", "--append", "{}/speed.jsonl"], speed_result),
        Case("predict", sound.make_classifier,
             ["predict", "{}/run", "--input", "{}/input/rows.tsv", "--precision", "fp32", "--output", "{}/made.txt"], outputs("made.txt")),
        Case("score", make_scored,
             ["score", "{}/hyp.txt", "--ref", "{}/ref.txt", "--metric", "bleu,chrf", "--append", "{}/scores.jsonl", "--tag", "seed=1"],
             scores_result("scores.jsonl")),
        Case("report", make_reported,
             ["report", "{}/run", "--metric", "loss", "--append", "{}/log.jsonl", "--tag", "seed=1"], scores_result("log.jsonl")),
        Case("report-page", make_reported,
             ["report", "{}/scores/scores.jsonl", "--html", "{}/made.html"], outputs("made.html")),
        Case("report-run-page", make_reported, ["report", "{}/run", "--html", "{}/made.html"], outputs("made.html")),
        Case("filter", sound.make_data,
             ["filter", "{}/text/train.en", "{}/text/train.de", "-s", "en", "-t", "de", "--output", "{}/made", "--scores", "{}/made.tsv"],
             outputs("made.en", "made.de", "made.tsv")),
        Case("mine", sound.make_translator,
             ["mine", "{}/run", "-i", "{}/input/in.en", "-j", "{}/input/in.en", "-s", "en", "-t", "de", "--min-margin", "0",
              "--precision", "fp32", "--output", "{}/made.tsv"], outputs("made.tsv")),
        Case("align", sound.make_data,
             ["align", "{}/data", "-s", "en", "-t", "de", "--output", "{}/made.links", "--pieces", "{}/made.pieces"],
             outputs("made.links", "made.pieces")),
        Case("shortlist", sound.make_data,
             ["shortlist", "{}/data", "-s", "en", "-t", "de", "--output", "{}/made.txt"], outputs("made.txt")),
        Case("score-run", sound.make_run,
             ["score", "{}/run", "--gen-subset", "valid", "--precision", "fp32", "--append", "{}/scores.jsonl"],
             scores_result("scores.jsonl")),
        Case("dictionary", sound.make_data,
             ["dictionary", "{}/data", "--langs", "en,de", "--from", "pairs", "--output", "{}/made.txt"], outputs("made.txt")),
        Case("inspect", sound.make_data, ["inspect", "{}/data", "--verify"], outputs("data"), True),
        Case("demo", lambda folder: None, ["demo", "{}/made"], outputs("made"), True),
    )
}  # fmt: skip
if importlib.util.find_spec("ctranslate2"):
    to_ctranslate2 = ["export", "{}/run", "--to", "ctranslate2", "--output", "{}/made"]
    with_ctranslate2 = [*CASES["generate"].line, "--backend", "ctranslate2"]
    CASES["export-ctranslate2"] = Case(
        "export-ctranslate2", sound.make_translator, to_ctranslate2, outputs("made")
    )
    CASES["generate-ctranslate2"] = Case(
        "generate-ctranslate2",
        sound.make_translator,
        with_ctranslate2,
        outputs("made.txt"),
    )

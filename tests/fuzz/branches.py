"""Which branches of the code that reads something the cases of the fuzzer take, counted with coverage.py.

The branches of a reader are those of the functions in its own modules (`PARTS`) that at least one of its cases
enters: the others of these modules write, or serve options that no case gives, and are counted apart. What the
test suite takes counts for every reader, if coverage.py has left it in the same folder, in files that begin with
`tests+`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
SLOWER = 6
"""How many times longer a case may take while its branches are counted."""

CONVERT = "checkpoint/convert/"
WRITERS = (
    "export",
    "ctranslate2",
    "translator_export",
    "vocabulary_export",
    "plain_export",
    "attribution",
    "fast_tokenizer",
    "one_direction",
    "task_head_export",
    "translator_tokenizer",
)
"""Beginnings of the names of modules beside the importers that write other formats."""


class Part(NamedTuple):
    """Readers, and the modules that read for them."""

    readers: tuple[str, ...]
    """Names of readers; one that ends with a hyphen stands for all that begin so."""
    modules: tuple[str, ...]
    """Beginnings of the paths of modules."""
    left_out: tuple[str, ...] = ()
    """Beginnings of the paths of those among them that do not count."""

    def has(self, reader: str) -> bool:
        """Return whether a reader, by its name, belongs to this part."""
        prefixes = tuple(name for name in self.readers if name.endswith("-"))
        return reader in self.readers or reader.startswith(prefixes)


_FORMATS = (
    "data/formats/json_text",
    "core/json_text",
    "data/formats/bad_rows",
    "data/formats/record",
)
PARTS: dict[str, Part] = {
    "data folders": Part(
        ("data-sealed", "data"),
        ("data/storage/", "core/sealed_json", "text/tokenizer_card"),
    ),
    "partial work of preprocess": Part(
        ("resume",),
        (
            "data/prepare/resume_state",
            "data/prepare/shard_builder",
            "data/storage/column_writer",
        ),
    ),
    "checkpoints": Part(
        ("checkpoint-sealed", "checkpoint"),
        ("checkpoint/checkpoint.py", "checkpoint/state_file", "checkpoint/tensor_file"),
    ),
    "runs": Part(
        ("inspect-run", "continue-run"),
        ("training/setup/run_folder", "reporting/event_sinks"),
    ),
    "recipes": Part(("recipe", "config"), ("core/config/", "training/recipe")),
    "text": Part(("text", "text.gz", "text.xz"), ("text/corpus", "text/compressed")),
    **{
        name: Part((name,), (f"data/formats/{name}", *_FORMATS))
        for name in ("tsv", "lines", "squad", "dialogues", "aligned")
    },
    "jsonl": Part(("jsonl", "jsonl-questions"), ("data/formats/jsonl", *_FORMATS)),
    "conll": Part(("conll", "conllu"), ("data/formats/conll", *_FORMATS)),
    "swag, race": Part(
        ("swag", "swag-tsv", "swag-jsonl", "race", "race-folder"),
        (
            "data/formats/swag",
            "data/formats/race",
            "data/formats/multiple_choice",
            *_FORMATS,
        ),
    ),
    "vocabularies": Part(
        ("sentencepiece", "wordpiece", "bpe-codes"),
        (
            "text/sentencepiece_model",
            "text/wordpiece",
            "text/bpe_codes",
            "text/tokenizer_card",
            "text/vocabulary",
        ),
    ),
    "dictionaries, vectors": Part(
        ("dictionary", "vectors"), ("lexicon/dictionary", "checkpoint/word_vectors")
    ),
    "logs": Part(("scores", "run-log"), ("reporting/score_log", "reporting/run_log")),
    "input of score": Part(
        ("score",), ("cli/score_inputs", "cli/score_agreement", "cli/score_squad")
    ),
    "models of Hugging Face": Part(
        ("hf-", "weights-"),
        (CONVERT,),
        tuple(
            CONVERT + name
            for name in (*WRITERS, "torch_file", "xlm", "fairseq", "import_file")
        ),
    ),
    "models of XLM and MASS": Part(
        ("xlm", "xlm-old", "xlm-file", "xlm-old-file", "weights-xlm"),
        (f"{CONVERT}xlm", f"{CONVERT}torch_file"),
    ),
    "models of fairseq": Part(
        (
            "fairseq",
            "fairseq-bart",
            "fairseq-a-file",
            "fairseq-b-file",
            "weights-fairseq",
        ),
        (f"{CONVERT}fairseq", f"{CONVERT}torch_file"),
    ),
}


class Recorder:
    """Records the branches that forked processes take, in files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def recording(self, reader: str) -> Iterator[None]:
        """Record the branches that this process takes in the block."""
        recorded = self._coverage(f"{reader}+{os.getpid()}")
        recorded.start()
        try:
            yield
        finally:
            recorded.stop()
            recorded.save()

    def tables(self, names: Iterable[str]) -> Iterator[str]:
        """Yield a line for each part of which one of the readers `names` was run, and the branches not taken."""
        names = list(names)
        for title, part in PARTS.items():
            chosen = list(filter(part.has, names))
            if not chosen:
                continue
            files = []
            for name in (*chosen, "tests"):
                files += [str(path) for path in sorted(self.folder.glob(f"{name}+*"))]
            if files:
                yield from self._table(title, part, files)

    def _table(self, title: str, part: Part, files: list[str]) -> Iterator[str]:
        combined = self._coverage("combined")
        combined.combine(files, keep=True)
        report = self.folder / "report.json"
        # The analysis of all other modules would take minutes.
        modules = [f"{ROOT}/masscli/{name}*" for name in part.modules]
        combined.json_report(outfile=str(report), include=modules)
        missed, branches, entered, functions = [], 0, 0, 0
        for path, module in json.loads(report.read_text())["files"].items():
            name = path.partition("masscli/")[2]
            if not name.startswith(part.modules) or name.startswith(part.left_out):
                continue
            for function, found in module["functions"].items():
                summary = found["summary"]
                functions += bool(function)
                if not function or not summary["covered_lines"]:
                    continue
                entered += 1
                branches += summary["num_branches"]
                missed += [
                    f"    {name} {function}: {here} -> {there}"
                    for here, there in found["missing_branches"]
                ]
        taken = branches - len(missed)
        yield (
            f"{title:28} {entered:4} of {functions:4} functions entered, {taken:4} of {branches:4} branches "
            f"of these taken: {taken / max(1, branches):.1%}"
        )
        yield from missed

    def _coverage(self, name: str) -> Any:
        import coverage

        include = [f"{ROOT}/masscli/*"]
        return coverage.Coverage(
            str(self.folder / name), branch=True, include=include, config_file=False
        )

"""The table of everything that masscli reads: sound input, how it is read, and who else can read it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.foreign import ImportRequest
from masscli.checkpoint.convert.import_ import import_folder
from masscli.checkpoint.convert.import_file import import_file
from masscli.checkpoint.word_vectors import load_vectors
from masscli.core.errors import MasscliError
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.record import Record
from masscli.data.formats.registry import read_records
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.lexicon.dictionary import read_dictionary
from masscli.models.presets import resolve
from masscli.models.transformer import Transformer
from masscli.text import corpus
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from tests import published, published_seq2seq
from tests.fuzz import oracles, sound, weights
from tests.fuzz.killed import make_partial, preprocess
from tests.fuzz.reseal import reseal_checkpoint, reseal_data
from tests.fuzz.sound import RefusedCommandError, command

Refused = RefusedCommandError
SAMPLE = (
    "bab deg fik",
    "ga ba",
    "xyz ÄÖ 12",
    "",
    "中文 a\x01b\u00ad don't, [UNK] </s>\u200b e\u0301",
    "x" * 120,
)
CHECKPOINT = "run/checkpoints/step-0000002"


@dataclass(frozen=True)
class Reader:
    """One kind of input.

    `make` makes it in a folder, of which `part` is mutated. `read` reads it and returns all that was found as
    text, and so does `oracle`, independently. What is `sealed` must be read as it was or be refused; `reseal`
    computes its checksums again. `writes` says that reading changes files, and `pipes` that no file may be a named
    pipe: files that the user names may be, and then masscli waits like every other program.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], str]
    part: str = "."
    oracle: Callable[[Path], str] | None = None
    sealed: bool = False
    reseal: Callable[[Path], object] | None = None
    writes: bool = False
    pipes: bool = False


def text_of(value: Any) -> str:
    """Return nested lists and tables as one text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True)


def digest(tensor: Tensor) -> list[Any]:
    """Return the type, the shape and a checksum of a tensor."""
    raw = tensor.detach().contiguous().flatten().view(-1)
    data = (
        raw.view(dtype=__import__("torch").uint8).numpy().tobytes()
        if raw.numel()
        else b""
    )
    return [str(tensor.dtype), list(tensor.shape), hashlib.sha256(data).hexdigest()]


# -- data folders ---------------------------------------------------------------------------------------------


def read_data(folder: Path) -> str:
    """Read all that is in a data folder through its own interface."""
    data = DataFolder.open(folder / "data")
    data.verify(again=False)
    tokenizer = data.tokenizer()
    encoded = tokenizer.encode_lines(SAMPLE, "en")
    for ids in encoded:
        tokenizer.decode(ids, "en")
    texts = []
    for entry in data.manifest.texts:
        column = data._columns[entry.column]
        rows = [column[row].tolist() for row in range(len(column))]
        kept = data._original_lines(entry) if entry.original else None
        texts.append([entry.split, entry.language, entry.monolingual, rows, kept])
    pairs = []
    for pair in data.manifest.aligned:
        sides = data.pair(pair.split, pair.source, pair.target)
        pairs.append(
            [
                pair.split,
                pair.source,
                pair.target,
                *([side[n].tolist() for n in range(len(side))] for side in sides),
            ]
        )
    tables = [
        _table_rows(data.table(table.name, table.split))
        for table in data.manifest.tables
    ]
    for split in data.splits():
        for language in data.languages:
            _use(
                lambda split=split, language=language: (
                    data.monolingual(split, language).document_starts
                )
            )
    return text_of([texts, pairs, tables])


def _table_rows(table: Table) -> list[Any]:
    fields = {}
    for name, column in table.columns.items():
        fields[name] = [column[row].tolist() for row in range(len(column))]
    for row in range(len(table)):
        table.location(row)
        for field in table.fields:
            values = table.strings(field, row) if table.is_list(field) else None
            if values is None and table.columns[field].shards[0].kind == "text":  # type: ignore[attr-defined]
                table.text(field, row)
    return [table.name, table.split, table.rows, fields]


def _use(action: Callable[[], object]) -> None:
    """Do something that data may lack."""
    from masscli.data.storage.data_folder import MissingDataError

    try:
        action()
    except MissingDataError:
        pass


def data_plainly(folder: Path) -> str:
    """Read the same with NumPy."""
    return text_of(oracles.data_folder(folder / "data"))


# -- checkpoints ----------------------------------------------------------------------------------------------


def read_checkpoint(folder: Path) -> str:
    """Read all that is in a checkpoint."""
    _use_run(folder / "run")
    checkpoint = Checkpoint.open(folder / CHECKPOINT)
    tensors = {}
    for name, read in (
        ("model", checkpoint.weights),
        ("objective", checkpoint.objective_state),
        ("optimizer", checkpoint.optimizer_state),
    ):
        tensors[name] = {key: digest(tensor) for key, tensor in read().items()}
    checkpoint.framing()
    encoded = checkpoint.tokenizer().encode_lines(SAMPLE, "en")
    checkpoint.model()
    return text_of(
        [
            tensors,
            checkpoint.state.step,
            checkpoint.state.targets,
            checkpoint.recipe.model.dim,
            checkpoint.metrics,
            encoded,
        ]
    )


def _use_run(run: Path) -> None:
    """Open the checkpoint that a run and its folder of checkpoints stand for, if there is one."""
    for folder in (run, run / "checkpoints"):
        try:
            Checkpoint.open(folder).weights()
        except MasscliError:
            pass


def checkpoint_plainly(folder: Path) -> str:
    """Read the same by hand."""
    place = folder / CHECKPOINT
    state = json.loads((place / "state.json").read_bytes())
    tensors = {}
    for name in ("model", "objective", "optimizer"):
        path = place / f"{name}.safetensors"
        tensors[name] = {} if path.name not in state["files"] else _tensor_digests(path)
    encoded = Tokenizer.load(place).encode_lines(SAMPLE, "en")
    numbers = [state["state"].get("step", 0), state["state"].get("targets", 0)]
    model = oracles.toml(place / "recipe.toml")["model"]
    dim = int(model["dim"]) if "dim" in model else resolve(model).dim
    return text_of(
        [
            tensors,
            *numbers,
            dim,
            {name: float(value) for name, value in state["metrics"].items()},
            encoded,
        ]
    )


def _tensor_digests(path: Path) -> dict[str, Any]:
    names = {"F64": "torch.float64", "F32": "torch.float32", "F16": "torch.float16", "BF16": "torch.bfloat16", "I64": "torch.int64",
             "I32": "torch.int32", "U8": "torch.uint8", "BOOL": "torch.bool"}  # fmt: skip
    found = {}
    for name, (dtype, shape, values) in oracles.safetensors(path).items():
        found[name] = [
            names[dtype],
            shape,
            hashlib.sha256(bytes.fromhex(values)).hexdigest(),
        ]
    return found


def inspect_run(folder: Path) -> str:
    """Show a run."""
    return command("inspect", folder / "run")


def continue_run(folder: Path) -> str:
    """Train one more update."""
    options = [
        option if option != "2" or sound.TINY[n - 1] != "--max-update" else "3"
        for n, option in enumerate(sound.TINY)
    ]
    command(
        "pretrain",
        folder / "data",
        "--objective",
        "mass",
        *options,
        "--save-dir",
        folder / "run",
    )
    return ""


# -- settings -------------------------------------------------------------------------------------------------


def read_recipe(folder: Path) -> str:
    """Check and show a recipe, and compare it with itself."""
    path = folder / "recipe.toml"
    command("recipe", "check", path)
    command("recipe", "diff", path, path)
    return command("recipe", "show", path)


def train_recipe(folder: Path) -> str:
    """Begin to train by a recipe."""
    command(
        "pretrain",
        "--config",
        folder / "input/recipe.toml",
        "--save-dir",
        folder / "made",
        "--max-update",
        "1",
    )
    return ""


# -- examples and text ----------------------------------------------------------------------------------------


def _examples(records: list[Record]) -> str:
    return text_of(
        [
            oracles.example(
                r.line,
                r.texts,
                r.lists,
                {k: list(v) for k, v in r.numbers.items()},
                r.shared,
            )
            for r in records
        ]
    )


def examples_reader(
    format: str,
    file: str,
    oracle: Callable[..., list[Any]],
    name: str | None = None,
    make_all: Callable[[Path], None] = sound.make_examples,
) -> Reader:
    """Return the reader of a format of labeled examples, with rows that are refused.

    `file` is the path below the folder that `make_all` fills, or two paths with a colon between them. The name is
    that of the format if None is given.
    """
    files = file.split(":")

    def read(folder: Path) -> str:
        path = Path(":".join(str(folder / "input" / part) for part in files))
        # Whatever is left when bad rows are skipped, no row may be lost unsaid.
        for max_share in (1.0, 0.05):
            _use_records(path, format, BadRows(max_share))
        return _examples(list(read_records(path, format)))

    def make(folder: Path) -> None:
        made = folder / "all"
        made.mkdir()
        make_all(made)
        (folder / "input").mkdir()
        for path in files:
            copy = shutil.copytree if (made / path).is_dir() else shutil.copy
            copy(made / path, folder / "input" / path)
        shutil.rmtree(made)

    def plainly(folder: Path) -> str:
        return text_of(oracle(*(folder / "input" / path for path in files)))

    return Reader(name or format, make, read, "input", plainly)


def _use_records(path: Path, format: str, skipped: BadRows) -> None:
    try:
        list(read_records(path, format, skipped))
    except MasscliError:
        pass


def text_reader(name: str) -> Reader:
    """Return the reader of a file of text."""

    def read(folder: Path) -> str:
        path = folder / name
        lines = list(corpus.iter_lines(path))
        # What is empty is refused here.
        assert corpus.scan_file(path).lines == len(lines)
        return text_of(lines)

    def make(folder: Path) -> None:
        sound.make_text(folder)
        for path in folder.iterdir():
            if path.name != name:
                path.unlink()

    def plainly(folder: Path) -> str:
        import gzip

        data = (folder / name).read_bytes()
        if name.endswith(".gz"):
            data = gzip.decompress(data)
        if name.endswith(".xz"):
            data = oracles.xz(data)
        return text_of(oracles.plain_lines(data))

    return Reader(name.replace("text.en", "text"), make, read, ".", plainly)


# -- vocabularies ---------------------------------------------------------------------------------------------


def vocabulary_reader(name: str, *files: str) -> Reader:
    """Return the reader of a subword model that others have made."""

    def make(folder: Path) -> None:
        sound.make_vocabularies(folder)
        for path in folder.iterdir():
            if path.name not in files:
                path.unlink()

    def read(folder: Path) -> str:
        settings = {
            "preprocessing": TextPreprocessing(lowercase=True),
            "languages": ("en",),
            "folder": folder / "made",
        }
        if len(files) == 2:
            tokenizer = Tokenizer.from_bpe_codes(
                folder / files[0], folder / files[1], **settings
            )  # type: ignore[arg-type]
        else:
            tokenizer = Tokenizer.from_model_file(folder / files[0], **settings)  # type: ignore[arg-type]
        encoded = tokenizer.encode_lines(SAMPLE, "en")
        decoded = [tokenizer.decode(ids, "en") for ids in encoded]
        tokenizer.all_pieces()
        again = Tokenizer.load(folder / "made").encode_lines(SAMPLE, "en")
        assert again == encoded
        return text_of([encoded, decoded])

    return Reader(name, make, read, writes=True)


# -- models of Hugging Face -----------------------------------------------------------------------------------


def import_model(folder: Path, languages: tuple[str, ...] = ("en",)) -> str:
    """Import a folder, and read what was made of it."""
    path, notes = import_folder(
        folder / "model", folder / "made", languages, allow_pickle=True
    )
    checkpoint = Checkpoint.open(path)
    model = {
        key: digest(tensor) for key, tensor in checkpoint.model().state_dict().items()
    }
    encoded = checkpoint.tokenizer().encode_lines(SAMPLE, languages[0])
    return text_of(
        [
            model,
            encoded,
            notes[0].partition(" from ")[0],
            asdict(checkpoint.recipe.model),
        ]
    )


def import_checkpoint(folder: Path, name: str, codes: str | None = None) -> str:
    """Import a checkpoint that is a single file, and read what was made of it."""
    request = ImportRequest(folder / "model" / name)
    if codes is not None:
        request = replace(request, bpe_codes=folder / "model" / codes)
    path, notes = import_file(request, None, folder / "made")
    checkpoint = Checkpoint.open(path)
    model = {
        key: digest(tensor) for key, tensor in checkpoint.model().state_dict().items()
    }
    encoded = checkpoint.tokenizer().encode_lines(SAMPLE, "en")
    return text_of(
        [
            model,
            encoded,
            notes[0].partition(" from ")[0],
            asdict(checkpoint.recipe.model),
        ]
    )


import_translator = partial(import_model, languages=("en", "de"))
import_mass = partial(import_checkpoint, name="mass_ende_1024.pth", codes="codes_ende")
import_fairseq = partial(import_checkpoint, name="checkpoint_best.pt")


def peer_readers() -> tuple[Reader, ...]:
    """Return readers of files of XLM and fairseq, if there are samples of them."""
    if sound.PEERS is None:
        return ()
    xlm: tuple[str, ...] = ()
    fairseq = (
        "-s",
        "en",
        "-t",
        "de",
        "--dict",
        "en={}/dict.en.txt,de={}/dict.de.txt",
        "--spm-model",
        "{}/sentencepiece.bpe.model",
    )
    pieces = ("dict.en.txt", "dict.de.txt", "sentencepiece.bpe.model")
    readers = [
        _peer_reader("xlm-file", xlm, "xlm/sample-english-only.pth"),
        _peer_reader(
            "xlm-old-file",
            ("--bpe-codes", "{}/codes"),
            "xlm/sample-legacy.pth",
            "xlm/codes",
        ),
    ]
    for name in ("fairseq-a", "fairseq-b"):
        readers.append(
            _peer_reader(
                f"{name}-file",
                fairseq,
                *(f"{name}/{file}" for file in ("checkpoint.pt", *pieces)),
            )
        )
    return tuple(readers)


def _peer_reader(name: str, options: tuple[str, ...], *files: str) -> Reader:
    def read(folder: Path) -> str:
        place, made = folder / "model", folder / "made"
        command(
            "import",
            place / Path(files[0]).name,
            "--output",
            made,
            *(option.replace("{}", str(place)) for option in options),
        )
        return text_of(
            {
                key: digest(tensor)
                for key, tensor in Checkpoint.open(made).model().state_dict().items()
            }
        )

    return Reader(name, sound.make_peer(*files), read, "model", writes=True, pipes=True)


# -- weights, and where each of their numbers must be ----------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """A kind of weights to be imported: what makes its folder `model`, the file in it, and the import."""

    make: Callable[[Path], None]
    file: str
    run: Callable[[Path], tuple[Path, list[str]]]

    def write_numbered(self, folder: Path) -> None:
        """Make weights of which each number is another one, and write down where the import puts each."""
        self.make(folder)
        path = folder / "model" / self.file
        weights.number_file(path)
        made, _ = self.run(folder)
        weights.keep_sources(folder, path, self.imported(made))
        shutil.rmtree(folder / "made")
        # Only what is in this folder is mutated.
        (folder / "weights").mkdir()
        path.rename(folder / "weights" / self.file)

    def read(self, folder: Path) -> str:
        """Import the weights, and keep what was imported and said for the independent reader."""
        aside = folder / "weights" / self.file
        if os.path.lexists(aside):
            aside.rename(folder / "model" / self.file)
        made, notes = self.run(folder)
        imported = self.imported(made)
        torch.save(imported, folder / "imported.pt")
        (folder / "notes.txt").write_text("\n".join(notes))
        return text_of({name: digest(tensor) for name, tensor in imported.items()})

    def imported(self, made: Path) -> dict[str, Tensor]:
        """Return all tensors of an imported checkpoint."""
        checkpoint = Checkpoint.open(made)
        return {**checkpoint.model().state_dict(), **checkpoint.objective_state()}

    def plainly(self, folder: Path) -> str:
        """Check what was imported against the file."""
        imported = torch.load(folder / "imported.pt", weights_only=True)
        notes = (folder / "notes.txt").read_text()
        weights.check_sources(folder, folder / "model" / self.file, imported, notes)
        return text_of({name: digest(tensor) for name, tensor in imported.items()})


def weights_reader(
    name: str,
    make: Callable[[Path], None],
    file: str,
    run: Callable[[Path], tuple[Path, list[str]]],
) -> Reader:
    """Return the reader of numbered weights of one kind."""
    kind = Weights(make, file, run)
    return Reader(
        f"weights-{name}",
        kind.write_numbered,
        kind.read,
        "weights",
        kind.plainly,
        writes=True,
    )


def _import_folder(folder: Path, languages: tuple[str, ...]) -> tuple[Path, list[str]]:
    return import_folder(
        folder / "model", folder / "made", languages, allow_pickle=True
    )


def _import_mass_file(folder: Path) -> tuple[Path, list[str]]:
    place = folder / "model"
    request = ImportRequest(
        place / "mass_ende_1024.pth", bpe_codes=place / "codes_ende"
    )
    return import_file(request, None, folder / "made")


def _import_fairseq_file(folder: Path) -> tuple[Path, list[str]]:
    return import_file(
        ImportRequest(folder / "model/checkpoint_best.pt"), None, folder / "made"
    )


def weights_readers() -> tuple[Reader, ...]:
    """Return the readers of the weights of other programs."""
    english, file = partial(_import_folder, languages=("en",)), "model.safetensors"
    readers = [
        weights_reader(kind, sound.make_huggingface(kind), file, english)
        for kind in published.SHAPES
    ]
    for kind, form in published_seq2seq.SEQ2SEQ.items():
        languages = partial(_import_folder, languages=form.languages)
        readers.append(
            weights_reader(kind, sound.make_encoder_decoder(kind), file, languages)
        )
    readers.append(
        weights_reader("pickle", sound.make_pickle, "pytorch_model.bin", english)
    )
    readers.append(
        weights_reader("xlm", sound.make_mass, "mass_ende_1024.pth", _import_mass_file)
    )
    readers.append(
        weights_reader(
            "fairseq", sound.make_fairseq, "checkpoint_best.pt", _import_fairseq_file
        )
    )
    return tuple(readers)


# -- the rest -------------------------------------------------------------------------------------------------


def read_pairs(folder: Path) -> str:
    """Read a dictionary."""
    pairs = read_dictionary(
        folder / "input/pairs.txt", DataFolder.open(folder / "data")
    )
    return text_of({str(piece): ids.tolist() for piece, ids in pairs.items()})


def read_vectors(folder: Path) -> str:
    """Start a model from word vectors."""
    data = DataFolder.open(folder / "data")
    model = Transformer(
        resolve({"arch": "tiny", "dim": 16, "heads": 2, "ffn_dim": 16}),
        data.vocab.size,
        (),
    )
    return text_of(load_vectors(model, [f"en={folder}/input/vectors.vec"], data))


def report_scores(folder: Path) -> str:
    """Summarize a log of scores."""
    return command(
        "report", folder / "scores/scores.jsonl", "--baseline", "method=base"
    )


def report_runs(folder: Path) -> str:
    """Summarize the log of a run."""
    return command("report", folder / "logs")


SCORES: tuple[tuple[str, ...], ...] = (
    ("hyp.txt", "--ref", "ref.txt", "--metric", "bleu,chrf,ter,rouge-l,multi-bleu"),
    (
        "train.tsv",
        "--ref",
        "train.tsv",
        "--metric",
        "accuracy,f1,mcc",
        "--column",
        "label",
        "--hyp-column",
        "label",
    ),
    ("labels.jsonl", "--ref", "train.tsv", "--metric", "accuracy", "--column", "label"),
    ("train.conll", "--ref", "train.conll", "--metric", "entity-f1"),
    (
        "train.pairs.tsv",
        "--ref",
        "train.pairs.tsv",
        "--metric",
        "pearson,spearman",
        "--column",
        "score",
        "--hyp-column",
        "score",
    ),
    ("answers.json", "--ref", "train.json", "--metric", "squad"),
    ("choices.txt", "--ref", "train.csv", "--metric", "accuracy"),
    (
        "rows.jsonl",
        "--ref",
        "rows.jsonl",
        "--metric",
        "accuracy,f1",
        "--column",
        "label",
        "--hyp-column",
        "label",
    ),
    ("labels.jsonl", "--ref", "labels.txt", "--metric", "accuracy"),
    (
        "answers.jsonl",
        "--ref",
        "train.json",
        "--metric",
        "squad",
        "--na-prob",
        "probabilities.jsonl",
    ),
    (
        "train.conll",
        "--ref",
        "train.conll",
        "--metric",
        "accuracy",
        "--column",
        "2",
        "--hyp-column",
        "2",
    ),
)


REFUSED = "(refused)"
"""Stands for the output of a command that refused its input, among those of others."""


def output_of(*arguments: object) -> str:
    """Return what a command prints, or that it refuses."""
    try:
        return command(*arguments)
    except RefusedCommandError:
        return REFUSED


def score_all(folder: Path) -> str:
    """Score each input by the metrics that are made for it; what is refused does not keep the others from it."""
    found = []
    for hypotheses, *options in SCORES:
        # An option with a point in it is a file.
        named = [
            str(folder / option) if "." in option else option for option in options
        ]
        found.append(
            output_of("score", folder / hypotheses, *named).replace(str(folder), "")
        )
    return text_of(found)


def predict(folder: Path) -> str:
    """Predict labels for tables in two formats."""
    options = ("--precision", "fp32")
    tables = [folder / "input" / name for name in ("rows.tsv", "rows.jsonl")]
    return text_of(
        [
            output_of("predict", folder / "run", "--input", path, *options)
            for path in tables
        ]
    )


def generate(folder: Path) -> str:
    """Translate lines."""
    path = folder / "input/in.en"
    written = command("generate", folder / "run", "--input", path, "--beam", "1", "--max-len-a", "0", "--max-len-b", "5",
                      "--precision", "fp32")  # fmt: skip
    return str(written.count("\n"))


def generate_plainly(folder: Path) -> str:
    """As many lines must come out as go in."""
    return str(len(oracles.plain_lines((folder / "input/in.en").read_bytes())))


def _make_config(folder: Path) -> None:
    sound.make_run(folder)
    (folder / "input").mkdir()
    # To compile a model takes longer than a case may.
    lines = (folder / "run/recipe.toml").read_text().splitlines(keepends=True)
    (folder / "input/recipe.toml").write_text(
        "".join(line for line in lines if not line.startswith("compile"))
    )
    shutil.rmtree(folder / "run")


other_form = partial(examples_reader, make_all=sound.make_other_forms)
READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        Reader(
            "data-sealed", sound.make_data, read_data, "data", sealed=True, pipes=True
        ),
        Reader(
            "data",
            sound.make_data,
            read_data,
            "data",
            data_plainly,
            reseal=reseal_data,
            pipes=True,
        ),
        Reader(
            "resume", make_partial, preprocess, "made/.partial", writes=True, pipes=True
        ),
        Reader(
            "checkpoint-sealed",
            sound.make_run,
            read_checkpoint,
            CHECKPOINT,
            sealed=True,
            pipes=True,
        ),
        Reader(
            "checkpoint",
            sound.make_run,
            read_checkpoint,
            CHECKPOINT,
            checkpoint_plainly,
            reseal=reseal_checkpoint,
            pipes=True,
        ),
        Reader("inspect-run", sound.make_run, inspect_run, "run", pipes=True),
        Reader(
            "continue-run", sound.make_run, continue_run, "run", writes=True, pipes=True
        ),
        Reader("recipe", sound.make_recipe, read_recipe),
        Reader("config", _make_config, train_recipe, "input", writes=True),
        text_reader("text.en"),
        text_reader("text.en.gz"),
        text_reader("text.en.xz"),
        examples_reader("tsv", "train.pairs.tsv", oracles.tsv),
        examples_reader("lines", "train.pairs.tsv", oracles.lines),
        examples_reader("jsonl", "train.jsonl", oracles.jsonl),
        examples_reader("conll", "train.conll", oracles.conll),
        examples_reader("squad", "train.json", oracles.squad),
        examples_reader("dialogues", "train.txt", oracles.dialogues),
        examples_reader("aligned", "train.src:train.tgt", oracles.aligned),
        examples_reader("swag", "train.csv", oracles.swag),
        examples_reader("race", "train.race", oracles.race),
        other_form("conll", "train.conllu", oracles.conll, "conllu"),
        other_form("jsonl", "train.jsonl", oracles.jsonl, "jsonl-questions"),
        other_form("swag", "swag.tsv", oracles.swag_tsv, "swag-tsv"),
        other_form("swag", "swag.jsonl", oracles.swag_jsonl, "swag-jsonl"),
        other_form("race", "race", oracles.race_folder, "race-folder"),
        vocabulary_reader("sentencepiece", "spm.model"),
        vocabulary_reader("wordpiece", "vocab.txt"),
        vocabulary_reader("bpe-codes", "codes", "counts"),
        Reader("dictionary", sound.make_dictionary, read_pairs, "input"),
        Reader("vectors", sound.make_dictionary, read_vectors, "input"),
        Reader("scores", sound.make_scores, report_scores, "scores"),
        Reader("run-log", sound.make_scores, report_runs, "logs", pipes=True),
        Reader("score", sound.make_score_input, score_all, "."),
        Reader("predict", sound.make_classifier, predict, "input"),
        Reader("generate", sound.make_translator, generate, "input", generate_plainly),
        *(
            Reader(
                f"hf-{kind}",
                sound.make_huggingface(kind),
                import_model,
                "model",
                writes=True,
                pipes=True,
            )
            for kind in published.SHAPES
        ),
        *(
            Reader(
                f"hf-{kind}",
                sound.make_encoder_decoder(kind),
                partial(
                    import_model, languages=published_seq2seq.SEQ2SEQ[kind].languages
                ),
                "model",
                writes=True,
                pipes=True,
            )
            for kind in published_seq2seq.SEQ2SEQ
        ),
        Reader(
            "hf-shards",
            sound.make_shards,
            import_model,
            "model",
            writes=True,
            pipes=True,
        ),
        Reader(
            "hf-pickle",
            sound.make_pickle,
            import_model,
            "model",
            writes=True,
            pipes=True,
        ),
        Reader("xlm", sound.make_mass, import_mass, "model", writes=True),
        Reader("xlm-old", sound.make_old_mass, import_mass, "model", writes=True),
        Reader("fairseq", sound.make_fairseq, import_fairseq, "model", writes=True),
        Reader("fairseq-bart", sound.make_bart, import_fairseq, "model", writes=True),
        Reader(
            "hf-own",
            sound.make_export,
            import_translator,
            "model",
            writes=True,
            pipes=True,
        ),
        Reader(
            "hf-old-pickle",
            sound.make_old_pickle,
            import_model,
            "model",
            writes=True,
            pipes=True,
        ),
        *weights_readers(),
        *peer_readers(),
    )
}

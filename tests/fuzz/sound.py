"""Sound input of every kind, small, made by masscli itself, by torch or by hand."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import lzma
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from masscli.__main__ import run
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.given_vocabulary import source_token_keys
from masscli.checkpoint.convert.one_direction import fold_direction
from masscli.checkpoint.convert.vocabulary_export import own_vocabulary_files
from masscli.text.corpus import LINE_STRIDE
from tests import published, toy, toy_tasks
from tests.peers.small_files import write_fairseq, write_mass
from tests.published_seq2seq import make_seq2seq

LINES = 12
TINY = [
    "--dim", "16", "--ffn-dim", "16", "--heads", "2", "--encoder-layers", "1", "--decoder-layers", "1", "--max-positions", "128",
    "--precision", "fp32", "--num-workers", "0", "--threads", "1", "--max-tokens", "600", "--warmup-updates", "2", "--max-update", "2",
    "--validate-interval-updates", "2", "--max-valid-rows", "4", "--save-interval-updates", "1",
]  # fmt: skip


def command(*arguments: object) -> str:
    """Run a command of masscli in this process, and return its standard output."""
    output, errors = io.TextIOWrapper(io.BytesIO(), "utf-8", newline=""), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        code = run([str(argument) for argument in arguments])
    output.flush()
    if code:
        raise RefusedCommandError(errors.getvalue())
    return output.buffer.getvalue().decode()  # type: ignore[attr-defined]


class RefusedCommandError(Exception):
    """The messages of a command that ended with 2."""


def sentences(count: int, language: str, seed: int) -> list[str]:
    """Return sentences of the toy language."""
    return [
        " ".join(toy.WORDS[language][word] for word in walk)
        for walk in toy.sentences(count, seed)
    ]


def make_text(folder: Path) -> None:
    """Text as it is, and compressed; as many lines as lie between two places that are remembered."""
    text = "".join(f"{line}\n" for line in sentences(LINE_STRIDE, "en", 1)).encode()
    (folder / "text.en").write_bytes(text)
    (folder / "text.en.gz").write_bytes(gzip.compress(text))
    (folder / "text.en.xz").write_bytes(lzma.compress(text))


def make_examples(folder: Path) -> None:
    """Labeled examples in every format."""
    toy_tasks.write(folder, LINES, "train")
    swag = io.StringIO()
    rows = csv.writer(swag, lineterminator="\n")
    rows.writerow(["sent1", "sent2", "ending0", "ending1", "label"])
    for number, line in enumerate(sentences(LINES, "en", 3)):
        rows.writerow([line, "ba, bi", f'be "{line[:4]}"', "bo", number % 2])
    (folder / "train.csv").write_text(swag.getvalue())
    articles = []
    for line in sentences(4, "en", 4):
        articles.append(
            {
                "article": line,
                "questions": ["ba _ ?", "bo ?"],
                "options": [["bi", "be"], ["ba", "bo"]],
                "answers": ["A", "B"],
            }
        )
    (folder / "train.race").write_text(
        "".join(json.dumps(article) + "\n" for article in articles)
    )


def make_other_forms(folder: Path) -> None:
    """Labeled examples in forms beside the usual ones: CoNLL-U, questions in JSONL, SWAG and RACE in other files."""
    texts = sentences(LINES, "en", 7)
    rows: list[str] = []
    for text in texts:
        rows.append(f"# text = {text}")
        for number, word in enumerate(text.split(), 1):
            rows.append(
                "\t".join(
                    [str(number), word, word, "NOUN", "_", "_", "0", "root", "_", "_"]
                )
            )
        rows += ["\t".join(["1.1", "x", *"________"]), ""]
    toy_tasks.save(folder / "train.conllu", rows)
    questions: list[Any] = []
    for number, text in enumerate(texts):
        questions.append(
            {
                "context": text,
                "question": ("bo _ ?", "be?")[number % 2],
                "choices": ["ba", "bi"],
                "label": 1,
            }
        )
    toy_tasks.save(folder / "train.jsonl", [json.dumps(row) for row in questions])
    endings: list[Any] = []
    for number, text in enumerate(texts):
        endings.append(
            {
                "sent1": text,
                "sent2": "ba",
                "ending0": "bi",
                "ending1": "bo",
                "label": str(number % 2),
            }
        )
    toy_tasks.save(folder / "swag.jsonl", [json.dumps(row) for row in endings])
    toy_tasks.save(
        folder / "swag.tsv",
        ["\t".join(endings[0]), *("\t".join(row.values()) for row in endings)],
    )
    (folder / "race/more").mkdir(parents=True)
    for name, text in zip(("1.txt", "more/2.txt", "more/3.txt"), texts, strict=False):
        article = {
            "article": text,
            "questions": ["ba _ ?"],
            "options": [["bi", "be"]],
            "answers": ["A"],
        }
        (folder / "race" / name).write_text(json.dumps(article))


def make_data(folder: Path) -> None:
    """A data folder with pairs, monolingual text and a table of every kind of column."""
    text = folder / "text"
    text.mkdir()
    for split, count, seed in (("train", 40, 1), ("valid", 6, 2)):
        for language in ("en", "de"):
            toy_tasks.save(
                text / f"{split}.{language}", sentences(count, language, seed)
            )
    toy_tasks.save(
        text / "mono.en",
        [*sentences(20, "en", 5), "", *sentences(5, "en", 6), "bagabo dig"],
    )
    make_examples(text)
    options: list[object] = [
        "--trainpref",
        text / "train",
        "--validpref",
        text / "valid",
        "--mono",
        f"en={text}/mono.en",
    ]
    for kind, ending in (
        ("tsv", "pairs.tsv"),
        ("conll", "conll"),
        ("jsonl", "jsonl"),
        ("squad", "json"),
        ("dialogues", "txt"),
    ):
        options += [f"--{kind}", f"{kind}.train={text}/train.{ending}"]
    options += ["--aligned", f"heads.train={text}/train.src:{text}/train.tgt"]
    command(
        "preprocess",
        "--langs",
        "en,de",
        *options,
        "--vocab-size",
        "90",
        "--workers",
        "1",
        "--destdir",
        folder / "data",
    )
    # The stamps of checked files are read, too.
    command("inspect", folder / "data", "--verify")


def make_run(folder: Path) -> None:
    """A data folder, and a run on it with a head, an optimizer and two streams."""
    make_data(folder)
    command(
        "pretrain",
        folder / "data",
        "--objective",
        "mass",
        *TINY,
        "--save-dir",
        folder / "run",
    )


def make_classifier(folder: Path) -> None:
    """A model that classifies, and examples for it in two formats."""
    make_data(folder)
    (folder / "input").mkdir()
    table = (folder / "text/train.pairs.tsv").read_text()
    (folder / "input/rows.tsv").write_text(table)
    header, *rows = [line.split("\t") for line in table.splitlines()]
    toy_tasks.save(
        folder / "input/rows.jsonl",
        [json.dumps(dict(zip(header, row, strict=True))) for row in rows],
    )
    options = "--table tsv --text-columns sentence1 --label-column label".split()
    command(
        "finetune",
        folder / "data",
        "--task",
        "classify",
        *options,
        *TINY,
        "--save-dir",
        folder / "run",
    )
    shutil.rmtree(folder / "text")


def make_translator(folder: Path) -> None:
    """A model that translates, and lines for it."""
    make_data(folder)
    (folder / "input").mkdir()
    shutil.copy(folder / "text/valid.en", folder / "input/in.en")
    command(
        "finetune",
        folder / "data",
        "--task",
        "translate",
        "-s",
        "en",
        "-t",
        "de",
        *TINY,
        "--save-dir",
        folder / "run",
    )
    shutil.rmtree(folder / "text")


def make_recipe(folder: Path) -> None:
    """The recipe of a run."""
    made = toy.recipe(folder / "data", folder / "run", streams=RECIPE_STREAMS)
    from masscli.core.config import to_dict, to_toml

    (folder / "recipe.toml").write_text(to_toml(to_dict(made)))


RECIPE_STREAMS: dict[str, Any] = {
    "pairs": {"dataset": "en-de", "objective": {"name": "translate"}},
    "mass": {"dataset": "en", "objective": {"name": "mass"}, "loss_weight": "0.5"},
    "labels": {
        "dataset": "tsv",
        "objective": {"name": "classify", "labels": ["yes", "no "]},
    },
}


def make_huggingface(kind: str) -> Callable[[Path], None]:
    """Return what makes a folder as Hugging Face distributes models of this kind."""

    def make(folder: Path) -> None:
        place = folder / "model"
        place.mkdir()
        more = {"vocab_size": published.V}
        if kind == "openai-gpt":
            published.write(place, kind, **more)
            (place / "vocab.txt").unlink()
            (place / "tokenizer_config.json").unlink(missing_ok=True)
            ids = published.write_merges(place)
            for number in range(published.V):
                if number not in ids.values():
                    ids[f"filler{number}"] = number
            (place / "vocab.json").write_text(json.dumps(ids))
        else:
            published.write(place, kind, **more)
            (place / "tokenizer_config.json").write_text(
                json.dumps(
                    {
                        "do_lower_case": True,
                        "strip_accents": None,
                        "tokenizer_class": "BertTokenizer",
                    }
                )
            )

    return make


def make_encoder_decoder(kind: str) -> Callable[[Path], None]:
    """Return what makes a folder of an encoder-decoder of this kind, as Hugging Face distributes it."""

    def make(folder: Path) -> None:
        make_seq2seq(kind, folder / "model")
        for leftover in (folder / "model").glob("*.vocab"):
            leftover.unlink()

    return make


def make_pickle(folder: Path, *, legacy: bool = False) -> None:
    """A folder of BERT with its weights in a pickle."""
    place = folder / "model"
    place.mkdir()
    weights = published.write(place, "bert")
    (place / "model.safetensors").unlink()
    torch.save(
        weights, place / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy
    )


def make_old_pickle(folder: Path) -> None:
    """The same in the older format of torch."""
    make_pickle(folder, legacy=True)


def make_mass(folder: Path) -> None:
    """A model of MASS in XLM's format, with its BPE codes."""
    (folder / "model").mkdir()
    write_mass(folder / "model", ["bab deg fik ga", "dog ba"])


def make_old_mass(folder: Path) -> None:
    """The same in the older format of torch."""
    make_mass(folder)
    path = folder / "model" / "mass_ende_1024.pth"
    torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)


def make_fairseq(folder: Path) -> None:
    """A translation model of fairseq, with its dictionaries."""
    write_fairseq(folder / "model", ["bab deg fik ga", "dog ba"])


def make_bart(folder: Path) -> None:
    """A model of fairseq with the options of its BART."""
    write_fairseq(
        folder / "model",
        ["bab deg fik ga", "dog ba"],
        arch="bart_base",
        task="denoising",
    )


def make_export(folder: Path) -> None:
    """A translator as masscli exports it where no tokenizer of Hugging Face gives the same ids."""
    make_translator(folder)
    command(
        "export", folder / "run", "-s", "en", "-t", "de", "--output", folder / "model"
    )
    checkpoint = Checkpoint.open(folder / "run")
    place, directed = folder / "model", fold_direction(checkpoint, "en", "de")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | source_token_keys(directed)))
    for name, content in own_vocabulary_files(checkpoint.tokenizer()).items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(content)
    for leftover in ("run", "input", "data"):
        shutil.rmtree(folder / leftover)


def make_shards(folder: Path) -> None:
    """A folder of BERT with its weights in two files and an index."""
    place = folder / "model"
    place.mkdir()
    weights = published.write(place, "bert")
    (place / "model.safetensors").unlink()
    names, files = (
        sorted(weights),
        ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
    )
    weight_map = {name: files[number % 2] for number, name in enumerate(names)}
    for file in files:
        chosen = {
            name: weights[name].contiguous()
            for name in names
            if weight_map[name] == file
        }
        published.save_file(chosen, place / file)
    (place / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )


def make_vocabularies(folder: Path) -> None:
    """A SentencePiece model, BERT's vocab.txt, and the two files of subword-nmt."""
    published.sentence_pieces(folder / "spm.model", 60, model_type="bpe")
    for leftover in folder.glob("*.vocab"):
        leftover.unlink()
    published.write_wordpiece(folder)
    words = sentences(20, "en", 1)
    merges = sorted(
        {f"{word[0]} {word[1]}</w>" for line in words for word in line.split()}
    )
    (folder / "codes").write_text(
        "#version: 0.2\n" + "".join(f"{merge}\n" for merge in merges)
    )
    pieces = sorted({word for line in words for word in line.split()})
    letters = sorted({letter for piece in pieces for letter in piece})
    (folder / "counts").write_text(
        "".join(
            f"{piece} 9\n"
            for piece in [*pieces, *(f"{letter}@@" for letter in letters), *letters]
        )
    )


def make_dictionary(folder: Path) -> None:
    """A data folder, a dictionary and word vectors for it."""
    make_data(folder)
    (folder / "input").mkdir()
    pairs = zip(toy.WORDS["en"], toy.WORDS["de"], strict=True)
    toy_tasks.save(
        folder / "input/pairs.txt",
        [*(f"{one}\t{other}\t0.5" for one, other in pairs), "ba\tba\t1"],
    )
    vectors = [
        " ".join([word, *(f"{(number * i) % 7 / 7:.3f}" for i in range(1, 17))])
        for number, word in enumerate(toy.WORDS["en"])
    ]
    toy_tasks.save(folder / "input/vectors.vec", [f"{len(vectors)} 16", *vectors])


def make_scores(folder: Path) -> None:
    """A log of scores, and logs of runs."""
    rows: list[Any] = []
    for method in ("base", "mass"):
        for seed in range(3):
            for metric in ("BLEU", "chrF2"):
                value = 20.0 + seed**2 / len(method)
                rows.append(
                    {
                        "metric": metric,
                        "value": value,
                        "signature": "nrefs:1",
                        "tags": {"method": method, "seed": str(seed)},
                    }
                )
    (folder / "scores").mkdir()
    toy_tasks.save(folder / "scores/scores.jsonl", [json.dumps(row) for row in rows])
    make_run(folder)
    (folder / "logs").mkdir()
    shutil.copy(folder / "run/log.jsonl", folder / "logs/log.jsonl")


def make_score_input(folder: Path) -> None:
    """Hypotheses and references in the forms that `masscli score` reads."""
    make_examples(folder)
    toy_tasks.save(folder / "hyp.txt", sentences(8, "en", 1))
    toy_tasks.save(folder / "ref.txt", sentences(8, "en", 2))
    answers = {question["id"]: "ga" for question in _questions(folder / "train.json")}
    (folder / "answers.json").write_text(json.dumps(answers))
    toy_tasks.save(folder / "choices.txt", [str(number % 2) for number in range(LINES)])
    labels = [json.dumps({"line": n, "label": "yes"}) for n in range(1, LINES + 1)]
    toy_tasks.save(folder / "labels.jsonl", labels)
    toy_tasks.save(folder / "labels.txt", ["yes"] * LINES)
    toy_tasks.save(
        folder / "rows.jsonl",
        [json.dumps({"label": "yes", "score": n}) for n in range(LINES)],
    )
    toy_tasks.save(
        folder / "answers.jsonl",
        [json.dumps({"id": name, "answer": text}) for name, text in answers.items()],
    )
    toy_tasks.save(
        folder / "probabilities.jsonl",
        [json.dumps({"id": name, "na_prob": 0.5}) for name in answers],
    )


def _questions(path: Path) -> Sequence[Any]:
    return [
        q
        for article in json.loads(path.read_text())["data"]
        for p in article["paragraphs"]
        for q in p["qas"]
    ]


PEERS = os.environ.get("MASSCLI_PEERS")
"""A folder with files that other programs wrote, if there is one."""


def make_peer(*names: str) -> Callable[[Path], None]:
    """Return what makes a folder of files that other programs wrote; the weights come first."""

    def make(folder: Path) -> None:
        (folder / "model").mkdir()
        for name in names:
            shutil.copy(Path(str(PEERS)) / name, folder / "model" / Path(name).name)
            # Copies of files that may not be written may be.
            (folder / "model" / Path(name).name).chmod(0o644)

    return make

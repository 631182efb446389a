"""Summarization and dialogue with a decoder: truncation, perplexity, and ROUGE in validation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from masscli.checkpoint.checkpoint import Checkpoint, make_framing
from masscli.cli.preprocess import run as preprocess
from masscli.core.config import from_dict
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.write.options import SummarizeOptions
from masscli.objectives.write.summarize import Summarize
from masscli.training.setup.build import build
from masscli.training.validation_tasks import WritingTask
from tests.commands import refused, succeed
from tests.toy_tasks import TINY, finetune, save

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


def test_generation_tasks_truncate_count_and_report_perplexity_by_piece_and_word(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = finetune(
        labeled,
        tmp_path / "sum",
        "--task",
        "summarize",
        "--table",
        "heads",
        *TINY,
        "--max-source",
        "5",
    )
    assert "sources are truncated to 5 tokens (--max-source)" in capsys.readouterr().err
    assert measured[-1]["ppl-piece"] == pytest.approx(measured[-1]["ppl"], rel=1e-4), (
        "the loss is unsmoothed in validation"
    )
    assert measured[-1]["ppl-word"] > measured[-1]["ppl-piece"]
    short_target = [
        "--task",
        "summarize",
        "--table",
        "heads",
        *TINY,
        *"--max-target 3 --lr 1e-9 --warmup-init-lr 0".split(),
    ]
    measured = finetune(labeled, tmp_path / "cut", *short_target)
    assert measured[-1]["ppl-word"] > measured[-1]["ppl-piece"], (
        "words that are cut off are not counted as if they had been predicted"
    )
    room = len(DataFolder.open(labeled / "data").tokenizer().encode("di ga fe", "en"))
    end = ["--max-source", str(room), "--keep", "end"]
    finetune(
        labeled,
        tmp_path / "end",
        "--task",
        "summarize",
        "--table",
        "heads",
        *TINY,
        *end,
    )
    long, short = (
        save(tmp_path / "long", ["ba bo di ga fe"]),
        save(tmp_path / "short", ["di ga fe"]),
    )
    printed = []
    for text in (
        long,
        short,
    ):  # what is read of a long source is what was read in training
        capsys.readouterr()
        command = (
            f"generate {tmp_path}/end -i {text} --max-len-b 4 "
            "--format jsonl --precision fp32"
        ).split()
        succeed(command)
        out = capsys.readouterr()
        printed.append(json.loads(out.out)["hypotheses"])
        assert (
            f"warning: line 1 was truncated to the {room} pieces the model reads"
            in out.err
        ) == (text is long)
    assert printed[0] == printed[1]
    finetune(
        labeled,
        tmp_path / "dia",
        "--task",
        "respond",
        "--table",
        "dialogues",
        *TINY,
        "--turns",
        "2",
    )
    lines = save(tmp_path / "x", ["ba\tbo\tga", "ga", ""])
    capsys.readouterr()
    succeed(f"generate {tmp_path}/dia -i {lines} --max-len-b 3 --precision fp32")
    out = capsys.readouterr()
    assert len(out.out.split("\n")) == 4
    assert "warning" not in out.err


def test_rouge_in_validation_is_that_of_generate_and_score(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The metric also chooses the best checkpoint. The summary of a toy text is its first two words."""
    options = [
        "--task",
        "summarize",
        "--table",
        "heads",
        *TINY,
        "--max-source",
        "20",
        "--max-target",
        "6",
    ]
    judged = (
        "--eval-rouge --eval-beam 2 --best-metric rouge-l "
        "--validate-interval-updates 60"
    ).split()
    measured = finetune(labeled, tmp_path / "run", *options, *judged, updates=120)
    best = Checkpoint.open(tmp_path / "run").metrics
    assert best["rouge-l"] == max(m["rouge-l"] for m in measured) > 10
    command = f"--beam 2 --max-len-a 0 --max-len-b 6 --precision fp32 -o {tmp_path}/told".split()
    succeed(
        [
            "generate",
            str(tmp_path / "run"),
            "-i",
            str(labeled / "valid.src"),
            *command,
        ]
    )
    capsys.readouterr()
    succeed(f"score {tmp_path}/told --ref {labeled}/valid.tgt --metric rouge")
    values = [
        line.split("=")[1].split()[0] for line in capsys.readouterr().out.splitlines()
    ]
    assert values == [f"{best[name]:.2f}" for name in ("rouge-1", "rouge-2", "rouge-l")]
    found = refused(
        "finetune",
        labeled / "data",
        *options,
        "--best-metric",
        "rouge-l",
        "--save-dir",
        tmp_path / "other",
    )
    assert found == (
        "--best-metric rouge-l needs outputs of the validation set",
        "add --eval-rouge",
    )


def test_training_reads_the_same_part_of_a_dialogue_as_generate(
    labeled: Path, tmp_path: Path
) -> None:
    finetune(
        labeled,
        tmp_path / "run",
        "--task",
        "respond",
        "--table",
        "dialogues",
        *TINY,
        "--turns",
        "2",
        "--eval-rouge",
        updates=1,
    )
    trainer, _ = build(Checkpoint.open(tmp_path / "run").recipe)
    (task,) = trainer.validator.generation_tasks
    assert isinstance(task, WritingTask)
    first = (labeled / "valid.txt").read_text().split("\n")[0].split("\t")
    assert (task.sources[0], task.references[0], task.truncation.turns) == (
        first[0],
        first[1],
        2,
    )
    assert (task.sources[1], task.references[1]) == ("\t".join(first[:2]), first[2])


def test_perplexities_are_means_over_tokens_and_over_words(
    labeled: Path, tmp_path: Path
) -> None:
    """The end of a target is one of both; of a target that is cut, as large a share of words as of tokens is read."""
    rows = [
        {"source": "ba", "target": "ba ba ba ba"},
        {"source": "ba", "target": "ba"},
        {"source": "ba", "target": ""},
    ]
    path = save(tmp_path / "x.jsonl", [json.dumps(row) for row in rows])
    destdir = tmp_path / "data"
    preprocess(
        PreprocessConfig(
            spm_model=labeled / "data", jsonl=(f"train={path}",), destdir=destdir
        )
    )
    data = DataFolder.open(destdir)
    table = data.table("jsonl", "train")
    tokens = len(data.tokenizer().encode("ba ba ba ba", "en"))
    model = from_dict(ModelConfig, {"dim": 8, "ffn_dim": 8, "heads": 1})
    framing = make_framing(model, data.vocab, ())
    outputs = [np.array(pair) for pair in ([4.0, 9.0], [2.0, 3.0], [1.0, 1.0])]
    for limit, words in ((tokens, 5 + 2 + 1), (tokens // 2, 3 + 2 + 1)):
        options = SummarizeOptions(max_target=limit, max_source=9)
        options = Summarize.fill_from_data(options, data, "jsonl")
        objective = Summarize(options, ObjectiveContext(framing, model, "jsonl"))
        assert dict(objective.weights) == {"write": 1.0}
        found = objective.compute_metrics(table, outputs)
        assert found["ppl-piece"] == pytest.approx(math.exp(7 / 13))
        assert found["ppl-word"] == pytest.approx(math.exp(7 / words))
    found = objective.compute_metrics(table, [np.array([1e6, 1.0])] * 3)
    assert all(math.isfinite(value) for value in found.values())

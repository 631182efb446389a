"""Export: weights come back bit by bit, other models are refused, and fine-tuning is unchanged."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from masscli.__main__ import run
from masscli.checkpoint import saving
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.export import export_checkpoint
from masscli.checkpoint.run_state import RunState
from masscli.core.config import from_dict, to_dict
from masscli.data.storage.data_folder import DataFolder
from masscli.models.presets import resolve
from masscli.models.transformer import Transformer
from masscli.objectives.electra.objective import Detector
from masscli.training.recipe import Recipe
from masscli.training.setup.architecture import ARCHITECTURE_FIELDS
from tests.commands import succeed
from tests.published import (
    D,
    E,
    P,
    assert_same_tensors,
    error_of,
    import_run,
)

pytestmark = pytest.mark.usefixtures("no_sync")


def random_run(arch: str, toy: Path, output: Path, **changes: Any) -> Checkpoint:
    """Write the checkpoint of a small model with random weights and the vocabulary of the toy language."""
    size = {
        "dim": D,
        "ffn_dim": 4 * D,
        "heads": 2,
        "max_positions": P,
        "languages": "none",
    }
    depth = {"decoder_layers": 3} if arch == "gpt" else {"encoder_layers": 3}
    width = {"embedding_dim": E} if arch in ("albert-base", "electra-small") else {}
    model = resolve({"arch": arch, **size, **depth, **width, **changes})
    data = DataFolder.open(toy)
    torch.manual_seed(1)
    weights = {
        name: torch.randn_like(tensor)
        for name, tensor in Transformer(model, data.vocab.size, ()).state_dict().items()
    }
    name = arch.partition("-")[0]
    detector = {
        f"pre.detector.{key}": torch.randn_like(t)
        for key, t in Detector(D, "gelu").state_dict().items()
    }
    heads = {
        "bert": {"pre.head.weight": torch.randn(2, D), "pre.head.bias": torch.randn(2)},
        "electra": detector,
    }.get(name, {})
    streams = (
        {"pre": {"dataset": "en", "objective": {"name": name}}}
        if name != "tiny"
        else {}
    )
    recipe = from_dict(Recipe, {"model": to_dict(model), "stream": streams})
    return Checkpoint.open(
        saving.save_checkpoint(
            output,
            recipe,
            RunState(),
            data.tokenizer(),
            model=weights,
            objectives=heads,
        )
    )


@pytest.mark.parametrize(
    "arch",
    [
        "bert-base",
        "roberta-base",
        "albert-base",
        "electra-small",
        "electra-base",
        "gpt",
    ],
)
def test_a_trained_model_survives_export_and_import_bit_by_bit(
    arch: str, toy: Path, tmp_path: Path
) -> None:
    ours = random_run(arch, toy, tmp_path / "ours")
    export_checkpoint(ours.path, tmp_path / "published", None)
    again = import_run(tmp_path / "published", tmp_path / "run", ("en", "de"))
    published = dict(again.weights())
    if arch == "roberta-base":
        # Positions there begin after the id of padding, which is 0 here, so that a row is put before them.
        positions = "embeddings.encoder.positions.weight"
        assert again.recipe.model.position_offset == 1
        published[positions] = published[positions][1:]
    assert_same_tensors(published, ours.weights())
    assert_same_tensors(
        {k.partition(".")[2]: t for k, t in again.objective_state().items()},
        {k.partition(".")[2]: t for k, t in ours.objective_state().items()},
    )
    mine, theirs = to_dict(ours.recipe.model), to_dict(again.recipe.model)
    for field in ARCHITECTURE_FIELDS:
        assert theirs[field] == mine[field] or field == "position_offset"
    assert again.tokenizer().vocab == ours.tokenizer().vocab
    width = json.loads((tmp_path / "published" / "config.json").read_text()).get(
        "embedding_size"
    )
    assert width == {"albert-base": E, "electra-small": E, "electra-base": D}.get(arch)


def test_an_albert_whose_embeddings_are_as_wide_as_its_layers_keeps_their_projection(
    toy: Path, tmp_path: Path
) -> None:
    ours = random_run("albert-base", toy, tmp_path / "ours", embedding_dim=D)
    assert "embedding_projections.encoder.weight" in ours.weights()
    export_checkpoint(ours.path, tmp_path / "published", None)
    again = import_run(tmp_path / "published", tmp_path / "run", ("en", "de"))
    assert_same_tensors(again.weights(), ours.weights())
    assert (
        again.recipe.model.project_embeddings and again.recipe.model.embedding_dim == D
    )


def test_a_run_from_before_projections_had_a_name_is_exported(
    toy: Path, tmp_path: Path
) -> None:
    """Narrow embeddings are projected, whether that is said or not."""
    ours = random_run("albert-base", toy, tmp_path / "ours", project_embeddings=False)
    export_checkpoint(ours.path, tmp_path / "published", None)
    assert_same_tensors(
        import_run(tmp_path / "published", tmp_path / "run", ("en", "de")).weights(),
        ours.weights(),
    )


HOMES = {
    "BERT": "bert-base",
    "RoBERTa": "roberta-base",
    "ALBERT": "albert-base",
    "ELECTRA": "electra-base",
    "GPT": "gpt",
}


@pytest.mark.parametrize(
    ("arch", "change", "message"),
    [
        ("tiny", {"decoder_layers": 0}, "norm is pre: Hugging Face's BERT has post"),
        (
            "tiny",
            {"norm": "post", "decoder_layers": 1},
            "decoder_layers is 1: Hugging Face's BERT has 0",
        ),
        ("bert-base", {"norm": "pre"}, "norm is pre: Hugging Face's BERT has post"),
        (
            "bert-base",
            {"positions": "sinusoidal"},
            "positions is sinusoidal: Hugging Face's BERT has learned",
        ),
        (
            "bert-base",
            {"relative_buckets": 8},
            "relative_buckets is 8: Hugging Face's BERT has 0",
        ),
        (
            "bert-base",
            {"output_bias": False},
            "output_bias is False: Hugging Face's BERT has it with head_transform, or neither",
        ),
        (
            "bert-base",
            {"segments": 0},
            "segments is 0: Hugging Face's BERT has at least one",
        ),
        (
            "bert-base",
            {"share_layers": "ffn"},
            "share_layers is ffn: Hugging Face's BERT has none",
        ),
        (
            "roberta-base",
            {"activation": "relu"},
            "activation is relu: Hugging Face's RoBERTa has gelu in its LM head",
        ),
        (
            "albert-base",
            {"embedding_dim": 0, "project_embeddings": False},
            "project_embeddings is False: Hugging Face's ALBERT projects embeddings even if they are as wide as the layers",
        ),
        (
            "electra-base",
            {"project_embeddings": True},
            "project_embeddings is True: Hugging Face's ELECTRA projects embeddings only if they are narrower than the layers",
        ),
        (
            "electra-small",
            {"pooler": True},
            "pooler is True: Hugging Face's ELECTRA has none",
        ),
        ("gpt", {"ffn_dim": 32}, "ffn_dim is 32: Hugging Face's GPT has 64"),
        (
            "gpt",
            {"scale_embedding": True},
            "scale_embedding is True: Hugging Face's GPT has False",
        ),
    ],
)
def test_models_without_a_counterpart_are_refused(
    arch: str, change: dict[str, Any], message: str, toy: Path, tmp_path: Path
) -> None:
    ours = random_run(arch, toy, tmp_path / "ours", **change)
    home = next(arch for title, arch in HOMES.items() if f" {title} " in message)
    assert error_of(lambda: export_checkpoint(ours.path, tmp_path / "out", None)) == (
        message, f"models of --arch {home}, of any size, can be exported")  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_language_vectors_have_no_counterpart(toy: Path, tmp_path: Path) -> None:
    data = DataFolder.open(toy)
    model = resolve(
        {
            "arch": "bert-base",
            "dim": D,
            "heads": 2,
            "encoder_layers": 1,
            "languages": "embedding",
        }
    )
    recipe, weights = (
        from_dict(Recipe, {"model": to_dict(model)}),
        Transformer(model, data.vocab.size, ("en", "de")).state_dict(),
    )
    state = RunState(languages=("en", "de"))
    path = saving.save_checkpoint(
        tmp_path / "a", recipe, state, data.tokenizer(), model=weights
    )
    assert (
        error_of(lambda: export_checkpoint(path, tmp_path / "out", None))[0]
        == "languages is embedding: Hugging Face's BERT has none"
    )


def test_training_reports_at_the_start_what_cannot_be_exported(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "--encoder-layers 1 --dim 16 --ffn-dim 16 --heads 2 --max-update 1".split()
    train = [
        *f"pretrain {toy} --objective mlm --num-workers 0 --precision fp32".split(),
        *small,
    ]
    warning = (
        "this model of --arch bert-base cannot be exported to Hugging Face: "
        "languages is embedding: Hugging Face's BERT has none"
    )
    for number, (languages, expected) in enumerate((("embedding", 1), ("none", 0))):
        save = str(tmp_path / str(number))
        succeed(
            [
                *train,
                *f"--arch bert-base --languages {languages} --save-dir {save}".split(),
            ]
        )
        assert " ".join(capsys.readouterr().err.split()).count(warning) == expected


def test_heads_without_a_counterpart_are_not_exported_but_named(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    ours = random_run(
        "bert-base", toy, tmp_path / "ours", pooler=False
    )  # its head reads the first state, theirs a pooler
    notes = export_checkpoint(ours.path, tmp_path / "out", None)
    assert notes[2:] == [
        "no tokenizer: it needs the package tokenizers (pip install 'masscli[hf]')",
        "its vocabulary is in the folder masscli, which masscli import reads",
    ]
    # Files of a tokenizer that gives other ids would be worse than none.
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "masscli",
        "model.safetensors",
    ]
    assert notes[:2] == [f"BertForMaskedLM: 58 tensors, {sum(t.numel() for t in ours.weights().values()):,} parameters of the model",
                         "left behind: pre.head (2)"]  # fmt: skip
    assert json.loads((tmp_path / "out" / "config.json").read_text())[
        "architectures"
    ] == ["BertForMaskedLM"]
    assert error_of(lambda: export_checkpoint(ours.path, tmp_path / "out", None)) == (f"{tmp_path / 'out'}: is not empty",
                                                                       "choose another folder with --output")  # fmt: skip
    assert error_of(lambda: export_checkpoint(ours.path, tmp_path / "new", "xlm")) == (
        "--family xlm: no such family", "expected one of bert, roberta, xlm-roberta, camembert, distilbert, albert, electra, openai-gpt, gpt2")  # fmt: skip


CLASSIFIER = {
    "classify": {
        "dataset": "one",
        "objective": {
            "name": "classify",
            "labels": ["no", "yes"],
            "text_columns": ["sentence"],
        },
    }
}


def fine_tuned(
    toy: Path,
    output: Path,
    change: dict[str, Any],
    heads: tuple[str, ...] = ("out",),
    pooler: bool = True,
) -> Checkpoint:
    """Write the checkpoint of a BERT with a classifier of random weights."""
    ours = random_run("bert-base", toy, output / "bert", pooler=pooler)
    classifier = CLASSIFIER["classify"]
    objective = {**classifier["objective"], **change}  # type: ignore[dict-item]
    recipe = from_dict(
        Recipe,
        {
            "model": to_dict(ours.recipe.model),
            "stream": {"classify": {**classifier, "objective": objective}},
        },
    )
    layers = {name: torch.randn(2 if name == "out" else D, D) for name in heads}
    tensors = {f"classify.head.{name}.weight": t for name, t in layers.items()}
    tensors |= {
        f"classify.head.{name}.bias": t[:, 0].clone() for name, t in layers.items()
    }
    return Checkpoint.open(
        saving.save_checkpoint(
            output / "tuned",
            recipe,
            RunState(),
            ours.tokenizer(),
            model=ours.weights(),
            objectives=tensors,
        )
    )


def test_a_classifier_is_exported_with_its_labels(toy: Path, tmp_path: Path) -> None:
    ours = fine_tuned(toy, tmp_path, {"head_dropout": 0.2})
    notes = export_checkpoint(ours.path, tmp_path / "out", None)
    card, theirs = (
        json.loads((tmp_path / "out" / "config.json").read_text()),
        load_file(tmp_path / "out" / "model.safetensors"),
    )
    assert (card["architectures"], card["id2label"]) == (
        ["BertForSequenceClassification"],
        {"0": "no", "1": "yes"},
    )
    assert (card["label2id"], card["classifier_dropout"]) == ({"no": 0, "yes": 1}, 0.2)
    assert_same_tensors(
        {
            f"classify.head.out.{part}": theirs[f"classifier.{part}"]
            for part in ("weight", "bias")
        },
        ours.objective_state(),
    )
    assert {"bert.pooler.dense.weight", "bert.pooler.dense.bias"} < {
        *theirs
    } and not any(name.startswith("cls.") for name in theirs)
    assert notes[0].startswith(
        f"BertForSequenceClassification: {len(theirs)} tensors, "
    )
    assert notes[1:3] == ["it reads texts framed as those of bert (see masscli finetune --help), of at most 128 tokens",
                          "left behind: head_transforms.shared (4), output_biases.shared (1)"]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "heads", "pooler", "reason"),
    [
        (
            {"head": "tanh"},
            ("dense", "out"),
            True,
            "BertForSequenceClassification has the head of --head linear, not of --head tanh",
        ),
        (
            {},
            ("out",),
            False,
            "the head of BertForSequenceClassification reads a pooler, which this model lacks",
        ),
        (
            {"both_orders": True},
            ("out",),
            True,
            "no class of Hugging Face's library has such a head",
        ),
    ],
)
def test_a_classifier_without_a_matching_class_is_not_exported(
    change: dict[str, Any],
    heads: tuple[str, ...],
    pooler: bool,
    reason: str,
    toy: Path,
    tmp_path: Path,
) -> None:
    notes = export_checkpoint(
        fine_tuned(toy, tmp_path, change, heads, pooler).path, tmp_path / "out", None
    )
    assert notes[0].startswith(
        "BertForPreTraining: " if pooler else "BertForMaskedLM: "
    )
    assert notes[1] == f"left behind: classify.head ({2 * len(heads)})"
    assert notes[2] == reason
    assert "id2label" not in json.loads((tmp_path / "out" / "config.json").read_text())


# -- on the command line -----------------------------------------------------------------------------------------------------------------


def test_fine_tuning_from_an_import_equals_fine_tuning_from_the_run(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = (
        "--arch bert-base --encoder-layers 2 --dim 16 --ffn-dim 16 "
        "--heads 2 --languages none"
    ).split()
    train = [
        str(toy),
        "--objective",
        "bert",
        "--langs",
        "en",
        "--num-workers",
        "0",
        "--precision",
        "fp32",
        "--log-interval",
        "1",
        # The default is lower for imported weights.
        "--lr",
        "1e-3",
    ]
    succeed(
        [
            "pretrain",
            *train,
            *small,
            "--max-update",
            "2",
            "--save-dir",
            str(tmp_path / "run"),
        ]
    )
    succeed(["export", str(tmp_path / "run"), "--output", str(tmp_path / "published")])
    capsys.readouterr()
    succeed(f"import {tmp_path}/published --langs en,de --output {tmp_path}/again")
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'again' / 'checkpoints' / 'step-0000000'}\n"
    assert err.startswith(
        f"BERT: 46 tensors from {tmp_path / 'published' / 'model.safetensors'}\n"
    )
    losses = []
    for start in ("run", "again"):
        save = tmp_path / f"from-{start}"
        succeed(
            [
                "pretrain",
                *train,
                *(
                    f"--init-from {tmp_path}/{start} --max-update 2 --save-dir {save}"
                ).split(),
            ]
        )
        events = [
            json.loads(line) for line in (save / "log.jsonl").read_text().splitlines()
        ]
        losses.append(
            [event["losses"] for event in events if event["event"] == "stepped"]
        )
    assert losses[0] == losses[1] and len(losses[0]) == 2
    succeed(["inspect", str(tmp_path / "again"), "--verify"])
    capsys.readouterr()
    assert (
        run(["pretrain", *train, "--save-dir", str(tmp_path / "again")]) == 2
    )  # its vocabulary is that of the data, and still:
    assert capsys.readouterr().err.endswith(
        f"error: {tmp_path / 'again'}: holds a run of bert, not of bert-en\n"
        "hint: start another run with --save-dir, or begin from its weights with --init-from\n"
    )

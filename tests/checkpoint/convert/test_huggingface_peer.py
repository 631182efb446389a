"""Compare import and export with Hugging Face's own library: the same states, the same logits.

The library is no dependency; these tests are skipped if it is not installed. Run alone:  pip install transformers && pytest tests/checkpoint/convert/test_huggingface_peer.py
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from masscli.api.model import load
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.export import export_checkpoint
from masscli.checkpoint.convert.import_ import import_folder
from masscli.data.batches.batch import Tokens
from masscli.objectives.electra.objective import Detector
from tests.commands import succeed
from tests.published import V, texts, write_wordpiece

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers: Any = pytest.importorskip(
        "transformers", reason="Hugging Face's transformers is not installed"
    )

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("no_sync"),
]

L = 24
SIZES = {"vocab_size": V, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
         "type_vocab_size": 2, "max_position_embeddings": L, "initializer_range": 0.15}  # fmt: skip
ONE_KIND = SIZES | {"type_vocab_size": 1, "max_position_embeddings": L + 2}
GPT = {
    "vocab_size": V,
    "n_positions": L,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "initializer_range": 0.15,
}
MODELS = [
    ("BertForPreTraining", "BertConfig", SIZES),
    (
        "BertForPreTraining",
        "BertConfig",
        SIZES | {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3},
    ),
    ("BertForMaskedLM", "BertConfig", SIZES | {"hidden_act": "relu"}),
    ("BertModel", "BertConfig", SIZES),
    ("RobertaForMaskedLM", "RobertaConfig", ONE_KIND),
    ("RobertaModel", "RobertaConfig", ONE_KIND),
    ("AlbertForPreTraining", "AlbertConfig", SIZES | {"embedding_size": 16}),
    (
        "AlbertForMaskedLM",
        "AlbertConfig",
        SIZES | {"embedding_size": 16, "hidden_act": "gelu"},
    ),
    ("ElectraForPreTraining", "ElectraConfig", SIZES | {"embedding_size": 16}),
    (
        "ElectraForPreTraining",
        "ElectraConfig",
        SIZES | {"embedding_size": 32, "hidden_act": "gelu_new"},
    ),
    ("OpenAIGPTLMHeadModel", "OpenAIGPTConfig", GPT),
]


@pytest.mark.parametrize(
    ("kind", "config", "sizes"),
    MODELS,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_states_and_logits_are_the_same_both_ways(
    kind: str, config: str, sizes: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(3)
    peer = getattr(transformers, kind)(getattr(transformers, config)(**sizes)).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    peer.save_pretrained(tmp_path / "theirs")
    write_wordpiece(tmp_path / "theirs")
    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=False)
    compare(peer, tmp_path / "run")

    export_checkpoint(tmp_path / "run", tmp_path / "ours", None)
    again, info = getattr(transformers, kind).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["mismatched_keys"]
    compare(again.eval(), tmp_path / "run")
    assert {k: v.tolist() for k, v in again.state_dict().items()} == {
        k: v.tolist() for k, v in peer.state_dict().items()
    }


@torch.no_grad()
def compare(peer: Any, run: Path) -> None:
    """Compare states and logits of padded texts."""
    checkpoint = Checkpoint.open(run)
    model, heads = (
        checkpoint.model(),
        {
            name.partition(".")[2]: tensor
            for name, tensor in checkpoint.objective_state().items()
        },
    )
    block, lengths, segments = texts(V, L)
    keep = torch.arange(L) < lengths[:, None]
    pad = peer.config.pad_token_id
    theirs: dict[str, Any] = {
        "input_ids": torch.where(keep, block, pad or 0),
        "attention_mask": keep.long(),
        "output_hidden_states": True,
    }
    two = model.config.segments == 2
    found = peer(**theirs, **({"token_type_ids": segments} if two else {}))
    hidden = model.read(Tokens(block, lengths, segments=segments if two else None))
    close(hidden[keep], found.hidden_states[-1][keep])
    name = type(peer).__name__
    if name.endswith("Model") and model.pooler is not None:
        close(model.pool(hidden), found.pooler_output)
    if name == "ElectraForPreTraining":
        detector = Detector(model.config.dim, model.config.activation)
        detector.load_state_dict(
            {name.removeprefix("detector."): tensor for name, tensor in heads.items()}
        )
        close(detector(hidden[keep]), found.logits[keep])
    elif name in ("BertForPreTraining", "AlbertForPreTraining"):
        order = found.seq_relationship_logits if name[0] == "B" else found.sop_logits
        close(
            F.linear(model.pool(hidden), heads["head.weight"], heads["head.bias"]),
            order,
        )
        close(model.logits(hidden)[keep], found.prediction_logits[keep])
    elif not name.endswith("Model") or name.startswith("OpenAI"):
        close(model.logits(hidden)[keep], found.logits[keep])


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < min(1e-5, 0.02 * float(theirs.std()))


def test_two_biases_that_should_be_one(tmp_path: Path) -> None:
    peer = transformers.AlbertForMaskedLM(transformers.AlbertConfig(**SIZES)).eval()
    peer.save_pretrained(tmp_path / "theirs")
    path = tmp_path / "theirs" / "model.safetensors"
    weights = load_file(path)
    save_file(
        {
            **weights,
            "predictions.decoder.bias": weights["predictions.bias"]
            + torch.arange(float(V)),
        },
        path,
        {"format": "pt"},
    )
    write_wordpiece(tmp_path / "theirs")
    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=False)
    compare(
        transformers.AlbertForMaskedLM.from_pretrained(tmp_path / "theirs").eval(),
        tmp_path / "run",
    )


def test_an_old_state_dict_in_a_pickle(tmp_path: Path) -> None:
    peer = transformers.BertModel(transformers.BertConfig(**SIZES)).eval()
    peer.config.save_pretrained(tmp_path / "theirs")
    torch.save(peer.state_dict(), tmp_path / "theirs" / "pytorch_model.bin")
    write_wordpiece(tmp_path / "theirs")
    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=True)
    compare(peer, tmp_path / "run")


ONE, TWO = ("tsv", "tsv", "--table", "one"), ("pairs.tsv", "tsv", "--table", "two")
TAGS, CHOICES = ("conll", "conll"), ("jsonl", "jsonl")
SPANS = ("json", "squad", "--max-length", "24", "--max-query", "6", "--doc-stride", "5")
SCORES = (*TWO, "--label-column", "score")
TUNED = [
    ("bert", "classify", ONE), ("bert", "regress", SCORES), ("bert", "tag", TAGS), ("bert", "extract", SPANS), ("bert", "choose", CHOICES),
    ("roberta", "classify", (*TWO, "--head", "tanh", "--pair-format", "roberta")), ("roberta", "tag", TAGS),
    ("roberta", "extract", (*SPANS, "--pair-format", "roberta")),
    ("albert", "classify", ONE), ("albert", "choose", CHOICES),
    ("electra", "regress", (*SCORES, "--head", "gelu")), ("electra", "tag", TAGS), ("electra", "extract", SPANS),
    ("electra", "choose", (*CHOICES, "--head", "gelu")), ("distilbert", "classify", (*ONE, "--head", "relu")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "task", "data"),
    TUNED,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fine_tuned_models_give_the_same_scores(
    family: str, task: str, data: tuple[str, ...], labeled: Path, tmp_path: Path
) -> None:
    size = (
        f"--arch {family}-base --dim 16 --ffn-dim 24 --heads 2 "
        "--encoder-layers 2 --max-positions 128"
    ).split()
    size += ["--embedding-dim", "8"] if family == "albert" else []
    rest = "--lr 0.02 --warmup-updates 0 --max-update 6 --num-workers 0 --precision fp32".split()
    ending, form, *options = data
    learn = [
        "finetune",
        str(labeled / "data"),
        "--task",
        task,
        *size,
        *options,
        *rest,
        "--save-dir",
        str(tmp_path / "run"),
    ]
    succeed(learn)
    notes = export_checkpoint(tmp_path / "run", tmp_path / "ours", None)
    assert not any(f"{task}-" in note or ".head" in note for note in notes), (
        "the head is not left behind"
    )
    config = transformers.AutoConfig.from_pretrained(tmp_path / "ours")
    peer, info = getattr(transformers, config.architectures[0]).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert (
        not info["missing_keys"]
        and not info["unexpected_keys"]
        and not info["mismatched_keys"]
    )
    ours: Any = load(tmp_path / "run", device="cpu", precision="fp32").task_model()
    if task in ("classify", "tag"):
        assert tuple(config.id2label.values()) == ours.options.labels
    table = ours.read(labeled / f"valid.{ending}", form)
    view = ours.objective.table_dataset(table, labeled=False)
    batch = ours.objective.collator()([view[row] for row in range(len(view))], [])
    keep = torch.arange(batch.source.ids.shape[1]) < batch.source.lengths[:, None]
    read = {
        "input_ids": batch.source.ids,
        "attention_mask": keep.long(),
        "token_type_ids": batch.source.segments,
    }
    with torch.no_grad():
        if task == "choose":
            each = zip(
                *(
                    torch.split(block, batch.labels["choices"].ids.tolist())
                    for block in read.values()
                ),
                strict=True,
            )
            theirs = [
                peer.eval()(
                    **dict(zip(read, (part[None] for part in parts), strict=True))
                ).logits[0]
                for parts in each
            ]
            close(
                torch.cat(ours.objective.scores(ours.model, batch)[0]),
                torch.cat(theirs),
            )
            return
        found, scores = (
            peer.eval()(**read),
            ours.objective.head(ours.objective.reader.hidden_states(ours.model, batch)),
        )
        if task == "extract":
            close(
                scores[keep],
                torch.stack([found.start_logits, found.end_logits], -1)[keep],
            )
        elif task == "tag":
            close(scores[keep], found.logits[keep])
        elif task == "classify":
            close(ours.objective.scores(ours.model, batch)[0], found.logits)
        else:
            told = [
                float(answer.text)
                for answer in ours.answers(
                    table, ours.objective.forward_outputs(ours.model, batch)
                )
            ]
            assert (
                found.logits[:, 0].tolist() == pytest.approx(told, abs=2e-4)
                and len({*told}) > 1
            )

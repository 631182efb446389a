"""Train JoeyNMT's Transformer, or generate with it (see serve.py): its model, loss, trainer and beam search."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from joeynmt.batch import Batch
from joeynmt.config import parse_train_args
from joeynmt.model import Model, build_model
from joeynmt.search import search
from joeynmt.training import TrainManager
from joeynmt.vocabulary import Vocabulary
from torch import Tensor

from tests.benchmarks.speed.workers.serve import Step, random_ids, serve

SPECIAL_SYMBOLS = SimpleNamespace(
    unk_token="<unk>",
    pad_token="<pad>",
    bos_token="<s>",
    eos_token="</s>",
    sep_token=None,
    unk_id=0,
    pad_id=1,
    bos_id=2,
    eos_id=3,
    lang_tags=[],
)
CPU = torch.device("cpu")


def model_of(settings: dict[str, Any]) -> Model:
    """Return JoeyNMT's model with the given sizes, norms before the sublayers and tied embeddings.

    Its attention has the dropout of everything else.
    """
    names = [f"t{number}" for number in range(settings["vocab_size"] - 4)]
    vocabulary = Vocabulary(names, SPECIAL_SYMBOLS)
    stacks = {}
    for name, layers in zip(("encoder", "decoder"), settings["layers"], strict=True):
        stacks[name] = {
            "type": "transformer",
            "num_layers": layers,
            "num_heads": settings["heads"],
            "hidden_size": settings["dim"],
            "ff_size": settings["ffn_dim"],
            "dropout": settings["dropout"],
            "layer_norm": "pre",
            "embeddings": {"embedding_dim": settings["dim"], "scale": True},
        }
    config = {
        **stacks,
        "tied_embeddings": True,
        "tied_softmax": True,
        "initializer": "xavier_uniform",
        "embed_initializer": "xavier_uniform",
    }
    return build_model(config, vocabulary, vocabulary)


def batch_of(model: Model, source: Tensor, target: Tensor | None) -> Batch:
    """Return a batch of sentences (rows, length), with the start symbol before the targets if there are any."""
    if target is not None:
        start = torch.full((len(target), 1), model.bos_index)
        target = torch.cat([start, target], 1)
    return Batch(
        src=source,
        src_length=torch.full((len(source),), source.shape[1]),
        src_prompt_mask=None,
        trg=target,
        trg_prompt_mask=None,
        indices=torch.arange(len(source)),
        device=CPU,
        pad_index=model.pad_index,
        eos_index=model.eos_index,
        is_train=target is not None,
    )


def training(settings: dict[str, Any]) -> Step:
    """Return an update by JoeyNMT's trainer, in target tokens.

    bf16 is autocast, which the trainer takes; the configuration of JoeyNMT turns it off on a CPU.
    """
    model = model_of(settings)
    options = {
        "optimizer": "adamw",
        "learning_rate": 1e-4,
        "clip_grad_norm": 1.0,
        "label_smoothing": 0.1,
        "normalization": "tokens",
        "batch_size": settings["rows"],
        # The schedule that its examples have, "plateau", fails under PyTorch 2.13.
        "scheduling": "noam",
    }
    args = parse_train_args(options)
    model.loss_function = (args.loss, args.label_smoothing)
    autocast = {
        "device_type": "cpu",
        "dtype": torch.bfloat16,
        "enabled": settings["precision"] == "bf16",
    }
    # The folder is for its log, which gets no entry, and for checkpoints.
    with tempfile.TemporaryDirectory() as folder:
        manager = TrainManager(
            rank=0,
            model=model,
            model_dir=Path(folder),
            device=CPU,
            autocast=autocast,
            train_args=args,
        )
    source, target = random_ids(settings, 2)
    # The end symbol is the last target, and is not read.
    target[:, -1] = model.eos_index
    batch = batch_of(model, source, target)

    # The lines of `TrainManager.train_and_validate` for one batch.
    def step() -> float:
        manager._train_step(batch)
        manager.clip_grad_fun(parameters=model.parameters())
        manager.optimizer.step()
        manager.scheduler.step(manager.stats.steps)
        model.zero_grad()
        manager.stats.steps += 1
        return float(batch.ntokens)

    return step


def generation(settings: dict[str, Any]) -> Step:
    """Return a beam search in fp32 for all sentences, as many steps as a source has tokens, in sentences."""
    model = model_of(settings).eval()
    length = settings["length"]
    sources = random_ids(settings, 1)[0].split(settings["at_once"])
    batches = [batch_of(model, source, None) for source in sources]

    def step() -> float:
        for batch in batches:
            search(
                model, batch, length, settings["beam"], 1.0, min_output_length=length
            )
        return float(settings["rows"])

    return step


if __name__ == "__main__":
    serve(training, generation)

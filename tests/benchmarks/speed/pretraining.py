"""Pre-training: an objective of masscli beside the model of Hugging Face for it, on batches of one shape.

Batches come from masscli's own data path, on made-up text in which each word is one piece; only their making is left out of the time. The
programs make the same kind of update; see tests/benchmarks/speed/training.py.
"""

from __future__ import annotations

import random
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from masscli.api.training import open_run
from masscli.data.batches.batch import Batch
from masscli.data.batches.sampler import Position
from masscli.training.bench.peers import has_transformers
from masscli.training.bench.workload import SPECIAL_IDS
from masscli.training.setup.compose import compose
from masscli.training.setup.request import TrainRequest
from masscli.training.trainer import Trainer
from tests.benchmarks.speed import training
from tests.benchmarks.speed.measure import Contestant, Row, units_per_second

SYLLABLES = [onset + vowel for onset in "bdfgklmnprstvz" for vowel in "aeiou"]
OBJECTIVES = ("mass", "bert", "gpt", "electra")
MASK_SHARE = 0.15
"""The share of tokens that BERT and ELECTRA predict."""


def random_words(draw: random.Random) -> list[str]:
    """Return 5,000 words of three syllables; with a vocabulary of 8,000 pieces each of them is one."""
    return ["".join(draw.choices(SYLLABLES, k=3)) for _ in range(5000)]


def run_preprocess(arguments: str) -> None:
    """Run `masscli preprocess` with arguments that contain no spaces, for 8,000 pieces."""
    from masscli.cli.app import dispatch

    status = dispatch(f"preprocess {arguments} --vocab-size 8000".split())
    assert status == 0


def write_text(path: Path, length: int, lines: int) -> None:
    """Write lines of about `length` words of three syllables, four lines a document."""
    draw = random.Random(1)
    words = random_words(draw)
    text = []
    for number in range(lines):
        text.append(" ".join(draw.choices(words, k=length * 9 // 10)))
        if number % 4 == 3:
            text.append("")
    path.write_text("\n".join(text) + "\n", encoding="utf-8")


def preprocess(folder: Path, length: int) -> Path:
    """Make a data folder of English lines of about `length` pieces, with 8,000 pieces; return its path."""
    # Sequences of BERT are filled with several lines; those of MASS are lines.
    write_text(folder / "train.txt", length, 400)
    write_text(folder / "valid.txt", length, 8)
    data = folder / "data"
    text = f"en={folder}/train.txt,valid.en={folder}/valid.txt"
    # Without this, lines of more than 250 pieces would be dropped.
    run_preprocess(f"--langs en --mono {text} --max-len {2 * length} --destdir {data}")
    return data


def options(
    objective: str,
    data: Path,
    length: int,
    tokens: int,
    dtype: torch.dtype,
    save_dir: Path,
) -> TrainRequest:
    """Return the request for a run of an objective, with the model `small`."""
    recipe = {
        "data": str(data),
        "save_dir": str(save_dir),
        "model": {"arch": "small", "max_positions": length + 8},
        "train": {
            "max_tokens": tokens,
            "max_update": 1,
            "precision": training.name_of(dtype),
            "num_workers": 0,
            "threads": torch.get_num_threads(),
        },
    }
    own = {} if objective == "mass" else {"tokens_per_sample": length}
    return TrainRequest(
        recipe_options=recipe, objective=objective, objective_options=own
    )


def largest_batch(trainer: Trainer) -> Batch:
    """Return the first full micro-batch of the only stream of a run, complete as `Objective.prepare` leaves it."""
    [stream] = trainer.streams.values()
    numbers, _ = stream.sampler.at(Position())
    batch = stream.batch_builder(numbers, 0)
    with torch.no_grad():
        return stream.objective.prepare(trainer.model, batch)


def masscli_update(trainer: Trainer, batch: Batch, name: str) -> Contestant:
    """Return updates of a run on one batch."""
    [stream] = trainer.streams.values()
    trainer.model.train()
    stream.objective.train()
    parameters = list(trainer.parts.parameter_names)
    tokens = float(tokens_read(batch))

    def step() -> float:
        total = torch.zeros(())
        for term, value in trainer.parts.train_step(stream.objective, batch).items():
            total = total + value.loss * (
                stream.objective.weights[term] / max(1.0, batch.counts[term])
            )
        torch.autograd.backward(total)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        trainer.parts.optimizer.step()
        trainer.parts.optimizer.zero_grad(set_to_none=True)
        return tokens

    return Contestant(name, units_per_second(step))


def tokens_read(batch: Batch) -> int:
    """Return how many tokens the first stack of a batch reads."""
    return int(batch.source.lengths.sum())


def pretraining_row(
    objective: str,
    length: int,
    tokens: int,
    dtype: torch.dtype,
    peers: tuple[bool, ...],
) -> Row:
    """Return the row of an objective: tokens read by the first stack a second.

    `peers` says of each peer whether it is compiled; it is empty without peers.
    """
    held = ExitStack()
    folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
    data = preprocess(folder, length)
    composed = compose(options(objective, data, length, tokens, dtype, folder / "run"))
    trainer = held.enter_context(open_run(composed)).trainer
    batch = largest_batch(trainer)
    own = masscli_update(trainer, batch, f"masscli {training.name_of(dtype)}")
    own.close = held.close
    contestants = [own]
    rows, width = batch.source.ids.shape
    missing: dict[str, str] = {}
    if has_transformers():
        for compiled in peers:
            if compiled and not training.has_compiler():
                missing |= training.NO_COMPILER
                continue
            contestants.append(peer(objective, trainer, rows, width, dtype, compiled))
    elif peers:
        missing = training.NO_TRANSFORMERS
    outputs = sum(len(labels.ids) for labels in batch.labels.values()) / tokens_read(
        batch
    )
    ceiling = training.training_ceiling(
        trainer.model.config,
        trainer.model,
        tokens,
        outputs,
        trainer.model.vocab_size,
        dtype,
    )
    return Row(
        f"{objective} small, L {length}", "tokens/s", contestants, ceiling, missing
    )


def peer(
    objective: str,
    trainer: Trainer,
    rows: int,
    width: int,
    dtype: torch.dtype,
    compiled: bool,
) -> Contestant:
    """Return the model of transformers for an objective, on `rows` random texts of `width` tokens."""
    vocab_size = trainer.model.vocab_size
    shape = training.Shape("small", vocab_size, rows, width)
    random_numbers = torch.Generator().manual_seed(1)
    ids = torch.randint(
        SPECIAL_IDS, vocab_size, (rows, width), generator=random_numbers
    )
    chosen = (
        torch.rand(ids.shape, generator=torch.Generator().manual_seed(2)) < MASK_SHARE
    )
    labels = ids.masked_fill(~chosen, -100)
    build = {
        "mass": _mass_peer,
        "bert": _bert_peer,
        "gpt": _gpt_peer,
        "electra": _electra_peer,
    }
    model, inputs = build[objective](shape, ids, labels)
    return hugging_face_update(model, inputs, shape.tokens, dtype, compiled)


def hugging_face_update(
    model: nn.Module,
    inputs: dict[str, Tensor],
    tokens: float,
    dtype: torch.dtype,
    compiled: bool,
) -> Contestant:
    """Return updates of a model of transformers by its own loss, on fixed inputs, which include labels."""
    model.train()
    runner = torch.compile(model) if compiled else model

    def loss() -> Tensor:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            own: Tensor = runner(**inputs).loss
        return own

    name = f"HF {training.name_of(dtype)}" + (" compiled" if compiled else "")
    return Contestant(name, units_per_second(training.updates(model, loss, tokens)))


def _mass_peer(
    shape: training.Shape, ids: Tensor, labels: Tensor
) -> tuple[nn.Module, dict[str, Tensor]]:
    """Marian, whose decoder writes half of the text."""
    half = ids[:, : shape.length // 2]
    inputs = {"input_ids": ids, "decoder_input_ids": half, "labels": half.clone()}
    return training.hugging_face(shape).module, inputs


def _sizes(shape: training.Shape) -> dict[str, int]:
    """Return sizes under the names of BERT's configuration."""
    config = shape.config()
    return {
        "vocab_size": shape.vocab_size,
        "hidden_size": config.dim,
        "num_hidden_layers": config.encoder_layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn_dim,
        "max_position_embeddings": config.max_positions,
    }


def _bert_peer(
    shape: training.Shape, ids: Tensor, labels: Tensor
) -> tuple[nn.Module, dict[str, Tensor]]:
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(BertConfig(**_sizes(shape))), {
        "input_ids": ids,
        "labels": labels,
    }


def _gpt_peer(
    shape: training.Shape, ids: Tensor, labels: Tensor
) -> tuple[nn.Module, dict[str, Tensor]]:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = shape.config()
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=shape.vocab_size,
            n_embd=config.dim,
            n_layer=config.decoder_layers,
            n_head=config.heads,
            n_inner=config.ffn_dim,
            n_positions=config.max_positions,
            use_cache=False,
        )
    )
    return model, {"input_ids": ids, "labels": ids.clone()}


class _Electra(nn.Module):
    """Generator and discriminator of transformers, trained together as Clark et al. (2020) do."""

    def __init__(self, shape: training.Shape) -> None:
        super().__init__()
        from transformers import (
            ElectraConfig,
            ElectraForMaskedLM,
            ElectraForPreTraining,
        )

        sizes = _sizes(shape)
        embedding = {"embedding_size": sizes["hidden_size"]}
        self.discriminator = ElectraForPreTraining(ElectraConfig(**sizes, **embedding))
        small = {
            **sizes,
            "hidden_size": sizes["hidden_size"] // 4,
            "intermediate_size": sizes["intermediate_size"] // 4,
        }
        small["num_attention_heads"] = max(1, sizes["num_attention_heads"] // 4)
        self.generator = ElectraForMaskedLM(ElectraConfig(**small, **embedding))
        self.generator.electra.embeddings = self.discriminator.electra.embeddings

    def forward(self, input_ids: Tensor, labels: Tensor) -> SimpleNamespace:
        """Return the loss of both networks, as models of transformers do."""
        out = self.generator(input_ids=input_ids, labels=labels)
        chosen = labels != -100
        drawn = torch.distributions.Categorical(
            logits=out.logits[chosen].float()
        ).sample()
        corrupted = input_ids.masked_scatter(chosen, drawn)
        replaced = (corrupted != input_ids).long()
        found = self.discriminator(input_ids=corrupted, labels=replaced)
        return SimpleNamespace(loss=out.loss + 50 * found.loss)


def _electra_peer(
    shape: training.Shape, ids: Tensor, labels: Tensor
) -> tuple[nn.Module, dict[str, Tensor]]:
    return _Electra(shape), {"input_ids": ids, "labels": labels}

"""Train fairseq's Transformer on random tokens (see serve.py): its model and loss, and PyTorch's AdamW."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel, base_architecture

from tests.benchmarks.speed.workers.serve import Step, random_ids, serve


class Task:
    """What fairseq asks of a task when it builds a model."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.source_dictionary = dictionary
        self.target_dictionary = dictionary


def model_of(settings: dict[str, Any]) -> TransformerModel:
    """Return fairseq's model with the given sizes, and tied embeddings."""
    dictionary = Dictionary()
    for number in range(settings["vocab_size"] - len(dictionary)):
        dictionary.add_symbol(f"t{number}")
    args = Namespace(
        encoder_embed_dim=settings["dim"],
        encoder_ffn_embed_dim=settings["ffn_dim"],
        encoder_layers=settings["layers"][0],
        encoder_attention_heads=settings["heads"],
        decoder_layers=settings["layers"][1],
        decoder_attention_heads=settings["heads"],
        dropout=settings["dropout"],
        share_all_embeddings=True,
        max_source_positions=1024,
        max_target_positions=1024,
    )
    base_architecture(args)
    return TransformerModel.build_model(args, Task(dictionary))


def training(settings: dict[str, Any]) -> Step:
    """Return an update in fp32, in target tokens."""
    model = model_of(settings)
    model.train()
    source, previous, target = random_ids(settings, 3)
    lengths = torch.full((settings["rows"],), settings["length"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> float:
        logits, _ = model(source, lengths, previous)
        scores = torch.log_softmax(logits, -1).flatten(0, 1)
        loss, _ = label_smoothed_nll_loss(scores, target.reshape(-1, 1), 0.1)
        (loss / target.numel()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(target.numel())

    return step


if __name__ == "__main__":
    serve(training)

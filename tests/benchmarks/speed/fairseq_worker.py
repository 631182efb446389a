"""Train fairseq's Transformer on random tokens, in an interpreter of its own, since it needs an old Python.

    PYTHON fairseq_worker.py SETTINGS

SETTINGS is a JSON object. For each line of standard input, a number of seconds, this trains for so long and prints
target tokens per second, of wall-clock time and of CPU time.
"""

import json
import sys
import time
from argparse import Namespace

import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel, base_architecture


class Task:
    """What fairseq asks of a task when it builds a model."""

    def __init__(self, dictionary):
        self.source_dictionary = dictionary
        self.target_dictionary = dictionary


def build(settings):
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


def main():
    settings = json.loads(sys.argv[1])
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(1)
    model = build(settings)
    model.train()
    shape = (settings["rows"], settings["length"])
    source, previous, target = torch.randint(
        4, settings["vocab_size"], (3, *shape)
    ).unbind(0)
    lengths = torch.full((shape[0],), shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step():
        logits, _ = model(source, lengths, previous)
        scores = torch.log_softmax(logits, -1).flatten(0, 1)
        loss, _ = label_smoothed_nll_loss(scores, target.reshape(-1, 1), 0.1)
        (loss / target.numel()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        done = target.numel()
        while time.perf_counter() - wall < float(line):
            step()
            done += target.numel()
        print(
            done / (time.perf_counter() - wall),
            done / (time.process_time() - cpu),
            flush=True,
        )


if __name__ == "__main__":
    main()

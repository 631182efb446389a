"""The rows of the table, by name: which models, lengths and vocabularies are measured."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from functools import partial

import torch

from masscli.models.transformer import Transformer
from masscli.training.precision import bf16_is_faster
from tests.benchmarks.speed import commands, decoding, memory, pretraining, training
from tests.benchmarks.speed.measure import Row


def rows_by_name(arguments: argparse.Namespace) -> dict[str, Callable[[], Row]]:
    """Return what makes each row, by name, the most important ones first."""
    dtype = torch.bfloat16 if bf16_is_faster() else torch.float32
    precision = training.name_of(dtype)
    has_transformers = importlib.util.find_spec("transformers") is not None
    peers = arguments.peers and has_transformers
    # The peers of pre-training: as they are, and compiled.
    variants: tuple[bool, ...] = ()
    if peers:
        variants = (False, True) if arguments.compiled else (False,)

    def translation(arch: str, vocab_size: int, length: int) -> Row:
        shape = training.with_rows(training.Shape(arch, vocab_size, 1, length), arguments.tokens)
        return translation_row(shape, dtype, arguments, has_transformers)

    def generation(vocab_size: int, at_once: int, length: int, beam: int = 5) -> Row:
        shape = training.Shape("base", vocab_size, at_once, length)
        return decoding.generation_row(shape, beam, peers, arguments.threads)

    rows: dict[str, Callable[[], Row]] = {
        "train-base": partial(translation, "base", 8000, 15),
        "generate-single": partial(generation, 8000, 1, 15),
        "generate-batched": partial(generation, 8000, 64, 15),
        "train-tiny": partial(translation, "tiny", 8000, 15),
        "cold-start": commands.cold_start_row,
        "score": commands.score_row,
        "preprocess": partial(commands.preprocess_row, 20),
        "memory-tiny": partial(memory.memory_row, "tiny", 8000, 256, 15, "fp32"),
        "memory-64k": partial(memory.memory_row, "tiny", 64000, 256, 15, "fp32"),
        "memory-base": partial(memory.memory_row, "base", 8000, 256, 15, precision),
    }
    for length in (128, 512):
        for objective in pretraining.OBJECTIVES:
            rows[f"{objective}-{length}"] = partial(
                pretraining.pretraining_row, objective, length, arguments.tokens, dtype, variants
            )
    for length in (8, 30, 100, 512):
        rows[f"train-base-L{length}"] = partial(translation, "base", 8000, length)
    for length in (8, 30, 100):
        rows[f"generate-batched-L{length}"] = partial(generation, 8000, 16, length)
    for vocab_size in (32000, 64000):
        thousands = vocab_size // 1000
        rows[f"train-base-V{thousands}k"] = partial(translation, "base", vocab_size, 15)
        rows[f"generate-greedy-V{thousands}k"] = partial(generation, vocab_size, 8, 100, 1)
    return rows


def translation_row(
    shape: training.Shape, dtype: torch.dtype, arguments: argparse.Namespace, has_transformers: bool
) -> Row:
    """Return the row of training on pairs: target tokens a second."""
    torch.manual_seed(1)
    contestants = [training.masscli_translation(shape, dtype)]
    missing = {}
    if arguments.peers:
        contestants.append(training.plain_translation(shape, dtype))
        if has_transformers:
            contestants.extend(training.hugging_face_translations(shape, dtype, arguments.compiled))
        else:
            missing["HF"] = "transformers is not installed"
        if arguments.fairseq_python is None:
            missing["fairseq"] = "give --fairseq-python"
        else:
            worker = training.fairseq_translation(shape, arguments.fairseq_python, arguments.threads)
            contestants.append(worker)
    model = Transformer(shape.config, shape.vocab_size, ())
    ceiling = training.training_ceiling(shape.config, model, shape.tokens, 1.0, shape.vocab_size, dtype)
    name = f"train {shape.arch}, L {shape.length}, V {shape.vocab_size // 1000}k"
    return Row(name, "target tokens/s", contestants, ceiling, missing)

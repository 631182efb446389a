"""The rows of the table, by name: which models, lengths and vocabularies are measured."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch

from masscli.models.transformer import Transformer
from masscli.training.bench.peers import has_transformers
from masscli.training.precision import bf16_is_faster
from tests.benchmarks.speed import (
    backtranslation,
    commands,
    decoding,
    memory,
    other_environments,
    pretraining,
    training,
)
from tests.benchmarks.speed.measure import Row


def rows_by_name(arguments: argparse.Namespace) -> dict[str, Callable[[], Row]]:
    """Return what makes each row, by name, the most important ones first."""
    dtype = torch.bfloat16 if bf16_is_faster() else torch.float32
    precision = training.name_of(dtype)
    # The peers of pre-training: as they are, and compiled.
    variants: tuple[bool, ...] = ()
    if arguments.peers:
        variants = (False, True) if arguments.compiled else (False,)

    def translation(arch: str, vocab_size: int, length: int) -> Row:
        shape = training.Shape(
            arch, vocab_size, max(1, arguments.tokens // length), length
        )
        return translation_row(shape, dtype, arguments)

    def generation(vocab_size: int, at_once: int, length: int, beam: int = 5) -> Row:
        shape = training.Shape("base", vocab_size, at_once, length)
        # JoeyNMT computes the whole prefix in each step, which takes minutes for long texts.
        pythons = pythons_of(arguments) if length < 30 else None
        return decoding.generation_row(
            shape, beam, arguments.peers, arguments.threads, pythons
        )

    def held(arch: str, vocab_size: int, precision: str) -> Row:
        shape = training.Shape(arch, vocab_size, 256, 15)
        return memory.memory_row(shape, precision, arguments.threads)

    rows: dict[str, Callable[[], Row]] = {
        "train-base": partial(translation, "base", 8000, 15),
        "generate-single": partial(generation, 8000, 1, 15),
        "generate-batched": partial(generation, 8000, 64, 15),
        "train-tiny": partial(translation, "tiny", 8000, 15),
        "backtranslation-tiny": partial(
            backtranslation.backtranslation_row, "tiny", arguments.tokens, dtype
        ),
        "backtranslation-base": partial(
            backtranslation.backtranslation_row, "base", arguments.tokens, dtype
        ),
        "cold-start": commands.cold_start_row,
        "score": commands.score_row,
        "preprocess": partial(commands.preprocess_row, 20),
        "memory-tiny": partial(held, "tiny", 8000, "fp32"),
        "memory-64k": partial(held, "tiny", 64000, "fp32"),
        "memory-base": partial(held, "base", 8000, precision),
    }
    for length in (128, 512):
        for objective in pretraining.OBJECTIVES:
            rows[f"{objective}-{length}"] = partial(
                pretraining.pretraining_row,
                objective,
                length,
                arguments.tokens,
                dtype,
                variants,
            )
    for arch in ("base", "tiny"):
        for length in (8, 30, 100, 512):
            rows[f"train-{arch}-L{length}"] = partial(translation, arch, 8000, length)
        for vocab_size in (32000, 64000):
            name = f"train-{arch}-V{vocab_size // 1000}k"
            rows[name] = partial(translation, arch, vocab_size, 15)
    for length in (8, 30, 100):
        rows[f"generate-batched-L{length}"] = partial(generation, 8000, 16, length)
    for vocab_size in (32000, 64000):
        name = f"generate-greedy-V{vocab_size // 1000}k"
        rows[name] = partial(generation, vocab_size, 8, 100, 1)
    return rows


def pythons_of(arguments: argparse.Namespace) -> other_environments.Pythons:
    """Return the interpreters of the programs in environments of their own, by name."""
    return {
        "fairseq": arguments.fairseq_python,
        "JoeyNMT": arguments.joeynmt_python,
        "eole": arguments.eole_python,
    }


def translation_row(
    shape: training.Shape, dtype: torch.dtype, arguments: argparse.Namespace
) -> Row:
    """Return the row of training on pairs: target tokens a second."""
    torch.manual_seed(1)
    contestants = [training.masscli_translation(shape, dtype)]
    missing: dict[str, str] = {}
    if arguments.peers:
        contestants.append(training.plain_translation(shape, dtype))
        compiled = arguments.compiled and training.has_compiler()
        if arguments.compiled and not compiled:
            missing |= training.NO_COMPILER
        if has_transformers():
            contestants.extend(
                training.hugging_face_translations(shape, dtype, compiled)
            )
        else:
            missing |= training.NO_TRANSFORMERS
        others, absent = other_environments.trained(
            shape, pythons_of(arguments), arguments.threads
        )
        contestants.extend(others)
        missing |= absent
    config = shape.config()
    model = Transformer(config, shape.vocab_size, ())
    ceiling = training.training_ceiling(
        config, model, shape.tokens, 1.0, shape.vocab_size, dtype
    )
    name = f"train {shape.arch}, L {shape.length}, V {shape.vocab_size // 1000}k"
    return Row(name, "target tokens/s", contestants, ceiling, missing)

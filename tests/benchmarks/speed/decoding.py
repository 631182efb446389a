"""Generation: masscli's decoder, CTranslate2 with the same weights, and Hugging Face, each for a fixed number of steps."""

from __future__ import annotations

import copy
import importlib.util
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from masscli.checkpoint.convert.ctranslate2_export import (
    convert_directed,
    import_ctranslate2,
)
from masscli.checkpoint.convert.one_direction import DirectedModel
from masscli.generation.config import GenerationConfig
from masscli.generation.ctranslate2_decoder import CTranslate2Decoder
from masscli.generation.decoder import Decoder
from masscli.generation.text_decoder import TextDecoder
from masscli.models.int8 import to_int8
from masscli.models.packed_linear import pack_weights
from masscli.models.transformer import Transformer
from masscli.training.bench.peers import has_transformers
from masscli.training.bench.workload import SPECIAL_IDS
from tests.benchmarks.speed import other_environments, training
from tests.benchmarks.speed.measure import Contestant, Row, units_per_second


def generation_row(
    shape: training.Shape,
    beam: int,
    peers: bool,
    threads: int,
    pythons: other_environments.Pythons | None,
) -> Row:
    """Return the row of generation for `shape.batch_size` sentences at a time, each with as many steps as its source.

    Programs in environments of their own take part where `pythons` is not None.
    """
    torch.manual_seed(1)
    config = shape.config()
    model = Transformer(config, shape.vocab_size, ()).eval().requires_grad_(False)
    search = GenerationConfig(
        beam=beam, min_len=shape.length - 1, max_len_a=0.0, max_len_b=shape.length
    )
    rng = np.random.default_rng(2)
    # One at a time, four sentences make a measurement long enough.
    sources = list(
        rng.integers(
            SPECIAL_IDS, shape.vocab_size, (max(4, shape.batch_size), shape.length)
        )
    )
    framing = shape.framing(config)

    def contestant(name: str, decoder: TextDecoder) -> Contestant:
        def step() -> float:
            # One batch is finished before the next one is begun, in every program.
            for start in range(0, len(sources), shape.batch_size):
                decoder.generate(sources[start : start + shape.batch_size], "", "")
            return float(len(sources))

        return Contestant(name, units_per_second(step))

    contestants = []
    for precision in ("int8", "bf16", "fp32"):
        own = as_precision(copy.deepcopy(model), precision)
        decoder = Decoder(
            [own], framing, search, batch_size=shape.batch_size, batch_tokens=10**9
        )
        contestants.append(contestant(f"masscli {precision}", decoder))
    missing: dict[str, str] = {}
    if peers:
        if importlib.util.find_spec("ctranslate2") is None:
            missing["CTranslate2"] = "ctranslate2 is not installed"
        else:
            for precision in ("int8", "fp32"):
                exported = ctranslate2_decoder(model, shape, search, precision, threads)
                contestants.append(contestant(f"CTranslate2 {precision}", exported))
        if has_transformers():
            for dtype in (torch.bfloat16, torch.float32):
                contestants.append(
                    hugging_face_generation(shape, beam, len(sources), dtype)
                )
        else:
            missing |= training.NO_TRANSFORMERS
        if pythons is not None:
            others, absent = other_environments.generating(
                shape, len(sources), beam, pythons, threads
            )
            contestants.extend(others)
            missing |= absent
    batching = (
        "one at a time" if shape.batch_size == 1 else f"{shape.batch_size} at a time"
    )
    name = f"generate {shape.arch}, beam {beam}, {batching}, L {shape.length}, V {shape.vocab_size // 1000}k"
    return Row(name, "sentences/s", contestants, None, missing)


def as_precision(model: Transformer, precision: str) -> Transformer:
    """Return the model as `generate --precision` prepares it."""
    if precision == "int8":
        return to_int8(model)
    if precision == "bf16":
        model.compute_dtype = torch.bfloat16
        model = model.to(torch.bfloat16)
    return pack_weights(model)


def ctranslate2_decoder(
    model: Transformer,
    shape: training.Shape,
    search: GenerationConfig,
    precision: str,
    threads: int,
) -> CTranslate2Decoder:
    """Return CTranslate2 with the weights of a model of masscli."""
    ctranslate2 = import_ctranslate2()
    framing = shape.framing(shape.config())
    names = [f"t{number}" for number in range(shape.vocab_size)]
    ids = range(shape.vocab_size)
    directed = DirectedModel(
        config=model.config,
        source_ids=ids,
        target_ids=ids,
        tensors=model.state_dict(),
        source_prefix=(),
        source_suffix=(framing.vocab.eos,),
        target_start=framing.decoder_start(""),
        forced_tokens=(),
    )
    with tempfile.TemporaryDirectory() as folder:
        convert_directed(
            ctranslate2, directed, names, framing.vocab, Path(folder), "fp32", False
        )
        kind = {"int8": "int8", "fp32": "float32"}[precision]
        translator = ctranslate2.Translator(
            folder,
            device="cpu",
            compute_type=kind,
            inter_threads=threads,
            intra_threads=1,
        )
    # CTranslate2 has changed the number of threads of this thread, with which PyTorch is measured.
    torch.set_num_threads(threads)
    return CTranslate2Decoder(
        translator,
        names,
        model.config,
        framing,
        search,
        batch_tokens=10**9,
        # Each worker gets a share of what is decoded at a time.
        batch_size=math.ceil(shape.batch_size / threads),
        piece_scores=False,
    )


def hugging_face_generation(
    shape: training.Shape, beam: int, count: int, dtype: torch.dtype
) -> Contestant:
    """Return Marian of transformers, which generates for random sources."""
    model: Any = training.hugging_face(shape).module.eval().to(dtype)
    ids = torch.randint(SPECIAL_IDS, shape.vocab_size, (count, shape.length))

    def step() -> float:
        with torch.inference_mode():
            for start in range(0, count, shape.batch_size):
                model.generate(
                    ids[start : start + shape.batch_size],
                    num_beams=beam,
                    min_new_tokens=shape.length,
                    max_new_tokens=shape.length,
                    use_cache=True,
                )
        return float(count)

    return Contestant(f"HF {training.name_of(dtype)}", units_per_second(step))

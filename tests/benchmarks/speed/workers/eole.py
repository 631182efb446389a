"""Train eole's Transformer, or generate with it (see serve.py): its model, loss, optimizer, trainer and beam search."""

from __future__ import annotations

from typing import Any

import torch
from eole.config.run import PredictConfig, TrainConfig
from eole.constants import DefaultTokens
from eole.models.model import EncoderDecoderModel
from eole.predict import Translator
from eole.predict.beam_search import GNMTGlobalScorer
from eole.trainer import build_trainer
from eole.utils import Statistics
from eole.utils.optimizers import Optimizer
from pyonmttok import build_vocab_from_tokens
from torch import Tensor

from tests.benchmarks.speed.workers.serve import Step, random_ids, serve

SPECIAL_SYMBOLS = {
    "unk_token": DefaultTokens.UNK,
    "pad_token": DefaultTokens.PAD,
    "bos_token": DefaultTokens.BOS,
    "eos_token": DefaultTokens.EOS,
}


def vocabularies(size: int) -> dict[str, Any]:
    """Return a vocabulary of `size` tokens for both sides, in the form that eole keeps."""
    specials = list(SPECIAL_SYMBOLS.values())
    names = [f"t{number}" for number in range(size - len(specials))]
    vocabulary = build_vocab_from_tokens(names, special_tokens=specials)
    assert len(vocabulary) == size
    return {
        "src": vocabulary,
        "tgt": vocabulary,
        "specials": SPECIAL_SYMBOLS,
        "decoder_start_token": DefaultTokens.BOS,
    }


def config_of(settings: dict[str, Any]) -> TrainConfig:
    """Return eole's configuration: the given sizes, the biases of a Transformer and tied embeddings."""
    encoder_layers, decoder_layers = settings["layers"]
    model = {
        "architecture": "transformer",
        "hidden_size": settings["dim"],
        "heads": settings["heads"],
        "transformer_ff": settings["ffn_dim"],
        "add_qkvbias": True,
        "add_ffnbias": True,
        "share_embeddings": True,
        "share_decoder_embeddings": True,
        "encoder": {"layers": encoder_layers},
        "decoder": {"layers": decoder_layers},
        "embeddings": {
            "word_vec_size": settings["dim"],
            "position_encoding_type": "SinusoidalInterleaved",
        },
    }
    training = {
        "compute_dtype": settings["precision"],
        "optim": "adamw",
        "learning_rate": 1e-4,
        "max_grad_norm": 1.0,
        "label_smoothing": 0.1,
        "normalization": "tokens",
        "dropout": [settings["dropout"]],
        "attention_dropout": [settings["attention_dropout"]],
        "log_attention_entropy": False,
    }
    return TrainConfig(
        data={}, src_vocab="dummy", share_vocab=True, model=model, training=training
    )


def batch_of(source: Tensor) -> dict[str, Any]:
    """Return a batch of sources (rows, length), in the form that eole's data loader gives it."""
    return {
        "src": source,
        "srclen": torch.full((len(source),), source.shape[1]),
        "images": None,
        "prefix_len": None,
        "cid": ["random"] * len(source),
        "cid_line_number": list(range(len(source))),
    }


def training(settings: dict[str, Any]) -> Step:
    """Return an update by eole's trainer, in target tokens; bf16 is its mixed precision."""
    config = config_of(settings)
    vocabs = vocabularies(settings["vocab_size"])
    model = EncoderDecoderModel.for_training(
        config.model, vocabs, config.training, device_id=-1
    )
    optimizer = Optimizer.from_config(model, config)
    trainer = build_trainer(config, -1, model, vocabs, optimizer)
    source, target = random_ids(settings, 2)
    start = torch.full((len(target), 1), vocabs["tgt"][DefaultTokens.BOS])
    batch = {**batch_of(source), "tgt": torch.cat([start, target], 1)}

    def step() -> float:
        trainer._train_step([batch], target.numel(), Statistics(), Statistics())
        return float(target.numel())

    return step


def generation(settings: dict[str, Any]) -> Step:
    """Return a beam search in fp32 for all sentences, as many steps as a source has tokens, in sentences."""
    config = config_of(settings)
    vocabs = vocabularies(settings["vocab_size"])
    model = EncoderDecoderModel.for_training(
        config.model, vocabs, config.training, device_id=-1
    )
    search = PredictConfig(
        model_path=["random"],
        src="random",
        model=config.model,
        beam_size=settings["beam"],
        min_length=settings["length"],
        max_length=settings["length"],
    )
    model._prepare_for_inference(search)
    translator = Translator(
        model,
        vocabs,
        search,
        config.model,
        device_id=-1,
        global_scorer=GNMTGlobalScorer.from_config(search),
        report_score=False,
    )
    sources = random_ids(settings, 1)[0].split(settings["at_once"])
    batches = [batch_of(source) for source in sources]

    def step() -> float:
        for batch in batches:
            translator.predict_batch(batch, attn_debug=False)
        return float(settings["rows"])

    return step


if __name__ == "__main__":
    serve(training, generation)

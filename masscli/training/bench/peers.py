"""Other programs that train a model of the same sizes on the same batch: PyTorch's own, and Hugging Face's.

The plain peer is `torch.nn.Transformer` (or `TransformerEncoder`) with `cross_entropy`, as a tutorial would
write it. The peers of Hugging Face, Marian and BERT, need the package `transformers`. All of them compute
their matrix products in the same precision as masscli does, by autocast.
"""

from __future__ import annotations

import importlib.util
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.data.batches.batch import Batch, Tokens
from masscli.models.config import ModelConfig
from masscli.training.bench.workload import LABEL_SMOOTHING, TERM

IGNORED_LABEL = -100
"""The label of tokens that are not predicted."""


class Peer(Protocol):
    """The interface of another program's model."""

    @property
    def module(self) -> nn.Module:
        """The module whose parameters are trained."""

    def loss(self, batch: Batch, dtype: torch.dtype) -> Tensor:
        """Return the mean loss over the targets of a batch, with matrix products in `dtype`."""


class PlainPeer(nn.Module):
    """PyTorch's Transformer (an encoder, or encoder and decoder), embeddings and a tied output layer."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.dim)
        self.positions = nn.Embedding(config.max_positions, config.dim)
        sizes = (config.dim, config.heads)
        self.transformer: nn.Module
        if config.decoder_layers:
            layers = (config.encoder_layers, config.decoder_layers)
            self.transformer = nn.Transformer(
                *sizes, *layers, config.ffn_dim, config.dropout, batch_first=True
            )
        else:
            layer = nn.TransformerEncoderLayer(
                *sizes, config.ffn_dim, config.dropout, batch_first=True
            )
            self.transformer = nn.TransformerEncoder(
                layer, config.encoder_layers, enable_nested_tensor=False
            )

    @property
    def module(self) -> nn.Module:
        """The module whose parameters are trained: this one."""
        return self

    def loss(self, batch: Batch, dtype: torch.dtype) -> Tensor:
        """Return the mean label-smoothed cross-entropy of the targets, with matrix products in `dtype`."""
        labels = batch.labels[TERM]
        with _autocast(batch, dtype):
            hidden = self._hidden(batch)
            logits = F.linear(
                hidden.flatten(0, 1)[labels.positions], self.embedding.weight
            )
        return F.cross_entropy(
            logits.float(), labels.ids, label_smoothing=LABEL_SMOOTHING
        )

    def _hidden(self, batch: Batch) -> Tensor:
        """Return the last hidden states (B, L, D): those of the decoder, or of an encoder alone."""
        source = self._embed(batch.source)
        if batch.target is None:
            hidden: Tensor = self.transformer(source)
            return hidden
        target = self._embed(batch.target)
        mask = nn.Transformer.generate_square_subsequent_mask(
            target.shape[1], device=target.device
        )
        decoded: Tensor = self.transformer(
            source, target, tgt_mask=mask, tgt_is_causal=True
        )
        return decoded

    def _embed(self, tokens: Tokens) -> Tensor:
        embedded: Tensor = self.embedding(tokens.ids)
        return embedded + self.positions.weight[: tokens.ids.shape[1]]


class HuggingFacePeer:
    """Marian of transformers, or BERT for an encoder alone; with `compiled`, under `torch.compile`."""

    def __init__(
        self, config: ModelConfig, vocab_size: int, device: torch.device, compiled: bool
    ) -> None:
        # It is not a dependency of masscli: the caller must check `has_transformers` first.
        transformers = importlib.import_module("transformers")
        build = _marian if config.decoder_layers else _bert
        self.module: nn.Module = (
            build(transformers, config, vocab_size).to(device).train()
        )
        self._forward: Any = torch.compile(self.module) if compiled else self.module

    def loss(self, batch: Batch, dtype: torch.dtype) -> Tensor:
        """Return the mean label-smoothed cross-entropy of the targets, with matrix products in `dtype`."""
        inputs = {"input_ids": batch.source.ids}
        shape = batch.source.ids.shape
        if batch.target is not None:
            inputs["decoder_input_ids"] = batch.target.ids
            shape = batch.target.ids.shape
        own = batch.labels[TERM]
        labels = torch.full((shape.numel(),), IGNORED_LABEL, device=own.ids.device)
        labels[own.positions] = own.ids
        with _autocast(batch, dtype):
            logits: Tensor = self._forward(**inputs).logits
        return F.cross_entropy(
            logits.float().flatten(0, 1), labels, label_smoothing=LABEL_SMOOTHING
        )


def has_transformers() -> bool:
    """Return whether the package `transformers` is installed."""
    return importlib.util.find_spec("transformers") is not None


def _marian(transformers: Any, config: ModelConfig, vocab_size: int) -> nn.Module:
    """Return Marian, the translation model of transformers, with the sizes of `config`, tied embeddings."""
    settings = transformers.MarianConfig(
        vocab_size=vocab_size,
        d_model=config.dim,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        encoder_attention_heads=config.heads,
        decoder_attention_heads=config.heads,
        encoder_ffn_dim=config.ffn_dim,
        decoder_ffn_dim=config.ffn_dim,
        max_position_embeddings=config.max_positions,
        activation_function=config.activation,
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
        use_cache=False,
    )
    model: nn.Module = transformers.MarianMTModel(settings)
    return model


def _bert(transformers: Any, config: ModelConfig, vocab_size: int) -> nn.Module:
    """Return BERT of transformers with its masked language model head, with the sizes of `config`."""
    settings = transformers.BertConfig(
        vocab_size=vocab_size,
        hidden_size=config.dim,
        num_hidden_layers=config.encoder_layers,
        num_attention_heads=config.heads,
        intermediate_size=config.ffn_dim,
        max_position_embeddings=config.max_positions,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.attention_dropout,
    )
    model: nn.Module = transformers.BertForMaskedLM(settings)
    return model


def _autocast(batch: Batch, dtype: torch.dtype) -> torch.autocast:
    """Return a context in which matrix products on the device of the batch are computed in `dtype`."""
    return torch.autocast(
        batch.source.ids.device.type, dtype, enabled=dtype != torch.float32
    )

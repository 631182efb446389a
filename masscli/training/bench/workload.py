"""What is measured: models of a named size, and batches of random token ids for them.

Weights and token ids are random, because speed does not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Labels, Tokens
from masscli.data.batches.framing import Framing
from masscli.models.config import ModelConfig
from masscli.models.presets import resolve
from masscli.models.transformer import Transformer
from masscli.objectives.shared.sequence_to_sequence import (
    sequence_loss,
    sequence_pair_batch,
)
from masscli.objectives.shared.token_loss import token_loss
from masscli.text.vocabulary import Vocabulary

SPECIAL_IDS = 8
LABEL_SMOOTHING = 0.1
MASKED_SHARE = 0.15
"""Share of tokens that an encoder-only model predicts, as in BERT."""
TERM = "bench"
"""Name of the loss term of the batches."""


@dataclass(frozen=True)
class Workload:
    """The input of the benchmark: the named size of a model, the shape of its batches, and durations."""

    arch: str
    vocab_size: int
    batch_size: int
    """Number of sentences in a training batch."""
    length: int
    """Number of tokens in a sentence."""
    steps: int
    """Number of decoding steps for each generated sentence."""
    seconds: float
    """Minimum duration of each measurement in seconds."""

    def config(self) -> ModelConfig:
        """Return the configuration of the model.

        Raises MasscliError if it has no encoder, or no output layer that predicts tokens.
        """
        config = resolve({"arch": self.arch, "languages": "none"})
        if not config.encoder_layers:
            raise MasscliError(
                f"--arch {self.arch}: a decoder alone is not measured",
                "choose a model with an encoder, such as base, mass-base or bert-base",
            )
        # ELECTRA's discriminator predicts none, and its embeddings may be narrower than its layers.
        if config.embedding_width != config.dim and not config.head_transform:
            raise MasscliError(
                f"--arch {self.arch}: has no output layer that predicts tokens",
                "choose another model, such as base, mass-base or bert-base",
            )
        return config

    def framing(self, config: ModelConfig) -> Framing:
        """Return the special tokens around sentences, with a vocabulary of ids without text."""
        vocab = Vocabulary(
            self.vocab_size,
            pad=0,
            bos=1,
            eos=2,
            unk=3,
            mask=4,
            cls=5,
            sep=6,
            spare=(7,),
            languages={},
            fingerprint="",
        )
        return Framing(vocab, config.source_bos, False, ())

    def batch(self, config: ModelConfig) -> Batch:
        """Return a training batch: pairs for an encoder and a decoder, masked text for an encoder alone."""
        if config.decoder_layers:
            return self._pairs(self.framing(config))
        return self._masked_text()

    def _pairs(self, framing: Framing) -> Batch:
        """Return a batch of random sentence pairs of equal length."""
        rng = np.random.default_rng(1)
        # The end symbol is the last token of each sentence.
        shape = (2, self.batch_size, self.length - 1)
        sources, targets = rng.integers(SPECIAL_IDS, self.vocab_size, shape)
        inputs = [framing.encoder_input(token_ids, "") for token_ids in sources]
        return sequence_pair_batch(
            framing, inputs, list(targets), ("", ""), TERM, range(self.batch_size)
        )

    def _masked_text(self) -> Batch:
        """Return a batch of random sentences of equal length, of which a share of tokens is predicted."""
        rng = np.random.default_rng(1)
        tokens = self.batch_size * self.length
        ids = torch.from_numpy(
            rng.integers(SPECIAL_IDS, self.vocab_size, (self.batch_size, self.length))
        )
        masked = np.sort(
            rng.choice(tokens, max(1, round(MASKED_SHARE * tokens)), replace=False)
        )
        positions = torch.from_numpy(masked)
        return Batch(
            source=Tokens(ids, torch.full((self.batch_size,), self.length)),
            target=None,
            labels={TERM: Labels(ids.flatten()[positions], positions)},
            counts={TERM: float(len(positions))},
            example_numbers=torch.arange(self.batch_size),
        )


def model_loss(model: Transformer, batch: Batch) -> Tensor:
    """Return the loss of masscli's model for each target of a batch, a scalar in nats."""
    if batch.target is not None:
        total = sequence_loss(model, batch, TERM, LABEL_SMOOTHING).loss
    else:
        hidden = model.encode(batch.source).hidden
        total = token_loss(
            model, hidden, batch.labels[TERM], "encoder", LABEL_SMOOTHING
        ).loss
    return total / batch.counts[TERM]


def flops(model: Transformer, batch: Batch) -> float:
    """Return the floating-point operations of a forward and backward pass on one training batch.

    Each weight of a matrix counts six operations for each token that it multiplies: a multiplication and an
    addition in the forward pass, and twice as many in the backward pass. The products within attention
    (scores and weighted sums) are left out.
    """
    tokens = {"encoder": batch.source.ids.numel()}
    if batch.target is not None:
        tokens["decoder"] = batch.target.ids.numel()
    products = 0
    # Biases, norms and input embeddings are not matrix products.
    for name, parameter in model.named_parameters():
        stack = name.split(".")[0]
        if parameter.dim() == 2 and stack in tokens:
            products += tokens[stack] * parameter.numel()
    embeddings = model.token_embeddings
    owner = "shared" if "shared" in embeddings else list(tokens)[-1]
    products += int(batch.counts[TERM]) * embeddings[owner].numel()
    return 6.0 * float(products)


def train_step(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], object]:
    """Return a function that makes one AdamW update of `module` on what `loss` returns."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        torch.autograd.backward(loss())
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step

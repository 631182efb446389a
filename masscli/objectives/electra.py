"""ELECTRA: a small generator fills masked places with samples, the model tells which tokens were replaced (Clark et al. 2020, section 2).

    L = sum_{m} -log P_G(x_m | masked text) / |m|  +  50 sum_t BCE(D(t | filled text), x_t was replaced) / T

Nothing flows from the discriminator to the generator but through the embeddings they share: samples are drawn (Gumbel-max) and held fixed.
The generator is a stack of the model's depth, fed by the model's own embeddings; its layers, its output layer and the discriminator's head
belong to the objective and are left behind when the model is fine-tuned.  A place that was drawn twice is sampled once and counts twice
in the generator's loss; the released code mixes its two samples into a third token, which is not done here.

Ablations (section 3.4): electra-15 detects at the masked places only; replace-mlm has the model predict the masked tokens, all-tokens-mlm
all tokens, P = C onehot(what stands there) + (1 - C) softmax with a copy gate C.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from masscli.data.batch import Batch, Labels, Tokens, pad
from masscli.data.framing import Framing
from masscli.data.masking import electra_slots
from masscli.data.shards import DataBin
from masscli.data.view import Example, View
from masscli.models.cross_entropy import linear_cross_entropy
from masscli.models.head import HeadTransform, activation
from masscli.models.linear import Linear
from masscli.models.masks import inside
from masscli.models.transformer import Stack, Transformer
from masscli.objectives.base import Objective, Setting, Term
from masscli.objectives.bert import document_pairs, frame, no_tags
from masscli.pretraining import ElectraOptions
from masscli.recipe import ModelConfig

CHUNK = 512
"""Rows of logits that are held at a time where all tokens are predicted."""


@dataclass(frozen=True)
class ElectraCollator:
    """Masks what the generator reads.  `mlm` are the tokens at the slots, `real` all tokens as they are."""

    options: ElectraOptions
    framing: Framing
    language: str
    second: str

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        o, vocab = self.options, self.framing.vocab
        pairs = [frame(e, self.framing) for e in examples]
        most = int((o.mask_prob + 0.005) * o.tokens_per_sample)
        shown, slots = [], []
        for pair, rng in zip(pairs, rngs, strict=True):
            chosen = electra_slots(pair.text & (pair.ids != vocab.mask), o.mask_prob, most, o.sampling == "with", rng)
            masked = pair.ids.copy()
            hidden = np.unique(chosen)
            masked[hidden[rng.random(len(hidden)) >= o.mask_keep]] = vocab.mask
            shown.append(masked)
            slots.append(chosen)
        block, lengths = pad(shown, vocab.pad)
        segments, _ = pad([p.segments for p in pairs], 0)
        width = block.shape[1]
        at = torch.from_numpy(np.concatenate([row * width + chosen for row, chosen in enumerate(slots)]))
        wanted = torch.from_numpy(np.concatenate([p.ids[c] for p, c in zip(pairs, slots, strict=True)]))
        everywhere = torch.nonzero((torch.arange(width) < lengths[:, None]).flatten())[:, 0]
        labels = {"mlm": Labels(wanted, at), "real": Labels(torch.from_numpy(np.concatenate([p.ids for p in pairs])), everywhere)}
        judged = {"electra-15": len(torch.unique(at)), "replace-mlm": len(at)}.get(o.variant, len(everywhere))
        source = Tokens(block, lengths, segments=segments, language=self.framing.language(self.language, len(pairs)))
        counts = {"mlm": float(len(at)), self.second: float(judged)}
        return Batch(source, None, labels, counts, torch.tensor([e.row for e in examples]))


def generator_config(model: ModelConfig, size: float) -> ModelConfig:
    """The generator's layers: narrower, four times as wide inside, a head for every 64."""
    dim = max(1, round(model.dim * size))
    heads = max(1, dim // 64)
    dim -= dim % heads
    return replace(model, dim=dim, ffn_dim=4 * dim, heads=heads, share_layers="none")


class Generator(nn.Module):
    """A bare stack on embeddings of width E, and the output layer of a masked language model; the token table is handed in."""

    def __init__(self, model: ModelConfig, size: float, vocab: int) -> None:
        super().__init__()
        config, width = generator_config(model, size), model.embedding_dim or model.dim
        self.project = Linear(width, config.dim) if width != config.dim else None
        self.stack = Stack(config, config.encoder_layers, False, ())
        self.output = Output(config, width, vocab)
        begin(self)

    def forward(self, embedded: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, E) -> states (B, L, G)."""
        out: Tensor = self.stack(self.project(embedded) if self.project is not None else embedded, mask)
        return out


class Output(nn.Module):
    """The output layer of a network of width D over a table of width E."""

    def __init__(self, config: ModelConfig, width: int, vocab: int) -> None:
        super().__init__()
        self.transform = HeadTransform(config, config.dim, width)
        self.bias = nn.Parameter(torch.zeros(vocab))

    def logits(self, hidden: Tensor, table: Tensor) -> Tensor:
        """(N, D) -> (N, V) in fp32."""
        x = self.transform(hidden)
        return F.linear(x, table.to(x.dtype), self.bias.to(x.dtype)).float()

    def loss(self, hidden: Tensor, table: Tensor, labels: Tensor) -> Term:
        """Summed cross-entropy."""
        return Term(*linear_cross_entropy(self.transform(hidden), table, self.bias, labels))


class Detector(nn.Module):
    """How much each token looks replaced."""

    def __init__(self, dim: int, activated: str) -> None:
        super().__init__()
        self.dense, self.out = Linear(dim, dim), Linear(dim, 1)
        self.activation = activation(activated)
        begin(self)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, D) -> logits (N,) in fp32."""
        out: Tensor = self.out(self.activation(self.dense(hidden)))
        return out[:, 0].float()


def begin(module: nn.Module) -> None:
    """N(0, 0.02), zero biases."""
    for part in module.modules():
        if isinstance(part, Linear):
            nn.init.normal_(part.weight, 0, 0.02)
            nn.init.zeros_(part.bias)


class Electra(Objective):
    """Tell what was replaced."""

    Config = ElectraOptions

    def __init__(self, config: ElectraOptions, setting: Setting) -> None:
        super().__init__(setting)
        no_tags("electra", setting)
        self.options, self.second = config, "rtd" if config.variant.startswith("electra") else config.variant
        size, model = setting.framing.vocab.size, setting.model
        self.generator = Generator(model, config.generator_size, size)
        self.detector = Detector(model.dim, model.activation) if self.second == "rtd" else None
        self.output = Output(model, model.embedding_dim or model.dim, size) if self.second != "rtd" else None
        self.gate = Linear(model.dim, 1) if config.variant == "all-tokens-mlm" else None
        for part in (self.output, self.gate):
            if part is not None:
                begin(part)

    @property
    def weights(self) -> Mapping[str, float]:
        """The generator's loss, and the discriminator's; the ablations that predict tokens weigh both the same."""
        return {"mlm": 1.0, self.second: self.options.disc_weight if self.second == "rtd" else 1.0}

    def view(self, data: DataBin, split: str) -> View:
        """One or two segments of a document."""
        return document_pairs(data, split, self.setting, self.options, "electra")

    def collator(self) -> ElectraCollator:
        """Masks what the generator reads."""
        return ElectraCollator(self.options, self.setting.framing, self.setting.text, self.second)

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Both losses."""
        wanted, real = batch.labels["mlm"], batch.labels["real"]
        table = model.table("encoder")
        states = self.generator(model.embed(batch.source, "encoder"), inside(batch.source)).flatten(0, 1)
        found = {"mlm": self.generator.output.loss(states[wanted.positions], table, wanted.ids)}
        slots = torch.unique(wanted.positions)
        filled = batch.source.ids.flatten().index_copy(0, real.positions, real.ids)
        truth = filled[slots]
        filled = filled.index_copy(0, slots, self._sample(states[slots], table, batch))
        hidden = model.encode(replace(batch.source, ids=filled.view_as(batch.source.ids))).hidden.flatten(0, 1)
        if self.detector is not None:
            at = slots if self.options.variant == "electra-15" else real.positions
            original = truth if self.options.variant == "electra-15" else real.ids
            replaced = (filled[at] != original).float()
            loss = F.binary_cross_entropy_with_logits(self.detector(hidden[at]), replaced, reduction="sum")
            return {**found, "rtd": Term(loss, loss.detach())}
        assert self.output is not None
        if self.gate is None:
            return {**found, self.second: self.output.loss(hidden[wanted.positions], table, wanted.ids)}
        return {**found, self.second: self._copying(hidden[real.positions], table, filled[real.positions], real.ids)}

    @torch.no_grad()
    def _sample(self, states: Tensor, table: Tensor, batch: Batch) -> Tensor:
        """A token for each slot, by Gumbel-max; always the same in validation."""
        logits = self.generator.output.logits(states, table) / self.options.temperature
        seed = None if self.training else torch.Generator(states.device).manual_seed(int(batch.rows[0]))
        noise = torch.rand(logits.shape, generator=seed, device=states.device).clamp_(1e-9, 1 - 1e-7)
        return (logits - torch.log(-torch.log(noise))).argmax(-1)

    def _copying(self, hidden: Tensor, table: Tensor, shown: Tensor, labels: Tensor) -> Term:
        """-log P of every token under the mixture of copying and predicting, a chunk of logits at a time."""
        parts = [checkpoint(self._mixture, *(x[at : at + CHUNK] for x in (hidden, shown, labels)), table, use_reentrant=False)
                 for at in range(0, len(labels), CHUNK)]  # fmt: skip
        loss = torch.stack(parts).sum()
        return Term(loss, loss.detach())

    def _mixture(self, hidden: Tensor, shown: Tensor, labels: Tensor, table: Tensor) -> Tensor:
        assert self.output is not None and self.gate is not None
        gate = self.gate(hidden)[:, 0].float()
        predicted = F.logsigmoid(-gate) + self.output.logits(hidden, table).log_softmax(-1).gather(1, labels[:, None])[:, 0]
        return -torch.where(shown == labels, torch.logaddexp(F.logsigmoid(gate), predicted), predicted).sum()

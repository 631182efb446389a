"""ELECTRA: a small generator fills masked places with samples, the model tells which tokens were replaced (Clark et al. 2020, section 2).

    L = sum_{m} -log P_G(x_m | masked text) / |m|  +  50 sum_t BCE(D(t | filled text), x_t was replaced) / T

Nothing flows from the discriminator to the generator but through the embeddings they share: samples are drawn (Gumbel-max) and held fixed.
The generator (masscli/objectives/electra/generator.py) and the discriminator's head belong to the objective and are left behind when the model is
fine-tuned.  A place that was drawn twice is sampled once and counts twice in the generator's loss; the released code mixes its two samples
into a third token, which is not done here.

Other ways to train it (sections 3.2 and 3.3, appendix F):

    two-stage    the generator learns alone; then it hands its weights to the model, stands still, and the model learns alone
    adversarial  the generator is rewarded where the discriminator errs, R = its loss on a token, by REINFORCE with a learned baseline:
                 -sum_m (R_m - b_m) log P_G(sample_m | masked text),  b = -log sigmoid(w h_m) drawn to R by cross-entropy

Ablations (section 3.4): electra-15 detects at the masked places only; replace-mlm has the model predict the masked tokens, all-tokens-mlm
all tokens, P = C onehot(what stands there) + (1 - C) softmax with a copy gate C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from masscli.data.batches.batch import Batch, Labels, Tokens, pad
from masscli.data.batches.dataset import Collator, Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.linear import Linear
from masscli.models.lm_head import activation
from masscli.models.transformer import Transformer
from masscli.objectives.electra.generator import Generator, Output, begin
from masscli.objectives.electra.options import ElectraOptions
from masscli.objectives.masked_lm.bert import document_pairs, frame, no_tags
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.masking import electra_slots

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
            chosen = electra_slots(
                pair.text & (pair.ids != vocab.mask), o.mask_prob, most, o.sampling == "with", rng
            )
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
        labels = {
            "mlm": Labels(wanted, at),
            "real": Labels(torch.from_numpy(np.concatenate([p.ids for p in pairs])), everywhere),
        }
        judged = {"electra-15": len(torch.unique(at)), "replace-mlm": len(at)}.get(o.variant, len(everywhere))
        source = Tokens(
            block,
            lengths,
            segments=segments,
            language=self.framing.language_tensor(self.language, len(pairs)),
        )
        counts = {"mlm": float(len(at)), self.second: float(judged)}
        return Batch(source, None, labels, counts, torch.tensor([e.number for e in examples]))


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


class Electra(Objective):
    """Tell what was replaced."""

    def __init__(self, config: ElectraOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        no_tags("electra", context)
        self.options, self.second = (
            config,
            config.variant if config.variant in ("replace-mlm", "all-tokens-mlm") else "rtd",
        )
        size, model = context.framing.vocab.size, context.model
        languages = len(context.framing.languages) if model.languages == "embedding" else 0
        self.generator = Generator(model, config.size_beside(model.arch), size, config.ties, languages)
        self.detector = Detector(model.dim, model.activation) if self.second == "rtd" else None
        self.output = Output(model, model.embedding_dim or model.dim, size) if self.second != "rtd" else None
        self.gate = Linear(model.dim, 1) if config.variant == "all-tokens-mlm" else None
        self.baseline = Linear(self.generator.width, 1) if config.variant == "adversarial" else None
        for part in (self.output, self.gate, self.baseline):
            if part is not None:
                begin(part)
        self.exclusive = config.variant == "two-stage"
        if self.exclusive:
            self.register_buffer("handed", torch.zeros((), dtype=torch.bool))

    @property
    def weights(self) -> Mapping[str, float]:
        """The generator's loss, and the discriminator's; the ablations that predict tokens weigh both the same."""
        return {"mlm": 1.0, self.second: self.options.disc_weight if self.second == "rtd" else 1.0}

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """One or two segments of a document."""
        return document_pairs(
            data, split, self.context, self.options, "electra", max_examples
        ), self.collator()

    def collator(self) -> ElectraCollator:
        """Masks what the generator reads."""
        return ElectraCollator(self.options, self.context.framing, self.context.dataset_name, self.second)

    def data_warnings(self, view: Dataset) -> list[str]:
        """What a discriminator of another size cannot take over."""
        if not self.exclusive:
            return []
        with torch.device("meta"):
            model = Transformer(
                self.context.model, self.context.framing.vocab.size, self.context.framing.languages
            )
        every, fitting = (
            sum(n.startswith("encoder.") for n in names)
            for names in (model.state_dict(), self.generator.fitting(model))
        )
        said = f"{every - fitting} of {every} weights of the model's layers have no like in the generator, and begin as they are drawn"
        return [f"{said}: add --generator-size 1"] if every > fitting else []

    def begin_update(self, model: Transformer, update: int) -> None:
        """two-stage: the model takes the generator's weights, once."""
        if (
            self.exclusive
            and update >= (self.options.generator_updates or 0)
            and not self.get_buffer("handed")
        ):
            self.generator.hand_over(model)
            self.get_buffer("handed").fill_(True)

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """two-stage: one of the losses has no targets."""
        if not (self.exclusive and self.training):
            return batch
        term = self.second if self.get_buffer("handed") else "mlm"
        return replace(batch, counts={term: batch.counts[term]})

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Both losses; in training, those that have targets."""
        wanted, real = batch.labels["mlm"], batch.labels["real"]
        found: dict[str, Term] = {}
        with torch.set_grad_enabled(torch.is_grad_enabled() and "mlm" in batch.counts):
            table, states = self.generator.words(model), self.generator(model, batch.source)
            if "mlm" in batch.counts and self.baseline is None:
                found["mlm"] = self.generator.output.loss(states[wanted.positions], table, wanted.ids)
        if self.second not in batch.counts:
            return found
        slots, times = torch.unique(wanted.positions, return_counts=True)
        filled = batch.source.ids.flatten().index_copy(0, real.positions, real.ids)
        truth, drawn = filled[slots], self._sample(states[slots], table, batch)
        filled = filled.index_copy(0, slots, drawn)
        hidden = model.encode(replace(batch.source, ids=filled.view_as(batch.source.ids))).hidden.flatten(
            0, 1
        )
        if self.detector is not None:
            at, original = (
                (slots, truth) if self.options.variant == "electra-15" else (real.positions, real.ids)
            )
            loss = F.binary_cross_entropy_with_logits(
                self.detector(hidden[at]), (filled[at] != original).float(), reduction="sum"
            )
            found["rtd"] = Term(loss, loss.detach())
        if self.detector is not None and self.baseline is not None:
            with torch.no_grad():
                errors = F.binary_cross_entropy_with_logits(
                    self.detector(hidden[slots]), (drawn != truth).float(), reduction="none"
                )
                nll = self.generator.output.loss(states[wanted.positions], table, wanted.ids).nll
            found["mlm"] = Term(self._reinforced(states[slots], table, drawn, errors, times), nll)
        if self.output is not None and self.gate is None:
            found[self.second] = self.output.loss(
                hidden[wanted.positions], model.token_embedding("encoder"), wanted.ids
            )
        elif self.output is not None:
            found[self.second] = self._copying(
                hidden[real.positions], model.token_embedding("encoder"), filled[real.positions], real.ids
            )
        return found

    @torch.no_grad()
    def _sample(self, states: Tensor, table: Tensor, batch: Batch) -> Tensor:
        """A token for each slot, by Gumbel-max; always the same in validation."""
        logits = self.generator.output.logits(states, table) / self.options.temperature
        seed = (
            None
            if self.training
            else torch.Generator(states.device).manual_seed(int(batch.example_numbers[0]))
        )
        noise = torch.rand(logits.shape, generator=seed, device=states.device).clamp_(1e-9, 1 - 1e-7)
        return (logits - torch.log(-torch.log(noise))).argmax(-1)

    def _reinforced(
        self, states: Tensor, table: Tensor, drawn: Tensor, reward: Tensor, times: Tensor
    ) -> Tensor:
        """What teaches the generator to draw what is rewarded, and the baseline to foresee the reward (appendix F).

        A slot counts as often as it was drawn.  The baseline reads states that it does not shape.
        """
        assert self.baseline is not None
        guess = self.baseline(states.detach())[:, 0].float()
        foreseen = F.binary_cross_entropy_with_logits(
            guess, torch.exp(-reward), reduction="none"
        )  # -log sigmoid(guess) is the baseline
        gain = (reward - F.softplus(-guess)).detach()
        return (times * foreseen).sum() + in_chunks(self._drawing, [states, drawn, times * gain], table)

    def _drawing(self, states: Tensor, drawn: Tensor, gain: Tensor, table: Tensor) -> Tensor:
        logits = self.generator.output.logits(states, table) / self.options.temperature
        return -(gain * logits.log_softmax(-1).gather(1, drawn[:, None])[:, 0]).sum()

    def _copying(self, hidden: Tensor, table: Tensor, shown: Tensor, labels: Tensor) -> Term:
        """-log P of every token under the mixture of copying and predicting."""
        loss = in_chunks(self._mixture, [hidden, shown, labels], table)
        return Term(loss, loss.detach())

    def _mixture(self, hidden: Tensor, shown: Tensor, labels: Tensor, table: Tensor) -> Tensor:
        assert self.output is not None and self.gate is not None
        gate = self.gate(hidden)[:, 0].float()
        predicted = (
            F.logsigmoid(-gate)
            + self.output.logits(hidden, table).log_softmax(-1).gather(1, labels[:, None])[:, 0]
        )
        return -torch.where(shown == labels, torch.logaddexp(F.logsigmoid(gate), predicted), predicted).sum()


def in_chunks(work: Callable[..., Tensor], rows: Sequence[Tensor], table: Tensor) -> Tensor:
    """The sum of what `work` makes of so many rows at a time, so that few of their logits are held."""
    parts = [
        checkpoint(work, *(x[at : at + CHUNK] for x in rows), table, use_reentrant=False)
        for at in range(0, len(rows[0]), CHUNK)
    ]
    return torch.stack(parts).sum() if parts else rows[0].new_zeros(()).float()

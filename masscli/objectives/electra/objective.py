"""ELECTRA: a generator fills masked positions, and the model detects the replaced tokens.

Clark et al. 2020.

See README.md in this folder for the equations and the variants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset
from masscli.data.storage.data_folder import DataFolder
from masscli.models.linear import Linear
from masscli.models.lm_head import activation
from masscli.models.transformer import Transformer
from masscli.objectives.electra.collator import ElectraCollator
from masscli.objectives.electra.generator import (
    Generator,
    TokenPredictor,
    initialize_weights,
)
from masscli.objectives.electra.options import ElectraOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.paired_text import (
    refuse_language_tags,
    segment_pairs,
)

CHUNK_SIZE = 512
"""The number of rows of logits (one for each token) that `sum_in_chunks` holds in memory at a time."""


class Detector(nn.Module):
    """The discriminator's head: it computes for each token the logit that the token was replaced."""

    def __init__(self, dim: int, activation_name: str) -> None:
        super().__init__()
        self.dense = Linear(dim, dim)
        self.out = Linear(dim, 1)
        self.activation = activation(activation_name)
        initialize_weights(self)
        # The released code uses TensorFlow's default initialization for this layer.
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, states: Tensor) -> Tensor:
        """Return logits (N,) in fp32 for hidden states (N, D); a high one means that a token was replaced."""
        logits: Tensor = self.out(self.activation(self.dense(states)))
        return logits[:, 0].float()


@dataclass(frozen=True)
class FilledText:
    """The text of a batch with the generator's samples in place of the tokens that it predicts.

    `ids` (B * L,) is the flattened text with the samples. `slots` (S,) are the distinct positions in it that
    were filled, `times` (S,) says how often the masking drew each of them. `sampled` and `original` (S,) are
    the sampled and the original tokens at these positions, and `generator_states` (S, G) the generator's
    states that the samples were drawn from.
    """

    ids: Tensor
    slots: Tensor
    times: Tensor
    sampled: Tensor
    original: Tensor
    generator_states: Tensor


class Electra(Objective):
    """ELECTRA: detect which tokens were replaced by samples of a generator, which is trained too.

    In the variants replace-mlm and all-tokens-mlm the model predicts the original tokens instead.
    """

    def __init__(self, config: ElectraOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        refuse_language_tags("electra", context)
        self.options = config
        self.model_term = config.variant if config.predicts_tokens else "rtd"
        model = context.model
        vocab_size = context.framing.vocab.size
        num_languages = (
            len(context.framing.languages) if model.languages == "embedding" else 0
        )
        self.generator = Generator(
            model,
            config.resolved_size(model.arch),
            vocab_size,
            config.resolved_ties,
            num_languages,
        )
        self.detector: Detector | None = None
        self.output: TokenPredictor | None = None
        self.gate: Linear | None = None
        self.baseline: Linear | None = None
        if config.predicts_tokens:
            self.output = TokenPredictor(
                model, model.embedding_dim or model.dim, vocab_size
            )
        else:
            self.detector = Detector(model.dim, model.activation)
        if config.variant == "all-tokens-mlm":
            self.gate = Linear(model.dim, 1)
        if config.variant == "adversarial":
            self.baseline = Linear(self.generator.width, 1)
        for head in (self.output, self.gate, self.baseline):
            if head is not None:
                initialize_weights(head)
        self.two_stage = config.variant == "two-stage"
        # While only the generator is trained, no other objective may change the model.
        self.exclusive = self.two_stage
        if self.two_stage:
            # Whether the generator's weights have been copied to the model: a buffer, so that a continued run
            # knows it.
            self.register_buffer("handed", torch.zeros((), dtype=torch.bool))

    @property
    def weights(self) -> Mapping[str, float]:
        """The weights of the loss terms: 1 for the generator's, --disc-weight for the discriminator's.

        In variants whose model predicts tokens, both weights are 1.
        """
        model_weight = 1.0 if self.options.predicts_tokens else self.options.disc_weight
        return {"mlm": 1.0, self.model_term: model_weight}

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return pairs of segments, and their collator.

        `max_examples` limits the number of sentences, not of pairs.
        """
        pairs = segment_pairs(
            data, split, self.context, self.options, "electra", max_examples
        )
        return pairs, self.collator()

    def collator(self) -> ElectraCollator:
        """Return the collator, which makes batches of masked segment pairs."""
        return ElectraCollator(
            self.options,
            self.context.framing,
            self.context.dataset_name,
            self.model_term,
        )

    def data_warnings(self, dataset: Dataset) -> list[str]:
        """Return a warning if some layers of the model get no weights from the generator (two-stage).

        In other variants the list is empty.
        """
        if not self.two_stage:
            return []
        # Only names and shapes are compared, so no memory is needed.
        with torch.device("meta"):
            framing = self.context.framing
            vocab = framing.vocab
            model = Transformer(
                self.context.model, vocab.size, framing.languages, vocab.id_ranges
            )
        num_weights = sum(name.startswith("encoder.") for name in model.state_dict())
        num_matching = sum(
            name.startswith("encoder.")
            for name in self.generator.matching_weights(model)
        )
        if num_weights <= num_matching:
            return []
        lacking = f"{num_weights - num_matching} of {num_weights} weights of the model's layers"
        return [
            f"{lacking} have no counterpart in the generator, and start at random: add --generator-size 1"
        ]

    def begin_update(self, model: Transformer, update: int) -> None:
        """Copy the generator's weights to the model, once, after --generator-updates updates (two-stage).

        In other variants nothing is done. `update` is the number of updates made so far.
        """
        if not self.two_stage or self.get_buffer("handed"):
            return
        if update >= (self.options.generator_updates or 0):
            self.generator.copy_to(model)
            self.get_buffer("handed").fill_(True)

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Remove the count of the loss term that is not trained in this stage (two-stage).

        The generator's term is trained in the first stage, the model's in the second. In other variants, and
        in validation, the batch is returned unchanged.
        """
        if not (self.two_stage and self.training):
            return batch
        # A term without a count has no targets, and so no loss.
        term = self.model_term if self.get_buffer("handed") else "mlm"
        return replace(batch, counts={term: batch.counts[term]})

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the summed loss terms of the generator (`mlm`) and of the model.

        A term that the batch has no count for, as in two-stage training, is left out.
        """
        labels = batch.labels["mlm"]
        terms: dict[str, Term] = {}
        # In the second stage of `two-stage` the generator is frozen, so its states need no gradient.
        learns_generator = "mlm" in batch.counts
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns_generator):
            embedding = self.generator.token_embedding(model)
            generator_states = self.generator(model, batch.source)
            if learns_generator and self.baseline is None:
                terms["mlm"] = self.generator.output.loss(
                    generator_states[labels.positions], embedding, labels.ids
                )
        # In the first stage of `two-stage` the model is not trained.
        if self.model_term not in batch.counts:
            return terms
        filled = self._fill(generator_states, embedding, batch)
        filled_source = replace(batch.source, ids=filled.ids.view_as(batch.source.ids))
        states = model.encode(filled_source).hidden.flatten(0, 1)
        if self.detector is not None:
            terms[self.model_term] = self._detection_loss(
                self.detector, states, filled, batch
            )
            if self.baseline is not None:
                # The generator is rewarded where the detector errs.
                rewards = self._detection_errors(self.detector, states, filled)
                terms["mlm"] = self._adversarial_loss(
                    filled, embedding, rewards, generator_states, batch
                )
        elif self.gate is None:
            terms[self.model_term] = self._prediction_loss(model, states, batch)
        else:
            real = batch.labels["real"]
            terms[self.model_term] = self._copy_loss(
                states[real.positions],
                filled.ids[real.positions],
                real.ids,
                model.token_embedding("encoder"),
            )
        return terms

    def _fill(
        self, generator_states: Tensor, embedding: Tensor, batch: Batch
    ) -> FilledText:
        """Return the text of a batch with a sample of the generator at each position that it predicts.

        `generator_states` (B * L, G) are the generator's states, `embedding` (V, E) is its token embedding.
        The samples carry no gradient.
        """
        real = batch.labels["real"]
        # The text is filled once at each position, even if it was drawn several times.
        slots, times = torch.unique(batch.labels["mlm"].positions, return_counts=True)
        # The source contains masks; the labels restore all tokens.
        original_ids = batch.source.ids.flatten().index_copy(
            0, real.positions, real.ids
        )
        slot_states = generator_states[slots]
        sampled = self._sample(slot_states, embedding, batch)
        filled_ids = original_ids.index_copy(0, slots, sampled)
        return FilledText(
            filled_ids, slots, times, sampled, original_ids[slots], slot_states
        )

    @torch.no_grad()
    def _sample(self, states: Tensor, embedding: Tensor, batch: Batch) -> Tensor:
        """Return a token id (S,) for each of the generator's states (S, G), sampled by the Gumbel-max trick.

        In validation the random numbers depend only on the batch's first example.
        """
        logits = (
            self.generator.output.logits(states, embedding) / self.options.temperature
        )
        # Validation has a seed of its own, so that its loss is comparable over time.
        generator = None
        if not self.training:
            seed = int(batch.example_numbers[0])
            generator = torch.Generator(states.device).manual_seed(seed)
        uniform = torch.rand(logits.shape, generator=generator, device=states.device)
        # The bounds keep both logarithms finite.
        gumbel = -torch.log(-torch.log(uniform.clamp_(1e-9, 1 - 1e-7)))
        return (logits + gumbel).argmax(-1)

    def _detection_loss(
        self, detector: Detector, states: Tensor, filled: FilledText, batch: Batch
    ) -> Term:
        """Return the summed binary cross-entropy of detecting which tokens were replaced.

        `states` (B * L, D) are the model's states of the filled text. All tokens count, or with the variant
        electra-15 only the positions that the generator filled.
        """
        positions = batch.labels["real"].positions
        original = batch.labels["real"].ids
        if self.options.variant == "electra-15":
            positions = filled.slots
            original = filled.original
        # A sample that happens to be the original token counts as real (section 2 of the paper).
        is_replaced = (filled.ids[positions] != original).float()
        logits = detector(states[positions])
        loss = F.binary_cross_entropy_with_logits(logits, is_replaced, reduction="sum")
        return Term(loss, loss.detach())

    @torch.no_grad()
    def _detection_errors(
        self, detector: Detector, states: Tensor, filled: FilledText
    ) -> Tensor:
        """Return the detector's binary cross-entropy at each position that the generator filled: (S,)."""
        is_replaced = (filled.sampled != filled.original).float()
        logits = detector(states[filled.slots])
        return F.binary_cross_entropy_with_logits(logits, is_replaced, reduction="none")

    def _adversarial_loss(
        self,
        filled: FilledText,
        embedding: Tensor,
        rewards: Tensor,
        generator_states: Tensor,
        batch: Batch,
    ) -> Term:
        """Return the loss with which the generator learns to mislead the model (adversarial).

        `rewards` (S,) are the detector's losses at the filled positions. The reported value is not this loss,
        but the generator's cross-entropy.
        """
        labels = batch.labels["mlm"]
        # The cross-entropy is only reported, since the generator learns from its rewards.
        with torch.no_grad():
            masked_states = generator_states[labels.positions]
            nll = self.generator.output.loss(masked_states, embedding, labels.ids).nll
        loss = self._reinforce_loss(
            filled.generator_states, filled.sampled, filled.times, rewards, embedding
        )
        return Term(loss, nll)

    def _reinforce_loss(
        self,
        states: Tensor,
        sampled: Tensor,
        times: Tensor,
        rewards: Tensor,
        embedding: Tensor,
    ) -> Tensor:
        """Return the loss of REINFORCE with a learned baseline, -log sigmoid(w h) (appendix F of the paper).

        The baseline learns to predict the reward from the generator's states h; its gradient does not reach
        the generator. A position counts as often as it was drawn.
        """
        assert self.baseline is not None
        # The baseline is -log sigmoid of its logit, so exp(-reward) is what the sigmoid should be.
        logits = self.baseline(states.detach())[:, 0].float()
        baseline_loss = F.binary_cross_entropy_with_logits(
            logits, torch.exp(-rewards), reduction="none"
        )
        advantages = (rewards - F.softplus(-logits)).detach()
        policy_loss = sum_in_chunks(
            self._policy_loss, [states, sampled, times * advantages], embedding
        )
        return (times * baseline_loss).sum() + policy_loss

    def _policy_loss(
        self, states: Tensor, sampled: Tensor, advantages: Tensor, embedding: Tensor
    ) -> Tensor:
        """Return the loss of REINFORCE: log-probabilities of samples times advantages, negated and summed."""
        logits = (
            self.generator.output.logits(states, embedding) / self.options.temperature
        )
        # The gradient of an expected reward is that of the reward times the log-probability of the sample.
        log_probs = logits.log_softmax(-1).gather(1, sampled[:, None])[:, 0]
        return -(advantages * log_probs).sum()

    def _prediction_loss(
        self, model: Transformer, states: Tensor, batch: Batch
    ) -> Term:
        """Return the model's cross-entropy of the tokens that the generator predicts, summed (replace-mlm).

        `states` (B * L, D) are the model's states of the filled text.
        """
        assert self.output is not None
        labels = batch.labels["mlm"]
        return self.output.loss(
            states[labels.positions], model.token_embedding("encoder"), labels.ids
        )

    def _copy_loss(
        self, states: Tensor, seen_ids: Tensor, label_ids: Tensor, embedding: Tensor
    ) -> Term:
        """Return the cross-entropy, summed over all tokens, of a mixture of copying and predicting.

        This is the loss of the variant all-tokens-mlm. With the probability of a learned gate the token that
        the model has read (`seen_ids`) is copied, otherwise one is predicted; `label_ids` are the original
        tokens.
        """
        loss = sum_in_chunks(
            self._mixture_loss, [states, seen_ids, label_ids], embedding
        )
        return Term(loss, loss.detach())

    def _mixture_loss(
        self, states: Tensor, seen_ids: Tensor, label_ids: Tensor, embedding: Tensor
    ) -> Tensor:
        """Return the negative log-likelihood of labels under a mixture of copying and predicting, summed."""
        assert self.output is not None and self.gate is not None
        gate_logits = self.gate(states)[:, 0].float()
        log_probs = (
            self.output.logits(states, embedding)
            .log_softmax(-1)
            .gather(1, label_ids[:, None])[:, 0]
        )
        # Sums of probabilities are formed as logarithms, so that none underflows.
        log_predicted = F.logsigmoid(-gate_logits) + log_probs
        # Copying gives the right token only where the input shows it.
        log_mixture = torch.logaddexp(F.logsigmoid(gate_logits), log_predicted)
        return -torch.where(seen_ids == label_ids, log_mixture, log_predicted).sum()


def sum_in_chunks(
    loss: Callable[..., Tensor], tensors: Sequence[Tensor], embedding: Tensor
) -> Tensor:
    """Return the sum of `loss` over chunks of rows, so that the logits of few rows are held in memory.

    `tensors` have one row for each token. `loss` is called with a chunk of the rows of each of them and with
    `embedding`, and returns the sum over the chunk. In the backward pass it is computed again.
    """
    parts = []
    for start in range(0, len(tensors[0]), CHUNK_SIZE):
        chunk = [tensor[start : start + CHUNK_SIZE] for tensor in tensors]
        parts.append(checkpoint(loss, *chunk, embedding, use_reentrant=False))
    if not parts:
        return tensors[0].new_zeros(()).float()
    return torch.stack(parts).sum()

"""ELECTRA's generator: what it shares with the model, and the two other ways to train it (Clark et al. 2020, 3.2, 3.3, appendix F)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Labels
from masscli.models.transformer import Transformer, count_parameters
from masscli.objectives.electra.objective import Electra
from masscli.training.events import Evaluated, Stepped
from masscli.training.recipe import Recipe
from masscli.training.setup.build import build
from masscli.training.setup.compose import compose
from masscli.training.setup.request import TrainRequest
from masscli.training.trainer import Trainer
from tests.objectives.test_pretraining import (
    SHAPE,
    VOCAB,
    make_batch,
    make_model,
    make_objective,
)
from tests.toy import recipe
from tests.training.test_trainer import same_run


def electra(**options: Any) -> Electra:
    objective = make_objective(
        "electra", **{"mask_prob": 0.3, "generator_size": 1.0, **options}
    )
    assert isinstance(objective, Electra)
    return objective


# -- what is shared ------------------------------------------------------------------------------------------------------------------------


def test_ties_are_none_the_embeddings_or_all_but_the_output() -> None:
    """The ties show in the gradients that the generator's loss gives the model, and in the parameters of the
    objective."""
    dim, ffn, size = SHAPE["dim"], SHAPE["ffn_dim"], VOCAB.size
    output = dim * dim + dim + 2 * dim + size
    layers = (
        2 * (4 * (dim * dim + dim) + 2 * dim + 2 * dim * ffn + ffn + dim + 2 * dim)
        + 2 * dim
    )
    own = {
        "none": output + layers + (size + 2 + 2) * dim,
        "embeddings": output + layers,
        "all": output,
    }  # tokens, languages, segments
    for ties, count in own.items():
        objective = electra(generator_ties=ties)
        model = make_model(objective)
        assert count_parameters(objective.generator) == count
        torch.autograd.backward(
            objective(model, make_batch(objective, (20, 18)))["mlm"].loss
        )
        taught = {
            name.split(".")[0]
            for name, p in model.named_parameters()
            if p.grad is not None
        }
        assert (
            taught
            == {
                "none": set(),
                "embeddings": {"token_embeddings", "embeddings"},
                "all": {"token_embeddings", "embeddings", "encoder"},
            }[ties]
        )
        assert all(p.grad is not None for p in objective.generator.parameters())


def test_a_generator_of_its_own_reads_as_one_that_shares_the_same_embeddings() -> None:
    apart, tied = electra(generator_ties="none"), electra(generator_ties="embeddings")
    model = make_model(apart)
    copied = {
        name: value
        for name, value in apart.generator.state_dict().items()
        if name.split(".")[0] in ("stack", "output")
    }
    tied.generator.load_state_dict(copied)
    apart.generator.copy_to(model)
    source = make_batch(apart, (20, 18)).source
    assert torch.equal(apart.generator(model, source), tied.generator(model, source))
    assert torch.equal(
        apart.generator(model, source), model.encode(source).hidden.flatten(0, 1)
    )


# -- adversarial ---------------------------------------------------------------------------------------------------------------------------


def test_the_generator_climbs_the_loss_of_the_discriminator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With one position, drawn twice, the mean of the REINFORCE gradient over all samples is the gradient of the
    mean reward, whatever the baseline."""
    objective = electra(variant="adversarial", temperature=0.7, generator_ties="none")
    model = make_model(objective)
    assert objective.baseline is not None and objective.detector is not None
    with torch.no_grad():
        for p in [*objective.parameters(), *model.parameters()]:
            p.add_(0.3 * torch.randn_like(p))
    found = make_batch(objective, (12, 9))
    slot = found.labels["mlm"].positions[:1]
    labels = {
        **found.labels,
        "mlm": Labels(found.labels["mlm"].ids[:1].repeat(2), slot.repeat(2)),
    }
    found = Batch(
        found.source,
        None,
        labels,
        {"mlm": 2.0, "rtd": found.counts["rtd"]},
        found.example_numbers,
    )
    parameters = list(objective.generator.parameters())
    policy = (
        objective.generator.output.logits(
            objective.generator(model, found.source)[slot],
            objective.generator.token_embedding(model),
        )
        / 0.7
    ).softmax(-1)[0]
    plain = torch.nn.functional.binary_cross_entropy_with_logits
    rewards, steps = torch.zeros(VOCAB.size), [torch.zeros_like(p) for p in parameters]
    for drawn in range(VOCAB.size):
        seen: list[Tensor] = []

        def spy(
            logits: Tensor, wanted: Tensor, reduction: str, seen: list[Tensor] = seen
        ) -> Tensor:
            seen.append(plain(logits, wanted, reduction="none").detach())
            return plain(logits, wanted, reduction=reduction)

        monkeypatch.setattr(
            "masscli.objectives.electra.objective.F.binary_cross_entropy_with_logits",
            spy,
        )
        monkeypatch.setattr(
            objective,
            "_sample",
            lambda states, table, batch, drawn=drawn: torch.tensor([drawn]),
        )
        term = objective(model, found)["mlm"]
        where = found.labels["real"].positions.tolist().index(int(slot))
        rewards[drawn] = seen[0][
            where
        ]  # what the discriminator loses at the slot, of all places where it is asked
        gradients = torch.autograd.grad(term.loss, parameters, allow_unused=True)
        for step, gradient in zip(steps, gradients, strict=True):
            step += policy[drawn].detach() * (gradient if gradient is not None else 0)
    wanted = torch.autograd.grad(-2 * (policy * rewards).sum(), parameters)
    assert rewards.std() > 0.05
    for found_step, exact in zip(steps, wanted, strict=True):
        assert torch.allclose(found_step, exact, atol=1e-5, rtol=1e-3)


def test_the_baseline_predicts_the_reward() -> None:
    """The baseline's loss is lowest where its -log sigmoid is the reward, and only the baseline gets a gradient
    from it."""
    objective = electra(variant="adversarial")
    assert objective.baseline is not None
    states, drawn, times = (
        torch.randn(1, 16, requires_grad=True),
        torch.tensor([11]),
        torch.ones(1),
    )
    table = make_model(objective).token_embedding("encoder")
    reward = -torch.nn.functional.logsigmoid(objective.baseline(states)[:, 0]).detach()
    loss = objective._reinforce_loss(states, drawn, times, reward, table)
    right = torch.autograd.grad(loss, [*objective.baseline.parameters(), states])
    assert all(
        float(g.abs().max()) < 1e-6 for g in right
    )  # nothing is gained over what was foreseen either
    loss = objective._reinforce_loss(states, drawn, times, reward + 1, table)
    wrong = torch.autograd.grad(loss, [objective.baseline.bias, states])
    assert float(wrong[0]) > 0.01  # foresee more: a smaller sigmoid
    assert float(wrong[1].abs().max()) > 0


def test_an_adversarial_generator_is_measured_as_a_masked_language_model_but_trained_otherwise() -> (
    None
):
    """The losses that are reported are those of the method; the discriminator's gradient is the same."""
    plain, other = electra().eval(), electra(variant="adversarial").eval()
    other.load_state_dict(plain.state_dict(), strict=False)
    model = make_model(plain)
    batch = make_batch(plain, (20, 18), (10, 4))
    a, b = plain(model, batch), other(model, batch)
    assert {t: float(x.nll) for t, x in a.items()} == pytest.approx(
        {t: float(x.nll) for t, x in b.items()}
    )
    weights = [*model.encoder.parameters()]  # type: ignore[union-attr]
    for x, y in zip(
        *(
            torch.autograd.grad(t["rtd"].loss, weights, retain_graph=True)
            for t in (a, b)
        ),
        strict=True,
    ):
        assert torch.allclose(x, y)
    own = list(other.generator.parameters())
    assert all(
        g is None
        for g in torch.autograd.grad(
            b["rtd"].loss, own, allow_unused=True, retain_graph=True
        )
    )
    assert other.detector is not None
    judging = [*weights, *other.detector.parameters()]
    assert all(
        g is None
        for g in torch.autograd.grad(b["mlm"].loss, judging, allow_unused=True)
    )


def test_an_adversary_learns_to_mislead() -> None:
    """Against a discriminator that stands still, which believes in ten words: it comes to write them."""
    objective = electra(variant="adversarial", mask_keep=0.0, sampling="without")
    model = make_model(objective)
    believed = torch.arange(20, 30)
    assert objective.detector is not None
    batch, written = make_batch(objective, (20, 18), (15, 20), (22, 16)), []
    objective.detector.forward = lambda hidden: shown_is_believed(hidden)  # type: ignore[method-assign]
    ids: list[Tensor] = []
    model.embeddings["encoder"].register_forward_pre_hook(
        lambda module, inputs: ids.append(inputs[0].ids.flatten())
    )
    model.encoder.register_forward_hook(
        lambda module, inputs, out: out + ids[-1].view(3, -1, 1)
    )  # type: ignore[union-attr]

    def shown_is_believed(hidden: Tensor) -> Tensor:
        """Logits of `replaced`, from ids that were smuggled into the states."""
        shown = hidden.mean(-1).round().long()
        return torch.where(torch.isin(shown, believed), -3.0, 3.0)

    optimizer = torch.optim.Adam(objective.generator.parameters(), 0.02)
    for _ in range(60):
        terms = objective(model, batch)
        slots = torch.unique(batch.labels["mlm"].positions)
        written.append(float(torch.isin(ids[-1][slots], believed).float().mean()))
        optimizer.zero_grad()
        torch.autograd.backward(terms["mlm"].loss / len(slots))
        optimizer.step()
    assert np.mean(written[:5]) < 0.4 and np.mean(written[-5:]) > 0.8


# -- two stages ----------------------------------------------------------------------------------------------------------------------------

STAGES = {"one": {"dataset": "en", "objective": {
    "name": "electra", "variant": "two-stage", "generator_updates": 4, "generator_size": 1.0, "tokens_per_sample": 24}}}  # fmt: skip


def run(
    toy: Path, folder: Path, last: int, *changes: str, streams: Any = STAGES
) -> Trainer:
    encoder = (
        "model.decoder_layers=0",
        "model.segments=2",
        "model.max_positions=64",
        "train.max_tokens=200",
    )
    return build(
        recipe(
            toy, folder, f"train.max_update={last}", *encoder, *changes, streams=streams
        )
    )[0]


def weights(
    trainer: Trainer,
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Of the model, the generator and the detector."""
    objective = trainer.streams["one"].objective
    assert isinstance(objective, Electra) and objective.detector is not None
    parts = (trainer.model, objective.generator, objective.detector)
    return tuple(
        {n: p.detach().clone() for n, p in part.named_parameters()} for part in parts
    )  # type: ignore[return-value]


def handed_over(trainer: Trainer) -> list[dict[str, Tensor]]:
    """The model's weights after each time that a generator has handed over its own."""
    objective, found = trainer.streams["one"].objective, list[dict[str, Tensor]]()
    assert isinstance(objective, Electra)
    original = objective.generator.copy_to

    def hand_over(model: Transformer) -> None:
        original(model)
        found.append(weights(trainer)[0])

    objective.generator.copy_to = hand_over  # type: ignore[method-assign]
    return found


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[bool]:
    return [torch.equal(value, b[name]) for name, value in a.items()]


@pytest.mark.usefixtures("no_sync", "one_thread")
def test_the_generator_is_trained_first_and_initializes_the_discriminator(
    toy: Path, tmp_path: Path
) -> None:
    trainer = run(toy, tmp_path, 9, "optim.weight_decay=0.1")
    before, at, losses = weights(trainer), {}, {}
    begun = handed_over(trainer)
    for event in trainer.run():
        if isinstance(event, Stepped):
            at[event.step], losses[event.step] = weights(trainer), set(event.losses)
        if isinstance(event, Evaluated):
            assert {"one.mlm.loss", "one.rtd.loss"} <= set(event.metrics)
    assert [losses[step] for step in range(1, 5)] == [{"one.mlm"}] * 4
    assert [losses[step] for step in range(5, 10)] == [{"one.rtd"}] * 5
    model, generator, detector = at[4]
    assert all(same(model, before[0])) and all(same(detector, before[2]))
    assert not any(same(generator, before[1]))
    # The discriminator begins with the generator's weights.
    [began] = begun
    for name, value in generator.items():
        part, _, rest = name.partition(".")
        place = {
            "table": "token_embeddings.shared",
            "embedding": f"embeddings.encoder.{rest}",
            "stack": f"encoder.{rest}",
        }.get(part)
        assert place is None or torch.equal(began[place], value)
    for step in range(5, 10):
        assert all(same(at[step][1], generator))
    for name, value in at[9][0].items():
        if name.startswith(("encoder", "token_embeddings")):
            assert not torch.equal(value, began[name])


@pytest.mark.usefixtures("no_sync", "one_thread")
@pytest.mark.parametrize("stops", [(4,), (2, 6)], ids=str)
def test_a_resumed_run_of_two_stages_equals_an_uninterrupted_one(
    stops: tuple[int, ...], toy: Path, tmp_path: Path
) -> None:
    for stop in (*stops, 8):
        broken = run(toy, tmp_path / "parts", stop)
        list(broken.run())
    unbroken = run(toy, tmp_path / "whole", 8)
    list(unbroken.run())
    assert same_run(tmp_path / "parts", tmp_path / "whole")
    assert all(
        all(same(a, b)) for a, b in zip(weights(broken), weights(unbroken), strict=True)
    )


@pytest.mark.usefixtures("no_sync", "one_thread")
def test_a_reused_draw_is_learned_in_one_stage(toy: Path, tmp_path: Path) -> None:
    """With three updates per draw, the generator is trained until the draw that it started is used up."""
    trainer = run(toy, tmp_path, 9, "train.batch_reuse=3")
    begun = handed_over(trainer)
    seen = {e.step: set(e.losses) for e in trainer.run() if isinstance(e, Stepped)}
    assert seen == {
        step: {"one.mlm"} if step <= 6 else {"one.rtd"} for step in range(1, 10)
    }
    [began] = begun
    assert torch.equal(
        began["token_embeddings.shared"], weights(trainer)[1]["table"]
    )  # what was handed over was learned to the end


@pytest.mark.usefixtures("no_sync", "one_thread")
def test_a_discriminator_of_another_size_takes_what_fits_and_says_what_does_not(
    toy: Path, tmp_path: Path
) -> None:
    streams = {
        "one": {
            **STAGES["one"],
            "objective": {**STAGES["one"]["objective"], "generator_size": 0.5},
        }
    }
    trainer, notes = build(
        recipe(
            toy, tmp_path, "model.decoder_layers=0", "model.segments=2", streams=streams
        )
    )
    objective = trainer.streams["one"].objective
    layers = len(
        [n for n, _ in trainer.model.named_parameters() if n.startswith("encoder.")]
    )
    message = f"one: {layers} of {layers} weights of the model's layers have no counterpart in the generator, and start at random"
    assert f"{message}: add --generator-size 1" in notes
    before = weights(trainer)
    assert isinstance(objective, Electra)
    objective.generator.copy_to(trainer.model)
    taken = {
        n.split(".")[0]
        for n, equal in zip(
            before[0], same(before[0], weights(trainer)[0]), strict=True
        )
        if not equal
    }
    assert taken == {"token_embeddings", "embeddings"}
    assert not any(
        "no like" in note
        for note in build(
            recipe(toy, tmp_path / "alike", "model.decoder_layers=0", streams=STAGES)
        )[1]
    )


def test_two_stages_are_those_of_one_stream(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MasscliError, match=r"^stream en: must be the only stream, but there are 2$"
    ):
        run(
            toy,
            tmp_path,
            3,
            streams={text: {**STAGES["one"], "dataset": text} for text in ("en", "de")},
        )


def test_a_run_whose_model_would_not_be_trained_is_refused(
    toy: Path, tmp_path: Path
) -> None:
    two = {
        "dataset": "en",
        "objective": {
            "name": "electra",
            "variant": "two-stage",
            "generator_updates": 4,
        },
    }

    def composed(last: int, **more: str) -> Recipe:
        raw = {"data": str(toy), "train": {"max_update": last}, **more}
        return compose(
            TrainRequest(recipe_options=raw, stream_tables={"one": two})
        ).recipe

    with pytest.raises(
        MasscliError,
        match=r"^--max-update 4: the model learns nothing before update 5$",
    ):
        composed(4)
    assert composed(5).train.max_update == 5
    one = {"one": {"dataset": "en", "objective": {"name": "mlm"}}}
    list(
        build(
            recipe(
                toy,
                tmp_path,
                "train.max_update=1",
                "model.decoder_layers=0",
                "model.segments=2",
                streams=one,
            )
        )[0].run()
    )
    with pytest.raises(MasscliError) as error:
        composed(5, init_from=str(tmp_path))
    message = f"--init-from {tmp_path}: its weights would be replaced at update 4"
    assert (error.value.message, error.value.hint) == (
        message,
        "leave it out, or choose another --variant",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator_ties": "all", "generator_size": 0.5}, "generator_ties: all needs --generator-size 1, got 0.5"),
        ({"variant": "two-stage"}, "variant: two-stage needs --generator-updates above 0, got None"),
        ({"generator_updates": 5}, "generator_updates: belongs to --variant two-stage"),
        ({"variant": "two-stage", "generator_updates": 5, "generator_ties": "embeddings"},
         "generator_ties: two-stage ties nothing: its generator is frozen while the model learns"),
    ],
)  # fmt: skip
def test_options_that_contradict_each_other(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        electra(**options)
    assert str(caught.value) == message

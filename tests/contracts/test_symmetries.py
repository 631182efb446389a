"""What the scores of GPT, BERT and their tasks may not depend on; random weights, no data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from masscli.data.batches.batch import Tokens
from masscli.data.batches.dataset import Example
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.labeled.choose import Choose
from masscli.objectives.labeled.classify import Classify
from masscli.objectives.labeled.options import ChooseOptions, ClassifyOptions
from masscli.objectives.objective import ObjectiveContext
from tests.objectives.test_pretraining import FRAMING, STACKS, VOCAB, words
from tests.objectives.unilm.test_unilm import reach

LONE = replace(FRAMING, languages=())


def sized(stack: str) -> ModelConfig:
    shape: dict[str, Any] = {
        "dim": 16,
        "ffn_dim": 24,
        "heads": 2,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "dropout": 0.0,
        "segments": 2,
    }
    return ModelConfig(**(shape | STACKS[stack] | {"languages": "none"}))


def model(stack: str) -> Transformer:
    torch.manual_seed(3)
    made = Transformer(sized(stack), VOCAB.size, ())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def classifier(stack: str, **options: Any) -> Classify:
    torch.manual_seed(4)
    columns = {"labels": ("no", "yes"), "text_columns": ("a", "b"), "head_dropout": 0.0}
    return Classify(
        ClassifyOptions(**(columns | options)),
        ObjectiveContext(LONE, sized(stack), "table"),
    )


def texts(*pairs: tuple[Sequence[int], Sequence[int]]) -> list[Example]:
    return [
        Example(row, (np.array(a), np.array(b), np.array([row % 2])))
        for row, (a, b) in enumerate(pairs)
    ]


RAGGED = texts(
    (words(1, 7), words(2, 2)), (words(3, 1), words(4, 3)), (words(5, 4), words(6, 9))
)


# -- GPT -----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 3])
def test_a_language_model_reads_from_left_to_right(layers: int) -> None:
    deep = Transformer(replace(sized("decoder"), decoder_layers=layers), VOCAB.size, ())
    for t in range(6):
        assert reach(
            deep, Tokens(torch.tensor([words(1, 6)]), torch.tensor([6])), t
        ) == set(range(t + 1))


def test_the_worked_string_of_gpt() -> None:
    """Start a b $ c d e: 7 tokens, the state is that of e, the language model writes all but the first."""
    task = classifier("decoder", lm_weight=0.5)
    batch = task.collator()(texts(([10, 11], [12, 13])), [])
    sequence = [VOCAB.bos, 10, 11, VOCAB.sep, 12, 13, VOCAB.cls]
    assert batch.source.ids.tolist() == [sequence]
    assert (batch.source.segments is None) or not bool(batch.source.segments.any())
    assert batch.labels["lm"].ids.tolist() == sequence[1:]
    assert batch.labels["lm"].positions.tolist() == [0, 1, 2, 3, 4, 5]
    states = torch.randn(1, 7, 16)
    assert torch.equal(
        task.reader.sequence_state(model("decoder"), batch, states), states[:, 6]
    )


def test_without_a_weight_there_is_no_language_model() -> None:
    """Equation 5 with lambda 0 is the task alone; its own loss is the same with any other lambda."""
    network, alone, beside = (
        model("decoder"),
        classifier("decoder"),
        classifier("decoder", lm_weight=0.5),
    )
    losses = [task(network, task.collator()(RAGGED, [])) for task in (alone, beside)]
    assert (alone.weights, set(losses[0])) == ({"classify": 1.0}, {"classify"})
    assert (beside.weights, set(losses[1])) == (
        {"classify": 1.0, "lm": 0.5},
        {"classify", "lm"},
    )
    assert torch.equal(losses[0]["classify"].loss, losses[1]["classify"].loss)


@torch.no_grad()
def test_padding_is_in_no_loss_of_the_language_model() -> None:
    network, task = model("decoder"), classifier("decoder", lm_weight=0.5)
    batch = task.collator()(RAGGED, [])
    padding = torch.arange(batch.source.ids.shape[1]) >= batch.source.lengths[:, None]
    junk = replace(
        batch,
        source=replace(batch.source, ids=torch.where(padding, 33, batch.source.ids)),
    )
    alone = [
        float(task(network, task.collator()([example], []))["lm"].loss)
        for example in RAGGED
    ]
    assert float(task(network, batch)["lm"].loss) == pytest.approx(sum(alone), rel=1e-5)
    assert float(task(network, junk)["lm"].loss) == pytest.approx(sum(alone), rel=1e-5)


# -- tasks on either stack -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "pair_format"),
    [("decoder", "gpt"), ("encoder", "bert"), ("encoder", "roberta")],
)
def test_padding_is_in_no_score(stack: str, pair_format: str) -> None:
    network, task = model(stack), classifier(stack, pair_format=pair_format)
    together, _ = task.scores(network, task.collator()(RAGGED, []))
    alone = [
        task.scores(network, task.collator()([example], []))[0] for example in RAGGED
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("stack", ["decoder", "encoder"])
def test_only_a_model_that_reads_both_orders_is_independent_of_the_order(
    stack: str,
) -> None:
    network, turned = (
        model(stack),
        [e._replace(fields=(e.fields[1], e.fields[0], e.fields[2])) for e in RAGGED],
    )
    for both in (True, False):
        task = classifier(stack, both_orders=both)
        scores = [
            task.scores(network, task.collator()(examples, []))[0]
            for examples in (RAGGED, turned)
        ]
        assert torch.allclose(*scores, atol=1e-5) is both


@torch.no_grad()
@pytest.mark.parametrize("stack", ["decoder", "encoder"])
def test_choices_in_another_order_have_the_same_scores_in_that_order(
    stack: str,
) -> None:
    """Two questions have three and two choices; the loss is the same if the labels are permuted, too."""
    network, task = (
        model(stack),
        Choose(
            ChooseOptions(head_dropout=0.0),
            ObjectiveContext(LONE, sized(stack), "table"),
        ),
    )
    contexts, choices, right = (
        [words(1, 6), words(2, 3)],
        [[words(3, 2), words(4, 5), words(5, 1)], [words(6, 4), words(7, 2)]],
        [1, 0],
    )
    orders = [[2, 0, 1], [1, 0]]

    def ask(orders: Sequence[Sequence[int]]) -> Any:
        examples = []
        for row, order in enumerate(orders):
            fields = [
                np.array(x) for n in order for x in (contexts[row], choices[row][n])
            ]
            examples.append(
                Example(row, (*fields, np.array([order.index(right[row])])))
            )
        return task.collator()(examples, [])

    first, moved = ask([[0, 1, 2], [0, 1]]), ask(orders)
    for before, after, order in zip(
        task.scores(network, first)[0],
        task.scores(network, moved)[0],
        orders,
        strict=True,
    ):
        assert torch.allclose(before[order], after, atol=1e-5)
        assert before.unique().numel() == len(order)
    assert float(task(network, moved)["choose"].loss) == pytest.approx(
        float(task(network, first)["choose"].loss), rel=1e-5
    )


@torch.no_grad()
def test_the_language_model_of_choices_is_that_of_each_of_their_sequences() -> None:
    """L1 of equation 5: each sequence read alone, token after token; a mean over its tokens; summed over all of them."""
    network, context = (
        model("decoder"),
        ObjectiveContext(LONE, sized("decoder"), "table"),
    )
    alone, beside = (
        Choose(ChooseOptions(head_dropout=0.0, lm_weight=weight), context)
        for weight in (0.0, 0.5)
    )
    beside.load_state_dict(alone.state_dict())
    contexts, choices = (
        [words(1, 6), words(2, 3)],
        [[words(3, 2), words(4, 5), words(5, 1)], [words(6, 4), words(7, 2)]],
    )
    examples, expected = [], 0.0
    for row, (context, options) in enumerate(zip(contexts, choices, strict=True)):
        examples.append(
            Example(
                row,
                (
                    *(np.array(x) for option in options for x in (context, option)),
                    np.array([1]),
                ),
            )
        )
        for option in options:
            ids = [VOCAB.bos, *context, VOCAB.sep, *option, VOCAB.cls]
            losses = []
            for t in range(1, len(ids)):
                last = network.decode(
                    Tokens(torch.tensor([ids[:t]]), torch.tensor([t])), None
                )[0, -1]
                losses.append(
                    -float(torch.log_softmax(network.logits(last), -1)[ids[t]])
                )
            expected += sum(losses) / len(losses)
    batch = beside.collator()(examples, [])
    found, plain = (
        beside(network, batch),
        alone(network, alone.collator()(examples, [])),
    )
    assert (
        float(found["lm"].loss) == pytest.approx(expected, rel=1e-5)
        and found["lm"].nll == found["lm"].loss
    )
    assert batch.counts == {"choose": 2.0, "lm": 5.0}
    assert (beside.weights, alone.weights, set(plain)) == (
        {"choose": 1.0, "lm": 0.5},
        {"choose": 1.0},
        {"choose"},
    )
    assert torch.equal(found["choose"].loss, plain["choose"].loss)

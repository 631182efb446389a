"""Random streams: each purpose has numbers of its own, which never change."""

from __future__ import annotations

import numpy as np

from masscli.core.rng import Purpose, example_generator, make_generator


def test_the_numbers_of_a_purpose_never_change() -> None:
    """A generator is Philox with the purpose and the indices as counter, and the seed and the stream as key."""
    for number, purpose in enumerate(Purpose):
        expected = np.random.Generator(
            np.random.Philox(counter=[0, number, 11, 5], key=[3, 0])
        )
        assert (
            make_generator(3, purpose, 11, 5).random(4).tolist()
            == expected.random(4).tolist()
        )


def test_the_noise_of_an_example_depends_on_seed_stream_epoch_and_example() -> None:
    keys = [
        (1, "en", 0, 0),
        (2, "en", 0, 0),
        (1, "de", 0, 0),
        (1, "en", 1, 0),
        (1, "en", 0, 1),
    ]
    draws = {tuple(example_generator(*key).random(4).tolist()) for key in keys}
    assert len(draws) == len(keys)
    assert tuple(example_generator(*keys[0]).random(4).tolist()) in draws


def test_no_two_purposes_share_numbers() -> None:
    draws = {
        tuple(make_generator(1, purpose, 0).random(4).tolist()) for purpose in Purpose
    }
    assert len(draws) == len(Purpose)

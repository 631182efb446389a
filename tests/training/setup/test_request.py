"""Tests of how the items of --auxiliary are read."""

import pytest

from masscli.core.errors import MasscliError
from masscli.training.setup.request import AuxiliaryObjective, parse_weighted


def test_a_schedule_keeps_its_commas():
    parsed = parse_weighted(["denoise=0:1", "100:0.1", "mlm"])
    assert parsed == [
        AuxiliaryObjective("denoise", None, "0:1,100:0.1"),
        AuxiliaryObjective("mlm", None, "1"),
    ]


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        (["denoise=0:1", "0:2"], "updates must rise from 0"),
        (["denoise=-1"], "must not be negative"),
        (["denoise=often"], "expected a number"),
        (["denoise=nan"], "expected finite numbers"),
    ],
)
def test_a_wrong_weight_names_the_flag_and_the_objective(items, problem):
    with pytest.raises(MasscliError, match=problem) as caught:
        parse_weighted(items)
    assert str(caught.value).startswith(f"--auxiliary {','.join(items)}")
    assert "0:1,1000:0.1" in caught.value.hint

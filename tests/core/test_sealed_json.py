"""JSON objects with a checksum of their own content."""

from __future__ import annotations

import json

import pytest

from masscli.core.sealed_json import SealError, seal, unseal


def test_order_of_keys_and_white_space_do_not_matter() -> None:
    content = {"b": 1, "a": [None, "é", 0.5]}
    sealed = json.loads(json.dumps(seal(content), indent=3, sort_keys=True))
    assert unseal(sealed) == content


def test_only_objects_are_sealed() -> None:
    with pytest.raises(SealError):
        unseal([1])


@pytest.mark.parametrize("change", [{"a": 2}, {"b": 1}, {"checksum": ""}, {"a": "1"}])
def test_a_change_is_noticed(change: dict[str, object]) -> None:
    with pytest.raises(SealError):
        unseal({**seal({"a": 1}), **change})

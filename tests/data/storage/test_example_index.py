"""An index is made once, and made again if its file is not whole; without a place for a file it is kept in memory."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from masscli.data.storage.example_index import ExampleIndex, open_index

ROWS = np.arange(30).reshape(10, 3) - 7
DTYPE = np.dtype("<i4")


class Maker:
    """Makes ROWS in parts, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Iterator[NDArray[np.int64]]:
        self.calls += 1
        yield ROWS[:4]
        yield ROWS[4:4]
        yield ROWS[4:]


def check(index: ExampleIndex) -> None:
    assert len(index) == len(ROWS)
    assert np.array_equal(index.rows(0, len(ROWS)), ROWS)
    assert np.array_equal(index.rows(2, 5), ROWS[2:5])
    assert np.array_equal(index[7], ROWS[7])


def test_the_file_is_made_once(tmp_path: Path) -> None:
    make = Maker()
    for _ in range(3):
        check(open_index(tmp_path, "x", 3, DTYPE, make))
    assert make.calls == 1
    assert [path.name for path in tmp_path.iterdir()] == [".x"]


@pytest.mark.parametrize("size", [0, 1, 12, 60, 135])
def test_an_incomplete_file_is_made_again(tmp_path: Path, size: int) -> None:
    make = Maker()
    open_index(tmp_path, "x", 3, DTYPE, make)
    content = (tmp_path / ".x").read_bytes()
    for damaged in (content[:size], content[size:] if size else b"", content * 2):
        (tmp_path / ".x").write_bytes(damaged)
        before = make.calls
        check(open_index(tmp_path, "x", 3, DTYPE, make))
        assert make.calls == before + 1
        assert (tmp_path / ".x").read_bytes() == content


def test_an_index_without_rows_is_stored_as_well(tmp_path: Path) -> None:
    for make in (lambda: [ROWS[:0]], lambda: pytest.fail("made again")):
        assert len(open_index(tmp_path, "x", 3, DTYPE, make)) == 0


def test_a_copy_for_another_process_does_not_hold_the_rows(tmp_path: Path) -> None:
    def make() -> Iterator[NDArray[np.int64]]:
        yield np.arange(3_000_000).reshape(-1, 3)

    stored = pickle.dumps(open_index(tmp_path, "x", 3, DTYPE, make))
    assert len(stored) < 1_000
    assert pickle.loads(stored)[999].tolist() == [2997, 2998, 2999]
    check(pickle.loads(pickle.dumps(open_index(None, "x", 3, DTYPE, Maker()))))


def test_the_cache_of_the_user_is_the_second_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data" / ".x").mkdir(parents=True)  # no file can take its place
    make = Maker()
    for _ in range(2):
        check(open_index(tmp_path / "data", "x", 3, DTYPE, make))
    assert (tmp_path / "cache" / "masscli" / "x").is_file()


def test_without_any_place_it_is_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "data" / ".x").mkdir(parents=True)
    check(open_index(tmp_path / "data", "x", 3, DTYPE, Maker()))
    check(open_index(None, "x", 3, DTYPE, Maker()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "file"]

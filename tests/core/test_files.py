"""Files that appear all at once, links, checksums and locks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from masscli.core.files import acquire_lock, open_atomic, sha256_of, update_link, write_atomic


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with open_atomic(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomic(path, b"old")
    with pytest.raises(RuntimeError), open_atomic(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_made_and_changed(tmp_path: Path) -> None:
    for target in ("a", "b"):
        update_link(tmp_path / "link", target)
        assert (tmp_path / "link").readlink() == Path(target)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_the_checksum_is_that_of_the_contents(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_of(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_a_lock_is_held_until_its_file_is_closed(tmp_path: Path) -> None:
    lock = acquire_lock(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        acquire_lock(tmp_path / "lock")
    lock.close()
    with acquire_lock(tmp_path / "lock"):
        pass

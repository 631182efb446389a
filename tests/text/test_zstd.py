"""Text that is compressed with zstd is read as any other, and damage in it is named."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest

from masscli.core.errors import MasscliError
from masscli.text.corpus import iter_lines, scan_file

LINES = [f"line {number} ü" for number in range(50_000)]
TEXT = "".join(f"{line}\n" for line in LINES).encode()


def test_without_the_package_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (tmp_path / "a.zst").write_bytes(b"")
    with pytest.raises(MasscliError) as caught:
        list(iter_lines(tmp_path / "a.zst"))
    assert caught.value.message == f"{tmp_path / 'a.zst'}: reading .zst needs the package zstandard"
    assert caught.value.hint == "pip install 'masscli[zstd]'"


def test_all_frames_are_read(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    middle = TEXT.index(b"line 30000")
    frames = [zstandard.ZstdCompressor().compress(part) for part in (TEXT[:middle], b"", TEXT[middle:])]
    (tmp_path / "a.zst").write_bytes(b"".join(frames))
    (tmp_path / "a.gz").write_bytes(gzip.compress(TEXT))
    assert list(iter_lines(tmp_path / "a.zst")) == LINES
    scans = [scan_file(tmp_path / name) for name in ("a.zst", "a.gz")]
    assert scans[0].lines == scans[1].lines == len(LINES)
    assert scans[0].offsets.tolist() == scans[1].offsets.tolist()


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.9, 0.99999])
def test_a_file_that_ends_too_early_is_named(tmp_path: Path, share: float) -> None:
    """The reader of the package itself takes the end of the file for the end of the text."""
    zstandard = pytest.importorskip("zstandard")
    compressed = zstandard.ZstdCompressor().compress(TEXT)
    (tmp_path / "a.zst").write_bytes(compressed[: max(1, int(share * len(compressed)))])
    with pytest.raises(MasscliError, match=r"a\.zst: not a whole zstd file"):
        list(iter_lines(tmp_path / "a.zst"))


def test_what_is_not_zstd_is_named(tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    (tmp_path / "a.zst").write_bytes(TEXT)
    with pytest.raises(MasscliError, match=r"a\.zst: not a whole zstd file"):
        list(iter_lines(tmp_path / "a.zst"))

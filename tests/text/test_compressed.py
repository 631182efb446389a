"""Text that is compressed with zstd or xz is read as any other, and damage in it is named."""

from __future__ import annotations

import gzip
import lzma
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
    assert (
        caught.value.message
        == f"{tmp_path / 'a.zst'}: reading .zst needs the package zstandard"
    )
    assert caught.value.hint == "pip install 'masscli[zstd]'"


def test_all_frames_are_read(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    middle = TEXT.index(b"line 30000")
    frames = [
        zstandard.ZstdCompressor().compress(part)
        for part in (TEXT[:middle], b"", TEXT[middle:])
    ]
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


def test_files_that_are_not_zstd_are_named(tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    (tmp_path / "a.zst").write_bytes(TEXT)
    with pytest.raises(MasscliError, match=r"a\.zst: not a whole zstd file"):
        list(iter_lines(tmp_path / "a.zst"))


@pytest.mark.parametrize(
    "padding",
    [b"", bytes(4), bytes(1 << 24)],
    ids=["none", "four zeros", "16 MiB of zeros"],
)
def test_zeros_may_follow_each_stream_of_xz(tmp_path: Path, padding: bytes) -> None:
    """Python's own reader takes minutes for so many zeros."""
    middle = TEXT.index(b"line 30000")
    streams = [
        lzma.compress(part) + padding for part in (TEXT[:middle], b"", TEXT[middle:])
    ]
    (tmp_path / "a.xz").write_bytes(b"".join(streams))
    assert list(iter_lines(tmp_path / "a.xz")) == LINES


@pytest.mark.parametrize("changed", [0, 3, 30, -1])
def test_files_that_are_not_xz_are_named(tmp_path: Path, changed: int) -> None:
    """Python's own reader ends at a second stream that does not begin as one."""
    second = bytearray(lzma.compress(TEXT[:3000]))
    second[changed] ^= 1
    for first in (b"", lzma.compress(TEXT[:3000])):
        for rest in (
            bytes(second),
            lzma.compress(TEXT[:3000], lzma.FORMAT_ALONE),
            b"x",
        ):
            (tmp_path / "a.xz").write_bytes(first + rest)
            with pytest.raises(MasscliError, match=r"a\.xz: not a whole xz file"):
                list(iter_lines(tmp_path / "a.xz"))


@pytest.mark.parametrize("suffix", [".xz", ".zst"])
def test_an_empty_compressed_file_is_refused(tmp_path: Path, suffix: str) -> None:
    if suffix == ".zst":
        pytest.importorskip("zstandard")
    (tmp_path / f"a{suffix}").write_bytes(b"")
    with pytest.raises(MasscliError, match="not a whole"):
        list(iter_lines(tmp_path / f"a{suffix}"))

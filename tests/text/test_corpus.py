"""Raw text: lines end at \\n only, everything wrong is named."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from masscli.core.errors import MasscliError
from masscli.text import corpus


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_line_ends_at_newline_and_nowhere_else(tmp_path: Path) -> None:
    odd = "one\u2028still\u2029one\x85\x0b\x0c\x1c\x1d\x1eone\rand one"
    path = write(tmp_path / "a", f"{odd}\n\ntwo\r\nthree\r\r\n  four ".encode())
    assert list(corpus.iter_lines(path)) == [odd, "", "two", "three\r", "  four "]


def test_the_final_newline_does_not_begin_a_line(tmp_path: Path) -> None:
    assert (
        list(corpus.iter_lines(write(tmp_path / "a", b"x\ny\n")))
        == list(corpus.iter_lines(write(tmp_path / "b", b"x\ny")))
        == ["x", "y"]
    )


def test_lines_before_one_that_is_not_utf8_are_read(tmp_path: Path) -> None:
    """As from a pipe that is written line by line."""
    path = write(tmp_path / "a", b"\xef\xbb\xbfx\n\xc3\xa4\r\nb\xc3\nc\n")
    read = []
    with pytest.raises(
        MasscliError, match=r"a:3: not UTF-8 \(byte 0xc3 at offset 10\)"
    ):
        for line in corpus.iter_lines(path):
            read.append(line)
    assert read == ["x", "ä"]


def test_archives_read_like_plain_files(tmp_path: Path) -> None:
    data = "été\nzwei\n".encode() * 1000
    plain = write(tmp_path / "a", data)
    for other in (
        write(tmp_path / "a.gz", gzip.compress(data)),
        write(tmp_path / "a.xz", lzma.compress(data)),
    ):
        assert list(corpus.iter_lines(other)) == list(corpus.iter_lines(plain))
        assert corpus.scan_file(other).lines == 2000


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\r\nb"), encoding="ascii")
    )
    assert list(corpus.iter_lines(Path("-"))) == ["a", "b"]


def test_a_byte_order_mark_is_left_out_once(tmp_path: Path) -> None:
    path = write(tmp_path / "a", b"\xef\xbb\xbfx\n\xef\xbb\xbfy\n")
    assert list(corpus.iter_lines(path)) == ["x", "\ufeffy"]
    assert corpus.scan_file(path).bom
    assert not corpus.scan_file(write(tmp_path / "b", b"x\n\xef\xbb\xbfy\n")).bom


@pytest.mark.parametrize("block", [4, 1 << 20])
@pytest.mark.parametrize(
    "function", [lambda path: list(corpus.iter_lines(path)), corpus.scan_file]
)
def test_undecodable_bytes_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, function: object
) -> None:
    monkeypatch.setattr(corpus, "BLOCK_BYTES", block)
    path = write(tmp_path / "a", "é\n\nok\nschön".encode() + b" caf\xe9\nend\n")
    with pytest.raises(MasscliError) as caught:
        function(path)  # type: ignore[operator]
    assert caught.value.message == f"{path}:4: not UTF-8 (byte 0xe9 at offset 17)"
    assert caught.value.hint == "convert it, for example: iconv -f ENCODING -t UTF-8"


def test_utf16_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(MasscliError) as caught:
        corpus.scan_file(write(tmp_path / "a", "text\n".encode("utf-16")))
    assert caught.value.hint is not None and caught.value.hint.startswith(
        "it looks like UTF-16"
    )


@pytest.mark.parametrize(
    ("pack", "advice"),
    [
        (gzip.compress, "it is compressed: give it a name that ends in .gz"),
        (lzma.compress, "it is compressed: give it a name that ends in .xz"),
        (
            lambda text: bytes.fromhex("28b52ffd2005290000") + text,
            "it is compressed: give it a name that ends in .zst",
        ),
        (bz2.compress, "it is an archive: unpack it first"),
    ],
)
def test_compressed_text_without_its_suffix_is_recognized(
    pack: Callable[[bytes], bytes], advice: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.en", pack(b"abcdefgh\xff\n" * 99))
    for read in (corpus.scan_file, corpus.read_text):
        with pytest.raises(MasscliError) as caught:
            read(path)
        assert caught.value.message.startswith(f"{path}:1: not UTF-8 (byte 0x")
        assert caught.value.hint == advice


def test_compressed_standard_input_has_no_name_to_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = io.BytesIO(gzip.compress(b"a line\n"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(packed, encoding="ascii"))
    with pytest.raises(MasscliError) as caught:
        list(corpus.iter_lines(Path("-")))
    assert caught.value.hint == "it is compressed: gzip -dc FILE | masscli ..."


@pytest.mark.parametrize(
    ("suffix", "kind", "pack"),
    [(".gz", "gzip", gzip.compress), (".xz", "xz", lzma.compress)],
)
def test_damaged_archives_are_named(
    tmp_path: Path, suffix: str, kind: str, pack: object
) -> None:
    whole: bytes = pack(bytes(range(97, 123)) * 999 + b"\n")  # type: ignore[operator]
    for data in (whole[:-12], b"no archive at all"):
        path = write(tmp_path / f"a{suffix}", data)
        with pytest.raises(
            MasscliError, match=re.escape(f"{path}: not a whole {kind} file (")
        ):
            corpus.scan_file(path)


def test_a_missing_file_is_named_with_similar_names(tmp_path: Path) -> None:
    write(tmp_path / "train.en", b"x\n")
    write(tmp_path / "train.de.bz2", b"x\n")
    with pytest.raises(MasscliError) as caught:
        list(corpus.iter_lines(tmp_path / "train.de"))
    assert caught.value.message == f"{tmp_path / 'train.de'}: no such file"
    assert caught.value.hint == f"in {tmp_path} there is train.de.bz2, train.en"
    with pytest.raises(MasscliError) as caught:
        list(corpus.iter_lines(tmp_path / "nowhere" / "x"))
    assert caught.value.hint == f"there is no folder {tmp_path / 'nowhere'}"


def test_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MasscliError, match="a: is empty"):
        corpus.scan_file(write(tmp_path / "a", b""))


def test_a_file_without_lines_is_refused_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus, "BLOCK_BYTES", 64)
    monkeypatch.setattr(corpus, "MAX_LINE_BYTES", 1000)
    with pytest.raises(MasscliError, match=r"a:3: a line of more than 0 MiB"):
        corpus.scan_file(write(tmp_path / "a", b"x\ny\n" + b"z" * 5000))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
)
@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=40),
    final=st.booleans(), stride=st.integers(1, 7), block=st.integers(1, 30),
)  # fmt: skip
def test_scan_finds_every_stride(
    tmp_path: Path, lines: list[str], final: bool, stride: int, block: int
) -> None:
    data = "\n".join(lines).encode() + (b"\n" if final else b"")
    if not data:
        return
    cut = data.split(b"\n")
    cut = cut[:-1] if data.endswith(b"\n") else cut
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "BLOCK_BYTES", block)
        patch.setattr(corpus, "LINE_STRIDE", stride)
        found = corpus.scan_file(write(tmp_path / "a", data))
    starts = [
        sum(len(line) + 1 for line in cut[:n]) for n in range(0, len(cut), stride)
    ]
    assert found.lines == len(cut)
    assert found.offsets.tolist() == [*starts, len(data)]
    assert found.state.size == found.text_size == len(data)

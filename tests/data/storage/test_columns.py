"""Ragged columns: what is read is what was written, whatever the shards; damage is named."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from masscli.core.errors import MasscliError
from masscli.data.storage.column_writer import ColumnWriter, ResumeError, WriterState
from masscli.data.storage.columns import Column, RowBlock, concatenate, count_pieces
from masscli.data.storage.shards import DTYPES_OF_KIND, FORMAT, HEADER, MAGIC, Shard

pytestmark = pytest.mark.usefixtures("no_sync")

FINGERPRINT = "ab" * 32
LIMIT = 1 << 20
any_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
)


def append(
    writer: ColumnWriter, rows: list[list[int]], documents: list[int] | None = None
) -> None:
    flat = np.array([x for row in rows for x in row], np.int64)
    writer.append(
        RowBlock(flat, np.array([len(row) for row in rows], np.int32)), documents or []
    )


def column(folder: Path, rows: list[list[int]], *, name: str = "c", documents: list[int] | None = None, limit: int = LIMIT,
           kind: str = "ids", dtype: str = "<u2") -> Column:  # fmt: skip
    for old in folder.glob(f"{name}.*"):
        old.unlink()
    writer = ColumnWriter(folder / name, kind, dtype, FINGERPRINT, limit)
    append(writer, rows, documents)
    return Column(
        tuple(
            Shard(folder / piece.file, kind, piece.rows, FINGERPRINT)
            for piece in writer.finish()
        )
    )


ROWS = st.lists(st.lists(st.integers(0, 65535), max_size=9), max_size=30)


@any_folder
@given(rows=ROWS, limit=st.integers(2, 60), marks=st.sets(st.integers(0, 29)))
def test_read_what_was_written(
    tmp_path: Path, rows: list[list[int]], limit: int, marks: set[int]
) -> None:
    documents = sorted(m for m in marks | {0} if m < len(rows))
    found = column(tmp_path, rows, limit=limit, documents=documents)
    assert len(found) == len(rows)
    assert [found[n].tolist() for n in range(len(found))] == rows
    assert found.lengths().tolist() == [len(row) for row in rows]
    assert found.document_starts.tolist() == documents
    for shard in found.shards:
        assert shard.values.nbytes <= limit or shard.rows == 1


@any_folder
@given(
    rows=ROWS, limit=st.integers(10, 60), cuts=st.lists(st.integers(0, 30), max_size=3)
)
def test_files_do_not_depend_on_how_rows_come_in(
    tmp_path: Path, rows: list[list[int]], limit: int, cuts: list[int]
) -> None:
    column(tmp_path, rows, name="whole", limit=limit)
    for old in tmp_path.glob("parts.*"):
        old.unlink()
    state = WriterState()
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, stop in pairwise(
        edges
    ):  # each time from the state alone, after rows that were written in vain
        writer = ColumnWriter(
            tmp_path / "parts", "ids", "<u2", FINGERPRINT, limit, state
        )
        append(writer, rows[start:stop])
        state = writer.flush()
        append(writer, [[7] * 9] * 2, [0])
        writer.finish()
    ColumnWriter(tmp_path / "parts", "ids", "<u2", FINGERPRINT, limit, state).finish()
    for path in tmp_path.glob("whole.*"):
        assert (
            path.read_bytes()
            == path.with_name(path.name.replace("whole", "parts")).read_bytes()
        )


@any_folder
@given(rows=ROWS, limit=st.integers(2, 60), data=st.data())
def test_selections_and_slices(
    tmp_path: Path, rows: list[list[int]], limit: int, data: st.DataObject
) -> None:
    found = column(tmp_path, rows, limit=limit)
    start, stop = (
        data.draw(st.integers(0, 31)),
        data.draw(st.one_of(st.none(), st.integers(0, 31))),
    )
    assert found.lengths(start, stop).tolist() == [len(row) for row in rows[start:stop]]
    picked = (
        data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)) if rows else []
    )
    some = found.select(np.array(picked, np.int64))
    assert [some[n].tolist() for n in range(len(some))] == [rows[n] for n in picked]
    assert (
        some.lengths(start, stop).tolist() == [len(rows[n]) for n in picked][start:stop]
    )
    again = some.select(np.arange(len(picked))[::-1].copy())
    assert [again[n].tolist() for n in range(len(again))] == [
        rows[n] for n in reversed(picked)
    ]


def test_concatenated_columns_are_one_column(tmp_path: Path) -> None:
    a = column(tmp_path, [[1], [2, 2]], name="a", documents=[0, 1])
    empty = column(tmp_path, [], name="empty")
    b = column(tmp_path, [[3], [], [4]], name="b", documents=[0, 2], limit=2)
    both = concatenate([a, empty, b])
    assert [both[n].tolist() for n in range(len(both))] == [[1], [2, 2], [3], [], [4]]
    assert both.document_starts.tolist() == [0, 1, 2, 4]
    assert both[-1].tolist() == [4]
    for row in (5, -6):
        with pytest.raises(IndexError):
            both[row]


def test_a_row_is_a_copy(tmp_path: Path) -> None:
    found = column(tmp_path, [[1, 2]])
    found[0][:] = 9
    assert found[0].tolist() == [1, 2] and found[0].dtype == np.int64


def test_a_column_is_pickled_without_its_contents(tmp_path: Path) -> None:
    found = column(tmp_path, [[n % 100] * 50 for n in range(2000)])
    assert found[1999].tolist() == [99] * 50 and len(found.lengths()) == 2000
    sent = pickle.dumps(found)
    assert len(sent) < 2000
    assert pickle.loads(sent)[1999].tolist() == [99] * 50


@pytest.mark.parametrize(
    ("kind", "dtype", "values"),
    [
        ("ids", "<u2", [0, 65535]),
        ("ids", "<u4", [0, 2**32 - 1]),
        ("int", "<i8", [-(2**62), 2**62]),
        ("float", "<f8", [0.1, -1e300]),
    ],
)
def test_kinds_of_values(
    tmp_path: Path, kind: str, dtype: str, values: list[float]
) -> None:
    assert dtype in DTYPES_OF_KIND[kind]
    writer = ColumnWriter(tmp_path / "c", kind, dtype, FINGERPRINT, LIMIT)
    writer.append(RowBlock(np.array(values), np.array([2], np.int32)))
    (piece,) = writer.finish()
    found = Column((Shard(tmp_path / piece.file, kind, 1, FINGERPRINT),))
    assert found.values(0).tolist() == values and found.values(0).dtype == np.dtype(
        dtype
    )


def test_text_columns(tmp_path: Path) -> None:
    lines = ["", "grün", "\u2028 x\r", "世界"]
    found = column(
        tmp_path, [list(line.encode()) for line in lines], kind="text", dtype="|u1"
    )
    assert [found.text(n) for n in range(4)] == lines


def test_a_writer_notices_lost_bytes(tmp_path: Path) -> None:
    writer = ColumnWriter(tmp_path / "c", "ids", "<u2", FINGERPRINT, LIMIT)
    append(writer, [[1, 2, 3]])
    state = writer.flush()
    writer.close()
    with open(tmp_path / "c.00000.bin", "r+b") as file:
        file.truncate(4)
    with pytest.raises(ResumeError):
        ColumnWriter(tmp_path / "c", "ids", "<u2", FINGERPRINT, LIMIT, state)


def test_damage_is_named(tmp_path: Path) -> None:
    column(tmp_path, [[1, 2], [3]])
    index, values = tmp_path / "c.00000.idx", tmp_path / "c.00000.bin"
    good = index.read_bytes()

    def message(shard: Shard) -> str:
        with pytest.raises(MasscliError) as caught:
            Column((shard,))[0]
        return caught.value.message

    def shard(
        kind: str = "ids", rows: int = 2, fingerprint: str = FINGERPRINT
    ) -> Shard:
        return Shard(tmp_path / "c.00000", kind, rows, fingerprint)

    assert (
        message(shard(fingerprint="cd" * 32))
        == f"{index}: does not belong to this folder"
    )
    assert message(shard(rows=3)) == f"{index}: does not belong to this folder"
    assert message(shard(kind="int")) == f"{index}: does not belong to this folder"
    index.write_bytes(good[:8] + b"\x63" + good[9:])
    assert message(shard()) == f"{index}: has format 99, this masscli reads 1"
    index.write_bytes(b"\x00" + good[1:])
    assert message(shard()) == f"{index}: is not a masscli index file"
    index.write_bytes(good[:40])
    assert message(shard()) == f"{index}: is not a masscli index file"
    index.write_bytes(good[:-1])
    assert (
        message(shard()) == f"{index}: has {len(good) - 1} bytes instead of {len(good)}"
    )
    index.write_bytes(good)
    values.write_bytes(values.read_bytes()[:-1])
    size = values.stat().st_size
    assert message(shard()) == f"{values}: has {size} bytes instead of {size + 1}"
    values.write_bytes(values.read_bytes() + b"\0\0\0")
    assert message(shard()) == f"{values}: has {size + 3} bytes instead of {size + 1}"


def write_index(
    path: Path, offsets: list[int], documents: list[int], values: int
) -> None:
    """Write an index of ids with any offsets and document starts."""
    rows = len(offsets) - 1
    header = HEADER.pack(
        MAGIC,
        FORMAT,
        b"<u2",
        b"ids",
        rows,
        values,
        len(documents),
        bytes.fromhex(FINGERPRINT),
    )
    path.write_bytes(header + np.array([*offsets, *documents], "<i8").tobytes())


@pytest.mark.parametrize(
    ("offsets", "documents", "reason"),
    [
        ([0, 3, 2, 4], [0], "its offsets are not in order"),
        ([1, 2, 3, 4], [0], "its offsets are not in order"),
        ([0, 1, 2, 3], [0], "its offsets are not in order"),
        ([0, -1, 2, 4], [0], "its offsets are not in order"),
        ([0, 1, 9, 4], [0], "its offsets are not in order"),
        ([0, 1, 2, 4], [0, 3], "its documents are not in order"),
        ([0, 1, 2, 4], [2, 1], "its documents are not in order"),
        ([0, 1, 2, 4], [-1], "its documents are not in order"),
    ],
)
def test_an_index_out_of_order_is_refused(
    tmp_path: Path, offsets: list[int], documents: list[int], reason: str
) -> None:
    """An index with a good header and size is not followed if its numbers are impossible."""
    (tmp_path / "c.00000.bin").write_bytes(np.arange(4, dtype="<u2").tobytes())
    write_index(tmp_path / "c.00000.idx", offsets, documents, 4)
    damaged = Column((Shard(tmp_path / "c.00000", "ids", 3, FINGERPRINT),))
    with pytest.raises(MasscliError, match=reason):
        damaged.lengths()
        _ = damaged.document_starts
    # Read by itself, at the latest the row that is damaged is refused.
    if "offsets" in reason:
        with pytest.raises(MasscliError, match=reason):
            for row in range(3):
                damaged.values(row)
        with pytest.raises(MasscliError, match=reason):
            damaged.select(np.array([2, 1, 0])).lengths()


def test_every_offset_is_compared_whichever_lengths_are_asked_for(
    tmp_path: Path,
) -> None:
    for wrong in range(1, 6):
        offsets = [0, 10, 20, 30, 40, 50, 60]
        offsets[wrong] -= 15
        (tmp_path / "c.00000.bin").write_bytes(bytes(120))
        write_index(tmp_path / "c.00000.idx", offsets, [0], 60)
        damaged = Column((Shard(tmp_path / "c.00000", "ids", 6, FINGERPRINT),))
        with pytest.raises(MasscliError, match="not in order"):
            for start in range(0, 6, 2):
                damaged.lengths(start, start + 2)


def test_ids_beyond_the_vocabulary_are_refused(tmp_path: Path) -> None:
    column(tmp_path, [[1, 2], [], [9]])
    whole = Column((Shard(tmp_path / "c.00000", "ids", 3, FINGERPRINT, 10),))
    assert whole[2].tolist() == [9] and count_pieces(whole, 10).sum() == 3
    smaller = Column((Shard(tmp_path / "c.00000", "ids", 3, FINGERPRINT, 9),))
    expected = f"{tmp_path / 'c.00000.bin'}: is damaged (it has the id 9, and the vocabulary has 9 pieces)"
    for read in (lambda: smaller[2], lambda: count_pieces(smaller, 9)):
        with pytest.raises(MasscliError) as caught:
            read()
        assert caught.value.message == expected


def test_each_block_of_ids_is_checked_when_it_is_first_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masscli.data.storage.shards.ID_BLOCK", 4)
    rows = [[1, 2], [3, 4, 5], [], [6], [7, 8, 1], [1, 50], [3], [4]]
    column(tmp_path, rows)
    found = Column((Shard(tmp_path / "c.00000", "ids", 8, FINGERPRINT, 50),))
    # The id 50 is the eleventh value, so that it lies in the third block.
    for row in (0, 1, 2, 3, 1, 0):
        assert found[row].tolist() == rows[row]
    for row in (4, 5, 6, 5):
        with pytest.raises(MasscliError, match="it has the id 50"):
            found[row]


def test_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    found = column(
        tmp_path, [[0x61], [0xFF, 0xFE], [0xED, 0xA0, 0x80]], kind="text", dtype="|u1"
    )
    assert found.text(0) == "a"
    for row in (1, 2):
        with pytest.raises(MasscliError, match=rf"row {row} of c is not UTF-8"):
            found.text(row)


@any_folder
@given(position=st.integers(0, 159), value=st.integers(0, 255))
def test_no_changed_byte_of_an_index_causes_harm(
    tmp_path: Path, position: int, value: int
) -> None:
    """Change any one byte: the column says so, or reads as some column; it never fails in another way."""
    column(tmp_path, [[1, 2], [3]], documents=[0])
    index = tmp_path / "c.00000.idx"
    data = bytearray(index.read_bytes())
    assert len(data) == 128 + 24 + 8
    data[position] = value
    index.write_bytes(data)
    found = Column((Shard(tmp_path / "c.00000", "ids", 2, FINGERPRINT),))
    try:
        assert len(found.lengths()) == 2
        assert all(found[n].size <= 3 for n in range(2))
        assert len(found.document_starts) == 1
    except MasscliError as error:
        assert str(tmp_path / "c.00000") in error.message

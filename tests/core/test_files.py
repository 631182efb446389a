"""Files that appear all at once, links, checksums and locks."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from masscli.core.appended_files import acquire_lock, append_json_lines
from masscli.core.atomic_files import new_folder, open_atomic, update_link, write_atomic
from masscli.core.errors import MasscliError
from masscli.core.files import sha256_of


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


def test_a_file_on_a_full_disk_is_named(tmp_path: Path) -> None:
    """Python names no file that is open, so that a user with a full disk would not know which one."""
    program = (
        "import resource, sys, pathlib\n"
        "from masscli.core import appended_files, atomic_files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3, 3))\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "for write in (atomic_files.write_synced, atomic_files.write_atomic,\n"
        "              appended_files.append_json_lines):\n"
        "    try: write(path, b'12345')\n"
        "    except OSError as error: print(error.filename == str(path), error.strerror)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "full")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "True File too large\n" * 3


def test_a_new_log_on_a_full_disk_is_removed(tmp_path: Path) -> None:
    program = (
        "import pathlib, resource, sys\n"
        "from masscli.core.appended_files import append_json_lines\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3, 3))\n"
        "try: append_json_lines(pathlib.Path(sys.argv[1]), b'12345')\n"
        "except OSError as error: print(error.strerror)\n"
    )
    (tmp_path / "old").touch()
    (tmp_path / "link").symlink_to("new")
    for name in ("new", "link", "old"):
        command = [sys.executable, "-c", program, str(tmp_path / name)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        assert result.stdout == "File too large\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "old"]


def test_what_is_appended_while_another_process_removes_the_log_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    times = 0

    def lock(*_: object) -> None:
        nonlocal times
        times += 1
        # The first one has waited for a process that could not write.
        if times == 1:
            path.unlink()

    monkeypatch.setattr(fcntl, "flock", lock)
    append_json_lines(path, b"{}\n")
    assert path.read_bytes() == b"{}\n"


def test_folders_around_a_new_one_go_with_it(tmp_path: Path) -> None:
    """A command that fails leaves no empty folders, and keeps those that were there or hold something."""
    with pytest.raises(RuntimeError), new_folder(tmp_path / "a/b/c"):
        raise RuntimeError
    assert not (tmp_path / "a").exists()
    (tmp_path / "a").mkdir()
    with pytest.raises(RuntimeError), new_folder(tmp_path / "a/b/c"):
        (tmp_path / "a/b/other").touch()
        raise RuntimeError
    assert sorted(tmp_path.rglob("*")) == [
        tmp_path / "a",
        tmp_path / "a/b",
        tmp_path / "a/b/other",
    ]
    with pytest.raises(RuntimeError), new_folder(tmp_path / "a/new"):
        raise RuntimeError
    assert (tmp_path / "a").is_dir()


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


def test_pipes_and_folders_are_neither_locked_nor_appended_to(tmp_path: Path) -> None:
    """Opening a pipe would wait for a reader."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(
            MasscliError, match="is not a file, but a folder, a pipe or a device"
        ):
            acquire_lock(path)
        with pytest.raises(
            MasscliError, match="is not a file, but a folder, a pipe or a device"
        ):
            append_json_lines(path, b"{}\n")


def test_a_link_stays_and_leads_to_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    for name in ("file", "folder", "new-folder"):
        (tmp_path / name).symlink_to(tmp_path / "far" / name)
    write_atomic(tmp_path / "file", b"new")
    write_atomic(tmp_path / "file", b"newer")
    (tmp_path / "far/folder").mkdir()
    for name in ("folder", "new-folder"):
        with new_folder(tmp_path / name) as aside:
            (aside / "a").write_bytes(b"1")
    assert (tmp_path / "far/file").read_bytes() == b"newer"
    assert all(
        (tmp_path / "far" / name / "a").exists() for name in ("folder", "new-folder")
    )
    assert all(path.is_symlink() for path in tmp_path.iterdir() if path.name != "far")
    assert sorted(path.name for path in (tmp_path / "far").iterdir()) == [
        "file",
        "folder",
        "new-folder",
    ]


def test_pipes_and_folders_are_not_replaced_by_a_file(tmp_path: Path) -> None:
    """Otherwise root could lose /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MasscliError, match="is not a file, but a folder, a pipe"):
        write_atomic(tmp_path / "pipe", b"a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        write_atomic(tmp_path / "folder", b"a")
    assert error.value.filename == str(tmp_path / "folder")
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_pipe_that_looks_like_a_leftover_is_removed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".x.1-abc.new")
    write_atomic(tmp_path / "x", b"a")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with new_folder(tmp_path / "x") as aside:
        (aside / "a").write_bytes(b"1")
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x/a").read_bytes() == b"1"
    with pytest.raises(RuntimeError), new_folder(tmp_path / "y") as aside:
        (aside / "a").write_bytes(b"1")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_folder_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(MasscliError) as error, new_folder(tmp_path / "x") as second:
        (second / "a").write_bytes(b"second")
        with new_folder(tmp_path / "x") as first:
            (first / "a").write_bytes(b"first")
    assert (
        error.value.message
        == f"{tmp_path / 'x'}: another process has written it meanwhile"
    )
    assert (tmp_path / "x/a").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_two_writers_do_not_interfere(tmp_path: Path) -> None:
    """The contents of the two are not mixed, and neither removes the other's temporary file as a leftover."""
    path = tmp_path / "x"
    with open_atomic(path) as first:
        first.write(b"first")
        with open_atomic(path) as second:
            second.write(b"second is longer")
        assert path.read_bytes() == b"second is longer"
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "name", ["x" * 255, "ä" * 127, "[a]*"], ids=["ascii", "umlauts", "pattern"]
)
def test_any_name_that_a_disk_takes(name: str, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", KILLED.replace('"file"', repr(name))], cwd=tmp_path
    )
    write_atomic(tmp_path / name, b"new")
    assert [path.name for path in tmp_path.iterdir() if "folder" not in path.name] == [
        name
    ]


KILLED = """
import os, signal, sys
from pathlib import Path
from masscli.core.atomic_files import new_folder, open_atomic
with open_atomic(Path("file")) as file, new_folder(Path("folder")) as folder:
    file.write(b"half")
    file.flush()
    (folder / "part").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    write_atomic(tmp_path / "file", b"whole")
    with new_folder(tmp_path / "folder"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


MANY = """
import sys
from pathlib import Path
from masscli.core.appended_files import append_json_lines
from masscli.core.atomic_files import write_atomic
letter = sys.argv[1].encode()
for _ in range(40):
    write_atomic(Path("file"), letter * 100_000)
    append_json_lines(Path("log"), b'"' + letter * 20_000 + b'"\\n')
"""


def test_many_processes_write_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", MANY, letter], cwd=tmp_path)
        for letter in "abc"
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    content = (tmp_path / "file").read_bytes()
    assert content in (b"a" * 100_000, b"b" * 100_000, b"c" * 100_000)
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert len(lines) == 120 and all(
        len(line) == 20_002 and len(set(line)) == 2 for line in lines
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "log"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"a": 1}\n', '{"a": 1}\n{"b": 2}\n'),
        ('{"a": 1}\n{"a": "\u00e9', '{"a": 1}\n{"b": 2}\n'),
        ('{"a": 1}', '{"a": 1}\n{"b": 2}\n'),
        ("something else", 'something else\n{"b": 2}\n'),
        ("[" * 100_000, "[" * 100_000 + '\n{"b": 2}\n'),
        ('{"a": "\\ud800"}', '{"a": "\\ud800"}\n{"b": 2}\n'),
    ],
)
def test_half_a_line_at_the_end_of_a_log_is_removed(
    before: str, after: str, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_text(before, encoding="utf-8")
    append_json_lines(path, b'{"b": 2}\n')
    assert path.read_text(encoding="utf-8") == after

"""Run cases in forked processes with limits on memory and time, and say what became of each."""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from masscli.core.errors import DISK_ERRORS, MasscliError
from tests.fuzz import canary
from tests.fuzz.branches import Recorder
from tests.fuzz.folders import mutate_folder
from tests.fuzz.oracles import UnreadableError
from tests.fuzz.readers import REFUSED, Reader, Refused

SECONDS = 5
"""How long a case may take after the fork, in processor time; or how long it may wait without using any."""
LONGEST = 120
"""Seconds after which a case is ended in any case."""
recorder: Recorder | None = None
"""What records the branches that cases take, if they are to be counted."""
MEMORY = 3 << 30
"""Bytes of address space that a case may take beyond those of the parent."""
FILE_SIZE = 1 << 28
"""Bytes of the largest file that a case may write."""
RUNNING = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "ctypes.dlopen",
)
"""Events of Python's audit hooks that nothing that is read may cause."""


class Outcome(NamedTuple):
    """What became of a case: `refused`, `read`, or a failure; with what was mutated and a reason."""

    verdict: str
    mutation: str
    reason: str


OK = ("refused", "read")
FAILURES = (
    "traceback",
    "hang",
    "memory",
    "crash",
    "executed",
    "wrote outside",
    "silent change",
)


class Alarm(BaseException):
    """Raised where the input causes what it must not cause."""


def run_case(
    reader: Reader, seed: int, number: int, sound: Path, expected: str, work: Path
) -> Outcome:
    """Fork, and let the child mutate and read a copy of the folder `sound` in the folder `work`.

    `expected` is what the reader makes of the sound folder.
    """
    return run_cases(reader, seed, [number], sound, expected, work)[0]


def run_cases(
    reader: Reader,
    seed: int,
    numbers: Sequence[int],
    sound: Path,
    expected: str,
    work: Path,
) -> list[Outcome]:
    """Run several cases in one forked process, which saves most of the time, and return an outcome for each.

    A case that ends the process ends it for itself only: the next ones go on in a new one. One that fails is run
    again in a process of its own. If it does not fail there, its failure is one that others have led to; but how
    long it takes also depends on what else the machine does, so that a hang has to be one alone.
    """
    outcomes: list[Outcome] = []
    while len(outcomes) < len(numbers):
        outcomes += _run_in_one_fork(
            reader, seed, numbers[len(outcomes) :], sound, expected, work
        )
    if len(numbers) == 1:
        return outcomes
    for place, outcome in enumerate(outcomes):
        if outcome.verdict in FAILURES:
            alone = run_case(reader, seed, numbers[place], sound, expected, work)
            if alone.verdict in FAILURES or outcome.verdict == "hang":
                outcomes[place] = alone
            else:
                reason = f"only after the cases {numbers[:place]}: {outcome.reason}"
                outcomes[place] = outcome._replace(reason=reason)
    return outcomes


def _run_in_one_fork(
    reader: Reader,
    seed: int,
    numbers: Sequence[int],
    sound: Path,
    expected: str,
    work: Path,
) -> list[Outcome]:
    """Run cases until all are done or the process has ended; at least one is."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receive)
        _be_child(reader, seed, numbers, sound, expected, work, send)
    os.close(send)
    answers = _wait(child, receive)
    os.close(receive)
    status = os.waitpid(child, 0)[1]
    shutil.rmtree(work, ignore_errors=True)
    outcomes = [
        Outcome(*answer) for answer in answers if len(answer) == len(Outcome._fields)
    ]
    if len(outcomes) == len(numbers):
        return outcomes
    # The last answer is the mutation of the case that ended the process.
    mutation = answers[-1][0] if answers and len(answers[-1]) == 1 else ""
    died = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if died in (signal.SIGXCPU, signal.SIGKILL):
        return [*outcomes, Outcome("hang", mutation, f"after {SECONDS} seconds")]
    return [*outcomes, Outcome("crash", mutation, f"signal {died}, status {status}")]


def _wait(child: int, receive: int) -> list[list[str]]:
    """Return the lines that the child writes, parsed; end it if it waits for something that does not come."""
    answer = b""
    last_answer = last_use = time.monotonic()
    used = 0
    while True:
        ready, _, _ = select.select([receive], [], [], 1)
        now = time.monotonic()
        if ready:
            piece = os.read(receive, 1 << 16)
            if not piece:
                break
            answer += piece
            last_answer = last_use = now
            continue
        is_asleep, ticks = _activity(child)
        # On a busy machine a process that only waits for a processor is not asleep.
        if ticks != used or not is_asleep:
            used, last_use = ticks, now
        if now - last_use > SECONDS or now - last_answer > LONGEST:
            os.kill(child, signal.SIGKILL)
    return [json.loads(line) for line in answer.split(b"\n")[:-1]]


def _activity(process: int) -> tuple[bool, int]:
    """Return whether a process waits, and the processor time that all its threads have used, in ticks."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return fields[0] in "SD", int(fields[11]) + int(fields[12])


def _be_child(
    reader: Reader,
    seed: int,
    numbers: Sequence[int],
    sound: Path,
    expected: str,
    work: Path,
    send: int,
) -> None:
    """Run the cases, write two lines about each, its mutation and its outcome, and end the process."""
    code = 1
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        with recorder.recording(reader.name) if recorder else nullcontext():
            for place, number in enumerate(numbers):
                mutation = prepare(
                    reader, Random(f"{seed} {reader.name} {number}"), sound, work
                )
                _write_line(send, [mutation])
                _limit()
                if place == 0:
                    watch(work)
                verdict, reason = judge(reader, work, expected)
                _write_line(send, [verdict, mutation, reason[:4000]])
                shutil.rmtree(work, ignore_errors=True)
        code = 0
    finally:
        os._exit(code)


def _write_line(send: int, values: list[str]) -> None:
    os.write(send, json.dumps(values).encode() + b"\n")


def prepare(reader: Reader, draw: Random, sound: Path, work: Path) -> str:
    """Make a mutated copy of a folder, and return what was mutated."""
    copy = shutil.copy2 if reader.writes else os.link
    shutil.copytree(sound, work, symlinks=True, copy_function=copy)
    mutation = mutate_folder(draw, work / reader.part, reader.pipes)
    if reader.reseal is not None:
        reader.reseal(work / reader.part)
    return mutation


def _limit() -> None:
    """Limit processor time, memory and the size of files of this process."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    # The next case raises the soft limits again, which a lower hard one would forbid.
    _limit_softly(resource.RLIMIT_AS, used + MEMORY)
    _limit_softly(resource.RLIMIT_CPU, int(time.process_time()) + SECONDS + 1)
    _limit_softly(resource.RLIMIT_FSIZE, FILE_SIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_softly(kind: int, value: int) -> None:
    resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def watch(work: Path) -> None:
    """Raise Alarm in this process if code of the input runs, or if something is written outside of `work`."""
    inside = (str(work), "/dev/null", os.environ.get("XDG_CACHE_HOME", "/nowhere"))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        is_canary = event == "import" and arguments[0] == canary.MODULE
        # Workers of a data loader speak to each other through sockets that have a path, and no host and port.
        is_network = event == "socket.connect" and isinstance(arguments[1], tuple)
        if event in RUNNING or is_canary or is_network:
            raise Alarm(f"executed {event} {arguments[:1]}")
        if (
            event == "open"
            and isinstance(arguments[2], int)
            and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        ):
            path = arguments[0]
            if isinstance(path, (str, bytes)) and not str(
                Path(os.fsdecode(path)).absolute()
            ).startswith(inside):
                raise Alarm(f"wrote outside {path!r}")

    # The module is known from here on, so that unpickling needs no import; its functions raise instead.
    canary.call = canary.Canary = _execute  # type: ignore[assignment, misc]
    sys.addaudithook(hook)


def _execute(*arguments: object) -> str:
    raise Alarm("executed the canary")


def judge(reader: Reader, work: Path, expected: str) -> tuple[str, str]:
    """Read a mutated folder, and return the verdict and its reason."""
    try:
        found = reader.read(work)
    except MasscliError as error:
        return _judge_message(error)
    except Refused as error:
        return "refused", str(error)
    except Alarm as alarm:
        verdict = "executed" if str(alarm).startswith("executed") else "wrote outside"
        return verdict, f"{alarm}\n{traceback.format_exc()}"
    except MemoryError:
        return "memory", traceback.format_exc()
    except OSError as error:
        # `masscli` turns these into one line.
        if error.errno in DISK_ERRORS and error.errno != errno.EPERM:
            return "refused", str(error)
        return "traceback", traceback.format_exc()
    except BaseException:
        return "traceback", traceback.format_exc()
    return _judge_result(reader, work, found, expected)


def _judge_message(error: MasscliError) -> tuple[str, str]:
    """There must be a message."""
    if not error.message.strip():
        return "traceback", "a message that says nothing"
    return "refused", error.message


def _judge_result(
    reader: Reader, work: Path, found: str, expected: str
) -> tuple[str, str]:
    """Compare what was read with what the sound folder holds, or with what an independent reader finds."""
    if found == expected:
        return "read", ""
    if reader.oracle is None:
        return (
            ("silent change", _difference(found, expected))
            if reader.sealed
            else ("read", "")
        )
    try:
        wanted = reader.oracle(work)
    except UnreadableError as error:
        return "silent change", f"an independent reader refuses it: {error}"
    except Exception:
        return "silent change", f"an independent reader fails: {traceback.format_exc()}"
    return (
        ("read", "")
        if found == wanted
        else ("silent change", _difference(found, wanted))
    )


def _difference(actual: str, expected: str) -> str:
    """Return both texts around the first place where they differ."""
    place = next(
        (
            i
            for i, (one, other) in enumerate(zip(actual, expected, strict=False))
            if one != other
        ),
        min(len(actual), len(expected)),
    )
    start = max(0, place - 150)
    return f"found {actual[start : place + 150]!r}, expected {expected[start : place + 150]!r}"


def digest_of(reader: Reader, folder: Path) -> str:
    """Return what a reader makes of the sound folder, which its independent reader must confirm."""
    actual = reader.read(folder)
    assert REFUSED not in actual, f"{reader.name}: {actual}"
    if reader.oracle is not None:
        expected = reader.oracle(folder)
        assert actual == expected, f"{reader.name}: {_difference(actual, expected)}"
    return actual

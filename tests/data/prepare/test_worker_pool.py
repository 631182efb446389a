"""Worker processes of preprocess that cannot be started."""

import errno
import multiprocessing.context
from typing import Any, NoReturn

import pytest

from masscli.core.errors import MasscliError
from masscli.data.prepare.worker_pool import WorkerPool


def test_no_room_for_queues_is_not_taken_for_a_full_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a container whose /dev/shm is full: the folder that is written has room."""

    def no_room(context: Any, *_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(multiprocessing.context.BaseContext, "Lock", no_room)
    with pytest.raises(MasscliError) as caught:
        WorkerPool(2)
    assert caught.value.message == (
        "--workers 2: cannot start processes (No space left on device)"
    )
    assert caught.value.hint is not None and "/dev/shm" in caught.value.hint
    assert list(WorkerPool(1).map(str, [1, 2])) == ["1", "2"]

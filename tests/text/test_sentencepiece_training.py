"""What goes wrong while SentencePiece is trained is reported as what it is."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from masscli.core.errors import MasscliError
from masscli.text.sentencepiece_model import train_sentencepiece


def test_an_error_of_the_text_is_not_one_of_sentencepiece() -> None:
    def lines() -> Iterator[str]:
        yield "ab abc"
        raise MasscliError("text:2: not UTF-8", "convert it")

    with pytest.raises(MasscliError, match="text:2: not UTF-8"):
        train_sentencepiece(lines(), 16, 1.0, [])


def test_ctrl_c_is_obeyed_at_once() -> None:
    """The interrupt comes while a line is read; SentencePiece computes in the same thread."""
    is_over = threading.Event()

    def lines() -> Iterator[str]:
        yield "ab abc"
        os.kill(os.getpid(), signal.SIGINT)
        is_over.wait()
        yield "cab ba"

    with pytest.raises(KeyboardInterrupt):
        train_sentencepiece(lines(), 16, 1.0, [])
    is_over.set()

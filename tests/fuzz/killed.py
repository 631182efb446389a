"""What a killed preprocessing leaves behind, and what is made of it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from masscli.data.prepare import chunks, pipeline
from masscli.data.prepare.resume_state import ResumeState
from tests.fuzz.sound import command, sentences
from tests.toy_tasks import save

LINES = 600


def make_partial(folder: Path) -> None:
    """Make text, and kill a preprocessing of it when it has stored its state for the second time."""
    (folder / "text").mkdir()
    for language in ("en", "de"):
        save(folder / f"text/train.{language}", sentences(LINES, language, 1))
    child = os.fork()
    if child == 0:
        write, calls = ResumeState.write, [0]

        def write_and_die(state: ResumeState, place: Path) -> None:
            write(state, place)
            calls[0] += 1
            if calls[0] == 2:
                os._exit(0)

        ResumeState.write = write_and_die  # type: ignore[method-assign]
        preprocess(folder)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert (folder / "made/.partial").is_dir()


def preprocess(folder: Path) -> str:
    """Preprocess the text in small chunks, and return the checksums of what was made."""
    chunks.CHUNK_BYTES = 1 << 12
    pipeline.SECONDS_BETWEEN_STATES = 0.0
    command("preprocess", "--langs", "en,de", "--trainpref", folder / "text/train", "--vocab-size", "90", "--workers", "1",
            "--destdir", folder / "made")  # fmt: skip
    made = [
        path
        for path in sorted((folder / "made").iterdir())
        if path.is_file() and path.name != "manifest.json"
    ]
    return json.dumps(
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made}
    )

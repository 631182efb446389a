"""CTranslate2 finishes a line in its own way, which only a beam search notices."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from masscli.api.text_model import TextModel
from masscli.api.writing_task import WritingTask
from masscli.checkpoint import saving
from masscli.generation.config import GenerationConfig
from tests.commands import succeed
from tests.translators import random_translator

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


@pytest.mark.parametrize(
    ("backend", "options", "is_warned"),
    [
        ("ctranslate2", {"beam": 5}, True),
        ("ctranslate2", {"beam": 5, "early_stop": True}, False),
        ("ctranslate2", {"beam": 1}, False),
        ("torch", {"beam": 5}, False),
    ],
)
def test_a_beam_that_finishes_early_is_named(
    backend: str, options: dict[str, Any], is_warned: bool
) -> None:
    converted = object() if backend == "ctranslate2" else None
    ensemble = cast(Any, SimpleNamespace(ctranslate2=converted))
    model = TextModel(ensemble, WritingTask("en", "de", None))
    assert bool(model.search_warnings(GenerationConfig(**options))) is is_warned


def test_the_search_that_was_imported_counts(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkpoint = random_translator("default", toy, tmp_path / "run")
    checkpoint.state.generation = {"beam": "1"}
    path = saving.save_checkpoint(
        tmp_path / "imported",
        checkpoint.recipe,
        checkpoint.state,
        checkpoint.tokenizer(),
        model=checkpoint.weights(),
    )
    monkeypatch.setattr(
        TextModel, "search_warnings", lambda self, search: [f"beam {search.beam}"]
    )
    (tmp_path / "in").write_text("ba be\n")
    for options, beam in (([], 1), (["--beam", "3"], 3)):
        command = ["generate", str(path), "-i", str(tmp_path / "in"), *options]
        succeed(command)
        assert f"warning: beam {beam}\n" in capsys.readouterr().err

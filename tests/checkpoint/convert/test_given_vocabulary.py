"""Translators that were exported without a tokenizer of Hugging Face are imported again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert import translator_export
from masscli.checkpoint.convert.import_ import import_folder
from masscli.checkpoint.convert.translator_export import export_translator
from masscli.core.errors import MasscliError
from tests.published import error_of
from tests.published_seq2seq import make_seq2seq
from tests.text.extensible import foreign_sentencepiece
from tests.translators import (
    SHAPES,
    WITHOUT_COUNTERPART,
    framed_pair,
    logits_of,
    random_translator,
)

pytestmark = pytest.mark.usefixtures("no_sync")
OTHERS: dict[str, dict[str, Any]] = {
    "tag of the target": {
        "languages": "tag",
        "source_tag": "target",
        "target_tag": "none",
    },
    "forced tag": {"languages": "tag", "source_tag": "last", "target_tag": "forced"},
    "start": {"source_bos": True},
}
"""Further ways in which special tokens stand around texts."""
EXPORTED = [shape for shape in SHAPES if shape not in WITHOUT_COUNTERPART]


@pytest.fixture
def no_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        translator_export, "tokenizer_files", lambda *arguments: ({}, "no tokenizer")
    )


@pytest.mark.usefixtures("no_tokenizer")
@pytest.mark.parametrize("shape", [*EXPORTED, *OTHERS])
def test_a_round_trip_is_exact(shape: str, toy: Path, tmp_path: Path) -> None:
    run = random_translator(
        shape if shape in SHAPES else "default",
        toy,
        tmp_path / "run",
        **OTHERS.get(shape, {}),
    )
    notes = export_translator(run, "en", "de", tmp_path / "theirs")
    assert any("in the folder masscli" in note for note in notes)
    path, _ = import_folder(
        tmp_path / "theirs", tmp_path / "again", ("en", "de"), False
    )
    again = Checkpoint.open(path)
    ours, theirs = framed_pair(run), framed_pair(again)
    assert all(
        torch.equal(mine, yours) for mine, yours in zip(ours, theirs, strict=True)
    )
    assert logits_of(run, *ours).sub(logits_of(again, *theirs)).abs().max() < 1e-5
    export_translator(again, "en", "de", tmp_path / "second")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "second" / file).read_bytes() == (
            tmp_path / "theirs" / file
        ).read_bytes()


def test_two_vocabularies_are_for_one_direction(tmp_path: Path) -> None:
    folder, again = tmp_path / "theirs", tmp_path / "again"
    make_seq2seq("marian-two", folder)
    run, _ = import_folder(folder, tmp_path / "run", ("en", "de"), False)
    for languages, reason in (
        (("en",), "translates from one language to another"),
        (("de", "en"), "cannot read de and write en"),
    ):
        error, _ = error_of(lambda: import_folder(folder, again, languages, False, run))  # noqa: B023
        assert reason in error
    assert not again.exists()


@pytest.mark.usefixtures("no_tokenizer")
def test_a_given_vocabulary_must_be_that_of_the_run(toy: Path, tmp_path: Path) -> None:
    run = random_translator("tag", toy, tmp_path / "run")
    folder, again = tmp_path / "theirs", tmp_path / "again"
    export_translator(run, "en", "de", folder)
    shutil.rmtree(folder / "masscli")

    def failure(given: Path | None, languages: tuple[str, ...] = ("en", "de")) -> str:
        return error_of(lambda: import_folder(folder, again, languages, False, given))[
            0
        ]

    with pytest.raises(MasscliError, match=r"spiece\.model") as missing:
        import_folder(folder, again, ("en", "de"), False)
    assert "--spm-model RUN" in str(missing.value.hint)
    import_folder(folder, tmp_path / "with-the-run", ("en", "de"), False, run.path)
    assert "has no language 'fr'" in failure(run.path, ("en", "fr"))
    assert "does not put such special tokens around texts of de, en" in failure(
        run.path, ("de", "en")
    )
    config = json.loads((folder / "config.json").read_text())
    config["source_tokens_before"] = [10**6]
    (folder / "config.json").write_text(json.dumps(config))
    assert "special tokens that the model lacks" in failure(run.path)
    other = tmp_path / "vocab.txt"
    other.write_text(
        "".join(
            f"{word}\n" for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "w")
        )
    )
    assert "vocab.txt: has 16 ids, but the model has" in failure(other)
    # SentencePiece's own models have no padding, and masscli's symbol has no row here.
    plain = tmp_path / "plain.model"
    plain.write_bytes(foreign_sentencepiece("bpe", config["vocab_size"]))
    assert (
        f"plain.model: has no pad symbol among the {config['vocab_size']} pieces"
        in failure(plain)
    )
    assert not again.exists()

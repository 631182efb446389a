"""Find the vocabulary of a data folder, a checkpoint or a run, and check that it suits what is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer_card import (
    MODEL_FILE,
    TOKENIZER_FILE,
    TokenizerCard,
    read_card,
)


def find_model_file(path: Path) -> Path:
    """Return the path of `vocab.model` in a data folder, a checkpoint or a run.

    In a run it is that of the best checkpoint, or else of the last one. A path in which there is none, such
    as that of a model file, is returned unchanged.
    """
    # A run has no vocabulary of its own, but each of its checkpoints does, and it is the same in all.
    checkpoints = path / "checkpoints"
    steps = sorted(checkpoints.glob("step-*"), reverse=True)
    for folder in (path, checkpoints / "best", checkpoints / "last", *steps):
        if (folder / MODEL_FILE).is_file():
            return folder / MODEL_FILE
    return path


def find_tokenizer_folder(path: Path) -> Path | None:
    """Return the folder of the tokenizer of a data folder, a checkpoint or a run, for `Tokenizer.load`.

    It is None where there is no tokenizer of masscli, as for the path of a plain model file.
    """
    model_file = find_model_file(path)
    if model_file == path or not (model_file.parent / TOKENIZER_FILE).is_file():
        return None
    return model_file.parent


def stored_languages(path: Path) -> tuple[str, ...]:
    """Return the languages of the vocabulary of a data folder, a checkpoint or a run.

    The result is empty for a plain model file, which has no languages.
    """
    folder = find_tokenizer_folder(path)
    if folder is None:
        return ()
    return read_card(folder).languages


def check_compatible(
    card: TokenizerCard,
    preprocessing: TextPreprocessing,
    languages: Sequence[str],
    path: Path,
    model_file: Path,
) -> None:
    """Raise MasscliError unless a stored vocabulary has the given languages and preprocessing.

    Only preprocessing that is switched on must agree with the vocabulary's `card`; what is off asks for
    nothing. Messages name `path`, which the user gave, and `model_file`, which was found in it.
    """
    for language in languages:
        if language not in card.languages:
            known = ", ".join(card.languages)
            raise MasscliError(
                f"--spm-model {path}: its vocabulary has no language {language!r}",
                f"it has {known}",
            )
    hint = f"leave it out, or use the subword model alone: --spm-model {model_file}"
    check_preprocessing(card, preprocessing, f"--spm-model {path}", hint)


def check_preprocessing(
    card: TokenizerCard, preprocessing: TextPreprocessing, given: str, hint: str
) -> None:
    """Raise MasscliError, with the hint, if `preprocessing` is on where that of a stored vocabulary is not.

    `given` is the option that named the vocabulary, with its value.
    """
    # If an option is not given, the stored preprocessing applies.
    options = (
        ("normalize", preprocessing.normalize, card.normalize),
        ("moses", preprocessing.moses, card.moses),
        ("lowercase", preprocessing.lowercase, card.lowercase),
        ("romanian", preprocessing.romanian, card.romanian),
    )
    for option, requested, stored in options:
        if requested and requested != stored:
            raise MasscliError(
                f"--{option}: differs from the preprocessing of the vocabulary of {given}",
                hint,
            )

"""Read the TOML file of a recipe that a user names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from masscli.core.config import parse_toml
from masscli.core.errors import MasscliError
from masscli.core.files import broken_link_hint
from masscli.text.corpus import read_regular_text


def read_toml(path: Path) -> dict[str, Any]:
    """Return the contents of a TOML file as nested dictionaries; a folder, such as a run, has recipe.toml.

    Raises MasscliError if the file does not exist, as in a run that was imported, or is not TOML in UTF-8.
    """
    if path.is_dir():
        folder, path = path, path / "recipe.toml"
        checkpoints = folder / "checkpoints"
        if not path.exists() and checkpoints.is_dir():
            raise MasscliError(
                f"{folder}: has no recipe.toml, which only training writes: "
                "it was imported, averaged, exported or copied",
                f"--init-from {folder} trains from its weights; each folder in {checkpoints} has settings",
            )
    try:
        return parse_toml(read_regular_text(path))
    except (FileNotFoundError, NotADirectoryError):
        raise MasscliError(
            f"{path}: there is no such file",
            broken_link_hint(path)
            or "a recipe is a TOML file; `masscli recipe show RUN` prints that of a run",
        ) from None
    except OSError as error:
        raise MasscliError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise MasscliError(
            f"{path}: {error}", "the file must be TOML in UTF-8"
        ) from None

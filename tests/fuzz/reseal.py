"""Compute the checksums of a mutated folder again, as somebody would who writes such a folder by hand.

Whatever cannot be parsed any more keeps its old checksums.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from tests.fuzz.folders import LARGE, replace

FINGERPRINT_AT = 96
"""Place of the fingerprint of the vocabulary in the header of an index."""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> Any:
    """Return the object in a JSON file, or an empty one if there is none."""
    data = _bytes(path)
    try:
        content = json.loads(data or b"")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _bytes(path: Path) -> bytes | None:
    """Return the content of a file, or None for what is not one or is too large to be read."""
    if path.is_file() and path.stat().st_size <= LARGE:
        return path.read_bytes()
    return None


def _write(path: Path, content: Any) -> None:
    try:
        text = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError, RecursionError):
        return
    replace(path, text)


def seal(content: dict[str, Any]) -> None:
    """Give an object the checksum of its own content."""
    content.pop("checksum", None)
    try:
        content["checksum"] = _sha256(json.dumps(content, sort_keys=True).encode())
    except (TypeError, ValueError, RecursionError):
        pass


def reseal_tokenizer(folder: Path) -> str | None:
    """Make `tokenizer.json` fit the model beside it, and return its fingerprint."""
    card = _read(folder / "tokenizer.json")
    model = _bytes(folder / "vocab.model")
    if not card or model is None:
        return None
    card["model_sha256"] = _sha256(model)
    content = {
        key: value
        for key, value in card.items()
        if key != "fingerprint" and value is not None
    }
    try:
        languages = sorted(zip(card["language_ids"], card["languages"], strict=True))
        content["language_ids"] = [number for number, _ in languages]
        content["languages"] = [name for _, name in languages]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    card["fingerprint"] = _sha256(canonical.encode())
    _write(folder / "tokenizer.json", card)
    return str(card["fingerprint"])


def reseal_data(folder: Path) -> None:
    """Make the sizes and checksums of a data folder fit its files."""
    manifest = _read(folder / "manifest.json")
    fingerprint = reseal_tokenizer(folder)
    if fingerprint is not None and manifest:
        manifest["vocab_fingerprint"] = fingerprint
        _patch_headers(folder, bytes.fromhex(fingerprint))
    entries = manifest.get("files")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            continue
        try:
            data = _bytes(folder / entry["name"])
        except (OSError, ValueError):
            data = None
        if data is not None:
            entry["size"], entry["sha256"] = len(data), _sha256(data)
    if manifest:
        seal(manifest)
        _write(folder / "manifest.json", manifest)


def _patch_headers(folder: Path, fingerprint: bytes) -> None:
    for path in folder.glob("*.idx"):
        data = _bytes(path)
        if data is not None and len(data) >= FINGERPRINT_AT + len(fingerprint):
            patched = bytearray(data)
            struct.pack_into("32s", patched, FINGERPRINT_AT, fingerprint)
            replace(path, bytes(patched))


def reseal_checkpoint(folder: Path) -> None:
    """Make the checksums of a checkpoint fit its files."""
    reseal_tokenizer(folder)
    state = _read(folder / "state.json")
    files = state.get("files")
    if isinstance(files, dict):
        for name in files:
            try:
                data = _bytes(folder / name)
            except (OSError, ValueError):
                data = None
            if data is not None:
                files[name] = _sha256(data)
    if state:
        seal(state)
        _write(folder / "state.json", state)

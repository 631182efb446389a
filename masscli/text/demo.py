"""The built-in sample text: everyday sentences in English, French, German and Romanian, from the phrasebook in phrases/*.toml.

A frame is one sentence in four languages at once, so what it yields are translations of each other.  All morphology is data: a word lists
its forms (patterns.toml says which), and a slot asks for one by name, or for the one that agrees with another slot.  This module only
looks them up; it knows no grammar but the rules of spelling in `_spell`.

`sentences` draws from every frame; `write` makes the files of a low-resource project: a few parallel pairs, held-out pairs to test on,
and for each language monolingual text that is no translation of any other line.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import islice
from pathlib import Path
from typing import Any

from masscli.core.errors import MasscliError

LANGUAGES = ("en", "fr", "de", "ro")
SIZES = {"train": 400, "valid": 100, "test": 200}
"""Pairs of each parallel part."""
MONO = 3500
"""Lines of monolingual text for each language."""
DRAWS = 400
"""Sentences tried for each frame."""
SLOT = re.compile(r"\{(\w+)(?:\.(\w+))?(?::(\w+))?\}")


@dataclass(frozen=True, slots=True)
class Word:
    """One word in one language: its forms by name, and what others agree with (person, number, gender: 3sf)."""

    forms: Mapping[str, str]
    agr: str = ""

    def form(self, name: str, agr: str) -> str:
        """The form called `name`, agreeing with `agr`; a word of a single form does not change."""
        for part in dict.fromkeys((agr, agr[:2], agr[1:])):
            if name + part in self.forms:
                return self.forms[name + part]
        if self.forms.keys() == {""}:
            return self.forms[""]
        raise KeyError(f"{dict(self.forms)} has no form {name!r} for {agr!r}")


Entry = Mapping[str, Word]
"""A word in each language."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Some verbs with each of their objects; `weight` says how often it is drawn."""

    phrases: Sequence[Entry]
    weight: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A sentence with slots, in each language; `slots` names the class of words that fills each."""

    templates: Mapping[str, str]
    slots: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Phrasebook:
    """All words by class, and all frames."""

    words: Mapping[str, Sequence[Entry]]
    deeds: Mapping[str, Sequence[Deed]]
    frames: Sequence[Frame]


def sentences(seed: int = 1) -> list[dict[str, str]]:
    """Sentences of every frame, shuffled: each a translation in every language, and no text twice in any language."""
    book, rng = phrasebook(), random.Random(seed)
    found: list[dict[str, str]] = []
    seen: set[str] = set()
    for frame in book.frames:
        for _ in range(DRAWS):
            sentence = render(frame, draw(book, frame, rng))
            keys = [f"{language} {text}" for language, text in sentence.items()]
            if seen.isdisjoint(keys):
                seen.update(keys)
                found.append(sentence)
    rng.shuffle(found)
    return found


def write(folder: Path, seed: int = 1) -> list[Path]:
    """Write PART.LANG for each parallel part and mono.LANG.txt for each language; a file that holds something else is not replaced."""
    pool = iter(sentences(seed))
    texts: dict[str, list[str]] = {}
    for part, size in SIZES.items():
        pairs = list(islice(pool, size))
        texts |= {f"{part}.{language}": [pair[language] for pair in pairs] for language in LANGUAGES}
    for language in LANGUAGES:
        texts[f"mono.{language}.txt"] = [sentence[language] for sentence in islice(pool, MONO)]
    assert len(texts["mono.ro.txt"]) == MONO, "the phrasebook has too few sentences"
    return _publish(
        folder, {name: "".join(f"{line}\n" for line in text).encode() for name, text in texts.items()}
    )


def draw(book: Phrasebook, frame: Frame, rng: random.Random) -> dict[str, Entry]:
    """A word for each slot; two slots of one class get different ones."""
    while True:
        kinds = frame.slots.items()
        chosen = {
            slot: _do(book.deeds[kind], rng) if kind in book.deeds else rng.choice(book.words[kind])
            for slot, kind in kinds
        }
        if len({id(entry) for entry in chosen.values()}) == len(chosen):
            return chosen


def render(frame: Frame, chosen: Mapping[str, Entry]) -> dict[str, str]:
    """The sentence with these words, in every language."""
    return {language: _say(template, language, chosen) for language, template in frame.templates.items()}


@cache
def phrasebook() -> Phrasebook:
    """All that is in phrases/*.toml."""
    tables = [tomllib.loads(path.read_text(encoding="utf-8")) for path in _files()]
    patterns = {
        language: _union(table.get("patterns", {}).get(language, {}) for table in tables)
        for language in LANGUAGES
    }
    lists = _union(table.get("words", {}) for table in tables)
    singles = {name: [row] for name, row in _union(table.get("word", {}) for table in tables).items()}
    words = {name: [_entry(row, patterns) for row in rows] for name, rows in _union([lists, singles]).items()}
    for name, members in _union(
        table.get("unions", {}) for table in tables
    ).items():  # each after those that it consists of
        words = _union([words, {name: [entry for member in members for entry in words[member]]}])
    deeds = {
        name: [_deed(words[verbs], words[objects]) for verbs, objects in rows]
        for table in tables
        for name, rows in table.get("deeds", {}).items()
    }
    return Phrasebook(words, deeds, [_frame(raw) for table in tables for raw in table.get("frame", [])])


def _files() -> list[Traversable]:
    """In the order of their names, so that a seed always means the same."""
    folder = files("masscli.text").joinpath("phrases")
    return sorted(
        (path for path in folder.iterdir() if path.name.endswith(".toml")), key=lambda path: path.name
    )


def _union(tables: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All tables in one; a name that two of them define is a mistake in the phrasebook."""
    out: dict[str, Any] = {}
    for table in tables:
        assert out.keys().isdisjoint(table), out.keys() & table
        out |= table
    return out


def _entry(row: Sequence[str], patterns: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Entry:
    return {language: _word(text, patterns[language]) for language, text in zip(LANGUAGES, row, strict=True)}


def _word(text: str, patterns: Mapping[str, Mapping[str, str]]) -> Word:
    """`part,part +pattern`, or a word that never changes."""
    stem, plus, pattern = text.partition("+")
    if not plus:
        return Word({"": text})
    parts = stem.strip().split(",")
    forms = {
        name: re.sub(r"~(\d)", lambda hit: parts[int(hit[1]) - 1], form)
        for name, form in patterns[pattern].items()
    }
    return Word(forms, forms.pop("agr", ""))


def _deed(verbs: Sequence[Entry], objects: Sequence[Entry]) -> Deed:
    """Every verb with every object, merged into one word; drawn as often as there are words, so that none is much rarer than another."""
    phrases = [
        {x: Word({**thing[x].forms, **verb[x].forms}) for x in LANGUAGES}
        for verb in verbs
        for thing in objects
    ]
    return Deed(phrases, len(verbs) + len(objects))


def _frame(raw: Mapping[str, Any]) -> Frame:
    templates = {language: raw[language] for language in LANGUAGES}
    found = [slot for template in templates.values() for slot in SLOT.finditer(template)]
    named = dict.fromkeys(name for slot in found for name in (slot[1], slot[3]) if name)
    return Frame(templates, {name: raw.get("slots", {}).get(name, name) for name in named})


def _do(deeds: Sequence[Deed], rng: random.Random) -> Entry:
    (deed,) = rng.choices(deeds, [deed.weight for deed in deeds])
    return rng.choice(deed.phrases)


def _say(template: str, language: str, chosen: Mapping[str, Entry]) -> str:
    def fill(slot: re.Match[str]) -> str:
        name, form, other = slot.groups("")
        return chosen[name][language].form(form, chosen[other][language].agr if other else "")

    return _spell(SLOT.sub(fill, template))


def _spell(text: str) -> str:
    """Elide j(e), choose a(n), close the gaps that empty words leave, begin with a capital."""
    if "(" in text:
        text = re.sub(r"\ba\(n\) (?=([aeiou])?)", lambda hit: "an " if hit[1] else "a ", text)
        text = re.sub(
            r"\(e\) (?=([aàeéèêiîoœuy])?)", lambda hit: "'" if hit[1] else "e ", text, flags=re.IGNORECASE
        )
    text = " ".join(text.split()).replace(" .", ".").replace(" ,", ",")
    return text[:1].upper() + text[1:]


def _publish(folder: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Write each file at once, after a look at what is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = {folder / name: data for name, data in contents.items()}
        for path, data in paths.items():
            if path.exists() and path.read_bytes() != data:
                raise MasscliError(
                    f"{path}: is there already, with other contents", "name a folder that is new or empty"
                )
        for path, data in paths.items():
            aside = path.with_name(f".{path.name}.new")
            aside.write_bytes(data)
            aside.replace(path)
    except OSError as error:
        raise MasscliError(f"{folder}: cannot be written ({error.strerror})", "name another folder") from None
    return list(paths)

"""The parts of tokenizer.json that a class of Hugging Face's tokenizers builds itself.

The library (version 5) builds them from tokenizer_config.json or the defaults of the class, whatever
tokenizer.json says. An import does the same, and names what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import SETTINGS, TOKENIZER, read_flag

Json = dict[str, Any]
_QUOTES_OF_TEX = tuple(
    {"type": "Replace", "pattern": {"String": quote}, "content": '"'}
    for quote in ("``", "''")
)


@dataclass
class _Rules:
    """The settings of a class of tokenizers; `notes` collects where tokenizer.json differs from them."""

    class_name: str
    settings: Mapping[str, Any]
    path: Path
    notes: list[str] = field(default_factory=list)

    def flag(self, key: str, default: bool) -> bool:
        """Return a setting of the class; raise MasscliError if it is neither true nor false."""
        return read_flag(self.settings, key, default, self.path)

    def report(self, key: str, value: object, name: str, other: object) -> None:
        """Note that the setting `key` is `value`, where `name` in tokenizer.json is `other`."""
        by = SETTINGS if key in self.settings else f"default of {self.class_name}"
        self.notes.append(
            f"{key} is {value} ({by}), which takes precedence over {TOKENIZER}, where {name} is {other}"
        )


def with_class_rules(
    content: Json, settings: Mapping[str, Any], class_name: str, folder: Path
) -> tuple[Json, list[str]]:
    """Return the content of tokenizer.json with the rules of a class, and notes on what was different there.

    `settings` is the content of tokenizer_config.json, and both files are in `folder`. Raises MasscliError if
    a setting is neither true nor false.
    """
    build = _BUILDERS.get(class_name)
    if build is None or not content:
        return content, []
    rules = _Rules(class_name, settings, folder / SETTINGS)
    return {**content, **build(content, rules)}, rules.notes


def steps_of(part: object) -> list[Mapping[str, Any]]:
    """Return the steps of a normalizer, pre-tokenizer or decoder of tokenizer.json.

    They are the members of a sequence, or the part itself if it is not one; there are none if it is missing.
    """
    if not isinstance(part, dict) or not part:
        return []
    for key in ("normalizers", "pretokenizers", "decoders"):
        if isinstance(part.get(key), list):
            return [step for step in part[key] if isinstance(step, dict)]
    return [part]


def begins_with_space(steps: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether these steps of a pre-tokenizer put a space before a text."""
    return all(
        step.get("add_prefix_space", True) and step.get("prepend_scheme") != "never"
        for step in steps
    )


def _bert(content: Json, rules: _Rules) -> Json:
    """Return the normalizer of BERT, DistilBERT and ELECTRA."""
    part = content.get("normalizer")
    if not isinstance(part, dict) or part.get("type") != "BertNormalizer":
        return {}
    values: Json = {
        "lowercase": rules.flag("do_lower_case", True),
        "strip_accents": None,
        "handle_chinese_chars": rules.flag("tokenize_chinese_chars", True),
    }
    # Without this setting, accents are removed if text is lower-cased.
    if rules.settings.get("strip_accents") is not None:
        values["strip_accents"] = rules.flag("strip_accents", False)
    keys = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    for key, (name, value) in zip(keys, values.items(), strict=True):
        if part.get(name) != value:
            rules.report(key, value, name, part.get(name))
    return {"normalizer": part | values}


def _byte_level(content: Json, rules: _Rules) -> Json:
    """Return the pre-tokenizer of RoBERTa, GPT-2 and BART."""
    part = content.get("pre_tokenizer")
    if not isinstance(part, dict) or part.get("type") != "ByteLevel":
        return {}
    value = rules.flag("add_prefix_space", False)
    if part.get("add_prefix_space") != value:
        rules.report(
            "add_prefix_space", value, "add_prefix_space", part.get("add_prefix_space")
        )
    return {"pre_tokenizer": part | {"add_prefix_space": value}}


def _albert(content: Json, rules: _Rules) -> Json:
    """Return the normalizer and the pre-tokenizer of ALBERT."""
    steps = steps_of(content.get("normalizer"))
    kinds = [step.get("type") for step in steps]
    built: list[Mapping[str, Any]] = list(_QUOTES_OF_TEX)
    keep_accents = rules.flag("keep_accents", False)
    if not keep_accents:
        built += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if keep_accents == ("StripAccents" in kinds):
        rules.report("keep_accents", keep_accents, "it", not keep_accents)
    lowercase = rules.flag("do_lower_case", True)
    if lowercase:
        built.append({"type": "Lowercase"})
    if lowercase != ("Lowercase" in kinds):
        rules.report("do_lower_case", lowercase, "it", not lowercase)
    built += [step for step in steps if step.get("type") == "Precompiled"]
    normalizer = {"type": "Sequence", "normalizers": built}
    return {"normalizer": normalizer, **_first_space(content, rules)}


def _first_space(content: Json, rules: _Rules) -> Json:
    """Return the pre-tokenizer of ALBERT, XLM-R and CamemBERT, in which only the first space is a setting.

    Version 5 of the library drops other steps, and version 4 takes them. Here they are taken, and named.
    """
    steps = steps_of(content.get("pre_tokenizer"))
    space = rules.flag("add_prefix_space", True)
    if space == begins_with_space(steps):
        return {}
    rules.report("add_prefix_space", space, "it", not space)
    changed = []
    for step in steps:
        if step.get("type") == "Metaspace":
            scheme = "always" if space else "never"
            # The older name of the setting would contradict it.
            step = {**step, "prepend_scheme": scheme}
            step.pop("add_prefix_space", None)
        changed.append(step)
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": changed}}


def _translator(content: Json, rules: _Rules) -> Json:
    """Return the pre-tokenizer of mBART, NLLB and Pegasus, which put a space before each part of a text.

    Version 5 of the library drops other steps, and version 4 takes them. Here they are taken, and named.
    """
    kinds = [str(step.get("type")) for step in steps_of(content.get("normalizer"))]
    others = [kind for kind in kinds if kind not in ("Precompiled", "Replace")]
    if others:
        rules.notes.append(
            f"{TOKENIZER} has the step {', '.join(others)}, which is taken as in version 4 of Hugging Face's "
            "library; version 5 drops it"
        )
    steps = []
    for step in steps_of(content.get("pre_tokenizer")):
        if step.get("type") == "Metaspace":
            scheme = step.get("prepend_scheme", "always")
            if scheme != "always" or not step.get("add_prefix_space", True):
                rules.notes.append(
                    f"each part of a text begins with a space, as in {rules.class_name}; {TOKENIZER} differs"
                )
            step = {**step, "prepend_scheme": "always"}
            step.pop("add_prefix_space", None)
        steps.append(step)
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}


_BUILDERS: Mapping[str, Callable[[Json, _Rules], Json]] = {
    "BertTokenizer": _bert,
    "DistilBertTokenizer": _bert,
    "ElectraTokenizer": _bert,
    "RobertaTokenizer": _byte_level,
    "GPT2Tokenizer": _byte_level,
    "BartTokenizer": _byte_level,
    "AlbertTokenizer": _albert,
    "XLMRobertaTokenizer": _first_space,
    "CamembertTokenizer": _first_space,
    "MBartTokenizer": _translator,
    "MBart50Tokenizer": _translator,
    "NllbTokenizer": _translator,
    "PegasusTokenizer": _translator,
}
"""For each class, the function that returns the parts of tokenizer.json that it builds."""

"""Find out how a multilingual task of fairseq marks languages: its tags, and where they are placed in texts.

    task                              after the dictionary    source            decoder reads
    translation_from_pretrained_bart  [en_XX] ... <mask>      words </s> TAG    TAG words
    translation_multi_simple_epoch    __en__ ...              TAG words </s>    </s> TAG words
    online_backtranslation            <mask> __en__ ...       TAG words </s>    TAG words

The first task is that of mBART, whose multilingual_denoising does the same. In the second, with which
M2M100 and mBART-50 were trained, tags have either of these forms, and an option chooses the tag of each
side; the tag on the source may be that of the target language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.foreign import ImportRequest
from masscli.checkpoint.convert.inert_objects import attributes
from masscli.core.errors import MasscliError
from masscli.text.corpus import read_regular_text

_MBART_TASKS = ("translation_from_pretrained_bart", "multilingual_denoising")


@dataclass(frozen=True)
class LanguageTags:
    """The language tags of a task, and where they are placed around texts; all empty if there are none.

    `pieces` are the pieces that the task appends to the dictionary, in order, and `of_language` has the
    piece of each language. `framing` has the fields of `ModelConfig` that say where tags are placed,
    and is empty if texts have none.
    """

    pieces: Sequence[str] = ()
    of_language: Mapping[str, str] = field(default_factory=dict)
    framing: Mapping[str, str] = field(default_factory=dict)
    forces_target: bool = False
    """Whether outputs begin with the tag of the target, although sources have no tag and `framing` is
    empty."""
    missing_list: Path | None = None
    """A missing file that would list the languages in the order of their pieces. Without it the order
    of `pieces` is arbitrary, and they can only be used with a dictionary that contains them."""

    def require(self, path: Path, languages: Sequence[str | None]) -> None:
        """Raise MasscliError, which names the file `path`, if one of `languages` is None or has no tag."""
        for language in languages:
            if language not in self.of_language:
                known = ", ".join(self.of_language)
                raise MasscliError(
                    f"{path}: {language or 'a language'} is not one of its languages, {known}",
                    "choose two of them with -s and -t",
                )


def is_mbart_task(options: Mapping[str, Any]) -> bool:
    """Return whether the task named by the options is one of mBART's."""
    return options.get("task") in _MBART_TASKS


def find_tags(request: ImportRequest, options: Mapping[str, Any]) -> LanguageTags:
    """Return the language tags of the task that a file's options name; other tasks have none.

    Raises MasscliError if tags are in places where masscli does not put any.
    """
    task = options.get("task")
    if is_mbart_task(options):
        return _mbart_tags(request, options)
    if task == "translation_multi_simple_epoch":
        return _simple_epoch_tags(request, options)
    if task == "online_backtranslation":
        languages = str(options.get("mono_langs") or "").split(",")
        named = {language: f"__{language}__" for language in languages}
        framing = _framing("first", "start")
        return LanguageTags(("<mask>", *named.values()), named, framing)
    for option in ("encoder_langtok", "decoder_langtok"):
        if options.get(option):
            raise _in_place_of_the_end(request, option)
    return LanguageTags()


def refuse_tags_of_prompts(request: ImportRequest, options: Mapping[str, Any]) -> None:
    """Raise MasscliError for a language model whose prompts begin with the tag of their language."""
    is_multilingual = options.get("task") == "multilingual_language_modeling"
    if is_multilingual and options.get("add_bos_token"):
        raise MasscliError(
            f"{request.path}: begins texts with language tags (--add-bos-token)",
            "such models are not supported",
        )


def _framing(source: str, target: str) -> dict[str, str]:
    return {"languages": "tag", "source_tag": source, "target_tag": target}


def _in_place_of_the_end(request: ImportRequest, option: str) -> MasscliError:
    """Return the error for a task with a tag instead of `</s>`; `option` is the one that asks for it."""
    return MasscliError(
        f"{request.path}: has language tags instead of </s> (--{option.replace('_', '-')})",
        "such models are not supported",
    )


def _mbart_tags(request: ImportRequest, options: Mapping[str, Any]) -> LanguageTags:
    """Return the tags of a task of mBART; its denoising task has tags only with --add-lang-token.

    Raises MasscliError if texts also begin with `<s>`.
    """
    is_denoising = options.get("task") == "multilingual_denoising"
    if is_denoising and not options.get("add_lang_token"):
        return LanguageTags()
    if request.bos or options.get("prepend_bos"):
        raise MasscliError(
            f"{request.path}: begins texts with <s> and ends them with a tag",
            "such models are not supported",
        )
    languages = str(options.get("langs") or "").split(",")
    named = {language: f"[{language}]" for language in languages}
    return LanguageTags(tuple(named.values()), named, _framing("last", "start"))


def _simple_epoch_tags(
    request: ImportRequest, options: Mapping[str, Any]
) -> LanguageTags:
    """Return the tags of the task translation_multi_simple_epoch, which are in its dictionary in any case.

    Raises MasscliError if they replace `</s>`, or are in other places that masscli does not support.
    """
    if options.get("lang_tok_replacing_bos_eos"):
        raise _in_place_of_the_end(request, "lang_tok_replacing_bos_eos")
    is_mbart_style = options.get("lang_tok_style") == "mbart"
    languages, missing_list = _languages(request, options)
    pieces = []
    named = {}
    for kind in _list(options.get("langtoks_specs") or "main"):
        for language in languages:
            name = language + _suffix(kind)
            piece = f"[{name}]" if is_mbart_style else f"__{name}__"
            pieces.append(piece)
            if name == language:
                named[language] = piece
    has_denoising = "mono_dae" in attributes(options.get("extra_data"))
    if is_mbart_style or has_denoising:
        pieces.append("<mask>")
    source, target = _places(request, options)
    if source == "none":
        return LanguageTags(
            pieces,
            named,
            forces_target=target == "forced",
            missing_list=missing_list,
        )
    return LanguageTags(
        pieces, named, _framing(source, target), missing_list=missing_list
    )


def _places(request: ImportRequest, options: Mapping[str, Any]) -> tuple[str, str]:
    """Return where translation_multi_simple_epoch puts tags, as values of source_tag and target_tag.

    The first is `none` if sources have no tag. The places are given by two options, or by one that
    gives both for each kind of data (`langtoks`). Raises MasscliError if `langtoks` gives a place that
    the two options do not have.
    """
    places: Any = (
        options.get("encoder_langtok"),
        "tgt" if options.get("decoder_langtok") else None,
    )
    of_kinds = attributes(options.get("langtoks"))
    if "main" in of_kinds:
        places = of_kinds["main"]
    sources = {None: "none", "src": "first", "tgt": "target"}
    targets = {None: "none", "tgt": "forced"}
    try:
        source, target = places
        return sources[source], targets[target]
    except (KeyError, TypeError, ValueError):
        raise MasscliError(
            f"{request.path}: has special places for language tags (--langtoks)",
            "such models are not supported",
        ) from None


def _suffix(kind: str) -> str:
    """Return the suffix of tags for data of a kind, such as `_dae` for `mono_dae`."""
    for end in ("dae", "mined"):
        if kind.endswith(end):
            return f"_{end}"
    return ""


def _languages(
    request: ImportRequest, options: Mapping[str, Any]
) -> tuple[list[str], Path | None]:
    """Return the languages of translation_multi_simple_epoch, and the file of `LanguageTags.missing_list`.

    They come from the option `langs`, or from the lines of the file that `lang_dict` names if it is in
    the checkpoint's folder, or else from all pairs, in alphabetical order. They are in the order of
    their tags unless that file is missing.
    """
    if options.get("langs"):
        return _list(options["langs"]), None
    pairs = _list(options.get("lang_pairs"))
    of_pairs = sorted({language for pair in pairs for language in pair.split("-")})
    if not options.get("lang_dict"):
        return of_pairs, None
    # The path refers to another machine, and a foreign file must not cause any other file on this one
    # to be opened.
    path = request.path.parent / Path(str(options["lang_dict"])).name
    try:
        lines = read_regular_text(path).splitlines()
    except (OSError, ValueError):
        return of_pairs, path
    return [line.strip() for line in lines if line.strip()], None


def _list(value: Any) -> list[str]:
    """Return the strings of an option that is a list or a comma-separated string; None is an empty list."""
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return str(value).split(",") if value else []

"""Convert generation settings between Hugging Face's library and masscli.

A Hugging Face folder has them in generation_config.json, an older one in config.json.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import CONFIG, read_flag, read_json
from masscli.core.config import ConfigError, from_dict, to_dict
from masscli.core.errors import MasscliError
from masscli.generation.config import GenerationConfig

GENERATION_CONFIG = "generation_config.json"
_NAMES = {
    "beam": "num_beams",
    "lenpen": "length_penalty",
    "no_repeat_ngram_size": "no_repeat_ngram_size",
    "repetition_penalty": "repetition_penalty",
    "min_len": "min_length",
}
"""Fields of masscli's `GenerationConfig`, each with its name in generation_config.json."""

_NOT_IMPORTED = (
    "begin_suppress_tokens",
    "constraints",
    "diversity_penalty",
    "dola_layers",
    "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "exponential_decay_length_penalty",
    "force_words_ids",
    "forced_decoder_ids",
    "guidance_scale",
    "max_time",
    "num_beam_groups",
    "num_return_sequences",
    "penalty_alpha",
    "renormalize_logits",
    "sequence_bias",
    "stop_strings",
    "token_healing",
    "watermarking_config",
)
"""Settings of generation_config.json that change a search, and that an import ignores and reports."""
_WITHOUT_EFFECT = (
    "_from_model_config",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_ensemble_weight",
    "assistant_lookbehind",
    "cache_config",
    "cache_implementation",
    "compile_config",
    "continuous_batching_config",
    "disable_compile",
    "is_assistant",
    "low_memory",
    "max_cache_len",
    "max_matching_ngram_size",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "prefill_chunk_size",
    "prompt_lookup_num_tokens",
    "remove_invalid_values",
    "return_dict_in_generate",
    "return_legacy_cache",
    "speculation_type",
    "target_lookbehind",
    "transformers_version",
    "use_cache",
    "use_mtp",
)
"""Settings of generation_config.json that do not change which output is found."""
_OF_SAMPLES = (
    "epsilon_cutoff",
    "eta_cutoff",
    "min_p",
    "temperature",
    "top_h",
    "top_k",
    "top_p",
    "typical_p",
)
"""Settings of generation_config.json that act on samples alone; that a model samples is reported."""
_READ = (
    "bad_words_ids",
    "bos_token_id",
    "decoder_start_token_id",
    "do_sample",
    "early_stopping",
    "eos_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "max_length",
    "max_new_tokens",
    "min_new_tokens",
    "pad_token_id",
    "suppress_tokens",
)
"""Settings of generation_config.json that an import reads, besides those in `_NAMES`."""
KNOWN_SETTINGS = frozenset(
    (*_NAMES.values(), *_READ, *_NOT_IMPORTED, *_OF_SAMPLES, *_WITHOUT_EFFECT)
)
"""All settings of generation_config.json that an import knows; older files have them in config.json."""
_NEUTRAL: tuple[Any, ...] = (None, False, 0, 1, [], {})
"""Values with which a setting in `_NOT_IMPORTED` changes nothing."""
_START_KEY, _BOS_KEY = "decoder_start_token_id", "bos_token_id"
_START = 1
"""The number of start symbols that Hugging Face's max_length and min_length count."""
_END = 1
"""The number of end symbols that Hugging Face's lengths count."""


def search_settings(folder: Path, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the content of generation_config.json, or that of config.json (`config`) if the folder has none.

    As in Hugging Face's library, what config.json says of the search has no effect beside the newer file.
    Raises MasscliError if this is damaged.
    """
    if (folder / GENERATION_CONFIG).exists():
        return read_json(folder / GENERATION_CONFIG)
    return config


def decoder_start_id(folder: Path, config: Mapping[str, Any]) -> Any:
    """Return the id that a decoder reads first, by generation_config.json and config.json (`config`).

    It may be of any type; None means that neither file has it.
    """
    settings = search_settings(folder, config)
    # In Hugging Face's library, bos_token_id of the same file comes before config.json.
    for source, key in (
        (settings, _START_KEY),
        (settings, _BOS_KEY),
        (config, _START_KEY),
    ):
        if source.get(key) is not None:
            return source[key]
    return None


def decoder_start_notes(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """Return a list with a note if a decoder begins with bos_token_id for want of another id, or no note.

    `config` is the content of config.json.
    """
    settings = search_settings(folder, config)
    bos = settings.get(_BOS_KEY)
    if settings.get(_START_KEY) is not None or bos is None:
        return []
    name = CONFIG if settings is config else GENERATION_CONFIG
    return [
        f"{name} has no {_START_KEY}: as in Hugging Face's library, outputs begin after {_BOS_KEY} {bos}"
    ]


def read_generation_settings(
    folder: Path,
    config: Mapping[str, Any],
    forced: int,
    never: Collection[int],
    end: int,
) -> tuple[dict[str, str], list[str]]:
    """Return the default search of a Hugging Face model, and notes for the user on ignored settings.

    The search has values, as typed on the command line, by field of `GenerationConfig`. It comes from
    generation_config.json in `folder`, or, if there is none, from `config`, the content of its
    config.json; fields that this does not set are left out, except the beam size, which the library
    takes to be 1. `forced` is the number of tokens that every output is forced to begin with; masscli's
    lengths do not count them. `never` are the ids of the folder that masscli never generates, whatever
    the settings say, and `end` is that of the end symbol. Raises MasscliError if a setting is wrong.
    """
    settings = search_settings(folder, config)
    search = _convert_settings(settings, forced, folder)
    return search, _settings_notes(settings, config, never, end)


def read_continuation_settings(
    folder: Path, config: Mapping[str, Any], end: int
) -> tuple[dict[str, str], list[str]]:
    """Return the default search of a Hugging Face model that continues prompts, and notes for the user.

    This is `read_generation_settings` for a model without encoder, except that max_length and min_length are
    ignored: they count the prompt, which masscli's lengths do not. Raises MasscliError if a setting is wrong.
    """
    settings = search_settings(folder, config)
    counting = ("max_length", "min_length")
    others = {name: value for name, value in settings.items() if name not in counting}
    search = _convert_settings(others, 0, folder)
    notes = _settings_notes(settings, config, (), end)
    ignored = [name for name in counting if settings.get(name) not in _NEUTRAL]
    if ignored:
        notes.append(
            f"left out: {', '.join(ignored)}; masscli's lengths do not count the prompt"
        )
    return search, notes


def _convert_settings(
    settings: Mapping[str, Any], forced: int, folder: Path
) -> dict[str, str]:
    """Return Hugging Face's generation settings as fields of `GenerationConfig`, in the form of flags.

    `forced` is the number of tokens that every output is forced to begin with. Raises MasscliError, which
    names `folder`, if a setting is wrong.
    """
    options: dict[str, Any] = {"beam": 1}
    for field, name in _NAMES.items():
        if settings.get(name) is not None:
            options[field] = settings[name]
    # It may also be "never", which is masscli's default behavior. A greedy search there ends at the first
    # end symbol in any case, as one without lookahead does here.
    if settings.get("early_stopping") != "never":
        stops = read_flag(settings, "early_stopping", False, folder / GENERATION_CONFIG)
        options |= {"early_stop": True} if stops else {"lookahead": False}
    elif options["beam"] == 1:
        options["lookahead"] = False
    options |= _length_options(settings, forced, folder / GENERATION_CONFIG)
    try:
        from_dict(GenerationConfig, options)
    except ConfigError as error:
        reason = str(error).splitlines()[0]
        raise MasscliError(
            f"{folder}: its generation settings are wrong: {reason}"
        ) from None
    # In the form used on the command line, such as `true`.
    return {field: str(value).lower() for field, value in options.items()}


def _settings_notes(
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    never: Collection[int],
    end: int,
) -> list[str]:
    """Return notes for the user on generation settings that an import does not take over.

    `config` is the content of config.json; `never` and `end` are those of `read_generation_settings`.
    """
    notes = _left_out(settings, never, end)
    if settings.get("eos_token_id") is None:
        notes.append(
            f"no eos_token_id is set: outputs end at the end symbol ({end}), and in Hugging Face's library "
            "at the length limit"
        )
    # config.json also has many settings that are not those of a search.
    if settings is not config:
        notes += _unknown(settings)
    return notes


def _length_options(
    settings: Mapping[str, Any], forced: int, path: Path
) -> dict[str, Any]:
    """Return the length limits in Hugging Face's generation settings, as fields of `GenerationConfig`.

    masscli's limits do not count special tokens, and an upper limit is at least 1. `forced` is the
    number of tokens that every output is forced to begin with. Raises MasscliError, which names the
    file `path`, if a limit is not a whole number.
    """
    for name in ("max_length", "max_new_tokens", "min_length", "min_new_tokens"):
        limit = settings.get(name)
        if limit is not None and type(limit) is not int:
            raise MasscliError(
                f"{path}: its {name} is {limit!r}", "expected a number of tokens"
            )
    options: dict[str, Any] = {}
    # Hugging Face's lengths count forced tokens, and the end symbol if the last token is forced to be it.
    others = forced
    if settings.get("forced_eos_token_id") is not None:
        others += _END
    if settings.get("max_length") is not None:
        options["max_len_a"] = 0.0
        options["max_len_b"] = max(1, settings["max_length"] - _START - others)
    # This one does not count the start symbol, and has priority.
    if settings.get("max_new_tokens") is not None:
        options["max_len_a"] = 0.0
        options["max_len_b"] = max(1, settings["max_new_tokens"] - others)
    # Without a limit there, outputs may be empty.
    shortest = (settings.get("min_length") or 0) - _START
    if settings.get("min_new_tokens") is not None:
        shortest = settings["min_new_tokens"]
    options["min_len"] = max(0, shortest - forced)
    # Of two that contradict each other, the maximum counts there.
    if "max_len_b" in options:
        options["min_len"] = min(options["min_len"], options["max_len_b"])
    return options


def _left_out(
    settings: Mapping[str, Any], never: Collection[int], end: int
) -> list[str]:
    """Return a list with a note that names the settings which an import leaves out, or an empty list.

    All of them change a search. Those that are set are reported; a value of 0, 1, false or [] has no
    effect, and neither has a ban on ids that are `never` generated. `end` is the id of the end symbol.
    """
    unused = [name for name in _NOT_IMPORTED if settings.get(name) not in _NEUTRAL]
    if settings.get("do_sample") is True:
        unused.append("do_sample")
    for name in ("bad_words_ids", "suppress_tokens"):
        if _bans_more(settings.get(name), never):
            unused.append(name)
    # Hugging Face's greedy search applies it to logits.
    is_greedy = settings.get("num_beams") in (None, 1)
    if is_greedy and settings.get("repetition_penalty") not in (None, 1):
        unused.append("repetition_penalty of logits (here it is of log-probabilities)")
    ends = settings.get("eos_token_id")
    if not isinstance(ends, list):
        ends = [ends]
    other_ends = [str(number) for number in ends if number not in (None, end)]
    if other_ends:
        unused.append(f"eos_token_id {', '.join(other_ends)}")
    if not unused:
        return []
    return [f"left out, since an import does not take them over: {', '.join(unused)}"]


def _unknown(settings: Mapping[str, Any]) -> list[str]:
    """Return a list with a note that names the settings which masscli does not know, or an empty list.

    `settings` is the content of generation_config.json. Newer versions of the library may have settings that
    change a search.
    """
    names = [
        name
        for name, value in settings.items()
        if name not in KNOWN_SETTINGS and value not in _NEUTRAL
    ]
    if not names:
        return []
    return [
        f"{GENERATION_CONFIG} has settings that masscli does not know: {', '.join(names)}"
    ]


def _bans_more(banned: Any, never: Collection[int]) -> bool:
    """Return whether a list of banned ids, or of banned words as lists of ids, has any not in `never`."""
    if not isinstance(banned, list):
        return False
    alone = [[number] for number in never]
    return any(word not in never and word not in alone for word in banned)


def write_generation_settings(
    options: Mapping[str, str], max_positions: int, forced: int
) -> dict[str, Any]:
    """Return the search of a translator as entries of Hugging Face's generation_config.json.

    `options` are fields of `GenerationConfig` as text, and other fields have their defaults. max_length is
    what the decoder has `max_positions` for, or less if `options` give max_len_b and max_len_a is 0. `forced`
    is the number of tokens that every output is forced to begin with.
    """
    search = from_dict(GenerationConfig, options)
    # There is no counterpart of max_len_a there: the length limit is that of the model. The decoder does not
    # read the end symbol, which needs no position.
    longest = max_positions + _END
    if "max_len_b" in options and search.max_len_a == 0:
        longest = min(longest, search.max_len_b + _START + forced + _END)
    # The end symbol also counts there; 0 has no effect.
    shortest = 0
    if search.min_len:
        shortest = search.min_len + _START + forced
    lengths = {"max_length": longest, "min_length": shortest}
    return _search_entries(options, search) | lengths


def write_continuation_settings(
    options: Mapping[str, str], max_positions: int
) -> dict[str, Any]:
    """Return the search of a model that continues prompts as entries of generation_config.json.

    `options` are fields of `GenerationConfig` as text, and other fields have their defaults. The length limit
    is max_len_b if `options` give it and max_len_a is 0, and that of the library if they give others;
    without any options it is `max_positions`, the prompt counted.
    """
    search = from_dict(GenerationConfig, options)
    settings = _search_entries(options, search)
    if search.min_len:
        settings["min_new_tokens"] = search.min_len
    if "max_len_b" in options and search.max_len_a == 0:
        settings["max_new_tokens"] = search.max_len_b
    elif not options:
        settings["max_length"] = max_positions
    return settings


def _search_entries(
    options: Mapping[str, str], search: GenerationConfig
) -> dict[str, Any]:
    """Return all entries of generation_config.json for a search but its limits of length.

    `search` is the search that `options` describe. Without options, early_stopping is true. A greedy search
    has neither it nor length_penalty, with which the library refuses to save the settings.
    """
    values = to_dict(search)
    settings = {
        name: values[field] for field, name in _NAMES.items() if field != "min_len"
    }
    if search.beam == 1:
        del settings["length_penalty"]
        return settings
    stops: bool | str = True
    if options and not search.early_stop:
        stops = "never" if search.lookahead else False
    return {**settings, "early_stopping": stops}

"""Conversion of values from other toolkits to masscli's form: the forms that flags.toml names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import PurePath

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".bin")
"""The endings of files with weights of other programs."""
XLM_OPTIMIZERS = {
    "adam": "--optimizer adam --lr-scheduler constant --warmup-updates 0",
    "adam_inverse_sqrt": "--optimizer adam --lr-scheduler inverse_sqrt --warmup-updates 4000",
    "adam_cosine": "--optimizer adam --lr-scheduler cosine --warmup-updates 4000",
}
"""The masscli flags for each optimizer of XLM, including XLM's defaults for it."""
XLM_OPTIMIZER_OPTIONS = {
    "lr": "--lr",
    "warmup_updates": "--warmup-updates",
    "warmup_init_lr": "--warmup-init-lr",
    "weight_decay": "--weight-decay",
    "eps": "--adam-eps",
}
"""The masscli flag for each parameter of XLM's optimizers that has one by itself."""


def items(value: str) -> list[str]:
    """Return the items of a Python list or tuple such as `(0.9, 0.98)`; of a single value, this value."""
    return [item.strip() for item in value.strip("()[] ").split(",")]


def languages(value: str) -> str:
    """Return the languages in `en-fr`, `en,fr` or `en-en,zh-zh`, each once, joined by commas."""
    parts = [part for part in re.split("[-,]", value) if part]
    return ",".join(dict.fromkeys(parts))


def checkpoint(value: str) -> str:
    """Return the path of the masscli run or checkpoint that corresponds to a checkpoint of another toolkit.

    checkpoint_best.pt becomes its folder, since masscli takes the best checkpoint of a run by default, and
    checkpoint_last.pt becomes checkpoints/last in it. The path of another file of weights (.pt, .pth or .bin)
    loses its ending, for the run that `masscli import` may make of it. Any other value stays as it is.
    """
    path = PurePath(value)
    if path.name == "checkpoint_best.pt":
        return str(path.parent)
    if path.name == "checkpoint_last.pt":
        return str(path.parent / "checkpoints" / "last")
    if path.suffix in CHECKPOINT_SUFFIXES:
        return str(path.with_suffix(""))
    return value


def xlm_optimizer(value: str) -> list[str]:
    """Return the masscli flags for a value of XLM's --optimizer, as words.

    An example is `adam_inverse_sqrt,beta1=0.9,beta2=0.98,lr=0.0001`. The betas are flags in any case, with
    XLM's defaults if `value` does not set them; parameters that have no flag here (exp_factor, init_period)
    are left out. Raises KeyError for an optimizer that is not in XLM_OPTIMIZERS.
    """
    name, *assignments = value.split(",")
    given = {}
    for assignment in assignments:
        option, equals, number = assignment.partition("=")
        if equals:
            given[option] = number
    # A single masscli flag has both betas.
    betas = f"{given.get('beta1', '0.9')},{given.get('beta2', '0.999')}"
    words = [*XLM_OPTIMIZERS[name].split(), "--adam-betas", betas]
    for option, flag in XLM_OPTIMIZER_OPTIONS.items():
        if option in given:
            words += [flag, given[option]]
    return words


def xlm_criterion(value: str) -> list[str]:
    """Return the masscli flags --best-metric and --patience for XLM's --stopping_criterion, as words.

    An example is `valid_en-fr_mt_bleu,10`: a metric, and how many validations to wait for a better value. An
    empty value needs no flag.
    """
    metric, _, patience = value.partition(",")
    if not metric:
        return []
    words = ["--best-metric", "bleu" if "bleu" in metric else "loss"]
    # A second metric may follow instead of a number.
    if patience.isdecimal():
        words += ["--patience", patience]
    return words


def xlm_models(value: str) -> list[str]:
    """Return the masscli flags for XLM's --reload_model ENCODER,DECODER, as words.

    They are --init-from and, for two files, --init-decoder-from; an empty value needs none.
    """
    paths = [checkpoint(path) for path in value.split(",") if path]
    words: list[str] = []
    for flag, path in zip(("--init-from", "--init-decoder-from"), paths, strict=False):
        words += [flag, path]
    return words


def mask_keep_random(value: str) -> list[str]:
    """Return the masscli flags, as words, for shares of masked, kept and random words as in `0.8,0.1,0.1`."""
    _, keep, random = value.split(",")
    return ["--leave-unmasked-prob", keep, "--random-token-prob", random]


def temperature(value: str) -> str:
    """Return the sampling temperature of languages, 1 / exponent, for the exponent that XLM and fairseq take.

    An exponent of 0 or below, which means equal shares, gives 1000.
    """
    exponent = float(value)
    if exponent <= 0:
        # At this temperature the shares are equal but for rounding.
        return "1000"
    return f"{1 / exponent:.4g}"


FORMS: dict[str, Callable[[str], str]] = {
    "text": str,
    "list": lambda value: ",".join(items(value)),
    "first": lambda value: items(value)[0],
    "languages": languages,
    "language": lambda value: value.split("_")[0],
    "checkpoint": checkpoint,
    "checkpoints": lambda value: ":".join(map(checkpoint, value.split(":"))),
    "inverse": temperature,
    "whole": lambda value: str(math.ceil(float(value))),
    "hf-metric": lambda value: (
        "loss" if value.endswith("loss") else value.removeprefix("eval_")
    ),
}
"""Functions that convert the value of a flag to the value of a masscli flag, by the name in flags.toml."""

WHOLE_FORMS: dict[str, Callable[[str], list[str]]] = {
    "xlm-optimizer": xlm_optimizer,
    "xlm-criterion": xlm_criterion,
    "xlm-models": xlm_models,
    "mask-keep-random": mask_keep_random,
}
"""Functions that convert the value of a flag to all masscli flags for it, as words of a command line, by the
name in flags.toml."""

"""What flags.toml cannot express of XLM's train.py and translate.py: objectives, folder and batch size."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from masscli.cli.foreign.command_line import ForeignCommand
from masscli.cli.foreign.conversion import Conversion, remark_on_import
from masscli.cli.foreign.values import languages
from masscli.core.digits import parse_digits

OBJECTIVES = {
    "bt": "backtranslate",
    "mt": "translate",
    "mass": "mass",
    "mlm": "mlm",
    "clm": "clm",
    "ae": "denoise",
}
"""The masscli objective for each kind of training step of XLM, such as --mass_steps.

Of the steps that a command line gives, the first in this order becomes the main objective.
"""
ENCODERS = ("mlm", "tlm", "roberta", "classify", "regress", "choose")
"""Objectives whose model needs no decoder."""
DECODERS = ("clm", "gpt")
"""Objectives whose model needs no encoder."""


def finish_train(conversion: Conversion, given: ForeignCommand) -> None:
    """Set what depends on several flags of XLM: objectives, the run's folder, layers and batch size."""
    values = {
        flag.name.lstrip("-").replace("-", "_"): "".join(flag.values)
        for flag in given.flags
    }
    # The table's results for single flags are replaced by a choice based on all steps together.
    for flag in ("--task", "--objective", "--pairs", "--langs", "--auxiliary"):
        conversion.options.pop(flag, None)
    _choose_objectives(conversion, values)
    conversion.options["--save-dir"] = _run_folder(values)
    # XLM's feed-forward layers are four times as wide as the others.
    dim = parse_digits(conversion.options["--dim"] or "")
    if dim is not None:
        conversion.options["--ffn-dim"] = str(4 * dim)
    _drop_batch_size(conversion, values)
    if conversion.objective in ENCODERS:
        conversion.options.pop("--decoder-layers", None)
    if conversion.objective in DECODERS:
        conversion.options.pop("--encoder-layers", None)
    if (
        "--lang-temperature" not in conversion.options
        and conversion.objective != "denoise"
    ):
        # XLM makes the same number of steps in each language, whatever their sizes.
        conversion.options["--lang-temperature"] = "1000"
    if "reload_model" in values:
        remark_on_import(
            conversion, dict.fromkeys(filter(None, values["reload_model"].split(",")))
        )


def _run_folder(values: Mapping[str, str]) -> str:
    """Return the folder of XLM's run, which it names by three flags: `dumped/NAME/ID`."""
    parts = [
        values.get("dump_path") or "dumped",
        values.get("exp_name", ""),
        values.get("exp_id", ""),
    ]
    return "/".join(part.rstrip("/") for part in parts if part)


def _drop_batch_size(conversion: Conversion, values: Mapping[str, str]) -> None:
    """Remove --batch-size, with a remark, where it is only that of back-translation in XLM."""
    if values.get("tokens_per_batch", "-1") != "-1" and "batch_size" in values:
        conversion.options.pop("--batch-size", None)
        conversion.remarks.append(
            "--batch_size: has no effect in masscli with --tokens_per_batch (--max-tokens)"
        )


def _choose_objectives(conversion: Conversion, values: dict[str, str]) -> None:
    """Set the main objective with its languages or pairs, and the other objectives as --auxiliary.

    `values` are the flags of XLM, without hyphens, with their values. If no steps are given, only a remark
    is added.
    """
    objectives: dict[str, list[str]] = {}
    weights: dict[str, str] = {}
    # In the order of OBJECTIVES, so that the main objective comes first.
    for step, objective in OBJECTIVES.items():
        for item in filter(None, values.get(f"{step}_steps", "").split(",")):
            # Masked language modeling of a pair is TLM.
            name = "tlm" if step == "mlm" and "-" in item else objective
            objectives.setdefault(name, []).append(item)
            weights[name] = values.get(f"lambda_{step}", "1")
    if not objectives:
        conversion.remarks.append(
            "no steps are given (--mass_steps, --mt_steps, ...): choose an --objective"
        )
        return
    main, *others = objectives
    kind = "--task" if main in ("backtranslate", "translate") else "--objective"
    conversion.options = {kind: main, **conversion.options}
    if main in ("backtranslate", "translate", "tlm"):
        # The step en-fr-en translates into fr, to learn to translate back to en.
        pairs = ["-".join(item.split("-")[-2:]) for item in objectives[main]]
        conversion.options["--pairs"] = ",".join(pairs)
    else:
        conversion.options["--langs"] = languages(",".join(objectives[main]))
    if weights[main] != "1":
        conversion.remarks.append(
            f"the weight {weights[main]} of {main}: has no flag; write it into a recipe"
        )
    for name in others:
        _remark_on_pairs(conversion, main, name, objectives)
    if others:
        conversion.options["--auxiliary"] = ",".join(
            f"{name}={weights[name]}" for name in others
        )


def _remark_on_pairs(
    conversion: Conversion, main: str, other: str, objectives: dict[str, list[str]]
) -> None:
    """Add a remark if an auxiliary translate or tlm objective has other pairs than the main objective.

    masscli trains auxiliary objectives on the languages of the main one. `objectives` holds the languages or
    pairs of each objective.
    """
    if other == "translate":
        is_same = set(objectives[other]) == set(objectives[main])
    elif other == "tlm":
        # It has no direction: all pairs of the languages of the main objective.
        pairs = combinations(sorted(objectives[main]), 2)
        is_same = {frozenset(step.split("-")) for step in objectives[other]} == set(
            map(frozenset, pairs)
        )
    else:
        is_same = True
    if not is_same:
        conversion.remarks.append(
            f"the steps {','.join(objectives[other])} of {other}: --auxiliary takes the languages of {main}; "
            "a recipe with streams can have others"
        )


def finish_translate(conversion: Conversion, given: ForeignCommand) -> None:
    """Add the remark that masscli generate takes text without BPE, where translate.py expects pieces."""
    conversion.remarks.append(
        "the lines have to be plain text, without BPE: the run makes the pieces itself"
    )

"""Convert a command line of another toolkit to masscli."""

from __future__ import annotations

from collections.abc import Callable

from masscli.cli.foreign import fairseq, xlm
from masscli.cli.foreign.command_line import ForeignCommand, GivenFlag
from masscli.cli.foreign.conversion import (
    Conversion,
    remark_on_endless_decay,
    remark_on_import,
)
from masscli.cli.foreign.values import FORMS, WHOLE_FORMS
from masscli.core.digits import parse_digits


def convert(given: ForeignCommand) -> Conversion:
    """Convert a command line of another toolkit to masscli; remarks list flags without an equivalent."""
    command, _, task = given.program.command.partition(" ")
    conversion = Conversion(command, processes=given.processes)
    conversion.add(f"{task} {given.program.defaults}".split())
    # Settings of an architecture come first, since other flags override them wherever they are placed.
    for flag in sorted(
        given.flags, key=lambda flag: flag.flag is None or not flag.flag.is_base
    ):
        _convert_flag(conversion, flag)
    FINISH[given.program.name](conversion, given)
    _choose_command(conversion)
    _drop_unknown(conversion)
    return conversion


def _convert_flag(conversion: Conversion, given: GivenFlag) -> None:
    """Add the masscli counterpart of one flag to `conversion`, in place, or a remark if it has none."""
    flag, value = given.flag, " ".join(given.values)
    if flag is None:
        conversion.remarks.append(
            f"{given.name}: is in no table of masscli, and was left out"
        )
    elif flag.always is not None:
        conversion.always.append(given.name)
    elif flag.missing is not None:
        conversion.remarks.append(f"{given.name}: has no counterpart; {flag.missing}")
    elif flag.choices:
        if value not in flag.choices:
            known = ", ".join(flag.choices)
            conversion.remarks.append(
                f"{given.name} {value}: has no counterpart (known: {known})"
            )
        conversion.add(flag.choices.get(value, "").split())
    elif value.lower() == "false":
        # A switch that is turned off.
        return
    else:
        _add_template(conversion, given)


def _add_template(conversion: Conversion, given: GivenFlag) -> None:
    """Add the masscli flags or arguments of a flag's template to `conversion`, with the converted value.

    A value that cannot be converted gives a remark instead.
    """
    assert given.flag is not None and given.flag.template is not None
    value = given.values[0] if given.values else ""
    try:
        if given.flag.form in WHOLE_FORMS:
            conversion.add(WHOLE_FORMS[given.flag.form](value))
            return
        written = FORMS[given.flag.form](value)
    except (ValueError, KeyError, IndexError, ArithmeticError):
        conversion.remarks.append(
            f"{given.name} {value}: is not understood, and was left out"
        )
        return
    # The value is filled in after the template has been split, since it may have spaces.
    words = [word.replace("{}", written) for word in given.flag.template.split()]
    if words[0].startswith("--"):
        conversion.add(words)
    elif given.flag.form == "checkpoints":
        # The models of an ensemble are separate arguments.
        conversion.arguments += written.split(":")
    else:
        conversion.arguments += words
    if given.flag.form.startswith("checkpoint"):
        remark_on_import(conversion, value.split(":"))


def _choose_command(conversion: Conversion) -> None:
    """Set the command to pretrain if the conversion has --objective, or else to finetune if it has --task.

    With both, --task is dropped.
    """
    if "--objective" in conversion.options:
        conversion.command = "pretrain"
        conversion.options.pop("--task", None)
    elif "--task" in conversion.options:
        conversion.command = "finetune"


def _drop_unknown(conversion: Conversion) -> None:
    """Remove the flags that the masscli command with this objective does not have; add a remark for each."""
    from masscli.cli.app import build_command

    chooser = {"pretrain": "--objective", "finetune": "--task"}.get(conversion.command)
    args = []
    if chooser is not None and conversion.options.get(chooser):
        args = [chooser, conversion.objective]
        if conversion.options.get("--auxiliary"):
            args += ["--auxiliary", str(conversion.options["--auxiliary"])]
    known = set()
    for parameter in build_command(conversion.command, args).params:
        known |= {*parameter.opts, *parameter.secondary_opts}
    owner = conversion.objective or f"masscli {conversion.command}"
    for flag in [flag for flag in conversion.options if flag not in known]:
        given = f"{flag} {conversion.options.pop(flag) or ''}".strip()
        conversion.remarks.append(f"{given}: {owner} does not have it")


def _finish_run_translation(conversion: Conversion, given: ForeignCommand) -> None:
    """Set --max-tokens so high that only --batch-size limits a batch, as in run_translation.py.

    Also drop --max-epoch if --max-update overrides it, and add a remark about the data folder.
    """
    longest = max(
        parse_digits(conversion.options.get("--max-source-positions") or "") or 1024,
        parse_digits(conversion.options.get("--max-target-positions") or "") or 128,
    )
    batch_size = parse_digits(conversion.options["--batch-size"] or "") or 8
    conversion.options["--max-tokens"] = str(longest * batch_size)
    if "--max-update" in conversion.options:
        conversion.options.pop("--max-epoch", None)
    remark_on_endless_decay(conversion)
    conversion.remarks.append(
        "the data folder is data-bin, which masscli preprocess writes; name another one"
    )


FINISH: dict[str, Callable[[Conversion, ForeignCommand], None]] = {
    "fairseq-preprocess": fairseq.finish_preprocess,
    "fairseq-train": fairseq.finish_train,
    "fairseq-generate": fairseq.finish_generate,
    "fairseq-score": fairseq.finish_score,
    "fairseq-validate": fairseq.finish_validate,
    "fairseq-eval-lm": fairseq.finish_validate,
    "translate.py": xlm.finish_translate,
    "train.py": xlm.finish_train,
    "run_translation.py": _finish_run_translation,
}
"""For each program, the function that completes a conversion with what flags.toml cannot express."""

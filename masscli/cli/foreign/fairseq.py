"""What flags.toml cannot express of fairseq's commands: flags that depend on others, and data folders."""

from __future__ import annotations

from masscli.cli.foreign.command_line import ForeignCommand
from masscli.cli.foreign.conversion import Conversion, remark_on_endless_decay
from masscli.core.digits import parse_digits


def finish_preprocess(conversion: Conversion, given: ForeignCommand) -> None:
    """Add the remark that masscli preprocess needs plain text, not text that is already split by BPE."""
    conversion.remarks.append(
        "the files have to be plain text, without BPE: preprocess makes the pieces itself"
    )


def finish_train(conversion: Conversion, given: ForeignCommand) -> None:
    """Set the data folder of a fairseq-train conversion, and drop --init-from if it only resumes the run."""
    if given.arguments:
        # Shards of fairseq are joined with colons; a data folder has its shards inside.
        first, *others = given.arguments[0].split(":")
        conversion.arguments = [first]
        if others:
            conversion.remarks.append(
                f"{given.arguments[0]}: masscli reads one data folder with all shards"
            )
    _finish_schedule(conversion, given)
    remark_on_endless_decay(conversion)
    # Without norms before the sublayers, fairseq has no final norm whatever the flag says.
    if conversion.options.get("--norm") != "pre":
        conversion.options.pop("--final-norm", None)
    for flag in given.flags:
        # Its default is the last checkpoint of the run itself, from which masscli always continues.
        if flag.name == "--restore-file" and flag.values == ("checkpoint_last.pt",):
            conversion.options.pop("--init-from", None)


def _finish_schedule(conversion: Conversion, given: ForeignCommand) -> None:
    """Set --max-update, where masscli ends both the run and a linear schedule.

    fairseq has a flag for each: --max-update and --total-num-update.
    """
    ends = {}
    for flag in given.flags:
        if flag.name in ("--total-num-update", "--max-update") and flag.values:
            ends[flag.name] = flag.values[0]
    last = ends.get("--max-update")
    if conversion.options.get("--lr-scheduler") == "linear":
        total = ends.get("--total-num-update")
    else:
        total = None
    conversion.options.pop("--max-update", None)
    if last is None or last == "0":
        last = total
    if last is None:
        return
    conversion.options["--max-update"] = last
    if total is None or total == last:
        return
    # After the end of its schedule fairseq continues with a rate of 0.
    if (parse_digits(total) or 0) < (parse_digits(last) or 0):
        conversion.options["--max-update"] = total
    else:
        conversion.remarks.append(
            f"--total-num-update {total}: has no counterpart; the learning rate falls until --max-update"
        )


def finish_generate(conversion: Conversion, given: ForeignCommand) -> None:
    """Set the data folder of a fairseq-generate conversion, or the line input of fairseq-interactive."""
    if "interactive" in given.script:
        conversion.options.pop("--gen-subset", None)
        conversion.options.setdefault("--input", "-")
        conversion.options.setdefault("--buffer-size", "1")
        # fairseq counts from 0, which means the same as 1.
        if conversion.options["--buffer-size"] == "0":
            conversion.options["--buffer-size"] = "1"
    elif given.arguments:
        conversion.options["--data"] = given.arguments[0]
    if not conversion.arguments:
        conversion.remarks.append(
            "--path: names no run, so the latest one under runs is taken"
        )


def finish_score(conversion: Conversion, given: ForeignCommand) -> None:
    """Let a conversion of fairseq-score read its hypotheses from standard input if no file is given."""
    if not conversion.arguments:
        conversion.arguments = ["-"]


def finish_validate(conversion: Conversion, given: ForeignCommand) -> None:
    """Add the remark that masscli score measures runs on the data that they were trained with."""
    if given.arguments:
        conversion.remarks.append(
            f"{given.arguments[0]}: masscli score reads the data folder that a run was trained with"
        )
    if not conversion.arguments:
        conversion.remarks.append("--path: names no run, which masscli score needs")

"""Convert a command line of another toolkit to masscli."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from masscli.cli.foreign.command_line import ForeignCommand, GivenFlag
from masscli.cli.foreign.values import FORMS, WHOLE_FORMS, checkpoint, languages
from masscli.core.digits import parse_digits

XLM_OBJECTIVES = {
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


@dataclass(slots=True)
class Conversion:
    """A masscli command line that is being built from a command line of another toolkit."""

    command: str
    options: dict[str, str | None] = field(default_factory=dict)
    """The flags of masscli with their values; the value is None for a flag that takes none."""
    arguments: list[str] = field(default_factory=list)
    """The positional arguments of masscli, such as a data folder or runs."""
    remarks: list[str] = field(default_factory=list)
    """Messages for the user about flags without an equivalent, and about further steps."""
    always: list[str] = field(default_factory=list)
    """Flags of the other toolkit that masscli does not need, since it always does what they ask for."""
    processes: str | None = None
    """Number of processes per machine for torchrun; None for a single process."""

    def add(self, words: Sequence[str]) -> None:
        """Add masscli flags with their values, the words of a command line; they replace earlier ones.

        A flag also replaces its opposite, as --no-share replaces --share. A value may have spaces.
        """
        for number, word in enumerate(words):
            if not word.startswith("--"):
                continue
            self.options.pop(_opposite(word), None)
            self.options[word] = None
            following = words[number + 1 : number + 2]
            if following and not following[0].startswith("--"):
                self.options[word] = following[0]

    @property
    def objective(self) -> str:
        """The value of --task or --objective, or an empty string if neither is set."""
        return self.options.get("--task") or self.options.get("--objective") or ""

    def words(self) -> list[str]:
        """Return the words of the masscli command line, with torchrun before it for several processes."""
        start = ["masscli"]
        if self.processes is not None:
            start = ["torchrun", "--nproc-per-node", self.processes, "-m", "masscli"]
        words = [*start, self.command, *self.arguments]
        for flag, value in self.options.items():
            words += [flag] if value is None else [flag, value]
        return words


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
        _remark_on_import(conversion, value.split(":"))


def _remark_on_import(conversion: Conversion, paths: Iterable[str]) -> None:
    """Add a remark for each checkpoint of another toolkit, from `paths`, that has to be imported first."""
    for path in paths:
        converted = checkpoint(path)
        # A path with fairseq's file names becomes a masscli run; other files have to be imported.
        if not path.endswith(("checkpoint_best.pt", "checkpoint_last.pt")):
            conversion.remarks.append(
                f"{path}: has to be a run of masscli; masscli import makes one of foreign weights, "
                f"such as {converted}"
            )


def _finish_fairseq_train(conversion: Conversion, given: ForeignCommand) -> None:
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
    _remark_on_endless_decay(conversion)
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


def _remark_on_endless_decay(conversion: Conversion) -> None:
    """Add a remark if a schedule falls until --max-update, which the command line does not give."""
    schedule = conversion.options.get("--lr-scheduler")
    if schedule in ("linear", "cosine") and "--max-update" not in conversion.options:
        conversion.remarks.append(
            f"--lr-scheduler {schedule}: falls until --max-update, which has to be added: the updates of an "
            "epoch times the epochs"
        )


def _finish_fairseq_generate(conversion: Conversion, given: ForeignCommand) -> None:
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


def _finish_scoring(conversion: Conversion, given: ForeignCommand) -> None:
    """Add the remark that masscli score measures runs on the data that they were trained with."""
    if given.arguments:
        conversion.remarks.append(
            f"{given.arguments[0]}: masscli score reads the data folder that a run was trained with"
        )
    if not conversion.arguments:
        conversion.remarks.append("--path: names no run, which masscli score needs")


def _finish_fairseq_score(conversion: Conversion, given: ForeignCommand) -> None:
    """Let a conversion of fairseq-score read its hypotheses from standard input if no file is given."""
    if not conversion.arguments:
        conversion.arguments = ["-"]


def _finish_translate(conversion: Conversion, given: ForeignCommand) -> None:
    """Add the remark that masscli generate takes text without BPE, where translate.py expects pieces."""
    conversion.remarks.append(
        "the lines have to be plain text, without BPE: the run makes the pieces itself"
    )


def _finish_fairseq_preprocess(conversion: Conversion, given: ForeignCommand) -> None:
    """Add the remark that masscli preprocess needs plain text, not text that is already split by BPE."""
    conversion.remarks.append(
        "the files have to be plain text, without BPE: preprocess makes the pieces itself"
    )


def _finish_xlm(conversion: Conversion, given: ForeignCommand) -> None:
    """Set what depends on several flags of XLM: objectives, the run's folder, layers and batch size."""
    values = {
        flag.name.lstrip("-").replace("-", "_"): "".join(flag.values)
        for flag in given.flags
    }
    # The table's results for single flags are replaced by a choice based on all steps together.
    for flag in ("--task", "--objective", "--pairs", "--langs", "--auxiliary"):
        conversion.options.pop(flag, None)
    _choose_xlm_objectives(conversion, values)
    conversion.options["--save-dir"] = _xlm_folder(values)
    # XLM's feed-forward layers are four times as wide as the others.
    dim = parse_digits(conversion.options["--dim"] or "")
    if dim is not None:
        conversion.options["--ffn-dim"] = str(4 * dim)
    _drop_xlm_batch_size(conversion, values)
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
        _remark_on_import(
            conversion, dict.fromkeys(filter(None, values["reload_model"].split(",")))
        )


def _xlm_folder(values: Mapping[str, str]) -> str:
    """Return the folder of XLM's run, which it names by three flags: `dumped/NAME/ID`."""
    parts = [
        values.get("dump_path") or "dumped",
        values.get("exp_name", ""),
        values.get("exp_id", ""),
    ]
    return "/".join(part.rstrip("/") for part in parts if part)


def _drop_xlm_batch_size(conversion: Conversion, values: Mapping[str, str]) -> None:
    """Remove --batch-size, with a remark, where it is only that of back-translation in XLM."""
    if values.get("tokens_per_batch", "-1") != "-1" and "batch_size" in values:
        conversion.options.pop("--batch-size", None)
        conversion.remarks.append(
            "--batch_size: has no effect in masscli with --tokens_per_batch (--max-tokens)"
        )


def _choose_xlm_objectives(conversion: Conversion, values: dict[str, str]) -> None:
    """Set the main objective with its languages or pairs, and the other objectives as --auxiliary.

    `values` are the flags of XLM, without hyphens, with their values. If no steps are given, only a remark
    is added.
    """
    objectives: dict[str, list[str]] = {}
    weights: dict[str, str] = {}
    # In the order of XLM_OBJECTIVES, so that the main objective comes first.
    for step, objective in XLM_OBJECTIVES.items():
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
    _remark_on_endless_decay(conversion)
    conversion.remarks.append(
        "the data folder is data-bin, which masscli preprocess writes; name another one"
    )


FINISH: dict[str, Callable[[Conversion, ForeignCommand], None]] = {
    "fairseq-preprocess": _finish_fairseq_preprocess,
    "fairseq-train": _finish_fairseq_train,
    "fairseq-generate": _finish_fairseq_generate,
    "fairseq-score": _finish_fairseq_score,
    "fairseq-validate": _finish_scoring,
    "fairseq-eval-lm": _finish_scoring,
    "translate.py": _finish_translate,
    "train.py": _finish_xlm,
    "run_translation.py": _finish_run_translation,
}
"""For each program, the function that completes a conversion with what flags.toml cannot express."""


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


def _opposite(flag: str) -> str:
    """Return the opposite of a flag: --no-x for --x, and --x for --no-x."""
    if flag.startswith("--no-"):
        return f"--{flag.removeprefix('--no-')}"
    return f"--no-{flag.removeprefix('--')}"


def format_command(words: Iterable[str], width: int = 100) -> str:
    """Return words as a quoted shell command, in lines of about `width` columns that backslashes join.

    Words with shell variables, such as $DATA, are quoted so that the shell still expands them, unless they
    have a double quote.
    """
    lines = [""]
    for word in words:
        quoted = shlex.quote(word)
        if "$" in word and '"' not in word:
            quoted = f'"{word}"'
        if len(lines[-1]) + len(quoted) > width and word.startswith("-"):
            lines.append("   ")
        if lines[-1]:
            quoted = f" {quoted}"
        lines[-1] += quoted
    return " \\\n".join(lines)

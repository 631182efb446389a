"""The table of flags of other toolkits names only flags that masscli has, and the command line makes use of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from masscli.cli.app import build_command
from masscli.cli.foreign.table import ForeignProgram, programs
from masscli.objectives.registry import OBJECTIVES
from tests.commands import refusal


def own_flags() -> set[str]:
    """Every flag of the commands that the table leads to, with the options of all objectives."""
    known: set[str] = set()
    lines = [("preprocess",), ("generate",), ("score",)]
    lines += [("pretrain", "--objective", name) for name in OBJECTIVES.builtin_names()]
    lines += [("finetune", "--task", name) for name in OBJECTIVES.builtin_names()]
    for name, *args in lines:
        for parameter in build_command(name, args).params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    # Of the commands bench, recipe and torchrun, which remarks name.
    return known | {"--nproc-per-node", "--output"}


@pytest.fixture(scope="module")
def known() -> set[str]:
    return own_flags()


@pytest.mark.parametrize(
    "program", programs().values(), ids=lambda program: program.name
)
def test_every_flag_has_one_counterpart_and_it_exists(
    program: ForeignProgram, known: set[str]
) -> None:
    for flag in program.flags.values():
        kinds = [
            flag.template is not None,
            bool(flag.choices),
            flag.always is not None,
            flag.missing is not None,
        ]
        assert sum(kinds) == 1, flag.name
        texts = [
            flag.template or "",
            flag.always or "",
            flag.missing or "",
            *flag.choices.values(),
        ]
        for own in re.findall(r"--[a-z][a-z_-]+", " ".join(texts)):
            assert own in known or own in program.flags, (
                f"{program.name} {flag.name}: {own}"
            )
    for own in re.findall(r"--[a-z][a-z-]+", f"{program.command} {program.defaults}"):
        assert own in known, own


def test_all_foreign_flags_of_a_command_line_are_explained_in_one_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = (
        "--max-sentences 32 --ddp-backend=no_c10d --no-epoch-checkpoints "
        "--criterion cross_entropy"
    ).split()
    assert refusal(
        capsys, "finetune", "--task", "translate", *args, "--max_tokens", "9", "--zzz"
    ) == [
        "error: --max-sentences (of fairseq-train): is --batch-size 32 here",
        "error: --ddp-backend (of fairseq-train): leave it out; nothing is needed here",
        "error: --no-epoch-checkpoints (of fairseq-train): leave it out; checkpoints are saved by updates, and the "
        "last --keep-last are kept",
        "error: --criterion (of fairseq-train): is --label-smoothing 0 here",
        "error: --max_tokens is --max-tokens here",
        "error: no such option: --zzz",
        "hint: masscli convert-command 'fairseq-train ...' converts a whole command line",
    ]
    assert refusal(
        capsys, "pretrain", "--emb_dim", "512", "--per_device_train_batch_size", "8"
    ) == [
        "error: --emb_dim (of train.py): is --dim 512 here",
        "error: --per_device_train_batch_size (of run_translation.py): is --batch-size 8 here",
        "hint: masscli convert-command 'fairseq-train ...' converts a whole command line",
    ]


def test_a_command_without_a_counterpart_keeps_the_words_of_the_parser(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        refusal(capsys, "score", "--emb_dim", "3")[0]
        == "error: no such option: --emb_dim"
    )


def test_values_of_another_toolkit_are_explained(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrain = ("pretrain", str(toy), "--objective", "mass")
    assert refusal(capsys, *pretrain, "--arch", "transformer_iwslt_de_en")[-1] == (
        "hint: --arch transformer_iwslt_de_en (of fairseq-train): is --arch base --ffn-dim 1024 --heads 4 "
        "--embeddings separate --no-tie-output here"
    )
    assert refusal(capsys, *pretrain, "--lr-scheduler=polynomial_decay")[-1] == (
        "hint: --lr-scheduler polynomial_decay (of fairseq-train): is --lr-scheduler linear here"
    )
    assert refusal(capsys, "finetune", "--task", "translation")[-1] == (
        "hint: --task translation (of fairseq-train): is --task translate here"
    )
    assert refusal(capsys, "pretrain", "--objective", "masked_lm")[-1] == (
        "hint: --task masked_lm (of fairseq-train): is --objective roberta here"
    )
    assert refusal(capsys, "pretrain", "--objective", "mas")[-1] == (
        "hint: masscli pretrain --help"
    )

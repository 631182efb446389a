"""Every flag that fairseq 0.12.2 itself lists stands in the table of flags.

MASSCLI_FAIRSEQ_PYTHON names the Python of an environment with fairseq 0.12.2.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from masscli.cli.foreign.table import programs

pytestmark = pytest.mark.peer
LIST = """
import argparse, sys
from fairseq import options
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import MODEL_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_REGISTRY

makers = {
    "fairseq-preprocess": options.get_preprocessing_parser,
    "fairseq-train": options.get_training_parser,
    "fairseq-generate": options.get_generation_parser,
    "fairseq-interactive": lambda: options.get_generation_parser(interactive=True),
    "fairseq-validate": options.get_validation_parser,
    "fairseq-eval-lm": options.get_eval_lm_parser,
}
for program, maker in makers.items():
    for action in maker()._actions:
        for name in action.option_strings:
            print(program, name)
kinds = [REGISTRIES[kind]["registry"] for kind in ("optimizer", "lr_scheduler")]
chosen = [
    *(TASK_REGISTRY[name] for name in sys.argv[1].split(",")),
    *(MODEL_REGISTRY[name] for name in sys.argv[2].split(",")),
    *(kinds[0][name] for name in ("adam", "adafactor", "lamb")),
    *(kinds[1][name] for name in ("inverse_sqrt", "polynomial_decay", "cosine", "fixed")),
]
for cls in chosen:
    parser = argparse.ArgumentParser(conflict_handler="resolve", add_help=False)
    if hasattr(cls, "add_args"):
        cls.add_args(parser)
    for action in parser._actions:
        for name in action.option_strings:
            print("fairseq-train", name)
"""
TASKS = (
    "translation,translation_multi_simple_epoch,multilingual_translation,translation_from_pretrained_bart,"
    "language_modeling,multilingual_language_modeling,masked_lm,multilingual_masked_lm,denoising,"
    "multilingual_denoising,online_backtranslation,sentence_prediction,sentence_ranking"
)
MODELS = (
    "transformer,transformer_lm,bart,roberta,transformer_align,multilingual_transformer"
)


def test_every_flag_of_fairseq_is_in_the_table() -> None:
    python = os.environ.get("MASSCLI_FAIRSEQ_PYTHON")
    if python is None:
        pytest.skip("MASSCLI_FAIRSEQ_PYTHON names no Python with fairseq 0.12.2")
    found = subprocess.run(
        [python, "-c", LIST, TASKS, MODELS], check=True, capture_output=True, text=True
    )
    # Messages of fairseq's libraries are on other lines.
    lines = [line.split() for line in found.stdout.splitlines() if " -" in line]
    assert len(lines) > 500
    unknown = []
    for program, name in lines:
        own = program.replace("fairseq-interactive", "fairseq-generate")
        if name not in ("-h", "--help") and programs()[own].find(name) is None:
            unknown.append(f"{program} {name}")
    assert not unknown

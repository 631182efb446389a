"""Train a model on monolingual text: MASS and its relatives.

The run is written to runs/OBJECTIVE (--save-dir). Running the same command again continues it, bit for
bit. `masscli pretrain --objective NAME --help` lists the options of an objective. Under torchrun, each
process takes its share of each update: `torchrun --nproc-per-node 4 -m masscli pretrain ...`.

Examples:
  masscli pretrain --objective mass --k 0.5
  masscli pretrain data-bin/m30k --objective mass --arch tiny --max-update 2000 --save-dir runs/mass
  masscli pretrain --objective mass --preset xlm --arch mass-base --max-tokens 3000 --bf16
  masscli pretrain --config recipe.toml --lr 1e-4
"""

from __future__ import annotations

from typing import Annotated

from masscli.cli.training_command import train
from masscli.cli.training_options import TrainingOptions
from masscli.training.setup.request import TrainRequest


def run(request: Annotated[TrainRequest, TrainingOptions]) -> None:
    """Pre-train a model as `request` describes."""
    train(request)

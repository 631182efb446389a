"""Train a model for a task, usually from pre-trained weights.

`--init-from` takes the weights of a run or checkpoint and nothing else. Running the same command again
continues an existing run. `masscli finetune --task NAME --help` lists the options of a task.

Examples:
  masscli finetune --task translate -s en -t de --init-from runs/mass --max-update 3000
  masscli finetune data-bin/m30k --task translate --pairs en-de,de-en --eval-bleu --best-metric bleu
"""

from __future__ import annotations

from typing import Annotated

from masscli.cli.training_command import train
from masscli.cli.training_options import TrainingOptions
from masscli.training.setup.request import TrainRequest


def run(request: Annotated[TrainRequest, TrainingOptions]) -> None:
    """Fine-tune a model as `request` describes."""
    train(request)

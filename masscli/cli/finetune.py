"""Train a model for a task, usually from pre-trained weights.

`--init-from` takes the weights of a run or checkpoint and nothing else; running the same command again continues the run that is there.
Options of the task itself are listed with `masscli finetune --task NAME --help`.

Examples:
  masscli finetune --task translate -s en -t de --init-from runs/mass --max-update 3000
  masscli finetune data-bin/m30k --task translate --pairs en-de,de-en --eval-bleu --best-metric bleu --patience 5
"""

from __future__ import annotations

from typing import Annotated

from masscli.cli.training_command import train
from masscli.cli.training_request import Training, TrainRequest


def run(request: Annotated[TrainRequest, Training("--task")]) -> None:
    train(request)

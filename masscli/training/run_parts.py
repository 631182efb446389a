"""What the classes of the training loop share: the model and its streams, the optimizer, and the state."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from masscli.checkpoint.run_state import RunState
from masscli.models.transformer import Transformer
from masscli.text.tokenizer import Tokenizer
from masscli.training.fsdp import TrainStep
from masscli.training.loss_scale import LossScale
from masscli.training.recipe import Recipe
from masscli.training.stream import Stream
from masscli.training.weight_average import WeightAverage


class RunParts:
    """What a run trains, the optimizer, the state, and what follows from these.

    `folder` is the folder of the run. Training starts from `state`, which is updated in place.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        train_step: TrainStep,
        streams: Sequence[Stream],
        tokenizer: Tokenizer,
        optimizer: torch.optim.Optimizer,
        state: RunState,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.train_step = train_step
        self.model: Transformer = train_step.model
        self.streams = {stream.name: stream for stream in streams}
        self.tokenizer = tokenizer
        self.optimizer = optimizer
        self.state = state
        self.device = next(self.model.parameters()).device
        self.parameter_names = name_parameters(self.model, streams)
        """The name of each trained parameter of the model and of the objectives (`objective.STREAM.NAME`)."""
        uses_fp16 = self.model.compute_dtype == torch.float16
        self.loss_scale = LossScale(
            uses_fp16, state.loss_scale, state.updates_since_overflow
        )
        self.weight_average: WeightAverage | None = None
        """The moving average of the weights; None without `--ema-decay`."""
        if recipe.optim.ema_decay:
            self.weight_average = WeightAverage(
                self.parameter_names, recipe.optim.ema_decay
            )


def name_parameters(
    model: Transformer, streams: Sequence[Stream]
) -> dict[nn.Parameter, str]:
    """Return the name of each trained parameter of the model and of the objectives of the streams."""
    names = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            names[parameter] = name
    for stream in streams:
        # Streams may have heads of the same name, so theirs carry the stream.
        for name, parameter in stream.objective.named_parameters():
            if parameter.requires_grad:
                names[parameter] = f"objective.{stream.name}.{name}"
    return names

"""A trained task, ready to answer: the model of a checkpoint, one of its objectives, and new examples straight from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchLimits, BatchSampler
from masscli.data.storage.tables import Table, load
from masscli.models.transformer import Transformer
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.objective import Objective, ObjectiveContext
from masscli.objectives.registry import objective_class
from masscli.objectives.shared.finetuning_base import Answer, Judged, Output
from masscli.objectives.shared.options import TableOptions
from masscli.objectives.write.options import WriteOptions
from masscli.text.tokenizer import Tokenizer
from masscli.training.recipe import StreamConfig
from masscli.training.validation import judge


@dataclass(frozen=True)
class Predictor:
    """A model and the objective that it is asked about."""

    model: Transformer
    objective: Judged
    options: TableOptions
    tokenizer: Tokenizer
    stream: str

    @classmethod
    def open(
        cls, path: Path, stream: str | None, threshold: float | None, device: torch.device, dtype: torch.dtype
    ) -> Predictor:
        """From a run or a checkpoint; `stream` says which task where it has several, `threshold` replaces that of answers."""
        checkpoint = Checkpoint.open(path)
        tasks = {
            name: s for name, s in checkpoint.recipe.stream.items() if isinstance(s.objective, TableOptions)
        }
        if not tasks and any(
            isinstance(s.objective, WriteOptions) for s in checkpoint.recipe.stream.values()
        ):
            raise MasscliError(f"{path}: writes text", f"masscli generate {path}")
        if not tasks:
            raise MasscliError(
                f"{path}: was not trained for a task that predicts",
                "train one: masscli finetune --task classify",
            )
        if stream is None and len(tasks) > 1:
            raise MasscliError(f"{path}: which task?", f"say it with --stream; it has {', '.join(tasks)}")
        name = stream or next(iter(tasks))
        if name not in tasks:
            raise MasscliError(f"--stream {name}: {path} has no such task", f"it has {', '.join(tasks)}")
        options = tasks[name].objective
        assert isinstance(options, TableOptions)
        if threshold is not None:
            if not isinstance(options, ExtractOptions):
                raise MasscliError(f"--null-threshold: {options.name} always has an answer", "leave it out")
            if not options.unanswerable:
                message = f"--null-threshold: all questions that {path} was trained on have answers, and so it always gives one"
                raise MasscliError(message, "leave it out, or train with --unanswerable")
            options = replace(options, null_threshold=threshold)
        objective = objective_of(replace(tasks[name], objective=options), checkpoint)
        assert isinstance(objective, Judged)
        heads = checkpoint.heads()
        objective.load_state_dict(
            {k[len(name) + 1 :]: v for k, v in heads.items() if k.startswith(f"{name}.")}
        )
        objective.to(device).eval().requires_grad_(False)
        return cls(checkpoint.model(device, dtype), objective, options, checkpoint.tokenizer(), name)

    def read(self, path: Path, kind: str) -> Table:
        """New examples."""
        return load(path, kind, self.tokenizer, self.options.language)

    def outputs(self, table: Table, batch_tokens: int) -> tuple[list[Output], list[str]]:
        """What the model has to say of each row of the table's view; and lines that say what was cut."""
        view = self.objective.examples(table, labelled=False)
        longest = int(view.sizes(0, len(view)).max())
        sampler = BatchSampler(
            len(view), view.sizes, BatchLimits(max(batch_tokens, longest)), 0, self.stream, shuffle=False
        )
        batch_builder = BatchBuilder(self.stream, view, self.objective.collator(), 0)
        return judge(self.model, self.objective, batch_builder, sampler), self.objective.data_warnings(view)

    def answers(self, table: Table, outputs: Sequence[Output]) -> list[Answer]:
        """One for each example, in their order."""
        found = self.objective.answers(table, outputs)
        assert len(found) == len(table)
        return found


def objective_of(stream: StreamConfig, checkpoint: Checkpoint) -> Objective:
    """The objective of a stream as it was trained; its parameters are not yet those of the checkpoint."""
    cls = cast(Any, objective_class(stream.objective.name))
    made = cls(
        stream.objective, ObjectiveContext(checkpoint.framing(), checkpoint.recipe.model, stream.dataset)
    )
    assert isinstance(made, Objective)
    return made

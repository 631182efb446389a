"""A model that CTranslate2 decodes; each direction is converted when it is first needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from masscli.api.writing_task import WritingTask, writing_stack
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.ctranslate2_cache import (
    OpenedTranslator,
    open_ctranslate2,
)
from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.data.batches.framing import Framing
from masscli.generation.config import GenerationConfig
from masscli.generation.ctranslate2_decoder import CTranslate2Decoder


@dataclass
class ConvertedModel:
    """A checkpoint that is converted to CTranslate2's format, and decoded by CTranslate2.

    `_opened` keeps the translators that are already loaded, by (source language, target language).
    """

    checkpoint: Checkpoint
    device: torch.device
    precision: str
    shortlist: Path | None = None
    """A file of target pieces for each source piece, which CTranslate2 calls a vocabulary map (vmap)."""
    _opened: dict[tuple[str, str], OpenedTranslator] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        checkpoints: Sequence[Checkpoint],
        device: torch.device,
        precision: str,
        shortlist: Path | None = None,
    ) -> ConvertedModel:
        """Return the model of the only checkpoint; nothing is converted yet.

        Raises MasscliError if there are several checkpoints, or several processes (torchrun).
        """
        if len(checkpoints) > 1:
            raise MasscliError(
                "--backend ctranslate2 decodes with one model, not with several",
                "name one run, or average them: masscli average",
            )
        if distributed.world_size > 1:
            raise MasscliError(
                "--backend ctranslate2 decodes in one process, not under torchrun",
                "start it without torchrun; OMP_NUM_THREADS sets its threads",
            )
        return cls(checkpoints[0], device, precision, shortlist)

    def make_decoder(
        self,
        task: WritingTask,
        framing: Framing,
        config: GenerationConfig,
        *,
        batch_tokens: int,
        batch_size: int | None,
        allowed: Tensor | None,
        piece_scores: bool,
    ) -> CTranslate2Decoder:
        """Return a CTranslate2 decoder for the source and target language of a task.

        The checkpoint is converted for this direction first if it was not yet. Raises MasscliError,
        which names the option or the setting, if the task, the model or the search needs something that
        CTranslate2 lacks.
        """
        # Only an encoder with a decoder can be converted, not a single stack that continues its source.
        stack = writing_stack(self.checkpoint, task)
        if stack is not None:
            raise MasscliError(
                f"{self.checkpoint.path}: --backend ctranslate2 cannot decode with its {stack} alone",
                "decode with --backend torch",
            )
        direction = (task.source, task.target)
        # A conversion takes seconds and disk space, so each direction is converted and opened once.
        if direction not in self._opened:
            threads = torch.get_num_threads()
            self._opened[direction] = open_ctranslate2(
                self.checkpoint,
                *direction,
                str(self.device),
                self.precision,
                threads,
                self.shortlist,
            )
            # CTranslate2 gives each of its workers one thread, and this thread with them.
            torch.set_num_threads(threads)
        translator, token_names = self._opened[direction]
        return CTranslate2Decoder(
            translator,
            token_names,
            self.checkpoint.recipe.model,
            framing,
            config,
            batch_tokens=batch_tokens,
            batch_size=batch_size,
            allowed=allowed,
            piece_scores=piece_scores,
            use_shortlist=self.shortlist is not None,
        )

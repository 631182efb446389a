"""Dialogue: write the next turn (Song et al. 2019, section 4.4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids
from masscli.data.batches.sequences import join_turns
from masscli.data.storage.tables import Table
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.write.conditional_generation import ConditionalGeneration
from masscli.objectives.write.length_limits import LengthLimits
from masscli.objectives.write.options import RespondOptions
from masscli.objectives.write.source_target_dataset import SourceTargetDataset


class DialogueDataset(SourceTargetDataset):
    """Dialogues: the latest turns, joined by <sep>, are the source, and the next turn is the target.

    If a source is too long, its end is kept. `sep` is the id of <sep>.
    """

    def __init__(
        self, table: Table, options: RespondOptions, limits: LengthLimits, sep: int
    ) -> None:
        super().__init__(table, options.response_column, limits)
        self.context_column = options.context_column
        self.max_turns = options.turns
        self.sep = sep
        self.turns = table.ids(options.context_column)

    def source_lengths(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths (stop - start,) of the sources in tokens, before truncation.

        A source is the latest turns, with <sep> between them.
        """
        # Of all turns of the table, turn n has the tokens token_offsets[n] to token_offsets[n + 1] - 1.
        token_offsets = np.concatenate(
            [[0], np.cumsum(self.turns.lengths(), dtype=np.int64)]
        )
        turn_offsets = self.table.item_offsets[self.context_column][start : stop + 1]
        last_turns = turn_offsets[1:]
        first_turns = np.maximum(turn_offsets[:-1], last_turns - self.max_turns)
        num_tokens = token_offsets[last_turns] - token_offsets[first_turns]
        num_separators = np.maximum(last_turns - first_turns - 1, 0)
        lengths: NDArray[np.int64] = num_tokens + num_separators
        return lengths

    def truncated_source(self, row: int) -> Ids:
        """Return the token ids of the latest turns of a row's dialogue, truncated at the start to fit."""
        latest = self.table.item_rows(self.context_column, row)[-self.max_turns :]
        turns = [self.turns[turn] for turn in latest]
        # The end is kept, because the last turn is the one to respond to.
        return join_turns(turns, self.sep)[-self.limits.source :]


class Respond(ConditionalGeneration):
    """Dialogue: generate the next turn."""

    options: RespondOptions

    def __init__(self, config: RespondOptions, context: ObjectiveContext) -> None:
        super().__init__(config, context, config.response_column)

    def table_dataset(self, table: Table, labeled: bool) -> DialogueDataset:
        """Return the dialogues of a table. Raises MasscliError if it lacks a column."""
        table.require(self.options.context_column, "--context-column", many=True)
        table.require(self.options.response_column, "--response-column")
        return DialogueDataset(
            table, self.options, self.limits, self.context.framing.vocab.sep
        )

    def source_line(self, table: Table, row: int) -> str:
        """Return all earlier turns of the dialogue in a row as one line, with tabs between them."""
        turns = table.strings(self.options.context_column, row)
        # A tab within a turn would be read as the end of the turn.
        return "\t".join(turn.replace("\t", " ") for turn in turns)

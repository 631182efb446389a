"""The objectives by name, and the options that every objective has.

A name is an entry point of the group `masscli.objectives` that refers to a subclass of `ObjectiveConfig`. The
options in turn refer to the objective itself, so that they can be read without importing torch. Built-in
objectives are registered in the project's own pyproject.toml, in the same way as those of other packages.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from masscli.core.config import PlugIn, UnusedOption, config
from masscli.core.registry import Registry
from masscli.objectives.input_kinds import SENTENCES, InputKind

Stacks = Literal["encoder-decoder", "encoder", "decoder", "any"]
"""The stacks of a model that an objective trains."""
PairFormatName = Literal["bert", "roberta"]
"""The format in which an encoder has read two texts: [CLS] A [SEP] B [SEP], or <s> A </s> </s> B </s>."""

OBJECTIVES: Registry[type[ObjectiveConfig]] = Registry("objective")
"""Every objective by its name: the class of its options, which refers to the objective itself."""


@config
class ObjectiveConfig(PlugIn):
    """The options of an objective, and its properties that are needed before torch is imported."""

    registry: ClassVar[Registry[type[ObjectiveConfig]]] = OBJECTIVES
    implementation: ClassVar[str]
    """The objective that takes these options, as `module:Class`. It is imported only when it is needed, since
    it imports torch."""
    input_kind: ClassVar[InputKind] = SENTENCES
    """What a stream of the objective reads: sentences, pairs, back-translation or a table."""
    formats: ClassVar[tuple[str, ...]] = ()
    """The formats of tables that the objective reads (masscli/data/formats), the usual one first; empty if it
    reads no tables."""

    @property
    def stacks(self) -> Stacks:
        """The stacks of the model that the objective needs: encoder, decoder, both or any.

        `any` means the stacks of the initial weights, or an encoder if the model starts from scratch.
        """
        return "encoder-decoder"

    @property
    def parameter_group(self) -> str:
        """A name for the set of parameters that the objective trains, or an empty string.

        Two objectives train the same parameters if this name is the same and not empty, or if their options
        are the same. In a sharded model (--shard-model), all streams must train the same parameters.
        """
        return ""

    @property
    def encoder_generates(self) -> bool:
        """Whether an encoder trained with this objective can generate text by itself (by pseudo-masks)."""
        return False

    @property
    def generates_text(self) -> bool:
        """Whether the encoder or the decoder learns to generate text."""
        return self.encoder_generates or "decoder" in self.stacks

    @property
    def learned_pair_format(self) -> PairFormatName:
        """The format in which this objective teaches an encoder to read pairs of texts."""
        return "bert"

    def adapt_to_model(
        self, encoder: bool, decoder: bool, pair_format: PairFormatName
    ) -> Self:
        """Return the options, in which values `auto` may be replaced by those that suit the model.

        `encoder` and `decoder` say which stacks the model has. `pair_format` is the format in which the
        model's encoder has read pairs of texts so far. By default the options are returned unchanged.
        """
        return self

    @property
    def warm_start_updates(self) -> int:
        """The number of updates at the start of training in which the model's weights are not trained.

        It is above 0 for ELECTRA's variant `two-stage`, whose generator is trained on its own at first.
        """
        return 0

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rules that say which options have no effect, given the values of the others (default: none)."""
        return ()

    def max_example_length(self, prefix_length: int) -> tuple[str, int] | None:
        """Return the name of the option that limits the length of examples, and that length in tokens.

        None if no option limits it. `prefix_length` is the number of special tokens before a source.
        """
        return None


def objective_class(name: str) -> Any:
    """Import and return the class of the objective called `name`.

    It is a subclass of `masscli.objectives.objective.Objective`, which cannot be named here without importing
    torch. Raises ConfigError, a MasscliError, for an unknown name.
    """
    return OBJECTIVES.load_target(OBJECTIVES.load(name).implementation)

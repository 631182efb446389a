"""The objectives by name, and what the options of every one begin with.

A name is an entry point of the group `masscli.objectives` that refers to a subclass of `ObjectiveConfig`. The options in turn
refer to the objective itself, so that they can be read without importing torch. Built-in objectives are registered in the
project's own pyproject.toml, in the same way as those of other packages.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from masscli.core.config import PlugIn, UnusedOption, config
from masscli.core.registry import Registry
from masscli.objectives.input_kinds import SENTENCES, InputKind

OBJECTIVES: Registry[type[ObjectiveConfig]] = Registry("objective")
"""Every objective by its name: the class of its options, which refers to the objective itself."""


@config
class ObjectiveConfig(PlugIn):
    """What every objective's options begin with."""

    registry: ClassVar[Registry[type[ObjectiveConfig]]] = OBJECTIVES
    implementation: ClassVar[str]
    """The objective that takes these options, as `module:Class`. It is imported only when it is needed, since it imports torch."""
    input_kind: ClassVar[InputKind] = SENTENCES
    """What a stream of the objective reads: sentences, pairs, back-translation or a table."""
    formats: ClassVar[tuple[str, ...]] = ()
    """Kinds of table that it reads (see masscli/data/formats/registry.py), the usual one first."""

    @property
    def stacks(self) -> Literal["encoder-decoder", "encoder", "decoder", "any"]:
        """What the model needs; `any` is whichever stacks its weights have, and from scratch an encoder."""
        return "encoder-decoder"

    @property
    def parameter_group(self) -> str:
        """Objectives of one path use the same parameters of a model; one without goes its own way."""
        return ""

    @property
    def encoder_generates(self) -> bool:
        """An encoder alone that has learned this can write text, by pseudo-masks."""
        return False

    @property
    def learned_pair_format(self) -> Literal["bert", "roberta"]:
        """The form in which an encoder that has learned this has read two texts."""
        return "bert"

    def adapt_to_model(self, encoder: bool, decoder: bool, pair_format: Literal["bert", "roberta"]) -> Self:
        """The options for a model that has these stacks, where they leave open which is used, and how its encoder has read two texts."""
        return self

    @property
    def warm_start_updates(self) -> int:
        """Updates before the model learns anything."""
        return 0

    @property
    def generates_text(self) -> bool:
        """Whether some stack learns to write text."""
        return self.encoder_generates or "decoder" in self.stacks

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """Which options change nothing beside the others."""
        return ()

    def max_example_length(self, lead: int) -> tuple[str, int] | None:
        """The option that says how long the pieces are into which it cuts running text, and how many tokens of one a stack reads at most.

        None where examples are as long as the text is.  `lead` is how many symbols stand before a source, as in `Framing`.
        """
        return None


def objective_class(name: str) -> Any:
    """Import the class of the objective called `name`.

    It is a subclass of `masscli.objectives.objective.Objective`, which cannot be named here without importing torch.
    """
    return OBJECTIVES.load_target(OBJECTIVES.load(name).implementation)

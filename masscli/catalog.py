"""The objectives by name, and what the options of every one begin with.

A name stands for a class of masscli/objectives and for its options (masscli/methods.py, pretraining.py, tasks.py), which can be had
without importing torch.  Other packages add theirs through entry points (masscli/registry.py).
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from masscli.config import Idle, PlugIn, config
from masscli.registry import Registry

OBJECTIVES: Registry[object] = Registry(
    "objective",
    {
        "mass": "masscli.objectives.mass:Mass",
        "translate": "masscli.objectives.translate:Translate",
        "denoise": "masscli.objectives.denoise:Denoise",
        "clm": "masscli.objectives.clm:CausalLM",
        "mlm": "masscli.objectives.mlm:MaskedLM",
        "backtranslate": "masscli.objectives.backtranslate:Backtranslate",
        "bert": "masscli.objectives.bert:Bert",
        "roberta": "masscli.objectives.roberta:Roberta",
        "albert": "masscli.objectives.albert:Albert",
        "electra": "masscli.objectives.electra:Electra",
        "gpt": "masscli.objectives.gpt:Gpt",
        "unilm": "masscli.objectives.unilm:UniLM",
        "bert+lm": "masscli.objectives.bert_lm:BertLM",
        "tlm": "masscli.objectives.tlm:TranslationLM",
        "s2s": "masscli.objectives.s2s:PseudoMasked",
        "classify": "masscli.objectives.classify:Classify",
        "regress": "masscli.objectives.regress:Regress",
        "tag": "masscli.objectives.tag:Tag",
        "choose": "masscli.objectives.choose:Choose",
        "extract": "masscli.objectives.extract:Extract",
        "summarize": "masscli.objectives.write:Summarize",
        "respond": "masscli.objectives.write:Respond",
    },
    {
        "mass": "masscli.methods:MassOptions",
        "translate": "masscli.methods:TranslateOptions",
        "denoise": "masscli.methods:DenoiseOptions",
        "clm": "masscli.methods:CausalLMOptions",
        "mlm": "masscli.methods:MaskedLMOptions",
        "backtranslate": "masscli.methods:BacktranslateOptions",
        "bert": "masscli.pretraining:BertOptions",
        "roberta": "masscli.pretraining:RobertaOptions",
        "albert": "masscli.pretraining:AlbertOptions",
        "electra": "masscli.pretraining:ElectraOptions",
        "gpt": "masscli.pretraining:GptOptions",
        "unilm": "masscli.pretraining:UniLMOptions",
        "bert+lm": "masscli.pretraining:BertLMOptions",
        "tlm": "masscli.pretraining:TranslationLMOptions",
        "s2s": "masscli.pretraining:PseudoMaskedOptions",
        "classify": "masscli.tasks:ClassifyOptions",
        "regress": "masscli.tasks:RegressOptions",
        "tag": "masscli.tasks:TagOptions",
        "choose": "masscli.tasks:ChooseOptions",
        "extract": "masscli.tasks:ExtractOptions",
        "summarize": "masscli.tasks:SummarizeOptions",
        "respond": "masscli.tasks:RespondOptions",
    },
)


@config
class ObjectiveConfig(PlugIn):
    """What every objective's options begin with.

    `reads` says what text a stream of it needs: sentences of a language (en), pairs of a direction (en-de), or sentences of the language
    that a direction (en-de) is written in: German; or a table of labelled examples.
    """

    registry: ClassVar[Registry[object]] = OBJECTIVES
    reads: ClassVar[Literal["sentences", "pairs", "target", "table"]] = "sentences"
    formats: ClassVar[tuple[str, ...]] = ()
    """Kinds of table that it reads (see masscli/data/formats.py), the usual one first."""

    @property
    def stacks(self) -> Literal["encoder-decoder", "encoder", "decoder", "any"]:
        """What the model needs; `any` is whichever stacks its weights have, and from scratch an encoder."""
        return "encoder-decoder"

    @property
    def path(self) -> str:
        """Objectives of one path use the same parameters of a model; one without goes its own way."""
        return ""

    @property
    def writes(self) -> bool:
        """An encoder alone that has learned this can write text, by pseudo-masks."""
        return False

    @property
    def joins(self) -> Literal["bert", "roberta"]:
        """The form in which an encoder that has learned this has read two texts."""
        return "bert"

    def suited(self, encoder: bool, decoder: bool, joins: Literal["bert", "roberta"]) -> Self:
        """The options for a model that has these stacks, where they leave open which is used, and how its encoder has read two texts."""
        return self

    @property
    def waits(self) -> int:
        """Updates before the model learns anything."""
        return 0

    @property
    def speaks(self) -> bool:
        """Whether some stack learns to write text."""
        return self.writes or "decoder" in self.stacks

    @property
    def idle(self) -> tuple[Idle, ...]:
        """Which options change nothing beside the others."""
        return ()

    def longest(self, lead: int) -> tuple[str, int] | None:
        """The option that says how long the pieces are into which it cuts running text, and how many tokens of one a stack reads at most.

        None where examples are as long as the text is.  `lead` is how many symbols stand before a source, as in `Framing`.
        """
        return None

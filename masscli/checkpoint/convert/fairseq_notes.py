"""Notes for the user about an imported fairseq model: assumptions, folded tensors, and omitted parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from masscli.checkpoint.convert.fairseq_layout import Layout
from masscli.checkpoint.convert.fairseq_stack import FairseqStack
from masscli.checkpoint.convert.torch_file import attributes
from masscli.models.config import ModelConfig

TRANSLATION_TASKS = (
    "translation",
    "translation_from_pretrained_xlm",
    "translation_multi_simple_epoch",
    "multilingual_translation",
    "online_backtranslation",
    "semisupervised_translation",
)
"""fairseq's own tasks of translation, whose tokens around texts are known."""
TRAINING_ONLY = {
    "encoder_layerdrop": "layer drop",
    "decoder_layerdrop": "layer drop",
}
"""fairseq's options for noise that does not change what a trained model computes, each with its name."""


def task_notes(
    options: Mapping[str, Any], layout: Layout, languages: Mapping[str, str]
) -> list[str]:
    """Return notes for the user on what the task that the options name puts around texts; often none.

    There is one for a task that is not fairseq's own, since it may put other tokens around texts than the
    task translation, and one if the model can write one language only. `languages` has the language by stack.
    """
    notes = []
    task = options.get("task")
    is_known = task is None or task in TRANSLATION_TASKS
    if layout.kind == "transformer" and not is_known:
        notes.append(
            f"the task {task} is not one of fairseq: texts are framed as in its task translation"
        )
    if layout.tags.forces_target:
        notes.append(
            f"every output begins with the tag of {languages['decoder']}, which the model writes alone"
        )
    return notes


def projection_notes(stacks: Iterable[FairseqStack]) -> list[str]:
    """Return notes for the user on embeddings that fairseq projects to the width of a stack; often none."""
    return [
        f"the embeddings of the {stack.name} have another width than its layers: their projections are "
        "multiplied into them, which changes no result"
        for stack in stacks
        if stack.has_projections
    ]


def training_notes(content: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """Return notes for the user on what the training did to the weights, and the import does not.

    That is noise of the options in TRAINING_ONLY, rounding of weights, and the average of weights (EMA) in
    the file `content`.
    """
    notes = []
    for option, part in TRAINING_ONLY.items():
        if options.get(option):
            notes.append(
                f"{part} (--{option.replace('_', '-')} {options[option]}) acts in training alone, and "
                "masscli trains without it"
            )
    # fairseq rounds at random in training, and everything when it generates.
    if options.get("quant_noise_scalar"):
        notes.append(
            "fairseq computes with weights that are rounded to 8 bits (--quant-noise-scalar "
            f"{options['quant_noise_scalar']}); masscli does not round, so that results differ a little"
        )
    if "ema" in attributes(content.get("extra_state")):
        notes.append(
            "left behind: the average of the weights over the training (EMA); like fairseq-generate, the "
            "import takes the weights themselves"
        )
    return notes


def assumptions(
    options: Mapping[str, Any],
    config: ModelConfig,
    layout: Layout,
    stacks: Iterable[FairseqStack],
) -> list[str]:
    """Return notes for the user on what is assumed because options are missing; empty if nothing is.

    In a file without options these are the activation, the scale of embeddings and the number of heads, which
    no tensor shows. In another file it may be whether norms stand before or after attention and feed-forward
    layers: without the option that says so, they stand before if the stack ends with a norm.
    """
    if options:
        notes = []
        for stack in stacks:
            option = f"{stack.name}_normalize_before"
            # MASS for summarization has no such option: its norms always stand after.
            is_known = layout.kind == "mass_summarization" or option in options
            if stack.heeds_norm_option and not is_known:
                place, found = "after", "no final norm"
                if stack.has_final_norm:
                    place, found = "before", "a final norm"
                notes.append(
                    f"the file has no option {option}: norms are taken to stand {place} attention and "
                    f"feed-forward layers, since there is {found}"
                )
        return notes
    scaled = "scaled" if config.scale_embedding else "not scaled"
    return [
        f"the file has no options: assumed are the activation {config.activation}, embeddings that are "
        f"{scaled}, and {config.heads} attention heads"
    ]

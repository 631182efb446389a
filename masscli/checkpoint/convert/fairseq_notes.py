"""Notes for the user about an imported fairseq model: assumptions, folded tensors, and omitted parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from masscli.checkpoint.convert.fairseq_layout import Layout
from masscli.checkpoint.convert.fairseq_stack import FairseqStack
from masscli.checkpoint.convert.inert_objects import attributes
from masscli.models.config import ModelConfig

TRANSLATION_TASKS = (
    "translation",
    "translation_from_pretrained_xlm",
    "translation_multi_simple_epoch",
    "multilingual_translation",
    "online_backtranslation",
    "semisupervised_translation",
)
"""fairseq's own translation tasks, for which it is known which tokens they put around texts."""
TRAINING_ONLY = {
    "encoder_layerdrop": "layer drop",
    "decoder_layerdrop": "layer drop",
}
"""fairseq's options for noise that is absent after training, each with the name of the noise."""


def task_notes(
    options: Mapping[str, Any], layout: Layout, languages: Mapping[str, str]
) -> list[str]:
    """Return notes for the user on the tokens that the task named by the options puts around texts.

    The list is often empty. There is a note for a task that is not fairseq's own, since it may not put
    the same tokens around texts as the task translation, and one if the model can generate a single
    language only. `languages` has the language by stack.
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
            f"every output begins with the tag of {languages['decoder']}, the only one that the model writes"
        )
    return notes


def projection_notes(stacks: Iterable[FairseqStack]) -> list[str]:
    """Return notes for the user on embeddings that fairseq projects to a stack's width; often empty."""
    return [
        f"the embeddings of the {stack.name} have another width than its layers: their projections are "
        "multiplied into them, which changes no result"
        for stack in stacks
        if stack.has_projections
    ]


def training_notes(content: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """Return notes for the user on what fairseq did to the weights in training and masscli does not.

    This is the noise of the options in TRAINING_ONLY, quantization of weights, and the moving average
    of weights (EMA) in the file `content`.
    """
    notes = []
    for option, part in TRAINING_ONLY.items():
        if options.get(option):
            notes.append(
                f"{part} (--{option.replace('_', '-')} {options[option]}) acts in training alone, and "
                "masscli trains without it"
            )
    # fairseq quantizes a random part of the weights in training, and all of them in generation.
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

    In a file without options these are the activation, the scale of embeddings and the number of heads,
    which no tensor shows. In other files the placement of norms, before or after attention and
    feed-forward layers, may be missing: it is then taken to be before if the stack ends with a norm.
    """
    if options:
        notes = []
        for stack in stacks:
            option = f"{stack.name}_normalize_before"
            # MASS for summarization has no such option: its norms are always after the sublayers.
            is_known = layout.kind == "mass_summarization" or option in options
            if stack.heeds_norm_option and not is_known:
                place, found = "after", "no final norm"
                if stack.has_final_norm:
                    place, found = "before", "a final norm"
                notes.append(
                    f"the file has no option {option}: norms are assumed to be {place} attention and "
                    f"feed-forward layers, since there is {found}"
                )
        return notes
    scaled = "scaled" if config.scale_embedding else "not scaled"
    return [
        f"the file has no options: assumed are the activation {config.activation}, embeddings that are "
        f"{scaled}, and {config.heads} attention heads"
    ]

"""Describe a family of models of Hugging Face's library: names of tensors and settings, and fixed settings.

Nothing here imports torch. A table of names maps masscli's name of a tensor to Hugging Face's. In both, `*`
stands for `weight` and `bias`, and `#` for the number of a layer; in Hugging Face's, `~` stands for the
family's prefix. Queries, keys and values are one tensor in masscli: the several names of Hugging Face's are
separated by spaces, and their tensors are concatenated in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Names = Mapping[str, str]
"""A table of names as described above, or one of fields of `ModelConfig` and keys of config.json."""


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models with one stack, such as BERT: its names in Hugging Face's library, and limits."""

    model_type: str
    """The value of `model_type` in config.json."""
    title: str
    """The name of the family in messages."""
    arch: str
    """The preset (presets.toml) that gives the settings of the model which config.json does not give."""
    preset_prefix: str
    """How the names of the family's presets begin."""
    tokenizer_class: str
    """Hugging Face's tokenizer class, used if the files of a folder do not name one."""
    roles: tuple[str, ...]
    """The special tokens that the models have, by names of `Vocabulary`, such as `pad` and `cls`."""
    objective: str
    """masscli's name of the objective that the published models were pre-trained with."""
    prefix: str
    """The prefix of tensor names of the body in a model with heads, such as `bert.`; bare models lack it."""
    body: Names
    """Tensor names of embeddings and layers."""
    pooler: Names
    """Tensor names of the pooler over the first token; empty if the family has none."""
    lm_head: Names
    """Tensor names of the LM head except its output weights: transform and bias; empty if it has neither."""
    output_weight: str
    """Hugging Face's name of the output weights, which files may lack if the token embeddings are tied."""
    objective_head: Names
    """Tensor names of the head of the pre-training objective besides the LM head; empty if there is none."""
    tied_bias: Names
    """A second name of the output bias in files, mapped to its first name; both are Hugging Face's."""
    task_prefixes: tuple[str, ...]
    """How the tensor names of heads of downstream tasks begin; such tensors are not imported."""
    config_keys: Names
    """Fields of masscli's `ModelConfig`, mapped to the keys of config.json that hold them."""
    full_class: str
    """Hugging Face's class for pre-training: with the LM head and the head of the objective, if the family
    has both; ELECTRA's has the latter alone."""
    lm_class: str
    """Hugging Face's class with the LM head only."""
    bare_class: str
    """Hugging Face's class for a model without heads, or with its only head for GPT and GPT-2."""
    activations: Mapping[str, str]
    """masscli's name of each activation by its name in config.json; others are not supported."""
    objective_outputs: Mapping[str, int] = field(default_factory=dict)
    """The number of outputs of those linear layers in the head of the objective that have another number than
    the width of the model, by masscli's name of the layer."""
    config_defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values of settings that config.json may lack, as Hugging Face's library has them, by field of
    `ModelConfig`. Sizes are not among them: a file without them is incomplete."""
    required_config: Mapping[str, Any] = field(default_factory=dict)
    """Values that keys of config.json must have if they are present; an export writes them, too."""
    transposed: bool = False
    """Whether Hugging Face stores the weight matrices of layers as (in, out) instead of (out, in)."""
    positions_after_padding: bool = False
    """Whether position embeddings begin at row (id of padding) + 1, as in fairseq, instead of row 0."""
    fixed_head_activation: str | None = None
    """The activation of the LM head, whatever config.json says; None if it is that of the layers."""
    unknown_tensor_hint: str = (
        "a model with other parts than the published ones cannot be imported"
    )
    """The hint of the error about a tensor that the family does not have."""

    @property
    def is_encoder(self) -> bool:
        """Whether the models are encoders; otherwise they are decoder-only language models."""
        return "encoder_layers" in self.config_keys

    def tensor_names(self, *tables: Names, layers: int) -> dict[str, tuple[str, ...]]:
        """Return, by masscli's name of each tensor, Hugging Face's names of the tensors that it consists of.

        `tables` are tables of names of this family, whose placeholders are filled in for `layers` layers.
        Several names are those of tensors that are concatenated.
        """
        names = {}
        for table in tables:
            for our_pattern, their_pattern in table.items():
                for ours, theirs in expand_names(our_pattern, their_pattern, layers):
                    names[ours] = tuple(theirs.replace("~", self.prefix).split())
        return names


def expand_names(ours: str, theirs: str, layers: int) -> list[tuple[str, str]]:
    """Return the pairs (masscli's tensor name, Hugging Face's) that one row of a table of names stands for.

    `#` is replaced by each number below `layers`, and `*` by weight and bias, in both names alike.
    """
    pairs = [(ours, theirs)]
    if "#" in ours:
        pairs = [
            (ours.replace("#", str(layer)), theirs.replace("#", str(layer)))
            for layer in range(layers)
        ]
    if "*" not in ours:
        return pairs
    expanded = []
    for left, right in pairs:
        for kind in ("weight", "bias"):
            expanded.append((left.replace("*", kind), right.replace("*", kind)))
    return expanded

"""A kind of model in Hugging Face's library: what its tensors and sizes are called, and what is fixed in it.

Only names are listed, so nothing imports torch. A table of names has our name on the left. `*` stands for
`weight` and `bias`, `#` for the number of a layer, and `~` for the prefix of the family. Our queries, keys
and values are one tensor: where the right side has several names, those tensors are stacked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Names = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of model of one stack: its names and its rules."""

    model_type: str
    """The `model_type` of its config.json."""
    title: str
    """The name of the family in messages."""
    arch: str
    """The preset (presets.toml) whose choices hold for everything that config.json does not say."""
    preset_prefix: str
    """How the names of the family's presets begin."""
    tokenizer_class: str
    """The class of its tokenizer, unless the folder says otherwise."""
    roles: tuple[str, ...]
    """The special ids of `Vocabulary` that its models know."""
    objective: str
    """The objective that it was published with."""
    prefix: str
    """The prefix of its tensors in a model with a head; a bare model is saved without it."""
    body: Names
    """Embeddings and layers."""
    pooler: Names
    lm_head: Names
    """The output layer over the token embeddings: the transform and the bias."""
    output_weight: str
    """The output weights, which are the token embeddings unless config.json says that they are not tied."""
    objective_head: Names
    """Tensors that belong to the objective."""
    tied_bias: Names
    """The second name of the output bias, if it has one."""
    task_prefixes: tuple[str, ...]
    """How heads of downstream tasks begin. They are left behind."""
    config_keys: Names
    """Fields of `ModelConfig`, and where config.json has them."""
    full_class: str
    """Its class with LM head and the head of the objective."""
    lm_class: str
    """Its class with the LM head alone."""
    bare_class: str
    """Its class without a head."""
    activations: Mapping[str, str]
    """Activations by their names in config.json."""
    config_defaults: Mapping[str, Any] = field(default_factory=dict)
    """What older versions of config.json do not say, by our fields."""
    required_config: Mapping[str, Any] = field(default_factory=dict)
    """What config.json must say where it has these keys."""
    transposed: bool = False
    """Whether the matrices of the layers are (in, out)."""
    positions_after_padding: bool = False
    """Whether positions begin after the id of padding, as in fairseq."""
    fixed_head_activation: str | None = None
    """The activation of the LM head, if it is not that of the layers."""
    unknown_tensor_hint: str = "a model with other parts than the published ones cannot be imported"

    @property
    def is_encoder(self) -> bool:
        """Whether its models are encoders; otherwise they are decoders."""
        return "encoder_layers" in self.config_keys

    def tensor_names(self, *tables: Names, layers: int) -> dict[str, tuple[str, ...]]:
        """Return each tensor of ours that the tables name, with the tensors that it is stacked from."""
        names = {}
        for table in tables:
            for our_pattern, their_pattern in table.items():
                for ours, theirs in expand_names(our_pattern, their_pattern, layers):
                    names[ours] = tuple(theirs.replace("~", self.prefix).split())
        return names


def expand_names(ours: str, theirs: str, layers: int) -> list[tuple[str, str]]:
    """Return the pairs (our tensor name, theirs) that one row of a table of names stands for.

    `#` stands for the number of each layer, and `*` for weight and bias.
    """
    pairs = [(ours, theirs)]
    if "#" in ours:
        pairs = [(ours.replace("#", str(layer)), theirs.replace("#", str(layer))) for layer in range(layers)]
    if "*" not in ours:
        return pairs
    expanded = []
    for left, right in pairs:
        for kind in ("weight", "bias"):
            expanded.append((left.replace("*", kind), right.replace("*", kind)))
    return expanded

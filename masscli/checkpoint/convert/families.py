"""What Hugging Face calls the tensors and the sizes of BERT, RoBERTa, XLM-R, ALBERT, ELECTRA and GPT.

Only names are listed here, so nothing imports torch. A table of names has our name on the left. `*` stands
for `weight` and `bias`, `#` for the number of a layer, and `~` for the prefix of the family. Our queries,
keys and values are one tensor: where the right side has several names, those tensors are stacked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

Names = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of model in Hugging Face's library: its names and its rules."""

    model_type: str
    """The `model_type` of its config.json."""
    title: str
    """The name of the family in messages."""
    arch: str
    """The preset (presets.toml) whose choices hold for everything that config.json does not say."""
    preset_prefix: str
    """How the names of the family's presets begin."""
    objective: str
    """The objective that it was published with."""
    prefix: str
    """The prefix of its tensors in a model with a head; a bare model is saved without it."""
    body: Names
    """Embeddings and layers."""
    pooler: Names
    lm_head: Names
    """The output layer over the token embeddings: the transform and the bias."""
    objective_head: Names
    """Tensors that belong to the objective."""
    tied_names: Names
    """Second names of tied tensors."""
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
    required_config: Mapping[str, Any] = field(default_factory=dict)
    """What config.json must say where it has these keys."""
    transposed: bool = False
    """Whether the matrices of the layers are (in, out)."""
    positions_after_padding: bool = False
    """Whether positions begin after the id of padding, as in fairseq."""
    unknown_tensor_hint: str = "a model with other parts than the published ones cannot be imported"

    def tensor_names(self, *tables: Names, layers: int) -> dict[str, tuple[str, ...]]:
        """Return each tensor of ours that the tables name, with the tensors that it is stacked from."""
        names = {}
        for table in tables:
            for our_pattern, their_pattern in table.items():
                for ours, theirs in expand_names(our_pattern, their_pattern, layers):
                    names[ours] = tuple(theirs.replace("~", self.prefix).split())
        return names


def expand_names(ours: str, theirs: str, layers: int) -> list[tuple[str, str]]:
    """Return the pairs of names that one row of a table stands for."""
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


_EMBEDDINGS = {
    "token_embeddings.shared": "~embeddings.word_embeddings.weight",
    "embeddings.encoder.positions.weight": "~embeddings.position_embeddings.weight",
    "embeddings.encoder.segments.weight": "~embeddings.token_type_embeddings.weight",
    "embeddings.encoder.norm.*": "~embeddings.LayerNorm.*",
}
_LAYER = "~encoder.layer.#"
_BERT = _EMBEDDINGS | {
    "encoder.layers.#.self_attention.qkv.*": (
        f"{_LAYER}.attention.self.query.* {_LAYER}.attention.self.key.* {_LAYER}.attention.self.value.*"
    ),
    "encoder.layers.#.self_attention.out.*": f"{_LAYER}.attention.output.dense.*",
    "encoder.layers.#.self_norm.*": f"{_LAYER}.attention.output.LayerNorm.*",
    "encoder.layers.#.fc1.*": f"{_LAYER}.intermediate.dense.*",
    "encoder.layers.#.fc2.*": f"{_LAYER}.output.dense.*",
    "encoder.layers.#.ffn_norm.*": f"{_LAYER}.output.LayerNorm.*",
}
# ALBERT has a single layer, which is run many times.
_SHARED = "~encoder.albert_layer_groups.0.albert_layers.0"
_ALBERT = _EMBEDDINGS | {
    "embedding_projections.encoder.*": "~encoder.embedding_hidden_mapping_in.*",
    "encoder.layers.0.self_attention.qkv.*": (
        f"{_SHARED}.attention.query.* {_SHARED}.attention.key.* {_SHARED}.attention.value.*"
    ),
    "encoder.layers.0.self_attention.out.*": f"{_SHARED}.attention.dense.*",
    "encoder.layers.0.self_norm.*": f"{_SHARED}.attention.LayerNorm.*",
    "encoder.layers.0.fc1.*": f"{_SHARED}.ffn.*",
    "encoder.layers.0.fc2.*": f"{_SHARED}.ffn_output.*",
    "encoder.layers.0.ffn_norm.*": f"{_SHARED}.full_layer_layer_norm.*",
}
_GPT = {
    "token_embeddings.shared": "~tokens_embed.weight",
    "embeddings.decoder.positions.weight": "~positions_embed.weight",
    "decoder.layers.#.self_attention.qkv.*": "~h.#.attn.c_attn.*",
    "decoder.layers.#.self_attention.out.*": "~h.#.attn.c_proj.*",
    "decoder.layers.#.self_norm.*": "~h.#.ln_1.*",
    "decoder.layers.#.fc1.*": "~h.#.mlp.c_fc.*",
    "decoder.layers.#.fc2.*": "~h.#.mlp.c_proj.*",
    "decoder.layers.#.ffn_norm.*": "~h.#.ln_2.*",
}
_CONFIG_KEYS = {
    "dim": "hidden_size",
    "encoder_layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn_dim": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "segments": "type_vocab_size",
    "norm_eps": "layer_norm_eps",
    "activation": "hidden_act",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
}
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
_ENCODER_ONLY: dict[str, Any] = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
_TASK_PREFIXES = ("classifier.", "qa_outputs.")

BERT = Family(
    model_type="bert",
    title="BERT",
    arch="bert-base",
    preset_prefix="bert-",
    objective="bert",
    prefix="bert.",
    body=_BERT,
    pooler={"pooler.*": "~pooler.dense.*"},
    lm_head={
        "head_transforms.shared.dense.*": "cls.predictions.transform.dense.*",
        "head_transforms.shared.norm.*": "cls.predictions.transform.LayerNorm.*",
        "output_biases.shared": "cls.predictions.bias",
    },
    objective_head={"head.*": "cls.seq_relationship.*"},
    tied_names={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    task_prefixes=_TASK_PREFIXES,
    config_keys=_CONFIG_KEYS,
    full_class="BertForPreTraining",
    lm_class="BertForMaskedLM",
    bare_class="BertModel",
    activations=_ACTIVATIONS,
    required_config=_ENCODER_ONLY,
)

ROBERTA = Family(
    model_type="roberta",
    title="RoBERTa",
    arch="roberta-base",
    preset_prefix="roberta-",
    objective="roberta",
    prefix="roberta.",
    body=_BERT,
    pooler={"pooler.*": "~pooler.dense.*"},
    lm_head={
        "head_transforms.shared.dense.*": "lm_head.dense.*",
        "head_transforms.shared.norm.*": "lm_head.layer_norm.*",
        "output_biases.shared": "lm_head.bias",
    },
    objective_head={},
    tied_names={
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    task_prefixes=_TASK_PREFIXES,
    config_keys=_CONFIG_KEYS,
    full_class="RobertaForMaskedLM",
    lm_class="RobertaForMaskedLM",
    bare_class="RobertaModel",
    # The LM head of RoBERTa has this activation whatever config.json says, and ours has that of the layers.
    activations={"gelu": "gelu", "gelu_python": "gelu"},
    required_config=_ENCODER_ONLY,
    positions_after_padding=True,
)

XLMR = replace(
    ROBERTA,
    model_type="xlm-roberta",
    title="XLM-R",
    full_class="XLMRobertaForMaskedLM",
    lm_class="XLMRobertaForMaskedLM",
    bare_class="XLMRobertaModel",
)

ALBERT = Family(
    model_type="albert",
    title="ALBERT",
    arch="albert-base",
    preset_prefix="albert-",
    objective="albert",
    prefix="albert.",
    body=_ALBERT,
    pooler={"pooler.*": "~pooler.*"},
    lm_head={
        "head_transforms.shared.dense.*": "predictions.dense.*",
        "head_transforms.shared.norm.*": "predictions.LayerNorm.*",
        "output_biases.shared": "predictions.bias",
    },
    objective_head={"head.*": "sop_classifier.classifier.*"},
    tied_names={
        "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    },
    task_prefixes=_TASK_PREFIXES,
    config_keys=_CONFIG_KEYS | {"embedding_dim": "embedding_size"},
    full_class="AlbertForPreTraining",
    lm_class="AlbertForMaskedLM",
    bare_class="AlbertModel",
    activations=_ACTIVATIONS,
    required_config=_ENCODER_ONLY | {"num_hidden_groups": 1, "inner_group_num": 1},
)

ELECTRA = Family(
    model_type="electra",
    title="ELECTRA",
    arch="electra-base",
    preset_prefix="electra-",
    objective="electra",
    prefix="electra.",
    body=_BERT | {"embedding_projections.encoder.*": "~embeddings_project.*"},
    pooler={},
    lm_head={},
    objective_head={
        "detector.dense.*": "discriminator_predictions.dense.*",
        "detector.out.*": "discriminator_predictions.dense_prediction.*",
    },
    tied_names={},
    task_prefixes=_TASK_PREFIXES,
    config_keys=_CONFIG_KEYS | {"embedding_dim": "embedding_size"},
    full_class="ElectraForPreTraining",
    lm_class="ElectraModel",
    bare_class="ElectraModel",
    activations=_ACTIVATIONS,
    required_config=_ENCODER_ONLY,
    unknown_tensor_hint="the discriminator can be imported, not the generator",
)

GPT = Family(
    model_type="openai-gpt",
    title="GPT",
    arch="gpt",
    preset_prefix="gpt",
    objective="gpt",
    prefix="transformer.",
    body=_GPT,
    pooler={},
    lm_head={},
    objective_head={},
    tied_names={"lm_head.weight": "transformer.tokens_embed.weight"},
    task_prefixes=("multiple_choice_head.", "score."),
    config_keys={
        "dim": "n_embd",
        "decoder_layers": "n_layer",
        "heads": "n_head",
        "max_positions": "n_positions",
        "norm_eps": "layer_norm_epsilon",
        "activation": "afn",
        "dropout": "resid_pdrop",
        "attention_dropout": "attn_pdrop",
    },
    full_class="OpenAIGPTLMHeadModel",
    lm_class="OpenAIGPTLMHeadModel",
    bare_class="OpenAIGPTLMHeadModel",
    # What the library calls gelu in this family is the approximation by tanh.
    activations={"gelu": "gelu_tanh", "relu": "relu"},
    transposed=True,
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.model_type: family for family in (BERT, ROBERTA, XLMR, ALBERT, ELECTRA, GPT)}
)

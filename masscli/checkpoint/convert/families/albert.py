"""ALBERT (Lan et al. 2020): the names of its tensors and settings in Hugging Face's library."""

from __future__ import annotations

from masscli.checkpoint.convert.families import encoder
from masscli.checkpoint.convert.families.family import Family

# There is a single layer, which is applied repeatedly.
_LAYER = "~encoder.albert_layer_groups.0.albert_layers.0"

ALBERT = Family(
    model_type="albert",
    title="ALBERT",
    arch="albert-base",
    preset_prefix="albert-",
    tokenizer_class="AlbertTokenizer",
    roles=encoder.ROLES,
    objective="albert",
    prefix="albert.",
    body=encoder.EMBEDDINGS
    | {
        "embedding_projections.encoder.*": "~encoder.embedding_hidden_mapping_in.*",
        "encoder.layers.0.self_attention.qkv.*": (
            f"{_LAYER}.attention.query.* {_LAYER}.attention.key.* {_LAYER}.attention.value.*"
        ),
        "encoder.layers.0.self_attention.out.*": f"{_LAYER}.attention.dense.*",
        "encoder.layers.0.self_norm.*": f"{_LAYER}.attention.LayerNorm.*",
        "encoder.layers.0.fc1.*": f"{_LAYER}.ffn.*",
        "encoder.layers.0.fc2.*": f"{_LAYER}.ffn_output.*",
        "encoder.layers.0.ffn_norm.*": f"{_LAYER}.full_layer_layer_norm.*",
    },
    pooler={"pooler.*": "~pooler.*"},
    lm_head={
        "head_transforms.shared.dense.*": "predictions.dense.*",
        "head_transforms.shared.norm.*": "predictions.LayerNorm.*",
        "output_biases.shared": "predictions.bias",
    },
    output_weight="predictions.decoder.weight",
    objective_head={"head.*": "sop_classifier.classifier.*"},
    objective_outputs={"head": 2},
    tied_bias={"predictions.decoder.bias": "predictions.bias"},
    task_prefixes=encoder.TASK_PREFIXES,
    config_defaults=encoder.CONFIG_DEFAULTS
    | {
        "activation": "gelu_new",
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "embedding_dim": 128,
    },
    config_keys=encoder.CONFIG_KEYS | {"embedding_dim": "embedding_size"},
    full_class="AlbertForPreTraining",
    lm_class="AlbertForMaskedLM",
    bare_class="AlbertModel",
    activations=encoder.ACTIVATIONS,
    # With other values, groups of layers would each have their own weights.
    required_config=encoder.REQUIRED_CONFIG
    | {"num_hidden_groups": 1, "inner_group_num": 1},
)

"""ELECTRA (Clark et al. 2020): the names of its tensors and settings in Hugging Face's library.

A model is a discriminator (with a detector head) or a generator (with an LM head).
"""

from __future__ import annotations

from masscli.checkpoint.convert.families import encoder
from masscli.checkpoint.convert.families.family import Family

ELECTRA = Family(
    model_type="electra",
    title="ELECTRA",
    arch="electra-base",
    preset_prefix="electra-",
    tokenizer_class="ElectraTokenizer",
    roles=encoder.ROLES,
    objective="electra",
    prefix="electra.",
    body=encoder.BERT_BODY
    | {"embedding_projections.encoder.*": "~embeddings_project.*"},
    pooler={},
    lm_head={
        "head_transforms.shared.dense.*": "generator_predictions.dense.*",
        "head_transforms.shared.norm.*": "generator_predictions.LayerNorm.*",
        "output_biases.shared": "generator_lm_head.bias",
    },
    output_weight="generator_lm_head.weight",
    objective_head={
        "detector.dense.*": "discriminator_predictions.dense.*",
        "detector.out.*": "discriminator_predictions.dense_prediction.*",
    },
    objective_outputs={"detector.out": 1},
    tied_bias={},
    task_prefixes=("sequence_summary.", *encoder.TASK_PREFIXES),
    config_defaults=encoder.CONFIG_DEFAULTS | {"embedding_dim": 128},
    config_keys=encoder.CONFIG_KEYS | {"embedding_dim": "embedding_size"},
    full_class="ElectraForPreTraining",
    lm_class="ElectraForMaskedLM",
    bare_class="ElectraModel",
    activations=encoder.ACTIVATIONS,
    # This holds whatever config.json says; masscli's head has the activation of the layers.
    fixed_head_activation="gelu",
    required_config=encoder.REQUIRED_CONFIG,
)

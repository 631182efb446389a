"""BERT (Devlin et al. 2019): the names of its tensors and settings in Hugging Face's library."""

from __future__ import annotations

from masscli.checkpoint.convert.families import encoder
from masscli.checkpoint.convert.families.family import Family

BERT = Family(
    model_type="bert",
    title="BERT",
    arch="bert-base",
    preset_prefix="bert-",
    tokenizer_class="BertTokenizer",
    roles=encoder.ROLES,
    objective="bert",
    prefix="bert.",
    body=encoder.BERT_BODY,
    pooler={"pooler.*": "~pooler.dense.*"},
    lm_head={
        "head_transforms.shared.dense.*": "cls.predictions.transform.dense.*",
        "head_transforms.shared.norm.*": "cls.predictions.transform.LayerNorm.*",
        "output_biases.shared": "cls.predictions.bias",
    },
    output_weight="cls.predictions.decoder.weight",
    objective_head={"head.*": "cls.seq_relationship.*"},
    objective_outputs={"head": 2},
    tied_bias={"cls.predictions.decoder.bias": "cls.predictions.bias"},
    task_prefixes=encoder.TASK_PREFIXES,
    config_defaults=encoder.CONFIG_DEFAULTS,
    config_keys=encoder.CONFIG_KEYS,
    full_class="BertForPreTraining",
    lm_class="BertForMaskedLM",
    bare_class="BertModel",
    activations=encoder.ACTIVATIONS,
    required_config=encoder.REQUIRED_CONFIG,
)

"""XLM (Lample and Conneau 2019): its classes with a head for a task in Hugging Face's library.

The model below a head is converted by xlm_folder.py, so the tables of names are empty.
"""

from __future__ import annotations

from masscli.checkpoint.convert.families import encoder
from masscli.checkpoint.convert.families.family import Family

XLM = Family(
    model_type="xlm",
    title="XLM",
    arch="mass-xlm",
    preset_prefix="mass-xlm",
    tokenizer_class="XLMTokenizer",
    roles=("bos", "eos", "pad", "unk", "mask"),
    objective="mlm",
    prefix="transformer.",
    body={},
    pooler={},
    lm_head={},
    output_weight="pred_layer.proj.weight",
    objective_head={},
    tied_bias={},
    task_prefixes=("sequence_summary.", "logits_proj.", *encoder.TASK_PREFIXES),
    config_keys={"encoder_layers": "n_layers"},
    full_class="XLMWithLMHeadModel",
    lm_class="XLMWithLMHeadModel",
    bare_class="XLMModel",
    activations={},
)

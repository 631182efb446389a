"""RoBERTa (Liu et al. 2019), XLM-R (Conneau et al. 2020) and CamemBERT (Martin et al. 2020).

The three are the same model and differ only in their tokenizers and the names of their classes. This
module lists the names of tensors and settings in Hugging Face's library.
"""

from __future__ import annotations

from dataclasses import replace

from masscli.checkpoint.convert.families.bert import BERT

# Its body is BERT's, under the same names; its heads and classes have names of their own.
ROBERTA = replace(
    BERT,
    model_type="roberta",
    title="RoBERTa",
    arch="roberta-base",
    preset_prefix="roberta-",
    tokenizer_class="RobertaTokenizer",
    objective="roberta",
    prefix="roberta.",
    lm_head={
        "head_transforms.shared.dense.*": "lm_head.dense.*",
        "head_transforms.shared.norm.*": "lm_head.layer_norm.*",
        "output_biases.shared": "lm_head.bias",
    },
    output_weight="lm_head.decoder.weight",
    # There is no next sentence prediction.
    objective_head={},
    tied_bias={"lm_head.decoder.bias": "lm_head.bias"},
    full_class="RobertaForMaskedLM",
    lm_class="RobertaForMaskedLM",
    bare_class="RobertaModel",
    # This holds whatever config.json says; masscli's head has the activation of the layers.
    fixed_head_activation="gelu",
    positions_after_padding=True,
)
XLMR = replace(
    ROBERTA,
    model_type="xlm-roberta",
    title="XLM-R",
    arch="xlm-roberta-base",
    preset_prefix="xlm-roberta-",
    tokenizer_class="XLMRobertaTokenizer",
    full_class="XLMRobertaForMaskedLM",
    lm_class="XLMRobertaForMaskedLM",
    bare_class="XLMRobertaModel",
)
CAMEMBERT = replace(
    ROBERTA,
    model_type="camembert",
    title="CamemBERT",
    arch="camembert-base",
    preset_prefix="camembert-",
    tokenizer_class="CamembertTokenizer",
    full_class="CamembertForMaskedLM",
    lm_class="CamembertForMaskedLM",
    bare_class="CamembertModel",
)

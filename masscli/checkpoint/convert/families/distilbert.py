"""DistilBERT (Sanh et al. 2019): the names of its tensors and settings in Hugging Face's library.

It is BERT without segment embeddings and pooler.
"""

from __future__ import annotations

from masscli.checkpoint.convert.families import encoder
from masscli.checkpoint.convert.families.family import Family

_LAYER = "~transformer.layer.#"
_ATTENTION = f"{_LAYER}.attention"
_QKV = f"{_ATTENTION}.q_lin.* {_ATTENTION}.k_lin.* {_ATTENTION}.v_lin.*"

DISTILBERT = Family(
    model_type="distilbert",
    title="DistilBERT",
    arch="distilbert-base",
    preset_prefix="distilbert-",
    tokenizer_class="DistilBertTokenizer",
    roles=encoder.ROLES,
    # It was distilled from BERT, with masked language modeling as one of three losses.
    objective="mlm",
    prefix="distilbert.",
    body={
        "token_embeddings.shared": "~embeddings.word_embeddings.weight",
        "embeddings.encoder.positions.weight": "~embeddings.position_embeddings.weight",
        "embeddings.encoder.norm.*": "~embeddings.LayerNorm.*",
        "encoder.layers.#.self_attention.qkv.*": _QKV,
        "encoder.layers.#.self_attention.out.*": f"{_ATTENTION}.out_lin.*",
        "encoder.layers.#.self_norm.*": f"{_LAYER}.sa_layer_norm.*",
        "encoder.layers.#.fc1.*": f"{_LAYER}.ffn.lin1.*",
        "encoder.layers.#.fc2.*": f"{_LAYER}.ffn.lin2.*",
        "encoder.layers.#.ffn_norm.*": f"{_LAYER}.output_layer_norm.*",
    },
    pooler={},
    lm_head={
        "head_transforms.shared.dense.*": "vocab_transform.*",
        "head_transforms.shared.norm.*": "vocab_layer_norm.*",
        "output_biases.shared": "vocab_projector.bias",
    },
    output_weight="vocab_projector.weight",
    objective_head={},
    tied_bias={},
    task_prefixes=("pre_classifier.", *encoder.TASK_PREFIXES),
    config_keys={
        "dim": "dim",
        "encoder_layers": "n_layers",
        "heads": "n_heads",
        "ffn_dim": "hidden_dim",
        "max_positions": "max_position_embeddings",
        "activation": "activation",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
    },
    config_defaults={"activation": "gelu", "dropout": 0.1, "attention_dropout": 0.1},
    full_class="DistilBertForMaskedLM",
    lm_class="DistilBertForMaskedLM",
    bare_class="DistilBertModel",
    activations=encoder.ACTIVATIONS,
)

"""Names of tensors, settings and activations that encoder families of Hugging Face's library share."""

from __future__ import annotations

from typing import Any

EMBEDDINGS = {
    "token_embeddings.shared": "~embeddings.word_embeddings.weight",
    "embeddings.encoder.positions.weight": "~embeddings.position_embeddings.weight",
    "embeddings.encoder.segments.weight": "~embeddings.token_type_embeddings.weight",
    "embeddings.encoder.norm.*": "~embeddings.LayerNorm.*",
}
_LAYER = "~encoder.layer.#"
BERT_BODY = EMBEDDINGS | {
    "encoder.layers.#.self_attention.qkv.*": (
        f"{_LAYER}.attention.self.query.* {_LAYER}.attention.self.key.* {_LAYER}.attention.self.value.*"
    ),
    "encoder.layers.#.self_attention.out.*": f"{_LAYER}.attention.output.dense.*",
    "encoder.layers.#.self_norm.*": f"{_LAYER}.attention.output.LayerNorm.*",
    "encoder.layers.#.fc1.*": f"{_LAYER}.intermediate.dense.*",
    "encoder.layers.#.fc2.*": f"{_LAYER}.output.dense.*",
    "encoder.layers.#.ffn_norm.*": f"{_LAYER}.output.LayerNorm.*",
}
CONFIG_KEYS = {
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
CONFIG_DEFAULTS = {
    "segments": 2,
    "norm_eps": 1e-12,
    "activation": "gelu",
    "dropout": 0.1,
    "attention_dropout": 0.1,
}
"""Hugging Face's defaults for settings that config.json may lack, by field of `ModelConfig`."""
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "relu": "relu",
    "silu": "swish",
    "swish": "swish",
}
REQUIRED_CONFIG: dict[str, Any] = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
TASK_PREFIXES = ("classifier.", "qa_outputs.")
ROLES = ("pad", "unk", "mask", "cls", "sep")

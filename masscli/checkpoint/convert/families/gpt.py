"""GPT (Radford et al. 2018) and GPT-2 (Radford et al. 2019): their names in Hugging Face's library.

The names are those of tensors, settings and classes.
"""

from __future__ import annotations

from dataclasses import replace

from masscli.checkpoint.convert.families import encoder
from masscli.checkpoint.convert.families.family import Family

_LAYERS = {
    "decoder.layers.#.self_attention.qkv.*": "~h.#.attn.c_attn.*",
    "decoder.layers.#.self_attention.out.*": "~h.#.attn.c_proj.*",
    "decoder.layers.#.self_norm.*": "~h.#.ln_1.*",
    "decoder.layers.#.fc1.*": "~h.#.mlp.c_fc.*",
    "decoder.layers.#.fc2.*": "~h.#.mlp.c_proj.*",
    "decoder.layers.#.ffn_norm.*": "~h.#.ln_2.*",
}
_CONFIG_KEYS = {
    "dim": "n_embd",
    "decoder_layers": "n_layer",
    "heads": "n_head",
    "max_positions": "n_positions",
    "norm_eps": "layer_norm_epsilon",
    "dropout": "resid_pdrop",
    "attention_dropout": "attn_pdrop",
}

GPT = Family(
    model_type="openai-gpt",
    title="GPT",
    arch="gpt",
    preset_prefix="gpt",
    tokenizer_class="OpenAIGPTTokenizer",
    roles=("unk",),
    objective="gpt",
    prefix="transformer.",
    body={
        "token_embeddings.shared": "~tokens_embed.weight",
        "embeddings.decoder.positions.weight": "~positions_embed.weight",
        **_LAYERS,
    },
    pooler={},
    lm_head={},
    output_weight="lm_head.weight",
    objective_head={},
    tied_bias={},
    task_prefixes=("multiple_choice_head.", "score.", *encoder.TASK_PREFIXES),
    config_keys=_CONFIG_KEYS | {"activation": "afn"},
    full_class="OpenAIGPTLMHeadModel",
    lm_class="OpenAIGPTLMHeadModel",
    bare_class="OpenAIGPTLMHeadModel",
    # In this family, what the library calls gelu is the tanh approximation.
    config_defaults={
        "norm_eps": 1e-5,
        "activation": "gelu",
        "dropout": 0.1,
        "attention_dropout": 0.1,
    },
    activations={"gelu": "gelu_tanh", "relu": "relu", "swish": "swish"},
    transposed=True,
)
GPT2 = replace(
    GPT,
    model_type="gpt2",
    title="GPT-2",
    arch="gpt2",
    preset_prefix="gpt2",
    tokenizer_class="GPT2Tokenizer",
    roles=("bos", "eos"),
    body={
        "token_embeddings.shared": "~wte.weight",
        "embeddings.decoder.positions.weight": "~wpe.weight",
        **_LAYERS,
        "decoder.norm.*": "~ln_f.*",
    },
    config_keys=_CONFIG_KEYS | {"activation": "activation_function"},
    full_class="GPT2LMHeadModel",
    lm_class="GPT2LMHeadModel",
    bare_class="GPT2LMHeadModel",
    config_defaults={**GPT.config_defaults, "activation": "gelu_new"},
    activations={
        "gelu_new": "gelu_tanh",
        "gelu_pytorch_tanh": "gelu_tanh",
        "gelu_fast": "gelu_tanh",
        "gelu_accurate": "gelu_tanh",
        "gelu": "gelu",
        "relu": "relu",
        "silu": "swish",
        "swish": "swish",
    },
    # Variants that this Transformer does not have.
    required_config={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    },
)

"""What Hugging Face calls the tensors and the sizes of BERT, RoBERTa, ALBERT, ELECTRA and GPT (names alone; no torch here).

A table of names has ours on the left.  `*` stands for `weight` and `bias`, `#` for the number of a layer; several names on the right are
stacked, as our queries, keys and values are.  Names of the right have their family's prefix where the table says `~`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

Names = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of model there: `model_type` of its config.json, and how it is called and built."""

    model_type: str
    title: str
    arch: str
    """The named size (presets.toml) whose choices are the family's: what its config.json does not say must be as it is there."""
    sizes: str
    """How the names of its named sizes begin."""
    objective: str
    """What it was published with."""
    prefix: str
    body: Names
    pooler: Names
    output: Names
    """The output layer over the token table: the transform and the free biases."""
    heads: Names
    """What belongs to the objective."""
    aliases: Names
    """Second names of tied tensors."""
    tasks: tuple[str, ...]
    """Heads of downstream tasks begin so; they are left behind."""
    keys: Names
    """Fields of `ModelConfig`, and where config.json has them."""
    classes: tuple[str, str, str]
    """What it is called with its output layer and the objective's head, with the output layer (or head) alone, and bare."""
    activations: Mapping[str, str]
    demands: Mapping[str, Any] = field(default_factory=dict)
    """What config.json must have, if it says anything."""
    turned: bool = False
    """Matrices of the layers are (in, out)."""
    offset: bool = False
    """Positions begin behind the id of padding."""
    hint: str = "a model with other parts than the published ones cannot be imported"
    """What to say of tensors that have no place."""

    def names(self, *parts: Names, layers: int) -> dict[str, tuple[str, ...]]:
        """Every tensor of ours in some tables of names, and what it is stacked from."""
        return {ours: theirs for part in parts for ours, theirs in self._spelt(part, layers)}

    def _spelt(self, part: Names, layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
        for ours, theirs in part.items():
            for number in range(layers) if "#" in ours else (0,):
                for kind in ("weight", "bias") if "*" in ours else ("",):
                    left, right = (
                        x.replace("#", str(number)).replace("*", kind).replace("~", self.prefix)
                        for x in (ours, theirs)
                    )
                    yield left, tuple(right.split())


_LAYER = {
    "self_attention.qkv.*": "attention.self.query.* attention.self.key.* attention.self.value.*",
    "self_attention.out.*": "attention.output.dense.*",
    "self_norm.*": "attention.output.LayerNorm.*",
    "fc1.*": "intermediate.dense.*",
    "fc2.*": "output.dense.*",
    "ffn_norm.*": "output.LayerNorm.*",
}
_EMBEDDINGS = {
    "token_embeddings.shared": "~embeddings.word_embeddings.weight",
    "embeddings.encoder.positions.weight": "~embeddings.position_embeddings.weight",
    "embeddings.encoder.segments.weight": "~embeddings.token_type_embeddings.weight",
    "embeddings.encoder.norm.*": "~embeddings.LayerNorm.*",
}
_BERT = _EMBEDDINGS | {
    f"encoder.layers.#.{ours}": " ".join(f"~encoder.layer.#.{name}" for name in theirs.split())
    for ours, theirs in _LAYER.items()
}
_SHARED = "~encoder.albert_layer_groups.0.albert_layers.0"
_KEYS = {
    "dim": "hidden_size", "encoder_layers": "num_hidden_layers", "heads": "num_attention_heads", "ffn_dim": "intermediate_size",
    "max_positions": "max_position_embeddings", "segments": "type_vocab_size", "norm_eps": "layer_norm_eps", "activation": "hidden_act",
    "dropout": "hidden_dropout_prob", "attention_dropout": "attention_probs_dropout_prob",
}  # fmt: skip
_GELUS = {
    "gelu": "gelu", "gelu_python": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu",
}  # fmt: skip
_PLAIN: dict[str, Any] = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
}
_TASKS = ("classifier.", "qa_outputs.")

BERT = Family(
    model_type="bert", title="BERT", arch="bert-base", sizes="bert-", objective="bert", prefix="bert.",
    body=_BERT,
    pooler={"pooler.*": "~pooler.dense.*"},
    output={
        "head_transforms.shared.dense.*": "cls.predictions.transform.dense.*",
        "head_transforms.shared.norm.*": "cls.predictions.transform.LayerNorm.*",
        "output_biases.shared": "cls.predictions.bias",
    },
    heads={"head.*": "cls.seq_relationship.*"},
    aliases={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    tasks=_TASKS, keys=_KEYS, activations=_GELUS, demands=_PLAIN,
    classes=("BertForPreTraining", "BertForMaskedLM", "BertModel"),
)  # fmt: skip

ROBERTA = Family(
    model_type="roberta", title="RoBERTa", arch="roberta-base", sizes="roberta-", objective="roberta", prefix="roberta.",
    body=_BERT,
    pooler={"pooler.*": "~pooler.dense.*"},
    output={
        "head_transforms.shared.dense.*": "lm_head.dense.*",
        "head_transforms.shared.norm.*": "lm_head.layer_norm.*",
        "output_biases.shared": "lm_head.bias",
    },
    heads={},
    aliases={"lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight", "lm_head.decoder.bias": "lm_head.bias"},
    tasks=_TASKS, keys=_KEYS, demands=_PLAIN, offset=True,
    activations={"gelu": "gelu", "gelu_python": "gelu"},  # its output layer always has this one
    classes=("RobertaForMaskedLM", "RobertaForMaskedLM", "RobertaModel"),
)  # fmt: skip

XLMR = replace(ROBERTA, model_type="xlm-roberta", title="XLM-R",
               classes=("XLMRobertaForMaskedLM", "XLMRobertaForMaskedLM", "XLMRobertaModel"))  # fmt: skip

ALBERT = Family(
    model_type="albert", title="ALBERT", arch="albert-base", sizes="albert-", objective="albert", prefix="albert.",
    body=_EMBEDDINGS | {
        "embedding_projections.encoder.*": "~encoder.embedding_hidden_mapping_in.*",
        "encoder.layers.0.self_attention.qkv.*": " ".join(f"{_SHARED}.attention.{name}.*" for name in ("query", "key", "value")),
        "encoder.layers.0.self_attention.out.*": f"{_SHARED}.attention.dense.*",
        "encoder.layers.0.self_norm.*": f"{_SHARED}.attention.LayerNorm.*",
        "encoder.layers.0.fc1.*": f"{_SHARED}.ffn.*",
        "encoder.layers.0.fc2.*": f"{_SHARED}.ffn_output.*",
        "encoder.layers.0.ffn_norm.*": f"{_SHARED}.full_layer_layer_norm.*",
    },
    pooler={"pooler.*": "~pooler.*"},
    output={
        "head_transforms.shared.dense.*": "predictions.dense.*",
        "head_transforms.shared.norm.*": "predictions.LayerNorm.*",
        "output_biases.shared": "predictions.bias",
    },
    heads={"head.*": "sop_classifier.classifier.*"},
    aliases={"predictions.decoder.weight": "albert.embeddings.word_embeddings.weight", "predictions.decoder.bias": "predictions.bias"},
    tasks=_TASKS, keys=_KEYS | {"embedding_dim": "embedding_size"}, activations=_GELUS,
    demands=_PLAIN | {"num_hidden_groups": 1, "inner_group_num": 1},
    classes=("AlbertForPreTraining", "AlbertForMaskedLM", "AlbertModel"),
)  # fmt: skip

ELECTRA = Family(
    model_type="electra", title="ELECTRA", arch="electra-base", sizes="electra-", objective="electra", prefix="electra.",
    body=_BERT | {"embedding_projections.encoder.*": "~embeddings_project.*"},
    pooler={}, output={},
    heads={"detector.dense.*": "discriminator_predictions.dense.*", "detector.out.*": "discriminator_predictions.dense_prediction.*"},
    aliases={}, tasks=_TASKS, keys=_KEYS | {"embedding_dim": "embedding_size"}, activations=_GELUS, demands=_PLAIN,
    classes=("ElectraForPreTraining", "ElectraModel", "ElectraModel"), hint="the discriminator can be imported, not the generator",
)  # fmt: skip

GPT = Family(
    model_type="openai-gpt", title="GPT", arch="gpt", sizes="gpt", objective="gpt", prefix="transformer.",
    body={
        "token_embeddings.shared": "~tokens_embed.weight",
        "embeddings.decoder.positions.weight": "~positions_embed.weight",
        "decoder.layers.#.self_attention.qkv.*": "~h.#.attn.c_attn.*",
        "decoder.layers.#.self_attention.out.*": "~h.#.attn.c_proj.*",
        "decoder.layers.#.self_norm.*": "~h.#.ln_1.*",
        "decoder.layers.#.fc1.*": "~h.#.mlp.c_fc.*",
        "decoder.layers.#.fc2.*": "~h.#.mlp.c_proj.*",
        "decoder.layers.#.ffn_norm.*": "~h.#.ln_2.*",
    },
    pooler={}, output={}, heads={},
    aliases={"lm_head.weight": "transformer.tokens_embed.weight"},
    tasks=("multiple_choice_head.", "score."), turned=True,
    keys={"dim": "n_embd", "decoder_layers": "n_layer", "heads": "n_head", "max_positions": "n_positions", "norm_eps": "layer_norm_epsilon",
          "activation": "afn", "dropout": "resid_pdrop", "attention_dropout": "attn_pdrop"},
    activations={"gelu": "gelu_tanh", "relu": "relu"},  # what it calls gelu is the approximation
    classes=("OpenAIGPTLMHeadModel",) * 3,
)  # fmt: skip

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {f.model_type: f for f in (BERT, ROBERTA, XLMR, ALBERT, ELECTRA, GPT)}
)

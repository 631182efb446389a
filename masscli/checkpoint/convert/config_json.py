"""What every import does with a config.json of Hugging Face's library, whatever the family.

It refuses models of another kind, reads general names of settings under the family's own, and says what is
wrong with a setting and which ones it does not use.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.generation_settings import KNOWN_SETTINGS
from masscli.core.errors import MasscliError

_OWN_CODE = "auto_map"
"""The key that names the Python code that comes with a model."""
_IS_CAUSAL = "is_causal"
"""The key that says, in version 5 of the library, whether all attention of a model is causal."""
_GENERAL_NAMES = {
    "dim": "hidden_size",
    "heads": "num_attention_heads",
    "encoder_layers": "num_hidden_layers",
    "decoder_layers": "num_hidden_layers",
    "max_positions": "max_position_embeddings",
}
"""Keys that the library also reads in families with keys of their own, by field of `ModelConfig`."""
_WITHOUT_EFFECT = (
    "_attn_implementation _attn_implementation_autoset _commit_hash _name_or_path _num_labels "
    "add_bias_logits add_cross_attention add_final_layer_norm architectures attn_implementation bos_index "
    "chunk_size_feed_forward classif_dropout classifier_dropout classifier_dropout_prob cls_token_id "
    "cross_attention_hidden_size decoder_layerdrop directionality down_scale_factor dtype embd_pdrop "
    "embed_init_std encoder_layerdrop end_n_top eos_index extra_pos_embeddings finetuning_task "
    "force_bos_token_to_be_generated gap_size generator_size gradient_checkpointing hidden_size id2label "
    "init_std initializer_factor initializer_range is_decoder is_encoder is_encoder_decoder label2id "
    "lang_id layerdrop license mask_index mask_token_id model_type n_ctx n_special name_or_path "
    "net_structure_type num_attention_heads num_hidden_layers num_labels num_memory_blocks output_past "
    "pad_index pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head "
    "pooler_type position_embedding_type predict_special_tokens prefix problem_type pruned_heads "
    "qa_dropout reorder_and_upcast_attn return_dict save_step sep_token_id seq_classif_dropout "
    "start_n_top static_position_embeddings summary_activation summary_first_dropout summary_last_dropout "
    "summary_proj_to_labels summary_type summary_use_proj task_specific_params tf_legacy_loss "
    "tie_encoder_decoder tie_weights_ tie_word_embeddings tokenizer_class torch_dtype torchscript "
    "transformers_version unk_index unk_token_id use_bfloat16 use_return_dict vocab_size xla_device"
)
"""Keys of published files that every import knows: those that it checks for all families, and those that
do not change what a model computes."""


def describe_problem(error: Exception, keys: Mapping[str, str]) -> str:
    """Return the first line of an error about a `ModelConfig` in the words of the file that it was read from.

    `keys` are the keys of the file by field of `ModelConfig`; other fields keep their names.
    """
    # The message is one line, so only the first wrong setting is reported.
    problem = str(error).splitlines()[0].removeprefix("model.")
    return re.sub(r"\w+", lambda word: keys.get(word[0], word[0]), problem)


def with_own_keys(
    config: Mapping[str, Any], keys: Mapping[str, str], path: Path
) -> dict[str, Any]:
    """Return the content of a config.json, `config`, with the general names of settings under a family's own.

    `keys` are the family's own keys by field of `ModelConfig`. Its own key counts where both are there,
    since the weights must fit it. Raises MasscliError, which names the file `path`, if they differ in the
    number of heads, which the weights do not show.
    """
    own = dict(config)
    for field, general in _GENERAL_NAMES.items():
        value, key = config.get(general), keys.get(field, general)
        if value is None:
            continue
        own.setdefault(key, value)
        if field == "heads" and own[key] != value:
            raise MasscliError(
                f"{path}: {general} is {value}, and {key} is {own[key]}",
                "they are one setting, and the former counts in Hugging Face's library: remove one of them",
            )
    return own


def refuse_other_models(
    title: str, config: Mapping[str, Any], path: Path, is_causal: bool | None
) -> None:
    """Raise MasscliError if a config.json says that the weights are not those of the family `title`.

    They may belong to a model whose code comes with it, or to one with other attention: `is_causal` says
    whether all attention in the family's models is causal, None if only some is. `config` is the content of
    the file `path`.
    """
    hint = f"if the weights are those of {title} all the same, remove it from the file"
    own_code = config.get(_OWN_CODE)
    if isinstance(own_code, Mapping):
        for name, where in own_code.items():
            # Code of its own for the tokenizer or the settings says nothing about the weights.
            if "AutoModel" in str(name):
                raise MasscliError(
                    f"{path}: {_OWN_CODE} names code of the model's own ({where}), which is not run",
                    hint,
                )
    if _IS_CAUSAL in config and (
        is_causal is None or bool(config[_IS_CAUSAL]) != is_causal
    ):
        raise MasscliError(f"{path}: {_IS_CAUSAL} is {config[_IS_CAUSAL]}", hint)


def unused_settings(config: Mapping[str, Any], read: Collection[str]) -> list[str]:
    """Return a list with a note that names the settings of a config.json without effect, or an empty list.

    `config` is the content of the file, and `read` are the keys that the import of this family reads. Keys
    without effect on any model are left out, and so are keys that are not set.
    """
    known = {*read, *_WITHOUT_EFFECT.split(), *KNOWN_SETTINGS, _IS_CAUSAL}
    names = [
        name
        for name, value in config.items()
        if name not in known and value not in (None, False, [], {})
    ]
    if not names:
        return []
    return [f"config.json has settings without effect here: {', '.join(names)}"]

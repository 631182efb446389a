"""Make checkpoints with fairseq 0.12.2, and write down what fairseq computes with them.

    python make_fairseq_samples.py FOLDER

runs in an environment of its own, since fairseq needs Python 3.10 or older and old versions of its libraries:

    python3.10 -m venv fairseq && fairseq/bin/pip install "pip<24.1" "setuptools<60"
    fairseq/bin/pip install "torch<2.2" "numpy<1.24" "omegaconf==2.0.6" "hydra-core==1.0.7" fairseq==0.12.2

Each folder in FOLDER gets checkpoint.pt, the dictionaries, and expected.npz: inputs padded on the right, the
states of the encoder, and the logits. Weights are random, norms and biases included.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
import torch
from fairseq.data import Dictionary
from fairseq.data.multilingual.multilingual_utils import augment_dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from fairseq.models.transformer_lm import TransformerLanguageModelConfig
from omegaconf import OmegaConf

TRANSFORMER = {
    "encoder_embed_dim": 24,
    "decoder_embed_dim": 24,
    "encoder_ffn_embed_dim": 40,
    "decoder_ffn_embed_dim": 40,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "max_source_positions": 64,
    "max_target_positions": 64,
}
LM = {
    "decoder_input_dim": 24,
    "decoder_output_dim": 24,
    "decoder_embed_dim": 24,
    "decoder_ffn_embed_dim": 40,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "max_target_positions": 64,
    "tokens_per_sample": 64,
}
ROBERTA = {
    "encoder_embed_dim": 24,
    "encoder_ffn_embed_dim": 40,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "tokens_per_sample": 64,
    "max_positions": 64,
}
PRE = {"encoder_normalize_before": True, "decoder_normalize_before": True}
LEARNED = {"encoder_learned_pos": True, "decoder_learned_pos": True}
SAMPLES = {
    # name: architecture, form of the options, dictionaries, switches
    "post-norm": ("transformer", "cfg", "joined", {"share_all_embeddings": True}),
    "pre-norm-embedding-norm": (
        "transformer",
        "args",
        "joined",
        {
            **PRE,
            "layernorm_embedding": True,
            "share_all_embeddings": True,
            "activation_fn": "gelu",
        },
    ),
    "learned-unshared": (
        "transformer",
        "cfg",
        "joined",
        {**LEARNED, "no_scale_embedding": True},
    ),
    "two-dictionaries": (
        "transformer",
        "args",
        "two",
        {"share_decoder_input_output_embed": True, "activation_fn": "gelu"},
    ),
    "two-dictionaries-unshared": (
        "transformer",
        "omegaconf",
        "two",
        {**PRE, **LEARNED},
    ),
    "no-final-norm": (
        "transformer",
        "args",
        "joined",
        {**PRE, "no_decoder_final_norm": True},
    ),
    "no-positions": (
        "transformer",
        "cfg",
        "joined",
        {"no_token_positional_embeddings": True},
    ),
    "stacks-differ": (
        "transformer",
        "cfg",
        "joined",
        {
            "encoder_layers": 3,
            "decoder_layers": 1,
            "encoder_ffn_embed_dim": 36,
            "decoder_ffn_embed_dim": 20,
            "encoder_attention_heads": 3,
            "decoder_attention_heads": 6,
            "encoder_normalize_before": True,
            "decoder_learned_pos": True,
            "max_target_positions": 48,
            "activation_fn": "gelu_accurate",
        },
    ),
    "half-precision": (
        "transformer",
        "cfg",
        "joined",
        {"share_all_embeddings": True, "fp16": True},
    ),
    "layer-drop": (
        "transformer",
        "cfg",
        "joined",
        {"encoder_layerdrop": 0.3, "decoder_layerdrop": 0.3},
    ),
    "multilingual": (
        "transformer",
        "args",
        "joined",
        {
            "task": "translation_multi_simple_epoch",
            "langs": ["ro", "en", "de"],
            "encoder_langtok": "src",
            "decoder_langtok": True,
            "lang_tok_style": "multilingual",
        },
    ),
    "bart": ("bart_base", "args", "one", {"task": "denoising"}),
    "bart-fine-tuned": (
        "bart_large",
        "cfg",
        "joined",
        {"activation_fn": "relu", "decoder_layers": 3},
    ),
    "bart-pre-norm": (
        "bart_large",
        "omegaconf",
        "joined",
        {**PRE, "share_all_embeddings": False},
    ),
    "mbart": (
        "mbart_base",
        "cfg",
        "joined",
        {**PRE, "task": "translation_from_pretrained_bart", "langs": "ro,en,de"},
    ),
    "lm": ("transformer_lm", "args", "one", {"share_decoder_input_output_embed": True}),
    "lm-pre-norm": (
        "transformer_lm",
        "omegaconf",
        "one",
        {
            "decoder_normalize_before": True,
            "decoder_learned_pos": True,
            "activation_fn": "gelu_fast",
        },
    ),
    "lm-projections": (
        "transformer_lm",
        "cfg",
        "one",
        {"decoder_input_dim": 16, "decoder_output_dim": 20},
    ),
    "lm-projections-shared": (
        "transformer_lm",
        "args",
        "one",
        {
            "decoder_input_dim": 16,
            "decoder_output_dim": 16,
            "share_decoder_input_output_embed": True,
        },
    ),
    "output-projection": ("transformer", "cfg", "joined", {"decoder_output_dim": 16}),
    "roberta": ("roberta", "args", "one", {}),
    "roberta-pre-norm": (
        "roberta",
        "cfg",
        "one",
        {
            "encoder_normalize_before": True,
            "layernorm_embedding": False,
            "untie_weights_roberta": True,
        },
    ),
}
SOURCES = [[10, 20, 11, 30, 5], [8, 9], [15]]
TARGETS = [[12, 9, 14], [21, 22, 8, 6, 7], [19]]


class Task:
    """What build_model asks of a task."""

    def __init__(self, source, target):
        self.source_dictionary, self.target_dictionary = source, target
        self.dictionary = target


def sizes_of(arch):
    """The options of a small model of an architecture."""
    if arch in ("transformer_lm", "roberta"):
        return {"transformer_lm": LM, "roberta": ROBERTA}[arch]
    return TRANSFORMER


def make_dictionary(prefix, size):
    dictionary = Dictionary()
    for number in range(size):
        dictionary.add_symbol(f"{prefix}{number}", n=size - number)
    dictionary.finalize(padding_factor=8)
    return dictionary


def add_defaults(args):
    """Add the options of a language model that only the command line fills in."""
    for field in dataclasses.fields(TransformerLanguageModelConfig):
        if not hasattr(args, field.name):
            is_value = not str(field.default).startswith("${")
            setattr(args, field.name, field.default if is_value else None)


def pad(rows, value):
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def options(form, args):
    """The options in one of the forms of checkpoints."""
    if form == "args":
        return {"args": args}
    task = {
        "_name": "translation",
        "source_lang": args.source_lang,
        "target_lang": args.target_lang,
    }
    if form == "cfg":
        return {"args": None, "cfg": {"_name": None, "model": args, "task": task}}
    plain = {
        key: value
        for key, value in vars(args).items()
        if isinstance(value, (str, int, float, type(None)))
    }
    return {
        "args": None,
        "cfg": OmegaConf.create({"_name": None, "model": plain, "task": task}),
    }


def run(arch, model):
    """What fairseq computes: inputs, states and logits."""
    eos, bos, pad_id = 2, 0, 1
    with torch.no_grad():
        if arch == "roberta":
            source = pad([[bos, *row, eos] for row in SOURCES], pad_id)
            features, _ = model.encoder.extract_features(source)
            return {"source": source, "encoder": features, "logits": model(source)[0]}
        target = pad([[eos, *row] for row in TARGETS], pad_id)
        if arch == "transformer_lm":
            return {"target": target, "logits": model(target)[0]}
        source = pad([[*row, eos] for row in SOURCES], pad_id)
        lengths = source.ne(pad_id).sum(1)
        encoder = model.encoder(source, lengths)["encoder_out"][0].transpose(0, 1)
        logits = model(source, lengths, target)[0]
        return {
            "source": source,
            "target": target,
            "encoder": encoder,
            "logits": logits,
        }


def make(folder, arch, form, dictionaries, switches):
    folder.mkdir(parents=True)
    source = make_dictionary("w", 50)
    target = make_dictionary("u", 41) if dictionaries == "two" else source
    source.save(str(folder / "dict.en.txt"))
    target.save(str(folder / "dict.de.txt"))
    if arch == "roberta":
        # The task of masked language models adds it behind everything else.
        source.add_symbol("<mask>")
    elif "lang_tok_style" in switches:
        augment_dictionary(source, switches["langs"], switches["lang_tok_style"])
    elif "task" in switches:
        # So do those of BART, after the tags of mBART.
        for language in switches.get("langs", "").split(","):
            if language:
                source.add_symbol(f"[{language}]")
        source.add_symbol("<mask>")
    languages = {"source_lang": "en", "target_lang": "de"}
    if switches.get("task") == "denoising":
        languages = {"source_lang": None, "target_lang": None}
    args = argparse.Namespace(
        arch=arch, **{"task": "translation", **languages, **sizes_of(arch), **switches}
    )
    ARCH_CONFIG_REGISTRY[arch](args)
    if arch == "transformer_lm":
        add_defaults(args)
    torch.manual_seed(len(folder.name))
    model = ARCH_MODEL_REGISTRY[arch].build_model(args, Task(source, target))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    if switches.get("fp16"):
        model = model.half().float()
    model.eval()
    state = model.state_dict()
    if switches.get("fp16"):
        state = {name: tensor.half() for name, tensor in state.items()}
    optimizer = {
        "state": {0: {"step": 3, "exp_avg": torch.zeros(4)}},
        "param_groups": [{"lr": 0.1}],
    }
    content = {
        **options(form, args),
        "model": state,
        "last_optimizer_state": optimizer,
        "extra_state": {"epoch": 1},
    }
    torch.save(content, folder / "checkpoint.pt")
    arrays = {name: tensor.numpy() for name, tensor in run(arch, model).items()}
    np.savez(folder / "expected.npz", **arrays)


def main():
    folder = Path(sys.argv[1])
    for name, sample in SAMPLES.items():
        make(folder / name, *sample)
        print(name)


if __name__ == "__main__":
    main()

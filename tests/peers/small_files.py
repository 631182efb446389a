"""Small files in the formats of XLM and fairseq, with random weights, for tests and for the documentation.

    python -m tests.peers.small_files FOLDER TEXT...

writes `mass_ende_1024.pth` with `codes_ende`, and a folder `fairseq` with a checkpoint and its dictionaries.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

XLM_SPECIAL = [
    "<s>",
    "</s>",
    "<pad>",
    "<unk>",
    *(f"<special{number}>" for number in range(10)),
]


def random_tensors(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    return {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}


def xlm_stack(
    dim: int, layers: int, words: int, langs: int, cross: str, shared: bool
) -> dict[str, Tensor]:
    """Random tensors of one stack of XLM; `cross` is empty, plain or languages (MASS)."""
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.weight": (words, dim),
        "position_embeddings.weight": (100, dim),
        "layer_norm_emb.weight": (dim,),
        "layer_norm_emb.bias": (dim,),
        "pred_layer.proj.weight": (words, dim),
        "pred_layer.proj.bias": (words,),
    }
    if langs:
        shapes["lang_embeddings.weight"] = (langs, dim)

    def linear(name: str, rows: int, columns: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (rows, columns), (rows,)

    for i in range(layers):
        attentions = [f"attentions.{i}"] + ([f"encoder_attn.{i}"] if cross else [])
        for name in attentions:
            for part in ("q", "k", "v"):
                linear(f"{name}.{part}_lin", dim, dim)
            outputs = [f"{name}.out_lin"]
            if cross == "languages" and name.startswith("encoder_attn"):
                outputs = [f"{name}.out_lin.{lang}" for lang in range(langs)]
            for output in outputs:
                linear(output, dim, dim)
        linear(f"ffns.{i}.lin1", 4 * dim, dim)
        linear(f"ffns.{i}.lin2", dim, 4 * dim)
        for norm in (
            "layer_norm1",
            "layer_norm2",
            *(["layer_norm15"] if cross else []),
        ):
            shapes[f"{norm}.{i}.weight"] = shapes[f"{norm}.{i}.bias"] = (dim,)
    state = random_tensors(shapes)
    if shared:
        state["pred_layer.proj.weight"] = state["embeddings.weight"]
    return state


def write_mass(folder: Path, texts: Sequence[str]) -> None:
    """Write a model of MASS for unsupervised translation, and merges that make pieces of two letters."""
    words = Counter(word for text in texts for word in text.lower().split())
    pairs = Counter(word[:2] for word in words if len(word) > 2)
    merges = [f"{first} {second}" for (first, second), _ in pairs.most_common(30)]
    (folder / "codes_ende").write_text(
        "".join(f"{merge} 1\n" for merge in merges), encoding="utf-8"
    )
    letters = sorted({letter for word in words for letter in word})
    pieces = [
        *letters,
        *(f"{letter}@@" for letter in letters),
        *(f"{pair[0]}{pair[2]}@@" for pair in merges),
    ]
    vocabulary = [*XLM_SPECIAL, *pieces]
    torch.manual_seed(1)
    size = len(vocabulary)
    content = {
        "encoder": xlm_stack(16, 2, size, 2, "", True),
        "decoder": xlm_stack(16, 2, size, 2, "languages", True),
        "dico_id2word": dict(enumerate(vocabulary)),
        "params": {
            "n_heads": 2,
            "gelu_activation": True,
            "lang2id": {"de": 0, "en": 1},
            "n_words": size,
        },
    }
    torch.save(content, folder / "mass_ende_1024.pth")


def fairseq_stack(
    dim: int, ffn_dim: int, layers: int, decoder: bool
) -> dict[str, Tensor]:
    """Random tensors of one post-norm stack of fairseq, without its token embeddings."""
    shapes: dict[str, tuple[int, ...]] = {}

    def module(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    for i in range(layers):
        for attention in ("self_attn", *(["encoder_attn"] if decoder else [])):
            for part in ("q", "k", "v", "out"):
                module(f"layers.{i}.{attention}.{part}_proj", dim, dim)
            module(f"layers.{i}.{attention}_layer_norm", dim)
        module(f"layers.{i}.fc1", ffn_dim, dim)
        module(f"layers.{i}.fc2", dim, ffn_dim)
        module(f"layers.{i}.final_layer_norm", dim)
    return {**random_tensors(shapes), "version": torch.tensor([3.0])}


def write_fairseq(folder: Path, texts: Sequence[str], **changes: str) -> None:
    """Write a translation model of fairseq over words, with one dictionary for both languages.

    `changes` are options of fairseq that its checkpoint has besides or instead.
    """
    folder.mkdir()
    words = Counter(word for text in texts for word in text.split())
    lines = "".join(f"{word} {count}\n" for word, count in words.most_common())
    for language in ("en", "de"):
        (folder / f"dict.{language}.txt").write_text(lines, encoding="utf-8")
    torch.manual_seed(1)
    table = torch.randn(4 + len(words), 16)
    state: dict[str, Tensor] = {}
    for stack in ("encoder", "decoder"):
        tensors = fairseq_stack(16, 32, 2, stack == "decoder")
        state |= {f"{stack}.{name}": tensor for name, tensor in tensors.items()}
        state[f"{stack}.embed_tokens.weight"] = table
    options: dict[str, Any] = {
        "arch": "transformer",
        "source_lang": "en",
        "target_lang": "de",
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "share_all_embeddings": True,
        **changes,
    }
    torch.save(
        {"args": argparse.Namespace(**options), "model": state},
        folder / "checkpoint_best.pt",
    )


def main() -> None:
    folder, *paths = map(Path, sys.argv[1:])
    texts = [path.read_text(encoding="utf-8") for path in paths]
    write_mass(folder, texts)
    write_fairseq(folder / "fairseq", texts)


if __name__ == "__main__":
    main()

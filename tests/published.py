"""Models as Hugging Face distributes them, made by hand: names and shapes of tensors, and a slow, plain forward pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.import_ import import_folder
from masscli.core.errors import MasscliError

V, D, E, FF, P, LAYERS, HEADS = 60, 16, 8, 24, 20, 2, 2
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = [
    "[PAD]",
    *(f"[unused{n}]" for n in range(10)),
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
]
PIECES = [*SPECIAL, *LETTERS, *(f"##{c}" for c in LETTERS)][:V]
Tensors = dict[str, Tensor]


def write_wordpiece(folder: Path, size: int = V) -> None:
    """Write a lower-cased vocab.txt of `size` pieces."""
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text(
        "".join(f"{piece}\n" for piece in PIECES[:size]), encoding="utf-8"
    )
    # Also where the family was published with a tokenizer of another class.
    settings = json.dumps({"tokenizer_class": "BertTokenizer"})
    (folder / "tokenizer_config.json").write_text(settings, encoding="utf-8")


def write_merges(folder: Path, more: dict[str, int] | None = None) -> dict[str, int]:
    """Write a vocab.json and merges.txt such as GPT's, and return the ids."""
    folder.mkdir(exist_ok=True)
    pieces = [
        "<unk>",
        "c",
        "\n</w>",
        "a",
        "b",
        "a</w>",
        "b</w>",
        "c</w>",
        "ab",
        "ab</w>",
        "abc</w>",
    ]
    ids = {piece: number for number, piece in enumerate(pieces)} | (more or {})
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    (folder / "merges.txt").write_text(
        "#version: 0.2\na b\nab c</w>\na b</w>\n", encoding="utf-8"
    )
    return ids


def texts(vocab: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return token ids, lengths and segments of random texts.

    The lowest ids, of which one may be padding, do not occur.
    """
    lengths = torch.tensor([length, 1, 9, length - 5])
    block = torch.randint(
        2, vocab, (4, length), generator=torch.Generator().manual_seed(5)
    )
    return block, lengths, (torch.arange(length) > lengths[:, None] // 2).long()


# -- tensors ------------------------------------------------------------------------------------------------------------------------------


def linear(name: str, out: int, inner: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, inner), f"{name}.bias": (out,)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def embeddings(
    prefix: str, width: int, segments: int, positions: int
) -> dict[str, tuple[int, ...]]:
    return {f"{prefix}.word_embeddings.weight": (V, width), f"{prefix}.position_embeddings.weight": (positions, width),
            f"{prefix}.token_type_embeddings.weight": (segments, width), **norm(f"{prefix}.LayerNorm", width)}  # fmt: skip


def encoder(prefix: str) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for i in range(LAYERS):
        layer = f"{prefix}.layer.{i}"
        for name in ("query", "key", "value"):
            found |= linear(f"{layer}.attention.self.{name}", D, D)
        found |= linear(f"{layer}.attention.output.dense", D, D) | norm(
            f"{layer}.attention.output.LayerNorm", D
        )
        found |= linear(f"{layer}.intermediate.dense", FF, D) | linear(
            f"{layer}.output.dense", D, FF
        )
        found |= norm(f"{layer}.output.LayerNorm", D)
    return found


def albert_layer(prefix: str) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name in ("query", "key", "value", "dense"):
        found |= linear(f"{prefix}.attention.{name}", D, D)
    found |= (
        norm(f"{prefix}.attention.LayerNorm", D)
        | linear(f"{prefix}.ffn", FF, D)
        | linear(f"{prefix}.ffn_output", D, FF)
    )
    return found | norm(f"{prefix}.full_layer_layer_norm", D)


def gpt_layers() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for i in range(LAYERS):
        layer = f"transformer.h.{i}"
        matrices = {
            "attn.c_attn": (D, 3 * D),
            "attn.c_proj": (D, D),
            "mlp.c_fc": (D, 4 * D),
            "mlp.c_proj": (4 * D, D),
        }
        for name, (inner, out) in matrices.items():
            found |= {
                f"{layer}.{name}.weight": (inner, out),
                f"{layer}.{name}.bias": (out,),
            }
        found |= norm(f"{layer}.ln_1", D) | norm(f"{layer}.ln_2", D)
    return found


SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "bert": {
        **embeddings("bert.embeddings", D, 2, P), **encoder("bert.encoder"), **linear("bert.pooler.dense", D, D),
        **linear("cls.predictions.transform.dense", D, D), **norm("cls.predictions.transform.LayerNorm", D),
        "cls.predictions.bias": (V,), **linear("cls.seq_relationship", 2, D),
    },
    "roberta": {
        **embeddings("roberta.embeddings", D, 1, P + 2), **encoder("roberta.encoder"),
        **linear("lm_head.dense", D, D), **norm("lm_head.layer_norm", D), "lm_head.bias": (V,),
    },
    "albert": {
        **embeddings("albert.embeddings", E, 2, P), **linear("albert.encoder.embedding_hidden_mapping_in", D, E),
        **albert_layer("albert.encoder.albert_layer_groups.0.albert_layers.0"), **linear("albert.pooler", D, D),
        **linear("predictions.dense", E, D), **norm("predictions.LayerNorm", E), "predictions.bias": (V,),
        **linear("sop_classifier.classifier", 2, D),
    },
    "electra": {
        **embeddings("electra.embeddings", E, 2, P), **linear("electra.embeddings_project", D, E), **encoder("electra.encoder"),
        **linear("discriminator_predictions.dense", D, D), **linear("discriminator_predictions.dense_prediction", 1, D),
    },
    "openai-gpt": {
        "transformer.tokens_embed.weight": (V, D), "transformer.positions_embed.weight": (P, D), **gpt_layers(),
    },
}  # fmt: skip
SIZES: dict[str, Any] = {
    "vocab_size": V, "hidden_size": D, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": FF,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.2, "max_position_embeddings": P,
    "type_vocab_size": 2, "layer_norm_eps": 1e-3, "pad_token_id": 0,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": SIZES | {"type_vocab_size": 1, "pad_token_id": 1, "max_position_embeddings": P + 2},
    "albert": SIZES | {"hidden_act": "gelu_new", "embedding_size": E, "num_hidden_groups": 1, "inner_group_num": 1},
    "electra": SIZES | {"embedding_size": E},
    "openai-gpt": {"vocab_size": V, "n_embd": D, "n_layer": LAYERS, "n_head": HEADS, "n_positions": P, "afn": "gelu", "resid_pdrop": 0.1,
                   "embd_pdrop": 0.1, "attn_pdrop": 0.2, "layer_norm_epsilon": 1e-3},
}  # fmt: skip


def tensors(kind: str) -> Tensors:
    """Return random weights of a kind of model."""
    draw = torch.Generator().manual_seed(7)
    return {name: torch.randn(shape, generator=draw) * 0.3 + (1.0 if len(shape) == 1 and "bias" not in name else 0.0)
            for name, shape in SHAPES[kind].items()}  # fmt: skip


def write(
    folder: Path, kind: str, weights: Tensors | None = None, **changes: Any
) -> Tensors:
    """Write a folder as it is distributed, and return its weights."""
    weights = tensors(kind) if weights is None else weights
    write_wordpiece(folder)
    config = {
        k: v
        for k, v in ({"model_type": kind} | CONFIGS[kind] | changes).items()
        if v is not None
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()},
        folder / "model.safetensors",
    )
    return weights


# -- what they compute --------------------------------------------------------------------------------------------------------------------

EPS = 1e-3
GELU: Callable[[Tensor], Tensor] = F.gelu


def gelu_new(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


class Published:
    """Compute one text, without padding or batch, from weights by name."""

    def __init__(self, kind: str, weights: Tensors) -> None:
        self.kind, self.w = kind, weights
        self.act = gelu_new if kind in ("albert", "openai-gpt") else GELU

    def dense(self, name: str, x: Tensor) -> Tensor:
        weight = self.w[f"{name}.weight"]
        return (
            x @ (weight if self.kind == "openai-gpt" else weight.T)
            + self.w[f"{name}.bias"]
        )

    def norm(self, name: str, x: Tensor) -> Tensor:
        centered = x - x.mean(-1, keepdim=True)
        spread = (centered.square().mean(-1, keepdim=True) + EPS).sqrt()
        return centered / spread * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend head by head and query by query; GPT's queries see no later key."""
        size, out = D // HEADS, torch.zeros_like(q)
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for t in range(len(q)):
                last = t + 1 if self.kind == "openai-gpt" else len(k)
                scores = k[:last, part] @ q[t, part] / size**0.5
                out[t, part] = scores.softmax(0) @ v[:last, part]
        return out

    def hidden(self, ids: Tensor, segments: Tensor) -> Tensor:
        """Return the states after the last layer."""
        if self.kind == "openai-gpt":
            return self.gpt(ids)
        base = f"{self.kind}.embeddings"
        offset = 2 if self.kind == "roberta" else 0
        x = (
            self.w[f"{base}.word_embeddings.weight"][ids]
            + self.w[f"{base}.position_embeddings.weight"][offset : offset + len(ids)]
        )
        x = (
            x
            + self.w[f"{base}.token_type_embeddings.weight"][
                segments if self.kind != "roberta" else torch.zeros_like(segments)
            ]
        )
        x = self.norm(f"{base}.LayerNorm", x)
        if self.kind == "electra":
            x = self.dense("electra.embeddings_project", x)
        if self.kind == "albert":
            x = self.dense("albert.encoder.embedding_hidden_mapping_in", x)
        for i in range(LAYERS):
            x = (
                self.albert(x)
                if self.kind == "albert"
                else self.bert(f"{self.kind}.encoder.layer.{i}", x)
            )
        return x

    def bert(self, layer: str, x: Tensor) -> Tensor:
        q, k, v = (
            self.dense(f"{layer}.attention.self.{name}", x)
            for name in ("query", "key", "value")
        )
        x = self.norm(
            f"{layer}.attention.output.LayerNorm",
            x + self.dense(f"{layer}.attention.output.dense", self.attend(q, k, v)),
        )
        inner = self.act(self.dense(f"{layer}.intermediate.dense", x))
        return self.norm(
            f"{layer}.output.LayerNorm", x + self.dense(f"{layer}.output.dense", inner)
        )

    def albert(self, x: Tensor) -> Tensor:
        layer = "albert.encoder.albert_layer_groups.0.albert_layers.0"
        q, k, v = (
            self.dense(f"{layer}.attention.{name}", x)
            for name in ("query", "key", "value")
        )
        x = self.norm(
            f"{layer}.attention.LayerNorm",
            x + self.dense(f"{layer}.attention.dense", self.attend(q, k, v)),
        )
        return self.norm(
            f"{layer}.full_layer_layer_norm",
            x
            + self.dense(
                f"{layer}.ffn_output", self.act(self.dense(f"{layer}.ffn", x))
            ),
        )

    def gpt(self, ids: Tensor) -> Tensor:
        x = (
            self.w["transformer.tokens_embed.weight"][ids]
            + self.w["transformer.positions_embed.weight"][: len(ids)]
        )
        for i in range(LAYERS):
            layer = f"transformer.h.{i}"
            fused = self.dense(f"{layer}.attn.c_attn", x)
            x = self.norm(
                f"{layer}.ln_1",
                x
                + self.dense(f"{layer}.attn.c_proj", self.attend(*fused.split(D, -1))),
            )
            x = self.norm(
                f"{layer}.ln_2",
                x
                + self.dense(
                    f"{layer}.mlp.c_proj", self.act(self.dense(f"{layer}.mlp.c_fc", x))
                ),
            )
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of tokens; for ELECTRA, of each being replaced."""
        if self.kind == "electra":
            inner = self.act(self.dense("discriminator_predictions.dense", hidden))
            return self.dense("discriminator_predictions.dense_prediction", inner)
        if self.kind == "openai-gpt":
            return hidden @ self.w["transformer.tokens_embed.weight"].T
        head, layer_norm = {"bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
                            "roberta": ("lm_head.dense", "lm_head.layer_norm"),
                            "albert": ("predictions.dense", "predictions.LayerNorm")}[self.kind]  # fmt: skip
        bias = {
            "bert": "cls.predictions.bias",
            "roberta": "lm_head.bias",
            "albert": "predictions.bias",
        }[self.kind]
        table = self.w[f"{self.kind}.embeddings.word_embeddings.weight"]
        return (
            self.norm(layer_norm, self.act(self.dense(head, hidden))) @ table.T
            + self.w[bias]
        )

    def order(self, hidden: Tensor) -> Tensor:
        """Return the logits of a pair's order, from the pooled first state."""
        pooled = torch.tanh(
            self.dense(
                "bert.pooler.dense" if self.kind == "bert" else "albert.pooler",
                hidden[0],
            )
        )
        return self.dense(
            "cls.seq_relationship"
            if self.kind == "bert"
            else "sop_classifier.classifier",
            pooled,
        )


# -- what tests do with them --------------------------------------------------------------------------------------------------------------


def import_run(
    folder: Path,
    output: Path,
    languages: tuple[str, ...] = ("en",),
    pickles: bool = False,
) -> Checkpoint:
    import_folder(folder, output, languages, pickles)
    return Checkpoint.open(output)


def error_of(action: Any) -> tuple[str, str | None]:
    with pytest.raises(MasscliError) as caught:
        action()
    return caught.value.message, caught.value.hint


def assert_same_tensors(one: Tensors, other: Tensors) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def sentence_pieces(path: Path, size: int, **options: Any) -> list[str]:
    """Train a SentencePiece model, and return its pieces."""
    lines = [" ".join(a + b + c for c in "aeiou") for a in "bdfgk" for b in "aeiou"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 4), model_prefix=str(path.with_suffix("")), vocab_size=size, hard_vocab_limit=False,
        minloglevel=2, **options)  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [pieces.id_to_piece(i) for i in range(len(pieces))]

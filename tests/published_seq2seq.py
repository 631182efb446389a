"""Encoder-decoder models as Hugging Face distributes them, with random weights and small vocabularies in their formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor

from masscli.checkpoint.convert.mbart import fairseq_ids
from masscli.checkpoint.convert.one_direction import DirectedModel
from masscli.checkpoint.convert.seq2seq import NORM_EPS, SEQ2SEQ_FAMILIES
from masscli.checkpoint.convert.seq2seq_config import seq2seq_config
from masscli.checkpoint.convert.seq2seq_tensors import to_seq2seq
from masscli.models.presets import resolve
from masscli.models.transformer import Transformer
from masscli.text.byte_level_bpe import _letters_of_bytes

LINES = [" ".join(a + b + c for c in "aeiou") for a in "bdfgk" for b in "aeiou"]


def write_spm(
    path: Path, size: int = 60, lines: list[str] = LINES, **options: Any
) -> bytes:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 4),
        model_prefix=str(path.with_suffix("")),
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    data = path.with_suffix(".model").read_bytes()
    path.write_bytes(data)
    return data


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def write_bart(folder: Path) -> int:
    """Byte-level pieces in BART's order, with two merges; return the number of ids."""
    pieces = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        *_letters_of_bytes(),
        "ba",
        "bab",
        "<mask>",
    ]
    write_json(
        folder / "vocab.json", {piece: number for number, piece in enumerate(pieces)}
    )
    (folder / "merges.txt").write_text("#version: 0.2\nb a\nba b\n", encoding="utf-8")
    return len(pieces)


def write_pegasus(folder: Path) -> int:
    data = write_spm(folder / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    return len(sentencepiece.SentencePieceProcessor(model_proto=data)) + 103


def write_mbart(
    folder: Path, tokenizer: str = "MBartTokenizer", languages: int = 25
) -> int:
    data = write_spm(folder / "sentencepiece.bpe.model")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": tokenizer})
    return len(fairseq_ids(data)) + languages + 1


def write_mbart50(folder: Path) -> int:
    return write_mbart(folder, "MBart50Tokenizer", 52)


def write_m2m100(folder: Path) -> int:
    ids = fairseq_ids(write_spm(folder / "sentencepiece.bpe.model"))
    # The dictionary lacks some of the pieces, and has others.
    pieces = [piece for number, piece in enumerate(ids) if number < 4 or number % 7] + [
        "zzz"
    ]
    write_json(
        folder / "vocab.json", {piece: number for number, piece in enumerate(pieces)}
    )
    codes = [f"__{code}__" for code in ("de", "en", "fr", "ro")]
    write_json(folder / "special_tokens_map.json", {"additional_special_tokens": codes})
    return len(pieces) + len(codes) + 8


def write_nllb(folder: Path, legacy: bool = False) -> int:
    data = write_spm(folder / "sentencepiece.bpe.model", model_type="bpe")
    codes = ["deu_Latn", "eng_Latn", "fra_Latn"]
    settings = {
        "tokenizer_class": "NllbTokenizer",
        "legacy_behaviour": legacy,
        "additional_special_tokens": codes,
    }
    write_json(folder / "tokenizer_config.json", settings)
    return len(fairseq_ids(data)) + len(codes) + 1


def write_nllb_legacy(folder: Path) -> int:
    return write_nllb(folder, legacy=True)


def write_marian(folder: Path) -> int:
    source = write_spm(folder / "source.spm", 50)
    target = write_spm(folder / "target.spm", 50, [line.upper() for line in LINES])
    pieces = {"</s>": None, "<unk>": None}
    for data in (source, target):
        model = sentencepiece.SentencePieceProcessor(model_proto=data)
        pieces |= {
            model.id_to_piece(i): None
            for i in range(len(model))
            if not model.is_control(i)
        }
    pieces["<pad>"] = None
    write_json(
        folder / "vocab.json", {piece: number for number, piece in enumerate(pieces)}
    )
    return len(pieces)


def write_marian_tags(folder: Path) -> int:
    """A Marian model of several target languages: sources begin with `>>deu<<` and the like."""
    size = write_marian(folder)
    ids = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    del ids["<pad>"]
    # They stand in the middle of published vocabularies.
    pieces = list(ids)
    pieces[9:9] = [">>deu<<", ">>pt_br<<"]
    write_json(
        folder / "vocab.json",
        {piece: number for number, piece in enumerate([*pieces, "<pad>"])},
    )
    return size + 2


def write_marian_two(folder: Path) -> tuple[int, int]:
    """A Marian model whose source and target have vocabularies of their own, of the same size."""
    write_marian(folder)
    for name, model in (
        ("vocab.json", "source.spm"),
        ("target_vocab.json", "target.spm"),
    ):
        spm = sentencepiece.SentencePieceProcessor(model_file=str(folder / model))
        pieces = [spm.id_to_piece(i) for i in range(len(spm)) if not spm.is_control(i)][
            1:44
        ]
        pieces = ["</s>", "<unk>", *pieces, "<pad>"]
        write_json(
            folder / name, {piece: number for number, piece in enumerate(pieces)}
        )
    write_json(folder / "tokenizer_config.json", {"separate_vocabs": True})
    return len(pieces), len(pieces)


def write_fsmt(folder: Path) -> tuple[int, int]:
    """Two dictionaries and the merges of both, in which `</w>` marks the end of a word."""
    letters = [
        f"{letter}{end}" for letter in "abdefgikouAB,.&;mpqt" for end in ("", "</w>")
    ]
    merges = ["b a", "ba b", "d i</w>", "b a</w>"]
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    merged = [merge.replace(" ", "") for merge in merges]
    sizes = []
    for name, pieces in (
        ("src", [*letters, *merged]),
        ("tgt", [*reversed(letters), *merged, "zz</w>"]),
    ):
        ids = {piece: number for number, piece in enumerate([*special, *pieces])}
        write_json(folder / f"vocab-{name}.json", ids)
        sizes.append(len(ids))
    (folder / "merges.txt").write_text(
        "".join(f"{merge}\n" for merge in merges), encoding="utf-8"
    )
    write_json(
        folder / "tokenizer_config.json",
        {"langs": ["en", "de"], "tokenizer_class": "FSMTTokenizer"},
    )
    return sizes[0], sizes[1]


@dataclass(frozen=True)
class Published:
    """A kind of folder: its family, what writes its vocabulary, languages to import, the ids of padding and of the end."""

    family: str
    write_vocabulary: Callable[[Path], int | tuple[int, int]]
    languages: tuple[str, ...]
    pad: int = 1
    end: int = 2


SEQ2SEQ = {
    "bart": Published("bart", write_bart, ("en",)),
    "pegasus": Published("pegasus", write_pegasus, ("en",), 0, 1),
    "mbart": Published("mbart", write_mbart, ("en", "ro")),
    "mbart50": Published("mbart", write_mbart50, ("en_XX", "sv_SE")),
    "m2m100": Published("m2m_100", write_m2m100, ("en", "ro")),
    "nllb": Published("m2m_100", write_nllb_legacy, ("eng_Latn", "deu")),
    "marian": Published("marian", write_marian, ("en", "de"), -1, 0),
    "marian-tags": Published("marian", write_marian_tags, ("en", "deu"), -1, 0),
    "marian-two": Published("marian", write_marian_two, ("en", "de"), -1, 0),
    "fsmt": Published("fsmt", write_fsmt, ("en", "de")),
}


def make_seq2seq(name: str, folder: Path) -> dict[str, Tensor]:
    """Write a folder, and return its tensors."""
    kind = SEQ2SEQ[name]
    folder.mkdir(exist_ok=True)
    sizes = kind.write_vocabulary(folder)
    has_two = isinstance(sizes, tuple)
    source_size, target_size = sizes if isinstance(sizes, tuple) else (sizes, sizes)
    family = SEQ2SEQ_FAMILIES[kind.family]
    pad = kind.pad % source_size
    positions = "learned" if family.sinusoids is None else "sinusoidal"
    values = {
        "arch": "base", "dim": 16, "ffn_dim": 24, "heads": 2, "encoder_layers": 2, "decoder_layers": 2, "max_positions": 40,
        "norm": family.norm, "norm_embedding": family.norm_embedding, "norm_eps": NORM_EPS, "languages": "none",
        "positions": positions, "position_offset": family.offset(pad), "output_bias": family.output_bias,
        "embeddings": "separate" if has_two else "tied",
    }  # fmt: skip
    config = resolve(values)
    torch.manual_seed(1)
    size = max(source_size, target_size)
    weights = {
        key: torch.randn_like(tensor)
        for key, tensor in Transformer(config, size, ()).state_dict().items()
    }
    source_ids, target_ids = range(source_size), range(target_size)
    if has_two:
        # Of the two vocabularies the ids of the target come last.
        target_ids = range(source_size, source_size + target_size)
        weights = {
            key: tensor[: source_size if key.endswith("encoder") else target_size]
            if key.startswith(("token_embeddings", "output_biases"))
            else tensor
            for key, tensor in weights.items()
        }
    directed = DirectedModel(config, source_ids, target_ids, weights, [], [0], 0, [])
    tensors = to_seq2seq(family, directed)
    tensors = {key: tensor.contiguous().clone() for key, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    start = pad if kind.family in ("marian", "pegasus") else 2
    special = {
        "pad_token_id": pad,
        "eos_token_id": kind.end,
        "decoder_start_token_id": start,
    }
    write_json(folder / "config.json", {**seq2seq_config(family, directed), **special})
    return tensors

"""From a run to a folder that Hugging Face's library reads: config.json, model.safetensors, and the vocabulary."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from masscli.checkpoint.checkpoint import Checkpoint, require_empty_folder
from masscli.checkpoint.convert.families import FAMILIES, XLMR, Family
from masscli.checkpoint.convert.folder import CONFIG, WEIGHTS
from masscli.checkpoint.convert.shapes import choose, lead, write_shape
from masscli.checkpoint.convert.task_heads import tuned
from masscli.checkpoint.convert.tensors import Tensors, give
from masscli.checkpoint.convert.vocabulary import SENTENCEPIECE, SETTINGS, VOCAB
from masscli.core.errors import MasscliError
from masscli.core.files import fsync_path, write_synced
from masscli.models.config import ModelConfig
from masscli.text.model_kinds import BPE_CODES, WORDPIECE
from masscli.text.tokenizer import Tokenizer
from masscli.text.vocabulary import Vocabulary


def export(path: Path, output: Path, name: str | None) -> list[str]:
    """Write the folder `output`; lines that say what is in it, and what is not.

    Raises MasscliError, which names the setting, where the model has no counterpart.
    """
    require_empty_folder(output)
    found = Checkpoint.open(path)
    model, tokenizer = found.recipe.model, found.tokenizer()
    family = choose(model) if name is None else _chosen(name)
    card = write_shape(family, model, tokenizer.vocab)
    weights, heads = found.weights(), found.objective_state()
    own = _heads(family, found, heads)
    task = tuned(family, found, heads)
    kind = _class(family, model, bool(own)) if task is None else task.title
    unused = [
        name
        for part in (task.unused if task is not None else ())
        for name in family.names(part, layers=0)
        if name in weights
    ]
    weights = {name: t for name, t in weights.items() if name not in unused}
    tensors = give(family, model, weights, lead(family, card))
    tensors |= {theirs: heads[ours] for theirs, ours in own.items()} if task is None else task.tensors
    taken = own.values() if task is None else task.ours
    count = sum(tensor.numel() for tensor in weights.values())
    notes = [
        f"{kind}: {len(tensors)} tensors, {count:,} parameters of the model",
        *([task.framed] if task is not None else []),
    ]
    if behind := Counter(".".join(name.split(".")[:2]) for name in (*heads, *unused) if name not in taken):
        notes.append(f"left behind: {', '.join(f'{part} ({n})' for part, n in behind.items())}")
    if task is None and not (model.head_transform or family.output == {}):
        notes.append(f"the model predicts tokens with its table alone, which {kind} does not")
    files, about = _vocabulary(tokenizer, model.max_positions)
    files[CONFIG] = _json({"architectures": [kind], **card, **(task.card if task is not None else {})})
    _write(output, files, tensors)
    return notes + about


def _chosen(name: str) -> Family:
    known = [
        kind for kind, family in FAMILIES.items() if family is not XLMR
    ]  # whose ids are not those of its vocabulary
    if name not in known:
        raise MasscliError(f"--family {name}: no such family", f"there are {', '.join(known)}")
    return FAMILIES[name]


def _heads(family: Family, found: Checkpoint, heads: Tensors) -> dict[str, str]:
    """Their names of the objective's tensors, and ours, where exactly one stream has learned what the family was published with."""
    streams = [
        stream for stream, config in found.recipe.stream.items() if config.objective.name == family.objective
    ]
    names = {
        theirs: f"{stream}.{ours}"
        for ours, (theirs,) in family.names(family.heads, layers=0).items()
        for stream in streams[:1]
    }
    fits = family.output == {} or (found.recipe.model.pooler and found.recipe.model.head_transform)
    return names if len(streams) == 1 and fits and all(ours in heads for ours in names.values()) else {}


def _class(family: Family, model: ModelConfig, heads: bool) -> str:
    """What they call a model with these parts."""
    whole, masked, bare = family.classes
    if not family.output:
        return whole if heads else bare
    return bare if not model.head_transform else whole if model.pooler else masked


def _vocabulary(tokenizer: Tokenizer, longest: int) -> tuple[dict[str, bytes], list[str]]:
    """The files of a vocabulary, and what a user should know of them.

    AlbertTokenizer reads SentencePiece's file as it is, but only a unigram model whose unknown piece is the second.
    """
    surface, vocab = tokenizer.preprocessing, tokenizer.vocab
    settings: dict[str, Any] = {"do_lower_case": surface.lowercase, "model_max_length": longest}
    notes = []
    if surface.moses or surface.normalize or surface.romanian:
        notes.append(
            "text of this vocabulary goes through Moses (or is normalised) first, which no tokenizer there does"
        )
    if tokenizer.model_kind == WORDPIECE:
        return {
            VOCAB: tokenizer.model_bytes,
            SETTINGS: _json({"tokenizer_class": "BertTokenizer", **settings}),
        }, notes
    if tokenizer.model_kind == BPE_CODES:
        return {}, [*notes, "the vocabulary is left out: no tokenizer there reads BPE codes with these ids"]
    roles = {
        f"{role}_token": vocab_id
        for role, vocab_id in _roles(vocab).items()
        if vocab_id < len(tokenizer.all_pieces())
    }
    settings |= {role: tokenizer.ids_to_pieces([number])[0] for role, number in roles.items()}
    if (vocab.unk, settings.get("cls_token")) == (1, "[CLS]"):  # nobody but ALBERT has both
        settings |= {"tokenizer_class": "AlbertTokenizer", "keep_accents": True}
        notes.append(
            "AlbertTokenizer gives the same ids, but for `` and '', which it takes for quotation marks"
        )
    else:
        notes.append(
            f"no tokenizer there gives these ids: encode with SentencePiece itself ({SENTENCEPIECE[0]})"
        )
    return {SENTENCEPIECE[0]: tokenizer.model_bytes, SETTINGS: _json(settings)}, notes


def _roles(vocab: Vocabulary) -> dict[str, int]:
    return {
        "pad": vocab.pad,
        "bos": vocab.bos,
        "eos": vocab.eos,
        "unk": vocab.unk,
        "mask": vocab.mask,
        "cls": vocab.cls,
        "sep": vocab.sep,
    }


def _json(raw: dict[str, Any]) -> bytes:
    return (json.dumps(raw, indent=2, ensure_ascii=False) + "\n").encode()


def _write(output: Path, files: dict[str, bytes], tensors: Tensors) -> None:
    """All of it, or nothing."""
    aside = output.with_name(f".{output.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        save_file({name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}, aside / WEIGHTS,
                  {"format": "pt"})  # fmt: skip
        for name, content in files.items():
            write_synced(aside / name, content)
        fsync_path(aside / WEIGHTS)
        aside.rename(output)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise MasscliError(
            f"--output {output}: cannot be written ({error.strerror})", "choose another folder"
        ) from None

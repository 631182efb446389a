"""Encoder-decoder models of Hugging Face's library: imported, they compute the same, and they come back bit by bit.

Run alone:  pip install transformers && pytest tests/checkpoint/convert/test_seq2seq_import_peer.py
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from masscli.__main__ import run as masscli
from masscli.api.model import load
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.ctranslate2_export import export_ctranslate2
from masscli.checkpoint.convert.import_ import import_folder
from masscli.checkpoint.convert.token_names import token_names
from masscli.checkpoint.convert.translator_export import export_translator
from masscli.generation.config import GenerationConfig
from masscli.text.model_kinds import TWO_VOCABULARIES
from tests.commands import succeed
from tests.published_seq2seq import (
    LINES,
    write_bart,
    write_fsmt,
    write_json,
    write_m2m100,
    write_marian,
    write_marian_tags,
    write_marian_two,
    write_mbart,
    write_mbart50,
    write_nllb,
    write_nllb_legacy,
    write_pegasus,
)
from tests.translators import logits_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers: Any = pytest.importorskip(
        "transformers", reason="transformers is not installed"
    )

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("no_sync"),
]

SIZES = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
         "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 40, "init_std": 0.25}  # fmt: skip
ODD = [
    {},
    {
        "activation_function": "gelu",
        "scale_embedding": True,
        "encoder_layers": 1,
        "decoder_layers": 3,
    },
    {
        "activation_function": "gelu_new",
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 10,
    },
    {
        "activation_function": "swish",
        "d_model": 20,
        "encoder_attention_heads": 5,
        "max_position_embeddings": 33,
    },
    {
        "activation_function": "relu",
        "tie_word_embeddings": False,
        "scale_embedding": True,
        "padded": 5,
    },
]
FAMILIES: dict[str, tuple[str, str, Callable[[Path], Any], tuple[str, ...], dict[str, Any]]] = {
    "bart": ("Bart", "bart", write_bart, ("en",), {"decoder_start_token_id": 2, "forced_bos_token_id": 0, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}),
    "pegasus": ("Pegasus", "pegasus", write_pegasus, ("en",), {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}),
    "mbart": ("MBart", "mbart", write_mbart, ("en", "ro"), {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}),
    "mbart50": ("MBart", "mbart", write_mbart50, ("en_XX", "sv_SE"), {"decoder_start_token_id": 2, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}),
    "m2m100": ("M2M100", "m2m_100", write_m2m100, ("en", "ro"), {"decoder_start_token_id": 2, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}),
    "nllb": ("M2M100", "m2m_100", write_nllb, ("eng_Latn", "deu_Latn"), {"decoder_start_token_id": 2, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}),
    "nllb-legacy": ("M2M100", "m2m_100", write_nllb_legacy, ("eng", "deu"), {"decoder_start_token_id": 2, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}),
    "marian": ("Marian", "marian", write_marian, ("en", "de"), {"eos_token_id": 0, "forced_eos_token_id": 0}),
    "marian-tags": ("Marian", "marian", write_marian_tags, ("en", "deu"), {"eos_token_id": 0, "forced_eos_token_id": 0}),
    "marian-two": ("Marian", "marian", write_marian_two, ("en", "de"), {"eos_token_id": 0, "forced_eos_token_id": 0}),
    "fsmt": ("FSMT", "fsmt", write_fsmt, ("en", "de"), {"langs": ["en", "de"], "decoder_start_token_id": 2}),
}  # fmt: skip


def make_peer(name: str, folder: Path, changes: dict[str, Any]) -> Any:
    """Write a model of random weights with its vocabulary, and return it as their library has it."""
    prefix, _, write_vocabulary, _, special = FAMILIES[name]
    folder.mkdir()
    size = write_vocabulary(folder)
    special = dict(special)
    changes = dict(changes)
    source_size, target_size = size if isinstance(size, tuple) else (size, size)
    if prefix == "Marian":
        special |= {
            "pad_token_id": source_size - 1,
            "decoder_start_token_id": source_size - 1,
        }
    padded = changes.pop("padded", 0)
    special["vocab_size"] = source_size + padded
    if name == "fsmt":
        del special["vocab_size"]
        special |= {
            "src_vocab_size": source_size + padded,
            "tgt_vocab_size": target_size + padded,
        }
        # All of its tables are separate.
        changes.pop("tie_word_embeddings", None)
    if name == "marian-two":
        special |= {
            "decoder_vocab_size": target_size + padded,
            "share_encoder_decoder_embeddings": False,
        }
    config = getattr(transformers, f"{prefix}Config")(**{**SIZES, **changes, **special})
    kind = (
        "MarianMTModel" if prefix == "Marian" else f"{prefix}ForConditionalGeneration"
    )
    torch.manual_seed(3)
    peer = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for key, parameter in peer.named_parameters():
            if "embed_positions" not in key or name in (
                "bart",
                "mbart",
                "mbart50",
                "pegasus",
            ):
                parameter.add_(0.1 * torch.randn_like(parameter))
        if hasattr(peer, "final_logits_bias"):
            peer.final_logits_bias.normal_()
    peer.save_pretrained(folder)
    return peer


def rows_of(run: Checkpoint, source: str, target: str) -> tuple[list[int], list[int]]:
    """Return our id of each row of their embeddings of source and target."""
    tokenizer = run.tokenizer()
    if tokenizer.model_kind == TWO_VOCABULARIES:
        return list(tokenizer.own_ids(source)), list(tokenizer.own_ids(target))
    return list(range(tokenizer.vocab.size)), list(range(tokenizer.vocab.size))


def logits_distance(peer: Any, run: Checkpoint, name: str) -> float:
    """Return the largest difference of the logits of a translation, teacher-forced."""
    languages = FAMILIES[name][3]
    source, target = languages[0], languages[-1]
    framing = run.framing()
    source_rows, target_rows = rows_of(run, source, target)
    words = np.array([source_rows[row] for row in (8, 27, 12, 25, 20, 13)])
    written = np.array([target_rows[row] for row in (13, 20, 25, 12, 27, 8)])
    source_ids = torch.from_numpy(framing.encoder_input(words, source, target))[None]
    target_ids = torch.from_numpy(framing.with_special_tokens(written, target))[None]
    their_source = torch.tensor(
        [[source_rows.index(n) for n in source_ids[0].tolist()]]
    )
    their_target = torch.tensor(
        [[target_rows.index(n) for n in target_ids[0].tolist()]]
    )
    with torch.no_grad():
        # With a cache FSMT masks nothing, as suits a single token.
        theirs = peer(
            input_ids=their_source, decoder_input_ids=their_target, use_cache=False
        ).logits
    ours = logits_of(run, source_ids, target_ids)[..., target_rows[: theirs.shape[2]]]
    return float(ours.sub(theirs).abs().max())


@pytest.mark.parametrize("changes", ODD, ids=range(5))
@pytest.mark.parametrize("name", FAMILIES)
def test_an_imported_model_computes_the_same_and_can_be_exported_unchanged(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    _, model_type, _, languages, _ = FAMILIES[name]
    peer = make_peer(name, tmp_path / "theirs", changes)
    import_folder(tmp_path / "theirs", tmp_path / "run", languages, allow_pickle=False)
    run = Checkpoint.open(tmp_path / "run")
    assert logits_distance(peer, run, name) < 1e-5

    # Their beam search, with the start and forced tokens of the family.
    source, target = languages[0], languages[-1]
    framing = run.framing()
    source_rows, target_rows = rows_of(run, source, target)
    words = np.array([source_rows[row] for row in (8, 27, 12, 25, 20, 13)])
    source_ids = framing.encoder_input(words, source, target).tolist()
    their_source = torch.tensor([[source_rows.index(n) for n in source_ids]])
    forced = framing.forced_tokens(target)
    special_ids = run.tokenizer().vocab.special_ids - {
        framing.vocab.eos,
        framing.vocab.unk,
        *forced,
    }
    never = [row for row, n in enumerate(target_rows) if n in special_ids]
    output = peer.generate(
        their_source, num_beams=4, early_stopping=True, max_length=30, min_new_tokens=2 + len(forced), suppress_tokens=never,
        decoder_start_token_id=target_rows.index(framing.decoder_start(target)), forced_bos_token_id=forced[0] if forced else None, forced_eos_token_id=None,
    )[0].tolist()  # fmt: skip
    search = GenerationConfig(
        beam=4, early_stop=True, min_len=2, max_len_a=0, max_len_b=28 - len(forced)
    )
    decoder = (
        load(run.path, precision="fp32")
        .text_model(source=source, target=target)
        .decoder(search)
    )
    [[hypothesis, *_]] = decoder.generate([words], source, target)
    if not hypothesis.hit_max_len and len(output) < 30:
        expected = [
            framing.decoder_start(target),
            *forced,
            *hypothesis.ids,
            framing.vocab.eos,
        ]
        assert [target_rows.index(n) for n in expected] == output

    export_translator(run, source, target, tmp_path / "again")
    assert (
        json.loads((tmp_path / "again" / "config.json").read_text(encoding="utf-8"))[
            "model_type"
        ]
        == model_type
    )
    again = type(peer).from_pretrained(tmp_path / "again").state_dict()
    before = peer.state_dict()
    if "model.shared.weight" in before and not peer.config.tie_word_embeddings:
        # Then their model has this table, but reads it nowhere.
        again.pop("model.shared.weight"), before.pop("model.shared.weight")
    assert again.keys() == before.keys()
    assert [key for key in before if not torch.equal(before[key], again[key])] == []


def change_weights(
    folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Replace the weights of a folder by changed ones, in the older of the two formats."""
    weights = change(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")


def change_config(folder: Path, drop: str = "", **values: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    write_json(
        path,
        {
            key: value
            for key, value in {**config, **values}.items()
            if key not in drop.split()
        },
    )


def with_parts(weights: dict[str, Any]) -> dict[str, Any]:
    """Buffers and heads that other classes and older versions of the library save."""
    head = {
        f"classification_head.{name}": torch.ones(16)
        for name in ("dense.weight", "out_proj.bias")
    }
    versions = {
        f"model.{stack}.version": torch.tensor([3.0])
        for stack in ("encoder", "decoder")
    }
    return {**weights, **head, **versions, "qa_outputs.weight": torch.ones(2, 16)}


OLDER: dict[str, Callable[[Path], Any]] = {
    "defaults": lambda folder: change_config(
        folder, "activation_function dropout attention_dropout activation_dropout scale_embedding "
        "decoder_start_token_id tie_word_embeddings architectures"),
    "positions": lambda folder: change_config(folder, "max_position_embeddings"),
    "class": lambda folder: change_config(folder, "model_type"),
    "end-in-a-list": lambda folder: change_config(
        folder, eos_token_id=[json.loads((folder / "config.json").read_text(encoding="utf-8"))["eos_token_id"]]),
    "parts": lambda folder: change_weights(folder, with_parts),
    "output-alone": lambda folder: change_weights(
        folder, lambda weights: {("lm_head.weight" if "shared" in name else name): t for name, t in weights.items()}),
    "no-prefix": lambda folder: change_weights(
        folder, lambda weights: {name.removeprefix("model."): t for name, t in weights.items()}),
    "sinusoids": lambda folder: change_weights(
        folder, lambda weights: {name: t for name, t in weights.items() if "embed_positions" not in name}),
}  # fmt: skip


LEARNED = {
    "bart": {"sinusoids", "positions"},
    "mbart50": {"sinusoids", "positions"},
    "pegasus": {"positions"},
}
"""What a family with learned positions cannot lack, or what its library cannot read if it is missing."""
OLDER_CASES = [
    pytest.param(name, variant, id=f"{name}-{variant}")
    for name in ("bart", "mbart50", "m2m100", "pegasus", "marian")
    for variant in OLDER.keys() - LEARNED.get(name, set())
]


@pytest.mark.parametrize(
    ("name", "variant"), sorted(OLDER_CASES, key=lambda case: str(case.id))
)
def test_folders_of_other_versions_are_read_as_their_library_reads_them(
    name: str, variant: str, tmp_path: Path
) -> None:
    kind = type(make_peer(name, tmp_path / "theirs", {}))
    OLDER[variant](tmp_path / "theirs")
    peer = kind.from_pretrained(tmp_path / "theirs").eval()
    languages = FAMILIES[name][3]
    import_folder(tmp_path / "theirs", tmp_path / "run", languages, allow_pickle=True)
    run = Checkpoint.open(tmp_path / "run")
    framing = run.framing()
    words = np.array([9, 27, 12])
    source = torch.from_numpy(
        framing.encoder_input(words, languages[0], languages[-1])
    )[None]
    target = torch.from_numpy(framing.with_special_tokens(words, languages[-1]))[None]
    with torch.no_grad():
        theirs = peer(input_ids=source, decoder_input_ids=target).logits
    assert (
        logits_of(run, source, target)[..., : theirs.shape[2]].sub(theirs).abs().max()
        < 1e-5
    )


@pytest.mark.parametrize("changed", ["halved", "trained", "one-stack", "none"])
@pytest.mark.parametrize("name", ["fsmt", "marian"])
def test_positions_that_a_file_has_are_those_of_the_library(
    name: str, changed: str, tmp_path: Path
) -> None:
    """Its classes compute sinusoids for files without tables, and read the tables of others."""
    folder = tmp_path / "theirs"
    peer = make_peer(name, folder, {})
    tables = {
        f"model.{stack}.embed_positions.weight": module.embed_positions.weight.detach()
        for stack, module in (
            ("encoder", peer.model.encoder),
            ("decoder", peer.model.decoder),
        )
    }
    if changed == "halved":
        tables = {key: table.half() for key, table in tables.items()}
    if changed in ("trained", "one-stack"):
        tables = {key: table * 1.1 for key, table in tables.items()}
    if changed == "one-stack":
        del tables["model.encoder.embed_positions.weight"]
    change_weights(
        folder,
        lambda weights: (
            {k: t for k, t in weights.items() if "positions" not in k}
            | {key: table.clone() for key, table in tables.items()}
        ),
    )
    peer = type(peer).from_pretrained(folder, dtype=torch.float32).eval()
    languages = FAMILIES[name][3]
    _, notes = import_folder(folder, tmp_path / "run", languages, allow_pickle=True)
    run = Checkpoint.open(tmp_path / "run")
    assert logits_distance(peer, run, name) < 1e-5
    is_learned = run.recipe.model.positions == "learned"
    assert is_learned == (changed != "none")
    assert any("not exactly sinusoids" in note for note in notes) == is_learned


def their_tokenizer(name: str, folder: Path) -> Any:
    if name == "bart":
        return transformers.BartTokenizer.from_pretrained(folder)
    if name == "fsmt":
        files = (
            str(folder / file)
            for file in ("vocab-src.json", "vocab-tgt.json", "merges.txt")
        )
        return transformers.FSMTTokenizer(["en", "de"], *files)
    if name == "m2m100":
        return transformers.M2M100Tokenizer(
            str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model")
        )
    names = ["source.spm", "target.spm", "vocab.json"]
    if name == "marian-two":
        return transformers.MarianTokenizer(
            *(str(folder / file) for file in [*names, "target_vocab.json"]),
            separate_vocabs=True,
        )
    return transformers.MarianTokenizer(*(str(folder / file) for file in names))


@pytest.mark.parametrize(
    "name", ["bart", "m2m100", "marian", "marian-tags", "marian-two", "fsmt"]
)
def test_ids_are_those_of_their_tokenizers(name: str, tmp_path: Path) -> None:
    make_peer(name, tmp_path / "theirs", {})
    languages = FAMILIES[name][3]
    import_folder(tmp_path / "theirs", tmp_path / "run", languages, allow_pickle=False)
    ours, theirs = (
        Checkpoint.open(tmp_path / "run").tokenizer(),
        their_tokenizer(name, tmp_path / "theirs"),
    )
    source, target = languages[0], languages[-1]
    source_rows, target_rows = rows_of(
        Checkpoint.open(tmp_path / "run"), source, target
    )
    for line in [*LINES, "  bab  BAB q", "", "ßa", "ba-bab, di. A&B; didn't “ba”…"]:
        row = [source_rows.index(number) for number in ours.encode(line, source)]
        assert row == theirs(line, add_special_tokens=False).input_ids, line
    if name.startswith("marian"):
        for line in [line.upper() for line in LINES]:
            row = [target_rows.index(number) for number in ours.encode(line, target)]
            assert row == theirs(text_target=line, add_special_tokens=False).input_ids
            assert ours.decode(ours.encode(line, target), target) == line
    if name == "marian-tags":
        framed = (
            Checkpoint.open(tmp_path / "run")
            .framing()
            .encoder_input(np.array(ours.encode("bab", "en")), "en", "deu")
        )
        assert framed.tolist() == theirs(">>deu<< bab").input_ids


@pytest.mark.parametrize("name", ["marian", "marian-tags", "marian-two", "fsmt"])
def test_ctranslate2_decodes_separate_vocabularies_and_tags_of_the_target(
    name: str, tmp_path: Path
) -> None:
    ctranslate2: Any = pytest.importorskip(
        "ctranslate2", reason="ctranslate2 is not installed"
    )
    languages = FAMILIES[name][3]
    make_peer(name, tmp_path / "theirs", {})
    import_folder(tmp_path / "theirs", tmp_path / "run", languages, allow_pickle=False)
    run = Checkpoint.open(tmp_path / "run")
    search: dict[str, Any] = {
        "beam": 4,
        "nbest": 4,
        "early_stop": True,
        "max_len_a": 0,
        "max_len_b": 20,
    }
    models = [
        load(run.path, precision="fp32", backend=backend)
        for backend in ("torch", "ctranslate2")
    ]
    ours, theirs = (
        model.translate_nbest(LINES[:6], *languages, **search) for model in models
    )
    for one, other in zip(ours, theirs, strict=True):
        # At the length limit CTranslate2 does not force the end.
        ended = [t for t in one if not t.hypothesis.hit_max_len]
        if len(ended) == len(one):
            assert [t.text for t in other] == [t.text for t in one]
            assert [t.score for t in other] == pytest.approx(
                [t.score for t in one], abs=1e-4
            )

    # Alone, without masscli.
    export_ctranslate2(run, *languages, tmp_path / "alone", "fp32")
    tokenizer, framing = run.tokenizer(), run.framing()
    names = token_names(tokenizer)
    ids = np.array(tokenizer.encode(LINES[0], languages[0]))
    [result] = ctranslate2.Translator(str(tmp_path / "alone")).translate_batch(
        [[names[number] for number in ids]],
        beam_size=4,
        max_decoding_length=20,
        max_input_length=0,
    )
    [[best, *_]] = (
        models[1]
        .text_model(source=languages[0], target=languages[1])
        .decoder(GenerationConfig(beam=4, early_stop=True, max_len_a=0, max_len_b=20))
        .generate([ids], *languages)
    )
    assert result.hypotheses[0] == [names[number] for number in best.ids]
    assert framing.encoder_input(ids, *languages)[-1] == framing.vocab.eos


@pytest.mark.parametrize("name", ["marian-tags", "fsmt"])
def test_the_commands_translate_with_imported_variants(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of several targets the user chooses one with -t; a language without a tag is warned of as a target."""
    make_peer(name, tmp_path / "theirs", {})
    run, source = str(tmp_path / "run"), tmp_path / "in"
    langs = "en,deu,pt" if name == "marian-tags" else "en,de"
    succeed(["import", str(tmp_path / "theirs"), "--langs", langs, "--output", run])
    source.write_text("bab\n", encoding="utf-8")
    generate = ["generate", run, "-i", str(source), "-s", "en"]
    for target in langs.split(",")[1:]:
        succeed([*generate, "-t", target])
        again = str(tmp_path / target)
        succeed(["export", run, "-s", "en", "-t", target, "--output", again])
    capsys.readouterr()
    backwards = [
        "generate",
        run,
        "-i",
        str(source),
        "-s",
        "de" if name == "fsmt" else "deu",
        "-t",
        "en",
    ]
    assert masscli(backwards) == (2 if name == "fsmt" else 0)
    error = capsys.readouterr().err
    if name == "fsmt":
        assert "cannot read de and write en" in error
    else:
        assert (
            "warning: trained for en-deu, en-pt, deu-pt, pt-deu, not for deu-en"
            in error
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_the_exported_tokenizer_has_the_same_ids_or_there_is_none_by_name(
    name: str, tmp_path: Path
) -> None:
    make_peer(name, tmp_path / "theirs", {})
    languages = FAMILIES[name][3]
    import_folder(tmp_path / "theirs", tmp_path / "run", languages, allow_pickle=False)
    run = Checkpoint.open(tmp_path / "run")
    source, target = languages[0], languages[-1]
    notes = export_translator(run, source, target, tmp_path / "again")
    if name == "m2m100":
        # This dictionary lacks a piece of its SentencePiece model.
        assert "no tokenizer: its dictionary lacks" in notes[1]
        assert not list((tmp_path / "again").glob("*token*"))
        return
    # The demo has no language of these names, but its sentences are tried all the same.
    assert (
        "its ids were equal on all" in notes[1]
        or "were imported" in notes[1]
        or len(languages) == 1
    )
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    ours, (source_rows, _) = run.tokenizer(), rows_of(run, source, target)
    for line in [*LINES, "  bab  BAB q", "", "ßa", "ßß a", "\uff22ab"]:
        framed = run.framing().encoder_input(
            np.array(ours.encode(line, source), np.int64), source, target
        )
        expected = [source_rows.index(number) for number in framed.tolist()]
        if name == "marian-tags":
            line = f">>deu<< {line}"
        assert again(line).input_ids == expected, line


CLASSES = {
    "mbart": "MBartTokenizer",
    "mbart50": "MBart50Tokenizer",
    "nllb": "NllbTokenizer",
    "nllb-legacy": "NllbTokenizer",
    "pegasus": "PegasusTokenizer",
    "bart": "BartTokenizer",
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_folder_that_version_5_saved_has_tokenizer_json_alone(
    name: str, tmp_path: Path
) -> None:
    peer = make_peer(name, tmp_path / "theirs", {})
    theirs = getattr(transformers, CLASSES[name]).from_pretrained(tmp_path / "theirs")
    for path in (tmp_path / "theirs").iterdir():
        if path.name not in (
            "config.json",
            "generation_config.json",
            "model.safetensors",
        ):
            path.unlink()
    languages = FAMILIES[name][3]
    source, target = languages[0], languages[-1]
    if len(languages) == 2:
        theirs.src_lang = {"en": "en_XX", "eng": "eng_Latn"}.get(source, source)
    theirs.save_pretrained(tmp_path / "theirs")
    assert not list((tmp_path / "theirs").glob("*.model"))
    import_folder(tmp_path / "theirs", tmp_path / "run", languages, allow_pickle=False)
    export_translator(
        Checkpoint.open(tmp_path / "run"), source, target, tmp_path / "again"
    )
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    run = Checkpoint.open(tmp_path / "run")
    framing = run.framing()
    for line in [*LINES, "  bab  BAB q", "", "ßa"]:
        framed = framing.encoder_input(
            np.array(run.tokenizer().encode(line, source), np.int64), source, target
        )
        assert framed.tolist() == theirs(line).input_ids == again(line).input_ids, line
    starts = {
        "mbart": "ro_RO",
        "mbart50": "</s> sv_SE",
        "pegasus": "<pad>",
        "bart": "</s> <s>",
    }
    start = theirs.convert_tokens_to_ids(starts.get(name, "</s> deu_Latn").split())
    words = np.array([9, 27, 12])
    own = framing.with_special_tokens(words, target)
    assert own.tolist() == [*start, *words, theirs.eos_token_id]
    ids = torch.from_numpy(framing.encoder_input(words, source, target))[None]
    with torch.no_grad():
        logits = peer(
            input_ids=ids, decoder_input_ids=torch.from_numpy(own)[None]
        ).logits
    found = logits_of(run, ids, torch.from_numpy(own)[None])[..., : logits.shape[2]]
    assert found.sub(logits).abs().max() < 1e-5


def never_a_space(card: dict[str, Any], settings: dict[str, Any]) -> None:
    steps = card["pre_tokenizer"].get("pretokenizers", [card["pre_tokenizer"]])
    next(s for s in steps if s["type"] == "Metaspace")["prepend_scheme"] = "never"


def a_space(card: dict[str, Any], settings: dict[str, Any]) -> None:
    settings["add_prefix_space"] = True


def no_setting(card: dict[str, Any], settings: dict[str, Any]) -> None:
    settings.pop("add_prefix_space", None)
    card["pre_tokenizer"]["add_prefix_space"] = True


def legacy(card: dict[str, Any], settings: dict[str, Any]) -> None:
    settings["legacy_behaviour"] = not settings.get("legacy_behaviour", False)


def other_template(card: dict[str, Any], settings: dict[str, Any]) -> None:
    text, *tokens = sorted(
        card["post_processor"]["single"], key=lambda item: "Sequence" not in item
    )
    in_order = card["post_processor"]["single"][0] == text
    card["post_processor"]["single"] = (
        [tokens[-1], text, *tokens[:-1]] if in_order else [text, *reversed(tokens)]
    )


def no_template(card: dict[str, Any], settings: dict[str, Any]) -> None:
    card["post_processor"] = None


CLASS_RULES = [
    (name, change)
    for name in ("mbart", "mbart50", "nllb", "nllb-legacy")
    for change in (never_a_space, other_template, no_template)
]
CLASS_RULES += [("nllb", legacy), ("nllb-legacy", legacy), ("pegasus", never_a_space), ("pegasus", no_template), ("bart", a_space), ("bart", no_setting)]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), CLASS_RULES)
def test_the_class_of_a_tokenizer_counts_more_than_tokenizer_json(
    name: str,
    change: Callable[[dict[str, Any], dict[str, Any]], None],
    tmp_path: Path,
) -> None:
    """Their classes build the first space and the special tokens around a source themselves."""
    folder, languages = tmp_path / "theirs", FAMILIES[name][3]
    make_peer(name, folder, {})
    theirs = getattr(transformers, CLASSES[name]).from_pretrained(folder)
    if len(languages) == 2:
        source = languages[0]
        theirs.src_lang = {"en": "en_XX", "eng": "eng_Latn"}.get(source, source)
    for path in folder.iterdir():
        if path.name not in (
            "config.json",
            "generation_config.json",
            "model.safetensors",
        ):
            path.unlink()
    theirs.save_pretrained(folder)
    card, settings = (
        json.loads((folder / file).read_text(encoding="utf-8"))
        for file in ("tokenizer.json", "tokenizer_config.json")
    )
    change(card, settings)
    write_json(folder / "tokenizer.json", card)
    write_json(folder / "tokenizer_config.json", settings)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    _, notes = import_folder(folder, tmp_path / "run", languages, allow_pickle=False)
    run = Checkpoint.open(tmp_path / "run")
    for line in [*LINES[:3], "  bab  BAB q", "", "ßa", "e\u0301 ｂ a\u00a0b"]:
        words = np.array(run.tokenizer().encode(line, languages[0]), np.int64)
        framed = run.framing().encoder_input(words, languages[0], languages[-1])
        assert framed.tolist() == theirs(line).input_ids, line
    if change is not no_template:
        assert [note for note in notes if "tokenizer.json" in note.split(": ")[-1]]


def test_a_step_that_their_class_drops_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    make_peer("mbart50", folder, {})
    theirs = transformers.MBart50Tokenizer.from_pretrained(folder)
    (folder / "sentencepiece.bpe.model").unlink()
    theirs.save_pretrained(folder)
    card = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    card["normalizer"]["normalizers"].append({"type": "Lowercase"})
    write_json(folder / "tokenizer.json", card)
    _, notes = import_folder(folder, tmp_path / "run", ("en", "ro"), False)
    assert [note for note in notes if "tokenizer.json has the step Lowercase" in note]


def test_a_tokenizer_in_one_file_has_the_same_ids(tmp_path: Path) -> None:
    make_peer("bart", tmp_path / "theirs", {})
    theirs = transformers.BartTokenizer.from_pretrained(tmp_path / "theirs")
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "theirs" / name).unlink()
    theirs.save_pretrained(tmp_path / "theirs")
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "theirs" / name).unlink(missing_ok=True)
    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=False)
    run = Checkpoint.open(tmp_path / "run")
    for line in [*LINES, "  bab  BAB q", "", "ßa"]:
        framed = (
            run.framing()
            .encoder_input(run.tokenizer().encode(line, "en"), "en")
            .tolist()
        )
        assert framed == theirs(line).input_ids, line
    assert run.framing().forced_tokens("en") == [0]


@pytest.mark.parametrize("name", ["bart", "marian", "mbart50"])
@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_without_settings_a_decoder_starts_as_in_the_library(
    file: str, name: str, tmp_path: Path
) -> None:
    """Their library takes bos_token_id of the file that says how to search, whatever the other file says."""
    folder = tmp_path / "theirs"
    kind = type(make_peer(name, folder, {}))
    if file == "config.json":
        (folder / "generation_config.json").unlink()
    settings = json.loads((folder / file).read_text(encoding="utf-8"))
    settings["bos_token_id"] = 3
    for key in ("decoder_start_token_id", "eos_token_id"):
        settings.pop(key, None)
    write_json(folder / file, settings)
    peer = kind.from_pretrained(folder).eval()
    output = peer.generate(torch.tensor([[8, 9]]), max_new_tokens=2)[0].tolist()
    languages = FAMILIES[name][3]
    _, notes = import_folder(folder, tmp_path / "run", languages, allow_pickle=False)
    start = Checkpoint.open(tmp_path / "run").framing().decoder_start(languages[-1])
    assert start == output[0] == 3
    assert any(f"{file} has no decoder_start_token_id" in note for note in notes)
    assert any(note.startswith("no eos_token_id is set") for note in notes)


def test_generation_settings_survive_import_and_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_peer("mbart50", tmp_path / "theirs", {})
    settings = {
        "num_beams": 3,
        "length_penalty": 0.6,
        "max_length": 25,
        "min_length": 5,
        "no_repeat_ngram_size": 3,
        "early_stopping": True,
    }
    path = tmp_path / "theirs" / "generation_config.json"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **settings})
    succeed(f"import {tmp_path}/theirs --langs en,ro --output {tmp_path}/run")
    run = Checkpoint.open(tmp_path / "run")
    search = (
        load(run.path).text_model(source="en", target="ro").search_config({"beam": "2"})
    )
    # Lengths there count the start symbol, the tag of the language and the end symbol.
    assert (
        search.beam,
        search.lenpen,
        search.max_len_a,
        search.max_len_b,
        search.min_len,
    ) == (
        2,
        0.6,
        0,
        22,
        3,
    )
    assert (search.no_repeat_ngram_size, search.early_stop) == (3, True)
    (tmp_path / "in").write_text("bab\n", encoding="utf-8")
    succeed(f"generate {run.path} -s en -t ro -i {tmp_path}/in")
    assert "search: --beam 3 --lenpen 0.6" in capsys.readouterr().err
    export_translator(run, "en", "ro", tmp_path / "again")
    again = json.loads(
        (tmp_path / "again" / "generation_config.json").read_text(encoding="utf-8")
    )
    assert {key: again[key] for key in settings} == settings


def test_other_names_of_generation_settings(tmp_path: Path) -> None:
    make_peer("bart", tmp_path / "theirs", {})
    settings = {
        "max_length": 20,
        "max_new_tokens": 30,
        "repetition_penalty": 1.2,
        "length_penalty": 2,
        "num_beams": 2,
        "early_stopping": "never",
        "min_length": None,
        "num_beam_groups": 1,
        "encoder_no_repeat_ngram_size": 3,
        "do_sample": True,
        "suppress_tokens": [9],
        "bad_words_ids": [[1], [7, 8]],
        "eos_token_id": [2, 9],
    }
    write_json(tmp_path / "theirs" / "generation_config.json", settings)
    path, notes = import_folder(
        tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=False
    )
    search = load(path).text_model(source="en", target="en").search_config({})
    # One of the 30 tokens is forced; none has to be the end symbol.
    assert (
        search.beam,
        search.lenpen,
        search.max_len_b,
        search.repetition_penalty,
    ) == (2, 2, 29, 1.2)
    assert not search.early_stop
    expected = (
        "left out, since an import does not take them over: encoder_no_repeat_ngram_size, do_sample, "
        "bad_words_ids, suppress_tokens, eos_token_id 9"
    )
    assert expected in notes


@pytest.mark.parametrize(
    ("settings", "beam"),
    [
        ({"early_stopping": False}, None),
        ({"early_stopping": True}, None),
        ({"early_stopping": "never"}, None),
        ({"length_penalty": -1.0}, None),
        ({"min_length": 8, "no_repeat_ngram_size": 2}, None),
        ({"min_length": 9, "min_new_tokens": 5}, None),
        ({"repetition_penalty": 1.5}, None),
        ({"num_beams": None}, None),
        ({"num_beams": None, "early_stopping": "never"}, None),
        ({"num_beams": None}, 4),
        ({"num_beams": None, "early_stopping": True}, 4),
        ({}, 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["bart", "marian-two"])
def test_the_imported_search_gives_the_outputs_of_the_library(
    name: str, settings: dict[str, Any], beam: int | None, tmp_path: Path
) -> None:
    """At most --beam is given on the command line, and outputs may be empty, as there."""
    peer = make_peer(name, tmp_path / "theirs", {})
    with torch.no_grad():
        peer.final_logits_bias[0, peer.config.eos_token_id] += 3
    peer.save_pretrained(tmp_path / "theirs")
    path = tmp_path / "theirs" / "generation_config.json"
    settings = {"num_beams": 4, "max_length": 20, **settings}
    # As in the generation settings of all published models of BART.
    settings |= {"forced_bos_token_id": 0} if name == "bart" else {}
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **settings})
    peer = type(peer).from_pretrained(tmp_path / "theirs").eval()
    languages = FAMILIES[name][3]
    import_folder(tmp_path / "theirs", tmp_path / "run", languages, allow_pickle=False)
    run = Checkpoint.open(tmp_path / "run")
    model = load(run.path, precision="fp32")
    text_model = model.text_model(source=languages[0], target=languages[-1])
    flags = {} if beam is None else {"beam": str(beam)}
    their_flags = {} if beam is None else {"num_beams": beam}
    decoder = text_model.decoder(text_model.search_config(flags))
    source_rows, target_rows = rows_of(run, languages[0], languages[-1])
    tokenizer, compared = run.tokenizer(), 0
    for line in [*LINES[:12], "b"]:
        words = np.array(tokenizer.encode(line, languages[0]), np.int64)
        [[ours, *_]] = decoder.generate([words], languages[0], languages[-1])
        ids = run.framing().encoder_input(words, *languages[:1], languages[-1])
        row = torch.tensor([[source_rows.index(n) for n in ids.tolist()]])
        [their_row] = peer.generate(row, **their_flags).tolist()
        theirs = [target_rows[n] for n in their_row]
        forced = run.framing().forced_tokens(languages[-1])
        # At the length limit their search does not count the end symbol.
        if not ours.hit_max_len and len(theirs) < 20:
            compared += 1
            assert theirs[1 + len(forced) :] == [*ours.ids, tokenizer.vocab.eos]
    assert compared


def test_search_settings_without_a_counterpart_are_named(tmp_path: Path) -> None:
    """A token that is forced at the start, another end symbol, and settings of newer versions."""
    make_peer("bart", tmp_path / "theirs", {})
    path = tmp_path / "theirs" / "generation_config.json"
    settings = {
        "forced_bos_token_id": 9,
        "eos_token_id": 8,
        "encoder_repetition_penalty": 2.0,
        "use_cache": False,
        "new_rule": 3,
    }
    write_json(path, settings)
    _, notes = import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), False)
    assert [note for note in notes if "forced_bos_token_id 9" in note]
    assert [
        note
        for note in notes
        if note.endswith("encoder_repetition_penalty, eos_token_id 8")
    ]
    assert (
        "generation_config.json has settings that masscli does not know: new_rule"
        in notes
    )
    # Without a forced token, outputs begin as those of published models.
    write_json(path, {})
    _, notes = import_folder(tmp_path / "theirs", tmp_path / "free", ("en",), False)
    assert [note for note in notes if "no forced_bos_token_id says so" in note]
    # Another special token is forced here, too.
    write_json(path, {"forced_bos_token_id": 1})
    import_folder(tmp_path / "theirs", tmp_path / "pad", ("en",), False)
    assert Checkpoint.open(tmp_path / "pad").framing().forced_tokens("en") == [1]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bart", "BartTokenizer"),
        ("mbart", "MBartTokenizer"),
        ("nllb", "NllbTokenizer"),
        ("pegasus", "PegasusTokenizer"),
    ],
)
def test_words_that_were_added_are_matched_in_text(
    name: str, kind: str, tmp_path: Path
) -> None:
    """Only tokenizer.json contains added words; the files of the family's own tokenizer do not."""
    folder = tmp_path / "theirs"
    make_peer(name, folder, {"padded": 3})
    theirs = getattr(transformers, kind).from_pretrained(folder)
    theirs.add_tokens(["covid", "x-ray"])
    theirs.save_pretrained(folder)
    languages = FAMILIES[name][3]
    _, notes = import_folder(folder, tmp_path / "run", languages, allow_pickle=False)
    assert [note for note in notes if "it has added tokens (covid, x-ray)" in note]
    tokenizer = Checkpoint.open(tmp_path / "run").tokenizer()
    for line in ("bab covid bab", "covidba", "x-ray", "bab", ""):
        expected = theirs(line, add_special_tokens=False).input_ids
        assert tokenizer.encode(line, languages[0]) == expected, line


def test_added_words_that_cannot_be_read_from_any_file_are_named(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "theirs"
    make_peer("marian", folder, {"padded": 2})
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    write_json(folder / "added_tokens.json", {"covid": size - 1})
    _, notes = import_folder(folder, tmp_path / "run", ("en", "de"), False)
    assert [note for note in notes if "not generated: covid;" in note]


def test_the_class_that_config_json_names_tells_the_two_mbarts_apart(
    tmp_path: Path,
) -> None:
    make_peer("mbart50", tmp_path / "theirs", {})
    (tmp_path / "theirs" / "tokenizer_config.json").unlink()
    change_config(tmp_path / "theirs", tokenizer_class="MBart50Tokenizer")
    languages = FAMILIES["mbart50"][3]
    import_folder(tmp_path / "theirs", tmp_path / "run", languages, False)
    model = Checkpoint.open(tmp_path / "run").recipe.model
    assert (model.source_tag, model.target_tag) == ("first", "forced")


def test_an_imported_model_is_fine_tuned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_peer("marian", tmp_path / "theirs", {})
    succeed(f"import {tmp_path}/theirs --langs en,de --output {tmp_path}/run")
    for language, lines in (("en", LINES), ("de", [line.upper() for line in LINES])):
        for split in ("train", "valid"):
            (tmp_path / f"{split}.{language}").write_text(
                "".join(f"{line}\n" for line in lines), encoding="utf-8"
            )
    data = str(tmp_path / "data")
    prefixes = [
        "--trainpref",
        str(tmp_path / "train"),
        "--validpref",
        str(tmp_path / "valid"),
    ]
    succeed(
        [
            *f"preprocess --spm-model {tmp_path}/run --langs en,de".split(),
            *prefixes,
            "--destdir",
            data,
        ]
    )
    options = (
        "--max-update 30 --lr 0.01 --warmup-updates 5 --max-tokens 400 "
        "--precision fp32 --num-workers 0"
    ).split()
    tuned = tmp_path / "tuned"
    succeed(
        [
            "finetune",
            data,
            *f"--task translate -s en -t de --init-from {tmp_path}/run".split(),
            *options,
            "--save-dir",
            str(tuned),
        ]
    )
    losses = [
        float(loss)
        for loss in re.findall(
            r"^\d+: \S+ ([\d.]+)  lr", capsys.readouterr().err, re.MULTILINE
        )
    ]
    assert losses[-1] < 0.8 * losses[0]
    succeed(["export", str(tuned), "--output", str(tmp_path / "again")])
    assert (
        json.loads((tmp_path / "again" / "config.json").read_text(encoding="utf-8"))[
            "model_type"
        ]
        == "marian"
    )

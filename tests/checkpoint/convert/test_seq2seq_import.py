"""Encoder-decoder folders come back bit by bit, and what does not fit is named; without any other library."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from masscli.api.model import load
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert import seq2seq_vocabulary
from masscli.checkpoint.convert.generation_settings import read_generation_settings
from masscli.checkpoint.convert.import_ import import_folder
from masscli.checkpoint.convert.translator_export import export_translator
from masscli.generation.config import GenerationConfig
from tests.commands import succeed
from tests.published import assert_same_tensors, error_of
from tests.published_seq2seq import LINES, SEQ2SEQ, make_seq2seq, write_json
from tests.translators import random_translator

pytestmark = pytest.mark.usefixtures("no_sync")


@pytest.mark.parametrize("name", SEQ2SEQ)
def test_tensors_survive_import_and_export_bit_by_bit(
    name: str, tmp_path: Path
) -> None:
    tensors = make_seq2seq(name, tmp_path / "theirs")
    languages = SEQ2SEQ[name].languages
    run = str(tmp_path / "run")
    succeed(
        [
            "import",
            str(tmp_path / "theirs"),
            "--langs",
            ",".join(languages),
            "--output",
            run,
        ]
    )
    direction = ["-s", languages[0], "-t", languages[-1]]
    succeed(["export", run, *direction, "--output", str(tmp_path / "again")])
    assert_same_tensors(load_file(tmp_path / "again" / "model.safetensors"), tensors)
    before, after = (
        json.loads((tmp_path / folder / "config.json").read_text())
        for folder in ("theirs", "again")
    )
    assert {key: after[key] for key in before if key != "decoder_start_token_id"} == {
        key: value for key, value in before.items() if key != "decoder_start_token_id"
    }


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod."])
def test_the_names_of_wrappers_change_nothing(wrapper: str, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    tensors = make_seq2seq("bart", folder)
    import_folder(folder, tmp_path / "plain", ("en",), False)
    wrapped = {f"{wrapper}{name}": tensor for name, tensor in tensors.items()}
    save_file(wrapped, folder / "model.safetensors")
    import_folder(folder, tmp_path / "wrapped", ("en",), False)
    plain, again = (
        Checkpoint.open(tmp_path / name).weights() for name in ("plain", "wrapped")
    )
    assert_same_tensors(again, plain)


def test_a_table_of_positions_that_is_none_is_refused(tmp_path: Path) -> None:
    folder, name = tmp_path / "theirs", "model.encoder.embed_positions.weight"
    tensors = make_seq2seq("marian", folder)
    save_file({**tensors, name: torch.ones(9)}, folder / "model.safetensors")
    message, _ = error_of(
        lambda: import_folder(folder, tmp_path / "run", ("en", "de"), False)
    )
    assert f"{name} is (9,), by config.json (" in message


@pytest.mark.parametrize("layer", ["classification_head.out_proj", "qa_outputs"])
def test_why_a_head_is_left_behind_is_said(layer: str, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    tensors = make_seq2seq("bart", folder)
    head = {f"{layer}.weight": torch.ones(2, 16), f"{layer}.bias": torch.ones(2)}
    save_file({**tensors, **head}, folder / "model.safetensors")
    _, notes = import_folder(folder, tmp_path / "run", ("en",), False)
    reason = "the head of its task is not imported: its decoder reads a text one token"
    assert [note for note in notes if note.startswith(reason)]
    assert f"left behind: {layer}.bias, {layer}.weight" in notes


def test_an_untied_output_layer_of_fsmt_survives_import_and_export(
    tmp_path: Path,
) -> None:
    """Its parameter has fairseq's name, not that of the other families."""
    folder, name = tmp_path / "theirs", "model.decoder.output_projection.weight"
    tensors = make_seq2seq("fsmt", folder)
    tensors[name] = tensors[name].flip(0).contiguous()
    save_file(tensors, folder / "model.safetensors")
    for number in (1, 2):
        run = tmp_path / f"run{number}"
        import_folder(folder, run, ("en", "de"), False)
        folder = tmp_path / f"again{number}"
        export_translator(Checkpoint.open(run), "en", "de", folder)
        assert_same_tensors(load_file(folder / "model.safetensors"), tensors)


def test_positions_begin_after_the_row_of_padding(tmp_path: Path) -> None:
    """This holds even if config.json does not name the padding id, and if the dictionary has it elsewhere."""
    folder = tmp_path / "theirs"
    make_seq2seq("fsmt", folder)
    for name in ("vocab-src.json", "vocab-tgt.json"):
        ids = json.loads((folder / name).read_text())
        write_json(folder / name, {**ids, "<pad>": ids["<unk>"], "<unk>": ids["<pad>"]})
    change("config.json", pad_token_id=None)(folder)
    import_folder(folder, tmp_path / "run", ("en", "de"), False)
    assert Checkpoint.open(tmp_path / "run").recipe.model.position_offset == 4


@pytest.mark.parametrize("name", SEQ2SEQ)
def test_the_number_of_positions_may_be_missing(name: str, tmp_path: Path) -> None:
    """Tables of learned positions show it; the number of sinusoidal ones is that of Hugging Face's library."""
    folder = tmp_path / "theirs"
    tensors = make_seq2seq(name, folder)
    config = json.loads((folder / "config.json").read_text())
    positions = config.pop("max_position_embeddings")
    (folder / "config.json").write_text(json.dumps(config))
    import_folder(folder, tmp_path / "run", SEQ2SEQ[name].languages, False)
    learned = any("embed_positions" in key for key in tensors)
    run = Checkpoint.open(tmp_path / "run")
    assert run.recipe.model.max_positions == (positions if learned else 1024)
    # Tables of different lengths do not show it.
    if learned:
        table = "model.decoder.embed_positions.weight"
        save_file(
            {**tensors, table: tensors[table][:-1].clone()},
            folder / "model.safetensors",
        )
        again = tmp_path / "again"
        message, _ = error_of(
            lambda: import_folder(folder, again, SEQ2SEQ[name].languages, False)
        )
        assert "max_position_embeddings is None" in message


@pytest.mark.parametrize("name", SEQ2SEQ)
def test_text_survives_encoding_and_has_the_special_tokens_of_the_family(
    name: str, tmp_path: Path
) -> None:
    make_seq2seq(name, tmp_path / "theirs")
    source, target = SEQ2SEQ[name].languages[0], SEQ2SEQ[name].languages[-1]
    import_folder(tmp_path / "theirs", tmp_path / "run", SEQ2SEQ[name].languages, False)
    run = Checkpoint.open(tmp_path / "run")
    tokenizer, framing = run.tokenizer(), run.framing()
    lines = [line for line in LINES if name != "m2m100"] or ["e"]
    assert [
        tokenizer.decode(tokenizer.encode(line, source), source) for line in lines
    ] == lines
    read = framing.encoder_input(tokenizer.encode("", source), source, target).tolist()
    written = framing.with_special_tokens(tokenizer.encode("", target), target).tolist()
    end, tags = tokenizer.vocab.eos, tokenizer.vocab.languages
    pad = tokenizer.vocab.pad
    expected = {
        "bart": ([0, end], [end, 0, end]),
        "pegasus": ([end], [0, end]),
        "mbart": ([end, tags[source]], [tags[target], end]),
        "mbart50": ([tags[source], end], [end, tags[target], end]),
        "m2m100": ([tags[source], end], [end, tags[target], end]),
        "nllb": ([end, tags[source]], [end, tags[target], end]),
        "marian": ([end], [pad, end]),
        "marian-tags": ([tags[target], end], [pad, end]),
        "marian-two": ([end], [pad, end]),
        "fsmt": ([end], [end, end]),
    }
    assert (read, written) == expected[name]


def change(name: str, **values: Any) -> Callable[[Path], None]:
    """Return what changes settings of a JSON file."""

    def changed(folder: Path) -> None:
        content = (
            json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        )
        write_json(folder / name, {**content, **values})

    return changed


def drop_entry(name: str, key: str) -> Callable[[Path], None]:
    """Return what removes an entry from a JSON file."""

    def changed(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        del content[key]
        write_json(folder / name, content)

    return changed


def drop_tensor(name: str) -> Callable[[Path], None]:
    """Return what removes a tensor from a file of weights."""

    def changed(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        del tensors[name]
        save_file(tensors, folder / "model.safetensors")

    return changed


def add_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {**tensors, "model.adapter.weight": tensors["model.shared.weight"].clone()},
        folder / "model.safetensors",
    )


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("marian", lambda folder: (folder / "target.spm").unlink(), "has no target.spm"),
        ("m2m100", lambda folder: (folder / "special_tokens_map.json").unlink(), "no file lists the tags"),
        ("bart", lambda folder: (folder / "merges.txt").write_text("b\n"), "expected PIECE PIECE, got 'b'"),
        ("bart", lambda folder: (folder / "vocab.json").write_text("[1]"), "is not a table from pieces to ids"),
        ("mbart", change("config.json", normalize_before=False), "normalize_before is False"),
        ("marian", change("config.json", share_encoder_decoder_embeddings=False), "has no model.encoder.embed_tokens.weight"),
        ("pegasus", change("config.json", activation_function="tanh"), "activation_function is tanh"),
        ("pegasus", change("config.json", d_model=20), "by config.json"),
        ("pegasus", change("config.json", decoder_ffn_dim=0), "config.json: decoder_ffn_dim is 0"),
        ("pegasus", change("config.json", encoder_attention_heads=7), "encoder_attention_heads: must divide d_model"),
        ("bart", change("config.json", num_attention_heads=1), "num_attention_heads is 1, and encoder_attention_heads is"),
        ("bart", change("config.json", is_causal=True), "is_causal is True"),
        ("bart", change("config.json", is_causal=False), "is_causal is False"),
        ("bart", change("config.json", is_encoder_decoder=False), "is_encoder_decoder is False"),
        ("bart", change("config.json", auto_map={"AutoModelForSeq2SeqLM": "x.Y"}), "auto_map names code"),
        ("pegasus", change("config.json", encoder_layers=10**9), "but the weights have 2"),
        ("m2m100", change("config.json", max_position_embeddings=10**12), "max_position_embeddings is 1000000000000"),
        ("m2m100", change("config.json", vocab_size=10**12), "by config.json (1000000000000"),
        ("mbart", change("config.json", decoder_start_token_id=-5), "decoder_start_token_id is -5"),
        ("pegasus", change("tokenizer_config.json", offset="x") , "offset is x"),
        ("bart", change("config.json", num_beams=0), "generation settings are wrong"),
        ("bart", change("config.json", early_stopping="yes"), "early_stopping is 'yes'"),
        ("bart", change("config.json", max_length="20"), "max_length is '20'"),
        ("mbart", change("config.json", tie_word_embeddings="false"), "config.json: tie_word_embeddings is 'false'"),
        ("marian", change("config.json", tie_word_embeddings=None), "config.json: tie_word_embeddings is None"),
        ("pegasus", change("config.json", scale_embedding="no"), "config.json: scale_embedding is 'no'"),
        ("m2m100", change("tokenizer_config.json", legacy_behaviour="true"), "tokenizer_config.json: legacy_behaviour is 'true'"),
        ("bart", change("tokenizer_config.json", add_prefix_space=2), "tokenizer_config.json: add_prefix_space is 2"),
        # Files without positions have those that are computed, but half a pair of tables is damage.
        ("pegasus", drop_tensor("model.encoder.embed_positions.weight"), "has no model.encoder.embed_positions.weight"),
        ("bart", drop_tensor("model.decoder.layers.1.fc2.bias"), "has no model.decoder.layers.1.fc2.bias"),
        ("bart", add_tensor, "model.adapter.weight has no place in BART"),
        ("bart", drop_entry("vocab.json", "<mask>"), "has no <mask>"),
        ("fsmt", drop_entry("vocab-src.json", "<unk>"), "has no <unk>"),
        ("fsmt", change("config.json", langs=["de", "en"]), "translates from de to en"),
        ("fsmt", change("tokenizer_config.json", do_lower_case=True), "do_lower_case is true"),
        ("m2m100", drop_entry("vocab.json", "</s>"), "has no </s>"),
        ("marian", drop_entry("config.json", "vocab_size"), "has no vocab_size"),
        ("bart", change("config.json", eos_token_id=0), "eos_token_id is 0 by config.json, but 2 here"),
        ("mbart", change("config.json", tie_word_embeddings=False), "has no lm_head.weight"),
        ("bart", change("config.json", max_length=True), "max_length is True"),
    ],
)  # fmt: skip
def test_a_folder_that_does_not_fit_is_named(
    name: str, damage: Callable[[Path], Any], words: str, tmp_path: Path
) -> None:
    make_seq2seq(name, tmp_path / "theirs")
    if name == "pegasus":
        write_json(tmp_path / "theirs" / "tokenizer_config.json", {})
    damage(tmp_path / "theirs")
    languages = SEQ2SEQ[name].languages
    message, hint = error_of(
        lambda: import_folder(tmp_path / "theirs", tmp_path / "run", languages, False)
    )
    assert words in message and "\n" not in message + (hint or "")
    assert not (tmp_path / "run").exists()


def test_a_model_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_seq2seq("mbart", tmp_path / "theirs")

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(seq2seq_vocabulary, "read_regular", refuse)
    message, _ = error_of(
        lambda: import_folder(
            tmp_path / "theirs", tmp_path / "run", ("en", "ro"), False
        )
    )
    path = tmp_path / "theirs" / "sentencepiece.bpe.model"
    assert message == f"{path}: cannot be read (Permission denied)"


def test_languages_are_named_in_full_or_without_a_region(tmp_path: Path) -> None:
    make_seq2seq("mbart", tmp_path / "theirs")
    message, hint = error_of(
        lambda: import_folder(
            tmp_path / "theirs", tmp_path / "run", ("en", "eo"), False
        )
    )
    assert "has no language 'eo'" in message and hint is not None and "ro_RO" in hint
    message, hint = error_of(
        lambda: import_folder(
            tmp_path / "theirs", tmp_path / "run", ("en", "en_XX"), False
        )
    )
    assert "are the same" in message


@pytest.mark.parametrize(
    "kept", ["model.decoder.embed_tokens.weight", "lm_head.weight"]
)
def test_a_tied_table_is_read_from_any_of_its_copies(kept: str, tmp_path: Path) -> None:
    """Some files store tied embeddings under another name of the same tensor."""
    tensors = make_seq2seq("mbart", tmp_path / "theirs")
    languages = SEQ2SEQ["mbart"].languages
    import_folder(tmp_path / "theirs", tmp_path / "sound", languages, False)
    expected = Checkpoint.open(tmp_path / "sound").weights()
    shared = tensors.pop("model.shared.weight")
    save_file({**tensors, kept: shared}, tmp_path / "theirs" / "model.safetensors")
    import_folder(tmp_path / "theirs", tmp_path / "copy", languages, False)
    assert_same_tensors(Checkpoint.open(tmp_path / "copy").weights(), expected)
    # A copy that is another tensor is not used, and that is said.
    both = {**tensors, "model.shared.weight": shared, kept: shared + 1}
    save_file(both, tmp_path / "theirs" / "model.safetensors")
    _, notes = import_folder(tmp_path / "theirs", tmp_path / "other", languages, False)
    assert f"{kept} differs from model.shared.weight" in "".join(notes)
    assert_same_tensors(Checkpoint.open(tmp_path / "other").weights(), expected)
    # If only copies are there, they must be one.
    copies = {"model.encoder.embed_tokens.weight": shared, kept: shared + 1}
    save_file({**tensors, **copies}, tmp_path / "theirs" / "model.safetensors")
    message, _ = error_of(
        lambda: import_folder(tmp_path / "theirs", tmp_path / "bad", languages, False)
    )
    assert f"{kept} differs from model.encoder.embed_tokens.weight" in message


def test_settings_of_config_json_do_not_count_beside_generation_config_json(
    tmp_path: Path,
) -> None:
    """As in Hugging Face's library, which uses the first file that it finds."""
    folder = tmp_path / "marian"
    make_seq2seq("marian", folder)
    change("config.json", num_beams=4, length_penalty=0.3, decoder_start_token_id=5)(
        folder
    )
    import_folder(folder, tmp_path / "old", ("en", "de"), allow_pickle=False)
    old = Checkpoint.open(tmp_path / "old")
    assert old.state.generation["beam"] == "4"
    assert old.framing().decoder_start("de") == 5
    newer = {"num_beams": 2, "decoder_start_token_id": 6}
    (folder / "generation_config.json").write_text(json.dumps(newer), encoding="utf-8")
    import_folder(folder, tmp_path / "new", ("en", "de"), allow_pickle=False)
    new = Checkpoint.open(tmp_path / "new")
    assert new.state.generation["beam"] == "2"
    assert "lenpen" not in new.state.generation
    assert new.framing().decoder_start("de") == 6
    # Without one there, that of config.json is better than none.
    (folder / "generation_config.json").write_text("{}", encoding="utf-8")
    import_folder(folder, tmp_path / "empty", ("en", "de"), allow_pickle=False)
    empty = Checkpoint.open(tmp_path / "empty")
    assert empty.state.generation["beam"] == "1", "the library's default"
    assert empty.framing().decoder_start("de") == 5


def test_search_settings_that_are_not_imported_are_named(tmp_path: Path) -> None:
    make_seq2seq("bart", tmp_path / "theirs")
    change(
        "config.json", do_sample=True, temperature=0.5, num_beam_groups=3, max_length=20
    )(tmp_path / "theirs")
    _, notes = import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), False)
    assert [note for note in notes if note.startswith("left out")] == [
        "left out, since an import does not take them over: num_beam_groups, do_sample"
    ]


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("is_object", [True, False])
def test_tags_of_languages_are_found_in_any_file_that_lists_their_ids(
    file: str, is_object: bool, tmp_path: Path
) -> None:
    """Newer versions of the library write no special_tokens_map.json, but the id of each added token."""
    folder = tmp_path / "theirs"
    make_seq2seq("m2m100", folder)
    languages = SEQ2SEQ["m2m100"].languages
    import_folder(folder, tmp_path / "sound", languages, False)
    expected = Checkpoint.open(tmp_path / "sound").tokenizer().vocab
    path = folder / "special_tokens_map.json"
    codes = json.loads(path.read_text())["additional_special_tokens"]
    path.unlink()
    first = len(json.loads((folder / "vocab.json").read_text()))
    numbered = list(enumerate(codes, first))
    if file == "tokenizer.json":
        tokens = [{"id": number, "content": code} for number, code in numbered]
        # What has no number, or is no token at all, is not taken for one.
        damaged = [{"id": "7", "content": "__xx__"}, "__yy__"]
        change(file, added_tokens=[*damaged, *tokens])(folder)
    else:
        by_number = {
            str(number): {"content": code} if is_object else code
            for number, code in numbered
        }
        change(file, added_tokens_decoder={"x": "__xx__", **by_number})(folder)
    import_folder(folder, tmp_path / "run", languages, False)
    found = Checkpoint.open(tmp_path / "run").tokenizer().vocab
    assert found.languages == expected.languages
    assert found.size == expected.size


def test_where_lengths_contradict_each_other_the_maximum_counts(
    tmp_path: Path,
) -> None:
    """Hugging Face's library warns of such settings, and ends an output at its maximum.

    Of 10 tokens there, the start symbol and a forced one take two.
    """
    settings = {"max_length": 10, "min_length": 30}
    search, _ = read_generation_settings(tmp_path, settings, 1, (), 2)
    assert (search["max_len_b"], search["min_len"]) == ("8", "8")


@pytest.mark.parametrize(
    ("shape", "family"),
    [
        ("default", "pegasus"),
        ("m2m_100", "m2m_100"),
        ("marian", "marian"),
        ("fsmt", "fsmt"),
    ],
)
def test_an_export_may_write_as_many_pieces_as_the_run(
    shape: str, family: str, toy: Path, tmp_path: Path
) -> None:
    """Hugging Face's lengths count the start symbol, forced tokens and the end symbol, too."""
    run = random_translator(shape, toy, tmp_path / "run")
    model = load(run.path, precision="fp32").text_model(source="en", target="de")
    limit = model.decoder(GenerationConfig()).max_output_length(5)
    export_translator(run, "en", "de", tmp_path / "theirs")
    read = {
        name: json.loads((tmp_path / "theirs" / f"{name}.json").read_text())
        for name in ("config", "generation_config")
    }
    assert read["config"]["model_type"] == family
    special = 2 + len(run.framing().forced_tokens("de"))
    assert read["generation_config"]["max_length"] == limit + special
    # The last token is not read, so that the positions suffice.
    positions = read["config"]["max_position_embeddings"]
    assert read["generation_config"]["max_length"] - 1 == positions
    path, _ = import_folder(
        tmp_path / "theirs", tmp_path / "again", ("en", "de"), allow_pickle=False
    )
    assert Checkpoint.open(path).state.generation["max_len_b"] == str(limit)

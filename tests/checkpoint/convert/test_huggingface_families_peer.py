"""Every family with five configurations, odd ones too: logits of transformers, a round trip bit by bit, and equal ids.

Run alone:  pip install transformers && pytest tests/checkpoint/convert/test_huggingface_families_peer.py
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from masscli.api.model import load
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.export import export_checkpoint
from masscli.checkpoint.convert.import_ import import_folder
from masscli.data.batches.batch import Tokens
from tests.published import V, sentence_pieces, write_merges, write_wordpiece

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers: Any = pytest.importorskip(
        "transformers", reason="Hugging Face's transformers is not installed"
    )

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("no_sync"),
]

L = 24
FIRST_ID = 6
"""Ids below this one may be special."""
LINE = "The dog runs, abe d\u00f6ge 12"
FAIRSEQ = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def byte_level(folder: Path, special: list[str]) -> int:
    tokenizers = pytest.importorskip("tokenizers")
    peer = tokenizers.ByteLevelBPETokenizer()
    peer.train_from_iterator(
        [LINE] * 3, vocab_size=280, special_tokens=special, show_progress=False
    )
    folder.mkdir(exist_ok=True)
    peer.save_model(str(folder))
    size: int = peer.get_vocab_size()
    return size


def sentencepiece_file(folder: Path, name: str, more: int, **options: Any) -> int:
    pytest.importorskip(
        "google.protobuf",
        reason="transformers reads SentencePiece models with protobuf",
    )
    folder.mkdir(exist_ok=True)
    return len(sentence_pieces(folder / name, 40, **options)) + more


def wordpiece(folder: Path) -> int:
    write_wordpiece(folder)
    return V


def gpt(folder: Path) -> int:
    return len(write_merges(folder))


def roberta(folder: Path) -> int:
    return byte_level(folder, FAIRSEQ)


def gpt2(folder: Path) -> int:
    return byte_level(folder, ["<|endoftext|>"])


def xlmr(folder: Path) -> int:
    return sentencepiece_file(folder, "sentencepiece.bpe.model", 2)


def camembert(folder: Path) -> int:
    return sentencepiece_file(folder, "sentencepiece.bpe.model", 5)


def albert(folder: Path) -> int:
    frame = {
        "pad_id": 0,
        "unk_id": 1,
        "bos_id": -1,
        "eos_id": -1,
        "control_symbols": "[CLS],[SEP],[MASK]",
    }
    return sentencepiece_file(folder, "spiece.model", 0, **frame)


ENCODER = {"hidden_size": 36, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 50,
           "type_vocab_size": 2, "max_position_embeddings": L, "initializer_range": 0.15}  # fmt: skip
AFTER_PADDING = ENCODER | {
    "type_vocab_size": 1,
    "max_position_embeddings": L + 2,
    "pad_token_id": 1,
}
NARROW = ENCODER | {"embedding_size": 16}
DISTILBERT = {"dim": 36, "n_layers": 2, "n_heads": 3, "hidden_dim": 50, "max_position_embeddings": L,
              "initializer_range": 0.15}  # fmt: skip
GPT = {
    "n_positions": L,
    "n_embd": 36,
    "n_layer": 3,
    "n_head": 4,
    "initializer_range": 0.15,
}
UNTIED = {"tie_word_embeddings": False}
PADDED = {"padded_rows": 7}
ODD_ENCODERS = [
    {},
    {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3, "num_attention_heads": 12},
    {"type_vocab_size": 1, "num_hidden_layers": 1},
    UNTIED,
    {"hidden_act": "silu", "num_attention_heads": 1} | PADDED,
]
ODD_ROBERTAS = [
    {},
    {"layer_norm_eps": 1e-3, "num_attention_heads": 12},
    {"type_vocab_size": 2},
    UNTIED,
    {"num_attention_heads": 1, "pad_token_id": 3, "max_position_embeddings": 13}
    | PADDED,
]
FAMILIES: list[tuple[str, dict[str, Any], Callable[[Path], int], list[dict[str, Any]]]] = [
    ("BertForPreTraining", ENCODER, wordpiece, ODD_ENCODERS),
    ("BertForMaskedLM", ENCODER, wordpiece, ODD_ENCODERS),
    ("RobertaForMaskedLM", AFTER_PADDING, roberta, ODD_ROBERTAS),
    ("XLMRobertaForMaskedLM", AFTER_PADDING, xlmr, ODD_ROBERTAS),
    ("CamembertForMaskedLM", AFTER_PADDING, camembert, ODD_ROBERTAS),
    ("AlbertForPreTraining", NARROW, albert, ODD_ENCODERS),
    ("AlbertForMaskedLM", ENCODER | {"embedding_size": 36}, albert, ODD_ENCODERS),
    ("ElectraForPreTraining", NARROW, wordpiece, ODD_ENCODERS),
    (
        "ElectraForMaskedLM",
        NARROW,
        wordpiece,
        [{}, {"num_attention_heads": 12, "layer_norm_eps": 1e-3}, {"type_vocab_size": 1}, UNTIED, {"embedding_size": 36} | PADDED],
    ),
    (
        "DistilBertForMaskedLM",
        DISTILBERT,
        wordpiece,
        [{}, {"n_heads": 12, "activation": "relu"}, {"sinusoidal_pos_embds": True}, UNTIED, {"n_layers": 1} | PADDED],
    ),
    (
        "OpenAIGPTLMHeadModel",
        GPT,
        gpt,
        [{}, {"n_head": 12, "layer_norm_epsilon": 1e-3}, {"n_layer": 1}, UNTIED, {"afn": "relu"} | PADDED],
    ),
    (
        "GPT2LMHeadModel",
        GPT,
        gpt2,
        [
            {"n_head": 12, "layer_norm_epsilon": 1e-3, "activation_function": "relu"},
            {"n_inner": 50},
            {},
            UNTIED,
            {"activation_function": "gelu", "n_positions": 9} | PADDED,
        ],
    ),
]  # fmt: skip
CASES = [
    pytest.param(kind, base | odd, vocabulary, id=f"{kind}-{number}")
    for kind, base, vocabulary, odds in FAMILIES
    for number, odd in enumerate(odds)
]


@pytest.mark.parametrize(("kind", "config", "write_vocabulary"), CASES)
@torch.no_grad()
def test_logits_the_round_trip_and_ids(
    kind: str,
    config: dict[str, Any],
    write_vocabulary: Callable[[Path], int],
    tmp_path: Path,
) -> None:
    options = dict(config)
    size = write_vocabulary(tmp_path / "theirs") + options.pop("padded_rows", 0)
    peer_class = getattr(transformers, kind)
    torch.manual_seed(3)
    peer = peer_class(peer_class.config_class(vocab_size=size, **options)).eval()
    for parameter in peer.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    _merge_biases(peer)
    peer.save_pretrained(tmp_path / "theirs")

    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=False)
    compare(peer, tmp_path / "run", size)
    export_checkpoint(tmp_path / "run", tmp_path / "back", None)
    theirs, back = (
        load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back")
    )
    assert back.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(back[name], tensor), name
    _, info = peer_class.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(
        info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")
    )
    assert json.loads((tmp_path / "back" / "config.json").read_text())[
        "architectures"
    ] == [kind]

    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    expected = tokenizer(LINE, add_special_tokens=False)["input_ids"]
    assert Checkpoint.open(tmp_path / "run").tokenizer().encode(LINE, "en") == expected
    framed = tokenizer(LINE)["input_ids"]
    vocab = Checkpoint.open(tmp_path / "run").tokenizer().vocab
    if "GPT" not in kind:
        assert framed == [vocab.cls, *expected, vocab.sep]


def _merge_biases(peer: Any) -> None:
    """Make the two biases of an untied output layer one, of which the library uses the second only."""
    weights = peer.state_dict()
    for name, tensor in weights.items():
        if name.endswith(("predictions.bias", "lm_head.bias")):
            second = name.removesuffix("bias") + "decoder.bias"
            if second in weights:
                tensor.copy_(weights[second])


def compare(peer: Any, run: Path, size: int) -> None:
    """Compare states and logits of padded texts."""
    model = Checkpoint.open(run).model()
    length = model.config.max_positions
    lengths = torch.tensor([length, 1, length // 2, length - 5])
    ids = torch.randint(
        FIRST_ID, size, (4, length), generator=torch.Generator().manual_seed(5)
    )
    keep = torch.arange(length) < lengths[:, None]
    pad = getattr(peer.config, "pad_token_id", None) or 0
    inputs = {"input_ids": torch.where(keep, ids, pad), "attention_mask": keep.long()}
    segments = None
    if model.config.segments == 2:
        segments = (torch.arange(length) > lengths[:, None] // 2).long()
        inputs["token_type_ids"] = segments
    expected = peer(**inputs, output_hidden_states=True)
    hidden = model.read(Tokens(ids, lengths, segments=segments))
    assert (hidden[keep] - expected.hidden_states[-1][keep]).abs().max() < 1e-5
    logits = getattr(expected, "prediction_logits", None)
    if logits is None and "PreTraining" not in type(peer).__name__:
        logits = expected.logits
    if logits is not None:
        assert (
            model.logits(hidden)[..., :size][keep] - logits[keep]
        ).abs().max() < 1e-5


HEADS = [
    "BertForSequenceClassification",
    "BertForQuestionAnswering",
    "BertForMultipleChoice",
    "RobertaForTokenClassification",
    "AlbertForSequenceClassification",
    "ElectraForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "GPT2ForTokenClassification",
    "GPT2DoubleHeadsModel",
]
BASES = {
    kind.split("For")[0].removesuffix("LMHeadModel"): (base, write)
    for kind, base, write, _ in FAMILIES
}


@pytest.mark.parametrize("kind", HEADS)
@torch.no_grad()
def test_the_model_below_any_head_is_read(kind: str, tmp_path: Path) -> None:
    base, write_vocabulary = BASES[
        kind.split("For")[0].removesuffix("DoubleHeadsModel")
    ]
    size = write_vocabulary(tmp_path / "theirs")
    peer_class = getattr(transformers, kind)
    torch.manual_seed(3)
    peer = peer_class(peer_class.config_class(vocab_size=size, **base)).eval()
    peer.save_pretrained(tmp_path / "theirs")
    _, notes = import_folder(
        tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=False
    )
    model = Checkpoint.open(tmp_path / "run").model()
    ids = torch.randint(
        FIRST_ID, size, (1, 9), generator=torch.Generator().manual_seed(5)
    )
    segments = torch.zeros_like(ids) if model.config.segments == 2 else None
    expected = peer.base_model(input_ids=ids).last_hidden_state
    hidden = model.read(Tokens(ids, torch.tensor([9]), segments=segments))
    assert (hidden - expected).abs().max() < 1e-5
    # masscli has no such heads.
    is_left = "GPT2" in kind
    assert any(note.startswith("left behind: ") for note in notes) == is_left
    reason = f"the head of its task is not imported: that of {kind} reads "
    assert any(note.startswith(reason) for note in notes) == is_left


@pytest.mark.parametrize(
    "kind",
    ["BertForMaskedLM", "RobertaForMaskedLM", "AlbertForMaskedLM", "GPT2LMHeadModel"],
)
@torch.no_grad()
def test_a_config_without_defaults_is_read_as_their_library_reads_it(
    kind: str, tmp_path: Path
) -> None:
    """Files of 2019 contain neither model_type nor default values."""
    base, write_vocabulary = BASES[kind.split("For")[0].removesuffix("LMHeadModel")]
    size = write_vocabulary(tmp_path / "theirs")
    peer_class = getattr(transformers, kind)
    torch.manual_seed(3)
    peer_class(peer_class.config_class(vocab_size=size, **base)).save_pretrained(
        tmp_path / "theirs"
    )
    path = tmp_path / "theirs" / "config.json"
    # BERT's table of segments has two rows by default; RoBERTa's models name their one.
    kept = {
        key for key in base if key != "type_vocab_size" or kind.startswith("Roberta")
    }
    config = json.loads(path.read_text(encoding="utf-8"))
    kept |= {"vocab_size", "architectures", "embedding_size", "pad_token_id"}
    path.write_text(
        json.dumps({key: config[key] for key in kept if key in config}),
        encoding="utf-8",
    )
    peer = peer_class.from_pretrained(tmp_path / "theirs").eval()
    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=False)
    compare(peer, tmp_path / "run", size)


@pytest.mark.parametrize("added", [[], ["covid", "x Y"]], ids=["plain", "added"])
@pytest.mark.parametrize(
    "kind", ["Bert", "Roberta", "Albert", "XLMRoberta", "OpenAIGPT"]
)
def test_settings_that_only_tokenizer_json_has_are_read(
    kind: str, added: list[str], tmp_path: Path
) -> None:
    """The folder that today's library writes has tokenizer.json alone, here with tokens that a user added."""
    writers = {
        "Bert": wordpiece,
        "Roberta": roberta,
        "Albert": albert,
        "XLMRoberta": xlmr,
        "OpenAIGPT": gpt,
    }
    size = writers[kind](tmp_path / "old")
    peer = getattr(transformers, f"{kind}Tokenizer").from_pretrained(tmp_path / "old")
    peer.add_tokens(added)
    peer.save_pretrained(tmp_path / "new")
    classes = {"OpenAIGPT": "OpenAIGPTLMHeadModel"}
    model_class = getattr(transformers, classes.get(kind, f"{kind}Model"))
    sizes = {"Albert": NARROW, "OpenAIGPT": GPT, "Bert": ENCODER}.get(
        kind, AFTER_PADDING
    )
    model = model_class(model_class.config_class(vocab_size=size + len(added), **sizes))
    model.save_pretrained(tmp_path / "new")
    import_folder(tmp_path / "new", tmp_path / "run", ("en",), allow_pickle=False)
    export_checkpoint(tmp_path / "run", tmp_path / "back", None)
    tokenizer = Checkpoint.open(tmp_path / "run").tokenizer()
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "back")
    for line in (LINE, "abcovidba x Y covid", "", "  a  b "):
        expected = peer(line, add_special_tokens=False)["input_ids"]
        assert tokenizer.encode(line, "en") == expected
        assert again(line, add_special_tokens=False)["input_ids"] == expected
    assert len(again) >= size + len(added)


CONFLICTS = [
    ("Bert", wordpiece, "normalizer", "lowercase", "do_lower_case", True),
    ("Bert", wordpiece, "normalizer", "lowercase", "do_lower_case", False),
    ("Electra", wordpiece, "normalizer", "strip_accents", "strip_accents", False),
    ("DistilBert", wordpiece, "normalizer", "handle_chinese_chars", "tokenize_chinese_chars", False),
    ("Roberta", roberta, "pre_tokenizer", "add_prefix_space", "add_prefix_space", True),
    ("GPT2", gpt2, "pre_tokenizer", "add_prefix_space", "add_prefix_space", True),
]  # fmt: skip


@pytest.mark.parametrize("is_given", [True, False])
@pytest.mark.parametrize(("kind", "write", "part", "rule", "key", "value"), CONFLICTS)
def test_settings_count_more_than_tokenizer_json(
    kind: str,
    write: Callable[[Path], int],
    part: str,
    rule: str,
    key: str,
    value: bool,
    is_given: bool,
    tmp_path: Path,
) -> None:
    """A class of their library builds its rules from its settings or defaults, whatever tokenizer.json says."""
    folder = tmp_path / "theirs"
    size = write(folder)
    getattr(transformers, f"{kind}Tokenizer").from_pretrained(folder).save_pretrained(
        folder
    )
    card = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    card[part][rule] = not value
    settings.pop(key, None)
    settings |= {key: value} if is_given else {}
    (folder / "tokenizer.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    base = {"Roberta": AFTER_PADDING, "GPT2": GPT, "Electra": NARROW, "DistilBert": DISTILBERT}.get(kind, ENCODER)  # fmt: skip
    model = getattr(transformers, f"{kind}Model")
    model(model.config_class(vocab_size=size, **base)).save_pretrained(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    _, notes = import_folder(folder, tmp_path / "run", ("en",), False)
    tokenizer = Checkpoint.open(tmp_path / "run").tokenizer()
    for line in (LINE, "\u4e2dab", "d\u00f6ge Ab"):
        expected = theirs(line, add_special_tokens=False)["input_ids"]
        assert tokenizer.encode(line, "en") == expected, line
    if is_given:
        assert any(note.startswith(f"{key} is {value}") for note in notes)


STRIP_ACCENTS = {"type": "StripAccents"}
SENTENCEPIECE_CONFLICTS: list[tuple[str, Callable[[Path], int], dict[str, Any], list[dict[str, str]]]] = [
    ("Albert", albert, {"do_lower_case": False}, []),
    ("Albert", albert, {"do_lower_case": True}, [STRIP_ACCENTS]),
    ("Albert", albert, {"keep_accents": True}, []),
    ("Albert", albert, {}, [STRIP_ACCENTS]),
    ("Albert", albert, {"add_prefix_space": False}, []),
    ("XLMRoberta", xlmr, {"add_prefix_space": False}, []),
    ("Camembert", camembert, {"add_prefix_space": False}, []),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "write", "given", "steps"), SENTENCEPIECE_CONFLICTS)
def test_settings_count_more_than_the_steps_of_tokenizer_json(
    kind: str,
    write: Callable[[Path], int],
    given: dict[str, Any],
    steps: list[dict[str, str]],
    tmp_path: Path,
) -> None:
    """If `steps` are not empty, they are all steps of the normalizer in tokenizer.json."""
    folder = tmp_path / "theirs"
    size = write(folder)
    getattr(transformers, f"{kind}Tokenizer").from_pretrained(folder).save_pretrained(
        folder
    )
    card = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    if steps:
        card["normalizer"] = {"type": "Sequence", "normalizers": steps}
    for key in ("do_lower_case", "keep_accents", "add_prefix_space"):
        settings.pop(key, None)
    settings |= given
    (folder / "tokenizer.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    base = {"Albert": NARROW}.get(kind, AFTER_PADDING)
    model = getattr(transformers, f"{kind}Model")
    model(model.config_class(vocab_size=size, **base)).save_pretrained(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    _, notes = import_folder(folder, tmp_path / "run", ("en",), False)
    tokenizer = Checkpoint.open(tmp_path / "run").tokenizer()
    for line in (LINE, "d\u00f6ge Ab", "``a'' b", "  a   b"):
        expected = theirs(line, add_special_tokens=False)["input_ids"]
        assert tokenizer.encode(line, "en") == expected, line
    assert any("tokenizer.json" in note for note in notes[2:]), notes


def test_unusual_special_tokens_around_a_text_are_named(tmp_path: Path) -> None:
    size = wordpiece(tmp_path / "theirs")
    tokenizer = transformers.BertTokenizer.from_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    model = transformers.BertModel(transformers.BertConfig(vocab_size=size, **ENCODER))
    model.save_pretrained(tmp_path / "theirs")
    _, notes = import_folder(tmp_path / "theirs", tmp_path / "same", ("en",), False)
    assert not any("post_processor" in note for note in notes)
    path = tmp_path / "theirs" / "tokenizer.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    card["post_processor"]["single"] = card["post_processor"]["single"][1:]
    path.write_text(json.dumps(card), encoding="utf-8")
    _, notes = import_folder(tmp_path / "theirs", tmp_path / "other", ("en",), False)
    assert any("masscli puts [CLS] and [SEP] around a text" in note for note in notes)


def test_tokens_that_only_the_map_of_special_tokens_calls_special(
    tmp_path: Path,
) -> None:
    """Before tokenizer.json, a token for padding was added to GPT-2 in two files."""
    size = gpt2(tmp_path / "theirs")
    end = {"content": "<|endoftext|>", "lstrip": False}
    special = {
        "bos_token": end,
        "eos_token": end,
        "unk_token": end,
        "pad_token": "[PAD]",
    }
    (tmp_path / "theirs" / "special_tokens_map.json").write_text(
        json.dumps(special), encoding="utf-8"
    )
    (tmp_path / "theirs" / "added_tokens.json").write_text(
        json.dumps({"[PAD]": size}), encoding="utf-8"
    )
    peer = transformers.GPT2Model(transformers.GPT2Config(vocab_size=size + 1, **GPT))
    peer.save_pretrained(tmp_path / "theirs")
    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=False)
    tokenizer = Checkpoint.open(tmp_path / "run").tokenizer()
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    assert tokenizer.encode(LINE, "en") == theirs(LINE).input_ids
    assert tokenizer.vocab.pad == theirs.pad_token_id == size


@pytest.mark.parametrize(
    ("vocabulary", "peer_class", "config_class", "end"),
    [
        (gpt2, "GPT2LMHeadModel", "GPT2Config", 0),
        (gpt, "OpenAIGPTLMHeadModel", "OpenAIGPTConfig", None),
    ],
)
@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 7},
        {"max_new_tokens": 7, "no_repeat_ngram_size": 1},
        {"max_new_tokens": 7, "no_repeat_ngram_size": 2},
        # All that is left of the positions.
        {"max_new_tokens": L - 7},
    ],
    ids=str,
)
def test_prompts_are_continued_as_in_the_library(
    vocabulary: Callable[[Path], int],
    peer_class: str,
    config_class: str,
    end: int | None,
    settings: dict[str, Any],
    tmp_path: Path,
) -> None:
    size = vocabulary(tmp_path / "theirs")
    torch.manual_seed(3)
    config = getattr(transformers, config_class)(
        vocab_size=size, bos_token_id=end, eos_token_id=end, **GPT
    )
    peer = getattr(transformers, peer_class)(config).eval()
    peer.generation_config.update(**settings)
    peer.save_pretrained(tmp_path / "theirs")
    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=False)
    model = load(Checkpoint.open(tmp_path / "run").path, precision="fp32").text_model()
    decoder = model.decoder(model.search_config({}))
    prompts = [list(ids) for ids in ([9], [4, 8, 5], [7, 7, 6, 10, 5, 9, 8])]
    found = decoder.generate([np.array(ids) for ids in prompts], "en", "en")
    for prompt, [ours] in zip(prompts, found, strict=True):
        [theirs] = peer.generate(torch.tensor([prompt])).tolist()
        # GPT has no end symbol, so that theirs goes on.
        if end is None:
            theirs = theirs[: len(prompt) + len(ours.ids)]
        elif not ours.hit_max_len:
            assert theirs.pop() == end
        assert [*prompt, *ours.ids] == theirs
    assert any(n_best[0].hit_max_len for n_best in found)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_beams": 3, "length_penalty": 0.5, "early_stopping": "never"},
        {"no_repeat_ngram_size": 2, "min_new_tokens": 3, "max_new_tokens": 9},
        {},
    ],
    ids=str,
)
def test_an_export_of_gpt2_searches_as_the_imported_model(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    """The library reads and writes its settings, and an import of the export reads them, too."""
    size = gpt2(tmp_path / "theirs")
    config = transformers.GPT2Config(
        vocab_size=size, bos_token_id=0, eos_token_id=0, **GPT
    )
    peer = transformers.GPT2LMHeadModel(config)
    peer.generation_config.update(**settings)
    peer.save_pretrained(tmp_path / "theirs")
    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=False)
    export_checkpoint(tmp_path / "run", tmp_path / "ours", None)
    exported = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours")
    found = exported.generation_config
    for name in ("eos_token_id", "bos_token_id", *settings):
        assert getattr(found, name) == getattr(peer.generation_config, name)
    exported.save_pretrained(tmp_path / "again")
    import_folder(tmp_path / "ours", tmp_path / "second", ("en",), allow_pickle=False)
    first, second = (
        load(tmp_path / name).text_model().search_config({})
        for name in ("run", "second")
    )
    assert second == first


@pytest.mark.parametrize(
    ("kind", "with_file"),
    [
        ("GPT2Tokenizer", True),
        ("PreTrainedTokenizerFast", True),
        ("GPT2Tokenizer", False),
    ],
)
def test_a_tokenizer_may_put_a_start_symbol_before_prompts(
    kind: str, with_file: bool, tmp_path: Path
) -> None:
    """The template in tokenizer.json says so or, without that file, add_bos_token does."""
    folder = tmp_path / "theirs"
    size = gpt2(folder)
    settings = {
        "tokenizer_class": kind,
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "add_bos_token": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    tokenizer_file = folder / "tokenizer.json"
    if with_file:
        bare = {**settings, "tokenizer_class": "GPT2Tokenizer", "add_bos_token": False}
        (folder / "tokenizer_config.json").write_text(json.dumps(bare), "utf-8")
        made = transformers.AutoTokenizer.from_pretrained(folder)
        made.backend_tokenizer.save(str(tokenizer_file))
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
        content = json.loads(tokenizer_file.read_text(encoding="utf-8"))
        name = "<|endoftext|>"
        text = {"Sequence": {"id": "A", "type_id": 0}}
        content["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": name, "type_id": 0}}, text],
            "pair": [text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [0], "tokens": [name]}},
        }
        tokenizer_file.write_text(json.dumps(content), "utf-8")
    config = transformers.GPT2Config(
        vocab_size=size, bos_token_id=0, eos_token_id=0, **GPT
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)(LINE).input_ids
    assert theirs[0] == 0
    import_folder(folder, tmp_path / "run", ("en",), allow_pickle=False)
    export_checkpoint(tmp_path / "run", tmp_path / "ours", None)
    exported = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert exported(LINE).input_ids == theirs
    import_folder(tmp_path / "ours", tmp_path / "second", ("en",), allow_pickle=False)
    for name in ("run", "second"):
        run = Checkpoint.open(tmp_path / name)
        ids = np.array(run.tokenizer().encode(LINE, "en"))
        assert run.framing().prompt(ids, "en").tolist() == theirs


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_beams": 3, "early_stopping": True},
        {"num_beams": 2, "length_penalty": 0.0},
        {"repetition_penalty": 1.8},
    ],
    ids=str,
)
def test_prompts_are_continued_with_beams_as_in_the_library(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    size = gpt2(tmp_path / "theirs")
    torch.manual_seed(3)
    config = transformers.GPT2Config(
        vocab_size=size, bos_token_id=0, eos_token_id=0, **GPT
    )
    peer = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        # The end symbol becomes likely.
        peer.transformer.ln_f.bias += 3 * peer.transformer.wte.weight[0]
    peer.generation_config.update(**settings)
    peer.save_pretrained(tmp_path / "theirs")
    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), allow_pickle=False)
    model = load(Checkpoint.open(tmp_path / "run").path, precision="fp32").text_model()
    flags = {"beam": "3", "max_len_a": "0", "max_len_b": "9"}
    decoder = model.decoder(model.search_config(flags))
    prompts = [list(ids) for ids in ([9], [4, 8, 5], [7, 7, 6, 10, 5, 9, 8])]
    found = decoder.generate([np.array(ids) for ids in prompts], "en", "en")
    compared = 0
    for prompt, [ours] in zip(prompts, found, strict=True):
        given = torch.tensor([prompt])
        [theirs] = peer.generate(given, num_beams=3, max_new_tokens=9).tolist()
        # At the length limit their search does not count the end symbol.
        if not ours.hit_max_len:
            compared += 1
            assert [*prompt, *ours.ids, 0] == theirs
    assert compared > 1

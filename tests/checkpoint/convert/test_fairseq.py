"""State dicts of fairseq's old and of MASS's plug-ins, made here, against a slow reference."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.export import export_checkpoint
from masscli.checkpoint.convert.fairseq_vocabulary import read_dictionary
from masscli.checkpoint.convert.foreign import ImportRequest
from masscli.checkpoint.convert.import_ import import_folder
from masscli.checkpoint.convert.import_file import import_file
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens
from tests.oracles import slow_attention

DIM, FFN, HEADS, WORDS = 12, 20, 3, 40
LIMIT = 1e-5


class SlowFairseq:
    """One stack of a fairseq model on one sentence, with the equations of its code.

    `state` has its tensors without their prefix. Attention is computed a number at a time (tests/oracles.py).
    """

    def __init__(
        self, state: dict[str, Tensor], pre_norm: bool, gelu: bool, pad: int
    ) -> None:
        self.state, self.pre_norm, self.pad = state, pre_norm, pad
        self.activation = F.gelu if gelu else F.relu

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(
            x, (DIM,), self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        )

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def attention(self, name: str, x: Tensor, keys: Tensor, causal: bool) -> Tensor:
        weights = self.state[f"{name}.in_proj_weight"].chunk(3)
        biases = self.state[f"{name}.in_proj_bias"].chunk(3)
        q, k, v = (
            F.linear(y, w, b)
            for y, w, b in zip((x, keys, keys), weights, biases, strict=True)
        )
        sees = [[not causal or j <= i for j in range(len(k))] for i in range(len(q))]
        parts = []
        for part in torch.arange(DIM).chunk(HEADS):
            mixed = slow_attention(
                q[:, part].tolist(), k[:, part].tolist(), v[:, part].tolist(), sees
            )
            parts.append(torch.tensor(mixed))
        return self.linear(f"{name}.out_proj", torch.cat(parts, 1))

    def positions(self, length: int) -> Tensor:
        if "embed_positions.weight" in self.state:
            return self.state["embed_positions.weight"][self.pad + 1 :][:length]
        half = DIM // 2
        rates = 10_000 ** (-torch.arange(half) / (half - 1))
        angles = (torch.arange(length) + self.pad + 1)[:, None] * rates
        return torch.cat([angles.sin(), angles.cos()], 1)

    def residual(self, norm: str, x: Tensor, function: Any) -> Tensor:
        if self.pre_norm:
            return x + function(self.norm(norm, x))
        return self.norm(norm, x + function(x))

    def __call__(
        self, ids: list[int], memory: Tensor | None = None, decoder: bool = False
    ) -> Tensor:
        x = DIM**0.5 * self.state["embed_tokens.weight"][ids] + self.positions(len(ids))
        if "emb_layer_norm.weight" in self.state:
            x = self.norm("emb_layer_norm", x)
        for layer in self.layers():
            x = self.residual(
                f"{layer}.self_attn_layer_norm",
                x,
                lambda y, at=layer: self.attention(f"{at}.self_attn", y, y, decoder),
            )
            if decoder:
                x = self.residual(
                    f"{layer}.encoder_attn_layer_norm",
                    x,
                    lambda y, at=layer: self.attention(
                        f"{at}.encoder_attn", y, memory, False
                    ),
                )
            x = self.residual(
                f"{layer}.final_layer_norm",
                x,
                lambda y, at=layer: self.linear(
                    f"{at}.fc2", self.activation(self.linear(f"{at}.fc1", y))
                ),
            )
        return self.norm("layer_norm", x) if "layer_norm.weight" in self.state else x

    def layers(self) -> Iterator[str]:
        number = 0
        while f"layers.{number}.fc1.weight" in self.state:
            yield f"layers.{number}"
            number += 1


def stack_state(
    embedding: Tensor, layers: int, decoder: bool, learned: int, final_norm: bool
) -> dict[str, Tensor]:
    """Random tensors of one stack, under the names of MASS's plug-ins; `learned` is a number of positions."""
    shapes: dict[str, tuple[int, ...]] = {}

    def module(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]

    for i in range(layers):
        for attention in ("self_attn", *(["encoder_attn"] if decoder else [])):
            shapes[f"layers.{i}.{attention}.in_proj_weight"] = (3 * DIM, DIM)
            shapes[f"layers.{i}.{attention}.in_proj_bias"] = (3 * DIM,)
            module(f"layers.{i}.{attention}.out_proj", DIM, DIM)
            module(f"layers.{i}.{attention}_layer_norm", DIM)
        module(f"layers.{i}.fc1", FFN, DIM)
        module(f"layers.{i}.fc2", DIM, FFN)
        module(f"layers.{i}.final_layer_norm", DIM)
    if learned:
        shapes["embed_positions.weight"] = (learned, DIM)
        module("emb_layer_norm", DIM)
    if final_norm:
        module("layer_norm", DIM)
    state = {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}
    state |= {"embed_tokens.weight": embedding, "version": torch.tensor([3.0])}
    if not learned:
        state["embed_positions._float_tensor"] = torch.zeros(1)
        # Until 2018 the table of sinusoids was a parameter.
        state["embed_positions.weights"] = torch.zeros(7, DIM)
    return state


def write_dictionary(path: Path, prefix: str, count: int) -> Path:
    path.write_text(
        "".join(f"{prefix}{number} {count - number}\n" for number in range(count))
    )
    return path


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def imported(path: Path, output: Path, **request: Any) -> Checkpoint:
    checkpoint, _ = import_file(ImportRequest(path, **request), None, output)
    return Checkpoint.open(checkpoint)


def tokens(ids: list[int]) -> Tokens:
    return Tokens(torch.tensor([ids]), torch.tensor([len(ids)]))


def test_mass_for_summarization(tmp_path: Path) -> None:
    """A bare state dict: BERT's vocabulary with padding at 0, 513 positions like rows, [SEP] at both ends."""
    torch.manual_seed(1)
    table = torch.randn(WORDS, DIM)
    encoder = stack_state(table, 2, False, 51, False)
    decoder = stack_state(table, 3, True, 51, False)
    state = prefixed("encoder.", encoder) | prefixed("decoder.", decoder)
    torch.save(state, tmp_path / "mass-base-uncased.pt")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"w{number}" for number in range(WORDS - len(special)))]
    (tmp_path / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
    with pytest.raises(MasscliError, match="attention heads"):
        imported(
            tmp_path / "mass-base-uncased.pt",
            tmp_path / "no",
            vocab_file=tmp_path / "vocab.txt",
        )
    checkpoint = imported(
        tmp_path / "mass-base-uncased.pt",
        tmp_path / "run",
        heads=HEADS,
        vocab_file=tmp_path / "vocab.txt",
    )
    model, vocab = checkpoint.model(), checkpoint.tokenizer().vocab
    assert checkpoint.recipe.model.max_positions == 50
    framing = checkpoint.framing()
    assert framing.decoder_start("en") == vocab.eos == 3
    source, target = [7, 12, 30, vocab.eos], [vocab.eos, 9, 8]
    memory = SlowFairseq(encoder, False, True, 0)(source)
    hidden = SlowFairseq(decoder, False, True, 0)(target, memory, decoder=True)
    found = model.encode(tokens(source))
    assert float((found.hidden[0] - memory).abs().max()) < LIMIT
    states = model.decode(tokens(target), found)
    assert float((states[0] - hidden).abs().max()) < LIMIT
    assert (
        float((model.logits(states)[0, :, :WORDS] - hidden @ table.T).abs().max())
        < LIMIT * 10
    )


def test_fine_tuned_summarization_models_generate_their_language(
    tmp_path: Path,
) -> None:
    torch.manual_seed(1)
    table = torch.randn(WORDS, DIM)
    stacks = {
        "encoder.": stack_state(table, 1, False, 51, False),
        "decoder.": stack_state(table, 1, True, 51, False),
    }
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *(f"w{number}" for number in range(WORDS - 5)),
    ]
    # A dictionary of fairseq in place of BERT's vocab.txt.
    (tmp_path / "dict.txt").write_text("".join(f"{word} 1\n" for word in words))
    for task, directions in (("translation_mass", (("en", "en"),)), ("masked_s2s", ())):
        path = save(
            tmp_path / f"{task}.pt", stacks, arch="transformer_mass_base", task=task
        )
        path, notes = import_file(ImportRequest(path), None, tmp_path / task)
        # There is no option for the place of norms, and nothing is assumed about it.
        assert len(notes) == 2
        checkpoint = Checkpoint.open(path)
        assert checkpoint.directions == directions
        assert checkpoint.tokenizer().encode("w3 w4", "en") == [8, 9]
        assert checkpoint.recipe.model.position_offset == 1


@pytest.mark.parametrize("direction", ["zh-en", "en-zh"])
@pytest.mark.parametrize("pre_norm", [True, False])
def test_mass_for_translation(direction: str, pre_norm: bool, tmp_path: Path) -> None:
    """Encoders and decoders by language, each language with its own table, and <mask> at 4."""
    torch.manual_seed(1)
    sizes = {"zh": WORDS, "en": WORDS - 8}
    tables = {language: torch.randn(size, DIM) for language, size in sizes.items()}
    stacks = {}
    for language, table in tables.items():
        stacks[f"encoders.{language}."] = stack_state(table, 2, False, 0, pre_norm)
        stacks[f"decoders.{language}."] = stack_state(table, 1, True, 0, pre_norm)
        write_dictionary(
            tmp_path / f"dict.{language}.txt", language, sizes[language] - 5
        )
    state = {
        name: tensor
        for prefix, part in stacks.items()
        for name, tensor in prefixed(prefix, part).items()
    }
    options = argparse.Namespace(
        arch="xtransformer",
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_normalize_before=pre_norm,
        decoder_normalize_before=pre_norm,
        langs="en,zh",
    )
    torch.save(
        {"args": options, "model": state, "extra_state": {}}, tmp_path / "mass.pt"
    )
    source, target = direction.split("-")
    checkpoint = imported(
        tmp_path / "mass.pt", tmp_path / "run", source=source, target=target
    )
    tokenizer = checkpoint.tokenizer()
    assert tokenizer.ids_to_pieces([tokenizer.vocab.mask]) == ["<mask>"]
    # The first word of a dictionary has id 5 there, which is row 5 of the table.
    words = f"{source}0 {source}3 {source}7"
    assert tokenizer.encode(words, source) == [
        tokenizer.own_ids(source)[row] for row in (5, 8, 12)
    ]
    model = checkpoint.model()
    source_rows, target_rows = [5, 8, 12, 2], [2, 6, 9]
    memory = SlowFairseq(stacks[f"encoders.{source}."], pre_norm, False, 1)(source_rows)
    hidden = SlowFairseq(stacks[f"decoders.{target}."], pre_norm, False, 1)(
        target_rows, memory, decoder=True
    )
    ours = checkpoint.framing().encoder_input(
        torch.tensor(tokenizer.encode(words, source)).numpy(), source
    )
    found = model.encode(tokens(ours.tolist()))
    assert float((found.hidden[0] - memory).abs().max()) < LIMIT
    ids = torch.tensor(list(tokenizer.own_ids(target)))
    states = model.decode(tokens(ids[target_rows].tolist()), found)
    assert float((states[0] - hidden).abs().max()) < LIMIT
    assert (
        float((model.logits(states)[0][:, ids] - hidden @ tables[target].T).abs().max())
        < LIMIT * 10
    )


def test_a_single_encoder_and_decoder_of_mass_need_no_names(tmp_path: Path) -> None:
    """Fine-tuning with --source-langs zh --target-langs en leaves one of each."""
    torch.manual_seed(1)
    table = torch.randn(WORDS, DIM)
    state = {}
    for language in ("zh", "en"):
        write_dictionary(tmp_path / f"dict.{language}.txt", language, WORDS - 5)
    state |= prefixed("encoders.zh.", stack_state(table, 1, False, 0, False))
    state |= prefixed("decoders.en.", stack_state(table, 1, True, 0, False))
    options = argparse.Namespace(
        arch="xtransformer",
        source_lang=None,
        target_lang=None,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
    )
    torch.save({"args": options, "model": state}, tmp_path / "mass.pt")
    checkpoint = imported(tmp_path / "mass.pt", tmp_path / "run")
    assert checkpoint.directions == (("zh", "en"),)
    with pytest.raises(MasscliError, match="encoders of zh and decoders of en"):
        imported(tmp_path / "mass.pt", tmp_path / "no", source="en", target="zh")
    # Of two, one has to be chosen.
    state |= prefixed("encoders.en.", stack_state(table, 1, False, 0, False))
    torch.save({"args": options, "model": state}, tmp_path / "mass.pt")
    with pytest.raises(MasscliError, match="encoders of en, zh and decoders of en"):
        imported(tmp_path / "mass.pt", tmp_path / "no")


def old_names(state: dict[str, Tensor], decoder: bool) -> dict[str, Tensor]:
    """The same tensors under the names of 2018: a list of norms in each layer."""
    norms = [
        "self_attn_layer_norm",
        *(["encoder_attn_layer_norm"] if decoder else []),
        "final_layer_norm",
    ]
    renamed = {}
    for name, tensor in state.items():
        for number, norm in enumerate(norms):
            name = name.replace(f".{norm}.", f".layer_norms.{number}.")
        renamed[name] = tensor
    return renamed


@pytest.fixture
def translation(tmp_path: Path) -> dict[str, dict[str, Tensor]]:
    """A small pre-norm transformer, and its dictionary beside it."""
    torch.manual_seed(1)
    table = torch.randn(WORDS, DIM)
    write_dictionary(tmp_path / "dict.txt", "w", WORDS - 4)
    return {
        "encoder.": stack_state(table, 1, False, 0, True),
        "decoder.": stack_state(table, 2, True, 0, True),
    }


def save(
    path: Path, stacks: dict[str, dict[str, Tensor]], old: bool = False, **options: Any
) -> Path:
    state = {}
    for prefix, part in stacks.items():
        state |= prefixed(
            prefix, old_names(part, prefix == "decoder.") if old else part
        )
    names = {
        "source_lang": "en",
        "target_lang": "de",
        "arch": "transformer",
        "encoder_attention_heads": HEADS,
    }
    given = {
        "decoder_attention_heads": HEADS,
        "encoder_normalize_before": True,
        "decoder_normalize_before": True,
    }
    torch.save(
        {"args": argparse.Namespace(**{**names, **given, **options}), "model": state},
        path,
    )
    return path


@pytest.mark.parametrize("version", [3.0, 2.0, 1.0])
def test_old_files(
    version: float, translation: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    """Fused projections, norms in a list, and stacks whose final norm was not used up to some version."""
    for state in translation.values():
        state["version"] = torch.tensor([version])
    checkpoint = imported(
        save(tmp_path / "old.pt", translation, old=True), tmp_path / "run"
    )
    encoder, decoder = (dict(state) for state in translation.values())
    for state, last in ((encoder, 1), (decoder, 2)):
        if version <= last:
            del state["layer_norm.weight"]
    source, target = [5, 8, 12, 2], [2, 6, 9]
    memory = SlowFairseq(encoder, True, False, 1)(source)
    hidden = SlowFairseq(decoder, True, False, 1)(target, memory, decoder=True)
    model = checkpoint.model()
    states = model.decode(tokens(target), model.encode(tokens(source)))
    assert float((states[0] - hidden).abs().max()) < LIMIT


def test_a_missing_option_for_the_position_of_norms_is_reported(
    translation: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    """fairseq 0.12 writes it always; a file that was made by hand or another program may lack it."""
    sound = imported(save(tmp_path / "sound.pt", translation), tmp_path / "sound")
    path = save(tmp_path / "old.pt", translation)
    content = torch.load(path, weights_only=False)
    del content["args"].decoder_normalize_before
    torch.save(content, path)
    _, notes = import_file(ImportRequest(path), None, tmp_path / "old")
    assert [note for note in notes if "no option" in note] == [
        "the file has no option decoder_normalize_before: norms are assumed to be before attention and "
        "feed-forward layers, since there is a final norm"
    ]
    assert Checkpoint.open(tmp_path / "old").recipe.model == sound.recipe.model
    # A text such as "False" would count as true in Python.
    with pytest.raises(MasscliError, match="decoder_normalize_before is 'False'"):
        imported(
            save(tmp_path / "text.pt", translation, decoder_normalize_before="False"),
            tmp_path / "text",
        )


def test_stale_copies_are_ignored_exactly(
    translation: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    plain = imported(
        save(tmp_path / "plain.pt", translation), tmp_path / "plain"
    ).weights()
    stale = {
        name: torch.randn(3)
        for name in ("in_proj_weight", "out_proj_bias", "fc1_weight", "fc2_bias")
    }
    translation["encoder."] |= {
        f"layers.0.{name}": tensor for name, tensor in stale.items()
    }
    found = imported(
        save(tmp_path / "stale.pt", translation), tmp_path / "stale"
    ).weights()
    assert all(torch.equal(tensor, found[name]) for name, tensor in plain.items())
    # So they are under the names that distributed training saves.
    parallel = {f"module.{prefix}": part for prefix, part in translation.items()}
    found = imported(
        save(tmp_path / "parallel.pt", parallel), tmp_path / "parallel"
    ).weights()
    assert all(torch.equal(tensor, found[name]) for name, tensor in plain.items())
    # Anything like them elsewhere is a part that is not understood.
    translation["decoder."]["layers.0.fc1_weight"] = torch.randn(3)
    with pytest.raises(
        MasscliError, match=r"decoder\.layers\.0\.fc1_weight has no place"
    ):
        imported(save(tmp_path / "other.pt", translation), tmp_path / "other")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"adaptive_softmax_cutoff": "100,200"}, "adaptive softmax"),
        ({"adaptive_softmax_cutoff": [100]}, "adaptive softmax"),
        ({"output_dictionary_size": 30}, "part of the dictionary"),
        ({"decoder_layers_to_keep": "0,2"}, "left-out layers"),
        ({"cross_self_attention": True}, "self-attention"),
        ({"quant_noise_pq": 0.1}, "a layer after the embeddings"),
        # Their tensors are those of a Transformer, but they are used differently.
        ({"task": "translation_moe"}, "name of an expert .--task translation_moe"),
        ({"task": "translation_lev"}, "not written from left to right"),
        (
            {"arch": "transformer_unidirectional_iwslt_de_en"},
            "before it .--arch transformer_unidirectional_iwslt",
        ),
        ({"activation_fn": "tanh"}, "activation_fn is tanh"),
        ({"encoder_attention_heads": 5}, "pt: encoder_attention_heads: must divide"),
        ({"decoder_attention_heads": 5}, "pt: decoder_attention_heads: must divide"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    options: dict[str, Any],
    name: str,
    translation: dict[str, dict[str, Tensor]],
    tmp_path: Path,
) -> None:
    save(
        tmp_path / "model.pt",
        translation,
        encoder_layerdrop=0,
        adaptive_softmax_cutoff=None,
        encoder_layers_to_keep=[],
    )
    imported(tmp_path / "model.pt", tmp_path / "good")
    with pytest.raises(MasscliError, match=name) as error:
        imported(save(tmp_path / "model.pt", translation, **options), tmp_path / "run")
    assert "\n" not in error.value.message
    assert not (tmp_path / "run").exists()


def test_assumptions_about_a_file_without_options_are_reported(
    translation: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    state = {}
    for prefix, part in translation.items():
        state |= prefixed(prefix, part)
    torch.save(state, tmp_path / "bare.pt")
    request = {"source": "en", "target": "de", "heads": HEADS}
    for name, is_bare in (("bare", True), ("whole", False)):
        path = tmp_path / f"{name}.pt"
        if not is_bare:
            save(path, translation)
        _, notes = import_file(ImportRequest(path, **request), None, tmp_path / name)
        found = [note for note in notes if note.startswith("the file has no options: ")]
        assert len(found) == int(is_bare)
        assert all("relu" in note and f"{HEADS} attention" in note for note in found)


def test_a_dictionary_must_fit(
    translation: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    path = save(tmp_path / "model.pt", translation)
    cases = {
        "w 1\nw 2\n": "occurs twice",
        "w\n": "expected PIECE COUNT",
        "w 1\nw 1 #fairseq:overwrote\n": "expected PIECE COUNT",
        "a 1\n": "do not match token embeddings of 40 rows",
        "".join(f"w{number} 1\n" for number in range(50)): "do not match",
    }
    for text, reason in cases.items():
        (tmp_path / "dict.txt").write_text(text)
        with pytest.raises(MasscliError, match=reason):
            imported(path, tmp_path / "run")
    (tmp_path / "dict.txt").unlink()
    with pytest.raises(MasscliError, match=r"no dict\.en\.txt next to it"):
        imported(path, tmp_path / "run")
    # fairseq fills a dictionary up to a multiple of 8.
    write_dictionary(tmp_path / "dict.txt", "w", WORDS - 7)
    pieces = imported(path, tmp_path / "run").tokenizer().all_pieces()
    assert pieces[-3:] == ["madeupword0000", "madeupword0001", "madeupword0002"]


def test_a_dictionary_that_overwrites_pieces_has_the_ids_of_fairseq(
    tmp_path: Path,
) -> None:
    # Spaces at the end of a line mean nothing to fairseq.
    text = "a 1\nb 1 \na 2 #fairseq:overwrite\n<s> 3 #fairseq:overwrite \nc 4\r\n"
    (tmp_path / "dict.txt").write_text(text, encoding="utf-8")
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *read_dictionary(tmp_path / "dict.txt")]
    # fairseq 0.12.2 looks these up as 6, 5 and 8, and adds 4 and 7 as rows of their own.
    assert [pieces.index(piece) for piece in "abc"] == [6, 5, 8]
    assert len(pieces) == 9 and " " in pieces[4] and " " in pieces[7]


def test_names_of_programs_around_fairseq(
    translation: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    """They keep the model as an attribute."""
    write_dictionary(tmp_path / "dict.txt", "w", WORDS - 4)
    plain = imported(
        save(tmp_path / "plain.pt", translation), tmp_path / "plain"
    ).weights()
    path = save(tmp_path / "model.pt", translation)
    content = torch.load(path, weights_only=False)
    content["model"] = {
        f"model.{name}": tensor for name, tensor in content["model"].items()
    }
    torch.save(content, path)
    again = imported(path, tmp_path / "run").weights()
    assert all(torch.equal(again[name], tensor) for name, tensor in plain.items())


Stacks = dict[str, dict[str, Tensor]]
DENOISING = {
    "arch": "denoising_large",
    "task": "denoising",
    "source_lang": None,
    "target_lang": None,
}
MBART = {
    "arch": "mbart_large",
    "task": "translation_from_pretrained_bart",
    "langs": "ro,de,en",
}


@pytest.mark.parametrize(
    ("options", "flags", "source", "start", "mask"),
    [
        (DENOISING, {}, [0, 4, 2], [2, 0], True),
        ({"arch": "bart_large", "task": "translation"}, {}, [4, 2], [2], False),
        (
            {"arch": "bart_large", "task": "translation"},
            {"bos": True},
            [0, 4, 2],
            [2, 0],
            False,
        ),
        (MBART, {}, [4, 2, WORDS - 2], [WORDS - 3], True),
    ],
)
def test_bart_reads_and_writes_what_its_task_puts_around_texts(
    options: dict[str, Any],
    flags: dict[str, bool],
    source: list[int],
    start: list[int],
    mask: bool,
    translation: Stacks,
    tmp_path: Path,
) -> None:
    """Tasks of BART begin with <s>, translation does not, and mBART ends sources with a tag.

    `source` is what an encoder reads of the first word, `start` is how a decoder begins, and the last row of
    the embeddings is <mask> where `mask` says so, after the tags of mBART.
    """
    special = 4 + int(mask) + 3 * int("langs" in options)
    write_dictionary(tmp_path / "dict.txt", "w", WORDS - special)
    checkpoint = imported(
        save(tmp_path / "bart.pt", translation, **options), tmp_path / "run", **flags
    )
    tokenizer, framing = checkpoint.tokenizer(), checkpoint.framing()
    languages = tokenizer.vocab.languages or {"en": 0, "de": 0}
    first, last = (
        language if language in languages else "en" for language in ("en", "de")
    )
    assert (
        framing.encoder_input(
            torch.tensor(tokenizer.encode("w0", first)).numpy(), first
        ).tolist()
        == source
    )
    assert [framing.decoder_start(last), *framing.forced_tokens(last)] == start
    assert (tokenizer.vocab.mask == WORDS - 1) is mask
    assert not checkpoint.recipe.model.scale_embedding or "langs" in options
    assert checkpoint.recipe.model.activation == "gelu"


MULTILINGUAL = {
    "task": "translation_multi_simple_epoch",
    "langs": ["ro", "en", "de"],
    "encoder_langtok": "src",
    "decoder_langtok": True,
}
RO, EN, DE = WORDS - 3, WORDS - 2, WORDS - 1
MBART_STYLE = {"lang_tok_style": "mbart"}


@pytest.mark.parametrize(
    ("options", "added", "source", "start"),
    [
        (MULTILINGUAL, 3, [EN, 4, 2], [2, DE]),
        ({**MULTILINGUAL, "encoder_langtok": "tgt"}, 3, [DE, 4, 2], [2, DE]),
        ({**MULTILINGUAL, "decoder_langtok": False}, 3, [EN, 4, 2], [2]),
        ({**MULTILINGUAL, "encoder_langtok": None}, 3, [4, 2], [2, DE]),
        ({**MULTILINGUAL, "langtoks": {"main": ("tgt", None)}}, 3, [DE, 4, 2], [2]),
        # The mask comes behind the tags, and so do those of other kinds of data.
        ({**MULTILINGUAL, **MBART_STYLE}, 4, [EN - 1, 4, 2], [2, DE - 1]),
        (
            {**MULTILINGUAL, "langtoks_specs": ["main", "mono_dae"]},
            6,
            [EN - 3, 4, 2],
            [2, DE - 3],
        ),
        # Without a list of languages, they are those of the pairs, in alphabetical order.
        (
            {**MULTILINGUAL, "langs": None, "lang_pairs": "ro-en,en-de"},
            3,
            [WORDS - 2, 4, 2],
            [2, WORDS - 3],
        ),
        (
            {**MULTILINGUAL, "langs": None, "lang_dict": "/far/away/langs.txt"},
            3,
            [WORDS - 1, 4, 2],
            [2, WORDS - 3],
        ),
        (
            {"task": "online_backtranslation", "mono_langs": "ro,en,de"},
            4,
            [EN, 4, 2],
            [DE],
        ),
    ],
)
def test_tags_of_multilingual_tasks_are_where_fairseq_puts_them(
    options: dict[str, Any],
    added: int,
    source: list[int],
    start: list[int],
    translation: Stacks,
    tmp_path: Path,
) -> None:
    """fairseq adds `added` pieces to the dictionary, and reads and writes `source` and `start`."""
    write_dictionary(tmp_path / "dict.txt", "w", WORDS - 4 - added)
    (tmp_path / "langs.txt").write_text("de\nro\nen\n")
    checkpoint = imported(
        save(tmp_path / "model.pt", translation, **options), tmp_path / "run"
    )
    framing = checkpoint.framing()
    words = torch.tensor(checkpoint.tokenizer().encode("w0", "en")).numpy()
    assert framing.encoder_input(words, "en", "de").tolist() == source
    assert [framing.decoder_start("de"), *framing.forced_tokens("de")] == start


def test_a_dictionary_with_its_tags_needs_no_list_of_languages(
    translation: Stacks, tmp_path: Path
) -> None:
    """The order of the languages in other files does not matter either."""
    path = write_dictionary(tmp_path / "dict.txt", "w", WORDS - 7)
    with path.open("a") as file:
        file.write("__de__ 1\n__ro__ 1\n__en__ 1\n")
    options = {
        **MULTILINGUAL,
        "langs": None,
        "lang_dict": "langs.txt",
        "lang_pairs": "en-de,en-ro",
    }
    checkpoint = imported(
        save(tmp_path / "model.pt", translation, **options), tmp_path / "run"
    )
    assert checkpoint.framing().forced_tokens("de") == [WORDS - 3]
    assert checkpoint.framing().source_start("en") == WORDS - 1


def test_a_prompt_begins_as_the_task_of_a_language_model_begins_texts(
    translation: Stacks, tmp_path: Path
) -> None:
    decoder = {
        name: tensor
        for name, tensor in translation["decoder."].items()
        if "encoder_attn" not in name
    }
    for options, start in (({}, 2), ({"add_bos_token": True}, 0)):
        path = save(
            tmp_path / "lm.pt",
            {"decoder.": decoder},
            task="language_modeling",
            arch="transformer_lm",
            **options,
        )
        checkpoint = imported(path, tmp_path / f"run{start}")
        assert checkpoint.framing().decoder_start("de") == start
    path = save(
        tmp_path / "lm.pt",
        {"decoder.": decoder},
        task="multilingual_language_modeling",
        add_bos_token=True,
    )
    with pytest.raises(MasscliError, match="begins texts with language tags"):
        imported(path, tmp_path / "run")


@pytest.mark.parametrize("shared", [True, False])
def test_projections_between_embeddings_and_layers_become_parts_of_the_tables(
    shared: bool, translation: Stacks, tmp_path: Path
) -> None:
    """A small transformer_lm without --decoder-input-dim has embeddings of width 512, as fairseq's default."""
    narrow, output = torch.randn(WORDS, 16), torch.randn(WORDS, 16)
    if shared:
        output = narrow
    project_in, project_out = torch.randn(DIM, 16), torch.randn(16, DIM)
    decoder = {
        name: tensor
        for name, tensor in translation["decoder."].items()
        if "encoder_attn" not in name
    }
    decoder |= {
        "embed_tokens.weight": narrow,
        "project_in_dim.weight": project_in,
        "project_out_dim.weight": project_out,
    }
    if not shared:
        decoder["output_projection.weight"] = output
    path = save(
        tmp_path / "lm.pt",
        {"decoder.": decoder},
        task="language_modeling",
        arch="transformer_lm",
    )
    weights = imported(path, tmp_path / "run").weights()
    embedding = weights["token_embeddings.shared"][:WORDS]
    logits = weights["output_weights.shared"][:WORDS]
    x = torch.randn(DIM)
    for word in range(WORDS):
        assert torch.allclose(embedding[word], project_in @ narrow[word], atol=1e-5)
        expected = output[word] @ (project_out @ x)
        assert torch.isclose(logits[word] @ x, expected, atol=1e-4)


def test_one_direction_of_a_multilingual_transformer_is_chosen(
    translation: Stacks, tmp_path: Path
) -> None:
    others = {
        f"models.de-en.{prefix}": {
            name: tensor + 1 for name, tensor in part.items() if name != "version"
        }
        for prefix, part in translation.items()
    }
    chosen = {f"models.en-de.{prefix}": part for prefix, part in translation.items()}
    path = save(
        tmp_path / "models.pt", chosen | others, task="multilingual_translation"
    )
    _, notes = import_file(ImportRequest(path), None, tmp_path / "run")
    assert "left behind: models.de-en" in notes
    found = Checkpoint.open(tmp_path / "run").weights()
    plain = imported(save(tmp_path / "plain.pt", translation), tmp_path / "plain")
    assert all(torch.equal(found[n], tensor) for n, tensor in plain.weights().items())
    with pytest.raises(MasscliError, match="has models of de-en, en-de"):
        imported(path, tmp_path / "other", target="ro")


def test_settings_that_are_not_imported_are_reported(
    translation: Stacks, tmp_path: Path
) -> None:
    path = save(
        tmp_path / "model.pt",
        translation,
        encoder_layerdrop=0.2,
        quant_noise_scalar=0.5,
        task="my_own",
    )
    content = torch.load(path, weights_only=False)
    content["extra_state"] = {"ema": dict(content["model"])}
    content["model"]["classification_heads.mnli.dense.bias"] = torch.zeros(3)
    torch.save(content, path)
    _, notes = import_file(ImportRequest(path), None, tmp_path / "run")
    for part in (
        "layer drop (--encoder-layerdrop 0.2)",
        "fairseq computes with weights that are rounded to 8 bits (--quant-noise-scalar 0.5)",
        "left behind: the average of the weights",
        "the head of its task is not imported: the file does not name its labels",
        "left behind: classification_heads.mnli.dense.bias",
        "the task my_own is not one of fairseq",
    ):
        assert any(note.startswith(part) for note in notes)


@pytest.mark.parametrize(
    "name", ["decoder.layers.0.weight_ih", "decoder.convolutions.0.bias"]
)
def test_other_models_than_transformers_are_refused_by_their_architecture(
    name: str, tmp_path: Path
) -> None:
    options = argparse.Namespace(arch="lstm", adaptive_softmax_cutoff="10,20")
    path = tmp_path / "model.pt"
    torch.save({"args": options, "model": {name: torch.zeros(3)}}, path)
    with pytest.raises(MasscliError, match=r"no decoder of .* \(architecture: lstm\)"):
        imported(path, tmp_path / "run")


def test_unused_tensors_cause_an_error_that_names_the_architecture(
    translation: Stacks, tmp_path: Path
) -> None:
    """A non-autoregressive model has all tensors of a transformer, and further ones."""
    translation["decoder."]["embed_length.weight"] = torch.zeros(256, DIM)
    path = save(tmp_path / "model.pt", translation, arch="cmlm_transformer")
    with pytest.raises(MasscliError, match=r"no place .*\(architecture: cmlm_trans"):
        imported(path, tmp_path / "run")


def test_a_shard_of_weights_is_recognized(tmp_path: Path) -> None:
    content = {
        "args": argparse.Namespace(arch="transformer"),
        "model": {"encoder.flat_param_0": torch.zeros(30)},
    }
    path = tmp_path / "checkpoint_last-shard0.pt"
    torch.save(content, path)
    with pytest.raises(MasscliError, match="a part of each weight"):
        imported(path, tmp_path / "run")


@pytest.mark.parametrize("where", ["args", "cfg"])
def test_a_part_of_a_model_that_processes_share_is_recognized(
    where: str, translation: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    path = save(tmp_path / "checkpoint_last-model_part-0.pt", translation)
    content = torch.load(path, weights_only=False)
    options = {**vars(content["args"]), "model_parallel_size": 1}
    for size, message in ((1, None), (2, "one of 2 parts .*--model-parallel-size 2")):
        options["model_parallel_size"] = size
        content |= {"args": argparse.Namespace(**options), "cfg": None}
        if where == "cfg":
            of_model = {k: v for k, v in options.items() if "parallel" not in k}
            common = {"model_parallel_size": size}
            content |= {"args": None, "cfg": {"model": of_model, "common": common}}
        torch.save(content, path)
        if message is None:
            imported(path, tmp_path / f"run{size}")
            continue
        with pytest.raises(MasscliError, match=message):
            imported(path, tmp_path / f"run{size}")


def test_an_old_bert_of_fairseq_is_not_taken_for_roberta(tmp_path: Path) -> None:
    state = stack_state(torch.randn(WORDS, DIM), 1, False, 20, True)
    names = {"encoder.lm_head_transform_weight.weight": torch.zeros(DIM, DIM)}
    content = {
        "args": argparse.Namespace(arch="bert_base", encoder_attention_heads=HEADS),
        "model": prefixed("encoder.sentence_encoder.", state) | names,
    }
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(MasscliError, match=r"no LM head .*\(architecture: bert_base"):
        imported(tmp_path / "model.pt", tmp_path / "run")


def test_models_whose_tags_are_not_known_are_refused(
    translation: Stacks, tmp_path: Path
) -> None:
    write_dictionary(tmp_path / "dict.txt", "w", WORDS - 8)
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        (
            {"task": "multilingual_translation", "decoder_langtok": True},
            {},
            r"instead of </s> \(--decoder-langtok\)",
        ),
        (
            {**MULTILINGUAL, "lang_tok_replacing_bos_eos": True},
            {},
            "--lang-tok-replacing-bos-eos",
        ),
        ({**MULTILINGUAL, "langtoks": {"main": ("src.dae", "tgt")}}, {}, "--langtoks"),
        (
            {
                **MULTILINGUAL,
                "langs": None,
                "lang_dict": "/far/away/langs.txt",
                "lang_pairs": "en-de",
            },
            {},
            "langs.txt: cannot be read, but has the languages",
        ),
        (MULTILINGUAL, {"target": "fr"}, "fr is not one of its languages, ro, en, de"),
        ({**MBART, "langs": "ro,en"}, {}, "de is not one of its languages, ro, en"),
        ({**MBART, "prepend_bos": True}, {}, "begins texts with <s>"),
        (MBART, {"bos": True}, "begins texts with <s>"),
        ({}, {"bos": True}, "--bos: is only for fairseq's BART"),
    ]
    for options, flags, reason in cases:
        with pytest.raises(MasscliError, match=reason):
            imported(
                save(tmp_path / "model.pt", translation, **options),
                tmp_path / "run",
                **flags,
            )


def test_options_that_do_not_fit_the_model_are_refused(
    translation: dict[str, dict[str, Tensor]], tmp_path: Path
) -> None:
    path = save(tmp_path / "model.pt", translation)
    file = tmp_path / "dict.txt"
    for options, reason in (
        ({"spm_model": file, "bpe_codes": file}, "only one of them"),
        ({"encoder_json": file}, "belong together"),
        ({"vocab_file": file}, "--vocab-file: .* does not apply"),
        ({"spm_model": file}, "is not a SentencePiece model"),
    ):
        with pytest.raises(MasscliError, match=reason):
            imported(path, tmp_path / "run", **options)


@pytest.mark.parametrize(
    "place", ["decoder.sentence_encoder.", "encoder.sentence_encoder."]
)
def test_roberta_in_old_and_new_places(place: str, tmp_path: Path) -> None:
    """Old files have it under `decoder`, with fused projections and other names of norms."""
    torch.manual_seed(1)
    table = torch.randn(WORDS, DIM)
    state = stack_state(table, 2, False, 52, False)
    del state["version"]
    head = {
        "dense.weight": torch.randn(DIM, DIM),
        "dense.bias": torch.randn(DIM),
        "layer_norm.weight": torch.randn(DIM),
        "layer_norm.bias": torch.randn(DIM),
        "weight": table,
        "bias": torch.randn(WORDS),
    }
    stack = place.partition(".")[0]
    weights = prefixed(place, state) | prefixed(f"{stack}.lm_head.", head)
    # The option has meant a norm after the embeddings.
    options = argparse.Namespace(
        arch="roberta_base",
        encoder_attention_heads=HEADS,
        encoder_normalize_before=True,
    )
    torch.save({"args": options, "model": weights}, tmp_path / "model.pt")
    write_dictionary(tmp_path / "dict.txt", "w", WORDS - 5)
    checkpoint = imported(tmp_path / "model.pt", tmp_path / "run", source="en")
    vocab = checkpoint.tokenizer().vocab
    assert vocab.mask == WORDS - 1
    ids = (
        checkpoint.framing()
        .encoder_input(torch.tensor([6, 9, 20]).numpy(), "en")
        .tolist()
    )
    assert ids == [0, 6, 9, 20, 2]
    slow = SlowFairseq(
        {**state, "embed_tokens.weight": table / DIM**0.5}, False, True, 1
    )
    hidden = slow(ids)
    model = checkpoint.model()
    states = model.encode(tokens(ids)).hidden
    assert float((states[0] - hidden).abs().max()) < LIMIT
    # It goes on to Hugging Face's RoBERTa, whose vector for all tokens is 0, and comes back.
    export_checkpoint(tmp_path / "run", tmp_path / "theirs", None)
    exported = load_file(tmp_path / "theirs" / "model.safetensors")
    assert not exported["roberta.embeddings.token_type_embeddings.weight"].any()
    again, _ = import_folder(
        tmp_path / "theirs", tmp_path / "again", ("en",), allow_pickle=False
    )
    actual = Checkpoint.open(again).model().encode(tokens(ids)).hidden
    assert torch.equal(actual, states)
    dense = F.gelu(F.linear(hidden, head["dense.weight"], head["dense.bias"]))
    normed = F.layer_norm(
        dense, (DIM,), head["layer_norm.weight"], head["layer_norm.bias"]
    )
    expected = F.linear(normed, table, head["bias"])
    assert (
        float((model.logits(states, "encoder")[0, :, :WORDS] - expected).abs().max())
        < LIMIT * 10
    )

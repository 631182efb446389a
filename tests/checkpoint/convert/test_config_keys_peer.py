"""Each key of config.json with another value: an imported model computes what theirs does, or an error names the key.

Run alone:  pip install transformers && pytest tests/checkpoint/convert/test_config_keys_peer.py
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masscli.api.model import load
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.import_ import import_folder
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Tokens
from tests.published_seq2seq import LINES, write_json

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers: Any = pytest.importorskip(
        "transformers", reason="transformers is not installed"
    )

from tests.checkpoint.convert import test_huggingface_families_peer as stacks
from tests.checkpoint.convert import test_seq2seq_import_peer as translators
from tests.checkpoint.convert.test_xlm_folder_peer import write_vocabulary

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("no_sync"),
]

WITHOUT_NUMBERS = {"_name_or_path", "architectures", "dtype", "id2label", "label2id", "model_type", "transformers_version",
                   "return_dict", "langs", "vocab_size", "src_vocab_size", "tgt_vocab_size", "decoder_vocab_size", "share_encoder_decoder_embeddings",
                   "initializer_range", "init_std", "embed_init_std"}  # fmt: skip
"""Keys that describe the file, the vocabulary, what their library returns, or random weights."""
MORE = {"is_causal": (True, False), "layer_norm_eps": (0.1,), "position_embedding_type": ("relative_key",)}  # fmt: skip
"""Keys that not every class declares, with the values to try."""
TOLERANCE = 2e-5


def other_values(value: Any) -> tuple[Any, ...]:
    """Return legal values of a key that has `value` by default."""
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (2 * value or 3, 1)
    if isinstance(value, float):
        return (0.5,)
    if isinstance(value, str):
        return ("silu", "gelu_new", "tanh")
    return (7, True) if value is None else ()


def cases(config: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return each key with each value to try, where `config` has the defaults."""
    tried = {key: other_values(value) for key, value in config.items()}
    return [
        (key, value)
        for key, values in {**MORE, **tried}.items()
        if key not in WITHOUT_NUMBERS
        for value in values
    ]


def sweep(
    config: dict[str, Any],
    folder: Path,
    languages: tuple[str, ...],
    build: Callable[[dict[str, Any]], Any],
    difference: Callable[[Any, Path], float],
) -> None:
    """Check all `cases` of a `config`; at least ten compute the same, and none differs without a word.

    `build` writes a model with one changed key into `folder` and returns it as their library has it, and
    `difference` compares it with the imported run. What their library cannot build or run is left out.
    """
    run, equal, wrong = folder.with_name("run"), 0, []
    for key, value in cases(config):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)
        case = f"{key}={value!r}"
        try:
            peer = build({key: value})
        except Exception:
            continue
        try:
            import_folder(folder, run, languages, allow_pickle=False)
        except MasscliError as error:
            text = f"{error.message} {error.hint}"
            if key not in text or "\n" in text:
                wrong.append(f"{case}: {text}")
            continue
        try:
            found = difference(peer, run)
        except (IndexError, RuntimeError, TypeError, ValueError) as error:
            # Their library runs no text with this value.
            assert "masscli" not in str(error.__traceback__), case
            continue
        if found > TOLERANCE:
            wrong.append(f"{case}: {found}")
        equal += found <= TOLERANCE
    assert not wrong
    assert equal >= 10


def perturb(peer: Any, kept: str = "") -> None:
    with torch.no_grad():
        for name, parameter in peer.named_parameters():
            if not kept or kept not in name:
                parameter.add_(0.05 * torch.randn_like(parameter))


@torch.no_grad()
def stack_difference(peer: Any, run: Path) -> float:
    """Return the largest difference of states and logits on padded texts."""
    model = Checkpoint.open(run).model()
    length = min(model.config.max_positions, 20)
    lengths = torch.tensor([length, max(1, length // 2)])
    size = peer.get_input_embeddings().num_embeddings
    ids = torch.randint(
        6, size, (2, length), generator=torch.Generator().manual_seed(5)
    )
    keep = torch.arange(length) < lengths[:, None]
    pad = peer.config.pad_token_id or 0
    inputs = {"input_ids": torch.where(keep, ids, pad), "attention_mask": keep.long()}
    segments = None
    if model.config.segments == 2:
        segments = (torch.arange(length) > lengths[:, None] // 2).long()
        inputs["token_type_ids"] = segments
    theirs = peer(**inputs, output_hidden_states=True)
    hidden = model.read(Tokens(ids, lengths, segments=segments))
    worst = float((hidden - theirs.hidden_states[-1])[keep].abs().max())
    logits = model.logits(hidden)[..., :size] - theirs.logits
    return max(worst, float(logits[keep].abs().max()))


STACKS = [case for case in stacks.FAMILIES if "PreTraining" not in case[0]]


@pytest.mark.parametrize(("kind", "base", "write", "_"), STACKS, ids=[case[0] for case in STACKS])  # fmt: skip
def test_keys_of_single_stacks(
    kind: str,
    base: dict[str, Any],
    write: Callable[[Path], int],
    _: Any,
    tmp_path: Path,
) -> None:
    size, folder = write(tmp_path / "vocabulary"), tmp_path / "theirs"
    peer_class = getattr(transformers, kind)

    def build(changes: dict[str, Any]) -> Any:
        shutil.copytree(tmp_path / "vocabulary", folder)
        torch.manual_seed(3)
        settings = {"vocab_size": size, **base, **changes}
        peer = peer_class(peer_class.config_class(**settings)).eval()
        perturb(peer)
        with torch.no_grad():
            stacks._merge_biases(peer)
        peer.save_pretrained(folder)
        return peer_class.from_pretrained(folder).eval()

    defaults = peer_class.config_class(**base).to_dict()
    sweep(defaults, folder, ("en",), build, stack_difference)


GENERAL_NAMES = {
    "DistilBertForMaskedLM": {"dim": "hidden_size", "n_heads": "num_attention_heads", "n_layers": "num_hidden_layers"},
    "GPT2LMHeadModel": {"n_embd": "hidden_size", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers", "n_positions": "max_position_embeddings"},
}  # fmt: skip


@pytest.mark.parametrize("kind", GENERAL_NAMES)
def test_general_names_of_keys_are_read_in_families_with_other_names(
    kind: str, tmp_path: Path
) -> None:
    [(_, base, write, _)] = [case for case in STACKS if case[0] == kind]
    folder, peer_class = tmp_path / "theirs", getattr(transformers, kind)
    config = peer_class.config_class(vocab_size=write(folder), **base)
    torch.manual_seed(3)
    peer_class(config).save_pretrained(folder)
    path = folder / "config.json"
    names = GENERAL_NAMES[kind]
    content = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {names.get(key, key): value for key, value in content.items()})
    peer = peer_class.from_pretrained(folder).eval()
    import_folder(folder, tmp_path / "run", ("en",), allow_pickle=False)
    assert stack_difference(peer, tmp_path / "run") < TOLERANCE


def test_keys_of_xlm(tmp_path: Path) -> None:
    size, folder = write_vocabulary(tmp_path / "vocabulary"), tmp_path / "theirs"
    base = {"vocab_size": size, "emb_dim": 24, "n_layers": 2, "n_heads": 3, "pad_token_id": 2,
            "n_langs": 2, "lang2id": {"de": 0, "en": 1}}  # fmt: skip

    def build(changes: dict[str, Any]) -> Any:
        shutil.copytree(tmp_path / "vocabulary", folder)
        torch.manual_seed(3)
        config = transformers.XLMConfig(**{**base, **changes})
        peer = transformers.XLMWithLMHeadModel(config).eval()
        perturb(peer, "position" if config.sinusoidal_embeddings else "")
        peer.save_pretrained(folder)
        return type(peer).from_pretrained(folder).eval()

    @torch.no_grad()
    def difference(peer: Any, path: Path) -> float:
        run = Checkpoint.open(path)
        ids = torch.tensor([[0, 20, 30, 40, 1], [0, 50, 1, 2, 2]])
        lengths, languages, ours = torch.tensor([5, 3]), {}, None
        if run.state.languages:
            languages["langs"] = torch.ones_like(ids)
            ours = torch.full((2,), run.state.languages.index("en"))
        states = peer.transformer(ids, lengths=lengths, **languages).last_hidden_state
        found = run.model().encode(Tokens(ids, lengths, language=ours)).hidden
        logits = run.model().logits(found, "encoder")[..., :size]
        logits = logits - peer.pred_layer.proj(states)
        keep = torch.arange(5) < lengths[:, None]
        return float(max((found - states)[keep].abs().max(), logits[keep].abs().max()))

    defaults = transformers.XLMConfig(**base).to_dict()
    sweep(defaults, folder, ("en",), build, difference)


def text_difference(name: str) -> Callable[[Any, Path], float]:
    """Return a function that compares logits, and greedy search where it ends; other texts are infinitely far."""

    def difference(peer: Any, path: Path) -> float:
        run = Checkpoint.open(path)
        worst = translators.logits_distance(peer, run, name)
        source, target = (languages := translators.FAMILIES[name][3])[0], languages[-1]
        model = load(path, precision="fp32").text_model(source=source, target=target)
        decoder = model.decoder(
            model.search_config({"max_len_a": "0", "max_len_b": "9"})
        )
        source_rows, target_rows = translators.rows_of(run, source, target)
        framing, vocab = run.framing(), run.tokenizer().vocab
        forced = framing.forced_tokens(target)
        never = vocab.special_ids - {vocab.eos, vocab.unk, *forced}
        options = {"max_length": 11 + len(forced), "suppress_tokens": [row for row, n in enumerate(target_rows) if n in never]}  # fmt: skip
        # The tag of the target is given with a text.
        settings = run.recipe.model
        if settings.languages == "tag" and settings.target_tag == "forced":
            options["forced_bos_token_id"] = target_rows.index(forced[-1])
        for line in LINES[:3]:
            words = np.array(run.tokenizer().encode(line, source), np.int64)
            ids = framing.encoder_input(words, source, target).tolist()
            row = torch.tensor([[source_rows.index(number) for number in ids]])
            theirs = [target_rows[n] for n in peer.generate(row, **options)[0].tolist()]
            [[ours, *_]] = decoder.generate([words], source, target)
            expected = [framing.decoder_start(target), *forced, *ours.ids]
            # A tag within a text is never generated here.
            if not set(theirs[1 + len(forced) :]) & set(forced):
                worst = worst if theirs[: len(expected)] == expected else float("inf")
        return worst

    return difference


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("pegasus", "mbart50", "nllb", "fsmt", "marian-two")]  # fmt: skip


@pytest.mark.parametrize("name", ["bart", "marian", "m2m100", *SLOW])
def test_keys_of_translators(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"

    def build(changes: dict[str, Any]) -> Any:
        # Its class names a search with beam 5, where lengths end otherwise.
        greedy = {"num_beams": 1} if name == "fsmt" else {}
        peer = translators.make_peer(name, folder, {**greedy, **changes})
        with torch.no_grad():
            if hasattr(peer, "final_logits_bias"):
                peer.final_logits_bias[0, peer.config.eos_token_id] += 1.5
        # As in the settings of all published models of BART.
        if name == "bart":
            peer.generation_config.forced_bos_token_id = 0
        peer.save_pretrained(folder)
        return type(peer).from_pretrained(folder).eval()

    defaults = translators.make_peer(name, folder, {}).config.to_dict()
    # Its class reads any number of positions, and generates something else without a cache.
    if name == "fsmt":
        del defaults["max_position_embeddings"], defaults["use_cache"]
    sweep(defaults, folder, translators.FAMILIES[name][3], build, text_difference(name))

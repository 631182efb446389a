"""Beginning with parts of other runs, and with word vectors; and drawings of tables."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from masscli.__main__ import run as masscli
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.text.tokenizer import Tokenizer
from masscli.training.events import Evaluated
from masscli.training.setup.build import build
from tests.commands import succeed
from tests.toy import composed, recipe
from tests.training.test_trainer import train

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

PAIRS = {"pairs": {"dataset": "en-de", "objective": {"name": "translate"}}}
ONE = "train.max_update=1"


@pytest.fixture(scope="module")
def runs(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pre-trained runs: MASS, a masked and a causal language model."""
    folder = tmp_path_factory.mktemp("runs")
    for name, layers in (
        ("mass", ()),
        ("mlm", ("model.decoder_layers=0",)),
        ("clm", ("model.encoder_layers=0",)),
    ):
        streams = {"text": {"dataset": "en", "objective": {"name": name}}}
        train(
            recipe(
                toy,
                folder / name,
                ONE,
                f"seed={len(name) + len(layers)}",
                *layers,
                streams=streams,
            )
        )
    return folder


def taken(
    toy: Path, tmp_path: Path, *changes: str
) -> tuple[dict[str, torch.Tensor], list[str]]:
    trainer, notes = build(recipe(toy, tmp_path / "new", *changes, streams=PAIRS))
    return dict(trainer.model.state_dict()), notes


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_one_stack_and_the_token_embeddings_are_copied(
    stack: str, runs: Path, toy: Path, tmp_path: Path
) -> None:
    ours, notes = taken(
        toy, tmp_path, f"init_from={runs / 'mass'}", f"init_stacks={stack}", "seed=9"
    )
    theirs = Checkpoint.open(runs / "mass").weights()
    for name, tensor in ours.items():
        learned = (
            tensor.numel() > 1
            and float(tensor.float().std()) > 0
            and not name.endswith("bias")
            and "norm" not in name
        )
        if learned:
            other = {"encoder": "decoder", "decoder": "encoder"}[stack]
            assert torch.equal(tensor, theirs[name]) == (
                other not in name.split(".")[:2]
            ), name
    assert any(note.startswith("left behind: ") for note in notes)
    [new] = [note for note in notes if note.startswith("new, drawn at random: ")]
    assert (
        "decoder (" if stack == "encoder" else "encoder ("
    ) in new and f"{stack} (" not in new  # what did not come is named, too


def test_additional_positions_repeat_the_learned_ones(
    toy: Path, tmp_path: Path
) -> None:
    learned = ("model.positions=learned", "model.max_positions=20")
    train(recipe(toy, tmp_path / "old", ONE, *learned, streams=PAIRS))
    args = (
        f"finetune {toy} --task translate -s en -t de "
        f"--init-from {tmp_path}/old --max-update 1"
    ).split()
    succeed(
        [
            *args,
            *(
                "--max-positions 50 --max-source-positions 49 "
                f"--save-dir {tmp_path}/new"
            ).split(),
        ]
    )
    fewer = [*args, "--max-positions", "10", "--save-dir", str(tmp_path / "fewer")]
    assert masscli(fewer) == 2
    theirs = Checkpoint.open(tmp_path / "old").weights()
    ours, notes = taken(
        toy,
        tmp_path / "again",
        f"init_from={tmp_path / 'old'}",
        "model.positions=learned",
        "model.max_positions=50",
    )
    for stack in ("encoder", "decoder"):
        name = f"embeddings.{stack}.positions.weight"
        assert torch.equal(
            ours[name], torch.cat([theirs[name], theirs[name], theirs[name][:10]])
        )
    assert "positions 20 to 49 are those from 0 on again" in notes
    assert Checkpoint.open(tmp_path / "new").recipe.model.max_positions == 50


def test_bert_and_a_language_model_make_an_encoder_and_a_decoder(
    runs: Path, toy: Path, tmp_path: Path
) -> None:
    ours, _ = taken(
        toy,
        tmp_path,
        f"init_from={runs / 'mlm'}",
        f"init_decoder_from={runs / 'clm'}",
        "model.decoder_layers=1",
    )
    encoder, decoder = (
        Checkpoint.open(runs / name).weights() for name in ("mlm", "clm")
    )
    assert torch.equal(
        ours["token_embeddings.shared"], encoder["token_embeddings.shared"]
    )
    assert all(
        torch.equal(ours[name], tensor)
        for name, tensor in encoder.items()
        if name.startswith("encoder.")
    )
    assert all(
        torch.equal(ours[name], tensor)
        for name, tensor in decoder.items()
        if name.startswith(("decoder.", "embeddings.decoder"))
    )


def test_a_stack_that_the_run_lacks_is_refused(
    runs: Path, toy: Path, tmp_path: Path
) -> None:
    with pytest.raises(MasscliError) as error:
        taken(toy, tmp_path, f"init_from={runs / 'clm'}", "init_stacks=encoder")
    assert error.value.message.endswith(": has no encoder")


def test_a_masked_language_model_on_both_sides(
    runs: Path, toy: Path, tmp_path: Path
) -> None:
    """XLM initializes the decoder with the encoder, except for cross-attention."""
    both = (
        f"init_from={runs / 'mlm'}",
        f"init_decoder_from={runs / 'mlm'}",
        "model.decoder_layers=1",
    )
    ours, notes = taken(toy, tmp_path, *both)
    theirs = Checkpoint.open(runs / "mlm").weights()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
        if "encoder" in name.split(".")[:2]:
            assert torch.equal(ours[name.replace("encoder", "decoder", 1)], tensor), (
                name
            )
    [new] = [note for note in notes if note.startswith("new, drawn at random: ")]
    crossing = [
        name
        for name in ours
        if name.startswith("decoder.")
        and name.replace("decoder", "encoder", 1) not in theirs
    ]
    assert new == f"new, drawn at random: decoder ({len(crossing)})" and all(
        "cross" in name for name in crossing
    )
    assert any(note.endswith(", of its encoder: it has no decoder") for note in notes)


def test_a_model_initialized_from_a_whole_run_has_its_loss(
    runs: Path, toy: Path, tmp_path: Path
) -> None:
    """The first validation gives the loss of the last validation of the initial run."""
    still = "optim.lr=1e-30", "optim.warmup_init_lr=0", "model.decoder_layers=0"
    streams = {"text": {"dataset": "en", "objective": {"name": "mlm"}}}
    events = train(
        recipe(
            toy,
            tmp_path,
            f"init_from={runs / 'mlm'}",
            "seed=9",
            ONE,
            *still,
            streams=streams,
        )
    )
    measured = next(e.metrics for e in events if isinstance(e, Evaluated))
    assert measured == pytest.approx(Checkpoint.open(runs / "mlm").metrics, rel=1e-6)


def test_fairseqs_flag_for_initial_weights_starts_at_update_0(
    runs: Path, toy: Path, tmp_path: Path
) -> None:
    options = f"{toy} --save-dir {tmp_path} --objective mass --langs en"
    trainer, notes = build(
        composed(*options.split(" "), "--finetune-from-model", str(runs / "mass"))
    )
    weights = Checkpoint.open(runs / "mass").weights()
    assert trainer.state.step == 0
    assert all(
        torch.equal(trainer.model.state_dict()[name], weights[name]) for name in weights
    )
    assert any(str(runs / "mass") in note for note in notes)


def test_a_head_that_the_checkpoint_lacks_is_named_once(
    runs: Path, toy: Path, tmp_path: Path
) -> None:
    """BERT's next-sentence head and a pooler are missing; everything else comes from the masked language model."""
    streams = {
        "pairs": {
            "dataset": "en",
            "objective": {"name": "bert", "tokens_per_sample": 24},
        }
    }
    _, notes = build(
        recipe(
            toy,
            tmp_path,
            f"init_from={runs / 'mlm'}",
            "model.decoder_layers=0",
            "model.pooler=true",
            streams=streams,
        )
    )
    assert [note for note in notes if "drawn at random" in note] == [
        "new, drawn at random: pooler (2), heads (2)"
    ]
    assert not [note for note in notes if note.startswith("left behind")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["init_stacks=encoder"], "init_stacks: goes with --init-from"),
        (["init_decoder_from=x"], "init_decoder_from: goes with --init-from"),
        (["init_new=mean"], "init_new: goes with --init-from"),
        (
            ["init_from=x", "init_stacks=encoder", "init_decoder_from=y"],
            "init_stacks: cannot be combined with --init-decoder-from",
        ),
        (["init_vectors=de"], "init_vectors: expected LANG=FILE"),
    ],
)
def test_contradictory_parts_are_refused(
    changes: list[str], message: str, toy: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        recipe(toy, tmp_path, *changes)
    assert error.value.message == message


def test_word_vectors_become_token_embeddings(toy: Path, tmp_path: Path) -> None:
    data = DataFolder.open(toy)
    tokenizer = data.tokenizer()
    ids = data.monolingual("train", "de")[0].tolist()
    pieces = zip(ids, tokenizer.ids_to_pieces(ids), strict=True)
    whole, word = next(
        (i, piece[1:])
        for i, piece in pieces
        if piece.startswith("▁") and len(piece) > 2
    )
    path = tmp_path / "de.vec"
    path.write_text(
        f"2 16\nnosuchword {' '.join(['9'] * 16)}\n{word} {' '.join(map(str, range(16)))}\n",
        encoding="utf-8",
    )
    before, _ = taken(toy, tmp_path / "a")
    after, notes = taken(toy, tmp_path / "b", f"init_vectors=de={path}")
    table, old = after["token_embeddings.shared"], before["token_embeddings.shared"]
    assert torch.nonzero((table != old).any(1)).flatten().tolist() == [whole]
    assert torch.allclose(
        table[whole] / table[whole].norm(),
        torch.arange(16.0) / torch.arange(16.0).norm(),
    )
    assert table[whole].norm() == pytest.approx(float(old[whole].norm()), rel=1e-5)
    assert notes[0].startswith(f"{path}: vectors for 1 of ")


def test_word_vectors_have_the_width_of_narrow_embeddings(
    toy: Path, tmp_path: Path
) -> None:
    data = DataFolder.open(toy)
    ids = data.monolingual("train", "de")[0].tolist()
    pieces = data.tokenizer().ids_to_pieces(ids)
    word = next(piece[1:] for piece in pieces if len(piece) > 2 and piece[0] == "▁")
    path = tmp_path / "de.vec"
    path.write_text(f"{word} {' '.join(['1'] * 8)}\n", encoding="utf-8")
    narrow = ("model.embedding_dim=8", "model.head_transform=true")
    _, notes = taken(toy, tmp_path / "run", f"init_vectors=de={path}", *narrow)
    assert notes[0].startswith(f"{path}: vectors for 1 of ")


def test_word_vectors_of_words_with_spaces_are_passed_over(
    toy: Path, tmp_path: Path
) -> None:
    """The published vectors of GloVe have a few such lines, which must not make the others useless."""
    data = DataFolder.open(toy)
    ids = data.monolingual("train", "de")[0].tolist()
    pieces = data.tokenizer().ids_to_pieces(ids)
    word = next(piece[1:] for piece in pieces if len(piece) > 2 and piece[0] == "▁")
    path, vector = tmp_path / "de.vec", " ".join(["1"] * 16)
    path.write_text(
        f"qqq {vector}\n. . . {vector}\n{word} {word} {vector}\n{word} {vector}\n",
        encoding="utf-8",
    )
    _, notes = taken(toy, tmp_path / "run", f"init_vectors=de={path}")
    assert notes[0].startswith(f"{path}: vectors for 1 of ")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            f"qqq {' '.join(['1'] * 20)}\nqqqq {' '.join(['1'] * 20)}\n",
            "{path}:1: a vector of 20 numbers, the embeddings have a width of 16",
        ),
        (
            f"qqq {' '.join(['1'] * 16)}\nqqqq {' '.join(['1'] * 20)}\n",
            "{path}:2: a vector of 20 numbers, the embeddings have a width of 16",
        ),
        (
            f"qqq {' '.join(['1'] * 16)}\nqqqq {'  '.join(['1'] * 16)}\n",
            "{path}:2: a vector of 31 numbers, the embeddings have a width of 16",
        ),
        (
            f"qqq {' '.join(['1'] * 16)}\nqqqq 1 2\n",
            "{path}:2: a vector of 2 numbers, the embeddings have a width of 16",
        ),
        (
            "dog 1 2 3\n",
            "{path}:1: a vector of 3 numbers, the embeddings have a width of 16",
        ),
        (
            f"{{word}} {' '.join(['nan'] * 16)}\n",
            "{path}:1: '{word}' has a number that is not finite",
        ),
        (
            f"{{word}} {' '.join(['0'] * 16)}\n",
            "--init-vectors en={path}: all its vectors are zero",
        ),
        (
            f"qqq {' '.join(['1'] * 16)}\n",
            "--init-vectors en={path}: knows none of the ",
        ),
    ],
)
def test_word_vectors_that_do_not_fit_are_refused(
    lines: str, message: str, toy: Path, tmp_path: Path
) -> None:
    data, path = DataFolder.open(toy), tmp_path / "x.vec"
    word = next(
        piece[1:]
        for piece in data.tokenizer().ids_to_pieces(
            data.monolingual("train", "en")[0].tolist()
        )
        if len(piece) > 2
    )
    path.write_text(lines.format(word=word), encoding="utf-8")
    with pytest.raises(MasscliError) as error:
        taken(toy, tmp_path, f"init_vectors=en={path}")
    assert error.value.message.startswith(message.format(path=path, word=word))


def test_an_adopted_vocabulary_of_ours_fits_the_weights_made_with_it(
    toy: Path, tmp_path: Path
) -> None:
    from masscli.text.preprocessing import TextPreprocessing

    made = Tokenizer.from_model_file(
        toy / "vocab.model",
        preprocessing=TextPreprocessing(),
        languages=("en", "de"),
        folder=tmp_path,
    )
    assert made.vocab == DataFolder.open(toy).vocab

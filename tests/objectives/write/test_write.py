"""Writing from tables, with a decoder or with an encoder alone, and for one task of several."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.text.tokenizer import Tokenizer
from masscli.training import validation_tasks
from masscli.training.setup.build import build
from tests.commands import run_command, succeed
from tests.toy_tasks import ENCODER, ONE_LAYER, REST, TINY, WORDS, finetune, save

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")
HEADLINES = "--task summarize --table heads --max-source 40 --max-target 20".split()
TALK = (
    "--task respond --table dialogues --turns 2 --max-source 50 --max-target 60".split()
)
EXACT = ["--precision", "fp32"]


@pytest.fixture(scope="module")
def encoder(labeled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder alone, pre-trained for an update by UniLM."""
    place = tmp_path_factory.mktemp("unilm") / "run"
    command = (
        f"pretrain {labeled}/data --objective unilm "
        "--tokens-per-sample 24 --segments 2 --max-update 1"
    ).split()
    succeed([*command, "--save-dir", str(place), *ENCODER])
    return place


@pytest.mark.parametrize("task", [HEADLINES, TALK], ids=["summarize", "respond"])
def test_the_use_of_the_source_is_measured(
    task: list[str], labeled: Path, tmp_path: Path
) -> None:
    """A decoder that is trained for an update hardly reads, but another text changes its loss."""
    asked = ["--eval-source-use", "--max-valid-rows", "8"]
    (measured,) = finetune(labeled, tmp_path / "run", *task, *asked, *TINY, updates=1)
    (use,) = [value for name, value in measured.items() if "source_use." in name]
    assert 0 < abs(use) < 1


@pytest.mark.parametrize("task", [HEADLINES, TALK], ids=["summarize", "respond"])
def test_an_encoder_alone_generates_from_a_table(
    task: list[str],
    encoder: Path,
    labeled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The validation perplexity is that of `generate`, which appends one [M] per step."""
    measured = finetune(
        labeled, tmp_path / "run", *task, "--init-from", str(encoder), *REST, updates=3
    )
    capsys.readouterr()
    checkpoint = Checkpoint.open(tmp_path / "run")
    assert (
        checkpoint.recipe.model.decoder_layers == 0
        and next(iter(checkpoint.writers.values())).writer == "encoder"
    )
    references = tmp_path / "references"
    run_command(
        capsys,
        *f"generate {tmp_path}/run --gen-subset valid --write-reference {references}".split(),
        *EXACT,
    )
    _, err = run_command(
        capsys,
        *f"generate {tmp_path}/run --gen-subset valid --score-reference {references}".split(),
        *EXACT,
    )
    words = err[0].split()
    assert float(words[1]) == pytest.approx(measured[-1]["ppl-piece"], abs=0.006)
    assert float(words[3]) == pytest.approx(measured[-1]["ppl-word"], abs=0.006)


def test_an_encoder_alone_learns_to_generate(tmp_path: Path) -> None:
    """To leave out the middle one of three words, on texts that it has not seen."""
    draw = random.Random(1)
    texts = list(dict.fromkeys(tuple(draw.choices(WORDS, k=3)) for _ in range(1200)))
    for split, part in (("train", texts[100:]), ("valid", texts[:100])):
        save(tmp_path / f"{split}.src", [" ".join(text) for text in part])
        save(tmp_path / f"{split}.tgt", [f"{first} {last}" for first, _, last in part])
    tables = [
        x
        for s in ("train", "valid")
        for x in ("--aligned", f"heads.{s}={tmp_path / s}.src:{tmp_path / s}.tgt")
    ]
    command = [
        *f"preprocess --langs en --mono en={tmp_path}/train.src".split(),
        *tables,
        "--vocab-size",
        "50",
    ]
    succeed([*command, "--destdir", str(tmp_path / "data")])
    shape = "--dim 64 --ffn-dim 128 --encoder-layers 2 --decoder-layers 0 --segments 2".split()
    command = [
        *HEADLINES,
        *TINY,
        *shape,
        *"--eval-rouge --target-mask-prob 0.3 --max-tokens 1500".split(),
    ]
    measured = finetune(tmp_path, tmp_path / "run", *command, updates=250)
    assert measured[-1]["rouge-2"] > 80


@pytest.mark.parametrize(("said", "decoder", "writer"), [
    (["--decoder-layers", "0"], 0, "encoder"), ([], 1, "decoder"), (["--writer", "encoder"], 0, "encoder"),
])  # fmt: skip
def test_which_stacks_generate_from_scratch(
    said: list[str], decoder: int, writer: str, labeled: Path, tmp_path: Path
) -> None:
    finetune(
        labeled,
        tmp_path / "run",
        *HEADLINES,
        *ONE_LAYER,
        *(said if said else ["--decoder-layers", "1"]),
        updates=1,
    )
    checkpoint = Checkpoint.open(tmp_path / "run")
    assert (
        checkpoint.recipe.model.decoder_layers,
        next(iter(checkpoint.writers.values())).writer,
    ) == (decoder, writer)


def test_which_stacks_generate_with_initial_weights(
    encoder: Path, labeled: Path, tmp_path: Path
) -> None:
    command = [
        *HEADLINES,
        *REST,
        *f"--init-from {encoder} --writer decoder --decoder-layers 1".split(),
    ]
    finetune(labeled, tmp_path / "a", *command, updates=1)
    checkpoint = Checkpoint.open(tmp_path / "a")
    assert (
        checkpoint.recipe.model.decoder_layers == 1
        and next(iter(checkpoint.writers.values())).writer == "decoder"
    )
    finetune(
        labeled,
        tmp_path / "b",
        *HEADLINES,
        *REST,
        "--init-from",
        str(tmp_path / "a"),
        updates=1,
    )
    assert (
        next(iter(Checkpoint.open(tmp_path / "b").writers.values())).writer == "decoder"
    )


@pytest.fixture(scope="module")
def both(labeled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoder and decoder, pre-trained by MASS."""
    place = tmp_path_factory.mktemp("mass") / "run"
    command = [
        *(
            f"pretrain {labeled}/data --objective mass --max-update 2 "
            f"--save-dir {place}"
        ).split(),
        *TINY,
    ]
    succeed(command)
    return place


def test_an_encoder_generates_as_if_the_weights_had_no_decoder(
    both: Path,
    labeled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Validation and `generate` do not use a decoder of the initial weights that was not fine-tuned."""
    scored: list[list[str]] = []
    true = validation_tasks.rouge_scores
    monkeypatch.setattr(
        validation_tasks,
        "rouge_scores",
        lambda lines, wanted: (scored.append(lines), true(lines, wanted))[1],
    )
    command = [
        *HEADLINES,
        "--writer",
        "encoder",
        "--init-from",
        str(both),
        *REST,
        "--eval-rouge",
    ]
    finetune(labeled, tmp_path / "whole", *command, updates=20)
    finetune(labeled, tmp_path / "bare", *command, "--decoder-layers", "0", updates=20)
    assert [
        Checkpoint.open(tmp_path / name).recipe.model.decoder_layers
        for name in ("whole", "bare")
    ] == [
        1,
        0,
    ]
    assert scored[0] == scored[1] and any(scored[0])
    written = [
        run_command(
            capsys, "generate", tmp_path / name, "--gen-subset", "valid", *EXACT
        )[0]
        for name in ("whole", "bare")
    ]
    assert written[0] == written[1] and any(written[0])


def test_a_decoder_continues_as_if_the_weights_had_no_encoder(
    both: Path, labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A language model has not learned to attend to an encoder."""
    command = [
        *f"pretrain {labeled}/data --objective clm --init-from {both}".split(),
        *REST,
        "--max-update",
        "20",
    ]
    text, written = save(tmp_path / "text", ["ba be bi", "go", "du da de di"]), []
    for name, more in (("whole", []), ("bare", ["--encoder-layers", "0"])):
        succeed([*command, *more, "--save-dir", str(tmp_path / name)])
        written.append(
            run_command(
                capsys,
                *f"generate {tmp_path}/{name} -i {text} --max-len-a 0 --max-len-b 9".split(),
                *EXACT,
            )[0]
        )
    assert written[0] == written[1] and any(written[0])


def test_the_batch_of_an_encoder_that_generates(
    encoder: Path, labeled: Path, tmp_path: Path
) -> None:
    """One sequence holds source and target, both truncated; the target is corrupted in training only."""
    command = [
        *HEADLINES[:4],
        *"--max-source 5 --max-target 3 --target-mask-prob 1".split(),
        *REST,
        "--init-from",
        str(encoder),
    ]
    finetune(labeled, tmp_path / "run", *command, updates=1)
    trainer, notes = build(Checkpoint.open(tmp_path / "run").recipe)
    (stream,) = trainer.streams.values()
    assert any(
        "sources are truncated to 5 tokens (--max-source)" in note for note in notes
    )
    view, vocab = stream.batch_builder.dataset, stream.objective.context.framing.vocab
    sizes = view.sizes(0, len(view))[:, 0]
    batch = stream.batch_builder(np.arange(len(view)), 0)
    assert (
        batch.source.lengths.tolist() == sizes.tolist()
        and sizes.max() == 1 + 5 + 1 + 2 * (3 + 1)
    )
    assert batch.source.steps is not None
    shown = batch.source.ids[batch.source.steps > 0]
    whole = (
        stream.objective.eval()
        .prepare(trainer.model, batch)
        .source.ids[batch.source.steps > 0]
    )
    assert torch.equal(whole, batch.labels["write"].ids)
    assert 0.7 < float((shown == vocab.mask).float().mean()) < 0.9
    assert torch.equal(
        stream.objective.train()
        .prepare(trainer.model, batch)
        .source.ids[batch.source.steps > 0],
        shown,
    )


def test_incompatible_options_are_refused(
    encoder: Path, labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = f"finetune {labeled}/data --save-dir {tmp_path}/run --max-update 1".split()
    command = [
        *base,
        *"--task summarize --table heads --init-from".split(),
        encoder,
        *REST,
    ]
    assert run_command(capsys, *command, status=2)[1] == [
        "error: --max-source 256, --max-target 128: with 3 special tokens they need 387 positions, the model has 128",
        "hint: together they may be 125",
    ]
    _, err = run_command(
        capsys, *base, *HEADLINES, *TINY, "--target-mask-prob", "0.7", status=2
    )
    assert (
        "target-mask-prob: is for pseudo-masks, and a decoder writes (--writer encoder)"
        in err[0]
    )
    assert not (tmp_path / "run").exists()


def test_a_split_of_a_table(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The output is the same as from the file; references come along in the same order."""
    finetune(labeled, tmp_path / "run", *HEADLINES, *TINY, updates=2)
    search = ["--max-len-a", "0", "--max-len-b", "4", *EXACT]
    plain, _ = run_command(
        capsys, "generate", tmp_path / "run", "-i", labeled / "valid.src", *search
    )
    actual, _ = run_command(
        capsys,
        *(
            f"generate {tmp_path}/run --gen-subset valid "
            f"--write-reference {tmp_path}/ref"
        ).split(),
        *search,
    )
    assert actual == plain
    expected = (labeled / "valid.tgt").read_text()
    assert (tmp_path / "ref").read_text() == expected
    rows, _ = run_command(
        capsys,
        *f"generate {tmp_path}/run --gen-subset valid --format jsonl".split(),
        *search,
    )
    assert [json.loads(row)["reference"] for row in rows] == expected.splitlines()
    assert [json.loads(row)["source"] for row in rows] == (
        labeled / "valid.src"
    ).read_text().splitlines()
    _, err = run_command(
        capsys, "generate", tmp_path / "run", "--gen-subset", "test", *search, status=2
    )
    assert err == [
        f"error: {labeled / 'data'}: has no test split of heads",
        "hint: it has train, valid",
    ]
    _, err = run_command(
        capsys,
        "generate",
        tmp_path / "run",
        "--write-reference",
        tmp_path / "x",
        status=2,
    )
    assert (
        err[0]
        == "error: --write-reference: would have no effect: there are references only with --gen-subset"
    )


def test_the_task_that_generates_is_named(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With two tasks on one model, sources are truncated as in the training of the chosen task."""
    recipe = (
        f'data = "{labeled / "data"}"\nsave_dir = "{tmp_path / "run"}"\n'
        '[stream.short]\ndataset = "heads"\n[stream.short.objective]\nname = "summarize"\nmax_source = 4\nkeep = "end"\n'
        '[stream.talk]\ndataset = "dialogues"\n[stream.talk.objective]\nname = "respond"\nturns = 1\n'
        '[stream.label]\ndataset = "one"\n[stream.label.objective]\nname = "classify"\nlanguage = "en"\n'
    )
    (tmp_path / "recipe.toml").write_text(recipe, encoding="utf-8")
    succeed(
        [*f"finetune --config {tmp_path}/recipe.toml --max-update 1".split(), *TINY]
    )
    text = save(tmp_path / "text", ["ba be bi bo bu da de di\tba be"])
    way = [
        *f"generate {tmp_path}/run -i {text} --max-len-b 3 --format jsonl".split(),
        *EXACT,
    ]
    _, err = run_command(capsys, *way, status=2)
    assert (
        err[0].endswith(": has several tasks")
        and err[1] == "hint: masscli generate --stream NAME chooses one of short, talk"
    )
    _, err = run_command(capsys, *way, "--stream", "label", status=2)
    assert "--stream label: " in err[0] and err[1] == "hint: it has short, talk"
    _, err = run_command(capsys, *way, "--stream", "talk", "-s", "de", status=2)
    assert err == [
        "error: -s de: the language of --stream talk is en",
        "hint: leave one of them out",
    ]
    _, short = run_command(capsys, *way, "--stream", "short")
    assert short[0] == "warning: line 1 was truncated to the 4 pieces the model reads"
    _, talk = run_command(capsys, *way, "--stream", "talk")
    assert not any("warning" in line for line in talk)
    subset, _ = run_command(
        capsys, *way[:2], *way[4:], "--stream", "talk", "--gen-subset", "valid"
    )
    assert len(subset) == sum(
        line.count("\t") for line in (labeled / "valid.txt").read_text().splitlines()
    )


def test_a_pair_too_long_to_score_is_named(
    encoder: Path, labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(
        labeled,
        tmp_path / "run",
        *HEADLINES,
        "--init-from",
        str(encoder),
        *REST,
        updates=1,
    )
    text, target = (
        save(tmp_path / "text", ["ba be", "ba be bi"]),
        save(tmp_path / "target", ["ba", "ba " * 130]),
    )
    command = ["generate", tmp_path / "run", "-i", text, "--score-reference", target]
    _, err = run_command(capsys, *command, status=2)
    pieces, source = (
        err[0].split(" has ")[1].split(" pieces")[0],
        err[0].rpartition(" ")[2],
    )
    assert err[0] == (
        f"error: --score-reference: line 2 has {pieces} pieces, the model generates at most {128 - 3 - int(source)} "
        f"after a source of {source}"
    )


def test_empty_outputs_and_tables_read_as_text_are_reported(
    labeled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finetune(labeled, tmp_path / "run", *HEADLINES, *TINY, updates=1)
    text = save(tmp_path / "text", ["ba be", "", "bo"])
    command = ["generate", tmp_path / "run", "--max-len-b", "3", *EXACT, "-i"]
    assert not any("warning" in line for line in run_command(capsys, *command, text)[1])
    table = save(tmp_path / "x.tsv", ["source\ttarget", "ba\tbe"])
    assert run_command(capsys, *command, table)[1][0] == (
        f"warning: {table}: is read as text, a line at a time, and not as tsv; to generate from its examples, preprocess it and use --gen-subset"
    )
    monkeypatch.setattr(Tokenizer, "decode", lambda *_: " ")
    assert (
        run_command(capsys, *command, text)[1][0]
        == "warning: lines 1, 3 were given an empty output by the model"
    )


def test_a_continued_run_keeps_its_initial_settings(
    encoder: Path, labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*HEADLINES, *REST, "--init-from", str(encoder)]
    finetune(labeled, tmp_path / "other", *command, updates=1)
    finetune(labeled, tmp_path / "run", *command, updates=1)
    finetune(labeled, tmp_path / "run", *command[:-2], updates=2)
    assert (
        Checkpoint.open(tmp_path / "run/checkpoints/last").recipe.init_from == encoder
    )
    base = [
        *f"finetune {labeled}/data --save-dir {tmp_path}/run --max-update 3".split(),
        *command[:-1],
    ]
    assert run_command(capsys, *base, tmp_path / "other", status=2)[1] == [
        f"error: --init-from {tmp_path / 'other'}: {tmp_path / 'run'} holds a run that began with {encoder}",
        "hint: start another run with --save-dir, or leave it out to continue",
    ]
    finetune(labeled, tmp_path / "run", *command, updates=3)
    begun = [*command, "--init-stacks", "encoder", "--init-new", "mean"]
    finetune(labeled, tmp_path / "stacks", *begun, updates=1)
    finetune(labeled, tmp_path / "stacks", *command, updates=2)
    kept = Checkpoint.open(tmp_path / "stacks/checkpoints/last").recipe
    assert (kept.init_stacks, kept.init_new) == ("encoder", "mean")
    for flag, other in (("--init-stacks", "decoder"), ("--init-new", "random")):
        again = [
            *f"finetune {labeled}/data --save-dir {tmp_path}/stacks --max-update 3".split(),
            *command,
        ]
        assert run_command(capsys, *again, flag, other, status=2)[1][0].startswith(
            f"error: {flag} {other}: "
        )
    fresh = [
        "finetune",
        labeled / "data",
        "--save-dir",
        tmp_path / "fresh",
        *HEADLINES,
        *TINY,
    ]
    run_command(capsys, *fresh, "--max-update", "1")
    assert run_command(
        capsys, *fresh, "--max-update", "2", "--init-from", encoder, status=2
    )[1][0].endswith("holds a run that began without it")

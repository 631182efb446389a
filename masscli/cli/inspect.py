"""Show what is in a data folder, a run or a checkpoint.

Examples:
  masscli inspect data-bin
  masscli inspect data-bin --verify
  masscli inspect runs/mass
  masscli inspect runs/mass --retrieval
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masscli.cli.messages import warn
from masscli.cli.text_inputs import warn_of_untrained
from masscli.core.errors import MasscliError


def run(
    path: Annotated[
        Path,
        typer.Argument(help="A data folder, a run or a checkpoint.", metavar="PATH"),
    ],
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read every file of the folder or checkpoint, and compare checksums.",
        ),
    ] = False,
    retrieval: Annotated[
        bool,
        typer.Option(
            "--retrieval",
            help="Show how many sentences of a run's validation pairs retrieve their translation by mean "
            "encoder states (precision at 1).",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="The data folder of --retrieval (default: the run's)."
        ),
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="The split of --retrieval.")
    ] = "valid",
) -> None:
    """Print a description of a data folder or checkpoint or, with --retrieval, how well languages align."""
    _warn_of_unused_options(verify, retrieval, data, split)
    if retrieval:
        _show_retrieval(path, data, split)
    elif (path / "manifest.json").exists():
        _show_data(path, verify)
    else:
        _show_checkpoint(path, verify)


def _warn_of_unused_options(
    verify: bool, retrieval: bool, data: Path | None, split: str
) -> None:
    """Print a warning for each of these options that was given but has no effect given the others."""
    is_unused = {
        "--verify": (retrieval and verify, "--retrieval compares no checksums"),
        "--data": (not retrieval and data is not None, "it is for --retrieval"),
        "--split": (not retrieval and split != "valid", "it is for --retrieval"),
    }
    for flag, (unused, reason) in is_unused.items():
        if unused:
            warn(f"{flag} has no effect: {reason}")


def _show_data(path: Path, verify: bool) -> None:
    """Print vocabulary, languages, pairs, texts and tables of a data folder; verify its files if asked to."""
    from masscli.data.storage.data_folder import DataFolder

    data = DataFolder.open(path)
    print(f"vocabulary   {data.vocab.size} pieces, {data.vocab.fingerprint[:12]}")
    print(f"languages    {', '.join(data.languages)}")
    print(f"pairs        {', '.join(data.pairs) or 'none'}")
    columns = {column.name: column for column in data.manifest.columns}
    for text in data.manifest.texts:
        shards = columns[text.column].shards
        rows = sum(shard.rows for shard in shards)
        pieces = sum(shard.values for shard in shards)
        print(
            f"{text.split + ' ' + text.column:24} {rows:>12,} rows {pieces:>14,} pieces"
        )
    for table in data.manifest.tables:
        names = ", ".join(data.table(table.name, table.split).fields)
        print(
            f"{table.split + ' ' + table.name:24} {table.rows:>12,} rows of {table.format}: {names}"
        )
    if verify:
        data.verify()
        print(f"all {len(data.manifest.files)} files match their checksums")


def _show_checkpoint(path: Path, verify: bool) -> None:
    """Print the recipe of a checkpoint as TOML, after comments with its size, progress and metrics.

    With `verify`, checksums are compared first. Of imported weights only the model is printed, and the task
    that an imported head was trained for.
    """
    from masscli.checkpoint.checkpoint import Checkpoint
    from masscli.core.config import to_dict, to_toml
    from masscli.objectives.shared.table_options import TableOptions

    checkpoint = Checkpoint.open(path)
    # Checked first, so that nothing is shown for a damaged checkpoint.
    verified = checkpoint.verify() if verify else None
    weights = sum(tensor.numel() for tensor in checkpoint.weights().values())
    heads = sum(tensor.numel() for tensor in checkpoint.objective_state().values())
    state = checkpoint.state
    vocab = checkpoint.tokenizer().vocab
    print(f"# {checkpoint.path}")
    print(
        f"# update {state.step:,}, {state.targets:,} targets, {state.seconds:,.0f} s of training"
    )
    print(f"# model {weights:,} parameters; heads of tasks {heads:,}")
    print(
        f"# languages {', '.join(state.languages) or 'none'}; vocabulary {vocab.fingerprint[:12]}"
    )
    if verified is not None:
        print(f"# all {verified} files match their checksums")
    for name, value in checkpoint.metrics.items():
        print(f"# {name} {value:.4f}")
    recipe = to_dict(checkpoint.recipe)
    # Imported weights were not trained by masscli, so the rest of their recipe is meaningless.
    if not state.step:
        streams = checkpoint.recipe.stream.values()
        has_task = any(isinstance(each.objective, TableOptions) for each in streams)
        known = ["model", "stream"] if has_task else ["model"]
        recipe = {name: recipe[name] for name in known}
    # The lines above are comments in TOML, so that the output is a file for --config.
    print(to_toml(recipe), end="")


def _show_retrieval(path: Path, folder: Path | None, split: str) -> None:
    """Print how often a sentence's nearest neighbor by encoder states is its translation.

    This precision at 1 is printed for each pair of languages of the split, in both directions. Raises
    MasscliError without an encoder or pairs, or if the data have another vocabulary than the run.
    """
    from masscli.checkpoint.checkpoint import Checkpoint
    from masscli.data.storage.verification import open_verified
    from masscli.training.validation_tasks import RetrievalTask

    checkpoint = Checkpoint.open(path)
    if not checkpoint.recipe.model.encoder_layers:
        raise MasscliError(
            f"{path}: has no encoder, so that there are no sentences to compare"
        )
    data = open_verified(folder or checkpoint.find_data())
    framing = checkpoint.framing()
    if data.vocab.fingerprint != framing.vocab.fingerprint:
        raise MasscliError(
            f"{data.folder}: was made with a different vocabulary from {path}",
            "name the right folder with --data",
        )
    # Retrieval needs lines that are known to be translations of each other.
    pairs = data.aligned_pairs(split)
    if not pairs:
        raise MasscliError(
            f"{data.folder}: has no pairs in its split {split}",
            "preprocess them with --validpref, or choose another --split",
        )
    model = checkpoint.model()
    warn_of_untrained(
        path, checkpoint, [language for pair in pairs for language in pair]
    )
    for pair in pairs:
        sides = data.aligned_rows(split, pair)
        count = len(sides[0])
        for name, precision in (
            RetrievalTask(pair, sides, framing).measure(model).items()
        ):
            direction = name.removeprefix("retrieval.")
            print(
                f"{direction:12} {precision:7.2%} of {count:,} sentences find their translation first "
                f"(chance {1 / max(1, count):.2%})"
            )

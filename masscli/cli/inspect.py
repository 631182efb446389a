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

from masscli.core.errors import MasscliError


def run(
    path: Annotated[Path, typer.Argument(help="A data folder, a run or a checkpoint.", metavar="PATH")],
    verify: Annotated[bool, typer.Option("--verify", help="Read all of it and compare checksums.")] = False,
    retrieval: Annotated[bool, typer.Option("--retrieval", help="How many sentences of a run's validation pairs find their translation "
                                            "by mean encoder states (precision at 1).")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="The data folder of --retrieval (default: the run's).")] = None,
    split: Annotated[str, typer.Option("--split", help="The split of --retrieval.")] = "valid",
) -> None:  # fmt: skip
    if retrieval:
        _retrieval(path, data, split)
    elif (path / "manifest.json").exists():
        _data(path, verify)
    else:
        _checkpoint(path, verify)


def _data(path: Path, verify: bool) -> None:
    from masscli.data.storage.data_folder import DataFolder

    data = DataFolder.open(path)
    print(f"vocabulary   {data.vocab.size} pieces, {data.vocab.fingerprint[:12]}")
    print(f"languages    {', '.join(data.languages)}")
    print(f"pairs        {', '.join(data.pairs) or 'none'}")
    columns = {column.name: column for column in data.manifest.columns}
    for text in data.manifest.texts:
        column = columns[text.column]
        rows, pieces = sum(s.rows for s in column.shards), sum(s.values for s in column.shards)
        print(f"{text.split + ' ' + text.column:24} {rows:>12,} rows {pieces:>14,} pieces")
    for table in data.manifest.tables:
        names = ", ".join(data.table(table.name, table.split).fields)
        print(f"{table.split + ' ' + table.name:24} {table.rows:>12,} rows of {table.format}: {names}")
    if verify:
        data.verify()
        print(f"all {len(data.manifest.files)} files match their checksums")


def _checkpoint(path: Path, verify: bool) -> None:
    from masscli.checkpoint.checkpoint import Checkpoint
    from masscli.core.config import to_dict, to_toml

    found = Checkpoint.open(path)
    checked = f"# all {found.verify()} files match their checksums\n" if verify else ""
    weights, heads = found.weights(), found.objective_state()
    print(f"# {found.path}")
    print(
        f"# update {found.state.step:,}, {found.state.targets:,} targets, {found.state.seconds:,.0f} s of training"
    )
    print(
        f"# model {sum(t.numel() for t in weights.values()):,} parameters; heads of tasks {sum(t.numel() for t in heads.values()):,}"
    )
    print(
        f"# languages {', '.join(found.state.languages) or 'none'}; vocabulary {found.tokenizer().vocab.fingerprint[:12]}"
    )
    trained = to_dict(found.recipe)
    known = (
        trained if found.state.step else {"model": trained["model"]}
    )  # weights that were imported have no run behind them
    print(
        checked
        + "".join(f"# {name} {value:.4f}\n" for name, value in found.metrics.items())
        + to_toml(known),
        end="",
    )


def _retrieval(path: Path, folder: Path | None, split: str) -> None:
    from masscli.checkpoint.checkpoint import Checkpoint
    from masscli.data.storage.data_folder import DataFolder
    from masscli.generation.retrieval import precision_at_1, sentence_vectors
    from masscli.training.setup.build_validator import aligned_rows

    found = Checkpoint.open(path)
    if not found.recipe.model.encoder_layers:
        raise MasscliError(f"{path}: has no encoder, so that there are no sentences to compare")
    data, framing = DataFolder.open(folder or found.recipe.data), found.framing()
    if data.vocab.fingerprint != framing.vocab.fingerprint:
        raise MasscliError(
            f"{data.folder}: was made with another vocabulary than {path}",
            "name the right folder with --data",
        )
    pairs = [(p.source, p.target) for p in data.manifest.aligned if p.split == split]
    if not pairs:
        raise MasscliError(
            f"{data.folder}: has no {split} pairs",
            "preprocess them with --validpref, or choose another --split",
        )
    model = found.model()
    for pair in pairs:
        sides = aligned_rows(data, split, pair, None)
        a, b = (sentence_vectors(model, framing, x, side) for x, side in zip(sides, pair, strict=True))
        for name, value in (
            (f"{pair[0]}-{pair[1]}", precision_at_1(a, b)),
            (f"{pair[1]}-{pair[0]}", precision_at_1(b, a)),
        ):
            print(
                f"{name:12} {value:7.2%} of {len(a):,} sentences find their translation first (chance {1 / max(1, len(a)):.2%})"
            )

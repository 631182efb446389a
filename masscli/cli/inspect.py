"""Show what is in a data folder, a run or a checkpoint.

Examples:
  masscli inspect data-bin
  masscli inspect data-bin --verify
  masscli inspect runs/mass
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    path: Annotated[Path, typer.Argument(help="A data folder, a run or a checkpoint.", metavar="PATH")],
    verify: Annotated[bool, typer.Option("--verify", help="Read all of a data folder and compare checksums.")] = False,
) -> None:
    if (path / "manifest.json").exists():
        _data(path, verify)
    else:
        _checkpoint(path)


def _data(path: Path, verify: bool) -> None:
    from masscli.data.shards import DataBin

    data = DataBin.open(path)
    print(f"vocabulary   {data.vocab.size} pieces, {data.vocab.fingerprint[:12]}")
    print(f"languages    {', '.join(data.languages)}")
    print(f"pairs        {', '.join(data.pairs) or 'none'}")
    columns = {column.name: column for column in data.manifest.columns}
    for text in data.manifest.texts:
        column = columns[text.column]
        rows, pieces = sum(s.rows for s in column.shards), sum(s.values for s in column.shards)
        print(f"{text.split + ' ' + text.column:24} {rows:>12,} rows {pieces:>14,} pieces")
    if verify:
        data.verify()
        print(f"all {len(data.manifest.files)} files match their checksums")


def _checkpoint(path: Path) -> None:
    from masscli.config import encode, to_toml
    from masscli.training.checkpoint import Checkpoint

    found = Checkpoint.open(path)
    weights, heads = found.weights(), found.heads()
    print(f"# {found.path}")
    print(f"# update {found.state.step:,}, {found.state.targets:,} targets, {found.state.seconds:,.0f} s of training")
    print(f"# model {sum(t.numel() for t in weights.values()):,} parameters; heads {sum(t.numel() for t in heads.values()):,}")
    print(f"# languages {', '.join(found.state.languages) or 'none'}; vocabulary {found.tokenizer().vocab.fingerprint[:12]}")
    print("".join(f"# {name} {value:.4f}\n" for name, value in found.metrics.items()) + to_toml(encode(found.recipe)), end="")

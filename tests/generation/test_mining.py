"""Mining by margins: planted translations are found, and margins are those of the slow formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from masscli.__main__ import run
from masscli.generation.mining import NEIGHBORS, SMALLEST_MEAN, mine_pairs
from tests.commands import succeed


def vectors(count: int, seed: int) -> torch.Tensor:
    return torch.randn(
        count, 24, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def test_planted_pairs_are_found_and_others_are_not() -> None:
    shared = vectors(30, 1)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    # Each language has an offset of its own, and sentences that the other one lacks.
    sources = torch.cat([shared, vectors(20, 3)]) + 5
    targets = torch.cat([shared[order] + 0.1 * vectors(30, 4), vectors(25, 5)]) - 3
    mined = mine_pairs(sources, targets, 1.5)
    assert {(source, target) for _, source, target in mined} == {
        (int(order[n]), n) for n in range(30)
    }
    assert [margin for margin, _, _ in mined] == sorted(
        (margin for margin, _, _ in mined), reverse=True
    )


def test_margins_are_those_of_the_formula() -> None:
    sources, targets = vectors(13, 6), vectors(9, 7)
    sources[4] = 0
    cosines = np.zeros((13, 9))
    centered = []
    for matrix in (sources.numpy(), targets.numpy()):
        filled = [row for row in matrix if row.any()]
        mean = sum(filled) / len(filled)
        centered.append([row - mean if row.any() else row for row in matrix])
    for i, x in enumerate(centered[0]):
        for j, y in enumerate(centered[1]):
            length = np.linalg.norm(x) * np.linalg.norm(y)
            cosines[i, j] = x @ y / length if length else 0.0
    for margin, i, j in mine_pairs(sources, targets, -9.0):
        nearest_of_source = sorted(cosines[i])[-NEIGHBORS:]
        nearest_of_target = sorted(cosines[:, j])[-NEIGHBORS:]
        mean = (sum(nearest_of_source) + sum(nearest_of_target)) / (2 * NEIGHBORS)
        assert margin == pytest.approx(cosines[i, j] / max(mean, SMALLEST_MEAN))


def test_a_pair_whose_margin_equals_the_threshold_is_mined() -> None:
    sources, targets = vectors(13, 6), vectors(9, 7)
    best = mine_pairs(sources, targets, -9.0)[:3]
    assert best[2][0] < best[1][0]
    assert mine_pairs(sources, targets, best[2][0]) == best


def test_empty_lines_are_in_no_pair_and_change_none() -> None:
    sources, targets = vectors(13, 6), vectors(9, 7)
    without = mine_pairs(sources, targets, -9.0)
    # Zeros before all others: each sentence moves by two, and by one.
    sources = torch.cat([torch.zeros(2, 24, dtype=torch.float64), sources])
    targets = torch.cat([torch.zeros(1, 24, dtype=torch.float64), targets])
    mined = mine_pairs(sources, targets, -9.0)
    assert mined == [(margin, i + 2, j + 1) for margin, i, j in without]
    assert mine_pairs(sources[:2], targets, -9.0) == []
    assert mine_pairs(sources, targets[:1], -9.0) == []


def test_no_sentence_is_in_two_pairs() -> None:
    mined = mine_pairs(vectors(40, 8), vectors(11, 9), -9.0)
    assert (
        len({source for _, source, _ in mined})
        == len({target for _, _, target in mined})
        == len(mined)
        <= 11
    )


def test_the_command_writes_a_line_for_each_pair(
    toy: Path, tmp_path: Path, no_sync: None, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = (
        "--dim=16 --ffn-dim=32 --heads=2 --encoder-layers=1 "
        "--decoder-layers=1 --num-workers=0"
    ).split()
    folder = str(tmp_path / "run")
    succeed(
        [
            "pretrain",
            str(toy),
            "--objective=mass",
            "--max-update=2",
            *sizes,
            "--save-dir",
            folder,
        ]
    )
    capsys.readouterr()
    files = f"-i {toy.parent}/valid.en -j {toy.parent}/valid.de -s en -t de".split()
    succeed(["mine", folder, *files, "--min-margin=0.5", "--precision=fp32"])
    out, err = capsys.readouterr()
    sources = (toy.parent / "valid.en").read_text().splitlines()
    targets = (toy.parent / "valid.de").read_text().splitlines()
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows and all(row[1] in sources and row[2] in targets for row in rows)
    margins = [float(row[0]) for row in rows]
    assert margins == sorted(margins, reverse=True) and margins[-1] >= 0.5
    assert f"{len(rows)} pairs of 24 and 24 sentences" in err
    assert run(["mine", folder, *files[:-1], "fr"]) == 2
    assert "knows no language 'fr'" in capsys.readouterr().err
    unknown = tmp_path / "unknown.en"
    unknown.write_text("ba\n漢字\n")
    succeed(["mine", folder, "-i", str(unknown), *files[2:], "--precision=fp32"])
    err = capsys.readouterr().err
    assert (
        f"warning: line 2 was not understood: in {unknown} no piece of it is known"
        in err
    )
    assert f"pieces of {unknown} unknown" in err

"""Weights of other programs that are damaged in their numbers or names are refused by every importer."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from masscli.__main__ import run
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.foreign import ImportRequest
from masscli.checkpoint.convert.import_ import import_folder
from masscli.checkpoint.convert.import_file import import_file
from masscli.core.errors import MasscliError
from tests import published
from tests.commands import succeed
from tests.fuzz.sound import make_shards
from tests.peers.small_files import write_fairseq, write_mass
from tests.published_seq2seq import make_seq2seq

Tensors = dict[str, torch.Tensor]
Change = Callable[[Tensors, str], None]
TEXTS = ["bab deg fik ga", "dog ba"]


def write_bert(folder: Path) -> None:
    published.write(folder, "bert")


def write_albert(folder: Path) -> None:
    published.write(folder, "albert")


def write_bart(folder: Path) -> None:
    make_seq2seq("bart", folder)


def error_of_folder(
    write: Callable[[Path], None], change: Change, name: str, folder: Path
) -> str:
    """Change a tensor in a folder of Hugging Face, and return the message of its import."""
    write(folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors, name)
    save_file(tensors, path)
    with pytest.raises(MasscliError) as error:
        import_folder(folder, folder.parent / "made", ("en",), allow_pickle=False)
    return error.value.message.removeprefix(f"{path}: ")


def error_of_file(
    file: str,
    part: str,
    options: dict[str, Path],
    change: Change,
    name: str,
    folder: Path,
) -> str:
    """Change a tensor in a file of torch.save, and return the message of its import."""
    path = folder / file
    content = torch.load(path, weights_only=False)
    change(content[part], name)
    torch.save(content, path)
    with pytest.raises(MasscliError) as error:
        import_file(ImportRequest(path, **options), None, folder.parent / "made")  # type: ignore[arg-type]
    return error.value.message.removeprefix(f"{path}: ")


def set_nan(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[3] = torch.nan


def make_whole_numbers(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name].long()


def add_wrapped(tensors: Tensors, name: str) -> None:
    tensors[f"module.{name}"] = tensors[name] + 1


def error_of_mass(change: Change, name: str, folder: Path) -> str:
    write_mass(folder, TEXTS)
    return error_of_file(
        "mass_ende_1024.pth",
        "decoder",
        {"bpe_codes": folder / "codes_ende"},
        change,
        name,
        folder,
    )


def error_of_fairseq(change: Change, name: str, folder: Path) -> str:
    folder.rmdir()
    write_fairseq(folder, TEXTS)
    return error_of_file("checkpoint_best.pt", "model", {}, change, name, folder)


IMPORTERS: dict[str, tuple[Callable[[Change, str, Path], str], str]] = {
    "bert": (
        partial(error_of_folder, write_bert),
        "bert.encoder.layer.0.output.dense.bias",
    ),
    "bart": (partial(error_of_folder, write_bart), "model.decoder.layers.1.fc1.bias"),
    "xlm": (error_of_mass, "ffns.0.lin1.bias"),
    "fairseq": (error_of_fairseq, "decoder.layers.1.fc1.bias"),
}
"""What imports a changed file of each kind, and the name of a tensor in it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    return made


@pytest.mark.parametrize("importer", IMPORTERS)
def test_numbers_that_are_not_finite_are_refused(importer: str, folder: Path) -> None:
    error_of, name = IMPORTERS[importer]
    assert (
        error_of(set_nan, name, folder) == f"{name} holds numbers that are not finite"
    )


@pytest.mark.parametrize("importer", IMPORTERS)
def test_tensors_of_whole_numbers_are_refused_as_weights(
    importer: str, folder: Path
) -> None:
    error_of, name = IMPORTERS[importer]
    assert (
        error_of(make_whole_numbers, name, folder)
        == f"{name} holds torch.int64, not floating-point numbers"
    )


@pytest.mark.parametrize("importer", IMPORTERS)
def test_a_tensor_with_and_without_the_prefix_of_several_gpus_is_refused(
    importer: str, folder: Path
) -> None:
    error_of, name = IMPORTERS[importer]
    assert error_of(add_wrapped, name, folder).startswith(f"has {name} twice")


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("^", "module."),
        ("^", "_orig_mod."),
        ("^", "_orig_mod.module."),
        ("^", "module._orig_mod."),
        # Single layers can be compiled, sharded and recomputed, too.
        (r"layer\.0\.", "layer.0._orig_mod."),
        (r"layer\.0\.", "layer.0._fsdp_wrapped_module._checkpoint_wrapped_module."),
    ],
)
def test_the_names_of_wrappers_change_nothing(
    pattern: str, replacement: str, folder: Path
) -> None:
    def imported_weights(name: str) -> Tensors:
        made = folder.parent / name
        import_folder(folder, made, ("en",), allow_pickle=False)
        return Checkpoint.open(made).weights()

    write_bert(folder)
    expected = imported_weights("sound")
    path = folder / "model.safetensors"
    wrapped = {
        re.sub(pattern, replacement, name): tensor
        for name, tensor in load_file(path).items()
    }
    assert wrapped.keys() != load_file(path).keys()
    save_file(wrapped, path)
    found = imported_weights("wrapped")
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_old_and_new_names_of_one_tensor_are_refused(folder: Path) -> None:
    def add_old(tensors: Tensors, name: str) -> None:
        tensors[name.replace(".weight", ".gamma")] = tensors[name] + 1

    name = "bert.embeddings.LayerNorm.weight"
    assert error_of_folder(write_bert, add_old, name, folder).startswith(
        f"has {name} twice"
    )


def test_half_an_objective_head_is_refused(folder: Path) -> None:
    def drop(tensors: Tensors, name: str) -> None:
        del tensors[name]

    name = "sop_classifier.classifier.bias"
    assert (
        error_of_folder(write_albert, drop, name, folder)
        == f"has no {name}, but the rest of this head"
    )


def test_two_files_with_the_same_tensor_are_refused(folder: Path) -> None:
    folder.rmdir()
    make_shards(folder.parent)
    first, second = sorted(folder.glob("*.safetensors"))
    one, two = load_file(first), load_file(second)
    name = min(one)
    save_file({**two, name: one[name] + 1}, second)
    with pytest.raises(MasscliError) as error:
        import_folder(folder, folder.parent / "made", ("en",), allow_pickle=False)
    assert error.value.message == f"{second}: has {name}, and so has another shard"


def test_paths_that_cannot_be_imported_cause_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Users of Hugging Face name the file of the weights, and others a run that needs no import."""
    folder = tmp_path / "bert"
    published.write(folder, "bert")
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, tmp_path / "pytorch_model.bin")
    succeed(["import", str(folder), "--output", str(tmp_path / "run")])
    for path, message, hint in (
        (folder / "model.safetensors", "holds safetensors, which are weights", "name the folder"),
        (tmp_path / "pytorch_model.bin", "is a checkpoint of an unknown program", "for a Hugging Face model, name its folder"),
        (tmp_path / "run", "no such file", "a run of masscli need not be imported"),
        (next(tmp_path.glob("run/checkpoints/step-*")), "no such file", "a run of masscli need not be imported"),
    ):  # fmt: skip
        capsys.readouterr()
        assert run(["import", str(path), "--output", str(tmp_path / "x")]) == 2
        first, second = capsys.readouterr().err.splitlines()
        assert message in first
        assert hint in second
        assert not (tmp_path / "x").exists()

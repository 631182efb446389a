"""Checkpoints that fairseq writes with all kinds of switches, against what fairseq computes with them.

They are made by tests/peers/make_fairseq_samples.py. MASSCLI_FAIRSEQ_PYTHON names the Python of an environment
with fairseq 0.12.2, or MASSCLI_FAIRSEQ_SAMPLES a folder that the script has filled.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.foreign import ImportRequest
from masscli.checkpoint.convert.import_file import import_file
from masscli.data.batches.batch import Tokens

pytestmark = pytest.mark.peer
SCRIPT = Path(__file__).parents[2] / "peers" / "make_fairseq_samples.py"
NAMES = [
    "post-norm",
    "pre-norm-embedding-norm",
    "learned-unshared",
    "two-dictionaries",
    "two-dictionaries-unshared",
    "no-final-norm",
    "no-positions",
    "stacks-differ",
    "half-precision",
    "layer-drop",
    "multilingual",
    "bart",
    "bart-fine-tuned",
    "bart-pre-norm",
    "mbart",
    "lm",
    "lm-pre-norm",
    "lm-projections",
    "lm-projections-shared",
    "output-projection",
    "roberta",
    "roberta-pre-norm",
]
PAD = 1
LIMIT = 1e-5


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ready = os.environ.get("MASSCLI_FAIRSEQ_SAMPLES")
    if ready is not None:
        return Path(ready)
    python = os.environ.get("MASSCLI_FAIRSEQ_PYTHON")
    if python is None:
        pytest.skip("MASSCLI_FAIRSEQ_PYTHON names no Python with fairseq 0.12.2")
    folder = tmp_path_factory.mktemp("fairseq") / "samples"
    subprocess.run([python, str(SCRIPT), str(folder)], check=True, capture_output=True)
    return folder


class Side:
    """Ids of fairseq as ours, and our logits as those of fairseq."""

    def __init__(self, checkpoint: Checkpoint, language: str) -> None:
        tokenizer = checkpoint.tokenizer()
        ids = tokenizer.vocab.id_ranges
        assert ids is not None
        self.ids = torch.arange(tokenizer.vocab.size)
        if ids.has_two_vocabularies:
            self.ids = torch.tensor(list(tokenizer.own_ids(language)))

    def tokens(self, theirs: np.ndarray) -> Tokens:
        ids = torch.from_numpy(theirs)
        return Tokens(self.ids[ids], ids.ne(PAD).sum(1))

    def logits(self, ours: Tensor, theirs: np.ndarray) -> Tensor:
        return ours[..., self.ids[: theirs.shape[-1]]]


def distance(actual: Tensor, expected: np.ndarray, lengths: Tensor) -> float:
    real = torch.arange(actual.shape[1]) < lengths[:, None]
    return float((actual - torch.from_numpy(expected).float())[real].abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_states_and_logits_are_those_of_fairseq(
    name: str, samples: Path, tmp_path: Path
) -> None:
    path, _ = import_file(
        ImportRequest(samples / name / "checkpoint.pt"), None, tmp_path / "run"
    )
    checkpoint = Checkpoint.open(path)
    model = checkpoint.model()
    with np.load(samples / name / "expected.npz") as arrays:
        expected = dict(arrays)
    english, german = (Side(checkpoint, language) for language in ("en", "de"))
    stack, side = "decoder", german
    memory = None
    if "encoder" in expected:
        source = english.tokens(expected["source"])
        memory = model.encode(source)
        hidden, tokens = memory.hidden, source
        assert distance(hidden, expected["encoder"], source.lengths) < LIMIT
    if "target" in expected:
        tokens = german.tokens(expected["target"])
        hidden = model.decode(tokens, memory)
    else:
        stack, side = "encoder", english
    logits = side.logits(model.logits(hidden, stack), expected["logits"])
    assert distance(logits, expected["logits"], tokens.lengths) < 5 * LIMIT
    # Symbols that masscli adds have no probability.
    assert (
        int((model.logits(hidden) > -torch.inf).sum(-1).flatten()[0])
        == expected["logits"].shape[-1]
    )

"""A vocabulary shortlist: the same search over each sentence's own candidates, whatever stands beside it in a batch."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from masscli.api.model import load
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.generation.config import GenerationConfig
from masscli.generation.constraints import Requirements
from masscli.generation.decoder import Decoder
from masscli.generation.hypotheses import Hypothesis
from masscli.generation.search import search
from masscli.generation.shortlist import Shortlist
from masscli.generation.shortlist_file import read_shortlist, shortlist_text
from masscli.generation.stepper import Stepper
from masscli.models.int8 import ENGINE, to_int8
from masscli.text.vocabulary import IdRanges
from tests.commands import refusal, succeed
from tests.toy import WORDS, sentences
from tests.translators import random_translator

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")
LINES = [" ".join(WORDS["en"][word] for word in walk) for walk in sentences(14, 5)]


def random_shortlist(run: Checkpoint, share: float = 0.2) -> Shortlist:
    """Candidates that no two sentences have in common, and a few n-grams of two pieces."""
    draw = random.Random(3)
    ordinary = run.tokenizer().vocab.ordinary_ids.tolist()
    candidates = {(): np.array(sorted(draw.sample(ordinary, 3)))}
    for piece in ordinary:
        candidates[(piece,)] = np.array(
            sorted(draw.sample(ordinary, int(share * len(ordinary))))
        )
    for first, second in pairwise(ordinary):
        candidates[(first, second)] = np.array([draw.choice(ordinary)])
    return Shortlist(candidates)


class SlowStepper:
    """All V logits of one sentence, of which those that are no candidates are taken out before the softmax."""

    def __init__(self, stepper: Any, allowed: Tensor) -> None:
        self.stepper, self.allowed, self.vocab_size = stepper, allowed, len(allowed)

    def __call__(self, ids: Tensor) -> Tensor:
        log_probabilities: Tensor = self.stepper(ids)
        return torch.log_softmax(
            log_probabilities.masked_fill(~self.allowed, -torch.inf), -1
        )

    def reorder(self, parents: Tensor) -> None:
        self.stepper.reorder(parents)

    def keep(self, sentences: Tensor) -> None:
        self.stepper.keep(sentences)


def slow_generate(
    decoder: Decoder,
    shortlist: Shortlist,
    source: Ids,
    prefix: list[int],
    phrases: list[list[int]],
) -> list[Hypothesis]:
    """The n best outputs of one sentence, with candidates that are collected by a plain loop."""
    vocab, framing = decoder.framing.vocab, decoder.framing
    forced = framing.forced_tokens("de")
    start = framing.decoder_start("de")
    allowed = {
        vocab.bos,
        vocab.eos,
        vocab.unk,
        start,
        *prefix,
        *forced,
        *(piece for phrase in phrases for piece in phrase),
    }
    pieces = framing.encoder_input(source, "en").tolist()
    for first in range(len(pieces)):
        for stop in range(first, len(pieces) + 1):
            allowed.update(
                map(int, shortlist.candidates.get(tuple(pieces[first:stop]), ()))
            )
    mask = torch.zeros(vocab.size, dtype=torch.bool)
    mask[sorted(allowed)] = True
    stepper: Stepper = SlowStepper(
        decoder._stepper([source], "en", "de", decoder.config.beam), mask
    )
    limit = int(decoder.config.length_limit(len(source)))
    (found,) = search(
        stepper,
        torch.tensor([start]),
        Requirements([limit], [prefix], [phrases], forced),
        decoder.config,
        vocab,
    )
    return found


@pytest.mark.parametrize("shape", ["default", "m2m_100", "learned"])
@pytest.mark.parametrize("constrained", [False, True])
def test_each_sentence_is_searched_over_its_own_candidates(
    shape: str, constrained: bool, toy: Path, tmp_path: Path
) -> None:
    run = random_translator(shape, toy, tmp_path / "run")
    shortlist = random_shortlist(run)
    tokenizer, framing = run.tokenizer(), run.framing()
    sources = [np.array(ids) for ids in tokenizer.encode_lines(LINES, "en")]
    config = GenerationConfig(
        beam=4, nbest=3, max_len_b=6, prefix_size=2 if constrained else 0
    )
    prefixes: list[list[int]] = [[] for _ in sources]
    phrases: list[list[list[int]]] = [[] for _ in sources]
    if constrained:
        # What an output must have is a candidate, whatever the shortlist says.
        ordinary = tokenizer.vocab.ordinary_ids.tolist()
        prefixes = [ordinary[number : number + 2] for number in range(len(sources))]
        phrases = [
            [ordinary[-number - 3 : -number - 1]] for number in range(len(sources))
        ]
    decoder = Decoder([run.model()], framing, config, shortlist=shortlist)
    found = decoder.generate(sources, "en", "de", prefixes=prefixes, phrases=phrases)
    lists = zip(sources, prefixes, phrases, strict=True)
    for n_best, arguments in zip(found, lists, strict=True):
        expected = slow_generate(decoder, shortlist, *arguments)
        assert [hypothesis.ids for hypothesis in n_best] == [
            hypothesis.ids for hypothesis in expected
        ]
        for one, other in zip(n_best, expected, strict=True):
            assert one.token_scores == pytest.approx(other.token_scores, abs=1e-4)
    if not constrained:
        plain = Decoder([run.model()], framing, config).generate(sources, "en", "de")
        assert sum(a[0].ids != b[0].ids for a, b in zip(found, plain, strict=True)) > 2


@pytest.mark.parametrize("int8", [False, pytest.param(True, marks=pytest.mark.skipif(
    ENGINE not in torch.backends.quantized.supported_engines, reason="no 8-bit kernels"))])  # fmt: skip
def test_results_do_not_depend_on_the_batch(
    int8: bool, toy: Path, tmp_path: Path
) -> None:
    run = random_translator("default", toy, tmp_path / "run")
    sources = [np.array(ids) for ids in run.tokenizer().encode_lines(LINES, "en")]
    model = to_int8(run.model()) if int8 else run.model()
    config = GenerationConfig(beam=3, nbest=2, max_len_b=6)
    outputs = []
    for batch_size in (1, 5, 50):
        decoder = Decoder(
            [model],
            run.framing(),
            config,
            batch_size=batch_size,
            shortlist=random_shortlist(run),
        )
        found = decoder.generate(sources, "en", "de")
        outputs.append([[hypothesis.ids for hypothesis in n_best] for n_best in found])
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.parametrize(
    "options",
    [{}, {"sampling": True}, {"diverse_beam_groups": 2}, {"beam": 1, "nbest": 1}],
)
def test_a_shortlist_of_everything_changes_nothing(
    options: dict[str, Any], toy: Path, tmp_path: Path
) -> None:
    run = random_translator("tag", toy, tmp_path / "run")
    sources = [np.array(ids) for ids in run.tokenizer().encode_lines(LINES, "en")]
    everything = Shortlist({(): np.arange(run.tokenizer().vocab.size)})
    config = GenerationConfig(**{"beam": 4, "nbest": 2, "max_len_b": 6, **options})
    models = [run.model(), run.model()]
    plain = Decoder(models, run.framing(), config)
    listed = Decoder(models, run.framing(), config, shortlist=everything)
    for ours, theirs in zip(
        listed.generate(sources, "en", "de"),
        plain.generate(sources, "en", "de"),
        strict=True,
    ):
        assert [a.ids for a in ours] == [b.ids for b in theirs]
        for a, b in zip(ours, theirs, strict=True):
            # Of a batch of one row, the product with gathered weights may be rounded otherwise.
            assert a.token_scores == pytest.approx(b.token_scores, abs=1e-6)


def test_the_tag_that_the_encoder_reads_has_candidates(
    toy: Path, tmp_path: Path
) -> None:
    """Sources of Marian's models with several target languages begin with the tag of the target."""
    run = random_translator(
        "tag", toy, tmp_path / "run", source_tag="target", target_tag="none"
    )
    vocab = run.tokenizer().vocab
    tag = vocab.languages["de"]
    chosen = vocab.ordinary_ids[[7, 30, 41]]
    # The language that is only read has no tag at all.
    framing = replace(run.framing(), vocab=replace(vocab, languages={"de": tag}))
    sources = [np.array(ids) for ids in run.tokenizer().encode_lines(LINES, "en")]
    config = GenerationConfig(beam=2, max_len_b=6, unkpen=100.0)
    decoder = Decoder(
        [run.model()], framing, config, shortlist=Shortlist({(tag,): chosen})
    )
    written = {
        piece for [best] in decoder.generate(sources, "en", "de") for piece in best.ids
    }
    assert written and written <= set(chosen.tolist())


def test_files_are_those_of_ctranslate2(tmp_path: Path) -> None:
    names = ["<unk>", "</s>", "▁a", "▁b", "c"]
    shortlist = Shortlist(
        {
            (): np.array([4]),
            (2,): np.array([3, 4]),
            (2, 4): np.array([2]),
            (3,): np.array([], int),
        }
    )
    (tmp_path / "list.txt").write_text(shortlist_text(shortlist, names))
    assert (tmp_path / "list.txt").read_text() == "\tc\n▁a\t▁b c\n▁a c\t▁a\n▁b\t\n"
    again = read_shortlist(tmp_path / "list.txt", names)
    assert {ngram: ids.tolist() for ngram, ids in again.candidates.items()} == {
        (): [4], (2,): [3, 4], (2, 4): [2], (3,): []
    }  # fmt: skip
    # A file need not have candidates for every sentence.
    allowed = np.zeros(5, np.bool_)
    Shortlist({(2,): np.array([3])}).mark(np.array([2, 4]), allowed)
    assert np.flatnonzero(allowed).tolist() == [3]
    # With a vocabulary for each side, a name that both have is another piece on each.
    both = ["x", "▁a", "x", "▁b"]
    (tmp_path / "two.txt").write_text("x\tx ▁b\n")
    two = read_shortlist(
        tmp_path / "two.txt", both, IdRanges(range(2), range(2, 4), range(2, 4))
    )
    assert {ngram: ids.tolist() for ngram, ids in two.candidates.items()} == {
        (0,): [2, 3]
    }
    with pytest.raises(MasscliError, match="'two words' has white space"):
        shortlist_text(Shortlist({(): np.array([0])}), ["two words"])
    for text, message in (
        (
            "▁a\t▁b\n▁b c\n",
            r"bad.txt:2: expected source pieces, a tab and target pieces",
        ),
        ("▁a\t▁b ▁x\n", r"bad.txt:1: '▁x' is not in the vocabulary of the model"),
        ("▁a\t▁b  c\n", r"bad.txt:1: '' is not in the vocabulary"),
        ("▁a\t▁b\n▁b\tc\n▁a\tc\n", r"bad.txt:3: an earlier line has the same source"),
        ("", r"bad.txt: is empty"),
    ):
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(MasscliError, match=message):
            read_shortlist(tmp_path / "bad.txt", names)


def test_a_file_says_what_it_is_for(tmp_path: Path) -> None:
    """A part of a file, another vocabulary and another direction are refused; what says nothing is trusted."""
    names = ["<unk>", "</s>", "▁a", "▁b", "▁bc"]
    candidates = {(2,): np.array([3]), (3,): np.array([2, 4])}
    text = shortlist_text(Shortlist(candidates, "en-de"), names)
    first, *lines = text.splitlines(keepends=True)
    # To CTranslate2 it is a source piece without candidates.
    assert " " not in first and first.endswith("\t\n")
    assert lines == ["▁a\t▁b\n", "▁b\t▁a ▁bc\n"]
    path = tmp_path / "list.txt"
    path.write_text(text)
    read = read_shortlist(path, names)
    read.require_direction("en", "de")
    with pytest.raises(MasscliError, match="is for en-de, not for de-en"):
        read.require_direction("de", "en")
    with pytest.raises(MasscliError, match="is for a different vocabulary"):
        read_shortlist(path, [*names, "▁d"])
    # A line less, and a last piece that is another one when it is cut.
    for part in (text[: -len(lines[-1])], text.removesuffix("c\n")):
        path.write_text(part)
        with pytest.raises(MasscliError, match=r"list.txt: was cut off or changed"):
            read_shortlist(path, names)
    path.write_text("".join(lines))
    read_shortlist(path, names).require_direction("de", "en")


SHORTLIST = "shortlist {toy} -s en -t de --per-piece 1 --frequent 0"
GENERATE = (
    "generate {run} --beam 2 --max-len-b 4 --device cpu --precision fp32 -i in.en"
)


def test_a_shortlist_is_made_of_pairs(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = SHORTLIST.format(toy=toy)
    succeed(command)
    printed = capsys.readouterr().err
    assert printed.startswith("shortlist.txt: a sentence of valid has ")
    # The toy's words stand for each other, one by one.
    assert printed.endswith(
        "and among them are 100.00% of the pieces of its reference\n"
    )
    succeed(f"{command} --output -")
    assert capsys.readouterr().out == Path("shortlist.txt").read_text()
    assert not Path("-").exists()
    message = refusal(capsys, *command.split(), "--output", "no/list.txt")[0]
    assert "--output no/list.txt: its folder does not exist" in message


def test_outputs_consist_of_candidates_of_their_source(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even an untrained model only generates words that co-occur with those of the source."""
    monkeypatch.chdir(tmp_path)
    run = random_translator("default", toy, tmp_path / "run")
    succeed(SHORTLIST.format(toy=toy))
    (tmp_path / "in.en").write_text("\n".join(LINES) + "\n")
    command = GENERATE.format(run=run.path)
    succeed(f"{command} -o short.de --shortlist shortlist.txt")
    succeed(f"{command} -o plain.de")
    translation = dict(zip(WORDS["en"], WORDS["de"], strict=True))
    outputs = (tmp_path / "short.de").read_text().splitlines()
    for line, output in zip(LINES, outputs, strict=True):
        words = line.split()
        assert set(output.split()) <= {*words, *(translation[word] for word in words)}
    assert (tmp_path / "plain.de").read_text().splitlines() != outputs
    model = load(run.path, device="cpu", precision="fp32", shortlist="shortlist.txt")
    assert model.translate(LINES, beam=2, max_len_b=4) == outputs


def test_a_shortlist_that_has_no_use_is_refused(
    toy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run = random_translator("default", toy, tmp_path / "run")
    succeed(SHORTLIST.format(toy=toy))
    (tmp_path / "in.en").write_text("\n".join(LINES) + "\n")
    generate = f"{GENERATE.format(run=run.path)} -o out --shortlist shortlist.txt"
    for command, message in (
        (f"{generate} --score-reference in.en", "cannot be combined with --shortlist"),
        (f"{generate} -s de -t en", "the file is for en-de, not for de-en"),
        (
            f"export {run.path} --shortlist shortlist.txt --output exported",
            "--shortlist has no effect on a translator with --to huggingface",
        ),
    ):
        assert message in "\n".join(refusal(capsys, *command.split()))
    assert not Path("out").exists()

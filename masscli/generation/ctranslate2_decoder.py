"""Generate from token ids with CTranslate2 in place of PyTorch: the interface of `Decoder`, another engine.

CTranslate2 finishes a sentence as soon as `beam` hypotheses have ended, as `early_stop` does, and it
does not force the end symbol at the length limit. In its search the probability of special pieces,
which are never generated, is redistributed over the others. Its own scores are therefore not those of
the model: outputs are rescored over all pieces, which gives the scores of `Decoder`. Unsupported
options are refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from masscli.core.config import is_changed
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.batches.framing import Framing
from masscli.data.formats.pharaoh import Links
from masscli.generation.config import GenerationConfig
from masscli.generation.hypotheses import Hypothesis, pair_with_sources
from masscli.generation.text_decoder import AlignmentHead
from masscli.models.config import ModelConfig

_UNSUPPORTED = (
    "sampling",
    "unkpen",
    "prefix_size",
    "diverse_beam_groups",
    "repetition_penalty",
)
"""Fields of GenerationConfig that CTranslate2 cannot follow, and which must have their defaults."""

MIN_BATCH = 8
"""Minimum number of sentences of a batch, if there are so many: in smaller ones a sentence takes longer."""


class CTranslate2Decoder:
    """A decoder that generates and scores token ids with CTranslate2 in place of PyTorch.

    `translator` is a `ctranslate2.Translator`, and `token_names` has the name of each of its tokens by id. If
    `piece_scores` is set, or several outputs of a source are asked for, outputs are scored after the search
    and sorted by these scores. Otherwise they have no scores of pieces, and the score that CTranslate2's
    search gave them. `use_shortlist` restricts outputs to the candidates in the translator's folder;
    CTranslate2 takes those of a whole batch together. Raises MasscliError for options that CTranslate2 does
    not have.
    """

    single_stack = False
    """CTranslate2 translates with an encoder and a decoder only."""

    def __init__(
        self,
        translator: Any,
        token_names: Sequence[str],
        model: ModelConfig,
        framing: Framing,
        config: GenerationConfig,
        *,
        batch_tokens: int = 8000,
        batch_size: int | None = None,
        allowed: Tensor | None = None,
        piece_scores: bool = True,
        use_shortlist: bool = False,
    ) -> None:
        for field in _UNSUPPORTED:
            if is_changed(config, field):
                raise _refusal(f"--{field.replace('_', '-')}")
        if allowed is not None:
            raise _refusal("--min-piece-count")
        self._translator = translator
        self._names = token_names
        self._scores_outputs = piece_scores or config.outputs > 1
        self._use_shortlist = use_shortlist
        vocab = framing.vocab
        predicted = range(vocab.size)
        # The output layer of an imported model may lack ids, and CTranslate2 knows only those that it has.
        if vocab.id_ranges is not None:
            predicted = vocab.id_ranges.predicted
        never = sorted(
            vocab.special_ids.intersection(predicted) - {vocab.eos, vocab.unk}
        )
        self._never_generated = [[token_names[number]] for number in never]
        # With two vocabularies, a name that both have is that of the target here: its ids come last.
        self._ids = {name: number for number, name in enumerate(token_names)}
        self.framing = framing
        self.config = config
        self.max_source_length = (
            model.max_positions - framing.prefix_length - framing.suffix_length
        )
        self._max_target_length = (
            model.max_target_positions - framing.target_prefix_length
        )
        self._batch_tokens = max(1, batch_tokens // config.beam)
        self._batch_size = batch_size

    def max_output_length(self, source_length: int) -> int:
        """Return for how many pieces of output the model has positions, whatever the source length."""
        return self._max_target_length

    def generate(
        self,
        sources: Sequence[Ids],
        source_lang: str,
        target_lang: str,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        phrases: Sequence[Sequence[Sequence[int]]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Return the n best outputs in `target_lang`, best first, of each source in `source_lang`.

        A source has no special tokens, and at most `max_source_length` tokens. Raises MasscliError if outputs
        must begin with certain pieces (`prefixes`) or contain certain phrases.
        """
        if prefixes is not None and any(len(prefix) for prefix in prefixes):
            raise _refusal("--prefix")
        if phrases is not None and any(phrases):
            raise _refusal("--constraints")
        results: list[list[Hypothesis]] = [[] for _ in sources]
        pending = []
        # All groups are submitted before waiting for the first result, so that CTranslate2 never idles.
        for limit, numbers in self._group_by_limit(sources):
            tokens = self._source_tokens(
                [sources[number] for number in numbers], source_lang, target_lang
            )
            answers = self._translator.translate_batch(
                tokens,
                self._forced_tokens(target_lang, len(numbers)),
                beam_size=self.config.beam,
                num_hypotheses=self.config.outputs,
                length_penalty=self.config.lenpen,
                no_repeat_ngram_size=self.config.no_repeat_ngram_size,
                min_decoding_length=self.config.min_len,
                max_decoding_length=limit,
                suppress_sequences=self._never_generated,
                # By default, CTranslate2 silently truncates sources at 1,024 tokens.
                max_input_length=0,
                return_scores=True,
                use_vmap=self._use_shortlist,
                asynchronous=True,
                **self._batching([len(row) for row in tokens]),
            )
            pending.append((limit, numbers, answers))
        for limit, numbers, answers in pending:
            for number, answer in zip(numbers, answers, strict=True):
                results[number] = self._hypotheses(answer.result(), limit, target_lang)
        if self._scores_outputs:
            self._score_outputs(sources, results, source_lang, target_lang)
        return results

    def score(
        self,
        sources: Sequence[Ids],
        targets: Sequence[Ids],
        source_lang: str,
        target_lang: str,
    ) -> list[Hypothesis]:
        """Return each target as a hypothesis, scored as an output of the model for its source.

        The score is the log-probability divided by the length to the power of lenpen, as in `Decoder.score`.
        Sources and targets are token ids without special tokens.
        """
        forced = self.framing.forced_tokens(target_lang)
        target_tokens = [self._to_tokens([*forced, *ids.tolist()]) for ids in targets]
        source_tokens = self._source_tokens(sources, source_lang, target_lang)
        answers = self._translator.score_batch(
            source_tokens,
            target_tokens,
            max_input_length=0,
            **self._batching([len(row) for row in source_tokens]),
        )
        hypotheses = []
        for ids, answer in zip(targets, answers, strict=True):
            # Forced tokens have log-probability 0, but count in the length.
            token_scores = tuple(answer.log_probs[len(forced) :])
            score = (
                math.fsum(token_scores) / len(answer.log_probs) ** self.config.lenpen
            )
            hypotheses.append(
                Hypothesis(tuple(ids.tolist()), score, token_scores, hit_max_len=False)
            )
        return hypotheses

    def align(
        self,
        sources: Sequence[Ids],
        targets: Sequence[Ids],
        source_lang: str,
        target_lang: str,
        head: AlignmentHead,
    ) -> list[Links]:
        """Raise MasscliError, since CTranslate2 does not tell how given targets attend to their sources."""
        raise _refusal("--alignments")

    def _score_outputs(
        self,
        sources: Sequence[Ids],
        results: list[list[Hypothesis]],
        source_lang: str,
        target_lang: str,
    ) -> None:
        """Give each hypothesis in `results` the scores that `score` computes, and sort by them, in place.

        `results` has a list of hypotheses for each source.
        """
        repeated, outputs = pair_with_sources(sources, results)
        scored = iter(self.score(repeated, outputs, source_lang, target_lang))
        for hypotheses in results:
            for number, hypothesis in enumerate(hypotheses):
                hypotheses[number] = replace(
                    next(scored), hit_max_len=hypothesis.hit_max_len
                )
            hypotheses.sort(key=lambda hypothesis: -hypothesis.score)

    def _batching(self, lengths: Sequence[int]) -> dict[str, Any]:
        """Return CTranslate2's options for dividing sentences of these lengths, in tokens, into batches.

        A batch has at most `batch_size` sentences if that was given. If not, it has at most `batch_tokens`
        tokens times beams, and fewer where a worker of CTranslate2 would get no batch, but room for at least
        MIN_BATCH sentences of the greatest length.
        """
        if self._batch_size is not None:
            return {"batch_type": "examples", "max_batch_size": self._batch_size}
        share = math.ceil(sum(lengths) / self._translator.num_translators)
        tokens = max(share, MIN_BATCH * max(lengths, default=0))
        return {
            "batch_type": "tokens",
            "max_batch_size": min(tokens, self._batch_tokens),
        }

    def _group_by_limit(
        self, sources: Sequence[Ids]
    ) -> Iterator[tuple[int, list[int]]]:
        """Yield each length limit, in pieces, with the indices of its sources, the largest limit first.

        A call of CTranslate2 has a single limit for all its sentences.
        """
        groups: dict[int, list[int]] = {}
        for number, ids in enumerate(sources):
            limit = self.config.length_limit(len(ids))
            groups.setdefault(int(min(limit, self._max_target_length)), []).append(
                number
            )
        # Long sentences come first, so that memory peaks at the start.
        yield from sorted(groups.items(), reverse=True)

    def _hypotheses(
        self, answer: Any, limit: int, target_lang: str
    ) -> list[Hypothesis]:
        """Convert CTranslate2's answer for one sentence to hypotheses without scores of pieces, best first.

        `limit` is the length limit in pieces. Tokens that outputs in `target_lang` are forced to begin
        with are removed.
        """
        forced = len(self.framing.forced_tokens(target_lang))
        hypotheses = []
        for tokens, score in zip(answer.hypotheses, answer.scores, strict=True):
            ids = tuple(self._ids[token] for token in tokens[forced:])
            hypotheses.append(Hypothesis(ids, score, (), hit_max_len=len(ids) >= limit))
        return hypotheses

    def _source_tokens(
        self, sources: Sequence[Ids], source_lang: str, target_lang: str
    ) -> list[list[str]]:
        """Return the names of the tokens that the encoder reads for each source, special tokens included."""
        framed = [
            self.framing.encoder_input(ids, source_lang, target_lang) for ids in sources
        ]
        return [self._to_tokens(ids.tolist()) for ids in framed]

    def _forced_tokens(
        self, language: str, count: int
    ) -> list[list[str] | None] | None:
        """Return the forced first tokens of `count` outputs in `language`, as names, or None for none."""
        forced = self._to_tokens(self.framing.forced_tokens(language))
        if not forced:
            return None
        return [forced] * count

    def _to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the names of tokens with these ids."""
        return [self._names[number] for number in ids]


def _refusal(flag: str) -> MasscliError:
    """Return the error that says that CTranslate2 does not have the option `flag`."""
    return MasscliError(
        f"{flag}: CTranslate2 does not support it",
        "leave it out, or decode with --backend torch",
    )

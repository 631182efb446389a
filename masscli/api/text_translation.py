"""Translate text that is not one clean sentence: lines, sentences within lines, placeholders and tags.

Line ends and the white space around lines stay as they are. A line is split into sentences
(masscli/text/sentences.py), which are translated together with those of all other texts and joined by the
white space that was between them. A sentence with placeholders (masscli/text/placeholders.py) is translated
as it is; if none of the n best outputs has the same placeholders, each stretch of text between them is
translated on its own, and the placeholders keep their places.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from masscli.api.text_model import TextModel
from masscli.generation.config import GenerationConfig
from masscli.generation.translation import INPUT, Translation
from masscli.generation.translator import Translator
from masscli.text.output_flags import output_flags
from masscli.text.placeholders import (
    find_placeholders,
    keeps_placeholders,
    split_at_placeholders,
)
from masscli.text.sentences import split_sentences
from masscli.text.single_line import one_line
from masscli.text.unknown_pieces import UnknownPieces

WITHOUT_SPACES = ("ja", "lo", "km", "my", "th", "yue", "zh")
"""Codes of languages that put no white space between sentences."""

SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")


@dataclass(frozen=True, slots=True)
class LineTranslation:
    """The translation of a line of text, without its line end."""

    source: str
    texts: tuple[str, ...]
    """The translations, the best one first. The k-th joins the k-th best translations of all sentences; a
    sentence with fewer repeats its last one."""
    sentences: tuple[tuple[Translation, ...], ...]
    """The hypotheses of each sentence of the line, the best one first.

    A sentence that was translated around its placeholders has an entry for each translated part.
    """
    flags: tuple[str, ...]
    """Names of signs that the best translation may be wrong, such as those of masscli/text/output_flags.py.

    `truncated` means that a sentence was too long for the model, which did not read its end, and
    `not-understood` that no piece of a sentence is in the vocabulary.
    """

    @property
    def text(self) -> str:
        """The best translation."""
        return self.texts[0]

    @property
    def confidence(self) -> float:
        """The geometric mean of the probabilities of all pieces of the best translation; 1 without pieces."""
        return self.confidence_of(0)

    def confidence_of(self, rank: int) -> float:
        """Return the geometric mean of the probabilities of all pieces of `texts[rank]`; 1 without pieces."""
        # All pieces of the line together: a mean over sentences would weigh those of short ones more.
        pieces = sum(
            len(translation.piece_scores) for translation in self._hypotheses(rank)
        )
        return math.exp(self.log_probability(rank) / max(1, pieces))

    def log_probability(self, rank: int) -> float:
        """Return the natural logarithm of the probability of `texts[rank]`, over all of its sentences."""
        return math.fsum(
            translation.log_probability for translation in self._hypotheses(rank)
        )

    def _hypotheses(self, rank: int) -> list[Translation]:
        # As `_at` does for texts, a sentence with fewer hypotheses repeats its last one.
        hypotheses_of_rank = []
        for hypotheses in self.sentences:
            hypotheses_of_rank.append(hypotheses[min(rank, len(hypotheses) - 1)])
        return hypotheses_of_rank


@dataclass(frozen=True, slots=True)
class TextTranslation:
    """The translation of a text of several lines, with the translation of each line."""

    lines: tuple[LineTranslation, ...]

    @property
    def texts(self) -> list[str]:
        """The translations of the whole text, the best one first, with line ends between the lines.

        There are as many as the line with the most translations has; a line with fewer repeats its last one.
        """
        count = max(len(line.texts) for line in self.lines)
        texts = []
        for rank in range(count):
            lines = [_at(line.texts, rank) for line in self.lines]
            texts.append("\n".join(lines))
        return texts

    @property
    def text(self) -> str:
        """The best translation, with as many lines as the source."""
        return self.texts[0]


@dataclass(slots=True)
class _Sentence:
    """A sentence of a line, the white space that follows it, and its translations, the best one first."""

    body: str
    space: str
    """White space after the sentence in its line."""
    translations: list[str]
    hypotheses: list[tuple[Translation, ...]]
    is_truncated: bool = False
    is_unknown: bool = False

    def keep_only_with(self, placeholders: Sequence[str]) -> bool:
        """Drop the translations that lack these placeholders, unless all do; return whether any has them."""
        (hypotheses,) = self.hypotheses
        kept_texts, kept_hypotheses = [], []
        for text, hypothesis in zip(self.translations, hypotheses, strict=True):
            if keeps_placeholders(text, placeholders):
                kept_texts.append(text)
                kept_hypotheses.append(hypothesis)
        if kept_texts:
            self.translations = kept_texts
            self.hypotheses = [tuple(kept_hypotheses)]
        return bool(kept_texts)


class TextTranslator:
    """Translates texts of any length, by sentences, with the task that a model was opened for."""

    def __init__(
        self,
        model: TextModel,
        search: GenerationConfig,
        *,
        split: bool = True,
        keep_placeholders: bool = True,
        seed: int = 1,
    ) -> None:
        """Choose whether to `split` lines into sentences, and to `keep_placeholders` unchanged.

        With sampling, `seed` decides what is drawn. If source and target language are the same, as for
        summaries, lines are never split.
        """
        self.model = model
        self.search = search
        self.split = split and model.task.source != model.task.target
        self.keep_placeholders = keep_placeholders
        self.seed = seed
        self.unknown = UnknownPieces()
        """The pieces of all texts so far, and how many are unknown; it lists no lines."""

    def translate(self, texts: Iterable[str]) -> list[TextTranslation]:
        """Return the translation of each text; batches hold sentences of all texts together."""
        split_texts = []
        sentences: list[_Sentence] = []
        for text in texts:
            split_lines = []
            for line in text.split("\n"):
                line_sentences = self._sentences(line.strip())
                split_lines.append((line, line_sentences))
                sentences += line_sentences
            split_texts.append(split_lines)
        # Sentences are changed in place, so that their lines have the translations, too.
        self._translate_whole(sentences)
        if self.keep_placeholders:
            self._translate_around_placeholders(sentences)
        results = []
        for split_lines in split_texts:
            translated = [
                self._join(line, line_sentences) for line, line_sentences in split_lines
            ]
            results.append(TextTranslation(tuple(translated)))
        return results

    def _sentences(self, line: str) -> list[_Sentence]:
        """Split a line, which has no white space around it, into sentences that are not translated yet.

        With `split` off, the line is the only sentence.
        """
        parts = split_sentences(line, self.model.task.source) if self.split else [line]
        sentences = []
        for part in parts:
            # The white space is kept for the translation, which a model would not give back.
            body = part.rstrip()
            sentences.append(_Sentence(body, part[len(body) :], [], []))
        return sentences

    def _translate_whole(self, sentences: Sequence[_Sentence]) -> None:
        """Translate each sentence with its placeholders, and set its translations in place.

        `hypotheses` and `translations` are set, `is_truncated` for sentences too long for the model, and
        `is_unknown` for those without any known piece.
        """
        translator = self.model.translator(
            self.model.decoder(self.search, seed=self.seed)
        )
        bodies = [sentence.body for sentence in sentences]
        n_best = self._hypotheses(translator, bodies)
        for sentence, hypotheses in zip(sentences, n_best, strict=True):
            sentence.hypotheses = [tuple(hypotheses)]
            sentence.translations = [
                one_line(hypothesis.text) for hypothesis in hypotheses
            ]
        # To the translator a sentence is a line, and lines are numbered from 1.
        for line in translator.report.truncated:
            sentences[line - 1].is_truncated = True
        unknown = translator.report.unknown.get(INPUT, UnknownPieces())
        self.unknown.pieces += unknown.pieces
        self.unknown.unknown += unknown.unknown
        for line in unknown.lines:
            sentences[line - 1].is_unknown = True

    def _translate_around_placeholders(self, sentences: Sequence[_Sentence]) -> None:
        """Restore the placeholders of sentences, in place.

        Translations that lack the placeholders of the source are dropped. If a sentence has no other
        translation, the text between its placeholders is translated part by part, for a single translation.
        """
        broken: list[tuple[_Sentence, list[tuple[str, bool]]]] = []
        for sentence in sentences:
            placeholders = find_placeholders(sentence.body)
            if placeholders and not sentence.keep_only_with(placeholders):
                broken.append((sentence, split_at_placeholders(sentence.body)))
        # Parts without a letter, such as punctuation between two tags, are not translated.
        parts = []
        for _, split in broken:
            parts += [
                part
                for part, is_placeholder in split
                if not is_placeholder and _has_letter(part)
            ]
        translator = self.model.translator(
            self.model.decoder(self.search, seed=self.seed)
        )
        bodies = [_strip(part)[1] for part in parts]
        # Parts are consumed below in the order in which they were collected above.
        outputs = iter(self._hypotheses(translator, bodies))
        for sentence, split in broken:
            sentence.hypotheses = []
            text = ""
            for part, is_placeholder in split:
                if is_placeholder or not _has_letter(part):
                    text += part
                    continue
                hypotheses = next(outputs)
                sentence.hypotheses.append(tuple(hypotheses))
                begin, body, end = _strip(part)
                text += begin + _end_like(one_line(hypotheses[0].text), body) + end
            sentence.translations = [text]

    def _hypotheses(
        self, translator: Translator, lines: Sequence[str]
    ) -> list[list[Translation]]:
        task = self.model.task
        return list(translator.translate(lines, task.source, task.target))

    def _join(self, line: str, sentences: Sequence[_Sentence]) -> LineTranslation:
        """Return the translation of a line, joined from its translated sentences, with its flags.

        White space around the line is kept.
        """
        count = max((len(sentence.translations) for sentence in sentences), default=1)
        begin, body, end = _strip(line)
        texts = []
        for rank in range(count):
            text = ""
            for sentence in sentences:
                text += _at(sentence.translations, rank) + self._space(sentence)
            texts.append(begin + text.strip() + end)
        task = self.model.task
        languages = list(self.model.ensemble.framing.vocab.languages)
        flags = output_flags(
            body, texts[0].strip(), task.source, task.target, languages
        )
        if any(sentence.is_truncated for sentence in sentences):
            flags = (*flags, "truncated")
        if any(sentence.is_unknown for sentence in sentences):
            flags = (*flags, "not-understood")
        hypotheses: list[tuple[Translation, ...]] = []
        for sentence in sentences:
            hypotheses += sentence.hypotheses
        return LineTranslation(line, tuple(texts), tuple(hypotheses), flags)

    def _space(self, sentence: _Sentence) -> str:
        """Return the white space to put after the translation of a sentence.

        It is that of the source, or a space if the source has none and the target language needs one.
        """
        if not sentence.space and self.model.task.target not in WITHOUT_SPACES:
            # Chinese sentences follow each other without a space, their translations do not.
            return " "
        return sentence.space


def _at(texts: Sequence[str], rank: int) -> str:
    """Return `texts[rank]`, or the last text if there are not so many."""
    return texts[min(rank, len(texts) - 1)]


def _end_like(output: str, source: str) -> str:
    """Return the translation of a part of a sentence, ending as the part does.

    A model that has learned from whole sentences ends each output like a sentence. If `source` does not end
    with such a mark, the mark is removed from `output`, or replaced by the comma or the like of `source`.
    """
    if source[-1] in SENTENCE_ENDS or output[-1:] not in SENTENCE_ENDS:
        return output
    # A comma and the like stay.
    mark = "" if source[-1].isalnum() else source[-1]
    return output.rstrip("".join(SENTENCE_ENDS)) + mark


def _strip(text: str) -> tuple[str, str, str]:
    """Return (white space before a text, the text without it, white space after the text)."""
    body = text.strip()
    if not body:
        return text, "", ""
    return text.partition(body)


def _has_letter(text: str) -> bool:
    return any(letter.isalnum() for letter in text)

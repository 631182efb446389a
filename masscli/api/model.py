"""Trained models for programs: `load` opens one, and `Model` translates, scores and predicts with it.

The commands `generate`, `predict`, `interactive` and `serve` use the same objects.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from masscli.api.ensemble import Ensemble
from masscli.api.text_model import TextModel
from masscli.api.text_translation import TextTranslation, TextTranslator
from masscli.api.texts import require_text
from masscli.core.config import find_unused, refuse_misleading
from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.generation.config import GenerationConfig
from masscli.generation.translation import Translation
from masscli.generation.translator import Translator
from masscli.metrics.perplexity import perplexity
from masscli.objectives.registry import OBJECTIVES

if TYPE_CHECKING:
    from masscli.api.examples import Example
    from masscli.api.task_model import TaskModel
    from masscli.objectives.shared.evaluable_objective import Prediction


def load(
    *paths: str | PathLike[str],
    device: str = "auto",
    precision: str = "auto",
    backend: Literal["torch", "ctranslate2"] = "torch",
    shortlist: str | PathLike[str] | None = None,
    allow_code: Sequence[str] = (),
) -> Model:
    """Open a run, a checkpoint or an imported folder as a model; several paths make an ensemble.

    `device` is cpu, cuda, cuda:1 and so on; `precision` is bf16, fp16, fp32 or int8; `auto` chooses
    one. `allow_code` names objectives outside of masscli, as module:Class, which the recipe of the run
    may import. Weights are loaded when they are first needed.

    With `backend` ctranslate2 (the extra `ct2`) CTranslate2 decodes, which works with a single model
    only. The model is converted for each translation direction, and again for another shortlist; the
    results are stored in the folder `ctranslate2` of the checkpoint. CTranslate2 ends the search for a
    text as soon as `beam` hypotheses have ended, as the option `early_stop` does.

    `shortlist` is a file as `masscli shortlist` writes it, for one direction: outputs then consist of the
    candidates of their source, and their scores are log-probabilities among these.

    Raises MasscliError if there is no checkpoint, if it is damaged, if the models do not fit each
    other, if the shortlist is for another vocabulary, or if the device, the precision or the backend
    cannot be used.
    """
    if not paths:
        raise TypeError("load() needs the folder of a run, or several")
    for name in allow_code:
        OBJECTIVES.allow(name)
    file = None if shortlist is None else Path(shortlist)
    return Model(
        Ensemble.open([Path(path) for path in paths], device, precision, backend, file)
    )


class Model:
    """A trained model, or an ensemble, that translates, scores and predicts.

    Most methods take lists and return lists of the same length, in the same order. The result for a
    text does not depend on the other texts of the list (in fp32; bf16 rounds). Anything that a user
    should know, such as that a text was truncated, is issued as a Python warning. Methods raise
    MasscliError for a request that the model cannot fulfill.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self._text_models: dict[
            tuple[str | None, str | None, str | None], TextModel
        ] = {}
        self._task_models: dict[tuple[str | None, float | None], TaskModel] = {}

    def __reduce__(self) -> NoReturn:
        """Raise TypeError: a model can be neither pickled nor copied, since PyTorch packs some weights."""
        raise TypeError(
            "a model can be neither pickled nor copied; call masscli.load where it is needed"
        )

    def translate(
        self,
        texts: Iterable[str],
        source: str | None = None,
        target: str | None = None,
        *,
        stream: str | None = None,
        beam: int | None = None,
        seed: int = 1,
        **search: Any,
    ) -> list[str]:
        """Return the best output for each text, such as its translation or summary.

        `source` and `target` (languages) and `stream` (the name of a training stream) choose among
        several directions or tasks that the model was trained for. `beam` and `search` are fields of
        `GenerationConfig`, such as lenpen=0.6 or sampling=True; a field that is not given has the value
        that was imported with the model, or else the default of `masscli generate`. With sampling,
        `seed` is the random seed.
        """
        if search.pop("nbest", 1) != 1:
            warnings.warn(
                "nbest has no effect: translate returns the best output alone, translate_nbest several",
                stacklevel=2,
            )
        n_best = self.translate_nbest(
            texts,
            source,
            target,
            stream=stream,
            beam=beam,
            nbest=1,
            seed=seed,
            **search,
        )
        return [translations[0].text for translations in n_best]

    def translate_nbest(
        self,
        texts: Iterable[str],
        source: str | None = None,
        target: str | None = None,
        *,
        stream: str | None = None,
        beam: int | None = None,
        nbest: int | None = None,
        seed: int = 1,
        **search: Any,
    ) -> list[list[Translation]]:
        """Return a list of the best outputs for each text, with their scores, the best one first.

        Each list has at most `nbest` outputs (default: the width of the beam), and at least one. `source`,
        `target`, `stream`, `beam`, `seed` and `search` are as for `translate`.
        """
        config = self._search_config(beam, search)
        config = replace(config, nbest=config.beam if nbest is None else nbest)
        model = self.text_model(stream, source, target)
        translator = model.translator(model.decoder(config, seed=seed))
        outputs = list(
            translator.translate(_as_list(texts), model.task.source, model.task.target)
        )
        _warn_about(model, translator)
        return outputs

    def translate_text(
        self,
        text: str,
        source: str | None = None,
        target: str | None = None,
        *,
        stream: str | None = None,
        split: bool = True,
        keep_placeholders: bool = True,
        beam: int | None = None,
        nbest: int = 1,
        seed: int = 1,
        **search: Any,
    ) -> TextTranslation:
        """Return the translation of one text of any length, line by line.

        With `split` each line is split into sentences, which are translated on their own. With
        `keep_placeholders`, placeholders and tags such as {name} and <b> stay unchanged. Each line of the
        result has a confidence, and flags that tell why it may be wrong. `nbest` is the number of
        translations for each sentence; the other arguments are as for `translate`.
        """
        require_text("text", text)
        config = self._search_config(beam, {"nbest": nbest, **search})
        model = self.text_model(stream, source, target)
        for warning in model.warnings:
            warnings.warn(warning, stacklevel=2)
        translator = TextTranslator(
            model,
            config,
            split=split,
            keep_placeholders=keep_placeholders,
            seed=seed,
        )
        return translator.translate([text])[0]

    def score(
        self,
        texts: Iterable[str],
        sources: Iterable[str] | None = None,
        source: str | None = None,
        target: str | None = None,
        *,
        stream: str | None = None,
    ) -> list[Translation]:
        """Return given texts with the log-probabilities that the model assigns to them, without a search.

        `texts[i]` is scored as an output for `sources[i]`. Without `sources` every source is empty, as suits
        a language model (gpt, clm), which scores a text from its first piece on. The end symbol after each
        text is scored, too. `source`, `target` and `stream` choose the direction or task.
        """
        outputs = _as_list(texts)
        inputs = [""] * len(outputs) if sources is None else _as_list(sources)
        if len(inputs) != len(outputs):
            raise MasscliError(
                f"there are {count_of(len(outputs), 'text')} and {count_of(len(inputs), 'source')}",
                "give a source for each text",
            )
        model = self.text_model(stream, source, target)
        translator = model.translator(model.decoder(GenerationConfig()))
        scored = list(
            translator.score(inputs, outputs, model.task.source, model.task.target)
        )
        _warn_about(model, translator)
        return scored

    def log_probabilities(
        self,
        texts: Iterable[str],
        sources: Iterable[str] | None = None,
        source: str | None = None,
        target: str | None = None,
        *,
        stream: str | None = None,
    ) -> list[float]:
        """Return the natural logarithm of the probability that the model assigns to each text, end included.

        `texts[i]` is taken for an output for `sources[i]`, or for an empty source without `sources`.
        """
        return [
            scored.log_probability
            for scored in self.score(texts, sources, source, target, stream=stream)
        ]

    def perplexity(
        self,
        texts: Iterable[str],
        sources: Iterable[str] | None = None,
        source: str | None = None,
        target: str | None = None,
        *,
        stream: str | None = None,
    ) -> float:
        """Return the perplexity per piece over all texts together; each end symbol counts as a piece.

        `texts[i]` is scored as an output for `sources[i]`, or for an empty source without `sources`.
        """
        scored = self.score(texts, sources, source, target, stream=stream)
        pieces = sum(len(text.pieces) for text in scored)
        nats = -math.fsum(text.log_probability for text in scored)
        return perplexity(nats, max(1, pieces))

    def predict(
        self,
        examples: Sequence[Example],
        *,
        stream: str | None = None,
        null_threshold: float | None = None,
        batch_tokens: int = 8000,
    ) -> list[Prediction]:
        """Return the label, number, tags, choice or answer of each example.

        `Prediction.details` has their probabilities, except for numbers. An example is a text, a list of two
        texts, a list of the words of a sentence, or a mapping of fields such as a question and a context;
        which of them depends on the task. `stream` names the training stream of the task if the model has
        several. `null_threshold` replaces the trained threshold above which a question counts as
        unanswerable. A batch has at most `batch_tokens` pieces, or those of the longest example if it has
        more.
        """
        from masscli.api.task_model import text_warnings

        if isinstance(examples, str):
            raise TypeError("examples is one text; give a list of texts")
        model = self.task_model(stream, null_threshold)
        if not examples:
            return []
        table = model.table_of(examples)
        outputs, notes = model.outputs(table, batch_tokens)
        for note in (*notes, *text_warnings(table, model.count_unknown(table))):
            warnings.warn(note, stacklevel=2)
        return model.answers(table, outputs)

    def text_model(
        self,
        stream: str | None = None,
        source: str | None = None,
        target: str | None = None,
    ) -> TextModel:
        """Return the model for one generation task, which a stream name and two languages choose.

        What is None is filled in if only one task fits; otherwise MasscliError is raised. A model that
        was only pre-trained gets a direction anyway, with a warning in `TextModel.warnings`. The result
        is kept for later calls with the same arguments.
        """
        key = (stream, source, target)
        if key not in self._text_models:
            self._text_models[key] = TextModel.open(
                self.ensemble, stream=stream, source=source, target=target
            )
        return self._text_models[key]

    def _search_config(
        self, beam: int | None, search: Mapping[str, Any]
    ) -> GenerationConfig:
        """Return the options of a search: those given, else those imported with the model, else the defaults.

        Raises ConfigError for an option that is unknown, has an invalid value, or would mislead since it has
        no effect; other given options without an effect are reported as Python warnings.
        """
        if search.get("prefix_size"):
            raise MasscliError(
                "prefix_size would have no effect: there is no text to take prefixes from",
                "masscli generate --prefix FILE --prefix-size N has it",
            )
        given = dict(search)
        if beam is not None:
            given["beam"] = beam
        config = self.ensemble.search_config(given)
        unused = {
            key: rule for key, rule in find_unused(config).items() if key in given
        }
        for problem in refuse_misleading(unused):
            # The caller of the method that calls this.
            warnings.warn(
                f"{problem.key} has no effect: {problem.message}", stacklevel=3
            )
        return config

    def task_model(
        self, stream: str | None = None, null_threshold: float | None = None
    ) -> TaskModel:
        """Return the model for one labeled task, that of the training stream `stream`.

        `stream` may be None if there is only one such task. `null_threshold` replaces the trained threshold
        above which a question counts as unanswerable. The result is kept for later calls with the same
        arguments. Raises MasscliError if the model has no such task, or several.
        """
        # A model that generates starts sooner without the tasks over tables.
        from masscli.api.task_model import TaskModel

        key = (stream, null_threshold)
        if key not in self._task_models:
            self._task_models[key] = TaskModel.open(
                self.ensemble, stream, null_threshold
            )
        return self._task_models[key]


def _as_list(texts: Iterable[str]) -> list[str]:
    """Return the texts as a list.

    Raises TypeError for a single string, whose letters would become texts, and for items that are not
    strings, and MasscliError for a string that is not valid Unicode.
    """
    if isinstance(texts, str):
        raise TypeError("texts is one string; give a list of strings")
    listed = list(texts)
    for number, text in enumerate(listed):
        require_text(f"texts[{number}]", text)
    return listed


def _warn_about(model: TextModel, translator: Translator) -> None:
    """Issue Python warnings of a model and of its finished translation, such as that texts were truncated."""
    for text in (
        *model.warnings,
        *translator.report.warnings(translator.max_source_length),
    ):
        # The caller of the method that calls this.
        warnings.warn(text, stacklevel=3)

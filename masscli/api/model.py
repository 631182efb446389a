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
from typing import Any, Literal

from masscli.api.ensemble import Ensemble
from masscli.api.examples import Example
from masscli.api.task_model import TaskModel
from masscli.api.text_model import TextModel
from masscli.api.text_translation import TextTranslation, TextTranslator
from masscli.core.config import find_unused, from_dict, refuse_misleading
from masscli.generation.config import GenerationConfig
from masscli.generation.translator import Translation, Translator
from masscli.objectives.registry import OBJECTIVES
from masscli.objectives.shared.evaluable_objective import Prediction


def load(
    *paths: str | PathLike[str],
    device: str = "auto",
    precision: str = "auto",
    backend: Literal["torch", "ctranslate2"] = "torch",
    allow_code: Sequence[str] = (),
) -> Model:
    """Open a run, a checkpoint or an imported folder; several decode together as an ensemble.

    `device` is cpu, cuda, cuda:1 or the like; `precision` is bf16, fp16, fp32 or int8; auto chooses.
    `allow_code` names objectives outside of masscli, as module:Class, which the recipe of the run may import.
    Weights are read when they are needed first.

    With `backend` ctranslate2 (the extra `ct2`) a translator is converted once for each direction, beside its
    checkpoint, and decoded by CTranslate2; it finishes a text as soon as `beam` outputs have ended, as
    `early_stop` does.

    Raises MasscliError if there is no checkpoint, if it is damaged, or if the models do not fit each other.
    """
    for name in allow_code:
        OBJECTIVES.allow(name)
    return Model(Ensemble.open([Path(path) for path in paths], device, precision, backend))


class Model:
    """A trained model.

    Methods take lists and return lists of the same length, in the same order. The same text gets the same
    result in any list (in fp32; bf16 rounds). What a user should know, such as that a text was truncated, is
    issued as a Python warning. Raises MasscliError for a request that the model cannot serve.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self._text_models: dict[tuple[str | None, str | None, str | None], TextModel] = {}
        self._task_models: dict[tuple[str | None, float | None], TaskModel] = {}

    def translate(
        self,
        texts: Iterable[str],
        source: str | None = None,
        target: str | None = None,
        *,
        stream: str | None = None,
        beam: int | None = None,
        **search: Any,
    ) -> list[str]:
        """Return the best output for each text, such as its translation or summary.

        `source`, `target` and `stream` say what to do if the model was trained for several directions or
        tasks. `search` are fields of `GenerationConfig`, such as lenpen=0.6 or sampling=True; those that are
        not given, and `beam`, are those of `masscli generate`.
        """
        n_best = self.translate_nbest(
            texts, source, target, stream=stream, beam=beam, **{"nbest": 1, **search}
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
        **search: Any,
    ) -> list[list[Translation]]:
        """Return the best outputs for each text with their scores, the best one first.

        There are at most `nbest` of them (default: as many as the beam is wide), and at least one.
        """
        config = self._search_config(beam, search)
        config = replace(config, nbest=config.beam if nbest is None else nbest)
        model = self.text_model(stream, source, target)
        translator = model.translator(config)
        outputs = list(translator.translate(_as_list(texts), model.task.source, model.task.target))
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
        **search: Any,
    ) -> TextTranslation:
        """Return the translation of a text of any length, line by line.

        Lines are split into sentences, and placeholders and tags stay as they are, unless `split` or
        `keep_placeholders` is False. Each line has a confidence, and flags where it is probably wrong.
        """
        config = self._search_config(beam, {"nbest": nbest, **search})
        model = self.text_model(stream, source, target)
        for warning in model.warnings:
            warnings.warn(warning, stacklevel=2)
        translator = TextTranslator(model, config, split=split, keep_placeholders=keep_placeholders)
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
        """Return given texts with the scores that the model gives them.

        They are taken for outputs for `sources`. A model that only continues text (gpt, clm) needs none; its
        texts are scored from their first piece on, and the end symbol behind them is scored as well.
        """
        outputs = _as_list(texts)
        inputs = [""] * len(outputs) if sources is None else _as_list(sources)
        model = self.text_model(stream, source, target)
        translator = model.translator(GenerationConfig())
        scored = list(translator.score(inputs, outputs, model.task.source, model.task.target))
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
        """Return the natural logarithm of the probability of each text; see `score`."""
        return [
            scored.log_probability for scored in self.score(texts, sources, source, target, stream=stream)
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
        """Return the perplexity by piece of all texts together; the end symbols count as pieces."""
        scored = self.score(texts, sources, source, target, stream=stream)
        pieces = sum(len(text.pieces) for text in scored)
        return math.exp(-math.fsum(text.log_probability for text in scored) / max(1, pieces))

    def predict(
        self,
        examples: Sequence[Example],
        *,
        stream: str | None = None,
        null_threshold: float | None = None,
        batch_tokens: int = 8000,
    ) -> list[Prediction]:
        """Return the label, number, tags, choice or answer of each example, with probabilities.

        An example is a text; two texts, or the words of a sentence; or fields by name, such as a question
        and a context, as the task was trained on. `stream` names the task of a model that has several, and
        `null_threshold` replaces the trained threshold above which a question has no answer.
        """
        if isinstance(examples, str):
            raise TypeError("examples is one text; give a list of texts")
        model = self.task_model(stream, null_threshold)
        if not examples:
            return []
        table = model.table_of(examples)
        outputs, notes = model.outputs(table, batch_tokens)
        for note in notes:
            warnings.warn(note, stacklevel=2)
        return model.answers(table, outputs)

    def text_model(
        self, stream: str | None = None, source: str | None = None, target: str | None = None
    ) -> TextModel:
        """Return the model with the generation task that these words choose."""
        key = (stream, source, target)
        if key not in self._text_models:
            self._text_models[key] = TextModel.open(
                self.ensemble, stream=stream, source=source, target=target
            )
        return self._text_models[key]

    def _search_config(self, beam: int | None, search: Mapping[str, Any]) -> GenerationConfig:
        """Return the options of a search: those given, else those that were imported with the model.

        Raises ConfigError for one that is unknown, wrong or would mislead.
        """
        given = dict(search)
        if beam is not None:
            given["beam"] = beam
        config = from_dict(GenerationConfig, {**self.ensemble.first.state.generation, **given})
        unused = {key: rule for key, rule in find_unused(config).items() if key in given}
        for problem in refuse_misleading(unused):
            # The caller of the method that calls this.
            warnings.warn(f"{problem.key} has no effect: {problem.message}", stacklevel=3)
        return config

    def task_model(self, stream: str | None = None, null_threshold: float | None = None) -> TaskModel:
        """Return the model with the labelled task that these words choose."""
        key = (stream, null_threshold)
        if key not in self._task_models:
            self._task_models[key] = TaskModel.open(self.ensemble, stream, null_threshold)
        return self._task_models[key]


def _as_list(texts: Iterable[str]) -> list[str]:
    """Return the texts as a list. Raises TypeError for a single string, which would be taken for letters."""
    if isinstance(texts, str):
        raise TypeError("texts is one string; give a list of strings")
    return list(texts)


def _warn_about(model: TextModel, translator: Translator) -> None:
    """Issue what a user should know of a model and its outputs as Python warnings."""
    for text in (*model.warnings, *translator.report.warnings(translator.max_source_length)):
        # The caller of the method that calls this.
        warnings.warn(text, stacklevel=3)

"""The models that a server holds in memory, by name, and the directions that they translate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from masscli.api.model import Model, load
from masscli.api.text_translation import TextTranslation, TextTranslator
from masscli.core.errors import MasscliError
from masscli.core.listing import list_some
from masscli.serving.config import ServeConfig

LISTED_DIRECTIONS = 50
"""How many directions an error names; GET /models has all of them."""


@dataclass(frozen=True, slots=True)
class Direction:
    """A source and a target language, and the name of the model that translates between them."""

    model: str
    source: str
    target: str


class ServedModels:
    """The loaded models of a server, by name.

    Only one thread at a time may load them or translate with them. `reload` replaces all of them at once.
    `search` are the search options that the user gave; an option that is missing has the value that was
    imported with a model, or else its default.
    """

    def __init__(
        self, paths: Sequence[Path], config: ServeConfig, search: Mapping[str, Any]
    ) -> None:
        self.paths = _name_models(paths)
        self.config = config
        self.search = search
        self.models: dict[str, Model] = {}
        self.reload()

    def reload(self) -> None:
        """Load all models from their files again, and replace the old ones.

        Raises MasscliError, and keeps all old models, if one cannot be loaded or cannot translate.
        """
        models = {}
        for name, path in self.paths.items():
            models[name] = load(
                path,
                device=self.config.device,
                precision=self.config.precision,
                backend=self.config.backend,
            )
            # Unsuitable models are refused, and weights read, before the first request.
            languages = list(trained_directions(models[name]))
            if self.config.backend == "torch":
                models[name].ensemble.copy_weights()
            for source, target in languages:
                self._translator(models[name], source, target, nbest=1).translate([""])
        self.models = models

    @property
    def directions(self) -> list[Direction]:
        """All directions that the models were trained for, model by model."""
        directions = []
        for name, model in self.models.items():
            directions += [
                Direction(name, *languages) for languages in trained_directions(model)
            ]
        return directions

    def choose(
        self, model: str | None, source: str | None, target: str | None
    ) -> Direction:
        """Return the first direction with this model name, source and target language; None fits all.

        Raises MasscliError if no direction fits, or if those that fit differ in their languages.
        """
        # What a request leaves out fits every direction.
        fitting = []
        for direction in self.directions:
            requested = (
                (model, direction.model),
                (source, direction.source),
                (target, direction.target),
            )
            if all(value in (None, known) for value, known in requested):
                fitting.append(direction)
        if not fitting:
            asked = []
            for name, value in (
                ("model", model),
                ("source", source),
                ("target", target),
            ):
                if value is not None:
                    asked.append(f"{name} {value!r}")
            known = [f"{d.model}: {d.source}-{d.target}" for d in self.directions]
            raise MasscliError(
                f"no model translates in this direction ({', '.join(asked)}); "
                f"there is {list_some(known, LISTED_DIRECTIONS)}"
            )
        languages = {(direction.source, direction.target) for direction in fitting}
        if len(languages) > 1:
            pairs = [f"{a}-{b}" for a, b in sorted(languages)]
            listed = list_some(pairs, LISTED_DIRECTIONS)
            raise MasscliError(f"source and target are needed; there is {listed}")
        return fitting[0]

    def translate(
        self, direction: Direction, texts: Sequence[str], nbest: int
    ) -> list[TextTranslation]:
        """Return the translation of each text by the model of a direction, with up to `nbest` outputs."""
        model = self.models[direction.model]
        return self._translator(
            model, direction.source, direction.target, nbest
        ).translate(texts)

    def max_alternatives(self, direction: Direction) -> int:
        """Return how many translations a search finds besides the best one: the width of the beam minus 1."""
        model = self.models[direction.model].text_model(
            None, direction.source, direction.target
        )
        return model.search_config(self.search).beam - 1

    def _translator(
        self, model: Model, source: str, target: str, nbest: int
    ) -> TextTranslator:
        """Return a translator with the search and text options of the server, for up to `nbest` outputs."""
        text_model = model.text_model(None, source, target)
        return TextTranslator(
            text_model,
            replace(text_model.search_config(self.search), nbest=nbest),
            split=self.config.split_sentences,
            keep_placeholders=self.config.keep_placeholders,
            seed=self.config.seed,
        )


def trained_directions(model: Model) -> Iterator[tuple[str, str]]:
    """Yield the (source, target) languages that a model was trained to translate between.

    Raises MasscliError if it was not trained to translate.
    """
    checkpoint = model.ensemble.first
    if not checkpoint.directions:
        raise MasscliError(
            f"{model.ensemble.paths[0]}: was not trained to translate",
            "fine-tune it: --task translate",
        )
    yield from checkpoint.directions


def _name_models(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the paths by model name, the name of the folder; a repeated name gets -2, -3 and so on."""
    named: dict[str, Path] = {}
    for path in paths:
        base = path.resolve().name
        name, number = base, 2
        # Folders in different places may have one name.
        while name in named:
            name, number = f"{base}-{number}", number + 1
        named[name] = path
    return named

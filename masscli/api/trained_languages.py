"""Tell which languages a model has never been trained on, and whether it can tell languages apart."""

from __future__ import annotations

from collections.abc import Iterable

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.objectives.input_kinds import languages_of
from masscli.objectives.shared.table_options import TableOptions
from masscli.objectives.write.options import ConditionalGenerationOptions


def untrained_languages(checkpoint: Checkpoint, languages: Iterable[str]) -> list[str]:
    """Return those of `languages` that neither the run nor those it began with (--init-from) learned from.

    The vocabulary of a run has all languages of its data folder, of which the run may have read a few.
    The list is empty if nobody knows, because weights were imported, an earlier run is not here any more, or
    the task of a plug-in does not say which language it reads.
    """
    untrained = list(dict.fromkeys(languages))
    runs, seen = [checkpoint], {checkpoint.path.resolve()}
    while runs and untrained:
        run = runs.pop()
        # Only an import has read no data.
        if not run.state.data_fingerprint:
            return []
        trained = _stream_languages(run)
        if trained is None:
            return []
        untrained = [language for language in untrained if language not in trained]
        for path in (run.recipe.init_from, run.recipe.init_decoder_from):
            if path is None:
                continue
            try:
                earlier = Checkpoint.open(path)
            except MasscliError:
                return []
            # A run may have been moved to where the one lay that it began with.
            if earlier.path.resolve() not in seen:
                seen.add(earlier.path.resolve())
                runs.append(earlier)
    return untrained


def tells_languages_apart(checkpoint: Checkpoint) -> bool:
    """Return whether the model marks languages in any way, or has a vocabulary for each."""
    framing = checkpoint.framing()
    ranges = framing.vocab.id_ranges
    has_two_vocabularies = ranges is not None and ranges.has_two_vocabularies
    return framing.language_tag or bool(framing.languages) or has_two_vocabularies


def _stream_languages(checkpoint: Checkpoint) -> set[str] | None:
    """Return the languages of all streams of a run, or None if one of its tasks does not say its own."""
    languages: set[str] = set()
    for stream in checkpoint.recipe.stream.values():
        options = stream.objective
        if not options.input_kind.is_table:
            languages.update(languages_of([stream.dataset]))
            continue
        # The name of a table is none of a language, and the task of a plug-in may not say which one it reads.
        if not isinstance(options, TableOptions | ConditionalGenerationOptions):
            return None
        if not options.language:
            return None
        languages.add(options.language)
    return languages

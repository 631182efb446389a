"""Turn text into text with a trained model.

RUN is the folder of a run (its best checkpoint, else its last) or a checkpoint; the default is the latest run under runs. Several, or a
list with colons, decode together as an ensemble. A decoder alone (gpt, clm) goes on from each line as from a prompt; an encoder alone
writes when it was fine-tuned to (s2s, summarize, respond). Every line of input gives one line of output (or --nbest lines), in the same
order; an empty line gives an empty line. What was done is summed up on stderr.

Examples:
  masscli generate runs/ende -s en -t de --beam 5 < test.en > hyp.de
  masscli generate runs/ende --input test.en.gz --output hyp.de --lenpen 0.6
  masscli generate runs/a runs/b --gen-subset test --format fairseq --nbest 5
  masscli generate runs/ende --sampling --sampling-topp 0.9 --seed 7 --format jsonl < test.en
  masscli generate runs/gpt --sampling --sampling-topp 0.9 --max-len-b 60 < prompts.en
  masscli generate runs/ende --score-reference test.de < test.en
  masscli generate runs/headlines --gen-subset test --write-reference test.ref --output test.hyp
"""

from __future__ import annotations

import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from masscli.cli.output import writer
from masscli.core.config import to_dict
from masscli.core.errors import MasscliError
from masscli.generation.config import GenerateConfig, GenerationConfig
from masscli.objectives.write.options import WriteOptions
from masscli.text.corpus import iter_lines

if TYPE_CHECKING:
    from torch import Tensor

    from masscli.checkpoint.checkpoint import Checkpoint
    from masscli.generation.translator import Report, Translation, Translator
    from masscli.text.tokenizer import Tokenizer
    from masscli.training.recipe import StreamConfig

RUNS = Path("runs")
ONE_EACH = "it must have a line for each line of the input"
NAMED = 8
"""Line numbers that a warning lists before it says how many more there are."""


def run(
    command: GenerateConfig,
    search: GenerationConfig,
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN", help="Runs or checkpoints; several are an ensemble.")
    ] = None,
) -> None:
    """Translate, or score, line by line."""
    if (command.prefix is not None) != (search.prefix_size > 0):
        raise MasscliError("--prefix and --prefix-size belong together", "--prefix FILE --prefix-size N")
    _nothing_idle(command, search)
    started = time.perf_counter()
    checkpoints = _open(paths or [_latest()])
    stream = _stream(checkpoints[0], command)
    source, target = _sides(stream) or _direction(checkpoints[0], command)
    texts, references = _texts(checkpoints[0], stream, command, source, target)
    texts, kept = itertools.tee(texts)
    seen = _seen(checkpoints[0], stream, command, target)
    translator = _translator(
        checkpoints, [_writer(c, stream, source, target) for c in checkpoints], stream, command, search, seen
    )
    ready = time.perf_counter()
    if command.score_reference is not None:
        scored = translator.score(texts, iter_lines(command.score_reference), source, target)
        found: Iterator[list[Translation]] = ([translation] for translation in scored)
    else:
        found = translator.translate(
            texts, source, target, iter_lines(command.prefix) if command.prefix is not None else None
        )
    show = _shower(command, search, translator.tokenizer, source)
    with writer(command.output) as write:
        for n, (translations, text) in enumerate(zip(found, kept, strict=False), 1):
            write(show(Entry(n, text, _next(references, n), translations)))
        if references is not None and next(references, None) is not None:
            raise MasscliError(
                f"--reference has more than the {translator.report.lines} lines of the input", ONE_EACH
            )
    what = "scored" if command.score_reference is not None else "translated"
    _sum_up(
        what, translator.report, translator.max_source_length, ready - started, time.perf_counter() - ready
    )


# -- what to run -------------------------------------------------------------------------------------------------------------------


def _nothing_idle(command: GenerateConfig, search: GenerationConfig) -> None:
    """Refuse what would change nothing."""
    usual = to_dict(GenerationConfig())
    changed = [key for key, value in to_dict(search).items() if value != usual[key] and key != "lenpen"]
    if command.score_reference is not None and changed:
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in changed)
        raise MasscliError(
            f"{flags}: --score-reference searches for nothing, so this would change nothing", "leave it out"
        )
    if command.seed != GenerateConfig.seed and not search.sampling:
        raise MasscliError("--seed: only --sampling draws anything", "leave it out, or add --sampling")


def _latest() -> Path:
    """The run under runs whose last checkpoint is the newest."""
    states = [state for link in ("last", "best") for state in RUNS.glob(f"*/checkpoints/{link}/state.json")]
    if not states:
        raise MasscliError(
            f"there is no run under {RUNS}",
            "train one with `masscli finetune`, or name its folder: masscli generate RUN",
        )
    found = max(states, key=lambda state: (state.stat().st_mtime_ns, str(state))).parents[2]
    print(f"run: {found}", file=sys.stderr)
    return found


def _open(paths: Sequence[Path]) -> list[Checkpoint]:
    """The checkpoints of all members, which must agree on what ids mean."""
    from masscli.checkpoint.checkpoint import Checkpoint

    parts = [
        Path(part) for path in paths for part in ([str(path)] if path.exists() else str(path).split(":"))
    ]
    checkpoints = [Checkpoint.open(path) for path in parts]
    first = checkpoints[0].framing()
    for path, checkpoint in zip(parts, checkpoints, strict=True):
        learned = [stream.objective for stream in checkpoint.recipe.stream.values()]
        if not checkpoint.recipe.model.decoder_layers and not any(
            objective.encoder_generates for objective in learned
        ):
            raise MasscliError(f"{path}: has no decoder, so it cannot turn text into text",
                               "fine-tune it to write: --task s2s, summarize or respond; labels are for masscli predict")  # fmt: skip
        if learned and not any(objective.generates_text for objective in learned):
            names = ", ".join(dict.fromkeys(objective.name for objective in learned))
            print(
                f"warning: {path}: was not trained to write, but to {names}; its decoder knows only what it began with",
                file=sys.stderr,
            )
        framing = checkpoint.framing()
        if framing.vocab.fingerprint != first.vocab.fingerprint:
            raise MasscliError(
                f"{path}: has another vocabulary than {parts[0]}", "the models of an ensemble must share one"
            )
        if framing != first:
            raise MasscliError(
                f"{path}: says languages in another way than {parts[0]}",
                "the models of an ensemble must agree",
            )
    return checkpoints


def _stream(checkpoint: Checkpoint, command: GenerateConfig) -> StreamConfig | None:
    """The stream that is written for, where it matters: the one that was named, or the only task that writes from a table."""
    streams, writers = checkpoint.recipe.stream, checkpoint.writers
    writing = {
        name: s for name, s in streams.items() if name in writers or s.objective.input_kind.has_direction
    }
    asked = (command.source_lang, command.target_lang)
    if command.stream is not None:
        if command.stream not in writing:
            named = ", ".join(writing) or "none that writes"
            raise MasscliError(
                f"--stream {command.stream}: {checkpoint.path} has no such task that writes",
                f"it has {named}",
            )
        found = writing[command.stream]
        for flag, language, side in zip(("-s", "-t"), asked, _sides(found) or (), strict=True):
            if language not in (None, side):
                raise MasscliError(
                    f"{flag} {language}: --stream {command.stream} has {side}", "leave one of them out"
                )
        return found
    meant = [name for name, o in writers.items() if all(language in (None, o.language) for language in asked)]
    if len(meant) == 1 and (len(writing) == 1 or None not in asked):
        return streams[meant[0]]
    if len(meant) > 1 or (meant and None in asked):
        raise MasscliError(
            f"{checkpoint.path}: which task?", f"say it with --stream; it has {', '.join(writing)}"
        )
    return None


def _sides(stream: StreamConfig | None) -> tuple[str, str] | None:
    """From what language to what language a stream writes."""
    if stream is None:
        return None
    if isinstance(stream.objective, WriteOptions):
        return stream.objective.language, stream.objective.language
    source, target = stream.dataset.split("-")
    return source, target


def _direction(checkpoint: Checkpoint, command: GenerateConfig) -> tuple[str, str]:
    """From what language to what language: as asked, or the only way it can be meant."""
    wanted = (command.source_lang, command.target_lang)
    known = list(checkpoint.framing().vocab.languages)
    for name, language in zip(("--source-lang", "--target-lang"), wanted, strict=True):
        if language is not None and language not in known:
            raise MasscliError(
                f"{name} {language}: the model does not know this language", f"it knows {', '.join(known)}"
            )
    if not checkpoint.recipe.model.encoder_layers:  # it goes on in the language of the prompt
        texts = [stream.dataset for stream in checkpoint.recipe.stream.values()]
        language = wanted[1] or wanted[0] or texts[0]
        if language == wanted[1] == wanted[0] or None in wanted:
            return language, language
    trained = checkpoint.directions
    meant = [d for d in trained if all(w in (None, language) for w, language in zip(wanted, d, strict=True))]
    if wanted[0] is not None and wanted[1] is not None:
        if trained and not meant:
            print(
                f"warning: trained for {_listed(trained)}, not for {wanted[0]}-{wanted[1]}", file=sys.stderr
            )
        return wanted[0], wanted[1]
    if len(meant) == 1:
        return meant[0]
    if trained:
        raise MasscliError(
            "which direction?", f"say it with -s and -t; the run was trained for {_listed(trained)}"
        )
    # A run of pre-training alone: it writes all the same, and what it makes of another language is the first sign of success.
    source = wanted[0] or next((x for x in known if x != wanted[1]), known[0])
    target = wanted[1] or next((x for x in known if x != source), source)
    print(
        f"warning: the run was not trained to translate; reading {source}, writing {target} (choose with -s and -t)",
        file=sys.stderr,
    )
    return source, target


def _texts(
    checkpoint: Checkpoint, stream: StreamConfig | None, command: GenerateConfig, source: str, target: str
) -> tuple[Iterable[str], Iterator[str] | None]:
    """The input, and the references of T- lines where there are any."""
    from masscli.data.formats.readers import guess

    references = iter_lines(command.reference) if command.reference is not None else None
    if command.gen_subset is not None:
        texts, known = _subset(checkpoint, stream, command, command.gen_subset, source, target)
        if command.write_reference is not None:
            with writer(command.write_reference, "--write-reference") as write:
                for text in known:
                    write(f"{' '.join(text.splitlines())}\n")
        return texts, references or iter(known)
    path = command.input or Path("-")
    if (kind := guess(path)) is not None:
        hint = "its table, preprocessed, is written from with --gen-subset"
        print(
            f"warning: {path}: is read as text, a line at a time, and not as {kind}; {hint}", file=sys.stderr
        )
    if str(path) == "-" and sys.stdin.isatty():
        print(
            f"reading lines in {source!r} from the terminal; an end of file (Ctrl-D) starts the translation",
            file=sys.stderr,
        )
    return _readable(path), references


def _subset(
    checkpoint: Checkpoint,
    stream: StreamConfig | None,
    command: GenerateConfig,
    split: str,
    source: str,
    target: str,
) -> tuple[list[str], list[str]]:
    """Sources and references of a split: of a task's table, or of pairs."""
    from masscli.data.storage.data_folder import DataFolder

    data = DataFolder.open(_data(checkpoint, stream, command))
    if stream is None or not isinstance(stream.objective, WriteOptions):
        pair = f"{source}-{target}"
        return data.original_lines(split, pair, source), data.original_lines(split, pair, target)
    from masscli.objectives.write.objective import Write
    from masscli.training.predictor import objective_of

    task, table = objective_of(stream, checkpoint), data.table(stream.dataset, split)
    assert isinstance(task, Write)
    task.examples(table, labelled=True)  # complains of columns that are not there
    return task.lines(table)


def _data(checkpoint: Checkpoint, stream: StreamConfig | None, command: GenerateConfig) -> Path:
    return command.data or (stream.data_dir if stream is not None else None) or checkpoint.recipe.data


def _seen(
    checkpoint: Checkpoint, stream: StreamConfig | None, command: GenerateConfig, language: str
) -> Tensor | None:
    """(V,) bool: the pieces that may be written; None for all."""
    if not command.min_piece_count:
        return None
    from torch import from_numpy

    from masscli.data.storage.data_folder import DataFolder

    data = DataFolder.open(_data(checkpoint, stream, command))
    if data.vocab.fingerprint != checkpoint.framing().vocab.fingerprint:
        raise MasscliError(
            f"--data {data.folder}: has another vocabulary than {checkpoint.path}",
            "give the folder it was trained on",
        )
    often = data.piece_counts(language) >= command.min_piece_count
    if not often.any():
        raise MasscliError(
            f"--min-piece-count {command.min_piece_count}: no piece of {language} occurs so often in {data.folder}",
            "lower it",
        )
    return from_numpy(often)


def _next(references: Iterator[str] | None, line: int) -> str | None:
    """The reference of a line of input."""
    if references is None:
        return None
    if (reference := next(references, None)) is None:
        raise MasscliError(f"--reference has {line - 1} lines, the input has more", ONE_EACH)
    return reference


def _readable(path: Path) -> Iterator[str]:
    """The lines of a file, opened now and not in the middle of the work."""
    found = iter_lines(path)
    first = next(found, None)
    return iter(()) if first is None else itertools.chain([first], found)


def _writer(
    checkpoint: Checkpoint, stream: StreamConfig | None, source: str, target: str
) -> Literal["encoder", "decoder"] | None:
    """The stack that has learned to write alone, if all that was learned of this writing, or else of any, is of one."""
    speaking = [s for s in checkpoint.recipe.stream.values() if s.objective.generates_text]
    same = [
        s
        for s in speaking
        if stream is not None and (s.dataset, s.objective.name) == (stream.dataset, stream.objective.name)
    ]
    same = same or [
        s for s in speaking if s.objective.input_kind.has_direction and s.dataset == f"{source}-{target}"
    ]
    meant = [s.objective for s in same or speaking]
    if meant and all(objective.encoder_generates for objective in meant):
        return "encoder"
    return "decoder" if meant and all(objective.stacks == "decoder" for objective in meant) else None


def _translator(
    checkpoints: Sequence[Checkpoint],
    writers: Sequence[Literal["encoder", "decoder"] | None],
    stream: StreamConfig | None,
    command: GenerateConfig,
    search: GenerationConfig,
    seen: Tensor | None,
) -> Translator:
    from masscli.data.batches.sequences import Truncation
    from masscli.generation.single_stack_decoding import extract_stack
    from masscli.generation.translator import Translator
    from masscli.objectives.write.objective import cut_of
    from masscli.training.precision import choose_device, choose_dtype

    device = choose_device(command.device)
    dtype = choose_dtype(command.precision, device)
    models = [checkpoint.model(device, dtype) for checkpoint in checkpoints]
    return Translator(
        [
            model if stack is None else extract_stack(model, stack)
            for model, stack in zip(models, writers, strict=True)
        ],
        checkpoints[0].tokenizer(),
        checkpoints[0].framing(),
        search,
        batch_tokens=command.batch_tokens,
        batch_size=command.batch_size,
        buffer_size=command.buffer_size,
        seed=command.seed,
        cut=cut_of(stream.objective)
        if stream is not None and isinstance(stream.objective, WriteOptions)
        else Truncation(),
        allowed=seen,
    )


# -- what to write -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of input, counted from 1, and what has become of it."""

    line: int
    source: str
    reference: str | None
    translations: list[Translation]


def _shower(
    command: GenerateConfig, search: GenerationConfig, tokenizer: Tokenizer, source: str
) -> Callable[[Entry], str]:
    """What an entry looks like."""
    if command.format == "jsonl":
        return lambda entry: _json(entry, tokenizer)
    if command.format == "fairseq":
        return lambda entry: _fairseq(entry, tokenizer, source)
    if command.score_reference is not None:
        return lambda entry: f"{entry.translations[0].hypothesis.score:.6f}\n"
    return lambda entry: _text(entry, search.nbest)


def _text(entry: Entry, nbest: int) -> str:
    """Exactly `nbest` lines, so that every block is where one expects it."""
    texts = [t.text for t in entry.translations]
    return "".join(f"{text}\n" for text in texts + [""] * (nbest - len(texts)))


def _json(entry: Entry, tokenizer: Tokenizer) -> str:
    """`tokens` and `token_scores` go together; the last of them is the end symbol."""
    end = tokenizer.ids_to_pieces([tokenizer.vocab.eos])
    hypotheses = [
        {
            "text": t.text,
            "score": t.hypothesis.score,
            "tokens": tokenizer.ids_to_pieces(t.hypothesis.ids) + (end if t.hypothesis.token_scores else []),
            "token_scores": list(t.hypothesis.token_scores),
            "hit_max_len": t.hypothesis.hit_max_len,
        }
        for t in entry.translations
    ]
    known = {"reference": entry.reference} if entry.reference is not None else {}
    return (
        json.dumps(
            {"line": entry.line, "source": entry.source, **known, "hypotheses": hypotheses},
            ensure_ascii=False,
        )
        + "\n"
    )


def _fairseq(entry: Entry, tokenizer: Tokenizer, source: str) -> str:
    """fairseq-generate's lines: numbers from 0, logarithms to base 2, pieces in S and H, text in T and D."""
    n = entry.line - 1
    rows = [f"S-{n}\t{' '.join(tokenizer.ids_to_pieces(tokenizer.encode(entry.source, source)))}"]
    if entry.reference is not None:
        rows.append(f"T-{n}\t{entry.reference}")
    for t in entry.translations:
        score = t.hypothesis.score / math.log(2)
        rows.append(f"H-{n}\t{score}\t{' '.join(tokenizer.ids_to_pieces(t.hypothesis.ids))}")
        rows.append(f"D-{n}\t{score}\t{t.text}")
        rows.append(f"P-{n}\t{' '.join(f'{s / math.log(2):.4f}' for s in t.hypothesis.token_scores)}")
    return "".join(f"{row}\n" for row in rows)


def _sum_up(what: str, report: Report, max_source: int, loading: float, seconds: float) -> None:
    """One line on stderr, and one for each thing that a user would want to know of."""
    if report.truncated:
        print(
            f"warning: {_numbers(report.truncated)} cut to the {max_source} pieces the model reads",
            file=sys.stderr,
        )
    if report.nothing_found:
        print(
            f"warning: {_numbers(report.nothing_found)} empty, since the options left nothing to say",
            file=sys.stderr,
        )
    if report.blank:
        print(f"warning: {_numbers(report.blank)} given an empty output by the model", file=sys.stderr)
    pace = f"{report.lines / seconds:.1f} sentences/s, {report.tokens / seconds:.0f} tokens/s"
    counts = f"{len(report.empty)} empty, {len(report.truncated)} truncated, {len(report.hit_max_len)} ended by the length limit"
    if report.words:
        piece, word = (math.exp(min(700.0, report.nats / n)) for n in (report.tokens, report.words))
        print(
            f"ppl-piece {piece:.2f}  ppl-word {word:.2f}  (the end symbol counts as one of either)",
            file=sys.stderr,
        )
    print(
        f"{what} {report.lines} lines in {seconds:.1f} s (after {loading:.1f} s of loading): {pace}; {counts}",
        file=sys.stderr,
    )


def _numbers(found: Sequence[int]) -> str:
    """`line 3 was`, `lines 3, 7 and 12 more were`."""
    if len(found) == 1:
        return f"line {found[0]} was"
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"lines {', '.join(map(str, found[:NAMED]))}{more} were"


def _listed(directions: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{a}-{b}" for a, b in directions)

"""Every knob of the commands that do not train: preprocess, generate, predict, score, demo.

They follow the rules of masscli/recipe.py: a field's type, default and sentence are its flag.  `GenerationConfig` is the search, which
back-translation and validation use too.  Nothing heavy is imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from masscli.core.config import Flags, check, config


@config
class GenerationConfig:
    """Search: from a model to text."""

    beam: Annotated[int, Flags("--beam-size")] = 5
    """Width of the beam; 1 is greedy."""
    nbest: int = 1
    """Hypotheses to print for each line."""
    lenpen: Annotated[float, Flags("--length-penalty")] = 1.0
    """Scores are divided by length to this power; 0 leaves them as sums."""
    early_stop: bool = False
    """Leave a line as soon as --beam hypotheses have ended, as fairseq does; else when none that still runs can enter the n best."""
    unkpen: float = 0.0
    """Taken from the score of the unknown piece; a negative value favours it."""
    max_len_a: float = 1.3
    """Longest output is a * source length + b, in tokens."""
    max_len_b: int = 20
    """See --max-len-a."""
    min_len: int = 1
    """Shortest output, in tokens."""
    no_repeat_ngram_size: int = 0
    """Never repeat an n-gram of this size; 0 allows all."""
    prefix_size: int = 0
    """Force the first so many tokens of the reference given with --prefix."""
    diverse_beam_groups: int = 1
    """Groups of diverse beam search."""
    diverse_beam_strength: float = 0.5
    """Penalty for a token that an earlier group has just taken."""
    sampling: bool = False
    """Sample instead of searching; --beam samples are drawn and the best --nbest kept."""
    sampling_topk: int = 0
    """Sample among the k likeliest tokens; 0 among all."""
    sampling_topp: float = 1.0
    """Sample among the likeliest tokens that hold this much probability."""
    temperature: float = 1.0
    """Divides logits before sampling."""

    def __post_init__(self) -> None:
        check(
            (self.beam > 0, "beam", f"must be above 0, got {self.beam}"),
            (
                0 < self.nbest <= self.beam,
                "nbest",
                f"must lie between 1 and beam ({self.beam}), got {self.nbest}",
            ),
            (
                self.no_repeat_ngram_size >= 0,
                "no_repeat_ngram_size",
                f"must not be negative, got {self.no_repeat_ngram_size}",
            ),
            (self.prefix_size >= 0, "prefix_size", f"must not be negative, got {self.prefix_size}"),
            (self.sampling_topk >= 0, "sampling_topk", f"must not be negative, got {self.sampling_topk}"),
            (self.min_len >= 0, "min_len", f"must not be negative, got {self.min_len}"),
            (
                self.diverse_beam_groups > 0 and self.beam % self.diverse_beam_groups == 0,
                "diverse_beam_groups",
                f"must divide beam ({self.beam}), got {self.diverse_beam_groups}",
            ),
            (
                not (self.sampling and self.diverse_beam_groups > 1),
                "sampling",
                "cannot be combined with diverse_beam_groups",
            ),
            (0 < self.sampling_topp <= 1, "sampling_topp", f"must lie in (0, 1], got {self.sampling_topp}"),
            (self.temperature > 0, "temperature", f"must be above 0, got {self.temperature}"),
            (abs(self.lenpen) <= 100, "lenpen", f"must lie in [-100, 100], got {self.lenpen}"),
            *(
                (self.sampling or not said, name, "only with sampling")
                for name, said in (
                    ("sampling_topk", self.sampling_topk != 0),
                    ("sampling_topp", self.sampling_topp != 1),
                    ("temperature", self.temperature != 1),
                )
            ),
            (
                self.diverse_beam_groups > 1
                or self.diverse_beam_strength == GenerationConfig.diverse_beam_strength,
                "diverse_beam_strength",
                "only with diverse_beam_groups",
            ),
        )


@config
class GenerateConfig:
    """Files, languages and batches of `masscli generate`."""

    source_lang: Annotated[str | None, Flags("-s")] = None
    """Language of the input (default: that of the run, when it has one direction)."""
    target_lang: Annotated[str | None, Flags("-t")] = None
    """Language of the output, likewise."""
    input: Annotated[Path | None, Flags("-i")] = None
    """Text to translate, a sentence a line (also .gz, .xz); - or nothing is standard input."""
    output: Annotated[Path, Flags("-o")] = Path("-")
    """Where the results go; - is standard output. A file appears when it is complete."""
    format: Literal["text", "jsonl", "fairseq"] = "text"
    """text: --nbest lines for each line; jsonl: an object for each line; fairseq: its S-, T-, H-, D- and P- lines, scores to base 2."""
    reference: Path | None = None
    """Correct translations, shown as T- lines by --format fairseq, and by --format jsonl."""
    score_reference: Path | None = None
    """Score these translations instead of making any."""
    prefix: Path | None = None
    """Text whose first --prefix-size pieces each output must begin with, a line for each line."""
    stream: str | None = None
    """Which task writes, of a run that was trained on several (its streams are named in recipe.toml)."""
    gen_subset: str | None = None
    """Write from this split (test, valid) of the data the run was trained on, of its pairs or its table, instead of --input."""
    write_reference: Path | None = None
    """With --gen-subset, write the references here, a line each, as `masscli score --ref` and --score-reference read them."""
    min_piece_count: int = 0
    """Write only pieces that occur at least so many times in the training text of the language, as back-translation with this option
    does; 0 allows all."""
    data: Path | None = None
    """The data folder of --gen-subset and --min-piece-count (default: the run's)."""
    batch_tokens: Annotated[int, Flags("--max-tokens")] = 8000
    """Most source tokens times beams in a batch; results do not depend on it (in bf16 and fp16, but for rounding)."""
    batch_size: int | None = None
    """Most sentences in a batch."""
    buffer_size: int = 4096
    """Lines to read ahead, so that sentences of like length can share a batch."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic; auto is bf16 on GPUs that have it and on CPUs where it measures as the faster, else fp32."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU when there is one."""
    seed: int = 1
    """Seed of --sampling."""

    def __post_init__(self) -> None:
        check(
            (self.batch_tokens > 0, "batch_tokens", f"must be above 0, got {self.batch_tokens}"),
            (
                self.batch_size is None or self.batch_size > 0,
                "batch_size",
                f"must be above 0, got {self.batch_size}",
            ),
            (self.buffer_size > 0, "buffer_size", f"must be above 0, got {self.buffer_size}"),
            (self.seed >= 0, "seed", f"must not be negative, got {self.seed}"),
            (self.gen_subset is None or self.input is None, "gen_subset", "cannot be combined with --input"),
            (
                self.output == Path("-") or self.output != self.input,
                "output",
                "is the input, which it would replace",
            ),
            (
                self.min_piece_count >= 0,
                "min_piece_count",
                f"must not be negative, got {self.min_piece_count}",
            ),
            (
                self.min_piece_count == 0 or self.score_reference is None,
                "min_piece_count",
                "cannot be combined with --score-reference",
            ),
            (
                self.data is None or self.gen_subset is not None or self.min_piece_count > 0,
                "data",
                "is read for --gen-subset and --min-piece-count only",
            ),
            (
                self.write_reference is None or self.gen_subset is not None,
                "write_reference",
                "is for --gen-subset only",
            ),
            (
                self.write_reference is None or self.write_reference != self.output,
                "write_reference",
                "is --output, too",
            ),
            (
                self.score_reference is None or self.prefix is None,
                "score_reference",
                "cannot be combined with --prefix",
            ),
            (
                self.reference is None or self.format != "text",
                "reference",
                "is shown by --format fairseq or jsonl only",
            ),
        )


@config
class PredictConfig:
    """Files and batches of `masscli predict`."""

    input: Annotated[Path, Flags("-i")] = Path("-")
    """Examples in the form the task was trained on, labels or not (also .gz, .xz); - is standard input."""
    input_format: Literal["tsv", "lines", "jsonl", "conll", "squad", "swag", "race"] | None = None
    """What the input is (default: by its name, else what the task is usually trained on); lines: a text a line, or two with a tab."""
    output: Annotated[Path, Flags("-o")] = Path("-")
    """Where the predictions go; - is standard output. A file appears when it is complete."""
    format: Literal["text", "tsv", "jsonl", "json"] = "text"
    """text: a label, number, answer (or tagged sentence, but for comments and -DOCSTART-) for each example; tsv: the columns of a table (of
    lines: 1, 2), and prediction; jsonl: an object for each example, with its id, if it has one, and probabilities; json: SQuAD's form, from
    ids to answers."""
    na_prob: Path | None = None
    """Also write, as JSON, how likely each question has no answer."""
    null_threshold: float | None = None
    """No answer where its score is above that of the best answer by more than this (default: as in training)."""
    stream: str | None = None
    """Which task, of a run that was trained on several."""
    batch_tokens: Annotated[int, Flags("--max-tokens")] = 8000
    """Most tokens of a batch."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU when there is one."""

    def __post_init__(self) -> None:
        check((self.batch_tokens > 0, "batch_tokens", f"must be above 0, got {self.batch_tokens}"))

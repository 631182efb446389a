"""The options of commands that use a trained model: the search, `masscli generate` and `masscli predict`.

`GenerationConfig` is the search itself, which back-translation and validation use, too. Each field
defines a flag with its type, default and help text. This module imports nothing heavy, so that --help
is fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from masscli.core.config import (
    Flags,
    UnusedOption,
    at_most,
    check,
    config,
    not_negative,
    positive,
)

STANDARD_STREAM = Path("-")
"""The path that stands for standard input, and for standard output."""
MAX_BEAM = 2**14
"""Maximum beam size of a search."""


@config
class GenerationConfig:
    """Search: from a model to text.

    These are the settings of beam search and of sampling. Lengths are in pieces, and do not count the end
    symbol unless it is named.
    """

    beam: Annotated[int, Flags("--beam-size")] = 5
    """Beam size; 1 is greedy search."""
    nbest: int = 1
    """Number of outputs to print for each line, the best one first; at most --beam."""
    lenpen: Annotated[float, Flags("--length-penalty")] = 1.0
    """Divide scores by the length (in pieces, end symbol included) to this power; 0 uses plain sums."""
    early_stop: bool = False
    """Finish a line as soon as --beam hypotheses have ended, as fairseq does, and as greedy search always
    does. Otherwise a line is finished when no running hypothesis can still enter its n best."""
    lookahead: bool = True
    """Consider that the score of a running hypothesis may improve as it grows longer. Otherwise a line
    is finished when --beam hypotheses have ended and all score at least as well as any running
    hypothesis at its present length: the default of Hugging Face's library."""
    unkpen: float = 0.0
    """Subtract this from the score of the unknown piece; a negative value favors it."""
    max_len_a: float = 1.3
    """The a in the maximum output length a * source length + b, in tokens without end symbols."""
    max_len_b: int = 20
    """The b of --max-len-a, in tokens."""
    min_len: int = 1
    """Minimum output length, in tokens without the end symbol."""
    no_repeat_ngram_size: int = 0
    """Never repeat an n-gram of this size; 0 turns this off. With a decoder alone, the prompt counts,
    too."""
    repetition_penalty: float = 1.0
    """Multiply the log-probabilities of pieces that are already in the output, or in the prompt of a
    decoder alone, by this; values above 1 reduce repetition (Keskar et al. 2019)."""
    mbr: bool = False
    """Minimum Bayes risk decoding: of --beam outputs, preferably sampled, print the --nbest with the
    highest mean chrF against all of them."""
    prefix_size: int = 0
    """Force this many tokens at the start of each output, taken from the text given with --prefix."""
    diverse_beam_groups: int = 1
    """Number of groups in diverse beam search (Vijayakumar et al. 2016); it must divide --beam, and 1
    is plain beam search."""
    diverse_beam_strength: float = 0.5
    """Subtract this from the score of a token for each hypothesis of an earlier group that has chosen
    it in the same step."""
    sampling: bool = False
    """Sample instead of searching: draw --beam samples and keep the best --nbest."""
    sampling_topk: int = 0
    """Sample from the k most likely tokens; 0 samples from all."""
    sampling_topp: float = 1.0
    """Sample from the most likely tokens that together have this probability (nucleus sampling)."""
    temperature: float = 1.0
    """Divide logits by this before sampling."""

    def __post_init__(self) -> None:
        diverse = self.diverse_beam_groups > 1
        # Every group has equally many rows of the beam.
        divides_beam = (
            self.diverse_beam_groups > 0 and self.beam % self.diverse_beam_groups == 0
        )
        check(
            *positive(self, "beam", "temperature", "repetition_penalty"),
            *at_most(self, MAX_BEAM, "beam"),
            (
                not self.mbr or self.beam > 1,
                "mbr",
                "needs several outputs to choose from: --beam 20 --sampling",
            ),
            *not_negative(
                self, "no_repeat_ngram_size", "prefix_size", "sampling_topk", "min_len"
            ),
            *not_negative(self, "max_len_a", "max_len_b"),
            # Otherwise the limit grows with the source, and an output of --min-len always fits.
            (
                self.max_len_a > 0 or self.max_len_b >= self.min_len,
                "max_len_b",
                f"with --max-len-a 0, must be at least --min-len ({self.min_len}), got {self.max_len_b}",
            ),
            (
                0 < self.nbest <= self.beam,
                "nbest",
                f"must lie between 1 and --beam ({self.beam}), got {self.nbest}",
            ),
            (
                divides_beam,
                "diverse_beam_groups",
                f"must divide --beam ({self.beam}), got {self.diverse_beam_groups}",
            ),
            (
                0 < self.sampling_topp <= 1,
                "sampling_topp",
                f"must lie in (0, 1], got {self.sampling_topp}",
            ),
            # A length to a larger power would overflow a float.
            (
                abs(self.lenpen) <= 100,
                "lenpen",
                f"must lie in [-100, 100], got {self.lenpen}",
            ),
            (
                not (self.sampling and diverse),
                "sampling",
                "cannot be combined with --diverse-beam-groups",
            ),
        )

    @property
    def outputs(self) -> int:
        """The number of outputs that the search returns for a line.

        It is --nbest, or with --mbr, which chooses among outputs after the search, the whole beam.
        """
        return self.beam if self.mbr else self.nbest

    def length_limit(self, source_length: int) -> float:
        """Return the maximum number of pieces of an output for a source of this many, without end symbols.

        It is not rounded, and may be more than a model has positions for.
        """
        # The shortest output must fit.
        return max(self.max_len_a * source_length + self.max_len_b, self.min_len)

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """Rules that say which options have no effect, given the values of the others."""
        return (
            UnusedOption(
                not self.sampling,
                "sampling_topk sampling_topp temperature",
                "nothing is sampled without --sampling",
                misleading=True,
            ),
            UnusedOption(
                self.early_stop,
                "lookahead",
                "--early-stop finishes a line whatever running hypotheses can become",
            ),
            UnusedOption(
                self.diverse_beam_groups == 1,
                "diverse_beam_strength",
                "there are no groups without --diverse-beam-groups",
            ),
        )


@config
class GenerateConfig:
    """Files, languages and batches of `masscli generate`."""

    source_lang: Annotated[str | None, Flags("-s")] = None
    """Language of the input (default: that of the run, when it has one direction)."""
    target_lang: Annotated[str | None, Flags("-t")] = None
    """Language of the output (default: that of the run, when it has one direction)."""
    input: Annotated[Path | None, Flags("-i")] = None
    """Text to translate, one sentence per line (also .gz, .xz, .zst); - is standard input, which is the
    default."""
    output: Annotated[Path, Flags("-o")] = STANDARD_STREAM
    """Where the results go; - is standard output. A file appears when it is complete."""
    format: Literal["text", "jsonl", "fairseq"] = "text"
    """Output format. text: --nbest lines for each line; jsonl: an object for each line; fairseq: S-,
    T-, H-, D- and P- lines as fairseq writes them, with base-2 scores."""
    reference: Path | None = None
    """File of reference translations, one per line. --format fairseq shows them as T- lines, and --format
    jsonl includes them in its objects; --format text does not show them."""
    closest_to_reference: Literal["bleu", "chrf"] | None = None
    """Of all --beam outputs for a line, print first those with the highest sentence BLEU or chrF
    against its reference, to make training text for a student (sequence-level interpolation, Kim and
    Rush 2016). The counts in the summary are still those of the model's best outputs."""
    score_reference: Path | None = None
    """Score the translations in this file, one per line, instead of generating; --format text prints
    the score of each, the other formats also its pieces."""
    prefix: Path | None = None
    """File with a line for each line of the input; each output must begin with the first --prefix-size pieces
    of its line."""
    constraints: Path | None = None
    """File with a line for each line of the input: phrases, separated by tabs, that each output must contain,
    in any order."""
    stream: str | None = None
    """The task to generate for, if a run was trained on several; recipe.toml names its streams."""
    gen_subset: str | None = None
    """Generate from this split (test, valid) of the run's pairs or table, instead of --input."""
    write_reference: Path | None = None
    """With --gen-subset: also write the references of the split here, one per line, as `masscli score --ref`
    and --score-reference read them."""
    alignments: Path | None = None
    """Also write the alignment of each output, or of each translation of --score-reference, to this
    file, one per line: links such as 0-0 1-2 between source and target pieces, counted from 0. They
    follow the attention of the head trained with --guided-alignment or, less accurately, of all heads
    of the second to last layer."""
    min_piece_count: int = 0
    """Generate only pieces that occur at least this often in the training text of the target language, as
    back-translation with the same option does; 0 allows all."""
    shortlist: Path | None = None
    """A file written by `masscli shortlist`: generate only candidates of the source's pieces, which is
    faster. Scores are log-probabilities over these candidates."""
    data: Path | None = None
    """The data folder of --gen-subset and --min-piece-count (default: that of the run)."""
    batch_tokens: Annotated[int, Flags("--max-tokens")] = 8000
    """Maximum number of source tokens times beams in a batch. Results do not depend on it, except for
    rounding in bf16 and fp16."""
    batch_size: int | None = None
    """Maximum number of sentences in a batch (default: no limit)."""
    buffer_size: int = 4096
    """Number of lines to read ahead, so that sentences of similar length can share a batch; 1 answers each
    line of a pipe or a terminal at once."""
    precision: Literal["auto", "bf16", "fp16", "fp32", "int8"] = "auto"
    """Precision. auto is bf16 on GPUs that support it and on CPUs where a short measurement finds it
    faster, otherwise fp32. int8 uses 8-bit weights, only on a CPU: twice as fast for one sentence at a
    time, with slightly different output."""
    backend: Literal["torch", "ctranslate2"] = "torch"
    """Decoding engine. ctranslate2 (pip install 'masscli[ct2]') converts a translator, once for each
    direction and shortlist, and stores the result in the folder of its checkpoint; it finishes a line
    as soon as --beam hypotheses have ended."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""
    seed: int = 1
    """Seed of --sampling."""
    quiet: bool = False
    """Print neither the summary nor warnings about the lines."""
    append: Path | None = None
    """Also add the speed, in sentences/s without loading, to this log of scores, as `masscli score --append`
    does."""
    tag: tuple[str, ...] = ()
    """Tag of the speed in --append, such as model=tiny. Repeatable."""

    def __post_init__(self) -> None:
        # A split of the data includes its references.
        has_references = self.reference is not None or self.gen_subset is not None
        check(
            *positive(self, "batch_tokens", "batch_size", "buffer_size"),
            *not_negative(self, "seed", "min_piece_count"),
            (
                self.gen_subset is None or self.input is None,
                "gen_subset",
                "cannot be combined with --input",
            ),
            (
                self.min_piece_count == 0 or self.score_reference is None,
                "min_piece_count",
                "cannot be combined with --score-reference",
            ),
            (
                self.closest_to_reference is None or has_references,
                "closest_to_reference",
                "needs references: --reference FILE or --gen-subset SPLIT",
            ),
            (
                self.closest_to_reference is None or self.score_reference is None,
                "closest_to_reference",
                "cannot be combined with --score-reference",
            ),
            (
                self.score_reference is None or self.shortlist is None,
                "score_reference",
                "cannot be combined with --shortlist",
            ),
            (
                self.score_reference is None or self.constraints is None,
                "score_reference",
                "cannot be combined with --constraints",
            ),
            (
                self.score_reference is None or self.prefix is None,
                "score_reference",
                "cannot be combined with --prefix",
            ),
        )

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """Rules that say which options have no effect, given the values of the others."""
        reads_data = self.gen_subset is not None or self.min_piece_count > 0
        return (
            UnusedOption(
                not reads_data,
                "data",
                "it is read only for --gen-subset and --min-piece-count",
            ),
            UnusedOption(
                self.gen_subset is None,
                "write_reference",
                "there are references only with --gen-subset",
                misleading=True,
            ),
            UnusedOption(
                self.append is None,
                "tag",
                "tags are written to the log of --append",
                misleading=True,
            ),
            UnusedOption(
                self.format == "text" and self.closest_to_reference is None,
                "reference",
                "it is shown only by --format fairseq or jsonl",
            ),
        )


@config
class InteractiveConfig:
    """Languages, text and output of `masscli interactive`."""

    source_lang: Annotated[str | None, Flags("-s")] = None
    """Language of the input (default: that of the run, when it has one direction)."""
    target_lang: Annotated[str | None, Flags("-t")] = None
    """Language of the output (default: that of the run, when it has one direction)."""
    stream: str | None = None
    """The task to generate for, if a run was trained on several."""
    split_sentences: bool = False
    """Split lines into sentences, and join their translations."""
    keep_placeholders: bool = False
    """Leave placeholders, tags and URLs ({name}, %s, <b>, https://...) unchanged."""
    scores: bool = False
    """Write three columns before each translation: its log-probability (natural), the geometric mean of the
    probabilities of its pieces, and flags (empty, looping, copied, wrong-language, truncated, not-understood)
    or -. Only the best translation of a line has flags."""
    precision: Literal["auto", "bf16", "fp16", "fp32", "int8"] = "auto"
    """Precision, as in `masscli generate`."""
    backend: Literal["torch", "ctranslate2"] = "torch"
    """Decoding engine, as in `masscli generate`."""
    shortlist: Path | None = None
    """A file written by `masscli shortlist`: generate only candidates of the source's pieces."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""
    seed: int = 1
    """Seed of --sampling."""

    def __post_init__(self) -> None:
        check(*not_negative(self, "seed"))


@config
class PredictConfig:
    """Files and batches of `masscli predict`."""

    input: Annotated[Path, Flags("-i")] = STANDARD_STREAM
    """Examples in the form that the task was trained on, with or without labels (also .gz, .xz, .zst);
    - is standard input."""
    input_format: (
        Literal["tsv", "lines", "jsonl", "conll", "squad", "swag", "race"] | None
    ) = None
    """Format of the input (default: by its name, or otherwise the usual format of the task). lines: one
    text per line, or two separated by a tab."""
    output: Annotated[Path, Flags("-o")] = STANDARD_STREAM
    """Where the predictions go; - is standard output. A file appears when it is complete."""
    format: Literal["text", "tsv", "jsonl", "json"] = "text"
    """Output format. text: one label, number or answer per line, or the words of a sentence with their
    labels (comments and -DOCSTART- are omitted); tsv: the columns of the input (called 1 and 2 if it
    has no header) and the prediction; jsonl: an object for each example, with its id if it has one, and
    probabilities; json: one object that maps question ids to answers, as SQuAD's evaluation script
    reads it."""
    na_prob: Path | None = None
    """Also write a JSON object to this file that maps question ids to the probability that there is no
    answer."""
    null_threshold: float | None = None
    """Predict no answer if its score exceeds that of the best answer by more than this or, if --qa-head
    has a classifier, if its logit exceeds this (default: as in training)."""
    stream: str | None = None
    """The task to predict for, if a run was trained on several."""
    batch_tokens: Annotated[int, Flags("--max-tokens")] = 8000
    """Maximum number of tokens in a batch."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Precision. auto is bf16 on GPUs that support it and on CPUs where a short measurement finds it
    faster, otherwise fp32."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""

    def __post_init__(self) -> None:
        check(*positive(self, "batch_tokens"))

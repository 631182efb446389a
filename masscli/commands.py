"""Every knob of the commands that do not train: preprocess, generate, predict, score, demo.

They follow the rules of masscli/recipe.py: a field's type, default and sentence are its flag.  `GenerationConfig` is the search, which
back-translation and validation use too.  Nothing heavy is imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from masscli.config import Flags, check, config


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
            (self.beam > 0, f"beam: must be above 0, got {self.beam}"),
            (0 < self.nbest <= self.beam, f"nbest: must lie between 1 and beam ({self.beam}), got {self.nbest}"),
            (self.no_repeat_ngram_size >= 0, f"no_repeat_ngram_size: must not be negative, got {self.no_repeat_ngram_size}"),
            (self.prefix_size >= 0, f"prefix_size: must not be negative, got {self.prefix_size}"),
            (self.sampling_topk >= 0, f"sampling_topk: must not be negative, got {self.sampling_topk}"),
            (self.min_len >= 0, f"min_len: must not be negative, got {self.min_len}"),
            (self.diverse_beam_groups > 0 and self.beam % self.diverse_beam_groups == 0,
             f"diverse_beam_groups: must divide beam ({self.beam}), got {self.diverse_beam_groups}"),
            (not (self.sampling and self.diverse_beam_groups > 1), "sampling: cannot be combined with diverse_beam_groups"),
            (0 < self.sampling_topp <= 1, f"sampling_topp: must lie in (0, 1], got {self.sampling_topp}"),
            (self.temperature > 0, f"temperature: must be above 0, got {self.temperature}"),
            (abs(self.lenpen) <= 100, f"lenpen: must lie in [-100, 100], got {self.lenpen}"),
            *((self.sampling or not said, f"{name}: only with sampling")
              for name, said in (("sampling_topk", self.sampling_topk != 0), ("sampling_topp", self.sampling_topp != 1),
                                 ("temperature", self.temperature != 1))),
            (self.diverse_beam_groups > 1 or self.diverse_beam_strength == GenerationConfig.diverse_beam_strength,
             "diverse_beam_strength: only with diverse_beam_groups"),
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
    only_seen: int = 0
    """Write only pieces that occur at least so many times in the training text of the language, as back-translation with this option
    does; 0 allows all."""
    data: Path | None = None
    """The data folder of --gen-subset and --only-seen (default: the run's)."""
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
            (self.batch_tokens > 0, f"batch_tokens: must be above 0, got {self.batch_tokens}"),
            (self.batch_size is None or self.batch_size > 0, f"batch_size: must be above 0, got {self.batch_size}"),
            (self.buffer_size > 0, f"buffer_size: must be above 0, got {self.buffer_size}"),
            (self.seed >= 0, f"seed: must not be negative, got {self.seed}"),
            (self.gen_subset is None or self.input is None, "gen_subset: cannot be combined with --input"),
            (self.output == Path("-") or self.output != self.input, "output: is the input, which it would replace"),
            (self.only_seen >= 0, f"only_seen: must not be negative, got {self.only_seen}"),
            (self.only_seen == 0 or self.score_reference is None, "only_seen: cannot be combined with --score-reference"),
            (self.data is None or self.gen_subset is not None or self.only_seen > 0, "data: is read for --gen-subset and --only-seen only"),
            (self.write_reference is None or self.gen_subset is not None, "write_reference: is for --gen-subset only"),
            (self.write_reference is None or self.write_reference != self.output, "write_reference: is --output, too"),
            (self.score_reference is None or self.prefix is None, "score_reference: cannot be combined with --prefix"),
            (self.reference is None or self.format != "text", "reference: is shown by --format fairseq or jsonl only"),
        )


@config
class DemoConfig:
    """The built-in sample text."""

    seed: int = 1
    """Which of the phrasebook's sentences, and which of them in which part."""

    def __post_init__(self) -> None:
        check((self.seed >= 0, f"seed: must not be negative, got {self.seed}"))


@config
class PreprocessConfig:
    """Text to shards."""

    langs: Annotated[tuple[str, ...], Flags("-l")] = ()
    """Languages, such as en,de (default: those of --source-lang, --target-lang and --mono)."""
    source_lang: Annotated[str | None, Flags("-s")] = None
    """Source language, for those used to -s and -t; the same as the first of --langs."""
    target_lang: Annotated[str | None, Flags("-t")] = None
    """Target language."""
    trainpref: Path | None = None
    """Prefix of aligned training files: PREFIX.LANG, or PREFIX.SRC-TGT.LANG where they differ by pair (also .gz, .xz)."""
    validpref: Path | None = None
    """Prefix of aligned validation files; several, separated by commas, become valid, valid1, ..."""
    testpref: Path | None = None
    """Prefix of aligned test files, likewise."""
    mono: tuple[str, ...] = ()
    """[SPLIT.]LANG=FILE: monolingual text, where a blank line ends a document; repeatable; a FILE of - is standard input. SPLIT is train
    unless it says valid or test."""
    tsv: tuple[str, ...] = ()
    """[TABLE.]SPLIT=FILE,...: labelled examples, tab-separated with a header in whatever case; quotes are text. Repeatable, as are
    those below."""
    jsonl: tuple[str, ...] = ()
    """The same, an object a line (multiple choice: context, choices, label)."""
    conll: tuple[str, ...] = ()
    """The same, a word a line in columns and a blank line after each sentence (token labels); CoNLL-U, too."""
    squad: tuple[str, ...] = ()
    """The same, in the JSON of SQuAD 1.1 or 2.0 (questions about a text)."""
    swag: tuple[str, ...] = ()
    """The same, as SWAG is distributed (multiple choice): CSV, or .tsv or .jsonl, with sent1, sent2, ending0, ending1, ... and label."""
    race: tuple[str, ...] = ()
    """The same, as RACE is distributed (multiple choice): a folder of .txt files, or a file with an object a line, each with article,
    questions, options, answers."""
    dialogues: tuple[str, ...] = ()
    """The same, a dialogue a line with turns separated by tabs."""
    aligned: tuple[str, ...] = ()
    """The same, SPLIT=SOURCE:TARGET, two files of as many lines in one language (summaries)."""
    table_lang: str | None = None
    """Language of labelled examples (default: the first of --langs)."""
    pairs: tuple[str, ...] = ()
    """Pairs to keep, such as en-de,en-fr (default: every language with the first, where the files align)."""
    pairs_as_mono: bool = True
    """Each side of a training pair is also monolingual text of its language."""
    destdir: Path = Path("data-bin")
    """Where the shards go."""
    vocab_size: int = 8000
    """Pieces of the joint SentencePiece BPE model, special ones included."""
    spm_model: Path | None = None
    """Use this SentencePiece model, or BERT's vocab.txt (with --lowercase where it is uncased), instead of training one; a data folder or
    a run means its vocabulary as it is, languages and text options included."""
    bpe_codes: Path | None = None
    """Use these merges of subword-nmt or fastBPE (as XLM and the MASS authors distribute them) with the pieces in --bpe-vocab instead of
    training a model; ids are then those of XLM. With --moses, as such merges are of Moses tokens."""
    bpe_vocab: Path | None = None
    """Their pieces: PIECE COUNT a line, as fastBPE's getvocab writes them."""
    character_coverage: float = 1.0
    """Share of characters the vocabulary must cover; the rest become unknown pieces."""
    vocab_sentences: int = 2_000_000
    """Most lines to train the vocabulary on, drawn evenly from all files."""
    normalize: bool = False
    """Moses punctuation normalisation of the input."""
    romanian: Literal["commas", "plain"] | None = None
    """Romanian (ro) text: letters with a cedilla get the comma that belongs there (commas), or lose all marks, as in the papers on WMT16
    (plain)."""
    moses: bool = False
    """Moses tokenisation before SentencePiece, undone when generating."""
    lowercase: bool = False
    """Lower-case all text."""
    max_len: int = 250
    """Longest line in pieces; longer ones are dropped from training and counted."""
    min_len: Annotated[int, Flags("--min-length")] = 1
    """Shortest line in pieces, likewise."""
    max_ratio: float = 0.0
    """Drop training pairs whose lengths differ by more than this factor; 0 keeps all."""
    dedup: bool = False
    """Drop training lines that repeat an earlier one exactly: of monolingual text in a language (sides of pairs included, where they are
    such text), or of both sides of a pair."""
    drop_copies: bool = False
    """Drop training pairs whose sides are the same text."""
    drop_held_out: bool = False
    """Drop training lines that are lines of valid or test, too; otherwise they are counted."""
    filter_lang: bool = False
    """Drop training lines that look like another of the languages given here, by character trigrams learned from the text itself."""
    workers: int = 1
    """Processes."""
    shard_size: int = 256
    """Largest shard, in MiB."""
    overwrite: bool = False
    """Replace a data folder that was made from other text or with other settings."""
    seed: int = 1
    """Seed of the sample of lines that the vocabulary is trained on."""

    def __post_init__(self) -> None:
        check(
            (len(set(self.langs)) == len(self.langs), f"langs: names a language twice: {','.join(self.langs)}"),
            (self.vocab_size > 0, f"vocab_size: must be above 0, got {self.vocab_size}"),
            ((self.bpe_codes is None) == (self.bpe_vocab is None), "--bpe-codes and --bpe-vocab go together"),
            (self.bpe_codes is None or self.spm_model is None, "--bpe-codes and --spm-model are two vocabularies: give one of them"),
            *(((self.spm_model or self.bpe_codes) is None or value == usual, f"{name}: the vocabulary is given, and none is trained")
              for name, value, usual in (("vocab_size", self.vocab_size, PreprocessConfig.vocab_size),
                                         ("character_coverage", self.character_coverage, PreprocessConfig.character_coverage),
                                         ("vocab_sentences", self.vocab_sentences, PreprocessConfig.vocab_sentences))),
            (self.workers > 0, f"workers: must be above 0, got {self.workers}"),
            (self.shard_size > 0, f"shard_size: must be above 0, got {self.shard_size}"),
            (self.seed >= 0, f"seed: must not be negative, got {self.seed}"),
            (self.vocab_sentences > 0, f"vocab_sentences: must be above 0, got {self.vocab_sentences}"),
            (0.9 <= self.character_coverage <= 1, f"character_coverage: must lie in [0.9, 1], got {self.character_coverage}"),
            (self.max_ratio == 0 or self.max_ratio >= 1, f"max_ratio: must be 0 or at least 1, got {self.max_ratio}"),
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
        check((self.batch_tokens > 0, f"batch_tokens: must be above 0, got {self.batch_tokens}"))


@config
class ScoreConfig:
    """What to measure, and how."""

    metric: Annotated[tuple[str, ...], Flags("-m")] = ("bleu",)
    """Metrics, such as bleu,chrf: bleu, chrf, chrf++, ter, multi-bleu (Moses-tokenised, as in papers), rouge (rouge-1, rouge-2, rouge-l),
    rouge-lsum, accuracy, f1, mcc (Matthews), pearson, spearman, entity-f1 (tagged words), squad (JSON), or module:Class."""
    column: str | None = None
    """The references are this column: of a TSV file with a header or of JSONL by its name, of CoNLL lines by its number (default there:
    the last; 4, UPOS, of CoNLL-U; label of SWAG and RACE)."""
    ref_format: Literal["tsv", "lines", "jsonl", "conll", "swag", "race"] | None = None
    """What the references are (default: by their name, .tsv, .jsonl, .conll, .csv (swag), a folder (race); else a table where --column
    is given, or lines)."""
    hyp_column: str | None = None
    """The hypotheses are this column, likewise (default: where `masscli predict` and `masscli generate` write theirs in JSONL, TSV and
    CoNLL lines)."""
    choices_column: str = "choices"
    """Where JSONL references have a list of choices under this name, labels are the number of a choice, from 0, or its letter, from A."""
    no_gold: str | None = None
    """accuracy, f1, mcc: references of this label have no gold label and are left out (default: - in labels of SNLI and MNLI)."""
    na_prob: Path | None = None
    """squad: how likely each question has no answer, a JSON object by id; the best threshold is searched for."""
    na_prob_thresh: float = 1.0
    """squad: questions above this have no answer."""
    missing: Literal["refuse", "wrong"] = "refuse"
    """squad: what to do about a question without a prediction."""
    positive: str = ""
    """The label that f1 is about (default: the second, where the labels on both sides are two; else it is the mean over labels)."""
    stem: bool = False
    """rouge: compare the stems of English words (Porter 1980)."""
    summary_separator: str = "<q>"
    """rouge: what stands between the sentences of a summary on a line; so does a line end within a string of JSONL."""
    lang: Annotated[str, Flags("-l")] = "en"
    """Language of the text; multi-bleu tokenises by it."""
    lowercase: Annotated[bool, Flags("-lc")] = False
    """Ignore case."""
    normalize: bool = False
    """Moses punctuation normalisation of both sides first, as the papers on unsupervised translation have it (multi-bleu)."""
    plain_romanian: bool = False
    """Take the marks off Romanian letters on both sides first, as in the papers on WMT16 (multi-bleu with --lang ro)."""
    tokenize: Literal["13a", "intl", "zh", "char", "none", "ja-mecab", "ko-mecab", "flores101", "flores200"] = "13a"
    """Tokenizer of bleu."""
    confidence: bool = False
    """Add a 95% confidence interval, from bootstrap resampling."""
    paired: bool = False
    """Compare the first hypothesis file with each of the others by paired bootstrap resampling."""
    bootstrap: Annotated[int, Flags("--n-bootstrap")] = 1000
    """Resamples."""
    sentence_level: bool = False
    """Score each line instead of the whole."""
    format: Literal["text", "json"] = "text"
    """Lines for people, or JSON for programs."""

    def __post_init__(self) -> None:
        check(
            (self.metric != (), "metric: name at least one"),
            (self.bootstrap > 1, f"bootstrap: must be above 1, got {self.bootstrap}"),
            (not self.plain_romanian or (self.lang == "ro" and set(self.metric) == {"multi-bleu"}),
             "plain_romanian: goes with --metric multi-bleu --lang ro"),
            (not self.normalize or set(self.metric) == {"multi-bleu"}, "normalize: goes with --metric multi-bleu"),
            (self.column is None or self.ref_format != "lines", "column: the references have none, with ref_format lines"),
            (not self.no_gold or set(self.metric) <= {"accuracy", "f1", "mcc"}, "no_gold: goes with --metric accuracy, f1, mcc"),
            (not self.stem or (self.lang == "en" and any(name.startswith("rouge") for name in self.metric)),
             "stem: goes with --metric rouge and English text"),
            (self.summary_separator.strip() != "", "summary_separator: must not be blank"),
            (not (self.paired and self.sentence_level), "paired: cannot be combined with sentence_level"),
            (not (self.confidence and self.sentence_level), "confidence: cannot be combined with sentence_level"),
        )

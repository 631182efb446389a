"""Every knob of the commands that do not train: preprocess, generate, predict, score, demo.

They follow the rules of masscli/recipe.py: a field's type, default and sentence are its flag.
`GenerationConfig` is the search, which back-translation and validation use too.  Nothing heavy is imported
here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from masscli.core.config import Flags, check, config


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
    """Prefix of aligned training files: PREFIX.LANG, or PREFIX.SRC-TGT.LANG where they differ by pair (also
    .gz, .xz)."""
    validpref: Path | None = None
    """Prefix of aligned validation files; several, separated by commas, become valid, valid1, ..."""
    testpref: Path | None = None
    """Prefix of aligned test files, likewise."""
    mono: tuple[str, ...] = ()
    """[SPLIT.]LANG=FILE: monolingual text, where a blank line ends a document; repeatable; a FILE of - is
    standard input. SPLIT is train unless it says valid or test."""
    tsv: tuple[str, ...] = ()
    """[TABLE.]SPLIT=FILE,...: labelled examples, tab-separated with a header in whatever case; quotes are
    text. Repeatable, as are those below."""
    jsonl: tuple[str, ...] = ()
    """The same, an object a line (multiple choice: context, choices, label)."""
    conll: tuple[str, ...] = ()
    """The same, a word a line in columns and a blank line after each sentence (token labels); CoNLL-U,
    too."""
    squad: tuple[str, ...] = ()
    """The same, in the JSON of SQuAD 1.1 or 2.0 (questions about a text)."""
    swag: tuple[str, ...] = ()
    """The same, as SWAG is distributed (multiple choice): CSV, or .tsv or .jsonl, with sent1, sent2, ending0,
    ending1, ... and label."""
    race: tuple[str, ...] = ()
    """The same, as RACE is distributed (multiple choice): a folder of .txt files, or a file with an object a
    line, each with article, questions, options, answers."""
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
    """Use this SentencePiece model, or BERT's vocab.txt (with --lowercase where it is uncased), instead of
    training one; a data folder or a run means its vocabulary as it is, languages and text options
    included."""
    bpe_codes: Path | None = None
    """Use these merges of subword-nmt or fastBPE (as XLM and the MASS authors distribute them) with the
    pieces in --bpe-vocab instead of training a model; ids are then those of XLM. With --moses, as such merges
    are of Moses tokens."""
    bpe_vocab: Path | None = None
    """Their pieces: PIECE COUNT a line, as fastBPE's getvocab writes them."""
    character_coverage: float = 1.0
    """Share of characters the vocabulary must cover; the rest become unknown pieces."""
    vocab_sentences: int = 2_000_000
    """Most lines to train the vocabulary on, drawn evenly from all files."""
    normalize: bool = False
    """Moses punctuation normalisation of the input."""
    romanian: Literal["commas", "plain"] | None = None
    """Romanian (ro) text: letters with a cedilla get the comma that belongs there (commas), or lose all
    marks, as in the papers on WMT16 (plain)."""
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
    """Drop training lines that repeat an earlier one exactly: of monolingual text in a language (sides of
    pairs included, where they are such text), or of both sides of a pair."""
    drop_copies: bool = False
    """Drop training pairs whose sides are the same text."""
    drop_held_out: bool = False
    """Drop training lines that are lines of valid or test, too; otherwise they are counted."""
    filter_lang: bool = False
    """Drop training lines that look like another of the languages given here, by character trigrams learned
    from the text itself."""
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
            (
                len(set(self.langs)) == len(self.langs),
                "langs",
                f"names a language twice: {','.join(self.langs)}",
            ),
            (self.vocab_size > 0, "vocab_size", f"must be above 0, got {self.vocab_size}"),
            (
                (self.bpe_codes is None) == (self.bpe_vocab is None),
                "",
                "--bpe-codes and --bpe-vocab go together",
            ),
            (
                self.bpe_codes is None or self.spm_model is None,
                "",
                "--bpe-codes and --spm-model are two vocabularies: give one of them",
            ),
            *(
                (
                    (self.spm_model or self.bpe_codes) is None or value == usual,
                    name,
                    "the vocabulary is given, and none is trained",
                )
                for name, value, usual in (
                    ("vocab_size", self.vocab_size, PreprocessConfig.vocab_size),
                    ("character_coverage", self.character_coverage, PreprocessConfig.character_coverage),
                    ("vocab_sentences", self.vocab_sentences, PreprocessConfig.vocab_sentences),
                )
            ),
            (self.workers > 0, "workers", f"must be above 0, got {self.workers}"),
            (self.shard_size > 0, "shard_size", f"must be above 0, got {self.shard_size}"),
            (self.seed >= 0, "seed", f"must not be negative, got {self.seed}"),
            (self.vocab_sentences > 0, "vocab_sentences", f"must be above 0, got {self.vocab_sentences}"),
            (
                0.9 <= self.character_coverage <= 1,
                "character_coverage",
                f"must lie in [0.9, 1], got {self.character_coverage}",
            ),
            (
                self.max_ratio == 0 or self.max_ratio >= 1,
                "max_ratio",
                f"must be 0 or at least 1, got {self.max_ratio}",
            ),
        )

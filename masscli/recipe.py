"""Every knob of masscli on one page.

A run is a `Recipe`: sections of plain values, the same in a TOML file, on the command line (`--max-tokens` is `train.max_tokens`; a
field's name is unique over all sections, so flags need no prefix) and in a checkpoint.  `Preprocess`, `Generation` and `Score` are
read by the commands of those names.  Flag names are fairseq's where fairseq has one.  Nothing heavy is imported here.
"""

from __future__ import annotations

import math
from dataclasses import field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from masscli.config import ConfigError, Flags, PlugIn, check, config
from masscli.registry import Registry

OBJECTIVES: Registry[object] = Registry(
    "objective",
    {
        "mass": "masscli.objectives.mass:Mass",
        "translate": "masscli.objectives.translate:Translate",
        "denoise": "masscli.objectives.denoise:Denoise",
        "clm": "masscli.objectives.clm:CausalLM",
        "mlm": "masscli.objectives.mlm:MaskedLM",
        "backtranslate": "masscli.objectives.backtranslate:Backtranslate",
        "bert": "masscli.objectives.bert:Bert",
        "roberta": "masscli.objectives.roberta:Roberta",
        "albert": "masscli.objectives.albert:Albert",
        "electra": "masscli.objectives.electra:Electra",
        "gpt": "masscli.objectives.gpt:Gpt",
        "unilm": "masscli.objectives.unilm:UniLM",
        "bert+lm": "masscli.objectives.bert_lm:BertLM",
        "tlm": "masscli.objectives.tlm:TranslationLM",
        "s2s": "masscli.objectives.s2s:PseudoMasked",
        "classify": "masscli.objectives.classify:Classify",
        "regress": "masscli.objectives.regress:Regress",
        "tag": "masscli.objectives.tag:Tag",
        "choose": "masscli.objectives.choose:Choose",
        "extract": "masscli.objectives.extract:Extract",
        "summarize": "masscli.objectives.write:Summarize",
        "respond": "masscli.objectives.write:Respond",
    },
    {
        "mass": "masscli.methods:MassOptions",
        "translate": "masscli.methods:TranslateOptions",
        "denoise": "masscli.methods:DenoiseOptions",
        "clm": "masscli.methods:CausalLMOptions",
        "mlm": "masscli.methods:MaskedLMOptions",
        "backtranslate": "masscli.methods:BacktranslateOptions",
        "bert": "masscli.pretraining:BertOptions",
        "roberta": "masscli.pretraining:RobertaOptions",
        "albert": "masscli.pretraining:AlbertOptions",
        "electra": "masscli.pretraining:ElectraOptions",
        "gpt": "masscli.pretraining:GptOptions",
        "unilm": "masscli.pretraining:UniLMOptions",
        "bert+lm": "masscli.pretraining:BertLMOptions",
        "tlm": "masscli.pretraining:TranslationLMOptions",
        "s2s": "masscli.pretraining:PseudoMaskedOptions",
        "classify": "masscli.tasks:ClassifyOptions",
        "regress": "masscli.tasks:RegressOptions",
        "tag": "masscli.tasks:TagOptions",
        "choose": "masscli.tasks:ChooseOptions",
        "extract": "masscli.tasks:ExtractOptions",
        "summarize": "masscli.tasks:SummarizeOptions",
        "respond": "masscli.tasks:RespondOptions",
    },
)


@config
class ObjectiveConfig(PlugIn):
    """What every objective's options begin with.

    `reads` says what text a stream of it needs: sentences of a language (en), pairs of a direction (en-de), or sentences of the language
    that a direction (en-de) is written in: German; or a table of labelled examples.
    """

    registry: ClassVar[Registry[object]] = OBJECTIVES
    reads: ClassVar[Literal["sentences", "pairs", "target", "table"]] = "sentences"
    stacks: ClassVar[Literal["encoder-decoder", "encoder", "decoder", "any"]] = "encoder-decoder"
    """What the model needs; `any` is whichever stacks its weights have, and from scratch an encoder."""
    formats: ClassVar[tuple[str, ...]] = ()
    """Kinds of table that it reads (see masscli/data/formats.py), the usual one first."""
    writes: ClassVar[bool] = False
    """An encoder alone that has learned this can write text, by pseudo-masks."""


@config
class ModelConfig:
    """The one Transformer.  `arch` fills in what is not said; see masscli/models/presets.toml."""

    arch: Annotated[str, Flags("-a")] = "tiny"
    """Named sizes: tiny, small, base, big, mass-base, mass-base-uncased, mass-middle-uncased, mass-xlm, bert-base, bert-large,
    roberta-base, roberta-large, albert-base, albert-large, albert-xlarge, albert-xxlarge, electra-small, electra-base, electra-large, gpt,
    unilmv2-base."""
    encoder_layers: int = 4
    """Layers of the encoder; 0 leaves it out."""
    decoder_layers: int = 4
    """Layers of the decoder; 0 leaves it out."""
    dim: int = 128
    """Width of the residual stream."""
    ffn_dim: int = 256
    """Width of the feed-forward layer."""
    heads: int = 4
    """Attention heads."""
    norm: Literal["pre", "post"] = "pre"
    """Layer norm before each sublayer, with a last one on top (pre), or after each residual sum (post, as first published; at high
    learning rates it may collapse to unigram frequencies)."""
    norm_eps: float = 1e-5
    """Added to the variance in layer norms."""
    norm_embedding: bool = False
    """A layer norm on the sum of embeddings."""
    scale_embedding: bool = True
    """Multiply token embeddings by the square root of dim."""
    activation: Literal["relu", "gelu", "gelu_tanh"] = "relu"
    """Non-linearity of the feed-forward layer (gelu is the exact one, with erf; gelu_tanh the approximation of GPT and ALBERT)."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """How positions are embedded."""
    max_positions: int = 1024
    """Longest sequence, in tokens; rows of the table when positions are learned."""
    embeddings: Literal["tied", "separate"] = "tied"
    """One table for encoder, decoder and output (tied), or one for each stack, each tied to its own output."""
    output_bias: bool = False
    """A bias on each output token."""
    languages: Literal["auto", "embedding", "tag", "none"] = "auto"
    """How a model knows the language: a vector added to each token, a tag in place of the first token, or not at all (auto: embedding
    when the data has more than one)."""
    cross_output: Literal["shared", "language"] = "shared"
    """Output projection of cross-attention: one, or one per target language (XLM's variant of MASS)."""
    source_bos: bool = False
    """Begin the source with the start symbol, as XLM does; fairseq does not."""
    segments: int = 0
    """Segment embeddings (BERT: 2)."""
    embedding_dim: int = 0
    """Width of the embeddings, projected to that of the layers (ALBERT, small ELECTRA); 0 is that of the layers."""
    share_layers: Literal["none", "attention", "ffn", "all"] = "none"
    """What all layers of a stack have in common (ALBERT: all)."""
    head_transform: bool = False
    """Before the output table: a dense layer, the non-linearity and a layer norm (BERT)."""
    pooler: bool = False
    """A dense layer and tanh on the first state of a text, for its vector (BERT)."""
    relative_buckets: int = 0
    """Buckets of relative positions whose learned bias is added to the encoder's attention (T5, UniLMv2: 32); 0 has none."""
    relative_distance: int = 128
    """Distance from which on relative positions share a bucket."""
    init: Literal["fairseq", "bert", "truncated", "xlm"] = "fairseq"
    """Initial weights: xavier-uniform (fairseq) or PyTorch's own (xlm) with N(0, dim^-1/2) embeddings, or N(0, 0.02) throughout (bert;
    truncated: cut off at two standard deviations, as released)."""
    dropout: float = 0.1
    """Dropout on embeddings and on the output of each sublayer."""
    attention_dropout: float = 0.0
    """Dropout on attention weights."""
    activation_dropout: float = 0.0
    """Dropout after the non-linearity of the feed-forward layer."""

    def __post_init__(self) -> None:
        check(
            (self.encoder_layers >= 0, f"encoder_layers: must not be negative, got {self.encoder_layers}"),
            (self.decoder_layers >= 0, f"decoder_layers: must not be negative, got {self.decoder_layers}"),
            (self.encoder_layers + self.decoder_layers != 0, "encoder_layers: a model needs at least one layer"),
            (self.dim > 0, f"dim: must be above 0, got {self.dim}"),
            (self.embedding_dim >= 0, f"embedding_dim: must not be negative, got {self.embedding_dim}"),
            (self.relative_buckets == 0 or (self.relative_buckets >= 8 and self.relative_buckets % 4 == 0),
             f"relative_buckets: must be 0 or a multiple of 4 from 8 on, got {self.relative_buckets}"),
            (self.relative_distance > self.relative_buckets // 4,
             f"relative_distance: must be above a quarter of relative_buckets, got {self.relative_distance}"),
            (self.ffn_dim > 0, f"ffn_dim: must be above 0, got {self.ffn_dim}"),
            (self.max_positions > 0, f"max_positions: must be above 0, got {self.max_positions}"),
            (self.heads > 0 and self.dim % self.heads == 0, f"heads: must divide dim ({self.dim}), got {self.heads}"),
            (self.norm_eps > 0, f"norm_eps: must be above 0, got {self.norm_eps}"),
            (self.segments >= 0, f"segments: must not be negative, got {self.segments}"),
            *((0 <= getattr(self, n) < 1, f"{n}: must lie in [0, 1), got {getattr(self, n)}")
              for n in ("dropout", "attention_dropout", "activation_dropout")),
        )


@config
class OptimConfig:
    """Optimizer and learning rate."""

    optimizer: Literal["adamw", "adam", "adamw_bert", "adam_openai", "lamb"] = "adamw"
    """adamw: decoupled decay, bias-corrected. adam: decay in the gradient. adamw_bert: no bias correction. lamb: the same, by layer.
    adam_openai: GPT's, whose decay is multiplied by the bias correction too."""
    lr: float | None = None
    """Peak learning rate (default: 5e-4 at width 512, and in inverse proportion to the width of the model)."""
    lr_scheduler: Literal["inverse_sqrt", "linear", "poly_tf", "poly_mult", "cosine", "constant"] = "inverse_sqrt"
    """Shape of the learning rate after warm-up."""
    warmup_updates: int | None = None
    """Updates of linear warm-up (default: 4000, but no more than a tenth of --max-update)."""
    warmup_init_lr: float = 1e-7
    """Learning rate at update 0."""
    end_lr: float = 0.0
    """Learning rate that decaying schedules approach at the last update."""
    adam_betas: tuple[float, ...] = (0.9, 0.98)
    """Decay of the first and second moment."""
    adam_eps: float = 1e-8
    """Added to the root of the second moment."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    decay_all: bool = False
    """Decay biases and layer norms too (fairseq does, BERT does not)."""
    clip_norm: float = 1.0
    """Clip the norm of the gradient at this value; 0 turns it off."""
    layer_decay: float = 1.0
    """Each layer learns at this share of the rate of the layer above it, the embeddings at that of the lowest; the task's head at --lr."""
    layer_decay_offset: Literal[1, 2] = 1
    """How often the top layer's rate is multiplied by that share; 2 is ELECTRA's code."""
    freeze: tuple[str, ...] = ()
    """What does not learn: embeddings, encoder, decoder, or a number N for the first N layers of each stack; such as embeddings,2."""

    def __post_init__(self) -> None:
        check(
            (self.lr is None or self.lr > 0, f"lr: must be above 0, got {self.lr}"),
            (0 < self.layer_decay <= 1, f"layer_decay: must lie above 0, up to 1, got {self.layer_decay}"),
            *((part in ("embeddings", "encoder", "decoder") or part.isdecimal(),
               f"freeze: expected embeddings, encoder, decoder or a number of layers, got {part!r}") for part in self.freeze),
            (len(self.adam_betas) == 2 and all(0 <= b < 1 for b in self.adam_betas), "adam_betas: expected two numbers in [0, 1)"),
            (self.warmup_updates is None or self.warmup_updates >= 0, f"warmup_updates: must not be negative, got {self.warmup_updates}"),
            (self.adam_eps > 0, f"adam_eps: must be above 0, got {self.adam_eps}"),
            *((value >= 0, f"{name}: must not be negative, got {value}")
              for name, value in (("clip_norm", self.clip_norm), ("weight_decay", self.weight_decay), ("end_lr", self.end_lr),
                                  ("warmup_init_lr", self.warmup_init_lr))),
        )


@config
class TrainConfig:
    """The loop: batches, precision, when to stop."""

    max_tokens: int = 4096
    """Tokens of a micro-batch, padding included: rows times the longest side."""
    batch_size: int | None = None
    """Most rows in a micro-batch."""
    update_freq: int | None = None
    """Micro-batches of an update (default: the number of processes at first launch, then stored in the run)."""
    max_update: int | None = None
    """Stop after this many updates (default: 20000, unless --max-epoch or --stop-time-hours is given)."""
    max_epoch: int | None = None
    """Stop when the first stream has been read this often."""
    stop_time_hours: float | None = None
    """Stop, with a checkpoint, after this much time."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic of matrix products; auto is bf16 where the processor has it, else fp32. Weights, moments and sums stay in fp32."""
    compile: bool = False
    """Compile each layer with torch.compile (needs a C++ compiler on a CPU)."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU when there is one."""
    num_workers: int = 1
    """Processes that prepare batches ahead; 0 does it in the loop."""
    max_source_positions: int = 1024
    """Longest source in tokens; longer training examples are left out and counted."""
    max_target_positions: int = 1024
    """Longest target in tokens, likewise."""
    log_interval: int = 50
    """Updates between lines of the log."""
    tensorboard_logdir: Path | None = None
    """Also write curves for TensorBoard into this folder (needs the extra masscli[tb])."""
    min_loss_scale: float = 1e-4
    """fp16: stop when the loss scale has fallen below this."""
    threads: int | None = None
    """CPU threads of torch (default: torch's own)."""

    def __post_init__(self) -> None:
        check(
            (self.max_tokens > 0, f"max_tokens: must be above 0, got {self.max_tokens}"),
            *((value is None or value > 0, f"{name}: must be above 0, got {value}")
              for name, value in (("batch_size", self.batch_size), ("max_update", self.max_update), ("max_epoch", self.max_epoch),
                                  ("stop_time_hours", self.stop_time_hours), ("threads", self.threads))),
            (self.update_freq is None or self.update_freq > 0, f"update_freq: must be above 0, got {self.update_freq}"),
            (self.threads is None or self.threads <= 1024, f"threads: must not exceed 1024, got {self.threads}"),
            *((value > 0, f"{name}: must be above 0, got {value}")
              for name, value in (("max_source_positions", self.max_source_positions), ("max_target_positions", self.max_target_positions),
                                  ("min_loss_scale", self.min_loss_scale))),
            (self.num_workers >= 0, f"num_workers: must not be negative, got {self.num_workers}"),
            (self.log_interval > 0, f"log_interval: must be above 0, got {self.log_interval}"),
        )


@config
class CheckpointConfig:
    """When to save, what to keep, when to give up."""

    save_interval_updates: int = 1000
    """Updates between checkpoints."""
    keep_last: Annotated[int, Flags("--keep-interval-updates")] = 3
    """Latest checkpoints to keep, besides the best."""
    keep_best: Annotated[int, Flags("--keep-best-checkpoints")] = 1
    """Best checkpoints to keep."""
    best_metric: Annotated[str, Flags("--best-checkpoint-metric")] = "loss"
    """What decides which checkpoint is best: loss, bleu (with --eval-bleu), roundtrip (with --eval-roundtrip), STREAM.loss, ..., or a
    measure of the task, such as accuracy (STREAM.accuracy where several have one)."""
    patience: int = 0
    """Stop after this many validations without a better score; 0 never does."""

    def __post_init__(self) -> None:
        check(
            (self.save_interval_updates > 0, "save_interval_updates: must be above 0"),
            (self.keep_last > 0, "keep_last: must be above 0"),
            (self.keep_best >= 0, f"keep_best: must not be negative, got {self.keep_best}"),
            (self.patience >= 0, f"patience: must not be negative, got {self.patience}"),
        )


@config
class ValidConfig:
    """Validation during training."""

    validate_interval_updates: int | None = None
    """Updates between validations (default: as often as checkpoints); a checkpoint is saved after each."""
    valid_subset: str = "valid"
    """Which split to validate on."""
    max_valid_rows: int | None = None
    """Validate on the first so many rows."""
    eval_bleu: bool = False
    """Translate the validation set with beam search and report BLEU (streams of pairs)."""
    eval_beam: int = 5
    """Beam of that search."""
    eval_retrieval: bool = False
    """Report how many validation sentences find their translation by their mean encoder states (precision at 1), for each pair of the data
    between languages of the run; a measure of alignment that needs no decoder."""
    eval_roundtrip: bool = False
    """Translate monolingual validation text there and back, greedily, and report BLEU against itself (streams of back-translation)."""

    def __post_init__(self) -> None:
        check(
            (self.validate_interval_updates is None or self.validate_interval_updates > 0, "validate_interval_updates: must be above 0"),
            (self.max_valid_rows is None or self.max_valid_rows > 0, f"max_valid_rows: must be above 0, got {self.max_valid_rows}"),
            (self.eval_beam > 0, f"eval_beam: must be above 0, got {self.eval_beam}"),
        )


@config
class StreamConfig:
    """One source of training examples, and what to learn from it."""

    text: str
    """A language (en), a direction (en-de), or a table of labelled examples."""
    objective: ObjectiveConfig
    """What to learn."""
    weight: str = "1"
    """Multiplies the loss; a number or a ramp over updates, such as 0:1,100000:0.1,300000:0."""
    share: float = 1.0
    """How often the stream is drawn, relative to the others."""
    limit: int | None = None
    """Use the first so many rows only (low-resource studies)."""

    def __post_init__(self) -> None:
        check(
            (self.share > 0, f"share: must be above 0, got {self.share}"),
            (self.limit is None or self.limit > 0, f"limit: must be above 0, got {self.limit}"),
        )
        ramp(self.weight)


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
    """Correct translations, shown as T- lines by --format fairseq."""
    score_reference: Path | None = None
    """Score these translations instead of making any."""
    prefix: Path | None = None
    """Text whose first --prefix-size pieces each output must begin with, a line for each line."""
    gen_subset: str | None = None
    """Translate this split (test, valid) of the data the run was trained on, instead of --input."""
    data: Path | None = None
    """The data folder of --gen-subset (default: the run's)."""
    batch_tokens: Annotated[int, Flags("--max-tokens")] = 8000
    """Most source tokens times beams in a batch; results do not depend on it."""
    batch_size: int | None = None
    """Most sentences in a batch."""
    buffer_size: int = 4096
    """Lines to read ahead, so that sentences of like length can share a batch."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic; auto is bf16 where the processor has it, else fp32."""
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
            (self.data is None or self.gen_subset is not None, "data: is read for --gen-subset only"),
            (self.score_reference is None or self.prefix is None, "score_reference: cannot be combined with --prefix"),
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
    """LANG=FILE: monolingual training text, where a blank line ends a document; repeatable; a FILE of - is standard input."""
    tsv: tuple[str, ...] = ()
    """[TABLE.]SPLIT=FILE,...: labelled examples, tab-separated with a header; quotes are text. Repeatable, as are those below."""
    jsonl: tuple[str, ...] = ()
    """The same, an object a line (multiple choice: context, choices, label)."""
    conll: tuple[str, ...] = ()
    """The same, a word a line in columns and a blank line after each sentence (token labels)."""
    squad: tuple[str, ...] = ()
    """The same, in the JSON of SQuAD 1.1 or 2.0 (questions about a text)."""
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
    """Drop training lines that repeat an earlier one exactly: of monolingual text in a language, or of both sides of a pair."""
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
            (self.vocab_size > 0, f"vocab_size: must be above 0, got {self.vocab_size}"),
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
    input_format: Literal["tsv", "lines", "jsonl", "conll", "squad"] | None = None
    """What the input is (default: by its name, else what the task is usually trained on); lines: a text a line, or two with a tab."""
    output: Annotated[Path, Flags("-o")] = Path("-")
    """Where the predictions go; - is standard output. A file appears when it is complete."""
    format: Literal["text", "tsv", "jsonl", "json"] = "text"
    """text: a label, number, answer (or tagged sentence) for each example; tsv: the input's columns and the prediction; jsonl: an object
    for each example, with probabilities; json: SQuAD's form, from ids to answers."""
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
    """Metrics, such as bleu,chrf: bleu, chrf, chrf++, ter, multi-bleu (Moses-tokenised, as in papers), rouge, rouge-1, rouge-2, rouge-l,
    accuracy, f1, mcc (Matthews), pearson, spearman, entity-f1 (CoNLL lines), squad (JSON), or module:Class."""
    column: str | None = None
    """The references are this column of a TSV file with a header."""
    na_prob: Path | None = None
    """squad: how likely each question has no answer, a JSON object by id; the best threshold is searched for."""
    na_prob_thresh: float = 1.0
    """squad: questions above this have no answer."""
    missing: Literal["refuse", "wrong"] = "refuse"
    """squad: what to do about a question without a prediction."""
    positive: str = ""
    """The label that f1 is about, of two (default: the second; with more than two it is the mean over labels)."""
    lang: Annotated[str, Flags("-l")] = "en"
    """Language of the text; multi-bleu tokenises by it."""
    lowercase: Annotated[bool, Flags("-lc")] = False
    """Ignore case."""
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
            (not (self.paired and self.sentence_level), "paired: cannot be combined with sentence_level"),
            (not (self.confidence and self.sentence_level), "confidence: cannot be combined with sentence_level"),
        )


@config
class Recipe:
    """A training run."""

    data: Path = Path("data-bin")
    """Folder written by `masscli preprocess`."""
    save_dir: Path | None = None
    """Folder of the run (default: runs/OBJECTIVE); a run that is already there is continued."""
    init_from: Annotated[Path | None, Flags("--finetune-from-model")] = None
    """Begin with the weights of this run or checkpoint; everything else starts anew."""
    init_stacks: Literal["both", "encoder", "decoder"] = "both"
    """Take only this stack of --init-from, with the token table; the other one is drawn at random."""
    init_decoder_from: Path | None = None
    """Take the decoder from this run instead: --init-from an MLM and this from a CLM is the BERT+LM baseline."""
    init_vectors: tuple[str, ...] = ()
    """LANG=FILE: begin with these word vectors (word2vec or fastText text format) for the pieces of the training text of a language that
    they know; the size must be that of the model. Repeatable."""
    seed: int = 1
    """Seed of weights, order, noise and dropout."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Network."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Loop."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Checkpoints."""
    valid: ValidConfig = field(default_factory=ValidConfig)
    """Validation."""
    stream: dict[str, StreamConfig] = field(default_factory=dict)
    """What to train on, by name."""

    def __post_init__(self) -> None:
        alone = self.init_from is not None or (self.init_stacks == "both" and self.init_decoder_from is None)
        check(
            (alone, f"{'init_stacks' if self.init_stacks != 'both' else 'init_decoder_from'}: goes with init_from"),
            (self.init_stacks == "both" or self.init_decoder_from is None, "init_stacks: cannot be combined with init_decoder_from"),
            (all("=" in entry for entry in self.init_vectors), "init_vectors: expected LANG=FILE"),
        )
        check((0 <= self.seed < 2**63, f"seed: must lie between 0 and 2^63 - 1, got {self.seed}"))


def ramp(text: str) -> tuple[tuple[int, float], ...]:
    """Parse a weight: a number, or XLM's `update:value,...` whose values are joined by straight lines.

    Raises `ConfigError` when it is neither, or when the updates do not rise from 0.
    """
    try:
        items = [item.partition(":") for item in text.split(",")] if ":" in text else [("0", ":", text)]
        points = tuple((int(n), float(v)) for n, _, v in items)
    except ValueError:
        raise ConfigError(f"weight: expected a number or UPDATE:VALUE,..., got {text!r}") from None
    if not all(math.isfinite(v) for _, v in points):
        raise ConfigError(f"weight: expected finite numbers, got {text!r}")
    if points[0][0] != 0 or any(a[0] >= b[0] for a, b in pairwise(points)):
        raise ConfigError(f"weight: updates must rise from 0, got {text!r}")
    return points


def ramp_at(points: tuple[tuple[int, float], ...], update: int) -> float:
    """The value of a ramp at an update; constant after its last point."""
    for (n0, v0), (n1, v1) in pairwise(points):
        if update < n1:
            return v0 + (v1 - v0) * (update - n0) / (n1 - n0)
    return points[-1][1]

"""The options of the training loop: optimizer, batches and precision, checkpoints, validation.

Each field defines a flag with its type, default and help text: `--max-tokens` is `max_tokens` in the
section [train] of a recipe. Flags have the same names as in fairseq if fairseq has them. This module
imports nothing heavy, so that --help is fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from masscli.core.config import (
    Flags,
    Rule,
    at_most,
    below_one,
    check,
    config,
    not_negative,
    positive,
)
from masscli.core.config.rules import MAX_WORKERS
from masscli.core.digits import parse_digits
from masscli.generation.config import MAX_BEAM
from masscli.training.expected_curve import parse_expected_curve

OLD_EMBEDDINGS = "old-embeddings"
"""The value of --freeze for the rows of pieces and languages that came with --init-from."""
FREEZABLE = ("embeddings", OLD_EMBEDDINGS, "encoder", "decoder")
"""The values of --freeze besides numbers of layers."""
MINUTES_OF_A_YEAR = 365 * 24 * 60


@config
class OptimConfig:
    """Optimizer and learning rate."""

    optimizer: Literal[
        "adamw", "adam", "adamw_bert", "adam_openai", "lamb", "adafactor"
    ] = "adamw"
    """adamw: decoupled weight decay. adam: weight decay as a part of the gradient. adamw_bert: adamw without
    bias correction. adam_openai: GPT's adamw, which multiplies the decay by the bias correction too. lamb:
    adamw_bert with a trust ratio for each layer. adafactor: factored second moments, which need very
    little memory, and no first moment."""
    lr: float | None = None
    """Peak learning rate (default: 5e-4 for a model width of 512, 7.5e-5 with weights that were imported or
    trained from imported ones, and inversely proportional to the width)."""
    lr_scheduler: Literal[
        "inverse_sqrt",
        "linear",
        "poly_tf",
        "poly_mult",
        "cosine",
        "constant",
        "wsd",
        "reduce_lr_on_plateau",
    ] = "inverse_sqrt"
    """Learning rate schedule after warm-up. inverse_sqrt: decays as 1 / sqrt(update). linear, cosine:
    decay to --end-lr at --max-update. poly_tf (BERT), poly_mult (ELECTRA): also linear, but the decay
    counts from update 0; that of poly_mult also applies during warm-up, and ends at 0. constant: stays
    at --lr. wsd (warm-up, stable, decay): stays at --lr until the last --decay-updates.
    reduce_lr_on_plateau: decays when validations do not improve."""
    warmup_updates: int | None = None
    """Number of updates of linear warm-up (default: 4000, but at most a tenth of --max-update)."""
    warmup_init_lr: float = 1e-7
    """Learning rate of the first update with inverse_sqrt and reduce_lr_on_plateau; the other schedules warm
    up from 0."""
    end_lr: float = 0.0
    """Learning rate that linear, poly_tf, cosine and wsd reach at the last update, and the minimum of
    reduce_lr_on_plateau."""
    decay_updates: int | None = None
    """Number of updates at the end of training during which --lr-scheduler wsd lowers the learning rate
    (default: a tenth of --max-update; 0 never lowers it). May change when a run is continued, as
    --max-update may."""
    decay_shape: Literal["linear", "sqrt"] = "linear"
    """Shape of the decay of wsd: linear, or 1 - sqrt(x), which is fast at first. May change when a run
    is continued."""
    lr_shrink: float = 0.1
    """Factor by which reduce_lr_on_plateau multiplies the learning rate."""
    lr_patience: int = 0
    """Number of validations without improvement of --best-checkpoint-metric that reduce_lr_on_plateau
    tolerates before it lowers the rate."""
    lr_threshold: float = 1e-4
    """Relative improvement (0 to 1) over the best value that counts as an improvement for
    reduce_lr_on_plateau."""
    adam_betas: tuple[float, ...] = ()
    """Decay rates of the first and the second moment (default: 0.9,0.98; for adamw_bert, lamb and adam_openai
    0.9,0.999, as published)."""
    adam_eps: float | None = None
    """Term added to the square root of the second moment (default: 1e-8; for adamw_bert and lamb 1e-6)."""
    weight_decay: float | None = None
    """Weight decay (default: 0; for adamw_bert, lamb and adam_openai 0.01)."""
    decay_all: bool = False
    """Apply weight decay to biases and layer norms too, as fairseq does and BERT does not."""
    ema_decay: float = 0.0
    """Keep an exponential moving average of the weights with this decay, such as 0.999 (lower in the
    first updates), and validate, save and use the average; 0 keeps none."""
    clip_norm: float = 1.0
    """Clip the norm of the gradient at this value; 0 turns clipping off."""
    layer_decay: float = 1.0
    """Multiply the learning rate of each layer by this, relative to the layer above it. The embeddings
    count as the layer below the lowest one, and the head of a task is trained with --lr."""
    layer_decay_offset: Literal[1, 2] = 1
    """Exponent of --layer-decay in the learning rate of the top layer; in ELECTRA's code it is 2. The
    rates of all layers below it are lower by the same factor."""
    freeze: tuple[str, ...] = ()
    """Parts that are not trained: embeddings (of tokens, positions and so on, and the output weights),
    encoder, decoder, or a number N for the lowest N layers of each stack; such as embeddings,2.
    old-embeddings are the rows of pieces and languages that --init-from has, if the vocabulary was
    extended."""

    def __post_init__(self) -> None:
        # An empty tuple stands for the defaults of the optimizer.
        betas_fit = len(self.adam_betas) in (0, 2) and all(
            0 <= beta < 1 for beta in self.adam_betas
        )
        check(
            *positive(self, "lr", "adam_eps"),
            *not_negative(
                self,
                "warmup_updates",
                "clip_norm",
                "weight_decay",
                "end_lr",
                "warmup_init_lr",
            ),
            *not_negative(self, "decay_updates", "lr_patience"),
            *below_one(self, "ema_decay", "lr_threshold"),
            (
                0 < self.lr_shrink < 1,
                "lr_shrink",
                f"must lie between 0 and 1, got {self.lr_shrink}",
            ),
            (
                0 < self.layer_decay <= 1,
                "layer_decay",
                f"must lie above 0, up to 1, got {self.layer_decay}",
            ),
            (
                betas_fit,
                "adam_betas",
                f"expected two numbers in [0, 1), got {','.join(map(str, self.adam_betas))}",
            ),
        )
        for part in self.freeze:
            is_known = part in FREEZABLE or parse_digits(part) is not None
            expected = f"expected {', '.join(FREEZABLE)} or a number of layers"
            check((is_known, "freeze", f"{expected}, got {part!r}"))


@config
class TrainConfig:
    """Batches, precision, and when to stop."""

    max_tokens: int = 4096
    """Maximum size of a micro-batch in tokens, padding included: its number of examples times the
    tokens of the longest (the longer of source and target; for choose, all its choices; with
    --both-orders, both orders; for unilm and s2s, including pseudo-masks)."""
    batch_size: int | None = None
    """Maximum number of examples in a micro-batch (default: limited only by --max-tokens)."""
    batch_size_multiple: Annotated[int, Flags("--required-batch-size-multiple")] = 1
    """Make the number of examples in a micro-batch a multiple of this, unless it has fewer, for tensor
    cores."""
    length_multiple: Annotated[int, Flags("--required-seq-len-multiple")] = 1
    """Pad the examples of a batch to a multiple of this many tokens, for tensor cores."""
    update_freq: int | None = None
    """Number of micro-batches in an update, over all processes; fairseq counts those of one process
    (default: the number of processes when the run starts; it is stored with the run)."""
    reduction: Literal["global_token_mean", "sentence_mean", "batch_mean"] = (
        "global_token_mean"
    )
    """How losses are averaged. global_token_mean: over all targets of an update, regardless of how they
    are divided into micro-batches, as in fairseq. sentence_mean: the sum over the targets of an
    example, averaged over the examples of an update, as fairseq's --sentence-avg. batch_mean: over the
    targets of each micro-batch, and then over the micro-batches that have any, as in the released code
    of BERT, ALBERT and ELECTRA. Each stream is averaged separately."""
    batch_reuse: int = 1
    """Number of updates for each list of micro-batches, so that generated back-translations are used
    several times. A checkpoint is saved only after the last of them."""
    max_update: int | None = None
    """Stop after this many updates (default: 20000, unless --max-epoch or --stop-time-hours is given)."""
    max_epoch: int | None = None
    """Stop after the update that completes this many passes over the first stream (default: limited only by
    --max-update). Its last micro-batches may begin another pass."""
    stop_time_hours: float | None = None
    """Save a checkpoint and stop after this many hours. The time is counted from the start of this
    process, and again from 0 when the run is continued."""
    stop_min_lr: float | None = None
    """Stop when the learning rate has decayed to this value after warm-up (default: never)."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Precision of matrix products. auto is bf16 on GPUs that support it and on CPUs where a short
    measurement finds it faster, otherwise fp32. Weights, the optimizer state and sums stay in fp32."""
    shard_model: bool = False
    """Shard parameters, gradients and optimizer state over the processes (FSDP2), for models that do
    not fit on one device. Validation and back-translation still gather all weights."""
    checkpoint_activations: bool = False
    """Keep only the inputs of layers for the backward pass, and recompute the rest: the same gradients,
    for less memory and about a third more time."""
    compile: bool = False
    """Compile each layer with torch.compile; on a CPU this needs a C++ compiler. With --share-layers
    attention or ffn only the first layer is compiled."""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU if there is one."""
    num_workers: int = 1
    """Number of processes that prepare batches in advance; 0 prepares them in the training loop."""
    max_source_positions: int = 1024
    """Maximum length of a source, or of a text for objectives without sources and targets, in tokens
    (start and end symbols included; for tlm, of both sentences together). Longer training examples are
    skipped and counted. Examples of tables are instead truncated according to the options of their
    task."""
    max_target_positions: int = 1024
    """Maximum length of a target in tokens, start and end symbols included (for s2s, of source and
    target together). Longer examples and tables are treated as with --max-source-positions."""
    log_interval: int = 50
    """Number of updates between two lines of the log."""
    tensorboard_logdir: Path | None = None
    """Also write curves for TensorBoard into this folder; this needs the extra masscli[tb]."""
    wandb_project: str | None = None
    """Also send curves to this project of Weights & Biases; this needs the extra masscli[wandb]. Its
    environment variables, such as WANDB_MODE=offline, apply."""
    event_sinks: tuple[str, ...] = ()
    """Also send the events of the run to these plug-ins; masscli's own are tensorboard and wandb."""
    bpe_dropout: float = 0.0
    """BPE dropout: the probability of skipping a merge, so that words are split differently each time
    they are read (Provilkov et al. 2020: 0.1). Sentences become longer than --max-tokens assumes, and
    reading slower."""
    unigram_alpha: float | None = None
    """Subword regularization with a unigram vocabulary of SentencePiece: sample the pieces of words
    each time they are read, with their probabilities to the power of this (Kudo 2018: 0.1 to 0.5)."""
    min_loss_scale: float = 1e-4
    """Stop when the loss scale of fp16 has fallen below this."""
    process_timeout: float = 30.0
    """Number of minutes that processes wait for one that does not respond. After that, it prints its
    stack trace, and the others stop and name it."""
    threads: int | None = None
    """Number of CPU threads (default: OMP_NUM_THREADS, or one for each core). Beside other programs, fewer
    threads are faster."""

    def __post_init__(self) -> None:
        check(
            *positive(self, "max_tokens", "batch_size", "update_freq", "batch_reuse"),
            *positive(self, "batch_size_multiple", "length_multiple"),
            *positive(
                self,
                "max_update",
                "max_epoch",
                "stop_time_hours",
                "threads",
                "process_timeout",
            ),
            *positive(self, "unigram_alpha"),
            (
                self.unigram_alpha is None or not self.bpe_dropout,
                "unigram_alpha",
                "cannot be combined with --bpe-dropout",
            ),
            *positive(self, "stop_min_lr"),
            *positive(
                self,
                "max_source_positions",
                "max_target_positions",
                "min_loss_scale",
                "log_interval",
            ),
            *not_negative(self, "num_workers"),
            *at_most(self, MAX_WORKERS, "num_workers", "threads"),
            *at_most(self, MINUTES_OF_A_YEAR, "process_timeout"),
            *below_one(self, "bpe_dropout"),
            (
                # The run must end at the end of a list of batches, since no checkpoint is saved within
                # one.
                self.batch_reuse < 1 or (self.max_update or 0) % self.batch_reuse == 0,
                "max_update",
                f"must be a multiple of --batch-reuse ({self.batch_reuse}), got {self.max_update}",
            ),
        )


@config
class CheckpointConfig:
    """When to save, which checkpoints to keep, and when to stop early."""

    save_interval_updates: int = 1000
    """Number of updates between two checkpoints; 0 turns these off. A checkpoint is always saved at the
    end of the run."""
    save_interval: int | None = None
    """Also save a checkpoint every N epochs of the first stream (default: only at
    --save-interval-updates)."""
    save: bool = True
    """Save checkpoints. --no-save is for benchmarks: the run cannot be continued."""
    keep_last: Annotated[int, Flags("--keep-interval-updates")] = 3
    """Number of latest checkpoints to keep, in addition to the best ones."""
    keep_best: Annotated[int, Flags("--keep-best-checkpoints")] = 1
    """Number of best checkpoints to keep."""
    keep_last_epochs: int = 0
    """Number of latest checkpoints at the end of an epoch of the first stream to keep, in addition to
    the others."""
    keep_optimizer_states: int | None = None
    """Number of latest checkpoints that keep the optimizer state, which with Adam is two thirds of
    their size; the others keep only their weights, and cannot be continued (default: all)."""
    best_metric: Annotated[str, Flags("--best-checkpoint-metric")] = "loss"
    """Metric that decides which checkpoint is best: loss, bleu (with --eval-bleu), rouge-l (with
    --eval-rouge), roundtrip (with --eval-roundtrip), STREAM.loss, ..., or a metric of the task, such as
    accuracy (STREAM.accuracy if several streams have one)."""
    patience: int = 0
    """Stop early after this many validations without a better score; 0 turns this off."""
    stop_on_signal: Literal["usr1"] | None = None
    """Save and stop on SIGUSR1, which SLURM sends before a time limit (sbatch --signal=USR1@120). By
    default, the run saves and continues. On SIGTERM and Ctrl-C it always saves and stops."""

    def __post_init__(self) -> None:
        check(
            *positive(self, "save_interval", "keep_last", "keep_optimizer_states"),
            *not_negative(
                self,
                "save_interval_updates",
                "keep_best",
                "keep_last_epochs",
                "patience",
            ),
        )


@config
class ValidConfig:
    """Validation during training."""

    validate_interval_updates: int | None = None
    """Number of updates between two validations; 0 turns these off (default: --save-interval-updates).
    A checkpoint is saved after each."""
    validate_interval: int | None = None
    """Number of epochs of the first stream between two validations (default: --save-interval)."""
    validate_after_updates: int = 0
    """Do not validate before this many updates."""
    disable_validation: bool = False
    """Never validate."""
    valid_subset: tuple[str, ...] = ("valid",)
    """Splits to validate on. Metrics of the first split are called loss, bleu, ...; those of other
    splits start with its name, such as test.loss."""
    max_tokens_valid: int | None = None
    """Maximum size of a batch in validation, in tokens (default: --max-tokens). It is raised to the
    longest example."""
    expected_curve: str = ""
    """Expected values of a metric, measured in earlier runs of the recipe, such as
    loss=500:4.2-4.6,1000:3.1-3.5: a band that is interpolated linearly between the updates. Each
    validation says whether the run is inside."""
    max_valid_rows: int | None = None
    """Validate only on the first N examples of each stream and split, or on the first N lines of
    running text and documents (default: all)."""
    eval_bleu: bool = False
    """For streams of pairs: translate the validation set with beam search and report BLEU."""
    eval_rouge: bool = False
    """For the tasks summarize and respond: generate outputs for the validation set with beam search and
    report ROUGE-1, ROUGE-2 and ROUGE-L."""
    eval_beam: int = 5
    """Beam size for --eval-bleu and --eval-rouge."""
    eval_samples: int = 3
    """Number of sample outputs of each translation or summarization task in the log of each validation."""
    eval_retrieval: bool = False
    """Report how many validation sentences retrieve their translation by mean encoder states (precision
    at 1), for each pair of the run's languages in the data. This measures alignment without a
    decoder."""
    eval_source_use: bool = False
    """Report how much worse targets are predicted from a wrong source, in nats, for each stream in
    which a decoder attends to an encoder (mass, translate, summarize, ...). Near 0, the decoder does
    not use the source."""
    eval_cross_use: bool = False
    """Report how much better a sentence is predicted from its translation than from a random sentence, in
    nats, for each pair of the run's languages in the data."""
    eval_roundtrip: bool = False
    """For streams of back-translation: translate monolingual validation text into the other language
    and back, greedily, and report BLEU against the original text."""

    def __post_init__(self) -> None:
        check(
            *positive(
                self,
                "validate_interval",
                "max_tokens_valid",
                "max_valid_rows",
                "eval_beam",
            ),
            *at_most(self, MAX_BEAM, "eval_beam"),
            *not_negative(
                self,
                "validate_interval_updates",
                "validate_after_updates",
                "eval_samples",
            ),
            *self._curve_rules(),
            (bool(self.valid_subset), "valid_subset", "expected at least one split"),
        )

    def _curve_rules(self) -> list[Rule]:
        """Return a rule that does not hold if --expected-curve cannot be parsed, or else an empty list."""
        if not self.expected_curve:
            return []
        try:
            parse_expected_curve(self.expected_curve)
        except ValueError as error:
            return [(False, "expected_curve", f"{error}, got {self.expected_curve!r}")]
        return []

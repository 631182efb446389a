"""Every knob of a training run on one page.

A run is a `Recipe`: sections of plain values, the same in a TOML file, on the command line (`--max-tokens` is `train.max_tokens`; a
field's name is unique over all sections, so flags need no prefix) and in a checkpoint.  The knobs of the other commands are in
masscli/commands.py.  Flag names are fairseq's where fairseq has one.  Nothing heavy is imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from masscli.core.config import Flags, check, config


@config
class OptimConfig:
    """Optimizer and learning rate."""

    optimizer: Literal["adamw", "adam", "adamw_bert", "adam_openai", "lamb"] = "adamw"
    """adamw: decoupled decay, bias-corrected. adam: decay in the gradient. adamw_bert: no bias correction. lamb: the same, by layer.
    adam_openai: GPT's, whose decay is multiplied by the bias correction too."""
    lr: float | None = None
    """Peak learning rate (default: 5e-4 at width 512, and in inverse proportion to the width of the model)."""
    lr_scheduler: Literal["inverse_sqrt", "linear", "poly_tf", "poly_mult", "cosine", "constant"] = (
        "inverse_sqrt"
    )
    """Shape of the learning rate after warm-up."""
    warmup_updates: int | None = None
    """Updates of linear warm-up (default: 4000, but no more than a tenth of --max-update)."""
    warmup_init_lr: float = 1e-7
    """Learning rate at update 0."""
    end_lr: float = 0.0
    """Learning rate that decaying schedules approach at the last update."""
    adam_betas: tuple[float, ...] = ()
    """Decay of the first and second moment (default: 0.9,0.98; of adamw_bert, lamb and adam_openai, as published, 0.9,0.999)."""
    adam_eps: float | None = None
    """Added to the root of the second moment (default: 1e-8; of adamw_bert and lamb 1e-6)."""
    weight_decay: float | None = None
    """Weight decay (default: 0; of adamw_bert, lamb and adam_openai 0.01)."""
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
            (self.lr is None or self.lr > 0, "lr", f"must be above 0, got {self.lr}"),
            (0 < self.layer_decay <= 1, "layer_decay", f"must lie above 0, up to 1, got {self.layer_decay}"),
            *(
                (
                    part in ("embeddings", "encoder", "decoder") or part.isdecimal(),
                    "freeze",
                    f"expected embeddings, encoder, decoder or a number of layers, got {part!r}",
                )
                for part in self.freeze
            ),
            (
                len(self.adam_betas) in (0, 2) and all(0 <= b < 1 for b in self.adam_betas),
                "adam_betas",
                "expected two numbers in [0, 1)",
            ),
            (
                self.warmup_updates is None or self.warmup_updates >= 0,
                "warmup_updates",
                f"must not be negative, got {self.warmup_updates}",
            ),
            (self.adam_eps is None or self.adam_eps > 0, "adam_eps", f"must be above 0, got {self.adam_eps}"),
            *(
                (value >= 0, name, f"must not be negative, got {value}")
                for name, value in (
                    ("clip_norm", self.clip_norm),
                    ("weight_decay", self.weight_decay or 0.0),
                    ("end_lr", self.end_lr),
                    ("warmup_init_lr", self.warmup_init_lr),
                )
            ),
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
    reduction: Literal["global_token_mean", "batch_mean"] = "global_token_mean"
    """What a loss is the mean of: all targets of an update, so that it does not matter how they fall into micro-batches (fairseq), or the
    targets of a micro-batch and then the micro-batches that have any (the released BERT, ALBERT and ELECTRA)."""
    batch_reuse: int = 1
    """Updates made of each list of micro-batches: what back-translation has generated is learned from so many times. Saves wait for the
    last of them."""
    max_update: int | None = None
    """Stop after this many updates (default: 20000, unless --max-epoch or --stop-time-hours is given)."""
    max_epoch: int | None = None
    """Stop when the first stream has been read this often."""
    stop_time_hours: float | None = None
    """Stop, with a checkpoint, after this much time."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic of matrix products; auto is bf16 on GPUs that have it and on CPUs where it measures as the faster, else fp32. Weights,
    moments and sums stay in fp32."""
    shard_model: bool = False
    """Share parameters, gradients and moments out over the processes (FSDP2), where one device has no room for them all. Validation and
    back-translation still gather the weights."""
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
            (self.max_tokens > 0, "max_tokens", f"must be above 0, got {self.max_tokens}"),
            *(
                (value is None or value > 0, name, f"must be above 0, got {value}")
                for name, value in (
                    ("batch_size", self.batch_size),
                    ("max_update", self.max_update),
                    ("max_epoch", self.max_epoch),
                    ("stop_time_hours", self.stop_time_hours),
                    ("threads", self.threads),
                )
            ),
            (
                self.update_freq is None or self.update_freq > 0,
                "update_freq",
                f"must be above 0, got {self.update_freq}",
            ),
            (self.batch_reuse > 0, "batch_reuse", f"must be above 0, got {self.batch_reuse}"),
            (
                self.batch_reuse < 1 or (self.max_update or 0) % self.batch_reuse == 0,
                "max_update",
                f"must be a multiple of batch_reuse ({self.batch_reuse}), got {self.max_update}",
            ),
            (
                self.threads is None or self.threads <= 1024,
                "threads",
                f"must not exceed 1024, got {self.threads}",
            ),
            *(
                (value > 0, name, f"must be above 0, got {value}")
                for name, value in (
                    ("max_source_positions", self.max_source_positions),
                    ("max_target_positions", self.max_target_positions),
                    ("min_loss_scale", self.min_loss_scale),
                )
            ),
            (self.num_workers >= 0, "num_workers", f"must not be negative, got {self.num_workers}"),
            (self.log_interval > 0, "log_interval", f"must be above 0, got {self.log_interval}"),
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
    """What decides which checkpoint is best: loss, bleu (with --eval-bleu), rouge-l (with --eval-rouge), roundtrip (with
    --eval-roundtrip), STREAM.loss, ..., or a measure of the task, such as accuracy (STREAM.accuracy where several have one)."""
    patience: int = 0
    """Stop after this many validations without a better score; 0 never does."""

    def __post_init__(self) -> None:
        check(
            (self.save_interval_updates > 0, "save_interval_updates", "must be above 0"),
            (self.keep_last > 0, "keep_last", "must be above 0"),
            (self.keep_best >= 0, "keep_best", f"must not be negative, got {self.keep_best}"),
            (self.patience >= 0, "patience", f"must not be negative, got {self.patience}"),
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
    eval_rouge: bool = False
    """Write the outputs of the validation set with beam search and report ROUGE-1, ROUGE-2 and ROUGE-L (tasks that write text)."""
    eval_beam: int = 5
    """Beam of that search."""
    eval_retrieval: bool = False
    """Report how many validation sentences find their translation by their mean encoder states (precision at 1), for each pair of the data
    between languages of the run; a measure of alignment that needs no decoder."""
    eval_roundtrip: bool = False
    """Translate monolingual validation text there and back, greedily, and report BLEU against itself (streams of back-translation)."""

    def __post_init__(self) -> None:
        check(
            (
                self.validate_interval_updates is None or self.validate_interval_updates > 0,
                "validate_interval_updates",
                "must be above 0",
            ),
            (
                self.max_valid_rows is None or self.max_valid_rows > 0,
                "max_valid_rows",
                f"must be above 0, got {self.max_valid_rows}",
            ),
            (self.eval_beam > 0, "eval_beam", f"must be above 0, got {self.eval_beam}"),
        )

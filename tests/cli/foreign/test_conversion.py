"""Command lines of other toolkits, as their documentation has them, become commands of masscli that run."""

from __future__ import annotations

import io
import shlex
import sys
from pathlib import Path

import pytest

from masscli.__main__ import run
from masscli.cli.foreign.command_line import parse_foreign
from masscli.cli.foreign.conversion import Conversion, format_command
from masscli.cli.foreign.convert import convert
from masscli.core.errors import MasscliError
from tests.commands import succeed

IWSLT = r"""
CUDA_VISIBLE_DEVICES=0 fairseq-train \
    data-bin/iwslt14.tokenized.de-en \
    --arch transformer_iwslt_de_en --share-decoder-input-output-embed \
    --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 0.0 \
    --lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 \
    --dropout 0.3 --weight-decay 0.0001 \
    --criterion label_smoothed_cross_entropy --label-smoothing 0.1 \
    --max-tokens 4096 \
    --source-lang de --target-lang en \
    --eval-bleu \
    --eval-bleu-args '{"beam": 5, "max_len_a": 1.2, "max_len_b": 10}' \
    --eval-bleu-detok moses \
    --eval-bleu-remove-bpe \
    --eval-bleu-print-samples \
    --best-checkpoint-metric bleu --maximize-best-checkpoint-metric
"""
WIKITEXT = r"""
fairseq-train --task language_modeling \
  data-bin/wikitext-103 \
  --save-dir checkpoints/transformer_wikitext-103 \
  --arch transformer_lm --share-decoder-input-output-embed \
  --dropout 0.1 \
  --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 0.0 \
  --lr 0.0005 --lr-scheduler inverse_sqrt --warmup-updates 4000 --warmup-init-lr 1e-07 \
  --tokens-per-sample 24 --sample-break-mode none \
  --max-tokens 2048 --update-freq 16 \
  --fp16 \
  --max-update 50000
"""
MASS_FAIRSEQ = r"""
fairseq-train data-bin/processed --user-dir mass --task xmasked_seq2seq \
  --source-langs en,de --target-langs en,de --langs en,de --arch xtransformer \
  --mass_steps en-en,de-de --memt_steps en-de,de-en --save-dir exps \
  --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 0.0 --lr-scheduler inverse_sqrt --lr 0.00005 \
  --min-lr 1e-09 --criterion label_smoothed_cross_entropy_with_align --max-tokens 4096 \
  --dropout 0.2 --weight-decay 0.0 --max-update 100000 --share-decoder-input-output-embed --valid-lang-pairs en-de
"""
GENERATE = r"""
fairseq-generate data-bin/iwslt14.tokenized.de-en \
    --path checkpoints/checkpoint_best.pt \
    --batch-size 128 --beam 5 --remove-bpe
"""
SAMPLE = r"""
python fairseq_cli/generate.py data-bin/iwslt14.tokenized.de-en --path checkpoints/checkpoint_best.pt \
    --skip-invalid-size-inputs-valid-test --max-tokens 4096 --gen-subset valid \
    --sampling --sampling-topk 10 --nbest 1 --beam 1 -s de -t en --results-path out --quiet
"""
INTERACTIVE = r"""
fairseq-interactive --path checkpoints/checkpoint_best.pt data-bin/iwslt14.tokenized.de-en \
    --beam 5 --source-lang de --target-lang en --buffer-size 1024 --input input.de \
    --tokenizer moses --bpe subword_nmt --bpe-codes bpecodes --lenpen 0.6
"""
XLM_MLM = r"""
python train.py

## main parameters
--exp_name test_ende_mlm                # experiment name
--dump_path ./dumped/                   # where to store the experiment

## data location / training objective
--data_path ./data/processed/en-de/     # data location
--lgs 'en-de'                           # considered languages
--clm_steps ''                          # CLM objective
--mlm_steps 'en,de,en-de'               # MLM objective

## transformer parameters
--emb_dim 1024                          # embeddings / model dimension
--n_layers 6                            # number of layers
--n_heads 8                             # number of heads
--dropout 0.1                           # dropout
--attention_dropout 0.1                 # attention dropout
--gelu_activation true                  # GELU instead of ReLU

## optimization
--batch_size 32                         # sequences per batch
--bptt 256                              # sequences length
--optimizer adam,lr=0.0001              # optimizer
--epoch_size 200000                     # number of sentences per epoch
--validation_metrics _valid_mlm_ppl     # validation metric (when to save the best model)
--stopping_criterion _valid_mlm_ppl,10  # end experiment if stopping criterion does not improve
"""
MASS_PRETRAIN = r"""
export NGPU=8; CUDA_VISIBLE_DEVICES=0,1 python train.py \
--exp_name unsupMT_ende                              \
--data_path ./data/processed/en-de/                  \
--lgs 'en-de'                                        \
--mass_steps 'en,de'                                 \
--encoder_only false                                 \
--emb_dim 1024                                       \
--n_layers 6                                         \
--n_heads 8                                          \
--dropout 0.1                                        \
--attention_dropout 0.1                              \
--gelu_activation true                               \
--tokens_per_batch 3000                              \
--optimizer adam_inverse_sqrt,beta1=0.9,beta2=0.98,lr=0.0001 \
--epoch_size 200000                                  \
--max_epoch 100                                      \
--eval_bleu true                                     \
--word_mass 0.5                                      \
--min_len 5                                          \
"""
MASS_FINETUNE = r"""
MODEL=mass_ende_1024.pth

python train.py \
  --exp_name unsupMT_ende                              \
  --data_path ./data/processed/en-de/                  \
  --lgs 'en-de'                                        \
  --ae_steps 'en,de' --bt_steps 'en-de-en,de-en-de'    \
  --word_shuffle 3 --word_dropout 0.1 --word_blank 0.1 \
  --lambda_ae '0:1,100000:0.1,300000:0'                \
  --encoder_only false                                 \
  --emb_dim 1024                                       \
  --n_layers 6                                         \
  --n_heads 8                                          \
  --dropout 0.1                                        \
  --attention_dropout 0.1                              \
  --gelu_activation true                               \
  --tokens_per_batch 2000                              \
  --batch_size 32                                      \
  --bptt 256                                           \
  --optimizer adam_inverse_sqrt,beta1=0.9,beta2=0.98,lr=0.0001 \
  --epoch_size 200000                                  \
  --max_epoch 30                                       \
  --eval_bleu true                                     \
  --stopping_criterion 'valid_en-de_mt_bleu,10'        \
  --reload_model 'mass_ende_1024.pth,mass_ende_1024.pth'
"""
MARIAN = r"""
python examples/pytorch/translation/run_translation.py \
    --model_name_or_path Helsinki-NLP/opus-mt-en-de \
    --do_train \
    --do_eval \
    --source_lang en \
    --target_lang de \
    --dataset_name wmt16 \
    --dataset_config_name de-en \
    --output_dir tst-translation \
    --per_device_train_batch_size=4 \
    --per_device_eval_batch_size=4 \
    --overwrite_output_dir \
    --predict_with_generate
"""
T5 = r"""
torchrun --nproc_per_node 8 pytorch/translation/run_translation.py \
    --model_name_or_path google-t5/t5-small \
    --do_train --do_eval --source_lang en --target_lang de \
    --source_prefix "translate English to German: " \
    --train_file path_to_jsonlines_file --validation_file path_to_jsonlines_file \
    --output_dir tst-t5 --max_source_length 24 --max_target_length 24 \
    --learning_rate 3e-4 --lr_scheduler_type constant_with_warmup --warmup_steps 2 --label_smoothing_factor 0.1 \
    --gradient_accumulation_steps 2 --num_train_epochs 2.5 --save_total_limit 2 --fp16 False
"""
MBART = r"""
python run_translation.py --model_name_or_path facebook/mbart-large-50 --do_train True --do_predict \
    --source_lang en_XX --target_lang de_DE --dataset_name wmt16 --dataset_config_name de-en --output_dir tst-mbart \
    --max_steps 100 --eval_strategy steps --eval_steps 50 --save_steps 50 --load_best_model_at_end True \
    --metric_for_best_model eval_bleu --predict_with_generate True --max_train_samples 64 --bf16 \
    --adam_beta2 0.98 --optim adamw_torch --seed 7 --report_to none --dataloader_num_workers 0
"""

SMALL = {
    "--dim": "16",
    "--ffn-dim": "32",
    "--heads": "2",
    "--encoder-layers": "1",
    "--decoder-layers": "1",
}
SHORT = {
    "--max-update": "2",
    "--precision": "fp32",
    "--num-workers": "0",
    "--max-positions": "64",
}


def converted(text: str) -> Conversion:
    return convert(parse_foreign(text))


def notes(text: str) -> str:
    return "\n".join(converted(text).remarks)


@pytest.fixture
def place(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the toy data under the names that the command lines have."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "data-bin/iwslt14.tokenized.de-en",
        "data-bin/wikitext-103",
        "data-bin/processed",
        "data/processed/en-de",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).symlink_to(toy)
    return tmp_path


def run_small(text: str, **changes: str | None) -> Conversion:
    """Run what a command line becomes, with a model of toy size and two updates; everything else is as converted."""
    conversion = converted(text)
    sizes = {
        flag: value
        for flag, value in SMALL.items()
        if "--arch" in conversion.options and _has_stack(conversion, flag)
    }
    conversion.options |= {**sizes, **SHORT}
    for flag in ("max_positions", *changes):
        conversion.options.pop(f"--{flag.replace('_', '-')}", None)
    conversion.options |= {
        f"--{flag.replace('_', '-')}": value
        for flag, value in changes.items()
        if value is not None
    }
    # Shell variables and torchrun are left to the shell.
    words = conversion.words()
    assert run(words[words.index("masscli") + 1 :]) == 0, words
    return conversion


def _has_stack(conversion: Conversion, flag: str) -> bool:
    if conversion.objective in ("gpt", "clm"):
        return flag != "--encoder-layers"
    return (
        conversion.objective not in ("mlm", "tlm", "roberta")
        or flag != "--decoder-layers"
    )


def test_fairseq_trains_and_generates(
    place: Path, no_sync: None, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run_small(IWSLT)
    assert (
        trained.command == "finetune" and trained.options["--save-dir"] == "checkpoints"
    )
    assert (place / "checkpoints/checkpoints/best").exists()
    capsys.readouterr()
    run_generate(GENERATE)
    out = capsys.readouterr().out
    # The valid split has as many S- lines as sentences.
    assert len([line for line in out.splitlines() if line.startswith("S-")]) == 24
    sampled = converted(SAMPLE)
    assert sampled.options["--output"] == "out/generate.txt"
    (place / "out").mkdir()
    run_generate(SAMPLE)
    assert (place / "out/generate.txt").read_text().count("\nH-") == 24
    capsys.readouterr()
    (place / "input.de").write_text("ibx\nafx\n")
    assert "--gen-subset" not in run_generate(INTERACTIVE).options
    assert capsys.readouterr().out.count("S-") == 2


def run_generate(text: str) -> Conversion:
    """Run a converted command; the toy data have no test split, so that valid takes its place."""
    conversion = converted(text)
    if "--gen-subset" in conversion.options:
        conversion.options["--gen-subset"] = "valid"
    succeed(conversion.words()[1:])
    return conversion


def test_fairseq_language_model_and_mass(place: Path, no_sync: None) -> None:
    assert run_small(WIKITEXT).command == "pretrain"
    assert (place / "checkpoints/transformer_wikitext-103/checkpoints/last").exists()
    mass = run_small(MASS_FAIRSEQ)
    assert (
        mass.options["--objective"],
        mass.options["--preset"],
        mass.options["--langs"],
    ) == (
        "mass",
        "fairseq",
        "en,de",
    )
    assert mass.options["--auxiliary"] == "translate=1"


def test_xlm_and_mass(place: Path, no_sync: None) -> None:
    mlm = run_small(XLM_MLM)
    assert (mlm.objective, mlm.options["--auxiliary"]) == ("mlm", "tlm=1")
    assert mlm.options["--save-dir"] == "./dumped/test_ende_mlm"
    # The pair of the two languages is what --auxiliary takes; of three languages it would take three.
    assert "of tlm" not in notes(XLM_MLM)
    assert "the steps en-de of tlm" in notes(
        XLM_MLM.replace("en,de,en-de", "en,de,fr,en-de")
    )
    mass = run_small(MASS_PRETRAIN, save_dir="mass_ende_1024")
    assert (
        mass.options["--k"],
        mass.options["--preset"],
        mass.options["--max-tokens"],
    ) == (
        "0.5",
        "xlm",
        "3000",
    )
    assert (
        mass.options["--warmup-updates"] == "4000"
        and mass.options["--adam-betas"] == "0.9,0.98"
    )
    finetuned = run_small(MASS_FINETUNE)
    assert finetuned.options["--pairs"] == "de-en,en-de"
    assert finetuned.options["--auxiliary"] == "denoise=0:1,100000:0.1,300000:0"
    assert finetuned.options["--init-from"] == "mass_ende_1024"


def test_run_translation(place: Path, no_sync: None, toy: Path) -> None:
    (place / "data-bin").rename(place / "others")
    (place / "data-bin").symlink_to(toy)
    for name in (
        "Helsinki-NLP/opus-mt-en-de",
        "google-t5/t5-small",
        "facebook/mbart-large-50",
    ):
        args = [word for pair in SMALL.items() for word in pair]
        succeed(
            [
                *(
                    "finetune -s en -t de --task=translate --max-update=1 --save-dir"
                ).split(),
                name,
                *args,
            ]
        )
    marian = run_small(MARIAN)
    assert marian.options["--batch-size"] == "4" and marian.options["--lr"] == "5e-5"
    t5 = run_small(T5)
    assert (
        t5.processes == "8"
        and t5.options["--max-epoch"] == "3"
        and t5.options["--max-tokens"] == "192"
    )
    mbart = run_small(MBART)
    assert (mbart.options["--source-lang"], mbart.options["--best-metric"]) == (
        "en",
        "bleu",
    )
    assert (
        mbart.options["--adam-betas"] == "0.9,0.98"
        and "--max-epoch" not in mbart.options
    )


def test_fairseq_preprocess(
    tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch, no_sync: None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXT", str(toy.parent))
    text = (
        "fairseq-preprocess --source-lang de --target-lang en --trainpref $TEXT/train --validpref $TEXT/valid "
        "--destdir data-bin/iwslt14 --workers 1 --joined-dictionary --nwordssrc 96 --srcdict dict.txt"
    )
    line = format_command(converted(text).words())
    assert '"$TEXT/train"' in line
    args = [
        word.replace("$TEXT", str(toy.parent))
        for word in shlex.split(line.replace("\\\n", " "))
    ]
    succeed(args[1:])
    assert (tmp_path / "data-bin/iwslt14/manifest.json").exists()
    assert "--srcdict: has no counterpart" in notes(text)


def test_a_tuple_without_quotes_is_understood() -> None:
    for betas in ("'(0.9, 0.98)'", "(0.9, 0.98)", "(0.9,0.98)"):
        given = parse_foreign(
            f"fairseq-train data --arch transformer --adam-betas {betas} --lr 5e-4"
        )
        options = convert(given).options
        assert (options["--adam-betas"], options["--lr"]) == ("0.9,0.98", "5e-4")


def test_what_has_no_counterpart_is_named() -> None:
    assert "--eval-bleu-args: has no counterpart" in notes(IWSLT)
    assert converted(IWSLT).always[-1] == "--maximize-best-checkpoint-metric"
    assert "--max_epoch: has no counterpart" in notes(MASS_PRETRAIN)
    assert "--source_prefix: has no counterpart" in notes(T5)
    assert "--frobnicate: is in no table of masscli" in notes(
        "fairseq-train data --frobnicate 3 --max-tokens 9"
    )
    assert converted("fairseq-train data --frobnicate 3 --max-tokens 9").arguments == [
        "data"
    ]
    assert "--arch my_arch: has no counterpart" in notes(
        "fairseq-train data --arch my_arch"
    )
    # A number that is none is passed on, and refused there.
    assert converted("train.py --mass_steps en --emb_dim ²").options["--dim"] == "²"
    assert (
        "--sampling_temperature"
        not in converted("train.py --mass_steps en --emb_dim abc").options
    )
    # A flag of another objective is not passed on.
    assert "--mask-prob 0.2: translate does not have it" in notes(
        "fairseq-train data --mask-prob 0.2"
    )


def test_the_default_of_the_other_program_counts_where_it_differs() -> None:
    bare = converted("fairseq-train data --arch transformer --lr 1e-3").options
    assert (bare["--clip-norm"], bare["--norm"], bare["--precision"]) == (
        "0",
        "post",
        "fp32",
    )
    # An architecture is changed by flags wherever they stand.
    wide = converted(
        "fairseq-train data --encoder-embed-dim 768 --encoder-normalize-before --arch transformer"
    ).options
    assert (wide["--arch"], wide["--dim"], wide["--norm"]) == ("base", "768", "pre")
    assert (
        converted("fairseq-generate data --path a.pt --no-early-stop").options.get(
            "--early-stop", "absent"
        )
        == "absent"
    )
    # The beginning of a name is enough for argparse, and the sign of equality for all.
    assert (
        converted("fairseq-train data --warmup-upd=16").options["--warmup-updates"]
        == "16"
    )


def test_the_command_ends_where_the_shell_ends_it() -> None:
    both = converted(
        "export A=1; fairseq-train data --fp16 --max-tokens=5; fairseq-generate data --path x > log 2>&1"
    )
    assert (
        both.arguments,
        both.options["--precision"],
        both.options["--max-tokens"],
    ) == (
        ["data"],
        "fp16",
        "5",
    )
    assert "--path" not in str(both.remarks)
    piped = converted("fairseq-generate data --path run --beam 3 | tee out")
    assert (piped.arguments, piped.options["--beam"]) == (["run"], "3")


def test_variables_that_a_script_sets_have_their_values() -> None:
    script = """
        LR=5e-4      # peak
        ROOT=/data; DATA_DIR=$ROOT/bin
        ARGS="--fp16 --adam-betas '(0.9, 0.98)'"
        NOW=$(date)
        CUDA_VISIBLE_DEVICES=0 fairseq-train ${DATA_DIR}/ende --lr $LR $ARGS --seed $NOW --save-dir $OTHER/a
    """
    found = converted(script)
    assert found.arguments == ["/data/bin/ende"]
    options = found.options
    assert (options["--lr"], options["--precision"]) == ("5e-4", "fp16")
    assert options["--adam-betas"] == "0.9,0.98"
    # What the script does not set is for the shell to fill in.
    assert (options["--seed"], options["--save-dir"]) == ("$NOW", "$OTHER/a")
    # A word of an argument that looks like one is none.
    assert converted("fairseq-train a=b --lr $a").options["--lr"] == "$a"


@pytest.mark.parametrize(
    ("flags", "last", "remark"),
    [
        ("polynomial_decay --total-num-update 20", "20", ""),
        ("polynomial_decay --total-num-update 20 --max-update 20", "20", ""),
        # From 20 on the rate is 0 there.
        ("polynomial_decay --max-update 30 --total-num-update 20", "20", ""),
        ("polynomial_decay --total-num-update 30 --max-update 20", "20", "--total-num-update 30: "),
        ("polynomial_decay --total-num-update $N --max-epoch 3", "$N", ""),
        ("inverse_sqrt --total-num-update 30 --max-update 40", "40", ""),
        ("inverse_sqrt --max-update 0", None, ""),
        ("polynomial_decay --max-epoch 3", None, "--lr-scheduler linear: falls until --max-update"),
    ],
)  # fmt: skip
def test_the_end_of_a_schedule_is_that_of_the_run(
    flags: str, last: str | None, remark: str
) -> None:
    command = f"fairseq-train data --lr-scheduler {flags}"
    assert converted(command).options.get("--max-update") == last
    assert remark in notes(command)
    assert bool(notes(command)) is bool(remark)


def test_epochs_of_run_translation_do_not_say_when_its_schedule_ends() -> None:
    falls = "--lr-scheduler linear: falls until --max-update, which has to be added"
    command = "run_translation.py --model_name_or_path a --num_train_epochs 2"
    assert falls in notes(command)
    assert falls not in notes(f"{command} --max_steps 9")


def test_a_launcher_may_look_for_the_program() -> None:
    launcher = "python -m torch.distributed.launch --nproc_per_node=8"
    for program in ("$(which fairseq-train)", "`which fairseq-train`"):
        found = converted(f"{launcher} {program} data-bin/wmt --lr 3")
        assert (found.processes, found.arguments) == ("8", ["data-bin/wmt"])


def test_fine_tuning_from_a_file() -> None:
    options = converted(
        "fairseq-train data --restore-file bart.large/model.pt --reset-optimizer"
    ).options
    assert options["--init-from"] == "bart.large/model"
    assert (
        "--init-from"
        not in converted("fairseq-train data --restore-file checkpoint_last.pt").options
    )
    roberta = "fairseq-train data --task masked_lm --sample-break-mode complete_doc"
    assert converted(roberta).options["--input-form"] == "doc-sentences"
    assert "the steps de-en,en-de of translate" in notes(
        "train.py --bt_steps de-en-de --mt_steps de-en,en-de"
    )


def test_mistakes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MasscliError, match="no known program"):
        parse_foreign("python main.py --lr 3")
    with pytest.raises(MasscliError, match="cannot be read: No closing quotation"):
        parse_foreign("fairseq-train 'data")
    with pytest.raises(MasscliError, match="YAML"):
        parse_foreign("fairseq-hydra-train --config-name x")
    # Some editors begin a file with a byte order mark.
    text = b"\xef\xbb\xbffairseq-train data --lr '[1e-3]'\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    succeed(["convert-command", "-"])
    out, err = capsys.readouterr()
    assert (
        out.startswith("masscli finetune data --task translate")
        and "--lr 1e-3" in out
        and err == ""
    )


def test_a_value_with_spaces_stays_one_argument() -> None:
    trained = converted(
        "fairseq-train 'data bin/x' --arch transformer --save-dir 'my runs/a' "
        "--restore-file 'old runs/checkpoint_best.pt'"
    )
    assert trained.arguments == ["data bin/x"]
    assert trained.options["--save-dir"] == "my runs/a"
    assert trained.options["--init-from"] == "old runs"
    ensemble = converted("fairseq-generate data --path 'my a/checkpoint_best.pt:b'")
    assert ensemble.arguments == ["my a", "b"]
    reloaded = converted("train.py --mass_steps en --reload_model 'a b.pth,c d.pth'")
    assert reloaded.options["--init-from"] == "a b"
    assert reloaded.options["--init-decoder-from"] == "c d"


def test_a_launcher_without_a_number_of_processes_is_accepted() -> None:
    assert converted("torchrun --nproc-per-node train.py").processes is None
    assert converted("torchrun --nproc-per-node 4 train.py").processes == "4"


@pytest.mark.parametrize(
    ("flags", "embeddings", "tied"),
    [
        ("", "separate", "--no-tie-output"),
        ("--share-decoder-input-output-embed", "separate", "--tie-output"),
        ("--share-all-embeddings", "tied", "--tie-output"),
    ],
)
def test_weights_that_fairseq_shares_are_shared(
    flags: str, embeddings: str, tied: str
) -> None:
    """By default fairseq shares nothing, and masscli shares everything."""
    options = converted(
        f"fairseq-train d {flags} --arch transformer_iwslt_de_en"
    ).options
    assert options["--embeddings"] == embeddings
    assert [name for name in options if name.endswith("tie-output")] == [tied]


def test_a_final_norm_can_be_missing_only_where_norms_come_first() -> None:
    pre = "--encoder-normalize-before --decoder-normalize-before"
    for flags, found in ((pre, "encoder"), ("", None)):
        options = converted(
            f"fairseq-train d --arch transformer --no-decoder-final-norm {flags}"
        ).options
        assert options.get("--final-norm") == found


def test_the_noise_of_bart_is_infilling_alone(place: Path, no_sync: None) -> None:
    actual = run_small(
        "fairseq-train data-bin/wikitext-103 --task denoising --arch bart_base --mask 0.3 "
        "--mask-length span-poisson --poisson-lambda 3.5 --replace-length 1 --permute-sentences 0"
    )
    assert actual.objective == "denoise"
    expected = {
        "--word-shuffle": "0",
        "--word-dropout": "0",
        "--word-blank": "0",
        "--infill-share": "0.3",
        "--infill-length": "3.5",
    }
    assert expected.items() <= actual.options.items()


def test_switches_of_xlm_that_change_the_model() -> None:
    text = "train.py --mass_steps en --english_only true --share_inout_emb false --attention_setting v1"
    options = converted(text).options
    assert options["--cross-output"] == "shared" and options["--languages"] == "none"
    assert "--no-tie-output" in options
    # What MASS calls v1 is a projection for each language, which --arch mass-xlm has.
    options = converted("train.py --mass_steps en,de --attention_setting v1").options
    assert "--cross-output" not in options and options["--arch"] == "mass-xlm"
    assert "--attention_setting v2: has no counterpart" in notes(
        "train.py --mass_steps en,de --attention_setting v2"
    )


def test_flags_of_training_have_no_effect_on_generation() -> None:
    found = converted(
        "fairseq-generate d --path a/checkpoint_best.pt --optimizer adam --lr-scheduler fixed --beam 4 "
        "--valid-subset valid --num-shards 2 --batch-size-valid 3 --seed 7"
    )
    assert found.always == [
        "--optimizer",
        "--lr-scheduler",
        "--valid-subset",
        "--batch-size-valid",
    ]
    assert found.options["--beam"] == "4" and found.options["--seed"] == "7"
    assert "torchrun" in "".join(found.remarks)


def test_fairseq_score(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hyp.txt").write_text("The cat sat on the mat , quietly .\n")
    (tmp_path / "ref.txt").write_text("the cat sat on the mat , quietly .\n")
    text = "fairseq-score --sys hyp.txt --ref ref.txt"
    succeed(converted(text).words()[1:])
    # fairseq-score splits at white space: of 9, 8, 7 and 6 n-grams, those with "The" do not match.
    assert float(capsys.readouterr().out.split()[2]) == pytest.approx(
        100 * (8 * 7 * 6 * 5 / (9 * 8 * 7 * 6)) ** 0.25, abs=0.01
    )
    succeed(converted(f"{text} --ignore-case").words()[1:])
    assert float(capsys.readouterr().out.split()[2]) == pytest.approx(100)
    assert converted("fairseq-score -r ref.txt").arguments == ["-"]


def test_runs_are_measured_and_xlm_translates() -> None:
    validate = "fairseq-validate d --path a/checkpoint_best.pt --valid-subset test --max-tokens 9 --task translation"
    assert converted(validate).words() == "masscli score a --gen-subset test".split()
    assert "masscli score reads the data folder" in notes(validate)
    actual = converted("fairseq-eval-lm d --path lm.pt --context-window 9")
    assert actual.words() == [
        *["masscli", "score", "lm", "--gen-subset", "test"],
        *["--context-window", "9"],
    ]
    assert "lm.pt: has to be a run of masscli" in "\n".join(actual.remarks)
    actual = converted(
        "python translate.py --exp_name x --model_path mass.pth --output_path out.txt "
        "--src_lang en --tgt_lang de --beam 5 --length_penalty 0.6 --batch_size 8 < in.txt"
    )
    assert actual.command == "generate" and actual.arguments == ["mass"]
    expected = {
        "--output": "out.txt",
        "--source-lang": "en",
        "--target-lang": "de",
        "--beam": "5",
        "--lenpen": "0.6",
        "--max-len-a": "1.5",
    }
    assert expected.items() <= actual.options.items()

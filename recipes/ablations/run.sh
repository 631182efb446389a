#!/usr/bin/env bash
# What of MASS matters:  bash recipes/ablations/run.sh FOLDER NOVELS [OUTPUT]
#
# Multi30k English-German and part of the novels; every method is pre-trained alike and fine-tuned on the first PAIRS pairs:
#
#   scratch    no pre-training                           mass      the paper's method
#   discrete   scattered tokens instead of a fragment    feed      the decoder reads the other tokens too
#   dae        denoising auto-encoder                    bertlm    encoder of a masked, decoder of a causal language model
#   encoder    MASS, but only its encoder is taken       decoder   MASS, but only its decoder is taken
#
# Prints BLEU of test2016 (multi-bleu, lower-cased), the mean over SEEDS.  In the paper, unsupervised En-Fr: discrete 36.9, feed 35.3,
# MASS 37.5; BERT+LM 33.4, DAE 30.1.  SCALE=gpu trains longer.  What is finished is not done again.
set -euo pipefail
: "${SCALE:=tiny}" "${METHODS:=scratch dae bertlm discrete feed encoder decoder mass}" "${PAIRS:=1000}" "${SEEDS:=1}"
if [ "$SCALE" = gpu ]; then
    : "${PRETRAIN_UPDATES:=10000}" "${UPDATES:=2000}" "${NOVEL_LINES:=100000}" "${TOKENS:=8192}" "${ARCH:=small}" "${LR:=0.0005}"
fi
: "${PRETRAIN_UPDATES:=600}" "${UPDATES:=300}" "${NOVEL_LINES:=3000}" "${TOKENS:=2000}" "${ARCH:=tiny}" "${LR:=0.002}"
: "${VOCAB:=4000}" "${TEXT:=--normalize --moses --lowercase}" "${BEAM:=5}" "${VALIDATE:=100}" "${DROPOUT:=0.3}"

source "$(dirname "${BASH_SOURCE[0]}")/../pairs.sh"
folder=${1:?usage: run.sh FOLDER NOVELS [OUTPUT]}
novels=${2:?usage: run.sh FOLDER NOVELS [OUTPUT]}
output=${3:-runs/ablations}
caption_data

# pretrained NAME --objective OBJECTIVE OPTION...
pretrained() {
    local name=$1
    shift
    run masscli pretrain "$output/data" "${pretraining[@]}" --save-dir "$output/pre-$name" "$@"
}
for method in $METHODS; do
    start=(--init-from "$output/pre-$method")
    case $method in
        scratch) start=() ;;
        mass) pretrained mass --objective mass --k 0.5 ;;
        discrete) pretrained discrete --objective mass --k 0.5 --span 1 ;;
        feed) pretrained feed --objective mass --k 0.5 --feed all ;;
        dae) pretrained dae --objective denoise ;;
        bertlm)
            pretrained bert --objective mlm
            pretrained lm --objective clm
            start=(--init-from "$output/pre-bert" --init-decoder-from "$output/pre-lm") ;;
        encoder | decoder)
            pretrained mass --objective mass --k 0.5
            start=(--init-from "$output/pre-mass" --init-stacks "$method") ;;
        *) echo "error: no method called $method" >&2; exit 2 ;;
    esac
    for seed in $SEEDS; do
        tuned "$method-$seed" "$seed" "${start[@]}"
    done
done
echo "method BLEU" | awk '{ printf "%-12s%s\n", $1, $2 }'
for method in $METHODS; do
    # shellcheck disable=SC2086
    echo "$method $(mean $(for seed in $SEEDS; do echo "$output/$method-$seed.txt"; done))" | awk '{ printf "%-12s%s\n", $1, $2 }'
done

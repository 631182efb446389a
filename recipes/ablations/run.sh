#!/usr/bin/env bash
# What of MASS matters:  bash recipes/ablations/run.sh FOLDER NOVELS [OUTPUT]
#
# Multi30k English-German and part of the novels; every method is pre-trained alike (its encoder reads some words in the other language:
# recipes/pairs.sh) and fine-tuned on the first PAIRS pairs:
#
#   scratch    no pre-training                           mass      the paper's method
#   discrete   scattered tokens instead of a fragment    feed      the decoder reads the other tokens too
#   dae        denoising auto-encoder                    bertlm    encoder of a masked, decoder of a causal language model
#   encoder    MASS, but only its encoder is taken       decoder   MASS, but only its decoder is taken
#
# Prints BLEU of test2016 (multi-bleu, lower-cased), the mean over SEEDS +- their standard deviation.  In the paper, unsupervised En-Fr:
# discrete 36.9, feed 35.3, MASS 37.5; BERT+LM 33.4, DAE 30.1.  SCALE=gpu trains longer.  What is finished is not done again.
set -euo pipefail
: "${METHODS:=scratch dae bertlm discrete feed encoder decoder mass}" "${PAIRS:=1000}" "${SEEDS:=1}" "${DICTIONARY:=$PAIRS}"

source "$(dirname "${BASH_SOURCE[0]}")/../pairs.sh"
folder=${1:?usage: run.sh FOLDER NOVELS [OUTPUT]}
novels=${2:?usage: run.sh FOLDER NOVELS [OUTPUT]}
output=${3:-runs/ablations}
caption_data
word_pairs

for method in $METHODS; do
    start=(--init-from "$output/pre-$method")
    case $method in
        scratch) start=() ;;
        mass) pretrain_on "$output/data" pre-mass --objective mass --k 0.5 "${switch[@]}" ;;
        discrete) pretrain_on "$output/data" pre-discrete --objective mass --k 0.5 --span 1 "${switch[@]}" ;;
        feed) pretrain_on "$output/data" pre-feed --objective mass --k 0.5 --feed all "${switch[@]}" ;;
        dae) pretrain_on "$output/data" pre-dae --objective denoise "${switch[@]}" ;;
        bertlm) pretrain_on "$output/data" pre-bertlm --objective bert+lm "${switch[@]}" ;;
        encoder | decoder)
            pretrain_on "$output/data" pre-mass --objective mass --k 0.5 "${switch[@]}"
            start=(--init-from "$output/pre-mass" --init-stacks "$method") ;;
        *) echo "error: no method called $method" >&2; exit 2 ;;
    esac
    for seed in $SEEDS; do tuned "$method-$seed" "$PAIRS" "$seed" "${start[@]}"; done
done
{
    echo "method BLEU"
    for method in $METHODS; do
        names=()
        for seed in $SEEDS; do names+=("$method-$seed"); done
        echo "$method $(scores "${names[@]}")"
    done
} | table

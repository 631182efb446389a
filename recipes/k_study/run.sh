#!/usr/bin/env bash
# How much of a sentence MASS should hide:  bash recipes/k_study/run.sh FOLDER NOVELS [OUTPUT]
#
# The study of k of the paper (section 4.4, figure 5) on Multi30k English-German and part of the novels: the same model is pre-trained with
# k from one token (BERT's) to the whole sentence (a language model), then fine-tuned on the first PAIRS pairs.  Prints perplexity of the
# hidden fragment on valid and BLEU of test2016 against k (multi-bleu, lower-cased; mean over SEEDS of the fine-tuning), and draws both into
# OUTPUT/k.svg.  The paper finds both best between 50% and 70%, and the two ends clearly worse.  SCALE=gpu trains longer.
# What is finished is not done again.
set -euo pipefail
: "${KS:=token 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0}" "${PAIRS:=1000}" "${SEEDS:=1}" "${DICTIONARY:=$PAIRS}"

source "$(dirname "${BASH_SOURCE[0]}")/../pairs.sh"
folder=${1:?usage: run.sh FOLDER NOVELS [OUTPUT]}
novels=${2:?usage: run.sh FOLDER NOVELS [OUTPUT]}
output=${3:-runs/k-study}
caption_data
word_pairs

for k in $KS; do
    share=(--k "$k")
    [ "$k" != token ] || share=(--k-tokens 1)
    pretrain_on "$output/data" "mass-$k" --objective mass "${share[@]}" "${switch[@]}"
    for seed in $SEEDS; do tuned "k-$k-$seed" "$PAIRS" "$seed" --init-from "$output/mass-$k"; done
done

# k, perplexity, BLEU: the last validation of the pre-training, the mean over seeds.
{
    echo "k perplexity BLEU"
    for k in $KS; do
        perplexity=$(awk -F'"ppl": ' '/"event": "evaluated"/ { split($2, rest, /[,}]/); last = rest[1] } END { printf "%.4g", last }' \
            "$output/mass-$k/log.jsonl")
        names=()
        for seed in $SEEDS; do names+=("k-$k-$seed"); done
        bleu=$(scores "${names[@]}")
        echo "$k $perplexity ${bleu%+-*}"
    done
} > "$output/k.txt"
awk '{ printf "%-10s%-14s%-10s\n", $1, $2, $3 }' "$output/k.txt"
run masscli plot "$output/k.txt" --output "$output/k.svg"

#!/usr/bin/env bash
# How much of a sentence MASS should hide:  bash recipes/k_study/run.sh FOLDER NOVELS [OUTPUT]
#
# The study of k of the paper (section 4.4, figure 5) on Multi30k English-German and part of the novels: the same model is pre-trained with
# k from one token (BERT's) to the whole sentence (a language model), then fine-tuned on the first PAIRS pairs.  Prints perplexity of the
# hidden fragment on valid and BLEU of test2016 against k (multi-bleu, lower-cased; mean over SEEDS of the fine-tuning), and draws both into
# OUTPUT/k.svg.  The paper finds both best between 50% and 70%, and the two ends clearly worse.  SCALE=gpu trains longer.
# What is finished is not done again.
set -euo pipefail
: "${SCALE:=tiny}" "${KS:=token 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0}" "${PAIRS:=1000}" "${SEEDS:=1}"
if [ "$SCALE" = gpu ]; then
    : "${PRETRAIN_UPDATES:=10000}" "${UPDATES:=2000}" "${NOVEL_LINES:=100000}" "${TOKENS:=8192}" "${ARCH:=small}" "${LR:=0.0005}"
fi
: "${PRETRAIN_UPDATES:=600}" "${UPDATES:=300}" "${NOVEL_LINES:=3000}" "${TOKENS:=2000}" "${ARCH:=tiny}" "${LR:=0.002}"
: "${VOCAB:=4000}" "${TEXT:=--normalize --moses --lowercase}" "${BEAM:=5}" "${VALIDATE:=100}" "${DROPOUT:=0.3}"

source "$(dirname "${BASH_SOURCE[0]}")/../pairs.sh"
folder=${1:?usage: run.sh FOLDER NOVELS [OUTPUT]}
novels=${2:?usage: run.sh FOLDER NOVELS [OUTPUT]}
output=${3:-runs/k-study}
caption_data

for k in $KS; do
    share=(--k "$k")
    [ "$k" != token ] || share=(--k-tokens 1)
    run masscli pretrain "$output/data" --objective mass "${share[@]}" "${pretraining[@]}" --save-dir "$output/mass-$k"
    for seed in $SEEDS; do
        tuned "k-$k-$seed" "$seed" --init-from "$output/mass-$k"
    done
done

# k, perplexity, BLEU: the last validation of the pre-training, the mean over seeds.
{
    echo "k perplexity BLEU"
    for k in $KS; do
        perplexity=$(awk -F'"ppl": ' '/"event": "evaluated"/ { split($2, rest, /[,}]/); last = rest[1] } END { printf "%.4g", last }' \
            "$output/mass-$k/log.jsonl")
        # shellcheck disable=SC2086
        echo "$k $perplexity $(mean $(for seed in $SEEDS; do echo "$output/k-$k-$seed.txt"; done))"
    done
} > "$output/k.txt"
awk '{ printf "%-10s%-14s%-10s\n", $1, $2, $3 }' "$output/k.txt"
run masscli plot "$output/k.txt" --output "$output/k.svg"

#!/usr/bin/env bash
# How much of a sentence MASS should hide:  bash recipes/k_study/run.sh FOLDER NOVELS [en-de|en-fr] [OUTPUT]
#
# The study of k of the paper (section 4.4, figure 5) on Multi30k and part of the novels, the halves of recipes/multi30k/unsupervised.sh: the
# same model is pre-trained with k from one token (BERT's) to the whole sentence (a language model), then fine-tuned on the first PAIRS pairs
# in both directions.  Prints perplexity of the hidden fragment on valid and BLEU of test2016 against k (multi-bleu, lower-cased; mean of both
# directions and of SEEDS of the fine-tuning), and writes both to OUTPUT/k.txt.  The paper finds both best between 50% and 70%, and the two
# ends clearly worse.  SCALE=gpu trains longer.  What is finished is not done again.
set -euo pipefail
: "${KS:=token 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0}" "${PAIRS:=1000}" "${SEEDS:=1}" "${SCALE:=tiny}"

source "$(dirname "${BASH_SOURCE[0]}")/../studies.sh"
for k in $KS; do
    [[ $k =~ ^(token|0?\.[0-9]*[1-9][0-9]*|1(\.0*)?)$ ]] || { echo "error: KS: $k: expected token, or a share above 0, up to 1" >&2; exit 2; }
done
study "usage: run.sh FOLDER NOVELS [en-de|en-fr] [OUTPUT]" k-study "$@"
for k in $KS; do
    share=(--k "$k")
    [ "$k" != token ] || share=(--k-tokens 1)
    learned "mass-$k" --objective mass "${share[@]}"
    few "k-$k" --init-from "$output/mass-$k"
done

# k, perplexity (the last validation of the pre-training), BLEU.
{
    echo "k perplexity BLEU"
    for k in $KS; do
        perplexity=$(awk -F'"ppl": ' '/"event": "evaluated"/ { split($2, rest, /[,}]/); last = rest[1] } END { printf "%.4g", last }' \
            "$output/mass-$k/log.jsonl")
        bleu=$(few_scores "k-$k" "en-$lang" "$lang-en")
        echo "$k $perplexity ${bleu%+-*}"
    done
} > "$output/k.txt"
awk '{ printf "%-10s%-14s%-10s\n", $1, $2, $3 }' "$output/k.txt"

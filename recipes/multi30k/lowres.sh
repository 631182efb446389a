#!/usr/bin/env bash
# What MASS is worth where pairs are few:  bash recipes/multi30k/lowres.sh FOLDER NOVELS [OUTPUT]
#
# FOLDER is that of run.sh; NOVELS holds en.txt.gz and de.txt.gz.  English-German models are trained on the first SIZES pairs of Multi30k,
# all with one vocabulary and the same settings: from scratch; from MASS on both sides of Multi30k, read as sentences that nothing aligns,
# and part of the novels; and, as a control for text of another kind, from MASS on that part of the novels alone.  In `mass` and `novels`
# the encoder reads SWITCH of its words in the other language, by a dictionary that is made of the first DICTIONARY pairs, and a denoising
# auto-encoder learns beside; `plain` is MASS on everything without either.  Prints BLEU of test2016 (multi-bleu, lower-cased), the mean
# over SEEDS +- their standard deviation.  What is finished is not done again.  For more pairs:  SIZES=5000 UPDATES=1000 TUNE_TOKENS=2048
set -euo pipefail
: "${SIZES:=1000}" "${SEEDS:=1}" "${METHODS:=scratch mass novels}" "${K:=0.5}" "${PRETRAIN_UPDATES:=2000}" "${NOVEL_LINES:=10000}"

source "$(dirname "${BASH_SOURCE[0]}")/../pairs.sh"
folder=${1:?usage: lowres.sh FOLDER NOVELS [OUTPUT]}
novels=${2:?usage: lowres.sh FOLDER NOVELS [OUTPUT]}
output=${3:-runs/multi30k-lowres}
caption_data
novel_data
word_pairs
for method in $METHODS; do
    case $method in
        scratch) ;;
        mass) pretrain_on "$output/data" mass --objective mass --k "$K" --beside denoise "${switch[@]}" ;;
        novels) pretrain_on "$output/data-novels" novels --objective mass --k "$K" --beside denoise "${switch[@]}" ;;
        plain) pretrain_on "$output/data" plain --objective mass --k "$K" ;;
        *) echo "error: no method called $method" >&2; exit 2 ;;
    esac
done
for pairs in $SIZES; do
    for method in $METHODS; do
        start=(--init-from "$output/$method")
        [ "$method" != scratch ] || start=()
        for seed in $SEEDS; do tuned "$method-$pairs-$seed" "$pairs" "$seed" "${start[@]}"; done
    done
done

# A row for each number of pairs, a column for each method.
{
    echo "pairs $METHODS"
    for pairs in $SIZES; do
        row=$pairs
        for method in $METHODS; do
            names=()
            for seed in $SEEDS; do names+=("$method-$pairs-$seed"); done
            row+=" $(scores "${names[@]}")"
        done
        echo "$row"
    done
} | table

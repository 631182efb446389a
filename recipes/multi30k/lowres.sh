#!/usr/bin/env bash
# What MASS is worth where pairs are few:  bash recipes/multi30k/lowres.sh FOLDER NOVELS [OUTPUT]
#
# FOLDER is that of run.sh; NOVELS holds en.txt.gz and de.txt.gz.  English-German models are trained on the first SIZES pairs of Multi30k,
# all with one vocabulary and the same settings: from scratch; from MASS on both sides of Multi30k, read as sentences that nothing aligns,
# and part of the novels; and, as a control for text of another kind, from MASS on that part of the novels alone.  In `mass` and `novels`
# the encoder reads SWITCH of its words in the other language, by a dictionary that is made of the first DICTIONARY pairs, and a denoising
# auto-encoder learns beside; `plain` is MASS on everything without either.  Prints BLEU of test2016 (multi-bleu, lower-cased), the mean
# over SEEDS +- their standard deviation.  What is finished is not done again. 
# For more pairs:  SIZES=5000 UPDATES=1000 TUNE_TOKENS=2048   SCALE=gpu trains longer.
set -euo pipefail
: "${SIZES:=1000}" "${SEEDS:=1}" "${METHODS:=scratch mass novels}" "${K:=0.5}"

source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
takes 2 3 "lowres.sh FOLDER NOVELS [OUTPUT]" "$@"
folder=$1 novels=$2
output=${3:-runs/multi30k-lowres}
case ${SCALE:=tiny} in
    tiny) : "${ARCH:=tiny}" "${NOVEL_LINES:=10000}" "${PRETRAIN_UPDATES:=2000}" "${TOKENS:=4096}" "${UPDATES:=600}" "${TUNE_TOKENS:=1024}"
        : "${PRETRAIN_LR:=0.003}" "${LR:=0.002}" ;;
    gpu) : "${ARCH:=small}" "${NOVEL_LINES:=100000}" "${PRETRAIN_UPDATES:=10000}" "${TOKENS:=8192}" "${UPDATES:=2000}"
        : "${TUNE_TOKENS:=4096}" "${PRETRAIN_LR:=0.001}" "${LR:=0.0005}" ;;
    *) echo "error: SCALE=$SCALE: expected tiny or gpu" >&2; exit 2 ;;
esac
: "${VOCAB:=8000}" "${TEXT:=--normalize --moses --lowercase}" "${LANGUAGES:=tag}" "${DICTIONARY:=1000}" "${SWITCH:=0.5}"
: "${PRETRAIN_DROPOUT:=0.1}" "${DROPOUT:=0.3}" "${SMOOTHING:=0.1}" "${BEAM:=5}"

preprocess_captions() {
    # shellcheck disable=SC2086  # TEXT is several flags
    run masscli preprocess --langs en,de --trainpref "$folder/train" --validpref "$folder/valid" --mono "en=$output/novels.en" \
        --mono "de=$output/novels.de" $TEXT "$@"
}
# OUTPUT/data of both sides of the captions, read as sentences that nothing aligns, and part of the novels.
caption_data() {
    local language part
    mkdir -p "$output"
    for language in en de; do
        part=$output/novels.$language
        if [ ! -e "$part" ]; then
            gzip -dc "$novels/$language.txt.gz" | awk -v lines="$NOVEL_LINES" 'NR <= lines' > "$part.new"
            mv "$part.new" "$part"
        fi
    done
    preprocess_captions --vocab-size "$VOCAB" --destdir "$output/data"
}
# OUTPUT/data-novels: the novels as the only monolingual text, in the same vocabulary.
novel_data() {
    preprocess_captions --spm-model "$output/data/vocab.model" --no-pairs-as-mono --destdir "$output/data-novels"
}

# `switch` are the options by which an encoder reads SWITCH of the words in the other language.  Far from the paper's amount of text nothing
# else connects two languages, and no pre-training is worth anything for translation.
word_pairs() {
    switch=()
    [ "$SWITCH" != 0 ] || return 0
    run masscli dictionary "$output/data" --langs en,de --from pairs --limit "$DICTIONARY" --output "$output/dictionary.txt"
    switch=(--switch-dictionary "$output/dictionary.txt" --switch-share "$SWITCH")
}

pretrain_on() {
    local data=$1 name=$2
    shift 2
    run masscli pretrain "$data" "$@" --arch "$ARCH" --languages "$LANGUAGES" --dropout "$PRETRAIN_DROPOUT" --lr "$PRETRAIN_LR" \
        --lr-scheduler linear --max-tokens "$TOKENS" --max-update "$PRETRAIN_UPDATES" \
        --eval-retrieval --save-dir "$output/$name"
}

# tuned NAME PAIRS SEED OPTION...   fine-tune on the first PAIRS pairs, translate test2016; the score ends up in OUTPUT/NAME.bleu, written last
tuned() {
    local name=$1 pairs=$2 seed=$3 place=$output/$1
    shift 3
    [ ! -e "$place.bleu" ] || return 0
    [ $# -gt 0 ] || set -- --arch "$ARCH" --languages "$LANGUAGES" # from scratch
    run masscli finetune "$output/data" --task translate -s en -t de --max-examples "$pairs" "$@" --dropout "$DROPOUT" \
        --label-smoothing "$SMOOTHING" --lr "$LR" --lr-scheduler linear --max-tokens "$TUNE_TOKENS" \
        --max-update "$UPDATES" --validate-interval-updates $(((UPDATES + 3) / 4)) --eval-bleu --eval-beam 1 --max-valid-rows 200 \
        --best-metric bleu --keep-interval-updates 1 --seed "$seed" --save-dir "$place"
    run masscli generate "$place" --beam "$BEAM" --input "$folder/test2016.en" --output "$place.de"
    run masscli score "$place.de" --ref "$folder/test2016.de" --metric multi-bleu --lang de --lowercase > "$place.new"
    mv "$place.new" "$place.bleu"
}

# scores NAME...   the mean of the scores +- their standard deviation
scores() {
    local name found=()
    for name in "$@"; do found+=("$(awk '{ print $3 }' "$output/$name.bleu")"); done
    spread "${found[@]}"
}

caption_data
novel_data
word_pairs
for method in $METHODS; do
    case $method in
        scratch) ;;
        mass) pretrain_on "$output/data" mass --objective mass --k "$K" --auxiliary denoise "${switch[@]}" ;;
        novels) pretrain_on "$output/data-novels" novels --objective mass --k "$K" --auxiliary denoise "${switch[@]}" ;;
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

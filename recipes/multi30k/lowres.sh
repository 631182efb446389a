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
: "${SIZES:=1000}" "${SEEDS:=1}" "${METHODS:=scratch mass novels}" "${DICTIONARY:=1000}" "${SWITCH:=0.5}" "${LANGUAGES:=tag}"
: "${ARCH:=tiny}" "${VOCAB:=8000}" "${TEXT:=--normalize --moses --lowercase}" "${NOVEL_LINES:=10000}"
: "${PRETRAIN_UPDATES:=2000}" "${PRETRAIN_LR:=0.003}" "${PRETRAIN_WARMUP:=300}" "${PRETRAIN_DROPOUT:=0.1}" "${K:=0.5}" "${TOKENS:=4096}"
: "${UPDATES:=600}" "${LR:=0.002}" "${DROPOUT:=0.3}" "${SMOOTHING:=0.1}" "${TUNE_TOKENS:=1024}" "${BEAM:=5}"

source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
folder=${1:?usage: lowres.sh FOLDER NOVELS [OUTPUT]}
novels=${2:?usage: lowres.sh FOLDER NOVELS [OUTPUT]}
output=${3:-runs/multi30k-lowres}
mkdir -p "$output"

# Two data folders with one vocabulary: everything, and the novels as the only monolingual text.
for language in en de; do
    part=$output/novels.$language
    if [ ! -e "$part" ]; then
        gzip -dc "$novels/$language.txt.gz" | awk -v lines="$NOVEL_LINES" 'NR <= lines' > "$part.new"
        mv "$part.new" "$part"
    fi
done
preprocess() {
    # shellcheck disable=SC2086  # TEXT is several flags
    run masscli preprocess --langs en,de --trainpref "$folder/train" --validpref "$folder/valid" --mono "en=$output/novels.en" \
        --mono "de=$output/novels.de" $TEXT "$@"
}
preprocess --vocab-size "$VOCAB" --destdir "$output/data"
preprocess --spm-model "$output/data/vocab.model" --no-pairs-as-mono --destdir "$output/data-novels"

run masscli dictionary "$output/data" --langs en,de --from pairs --limit "$DICTIONARY" --output "$output/dictionary.txt"

pretrain() {
    run masscli pretrain "$@" --objective mass --k "$K" --arch "$ARCH" --languages "$LANGUAGES" --dropout "$PRETRAIN_DROPOUT" \
        --lr "$PRETRAIN_LR" --lr-scheduler linear --warmup-updates "$PRETRAIN_WARMUP" --max-tokens "$TOKENS" \
        --max-update "$PRETRAIN_UPDATES" --eval-retrieval
}
aligned=(--beside denoise --switch-dictionary "$output/dictionary.txt" --switch-share "$SWITCH")
[[ " $METHODS " != *" mass "* ]] || pretrain "$output/data" "${aligned[@]}" --save-dir "$output/mass"
[[ " $METHODS " != *" novels "* ]] || pretrain "$output/data-novels" "${aligned[@]}" --save-dir "$output/novels"
[[ " $METHODS " != *" plain "* ]] || pretrain "$output/data" --save-dir "$output/plain"

# One model: METHOD PAIRS SEED.  Its score ends up in PLACE.bleu, written last.
evaluate() {
    local method=$1 pairs=$2 seed=$3 place=$output/$1-$2-$3 start=(--arch "$ARCH" --languages "$LANGUAGES")
    [ "$method" = scratch ] || start=(--init-from "$output/$method")
    run masscli finetune "$output/data" --task translate -s en -t de --limit "$pairs" "${start[@]}" --dropout "$DROPOUT" \
        --label-smoothing "$SMOOTHING" --lr "$LR" --lr-scheduler linear --warmup-updates $((UPDATES / 10)) --max-tokens "$TUNE_TOKENS" \
        --max-update "$UPDATES" --validate-interval-updates $(((UPDATES + 3) / 4)) --eval-bleu --eval-beam 1 --max-valid-rows 200 \
        --best-metric bleu --seed "$seed" --save-dir "$place"
    run masscli generate "$place" --beam "$BEAM" --input "$folder/test2016.en" --output "$place.de"
    run masscli score "$place.de" --ref "$folder/test2016.de" --metric multi-bleu --lang de --lowercase > "$place.new"
    mv "$place.new" "$place.bleu"
}
for pairs in $SIZES; do
    for method in $METHODS; do
        for seed in $SEEDS; do
            [ -e "$output/$method-$pairs-$seed.bleu" ] || evaluate "$method" "$pairs" "$seed"
        done
    done
done

# A row for each number of pairs, a column for each method.
{
    echo "pairs $METHODS"
    for pairs in $SIZES; do
        row=$pairs
        for method in $METHODS; do
            row+=" $(for seed in $SEEDS; do cat "$output/$method-$pairs-$seed.bleu"; done | LC_ALL=C awk '
                { n++; sum += $3; squares += $3 * $3 }
                END { mean = sum / n; printf "%.1f", mean
                      if (n > 1) printf "+-%.1f", sqrt((squares - n * mean * mean) / (n - 1)) }')"
        done
        echo "$row"
    done
} | awk '{ for (i = 1; i <= NF; i++) printf "%-12s", $i; print "" }'

#!/usr/bin/env bash
# Multi30k from scratch in the published Transformer-Tiny setting:  bash recipes/multi30k/run.sh FOLDER [en-de|en-fr] [OUTPUT]
#
# FOLDER holds train, valid and test2016 as NAME.en, NAME.de, NAME.fr, a caption a line.  OUTPUT (default: runs/multi30k-PAIR) receives all
# that is made.  The published figures are BLEU of lower-cased text in Moses tokens (multi-bleu, the first score printed); the second one
# is sacreBLEU of the same text, detokenised.  Each setting below can be changed from outside:  SEED=2 UPDATES=4000 bash ...
# Three quarters of the published tokens come within 0.1 BLEU of it (En-De, 67 minutes of two CPU cores with other jobs on them; RESULTS.md) with
#   LAUNCH="torchrun --nproc-per-node 2 -m masscli" SCHEDULER=linear WARMUP=500 TOKENS=2048 UPDATES=6000 SAVE=250 LAST=5
set -euo pipefail
: "${ARCH:=tiny}" "${VOCAB:=10000}" "${TEXT:=--normalize --moses --lowercase}" # joint BPE; how the text is prepared
: "${LR:=0.005}" "${SCHEDULER:=inverse_sqrt}" "${WARMUP:=2000}" "${DROPOUT:=0.3}" "${SMOOTHING:=0.1}" "${TOKENS:=4096}"
: "${UPDATES:=8000}" "${SAVE:=100}" "${LAST:=10}" # the last so many checkpoints, saved every so many updates, are averaged
: "${BEAM:=5}" "${LENPEN:=1.0}" "${SEED:=1}" "${LAUNCH:=masscli}"

source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
takes 1 3 "run.sh FOLDER [en-de|en-fr] [OUTPUT]" "$@"
folder=$1
pair=${2:-en-de}
output=${3:-runs/multi30k-$pair}
source=${pair%-*}
target=${pair#*-}

# shellcheck disable=SC2086  # TEXT is several flags
run masscli preprocess --langs "$source,$target" --trainpref "$folder/train" --validpref "$folder/valid" --testpref "$folder/test2016" \
    --vocab-size "$VOCAB" $TEXT --destdir "$output/data"
# shellcheck disable=SC2086  # LAUNCH may be several words
run $LAUNCH finetune "$output/data" --task translate -s "$source" -t "$target" --arch "$ARCH" --dropout "$DROPOUT" \
    --label-smoothing "$SMOOTHING" --lr "$LR" --lr-scheduler "$SCHEDULER" --warmup-updates "$WARMUP" --max-tokens "$TOKENS" \
    --max-update "$UPDATES" \
    --save-interval-updates "$SAVE" --keep-interval-updates "$LAST" --seed "$SEED" --save-dir "$output/run"
rm -rf "$output/average" # cheap to make, and out of date where the run went on
run masscli average "$output/run" --last "$LAST" --output "$output/average" >&2
run masscli generate "$output/average" -s "$source" -t "$target" --beam "$BEAM" --lenpen "$LENPEN" \
    --input "$folder/test2016.$source" --output "$output/test2016.$target"
run masscli score "$output/test2016.$target" --ref "$folder/test2016.$target" --metric multi-bleu,bleu --lang "$target" --lowercase

#!/usr/bin/env bash
# Step 4: translate without pairs and with few, with the script of the recipe enfr; then with all pairs and back-translation together.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/enro} SCALE=${SCALE:-tiny}
noise=(--min-piece-count 2 --source-dropout 0.1 --source-blank 0.1 --source-shuffle 2 --batch-reuse 2)
case $SCALE in
    tiny | gpu) base=mass-pairs smoothing=0.1 launch=masscli ;;
    paper) base=mass smoothing=0 launch="torchrun --nproc-per-node 8 -m masscli" noise=() ;;
esac
TARGET=ro SETTINGS=$here BASE=$base OUTPUT=$OUTPUT bash "$here/../enfr/4-finetune.sh"
# The last row of the paper's tables.
$launch finetune "$OUTPUT/data-pairs" --config "$here/pairs.$SCALE.toml" --task translate --pairs en-ro,ro-en \
    --label-smoothing "$smoothing" --init-from "$OUTPUT/$base" --auxiliary backtranslate "${noise[@]}" --save-dir "$OUTPUT/pairs-and-bt"

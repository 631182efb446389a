#!/usr/bin/env bash
# Step 3: every system is pre-trained on the same text with the same budget.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/summarization} SCALE=${SCALE:-tiny}
common=("$OUTPUT/data" --config "$here/pretrain.$SCALE.toml")
# MASS with the preset of the released code for summarization, and as described in the paper.
masscli pretrain "${common[@]}" --objective mass --preset summarization --save-dir "$OUTPUT/mass"
masscli pretrain "${common[@]}" --objective mass --preset paper --k 0.5 --save-dir "$OUTPUT/mass-paper"
masscli pretrain "${common[@]}" --objective bert+lm --save-dir "$OUTPUT/bertlm"
masscli pretrain "${common[@]}" --objective denoise --save-dir "$OUTPUT/dae"
# UniLMv2 is an encoder alone, which generates with pseudo-masks.
masscli pretrain "${common[@]}" --objective unilm --segments 2 --tokens-per-sample 128 --mask-prob 0.15 --relative-buckets 32 \
    --save-dir "$OUTPUT/unilm"

#!/usr/bin/env bash
# Step 3: every system is pre-trained on the same text with the same budget.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/understanding} SCALE=${SCALE:-tiny}
common=("$OUTPUT/data" --config "$here/pretrain.$SCALE.toml" --langs en,ro)
pieces=(--segments 2 --tokens-per-sample 128 --mask-prob 0.15)
masscli pretrain "${common[@]}" --objective bert "${pieces[@]}" --save-dir "$OUTPUT/bert"
masscli pretrain "${common[@]}" --objective roberta "${pieces[@]}" --save-dir "$OUTPUT/roberta"
masscli pretrain "${common[@]}" --objective albert "${pieces[@]}" --embedding-dim 64 --share-layers all --head-transform \
    --save-dir "$OUTPUT/albert"
masscli pretrain "${common[@]}" --objective electra "${pieces[@]}" --save-dir "$OUTPUT/electra"
masscli pretrain "${common[@]}" --objective gpt --tokens-per-sample 128 --save-dir "$OUTPUT/gpt"
masscli pretrain "${common[@]}" --objective unilm "${pieces[@]}" --relative-buckets 32 --save-dir "$OUTPUT/unilm"
masscli pretrain "${common[@]}" --objective mlm --mask-prob 0.15 --save-dir "$OUTPUT/mlm"
masscli pretrain "${common[@]}" --objective mass --save-dir "$OUTPUT/mass"
# To add a system, such as clm, denoise or bert+lm without options, or ELECTRA with --variant, also add its name in 4-finetune.sh.

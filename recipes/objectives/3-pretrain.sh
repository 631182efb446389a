#!/usr/bin/env bash
# Step 3: every objective from scratch on the same text with the same budget.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/objectives}
common=(--config "$here/pretrain.toml" --langs en,ro)
pieces=(--segments 2 --tokens-per-sample 128 --mask-prob 0.15)
masscli pretrain "$OUTPUT/data" "${common[@]}" --objective bert "${pieces[@]}" --save-dir "$OUTPUT/bert"
masscli pretrain "$OUTPUT/data" "${common[@]}" --objective roberta "${pieces[@]}" --save-dir "$OUTPUT/roberta"
masscli pretrain "$OUTPUT/data" "${common[@]}" --objective albert "${pieces[@]}" --embedding-dim 64 --share-layers all --head-transform \
    --save-dir "$OUTPUT/albert"
masscli pretrain "$OUTPUT/data" "${common[@]}" --objective electra "${pieces[@]}" --save-dir "$OUTPUT/electra"
masscli pretrain "$OUTPUT/data" "${common[@]}" --objective gpt --tokens-per-sample 128 --save-dir "$OUTPUT/gpt"
masscli pretrain "$OUTPUT/data" "${common[@]}" --objective unilm "${pieces[@]}" --relative-buckets 32 --save-dir "$OUTPUT/unilm"
masscli pretrain "$OUTPUT/data" "${common[@]}" --objective mlm --mask-prob 0.15 --save-dir "$OUTPUT/mlm"
masscli pretrain "$OUTPUT/data" "${common[@]}" --objective clm --save-dir "$OUTPUT/clm"
masscli pretrain "$OUTPUT/pairs" "${common[@]}" --objective tlm --mask-prob 0.15 --save-dir "$OUTPUT/tlm"
masscli pretrain "$OUTPUT/data" "${common[@]}" --objective denoise --save-dir "$OUTPUT/denoise"
masscli pretrain "$OUTPUT/data" "${common[@]}" --objective bert+lm --save-dir "$OUTPUT/bert+lm"
masscli pretrain "$OUTPUT/data" "${common[@]}" --objective mass --save-dir "$OUTPUT/mass"

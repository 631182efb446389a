#!/usr/bin/env bash
# Step 4: each of them learns from the first 1,000 pairs, one model for both directions.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/k_study} SCALE=${SCALE:-tiny}
for k in token 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0; do
    for seed in 1; do
        masscli finetune "$OUTPUT/data-pairs" --config "$here/pairs.$SCALE.toml" --task translate --pairs en-de,de-en --max-examples 1000 \
            --label-smoothing 0.1 --init-from "$OUTPUT/mass-$k" --seed "$seed" --save-dir "$OUTPUT/pairs/$k-$seed"
    done
done

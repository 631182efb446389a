#!/usr/bin/env bash
# Step 4: fine-tune to generate headlines, from scratch and from each pre-trained model, with the same budget.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/summarization} SCALE=${SCALE:-tiny}
for seed in 1 2 3; do
    for method in scratch mass mass-paper bertlm dae unilm; do
        begin=(--init-from "$OUTPUT/$method")
        [ "$method" != scratch ] || begin=()
        # Add --max-examples N to compare with fewer examples.
        masscli finetune "$OUTPUT/data" --config "$here/finetune.$SCALE.toml" --task summarize --label-smoothing 0.1 "${begin[@]}" \
            --seed "$seed" --save-dir "$OUTPUT/tuned/$method.$seed"
    done
done

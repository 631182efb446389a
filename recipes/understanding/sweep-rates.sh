#!/usr/bin/env bash
# Optional, after step 4: how the result of one system on one task depends on the learning rate.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/understanding} SCALE=${SCALE:-tiny}
scores=$OUTPUT/scores.rates.jsonl
rm -f "$scores"
for lr in 0.0001 0.0003 0.001 0.003; do
    for seed in 1 2 3; do
        run=$OUTPUT/rates/$lr-$seed
        masscli finetune "$OUTPUT/tasks/agnews" --config "$here/finetune.$SCALE.toml" --task classify --label-column label \
            --head-dropout 0.1 --init-from "$OUTPUT/bert" --lr "$lr" --best-metric accuracy --seed "$seed" --save-dir "$run"
        masscli report "$run" --metric accuracy --append "$scores" --tag "lr=$lr" --tag "seed=$seed"
    done
done
masscli report "$scores"

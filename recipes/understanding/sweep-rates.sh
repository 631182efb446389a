#!/usr/bin/env bash
# Optional, after step 3: how the result of one system on one task depends on the learning rate.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/understanding} SCALE=${SCALE:-tiny}
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}}
scores=$OUTPUT/scores.rates.jsonl
rm -f "$scores"
for lr in 0.0001 0.0003 0.001 0.003; do
    for seed in 1 2 3; do
        run=$OUTPUT/rates/$lr-$seed
        masscli finetune "$OUTPUT/tasks/agnews" --config "$here/finetune.$SCALE.toml" --task classify --label-column label \
            --head-dropout 0.1 --init-from "$OUTPUT/bert" --lr "$lr" --best-metric accuracy --seed "$seed" --save-dir "$run"
        masscli predict "$run" --input "$DATA/agnews/valid.tsv" --input-format tsv --output "$run/predictions"
        masscli score "$run/predictions" --ref "$DATA/agnews/valid.tsv" --column label --metric accuracy \
            --append "$scores" --tag "lr=$lr" --tag "seed=$seed"
    done
done
masscli report "$scores"

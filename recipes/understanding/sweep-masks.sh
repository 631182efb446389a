#!/usr/bin/env bash
# Optional, after step 4: how the result of BERT on one task depends on its masking rate in pre-training.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/understanding} SCALE=${SCALE:-tiny}
scores=$OUTPUT/scores.masks.jsonl
rm -f "$scores"
for mask in 0.05 0.1 0.15 0.2 0.3 0.4 0.5; do
    masscli pretrain "$OUTPUT/data" --config "$here/pretrain.$SCALE.toml" --langs en,ro --objective bert --segments 2 \
        --tokens-per-sample 128 --mask-prob "$mask" --save-dir "$OUTPUT/masks/bert-$mask"
    for seed in 1 2 3; do
        run=$OUTPUT/masks/$mask-$seed
        masscli finetune "$OUTPUT/tasks/agnews" --config "$here/finetune.$SCALE.toml" --task classify --label-column label \
            --head-dropout 0.1 --init-from "$OUTPUT/masks/bert-$mask" --best-metric accuracy --seed "$seed" --save-dir "$run"
        masscli report "$run" --metric accuracy --append "$scores" --tag "masked=$mask" --tag "seed=$seed"
    done
done
masscli report "$scores"

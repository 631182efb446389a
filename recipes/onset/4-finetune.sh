#!/usr/bin/env bash
# Step 4: 1,000 pairs in both directions, after 5 and after 20 million tokens.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/onset} SEEDS=${SEEDS:-1}
tune() { # NAME OPTION...
    masscli finetune "$OUTPUT/data-pairs" --config "$here/pairs.tiny.toml" --task translate --pairs aa-bb,bb-aa --label-smoothing 0.1 \
        "${@:2}" --seed "$seed" --save-dir "$OUTPUT/pairs/$1.$seed"
}
for seed in $SEEDS; do
    tune scratch.0M --encoder-layers 2 --decoder-layers 2 --dim 64 --ffn-dim 256 --heads 4
    for name in dae hidden visible10 visible30 paper dae-first; do
        tune "$name.5M" --init-from "$OUTPUT/pretrained/$name-$seed/checkpoints/step-0001300"
        tune "$name.20M" --init-from "$OUTPUT/pretrained/$name-$seed/checkpoints/step-0005200"
    done
    tune falling.5M --init-from "$OUTPUT/pretrained/falling30-$seed"
    tune falling.20M --init-from "$OUTPUT/pretrained/falling-$seed"
done

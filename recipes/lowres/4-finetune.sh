#!/usr/bin/env bash
# Step 4: train on few pairs, from scratch and from each pre-trained model, with the same settings; from scratch with the best settings for
# that; and with back-translation of all captions in addition to the pairs. Translate the test set with each model.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/lowres} SCALE=${SCALE:-tiny}
size=1000 # For 5,000 pairs add --max-update 1000 --max-tokens 2048 --validate-interval-updates 250 below.
for seed in 1; do # More seeds give a standard deviation and a paired test.
    for method in scratch mass novels plain vectors; do
        begin=(--init-from "$OUTPUT/$method")
        [ "$method" != scratch ] || begin=()
        masscli finetune "$OUTPUT/data" --config "$here/finetune.$SCALE.toml" --task translate -s en -t de --max-examples "$size" \
            --label-smoothing 0.1 "${begin[@]}" --seed "$seed" --save-dir "$OUTPUT/pairs/$method.$size.$seed"
    done
    masscli finetune "$OUTPUT/data-few" --config "$here/scratch.toml" --task translate --pairs en-de,de-en --label-smoothing 0.1 --seed "$seed" \
        --save-dir "$OUTPUT/pairs/scratch-best.$size.$seed"
    masscli finetune "$OUTPUT/data" --config "$here/backtranslate.$SCALE.toml" --set "stream.pairs-en-de.max_examples=$size" \
        --set "stream.pairs-de-en.max_examples=$size" --init-from "$OUTPUT/vectors" --seed "$seed" --save-dir "$OUTPUT/pairs/backtranslate.$size.$seed"
done

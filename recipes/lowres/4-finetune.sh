#!/usr/bin/env bash
# Step 4: train on few pairs, from scratch in the best settings for that; from the pre-trained model; and from there with back-translation
# of all captions in addition to the pairs.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/lowres} SCALE=${SCALE:-tiny} PAIRS=${PAIRS:-1000} SEEDS=${SEEDS:-1}
# The settings are for 1,000 pairs. More of them are learned for longer.
scratch=() pretrained=() backtranslate=()
if [ "$PAIRS" -ge 5000 ]; then
    scratch=(--dropout 0.2 --max-tokens 2048 --max-update 6000 --save-interval-updates 600 --validate-interval-updates 600)
fi
if [ "$PAIRS" -ge 5000 ] && [ "$SCALE" = tiny ]; then
    pretrained=(--max-tokens 2048 --max-update 1000 --validate-interval-updates 250)
    backtranslate=(--max-update 6000)
fi
for seed in $SEEDS; do
    masscli finetune "$OUTPUT/data-few-$PAIRS" --config "$here/scratch.toml" --task translate --pairs en-de,de-en --label-smoothing 0.1 \
        "${scratch[@]}" --seed "$seed" --save-dir "$OUTPUT/pairs/scratch.$PAIRS.$seed"
    masscli finetune "$OUTPUT/data" --config "$here/finetune.$SCALE.toml" --task translate -s en -t de --max-examples "$PAIRS" \
        --label-smoothing 0.1 "${pretrained[@]}" --init-from "$OUTPUT/pretrained-$PAIRS" --seed "$seed" \
        --save-dir "$OUTPUT/pairs/pretrained.$PAIRS.$seed"
    masscli finetune "$OUTPUT/data" --config "$here/backtranslate.$SCALE.toml" --set "stream.pairs-en-de.max_examples=$PAIRS" \
        --set "stream.pairs-de-en.max_examples=$PAIRS" "${backtranslate[@]}" --init-from "$OUTPUT/pretrained-$PAIRS" --seed "$seed" \
        --save-dir "$OUTPUT/pairs/backtranslate.$PAIRS.$seed"
done

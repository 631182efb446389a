#!/usr/bin/env bash
# Step 4: train on 1,000 pairs in both directions from every initialization, and by back-translation without pairs from some.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/ablations} SCALE=${SCALE:-tiny}
for method in scratch vectors dae bertlm discrete feed encoder decoder mass; do
    case $method in
        scratch) begin=() ;;
        vectors) begin=(--init-vectors "en=$OUTPUT/vectors.en,de=$OUTPUT/vectors.de") ;;
        encoder | decoder) begin=(--init-from "$OUTPUT/mass" --init-stacks "$method") ;;
        *) begin=(--init-from "$OUTPUT/$method") ;;
    esac
    for seed in 1; do # The table in docs/results has the seeds 1 2 3.
        masscli finetune "$OUTPUT/data-pairs" --config "$here/pairs.$SCALE.toml" --task translate --pairs en-de,de-en --max-examples 1000 \
            --label-smoothing 0.1 "${begin[@]}" --seed "$seed" --save-dir "$OUTPUT/pairs/$method.$seed"
    done
done
case $SCALE in
    tiny) denoise=0:1,166:0.1,500:0 ;;
    gpu) denoise=0:1,3333:0.1,10000:0 ;;
esac
for method in dae bertlm mass; do # The paper's table has discrete and feed, too.
    masscli finetune "$OUTPUT/data-near" --config "$here/backtranslate.$SCALE.toml" --task backtranslate --langs en,de \
        --init-from "$OUTPUT/$method" --auxiliary "denoise=$denoise" --min-piece-count 2 --source-dropout 0.1 --source-blank 0.1 \
        --source-shuffle 2 --switch-dictionary "$OUTPUT/dictionary.txt" --switch-share 0.3 --save-dir "$OUTPUT/unsupervised/$method.1"
done

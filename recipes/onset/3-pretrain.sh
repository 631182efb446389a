#!/usr/bin/env bash
# Step 3: 20 million tokens (5,200 updates) of denoising, and of MASS with several shares of the fragment left visible to the encoder.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/onset} SEEDS=${SEEDS:-1}
learn() { # NAME UPDATES OPTION...
    masscli pretrain "$OUTPUT/data" --config "$here/pretrain.tiny.toml" --max-update "$2" --seed "$seed" "${@:3}" \
        --save-dir "$OUTPUT/pretrained/$1-$seed"
}
for seed in $SEEDS; do
    mass=(--objective mass --k 0.5 --random-share 0)
    learn dae 5200 --warmup-updates 500 --objective denoise
    learn hidden 5200 --warmup-updates 500 "${mass[@]}" --mask-share 1
    learn visible10 5200 --warmup-updates 500 "${mass[@]}" --mask-share 0.9
    learn visible30 5200 --warmup-updates 500 "${mass[@]}" --mask-share 0.7
    # As in the preset `paper`: a tenth of the fragment is visible, and a tenth is replaced by random tokens.
    learn paper 5200 --warmup-updates 500 --objective mass --k 0.5 --mask-share 0.8 --random-share 0.1
    # 30%, 20%, 10% and 0%, a quarter of the updates each; every quarter starts from the weights of the previous one.
    learn falling30 1300 --warmup-updates 500 "${mass[@]}" --mask-share 0.7
    learn falling20 1300 --warmup-updates 50 "${mass[@]}" --mask-share 0.8 --init-from "$OUTPUT/pretrained/falling30-$seed"
    learn falling10 1300 --warmup-updates 50 "${mass[@]}" --mask-share 0.9 --init-from "$OUTPUT/pretrained/falling20-$seed"
    learn falling 1300 --warmup-updates 50 "${mass[@]}" --mask-share 1 --init-from "$OUTPUT/pretrained/falling10-$seed"
    # MASS with denoising for the first tenth.
    learn dae-first 5200 --warmup-updates 500 "${mass[@]}" --mask-share 1 --auxiliary denoise=0:1,520:1,521:0
done

#!/usr/bin/env bash
# Step 5: train students of several sizes on the teacher's translations, and the largest on the real text, too, as a control.
# Most of the time of translation is spent in the decoder, so a student has a deep encoder and one or two decoder layers (Kim et al. 2019).
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/student} SCALE=${SCALE:-tiny}
case $SCALE in
    tiny) sizes="6-1-128 6-1-96 4-1-64" ;;
    gpu) sizes="12-1-512 6-2-256 6-1-256 6-1-128" ;;
esac
for size in $sizes; do # encoder layers, decoder layers, width
    IFS=- read -r encoder_layers decoder_layers dim <<< "$size"
    common=(--config "$here/student.$SCALE.toml" --task translate -s en -t de --encoder-layers "$encoder_layers"
        --decoder-layers "$decoder_layers" --dim "$dim" --ffn-dim $((2 * dim)))
    masscli finetune "$OUTPUT/data-distilled" "${common[@]}" --save-dir "$OUTPUT/student-$size"
    # Real translations need more dropout with so few pairs than the teacher's, which are more regular.
    [ "$size" != "${sizes%% *}" ] || masscli finetune "$OUTPUT/data" "${common[@]}" --dropout 0.3 --save-dir "$OUTPUT/control-$size"
done

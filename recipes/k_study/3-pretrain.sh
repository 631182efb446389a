#!/usr/bin/env bash
# Step 3: the same model is pre-trained with k from one token (as BERT) to the whole sentence (a language model).
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/k_study} SCALE=${SCALE:-tiny}
for k in token 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0; do
    share=(--k "$k")
    [ "$k" != token ] || share=(--k-tokens 1)
    masscli pretrain "$OUTPUT/data" --config "$here/pretrain.$SCALE.toml" --objective mass "${share[@]}" \
        --switch-dictionary "$OUTPUT/dictionary.txt" --switch-share 0.5 \
        --init-vectors "en=$OUTPUT/vectors.en,de=$OUTPUT/vectors.de" --save-dir "$OUTPUT/mass-$k"
done

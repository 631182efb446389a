#!/usr/bin/env bash
# Step 3: every pre-training run starts from the same word vectors and replaces words with the same dictionary.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/ablations} SCALE=${SCALE:-tiny}
common=("$OUTPUT/data" --config "$here/pretrain.$SCALE.toml" --switch-dictionary "$OUTPUT/dictionary.txt" --switch-share 0.5
    --init-vectors "en=$OUTPUT/vectors.en,de=$OUTPUT/vectors.de")
masscli pretrain "${common[@]}" --objective mass --k 0.5 --save-dir "$OUTPUT/mass"
# Discrete: scattered tokens instead of a fragment. Feed: the decoder reads the other tokens too.
masscli pretrain "${common[@]}" --objective mass --k 0.5 --span 1 --save-dir "$OUTPUT/discrete"
masscli pretrain "${common[@]}" --objective mass --k 0.5 --feed all --save-dir "$OUTPUT/feed"
# DAE is a denoising auto-encoder; BERT+LM the encoder of a masked and the decoder of a causal language model.
masscli pretrain "${common[@]}" --objective denoise --save-dir "$OUTPUT/dae"
masscli pretrain "${common[@]}" --objective bert+lm --save-dir "$OUTPUT/bertlm"

#!/usr/bin/env bash
# Optional, after step 3: as a control, only MASS and back-translation, without word vectors, dictionary, denoising and noise.
# Step 5 scores the result as `control`.
set -euo pipefail
here=$(dirname "$0") target=${TARGET:-fr}
OUTPUT=${OUTPUT:-runs/en$target} SCALE=${SCALE:-tiny}
masscli pretrain "$OUTPUT/data" --config "$here/pretrain.$SCALE.toml" --objective mass --preset paper --k 0.5 \
    --save-dir "$OUTPUT/control-mass"
masscli finetune "$OUTPUT/data-near" --config "$here/backtranslate.$SCALE.toml" --task backtranslate --langs "en,$target" \
    --init-from "$OUTPUT/control-mass" --save-dir "$OUTPUT/control"

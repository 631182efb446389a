#!/usr/bin/env bash
# Step 3: pre-train with MASS, with the script of the recipe enfr and the settings of this folder.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/enro} SCALE=${SCALE:-tiny}
TARGET=ro SETTINGS=$here OUTPUT=$OUTPUT bash "$here/../enfr/3-pretrain.sh"
[ "$SCALE" != paper ] || exit 0
# Pre-train again for translation with pairs: with so little text, a dictionary made from 1,000 pairs helps to align the languages.
[ -e "$OUTPUT/dictionary-pairs.txt" ] || masscli dictionary "$OUTPUT/data-pairs" --langs en,ro --from pairs --limit 1000 \
    --output "$OUTPUT/dictionary-pairs.txt"
masscli pretrain "$OUTPUT/data" --config "$here/pretrain.$SCALE.toml" --objective mass --preset paper --k 0.5 --auxiliary denoise \
    --switch-dictionary "$OUTPUT/dictionary-pairs.txt" --switch-share 0.5 \
    --init-vectors "en=$OUTPUT/vectors.en,ro=$OUTPUT/vectors.ro" --save-dir "$OUTPUT/mass-pairs"

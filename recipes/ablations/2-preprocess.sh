#!/usr/bin/env bash
# Step 2: the data of the recipe ende, and word vectors and a dictionary made from the text alone.
set -euo pipefail
OUTPUT=${OUTPUT:-runs/ablations} SCALE=${SCALE:-tiny}
case $SCALE in
    tiny) ende_scale=small dim=128 ;;
    gpu) ende_scale=gpu dim=256 ;;
    *) echo "error: SCALE=$SCALE: this recipe has tiny and gpu" >&2 && exit 2 ;;
esac
TARGET=de SCALE=$ende_scale OUTPUT=$OUTPUT bash "$(dirname "$0")/../enfr/2-preprocess.sh"
[ -e "$OUTPUT/dictionary.txt" ] || masscli dictionary "$OUTPUT/data" --langs en,de --from text --dim "$dim" \
    --vectors "$OUTPUT/vectors" --output "$OUTPUT/dictionary.txt"

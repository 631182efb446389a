#!/usr/bin/env bash
# Step 3: MASS and denoising, initialized with word vectors learned from the text, with a dictionary of the few pairs.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/lowres} SCALE=${SCALE:-tiny} PAIRS=${PAIRS:-1000}
case $SCALE in
    tiny) dim=128 tokens=2048 ;;
    gpu) dim=256 tokens=4096 ;;
esac
# With much less text than in the paper nothing else aligns the languages, and pre-training then does not help translation.
[ -e "$OUTPUT/dictionary-$PAIRS.txt" ] ||
    masscli dictionary "$OUTPUT/data" --langs en,de --from pairs --limit "$PAIRS" --output "$OUTPUT/dictionary-$PAIRS.txt"
[ -e "$OUTPUT/words.txt" ] ||
    masscli dictionary "$OUTPUT/data" --langs en,de --from text --dim "$dim" --vectors "$OUTPUT/words" --output "$OUTPUT/words.txt"
masscli pretrain "$OUTPUT/data" --config "$here/pretrain.$SCALE.toml" --objective mass --k 0.5 --auxiliary denoise \
    --switch-dictionary "$OUTPUT/dictionary-$PAIRS.txt" --switch-share 0.5 --init-vectors "en=$OUTPUT/words.en,de=$OUTPUT/words.de" \
    --max-tokens "$tokens" --save-dir "$OUTPUT/pretrained-$PAIRS"

#!/usr/bin/env bash
# Step 3: MASS with a dictionary of the first 1,000 pairs and denoising; the same on novels alone; MASS without either; and the first
# of these initialized with word vectors, for which half as many tokens are enough.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/lowres} SCALE=${SCALE:-tiny}
# With much less text than in the paper nothing else aligns the languages, and pre-training then does not help translation.
[ -e "$OUTPUT/dictionary.txt" ] ||
    masscli dictionary "$OUTPUT/data" --langs en,de --from pairs --limit 1000 --output "$OUTPUT/dictionary.txt"
common=(--config "$here/pretrain.$SCALE.toml" --objective mass --k 0.5)
switch=(--auxiliary denoise --switch-dictionary "$OUTPUT/dictionary.txt" --switch-share 0.5)
masscli pretrain "$OUTPUT/data" "${common[@]}" "${switch[@]}" --save-dir "$OUTPUT/mass"
masscli pretrain "$OUTPUT/data-novels" "${common[@]}" "${switch[@]}" --save-dir "$OUTPUT/novels"
masscli pretrain "$OUTPUT/data" "${common[@]}" --save-dir "$OUTPUT/plain"
case $SCALE in
    tiny) dim=128 tokens=2048 ;;
    gpu) dim=256 tokens=4096 ;;
esac
[ -e "$OUTPUT/words.txt" ] || masscli dictionary "$OUTPUT/data" --langs en,de --from text --dim "$dim" --vectors "$OUTPUT/vectors" --output "$OUTPUT/words.txt"
masscli pretrain "$OUTPUT/data" "${common[@]}" "${switch[@]}" --init-vectors "en=$OUTPUT/vectors.en,de=$OUTPUT/vectors.de" --max-tokens "$tokens" \
    --save-dir "$OUTPUT/vectors"

#!/usr/bin/env bash
# Step 3: pre-train with MASS, k = 0.5.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/enro} SCALE=${SCALE:-tiny}

if [ "$SCALE" = paper ]; then
    # A high temperature samples both languages equally often, however much text each has.
    torchrun --nproc-per-node 8 -m masscli pretrain "$OUTPUT/data" --config "$here/pretrain.paper.toml" \
        --objective mass --preset xlm --k 0.5 --lang-temperature 1000 --save-dir "$OUTPUT/mass"
    exit
fi
# Far from the paper's amount of text, MASS aligns no languages by itself. Word vectors that are laid on each other without any pair begin
# the token embeddings, half of the words that the encoder reads are put into the other language, and denoising is learned beside MASS.
case $SCALE in
    tiny) dim=128 ;;
    gpu) dim=256 ;;
esac
[ -e "$OUTPUT/dictionary.txt" ] || masscli dictionary "$OUTPUT/data" --langs en,ro --from text --dim "$dim" \
    --vectors "$OUTPUT/vectors" --output "$OUTPUT/dictionary.txt"
masscli pretrain "$OUTPUT/data" --config "$here/pretrain.$SCALE.toml" --objective mass --preset paper --k 0.5 --auxiliary denoise \
    --switch-dictionary "$OUTPUT/dictionary.txt" --switch-share 0.5 \
    --init-vectors "en=$OUTPUT/vectors.en,ro=$OUTPUT/vectors.ro" --save-dir "$OUTPUT/mass"
# The same again for translation with pairs: so little text connects English and Romanian that a dictionary of 1,000 pairs helps.
[ -e "$OUTPUT/dictionary-pairs.txt" ] || masscli dictionary "$OUTPUT/data-pairs" --langs en,ro --from pairs --limit 1000 \
    --output "$OUTPUT/dictionary-pairs.txt"
masscli pretrain "$OUTPUT/data" --config "$here/pretrain.$SCALE.toml" --objective mass --preset paper --k 0.5 --auxiliary denoise \
    --switch-dictionary "$OUTPUT/dictionary-pairs.txt" --switch-share 0.5 \
    --init-vectors "en=$OUTPUT/vectors.en,ro=$OUTPUT/vectors.ro" --save-dir "$OUTPUT/mass-pairs"

#!/usr/bin/env bash
# Step 5: average the last checkpoints, translate test2016, score it. The published figures are multi-bleu of lower-cased text.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/multi30k} SCALE=${SCALE:-paper}
lang=de # or fr
case $SCALE in
    small) last=5 ;;
    paper) last=10 ;;
esac
rm -rf "$OUTPUT/average" # It would be out of date if the run was continued.
masscli average "$OUTPUT/run" --last "$last" --output "$OUTPUT/average"
masscli generate "$OUTPUT/average" -s en -t "$lang" --beam 5 --lenpen 1.0 \
    --input "$DATA/multi30k/test2016.en" --output "$OUTPUT/test2016.$lang"
masscli score "$OUTPUT/test2016.$lang" --ref "$DATA/multi30k/test2016.$lang" --metric multi-bleu,bleu --lang "$lang" --lowercase

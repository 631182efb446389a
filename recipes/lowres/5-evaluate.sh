#!/usr/bin/env bash
# Step 5: translate and score test2016, and compare with the best training from scratch.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/lowres}
rm -f "$OUTPUT/scores.jsonl"
for run in "$OUTPUT"/pairs/*.*.*; do
    IFS=. read -r method size seed <<< "${run##*/}"
    [ "$run/test2016.de" -nt "$run/log.jsonl" ] ||
        masscli generate "$run" -s en -t de --beam 5 --input "$DATA/multi30k/test2016.en" --output "$run/test2016.de"
    masscli score "$run/test2016.de" --ref "$DATA/multi30k/test2016.de" --metric multi-bleu --lang de --lowercase \
        --append "$OUTPUT/scores.jsonl" --tag "method=$method" --tag "pairs=$size" --tag "seed=$seed"
done
masscli report "$OUTPUT/scores.jsonl" --baseline method=scratch

#!/usr/bin/env bash
# Step 4: translate the training text with the teacher. Of four translations the one closest to the reference is kept, so that the
# student learns from the teacher's translations but from few of its mistakes (sequence-level interpolation, Kim and Rush 2016).
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/student}
mkdir -p "$OUTPUT/text"
[ -e "$OUTPUT/text/distilled.de" ] ||
    masscli generate "$OUTPUT"/teacher-? -s en -t de --beam 4 --closest-to-reference chrf --reference "$DATA/multi30k/train.de" \
        --input "$DATA/multi30k/train.en" --output "$OUTPUT/text/distilled.de"
ln -sf "$(realpath "$DATA/multi30k/train.en")" "$OUTPUT/text/distilled.en"
masscli preprocess --langs en,de --trainpref "$OUTPUT/text/distilled" --validpref "$DATA/multi30k/valid" \
    --testpref "$DATA/multi30k/test2016" --spm-model "$OUTPUT/data" --destdir "$OUTPUT/data-distilled"
masscli shortlist "$OUTPUT/data-distilled" -s en -t de --output "$OUTPUT/shortlist.txt"

#!/usr/bin/env bash
# Step 2: the captions, lower-cased, in one vocabulary for both languages.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/student} SCALE=${SCALE:-tiny}
case $SCALE in
    tiny | gpu) ;;
    *) echo "error: SCALE=$SCALE: this recipe has tiny and gpu" >&2 && exit 2 ;;
esac
masscli preprocess --langs en,de --trainpref "$DATA/multi30k/train" --validpref "$DATA/multi30k/valid" \
    --testpref "$DATA/multi30k/test2016" --normalize --moses --lowercase --vocab-size 8000 --destdir "$OUTPUT/data"

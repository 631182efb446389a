#!/usr/bin/env bash
# Step 2: a joint BPE of 10,000 pieces.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/multi30k}
lang=de # or fr
masscli preprocess --langs "en,$lang" --trainpref "$DATA/multi30k/train" --validpref "$DATA/multi30k/valid" \
    --testpref "$DATA/multi30k/test2016" --vocab-size 10000 --normalize --moses --lowercase --destdir "$OUTPUT/data"

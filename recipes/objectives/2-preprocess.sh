#!/usr/bin/env bash
# Step 2: the text of the recipe understanding with its vocabulary, and pairs for TLM in the same vocabulary.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/objectives}
SCALE=tiny OUTPUT=$OUTPUT bash "$(dirname "$0")/../understanding/2-preprocess.sh"
masscli preprocess --langs en,ro --trainpref "$DATA/rosts/train" --validpref "$DATA/rosts/valid" --spm-model "$OUTPUT/data" \
    --destdir "$OUTPUT/pairs"

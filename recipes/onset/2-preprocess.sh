#!/usr/bin/env bash
# Step 2: English in two artificial languages, from halves of the text without a common sentence, and 1,000 pairs in the same vocabulary.
set -euo pipefail
here=$(dirname "$0") DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}}
OUTPUT=${OUTPUT:-runs/onset} SCALE=${SCALE:-tiny}
[ "$SCALE" = tiny ] || { echo "error: SCALE=$SCALE: this recipe has tiny alone" >&2 && exit 2; }
text=$OUTPUT/text
[ -e "$text/vocab.txt" ] || python3 "$here/shifted_english.py" "$DATA" "$text"
common=(--langs aa,bb --validpref "$text/valid" --testpref "$text/test" --spm-model "$text/vocab.txt")
masscli preprocess "${common[@]}" --mono "aa=$text/mono.aa" --mono "bb=$text/mono.bb" --destdir "$OUTPUT/data"
masscli preprocess "${common[@]}" --trainpref "$text/pairs" --destdir "$OUTPUT/data-pairs"

#!/usr/bin/env bash
# Step 2: `data` has both sides of the captions and part of the novels; `data-few` has only the few pairs, with a small vocabulary of their
# own.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}}
OUTPUT=${OUTPUT:-runs/lowres} SCALE=${SCALE:-tiny} PAIRS=${PAIRS:-1000}
case $SCALE in
    tiny) novel_lines=10000 ;;
    gpu) novel_lines=100000 ;;
    *) echo "error: SCALE=$SCALE: this recipe has tiny and gpu" >&2 && exit 2 ;;
esac
few_pieces=2000
[ "$PAIRS" -lt 5000 ] || few_pieces=4000
mkdir -p "$OUTPUT/text"
for lang in en de; do
    gzip -dc "$DATA/novels/$lang.txt.gz" | sed -n "1,${novel_lines}p" > "$OUTPUT/text/novels.$lang"
    sed -n "1,${PAIRS}p" "$DATA/multi30k/train.$lang" > "$OUTPUT/text/few-$PAIRS.$lang"
done
masscli preprocess --langs en,de --trainpref "$DATA/multi30k/train" --validpref "$DATA/multi30k/valid" --normalize --moses --lowercase \
    --mono "en=$OUTPUT/text/novels.en" --mono "de=$OUTPUT/text/novels.de" --vocab-size 8000 --destdir "$OUTPUT/data"
masscli preprocess --langs en,de --trainpref "$OUTPUT/text/few-$PAIRS" --validpref "$DATA/multi30k/valid" --normalize --moses --lowercase \
    --vocab-size "$few_pieces" --destdir "$OUTPUT/data-few-$PAIRS"

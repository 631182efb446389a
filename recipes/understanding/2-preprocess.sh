#!/usr/bin/env bash
# Step 2: the text for pre-training with its vocabulary.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/understanding} SCALE=${SCALE:-tiny}
case $SCALE in
    tiny) novel_lines=40000 vocab_size=8000 ;;
    gpu) novel_lines=10000000 vocab_size=16000 ;;
    *) echo "error: SCALE=$SCALE: this recipe has tiny and gpu" >&2 && exit 2 ;;
esac
text=$OUTPUT/text
mkdir -p "$text"
# A blank line ends a document: novels, and each dialogue with one turn per line. 500 lines of novels are held out. For your own text,
# replace these lines and --mono below.
for lang in en ro; do
    { gzip -dc "$DATA/novels/$lang.txt.gz" | sed -n 1,500p && echo; } > "$text/valid.$lang"
    { gzip -dc "$DATA/novels/$lang.txt.gz" | sed -n "501,$((500 + novel_lines))p" && echo; } > "$text/mono.$lang"
done
sed 's/$/\n/; s/\t/\n/g' "$DATA/dialogue/valid.en.txt" >> "$text/valid.en"
sed 's/$/\n/; s/\t/\n/g' "$DATA/dialogue/train.en.txt" >> "$text/mono.en"
masscli preprocess --langs en,ro --mono "en=$text/mono.en" --mono "ro=$text/mono.ro" --mono "valid.en=$text/valid.en" \
    --mono "valid.ro=$text/valid.ro" --vocab-size "$vocab_size" --destdir "$OUTPUT/data"

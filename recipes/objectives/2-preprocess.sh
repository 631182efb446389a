#!/usr/bin/env bash
# Step 2: the text of the pre-training with its vocabulary, and pairs for TLM in the same vocabulary.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/objectives}
text=$OUTPUT/text
mkdir -p "$text"
# A blank line ends a document: novels, and each dialogue with its turns on lines. 500 lines of novels are held out.
for lang in en ro; do
    { gzip -dc "$DATA/novels/$lang.txt.gz" | sed -n 1,500p && echo; } > "$text/valid.$lang"
    { gzip -dc "$DATA/novels/$lang.txt.gz" | sed -n 501,40500p && echo; } > "$text/mono.$lang"
done
sed 's/$/\n/; s/\t/\n/g' "$DATA/dialogue/valid.en.txt" >> "$text/valid.en"
sed 's/$/\n/; s/\t/\n/g' "$DATA/dialogue/train.en.txt" >> "$text/mono.en"
masscli preprocess --langs en,ro --mono "en=$text/mono.en" --mono "ro=$text/mono.ro" --mono "valid.en=$text/valid.en" \
    --mono "valid.ro=$text/valid.ro" --vocab-size 8000 --destdir "$OUTPUT/data"
masscli preprocess --langs en,ro --trainpref "$DATA/rosts/train" --validpref "$DATA/rosts/valid" --spm-model "$OUTPUT/data" \
    --destdir "$OUTPUT/pairs"

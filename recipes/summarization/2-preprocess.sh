#!/usr/bin/env bash
# Step 2: the texts with their headlines, and the text for pre-training: novels, dialogues, and the training texts without headlines.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/summarization} SCALE=${SCALE:-tiny}
case $SCALE in
    tiny) novel_lines=40000 vocab_size=8000 ;;
    gpu) novel_lines=10000000 vocab_size=16000 ;;
    *) echo "error: SCALE=$SCALE: this recipe has tiny and gpu" >&2 && exit 2 ;;
esac
text=$OUTPUT/text
mkdir -p "$text"
if [ -e "$DATA/sumdata" ]; then # Its files may be compressed.
    gzip -cdf "$DATA"/sumdata/train/train.article.txt* > "$text/train.en"
    gzip -cdf "$DATA"/sumdata/train/train.title.txt* > "$text/train.title"
    gzip -cdf "$DATA"/sumdata/train/valid.article.filter.txt* > "$text/valid.en"
    gzip -cdf "$DATA"/sumdata/train/valid.title.filter.txt* > "$text/valid.title"
    gzip -cdf "$DATA"/sumdata/Giga/input.txt* > "$text/test.en"
    gzip -cdf "$DATA"/sumdata/Giga/task1_ref0.txt* > "$text/test.title"
else # The validation split is also the test split.
    for part in train:train valid:valid valid:test; do
        cp "$DATA/headlines/${part%:*}.src" "$text/${part#*:}.en"
        cp "$DATA/headlines/${part%:*}.tgt" "$text/${part#*:}.title"
    done
fi
# A blank line ends a document: part of the novels, each dialogue with one turn per line, each text.
{
    gzip -dc "$DATA/novels/en.txt.gz" | sed -n "1,${novel_lines}p" && echo
    sed 's/$/\n/; s/\t/\n/g' "$DATA/dialogue/train.en.txt"
    sed G "$text/train.en"
} > "$text/mono.en"
masscli preprocess --langs en --mono "en=$text/mono.en" --mono "valid.en=$text/valid.en" --table-lang en --vocab-size "$vocab_size" \
    --aligned "headlines.train=$text/train.en:$text/train.title" --aligned "headlines.valid=$text/valid.en:$text/valid.title" \
    --destdir "$OUTPUT/data"

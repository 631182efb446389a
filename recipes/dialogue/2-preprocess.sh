#!/usr/bin/env bash
# Step 2: dialogues, one per line with tabs between turns, and the text for pre-training: novels and the training dialogues.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/dialogue} SCALE=${SCALE:-tiny}
lang=en # or the language of your dialogues
case $SCALE in
    tiny) novel_lines=40000 vocab_size=8000 ;;
    gpu) novel_lines=10000000 vocab_size=16000 ;;
    *) echo "error: SCALE=$SCALE: this recipe has tiny and gpu" >&2 && exit 2 ;;
esac
text=$OUTPUT/text
mkdir -p "$text"
if [ -e "$DATA/cornell" ]; then
    # Cornell lists lines with their ids, then conversations as lists of ids. A conversation is cut at an empty turn; every 14th
    # conversation is for validation.
    cat "$DATA"/cornell/movie_{lines,conversations}.txt | iconv -f windows-1252 -t utf-8 -c | tr -d '\r' |
        awk -v train="$text/train.txt" -v valid="$text/valid.txt" '
            BEGIN { FS = " \\+\\+\\+\\$\\+\\+\\+ ?" }
            NF == 5 { gsub(/\t/, " ", $5); gsub(/^ +| +$/, "", $5); line[$1] = $5 }
            NF == 4 {
                gsub(/[^L0-9 ]/, "", $4); turns = split($4, name, " "); row = ""; kept = 0
                for (i = 1; i <= turns && line[name[i]] != ""; i++) { row = row (i > 1 ? "\t" : "") line[name[i]]; kept++ }
                if (kept > 1) print row > (++n % 14 ? train : valid) }'
else
    cp "$DATA/dialogue/train.$lang.txt" "$text/train.txt"
    cp "$DATA/dialogue/valid.$lang.txt" "$text/valid.txt"
fi
# A blank line ends a document: part of the novels, and each dialogue with one turn per line.
{
    gzip -dc "$DATA/novels/$lang.txt.gz" | sed -n "1,${novel_lines}p" && echo
    sed 's/$/\n/; s/\t/\n/g' "$text/train.txt"
} > "$text/mono.$lang"
masscli preprocess --langs "$lang" --mono "$lang=$text/mono.$lang" --dialogues "train=$text/train.txt,valid=$text/valid.txt" \
    --vocab-size "$vocab_size" --destdir "$OUTPUT/data"

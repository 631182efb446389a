#!/usr/bin/env bash
# Step 2: data folders with one vocabulary: `data` has all text, `data-near` the text to translate, `data-pairs` the pairs.
set -euo pipefail
target=${TARGET:-fr} DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}}
OUTPUT=${OUTPUT:-runs/en$target} SCALE=${SCALE:-tiny}

if [ "$SCALE" = paper ]; then
    wmt=$DATA/wmt-en$target
    common=(--langs "en,$target" --validpref "$wmt/valid" --testpref "$wmt/test" --dedup --drop-held-out --max-len 175 --workers 16)
    masscli preprocess "${common[@]}" --mono "en=$wmt/mono.en.gz" --mono "$target=$wmt/mono.$target.gz" --normalize --moses \
        --bpe-codes "$wmt/codes" --bpe-vocab "$wmt/vocab" --destdir "$OUTPUT/data"
    masscli preprocess "${common[@]}" --trainpref "$wmt/pairs" --no-pairs-as-mono --spm-model "$OUTPUT/data" \
        --destdir "$OUTPUT/data-pairs"
    exit
fi
case $SCALE in
    tiny) novel_lines=10000 test_lines=300 ;;
    small) novel_lines=10000 test_lines=1000 ;;
    gpu) novel_lines=100000 test_lines=1000 ;;
esac
captions=$DATA/multi30k text=$OUTPUT/text
mkdir -p "$text"
# English is read from the first half of the training lines, the other language from the second, so no pair is ever seen.
half=$(($(wc -l < "$captions/train.en") / 2))
sed -n "1,${half}p" "$captions/train.en" > "$text/half.en"
sed -n "$((half + 1)),$((2 * half))p" "$captions/train.$target" > "$text/half.$target"
for lang in en "$target"; do
    gzip -dc "$DATA/novels/$lang.txt.gz" | sed -n "1,${novel_lines}p" | cat "$text/half.$lang" - > "$text/mono.$lang"
    sed -n "1,${test_lines}p" "$captions/test2016.$lang" > "$text/test.$lang"
done
common=(--langs "en,$target" --validpref "$captions/valid" --testpref "$text/test" --dedup --drop-held-out --normalize --moses --lowercase)
masscli preprocess "${common[@]}" --mono "en=$text/mono.en" --mono "$target=$text/mono.$target" --vocab-size 8000 --destdir "$OUTPUT/data"
# Novels teach words, but are not the kind of text to translate.
masscli preprocess "${common[@]}" --mono "en=$text/half.en" --mono "$target=$text/half.$target" --spm-model "$OUTPUT/data/vocab.model" \
    --destdir "$OUTPUT/data-near"
masscli preprocess "${common[@]}" --trainpref "$captions/train" --no-pairs-as-mono --spm-model "$OUTPUT/data/vocab.model" \
    --destdir "$OUTPUT/data-pairs"

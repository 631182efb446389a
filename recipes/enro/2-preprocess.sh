#!/usr/bin/env bash
# Step 2: data folders with one vocabulary: `data` has all text, `data-near` the text to translate, `data-pairs` pairs and all text.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/enro} SCALE=${SCALE:-tiny}

if [ "$SCALE" = paper ]; then
    wmt=$DATA/wmt-enro
    common=(--langs en,ro --validpref "$wmt/valid" --testpref "$wmt/test" --dedup --drop-held-out --max-len 175 --workers 16)
    # Romanian letters lose their diacritics, since XLM's BPE codes were learned without them.
    masscli preprocess "${common[@]}" --mono "en=$wmt/mono.en.gz" --mono "ro=$wmt/mono.ro.gz" --normalize --moses --romanian plain \
        --bpe-codes "$wmt/codes" --bpe-vocab "$wmt/vocab" --destdir "$OUTPUT/data"
    masscli preprocess "${common[@]}" --mono "en=$wmt/mono.en.gz" --mono "ro=$wmt/mono.ro.gz" --trainpref "$wmt/pairs" \
        --no-pairs-as-mono --spm-model "$OUTPUT/data" --destdir "$OUTPUT/data-pairs"
    exit
fi
case $SCALE in
    tiny) novel_lines=2000 test_lines=300 ;;
    gpu) novel_lines=2000 test_lines=1000000 ;;
esac
text=$OUTPUT/text
mkdir -p "$text"
# The lines of rosts are sorted from captions to headlines, so they are shuffled, in pairs, because two adjacent lines are paraphrases.
for file in {train,valid}.{en,ro}; do
    awk '{ printf "%d\t%d\t%s\n", int((NR - 1) / 2) * 7919 % 1000003, NR, $0 }' "$DATA/rosts/$file" |
        LC_ALL=C sort -n -k 1,1 -k 2,2 | cut -f 3- > "$text/mixed-$file"
done
# English is read from the first half of the training lines, Romanian from the second, so no pair is ever seen.
half=$(($(wc -l < "$text/mixed-train.en") / 2))
sed -n "1,${half}p" "$text/mixed-train.en" > "$text/half.en"
sed -n "$((half + 1)),$((2 * half))p" "$text/mixed-train.ro" > "$text/half.ro"
# Novels of the 19th century are spelled differently from these captions and headlines, so using only a few of them works best.
for lang in en ro; do
    gzip -dc "$DATA/novels/$lang.txt.gz" | sed -n "1,${novel_lines}p" | cat "$text/half.$lang" - > "$text/mono.$lang"
    sed -n 1,1000p "$text/mixed-valid.$lang" > "$text/valid.$lang"
    sed -n "1001,$((1000 + test_lines))p" "$text/mixed-valid.$lang" > "$text/test.$lang"
done
common=(--langs en,ro --validpref "$text/valid" --testpref "$text/test" --dedup --drop-held-out --normalize --moses --lowercase)
masscli preprocess "${common[@]}" --mono "en=$text/mono.en" --mono "ro=$text/mono.ro" --vocab-size 8000 --destdir "$OUTPUT/data"
# Novels teach words, but are not the kind of text to translate.
masscli preprocess "${common[@]}" --mono "en=$text/half.en" --mono "ro=$text/half.ro" --spm-model "$OUTPUT/data/vocab.model" \
    --destdir "$OUTPUT/data-near"
masscli preprocess "${common[@]}" --mono "en=$text/mono.en" --mono "ro=$text/mono.ro" --trainpref "$text/mixed-train" \
    --no-pairs-as-mono --spm-model "$OUTPUT/data/vocab.model" --destdir "$OUTPUT/data-pairs"

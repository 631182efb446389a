#!/usr/bin/env bash
# What pre-training is worth for headlines:  bash recipes/summarization/run.sh FOLDER [OUTPUT]
#
# The experiment of the MASS paper on Gigaword (section 4.2), small: a headline from the first sentence of a news text.  Every method is
# pre-trained on the same text (novels, dialogues, and the texts of the training part) and fine-tuned with the same budget:
#
#   scratch   no pre-training                    mass        MASS, the preset of the released code for summarization
#   dae       denoising auto-encoder             mass-paper  MASS as the paper has it (k = 0.5)
#   bertlm    encoder of a masked, decoder of a causal language model (XLM's start)
#   unilm     UniLMv2, an encoder alone, which writes by pseudo-masks
#
# Prints ROUGE-1, ROUGE-2 and ROUGE-L (F1) of the test part, the mean over SEEDS +- their standard deviation, and the signatures.  SIZES are
# numbers of examples, or all.  The paper, 3.8M examples: MASS 38.73 19.71 35.96, BERT+LM 37.75 18.45 34.85, DAE 35.97 17.17 33.14.
#
# FORM=headlines  FOLDER/headlines/{train,valid}.{src,tgt}, FOLDER/novels, FOLDER/dialogue; valid is the test part
# FORM=gigaword   FOLDER is sumdata, as Gigaword's headlines are distributed: train/train.{article,title}.txt,
#                 train/valid.{article,title}.filter.txt, Giga/input.txt and Giga/task1_ref0.txt; also .gz
# PRETRAIN_TEXT="en=FILE" replaces the text of the pre-training; a blank line ends a document there.
#
# SCALE=gpu trains longer.  What is finished is not done again.
set -euo pipefail
: "${METHODS:=scratch mass mass-paper bertlm dae unilm}" "${FORM:=headlines}" "${BEAM:=5}" "${LONGEST:=32}"
: "${MIN_LEN:=0}" "${NO_REPEAT:=3}"

source "$(dirname "${BASH_SOURCE[0]}")/../writing.sh"
takes 1 2 "run.sh FOLDER [OUTPUT]" "$@"
folder=$1
output=${2:-runs/summarization}
methods "$KNOWN"
LANGS=en # of the pre-training
mkdir -p "$output/text" "$output/scores"

case $FORM in
    headlines) parts="headlines/train.src headlines/train.tgt headlines/valid.src headlines/valid.tgt"
        parts+=" headlines/valid.src headlines/valid.tgt" ;;
    gigaword) parts="train/train.article.txt train/train.title.txt train/valid.article.filter.txt train/valid.title.filter.txt"
        parts+=" Giga/input.txt Giga/task1_ref0.txt" ;;
    *) echo "error: FORM=$FORM: expected headlines or gigaword" >&2; exit 2 ;;
esac
# The six files, by their roles.
number=0
for part in $parts; do
    file=$folder/$part
    [ -e "$file" ] || file=$file.gz
    [ -e "$file" ] || { echo "error: $folder/$part: no such file" >&2; exit 2; }
    roles=(train.en train.title valid.en valid.title test.en test.title)
    place=$output/text/${roles[number]}
    number=$((number + 1))
    if [ ! -e "$place" ]; then
        if [ "${file%.gz}" = "$file" ]; then cat "$file"; else gzip -dc "$file"; fi > "$place.new"
        mv "$place.new" "$place"
    fi
done
if [ -z "$PRETRAIN_TEXT" ]; then
    if [ ! -e "$output/text/mono.en" ]; then # each news text is a document of one line
        { novels en 1 "$NOVEL_LINES"; dialogues en train; sed G "$output/text/train.en"; } > "$output/text/mono.new"
        mv "$output/text/mono.new" "$output/text/mono.en"
    fi
    PRETRAIN_TEXT=en=$output/text/mono.en
fi
mono=()
for part in $PRETRAIN_TEXT; do mono+=(--mono "$part"); done
# shellcheck disable=SC2086  # TEXT is several flags
run masscli preprocess --langs en "${mono[@]}" --mono "valid.en=$output/text/valid.en" \
    --aligned "headlines.train=$output/text/train.en:$output/text/train.title" \
    --aligned "headlines.valid=$output/text/valid.en:$output/text/valid.title" --table-lang en $TEXT --vocab-size "$VOCAB" \
    --destdir "$output/data"

# summarized METHOD SIZE SEED   fine-tune, write, score; the scores are written last
summarized() {
    local place=$output/$1-$2-$3 scores=$output/scores/$1-$2-$3
    tuning "$2" "$3"
    run masscli finetune "$output/data" --task summarize "${begin[@]}" "${budget[@]}" --save-dir "$place"
    run masscli generate "$place" --beam "$BEAM" --max-len-a 0 --max-len-b "$LONGEST" --min-len "$MIN_LEN" \
        --no-repeat-ngram-size "$NO_REPEAT" --input "$output/text/test.en" --output "$place.hyp"
    run masscli score "$place.hyp" --ref "$output/text/test.title" --metric rouge > "$scores.new"
    mv "$scores.new" "$scores.txt"
}
for method in $METHODS; do
    started "$method"
    for number in $SIZES; do
        for seed in $SEEDS; do
            [ -e "$output/scores/$method-$number-$seed.txt" ] || summarized "$method" "$number" "$seed"
        done
    done
done
results ROUGE-1 ROUGE-2 ROUGE-L
echo
cat "$output/scores/$method-$number-$seed.txt"

#!/usr/bin/env bash
# What pre-training is worth for dialogue:  bash recipes/dialogue/run.sh FOLDER [OUTPUT]
#
# The experiment of the MASS paper on Cornell's movie dialogues (section 4.3), small: the next turn from those before it, in the LANGUAGE of
# the dialogues.  Every method is pre-trained on the same text (novels, and the training part of the dialogues) and fine-tuned with the
# same budget: scratch, mass (preset of the released code for summarization), mass-paper, bertlm (XLM's start), dae (denoising auto-encoder),
# unilm (an encoder alone, which writes by pseudo-masks).
#
# Prints perplexity on the validation part, the lowest that was seen, the mean over SEEDS +- their standard deviation, by two units:
# `piece`, of the vocabulary (that of the paper's table; it depends on VOCAB), and `word`, as white space cuts words, which does not.  SIZES
# are numbers of examples, or all.  The paper, pieces, 10,000 and 110,000 pairs: no pre-training 82.39 26.38, BERT+LM 80.11 24.84,
# MASS 74.32 23.52.
#
# FORM=turns    FOLDER/dialogue/{train,valid}.LANGUAGE.txt, a dialogue a line, turns separated by tabs; FOLDER/novels
# FORM=cornell  FOLDER holds movie_lines.txt and movie_conversations.txt as Cornell distributes them; every VALID_EACH-th conversation is
#               validation; PRETRAIN_TEXT="en=FILE" is the text, where a blank line ends a document
#
# SCALE=gpu trains longer.  What is finished is not done again.
set -euo pipefail
: "${METHODS:=scratch mass mass-paper bertlm dae unilm}" "${FORM:=turns}" "${LANGUAGE:=en}" "${TURNS:=1}" "${VALID_EACH:=14}"

source "$(dirname "${BASH_SOURCE[0]}")/../writing.sh"
takes 1 2 "run.sh FOLDER [OUTPUT]" "$@"
folder=$1
output=${2:-runs/dialogue}
methods "$KNOWN"
LANGS=$LANGUAGE
mkdir -p "$output/text" "$output/scores"

# Lines by their names, then the turns of each conversation in its order; an empty turn ends what can be learned from.
cornell() {
    there "$folder/movie_lines.txt" "$folder/movie_conversations.txt"
    cat "$folder/movie_lines.txt" "$folder/movie_conversations.txt" | iconv -f windows-1252 -t utf-8 -c | tr -d '\r' |
        awk -v each="$VALID_EACH" -v train="$output/text/train.txt.new" -v valid="$output/text/valid.txt" '
            BEGIN { FS = " \\+\\+\\+\\$\\+\\+\\+ ?" }
            NF == 5 { gsub(/\t/, " ", $5); gsub(/^ +| +$/, "", $5); line[$1] = $5 }
            NF == 4 {
                gsub(/[^L0-9 ]/, "", $4); turns = split($4, name, " "); row = ""; kept = 0
                for (i = 1; i <= turns && line[name[i]] != ""; i++) { row = row (i > 1 ? "\t" : "") line[name[i]]; kept++ }
                if (kept > 1) print row > (++n % each ? train : valid) }'
    mv "$output/text/train.txt.new" "$output/text/train.txt"
}
if [ ! -e "$output/text/train.txt" ]; then
    case $FORM in
        turns)
            there "$folder/dialogue/train.$LANGUAGE.txt" "$folder/dialogue/valid.$LANGUAGE.txt"
            cp "$folder/dialogue/valid.$LANGUAGE.txt" "$output/text/valid.txt"
            cp "$folder/dialogue/train.$LANGUAGE.txt" "$output/text/train.new"
            mv "$output/text/train.new" "$output/text/train.txt" ;;
        cornell) cornell ;;
        *) echo "error: FORM=$FORM: expected turns or cornell" >&2; exit 2 ;;
    esac
fi
if [ -z "$PRETRAIN_TEXT" ]; then
    if [ ! -e "$output/text/mono.$LANGUAGE" ]; then
        { novels "$LANGUAGE" 1 "$NOVEL_LINES"; turns "$output/text/train.txt"; } > "$output/text/mono.new"
        mv "$output/text/mono.new" "$output/text/mono.$LANGUAGE"
    fi
    PRETRAIN_TEXT=$LANGUAGE=$output/text/mono.$LANGUAGE
fi
mono=()
for part in $PRETRAIN_TEXT; do mono+=(--mono "$part"); done
# shellcheck disable=SC2086  # TEXT is several flags
run masscli preprocess --langs "$LANGUAGE" "${mono[@]}" --dialogues "train=$output/text/train.txt,valid=$output/text/valid.txt" $TEXT \
    --vocab-size "$VOCAB" --destdir "$output/data"

# answered METHOD SIZE SEED   fine-tune; the lowest perplexities of its validations are written last
answered() {
    local place=$output/$1-$2-$3 scores=$output/scores/$1-$2-$3
    tuning "$2" "$3"
    run masscli finetune "$output/data" --task respond --turns "$TURNS" "${begin[@]}" "${budget[@]}" --best-metric ppl-word \
        --save-dir "$place"
    awk '/"event": "evaluated"/ {
            split("piece word", units, " ")
            for (i = 1; i <= 2; i++) if (match($0, "\"ppl-" units[i] "\": [0-9.e+]+")) {
                value = substr($0, RSTART, RLENGTH); sub(/.*: /, "", value)
                if (!(units[i] in low) || value + 0 < low[units[i]] + 0) low[units[i]] = value } }
        END { for (unit in low) print "ppl-" unit " = " low[unit] }' "$place/log.jsonl" > "$scores.new"
    mv "$scores.new" "$scores.txt"
}
for method in $METHODS; do
    started "$method"
    for number in $SIZES; do
        for seed in $SEEDS; do
            [ -e "$output/scores/$method-$number-$seed.txt" ] || answered "$method" "$number" "$seed"
        done
    done
done
results ppl-piece ppl-word

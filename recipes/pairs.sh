# What multi30k/lowres.sh, k_study and ablations share: Multi30k English-German, a pre-training, then few pairs; sourced, not run.
#
#   caption_data             OUTPUT/data of both sides of the captions, read as sentences that nothing aligns, and part of the novels
#   novel_data               OUTPUT/data-novels: the novels as the only monolingual text, in the same vocabulary
#   word_pairs               OUTPUT/dictionary.txt of the first DICTIONARY pairs; `switch` are the options by which SWITCH of the words that an
#                            encoder reads come in the other language (none where SWITCH=0).  Far from the paper's amount of text nothing
#                            else connects two languages, and no pre-training is worth anything for translation
#   pretrain_on DATA NAME OPTION...   pre-train in OUTPUT/NAME
#   tuned NAME PAIRS SEED OPTION...   fine-tune on the first PAIRS pairs, translate test2016; the score ends up in OUTPUT/NAME.bleu, written
#                            last; what is finished is not done again
#   scores NAME...           the mean of the scores +- their standard deviation
#
# Variables that are read: folder, novels, output, and those below.  SCALE=gpu trains longer.

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
case ${SCALE:=tiny} in
    tiny) : "${ARCH:=tiny}" "${NOVEL_LINES:=3000}" "${PRETRAIN_UPDATES:=600}" "${TOKENS:=4096}" "${UPDATES:=600}" "${TUNE_TOKENS:=1024}"
        : "${PRETRAIN_LR:=0.003}" "${LR:=0.002}" ;;
    gpu) : "${ARCH:=small}" "${NOVEL_LINES:=100000}" "${PRETRAIN_UPDATES:=10000}" "${TOKENS:=8192}" "${UPDATES:=2000}"
        : "${TUNE_TOKENS:=4096}" "${PRETRAIN_LR:=0.001}" "${LR:=0.0005}" ;;
    *) echo "error: SCALE=$SCALE: expected tiny or gpu" >&2; exit 2 ;;
esac
: "${VOCAB:=8000}" "${TEXT:=--normalize --moses --lowercase}" "${LANGUAGES:=tag}" "${DICTIONARY:=1000}" "${SWITCH:=0.5}"
: "${PRETRAIN_DROPOUT:=0.1}" "${DROPOUT:=0.3}" "${SMOOTHING:=0.1}" "${BEAM:=5}"

preprocess_captions() {
    # shellcheck disable=SC2086  # TEXT is several flags
    run masscli preprocess --langs en,de --trainpref "$folder/train" --validpref "$folder/valid" --mono "en=$output/novels.en" \
        --mono "de=$output/novels.de" $TEXT "$@"
}
caption_data() {
    local language part
    mkdir -p "$output"
    for language in en de; do
        part=$output/novels.$language
        if [ ! -e "$part" ]; then
            gzip -dc "$novels/$language.txt.gz" | awk -v lines="$NOVEL_LINES" 'NR <= lines' > "$part.new"
            mv "$part.new" "$part"
        fi
    done
    preprocess_captions --vocab-size "$VOCAB" --destdir "$output/data"
}
novel_data() {
    preprocess_captions --spm-model "$output/data/vocab.model" --no-pairs-as-mono --destdir "$output/data-novels"
}

word_pairs() {
    switch=()
    [ "$SWITCH" != 0 ] || return 0
    run masscli dictionary "$output/data" --langs en,de --from pairs --limit "$DICTIONARY" --output "$output/dictionary.txt"
    switch=(--switch-dictionary "$output/dictionary.txt" --switch-share "$SWITCH")
}

pretrain_on() {
    local data=$1 name=$2
    shift 2
    run masscli pretrain "$data" "$@" --arch "$ARCH" --languages "$LANGUAGES" --dropout "$PRETRAIN_DROPOUT" --lr "$PRETRAIN_LR" \
        --lr-scheduler linear --max-tokens "$TOKENS" --max-update "$PRETRAIN_UPDATES" \
        --eval-retrieval --save-dir "$output/$name"
}

tuned() {
    local name=$1 pairs=$2 seed=$3 place=$output/$1
    shift 3
    [ ! -e "$place.bleu" ] || return 0
    [ $# -gt 0 ] || set -- --arch "$ARCH" --languages "$LANGUAGES" # from scratch
    run masscli finetune "$output/data" --task translate -s en -t de --limit "$pairs" "$@" --dropout "$DROPOUT" \
        --label-smoothing "$SMOOTHING" --lr "$LR" --lr-scheduler linear --max-tokens "$TUNE_TOKENS" \
        --max-update "$UPDATES" --validate-interval-updates $(((UPDATES + 3) / 4)) --eval-bleu --eval-beam 1 --max-valid-rows 200 \
        --best-metric bleu --keep-interval-updates 1 --seed "$seed" --save-dir "$place"
    run masscli generate "$place" --beam "$BEAM" --input "$folder/test2016.en" --output "$place.de"
    run masscli score "$place.de" --ref "$folder/test2016.de" --metric multi-bleu --lang de --lowercase > "$place.new"
    mv "$place.new" "$place.bleu"
}

scores() {
    local name found=()
    for name in "$@"; do found+=("$(awk '{ print $3 }' "$output/$name.bleu")"); done
    spread "${found[@]}"
}

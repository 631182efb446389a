# What k_study and ablations share: Multi30k English-German, MASS or a relative, then few pairs; sourced, not run.
#
#   caption_data             OUTPUT/data of both sides of the captions, read as sentences, and part of the novels
#   tuned NAME SEED OPTION   fine-tune on the first PAIRS pairs, translate test2016; the score ends up in OUTPUT/NAME.txt, written last
#   mean FILE...             of the scores in files
#
# Variables that are read: those on top of the recipes.  `pretraining` are the options that all pre-trainings have in common.

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
pretraining=(--arch "$ARCH" --lr "$LR" --max-tokens "$TOKENS" --max-update "$PRETRAIN_UPDATES"
    --save-interval-updates "$PRETRAIN_UPDATES")

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
    # shellcheck disable=SC2086  # TEXT is several flags
    run masscli preprocess --langs en,de --trainpref "$folder/train" --validpref "$folder/valid" --mono "en=$output/novels.en" \
        --mono "de=$output/novels.de" $TEXT --vocab-size "$VOCAB" --destdir "$output/data"
}

tuned() {
    local name=$1 seed=$2 place=$output/$1
    shift 2
    [ ! -e "$place.txt" ] || return 0
    run masscli finetune "$output/data" --task translate -s en -t de --limit "$PAIRS" --arch "$ARCH" --dropout "$DROPOUT" --lr "$LR" \
        --max-tokens "$TOKENS" --max-update "$UPDATES" --validate-interval-updates "$VALIDATE" --seed "$seed" "$@" --save-dir "$place"
    run masscli generate "$place" --beam "$BEAM" --input "$folder/test2016.en" --output "$place.de"
    run masscli score "$place.de" --ref "$folder/test2016.de" --metric multi-bleu --lang de --lowercase > "$place.new"
    mv "$place.new" "$place.txt"
}

mean() {
    cat "$@" | LC_ALL=C awk '{ n++; sum += $3; squares += $3 * $3 }
        END { mean = sum / n; printf "%.1f", mean; if (n > 1) printf "+-%.1f", sqrt((squares - n * mean * mean) / (n - 1)) }'
}

# The pre-training systems, as understanding, summarization and dialogue share them; sourced, not run.
#
#   methods KNOWN            complain of a method in METHODS that is none of the known ones
#   text_data                OUTPUT/data: the text that is pre-trained on, and the one vocabulary.  NOVEL_LINES lines of FOLDER/novels and the
#                            dialogues of FOLDER/dialogue, a turn a line, in each of LANGS; the HELD lines before them, and the dialogues'
#                            valid, tell how pre-training goes.  Or PRETRAIN_TEXT, with `valid.LANG=FILE` among its entries
#   pretrained METHOD [END]  pre-train it on the languages in LANGS, in OUTPUT/pre-METHODEND; `start` is how a fine-tuning begins with it
#   field NAME FILE          the score called NAME in a file that `masscli score` has written
#
# Variables that are read: folder, output, corpus (another data folder to pre-train on), and those on top of the recipes.  All systems read the
# same text with one vocabulary and the same number of updates; what differs is the stacks they have, and what their papers change in the
# model.

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
: "${SCALE:=tiny}" "${SEEDS:=1 2 3}"
case $SCALE in
    tiny) : "${ARCH:=tiny}" "${VOCAB:=8000}" "${NOVEL_LINES:=40000}" "${PRETRAIN_UPDATES:=1500}" "${PRETRAIN_LR:=0.002}"
        : "${TOKENS:=2048}" ;;
    gpu) : "${ARCH:=small}" "${VOCAB:=16000}" "${NOVEL_LINES:=10000000}" "${PRETRAIN_UPDATES:=30000}" "${PRETRAIN_LR:=0.0005}"
        : "${TOKENS:=16384}" ;;
    *) echo "error: SCALE=$SCALE: expected tiny or gpu" >&2; exit 2 ;;
esac
: "${HELD:=500}" "${PRETRAIN_VALIDATE:=500}"
: "${LAYERS:=}" "${SHAPE:=}" "${TEXT:=}" "${PRETRAIN_TEXT:=}" "${SAMPLE:=128}" "${DROPOUT:=0.1}" "${MASK:=0.15}"
: "${ALBERT:=--embedding-dim 64 --share-layers all --head-transform}" "${UNILM:=--relative-buckets 32}"

# ELECTRA's other ways to train, and its ablations (Clark et al. 2020, 3.2 to 3.4); two-stage hands a generator of the model's own size over.
ELECTRAS="electra-two-stage electra-adversarial electra-15 electra-replace-mlm electra-all-tokens-mlm"

methods() {
    local method
    for method in $METHODS; do
        [[ " $1 " == *" $method "* ]] || { echo "error: no method called $method" >&2; echo "hint: METHODS are of: $1" >&2; exit 2; }
    done
}

novels() { # novels LANG FIRST LAST
    there "$folder/novels/$1.txt.gz"
    gzip -dc "$folder/novels/$1.txt.gz" | awk -v first="$2" -v last="$3" 'NR >= first && NR <= last'
    echo
}
dialogues() { # dialogues LANG PART; each is a document
    local file=$folder/dialogue/$2.$1.txt
    [ ! -e "$file" ] || turns "$file"
}
more_text() { :; } # more_text LANG; a recipe may know of more
turns() {
    awk -F '\t' '{ for (i = 1; i <= NF; i++) print $i; print "" }' "$1"
}

text_data() {
    local mono=() language
    mkdir -p "$output/text"
    for language in ${LANGS//,/ }; do
        [ -z "$PRETRAIN_TEXT" ] || continue
        if [ ! -e "$output/text/mono.$language" ] || [ ! -e "$output/text/valid.$language" ]; then
            { novels "$language" 1 "$HELD"; dialogues "$language" valid; } > "$output/text/valid.$language"
            {
                novels "$language" "$((HELD + 1))" "$((HELD + NOVEL_LINES))"
                dialogues "$language" train
                more_text "$language"
            } > "$output/text/mono.$language.new"
            mv "$output/text/mono.$language.new" "$output/text/mono.$language"
        fi
        mono+=(--mono "$language=$output/text/mono.$language" --mono "valid.$language=$output/text/valid.$language")
    done
    for language in $PRETRAIN_TEXT; do mono+=(--mono "$language"); done
    # shellcheck disable=SC2086  # TEXT is several flags
    run masscli preprocess --langs "$LANGS" "${mono[@]}" $TEXT --vocab-size "$VOCAB" --destdir "$output/data"
}

# layers STACKS   the options that give a model the size of the recipe, with those stacks alone
layers() {
    # shellcheck disable=SC2206  # SHAPE is several flags
    size=(--arch "$ARCH" $SHAPE)
    if [ -n "$LAYERS" ]; then
        case $1 in
            encoder | both) size+=(--encoder-layers "$LAYERS") ;;&
            decoder | both) size+=(--decoder-layers "$LAYERS") ;;
        esac
    fi
}

pretrained() {
    local method=$1 own=()
    start=(--init-from "$output/pre-$1${2:-}")
    case $method in # segments: the systems that read pairs
        bert | roberta | electra) layers encoder; own=(--segments 2 --tokens-per-sample "$SAMPLE" --mask-prob "$MASK") ;;
        electra-*)
            method=electra
            layers encoder
            own=(--segments 2 --tokens-per-sample "$SAMPLE" --mask-prob "$MASK" --variant "${1#electra-}")
            case $1 in
                electra-15) own[-1]=electra-15 ;;
                electra-two-stage) own+=(--generator-size 1 --generator-updates $((PRETRAIN_UPDATES / 2))) ;;
            esac ;;
        albert)
            layers encoder
            # shellcheck disable=SC2206
            own=(--segments 2 --tokens-per-sample "$SAMPLE" --mask-prob "$MASK" $ALBERT) ;;
        unilm)
            layers encoder
            # shellcheck disable=SC2206
            own=(--segments 2 --tokens-per-sample "$SAMPLE" --mask-prob "$MASK" $UNILM) ;;
        mlm | tlm) layers encoder; own=(--mask-prob "$MASK") ;;
        gpt) layers decoder; own=(--tokens-per-sample "$SAMPLE") ;;
        clm) layers decoder ;;
        mass | denoise | bert+lm) layers both ;;
        mass-paper) method=mass; layers both; own=(--preset paper --k 0.5) ;;
        mass-summarization) method=mass; layers both; own=(--preset summarization) ;;
    esac
    own=(--objective "$method" "${own[@]}")
    run masscli pretrain "${corpus:-$output/data}" --langs "$LANGS" --languages none "${own[@]}" "${size[@]}" \
        --dropout "$DROPOUT" --lr "$PRETRAIN_LR" --lr-scheduler linear --max-tokens "$TOKENS" \
        --max-update "$PRETRAIN_UPDATES" --validate-interval-updates "$PRETRAIN_VALIDATE" --save-dir "${start[1]}"
}

field() {
    awk -v name="$1" '{ at = index($0, "="); head = substr($0, 1, at - 1); gsub(/ +$/, "", head) }
        at && head == name { split(substr($0, at + 1), rest, " "); print rest[1] }' "$2"
}

# What k_study and ablations share: one pre-training after another on the same text, and few pairs after each; sourced, not run.
#
#   study USAGE NAME "$@"    text, vocabulary, word vectors and dictionary, as translation without pairs has them
#   few NAME OPTION...       fine-tune on the first PAIRS pairs, once for each seed, and translate test2016 both ways
#   few_scores NAME DIRECTION...   the mean of those scores +- their standard deviation
#
# Variables that are read: PAIRS, SEEDS, SCALE.

source "$(dirname "${BASH_SOURCE[0]}")/unsupervised.sh"

study() {
    local usage=$1 name=$2
    shift 2
    takes 2 4 "$usage" "$@"
    folder=$1 novels=$2 lang=${3:-en-de} output=${4:-runs/$name}
    case $lang in
        en-de | en-fr) lang=${lang#en-} ;;
        *) echo "error: $lang: expected en-de or en-fr" >&2; exit 2 ;;
    esac
    [ "$SCALE" != tiny ] || : "${PAIR_UPDATES:=400}" "${VALID_ROWS:=200}" "${BEAM:=5}" "${TEST_ROWS:=1000}"
    scale "$SCALE"
    captions "$folder" "$novels"
    corpora
    anchors
    pair_corpus
}

few() {
    local name=$1 seed
    shift
    for seed in $SEEDS; do supervised "$name-$seed" "$seed" --max-examples "$PAIRS" "$@"; done
}

few_scores() {
    local name=$1 seed direction found=()
    shift
    for seed in $SEEDS; do
        for direction in "$@"; do found+=("$(score_of "$name-$seed" "$direction")"); done
    done
    spread "${found[@]}"
}

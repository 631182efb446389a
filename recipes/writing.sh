# Text from text, as summarization and dialogue share it: pre-training beginnings, and what they are compared by; sourced, not run.
#
#   started METHOD   pre-train what METHOD needs; `begin` is then how its fine-tuning begins
#
# mass and mass-paper differ in the preset (that of the released summarization code, and that of the paper's text).

source "$(dirname "${BASH_SOURCE[0]}")/systems.sh"
: "${UPDATES:=2000}" "${LR:=0.001}" "${VALIDATE:=250}" "${SMOOTHING:=0.1}" "${SIZES:=all}"
KNOWN="scratch mass mass-paper bertlm dae unilm"

started() {
    begin=()
    case $1 in
        scratch) layers both; begin=("${size[@]}" --languages none) ;;
        mass) pretrained mass-summarization; begin=("${start[@]}") ;;
        mass-paper) pretrained mass-paper; begin=("${start[@]}") ;;
        bertlm) pretrained bert+lm; begin=("${start[@]}") ;;
        dae) pretrained denoise; begin=("${start[@]}") ;;
        unilm) pretrained unilm; begin=("${start[@]}") ;;
    esac
}

# Options of all fine-tunings; SIZES holds numbers of examples, or the word all.
tuning() {
    local number=$1 seed=$2
    # shellcheck disable=SC2054
    budget=(--dropout "$DROPOUT" --label-smoothing "$SMOOTHING" --lr "$LR" --max-tokens "$TOKENS" --max-update "$UPDATES"
        --validate-interval-updates "$VALIDATE" --save-interval-updates "$VALIDATE" --keep-interval-updates 1 --seed "$seed")
    [ "$number" = all ] || budget+=(--max-examples "$number")
}

# results NAME...   a row for each method and size, a column for each named score
results() {
    local number method seed name row
    {
        echo "method examples ${*// /-}"
        for number in $SIZES; do
            for method in $METHODS; do
                row="$method $number"
                for name in "$@"; do
                    # shellcheck disable=SC2046
                    row+=" $(spread $(for seed in $SEEDS; do field "$name" "$output/scores/$method-$number-$seed.txt"; done))"
                done
                echo "$row"
            done
        done
    } | table
}

#!/usr/bin/env bash
# How a result depends on its settings:  bash recipes/understanding/sweep.sh rates|masks FOLDER [OUTPUT]
#
#   rates   METHOD is fine-tuned for TASK at every learning rate in RATES, once for each seed
#   masks   METHOD (bert, roberta, albert, electra, unilm or mlm) is pre-trained with every share of masked tokens in MASKS
#
# Prints the task's measure, the mean over SEEDS +- their standard deviation, and all the seeds.  What is finished is not done again, and
# a pre-training that run.sh has left in the same OUTPUT is used.
set -euo pipefail
: "${METHOD:=bert}" "${TASK:=sst2}" "${RATES:=0.0001 0.0003 0.001 0.003}" "${MASKS:=0.05 0.1 0.15 0.2 0.3 0.4 0.5}"

source "$(dirname "${BASH_SOURCE[0]}")/tasks.sh"
takes 2 3 "sweep.sh rates|masks FOLDER [OUTPUT]" "$@"
what=$1 folder=$2 output=${3:-runs/understanding}
METHODS=$METHOD
case $what in
    rates) values=$RATES known="scratch bert roberta albert electra gpt unilm mlm clm mass denoise bert+lm" ;;
    masks) values=$MASKS known="bert roberta albert electra unilm mlm" ;;
    *) echo "error: $what: expected rates or masks" >&2; exit 2 ;;
esac
methods "$known"
task "$TASK"
text_data
task_data "$TASK"
[ "$what" = masks ] || [ "$METHOD" = scratch ] || pretrained "$METHOD"
beginning "$METHOD"
for value in $values; do
    if [ "$what" = rates ]; then
        LR=$value
    else
        MASK=$value
        pretrained "$METHOD" "-$value"
        begin[1]=${start[1]} # the folder of --init-from
    fi
    for seed in $SEEDS; do
        tuned "$TASK-$METHOD-$what-$value-$seed" "$TASK" "$seed" "${begin[@]}"
    done
done
{
    echo "$what mean $SEEDS"
    for value in $values; do
        row=()
        for seed in $SEEDS; do row+=("$(score_of "$TASK-$METHOD-$what-$value-$seed" "$TASK")"); done
        echo "$value $(spread "${row[@]}") ${row[*]}"
    done
} | table

#!/usr/bin/env bash
# Step 5: predict and score the validation split of every task, as is usual for GLUE, and compare with training from scratch.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/understanding}
grep -v "^#" "$(dirname "$0")/tasks.txt" | while read -r name kind format _ valid _ label metrics _; do
    [ -e "$OUTPUT/tuned/$name" ] || continue
    scores=$OUTPUT/scores.$name.jsonl
    rm -f "$scores"
    case $kind in
        tag) ref=(--ref-format conll) form=text ;;
        choose) ref=(--ref-format jsonl --column label) form=text ;;
        extract) ref=() form=json ;;
        *) ref=(--column "$label") form=text ;;
    esac
    for run in "$OUTPUT/tuned/$name"/*.*; do
        IFS=. read -r system seed <<< "${run##*/}"
        [ "$run/predictions" -nt "$run/log.jsonl" ] || masscli predict "$run" --input "$DATA/$valid" --input-format "$format" \
            --format "$form" --output "$run/predictions"
        masscli score "$run/predictions" --ref "$DATA/$valid" "${ref[@]}" --metric "$metrics" \
            --append "$scores" --tag "system=$system" --tag "seed=$seed"
    done
    echo "$name:"
    masscli report "$scores" --baseline system=scratch
done

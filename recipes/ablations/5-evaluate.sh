#!/usr/bin/env bash
# Step 5: BLEU of test2016 in both directions.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/ablations}
test=$DATA/multi30k/test2016
for way in en-de de-en; do
    from=${way%-*} to=${way#*-} scores=$OUTPUT/scores.$way.jsonl
    rm -f "$scores"
    for run in "$OUTPUT"/{pairs,unsupervised}/*.*; do
        IFS=. read -r method seed <<< "${run##*/}"
        learned=$(basename "$(dirname "$run")")
        [ "$run/test.$to" -nt "$run/log.jsonl" ] ||
            masscli generate "$run" -s "$from" -t "$to" --beam 5 --input "$test.$from" --output "$run/test.$to"
        masscli score "$run/test.$to" --ref "$test.$to" --metric multi-bleu --lang "$to" --normalize --lowercase \
            --append "$scores" --tag "learned=$learned" --tag "method=$method" --tag "seed=$seed"
    done
    echo "$way:"
    masscli report "$scores" --baseline method=scratch
done

#!/usr/bin/env bash
# Step 5: BLEU of test2016 and perplexity of the hidden fragment on valid against k, as tables and as plots.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/k_study}
test=$DATA/multi30k/test2016
for way in en-de de-en; do
    from=${way%-*} to=${way#*-} scores=$OUTPUT/scores.$way.jsonl
    rm -f "$scores"
    for k in token 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0; do
        masscli report "$OUTPUT/mass-$k" --metric ppl --append "$scores" --tag "k=$k" > /dev/null
        for run in "$OUTPUT/pairs/$k"-*; do
            [ "$run/test.$to" -nt "$run/log.jsonl" ] ||
                masscli generate "$run" -s "$from" -t "$to" --beam 5 --input "$test.$from" --output "$run/test.$to"
            masscli score "$run/test.$to" --ref "$test.$to" --metric multi-bleu --lang "$to" --normalize --lowercase \
                --append "$scores" --tag "k=$k" --tag "seed=${run##*-}"
        done
    done
    echo "$way:"
    # The plot needs the extra masscli[plot].
    masscli report "$scores" --plot "$OUTPUT/k.$way.svg" --x k
done

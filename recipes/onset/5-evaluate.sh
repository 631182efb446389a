#!/usr/bin/env bash
# Step 5: BLEU over pieces of the test set in both directions; and after each million tokens how many nats the decoder loses with a wrong
# source.
set -euo pipefail
OUTPUT=${OUTPUT:-runs/onset}
for way in aa-bb bb-aa; do
    from=${way%-*} to=${way#*-} scores=$OUTPUT/scores.$way.jsonl
    rm -f "$scores"
    for run in "$OUTPUT"/pairs/*.*.*; do
        IFS=. read -r method tokens seed <<< "${run##*/}"
        [ "$run/test.$to" -nt "$run/log.jsonl" ] ||
            masscli generate "$run" -s "$from" -t "$to" --beam 5 --input "$OUTPUT/text/test.$from" --output "$run/test.$to"
        masscli score "$run/test.$to" --ref "$OUTPUT/text/test.$to" --metric bleu --tokenize none \
            --append "$scores" --tag "method=$method" --tag "tokens=$tokens" --tag "seed=$seed"
    done
    echo "$way:"
    masscli report "$scores" --baseline method=dae
done
masscli report "$OUTPUT"/pretrained/* --curve cross_use

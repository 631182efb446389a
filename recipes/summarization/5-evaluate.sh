#!/usr/bin/env bash
# Step 5: ROUGE-1, ROUGE-2 and ROUGE-L of the test split, compared with training from scratch.
set -euo pipefail
OUTPUT=${OUTPUT:-runs/summarization}
rm -f "$OUTPUT/scores.jsonl"
for run in "$OUTPUT"/tuned/*.*; do
    IFS=. read -r method seed <<< "${run##*/}"
    [ "$run/test.title" -nt "$run/log.jsonl" ] || masscli generate "$run" --beam 5 --max-len-a 0 --max-len-b 32 --min-len 0 \
        --no-repeat-ngram-size 3 --input "$OUTPUT/text/test.en" --output "$run/test.title"
    masscli score "$run/test.title" --ref "$OUTPUT/text/test.title" --metric rouge --append "$OUTPUT/scores.jsonl" \
        --tag "method=$method" --tag "seed=$seed"
done
masscli report "$OUTPUT/scores.jsonl" --baseline method=scratch

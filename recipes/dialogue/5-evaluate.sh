#!/usr/bin/env bash
# Step 5: perplexity of the validation split per piece, which depends on the vocabulary, and per word, which does not.
set -euo pipefail
OUTPUT=${OUTPUT:-runs/dialogue}
rm -f "$OUTPUT/scores.jsonl"
for run in "$OUTPUT"/tuned/*.*; do
    IFS=. read -r method seed <<< "${run##*/}"
    masscli report "$run" --metric ppl-piece --metric ppl-word --append "$OUTPUT/scores.jsonl" --tag "method=$method" --tag "seed=$seed"
done
masscli report "$OUTPUT/scores.jsonl" --baseline method=scratch

#!/usr/bin/env bash
# Step 5: the speed and memory of each objective, and its loss on held-out text at every validation.
set -euo pipefail
OUTPUT=${OUTPUT:-runs/objectives}
runs=("$OUTPUT"/*/log.jsonl)
masscli report "${runs[@]%/log.jsonl}" --curve loss

#!/usr/bin/env bash
# Step 3: every system is pre-trained on the same text with the same budget, by the script and the settings of the recipe summarization.
set -euo pipefail
OUTPUT=${OUTPUT:-runs/dialogue} bash "$(dirname "$0")/../summarization/3-pretrain.sh"

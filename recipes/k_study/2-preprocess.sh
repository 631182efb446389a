#!/usr/bin/env bash
# Step 2: the data of the recipe ablations, with its word vectors and dictionary.
set -euo pipefail
OUTPUT=${OUTPUT:-runs/k_study} bash "$(dirname "$0")/../ablations/2-preprocess.sh"

#!/usr/bin/env bash
# Step 5: translate the test set with every model, score it, and show the cost of each step, with the script of the recipe enfr.
set -euo pipefail
TARGET=ro bash "$(dirname "$0")/../enfr/5-evaluate.sh"

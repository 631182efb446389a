#!/usr/bin/env bash
# All steps: those of the recipe enfr, for German.
set -euo pipefail
export TARGET=de
for script in "$(dirname "$0")"/../enfr/[1-9]-*.sh; do bash "$script"; done

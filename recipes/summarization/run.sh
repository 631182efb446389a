#!/usr/bin/env bash
# Run all steps. What is finished is not done again, so the same command continues after a stop.
set -e
for script in "$(dirname "$0")"/[1-9]-*.sh; do bash "$script"; done

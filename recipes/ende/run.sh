#!/usr/bin/env bash
# The recipe enfr with German in the place of French; its scripts read the language from TARGET.
TARGET=de exec bash "$(dirname "$0")/../enfr/run.sh"

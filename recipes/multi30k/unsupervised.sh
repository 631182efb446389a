#!/usr/bin/env bash
# Multi30k without pairs, the classical split:  bash recipes/multi30k/unsupervised.sh FOLDER NOVELS [en-fr|en-de] [OUTPUT]
#
# English captions from the first half of the training lines, French or German ones from the second, and NOVEL_LINES of NOVELS
# (en.txt.gz, ...).  Word vectors and a dictionary out of that text, MASS, then back-translation, chosen by round-trip BLEU; test2016 in both
# directions.  SCALE=tiny (half an hour of one CPU core) or gpu.  The figures to compare with are of Lample et al. 2018 (arXiv 1711.00043),
# who started from word translation by vectors of Wikipedia and an adversary; here there are captions and novels only.  SWITCH=0 BESIDE=
# ONLY_SEEN=0 PRETRAIN_BESIDE= BT_NOISE= is the control: MASS and back-translation alone.  ROUNDS=2 does all again with a dictionary of the
# first model's translations.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../unsupervised.sh"
takes 2 4 "unsupervised.sh FOLDER NOVELS [en-fr|en-de] [OUTPUT]" "$@"
folder=$1 novels=$2 pair=${3:-en-fr}
lang=${pair#en-}
output=${4:-runs/multi30k-unsupervised-$pair}
if [ "${SCALE:=tiny}" = tiny ]; then
    : "${PRETRAIN_UPDATES:=1600}" "${BT_UPDATES:=1800}" "${VALIDATE:=200}" "${VALID_ROWS:=200}" "${BEAM:=5}" "${TEST_ROWS:=1000}"
fi
scale "$SCALE"
SIZES= # no pairs at all
expect="Lample et al. 2018, with word vectors of Wikipedia: en-fr 32.76, fr-en 32.07, en-de 22.74, de-en 26.26; this run: no text but $folder and $novels"
captions "$folder" "$novels"
experiment

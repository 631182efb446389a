#!/usr/bin/env bash
# Step 1: check that the text for pre-training exists, and the tasks of tasks.txt that are to be run.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}}
ls "$DATA"/novels/{en,ro}.txt.gz "$DATA"/dialogue/{train,valid}.en.txt
# Two tables of GLUE get a header with simple column names.
for split in train dev; do
    cola=$DATA/CoLA/$split mrpc=$DATA/MRPC/$split
    [ ! -e "$cola.tsv" ] || sed '1i source\tlabel\tmark\tsentence' "$cola.tsv" > "$cola.header.tsv"
    [ ! -e "$mrpc.tsv" ] || sed '1s/#1 String/sentence1/; 1s/#2 String/sentence2/' "$mrpc.tsv" > "$mrpc.header.tsv"
done
grep -v "^#" "$(dirname "$0")/tasks.txt" | while read -r name _ _ train _; do
    [ -e "$DATA/$train" ] || echo "note: $name is left out, because $DATA/$train is not there"
done

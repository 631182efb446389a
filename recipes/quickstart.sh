#!/usr/bin/env bash
# From nothing to a translation, on sample text that masscli brings along:  bash recipes/quickstart.sh [FOLDER]
#
# Makes an environment, installs masscli, pre-trains a tiny model with MASS on English and German sentences, fine-tunes it to translate on
# a few pairs, trains the same model on the same pairs from scratch, and compares the two on sentences neither has seen.  Everything lies in
# FOLDER (default: ./quickstart).  When it is stopped, the same command goes on where it was.
#
# QUICKSTART_UPDATES=N makes N updates in each of the three trainings: a trial of the machinery, not of the method.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

folder=${1:-quickstart}
mkdir -p "$folder"
environment "$folder/.venv"
cd "$folder"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # a second thread gains such a small model little, and waits wherever another program is busy

# The text: pairs, and sentences of each language that are no translations of each other.
[ -e text/test.de ] || run masscli demo text
run masscli preprocess --langs en,de --trainpref text/train --validpref text/valid --testpref text/test \
    --mono en=text/mono.en.txt --mono de=text/mono.de.txt --vocab-size 800 --destdir data-bin

# Pre-training reads all the sentences, and no pair.  Two layers on each side are enough for such text, and learn in minutes.
model=(--arch tiny --encoder-layers 2 --decoder-layers 2 --max-tokens 1024)
run masscli pretrain data-bin --objective mass --k 0.5 "${model[@]}" --max-update "${QUICKSTART_UPDATES:-1500}" \
    --lr 0.002 --warmup-updates 100 --save-interval-updates 500 --save-dir runs/mass

# The same pairs and the same settings, with and without its weights.
finetune() {
    run masscli finetune data-bin --task translate -s en -t de "${model[@]}" --max-update "${QUICKSTART_UPDATES:-400}" \
        --lr 0.002 --warmup-updates 100 --dropout 0.2 --save-interval-updates 100 "$@"
}
finetune --save-dir runs/scratch
finetune --save-dir runs/finetuned --init-from runs/mass

for name in scratch finetuned; do
    if [ ! "$name.de" -nt "runs/$name/checkpoints/last/state.json" ]; then
        run masscli generate "runs/$name" --beam 5 --input text/test.en --output "$name.de"
    fi
done

# What they make of it.
show() { printf '%-14s%s\n' "$1" "$(sed -n "${number}p" "$2")"; }
for number in 1 2 3 4 5 6; do
    echo
    show source text/test.en
    show reference text/test.de
    show "from scratch" scratch.de
    show MASS finetuned.de
done
run masscli score scratch.de finetuned.de --ref text/test.de --metric bleu,chrf --paired | tee scores.txt
LC_ALL=C awk '$1 == "scratch.de" { base = $2 } $1 == "finetuned.de" { gain = $2 - base }
              END { printf "\nMASS pre-training: %+.1f BLEU\n", gain }' scores.txt

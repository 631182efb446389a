#!/usr/bin/env bash
# From nothing to a translation, on sample text that masscli generates:  bash recipes/quickstart.sh [FOLDER]
#
# Creates an environment, installs masscli, pre-trains a tiny model with MASS on English and German sentences, fine-tunes it to translate on
# a few pairs, trains the same model on the same pairs from scratch, and compares the two on sentences that neither has seen. All files are
# written to FOLDER (default: ./quickstart). If it is interrupted, the same command continues it.
#
# MASSCLI_NO_VENV=1 uses the masscli on PATH; PYTHON=python3.12 chooses the interpreter. QUICKSTART_UPDATES=N makes N updates in each
# of the three training runs, to test that everything works rather than how well.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd) python=${PYTHON:-python3}
mkdir -p "${1:-quickstart}"
cd "${1:-quickstart}"
if [ "${MASSCLI_NO_VENV:-0}" != 1 ]; then
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "error: $python is missing or older than 3.11" >&2
        echo "hint: install Python 3.11 or later, or name it: PYTHON=python3.12 bash $0" >&2
        exit 2
    fi
    if [ ! -e .venv/installed ]; then
        echo "installing masscli and torch into $PWD/.venv: a download of some hundred megabytes, once" >&2
        "$python" -m venv .venv
        .venv/bin/python -m pip install -q -q -c "$repository/constraints.txt" -e "$repository"
        touch .venv/installed
    fi
    export PATH=$PWD/.venv/bin:$PATH
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # A second thread hardly helps so small a model, and slows it down if another program is busy.
set -x

# The text: pairs, and sentences in each language that are not translations of each other.
[ -e text/test.de ] || masscli demo text
masscli preprocess --langs en,de --trainpref text/train --validpref text/valid --testpref text/test \
    --mono en=text/mono.en.txt --mono de=text/mono.de.txt --vocab-size 800 --destdir data-bin

# Pre-training reads all sentences, but no pairs. Two encoder and two decoder layers are enough for such text, and train in minutes.
model=(--arch tiny --encoder-layers 2 --decoder-layers 2 --max-tokens 1024)
masscli pretrain data-bin --objective mass --k 0.5 "${model[@]}" --max-update "${QUICKSTART_UPDATES:-1500}" \
    --lr 0.002 --warmup-updates 100 --save-interval-updates 500 --expected-curve loss=500:1.27-1.44 --save-dir runs/mass

# The same pairs and the same settings, with and without its weights.
pairs=(--task translate -s en -t de "${model[@]}" --max-update "${QUICKSTART_UPDATES:-400}"
    --lr 0.002 --warmup-updates 100 --dropout 0.2 --save-interval-updates 100)
masscli finetune data-bin "${pairs[@]}" --save-dir runs/scratch
masscli finetune data-bin "${pairs[@]}" --save-dir runs/finetuned --init-from runs/mass
for name in scratch finetuned; do
    [ "$name.de" -nt "runs/$name/log.jsonl" ] || masscli generate "runs/$name" --beam 5 --input text/test.en --output "$name.de"
done
{ set +x; } 2> /dev/null

# Translations of both models.
for number in 1 2 3 4 5 6; do
    printf '\nsource        %s\nreference     %s\nfrom scratch  %s\nMASS          %s\n' "$(sed -n "${number}p" text/test.en)" \
        "$(sed -n "${number}p" text/test.de)" "$(sed -n "${number}p" scratch.de)" "$(sed -n "${number}p" finetuned.de)"
done
masscli score scratch.de finetuned.de --ref text/test.de --metric bleu,chrf --paired | tee scores.txt
LC_ALL=C awk '$1 == "scratch.de" { base = $2 } $1 == "finetuned.de" { gain = $2 - base }
              END { printf "\nMASS pre-training: %+.1f BLEU\n", gain }' scores.txt

#!/usr/bin/env bash
# How every objective learns:  bash recipes/objectives/run.sh FOLDER [OUTPUT]
#
# Each of METHODS is pre-trained from scratch on the same text (novels and dialogues as documents, FOLDER as understanding/run.sh has it)
# with one vocabulary, for PRETRAIN_UPDATES updates of TOKENS tokens.  Prints a row for each: parameters; the loss on text that was held
# out at every PRETRAIN_VALIDATE updates, summed over an objective's terms and averaged over LANGS; seconds an update and labels learned
# from in a second (medians over the log); peak memory; minutes.  Losses of different objectives do not compare: each is in nats of what it
# predicts.
#
# METHODS may hold understanding/run.sh's variants of ELECTRA, too (two-stage with one language, LANGS=en).  tlm reads pairs:
# FOLDER/$PAIRS.LANG and FOLDER/$PAIRS_VALID.LANG for the two LANGS.
# The pre-trained models are those of understanding/run.sh with the same settings and OUTPUT: it finds them there.
# What is finished is not done again.
set -euo pipefail
: "${ARCH:=small}" "${PRETRAIN_UPDATES:=1500}" "${PRETRAIN_VALIDATE:=300}" "${PRETRAIN_LR:=0.001}" "${TOKENS:=512}" "${LANGS:=en,ro}"
: "${METHODS:=bert roberta albert electra gpt unilm mlm clm tlm denoise bert+lm mass}" "${PAIRS:=rosts/train}" "${PAIRS_VALID:=rosts/valid}"

source "$(dirname "${BASH_SOURCE[0]}")/../systems.sh"
takes 1 2 "run.sh FOLDER [OUTPUT]" "$@"
folder=$1
output=${2:-runs/objectives}
methods "bert roberta albert electra gpt unilm mlm clm tlm denoise bert+lm mass $ELECTRAS"
text_data
for method in $METHODS; do
    if [ "$method" = tlm ]; then
        run masscli preprocess --langs "$LANGS" --trainpref "$folder/$PAIRS" --validpref "$folder/$PAIRS_VALID" --spm-model "$output/data" \
            --destdir "$output/pairs"
        corpus=$output/pairs pretrained tlm
    else
        pretrained "$method"
    fi
done

# From the logs: the whole loss of each validation, medians of the speed, the most memory, the seconds of all sessions.
row() {
    masscli inspect "$output/pre-$1" | sed -n 's/^# model \([0-9,]*\) parameters.*/\1/p' | tr -d '\n'
    LC_ALL=C awk -v each="$PRETRAIN_VALIDATE" -v last="$PRETRAIN_UPDATES" '
        function value(name) {
            if (!match($0, "\"" name "\": [0-9.e+-]+")) return 0
            return substr($0, RSTART + length(name) + 4, RLENGTH - length(name) - 4) + 0
        }
        function median(of, n,    i, j, t) {
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && of[j - 1] > of[j]; j--) { t = of[j]; of[j] = of[j - 1]; of[j - 1] = t }
            return of[int((n + 1) / 2)]
        }
        /"event": "stepped"/ && value("step") > before {
            n++; pace[n] = value("seconds") / (value("step") - before); speed[n] = value("targets") / value("seconds"); before = value("step")
            if (value("memory") > memory) memory = value("memory") }
        /"event": "evaluated"/ { loss[value("step")] = value("loss") }
        /"event": "finished"/ { seconds = value("seconds") }
        END {
            for (step = each; step <= last; step += each) printf " %s", step in loss ? sprintf("%.3f", loss[step]) : "-"
            printf " %.2f %d %.1f %.0f\n", median(pace, n), median(speed, n), memory, seconds / 60 }' "$output/pre-$1/log.jsonl"
}
{
    head="objective parameters"
    for ((step = PRETRAIN_VALIDATE; step <= PRETRAIN_UPDATES; step += PRETRAIN_VALIDATE)); do head+=" @$step"; done
    echo "$head s/update labels/s GiB minutes"
    for method in $METHODS; do echo "$method $(row "$method")"; done
} | table

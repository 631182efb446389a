#!/usr/bin/env bash
# What pre-training is worth for understanding:  bash recipes/understanding/run.sh FOLDER [OUTPUT]
#
# Every system in METHODS is pre-trained on the same text with one vocabulary, then fine-tuned for every task in TASKS with the same budget,
# once for each seed.  Prints the task's measure on its validation part (of the checkpoint that is best there, as papers on GLUE's dev sets
# do), the mean over SEEDS +- their standard deviation:
#
#   agnews sst2 mrpc sick nextturn ud-romanian  accuracy      cola  Matthews      rosts-similarity  Pearson
#   wnut17  entity F1                                         squad2 xquad-en xquad-ro  F1 of the answers
#
# FOLDER holds a folder for each task, and novels/LANG.txt.gz and dialogue/train.LANG.txt, the text of the pre-training.  Public data are
# read as they are distributed, by their own names:
#
#   export PRETRAIN_TEXT="en=wiki.txt en=books.txt" LANGS=en
#   TASKS="SST-2 CoLA MRPC STS-B RTE QNLI QQP MNLI" bash recipes/understanding/run.sh glue_data
#   TASKS="SQuAD1.1 SQuAD2.0" bash recipes/understanding/run.sh squad     (train-v2.0.json, dev-v2.0.json, ...)
#   TASKS=CoNLL-2003 bash recipes/understanding/run.sh conll              (eng.train, eng.testa)
#
# TASK_TEXT="sst2 agnews" pre-trains on the sentences of these tasks' training parts as well, without their labels.
# A blank line in the text ends a document.  METHODS are of: scratch bert roberta albert electra gpt unilm mlm clm mass denoise bert+lm, and
# electra-two-stage, electra-adversarial, electra-15, electra-replace-mlm, electra-all-tokens-mlm.
# SCALE=gpu trains longer.  What is finished is not done again.
set -euo pipefail
: "${METHODS:=scratch bert roberta albert electra gpt unilm mlm mass}" "${TASKS:=sst2 agnews mrpc rosts-similarity}"

source "$(dirname "${BASH_SOURCE[0]}")/tasks.sh"
takes 1 2 "run.sh FOLDER [OUTPUT]" "$@"
folder=$1
output=${2:-runs/understanding}
methods "scratch bert roberta albert electra gpt unilm mlm clm mass denoise bert+lm $ELECTRAS"
for name in $TASKS; do task "$name"; done # so that a mistake is noticed now
text_data
for method in $METHODS; do
    [ "$method" = scratch ] || pretrained "$method"
done
for name in $TASKS; do
    task_data "$name"
    for method in $METHODS; do
        for seed in $SEEDS; do
            task "$name"
            beginning "$method"
            tuned "$name-$method-$seed" "$name" "$seed" "${begin[@]}"
        done
    done
done

# A row for each task, a column for each method.
{
    echo "task $METHODS"
    for name in $TASKS; do
        row=$name
        for method in $METHODS; do
            # shellcheck disable=SC2046
            row+=" $(spread $(for seed in $SEEDS; do score_of "$name-$method-$seed" "$name"; done))"
        done
        echo "$row"
    done
} | table

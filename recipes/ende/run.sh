#!/usr/bin/env bash
# English and German without pairs, and with few:  bash recipes/ende/run.sh FOLDER [OUTPUT] [--scale tiny|gpu|paper]
#
# tiny (a quarter of an hour of one CPU core, 2 GB of memory) and gpu (an estimate: an hour, 20 GB): FOLDER holds the folders multi30k
# (train, valid, test2016) and novels (en.txt.gz, de.txt.gz).
# English is read from the first half of the training lines, German from the second, so that no pair is ever seen.
#
# paper (an estimate: eight GPUs of 16 GB, for days; 300 GB of disk): FOLDER is what `bash recipes/news.sh de FOLDER` downloads (News Crawl
# 2007-2017, newstest, pairs, XLM's codes and vocab), or holds the same: mono.en and mono.de (also .gz), valid.* and test.*, pairs.* for the
# low-resource steps.  Without codes and vocab there, the vocabulary is a joint SentencePiece BPE of 60,000 pieces.
# LAUNCH="torchrun --nproc-per-node 8 -m masscli" uses eight GPUs.  Nobody has run this scale here; what the paper reports
# (newstest2016, multi-bleu of Moses tokens) stands under the table.
#
# Steps: preprocess, word vectors and a dictionary out of the text, MASS, alignment of the encoder, back-translation, translations and
# scores; then SIZES pairs from scratch and from MASS.
# What is finished is not done again.  Settings: recipes/unsupervised.sh; BT_UPDATES=100 bash ... changes one.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../unsupervised.sh"
arguments "bash recipes/ende/run.sh FOLDER [OUTPUT] [--scale tiny|gpu|paper]" "$@"
lang=de
output=${output:-runs/ende-$scale_name}
scale "$scale_name"
expect="paper scale, unsupervised En-De De-En: MASS 28.3 35.2, XLM 26.4 34.3, BERT+LM 24.9 32.9, DAE 20.9 27.5"
if [ "$scale_name" = paper ]; then
    given "$folder"
else
    captions "$folder/multi30k" "$folder/novels"
fi
experiment

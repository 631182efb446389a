#!/usr/bin/env bash
# English and Romanian without pairs, and with few:  bash recipes/enro/run.sh FOLDER [OUTPUT] [--scale tiny|gpu|paper]
#
# tiny (a quarter of an hour of one CPU core, 2 GB of memory) and gpu (an estimate: an hour, 20 GB): FOLDER holds the folders rosts
# (train, valid) and novels (en.txt.gz, ro.txt.gz).
# English is read from one half of the training lines, Romanian from the other, so that no pair is ever seen; lines are mixed first.
#
# paper (an estimate: eight GPUs of 16 GB, for days; 300 GB of disk): FOLDER is what `bash recipes/news.sh ro FOLDER` downloads (News Crawl
# 2007-2017, newstest, pairs, XLM's codes and vocab), or holds the same: mono.en and mono.ro (also .gz), valid.* and test.*, pairs.* for the
# low-resource steps.  Without codes and vocab there, the vocabulary is a joint SentencePiece BPE of 60,000 pieces.
# LAUNCH="torchrun --nproc-per-node 8 -m masscli" uses eight GPUs.  Nobody has run this scale here; what the paper reports
# (newstest2016, multi-bleu of Moses tokens) stands under the table.
#
# Steps: preprocess, word vectors and a dictionary out of the text, MASS, alignment of the encoder, back-translation, translations and scores; then MASS with a dictionary of the first
# DICTIONARY pairs, and SIZES pairs (SIZES="1000 5000 all") from scratch and from that; all pairs and back-translation together.
# What is finished is not done again.  Settings: recipes/unsupervised.sh; BT_UPDATES=100 bash ... changes one.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../unsupervised.sh"
arguments "bash recipes/enro/run.sh FOLDER [OUTPUT] [--scale tiny|gpu|paper]" "$@"
lang=ro
[ "$scale_name" = paper ] || : "${DICTIONARY:=1000}"
# Novels of the 19th century are spelt in another way than these captions and headlines, more so in Romanian: few of them help most.
[ "$scale_name" != tiny ] || : "${PRETRAIN_UPDATES:=600}" "${NOVEL_LINES:=2000}" # pre-trained twice
[ "$scale_name" != gpu ] || : "${NOVEL_LINES:=2000}"
output=${output:-runs/enro-$scale_name}
scale "$scale_name"
expect="paper scale, unsupervised En-Ro Ro-En: MASS 35.2 33.1, XLM 33.3 31.8, BERT+LM 31.7 30.4, DAE 28.8 27.6; Ro-En with pairs and back-translation 39.1"
if [ "$scale_name" = paper ]; then
    given "$folder"
else
    stories "$folder/rosts" "$folder/novels"
fi
experiment

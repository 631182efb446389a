#!/usr/bin/env bash
# What of MASS matters:  bash recipes/ablations/run.sh FOLDER NOVELS [en-de|en-fr] [OUTPUT]
#
# Multi30k and part of the novels, the halves of recipes/multi30k/unsupervised.sh: no pair is seen before fine-tuning.  Every method is
# pre-trained alike, beginning with the same word vectors and reading the same words in the other language:
#
#   scratch    no pre-training                           vectors   nor any, but it begins with the word vectors
#   mass       the paper's method                        dae       denoising auto-encoder
#   discrete   scattered tokens instead of a fragment    bertlm    encoder of a masked, decoder of a causal language model
#   feed       the decoder reads the other tokens too    encoder   MASS, but only its encoder is taken; decoder: only its decoder
#
# Then it is fine-tuned on the first PAIRS pairs in both directions, once for each of SEEDS, and those in UNSUPERVISED learn by
# back-translation without any (with the first seed).  Prints BLEU of test2016 (multi-bleu, lower-cased; mean +- standard deviation).  In the
# paper, unsupervised En-Fr (UNSUPERVISED="dae bertlm discrete feed mass" ... en-fr): discrete 36.9, feed 35.3, MASS 37.5; BERT+LM 33.4, DAE 30.1.  SCALE=gpu trains longer.  What is finished is not
# done again.
set -euo pipefail
: "${METHODS:=scratch vectors dae bertlm discrete feed encoder decoder mass}" "${UNSUPERVISED:=dae bertlm mass}" "${PAIRS:=1000}"
: "${SEEDS:=1}" "${SCALE:=tiny}"

source "$(dirname "${BASH_SOURCE[0]}")/../studies.sh"
for method in $METHODS; do
    [[ " scratch vectors dae bertlm discrete feed encoder decoder mass " == *" $method "* ]] ||
        { echo "error: no method called $method" >&2; exit 2; }
done
for method in $UNSUPERVISED; do
    [[ " dae bertlm discrete feed mass " == *" $method "* ]] || { echo "error: no unsupervised method called $method" >&2; exit 2; }
done
study "usage: run.sh FOLDER NOVELS [en-de|en-fr] [OUTPUT]" ablations "$@"
for method in $METHODS; do
    start=(--init-from "$output/pre-$method")
    case $method in
        scratch) start=(--arch "$ARCH" --languages "$LANGUAGES") ;;
        vectors) start=(--arch "$ARCH" --languages "$LANGUAGES" "${vectors[@]}") ;;
        mass) learned pre-mass --objective mass --k 0.5 ;;
        discrete) learned pre-discrete --objective mass --k 0.5 --span 1 ;;
        feed) learned pre-feed --objective mass --k 0.5 --feed all ;;
        dae) learned pre-dae --objective denoise ;;
        bertlm) learned pre-bertlm --objective bert+lm ;;
        encoder | decoder)
            learned pre-mass --objective mass --k 0.5
            start=(--init-from "$output/pre-mass" --init-stacks "$method") ;;
    esac
    few "$method" "${start[@]}"
    if [[ " $UNSUPERVISED " == *" $method "* ]]; then
        backtranslated "unsupervised-$method" "pre-$method"
        measure "unsupervised-$method" "$output/unsupervised-$method"
    fi
done
{
    echo "method pairs:en-$lang $lang-en none:en-$lang $lang-en"
    for method in $METHODS; do
        row="$method $(few_scores "$method" "en-$lang") $(few_scores "$method" "$lang-en")"
        if [[ " $UNSUPERVISED " == *" $method "* ]]; then
            row+=" $(spread "$(score_of "unsupervised-$method" "en-$lang")") $(spread "$(score_of "unsupervised-$method" "$lang-en")")"
        fi
        echo "$row"
    done
} | table

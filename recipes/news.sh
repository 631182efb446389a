#!/usr/bin/env bash
# Download the text of scale paper, as the MASS paper and XLM describe it:  bash recipes/news.sh fr|de|ro FOLDER
#
# mono.*.gz: News Crawl 2007 to 2017, deduplicated and shuffled by its publishers: 190M lines of English, 62M of French, 270M of German, 3M
# of Romanian, which starts in 2015. valid.* and test.*: newstest2013 and newstest2014 (French), newstest2013 and newstest2016 (German),
# newsdev2016 and newstest2016 (Romanian). pairs.*: a million pairs drawn from Europarl and Common Crawl; for Romanian the 610,320 of
# Europarl and SETIMES2. codes and vocab: XLM's BPE merges and pieces. An interrupted download resumes where it stopped.
set -euo pipefail
lang=$1
mkdir -p "$2/download/pairs"
cd "$2"
case $lang in
    fr) valid=wmt13 test=wmt14 pairs=(https://www.statmt.org/wmt13/training-parallel-{europarl-v7,commoncrawl}.tgz) ;;
    de) valid=wmt13 test=wmt16 pairs=(https://www.statmt.org/wmt13/training-parallel-{europarl-v7,commoncrawl}.tgz) ;;
    ro) valid=wmt16/dev test=wmt16 pairs=(https://data.statmt.org/wmt16/translation-task/training-parallel-ep-v8.tgz
        https://object.pouta.csc.fi/OPUS-SETIMES/v2/moses/en-ro.txt.zip) ;;
    *) echo "error: $lang: expected fr, de or ro" >&2 && exit 2 ;;
esac
get() { # URL FILE
    [ -e "$2" ] || curl --fail --location --retry 5 --continue-at - --output "$2.part" "$1"
    [ -e "$2" ] || mv "$2.part" "$2"
}
for side in en "$lang"; do
    [ ! -e "mono.$side.gz" ] || continue
    for year in {2007..2017}; do
        [ "$side" != ro ] || [ "$year" -ge 2015 ] || continue
        get "https://data.statmt.org/news-crawl/$side/news.$year.$side.shuffled.deduped.gz" "download/news.$year.$side.gz"
    done
    cat download/news.*."$side".gz > mono.part && mv mono.part "mono.$side.gz"
    rm download/news.*."$side".gz # To save disk space.
done
for part in valid test; do
    sacrebleu --test-set "${!part}" --language-pair "en-$lang" --echo src > "$part.en"
    sacrebleu --test-set "${!part}" --language-pair "en-$lang" --echo ref > "$part.$lang"
done
if [ ! -e "pairs.$lang" ]; then
    for url in "${pairs[@]}"; do
        get "$url" "download/${url##*/}"
        case $url in
            *.zip) python3 -m zipfile -e "download/${url##*/}" download/pairs ;;
            *) tar -xzf "download/${url##*/}" -C download/pairs ;;
        esac
    done
    # Both sides list files in the same order. A tab in a line would shift the columns; the seed makes the sample reproducible.
    for side in en "$lang"; do
        find download/pairs -name "*.$lang-en.$side" -o -name "*.en-$lang.$side" | LC_ALL=C sort | xargs cat | tr '\t' ' ' > "all.$side"
    done
    paste all.en "all.$lang" | awk 'BEGIN { srand(1) } { printf "%.9f\t%s\n", rand(), $0 }' | LC_ALL=C sort -S 25% |
        sed -n 1,1000000p > pairs.tsv
    cut -f 2 pairs.tsv > pairs.en
    cut -f 3 pairs.tsv > pairs.part && mv pairs.part "pairs.$lang"
    rm all.* pairs.tsv
fi
get "https://dl.fbaipublicfiles.com/XLM/codes_en$lang" codes
get "https://dl.fbaipublicfiles.com/XLM/vocab_en$lang" vocab

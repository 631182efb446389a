#!/usr/bin/env bash
# The text of the paper's scale:  bash recipes/news.sh fr|de|ro FOLDER
#
# Downloads into FOLDER what `recipes/enXX/run.sh FOLDER --scale paper` reads, as the MASS paper and XLM describe their data:
#
#   mono.en.gz mono.XX.gz   News Crawl of YEARS, one compressed file after another, deduplicated and shuffled by their makers; 190M lines of
#                           English, 62M of French, 270M of German, 3M of Romanian (some 40 GB in all for German)
#   valid.* test.*          newstest2013 and newstest2014 (French), newstest2013 and newstest2016 (German), newsdev2016 and newstest2016
#                           (Romanian), through sacreBLEU, which knows their checksums
#   pairs.en pairs.XX       PAIRS lines drawn from Common Crawl and Europarl; for Romanian from Europarl and SETIMES2, 610,320 in all
#   codes vocab             XLM's merges and pieces for the two languages (CODES=0 leaves them out: the recipe then trains a vocabulary)
#
# A download that was cut off goes on where it stopped; what is there is not fetched again.  YEARS="2016 2017" takes less.
set -euo pipefail
: "${YEARS:=2007 2008 2009 2010 2011 2012 2013 2014 2015 2016 2017}" "${PAIRS:=1000000}" "${CODES:=1}" "${SEED:=1}"
: "${NEWS:=https://data.statmt.org/news-crawl}" "${XLM:=https://dl.fbaipublicfiles.com/XLM}"
: "${EUROPARL:=https://www.statmt.org/wmt13}" "${ROMANIAN:=https://data.statmt.org/wmt16/translation-task}"
: "${SETIMES:=https://object.pouta.csc.fi/OPUS-SETIMES/v2/moses}"

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
takes 2 2 "news.sh fr|de|ro FOLDER" "$@"
lang=$1 folder=$2
for year in $YEARS; do whole year; done
for tool in curl gzip tar; do
    command -v "$tool" > /dev/null || { echo "error: $tool is missing" >&2; exit 2; }
done
case $lang in
    fr) tests="wmt13 wmt14" archives="$EUROPARL/training-parallel-europarl-v7.tgz $EUROPARL/training-parallel-commoncrawl.tgz" ;;
    de) tests="wmt13 wmt16" archives="$EUROPARL/training-parallel-europarl-v7.tgz $EUROPARL/training-parallel-commoncrawl.tgz" ;;
    ro) tests="wmt16/dev wmt16" archives="$ROMANIAN/training-parallel-ep-v8.tgz $SETIMES/en-ro.txt.zip" ;;
    *) echo "error: $lang: expected fr, de or ro" >&2; exit 2 ;;
esac
mkdir -p "$folder/download"

# fetch URL NAME   into FOLDER/download/NAME
fetch() {
    local target=$folder/download/$2
    [ ! -e "$target" ] || return 0
    run curl --fail --location --retry 5 --continue-at - --output "$target.part" "$1" || {
        echo "error: $1: could not be downloaded" >&2
        echo "hint: run the same command again, and it goes on where this stopped" >&2
        return 2
    }
    mv "$target.part" "$target"
}

# Years that News Crawl does not have in a language are said, not guessed.
years_of() {
    local first=2007
    [ "$1" != ro ] || first=2015
    for year in $YEARS; do
        if [ "$year" -ge "$first" ]; then echo "$year"; else echo "note: News Crawl has no $1 of $year" >&2; fi
    done
}

for side in en "$lang"; do
    [ ! -e "$folder/mono.$side.gz" ] || continue
    parts=()
    for year in $(years_of "$side"); do
        fetch "$NEWS/$side/news.$year.$side.shuffled.deduped.gz" "news.$year.$side.gz"
        parts+=("$folder/download/news.$year.$side.gz")
    done
    [ ${#parts[@]} -gt 0 ] || { echo "error: YEARS=$YEARS: none of them has text in $side" >&2; exit 2; }
    cat "${parts[@]}" > "$folder/mono.$side.new"
    mv "$folder/mono.$side.new" "$folder/mono.$side.gz"
    rm "${parts[@]}" # there is no room to keep all of it twice
done

part=valid
for name in $tests; do
    for side in en "$lang"; do
        [ ! -e "$folder/$part.$side" ] || continue
        column=src
        [ "$side" = en ] || column=ref
        run sacrebleu --test-set "$name" --language-pair "en-$lang" --echo "$column" > "$folder/$part.new"
        mv "$folder/$part.new" "$folder/$part.$side"
    done
    part=test
done

if [ ! -e "$folder/pairs.$lang" ]; then
    mkdir -p "$folder/download/pairs"
    for archive in $archives; do
        fetch "$archive" "${archive##*/}"
        case $archive in
            *.zip) run "${PYTHON:-python3}" -m zipfile -e "$folder/download/${archive##*/}" "$folder/download/pairs" ;;
            *) run tar -xzf "$folder/download/${archive##*/}" -C "$folder/download/pairs" ;;
        esac
    done
    # A tab in a line would shift the columns; the same SEED draws the same lines.
    find "$folder/download/pairs" -name "*.$lang-en.en" -o -name "*.en-$lang.en" | LC_ALL=C sort | while read -r english; do
        there "${english%.en}.$lang"
        paste <(tr '\t' ' ' < "$english") <(tr '\t' ' ' < "${english%.en}.$lang")
    done | awk -v seed="$SEED" 'BEGIN { srand(seed) } { printf "%.9f\t%s\n", rand(), $0 }' | LC_ALL=C sort -S 25% |
        awk -v most="$PAIRS" 'NR <= most' > "$folder/pairs.new"
    [ -s "$folder/pairs.new" ] || { echo "error: the archives hold no pairs of $lang and en" >&2; exit 2; }
    cut -f 2 "$folder/pairs.new" > "$folder/pairs.en"
    cut -f 3 "$folder/pairs.new" > "$folder/pairs.$lang.new"
    mv "$folder/pairs.$lang.new" "$folder/pairs.$lang"
    rm "$folder/pairs.new"
fi

if [ "$CODES" = 1 ]; then
    for name in codes vocab; do
        fetch "$XLM/${name}_en$lang" "$name"
        ln -sfn "download/$name" "$folder/$name"
    done
fi

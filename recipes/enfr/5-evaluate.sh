#!/usr/bin/env bash
# Step 5: translate the test set with every model, score it, and show the cost of each step.
set -euo pipefail
target=${TARGET:-fr} DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}}
OUTPUT=${OUTPUT:-runs/en$target} SCALE=${SCALE:-tiny}
case $SCALE in
    tiny) test=$OUTPUT/text/test beam=2 lowercase=--lowercase ;;
    small | gpu) test=$OUTPUT/text/test beam=5 lowercase=--lowercase ;;
    paper) test=$DATA/wmt-en$target/test beam=5 lowercase=--no-lowercase ;;
esac
mkdir -p "$OUTPUT/test"
for way in "en-$target" "$target-en"; do
    from=${way%-*} to=${way#*-} scores=$OUTPUT/scores.$way.jsonl
    # The papers score Romanian without diacritics.
    [ "$to" = ro ] && plain=--plain-romanian || plain=--no-plain-romanian
    cp "$test.$from" "$OUTPUT/test/copy.$way"
    for log in "$OUTPUT"/*/log.jsonl; do
        run=${log%/log.jsonl} hyp=$OUTPUT/test/$(basename "${log%/log.jsonl}").$way
        [ "$hyp" -nt "$log" ] ||
            masscli generate "$run" -s "$from" -t "$to" --beam "$beam" --input "$test.$from" --output "$hyp"
    done
    rm -f "$scores"
    for hyp in "$OUTPUT"/test/*."$way"; do
        system=$(basename "$hyp" ".$way")
        masscli score "$hyp" --ref "$test.$to" --metric multi-bleu --lang "$to" --normalize "$plain" "$lowercase" \
            --append "$scores" --tag "system=$system"
        masscli score "$hyp" --ref "$test.$to" --metric bleu "$lowercase" --append "$scores" --tag "system=$system"
    done
    echo "$way:"
    masscli report "$scores"
done
masscli inspect "$OUTPUT/mass" --retrieval --data "$OUTPUT/data"
runs=("$OUTPUT"/*/log.jsonl)
masscli report "${runs[@]%/log.jsonl}"

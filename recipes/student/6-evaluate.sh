#!/usr/bin/env bash
# Step 6: BLEU, chrF, speed and size of teacher, students and control, with 8-bit weights in CTranslate2, with and without the shortlist.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/student}
test=$DATA/multi30k/test2016 scores=$OUTPUT/scores.jsonl
mkdir -p "$OUTPUT/average" "$OUTPUT/int8" "$OUTPUT/test"
rm -f "$scores"
# Speed depends on the load of the machine, so each model is timed three times, in turn. OMP_NUM_THREADS sets the number of threads.
for repetition in 1 2 3; do
    for log in "$OUTPUT"/*/log.jsonl; do
        run=${log%/log.jsonl}
        system=$(basename "$run")
        model=$OUTPUT/average/$system
        # A student's loss on real text is lowest early, when its translations are not yet the best.
        [ -e "$model" ] || masscli average "$run" --last 5 --output "$model"
        # The size is that of the deployed files: the model and its vocabulary, without the 3 MB of the shortlist.
        [ -e "$OUTPUT/int8/$system" ] || masscli export "$model" --to ctranslate2 --precision int8 --output "$OUTPUT/int8/$system"
        megabytes=$(du -sk "$OUTPUT/int8/$system" | awk '{ printf "%.1f", $1 * 1.024 / 1000 }')
        for shortlist in no yes; do
            choice=(--backend ctranslate2 --precision int8)
            [ "$shortlist" = no ] || choice+=(--shortlist "$OUTPUT/shortlist.txt")
            hyp=$OUTPUT/test/$system.$shortlist.de
            tags=(--append "$scores" --tag "system=$system" --tag "shortlist=$shortlist" --tag "MB=$megabytes" --tag "seed=$repetition")
            masscli generate "$model" -s en -t de --beam 4 "${choice[@]}" --input "$test.en" --output "$hyp" "${tags[@]}"
            masscli score "$hyp" --ref "$test.de" --metric bleu,chrf --lowercase "${tags[@]}"
        done
    done
done
masscli report "$scores" --plot "$OUTPUT/front.svg" --x sentences/s

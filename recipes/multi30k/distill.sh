#!/usr/bin/env bash
# Optional, after step 2: the best that was found for 29,000 pairs. Models of three seeds translate the training text together, and each
# goes on with these translations in addition to the real text. After two such rounds one model learns from the translations of both, and
# then once more, also from sources that a model of the other direction writes for the real targets.
set -euo pipefail
here=$(dirname "$0")
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} OUTPUT=${OUTPUT:-runs/multi30k}
lang=de # or fr
common=(--config "$here/finetune.small.toml" --task translate --label-smoothing 0.1 --max-tokens 4096 --save-interval-updates 150)
forward=(-s en -t "$lang")
go_on=(--dropout 0.2 --lr 0.003 --warmup-updates 200)
mkdir -p "$OUTPUT/text"
cp "$DATA/multi30k/train.en" "$OUTPUT/text/round-0.en" && cp "$DATA/multi30k/train.$lang" "$OUTPUT/text/round-0.$lang"
data=$OUTPUT/data
for round in 1 2; do
    for seed in 1 2 3; do
        run=$OUTPUT/round-$round.$seed
        begin=(--max-update 3600)
        [ "$round" = 1 ] || begin=("${go_on[@]}" --max-update 4500 --init-from "$OUTPUT/round-1.$seed.average")
        masscli finetune "$data" "${common[@]}" "${forward[@]}" "${begin[@]}" --seed "$seed" --save-dir "$run"
        [ -e "$run.average" ] || masscli average "$run" --last 5 --output "$run.average"
    done
    made=$OUTPUT/text/made-$round.$lang
    [ -e "$made" ] ||
        masscli generate "$OUTPUT/round-$round".?.average "${forward[@]}" --beam 4 --closest-to-reference chrf \
            --reference "$DATA/multi30k/train.$lang" --input "$DATA/multi30k/train.en" --output "$made"
    # Each round reads the text of the one before, and the new translations.
    before=$OUTPUT/text/round-$((round - 1)) text=$OUTPUT/text/round-$round
    cat "$before.en" "$DATA/multi30k/train.en" > "$text.en" && cat "$before.$lang" "$made" > "$text.$lang"
    data=$OUTPUT/data-$round
    masscli preprocess --langs "en,$lang" --trainpref "$text" --validpref "$DATA/multi30k/valid" --testpref "$DATA/multi30k/test2016" \
        --spm-model "$OUTPUT/data" --destdir "$data"
done
run=$OUTPUT/distilled
masscli finetune "$data" "${common[@]}" "${forward[@]}" "${go_on[@]}" --max-update 4500 \
    --init-from "$OUTPUT/round-2.1.average" --seed 4 --save-dir "$run"
[ -e "$run.average" ] || masscli average "$run" --last 5 --output "$run.average"

# The third round: a second source for each real target, and translations by the best models so far.
back=$OUTPUT/back
masscli finetune "$OUTPUT/data" "${common[@]}" -s "$lang" -t en --max-update 3600 --seed 1 --save-dir "$back"
[ -e "$back.average" ] || masscli average "$back" --last 5 --output "$back.average"
sources=$OUTPUT/text/sources.en made=$OUTPUT/text/made-3.$lang
[ -e "$sources" ] || masscli generate "$back.average" -s "$lang" -t en --beam 4 --input "$DATA/multi30k/train.$lang" --output "$sources"
[ -e "$made" ] ||
    masscli generate "$run.average" "$OUTPUT"/round-2.[23].average "${forward[@]}" --beam 4 --closest-to-reference chrf \
        --reference "$DATA/multi30k/train.$lang" --input "$DATA/multi30k/train.en" --output "$made"
cat "$text.en" "$sources" "$DATA/multi30k/train.en" > "$OUTPUT/text/round-3.en"
cat "$text.$lang" "$DATA/multi30k/train.$lang" "$made" > "$OUTPUT/text/round-3.$lang"
masscli preprocess --langs "en,$lang" --trainpref "$OUTPUT/text/round-3" --validpref "$DATA/multi30k/valid" \
    --testpref "$DATA/multi30k/test2016" --spm-model "$OUTPUT/data" --destdir "$OUTPUT/data-3"
third=$OUTPUT/third
masscli finetune "$OUTPUT/data-3" "${common[@]}" "${forward[@]}" "${go_on[@]}" --max-update 6000 --init-from "$run.average" --seed 7 \
    --save-dir "$third"
[ -e "$third.average" ] || masscli average "$third" --last 5 --output "$third.average"
for model in "$OUTPUT"/round-?.?.average "$run.average" "$third.average"; do
    for set in valid test2016; do
        hyp=$model/$set.$lang
        [ -e "$hyp" ] ||
            masscli generate "$model" "${forward[@]}" --beam 5 --lenpen 1.0 --input "$DATA/multi30k/$set.en" --output "$hyp"
        masscli score "$hyp" --ref "$DATA/multi30k/$set.$lang" --metric multi-bleu,bleu,chrf --lang "$lang" --lowercase
    done
done

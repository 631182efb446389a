#!/usr/bin/env bash
# Optional, after step 4 at scale `small`: the best that was found for German without pairs. Two seeds learn by back-translation for longer.
# Then, four times, the models so far translate both halves of the captions together; a new model learns from the better 70% of the
# translations as sources, with the real text as targets, and with a dictionary that is made from these pairs.
set -euo pipefail
here=$(dirname "$0")
OUTPUT=${OUTPUT:-runs/ende}
text=$OUTPUT/text
plain=(--spm-model "$OUTPUT/data/vocab.model" --normalize --moses --lowercase)

# As in step 3, with another seed.
masscli pretrain "$OUTPUT/data" --config "$here/../enfr/pretrain.small.toml" --objective mass --preset paper --k 0.5 --auxiliary denoise \
    --switch-dictionary "$OUTPUT/dictionary.txt" --switch-share 0.5 --init-vectors "en=$OUTPUT/vectors.en,de=$OUTPUT/vectors.de" \
    --seed 2 --save-dir "$OUTPUT/mass-2"
for begin in mass mass-2; do
    [ "$begin" = mass ] && seed=1 || seed=2
    masscli finetune "$OUTPUT/data-near" --config "$here/long.toml" --task backtranslate --langs en,de --init-from "$OUTPUT/$begin" \
        --auxiliary denoise=0:1,1800:0.1,15000:0.05 --min-piece-count 2 --source-dropout 0.1 --source-blank 0.1 --source-shuffle 2 \
        --switch-dictionary "$OUTPUT/dictionary.txt" --switch-share 0.3 --seed "$seed" --save-dir "$OUTPUT/long-$seed"
done

begin=mass
models=("$OUTPUT/long-1")
for round in 1 2 3 4; do
    new=$OUTPUT/offline-$round
    made=$text/offline-$round
    dictionary=$OUTPUT/dictionary-offline-$round.txt
    mkdir -p "$made"
    for way in en-de de-en; do
        from=${way%-*} to=${way#*-}
        [ -e "$made/made.$from" ] || masscli generate "${models[@]}" -s "$to" -t "$from" --beam 5 \
            --input "$text/half.$to" --output "$made/made.$from"
        # The first model says how well a generated source and its real target fit together, in both directions.
        [ -e "$made/$way.$to" ] || masscli filter "$made/made.$from" "$text/half.$to" -s "$from" -t "$to" --no-filter-lang \
            --forward "${models[0]}" --keep-best 0.7 --output "$made/$way"
        masscli preprocess "${plain[@]}" --langs "$from,$to" --trainpref "$made/$way" --destdir "$OUTPUT/data-offline-$round-$way"
    done
    for lang in en de; do
        cat "$made/en-de.$lang" "$made/de-en.$lang" > "$made/both.$lang"
    done
    masscli preprocess "${plain[@]}" --langs en,de --trainpref "$made/both" --destdir "$OUTPUT/data-offline-$round-both"
    [ -e "$dictionary" ] || masscli dictionary "$OUTPUT/data-offline-$round-both" --langs en,de --from pairs --limit 1000000 \
        --output "$dictionary"
    settings=()
    for way in en-de de-en; do
        settings+=(--set "stream.offline-$way.data_dir=$OUTPUT/data-offline-$round-$way")
    done
    for lang in en de; do
        settings+=(--set "stream.denoise-$lang.objective.switch_dictionary=$dictionary")
    done
    # In the last two rounds the model learns from the pairs alone, since back-translation no longer makes it better.
    if [ "$round" -ge 3 ]; then
        settings+=(--max-update 3000 --batch-reuse 1 --end-lr 0)
        for way in en-de de-en; do
            settings+=(--set "stream.offline-$way.loss_weight=1" --set "stream.back-$way.loss_weight=0")
        done
    fi
    masscli finetune "$OUTPUT/data-near" --config "$here/offline.toml" "${settings[@]}" --init-from "$OUTPUT/$begin" \
        --seed "$round" --save-dir "$new"
    begin=offline-$round
    models=("$new" "${models[0]}" "$OUTPUT/long-2")
done
for way in "en de" "de en"; do
    read -r from to <<< "$way"
    for run in "$OUTPUT"/long-? "$OUTPUT"/offline-?; do
        masscli generate "$run" -s "$from" -t "$to" --beam 5 --input "$text/test.$from" --output "$run/test.$to"
        masscli score "$run/test.$to" --ref "$text/test.$to" --metric multi-bleu,bleu,chrf --lang "$to" --lowercase
    done
done

#!/usr/bin/env bash
# Optional, after step 4 at scale `small`: the best that was found without pairs. Two chains of models, from different seeds, learn by
# back-translation for longer, and then in three offline rounds: the models so far translate both halves of the captions together, and a
# new model learns from the better 70% of the translations as sources, with the real text as targets, and with a dictionary that is made
# from these pairs. In a last round both chains teach one model.
set -euo pipefail
here=$(dirname "$0") target=${TARGET:-fr}
OUTPUT=${OUTPUT:-runs/en$target}
text=$OUTPUT/text
plain=(--spm-model "$OUTPUT/data/vocab.model" --normalize --moses --lowercase)

# offline_round NAME SEED FIRST TEACHER...: train the run NAME, which begins with the run FIRST, on what the teachers translate together.
offline_round() {
    name=$1 seed=$2 first=$OUTPUT/$3
    teachers=("${@:4}")
    made=$text/$name dictionary=$OUTPUT/dictionary-$name.txt
    mkdir -p "$made"
    for way in "en-$target" "$target-en"; do
        from=${way%-*} to=${way#*-}
        [ -e "$made/made.$from" ] || masscli generate "${teachers[@]/#/$OUTPUT/}" -s "$to" -t "$from" --beam 5 \
            --input "$text/half.$to" --output "$made/made.$from"
        # The first teacher says how well a generated source and its real target fit together, in both directions.
        [ -e "$made/$way.$to" ] || masscli filter "$made/made.$from" "$text/half.$to" -s "$from" -t "$to" --no-filter-lang \
            --forward "$OUTPUT/${teachers[0]}" --keep-best 0.7 --output "$made/$way"
        masscli preprocess "${plain[@]}" --langs "$from,$to" --trainpref "$made/$way" --destdir "$OUTPUT/data-$name-$way"
    done
    for lang in en "$target"; do
        cat "$made/en-$target.$lang" "$made/$target-en.$lang" > "$made/both.$lang"
    done
    masscli preprocess "${plain[@]}" --langs "en,$target" --trainpref "$made/both" --destdir "$OUTPUT/data-$name-both"
    [ -e "$dictionary" ] || masscli dictionary "$OUTPUT/data-$name-both" --langs "en,$target" --from pairs --limit 1000000 \
        --output "$dictionary"
    masscli finetune "$OUTPUT/data-near" --config "$here/offline.toml" "${schedule[@]}" --init-from "$first" --seed "$seed" \
        --set "stream.offline-to-target.dataset=en-$target" --set "stream.offline-to-target.data_dir=$OUTPUT/data-$name-en-$target" \
        --set "stream.offline-to-english.dataset=$target-en" --set "stream.offline-to-english.data_dir=$OUTPUT/data-$name-$target-en" \
        --set "stream.back-to-target.dataset=en-$target" --set "stream.back-to-english.dataset=$target-en" \
        --set "stream.denoise-target.dataset=$target" --set "stream.denoise-target.objective.switch_dictionary=$dictionary" \
        --set "stream.denoise-english.objective.switch_dictionary=$dictionary" --save-dir "$OUTPUT/$name"
}

# As in step 3, with another seed.
masscli pretrain "$OUTPUT/data" --config "$here/pretrain.small.toml" --objective mass --preset paper --k 0.5 --auxiliary denoise \
    --switch-dictionary "$OUTPUT/dictionary.txt" --switch-share 0.5 \
    --init-vectors "en=$OUTPUT/vectors.en,$target=$OUTPUT/vectors.$target" --seed 2 --save-dir "$OUTPUT/mass-2"
pretrained=("" mass mass-2)
for chain in 1 2; do
    masscli finetune "$OUTPUT/data-near" --config "$here/long.toml" --task backtranslate --langs "en,$target" \
        --init-from "$OUTPUT/${pretrained[chain]}" --auxiliary denoise=0:1,1800:0.1,15000:0.05 --min-piece-count 2 \
        --source-dropout 0.1 --source-blank 0.1 --source-shuffle 2 --switch-dictionary "$OUTPUT/dictionary.txt" --switch-share 0.3 \
        --seed "$chain" --save-dir "$OUTPUT/long-$chain"
done

# From the third round on the model learns from the pairs alone, since back-translation no longer makes it better.
pairs_alone=(--max-update 3000 --batch-reuse 1 --end-lr 0)
for way in to-target to-english; do
    pairs_alone+=(--set "stream.offline-$way.loss_weight=1" --set "stream.back-$way.loss_weight=0")
done
for chain in 1 2; do
    # The long run of the other chain helps to translate from the second round on: it makes other mistakes.
    other=long-$((3 - chain)) chain_name=offline-$chain
    schedule=()
    offline_round "$chain_name.1" "${chain}1" "${pretrained[chain]}" "long-$chain"
    offline_round "$chain_name.2" "${chain}2" "$chain_name.1" "$chain_name.1" "long-$chain" "$other"
    schedule=("${pairs_alone[@]}")
    offline_round "$chain_name.3" "${chain}3" "$chain_name.2" "$chain_name.2" "$chain_name.1" "$other"
done
offline_round offline-joint 31 offline-2.3 offline-2.3 offline-1.3

for way in "en $target" "$target en"; do
    read -r from to <<< "$way"
    for run in "$OUTPUT"/long-? "$OUTPUT"/offline-?.? "$OUTPUT"/offline-joint; do
        [ "$run/test.$to" -nt "$run/log.jsonl" ] ||
            masscli generate "$run" -s "$from" -t "$to" --beam 5 --input "$text/test.$from" --output "$run/test.$to"
        masscli score "$run/test.$to" --ref "$text/test.$to" --metric multi-bleu,bleu,chrf --lang "$to" --lowercase
    done
done

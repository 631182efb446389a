#!/usr/bin/env bash
# Optional, after step 3: what its parts are worth. The same training on the few pairs, from scratch (`plain`) and from MASS without the
# word vectors (`mass`); without the dictionary and denoising in addition (`mass-alone`); and with novels as the only monolingual text
# (`novels`), as a control for text from another domain. Step 5 scores the results.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/lowres} SCALE=${SCALE:-tiny} PAIRS=${PAIRS:-1000} SEEDS=${SEEDS:-1}
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}}
masscli preprocess --langs en,de --trainpref "$DATA/multi30k/train" --validpref "$DATA/multi30k/valid" --normalize --moses --lowercase \
    --mono "en=$OUTPUT/text/novels.en" --mono "de=$OUTPUT/text/novels.de" --no-pairs-as-mono --spm-model "$OUTPUT/data" \
    --destdir "$OUTPUT/data-novels"
mass=(--config "$here/pretrain.$SCALE.toml" --objective mass --k 0.5)
aligned=(--auxiliary denoise --switch-dictionary "$OUTPUT/dictionary-$PAIRS.txt" --switch-share 0.5)
masscli pretrain "$OUTPUT/data" "${mass[@]}" "${aligned[@]}" --save-dir "$OUTPUT/mass-$PAIRS"
masscli pretrain "$OUTPUT/data" "${mass[@]}" --save-dir "$OUTPUT/mass-alone-$PAIRS"
masscli pretrain "$OUTPUT/data-novels" "${mass[@]}" "${aligned[@]}" --save-dir "$OUTPUT/novels-$PAIRS"
for seed in $SEEDS; do
    for method in plain mass mass-alone novels; do
        begin=(--init-from "$OUTPUT/$method-$PAIRS")
        [ "$method" != plain ] || begin=()
        masscli finetune "$OUTPUT/data" --config "$here/finetune.$SCALE.toml" --task translate -s en -t de --max-examples "$PAIRS" \
            --label-smoothing 0.1 "${begin[@]}" --seed "$seed" --save-dir "$OUTPUT/pairs/$method.$PAIRS.$seed"
    done
done

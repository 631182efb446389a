#!/usr/bin/env bash
# Step 4: fine-tune every system on every task with the same budget, with the changes to the model that its paper makes.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}}
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/understanding} SCALE=${SCALE:-tiny}
# The rows of tasks.txt whose files exist.
grep -v "^#" "$here/tasks.txt" | while read -r name kind format train valid lang label _ best options; do
    [ -e "$DATA/$train" ] || continue
    masscli preprocess --bad-rows skip --spm-model "$OUTPUT/data" "--$format" "train=$DATA/$train,valid=$DATA/$valid" \
        --table-lang "$lang" --destdir "$OUTPUT/tasks/$name" < /dev/null
    # Pairs of texts without an order.
    case $name in mrpc | rosts-similarity | MRPC | STS-B | QQP) unordered=yes ;; *) unordered=no ;; esac
    for system in scratch bert roberta albert electra gpt unilm mlm mass; do
        begin=(--init-from "$OUTPUT/$system")
        case $system-$kind in
            scratch-*) begin=(--decoder-layers 0 --segments 2) ;;
            roberta-classify | roberta-regress) begin+=(--pair-format roberta --head tanh) ;;
            roberta-extract) begin+=(--pair-format roberta --qa-head roberta) ;;
            roberta-*) begin+=(--pair-format roberta) ;;
            electra-classify | electra-regress) begin+=(--head gelu) ;;
            electra-extract) begin+=(--qa-head electra) ;;
            gpt-classify | gpt-regress | gpt-choose) begin+=(--lm-weight 0.5) ;;
        esac
        case $system-$kind-$unordered in
            electra-classify-yes | electra-regress-yes) begin+=(--double-unordered) ;;
            gpt-*-yes) begin+=(--both-orders) ;;
        esac
        case $system-$name in albert-squad2 | albert-SQuAD2.0) begin+=(--qa-head albert) ;; esac
        [ "$label" = - ] || [ "$kind" = choose ] || begin+=(--label-column "$label")
        begin+=(--task "$kind")
        for seed in 1 2 3; do
            # $options is not quoted, because it is several words. Add --max-examples N to compare with fewer examples.
            masscli finetune "$OUTPUT/tasks/$name" --config "$here/finetune.$SCALE.toml" $options "${begin[@]}" \
                --best-metric "$best" --seed "$seed" --save-dir "$OUTPUT/tuned/$name/$system.$seed" < /dev/null
        done
    done
done

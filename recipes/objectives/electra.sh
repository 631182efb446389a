#!/usr/bin/env bash
# Optional, after step 2: ELECTRA's other ways to train and its ablations (Clark et al. 2020, sections 3.2 to 3.4), on English alone.
# Half of the updates of two-stage train its generator, which has the size of the model and initializes the discriminator.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/objectives}
common=("$OUTPUT/data" --config "$here/pretrain.toml" --langs en --segments 2 --tokens-per-sample 128 --mask-prob 0.15)
masscli pretrain "${common[@]}" --objective electra --variant two-stage --generator-size 1 --generator-updates 750 \
    --save-dir "$OUTPUT/electra-two-stage"
masscli pretrain "${common[@]}" --objective electra --variant adversarial --save-dir "$OUTPUT/electra-adversarial"
masscli pretrain "${common[@]}" --objective electra --variant electra-15 --save-dir "$OUTPUT/electra-15"
masscli pretrain "${common[@]}" --objective electra --variant replace-mlm --save-dir "$OUTPUT/electra-replace-mlm"
masscli pretrain "${common[@]}" --objective electra --variant all-tokens-mlm --save-dir "$OUTPUT/electra-all-tokens-mlm"
masscli report "$OUTPUT"/electra-* --curve loss

#!/usr/bin/env bash
# Step 4: train from scratch (there is no pre-training, hence no step 3).
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/multi30k} SCALE=${SCALE:-paper}
lang=de # or fr
case $SCALE in
    small) launch="torchrun --nproc-per-node 2 -m masscli" ;;
    paper) launch=masscli ;;
    *) echo "error: SCALE=$SCALE: this recipe has small and paper" >&2 && exit 2 ;;
esac
$launch finetune "$OUTPUT/data" --config "$here/finetune.$SCALE.toml" --task translate -s en -t "$lang" --label-smoothing 0.1 \
    --save-dir "$OUTPUT/run"

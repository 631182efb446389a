#!/usr/bin/env bash
# Step 3: train the teacher; at scale gpu, several of them, which translate as an ensemble.
set -euo pipefail
here=$(dirname "$0") OUTPUT=${OUTPUT:-runs/student} SCALE=${SCALE:-tiny}
case $SCALE in
    tiny) seeds=1 ;;
    gpu) seeds="1 2 3" ;;
esac
for seed in $seeds; do
    masscli finetune "$OUTPUT/data" --config "$here/teacher.$SCALE.toml" --task translate -s en -t de --seed "$seed" \
        --save-dir "$OUTPUT/teacher-$seed"
done

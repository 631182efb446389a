#!/usr/bin/env bash
# Step 1: get the text. Small scales need files that already exist; scale paper downloads about 40 GB.
set -euo pipefail
target=${TARGET:-fr} DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} SCALE=${SCALE:-tiny}
case $SCALE in
    tiny | small | gpu) ls "$DATA"/multi30k/{train,valid,test2016}.{en,"$target"} "$DATA"/novels/{en,"$target"}.txt.gz ;;
    paper) bash "$(dirname "$0")/../news.sh" "$target" "$DATA/wmt-en$target" ;;
    *) echo "error: SCALE=$SCALE: this recipe has tiny, small, gpu and paper" >&2 && exit 2 ;;
esac

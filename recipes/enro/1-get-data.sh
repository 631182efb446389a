#!/usr/bin/env bash
# Step 1: get the text. Small scales need files that already exist; scale paper downloads about 40 GB.
set -euo pipefail
DATA=${DATA:-${MASSCLI_DATA:?or DATA must name the folder of corpora}} SCALE=${SCALE:-tiny}
case $SCALE in
    tiny | gpu) ls "$DATA"/rosts/{train,valid}.{en,ro} "$DATA"/novels/{en,ro}.txt.gz ;;
    paper) bash "$(dirname "$0")/../news.sh" ro "$DATA/wmt-enro" ;;
    *) echo "error: SCALE=$SCALE: this recipe has tiny, gpu and paper" >&2 && exit 2 ;;
esac

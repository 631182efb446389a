# Translation without pairs, as the three run.sh and multi30k/unsupervised.sh share it; sourced, not run.
#
#   scale NAME          the settings of tiny, gpu or paper; each of them can be changed from outside (BT_UPDATES=100 bash ...)
#   captions / stories  make text out of the folders of captions, parallel sentences and novels that the small scales read
#   given FOLDER        or take a folder that holds it already, as news.sh makes it: mono.LANG, valid.LANG, test.LANG, for the supervised
#                       steps pairs.LANG, and perhaps codes and vocab, the merges and pieces of fastBPE or XLM
#   experiment          all steps between English and XX on that text, and the table.  What is finished is not done again.
#
# k_study and ablations put the same steps together in another way: corpora, anchors, learned, backtranslated, pair_corpus, supervised, measure.
# Variables that are read: output (where everything goes), lang (XX), expect (lines printed under the table).

source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

scale() {
    local ROMANIAN=
    [ "$lang" != ro ] || ROMANIAN=" --romanian plain" # as XLM's codes of it were learned
    case $1 in
        tiny) # minutes of one CPU core: the machinery, and first signs of life
            : "${ARCH:=tiny}" "${WIDTH:=128}" "${VOCAB:=8000}" "${TOKENS:=2048}" "${NOVEL_LINES:=10000}" "${TEXT:=--normalize --moses --lowercase}"
            : "${PRETRAIN_UPDATES:=1000}" "${BT_UPDATES:=500}" "${PAIR_UPDATES:=200}" "${SIZES=1000}" "${LR:=0.003}" "${BT_LR:=0.001}"
            : "${PAIR_LR:=0.002}" "${BT_TOKENS:=2048}" "${DROPOUT:=0.1}" "${BT_DROPOUT:=0.2}" "${VALIDATE:=100}" "${VALID_ROWS:=100}"
            : "${BEAM:=2}" "${TEST_ROWS:=300}" ;;
        gpu) # about an hour of one GPU
            : "${ARCH:=small}" "${WIDTH:=256}" "${VOCAB:=8000}" "${TOKENS:=12000}" "${NOVEL_LINES:=100000}" "${TEXT:=--normalize --moses --lowercase}"
            : "${PRETRAIN_UPDATES:=20000}" "${BT_UPDATES:=10000}" "${PAIR_UPDATES:=3000}" "${SIZES=1000 5000}" "${LR:=0.0005}"
            : "${BT_LR:=0.0003}" "${PAIR_LR:=0.0003}" "${BT_TOKENS:=12000}" "${DROPOUT:=0.1}" "${BT_DROPOUT:=0.2}" "${VALIDATE:=500}"
            : "${VALID_ROWS:=500}" "${BEAM:=5}" "${TEST_ROWS:=1000000}" ;;
        paper) # Song et al. 2019 with XLM's data: eight V100 for days; 300 GB of text and shards, 16 GB of memory on each GPU
            : "${ARCH:=mass-xlm}" "${WIDTH:=1024}" "${VOCAB:=60000}" "${TOKENS:=3000}" "${NOVEL_LINES:=0}" "${LANGUAGES:=embedding}"
            : "${TEXT:=--normalize --moses --max-len 175$ROMANIAN}" "${SMOOTHING:=0}" "${CLIP:=5}"
            : "${PRETRAIN_UPDATES:=600000}" "${BT_UPDATES:=200000}" "${PAIR_UPDATES:=20000}" "${SIZES=10000 100000 1000000}"
            : "${LR:=0.0001}" "${BT_LR:=0.0001}" "${PAIR_LR:=0.0001}" "${BT_TOKENS:=2000}" "${DROPOUT:=0.1}" "${BT_DROPOUT:=0.1}"
            : "${VALIDATE:=5000}" "${VALID_ROWS:=3000}" "${BEAM:=5}" "${TEST_ROWS:=1000000}" "${PRESET:=xlm}" "${SCHEDULE:=inverse_sqrt}"
            : "${BALANCE:=--lang-temperature 1000}" # languages equally often, whatever their text
            : "${SWITCH:=0}" "${MIN_PIECE_COUNT:=0}" "${BESIDE:=}" "${PRETRAIN_BESIDE:=}" "${BT_NOISE:=}" "${REUSE:=1}" ;;
        *) echo "error: --scale $1: expected tiny, gpu or paper" >&2; return 2 ;;
    esac
    whole BT_UPDATES
    # Far from the paper's amount of text, MASS aligns nothing by itself.  Word vectors that are laid on each other without any pair begin
    # the token table (WIDTH numbers each, as ARCH has), and SWITCH of the words that the encoder reads are put into the other language, by
    # the dictionary that comes of them.  Back-translation needs what XLM's recipe has besides: auto-encoding, and a decoder that is kept
    # from writing the wrong language; what it reads is made noisy, and each list of it serves REUSE updates.  SWITCH=0 BESIDE= MIN_PIECE_COUNT=0
    # PRETRAIN_BESIDE= BT_NOISE= is the control, MASS and back-translation alone.  DICTIONARY=1000 makes the MASS that pairs begin with read
    # words by a dictionary of the first 1,000 of them.
    : "${PRESET:=paper}" "${SWITCH:=0.5}" "${MIN_PIECE_COUNT=2}" "${PRETRAIN_BESIDE=denoise}" "${REUSE:=2}"
    : "${BESIDE=denoise=0:1,$((BT_UPDATES / 3)):0.1,$BT_UPDATES:0}" "${BT_NOISE=--source-dropout 0.1 --source-blank 0.1 --source-shuffle 2}"
    : "${K:=0.5}" "${SEED:=1}" "${DICTIONARY:=0}" "${ROUNDS:=1}" "${LANGUAGES:=tag}" "${LAUNCH:=masscli}" "${SCHEDULE:=linear}"
    : "${BALANCE:=}" "${BT_SWITCH:=0.3}" "${SMOOTHING:=0.1}" "${CLIP:=1}" "${WORKERS:=1}"
    vocabulary=()
    whole NOVEL_LINES VOCAB TOKENS WIDTH PRETRAIN_UPDATES BT_UPDATES PAIR_UPDATES REUSE BT_TOKENS VALID_ROWS BEAM TEST_ROWS ROUNDS DICTIONARY
    for updates in BT_UPDATES PAIR_UPDATES; do # now, and not after days of pre-training
        if [ "${!updates}" -lt 6 ] || [ $((${!updates} % REUSE)) != 0 ]; then
            echo "error: $updates=${!updates}: expected at least 6, and a multiple of REUSE=$REUSE" >&2
            return 2
        fi
    done
    chosen_scale=$1
    if [ "$1" = paper ] && [ "$ROUNDS" -gt 1 ]; then
        echo "error: ROUNDS=$ROUNDS: another round would translate all of News Crawl; it is for the small scales" >&2
        return 2
    fi
}

# What is finished is not done again; so what it was made with is kept beside it, lest it be taken for the work of other settings.
same_settings() {
    local name
    {
        echo "scale=$chosen_scale"
        for name in ARCH WIDTH VOCAB TOKENS NOVEL_LINES TEXT BT_UPDATES LR BT_LR PAIR_LR BT_TOKENS DROPOUT BT_DROPOUT VALID_ROWS BEAM TEST_ROWS \
            PRESET SCHEDULE SMOOTHING CLIP SWITCH BT_SWITCH MIN_PIECE_COUNT BESIDE PRETRAIN_BESIDE BT_NOISE REUSE K SEED DICTIONARY LANGUAGES; do
            echo "$name=${!name}"
        done
    } > "$output/settings.new"
    if [ -e "$output/settings.txt" ] && ! cmp -s "$output/settings.txt" "$output/settings.new"; then
        echo "error: $output was made with $(diff "$output/settings.txt" "$output/settings.new" | sed -n 's/^< //p' | head -n 1)," \
            "not $(diff "$output/settings.txt" "$output/settings.new" | sed -n 's/^> //p' | head -n 1)" >&2
        echo "hint: name another OUTPUT, or remove $output" >&2
        rm "$output/settings.new"
        return 2
    fi
    mv "$output/settings.new" "$output/settings.txt"
}

# Lines FROM..TO of a file, which may be compressed, put in place when it is complete.
cut_lines() {
    local from=$1 to=$2 file=$3 target=$4 read=cat
    [ ! -e "$target" ] || return 0
    there "$file"
    [ "${file%.gz}" = "$file" ] || read="gzip -dc"
    $read "$file" | awk -v from="$from" -v to="$to" 'NR >= from && NR <= to' > "$target.new"
    mv "$target.new" "$target"
}

# English from the first half of the training lines, XX from the second, so that no pair is ever seen; both with part of the novels.
halves() {
    local prefix=$1 novels=$2 half
    there "$prefix.en"
    mkdir -p "$output/text"
    half=$(($(wc -l < "$prefix.en") / 2))
    cut_lines 1 "$half" "$prefix.en" "$output/text/half.en"
    cut_lines $((half + 1)) $((2 * half)) "$prefix.$lang" "$output/text/half.$lang"
    for side in en "$lang"; do
        cut_lines 1 "$NOVEL_LINES" "$novels/$side.txt.gz" "$output/text/novels.$side"
        cat "$output/text/half.$side" "$output/text/novels.$side" > "$output/text/mono.$side"
        cut_lines 1 1000000 "$prefix.$side" "$output/text/pairs.$side"
    done
}
captions() {
    halves "$1/train" "$2"
    for side in en "$lang"; do
        cut_lines 1 1000000 "$1/valid.$side" "$output/text/valid.$side"
        cut_lines 1 "$TEST_ROWS" "$1/test2016.$side" "$output/text/test.$side"
    done
}
stories() { # the validation set of rosts is cut in two: 1,000 lines to watch, the rest to test
    local part
    mkdir -p "$output/text"
    for side in en "$lang"; do
        for part in train valid; do mixed "$1/$part.$side" "$output/text/mixed-$part.$side"; done
        cut_lines 1 1000 "$output/text/mixed-valid.$side" "$output/text/valid.$side"
        cut_lines 1001 $((1000 + TEST_ROWS)) "$output/text/mixed-valid.$side" "$output/text/test.$side"
    done
    halves "$output/text/mixed-train" "$2"
}
# The lines of rosts go from captions to headlines, so that its halves, its first pairs and its test part would be of different kinds; here
# they are mixed, two by two, since two in a row are paraphrases of each other, which must not come apart into the two halves.
mixed() {
    [ ! -e "$2" ] || return 0
    there "$1"
    awk '{ printf "%d\t%d\t%s\n", int((NR - 1) / 2) * 7919 % 1000003, NR, $0 }' "$1" | LC_ALL=C sort -n -k 1,1 -k 2,2 | cut -f 3- > "$2.new"
    mv "$2.new" "$2"
}
given() {
    local part
    for part in mono valid test; do
        for side in en "$lang"; do
            compgen -G "$1/$part.$side*" > /dev/null || {
                echo "error: $1/$part.$side: no such file, nor .gz or .xz of it" >&2
                echo "hint: bash recipes/news.sh $lang $1 downloads what the paper used" >&2
                return 2
            }
        done
    done
    mkdir -p "$output/text"
    for name in mono valid test pairs; do
        for side in en "$lang"; do
            for file in "$1/$name.$side" "$1/$name.$side.gz" "$1/$name.$side.xz"; do
                [ ! -e "$file" ] || ln -sfn "$(realpath "$file")" "$output/text/${file##*/}"
            done
        done
    done
    for side in en "$lang"; do # read line by line when it is scored
        for open in gz xz; do
            if [ ! -e "$output/text/test.$side" ] && [ -e "$output/text/test.$side.$open" ]; then
                "${open/gz/gzip}" -dc "$output/text/test.$side.$open" > "$output/text/test.new"
                mv "$output/text/test.new" "$output/text/test.$side"
            fi
        done
        there "$output/text/test.$side"
    done
    [ -e "$1/codes" ] || return 0
    vocabulary=(--bpe-codes "$1/codes" --bpe-vocab "$1/vocab")
    if [ "$SWITCH" != 0 ] || [ "$DICTIONARY" != 0 ]; then
        echo "error: SWITCH=$SWITCH DICTIONARY=$DICTIONARY: dictionaries need a SentencePiece vocabulary, and $1 holds BPE codes" >&2
        return 2
    fi
}

# preprocess_text FOLDER NAME OPTION...   monolingual text NAME.*, valid and test, in one vocabulary
preprocess_text() {
    local folder=$1 text=$output/text/$2 mono=() file
    shift 2
    for side in en "$lang"; do
        for file in "$text.$side" "$text.$side.gz" "$text.$side.xz"; do
            [ ! -e "$file" ] || mono+=(--mono "$side=$file")
        done
    done
    # shellcheck disable=SC2086  # TEXT is several flags
    run masscli preprocess --langs "en,$lang" "${mono[@]}" --validpref "$output/text/valid" --testpref "$output/text/test" --dedup \
        --drop-held-out $TEXT --workers "$WORKERS" --destdir "$folder" "$@"
}

# measure NAME RUN   translate the test set both ways; the scores end up in NAME.en-XX.txt and NAME.XX-en.txt, written last
measure() {
    local name=$1 model=$2 from to place began
    for direction in "en-$lang" "$lang-en"; do
        from=${direction%-*} to=${direction#*-} place=$output/scores/$name.$direction
        # Older than the model: the settings have changed, or there was more to learn.
        [ ! -e "$place.txt" ] || [ "$model/checkpoints/best/" -nt "$place.txt" ] || continue
        began=$SECONDS
        if [ "$model" = copy ]; then
            cp "$output/text/test.$from" "$place.hyp"
        else
            run masscli generate "$model" -s "$from" -t "$to" --beam "$BEAM" --input "$output/text/test.$from" --output "$place.hyp"
        fi
        score "$place.hyp" "$output/text/test.$to" "$to" > "$place.new"
        echo "$((SECONDS - began))" > "$place.seconds"
        mv "$place.new" "$place.txt"
    done
}

# score HYP REF LANG   the papers' number first (Romanian without marks), then sacreBLEU of the same text; lower-cased where the text is
score() {
    local plain=() lower=()
    [[ " $TEXT " != *" --normalize "* ]] || plain=(--normalize)
    [ "$3" != ro ] || plain+=(--plain-romanian)
    [[ " $TEXT " != *" --lowercase "* ]] || lower=(--lowercase)
    run masscli score "$1" --ref "$2" --metric multi-bleu --lang "$3" "${lower[@]}" "${plain[@]}"
    run masscli score "$1" --ref "$2" --metric bleu "${lower[@]}"
}

# corpora   OUTPUT/data of all the text, `near` of what is to be translated alone
corpora() {
    same_settings
    data=$output/data near=$output/data pairs=$output/data-pairs
    mkdir -p "$output/scores"
    # shellcheck disable=SC2206  # LAUNCH may be: torchrun --nproc-per-node 8 -m masscli
    train=($LAUNCH)
    [ ${#vocabulary[@]} -gt 0 ] || vocabulary=(--vocab-size "$VOCAB")
    common=(--save-interval-updates "$VALIDATE" --max-valid-rows "$VALID_ROWS" --lr-scheduler "$SCHEDULE"
        --clip-norm "$CLIP")
    preprocess_text "$data" mono "${vocabulary[@]}"
    if [ -e "$output/text/half.en" ]; then # novels teach words, but are no text to translate
        near=$output/data-near
        preprocess_text "$near" half --spm-model "$data/vocab.model"
    fi
}
pair_corpus() { # En-Ro translates back beside its pairs, and reads all text; the others read pairs alone
    local text=none
    [ "$lang" != ro ] || text=mono
    preprocess_text "$pairs" "$text" --trainpref "$output/text/pairs" --no-pairs-as-mono --spm-model "$data/vocab.model"
}

# anchors   what connects the two languages: `vectors` and `switch` are options of pre-training, `again` of back-translation
anchors() {
    vectors=() switch=() again=()
    [ "$SWITCH" != 0 ] || return 0
    [ -e "$output/dictionary.txt" ] ||
        run masscli dictionary "$data" --langs "en,$lang" --from text --output "$output/dictionary.txt" --vectors "$output/vectors" \
            --dim "$WIDTH"
    vectors=(--init-vectors "en=$output/vectors.en,$lang=$output/vectors.$lang")
    switch=(--switch-dictionary "$output/dictionary.txt" --switch-share "$SWITCH")
    [[ "$BESIDE" != denoise* ]] || again=(--switch-dictionary "$output/dictionary.txt" --switch-share "$BT_SWITCH")
}

# learned NAME OPTION...   pre-train in OUTPUT/NAME
learned() {
    local name=$1
    shift
    # shellcheck disable=SC2086  # two words, or none
    run "${train[@]}" pretrain "$data" "$@" $BALANCE --arch "$ARCH" --languages "$LANGUAGES" "${switch[@]}" "${vectors[@]}" --lr "$LR" \
        --max-tokens "$TOKENS" --dropout "$DROPOUT" --max-update "$PRETRAIN_UPDATES" --eval-retrieval --seed "$SEED" "${common[@]}" \
        --save-dir "$output/$name"
}

# backtranslated NAME FROM OPTION...   back-translation in OUTPUT/NAME, begun with OUTPUT/FROM
backtranslated() {
    local name=$1 from=$2
    shift 2
    # shellcheck disable=SC2086  # several may be empty, or several flags
    run "${train[@]}" finetune "$near" --task backtranslate --langs "en,$lang" --init-from "$output/$from" --min-piece-count "$MIN_PIECE_COUNT" \
        ${BESIDE:+--auxiliary $BESIDE} "${again[@]}" $BT_NOISE --batch-reuse "$REUSE" --lr "$BT_LR" --max-tokens "$BT_TOKENS" \
        --dropout "$BT_DROPOUT" --max-update "$BT_UPDATES" --eval-roundtrip --best-metric roundtrip --seed "$SEED" "${common[@]}" "$@" \
        --save-dir "$output/$name"
}

# supervised NAME SEED OPTION...   one model for both directions, chosen by BLEU: the loss is best long before the source is read well
supervised() {
    local name=$1 seed=$2
    shift 2
    run "${train[@]}" finetune "$pairs" --task translate --pairs "en-$lang,$lang-en" --lr "$PAIR_LR" --max-tokens "$BT_TOKENS" \
        --dropout "$BT_DROPOUT" --label-smoothing "$SMOOTHING" --max-update "$PAIR_UPDATES" --eval-bleu --eval-beam 1 \
        --best-metric bleu --seed "$seed" "${common[@]}" "$@" --save-dir "$output/$name"
    measure "$name" "$output/$name"
}

# round N   all again with what the last model knows: its translations of the text that is to be translated give a better dictionary, by
# which MASS starts afresh, and are pairs beside back-translation until its own are better (Lample et al. 2018 gain 1 to 5 BLEU by rounds)
round() {
    local number=$1 from to place last=unsupervised offline=()
    [ "$number" = 2 ] || last=unsupervised-$((number - 1))
    place=$output/text/round$number
    for from in en "$lang"; do
        to=$lang
        [ "$from" = en ] || to=en
        [ -e "$place.of-$from" ] ||
            run masscli generate "$output/$last" -s "$from" -t "$to" --beam 1 --input "$output/text/half.$from" --output "$place.of-$from"
    done
    cat "$output/text/half.en" "$place.of-$lang" > "$place.en"
    cat "$place.of-en" "$output/text/half.$lang" > "$place.$lang"
    for from in en "$lang"; do # in the order of --langs: what the model wrote, then the real text, which is learned to be written
        to=$lang
        [ "$from" = en ] || to=en
        ln -sfn "half.$to" "$place-$from-$to.$to"
        ln -sfn "round$number.of-$to" "$place-$from-$to.$from"
        # shellcheck disable=SC2086
        run masscli preprocess --langs "$from,$to" --trainpref "$place-$from-$to" $TEXT --workers "$WORKERS" \
            --spm-model "$data/vocab.model" --destdir "$output/offline$number-$from-$to"
        offline+=(--auxiliary "translate@$output/offline$number-$from-$to=0:1,$((BT_UPDATES / 2)):0.1,$BT_UPDATES:0")
    done
    preprocess_text "$data-round$number" half --trainpref "$place" --no-pairs-as-mono --spm-model "$data/vocab.model"
    [ -e "$output/dictionary-$number.txt" ] ||
        run masscli dictionary "$data-round$number" --langs "en,$lang" --from pairs --limit 1000000 --output "$output/dictionary-$number.txt"
    switch=(--switch-dictionary "$output/dictionary-$number.txt" --switch-share "$SWITCH")
    [ ${#again[@]} = 0 ] || again=(--switch-dictionary "$output/dictionary-$number.txt" --switch-share "$BT_SWITCH")
    # shellcheck disable=SC2086  # may be empty
    learned "mass-$number" --objective mass --preset "$PRESET" --k "$K" ${PRETRAIN_BESIDE:+--auxiliary $PRETRAIN_BESIDE}
    backtranslated "unsupervised-$number" "mass-$number" "${offline[@]}"
    measure "unsupervised-$number" "$output/unsupervised-$number"
}

# learned_with_pairs   MASS again, its encoder reading words in the other language by a dictionary of the first DICTIONARY pairs
learned_with_pairs() {
    run masscli dictionary "$pairs" --langs "en,$lang" --from pairs --limit "$DICTIONARY" --output "$output/few.txt"
    switch=(--switch-dictionary "$output/few.txt" --switch-share 0.5)
    # shellcheck disable=SC2086
    learned mass-few --objective mass --preset "$PRESET" --k "$K" ${PRETRAIN_BESIDE:+--auxiliary $PRETRAIN_BESIDE}
    base=mass-few
}

experiment() {
    local size limit number base=mass
    corpora
    anchors
    # shellcheck disable=SC2086  # may be empty
    learned mass --objective mass --preset "$PRESET" --k "$K" ${PRETRAIN_BESIDE:+--auxiliary $PRETRAIN_BESIDE}
    run masscli inspect "$output/mass" --retrieval --data "$data"
    backtranslated unsupervised mass
    measure copy copy
    measure mass "$output/mass"
    measure unsupervised "$output/unsupervised"
    for ((number = 2; number <= ROUNDS; number++)); do round "$number"; done
    if [ -n "$SIZES" ] && { [ -e "$output/text/pairs.en" ] || [ -e "$output/text/pairs.en.gz" ]; }; then
        pair_corpus
        [ "$DICTIONARY" = 0 ] || learned_with_pairs
        for size in $SIZES; do
            limit=(--max-examples "$size")
            [ "$size" != all ] || limit=()
            supervised "scratch-$size" "$SEED" "${limit[@]}" --arch "$ARCH" --languages "$LANGUAGES"
            supervised "mass-$size" "$SEED" "${limit[@]}" --init-from "$output/$base"
        done
        if [ "$lang" = ro ]; then # all pairs, and back-translation beside them: the last row of the paper's tables
            # shellcheck disable=SC2086
            supervised pairs-and-bt "$SEED" --init-from "$output/$base" --auxiliary backtranslate --min-piece-count "$MIN_PIECE_COUNT" $BT_NOISE \
                --batch-reuse "$REUSE"
        fi
    fi
    table_of_experiment
}

# score_of NAME DIRECTION   the first number of a score
score_of() {
    awk 'FNR == 1 { print $3 }' "$output/scores/$1.$2.txt"
}

table_of_experiment() {
    local name number rounds=() sizes=()
    for ((number = 2; number <= ROUNDS; number++)); do rounds+=("unsupervised-$number"); done
    for name in $SIZES; do sizes+=("scratch-$name" "mass-$name"); done
    {
        echo "system en-$lang $lang-en"
        for name in copy mass unsupervised "${rounds[@]}" "${sizes[@]}" pairs-and-bt; do
            [ ! -e "$output/scores/$name.$lang-en.txt" ] ||
                echo "$name $(spread "$(score_of "$name" "en-$lang")") $(spread "$(score_of "$name" "$lang-en")")"
        done
    } | table
    echo
    echo "signatures, and the same by sacreBLEU (of unsupervised, in both directions):"
    cat "$output/scores/unsupervised.en-$lang.txt" "$output/scores/unsupervised.$lang-en.txt"
    printf '%s\n' "$expect"
    echo
    costs
}

# costs   what each step took: minutes of training, or of translating and scoring, peak memory of a process (of its GPU, on one), disk
costs() {
    local folder name file
    {
        echo "step minutes memory-GiB disk-MiB"
        for folder in "$output"/data* "$output"/offline*; do
            [ ! -d "$folder" ] || echo "${folder##*/} - - $(du -sm "$folder" | cut -f 1)"
        done
        for file in "$output"/*/log.jsonl; do
            [ -e "$file" ] || continue
            folder=${file%/*}
            awk -v name="${folder##*/}" -v disk="$(du -sm "$folder" | cut -f 1)" '
                match($0, /"memory": [0-9.]+/) { used = substr($0, RSTART + 10, RLENGTH - 10) + 0; if (used > most) most = used }
                /"event": "finished"/ && match($0, /"seconds": [0-9.]+/) { seconds = substr($0, RSTART + 11, RLENGTH - 11) }
                END { printf "%s %.1f %.1f %d\n", name, seconds / 60, most, disk }' "$file"
        done
        for name in "$output"/scores/*.en-"$lang".seconds; do
            [ ! -e "$name" ] || awk -v name="test:$(basename "$name" ".en-$lang.seconds")" '
                { seconds += $1 } END { printf "%s %.1f - -\n", name, seconds / 60 }' "$name" "${name%.en-"$lang".seconds}.$lang-en.seconds"
        done
    } | table
}

# arguments USAGE "$@"   sets folder, output and scale_name
arguments() {
    local usage=$1
    shift
    local words=()
    scale_name=tiny
    while [ $# -gt 0 ]; do
        case $1 in
            --scale)
                [ $# -gt 1 ] || { echo "error: --scale: expected tiny, gpu or paper" >&2; echo "hint: $usage" >&2; return 2; }
                scale_name=$2
                shift 2 ;;
            -*) echo "error: no such option: $1" >&2; echo "hint: $usage" >&2; return 2 ;;
            *) words+=("$1"); shift ;;
        esac
    done
    takes 0 2 "$usage" "${words[@]}"
    folder=${words[0]:-} output=${words[1]:-}
    [ -n "$folder" ] || { echo "error: FOLDER is missing" >&2; echo "hint: $usage" >&2; return 2; }
}

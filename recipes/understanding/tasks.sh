# The tasks of understanding, as run.sh and sweep.sh share them; sourced, not run.
#
#   task NAME                      where it lies in FOLDER, in what form, and what is measured
#   task_data NAME                 OUTPUT/tasks/NAME: its examples in that vocabulary
#   tuned NAME TASK SEED OPTION... fine-tune, predict the validation part, score; the scores end up in OUTPUT/scores/NAME.txt, written last
#   score_of NAME TASK             the main one of them

source "$(dirname "${BASH_SOURCE[0]}")/../systems.sh"
: "${TASK_TEXT:=}"
if [ "$SCALE" = tiny ]; then : "${UPDATES:=200}" "${LR:=0.001}" "${VALIDATE:=50}"; fi
: "${LANGS:=en,ro}" "${UPDATES:=1500}" "${LR:=0.0003}" "${VALIDATE:=100}" "${HEAD_DROPOUT:=0.1}" "${WINDOW:=384}" "${LIMIT:=}"

task() {
    learn=classify form=tsv files="$1/train.tsv $1/valid.tsv" language=en label=label main=accuracy metrics=accuracy alike=0 nothing=0 own=()
    case $1 in
        # as data/README.md has them: TASK/train.tsv, TASK/valid.tsv with `label` and `sentence`, or `sentence1` and `sentence2`
        sst2 | agnews) ;;
        cola) main=Matthews metrics=mcc,accuracy best=mcc ;;
        mrpc) metrics=accuracy,f1 alike=1 ;; # alike: two texts in no order
        sick) own=(--text-columns sentence1,sentence2) ;;
        rosts-similarity) learn=regress language=ro main=Pearson metrics=pearson,spearman alike=1 ;;
        wnut17) learn=tag form=conll files="$1/train.conll $1/valid.conll" main="entity F1" metrics=entity-f1 ;;
        ud-romanian) learn=tag form=conll files="$1/train.conll $1/valid.conll" language=ro ;;
        nextturn) learn=choose form=jsonl files="$1/train.jsonl $1/valid.jsonl" ;;
        squad2) learn=extract form=squad files="$1/train.json $1/valid.json" main=f1 nothing=1 ;; # nothing: there may be no answer
        xquad-*) learn=extract form=squad language=${1#*-} files="xquad/train.${1#*-}.json xquad/valid.${1#*-}.json" main=f1 ;;
        # as GLUE is distributed: FOLDER/SST-2/train.tsv, FOLDER/SST-2/dev.tsv, ...
        SST-2) files="$1/train.tsv $1/dev.tsv" ;;
        CoLA) files="$1/train.tsv $1/dev.tsv" main=Matthews metrics=mcc,accuracy ;; # has no header: see `headed`
        MRPC) files="$1/train.tsv $1/dev.tsv" label=Quality metrics=accuracy,f1 alike=1 own=(--text-columns '#1 String,#2 String') ;;
        STS-B) learn=regress files="$1/train.tsv $1/dev.tsv" label=score main=Pearson metrics=pearson,spearman alike=1
            own=(--text-columns sentence1,sentence2) ;;
        RTE) files="$1/train.tsv $1/dev.tsv" own=(--text-columns sentence1,sentence2) ;;
        QNLI) files="$1/train.tsv $1/dev.tsv" own=(--text-columns question,sentence) ;;
        QQP) files="$1/train.tsv $1/dev.tsv" label=is_duplicate metrics=accuracy,f1 alike=1 own=(--text-columns question1,question2) ;;
        MNLI) files="$1/train.tsv $1/dev_matched.tsv" label=gold_label own=(--text-columns sentence1,sentence2) ;;
        # as SQuAD and CoNLL-2003 are: FOLDER/train-v2.0.json, FOLDER/eng.train
        SQuAD1.1 | SQuAD2.0) learn=extract form=squad files="train-v${1#SQuAD}.json dev-v${1#SQuAD}.json" main=f1
            [ "$1" = SQuAD1.1 ] || nothing=1 ;;
        CoNLL-2003) learn=tag form=conll files="eng.train eng.testa" main="entity F1" metrics=entity-f1 ;;
        *) echo "error: no task called $1" >&2; exit 2 ;;
    esac
    case $main in
        Matthews) best=mcc ;;
        "entity F1") best=entity-f1 ;;
        *) best=${main,,} ;;
    esac
    train=$folder/${files% *} valid=$folder/${files#* }
    there "$train" "$valid"
    case $learn in
        classify | regress) own+=(--label-column "$label" --head-dropout "$HEAD_DROPOUT") ;;
        extract) own+=(--max-length "$WINDOW" --doc-stride $((WINDOW / 3))) ;;
    esac
    own=(--task "$learn" "${own[@]}")
    [ "$1" != CoLA ] || headed
}

# A header for GLUE's CoLA; nothing else of it changes.
headed() {
    local part
    mkdir -p "$output/text"
    for part in train dev; do
        [ -e "$output/text/CoLA.$part.tsv" ] || { printf 'source\tlabel\tmark\tsentence\n'; cat "$folder/CoLA/$part.tsv"; } \
            > "$output/text/CoLA.$part.new"
        [ -e "$output/text/CoLA.$part.tsv" ] || mv "$output/text/CoLA.$part.new" "$output/text/CoLA.$part.tsv"
    done
    train=$output/text/CoLA.train.tsv valid=$output/text/CoLA.dev.tsv
}

# The sentences of TASK_TEXT's training parts in that language, each a document.
more_text() ( # in a shell of its own: `task` sets what the caller has set for itself
    for name in $TASK_TEXT; do
        task "$name"
        [ "$form-$language" != "tsv-$1" ] || awk -F '\t' 'NR == 1 { for (i = 1; i <= NF; i++) text[i] = $i ~ /^sentence/; next }
            { for (i = 1; i <= NF; i++) if (text[i]) print $i "\n" }' "$train"
    done
)

task_data() {
    task "$1"
    mkdir -p "$output/scores" "$output/tasks"
    run masscli preprocess --spm-model "$output/data" "--$form" "train=$train,valid=$valid" --table-lang "$language" \
        --destdir "$output/tasks/$1"
}

tuned() {
    local name=$1 seed=$3 place=$output/$1 data=$output/tasks/$2
    task "$2"
    shift 3
    [ ! -e "$output/scores/$name.txt" ] || return 0
    run masscli finetune "$data" "${own[@]}" "$@" ${LIMIT:+--max-examples "$LIMIT"} --dropout "$DROPOUT" --lr "$LR" \
        --lr-scheduler linear --max-tokens "$TOKENS" --max-update "$UPDATES" --validate-interval-updates "$VALIDATE" \
        --save-interval-updates "$VALIDATE" --keep-interval-updates 1 --best-metric "$best" --seed "$seed" --save-dir "$place"
    if [ "$learn" = extract ]; then
        run masscli predict "$place" --input "$valid" --input-format squad --format json --output "$place.hyp"
        run masscli score "$place.hyp" --ref "$valid" --metric squad > "$output/scores/$name.new"
    else
        run masscli predict "$place" --input "$valid" --input-format "$form" --output "$place.hyp"
        scored "$place.hyp" > "$output/scores/$name.new"
    fi
    mv "$output/scores/$name.new" "$output/scores/$name.txt"
}

# scored HYP   tags against the last column, word by word or in entities; labels, numbers and choices against a column or a field
scored() {
    case $learn in
        tag) run masscli score "$1" --ref "$valid" --ref-format "$form" --metric "$metrics" ;;
        choose) run masscli score "$1" --ref "$valid" --ref-format "$form" --column label --metric "$metrics" ;;
        *) run masscli score "$1" --ref "$valid" --column "$label" --metric "$metrics" ;;
    esac
}

score_of() {
    task "$2"
    field "$main" "$output/scores/$1.txt"
}

# beginning METHOD   how fine-tuning for the task begins, and what the system's paper changes in it
beginning() {
    begin=()
    if [ "$1" = scratch ]; then
        layers encoder
        begin=("${size[@]}" --decoder-layers 0 --segments 2 --languages none)
    else
        begin=(--init-from "$output/pre-$1")
    fi
    case $1-$learn in
        roberta-classify | roberta-regress) begin+=(--pair-format roberta --head tanh) ;;
        roberta-extract) begin+=(--pair-format roberta --qa-head roberta) ;;
        roberta-*) begin+=(--pair-format roberta) ;;
        albert-extract) [ "$nothing" = 0 ] || begin+=(--qa-head albert) ;;
        electra*-classify | electra*-regress)
            begin+=(--head gelu)
            [ "$alike" = 0 ] || begin+=(--double-unordered) ;;
        electra*-extract) begin+=(--qa-head electra) ;;
        gpt-classify | gpt-regress | gpt-choose) begin+=(--lm-weight 0.5) ;;&
        gpt-*) [ "$alike" = 0 ] || begin+=(--both-orders) ;;
    esac
}

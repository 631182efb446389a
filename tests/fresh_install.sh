#!/usr/bin/env bash
# Install masscli as a user does, in empty environments: the wheel alone, with the extra hf, and with the extra ct2. In each the program of
# docs/how-to/python.md is run, and what the extra is for. Arguments are extras (none is written -):   bash tests/fresh_install.sh - hf ct2
#
# It needs a package index, and some minutes; nothing of the checkout is on the path. PYTHON=python3.12 chooses the interpreter.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
unset PYTHONPATH
cd "$place"
"${PYTHON:-python3}" -m venv builder
builder/bin/pip install -q build
builder/bin/python -m build -q --wheel --outdir wheel "$root"
wheel=$(echo wheel/*.whl)

for extra in "${@:--}"; do
    name=masscli${extra:+[$extra]}
    [ "$extra" = - ] && name=masscli extra=
    echo "== $name"
    rm -rf env work && mkdir work
    "${PYTHON:-python3}" -m venv env
    env/bin/pip install -q -c "$root/constraints.txt" "$wheel${extra:+[$extra]}"
    cd work
    export PATH=$place/env/bin:$PATH
    masscli demo sample
    printf 'text\tlabel\na dog runs\t1\na man sits\t0\n' > films.tsv
    masscli preprocess --langs en,de --trainpref sample/train --validpref sample/valid --testpref sample/test --vocab-size 300 \
        --tsv train=films.tsv --tsv valid=films.tsv
    masscli finetune --task translate -s en -t de --max-update 3 --save-dir runs/ende
    masscli pretrain --objective gpt --langs en --max-update 3 --save-dir runs/gpt
    masscli finetune --task classify --max-update 3 --save-dir runs/classify
    sed -n '/^```python$/,/^```$/p' "$root/docs/how-to/python.md" | grep -v '^```' > program.py
    python -W error program.py > printed.txt
    grep -q 'Finished(step=3' printed.txt

    # What an extra is for works with it; without it one line says what to install.
    masscli export runs/ende --to huggingface -s en -t de --output for-transformers 2> export.txt
    masscli generate runs/ende --backend ctranslate2 --input sample/test.en --output hyp.de 2> generate.txt || true
    case $extra in
        hf) test -s for-transformers/tokenizer.json ;;
        ct2) test "$(wc -l < hyp.de)" = "$(wc -l < sample/test.en)" ;;
        *)
            grep -q "pip install 'masscli\[hf\]'" export.txt
            grep -q "pip install 'masscli\[ct2\]'" generate.txt
            ;;
    esac
    cd ..
    echo "== $name works"
done

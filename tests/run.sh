#!/usr/bin/env bash
# Every check there is: ruff, mypy, import-linter, pytest. Arguments go to pytest:  bash tests/run.sh -m slow tests/recipes
#
# Makes its own environment in .venv at the root of the repository, and reuses it. MASSCLI_NO_VENV=1 takes what is on PATH;
# PYTHON=python3.12 chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${MASSCLI_NO_VENV:-0}" != 1 ]; then
    # The stamp is written last, so that an installation that was cut short, or made for other requirements, is done again.
    wanted=$(cat pyproject.toml constraints.txt | cksum)
    if [ "$(cat .venv/installed 2> /dev/null)" != "$wanted" ]; then
        "${PYTHON:-python3}" -m venv .venv
        .venv/bin/python -m pip install -q -q -c constraints.txt -e ".[dev]"
        echo "$wanted" > .venv/installed
    fi
    export PATH=$PWD/.venv/bin:$PATH
fi
failed=0
ruff check . || failed=1
ruff format --check . || failed=1
mypy || failed=1
lint-imports || failed=1
[ "$failed" = 0 ] || echo "tests/run.sh will fail: see the complaints above" >&2

# The tests are many small tensors: a process with one thread on each core beats one process with many threads.
export OMP_NUM_THREADS=1
# A process that has no more tests takes half of those that wait for another one.
python -m pytest -q -n auto --maxprocesses 8 --dist worksteal "$@" || failed=$?
exit "$failed"

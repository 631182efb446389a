#!/usr/bin/env bash
# Every check there is: ruff, mypy, pytest.  Arguments go to pytest:  bash tests/run.sh -m slow tests/test_recipes.py
#
# Makes its own environment in .venv at the root of the repository, and reuses it; see recipes/environment.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source recipes/environment.sh
environment .venv dev

failed=0
run ruff check . || failed=1
run mypy || failed=1
[ "$failed" = 0 ] || echo "tests/run.sh will fail: see the complaints above" >&2

# The tests are many small tensors: a process with one thread on each core beats one process with many threads.
export OMP_NUM_THREADS=1
run python -m pytest -q -n auto --maxprocesses 8 "$@" || failed=$?
exit "$failed"

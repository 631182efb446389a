# What the shell scripts share; sourced, not run.
#
#   environment FOLDER [EXTRA]   make a virtual environment in FOLDER, or reuse it; install this repository into it; put it on PATH
#   run COMMAND...               show a command, then run it
#   there FILE...                complain of a file that is not there
#   takes LEAST MOST USAGE WORD...   complain of too few words, or too many
#   whole NAME...                complain of variables that are no numbers
#   spread NUMBER...             mean +- standard deviation
#   table                        lines of words on stdin, in columns
#
# MASSCLI_NO_VENV=1 takes the `masscli` that is on PATH already.  PYTHON=python3.12 chooses the interpreter.

environment() {
    local repo folder=$1 extra=${2:+[$2]} python=${PYTHON:-python3} wanted
    repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    if [ "${MASSCLI_NO_VENV:-0}" = 1 ] && command -v masscli > /dev/null; then
        return
    fi
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "error: $python is missing or older than 3.11" >&2
        echo "hint: install Python 3.11 or later, or name it: PYTHON=python3.12 bash $0" >&2
        return 2
    fi
    # The stamp is written last, so that an installation that was cut short, or made for other requirements, is done again.
    wanted="$repo $extra $(cat "$repo/pyproject.toml" "$repo/constraints.txt" | cksum)"
    if [ "$(cat "$folder/installed" 2> /dev/null)" != "$wanted" ]; then
        [ -x "$folder/bin/python" ] || run "$python" -m venv "$folder"
        echo "installing masscli and torch into $folder: a download of some hundred megabytes, once" >&2
        run "$folder/bin/python" -m pip install -q -q -c "$repo/constraints.txt" -e "$repo$extra"
        echo "$wanted" > "$folder/installed"
    fi
    PATH=$(cd "$folder/bin" && pwd):$PATH
    export PATH
}

run() {
    local word
    printf '\n$' >&2
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_.,:=@%+/-]+$ ]]; then printf ' %s' "$word" >&2; else printf ' %q' "$word" >&2; fi
    done
    printf '\n' >&2
    "$@"
}

there() {
    local file
    for file in "$@"; do
        [ -e "$file" ] || { echo "error: $file: no such file" >&2; exit 2; }
    done
}

takes() {
    local least=$1 most=$2 usage=$3
    shift 3
    if [ $# -lt "$least" ] || [ $# -gt "$most" ]; then
        echo "error: $# words where $least to $most are expected" >&2
        echo "hint: $usage" >&2
        exit 2
    fi
}

whole() {
    local name
    for name in "$@"; do
        [[ ${!name} =~ ^[0-9]+$ ]] || { echo "error: $name=${!name}: expected a whole number" >&2; exit 2; }
    done
}

spread() {
    printf '%s\n' "$@" | LC_ALL=C awk '{ n++; sum += $1; squares += $1 * $1 }
        END { mean = sum / n; printf "%.1f", mean; if (n > 1) { rest = squares - n * mean * mean
              printf "+-%.1f", sqrt((rest > 0 ? rest : 0) / (n - 1)) } }'
}

table() {
    awk '{ for (i = 1; i <= NF; i++) printf "%-" (i > 1 ? 12 : 23) "s ", $i; print "" }'
}

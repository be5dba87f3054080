#!/bin/sh
# Runs plantool on every case and compares with its golden file; BLESS=1 rewrites the goldens.
#   golden/NAME.ARCH.explain   of ../programs/NAME.tk
#   golden/NAME.ARCH.err       of refuse/NAME.tk (exit code 1)
set -u
tool=$1
here=$2
bad=0
n=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
check() { # golden mode arch file exit-code
    n=$((n + 1))
    "$tool" "$2" "$3" "$4" >"$out" 2>&1
    rc=$?
    if [ "$rc" != "$5" ]; then
        echo "$4 on $3: exit $rc, expected $5"
        cat "$out"
        bad=1
    elif [ "${BLESS:-}" = 1 ]; then
        cp "$out" "$1"
    elif ! diff -u "$1" "$out"; then
        bad=1
    fi
}
for g in "$here"/golden/*.explain; do
    name=$(basename "$g" .explain)
    check "$g" explain "${name#*.}" "$here/../programs/${name%%.*}.tk" 0
done
for g in "$here"/golden/*.err; do
    name=$(basename "$g" .err)
    check "$g" diagnose "${name#*.}" "$here/refuse/${name%%.*}.tk" 1
done
echo "$n cases"
[ "$n" -gt 0 ] && exit $bad

#!/bin/sh
# Every program of a folder that compiles for a machine, over random shapes. programs.sh FP4C ARCH DIR
set -u
bad=0
n=0
for f in "$3"/*.tk; do
    if ! "$1" check "$f" -arch "$2" >/dev/null 2>&1; then
        continue # what may be refused is tested by tests/plan
    fi
    n=$((n + 1))
    for order in eager lazy; do
        if ! "$1" run "$f" -arch "$2" --shapes 12 --seed 3 --schedule "$order" --check >/dev/null; then
            echo "$f on $2, $order: wrong"
            bad=1
        fi
    done
done
echo "$n programs"
[ "$n" -ge 8 ] && exit $bad

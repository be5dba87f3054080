#!/bin/sh
# Every program, on every machine it plans for: the explained schedule plans to the same role programs.
set -u
tool=$1
root=$2
bad=0
n=0
for f in "$root"/tests/programs/*.tk "$root"/lib/*/*.tk; do
    for arch in sm_90a sm_100a sm_120a; do
        if "$tool" tir "$arch" "$f" >/dev/null 2>&1; then
            n=$((n + 1))
            "$tool" roundtrip "$arch" "$f" || bad=1
        fi
    done
done
echo "$n plans"
[ "$n" -ge 10 ] && exit $bad

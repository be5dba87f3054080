#!/bin/sh
# Every program of a folder, over random shapes. programs.sh FP4C ARCH DIR SHAPES all|turns [REFUSED...]
# all: each under both orders of asynchronous work; turns: the programs take them by turns.
# REFUSED: the programs that the machine cannot take (why is tested by tests/plan); no others may be.
set -u
fp4c=$1
arch=$2
dir=$3
shapes=$4
orders=$5
shift 5
refused=" $* "
bad=0
n=0
for f in "$dir"/*.tk; do
    name=$(basename "$f")
    case $refused in *" $name "*)
        if "$fp4c" check "$f" -arch "$arch" >/dev/null 2>&1; then
            echo "$f is taken on $arch after all"
            bad=1
        fi
        continue
        ;;
    esac
    n=$((n + 1))
    case $orders$((n % 2)) in
    turns0) these=eager ;;
    turns1) these=lazy ;;
    *) these="eager lazy" ;;
    esac
    for order in $these; do
        [ "$order" = lazy ] && sms="--sms 8" || sms= # a block has one tile, or several
        if ! "$fp4c" run "$f" -arch "$arch" --shapes "$shapes" --seed 3 --schedule "$order" $sms --check >/dev/null; then
            echo "$f on $arch, $order: wrong"
            bad=1
        fi
    done
done
echo "$n programs"
[ "$n" -gt 0 ] && exit $bad

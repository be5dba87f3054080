#!/bin/sh
# The schedule that explain prints, put in the place of the one in the file, gives the same PTX byte
# for byte; so do the role programs, read back from their text. explain.sh FP4C ROOT all|turns
# all: every program on every target; turns: the programs take the targets by turns.
set -u
fp4c=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0
n=0
files=0
for f in "$2"/tests/programs/*.tk "$2"/lib/*/*.tk; do
    files=$((files + 1))
    case $3$((files % 3)) in
    turns0) targets=sm_90a ;;
    turns1) targets=sm_100a ;;
    turns2) targets=sm_120a ;;
    *) targets="sm_90a sm_100a sm_120a" ;;
    esac
    for arch in $targets; do
        name=$(basename "$f")
        "$fp4c" "$f" -arch "$arch" -S -o "$dir/first.ptx" 2>"$dir/said"
        case $? in
        0) ;;
        1) # refused; or several variants a machine, whose PTX is several files: plan.roundtrip has them
            grep -q "error\[\|several are asked for" "$dir/said" && continue ;;
        *) cat "$dir/said"; bad=1; continue ;;
        esac
        n=$((n + 1))
        # The program without its schedules, then the explained one.
        awk '/^schedule /{skip = 1} !skip{print} /^}/{skip = 0}' "$f" >"$dir/$name"
        "$fp4c" explain "$f" -arch "$arch" >>"$dir/$name" || bad=1
        (cd "$dir" && "$fp4c" "$name" -arch "$arch" -S -o second.ptx) || bad=1
        cmp "$dir/first.ptx" "$dir/second.ptx" || { echo "$f on $arch: explain changes the code"; bad=1; }
        "$fp4c" "$f" -arch "$arch" --emit=tir -o "$dir/k.tir" || bad=1
        "$fp4c" "$dir/k.tir" -S -o "$dir/third.ptx" || bad=1
        cmp "$dir/first.ptx" "$dir/third.ptx" || { echo "$f on $arch: its .tir gives other code"; bad=1; }
        "$fp4c" "$dir/k.tir" --emit=tir -o "$dir/again.tir" && cmp "$dir/k.tir" "$dir/again.tir" || bad=1
    done
done
echo "$n programs and targets"
[ "$n" -ge 10 ] && exit $bad

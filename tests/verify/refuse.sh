#!/bin/sh
# Small kernels and the sentences that refuse them. refuse.sh FP4C DIR
# NAME.ptx is accepted when there is no NAME.err; else NAME.err is what is said. BLESS=1 writes them anew.
set -u
fp4c=$1
cd "$2" || exit 1
bad=0
n=0
for f in *.ptx; do
    n=$((n + 1))
    err=${f%.ptx}.err
    said=$("$fp4c" verify "$f" 2>&1)
    code=$?
    if [ "${BLESS:-}" = 1 ] && [ "$code" = 1 ]; then
        printf '%s\n' "$said" >"$err"
    fi
    if [ ! -e "$err" ]; then
        [ "$code" = 0 ] || { echo "$f: $said"; bad=1; }
    elif [ "$code" != 1 ] || [ "$said" != "$(cat "$err")" ]; then
        printf '%s: exit %s\n%s\nand not\n%s\n' "$f" "$code" "$said" "$(cat "$err")"
        bad=1
    fi
done
[ "$n" -gt 10 ] && exit $bad

#!/bin/sh
# Every kernel that a program compiles to is accepted. accept.sh FP4C ARCH LEAST FILE...
# Programs that the machine does not take are left out; at least LEAST must remain.
set -u
fp4c=$1
arch=$2
least=$3
shift 3
bad=0
n=0
for f in "$@"; do
    "$fp4c" check "$f" -arch "$arch" >/dev/null 2>&1 || continue
    n=$((n + 1))
    if ! said=$("$fp4c" verify "$f" -arch "$arch" 2>&1); then
        echo "$f on $arch: $said"
        bad=1
    fi
done
echo "$n programs"
[ "$n" -ge "$least" ] && exit $bad

#!/bin/sh
# Golden PTX: check.sh CGTOOL FILECHECK ARCH FILE. Comments of FILE name what its PTX must hold, under
# several prefixes (FRAME, LOAD, MATH, ...): LLVM places the roles' blocks in an order of its own, so
# each prefix is matched from the start.
tool=$1 filecheck=$2 arch=$3 file=$4
ptx=$("$tool" ptx "$arch" "$file") || exit 1
prefixes=$(sed -n 's|^// \([A-Z][A-Z0-9]*\)\(-[A-Z]*\)*\(-[0-9]*\)*:.*|\1|p' "$file" | sort -u)
test -n "$prefixes" || { echo "$file has no checks"; exit 1; }
for prefix in $prefixes; do
    printf '%s\n' "$ptx" |
        "$filecheck" --check-prefix="$prefix" --dump-input=fail "$file" || exit 1
done

#!/bin/sh
# A role program with a size that no tensor tells, and with every operator in its clauses: the language
# does not make such ones, a .tir may be one. free.sh FP4C GEMM.TK OUT.tir
set -eu
"$1" "$2" -arch sm_100a --emit=tir -o "$3.gemm"
sed 's/^    dim N$/    dim N\n    dim L/
/^    where cond=eq(mod(N, 8), 0)/i\
    where cond=and(or(lt(sub(L, 2), 3), eq(L, 7)), le(min(L, 4), max(add(L, 1), div(L, 2)))) text="L is small" line=9
' "$3.gemm" >"$3"
grep -q '^    dim L$' "$3" && grep -q '"L is small"' "$3"

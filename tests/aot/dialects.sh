#!/bin/sh
# Generated C compiles in every dialect without a warning, is the same each time, and refuses what it
# cannot be. dialects.sh FP4C ROOT
set -u
fp4c=$1
root=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
bad=0
n=0

complain() {
    echo "$*"
    bad=1
}

warnings="-Wall -Wextra -pedantic -Werror -Wconversion -Wshadow -Wstrict-aliasing=2 -fsyntax-only"

compile() { # FILE COMPILER...
    file=$1
    shift
    n=$((n + 1))
    "$@" $warnings -I"$root/runtime" "$file" 2>err || complain "$* $file: $(head -n 5 err)"
}

all_dialects() {
    for cc in gcc clang; do
        cxx=$(echo $cc | sed 's/gcc/g++/; s/clang/clang++/')
        command -v $cc >/dev/null || { echo "$cc is not here: its dialects are left out"; continue; }
        for std in c99 c11 c2x; do
            compile "$1" $cc -std=$std
        done
        command -v $cxx >/dev/null || continue
        compile "$1" $cxx -std=c++17 -x c++
    done
}

for mode in "" --driver-only; do
    "$fp4c" "$root/lib/gemm/gemm.tk" -arch sm_100a,sm_120a --emit=c,h $mode -o gemm || complain "gemm $mode"
    all_dialects gemm.c
    "$fp4c" "$root/tests/aot/names.tk" -arch sm_120a --emit=c,h $mode -o names || complain "names $mode"
    all_dialects names.c
done
# The launches of every other program, in the oldest and the strictest dialect.
for f in "$root"/tests/programs/*.tk "$root"/lib/*/*.tk; do
    "$fp4c" check "$f" -arch sm_120a >/dev/null 2>&1 || continue
    "$fp4c" "$f" -arch sm_120a --emit=c,h --driver-only -o program 2>err ||
        { grep -qE "gives streams no workspace|knows scales in layouts" err && continue; complain "$f: $(cat err)"; }
    compile program.c gcc -std=c99
    compile program.c g++ -std=c++17 -x c++
done
# The wrapper for the TVM FFI.
for f in "$root/lib/gemm/gemm.tk" "$root/tests/aot/names.tk"; do
    "$fp4c" "$f" -arch sm_120a --emit=c,h,tvm-ffi -o wrapped || complain "$f"
    all_dialects wrapped_ffi.c
done
[ "$n" -ge 30 ] || complain "only $n compilations"

# A header alone is a complete one; names of files are as asked for; the same input, the same bytes
# (sm_120a: ptxas 13.0 itself gives the registers of one sm_100a kernel other numbers from run to run).
echo '#include "gemm.h"' >alone.c
compile alone.c gcc -std=c99
"$fp4c" "$root/lib/gemm/gemm.tk" -arch sm_120a --emit=c,h --driver-only -o gemm.c || complain "-o gemm.c"
cp gemm.c once.c
env -u FP4_PTXAS "$fp4c" "$root/lib/gemm/gemm.tk" -arch sm_120a --emit=c,h --driver-only -o gemm || complain "again"
cmp -s gemm.c once.c || complain "the same input gives other bytes"
"$fp4c" "$root/lib/gemm/gemm.tk" -arch sm_100a --emit=h -o - | grep -q nvfp4_gemm || complain "--emit=h -o -"
"$fp4c" "$root/lib/gemm/gemm.tk" -arch sm_100a --emit=c,h -o - >out 2>err
[ $? -eq 1 ] || complain "two files on standard output"
"$fp4c" "$root/lib/gemm/gemm.tk" -arch sm_100a --emit=c,h -o missing/gemm 2>err
[ $? -eq 1 ] || complain "a folder that is not there"
grep -q "missing/gemm.h' could not be written" err || complain "$(cat err)"
"$fp4c" "$root/lib/gemm/gemm.tk" -arch sm_100a --emit=tvm-ffi --driver-only -o ffi 2>err
[ $? -eq 1 ] || complain "a contradiction"
grep -q "leave out --driver-only" err || complain "$(cat err)"
stream="$root/tests/programs/stream.tk"
"$fp4c" "$stream" -arch sm_90a --emit=tvm-ffi -o ffi 2>err
[ $? -eq 1 ] || complain "streams of Python have no workspace"
grep -q "which 'split k over sms' of stream for sm_90a needs: add a schedule without it" err || complain "$(cat err)"
(sed 's/ on sm_90a {/& cost 1;/' "$stream" && echo 'schedule stream on sm_90a { cost 2; walk static; }') >both.tk
"$fp4c" both.tk -arch sm_90a --emit=c,h,tvm-ffi -o both || complain "a variant does without a workspace"
"$fp4c" "$root/lib/gemm/gemm.tk" -arch sm_100a --emit=c,h -o deps -MD -MF deps.d || complain "-MD"
grep -qE "^deps.[ch] deps.[ch]: .*gemm.tk" deps.d || complain "dependencies: $(cat deps.d)"
exit $bad

#!/bin/sh
# Variants of chain.tk, one module each.   chain.sh BUILD FOLDER      then:   FOLDER/chain_bench FOLDER/chain_[0-9]*.tkm
# and, for the kernel of lib/, FOLDER/chain_bench FOLDER/chain_lib_*.tkm
set -eu
here=$(cd "$(dirname "$0")" && pwd)
make() { # NAME FACTS
    sed "s|// FACTS|$2|" "$here/chain.tk" >"$folder/chain_$1.tk"
    "$build/bin/fp4c" "$folder/chain_$1.tk" -arch sm_90a -o "$folder/chain_$1.tkm"
}
build=$1
folder=$2
mkdir -p "$folder"
make 0_plain ''
make 1_wait_all 'pdl wait X, W;'
make 2_wait 'pdl wait X;'
make 3_first 'pdl wait X launch first;'
make 4_keep 'cache W keep;'
make 5_stream 'cache W stream;'
make 6_first_stream 'pdl wait X launch first; cache W stream;'
# The kernel of lib/ for such products, as it is and without its facts of dependent launches.
lib="$here/../../lib/gemm/bf16.tk"
grep -v '^    pdl ' "$lib" >"$folder/chain_lib_plain.tk"
"$build/bin/fp4c" "$folder/chain_lib_plain.tk" --kernel bf16_gemm -arch sm_90a -o "$folder/chain_lib_0_plain.tkm"
"$build/bin/fp4c" "$lib" --kernel bf16_gemm -arch sm_90a -o "$folder/chain_lib_1_pdl.tkm"
cp "$build/tests/h200/chain_bench" "$folder"

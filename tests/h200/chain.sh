#!/bin/sh
# Variants of chain.tk, one module each.   chain.sh BUILD FOLDER      then:   FOLDER/chain_bench FOLDER/chain_*.tkm
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
cp "$build/tests/h200/chain_bench" "$folder"

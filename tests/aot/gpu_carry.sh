#!/bin/sh
# What gpu.py needs on a machine with an H200, in one folder: shared libraries of generated C, over the
# static libfp4rt and over libcuda alone. gpu_carry.sh BUILD FOLDER; there: python3 FOLDER/gpu.py (torch;
# tvm_ffi installed, or its wheel's tvm_ffi/ in FOLDER).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$1
mkdir -p "$2"
cd "$2"
program=$here/../h200/programs/blocks.tk
"$build/bin/fp4c" "$program" -arch sm_90a --emit=c,h,tvm-ffi -o blocks
"$build/bin/fp4c" "$program" -arch sm_90a --emit=c,h --driver-only -o drv_blocks
gcc -shared -fPIC -O1 -I"$here/../../runtime" blocks_ffi.c blocks.c -o blocks.so "$build/install/libfp4rt.a" \
    -lcjson -lm -lpthread -ldl -Wl,-rpath,'$ORIGIN'
gcc -shared -fPIC -O1 drv_blocks.c -o drv_blocks.so -ldl
cp -L "$(ldconfig -p | sed -n 's/.*libcjson\.so\.1.*=> //p' | head -1)" libcjson.so.1
cp "$here/gpu.py" .

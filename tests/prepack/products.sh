#!/bin/sh
# products.sh FP4C PRODUCTS_TEST LIB: the kernels of lib/ that checkpoints are multiplied by, compiled; then the test.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
make() { # file, kernel, target
    "$fp4c" "$lib/$1.tk" --kernel="$2" -arch "$3" -o "$folder/$2.tkm"
}
fp4c=$1 lib=$3
make gemm/gemm nvfp4_gemm sm_120a
make gemm/mx mxfp4_gemm sm_120a
make gemm/mx mxfp8_gemm sm_100a
make gemm/mx128 mxfp8_k128_gemm sm_100a
make w4/w4a16 w4a16_gemm sm_90a
make w4/w4a8_mx w4a8_mx_gemm sm_90a
make fp8/fp8_block fp8_block_gemm sm_90a
"$2" "$folder"

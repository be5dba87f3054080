#!/bin/sh
# fp4-bench on the simulator: some kernels of the library run, the JSON and the plot are written. bench.sh FP4C BENCH LIB
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$1" "$(dirname "$0")/clean.tk" -arch sm_90a -o "$dir/clean.tkm"
for k in fp8/fp8_add fp8/fp8_rows w4/w4a16; do
    "$1" "$3/$k.tk" -arch sm_90a -o "$dir/$(basename "$k").tkm"
    "$2" --device sim --cublas no --flush 1 --clean "$dir/clean.tkm" --rounds 1 --shape 16x64x128 --json "$dir/out.json" \
        --svg "$dir/out.svg" "$dir/$(basename "$k").tkm" >"$dir/table"
    grep -q "$(basename "$k").tkm" "$dir/table"
    grep -q '"floor_us"' "$dir/out.json"
    grep -q '</svg>' "$dir/out.svg"
done
if "$2" --shape nonsense "$dir/fp8.tkm" 2>/dev/null; then
    echo "a shape that is none was accepted"
    exit 1
fi

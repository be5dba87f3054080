#!/bin/sh
# On a machine with an H200, in the folder that carry.sh filled: bit identity with the simulator over random
# shapes of every program, then the benches, and what a launch costs. run.sh RESULTS [SHAPES [SEED]]
set -u
cd "$(dirname "$0")" || exit 1
results=$1
shapes=${2:-60}
seed=${3:-1}
export LD_LIBRARY_PATH="$PWD"
lt=$(find / -name 'libcublasLt.so.1[23]' -not -path '/proc/*' 2>/dev/null | head -1)
if [ -z "$lt" ]; then
    echo "run.sh: no libcublasLt.so.13 or .12 on this machine: nothing to compare with" >&2
    exit 1
fi
bad=0
./h200_probe --seed "$seed" >"$results/probe.txt" || bad=1
grep -E 'DIFFERENT|FAILED|compared' "$results/probe.txt"
# bits PREFIX FILE: every kernel and schedule of the modules, as many at a time as there are processors (the
# simulator's share takes the time); a run that ends early leaves no line that says so, hence .failed.
bits() {
    rm -f "$results"/*.bits "$results"/*.failed
    ls "$1"_*.tkm | xargs -P "$(nproc)" -I % sh -c \
        './h200_check --shapes "$1" --seed "$2" % >"$3/%.bits" 2>&1 || echo "%" >"$3/%.failed"' sh "$shapes" "$seed" "$results"
    cat "$results"/*.bits | sed 's/^[a-z0-9_]*\.tkm: *//' >"$2"
    cat "$2"
    if ls "$results"/*.failed >/dev/null 2>&1; then
        echo "not equal, or not run to the end: $(cat "$results"/*.failed | tr '\n' ' ')"
        bad=1
    fi
    rm -f "$results"/*.bits "$results"/*.failed
}
bits check "$results/bits.txt"
bits lib "$results/bits_lib.txt"
for list in *.shapes; do
    name=$(basename "$list" .shapes)
    rate=1979 # dense FP8; half of it for BF16, also of decoded 4-bit weights
    case $name in w4a16* | bf16) rate=989 ;; esac
    ./fp4-bench --tflops "$rate" --cublas "$lt" --shapes "$list" --json "$results/$name.json" \
        --svg "$results/$name.svg" "bench_$name.tkm" || bad=1
done
./grouped_bench grouped_fp8.tkm bench_fp8.tkm >"$results/grouped.txt" || bad=1
./runtime_bench_launch >"$results/launch.txt" || bad=1
exit $bad

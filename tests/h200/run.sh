#!/bin/sh
# On a machine with an H200, in the folder that carry.sh filled: bit identity with the simulator over random
# shapes of every program, then the benches, and what a launch costs. run.sh RESULTS [SHAPES [SEED]]
set -u
cd "$(dirname "$0")" || exit 1
results=$1
shapes=${2:-60}
seed=${3:-1}
export LD_LIBRARY_PATH="$PWD"
# run.sh RESULTS SHAPES SEED NAME: the probe of single instructions, or one module's bits. A run that ends early, or
# never, leaves a file .failed.
patience=240
one() {
    case $1 in
    probe) timeout $patience ./h200_probe --seed "$3" >"$4/probe.txt" ;;
    *) timeout $patience ./h200_check --shapes "$2" --seed "$3" "$1" >"$4/$1.bits" 2>&1 ;;
    esac || echo "$1" >"$4/$1.failed"
}
if [ "${4:-}" ]; then
    one "$4" "$shapes" "$seed" "$results"
    exit
fi
lt=$(find / -name 'libcublasLt.so.1[23]' -not -path '/proc/*' 2>/dev/null | head -1)
if [ -z "$lt" ]; then
    echo "run.sh: no libcublasLt.so.13 or .12 on this machine: nothing to compare with" >&2
    exit 1
fi
bad=0
for list in *.shapes; do
    name=$(basename "$list" .shapes)
    rate=1979 # dense FP8; half of it for BF16, also of decoded 4-bit weights
    case $name in w4a16* | bf16) rate=989 ;; esac
    ./fp4-bench --tflops "$rate" --cublas "$lt" --shapes "$list" --json "$results/$name.json" \
        --svg "$results/$name.svg" "bench_$name.tkm" || bad=1
done
./grouped_bench . >"$results/grouped.txt" || bad=1
./runtime_bench_launch >"$results/launch.txt" || bad=1
# The simulator's share takes the time: as many at once as there are processors, the largest modules first.
rm -f "$results"/*.bits "$results"/*.failed
{ echo probe; ls -S lib_*.tkm check_*.tkm; } | xargs -P "$(nproc)" -n 1 sh ./run.sh "$results" "$shapes" "$seed"
grep -E 'DIFFERENT|FAILED|compared' "$results/probe.txt"
for list in "check bits.txt" "lib bits_lib.txt"; do
    cat "$results/${list% *}"_*.bits | sed 's/^[a-z0-9_]*\.tkm: *//' >"$results/${list#* }"
    cat "$results/${list#* }"
done
if ls "$results"/*.failed >/dev/null 2>&1; then
    echo "not equal, or not run to the end: $(cat "$results"/*.failed | tr '\n' ' ')"
    bad=1
fi
rm -f "$results"/*.bits "$results"/*.failed
exit $bad

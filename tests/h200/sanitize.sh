#!/bin/sh
# On a machine with a GPU, in the folder that carry.sh filled: compute-sanitizer over every program of
# programs/, small shapes, one run a tool. sanitize.sh RESULTS [SHAPES [SEED]]
# Exit 1 if a tool reported anything or was not found, or if a result differed from the simulator's.
set -u
cd "$(dirname "$0")" || exit 1
results=$1
shapes=${2:-2}
seed=${3:-1}
export LD_LIBRARY_PATH="$PWD"
PATH=$PATH:/usr/local/cuda/bin
bad=0
for tool in memcheck racecheck synccheck; do
    if compute-sanitizer --tool "$tool" --error-exitcode 9 ./h200_check --shapes "$shapes" --most 200 --seed "$seed" \
        check_*.tkm >"$results/$tool.txt" 2>&1; then
        verdict=clean
    else
        verdict=REPORTS
        bad=1
    fi
    echo "$tool: $verdict, $(grep -c 'shapes equal' "$results/$tool.txt") programs; $(tail -1 "$results/$tool.txt")"
done
exit $bad

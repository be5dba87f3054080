#!/bin/sh
# What an H200 run needs, in one folder: modules of the programs, the tools, the shapes.
#   carry.sh BUILD FOLDER        then on the machine, in one call:   sh FOLDER/run.sh RESULTS
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$1
out=$2
mkdir -p "$out"
rm -f "$out"/*.tkm
for f in "$here"/programs/*.tk; do
    "$build/bin/fp4c" "$f" -arch sm_90a -o "$out/check_$(basename "$f" .tk).tkm"
done
# Kernels of lib/ that this target has, one module each file: every schedule is compared.
awk -F '\t' '/^[^#]/ && $6 == "ok" { print $1, $2 }' "$here/../coverage/table.tsv" | sort -u | while read -r file kernel; do
    "$build/bin/fp4c" "$here/../../lib/$file" --kernel "$kernel" -arch sm_90a -o "$out/lib_$kernel.tkm"
done
# A list of shapes is for the kernel that README's table names with it.
awk -F '\t' '/^[^#]/ && $8 !~ /^-$|^grouped:/ { print $2, $8 }' "$here/../coverage/table.tsv" | while read -r kernel list; do
    cp "$out/lib_$kernel.tkm" "$out/bench_$list.tkm"
done
cp "$build/tests/h200/grouped_bench" "$build/tests/h200/h200_check" "$build/tests/h200/h200_probe" "$build/lib/fp4-bench" "$build/tests/runtime/runtime_bench_launch" "$here/run.sh" "$here/sanitize.sh" "$here"/*.shapes "$out"
for lib in libcjson.so.1 libcmocka.so.0; do # what the machine may lack
    cp -L "$(ldconfig -p | sed -n "s/.*$lib .*=> //p" | head -1)" "$out/$lib"
done

#!/bin/sh
# The comparing tool on a machine without a GPU: the simulator beside itself. tool.sh FP4C H200_CHECK FILE.tk
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$1" "$3" -arch sm_90a -o "$dir/kernel.tkm"
"$2" --device sim --shapes 6 --most 300 "$dir/kernel.tkm"

#!/bin/sh
# golden_ptx.sh EMIT FILECHECK FILE: the PTX of FILE has the instructions that its CHECK lines name.
set -e
arch=$(sed -n 's,^// ARCH: ,,p' "$3")
"$1" "$3" "$arch" | "$2" --input-file=- "$3"

#!/bin/sh
# Builds a shared library of generated wrappers and calls it from Python. ffi.sh FP4C ROOT LIBDIR WORK
# FFI_VENV: where Python's packages lie, WORK/venv if not set.
set -eu
fp4c=$1
root=$2
libdir=$3
work=$4
mkdir -p "$work"
venv=${FFI_VENV:-$work/venv}
python=$venv/bin/python
if ! "$python" -c 'import numpy, tvm_ffi' 2>"$work/pip.log"; then
    rm -rf "$venv"
    python3 -m venv "$venv" || { echo "skipped: python3 has no venv"; exit 77; }
    if ! "$python" -m pip install -q "numpy<3" "apache-tvm-ffi==0.1.*" >"$work/pip.log" 2>&1; then
        echo "skipped: pip cannot install numpy and apache-tvm-ffi here: $(tail -n 1 "$work/pip.log")"
        exit 77
    fi
fi
cd "$work"
"$fp4c" "$root/lib/gemm/gemm.tk" -arch sm_120a --emit=c,h,tvm-ffi -o gemm
"$fp4c" "$root/tests/programs/batched.tk" -arch sm_120a --emit=c,h,tvm-ffi -o batched
"$fp4c" "$root/tests/programs/quantise_out.tk" -arch sm_120a --emit=c,h,tvm-ffi -o quantise
for stem in gemm batched quantise; do
    gcc -shared -fPIC -O1 -I"$root/runtime" ${stem}_ffi.c $stem.c -o $stem.so -L"$libdir" -Wl,-rpath,"$libdir" \
        -lfp4rt -ldl -lpthread
done
if [ -n "${FFI_PRELOAD:-}" ]; then
    LD_PRELOAD=$FFI_PRELOAD ASAN_OPTIONS=detect_leaks=0 "$python" "$root/tests/aot/test_ffi.py" "$work"
else
    "$python" "$root/tests/aot/test_ffi.py" "$work"
fi

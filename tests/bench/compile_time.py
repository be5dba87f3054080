#!/usr/bin/env python3
"""Compile cost: the whole fp4c process, source to cubin, against the ptxas step alone on its own PTX,
and nvcc on a hand-written kernel of the same shape. Medians of 10 runs each, taken in turn.

usage: compile_time.py FP4C [--json] [--max-ratio R] [--runs N]      run from the repository's root
Exit code 1 if a ratio exceeds R."""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def seconds(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(fp4c, ptxas, arch, runs, scratch):
    module, ptx, cubin = (os.path.join(scratch, arch + end) for end in (".tkm", ".ptx", ".cubin"))
    whole = [fp4c, "lib/gemm/gemm.tk", "-arch", arch, "-o", module]
    subprocess.run([fp4c, "lib/gemm/gemm.tk", "-arch", arch, "--emit=ptx", "-o", ptx], check=True)
    alone = [ptxas, "-arch=" + arch, ptx, "-o", cubin]
    times = [(seconds(whole), seconds(alone)) for _ in range(runs)]
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


def main():
    fp4c = sys.argv[1]
    runs = int(sys.argv[sys.argv.index("--runs") + 1]) if "--runs" in sys.argv else 10
    limit = float(sys.argv[sys.argv.index("--max-ratio") + 1]) if "--max-ratio" in sys.argv else None
    ptxas = shutil.which("ptxas")
    if ptxas is None:
        print("no ptxas: nothing to compare with")
        return 77  # skipped
    os.environ["FP4_PTXAS"] = ptxas  # the same on both sides
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for arch in ("sm_120a", "sm_100a"):
            whole, alone = measure(fp4c, ptxas, arch, runs, scratch)
            rows.append({"what": "fp4c gemm.tk", "arch": arch, "whole_ms": whole * 1e3,
                         "ptxas_ms": alone * 1e3, "ratio": whole / alone})
        nvcc = shutil.which("nvcc")
        if nvcc is not None:
            command = [nvcc, "-arch=sm_120a", "-cubin", "-o", os.path.join(scratch, "nvcc.cubin"),
                       "tests/bench/nvfp4_gemm.cu"]
            rows.append({"what": "nvcc nvfp4_gemm.cu", "arch": "sm_120a",
                         "whole_ms": statistics.median(seconds(command) for _ in range(runs)) * 1e3})
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=1))
    else:
        print(f"{'':22}{'target':10}{'whole ms':>10}{'ptxas ms':>10}{'ratio':>8}")
        for r in rows:
            tail = f"{r['ptxas_ms']:10.0f}{r['ratio']:8.2f}" if "ratio" in r else ""
            print(f"{r['what']:22}{r['arch']:10}{r['whole_ms']:10.0f}{tail}")
    over = [r for r in rows if limit is not None and r.get("ratio", 0) > limit]
    return 1 if over else 0


sys.exit(main())

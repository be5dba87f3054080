#!/usr/bin/env python3
"""What ptxas made of the loops that multiply: for every innermost loop of a kernel with matrix
instructions, how many instructions it has, how many of them multiply, wait, copy, move.

usage: sass_report.py FP4C ARCH FILE[:KERNEL]... [--min-share P] [--max N] [--no-mov] [-DNAME=VAL ...]

FILE: a .tk program, compiled with FP4C, or a .cubin. nvdisasm is taken from NVDISASM, the PATH, or the
PyPI package nvidia-cuda-nvdisasm; without one the report says so and exits with 77 (skipped).

'filler' counts instructions that ptxas puts between two matrix instructions of sm_120a and that do nothing,
'@!UPT UIADD3 URZ, ...', and NOP. The ptxas of CUDA 12.9 and 13.0 keeps 16 cycles from one to the next of a warp,
one instruction's stall count takes 11 of them, and a filler carries the rest: a loop of nothing else, operands in
registers, is half filler (64 OMMA of 130 instructions; no order of instructions avoids it). From CUDA 13.1 on the
same PTX has a stall of 11 cycles and no filler (64 of 69): it is that assembler's choice, and shares are given with
and without it. --min-share is of the latter.

sm_100a: 'asynchronous' are copies, products and commits, 'operands' what makes their descriptors and addresses.
Those lie in uniform registers: a descriptor is a pair of them without an offset, so that each one of a stage takes
an instruction, as the registers for those of all stages are not there. --max is of all instructions of a loop."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter

MATRIX = re.compile(r"^(OMMA|QMMA|HMMA|UTC(OMMA|QMMA|HMMA|IMMA)|QGMMA|HGMMA)\b")
LINE = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;")
ASYNC = re.compile(r"^UTC(CP|BAR|OMMA|QMMA|HMMA|IMMA)")
WAIT = re.compile(r"^(SYNCS|BRA|CCTL|YIELD|NANOSLEEP)")
UNIFORM = re.compile(r"^(U[A-Z]|R2UR)")
LABEL = re.compile(r"^(\.L_\w+):")


def find_nvdisasm():
    found = os.environ.get("NVDISASM") or shutil.which("nvdisasm")
    if found:
        return found
    for folder in sys.path:
        for package in ("cu13", "cuda_nvdisasm", "cu12"):
            path = os.path.join(folder, "nvidia", package, "bin", "nvdisasm")
            if os.access(path, os.X_OK):
                return path
    return None


def kernels(nvdisasm, cubin):
    """(name, [(label or None, instruction or None)]) of every function."""
    text = subprocess.run([nvdisasm, "-c", cubin], capture_output=True, text=True, check=True).stdout
    name, body = None, []
    for line in text.splitlines():
        section = re.match(r"\s*\.section\s+\.text\.([\w$]+)", line)
        if section:
            if name:
                yield name, body
            name, body = section.group(1), []
        label, code = LABEL.match(line.strip()), LINE.match(line)
        if label:
            body.append((label.group(1), None))
        elif code:
            body.append((None, code.group(2)))
    if name:
        yield name, body


def opcode(instruction):
    words = instruction.split()
    return words[1] if words[0].startswith("@") else words[0]


def is_filler(instruction):
    return opcode(instruction) == "NOP" or instruction.startswith("@!UPT UIADD3 URZ")


def loops(body):
    """Innermost ranges from a label to a branch back to it that hold a matrix instruction. A wait whose
    loop ptxas moved behind the kernel branches back into the middle of another range: not one."""
    places = {label: i for i, (label, _) in enumerate(body) if label}
    ranges = []
    for i, (_, code) in enumerate(body):
        if not code or not opcode(code).startswith("BRA"):
            continue
        target = re.search(r"\.L_\w+", code)
        start = places.get(target.group(0), i) if target else i
        if start < i and any(c and MATRIX.match(opcode(c)) for _, c in body[start:i]):
            ranges.append((start, i + 1))
    return [r for r in ranges
            if not any(o != r and (r[0] <= o[0] and o[1] <= r[1] or o[0] < r[0] < o[1] < r[1])
                       for o in ranges)]


HEAD = ("loop", "all", "multiply", "of all", "filler", "of the rest", "MOV", "asynchronous", "wait", "operands")


def measure(body, start, end):
    codes = [c for _, c in body[start:end] if c]
    useful = [opcode(c) for c in codes if not is_filler(c)]
    matrix = sum(bool(MATRIX.match(c)) for c in useful)
    issued = sum(bool(ASYNC.match(c)) for c in useful)
    return {"all": len(codes), "multiply": matrix, "of all": 100 * matrix / len(codes),
            "filler": len(codes) - len(useful), "of the rest": 100 * matrix / len(useful),
            "MOV": sum(c == "MOV" or c.startswith("IMAD.MOV") for c in useful), "asynchronous": issued,
            "wait": sum(bool(WAIT.match(c)) for c in useful),
            "operands": sum(bool(UNIFORM.match(c)) and not ASYNC.match(c) for c in useful) if issued else 0,
            "opcodes": Counter(c.split(".")[0] for c in useful)}


def show(name, m):
    print(f"{name:<32} {m['all']:>4} {m['multiply']:>9} {m['of all']:>6.1f} % {m['filler']:>6} "
          f"{m['of the rest']:>11.1f} % {m['MOV']:>3} {m['asynchronous']:>12} {m['wait']:>4} {m['operands']:>8}")
    print("    " + ", ".join(f"{n} {op}" for op, n in m["opcodes"].most_common()))


def report(name, body, limits):
    """Prints a loop a line; returns the number of broken limits."""
    broken = 0
    for start, end in loops(body):
        m = measure(body, start, end)
        show(name, m)
        for wrong, sentence in ((m["of the rest"] < limits["share"], f"less than {limits['share']} % multiply"),
                                (m["all"] > limits["max"], f"more than {limits['max']} instructions"),
                                (limits["no_mov"] and m["MOV"] > 0, "a MOV in the loop")):
            if wrong:
                print(f"    {sentence}")
                broken += 1
    return broken


def cubins(fp4c, arch, file, defines, folder):
    """The cubins of a program's kernel, or of all of them; a cubin is itself."""
    if file.endswith(".cubin"):
        return [file]
    file, _, kernel = file.partition(":")
    inside = tempfile.mkdtemp(dir=folder)
    subprocess.run([fp4c, os.path.abspath(file), "-arch", arch, "--emit=cubin", *defines,
                    *([f"--kernel={kernel}"] if kernel else [])], check=True, cwd=inside)
    return sorted(os.path.join(inside, f) for f in os.listdir(inside))


def main():
    args = sys.argv[1:]
    limits = {"share": 0.0, "max": 1 << 20, "no_mov": "--no-mov" in args}
    for option, name, kind in (("--min-share", "share", float), ("--max", "max", int)):
        if option in args:
            at = args.index(option)
            limits[name] = kind(args[at + 1])
            del args[at:at + 2]
    defines = [a for a in args if a.startswith("-D")]
    fp4c, arch, *files = [a for a in args if a != "--no-mov" and not a.startswith("-D")]
    nvdisasm = find_nvdisasm()
    if not nvdisasm:
        print("no nvdisasm: set NVDISASM, or pip install nvidia-cuda-nvdisasm")
        return 77
    broken = found = 0
    with tempfile.TemporaryDirectory() as folder:
        print("{:<32} {:>4} {:>9} {:>8} {:>6} {:>13} {:>3} {:>12} {:>4} {:>8}".format(*HEAD))
        for file in files:
            for cubin in cubins(os.path.abspath(fp4c), arch, file, defines, folder):
                for name, body in kernels(nvdisasm, cubin):
                    found += len(loops(body))
                    broken += report(name, body, limits)
    if not found:
        print("no loop multiplies")
    return 1 if broken or not found else 0


if __name__ == "__main__":
    sys.exit(main())

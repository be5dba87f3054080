#!/usr/bin/env python3
"""What ptxas made of the loops that multiply: for every innermost loop of a kernel with matrix
instructions, how many instructions it has, how many of them multiply, wait, copy, move.

usage: sass_report.py FP4C ARCH FILE... [--min-share P] [--max N] [--no-mov] [-DNAME=VAL ...]

FILE: a .tk program, compiled with FP4C, or a .cubin. nvdisasm is taken from NVDISASM, the PATH, or the
PyPI package nvidia-cuda-nvdisasm; without one the report says so and exits with 77 (skipped).

'filler' counts instructions that ptxas -O3 puts between two matrix instructions of sm_120a and that do
nothing, '@!UPT UIADD3 URZ, ...', and NOP. From one OMMA of a warp to the next ptxas keeps 16 cycles: the stall
counts of what stands between add up to 16 at 126 of 127 places of lib/gemm's loop. One instruction's count does
not hold that many (13 is the most seen), so where fewer than two useful ones stand between, a filler carries the
rest. No order of instructions avoids it (there are fewer others than OMMAs) and it takes no cycle that the
tensor core does not: the share is also given without fillers. --min-share is of the latter. --max is of all instructions of a loop: what one thread issues
between two waits on sm_100a, where every descriptor of a copy or product takes an add."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter

MATRIX = re.compile(r"^(OMMA|QMMA|HMMA|UTC(OMMA|QMMA|HMMA|IMMA)|QGMMA|HGMMA)\b")
LINE = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;")
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


def report(name, body, limits):
    """Prints a loop a line; returns the number of broken limits."""
    broken = 0
    for start, end in loops(body):
        codes = [c for _, c in body[start:end] if c]
        count = Counter("filler" if is_filler(c) else opcode(c).split(".")[0] for c in codes)
        matrix = sum(bool(MATRIX.match(opcode(c))) for c in codes)
        moves = sum(opcode(c) == "MOV" or opcode(c).startswith("IMAD.MOV") for c in codes)
        filler = count.pop("filler", 0)
        share = 100 * matrix / (len(codes) - filler)
        rest = ", ".join(f"{n} {op}" for op, n in count.most_common())
        print(f"{name}: loop of {len(codes)} instructions: {matrix} multiply "
              f"({100 * matrix / len(codes):.1f} %), {filler} filler, {share:.1f} % without them, "
              f"{moves} MOV\n    {rest}")
        if share < limits["share"]:
            print(f"    less than {limits['share']} % multiply")
            broken += 1
        if len(codes) > limits["max"]:
            print(f"    more than {limits['max']} instructions")
            broken += 1
        if limits["no_mov"] and moves:
            print("    a MOV in the loop")
            broken += 1
    return broken


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
        for file in files:
            cubin = file
            if not file.endswith(".cubin"):
                cubin = os.path.join(folder, "k.cubin")
                subprocess.run([fp4c, file, "-arch", arch, "--emit=cubin", "-o", cubin, *defines],
                               check=True)
            for name, body in kernels(nvdisasm, cubin):
                found += len(loops(body))
                broken += report(name, body, limits)
    if not found:
        print("no loop multiplies")
    return 1 if broken or not found else 0


if __name__ == "__main__":
    sys.exit(main())

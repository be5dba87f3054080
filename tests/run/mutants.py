#!/usr/bin/env python3
"""A check must be able to fail: one planted mistake at a time in the PTX of a GEMM must be seen by
'fp4c run --check', as a wrong result or as an error that the simulator explains.

usage: mutants.py FP4C ARCH FILE"""
import os
import re
import subprocess
import sys
import tempfile

SIZES = ["M=300", "N=520", "K=768"]


def signed(value):
    return str(value - (1 << 64) if value >= 1 << 63 else value)


# tcgen05 shared memory descriptors: stride between 8-row groups in bits 32-45, swizzle in 61-63.
DESC = 0x40004040 << 32  # 128-byte swizzle, 1024 bytes


def descriptors(change):
    """Replaces the constant part of every operand descriptor."""
    return lambda text: re.subn(rf"\b{DESC}\b", signed(change(DESC) & ((1 << 64) - 1)), text)


def nth(pattern, replacement, n=0):
    """Replaces the n-th match (from the end when negative) of a pattern."""
    def apply(text):
        found = list(re.finditer(pattern, text))
        if not found or not -len(found) <= n < len(found):
            return text, 0
        m = found[n]
        return text[:m.start()] + m.expand(replacement) + text[m.end():], 1
    return apply


WAIT = r"(mbarrier\.try_wait\.parity[.\w:]* (%p\d+), \[[^\]]*\], )%r\d+;"

COMMON = [
    ("arrival count of a full barrier", nth(r"(mbarrier\.init\.shared\.b64 \t?\[[^\]]*\], )%r\d+;", r"\g<1>2;")),
    ("arrival count of the last barrier", nth(r"(mbarrier\.init\.shared\.b64 \t?\[[^\]]*\], )%r\d+;", r"\g<1>1;", -1)),
    ("too few transaction bytes", nth(r"(mov\.b32 \t%r\d+, )(77824|36864);", lambda: None)),
    ("too many transaction bytes", nth(r"(mov\.b32 \t%r\d+, )(77824|36864);", lambda: None)),
    ("phase never flips", nth(WAIT, r"\g<1>0;")),
    ("phase begins wrong", nth(WAIT, r"\g<1>1;")),
    ("a wait is missing", nth(WAIT, r"mov.pred \g<2>, -1;", 1)),
]
BY_ARCH = {
    "sm_100a": [
        ("descriptor: stride of row groups", descriptors(lambda d: d & ~(0x3FFF << 32) | 32 << 32)),
        ("descriptor: swizzle", descriptors(lambda d: d & ~(7 << 61) | 4 << 61)),
        ("descriptor: k step", lambda t: re.subn(r"(add\.s64 %rd\d+, %rd\d+, )2;", r"\g<1>4;", t)),
        ("instruction word: N", lambda t: re.subn(r"\b272630912\b", str(272630912 - (16 << 17)), t)),
        ("instruction word: scale type", lambda t: re.subn(r"\b272630912\b", str(272630912 | 1 << 23), t)),
        ("scale factors: column", nth(r"(add\.s32 \t%r\d+, %r\d+, )468;", r"\g<1>472;")),
        ("scale factors: a tile is not copied", nth(r"tcgen05\.cp\.[^;]*;", "")),
        ("a slot is not released", nth(r"tcgen05\.commit\.[^;]*;", "")),
        ("accumulators are published early", nth(r"tcgen05\.commit\.[^;]*;", "", 1)),
        ("load of tensor memory: lane quarter", nth(r"(shl\.b32 \t%r\d+, %r\d+, )21;", r"\g<1>20;")),
    ],
    "sm_120a": [
        ("swizzle of an operand", nth(r"(xor\.b32 \t%r\d+, %r\d+, )32;", r"\g<1>48;")),
        ("scale factors: layout", nth(r"(ld\.shared\.v2\.b32 \t\{[^}]*\}, \[%r\d+)(?:\+\d+)?\]", r"\g<1>]")),
        ("scale factors: rows of A for B", nth(r"(ue4m3 \s+(?:\{[^}]*\},\s+){4})(%r\d+)(, \{[^}]*\},\s+)%r\d+", r"\g<1>\g<2>\g<3>\g<2>")),
        ("a slot is not released", nth(r"(@%p\d+ )?mbarrier\.arrive\.shared[^;]*;", "")),
    ],
}


def bytes_off(by):
    return lambda t: re.subn(r"\b(77824|36864);", lambda m: str(int(m.group(1)) + by) + ";", t, count=1)


for i, (name, _) in enumerate(COMMON):
    if "transaction" in name:
        COMMON[i] = (name, bytes_off(-16 if "few" in name else 16))


def main():
    fp4c, arch, source = sys.argv[1:4]
    with tempfile.TemporaryDirectory() as folder:
        good = os.path.join(folder, "good.ptx")
        bad = os.path.join(folder, "bad.ptx")
        subprocess.run([fp4c, source, "-arch", arch, "-S", "-o", good], check=True)
        with open(good, encoding="ascii") as f:
            text = f.read()

        def run(path):
            """The first order of asynchronous work under which the mistake shows, or the last tried."""
            for order, seed in (("lazy", 1), ("eager", 1), ("random", 1), ("random", 2), ("random", 3)):
                command = [fp4c, "run", source, "-arch", arch, *SIZES, "--sms", "2", "--check", "--seed",
                           str(seed), "--schedule", order, "--use-ptx", path]
                result = subprocess.run(command, capture_output=True, text=True, timeout=120)
                if result.returncode != 0:
                    break
            return result

        failures = 0
        if run(good).returncode != 0:
            print("the unchanged PTX is refused:", run(good).stderr)
            return 1
        for name, apply in COMMON + BY_ARCH[arch]:
            mutant, changed = apply(text)
            if not changed:
                print(f"{name}: not found in the PTX any more")
                failures += 1
                continue
            with open(bad, "w", encoding="ascii") as f:
                f.write(mutant)
            result = run(bad)
            said = (result.stderr.strip() or result.stdout.strip()).splitlines()
            # PTX that cannot be read says nothing about the check.
            seen = result.returncode == 1 and "is expected" not in result.stderr
            failures += not seen
            print(f"{name:38} {'seen' if seen else 'NOT SEEN (exit %d)' % result.returncode}: "
                  f"{said[0][:110] if said else ''}")
        return 1 if failures else 0


sys.exit(main())

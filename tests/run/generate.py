#!/usr/bin/env python3
"""Programs that nobody wrote: random formats, tiles, epilogues and schedules. Each is either refused
with a diagnostic (exit 1, a code) or runs bit-exactly; anything else is a failure.

usage: generate.py FP4C ARCH COUNT [SEED] [--keep DIR]"""
import os
import random
import re
import subprocess
import sys
import tempfile


WEIGHTS = ("nvfp4", "mxfp4")


def operand_formats(r, arch):
    if arch == "sm_90a" and r.random() < 0.95:
        return r.choice([("e4m3", "nvfp4"), ("e4m3", "mxfp4"), ("e5m2", "nvfp4"), ("e5m2", "mxfp4"),
                         ("bf16", "nvfp4"), ("bf16", "mxfp4"), ("f16", "nvfp4"), ("nvfp4", "bf16"),
                         ("e4m3", "e4m3"), ("e5m2", "e4m3"), ("bf16", "bf16"), ("f16", "f16")])
    same = r.choice(["nvfp4", "nvfp4", "nvfp4", "mxfp4", "mxfp8", "bf16", "f16"])
    if same == "mxfp8" and r.random() < 0.3:
        return "mxfp8", "mxfp8_e5m2"
    if r.random() < 0.15:
        return r.choice(["e4m3", "e5m2"]), r.choice(["e4m3", "e5m2", "e5m2", "e2m1", "e3m2"])
    if r.random() < 0.15:  # elements of 4 and 6 bits that are padded to bytes
        narrow = ["mxfp8", "mxfp8_e5m2", "mxfp6", "mxfp6_e3m2", "mxfp4"]
        return r.choice(narrow), r.choice(narrow)
    return same, same


def k_steps(fmt):
    return {"nvfp4": [64, 128, 256, 512], "mxfp4": [128, 256, 512], "mxfp8": [128, 256],
            "mxfp8_e5m2": [128], "bf16": [32, 64, 128], "f16": [64]}.get(fmt, [64, 128])


def axes(r, fmt, rows, arch):
    """How an operand lies in memory: now and then with its rows along the last axis."""
    if arch == "sm_90a" and fmt not in ("bf16", "f16"):
        return [rows, "k"]
    across = r.random() < (0.3 if fmt in ("bf16", "f16", "e4m3", "e5m2") else 0.03)
    return ["k", rows] if across else [rows, "k"]


def value(r, accs, depth=0):
    """A random elementwise expression over the accumulators."""
    leaf = r.choice([f"{a}[m, n]" for a in accs] * 3 + ["s", "t", "bias[n]", "gain[m]", "1.5", "old[m, n]"])
    if depth > 2 or r.random() < 0.25:
        return leaf
    x = value(r, accs, depth + 1)
    y = value(r, accs, depth + 1)
    return r.choice([f"({x} * {y})", f"({x} + {y})", f"({x} - {y})", f"relu({x})", f"max({x}, {y})",
                     f"clamp({x}, -4.0, 4.0)", f"({x} > {y} ? {x} : s)", f"soft({x})", f"abs({x})",
                     f"f32(bf16({x}))", f"(-{x})", f"({x} / (1 + abs({y})))", f"min({x}, {y})"])


def outputs(r, accs, arch):
    names = []
    scaled = ["nvfp4", "mxfp8", "mxfp4"] if arch != "sm_90a" or r.random() < 0.05 else []
    for i in range(r.choice([1, 1, 2])):
        kind = r.choice(["bf16", "f32", "f16", "e4m3"] + scaled + ["inout", "added", "across", "mapped"])
        name = "DE"[i]
        v = f"{r.choice(accs)}[m, n] * s + {value(r, accs)}" if r.random() < 0.7 else \
            f"{value(r, accs)} + {accs[0]}[m, n]"
        if i == 0 and len(accs) > 1:  # what is multiplied is stored
            v = f"({v}) + {accs[1]}[m, n] * {accs[0]}[m, n]"
        if kind == "inout":
            names.append((name, "inout f32[M, N]", f"{name}[m, n] += {v};"))
        elif kind == "added":
            elem = r.choice(["bf16", "f16", "e5m2"])
            names.append((name, f"inout {elem}[M, N]", f"{name}[m, n] += {elem}({v});"))
        elif kind == "mapped":  # pieces of one side, with gaps that keep what they hold
            elem, x = r.choice(["f32", "bf16", "e4m3"]), r.choice("mmnnn")
            piece, shift, gap = r.choice([7, 16, 32, 64, 96]), r.choice([0, 0, 8, 32, 3]), r.choice([0, 8, 16, 64, 5])
            at = r.choice([f"X + (X + {shift}) / {piece} * {gap}", f"X / {piece} * {piece + gap} + X % {piece}",
                           f"{r.choice([0, 16, 1])} + (X + {shift}) / {piece} * {gap} + X"])
            rows, cols = [at.replace("X", y) if x == y else y for y in "mn"]
            op = r.choice(["=", "=", "+="])
            names.append((name, f"inout {elem}[{rows.upper()}, {cols.upper()}]",
                          f"{name}[{rows}, {cols}] {op} {v if elem == 'f32' else f'{elem}({v})'};"))
        elif kind == "across":
            elem = r.choice(["f32", "bf16", "e4m3"])
            names.append((name, f"out {elem}[N, M]", f"{name}[n, m] = {elem}({v});"))
        elif kind == "f32":
            names.append((name, "out f32[M, N]", f"{name}[m, n] = {v};"))
        elif kind == "nvfp4":
            names.append((name, "out nvfp4[M, N]", f"{name}[m, n] = nvfp4({v}, t);"))
        else:
            names.append((name, f"out {kind}[M, N]", f"{name}[m, n] = {kind}({v});"))
    return names


def dequant(r, fa, fb):
    """The type that 4-bit weights are decoded to beside these activations; now and then another one."""
    other = fb if fa in WEIGHTS else fa
    to = "e4m3" if other in ("e4m3", "e5m2") else other
    return to if r.random() < 0.95 else r.choice(["bf16", "f16", "e4m3"])


def schedule(r, arch, accs, outs, operands, formats, tile):
    facts = []
    values = ", ".join(accs)
    stored = ", ".join(o[0] for o in outs)
    if r.random() < 0.5:
        facts.append(r.choice(["walk static;", "walk static raster n by 3;", "walk static raster m by 2 from one;"] +
                              (["walk clc;", "walk clc raster m by 2;"] if arch != "sm_90a" else [])))
    split = r.random() < 0.2
    if split:
        facts.append(f"split k by {r.choice([2, 3, 4, 5, 8])};")
    # Groups of warps that take steps by turns.
    shares = r.choice([2, 2, 2, 3, 4]) if arch == "sm_90a" and r.random() < 0.25 else 1
    if shares > 1:
        facts.append(f"split k by {shares} groups;")
    pair = arch == "sm_100a" and not split and r.random() < 0.4
    if pair:
        facts += ["cluster 2 along m;", "mma tcgen05.pair;"]
    elif arch != "sm_120a" and r.random() < (0.1 if split else 0.3):
        facts += [f"cluster 2 along {r.choice('mn')};"]
    weights = arch == "sm_90a" and (formats[0] in WEIGHTS) != (formats[1] in WEIGHTS)
    if weights:
        facts.append(f"mma wgmma dequant {dequant(r, *formats)};")
    # Weights are decoded on the M side, where the first factor is unless it is swapped.
    if r.random() < (0.95 if weights and formats[1] in WEIGHTS else 0.05 if weights else 0.15):
        facts.append(f"swap {values};")
        tile = tile[::-1]
        facts = ["cluster 2 along n;" if pair and f.startswith("cluster") else f for f in facts]
        if arch == "sm_100a" and r.random() < 0.5:
            facts.append("fit m by 16;")
    elif arch == "sm_100a" and r.random() < 0.1:
        facts.append(f"fit n by {r.choice([16, 32])};")
    if r.random() < 0.4:
        depth = r.choice([1, 2, 3, 4])
        depth = shares * max(1, depth // shares) if shares > 1 and r.random() < 0.8 else depth
        facts.append(f"pipe {', '.join(operands)} : {depth} in smem;")
    if arch == "sm_100a" and r.random() < 0.4:
        facts.append(f"pipe {values} : {r.choice(['1 in tmem', '2 in tmem', '2 in tmem overlap'])};")
    if arch == "sm_90a" and r.random() < 0.5:
        turns = r.random() < (0.1 if split else 0.5)
        groups = r.choice([n for n in (1, 2, 3) if tile[0] % (64 * n) == 0] if r.random() < 0.9 else [1, 2, 3])
        groups = 2 * groups if turns and groups == 1 else groups
        turns = turns and groups == 2
        if shares > 1:
            turns, groups = r.random() < 0.05, shares * groups if r.random() < 0.9 else groups
        groups = min(groups, 4)
        warps = f"{4 * groups} warps regs {(0, 232, 232, 152, 104)[groups]}"
        facts.append(f"role math : {warps} {{ {values}, {stored} }}{' pingpong 2' if turns else ''};")
    if arch == "sm_120a" and r.random() < 0.5:
        warps = r.choice(["8 warps regs 232", "4 warps regs 232", "4 warps regs 240"])
        turns = r.random() < (0.1 if split else 0.5) and warps[0] == "8" and not any("clc" in f for f in facts)
        facts.append(f"role math : {warps} {{ {values}, {stored} }}{' pingpong 2' if turns else ''};")
    for o in outs:
        if r.random() < 0.4:
            facts.append(f"store {o[0]} via " + r.choice(["regs", "smem", "smem by 32 x 1", "smem by 64 x 2"]) + ";")
    return facts


def program(r, arch):
    fa, fb = operand_formats(r, arch)
    accs = ["p", "q"][: r.choice([1, 1, 1, 2])]
    bm = 128 if arch == "sm_100a" else r.choice([32, 64, 128, 128, 192])
    bn = r.choice([32, 64, 96, 128, 160, 192, 256] if arch == "sm_100a" else [16, 32, 64, 96, 128])
    if arch == "sm_90a":
        bm, bn = r.choice([64, 64, 128, 192]), r.choice([64, 64, 128, 192])
    outs = outputs(r, accs, arch)
    operands = ["A"] + [f"B{i}" for i in range(len(accs))]
    swap = r.random() < 0.3
    a_axes, b_axes = axes(r, fa, "m", arch), axes(r, fb, "n", arch)
    a_shape, b_shape = ", ".join(a_axes).upper(), ", ".join(b_axes).upper()
    a_at, b_at = ", ".join(a_axes), ", ".join(b_axes)
    lines = ["use std.formats;", "fn soft(x) = x / (1 + exp(-x));",
             f"kernel g<BM = {bm}, BN = {bn}, BK = {r.choice(k_steps(fb if fb in WEIGHTS else fa))}>(", f"    A : {fa}[{a_shape}],"]
    lines += [f"    B{i} : {fb}[{b_shape}]," for i in range(len(accs))]
    lines += ["    bias : f32[N],", "    gain : f32[M],", "    old : bf16[M, N],", "    s : f32,", "    t : f32,"]
    lines += [f"    {n} : {t}{',' if i + 1 < len(outs) else ')'}" for i, (n, t, _) in enumerate(outs)]
    # Rows of a tensor that TMA moves are multiples of 16 bytes; granules may be cut by the end of a row.
    where = r.choice(["N % 128 == 0, K % 32 == 0", "N % 32 == 0, K % 32 == 0", "N % 32 == 0, K % 64 == 0",
                      "N % 16 == 0, M % 16 == 0, K % 32 == 0"])
    if fa != fb or "6" in fa:
        where = "N % 32 == 0, K % 128 == 0"
    if "m" == a_axes[1]:
        where = re.sub("M % 16 == 0, ", "", where) + ", M % 16 == 0"
    lines += [f"where {where}", "{", "    tile m:BM of M, n:BN of N {"]
    lines += [f"        let {a} = zero f32[m, n];" for a in accs]
    lines += ["        for k:BK of K {"]
    for i, a in enumerate(accs):
        f = (f"B{i}[{b_at}]", f"A[{a_at}]") if swap else (f"A[{a_at}]", f"B{i}[{b_at}]")
        lines.append(f"            {a}[m, n] += {f[0]} * {f[1]};")
    lines += ["        }"] + [f"        {o[2]}" for o in outs] + ["    }", "}", ""]
    if r.random() < 0.8:
        facts = schedule(r, arch, accs, outs, operands, (fa, fb), (bm, bn))
        # A cluster along m halves its tile: 256 rows keep the instruction's 128 a CTA.
        rows = " with BM = 256" if "cluster 2 along m;" in facts and r.random() < 0.9 else ""
        lines += [f"schedule g on {arch}{rows} {{"] + ["    " + f for f in facts] + ["}"]
    text = "\n".join(lines) + "\n"
    return grouped(r, text) if r.random() < 0.25 else text


def reduction(r, over, row, depth=0):
    """A random expression over the elements that are reduced for a row; other names are sums made before."""
    x = f"X[{row}, {over}]" if row == "m" else f"X[{over}, {row}]"
    leaf = r.choice([x, x, x, f"W[{over}]" if row == "m" else x, "s", f"f32({over})", f"G[{row}]"])
    if depth > 1 or r.random() < 0.3:
        return leaf
    y, z = reduction(r, over, row, depth + 1), reduction(r, over, row, depth + 1)
    return r.choice([f"({y} * {z})", f"({y} + {z})", f"({y} - {z})", f"abs({y})", f"exp(min({y}, 4.0))",
                     f"({y} > {z} ? 1.0 : 0.0)", f"max({y}, {z})"])


def without_products(r):
    """A vector or matrix of values that are reduced over all of a dimension, by loops or at once."""
    row = r.choice("mmn")  # whose elements a value is reduced for
    over, dim = ("n", "N") if row == "m" else ("m", "M")
    matrix = r.random() < 0.6
    lines, values, alls = [], [], []
    for i in range(r.choice([1, 1, 2, 3])):
        v, at = f"r{i}", f"k{i}"
        e, x = reduction(r, at, row), f"X[m, {at}]" if row == "m" else f"X[{at}, n]"
        if values and r.random() < 0.5:
            e = f"({e} - {r.choice(values)} * 0.5)"
        if r.random() < 0.5:
            lines += [f"        let {v} = zero f32[{row}];", f"        for {at}:{r.choice([1, 16, 64])} of {dim}",
                      f"            {v}[{row}] += {e} * {x};"]
            values.append(f"{v}[{row}]")
        else:
            alls.append(f"    all {at} of {dim};")
            lines.append(f"        let {v} = {r.choice(['sum', 'max', 'min'])}[{at}]({e} + {x});")
            values.append(v)
    elem = r.choice(["bf16", "f32", "e4m3", "f16"] + (["mxfp8", "nvfp4"] if matrix else []))
    total = " + ".join(values)
    out, at, value = (f"{elem}[M, N]", "m, n", f"X[m, n] * ({total})") if matrix else (f"{elem}[{row.upper()}]", row, total)
    tiles = f"m:{r.choice([32, 64, 128])} of M, n:{r.choice([32, 64, 128])} of N"
    tiles = tiles if matrix else f"{row}:{r.choice([32, 64, 256])} of {row.upper()}"
    return "\n".join(["use std.formats;", "kernel g(", f"    X : {r.choice(['bf16', 'f32', 'e4m3'])}[M, N],",
                      "    W : f32[N],", f"    G : bf16[{row.upper()}],", "    s : f32,", f"    D : out {out})",
                      "where N % 32 == 0", "{"] + alls + [f"    tile {tiles} {{"] + lines +
                     [f"        D[{at}] = {value if elem == 'f32' else f'{elem}({value})'};", "    }", "}", ""])


def summed(r, text):
    """The program with products over groups of what they sum over, a result each."""
    lines = re.search(r"    (?:A|B\d) : \w+\[[MN], K\]", text)  # an operand whose lines parts must not cut
    whole = lines and r.random() < 0.9
    entries, at = ("G + 1", f"at first align {r.choice(['BK', 'BK', '32'])}") if whole else r.choice([("G + 1", "at first"), ("G", "to first"),
                                                                        ("G", "to first align 32")])
    text = re.sub(r"(    [DE] : (?:out|inout) \w+\[)", r"\1G, ", text)
    text = re.sub(r"\b([DE])\[([mn]), ([mn])\]", r"\1[g, \2, \3]", text)
    text = text.replace("    bias :", f"    first : const i32[{entries}],\n    bias :")
    text = text.replace("for k:BK of K {", "for k:BK of K[g] {")
    return text.replace("tile m:BM of M, n:BN of N", f"ragged K by G {at};\n    tile g of G, m:BM of M, n:BN of N")


def grouped(r, text):
    """The program over groups of rows: named by an entry a row, cut at offsets or ends, or counted in
    matrices with room for more."""
    before = text
    text = re.sub(r"(    B\d : \w+\[)", r"\1G, ", text)
    text = re.sub(r"( B\d\[)", r"\1g, ", text)
    kind = r.random()
    if kind < 0.25:
        text = text.replace("    bias :", "    which : const i32[M],\n    bias :")
        order = r.choice(["m:BM of M, g of G at which[m / BM * BM], n:BN of N",
                          "n:BN of N, m:BM of M, g of G at which[m / BM * BM]"])
        return text.replace("tile m:BM of M, n:BN of N", f"tile {order}")
    if kind < 0.4:
        return summed(r, before)
    if kind < 0.7:
        entries, at = r.choice([("G + 1", "at first"), ("G + 1", "at first"), ("G", "to first"),
                                ("G", "to first align 128"), ("G", "to first align 24")])
        text = text.replace("    bias :", f"    first : const i32[{entries}],\n    bias :")
        order = r.choice(["g of G, m:BM of M[g], n:BN of N", "n:BN of N, g of G, m:BM of M[g]"])
        return text.replace("tile m:BM of M, n:BN of N", f"ragged M by G {at};\n    tile {order}")
    text = re.sub(r"(    A : \w+\[)", r"\1G, ", text).replace(" A[", " A[g, ")
    text = re.sub(r"(    [DE] : (?:out|inout) \w+\[)", r"\1G, ", text)
    text = re.sub(r"\b([DE])\[([mn]), ([mn])\]", r"\1[g, \2, \3]", text)
    text = text.replace("    bias :", "    count : const i32[G],\n    width : const i32[G],\n    bias :")
    rows = r.choice(["in 0 .. count[g]", "in 0 .. count[g]", "in count[g] / 2 .. count[g]"])
    cols = r.choice(["", "", " in 0 .. width[g]"])
    return text.replace("tile m:BM of M, n:BN of N", f"tile g of G, m:BM of M {rows}, n:BN of N{cols}")


def picked(r, text):
    """The right operands of two accumulators in one tensor, picked by a number, by draws of its own."""
    found = re.search(r"    B0 : (\w+)\[(.*)\],\n    B1 : .*\n", text)
    if not found or r.random() < 0.6:
        return text
    text = text.replace(found.group(0), f"    B0 : {found.group(1)}[{r.choice(['2', 'L'])}, {found.group(2)}],\n")
    one, other = r.choice([(0, 1), (1, 0)])
    text = text.replace(" B0[", f" B0[{one}, ").replace(" B1[", f" B0[{other}, ").replace("B0, B1", "B0")
    return text.replace(" B1 ", " B0 ")


def whole(r, text):
    """The products over all of a width at once, by draws of its own."""
    loop = re.search(r"        for k:BK of K \{\n((?: {12}.*\n)+)        \}\n", text)
    if not loop or r.random() < 0.85:
        return text
    text = text.replace(loop.group(0), loop.group(1))
    if r.random() < 0.5:  # a width that is known when compiling
        text = re.sub(r"\bK\b", str(r.choice([32, 64, 96, 128, 192, 256])), text)
        return re.sub(r", \d+ % \d+ == 0", "", text).replace("{\n    ", "{\n    all k of KK;\n    ", 1).replace(
            "KK", re.search(r"    A : \w+\[.*?(\d+)", text).group(1))
    return text.replace("{\n    ", "{\n    all k of K;\n    ", 1)


def scaled(r, text):
    """What an epilogue reads, or a kernel without products, in a format with scales, by draws of its own."""
    if r.random() < 0.7:
        return text
    name = "old" if "    old : bf16[M, N]" in text else "X"
    fmt = r.choice(["nvfp4", "mxfp8", "mxfp4", "mxfp6", "blocks", "lines"])
    made = {"blocks": "format blocks = e4m3 * f32 per [128, 128];", "lines": "format lines = e5m2 * f32 per [1, 64];"}
    text = re.sub(rf"    {name} : \w+\[M, N\]", f"    {name} : {fmt}[M, N]" + (
        " @ mn_major" if fmt == "lines" and r.random() < 0.5 else ""), text)
    text = re.sub(rf"\b{name}\[([^\]]*)\]", r"f32(\g<0>)", text)
    return text.replace("use std.formats;", "use std.formats;\n" + made.get(fmt, ""), 1)


def blocks(r, text, arch):
    """Operands of FP8 with f32 scales, by draws of its own."""
    a, b = (re.search(rf"    {name} : (e4m3|e5m2)\[", text) for name in ("A", "B0"))
    if arch != "sm_90a" or not a or not b or r.random() < 0.4:
        return text
    granule = r.choice([32, 64, 128, 128])
    made = ""
    for name, elem, rows in (("fa", a.group(1), [1, 1, 1, 2]), ("fb", b.group(1), [1, 48, 64, 128, 128])):
        layout = r.choice(["", " @ mn_major"])
        made += f"format {name} = {elem} * f32 per [{r.choice(rows)}, {granule}]{layout};\n"
    text = text.replace(a.group(0), "    A : fa[")
    text = re.sub(rf"(    B\d : ){b.group(1)}\[", r"\1fb[", text)
    return text.replace("use std.formats;", "use std.formats;\n" + made.rstrip("\n"), 1)


def normed(r, text):
    """What is summed up, or reduced, along the rows of A beside the products, by draws of its own."""
    a = re.search(r"\bA\[[^\]]*\]", text)
    if not a or "gain[m]" not in text or "for k:BK of K {" not in text or r.random() < 0.6:
        return text
    if r.random() < 0.5:
        text = text.replace("gain[m]", "rows[m]").replace("        let p =", "        let rows = zero f32[m];\n        let p =")
        return text.replace("for k:BK of K {", f"for k:BK of K {{\n            rows[m] += f32({a.group(0)}) * 0.5 * gain[m];")
    value = "max[j](abs(f32(" + re.sub(r"\bk\b", "j", a.group(0)) + ") - gain[m]))"
    text = text.replace("gain[m]", "top").replace("        let p =", f"        let top = {value};\n        let p =")
    return text.replace("{\n    ", "{\n    all j of K;\n    ", 1)


def neighbours(r, text):
    """What the schedule says of the kernel before and of the L2 cache, by draws of its own."""
    facts = []
    if r.random() < 0.4:
        facts.append(f"pdl wait {r.choice(['A', 'A, B0', 'B0, bias', 'old'])}{r.choice(['', ' launch first', ' launch last'])};")
    if r.random() < 0.4:
        facts.append(f"cache {r.choice(['A', 'B0', 'A, B0'])} {r.choice(['keep', 'stream'])};")
    return re.sub(r"(schedule g on [^{]*\{)", r"\1" + "".join("\n    " + f for f in facts), text)


def streamed(r, text):
    """The same with the steps of all tiles divided over few or many multiprocessors, by draws of its own."""
    if r.random() < 0.7 or "schedule g on" not in text or " clc" in text:
        return text, []
    text = re.sub(r"\n    split k by \d;", "", text)
    if r.random() < 0.9:
        text = text.replace(" pingpong 2", "")
    options = r.choice([["--sms", str(r.choice([2, 3, 5, 7, 11]))], []])
    return re.sub(r"(schedule g on [^{]*\{)", r"\1\n    split k over sms;", text), options


def main():
    fp4c, arch, count = os.path.abspath(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) > 4 and sys.argv[4].isdigit() else 1
    keep = sys.argv[sys.argv.index("--keep") + 1] if "--keep" in sys.argv else None
    ran = refused = failures = 0
    codes = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or scratch
        for i in range(count):
            r = random.Random(seed * 100003 + i)
            path = os.path.join(folder, f"g{i}.{arch}.tk")
            with open(path, "w", encoding="ascii") as f:
                program_text = (without_products(r) if i % 5 == 4 else
                                neighbours(random.Random(seed * 7919 + i), program(r, arch)))
                program_text = normed(random.Random(seed * 2003 + i), program_text)
                program_text = whole(random.Random(seed * 4001 + i), program_text)
                program_text = scaled(random.Random(seed * 3001 + i), program_text)
                program_text = blocks(random.Random(seed * 8009 + i), program_text, arch)
                program_text = picked(random.Random(seed * 5003 + i), program_text)
                program_text, options = streamed(random.Random(seed * 6007 + i), program_text)
                f.write(program_text)
            result = subprocess.run([fp4c, "run", path, "-arch", arch, "--shapes", "2", "--seed", str(i + 1),
                                     "--schedule", r.choice(["eager", "lazy", "random"]), "--check"] +
                                    options + (["G=4"] if " g of G" in program_text else []),
                                    capture_output=True, text=True, timeout=300, cwd=scratch)
            code = re.search(r"error\[(\w+)\]", result.stderr)
            if result.returncode == 0:
                ran += 1
            elif result.returncode == 1 and code:
                refused += 1
                codes[code.group(1)] = codes.get(code.group(1), 0) + 1
            else:
                failures += 1
                print(f"program {i} of seed {seed} on {arch}: exit {result.returncode}: "
                      f"{result.stderr.strip()[:300]}")
                if not keep:
                    with open(path, encoding="ascii") as f:
                        print(f.read())
    print(f"{ran} ran bit-exactly, {refused} refused {codes}, {failures} failed")
    return 1 if failures or ran < count // 4 else 0


sys.exit(main())

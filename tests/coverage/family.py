# The family of products: every form x pair of operand formats x layout x result, on every target.
#   family.py check FP4C ROOT [--bless]     each point is taken or refused as family.tsv says
#   family.py run FP4C ROOT [FORM [A [B]]]  each point that is taken, in the simulator, bit for bit
# The points are the product of the lists below, not what lib/ has: one without a line in family.tsv fails, and so
# does one that lib/ is said to have and has not. Each is a program of its own, made here with the fewest facts;
# what a target refuses is told by its code ('fp4c explain CODE' is the story).
import concurrent.futures
import json
import os
import re
import sys

import coverage  # the table of kernels

AT_ONCE, MAX_ERRORS = 10, 20  # programs in a file; errors after which fp4c stops
TARGETS = coverage.TARGETS
DECLARED = {"fp8_k128": "e4m3 * f32 per [1, 128]", "fp8_128x128": "e4m3 * f32 per [128, 128]",
            "mxfp8_k128": "e4m3 * ue8m0 per [1, 128] @ sf128x4"}
# Operands -> elements of a step along k. Granules of 16 (nvfp4), 32 (mx) and 128.
PAIRS = {("nvfp4", "nvfp4"): 256, ("mxfp4", "mxfp4"): 256, ("mxfp8", "mxfp8"): 128, ("mxfp8_e5m2", "mxfp8_e5m2"): 128,
         ("mxfp8", "mxfp8_e5m2"): 128, ("mxfp8_e5m2", "mxfp8"): 128, ("mxfp8", "mxfp4"): 128, ("mxfp4", "mxfp8"): 128,
         ("mxfp8_k128", "mxfp8_k128"): 128, ("mxfp8_k128", "mxfp4"): 128,
         ("fp8_k128", "fp8_128x128"): 128, ("fp8_k128", "fp8_k128"): 128,
         ("e4m3", "e4m3"): 128, ("e4m3", "e5m2"): 128, ("bf16", "bf16"): 64, ("e4m3", "nvfp4"): 128,
         ("e4m3", "mxfp4"): 128, ("bf16", "nvfp4"): 128, ("bf16", "mxfp4"): 128}
RESULTS = ["bf16", "f32", "f32+=", "bias", "nvfp4", "mxfp8"]
# One form of text a form of product: tensors, what is declared before the tiles, the tiles, the operands, the result.
FORMS = {
    "dense": ("A : {a}[M, K], B : {b}[N, K], D : {d}[M, N]", "", "m:BM of M, n:BN of N", "A[m, k] * B[n, k]", "m, n"),
    "nn": ("A : {a}[M, K], B : {b}[K, N], D : {d}[M, N]", "", "m:BM of M, n:BN of N", "A[m, k] * B[k, n]", "m, n"),
    "tn": ("A : {a}[K, M], B : {b}[K, N], D : {d}[M, N]", "", "m:BM of M, n:BN of N", "A[k, m] * B[k, n]", "m, n"),
    "tt": ("A : {a}[K, M], B : {b}[N, K], D : {d}[M, N]", "", "m:BM of M, n:BN of N", "A[k, m] * B[n, k]", "m, n"),
    "batched": ("A : {a}[G, M, K], B : {b}[G, N, K], D : {d}[G, M, N]", "", "g of G, m:BM of M, n:BN of N",
                "A[g, m, k] * B[g, n, k]", "g, m, n"),
    "masked": ("A : {a}[G, M, K], B : {b}[G, N, K], count : const i32[G], D : {d}[G, M, N]", "",
               "g of G, m:BM of M in 0 .. count[g], n:BN of N", "A[g, m, k] * B[g, n, k]", "g, m, n"),
    "offsets": ("A : {a}[M, K], B : {b}[G, N, K], first : const i32[G + 1], D : {d}[M, N]", "ragged M by G at first;",
                "g of G, m:BM of M[g], n:BN of N", "A[m, k] * B[g, n, k]", "m, n"),
    "ends": ("A : {a}[M, K], B : {b}[G, N, K], ends : const i32[G], D : {d}[M, N]", "ragged M by G to ends align 128;",
             "g of G, m:BM of M[g], n:BN of N", "A[m, k] * B[g, n, k]", "m, n"),
    "rows": ("A : {a}[M, K], B : {b}[G, N, K], group : const i32[M], D : {d}[M, N]", "",
             "m:BM of M, g of G at group[m / BM * BM], n:BN of N", "A[m, k] * B[g, n, k]", "m, n"),
    "along k": ("A : {a}[M, K], B : {b}[N, K], first : const i32[G + 1], D : {d}[G, M, N]",
                "ragged K by G at first align {step};", "g of G, m:BM of M, n:BN of N", "A[m, k] * B[n, k]", "g, m, n"),
}


class Point:
    def __init__(self, form, pair, result):
        self.form, self.pair, self.result = form, pair, result

    def __str__(self):
        return f"{self.form}, {self.pair[0]} x {self.pair[1]} -> {self.result}"


def points():
    for form in FORMS:
        for pair in PAIRS:
            for result in RESULTS if form == "dense" else ["f32+="] if form in ("tn", "along k") else ["bf16"]:
                yield Point(form, pair, result)


HEAD = ["use std.formats;"] + [f"format {name} = {text};" for name, text in DECLARED.items()]


# The kernel of a point, with as few facts as it takes. On sm_90a 4-bit weights are decoded on the way.
def kernel(p, target, name):
    a, b = p.pair
    params, before, tiles, product, at = FORMS[p.form]
    before = before.format(step=max(128, PAIRS[p.pair]))
    elem = "f32" if p.result.startswith("f32") else "bf16" if p.result == "bias" else p.result
    mode = "inout" if p.result == "f32+=" else "out"
    value = {"f32": "acc[m, n]", "f32+=": "acc[m, n]", "bias": "bf16(acc[m, n] + bias[n])"}.get(p.result, f"{elem}(acc[m, n])")
    params = params.format(a=a, b=b, d=f"{mode} {elem}") + (", bias : bf16[N]" if p.result == "bias" else "")
    decoded = target == "sm_90a" and b in ("nvfp4", "mxfp4") and a in ("bf16", "e4m3")
    facts = f"mma wgmma dequant {a}; swap acc;" if decoded else ""
    # f32 scales: sums of 128 elements stand beside the accumulator's, two warpgroups have registers for both.
    if target == "sm_90a" and "fp8_k128" in p.pair:
        facts = "role load : 4 warps regs 40 { A, B }; role math : 8 warps regs 232 { acc, D };"
    k = "K[g]" if p.form == "along k" else "K"
    return [
        f"kernel {name}<BM = 128, BN = 128, BK = {PAIRS[p.pair]}>({params})",
        "where M % 128 == 0, N % 128 == 0, K % 128 == 0 {", f"    {before}", f"    tile {tiles} {{",
        "        let acc = zero f32[m, n];", f"        for k:BK of {k}", f"            acc[m, n] += {product};",
        f"        D[{at}] {'+=' if mode == 'inout' else '='} {value};", "    }", "}",
        f"schedule {name} on {target} {{ {facts} }}"]


# What becomes of a few points on a target: "ok", or the code of the first error in the lines of each.
def outcomes(fp4c, some, target):
    lines, starts = list(HEAD), []
    for i, p in enumerate(some):
        starts.append(len(lines) + 1)
        lines += kernel(p, target, f"product{i}")
    code, text = coverage.call([fp4c, "check", "-", "-arch", target, "--diagnostics", "json"], "\n".join(lines) + "\n")
    said = json.loads(text)["diagnostics"] if code in (0, 1) and text else []
    if code not in (0, 1) or len(said) >= MAX_ERRORS:
        sys.exit(f"{target}, {some[0]} and further: exit {code}, {len(said)} diagnostics: {text[:300]}")
    now = ["ok"] * len(some)
    for d in reversed(said):
        now[sum(start <= d["line"] for start in starts) - 1] = d["code"]
    return now


# ---- family.tsv ----------------------------------------------------------------------------------


def cells(p):
    return p.form, p.pair[0], p.pair[1], p.result


def read_table(root):
    table = {}
    with open(os.path.join(root, "tests/coverage/family.tsv")) as f:
        for number, line in enumerate(f, 1):
            if not line.startswith("#") and line.strip():
                row = line.rstrip("\n").split("\t")
                if len(row) != 8 or tuple(row[:4]) in table:
                    sys.exit(f"family.tsv, line {number}: twice, or {len(row)} columns instead of 8")
                table[tuple(row[:4])] = row[4:]
    return table


# Kernels of lib/ that run somewhere, by table.tsv.
def in_lib(root):
    return {row.kernel: (row.formats, row.outcome) for row in coverage.read_table(root)}


def operands(name):
    text = DECLARED.get(name, name)
    found = re.fullmatch(r"(\w+) \* (\w+) per \[(\d+), (\d+)\]( @ \w+)?", text)
    text = f"{found[1]}*{found[2]}/{found[3]}x{found[4]}" if found else text
    return text + ("@sf128x4" if "fp4" in name or "mxfp8" in name else "")


def lib_wrong(lib, key, row):
    name = row[3]
    if name == "-":
        return None
    if name not in lib:
        return f"lib/ has no kernel '{name}'"
    formats, said = lib[name]
    plain = formats.replace("@mn_major", "")  # f32 scales lie row by row or column by column
    if not plain.startswith(f"{operands(key[1])} {operands(key[2])} "):
        return f"'{name}' of lib/ multiplies {formats}"
    return next((f"'{name}' of lib/ is {said[t]} on {t}, this is {o}" for t, o in zip(TARGETS, row)
                 if (said[t] == "ok") != (o == "ok")), None)


def check(fp4c, root, bless):
    table, lib, wrong = read_table(root), in_lib(root), []
    every = list(points())
    some = [every[i:i + AT_ONCE] for i in range(0, len(every), AT_ONCE)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        said = {t: sum(pool.map(lambda few, t=t: outcomes(fp4c, few, t), some), []) for t in TARGETS}
    for p, *now in zip(every, *(said[t] for t in TARGETS)):
        row = table.get(cells(p))
        if row is None:
            wrong.append(f"{p}: no line in family.tsv; it is {' '.join(now)}")
        elif row[:3] != now:
            wrong.append(f"{p}: {' '.join(now)}, family.tsv says {' '.join(row[:3])}")
        elif lib_wrong(lib, cells(p), row):
            wrong.append(f"{p}: {lib_wrong(lib, cells(p), row)}")
        table[cells(p)] = now + [row[3] if row else "-"]
    wrong += [f"family.tsv: {key} is no point" for key in table.keys() - {cells(p) for p in every}]
    if bless:
        path = os.path.join(root, "tests/coverage/family.tsv")
        with open(path) as f:
            head = [line for line in f if line.startswith("#")]
        with open(path, "w") as f:
            f.writelines(head + ["\t".join(cells(p) + tuple(table[cells(p)])) + "\n" for p in every])
    print("\n".join(wrong + [f"{len(every)} points on {len(TARGETS)} targets, {len(wrong)} wrong"]))
    return 1 if wrong and not bless else 0


def run(fp4c, root, chosen):
    table, wrong, done = read_table(root), [], 0
    for p in points():
        if chosen != list(cells(p))[:len(chosen)]:
            continue
        for target, said in zip(TARGETS, table[cells(p)]):
            if said == "ok":
                done += 1
                code, text = coverage.call([fp4c, "run", "-", "-arch", target, "--shapes", "2", "--seed", str(done),
                                            "--check", "--hazards", "strict"],
                                           "\n".join(HEAD + kernel(p, target, "product")) + "\n")
                if code != 0 or "bit-exact" not in text:
                    wrong.append(f"{p}, {target}: exit {code}: {text[-600:]}")
    print("\n".join(wrong + [f"{done} programs, {len(wrong)} wrong"]))
    return 1 if wrong or not done else 0


if __name__ == "__main__":
    if len(sys.argv) >= 4 and sys.argv[1] == "check":
        sys.exit(check(sys.argv[2], sys.argv[3], sys.argv[4:] == ["--bless"]))
    if len(sys.argv) >= 4 and sys.argv[1] == "run":
        sys.exit(run(sys.argv[2], sys.argv[3], sys.argv[4:]))
    sys.exit(f"usage: {sys.argv[0]} check FP4C ROOT [--bless] | run FP4C ROOT [FORM [A [B]]]")

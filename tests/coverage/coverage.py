# The table of coverage: every kernel of lib/ on every target.
#   coverage.py run FP4C ROOT [quick]   each cell of table.tsv: compiles, runs, or is refused as stated
#   coverage.py readme ROOT [--bless]   README's table is what table.tsv and tests/h200/results say
# A cell 'ok' compiles without spills (ptxas; R203 else), equals the composition of the machine's formulas bit
# for bit over random shapes and the edges of its line, with guards intact, and leaves the strict hazard
# detector silent. quick: all refusals and formats, one run a target.
import concurrent.futures
import json
import math
import os
import re
import subprocess
import sys

TARGETS = ["sm_100a", "sm_120a", "sm_90a"]
NAMES = {"e2m1*ue4m3/1x16": "nvfp4", "e2m1*ue8m0/1x32": "mxfp4", "e4m3*ue8m0/1x32": "mxfp8",
         "e5m2*ue8m0/1x32": "mxfp8_e5m2"}
BEGIN, END = "<!-- coverage: from tests/coverage/table.tsv -->", "<!-- coverage ends -->"


class Row:
    def __init__(self, number, line):
        cells = line.rstrip("\n").split("\t")
        if len(cells) != 8:
            sys.exit(f"table.tsv, line {number}: {len(cells)} columns instead of 8")
        self.file, self.kernel, self.formats = cells[:3]
        self.outcome = dict(zip(TARGETS, cells[3:6]))
        self.edges = cells[6].split()
        self.speed = cells[7]


def read_table(root):
    with open(os.path.join(root, "tests/coverage/table.tsv")) as f:
        return [Row(i, line) for i, line in enumerate(f, 1) if line.strip() and not line.startswith("#")]


def kernels_of(root):
    found = set()
    for folder, _, names in os.walk(os.path.join(root, "lib")):
        for name in (n for n in names if n.endswith(".tk")):
            path = os.path.join(folder, name)
            with open(path) as f:
                text = re.sub(r"//[^\n]*", "", f.read())
            for kernel in re.findall(r"\bkernel\s+(\w+)", text):
                found.add((os.path.relpath(path, os.path.join(root, "lib")), kernel))
    return found


def holes(root, rows):
    listed = [(r.file, r.kernel) for r in rows]
    wrong = [f"lib/{f}: kernel '{k}' has no line in table.tsv" for f, k in sorted(kernels_of(root) - set(listed))]
    wrong += [f"table.tsv: lib/{f} has no kernel '{k}'" for f, k in sorted(set(listed) - kernels_of(root))]
    wrong += [f"table.tsv: lib/{f}, '{k}' stands there twice" for f, k in sorted({x for x in listed if listed.count(x) > 1})]
    return wrong


# ---- Cells ---------------------------------------------------------------------------------------


def call(args, text=None):
    done = subprocess.run(args, input=text, capture_output=True, text=True, errors="replace")
    return done.returncode, done.stdout + done.stderr


def refused(fp4c, path, row, target):
    code, text = call([fp4c, "check", path, "-arch", target, "--kernel", row.kernel])
    if code == 0:
        # What only ptxas finds (R203) shows when code is made.
        code, text = call([fp4c, path, "-arch", target, "--kernel", row.kernel, "-o", os.devnull])
    found = sorted(set(re.findall(r"error\[(\w+)\]", text)))
    if code == 0:
        return f"is taken, table.tsv says {row.outcome[target]}"
    return None if found == [row.outcome[target]] and code == 1 else f"exit {code}, refused by {found}: {text[:400]}"


def runs(fp4c, path, row, target, sizes, shapes):
    code, text = call([fp4c, "run", path, "-arch", target, "--kernel", row.kernel, "--shapes", str(shapes), "--seed", "11",
                       "--check", "--hazards", "strict"] + sizes)
    good = code == 0 and "bit-exact" in text and "WRONG" not in text
    return None if good else f"{' '.join(sizes)} exit {code}: {text[-800:]}"


# One after another: they assemble the same kernels (.ci/ptxas).
def all_runs(fp4c, path, row, target):
    wrong = [runs(fp4c, path, row, target, [], 3)] + [runs(fp4c, path, row, target, [group], 1) for group in row.edges]
    return "; ".join(w for w in wrong if w is not None) or None


def format_of(p):
    name = p["elem"]
    if p["scale"]:
        name = f"{p['elem']}*{p['scale']}/{'x'.join(map(str, p['granule'][-2:]))}"
        name = NAMES.get(name, name)
    return name + (f"@{p['layout']}" if p["layout"] else "")


def formats(fp4c, path, row):
    target = next((t for t in TARGETS if row.outcome[t] == "ok"), None)
    if target is None:
        return "no target runs it"
    code, text = call([fp4c, path, "-arch", target, "--kernel", row.kernel, "--emit=meta", "-o", "-"])
    if code != 0:
        return text[:400]
    kernel = json.loads(text)["kernels"][0]
    report = kernel.get("report")
    if report is None or report["spills"] != 0 or report["stack"] != 0:
        return f"ptxas was not run, or found spills: {report}"
    tensors = [p for p in kernel["params"] if p["kind"] == "tensor"]
    sides = [" ".join(format_of(p) for p in tensors if (p["mode"] in ("out", "inout")) == out) for out in (False, True)]
    said = " -> ".join(sides)
    return None if said == row.formats else f"formats are '{said}', table.tsv says '{row.formats}'"


def work_of(fp4c, root, rows, quick):
    ran = set()
    for row in rows:
        path = os.path.join(root, "lib", row.file)
        yield row, "formats", lambda row=row, path=path: formats(fp4c, path, row)
        for target in TARGETS:
            at = dict(row=row, path=path, target=target)
            if row.outcome[target] != "ok":
                yield row, target, lambda at=at: refused(fp4c, **at)
            elif not quick:
                yield row, target, lambda at=at: all_runs(fp4c, **at)
            elif target not in ran:
                ran.add(target)
                yield row, target, lambda at=at: runs(fp4c, sizes=["M=13"], shapes=1, **at)


def run(fp4c, root, quick):
    rows = read_table(root)
    wrong = holes(root, rows)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [(row, what, pool.submit(job)) for row, what, job in work_of(fp4c, root, rows, quick)]
        for row, what, job in jobs:
            if job.result() is not None:
                wrong.append(f"lib/{row.file}, {row.kernel}, {what}: {job.result()}")
    print("\n".join(wrong + [f"{len(rows)} kernels, {len(jobs)} checks, {len(wrong)} wrong"]))
    return 1 if wrong or not rows else 0


# ---- README's table --------------------------------------------------------------------------------


def spread(values, digits):
    return " to ".join(dict.fromkeys(f"{end(values):.{digits}f}" for end in (min, max)))


# Per M of a file of results: the range of TFLOP/s (GB/s for few rows), and how cuBLASLt's time compares.
def speed_of(root, name):
    if name == "-":
        return ""
    if name.startswith("grouped:"):
        return speed_of_groups(root, name.split(":")[1])
    with open(os.path.join(root, "tests/h200/results", name + ".json")) as f:
        shapes = json.load(f)["shapes"]
    parts = []
    for m in (min(s["m"] for s in shapes), max(s["m"] for s in shapes)):
        results = [r for s in shapes if s["m"] == m for r in s["results"]]
        unit, scale = ("TFLOP/s", 1) if m > 128 else ("TB/s", 1e-3)
        value = [scale * r["tflops" if m > 128 else "gbs"] for r in results]
        digits = 0 if m > 128 else 2
        text = f"M = {m}: {spread(value, digits)} {unit}"
        ratios = [math.log(r["ratio"]) for r in results if "ratio" in r]
        parts.append(text + (f", {math.exp(sum(ratios) / len(ratios)):.2f} x cuBLASLt" if ratios else ""))
    return "; ".join(parts)


# Of a kind of grouped.txt, per number of groups: the ranges of TFLOP/s and TB/s.
def speed_of_groups(root, kind):
    groups = {}
    with open(os.path.join(root, "tests/h200/results/grouped.txt")) as f:
        for line in f:
            if line.startswith(kind + " ") or line.startswith(kind + ","):
                count, *rest = line[len(kind):].replace(", +=", "").split()
                groups.setdefault(int(count), []).append((float(rest[6]), float(rest[7])))
    parts = []
    for count, speeds in groups.items():
        flops, bytes_ = zip(*speeds)
        ranges = [spread(flops, 0) + " TFLOP/s", spread(bytes_, 2) + " TB/s"]
        parts.append(f"{count} groups: {', '.join(ranges)}")
    return "; ".join(parts)


# Kernels of a file of which all cells are equal share a line. The layout that std.formats has is left out.
def table(root):
    lines = ["| file of `lib/` | kernels | formats | " + " | ".join(TARGETS) + " | H200 |",
             "|---|---|---|" + "---|" * len(TARGETS) + "---|"]
    same = {}
    for row in read_table(root):
        same.setdefault((row.file, *row.outcome.values(), row.speed), []).append(row)
    for (file, *outcomes, speed), rows in same.items():
        cells = ["0, 0, 0" if outcome == "ok" else outcome for outcome in outcomes]
        kernels = ", ".join(f"`{row.kernel}`" for row in rows)
        formats = "; ".join(dict.fromkeys(re.sub(r"(nvfp4|mxfp\w+)@sf128x4", r"\1", row.formats) for row in rows))
        lines.append(f"| `{file}` | {kernels} | {formats} | {' | '.join(cells)} | {speed_of(root, speed)} |")
    return "\n".join(line.replace("*", "\\*") for line in lines)


def readme(root, bless):
    path = os.path.join(root, "README.md")
    with open(path) as f:
        text = f.read()
    if BEGIN not in text or END not in text:
        print("README.md has no place for the table of coverage")
        return 1
    head, rest = text.split(BEGIN, 1)
    now = head + BEGIN + "\n" + table(root) + "\n" + END + rest.split(END, 1)[1]
    if now != text and bless:
        with open(path, "w") as f:
            f.write(now)
    elif now != text:
        print("README.md's table is not what 'coverage.py readme ROOT --bless' writes:\n" + table(root))
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) >= 4 and sys.argv[1] == "run":
        sys.exit(run(sys.argv[2], sys.argv[3], sys.argv[4:] == ["quick"]))
    if len(sys.argv) >= 3 and sys.argv[1] == "readme":
        sys.exit(readme(sys.argv[2], sys.argv[3:] == ["--bless"]))
    sys.exit(f"usage: {sys.argv[0]} run FP4C ROOT [quick] | readme ROOT [--bless]")

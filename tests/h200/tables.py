# The tables of README.md here, from results/*.json.   tables.py FOLDER [--bless]
# Without --bless: fails if README.md is not what the results say. One table a file of results: every shape with
# its floor (bytes over bandwidth or operations over the matrix rate, whichever is more), the gap to it, and
# cuBLASLt's time in the same rounds; then geometric means for each M.
import json
import math
import os
import sys

BEGIN, END = "<!-- results: from results/*.json -->", "<!-- results end -->"


def best(shape):
    return min(shape["results"], key=lambda r: r["us"]) if shape["results"] else None


# The fastest cuBLASLt was beside any of the shape's runs: its times differ by noise alone.
def reference(shape):
    times = [r["cublaslt_us"] for r in shape["results"] if "cublaslt_us" in r]
    return min(times) if times else None


def shape_line(shape):
    r, theirs = best(shape), reference(shape)
    size = f"{shape['m']} x {shape['n']} x {shape['k']}"
    if r is None:
        return f"| {size} | no kernel admits it |||||||"
    ratio = f"{theirs:.1f} | {theirs / r['us']:.2f}" if theirs else "- | -"
    return (f"| {size} | {r['us']:.1f} | {r['us_10']:.1f} to {r['us_90']:.1f} | {r['tflops']:.0f} | {r['gbs']:.0f} | "
            f"{r['floor_us']:.1f} | {r['us'] - r['floor_us']:.1f} | {ratio} |")


def means(shapes):
    lines = []
    for m in [None] + sorted({s["m"] for s in shapes}):
        group = [s for s in shapes if m in (None, s["m"]) and best(s) and reference(s)]
        if group:
            ratios = [reference(s) / best(s)["us"] for s in group]
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            name = "all" if m is None else f"M = {m}"
            lines.append(f"{name} ({len(group)}): {mean:.2f}, least {min(ratios):.2f}")
    return "cuBLASLt's time over ours, geometric means: " + "; ".join(lines) + "." if lines else ""


def section(name, data):
    shapes, floor = data["shapes"], data["floor"]
    refused = sorted({s["cublaslt_refused"] for s in shapes if "cublaslt_refused" in s})
    lines = [f"### {name}", f"{data['machine']}, {data['date']}, medians of {data['rounds']} rounds (10th to 90th percentile "
             f"beside), {data['flush_mib']} MiB flushed before each launch; floor from {floor['tbs']} TB/s and "
             f"{floor['tflops']:.0f} TFLOP/s.", "",
             "| M x N x K | us | spread | TFLOP/s | GB/s | floor us | gap us | cuBLASLt us | ratio |",
             "|---|---|---|---|---|---|---|---|---|"]
    lines += [shape_line(s) for s in shapes]
    lines += ["", means(shapes)] if means(shapes) else []
    lines += [""] + [f"{text}." for text in refused] if refused else []
    return "\n".join(lines)


def main(folder, bless):
    results = os.path.join(folder, "results")
    parts = []
    for name in sorted(n for n in os.listdir(results) if n.endswith(".json")):
        with open(os.path.join(results, name)) as f:
            parts.append(section(name[:-5], json.load(f)))
    path = os.path.join(folder, "README.md")
    with open(path) as f:
        text = f.read()
    if not parts or BEGIN not in text or END not in text:
        print("no results, or README.md has no place for them")
        return 1
    now = text.split(BEGIN, 1)[0] + BEGIN + "\n" + "\n\n".join(parts) + "\n" + END + text.split(END, 1)[1]
    if now != text and not bless:
        print("README.md is not what 'tables.py FOLDER --bless' writes")
        return 1
    if now != text:
        with open(path, "w") as f:
            f.write(now)
    return 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--bless"]):
        sys.exit(f"usage: {sys.argv[0]} FOLDER [--bless]")
    sys.exit(main(sys.argv[1], sys.argv[2:] == ["--bless"]))

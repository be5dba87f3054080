# The tables of README.md here and at the top, from results/.   tables.py FOLDER [--bless]
# Without --bless: fails if a README.md is not what the results say. Here: one table a file of results, every shape
# with its floor (bytes over bandwidth or operations over the matrix rate, whichever is more), the gap to it, and
# cuBLASLt's time in the same rounds; then geometric means for each M. At the top: one line a file and M, and how
# many results were the simulator's bit for bit (bits.txt, bits_lib.txt: what h200_check printed). Then the table
# beside a peer, from fp8_block_peer.txt.
import json
import math
import os
import re
import sys

BEGIN, END = "<!-- results: from results/*.json -->", "<!-- results end -->"
PEER_BEGIN, PEER_END = "<!-- peer: from results/fp8_block_peer.txt -->", "<!-- peer ends -->"
KINDS = {"contig": "rows", "k": "k, +="}  # as the table has them
TOP_BEGIN, TOP_END = "<!-- h200: from tests/h200/results -->", "<!-- h200 ends -->"


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
             f"beside), {data['flush_mib']} MiB flushed{' and read' if data.get('clean') else ''} before each launch; floor from {floor['tbs']} TB/s and "
             f"{floor['tflops']:.0f} TFLOP/s.", "",
             "| M x N x K | us | spread | TFLOP/s | GB/s | floor us | gap us | cuBLASLt us | ratio |",
             "|---|---|---|---|---|---|---|---|---|"]
    lines += [shape_line(s) for s in shapes]
    lines += ["", means(shapes)] if means(shapes) else []
    lines += [""] + [f"{text}." for text in refused] if refused else []
    return "\n".join(lines)


def span(values, digits):
    low, high = min(values), max(values)
    return f"{low:.{digits}f}" if f"{low:.{digits}f}" == f"{high:.{digits}f}" else f"{low:.{digits}f} to {high:.{digits}f}"


def summary_lines(name, data):
    lines = []
    for m in sorted({s["m"] for s in data["shapes"]}):
        group = [s for s in data["shapes"] if s["m"] == m and best(s)]
        rows = [best(s) for s in group]
        theirs = [reference(s) / best(s)["us"] for s in group if reference(s)]
        mean = math.exp(sum(map(math.log, theirs)) / len(theirs)) if theirs else None
        ratio = f"{mean:.2f} | {min(theirs):.2f}" if theirs else "- | -"
        speed = span([r["tflops"] for r in rows], 0) + " TFLOP/s" if m > 128 else span([r["gbs"] / 1000 for r in rows], 2) + " TB/s"
        floor = span([100 * r["floor_us"] / r["us"] for r in rows], 0)
        lines.append(f"| {name} | {m} | {len(group)} | {speed} | {floor} % | {ratio} |")
    return lines


# What h200_check printed: [(kernel and its schedule's number, equal, compared)].
def bits(folder, name):
    with open(os.path.join(folder, "results", name)) as f:
        found = [re.search(r"^(\S+(?: \d+)?) +(\d+) of (\d+) shapes equal", line) for line in f]
    return [(c[1], int(c[2]), int(c[3])) for c in found if c]


def bits_line(counts, what):
    whole = [c for c in counts if c[1] == c[2]]
    rest = "; ".join(f"`{name}` {equal} of {compared}" for name, equal, compared in counts if equal != compared)
    return (f"{len(whole)} {what} were the simulator's bit for bit in all of {span([c[2] for c in counts], 0)} random "
            f"shapes" + (f"; others: {rest}" if rest else "") + ".")


# Kernels of lib/ that sm_90a has, and that no line of bits_lib.txt is about.
def not_compared(folder, compared):
    with open(os.path.join(folder, "..", "coverage", "table.tsv")) as f:
        rows = [line.split("\t") for line in f if line.strip() and not line.startswith("#")]
    return sorted(row[1] for row in rows if row[5] == "ok" and row[1] not in compared)


def summary(folder, files):
    library = bits(folder, "bits_lib.txt")
    kernels = {name.split()[0] for name, _, _ in library}
    rest = ", ".join(f"`{name}`" for name in not_compared(folder, kernels))
    lines = [bits_line(bits(folder, "bits.txt"), "programs") + " " +
             bits_line(library, f"schedules of {len(kernels)} kernels of lib/") +
             (f" Not compared: {rest}." if rest else ""), "",
             "| list | M | shapes | speed | share of the floor | cuBLASLt's time over ours, geometric mean | least |",
             "|---|---|---|---|---|---|---|"]
    for name, data in files:
        lines += summary_lines(name, data)
    return "\n".join(lines)


# A line: "kind groups rows N K | theirs TILE us (spread) TFLOP/s | ours .. | ratio r [| by offsets us TF ratio r]".
def peer_line(line):
    head, theirs, ours, _, *offsets = [part.split() for part in line.split("|")]
    kind, groups, rows, n, k = head
    ratio = float(theirs[2]) / float(ours[1])
    by = f"{float(theirs[2]) / float(offsets[0][2]):.2f}" if offsets else "-"
    return (f"| {KINDS.get(kind, kind)} | {groups} | {rows} | {n} x {k} | {theirs[2]} | {theirs[5]} | "
            f"{ours[1]} | {ours[4]} | {ratio:.2f} | {by} |")


def peer(folder):
    lines = ["| kind | groups | rows (k) | N x K (N x M) | theirs us | TFLOP/s | ours us | TFLOP/s | ratio | offsets |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    with open(os.path.join(folder, "results", "fp8_block_peer.txt")) as f:
        return "\n".join(lines + [peer_line(line) for line in f if not line.startswith("#")])


def put(path, begin, end, middle, bless):
    with open(path) as f:
        text = f.read()
    if begin not in text or end not in text:
        print(f"{path} has no place for the results")
        return 1
    now = text.split(begin, 1)[0] + begin + "\n" + middle + "\n" + end + text.split(end, 1)[1]
    if now != text and not bless:
        print(f"{path} is not what 'tables.py FOLDER --bless' writes")
        return 1
    if now != text:
        with open(path, "w") as f:
            f.write(now)
    return 0


def main(folder, bless):
    results = os.path.join(folder, "results")
    files = []
    for name in sorted(n for n in os.listdir(results) if n.endswith(".json")):
        with open(os.path.join(results, name)) as f:
            files.append((name[:-5], json.load(f)))
    if not files:
        print("no results")
        return 1
    here = put(os.path.join(folder, "README.md"), BEGIN, END, "\n\n".join(section(*f) for f in files), bless)
    beside = put(os.path.join(folder, "README.md"), PEER_BEGIN, PEER_END, peer(folder), bless)
    top = put(os.path.join(folder, "..", "..", "README.md"), TOP_BEGIN, TOP_END, summary(folder, files), bless)
    return here or beside or top


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--bless"]):
        sys.exit(f"usage: {sys.argv[0]} FOLDER [--bless]")
    sys.exit(main(sys.argv[1], sys.argv[2:] == ["--bless"]))

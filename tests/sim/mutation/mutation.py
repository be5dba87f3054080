#!/usr/bin/env python3
"""Removes, moves or miscounts one synchronisation of a kernel at a time and tells what becomes of it.

usage: mutation.py FP4C ARCH FILE.tk [--kernel NAME] [--every N] [--jobs N] [--list] [SIZE=VALUE ...]

Each mutant of the kernel's PTX runs in the simulator under several schedules, compared with the
evaluator and with the hazard detector on. It is
  reported     by the hazard detector,
  fault        stopped by the simulator at the instruction that went wrong,
  hang         stopped with an explanation of who waits for what,
  wrong        in its result,
  equivalent   none of these, and named in equivalent.txt with the reason,
  gap          none of these, and named there as something that the detector cannot see, or
  SURVIVED     none of these. The exit status is 1 when there is such a mutant.
A mutant that the reader of PTX refuses as a text is 'malformed': it says nothing, and is not counted.
--every N keeps every N-th mutant, for a brief run.

--verify does not run them: 'fp4c verify' refuses a mutant, or it SURVIVED. It gets a module of the kernel
(every one of the file in turn, SIZEs are not needed), with --ptx-only the text alone."""
import argparse
import concurrent.futures
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

# Removed altogether: (name, pattern of the instruction).
REMOVED = [
    ("fence.proxy.async", r"fence\.proxy\.async[\w.:]*;"),
    ("fence.mbarrier_init", r"fence\.mbarrier_init[\w.:]*;"),
    ("fence", r"fence\.(acq_rel|sc|release|acquire)[\w.:]*;"),
    ("tcgen05.fence::before_thread_sync", r"tcgen05\.fence::before_thread_sync;"),
    ("tcgen05.fence::after_thread_sync", r"tcgen05\.fence::after_thread_sync;"),
    ("tcgen05.wait::ld", r"tcgen05\.wait::ld[\w.]*;"),
    ("tcgen05.wait::st", r"tcgen05\.wait::st[\w.]*;"),
    ("tcgen05.commit", r"tcgen05\.commit\.[^;]*;"),
    ("tcgen05.dealloc", r"tcgen05\.dealloc\.[^;]*;"),
    ("wgmma.fence", r"wgmma\.fence[\w.]*;"),
    ("wgmma.commit_group", r"wgmma\.commit_group[\w.]*;"),
    ("wgmma.wait_group", r"wgmma\.wait_group[^;]*;"),
    ("cp.async.bulk.commit_group", r"cp\.async\.bulk\.commit_group;"),
    ("cp.async.bulk.wait_group", r"cp\.async\.bulk\.wait_group[^;]*;"),
    ("cp.async.commit_group", r"cp\.async\.commit_group;"),
    ("cp.async.wait", r"cp\.async\.wait_(all|group)[^;]*;"),
    ("mbarrier.arrive", r"(@!?%p\d+ )?mbarrier\.arrive\.(?!expect_tx)[^;]*;"),
    ("mbarrier.arrive.expect_tx", r"(@!?%p\d+ )?mbarrier\.arrive\.expect_tx[^;]*;"),
    ("mbarrier.init", r"mbarrier\.init\.[^;]*;"),
    ("bar.sync", r"(?<![\w.])(bar|barrier)(\.cta)?\.sync[^;]*;"),
    ("bar.arrive", r"(?<![\w.])(bar|barrier)(\.cta)?\.arrive[^;]*;"),
    ("bar.warp.sync", r"bar\.warp\.sync[^;]*;"),
    ("barrier.cluster", r"barrier\.cluster\.arrive[\w.]*;\s*barrier\.cluster\.wait[\w.]*;"),
]

WAIT = r"mbarrier\.try_wait\.parity[\w.:]*\s*(%p\d+), (\[[^\]]*\]), (%r\d+);"


# Changed: (name, pattern, replacement as a function of the match).
def number(delta):
    return lambda m: f"{m.group(1)}{int(m.group(2)) + delta};"


CHANGED = [
    ("mbarrier wait passes at once", WAIT, lambda m: f"mov.pred {m.group(1)}, -1;"),
    ("mbarrier wait for the other parity", WAIT,
     lambda m: "{ .reg .b32 other; xor.b32 other, %s, 1; %s }" %
     (m.group(3), m.group(0).replace(m.group(3) + ";", "other;"))),
    ("mbarrier wait without acquire", WAIT,
     lambda m: re.sub(r"parity(\.acquire\.\w+)?", "parity.relaxed.cluster", m.group(0), count=1)),
    ("mbarrier arrives without release", r"mbarrier\.arrive(\.release\.\w+)?(\.shared[^;]*;)",
     lambda m: f"mbarrier.arrive.relaxed.cluster{m.group(2)}"),
    ("mbarrier counts one more", r"(mbarrier\.init\.[^;]*, )(%r\d+);",
     lambda m: "{ .reg .b32 other; add.u32 other, %s, 1; %sother; }" % (m.group(2), m.group(1))),
    ("mbarrier expects 16 bytes more", r"(mbarrier\.arrive\.expect_tx[^;]*, )(%r\d+);",
     lambda m: "{ .reg .b32 other; add.u32 other, %s, 16; %sother; }" % (m.group(2), m.group(1))),
    ("mbarrier expects 16 bytes less", r"(mbarrier\.arrive\.expect_tx[^;]*, )(%r\d+);",
     lambda m: "{ .reg .b32 other; sub.u32 other, %s, 16; %sother; }" % (m.group(2), m.group(1))),
    ("wait_group leaves one more", r"((?:wgmma|cp\.async|cp\.async\.bulk)\.wait_group[\w.]*\s+)(\d+);",
     number(1)),
    ("commit signals one CTA only", r"tcgen05\.commit\.[^;]*multicast[^;]*;",
     lambda m: re.sub(r"\.multicast::cluster", "", m.group(0)).rsplit(",", 1)[0] + ";"),
    ("half of the columns", r"(tcgen05\.alloc\.[^;]*, )(%r\d+);",
     lambda m: "{ .reg .b32 other; shr.u32 other, %s, 1; %sother; }" % (m.group(2), m.group(1))),
    ("named barrier of other threads", r"((?<![\w.])(?:bar|barrier)\.(?:sync|arrive)\s+[%\w]+, )(\d+);",
     lambda m: f"{m.group(1)}{int(m.group(2)) - 32};"),
    ("cluster barrier without release", r"barrier\.cluster\.arrive(?:\.release)?\.aligned;",
     lambda m: "barrier.cluster.arrive.relaxed.aligned;"),
]

# Moved: the instruction changes places with the one behind it that touches memory or a barrier.
MOVED = [
    ("fence.proxy.async behind the barrier", r"(fence\.proxy\.async[\w.:]*;)((?:[^;{}]*;){0,3}?)(\s*(?:bar|barrier)\.(?:sync|arrive)[^;]*;)",
     lambda m: m.group(2) + m.group(3) + "\n\t" + m.group(1)),
    ("arrival in front of the wait for what it releases", r"(wgmma\.wait_group[^;]*;)((?:[^;{}]*;){0,4}?)(\s*(?:@!?%p\d+ )?mbarrier\.arrive\.(?!expect)[^;]*;)",
     lambda m: m.group(2) + m.group(3) + "\n\t" + m.group(1)),
    ("arrival in front of tcgen05.wait::ld", r"(tcgen05\.wait::ld[\w.]*;)((?:[^;{}]*;){0,200}?)(\s*(?:@!?%p\d+ )?mbarrier\.arrive\.(?!expect)[^;]*;)",
     lambda m: m.group(3) + "\n\t" + m.group(1) + m.group(2)),
]


def mutants(text):
    """(name, line, text) of each mutant."""
    found = []
    for name, pattern in REMOVED:
        for m in re.finditer(pattern, text):
            found.append(("without " + name, m, ""))
    for name, pattern, change in CHANGED + MOVED:
        for m in re.finditer(pattern, text):
            found.append((name, m, change(m)))
    for name, m, with_ in sorted(found, key=lambda f: (f[1].start(), f[0])):
        if m.group(0) != with_:
            yield name, text.count("\n", 0, m.start()) + 1, \
                text[:m.start()] + with_ + text[m.end():], text[max(0, m.start() - 700):m.end()]


def equivalents(path):
    """Lines 'ARCH | mutant | instruction (regular expression) | reason'."""
    out = []
    with open(path, encoding="ascii") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                out.append([part.strip() for part in line.split(" | ", 3)])
    return out


def assemble_once(folder):
    """fp4c assembles the kernel before it takes the mutant's PTX: every time the same, so once will do."""
    real = os.environ.get("FP4_PTXAS") or shutil.which("ptxas")
    if not real:
        return
    path = os.path.join(folder, "ptxas")
    with open(path, "w", encoding="ascii") as f:
        f.write(f"""#!/bin/sh
for a; do [ "$before" = -o ] && out=$a; before=$a; done
if [ ! -e '{folder}/done' ]; then
    '{real}' "$@" >'{folder}/said' 2>'{folder}/told' && cp "$out" '{folder}/cubin' && : >'{folder}/done'
fi
cat '{folder}/said'; cat '{folder}/told' >&2; cp '{folder}/cubin' "$out"
""")
    os.chmod(path, 0o700)
    os.environ["FP4_PTXAS"] = path


# What the readers of PTX say of a text, rather than of what it does.
MALFORMED = re.compile(r"is expected|is not known here|is no PTX|no such register|not one that the verifier knows"
                       r"|that the verifier does not know|there is no label")


class Trial:
    def __init__(self, options):
        self.o = options
        self.command = [options.fp4c, "run", options.file, "-arch", options.arch, *options.sizes,
                        "--sms", "2", "--check", "--hazards", "strict"]
        if options.kernel:
            self.command += ["--kernel", options.kernel]

    def run(self, ptx, order, seed):
        result = subprocess.run(self.command + ["--seed", str(seed), "--schedule", order, "--use-ptx", ptx],
                                capture_output=True, text=True, timeout=300)
        said = result.stderr.strip() or result.stdout.strip()
        if result.returncode == 0:
            return None, ""
        if result.returncode != 1:
            return "CRASHED", said
        if MALFORMED.search(said):
            return "malformed", said
        for word, verdict in (("hazard ", "reported"), ("deadlock", "hang"), ("instructions, the launch allows", "hang"),
                              ("simulator: ", "fault"), ("wrong", "wrong")):
            if word in said:
                return verdict, said
        return "wrong", said

    def verdict(self, folder, index, text):
        path = os.path.join(folder, f"{index}.ptx")
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
        for order, seed in (("eager", 1), ("lazy", 1), ("random", 2), ("random", 3)):
            verdict, said = self.run(path, order, seed)
            if verdict:
                break
        os.remove(path)
        return verdict or "SURVIVED", said


def module_parts(path):
    """[(metadata of a kernel, its PTX)] of a module (runtime/module.h)."""
    with open(path, "rb") as f:
        data = f.read()
    sections = [struct.unpack_from("<IIQQ", data, 32 + 24 * i) for i in range(struct.unpack_from("<I", data, 12)[0])]
    meta = [data[at:at + size] for kind, _, at, size in sections if kind == 1]
    texts = {index: data[at:at + size] for kind, index, at, size in sections if kind == 2}
    return [(k, texts[i].decode("ascii").rstrip("\0")) for i, k in enumerate(json.loads(meta[0].rstrip(b"\0"))["kernels"])]


def module_of(meta, text):
    """A module of one kernel, without a checksum: the verifier reads no more than it needs."""
    parts = [(1, json.dumps({"kernels": [meta]}).encode("ascii")), (2, text.encode("ascii"))]
    at, table, body = 32 + 24 * len(parts), b"", b""
    for kind, data in parts:
        table += struct.pack("<IIQQ", kind, 0, at + len(body), len(data))
        body += data
    return b"FP4TKM\r\n" + struct.pack("<IIQQ", 1, len(parts), at + len(body), 0) + table + body


class Proof:
    """What the static verifier says of a mutant."""

    def __init__(self, options, meta):
        self.o, self.meta = options, meta

    def verdict(self, folder, index, text):
        path = os.path.join(folder, f"{index}." + ("ptx" if self.o.ptx_only else "tkm"))
        with open(path, "wb") as f:
            f.write(text.encode("ascii") if self.o.ptx_only else module_of(self.meta, text))
        result = subprocess.run([self.o.fp4c, "verify", path], capture_output=True, text=True, timeout=300)
        os.remove(path)
        said = result.stderr.strip()
        if result.returncode == 0:
            return "SURVIVED", ""
        if result.returncode != 1:
            return "CRASHED", said
        return ("malformed" if MALFORMED.search(said) else "refused"), said


def judge(o, trial, name, text, folder):
    """Prints what became of the mutants of a text; the exit status."""
    known = equivalents(os.path.join(HERE, "equivalent.txt"))
    verdict, said = trial.verdict(folder, "unchanged", text)
    if verdict != "SURVIVED":
        print(f"{name}: the unchanged kernel is refused: {said}")
        return 1
    chosen = list(mutants(text))[::o.every]
    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        verdicts = list(pool.map(lambda m: trial.verdict(folder, m[0], m[1][2]), enumerate(chosen)))
    count = {}
    for (mutant, line, _, was), (verdict, said) in zip(chosen, verdicts):
        was = " ".join(was.split())
        for arch, what, pattern, reason in known:
            if verdict == "SURVIVED" and arch in (o.arch, "*") and what == mutant and re.search(pattern, was):
                verdict = "gap" if reason.startswith("gap:") else "equivalent"
        count[verdict] = count.get(verdict, 0) + 1
        if o.list or verdict in ("SURVIVED", "CRASHED"):
            print(f"{verdict:10} ptx:{line} {mutant}: ...{was[-90:]}")
            if o.list and said:
                print(f"           {said.splitlines()[0][:200]}")
    total = len(chosen) - count.get("equivalent", 0) - count.get("malformed", 0)
    missed = count.get("SURVIVED", 0) + count.get("CRASHED", 0)
    killed = total - missed - count.get("gap", 0)
    print(f"{name} {o.arch}: {killed} of {total} mutants are seen " +
          ", ".join(f"{n} {v}" for v, n in sorted(count.items())))
    return missed > 0 or killed == 0


def main():
    a = argparse.ArgumentParser(usage=__doc__)
    a.add_argument("fp4c")
    a.add_argument("arch")
    a.add_argument("file")
    a.add_argument("--kernel")
    a.add_argument("--every", type=int, default=1)
    a.add_argument("--jobs", type=int, default=2)
    a.add_argument("--list", action="store_true")
    a.add_argument("--verify", action="store_true")
    a.add_argument("--ptx-only", action="store_true")
    a.add_argument("sizes", nargs="*")
    o = a.parse_intermixed_args()
    name = os.path.basename(o.file)
    which = ["--kernel", o.kernel] if o.kernel else []
    with tempfile.TemporaryDirectory() as folder:
        assemble_once(folder)
        good = os.path.join(folder, "good")
        if o.verify:
            subprocess.run([o.fp4c, o.file, "-arch", o.arch, "-o", good, *which], check=True)
            parts = module_parts(good)
            codes = [judge(o, Proof(o, meta), f"{name} {n} of {len(parts)}" if len(parts) > 1 else name, text, folder)
                     for n, (meta, text) in enumerate(parts)]
            return int(any(codes) or not codes)
        subprocess.run([o.fp4c, o.file, "-arch", o.arch, "-S", "-o", good, *which], check=True)
        with open(good, encoding="ascii") as f:
            text = f.read()
        return int(judge(o, Trial(o), name, text, folder))


sys.exit(main())

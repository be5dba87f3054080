#!/usr/bin/env python3
"""The mutants (mutants.py) of anybody's kernel, as fp4sim sees them: which synchronisation of it a launch puts to
the test.

usage: anybody.py FP4SIM KERNEL.ptx LAUNCH.json [--hazards practice|strict] [--every N] [--jobs N] [--list]

The launch file is one of fp4sim (runtime/sim/tool/fp4sim.md). A mutant is seen when the detector has a finding of
severity error that the unchanged kernel has not, the launch faults or hangs, or a buffer holds something else
afterwards; under one policy after the other, eager, lazy, random. One that survives is no mistake, or the launch is
too small for it: more steps than a ring has slots, an odd number of tiles. Only the kernels that the file launches
are mutated. The exit status is 1 when a mutant survives, 2 when the unchanged kernel does not run."""
import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile

from mutants import mutants

POLICIES = [("eager", 0), ("lazy", 0), ("random", 1), ("random", 2)]
PATIENCE = 20  # times as long as the unchanged kernel takes, and seconds


def run(o, ptx, policy, folder, patience=None):
    """What a launch came to: how it ended, kinds of its errors, hashes of the buffers; None: no answer."""
    report = os.path.join(folder, os.path.basename(ptx) + ".json")
    if os.path.exists(report):
        os.remove(report)
    try:
        done = subprocess.run([o.fp4sim, ptx, "--launch", o.launch, "--policy", policy[0], "--seed", str(policy[1]), "--hazards",
                               o.hazards, "--report", report, "--out", folder, "--threads", "1", "--quiet"],
                              capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        return None
    if not os.path.exists(report):
        return ("malformed", (), done.stderr.strip()[:300])
    with open(report, encoding="utf-8") as f:
        said = json.load(f)
    ends = [launch["status"] for launch in said["launches"]]
    errors = {finding["kind"] for launch in said["launches"] for finding in launch["findings"]
              if finding["severity"] != "info"}
    return (" ".join(ends), tuple(sorted(errors)), tuple(b["hash"] for b in said["buffers"]))


def spans(text, launch):
    """Where the kernels that are launched begin and end in the text."""
    wanted = [one.get("kernel", "") for one in launch.get("launches", [launch])]
    entries = [(m.start(), m.group(1)) for m in re.finditer(r"\.entry\s+([\w$]+)", text)]
    ends = [at for at, _ in entries[1:]] + [len(text)]
    return [(at, end) for (at, name), end in zip(entries, ends) if any(w in name for w in wanted)]


def judge(o, text, mutant, right, folder, number):
    ptx = os.path.join(folder, f"{number}.ptx")
    with open(ptx, "w", encoding="utf-8") as f:
        f.write(text[:mutant.start] + mutant.text + text[mutant.end:])
    verdict = "survived", ""
    for policy in POLICIES:
        expected, seconds = right[policy]
        got = run(o, ptx, policy, folder, PATIENCE * (1 + seconds))
        if got is None:
            verdict = "timeout", policy[0]
        elif got[0] == "malformed":
            verdict = "malformed", got[2]
        elif got[0] != expected[0]:
            verdict = "fault", f"{policy[0]}: {got[0][:200]}"
        elif set(got[1]) - set(expected[1]):
            verdict = "reported", f"{policy[0]}: {' '.join(set(got[1]) - set(expected[1]))}"
        elif got[2] != expected[2]:
            verdict = "wrong", policy[0]
        if verdict[0] != "survived":
            break
    os.remove(ptx)
    return verdict


def options():
    a = argparse.ArgumentParser(usage=__doc__)
    a.add_argument("fp4sim")
    a.add_argument("ptx")
    a.add_argument("launch")
    a.add_argument("--hazards", default="practice", choices=["practice", "strict"])
    a.add_argument("--every", type=int, default=1)
    a.add_argument("--jobs", type=int, default=1)
    a.add_argument("--list", action="store_true")
    return a.parse_args()


def main():
    o = options()
    with open(o.ptx, encoding="utf-8") as f:
        text = f.read()
    with open(o.launch, encoding="utf-8") as f:
        launch = json.load(f)
    with tempfile.TemporaryDirectory() as folder:
        right = {}
        for policy in POLICIES:
            before = os.times().children_user
            right[policy] = run(o, o.ptx, policy, folder), 0
            right[policy] = right[policy][0], os.times().children_user - before
            if "malformed" in right[policy][0][0] or "ended" not in right[policy][0][0]:
                print(f"the unchanged kernel, {policy[0]}: {right[policy][0]}")
                return 2
        inside = spans(text, launch)
        chosen = [m for m in mutants(text) if any(at <= m.start < end for at, end in inside)][::o.every]
        with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
            verdicts = list(pool.map(lambda nm: judge(o, text, nm[1], right, folder, nm[0]), enumerate(chosen)))
    counts = {}
    for mutant, (verdict, why) in zip(chosen, verdicts):
        counts[verdict] = counts.get(verdict, 0) + 1
        if o.list or verdict in ("survived", "timeout"):
            print(f"{verdict:9} ptx:{mutant.line} {mutant.name}: {why or '...' + mutant.was[-100:]}")
    print(f"{len(chosen)} mutants: " + ", ".join(f"{n} {v}" for v, n in sorted(counts.items())))
    return int("survived" in counts or "timeout" in counts)


sys.exit(main())

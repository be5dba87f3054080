#!/usr/bin/env python3
"""Scores the hazard detector and the static verifier with mutants: PTX in which one synchronisation is
removed, moved or miscounted.

usage: mutation.py one JUDGE FP4C ARCH FILE.tk [--kernel NAME] [--list] ...   one program, any
       mutation.py lib JUDGE FP4C ROOT [--only REGEX] [--bless] ...           every kernel of lib/, or those whose
                                              'FILE KERNEL TARGET' matches
       mutation.py holes ROOT                 whether scores.tsv has a line for every kernel and target
       mutation.py stale FP4C ROOT [--only REGEX] [--modules DIR]   the lines of scores.tsv whose kernel has
                                              other PTX by now; exit status 1 when there is one

A mutant is seen when the detector reports it, the simulator stops at the instruction that went wrong or
explains who waits for what, or the result is another one; seven launches (judge.c), the first that sees it
ends them. The verifier refuses it. One that survives must be named in equivalent.txt with the reason; then it
is no mistake and not counted. The exit status is 1 when there is another survivor.

Options of 'one' and 'lib':
  --tool detector|verifier   only this one
  --every N        every N-th mutant only (a sample; scores.tsv says so)
  --jobs N         processes at once
  --list           every mutant with its verdict
  --journal FILE   verdicts are kept there, and those that are there are not asked for again
  --modules DIR    modules compiled before (KERNEL.ARCH.tkm): FP4C is not needed then
  --compile        only makes these modules
  --seconds S      ends after so long; a first eighth of the mutants of every kernel comes first
--bless writes scores.tsv: the lines of the kernels that were judged, the others stay."""
import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import re
import select
import struct
import subprocess
import sys
import tempfile
import threading
import time

from mutants import HERE, Equivalents, mutants

sys.path.insert(0, os.path.join(HERE, "..", "..", "coverage"))
import coverage  # the table of kernels

SCORES = os.path.join(HERE, "scores.tsv")
TOOLS = ["detector", "verifier"]
SEEN = {"reported", "fault", "hang", "wrong", "refused"}
PATIENCE = 60  # seconds for one mutant
SAMPLE = 8     # of the first pass over all kernels
CHUNK = 96     # mutants of one process


# ---- kernels and their PTX -----------------------------------------------------------------------


class Cell:
    """A kernel on a target: its module, the PTX of each variant, and their mutants."""

    def __init__(self, path, kernel, arch, module):
        self.path, self.kernel, self.arch, self.module = path, kernel, arch, module
        self.texts = []
        self.mutants = []

    def read(self):
        with open(self.module, "rb") as f:
            data = f.read()
        sections = [struct.unpack_from("<IIQQ", data, 32 + 24 * i) for i in range(struct.unpack_from("<I", data, 12)[0])]
        found = sorted((index, data[at:at + size]) for kind, index, at, size in sections if kind == 2)
        self.texts = [text.decode("ascii").rstrip("\0") for _, text in found]
        self.mutants = [mutants(text) for text in self.texts]

    def digest(self):
        """Of the instructions of all schedules: comments, spaces and the head, which names versions, do not count."""
        bare = [re.sub(r"//[^\n]*", "", text) for text in self.texts]
        bare = [" ".join(re.sub(r"^\s*\.(version|file|loc|section)\b[^\n]*", "", text, flags=re.M).split()) for text in bare]
        return hashlib.sha256("\0".join(bare).encode("ascii")).hexdigest()[:12]


def compile_cell(fp4c, cell):
    """What ptxas finds is not asked here."""
    done = subprocess.run([fp4c, cell.path, "-arch", cell.arch, "--kernel", cell.kernel, "-o", cell.module],
                          capture_output=True, text=True)
    return None if done.returncode == 0 else f"{cell.kernel} on {cell.arch}: {done.stderr[:600]}"


def cells_of_lib(root, modules, only):
    cells = []
    for row in coverage.read_table(root):
        for arch in coverage.TARGETS:
            if row.outcome[arch] == "ok" and re.search(only, f"{row.file} {row.kernel} {arch}"):
                cells.append(Cell(os.path.join(root, "lib", row.file), row.kernel, arch,
                                  os.path.join(modules, f"{row.kernel}.{arch}.tkm")))
    return cells


def kernels_of(path):
    text = re.sub(r"//[^\n]*", "", open(path).read())
    return re.findall(r"\bkernel\s+(\w+)", text)


# ---- judging -------------------------------------------------------------------------------------


class Judge:
    """A process of judge.c for one variant of a cell; started anew when it died or hung."""

    def __init__(self, program, cell, variant):
        self.command = [program, cell.path, cell.arch, cell.kernel, str(variant), cell.module]
        self.process = None
        self.patience = PATIENCE

    def ask(self, what, mutant):
        """(verdict, road, sentence); 'what' is judge.c's letter"""
        if self.process is None:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL)
        start, end, text = (0, 0, "") if mutant is None else (mutant.start, mutant.end, mutant.text)
        try:
            self.process.stdin.write(f"{what} {start} {end} {len(text)}\n{text}".encode("ascii"))
            self.process.stdin.flush()
            if not select.select([self.process.stdout], [], [], self.patience)[0]:
                self.close()
                return "timeout", "-", f"no answer within {self.patience:.0f} s"
            answer = self.process.stdout.readline().decode("ascii", "replace").rstrip("\n").split("\t")
        except OSError:
            answer = []
        if len(answer) != 3:
            self.close()
            return "CRASHED", "-", "the judge ended without an answer"
        return tuple(answer)

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
        self.process = None


@functools.lru_cache(maxsize=None)
def digest_of(text):
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def key_of(cell, variant, index, tool):
    m = cell.mutants[variant][index] if index is not None else None
    what = "unchanged" if m is None else f"{m.start} {m.end} {m.text}"
    return f"{cell.kernel} {cell.arch} {digest_of(cell.texts[variant])} {tool} {hashlib.sha256(what.encode('ascii')).hexdigest()[:12]}"


class Journal:
    """Verdicts by key; appended to a file as they come."""

    def __init__(self, path):
        self.known, self.lock = {}, threading.Lock()
        self.file = None
        if path is not None:
            if os.path.exists(path):
                with open(path, encoding="ascii") as f:
                    for line in f:
                        entry = json.loads(line)
                        self.known[entry[0]] = tuple(entry[1:])
            self.file = open(path, "a", encoding="ascii")

    def put(self, key, verdict):
        with self.lock:
            self.known[key] = verdict
            if self.file is not None:
                self.file.write(json.dumps([key, *verdict]) + "\n")
                self.file.flush()


class Walk:
    def __init__(self, options, cells):
        self.o, self.cells = options, cells
        self.journal = Journal(options.journal)
        self.equivalents = Equivalents()
        self.ends = time.monotonic() + options.seconds if options.seconds else None
        self.done, self.all, self.lock = 0, 0, threading.Lock()

    def chosen(self, cell, variant):
        return range(0, len(cell.mutants[variant]), self.o.every)

    def tasks(self):
        """(cell, variant, tool, indices): the unchanged kernel and a sample of every kernel, then the rest, every
        kernel in turn."""
        first, rest = [], []
        for cell in self.cells:
            for variant in range(len(cell.texts)):
                for tool in self.o.tools:
                    at = list(self.chosen(cell, variant))
                    parts = ([None] + at[::SAMPLE], [i for n, i in enumerate(at) if n % SAMPLE])
                    for chunks, part in zip((first, rest), parts):
                        part = [i for i in part if key_of(cell, variant, i, tool) not in self.journal.known]
                        chunks += [(n, (cell, variant, tool, part[n:n + CHUNK])) for n in range(0, len(part), CHUNK)]
        return [task for chunks in (first, rest) for _, task in sorted(chunks, key=lambda c: c[0])]

    def named(self, cell, variant, index, tool):
        """The name of a mutant that survives, or None."""
        if index is None:
            return "unchanged"
        other = self.journal.known.get(key_of(cell, variant, index, TOOLS[1 - TOOLS.index(tool)]), ("unasked",))
        passes = other[0] == "survived" or (other[0] == "unasked" and self.o.tools == [tool])
        return self.equivalents.name_of(cell.arch, cell.mutants[variant][index], tool, not passes)

    def undecided(self, cell, variant, index, tool):
        """Whether it has a name if the other tool lets it pass too, which has not been asked yet (of a sample)."""
        other = TOOLS[1 - TOOLS.index(tool)]
        asked = key_of(cell, variant, index, other) in self.journal.known
        return not asked and self.equivalents.name_of(cell.arch, cell.mutants[variant][index], tool, False) is not None

    def work(self, task):
        cell, variant, tool, indices = task
        judge = Judge(self.o.judge, cell, variant)
        for index in indices:
            if self.ends is not None:
                judge.patience = min(PATIENCE, self.ends - time.monotonic())
                if judge.patience <= 0:
                    break
            mutant = None if index is None else cell.mutants[variant][index]
            verdict = judge.ask(tool[0], mutant)
            if verdict[0] == "survived" and tool == "verifier" and not self.named(cell, variant, index, tool):
                verdict = judge.ask("w", mutant)
            if verdict[0] != "timeout" or judge.patience == PATIENCE:
                self.journal.put(key_of(cell, variant, index, tool), verdict)
            self.progress(f"{cell.kernel} {cell.arch} {tool}")
        judge.close()

    def progress(self, what):
        with self.lock:
            self.done += 1
            if sys.stderr.isatty():
                filled = 30 * self.done // max(1, self.all)
                sys.stderr.write(f"\r\033[K[{'#' * filled}{'.' * (30 - filled)}] {self.done} of {self.all} {what}")

    def run(self):
        tasks = self.tasks()
        self.all = sum(len(task[3]) for task in tasks)
        with concurrent.futures.ThreadPoolExecutor(self.o.jobs) as pool:
            for done in concurrent.futures.as_completed([pool.submit(self.work, task) for task in tasks]):
                done.result()
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")


# ---- the score of a cell ---------------------------------------------------------------------------


class Score:
    def __init__(self):
        self.judged = self.seen = self.malformed = 0
        self.equivalent = {}
        self.survivors = []

    def text(self):
        """What a line of scores.tsv says of a tool."""
        counted = self.judged - self.malformed - sum(self.equivalent.values())
        return f"{self.seen}/{counted}"


def score(walk, cell, tool):
    s = Score()
    for variant in range(len(cell.texts)):
        unchanged = walk.journal.known.get(key_of(cell, variant, None, tool))
        if unchanged is not None and unchanged[0] != "survived":
            s.survivors.append((variant, None, unchanged))
        for index in walk.chosen(cell, variant):
            verdict = walk.journal.known.get(key_of(cell, variant, index, tool))
            if verdict is None:
                continue
            mutant = cell.mutants[variant][index]
            name = walk.named(cell, variant, index, tool) if verdict[0] == "survived" else None
            if verdict[0] == "survived" and name is None and walk.undecided(cell, variant, index, tool):
                continue
            s.judged += 1
            s.seen += verdict[0] in SEEN
            s.malformed += verdict[0] == "malformed"
            if name is not None:
                s.equivalent[name] = s.equivalent.get(name, 0) + 1
            elif verdict[0] not in SEEN | {"malformed"}:
                s.survivors.append((variant, mutant, verdict))
            if walk.o.list:
                print(f"{verdict[0]:10} {name or '':6} {tool} {cell.kernel} {cell.arch} {variant} ptx:{mutant.line} "
                      f"{mutant.name}: {verdict[1]} {verdict[2][:200]}")
    return s


def report(walk):
    """Prints the scores; lines for scores.tsv by (kernel, arch), and the number of survivors."""
    lines, missed = {}, 0
    for cell in walk.cells:
        scores = {tool: score(walk, cell, tool) for tool in walk.o.tools}
        for tool, s in scores.items():
            for variant, mutant, verdict in s.survivors:
                where = "the unchanged kernel" if mutant is None else f"ptx:{mutant.line} {mutant.name}: ...{mutant.was[-110:]}"
                print(f"{verdict[0].upper()} {tool} {cell.kernel} {cell.arch} schedule {variant} {where} {verdict[2][:300]}")
            missed += len(s.survivors)
        total = sum(len(m) for m in cell.mutants)
        missed += walk.o.command == "lib" and not walk.o.bless and older(cell)
        judged = " ".join(f"{tool} {s.text()}" for tool, s in scores.items())
        print(f"{cell.kernel} {cell.arch}: {total} mutants, {judged}")
        lines[(cell.kernel, cell.arch)] = score_line(cell, scores, total)
    return lines, missed


def older(cell):
    """Whether the line in scores.tsv is of another number of schedules than the kernel has now."""
    row = read_scores().get((cell.kernel, cell.arch))
    if row is None or int(row[2]) == len(cell.texts):
        return 0
    print(f"STALE scores.tsv {cell.kernel} {cell.arch}: of {row[2]} schedules, there are {len(cell.texts)}")
    return 1


def stale(cells):
    rows = read_scores()
    wrong = [f"{cell.kernel} {cell.arch}" for cell in cells
             if rows.get((cell.kernel, cell.arch), [])[DIGEST:] != [cell.digest()]]
    print("\n".join(wrong + [f"{len(cells)} kernels, {len(wrong)} changed since they were judged"]))
    return int(bool(wrong) or not cells)


def score_line(cell, scores, total):
    names = {}
    for s in scores.values():
        for name, n in s.equivalent.items():
            names[name] = max(names.get(name, 0), n)
    judged = min(s.judged for s in scores.values())
    columns = [cell.kernel, cell.arch, len(cell.texts), total, judged, *(s.text() for s in scores.values()),
               " ".join(f"{name}:{n}" for name, n in sorted(names.items())) or "-", cell.digest()]
    return [str(c) for c in columns]


# ---- scores.tsv --------------------------------------------------------------------------------------

HEAD = """# Mutation scores of lib/, written by 'mutation.py lib ... --bless'. A line a kernel and target; columns, cut by tabs:
#   kernel, target
#   schedules      of the kernel there, each with PTX of its own
#   mutants        of all of them
#   judged         so many of them by the tool that judged fewer: a sample where it is not all
#   detector       seen / judged that are neither equivalent nor malformed
#   verifier       refused / the same
#   equivalents    names in equivalent.txt with how many mutants each stands for (of the two tools the greater number)
#   digest         of the PTX that was judged: 'mutation.py stale' finds the lines of others
"""
EQUIVALENTS, DIGEST, COLUMNS = 7, 8, 9


def read_scores():
    if not os.path.exists(SCORES):
        return {}
    with open(SCORES, encoding="ascii") as f:
        rows = [line.rstrip("\n") for line in f if line.strip() and not line.startswith("#")]
    return {tuple(row.split("\t")[:2]): row.split("\t") for row in rows}


def write_scores(lines):
    with open(SCORES, "w", encoding="ascii") as f:
        f.write(HEAD + "".join("\t".join(lines[key]) + "\n" for key in sorted(lines)))


def holes(root):
    cells = {(row.kernel, arch) for row in coverage.read_table(root) for arch in coverage.TARGETS
             if row.outcome[arch] == "ok"}
    scores = read_scores()
    wrong = [f"kernel '{k}' on {a} has no line in tests/sim/mutation/scores.tsv: mutation.py lib JUDGE FP4C ROOT "
             f"--only '{k} {a}' --bless" for k, a in sorted(cells - set(scores))]
    wrong += [f"scores.tsv: there is no kernel '{k}' on {a}" for k, a in sorted(set(scores) - cells)]
    known = {entry[0] for entry in Equivalents().known}
    for key, row in sorted(scores.items()):
        if len(row) not in (DIGEST, COLUMNS): # without a digest it is stale
            wrong.append(f"scores.tsv, {' '.join(key)}: {len(row)} columns instead of {COLUMNS}")
            continue
        names = set() if row[EQUIVALENTS] == "-" else {part.split(":")[0] for part in row[EQUIVALENTS].split()}
        wrong += [f"scores.tsv, {' '.join(key)}: equivalent.txt has no '{n}'" for n in sorted(names - known)]
    print("\n".join(wrong + [f"{len(scores)} lines, {len(wrong)} wrong"]))
    return int(bool(wrong) or not scores)


# ---- commands ----------------------------------------------------------------------------------------


def options():
    a = argparse.ArgumentParser(usage=__doc__)
    a.add_argument("command", choices=["one", "lib", "holes", "stale"])
    a.add_argument("at", nargs="+")
    a.add_argument("--kernel")
    a.add_argument("--only", default="")
    a.add_argument("--tool", choices=TOOLS)
    a.add_argument("--every", type=int, default=1)
    a.add_argument("--jobs", type=int, default=1)
    a.add_argument("--list", action="store_true")
    a.add_argument("--journal")
    a.add_argument("--modules")
    a.add_argument("--compile", action="store_true")
    a.add_argument("--seconds", type=float)
    a.add_argument("--bless", action="store_true")
    o = a.parse_args()
    if len(o.at) != {"one": 4, "lib": 3, "holes": 1, "stale": 2}[o.command]:
        a.error(f"'{o.command}' takes other arguments")
    o.tools = TOOLS if o.tool is None else [o.tool]
    return o


def cells_of(o, modules):
    if o.command in ("lib", "stale"):
        return cells_of_lib(o.at[-1], modules, o.only)
    _, _, arch, path = o.at
    return [Cell(path, k, arch, os.path.join(modules, f"{k}.{arch}.tkm")) for k in kernels_of(path)
            if o.kernel in (None, k)]


def judge_all(o, modules):
    cells = cells_of(o, modules)
    if o.modules is None or o.compile:
        with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
            wrong = [w for w in pool.map(lambda c: compile_cell(o.fp4c, c), cells) if w is not None]
        if wrong or o.compile:
            print("\n".join(wrong) or f"{len(cells)} modules")
            return int(bool(wrong))
    for cell in cells:
        cell.read()
    if o.command == "stale":
        return stale(cells)
    walk = Walk(o, cells)
    walk.run()
    lines, missed = report(walk)
    if o.bless and o.command == "lib" and o.tools == TOOLS:
        write_scores({**read_scores(), **lines})
    return int(missed > 0 or not cells)


def main():
    o = options()
    if o.command == "holes":
        return holes(o.at[0])
    o.judge, o.fp4c = o.at[0], o.at[0 if o.command == "stale" else 1]
    if o.modules is not None:
        os.makedirs(o.modules, exist_ok=True)
        return judge_all(o, o.modules)
    with tempfile.TemporaryDirectory() as folder:
        return judge_all(o, folder)


sys.exit(main())

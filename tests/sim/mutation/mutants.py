"""The mutants of a PTX text: one synchronisation removed, moved or miscounted at a time; and those that
nothing can tell from the kernel (equivalent.txt)."""
import os
import re

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


class Mutant:
    """Bytes start to end of the text replaced by 'text'; 'was' is the instruction and what stands before it, and in
    a second line what stands behind it."""

    def __init__(self, name, match, text, whole):
        self.name, self.start, self.end, self.text = name, match.start(), match.end(), text
        self.line = whole.count("\n", 0, match.start()) + 1
        self.was = " ".join(whole[max(0, match.start() - 700):match.end()].split())
        self.next = " ".join(whole[match.end():match.end() + 300].split())


def mutants(text):
    found = []
    for name, pattern in REMOVED:
        found += [Mutant("without " + name, m, "", text) for m in re.finditer(pattern, text)]
    for name, pattern, change in CHANGED + MOVED:
        found += [Mutant(name, m, change(m), text) for m in re.finditer(pattern, text) if m.group(0) != change(m)]
    return sorted(found, key=lambda m: (m.start, m.name))


class Equivalents:
    """equivalent.txt: lines 'NAME | TARGET [TOOL] | mutant | instruction (regular expression) | reason'."""

    def __init__(self):
        self.known = []
        with open(os.path.join(HERE, "equivalent.txt"), encoding="ascii") as f:
            for line in f:
                if line.strip() and not line.startswith("#"):
                    name, where, mutant, pattern, _ = [part.strip() for part in line.split(" | ", 4)]
                    self.known.append((name, where.split(), mutant, re.compile(pattern, re.MULTILINE)))

    def name_of(self, arch, mutant, tool, other_sees):
        """The name under which a mutant that survives 'tool' is equivalent, or None. One that the other tool
        sees is not, unless the line says that this tool alone lets it pass."""
        for name, where, what, pattern in self.known:
            if where[0] in (arch, "*") and what == mutant.name and pattern.search(f"{mutant.was}\n{mutant.next}"):
                if tool in where[1:] or not other_sees:
                    return name
        return None

"""The mutants of a PTX text: one synchronisation removed, moved or miscounted at a time; and those that
nothing can tell from the kernel (equivalent.txt)."""
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))

GUARD = r"(?:@!?[%$\w]+\s+)?"
START = r"(?<![\w.])"
NAME = r"[%$\w]+"  # a register or a number
BARRIER = START + r"(?:bar|barrier)(?:\.cta)?\.(?:sync|arrive)(?:\.aligned)?"
ARRIVE = START + r"mbarrier\.arrive\.(?!expect_tx)[^;]*;"
NEXT = r"(?:(?!\s*(?:[$@{}]|bra\b|ret\b))[^;]*;)"  # an instruction that nothing branches around

# Removed altogether, with their guards: (name, pattern of the instruction).
REMOVED = [
    ("fence.proxy.async", r"fence\.proxy\.async[\w.:]*;"),
    ("fence.proxy.tensormap", r"fence\.proxy\.tensormap::generic[^;]*;"),
    ("fence.mbarrier_init", r"fence\.mbarrier_init[\w.:]*;"),
    ("fence", r"(?:fence\.(?:acq_rel|sc|release|acquire)[\w.:]*|membar\.[\w.]+);"),
    ("tcgen05.fence::before_thread_sync", r"tcgen05\.fence::before_thread_sync;"),
    ("tcgen05.fence::after_thread_sync", r"tcgen05\.fence::after_thread_sync;"),
    ("tcgen05.wait::ld", r"tcgen05\.wait::ld[\w.]*;"),
    ("tcgen05.wait::st", r"tcgen05\.wait::st[\w.]*;"),
    ("tcgen05.commit", r"tcgen05\.commit\.[^;]*;"),
    ("tcgen05.alloc", r"tcgen05\.alloc\.[^;]*;"),
    ("tcgen05.dealloc", r"tcgen05\.dealloc\.[^;]*;"),
    ("wgmma.fence", r"wgmma\.fence[\w.]*;"),
    ("wgmma.commit_group", r"wgmma\.commit_group[\w.]*;"),
    ("wgmma.wait_group", r"wgmma\.wait_group[^;]*;"),
    ("cp.async.bulk.commit_group", r"cp\.async\.bulk\.commit_group;"),
    ("cp.async.bulk.wait_group", r"cp\.async\.bulk\.wait_group[^;]*;"),
    ("cp.async.commit_group", r"cp\.async\.commit_group;"),
    ("cp.async.wait", r"cp\.async\.wait_(?:all|group)[^;]*;"),
    ("cp.async.mbarrier.arrive", r"cp\.async\.mbarrier\.arrive\.[^;]*;"),
    ("mbarrier.arrive", r"mbarrier\.arrive\.(?!expect_tx)[^;]*;"),
    ("mbarrier.arrive.expect_tx", r"mbarrier\.arrive\.expect_tx[^;]*;"),
    ("mbarrier.expect_tx", r"mbarrier\.expect_tx[^;]*;"),
    ("mbarrier.init", r"mbarrier\.init\.[^;]*;"),
    ("bar.sync", r"(?:bar|barrier)(?:\.cta)?\.(?:sync|red)[^;]*;"),
    ("bar.arrive", r"(?:bar|barrier)(?:\.cta)?\.arrive[^;]*;"),
    ("bar.warp.sync", r"bar\.warp\.sync[^;]*;"),
    ("barrier.cluster", r"barrier\.cluster\.arrive[\w.]*;\s*barrier\.cluster\.wait[\w.]*;"),
    ("barrier.cluster.arrive", r"barrier\.cluster\.arrive[\w.]*;(?!\s*barrier\.cluster\.wait)"),
    ("barrier.cluster.wait", r"barrier\.cluster\.wait[\w.]*;"),
    ("griddepcontrol.wait", r"griddepcontrol\.wait;"),
]

WAIT = (f"({GUARD})({START}mbarrier\\.(?:try_wait|test_wait)(?:\\.parity)?[\\w.:]*\\s+({NAME}), *\\[[^\\]]*\\], *)({NAME})"
        f"((?:, *{NAME})?;)")


def with_other(operation):
    """In place of the last number of an instruction (guard, the instruction up to it, the number, the end) what the
    operation makes of it."""
    return lambda m: ("{ .reg .b32 other; %s other, %s; %s%sother%s }" %
                      (operation.split()[0], f"{m.group(3)}, {operation.split()[1]}", m.group(1), m.group(2), m.group(4)))


def number(delta):
    return lambda m: f"{m.group(1)}{int(m.group(2)) + delta};"


def elected(m):
    return (f"mov.u32 {m.group(1)}, 0; " if m.group(1) != "_" else "") + f"mov.pred {m.group(2)}, -1;"


# Changed: (name, pattern, replacement as a function of the match).
CHANGED = [
    ("mbarrier wait passes at once", WAIT, lambda m: f"{m.group(1)}mov.pred {m.group(3)}, -1;"),
    ("mbarrier wait for the other parity", WAIT,
     lambda m: "{ .reg .b32 other; xor.b32 other, %s, 1; %s%sother%s }" %
     (m.group(4), m.group(1), m.group(2), m.group(5)) if ".parity" in m.group(2) else m.group(0)),
    ("mbarrier wait without acquire", WAIT,
     lambda m: re.sub(r"(_wait(?:\.parity)?)(\.(?:acquire|relaxed)\.\w+)?", r"\1.relaxed.cluster", m.group(0), count=1)),
    ("mbarrier arrives without release", START + r"mbarrier\.arrive(\.release\.\w+)?(\.shared[^;]*;)",
     lambda m: f"mbarrier.arrive.relaxed.cluster{m.group(2)}"),
    ("mbarrier arrives twice", f"{GUARD}{ARRIVE}", lambda m: f"{m.group(0)} {m.group(0)}"),
    ("mbarrier counts one more", f"({GUARD})({START}mbarrier\\.init\\.[^;]*, *)({NAME})(;)", with_other("add.u32 1")),
    ("mbarrier counts one less", f"({GUARD})({START}mbarrier\\.init\\.[^;]*, *)({NAME})(;)", with_other("sub.u32 1")),
    ("mbarrier expects 16 bytes more", f"({GUARD})({START}mbarrier\\.(?:arrive\\.)?expect_tx[^;]*, *)({NAME})(;)",
     with_other("add.u32 16")),
    ("mbarrier expects 16 bytes less", f"({GUARD})({START}mbarrier\\.(?:arrive\\.)?expect_tx[^;]*, *)({NAME})(;)",
     with_other("sub.u32 16")),
    ("copies raise the count they arrive at", START + r"cp\.async\.mbarrier\.arrive\.noinc",
     lambda m: "cp.async.mbarrier.arrive"),
    ("wait_group leaves one more", START + r"((?:wgmma|cp\.async|cp\.async\.bulk)\.wait_group[\w.]*\s+)(\d+);", number(1)),
    ("wait_group waits for reads only", START + r"cp\.async\.bulk\.wait_group(\s+\d+;)",
     lambda m: f"cp.async.bulk.wait_group.read{m.group(1)}"),
    ("commit signals one CTA only", START + r"tcgen05\.commit\.[^;]*multicast[^;]*;",
     lambda m: re.sub(r"\.multicast::cluster", "", m.group(0)).rsplit(",", 1)[0] + ";"),
    ("half of the columns", f"({GUARD})({START}tcgen05\\.alloc\\.[^;]*, *)({NAME})(;)", with_other("shr.u32 1")),
    ("named barrier of other threads", f"({BARRIER}\\s+{NAME}, *)(\\d+);", number(-32)),
    ("named barrier of other threads", f"({GUARD})({BARRIER}\\s+{NAME}, *)(%\\w+)(;)", with_other("sub.u32 32")),
    ("named barrier of the next number", f"({GUARD})({BARRIER}\\s+)({NAME})(, *{NAME};)", with_other("add.u32 1")),
    ("cluster barrier without release", START + r"barrier\.cluster\.arrive(?:\.release)?(\.aligned)?;",
     lambda m: f"barrier.cluster.arrive.relaxed{m.group(1) or ''};"),
    ("fence.proxy.async of the other space", START + r"fence\.proxy\.async\.(shared::\w+|global);",
     lambda m: "fence.proxy.async.%s;" % ("shared::cta" if m.group(1) == "global" else "global")),
    ("scope of the block", START + r"((?:mbarrier|fence|ld|st|red|atom)\.(?!mbarrier_init)[\w.:]*?(?:acquire|release|acq_rel|sc|relaxed)\.)"
     r"(?:cluster|gpu|sys)\b", lambda m: f"{m.group(1)}cta"),
    ("load without acquire", START + r"ld\.acquire\b", lambda m: "ld.relaxed"),
    ("flag without release", START + r"((?:st|red|atom)\.[\w.:]*?)(?:release|acq_rel)\b", lambda m: f"{m.group(1)}relaxed"),
    ("every lane is elected", f"{START}elect\\.sync\\s+({NAME})\\|({NAME}), *[^;]*;", elected),
]

# Moved: the instruction changes places with the one behind it that touches memory or a barrier.
MOVED = [
    ("fence.proxy.async behind the barrier", r"(fence\.proxy\.async[\w.:]*;)((?:[^;{}]*;){0,3}?)(\s*(?:bar|barrier)\.(?:sync|arrive)[^;]*;)",
     lambda m: m.group(2) + m.group(3) + "\n\t" + m.group(1)),
    ("arrival in front of the wait for what it releases", r"(wgmma\.wait_group[^;]*;)((?:[^;{}]*;){0,4}?)(\s*(?:@!?%p\d+ )?mbarrier\.arrive\.(?!expect)[^;]*;)",
     lambda m: m.group(2) + m.group(3) + "\n\t" + m.group(1)),
    ("arrival in front of tcgen05.wait::ld", r"(tcgen05\.wait::ld[\w.]*;)((?:[^;{}]*;){0,200}?)(\s*(?:@!?%p\d+ )?mbarrier\.arrive\.(?!expect)[^;]*;)",
     lambda m: m.group(3) + "\n\t" + m.group(1) + m.group(2)),
    ("arrival in front of the last read", f"({START}(?:ldmatrix|ld\\.shared)[^;]*;)({NEXT}{{0,12}}?)(\\s*{GUARD}{ARRIVE})",
     lambda m: m.group(3) + "\n\t" + m.group(1) + m.group(2)),
]


class Mutant:
    """Bytes start to end of the text replaced by 'text'; 'was' is the instruction and what stands before it, and in
    a second line what stands behind it."""

    def __init__(self, name, match, text, whole):
        self.name, self.start, self.end, self.text = name, match.start(), match.end(), text
        self.line = whole.count("\n", 0, match.start()) + 1
        self.was = " ".join(whole[max(0, match.start() - 700):match.end()].split())
        self.next = " ".join(whole[match.end():match.end() + 700].split())


KINDS = [(name, re.compile(pattern), change)
         for name, pattern, change in [("without " + n, GUARD + START + p, lambda m: "") for n, p in REMOVED] + CHANGED + MOVED]
INSTRUCTION = re.compile(START + r"(?:fence|membar|tcgen05|wgmma|cp|mbarrier|bar|barrier|griddepcontrol|elect|ldmatrix|ld|st|red|atom)\.")
GUARD_BEFORE = re.compile(r"@!?[%$\w]+\s+\Z")


def mutants(text):
    found = []
    for instruction in INSTRUCTION.finditer(text):
        at = instruction.start()
        if "//" in text[text.rfind("\n", 0, at) + 1:at]:
            continue
        guard = GUARD_BEFORE.search(text[max(0, at - 40):at])
        for name, pattern, change in KINDS:
            m = (guard and pattern.match(text, at - len(guard.group(0)))) or pattern.match(text, at)
            if m and m.group(0) != change(m):
                found.append(Mutant(name, m, change(m), text))
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

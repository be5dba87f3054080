// The static verifier of PTX (language.md 4.4 to 4.6, C1 to C5): reads the text of warp-specialised
// kernels, rebuilds roles, barriers and proxies from it, and accepts or refuses.
//
// Nothing is shared with the generator but the fence table (fence.def). A kernel is followed
// symbolically: every role of one cluster, thread by thread, with data left unknown and run-time
// sizes enumerated, so that every ring of slots goes round and every loop also runs not at all.
// What is checked does not depend on the order in which the roles were followed: accesses are
// compared by what is ordered before them (vector clocks), not by what happened first.
#ifndef FP4_VERIFY_H
#define FP4_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VERIFY_MOST_PARAMS = 64,
    VERIFY_MOST_TEXT = 1000,
    VERIFY_PAIRED = 12, // so many sizes are large two at a time
    // Eight of every kernel, eight of each of its sizes, those of pairs; and one that looks for boxes.
    VERIFY_MOST_CASES = 9 + 8 * VERIFY_MOST_PARAMS + VERIFY_PAIRED * (VERIFY_PAIRED - 1) / 2
};

// What a module says beside the PTX. Without it boxes follow from expect_tx and the gaps between
// slots, and the threads from .maxntid or .reqntid.
typedef struct {
    // Of the tensor map in this PTX parameter, 0: unknown. In shared memory; as mbarriers count it.
    uint32_t box_bytes[VERIFY_MOST_PARAMS], box_tx[VERIFY_MOST_PARAMS];
    uint32_t threads, smem_bytes, entry_regs; // 0: unknown
    bool pdl;                        // may begin before the kernel before is over
    bool early[VERIFY_MOST_PARAMS];  // what this tensor map is of nobody writes meanwhile
} verify_facts;

typedef struct {
    char kernel[128];
    bool accepted;
    uint32_t line;                   // of the PTX, when refused
    char sentence[VERIFY_MOST_TEXT]; // why
    // What was followed.
    int runs, warps, barriers, phases, copies, instructions;
    int rounds; // of the last run: the fewest phases of a barrier that bytes came to; 0: none did
} verify_report;

typedef struct {
    const char *ptx;
    size_t len;
    const char *kernel;        // NULL: each of the text
    const verify_facts *facts; // NULL: none
    uint64_t most_steps;       // instructions of a warp in one run; 0: the default
    // In and out, NULL: none. Of each case of one kernel how often its sizes had to be halved: where the
    // search begins in another text of nearly the same kernel. VERIFY_MOST_CASES of them.
    uint8_t *halved;
} verify_job;

// Reports of the kernels of a text, at most 'most'; the number of them. A text that cannot be read
// is one refused report without a kernel's name. The same text gives the same reports.
int verify_ptx(const verify_job *job, verify_report *out, int most);

#endif

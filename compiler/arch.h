// Limits of the machines: arch.def.
#ifndef FP4_COMPILER_ARCH_H
#define FP4_COMPILER_ARCH_H

#include "mma.h"
#include "tir.h"

typedef struct {
    const char *name;
    int smem_bytes; // of a CTA
    int sm_threads; // resident on an SM
    int tmem_columns;
    int family; // MMA_TCGEN05, ...
    const char *mma_fact;
    bool narrow_cvt; // conversions to 4- and 6-bit elements and to ue8m0
} arch_info;

enum {
    ARCH_COUNT = ARCH_SM120A + 1,
    ARCH_REGS = 65536,       // 32-bit registers of an SM
    ARCH_MAX_REGS = 255,     // of a thread
    ARCH_MAX_THREADS = 1024, // of a CTA
    ARCH_CTA_SMEM = 1024,    // shared memory that each CTA takes beside what it asks for
    ARCH_MAX_CLUSTER = 8,    // CTAs of a cluster of portable size
    ARCH_LANES = 32,         // of a warp
    ARCH_WG_WARPS = 4,       // warps of a warpgroup, the unit of setmaxnreg
};

extern const arch_info arch_infos[ARCH_COUNT];
// -1 if there is no such machine.
int arch_find(const char *name);
// CTAs of a kernel that an SM holds at once, by its shared memory, registers, threads and TMEM.
int arch_ctas_per_sm(const tir_kernel *k);

#endif

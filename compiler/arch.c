// The table of machines.
#include "arch.h"

#include <string.h>

const arch_info arch_infos[ARCH_COUNT] = {
#define FP4_ARCH(id, name, smem, threads, tmem, family, fact, narrow)                                \
    [ARCH_##id] = {name, smem, threads, tmem, family, fact, narrow},
#include "arch.def"
#undef FP4_ARCH
};

int arch_find(const char *name) {
    for (int i = 0; i < ARCH_COUNT; i++) {
        if (strcmp(arch_infos[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static int fewer(int n, int have, int need) {
    return need > 0 && have / need < n ? have / need : n;
}

// An SM has one CTA's shared memory and what that takes beside; a warp's registers come in units of
// 256, which a multiple of 8 a thread is.
int arch_ctas_per_sm(const tir_kernel *k) {
    const arch_info *a = &arch_infos[k->arch];
    int n = fewer(a->sm_threads, a->sm_threads, k->threads);
    n = fewer(n, a->smem_bytes + ARCH_CTA_SMEM, k->smem_bytes + ARCH_CTA_SMEM);
    n = fewer(n, ARCH_REGS, k->threads * ((k->entry_regs + 7) / 8 * 8));
    n = fewer(n, a->tmem_columns, k->tmem_columns);
    return n > 1 ? n : 1;
}

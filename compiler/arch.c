// The table of machines.
#include "arch.h"

#include <string.h>

const arch_info arch_infos[ARCH_COUNT] = {
#define FP4_ARCH(id, name, smem, tmem, family, fact, narrow)                                         \
    [ARCH_##id] = {name, smem, tmem, family, fact, narrow},
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

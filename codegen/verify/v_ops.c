// Opcodes: the function that follows each.
#include "v.h"

#include <string.h>

static const struct {
    const char *prefix;
    v_step *step;
} ops[] = {
#define V_OP(prefix, step) {prefix, step},
#include "v_ops.def"
#undef V_OP
};

v_step *v_find_step(const char *op, v_ins *i) {
    v_step *best = NULL;
    size_t longest = 0;
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
        size_t n = strlen(ops[k].prefix);
        bool ends =
            strncmp(op, ops[k].prefix, n) == 0 && (op[n] == '\0' || op[n] == '.' || op[n] == ':');
        if (ends && n > longest) {
            best = ops[k].step;
            longest = n;
        }
    }
    if (best == NULL && v_alu_decode(op, i)) {
        best = v_alu;
    }
    return best;
}

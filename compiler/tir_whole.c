// What is known of run-time sizes: which numbers divide them, from the kernel's where clauses.
#include "tir.h"

// "N % c == 0" among the clauses, with c a multiple of 'of'.
static bool is_stated(const tir_kernel *k, int dim, int64_t of) {
    for (int i = 0; i < k->n_where; i++) {
        const tir_size *e = k->where[i].cond;
        if (e->op == SZ_EQ && e->a->op == SZ_MOD && e->a->a->op == SZ_DIM && e->a->a->dim == dim &&
            e->a->b->op == SZ_INT && e->a->b->value > 0 && e->a->b->value % of == 0 &&
            e->b->op == SZ_INT && e->b->value == 0) {
            return true;
        }
    }
    return false;
}

bool tir_is_whole(const tir_kernel *k, const tir_size *size, int64_t of) {
    switch (size->op) {
    case SZ_INT:
        return size->value % of == 0;
    case SZ_DIM:
        return of == 1 || is_stated(k, size->dim, of);
    case SZ_ADD:
    case SZ_SUB:
        return tir_is_whole(k, size->a, of) && tir_is_whole(k, size->b, of);
    case SZ_MUL:
        return tir_is_whole(k, size->a, of) || tir_is_whole(k, size->b, of) ||
               (size->b->op == SZ_INT && of % size->b->value == 0 &&
                tir_is_whole(k, size->a, of / size->b->value));
    case SZ_DIV:
    case SZ_CEILDIV:
        return size->b->op == SZ_INT && size->b->value > 0 &&
               tir_is_whole(k, size->a, of * size->b->value);
    default:
        return of == 1;
    }
}

// What planning, verification and code generation ask of a role program alike: answers that follow
// from its fields alone.
#include "tir.h"

bool tir_combines(const tir_kernel *k, int role, int acc) {
    const tir_acc *a = &k->accs[acc];
    return (a->channel < 0 ? a->role : k->channels[a->channel].to) == role;
}

bool tir_is_promoted(const tir_kernel *k, int acc) {
    for (int i = 0; i < k->n_mmas; i++) {
        if (k->mmas[i].acc == acc && k->mmas[i].promote > 0) {
            return true;
        }
    }
    return false;
}

bool tir_store_walks(const tir_kernel *k, const tir_store *s, int loop) {
    for (int i = 0; i < s->n_axes; i++) {
        const tir_axis *a = &s->axes[i];
        if (a->loop == loop &&
            !(a->mul == 1 && a->add == 0 && a->floor == 0 && a->piece == 0 && a->div == k->loops[loop].tile && a->div > 1)) {
            return true;
        }
    }
    return false;
}

bool tir_varies(const tir_expr *e, int loop) {
    if (e->kind == TX_REDUCE && e->ref == loop) {
        return false;
    }
    bool found = e->kind == TX_INDEX && e->ref == loop;
    for (int i = 0; i < e->n_axes && !found; i++) {
        found = e->axes[i].loop == loop;
    }
    for (int i = 0; i < e->n_args && !found; i++) {
        found = tir_varies(e->args[i], loop);
    }
    return found;
}

bool tir_is_multiple(const tir_expr *e, int of) {
    switch (e->kind) {
    case TX_CONST:
        return e->type == ELEM_I32 && (int64_t)e->value % of == 0;
    case TX_BINARY:
        return e->op == OP_MUL   ? tir_is_multiple(e->args[0], of) || tir_is_multiple(e->args[1], of)
               : e->op == OP_ADD ? tir_is_multiple(e->args[0], of) && tir_is_multiple(e->args[1], of)
                                 : false;
    default:
        return false;
    }
}

bool tir_reads_acc(const tir_expr *e) {
    bool found = e->kind == TX_ACC;
    for (int i = 0; i < e->n_args && !found; i++) {
        found = tir_reads_acc(e->args[i]);
    }
    return found;
}

int tir_gcd(int a, int b) {
    while (b != 0) {
        int t = a % b;
        a = b;
        b = t;
    }
    return a;
}

layout_kind tir_laid(const tir_param *p) {
    return p->is_tensor && p->scale == ELEM_NONE && p->layout != NULL ? layout_find(p->layout) : LAYOUT_LINEAR;
}

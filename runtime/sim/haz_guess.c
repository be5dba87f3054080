// Plain loads of what a compare-and-swap compares with, as in
//     old = *p; do { was = old; old = atomicCAS(p, was, f(was)); } while (old != was);
// The first load races with the swaps of other threads by the letter of the memory model, but what it
// returned is checked again by the swap: in practice it counts as a relaxed load. Other uses of the value
// are not looked at (f has one): a race of a load that is also used without a swap is found in the other profiles only.
#include "alu.h"
#include "haz.h"
#include <stdlib.h>

// Rows that a compare-and-swap compares with, and those that are moved into them.
static void mark_compared(const struct haz *h, bool *row) {
    const struct sim_kernel *k = &h->kernel;
    for (uint32_t n = 0; n < k->n_code; n++) {
        const struct atom_aux *x = k->code[n].aux;
        if (h->ins[n].fn == run_atom && x->op == ATOM_CAS) {
            for (int e = 0; e < x->n; e++) {
                row[x->value[e]] = true;
            }
        }
    }
    for (bool more = true; more;) {
        more = false;
        for (uint32_t n = k->n_code; n > 0; n--) {
            const struct uop *u = &k->code[n - 1];
            uop_fn *fn = h->ins[n - 1].fn;
            bool moves = fn == alu_fn(ALU_MOV_32) || fn == alu_fn(ALU_MOV_64);
            if (moves && u->d >= 4 && row[u->d] && !row[u->a]) { // rows below are the sink
                row[u->a] = more = true;
            }
        }
    }
}

bool haz_guesses_begin(struct haz *h) {
    const struct sim_kernel *k = &h->kernel;
    bool *compared = calloc(k->n_rows, sizeof *compared);
    if (compared == NULL) {
        return false;
    }
    mark_compared(h, compared);
    for (uint32_t n = 0; n < k->n_code; n++) {
        struct haz_ins *i = &h->ins[n];
        bool loads = i->fn == run_ld || i->fn == run_ld_shared_32;
        const struct mem_aux *x = k->code[n].aux;
        if (loads && x->n == 1 && !i->strong && !i->nc && compared[x->row[0]]) {
            i->strong = true;
            i->order = ORDER_RELAXED;
            i->scope = SCOPE_GPU;
        }
    }
    free(compared);
    return true;
}

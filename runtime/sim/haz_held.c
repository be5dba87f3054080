// Registers that an asynchronous tensor instruction takes or writes, and others touch without the fence or
// wait that the manual asks for:
//   wgmma       accumulators and fragments of A that another instruction reads or writes, with no wgmma.fence
//               before the wgmma that takes them (PTX ISA "wgmma.fence")
//   tcgen05.ld  results that another instruction touches with no tcgen05.wait::ld in between. Hardware holds
//               that instruction back until they are there, and kernels in the field rely on it: in the
//               practice profile the load is then over.
// Which registers that may happen to on some path is found before the launch; as a rule none, and nothing is
// watched. The instructions that touch the others go through haz_touches.
#include "haz.h"
#include <stdlib.h>

enum held { HELD_WGMMA, HELD_LD, N_HELD };

struct flow {
    const struct haz *h;
    const struct sim_kernel *k;
    enum held held;
    uint32_t words;
    uint64_t *operand; // [words] registers that the tensor instructions take or write
    uint64_t *in;      // [micro-operation][words] of these, those that a path since the last fence or wait
                       // leaves touched (wgmma) or on their way (tcgen05.ld)
    uint32_t *use;     // of each micro-operation, the first; and the end
};

static bool has(const uint64_t *set, uint32_t n) {
    return (set[n / 64] >> n % 64 & 1) != 0;
}

static void put(uint64_t *set, uint32_t n) {
    set[n / 64] |= 1ull << n % 64;
}

static bool is_tensor(const struct flow *f, uint32_t n) {
    return f->h->ins[n].fn == (f->held == HELD_WGMMA ? run_wgmma : run_tmem_ld);
}

// The instruction that ends it: wgmma.fence, tcgen05.wait::ld.
static bool is_end(const struct flow *f, uint32_t n) {
    const struct haz_ins *i = &f->h->ins[n];
    return f->held == HELD_WGMMA ? i->fence == FENCE_WGMMA : i->fn == run_tmem_wait && !i->store;
}

// Of wgmma what others do to a register counts when it takes it; of tcgen05.ld the other way round.
static bool sets(const struct flow *f, uint32_t n) {
    return is_tensor(f, n) == (f->held == HELD_LD);
}

// Register r of a wgmma, UINT32_MAX behind the last.
static uint32_t operand_of(const struct wgmma_aux *x, uint32_t r) {
    uint32_t n = (uint32_t)unit_wgmma_regs(&x->op);
    return r < n ? x->d[r] : x->op.a_in_regs && r < n + 4 ? x->a[r - n] : UINT32_MAX;
}

// Descriptors and addresses are read as they are issued.
static void put_operands(const struct flow *f, uint32_t n, uint64_t *set) {
    const struct sim_kernel *k = f->k;
    for (uint32_t r = 0; f->held == HELD_WGMMA; r++) {
        uint32_t reg = operand_of(k->code[n].aux, r);
        if (reg == UINT32_MAX) {
            break;
        }
        put(set, reg);
    }
    for (uint32_t i = f->use[n]; f->held == HELD_LD && i < f->use[n + 1]; i++) {
        if (!k->uses[i].pred && k->uses[i].write) {
            put(set, k->uses[i].row);
        }
    }
}

static bool make(struct flow *f) {
    const struct sim_kernel *k = f->k;
    f->words = (k->n_rows + 63) / 64;
    f->operand = calloc(f->words, sizeof *f->operand);
    f->in = calloc(((size_t)k->n_code + 1) * f->words, sizeof *f->in);
    f->use = calloc(k->n_code + 2, sizeof *f->use);
    if (f->operand == NULL || f->in == NULL || f->use == NULL) {
        return false;
    }
    for (uint32_t n = 0, i = 0; n <= k->n_code; n++) { // uses stand in the order of the code
        while (i < k->n_uses && k->uses[i].uop < n) {
            i++;
        }
        f->use[n] = i;
    }
    for (uint32_t n = 0; n < k->n_code; n++) {
        if (is_tensor(f, n)) {
            put_operands(f, n, f->operand);
        }
    }
    return true;
}

static bool widen(const struct flow *f, uint32_t n, const uint64_t *out) {
    if (n >= f->k->n_code) {
        return false;
    }
    uint64_t *in = f->in + (size_t)n * f->words;
    bool changed = false;
    for (uint32_t i = 0; i < f->words; i++) {
        changed |= (out[i] & ~in[i]) != 0;
        in[i] |= out[i];
    }
    return changed;
}

// What holds behind a micro-operation goes to all that may follow it.
static bool pass_on(const struct flow *f, uint32_t n, uint64_t *out) {
    const struct uop *u = &f->k->code[n];
    memcpy(out, f->in + (size_t)n * f->words, f->words * sizeof *out);
    if (is_end(f, n) && u->guard == 0) {
        memset(out, 0, f->words * sizeof *out);
    }
    for (uint32_t i = f->use[n]; i < f->use[n + 1] && sets(f, n); i++) {
        const struct kernel_use *x = &f->k->uses[i];
        if (!x->pred && has(f->operand, x->row) && (f->held == HELD_WGMMA || x->write)) {
            put(out, x->row);
        }
    }
    bool leaves = u->guard == 0 && (u->fn == run_bra || u->fn == run_brx || u->fn == run_exit);
    bool changed = u->fn == run_bra && widen(f, (uint32_t)u->imm, out);
    for (uint32_t i = 0; u->fn == run_brx && i < u->b; i++) {
        changed |= widen(f, ((const uint32_t *)u->aux)[i], out);
    }
    return (!leaves && widen(f, n + 1, out)) || changed;
}

// Numbers the registers that an instruction may find so in 'id', from 1 on.
static void number(const struct flow *f, uint32_t *id, uint32_t *count) {
    for (uint32_t n = 0; n < f->k->n_code; n++) {
        for (uint32_t i = f->use[n]; i < f->use[n + 1] && !sets(f, n) && !is_end(f, n); i++) {
            const struct kernel_use *x = &f->k->uses[i];
            bool found = !x->pred && has(f->in + (size_t)n * f->words, x->row);
            if (found && id[x->row] == 0) {
                id[x->row] = ++*count;
            }
        }
    }
}

static bool watch(const struct flow *f, const uint32_t *id, struct haz *h) {
    uint32_t room = h->n_touches + f->k->n_uses;
    struct haz_touch *list = realloc(h->touch, (room + 1) * sizeof *list);
    if (list == NULL) {
        return false;
    }
    h->touch = list;
    for (uint32_t n = 0; n < f->k->n_code; n++) {
        struct haz_ins *ins = &h->ins[n];
        uint32_t first = h->n_touches;
        for (uint32_t i = f->use[n]; i < f->use[n + 1]; i++) {
            const struct kernel_use *x = &f->k->uses[i];
            if (!x->pred && id[x->row] != 0 && (x->write || !is_tensor(f, n) || f->held == HELD_WGMMA)) {
                list[h->n_touches++] = (struct haz_touch){id[x->row] - 1, sets(f, n)};
            }
        }
        if (h->n_touches > first) {
            ins->touch = first;
            ins->n_touch = h->n_touches - first;
            ins->inner = h->kernel.code[n].fn;
            h->kernel.code[n].fn = haz_touches;
        }
    }
    return true;
}

static bool begin(struct haz *h, enum held held) {
    struct flow f = {.h = h, .k = h->x->k, .held = held};
    bool any = false;
    for (uint32_t n = 0; n < f.k->n_code; n++) {
        any |= is_tensor(&f, n);
    }
    if (!any) {
        return true;
    }
    bool ok = make(&f);
    uint64_t *set = ok ? calloc(f.words + 1, sizeof *set) : NULL;
    uint32_t *id = ok ? calloc((size_t)f.words * 64 + 1, sizeof *id) : NULL;
    ok = set != NULL && id != NULL;
    for (bool again = ok; again;) {
        again = false;
        for (uint32_t n = 0; n < f.k->n_code; n++) {
            again |= pass_on(&f, n, set);
        }
    }
    if (ok) {
        number(&f, id, &h->n_touched);
        ok = h->n_touched == 0 || watch(&f, id, h);
    }
    free(set);
    free(id);
    free(f.operand);
    free(f.in);
    free(f.use);
    return ok;
}

// A kernel has wgmma or tcgen05, no target has both.
bool haz_held_begin(struct haz *h) {
    return begin(h, HELD_WGMMA) && (h->n_touched != 0 || begin(h, HELD_LD));
}

const struct uop *haz_touches(struct warp *w, const struct uop *u) {
    struct haz *h = w->x->haz;
    const struct haz_ins *i = haz_ins_of(w, u);
    struct haz_thread *t = haz_thread_of(w);
    uint32_t uop = (uint32_t)(u - w->code);
    for (uint32_t n = i->touch; n < i->touch + i->n_touch && exec_mask(w, u) != 0; n++) {
        struct haz_touched *x = &t->touched[h->touch[n].id];
        if (h->touch[n].sets) {
            *x = (struct haz_touched){uop + 1, t->tcgen05 + 1};
        } else if (x->uop != 0) {
            bool load = i->fn != run_wgmma;
            haz_report(h, load ? HAZ_LD_REGISTER : HAZ_WGMMA_REGISTER, uop, x->uop - 1, "warp %u",
                       w->index);
            if (load && h->profile == SIM_HAZARDS_PRACTICE) { // an instruction waits for its operands
                haz_done(t, exec_mask(w, u), t->base + COMP_LD, x->load);
            }
        }
    }
    return i->inner(w, u);
}

void haz_held_end(struct haz_thread *t) {
    memset(t->touched, 0, t->cluster->haz->n_touched * sizeof *t->touched);
}

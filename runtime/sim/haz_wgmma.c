// Registers of wgmma, accumulators and fragments of A, that another instruction reads or writes and that
// a wgmma then takes with no wgmma.fence in between (PTX ISA "wgmma.fence": needed whenever they are
// accessed otherwise). Which registers that may happen to on some path is found before the launch; as a
// rule none, and nothing is watched. The instructions that touch the others go through haz_touches.
#include "haz.h"
#include <stdlib.h>

struct flow {
    const struct haz *h;
    const struct sim_kernel *k;
    uint32_t words;
    uint64_t *operand; // [words] registers of any wgmma
    uint64_t *in;      // [micro-operation][words] of these, touched on some path since the last fence
    uint32_t *use;     // of each micro-operation, the first; and the end
};

static bool has(const uint64_t *set, uint32_t n) {
    return (set[n / 64] >> n % 64 & 1) != 0;
}

static void put(uint64_t *set, uint32_t n) {
    set[n / 64] |= 1ull << n % 64;
}

static bool is_wgmma(const struct flow *f, uint32_t n) {
    return f->h->ins[n].fn == run_wgmma;
}

// Register r of a wgmma, UINT32_MAX behind the last.
static uint32_t operand_of(const struct wgmma_aux *x, uint32_t r) {
    uint32_t n = (uint32_t)unit_wgmma_regs(&x->op);
    return r < n ? x->d[r] : x->op.a_in_regs && r < n + 4 ? x->a[r - n] : UINT32_MAX;
}

static bool make(struct flow *f) {
    const struct sim_kernel *k = f->k;
    f->words = (k->n_rows + 63) / 64;
    f->operand = calloc(f->words, sizeof *f->operand);
    f->in = calloc(((size_t)k->n_code + 1) * f->words, sizeof *f->in);
    f->use = calloc(k->n_code + 1, sizeof *f->use);
    if (f->operand == NULL || f->in == NULL || f->use == NULL) {
        return false;
    }
    for (uint32_t n = 0, i = 0; n <= k->n_code; n++) { // uses stand in the order of the code
        while (i < k->n_uses && k->uses[i].uop < n) {
            i++;
        }
        f->use[n] = i;
        for (uint32_t r = 0; n < k->n_code && is_wgmma(f, n); r++) {
            uint32_t reg = operand_of(k->code[n].aux, r);
            if (reg == UINT32_MAX) {
                break;
            }
            put(f->operand, reg);
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
    if (f->h->ins[n].fence == FENCE_WGMMA && u->guard == 0) {
        memset(out, 0, f->words * sizeof *out);
    }
    for (uint32_t i = f->use[n]; i < f->use[n + 1] && !is_wgmma(f, n); i++) {
        const struct kernel_use *x = &f->k->uses[i];
        if (!x->pred && has(f->operand, x->row)) {
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

// Numbers the registers that a wgmma may find touched in 'id', from 1 on.
static uint32_t number(const struct flow *f, uint32_t *id) {
    uint32_t count = 0;
    for (uint32_t n = 0; n < f->k->n_code; n++) {
        uint32_t reg = 0;
        for (uint32_t r = 0; is_wgmma(f, n) && reg != UINT32_MAX; r++) {
            reg = operand_of(f->k->code[n].aux, r);
            if (reg != UINT32_MAX && has(f->in + (size_t)n * f->words, reg) && id[reg] == 0) {
                id[reg] = ++count;
            }
        }
    }
    return count;
}

static bool watch(const struct flow *f, const uint32_t *id, struct haz *h) {
    h->touch = calloc(f->k->n_uses + 1, sizeof *h->touch);
    if (h->touch == NULL) {
        return false;
    }
    uint32_t count = 0;
    for (uint32_t n = 0; n < f->k->n_code; n++) {
        h->ins[n].touch = count;
        for (uint32_t i = f->use[n]; i < f->use[n + 1]; i++) {
            const struct kernel_use *x = &f->k->uses[i];
            if (!x->pred && id[x->row] != 0) {
                h->touch[count++] = id[x->row] - 1;
            }
        }
        h->ins[n].n_touch = count - h->ins[n].touch;
        if (h->ins[n].n_touch > 0) {
            h->ins[n].inner = h->kernel.code[n].fn;
            h->kernel.code[n].fn = haz_touches;
        }
    }
    return true;
}

bool haz_wgmma_begin(struct haz *h) {
    struct flow f = {.h = h, .k = h->x->k};
    bool any = false;
    for (uint32_t n = 0; n < f.k->n_code; n++) {
        any |= is_wgmma(&f, n);
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
        h->n_touched = number(&f, id);
        ok = h->n_touched == 0 || watch(&f, id, h);
    }
    free(set);
    free(id);
    free(f.operand);
    free(f.in);
    free(f.use);
    return ok;
}

const struct uop *haz_touches(struct warp *w, const struct uop *u) {
    struct haz *h = w->x->haz;
    const struct haz_ins *i = haz_ins_of(w, u);
    struct haz_thread *t = haz_thread_of(w);
    uint32_t uop = (uint32_t)(u - w->code);
    for (uint32_t n = i->touch; n < i->touch + i->n_touch && exec_mask(w, u) != 0; n++) {
        u32 *touched = &t->touched[h->touch[n]]; // 1 + the micro-operation
        if (i->fn != run_wgmma) {
            *touched = uop + 1;
        } else if (*touched != 0) {
            haz_report(h, HAZ_WGMMA_REGISTER, uop, *touched - 1, "warp %u", w->index);
        }
    }
    return i->inner(w, u);
}

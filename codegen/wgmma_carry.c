// The f32 scales of promoted products, from step to step of a loop.
//
// Where a thread needs scales of its rows and of whole blocks of columns, the four lanes that share a row
// read four granules of k at once, a lane each, one group of four ahead; a step takes its own by a shuffle.
// A quarter of the loads, and of the arithmetic on their addresses, is left in the way of the products.
// Else (a scale a column: each lane has columns of its own) a step's scales are read behind the step's
// products before it.
#include "wgmma_int.h"

enum { GROUP = 4 };

struct wgmma_carried {
    const tir_mma *m;
    cg_range steps;
    int step;           // elements of k
    int granules;       // of a step
    bool spread;        // over the lanes of a row
    int n;              // values below
    ll_var *vars;       // of the current group; or of the coming step
    ll_var *next;       // spread: of the group behind it
    wgmma_factors *now; // [granule]: those of the step
};

wgmma_factors *wgmma_load_step(cg *c, const tir_mma *m, ll_val start) {
    int n = m->k_elems / m->promote;
    wgmma_factors *f = ARENA_ARRAY(c->mem, wgmma_factors, n);
    for (int i = 0; i < n; i++) {
        f[i] = wgmma_begin_factors(c, m);
        wgmma_load_factors(c, m, ll_addi(c->b, start, (int64_t)i * m->promote), &f[i]);
    }
    return f;
}

static ll_val *value_of(const wgmma_factors *f, int i) {
    return i < f->n_rows ? &f->rows[i] : &f->cols[i - f->n_rows];
}

static int values(const wgmma_factors *f) {
    return f->n_rows + f->n_cols;
}

// --- Four granules over four lanes -----------------------------------------------------------------

// The group that begins at element 'first' of k; what is behind the last step is not read.
static void read_group(cg *c, const wgmma_carried *v, const ll_var *vars, ll_val first) {
    ll *b = c->b;
    ll_val k = ll_add(b, first, ll_muli(b, ll_bini(b, LL_AND, c->lane, GROUP - 1), v->m->promote));
    k = ll_select(b, ll_cmp(b, LL_SLT, k, v->steps.to), k, v->steps.from);
    wgmma_factors f = wgmma_begin_factors(c, v->m);
    wgmma_load_factors(c, v->m, k, &f);
    for (int i = 0; i < v->n; i++) {
        ll_set(b, vars[i], *value_of(&f, i));
    }
}

// Number, in its group, of the first granule of the step at 'i'.
static ll_val in_group(cg *c, const wgmma_carried *v, ll_val i) {
    ll_val granule = ll_bini(c->b, LL_UDIV, ll_sub(c->b, i, v->steps.from), v->m->promote);
    return ll_bini(c->b, LL_AND, granule, GROUP - 1);
}

static void shuffle(cg *c, wgmma_carried *v, ll_val i) {
    ll *b = c->b;
    ll_val first = ll_bin(b, LL_OR, ll_bini(b, LL_AND, c->lane, 32 - GROUP), in_group(c, v, i));
    for (int g = 0; g < v->granules; g++) {
        for (int j = 0; j < v->n; j++) {
            *value_of(&v->now[g], j) = LL_INTR(b, "llvm.nvvm.shfl.sync.idx.f32", ll_i32(b, -1), ll_get(b, v->vars[j]),
                                               ll_addi(b, first, g), ll_i32(b, 31));
        }
    }
}

// --- A step ahead ------------------------------------------------------------------------------------

static void read_step(cg *c, const wgmma_carried *v, ll_val start) {
    wgmma_factors *f = wgmma_load_step(c, v->m, start);
    for (int i = 0; i < v->n; i++) {
        int per = values(f);
        ll_set(c->b, v->vars[i], *value_of(&f[i / per], i % per));
    }
}

// --- The loop ------------------------------------------------------------------------------------------

static ll_var *variables(cg *c, int n) {
    ll_var *vars = ARENA_ARRAY(c->mem, ll_var, n);
    for (int i = 0; i < n; i++) {
        vars[i] = ll_variable(c->b, LL_F32, "scale");
    }
    return vars;
}

wgmma_carried *wgmma_carry_begin(cg *c, const tir_mma *m, cg_range steps) {
    wgmma_carried *v = ARENA_NEW(c->mem, wgmma_carried);
    *v = (wgmma_carried){.m = m, .steps = steps, .step = m->k_elems, .granules = m->k_elems / m->promote};
    v->now = ARENA_ARRAY(c->mem, wgmma_factors, v->granules);
    for (int i = 0; i < v->granules; i++) {
        v->now[i] = wgmma_begin_factors(c, m);
    }
    v->spread = v->now[0].n_blocks > 0 && GROUP % v->granules == 0;
    v->n = values(v->now) * (v->spread ? 1 : v->granules);
    v->vars = variables(c, v->n);
    v->next = v->spread ? variables(c, v->n) : NULL;
    ll_if some = ll_if_begin(c->b, ll_cmp(c->b, LL_SLT, steps.from, steps.to));
    if (v->spread) {
        read_group(c, v, v->vars, steps.from);
        read_group(c, v, v->next, ll_addi(c->b, steps.from, (int64_t)GROUP * m->promote));
    } else {
        read_step(c, v, steps.from);
    }
    ll_if_end(c->b, some);
    return v;
}

const wgmma_factors *wgmma_carry_now(cg *c, wgmma_carried *v, ll_val i) {
    int per = values(v->now);
    if (v->spread) {
        shuffle(c, v, i);
        return v->now;
    }
    for (int j = 0; j < v->n; j++) {
        *value_of(&v->now[j / per], j % per) = ll_get(c->b, v->vars[j]);
    }
    return v->now;
}

// The last step reads its own scales again.
void wgmma_carry_behind(cg *c, const wgmma_carried *v, ll_val i) {
    if (!v->spread) {
        ll_val next = ll_addi(c->b, i, v->step);
        read_step(c, v, ll_select(c->b, ll_cmp(c->b, LL_SLT, next, v->steps.to), next, i));
    }
}

void wgmma_carry_end(cg *c, const wgmma_carried *v, ll_val i) {
    ll *b = c->b;
    if (!v->spread) {
        return;
    }
    ll_if last = ll_if_begin(b, ll_cmpi(b, LL_EQ, in_group(c, v, i), GROUP - v->granules));
    for (int j = 0; j < v->n; j++) {
        ll_set(b, v->vars[j], ll_get(b, v->next[j]));
    }
    read_group(c, v, v->next, ll_addi(b, i, v->step + (int64_t)GROUP * v->m->promote));
    ll_if_end(b, last);
}

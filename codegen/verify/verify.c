// The verifier's face: reads the text, follows each kernel in a handful of cases, reports.
//
// The cases enumerate what a launch may bring: each size small, one size large (so that every ring
// goes round more than twice), each size zero (loops that do not run), several tiles for the same
// thread block, and both answers where a predicate depends on data; one of several clusters, where these hand
// something to each other.
#include "verify.h"

#include "v.h"
#include "v_boxes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// LARGE is two thirds of a power of two: the steps of a loop, and half of them, and a quarter, are an odd number of
// turns of a ring of two slots, and of most others. What begins a tile too early then meets a phase that it does
// not wait for.
enum { DEFAULT_STEPS = 200000, LARGE = 43 * 64, LEAST_LARGE = 8, PATIENCE = 10, LARGER = 4, ROUNDS = 3 };

// ---- the machine --------------------------------------------------------------------------------
static void new_warp(v_machine *m, int index) {
    v_warp *w = &m->warp[index];
    w->cta = index / (int)m->warps_per_cta;
    w->index = index % (int)m->warps_per_cta;
    w->first = (uint32_t)index * V_LANES;
    w->live = UINT32_MAX;
    w->now = 1;
    w->regs = m->k->max_regs;
    w->stuck_barrier = -1;
    w->reg = ARENA_ARRAY(m->mem, v_reg, m->k->n_regs + 1);
    w->loading = arena_alloc(m->mem, (size_t)m->k->n_regs + 1);
    w->loads = ARENA_ARRAY(m->mem, int, m->k->n_regs + 1);
    w->mreg = m->has_wgmma ? ARENA_ARRAY(m->mem, v_matrix_reg, m->k->n_regs + 1) : NULL;
}

static void new_cta(v_machine *m, int index) {
    v_cta *c = &m->cta[index];
    c->smem = ARENA_ARRAY(m->mem, v_access *, V_SMEM_BYTES / V_BLOCK + 1);
    c->value = arena_alloc(m->mem, V_SMEM_BYTES);
    c->known = arena_alloc(m->mem, V_SMEM_BYTES);
    c->mbar = ARENA_ARRAY(m->mem, v_mbar *, V_SMEM_BYTES / 8 + 1);
    c->tmem = ARENA_ARRAY(m->mem, v_access *, V_TMEM_COLUMNS * 4);
    c->remote = ARENA_ARRAY(m->mem, uint32_t, m->n_comps);
    c->remote_ins = ARENA_ARRAY(m->mem, const v_ins *, m->n_comps);
}

// Pointers are far apart; sizes are what the case says.
static void set_params(v_machine *m) {
    for (int n = 0; n < m->k->n_params; n++) {
        const v_param *p = &m->k->params[n];
        m->param[n] = p->type.bits == 64  ? (uint64_t)(n + 1) << 40
                      : n == m->given.big || n == m->given.also ? m->given.big_size
                                          : m->given.size;
    }
}

v_machine *v_machine_new(v_exit *x, const v_kernel *k, const verify_facts *facts,
                         const v_case *given) {
    v_machine *m = ARENA_NEW(x->mem, v_machine);
    m->x = x;
    m->mem = x->mem;
    m->k = k;
    m->facts = facts;
    m->given = *given;
    m->per_cta = facts != NULL && facts->threads != 0 ? facts->threads : k->threads;
    if (m->per_cta == 0 || m->per_cta % V_LANES != 0 || m->per_cta > V_MOST_THREADS ||
        k->cluster == 0 || k->cluster > V_MOST_CTAS) {
        v_fail(x, k->line,
               "a block of %u threads in a cluster of %u: .maxntid or .reqntid says whole warps up "
               "to %d, "
               ".reqnctapercluster up to %d",
               m->per_cta, k->cluster, V_MOST_THREADS, V_MOST_CTAS);
    }
    m->n_ctas = (int)k->cluster;
    m->warps_per_cta = m->per_cta / V_LANES;
    m->n_threads = (int)m->per_cta * m->n_ctas;
    m->n_warps = (int)m->warps_per_cta * m->n_ctas;
    int inits = 0;
    m->has_grid_wait = facts != NULL && facts->pdl;
    for (uint32_t n = 0; n < k->n_ins; n++) {
        inits += k->ins[n].step == v_mbar_init;
        m->has_wgmma |= k->ins[n].step == v_wgmma;
        m->has_grid_wait |= k->ins[n].step == v_grid_wait;
    }
    m->most_mbars = inits * m->n_ctas < 4096 ? inits * m->n_ctas : 4096;
    m->n_comps = m->n_threads + m->most_mbars;
    m->cta = ARENA_ARRAY(m->mem, v_cta, m->n_ctas);
    m->warp = ARENA_ARRAY(m->mem, v_warp, m->n_warps);
    m->thread = ARENA_ARRAY(m->mem, v_thread, m->n_threads);
    m->grid_waited = ARENA_ARRAY(m->mem, uint32_t, m->n_threads);
    m->mbars = ARENA_ARRAY(m->mem, v_mbar *, m->most_mbars + 1);
    m->bulk = ARENA_ARRAY(m->mem, v_pending, m->n_threads);
    m->cp_async = ARENA_ARRAY(m->mem, v_pending, m->n_threads);
    m->commits = ARENA_ARRAY(m->mem, v_commit *, m->n_threads);
    m->n_commits = ARENA_ARRAY(m->mem, uint32_t, m->n_threads);
    m->most_commits = ARENA_ARRAY(m->mem, uint32_t, m->n_threads);
    m->orders = ARENA_ARRAY(m->mem, uint32_t, m->n_threads);
    for (int n = 0; n < m->n_warps; n++) {
        new_warp(m, n);
    }
    for (int n = 0; n < m->n_ctas; n++) {
        new_cta(m, n);
    }
    set_params(m);
    return m;
}

// ---- cases --------------------------------------------------------------------------------------
static bool is_size(const v_param *p) {
    return !p->array && p->type.bits == 32 && p->type.kind != VT_F;
}

// Threads that let others go first: they go on while these work.
static bool takes_turns(const v_kernel *k) {
    for (uint32_t n = 0; n < k->n_ins; n++) {
        if (k->ins[n].step == v_bar_cta && v_has(&k->ins[n], VW_arrive)) {
            return true;
        }
    }
    return false;
}

// Numbers in global memory may be counts or ascending offsets: see v_case.
static bool reads_numbers(const v_kernel *k) {
    for (uint32_t n = 0; n < k->n_ins; n++) {
        const v_ins *i = &k->ins[n];
        if (i->step == v_load && v_has(i, VW_global) && i->type[0].kind != VT_F && !v_has(i, VW_acquire)) {
            return true;
        }
    }
    return false;
}

// Looks at flags that other blocks set.
static bool shares_memory(const v_kernel *k) {
    for (uint32_t n = 0; n < k->n_ins; n++) {
        const v_ins *i = &k->ins[n];
        if (v_has(i, VW_global) && (i->step == v_load || i->step == v_store) &&
            (v_has(i, VW_relaxed) || v_has(i, VW_acquire) || v_has(i, VW_release))) {
            return true;
        }
    }
    return false;
}

// One of several clusters: the first, one between others, the last, with one tile for all and with several.
static int cases_of_others(const v_kernel *k, v_case *out) {
    int n = 0;
    v_case plain = {.big = -1, .also = -1, .clusters = 4, .size = 300};
    for (uint32_t at = 0; at < 4; at++) {
        out[n] = plain;
        out[n++].first_cluster = at;
    }
    for (int p = 0; p < k->n_params; p++) {
        for (uint32_t at = 0; at < 3 && is_size(&k->params[p]); at++) {
            out[n] = (v_case){.big = p, .also = -1, .big_size = LARGE, .clusters = 3, .size = 1};
            out[n++].first_cluster = at;
        }
    }
    return n;
}

// Two sizes large: several tiles, each longer than a ring; of groups too, whose number stays small.
static int paired_cases(const v_kernel *k, v_case *out, int n) {
    int sizes[VERIFY_PAIRED], n_sizes = 0;
    for (int p = 0; p < k->n_params && n_sizes < VERIFY_PAIRED; p++) {
        if (is_size(&k->params[p])) {
            sizes[n_sizes++] = p;
        }
    }
    for (int p = 0; p < n_sizes; p++) {
        for (int q = p + 1; q < n_sizes; q++) {
            out[n++] = (v_case){.big = sizes[p], .also = sizes[q], .clusters = 1, .size = 1, .more_tiles = 5,
                                .big_size = LARGE, .apart = 4 * LARGE};
        }
    }
    return n;
}

static int cases(const v_kernel *k, v_case *out) {
    int n = 0;
    v_case plain = {.big = -1, .also = -1, .clusters = 1, .size = 1};
    out[n++] = plain;
    out[n] = plain;
    out[n].more_tiles = 3;
    out[n++].size = 300;
    for (uint32_t first = 3; first < 5 && reads_numbers(k); first++) { // one group of one row
        out[n] = plain;
        out[n++].first = first;
        for (int p = 0; p < k->n_params; p++) {
            if (is_size(&k->params[p])) {
                out[n] = plain;
                out[n].first = first;
                out[n].big = p;
                out[n++].big_size = LARGE;
            }
        }
    }
    for (int p = 0; p < k->n_params; p++) {
        if (is_size(&k->params[p])) {
            out[n] = plain;
            out[n].big = p;
            out[n].more_tiles = 5;
            out[n++].big_size = LARGE;
            if (reads_numbers(k)) { // groups of many steps
                out[n] = out[n - 1];
                out[n++].apart = LARGE;
            }
            out[n] = plain;
            out[n].big = p;
            out[n].data = true;
            out[n].more_tiles = 2;
            out[n++].big_size = 0;
        }
    }
    n = takes_turns(k) || k->cluster > 1 || reads_numbers(k) ? paired_cases(k, out, n) : n;
    return shares_memory(k) ? n + cases_of_others(k, out + n) : n;
}

typedef enum { FOLLOWED, REFUSED, TOO_LONG } outcome;

static int rounds(const v_machine *m) {
    uint64_t least = 0;
    for (int n = 0; n < m->n_mbars; n++) {
        const v_mbar *b = m->mbars[n];
        bool slot = b->expected > 0 && b->phase > 0;
        least = slot && (least == 0 || b->phase < least) ? b->phase : least;
    }
    return (int)least;
}

static outcome follow(const verify_job *job, const v_kernel *k, const v_case *c, v_boxes *boxes,
                      bool learn, verify_report *out) {
    v_exit x = {.text = out->sentence};
    arena *mem = arena_new();
    x.mem = mem;
    volatile bool ok = setjmp(x.leave) == 0;
    if (ok) {
        v_machine *m = v_machine_new(&x, k, job->facts, c);
        m->report = out;
        m->boxes = boxes;
        m->learn = learn;
        m->most_steps = job->most_steps;
        v_run(m);
        if (learn) {
            v_boxes_solve(m);
        }
        out->runs += !learn;
        out->warps = m->n_warps;
        out->barriers = m->n_mbars;
        out->rounds = rounds(m);
        out->instructions += (int)m->steps;
    } else {
        out->line = x.line;
    }
    arena_free(mem);
    return ok ? FOLLOWED : x.too_long ? TOO_LONG : REFUSED;
}

// The case with its sizes halved, then the groups. False: it cannot be.
static bool halve(v_case *c) {
    bool large = c->big_size > LEAST_LARGE || c->size > 4, groups = !large && c->apart > LEAST_LARGE;
    c->big_size /= c->big_size > LEAST_LARGE ? 2 : 1;
    c->size /= c->size > 4 ? 2 : 1;
    c->apart /= groups ? 2 : 1;
    return large || groups;
}

typedef struct {
    const verify_job *job;
    const v_kernel *k;
    v_boxes *boxes;
    bool learn;
    verify_report *out;
} search;

// What takes long with small sizes too is followed to its end, behind the last halving.
static outcome follow_halved(const search *s, v_case c, int times) {
    verify_job now = *s->job;
    now.most_steps = now.most_steps != 0 ? now.most_steps : DEFAULT_STEPS;
    for (int n = 0; n < times; n++) {
        now.most_steps *= halve(&c) ? 1 : PATIENCE;
    }
    return follow(&now, s->k, &c, s->boxes, s->learn, s->out);
}

// A large size that takes too many instructions is halved: tiles differ, rings go round all the
// same. By bisection, which begins at '*halved', and tells there where it ended.
static bool follow_fitting(const search *s, v_case c, uint8_t *halved) {
    const verify_report before = *s->out;
    verify_report best = before;
    int most = s->job->most_steps == 0;
    for (v_case least = c; halve(&least);) {
        most++;
    }
    int too_long = -1, fits = most + 1, at = *halved < most ? *halved : most;
    do {
        *s->out = before;
        outcome o = follow_halved(s, c, at);
        if (o == REFUSED || (o == TOO_LONG && at == most)) {
            return false;
        }
        too_long = o == TOO_LONG ? at : too_long;
        fits = o == TOO_LONG ? fits : at;
        best = o == TOO_LONG ? best : *s->out;
        at = (too_long + fits) / 2;
    } while (too_long >= 0 && fits - too_long > 1);
    *s->out = best;
    *halved = (uint8_t)fits;
    return true;
}

// With LARGE a ring of many slots, each of a long step, may not have gone round; a role that takes every other
// step even less. One size that is followed with few instructions is then made larger.
static bool follow_case(const search *s, v_case c, uint8_t *halved) {
    int64_t spent = s->out->instructions;
    if (!follow_fitting(s, c, halved)) {
        return false;
    }
    spent = s->out->instructions - spent;
    int64_t most = s->job->most_steps != 0 ? (int64_t)s->job->most_steps : DEFAULT_STEPS;
    bool one = c.big_size == LARGE && c.also < 0 && c.apart == 0 && !s->learn;
    bool brief = s->out->rounds > 0 && s->out->rounds < ROUNDS;
    if (!one || !brief || *halved != 0 || spent * (LARGER + 1) > most) {
        return true;
    }
    const verify_report before = *s->out;
    c.big_size *= LARGER;
    outcome o = follow_halved(s, c, 0);
    if (o == TOO_LONG) {
        *s->out = before;
    }
    return o != REFUSED;
}

static void verify_kernel(const verify_job *job, const v_kernel *k, verify_report *out) {
    *out = (verify_report){.accepted = true};
    snprintf(out->kernel, sizeof out->kernel, "%s", k->name);
    v_case all[VERIFY_MOST_CASES];
    uint8_t none[VERIFY_MOST_CASES] = {0};
    uint8_t *halved = job->halved != NULL ? job->halved : none;
    int n = cases(k, all);
    arena *mem = arena_new();
    search s = {.job = job, .k = k, .out = out};
    if (job->facts == NULL) {
        s.boxes = ARENA_NEW(mem, v_boxes);
        s.boxes->starts = arena_alloc(mem, V_SMEM_BYTES / V_GRANULE + 1);
        s.learn = true;
        out->accepted = follow_case(&s, all[1], &halved[n]);
        s.learn = false;
        out->phases = out->copies = out->instructions = 0;
    }
    for (int c = 0; c < n && out->accepted; c++) {
        out->accepted = follow_case(&s, all[c], &halved[c]);
    }
    arena_free(mem);
}

int verify_ptx(const verify_job *job, verify_report *out, int most) {
    v_exit x = {.mem = arena_new(), .text = out[0].sentence};
    int n = 0;
    out[0] = (verify_report){0};
    if (setjmp(x.leave) == 0) {
        const v_kernel *k = v_parse(job->ptx, job->len, &x);
        if (k == NULL) {
            v_fail(&x, 1, "there is no kernel in this text");
        }
        for (; k != NULL && n < most; k = k->next) {
            if (job->kernel == NULL || strcmp(job->kernel, k->name) == 0) {
                verify_kernel(job, k, &out[n++]);
            }
        }
    } else {
        out[0].line = x.line;
        n = 1;
    }
    arena_free(x.mem);
    return n;
}

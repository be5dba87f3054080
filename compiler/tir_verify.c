// Checks of a role program: everything that code generation and the metadata rely on. A kernel that
// passes here is lowered without a further look at its numbers.
//
// In: a kernel whose counts and pointers agree (from the planner or tir_read). Out: NULL, or one
// sentence with the record's name and the numbers.
#include "tir_verify_int.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_DTYPE = TIR_PAD6, // last CUtensorMapDataType
    MAX_TURNS = 7,       // named barriers 1 .. 7 order the turns
    WARP = 32,
    MIN_SETMAXNREG = 24, // PTX ISA "setmaxnreg": 24 to 256 in steps of 8
    MAX_SETMAXNREG = 256,
};

bool tir_wrong(verifier *v, const char *fmt, ...) {
    if (v->wrong != NULL) {
        return false;
    }
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    v->wrong = arena_strdup(v->mem, text);
    return false;
}

int verify_span(tir_swizzle s) {
    return s == SWZ_NONE ? 0 : 16 << (int)s;
}

const char *verify_param_name(const tir_kernel *k, int param) {
    return param >= 0 && param < k->n_params ? k->params[param].name : "?";
}

// Names become PTX identifiers and keys of the metadata.
static bool is_identifier(const char *s) {
    if (s == NULL || (!isalpha((unsigned char)*s) && *s != '_')) {
        return false;
    }
    while (isalnum((unsigned char)*s) || *s == '_') {
        s++;
    }
    return *s == '\0';
}

// --- Parameters ----------------------------------------------------------------------------------

static bool verify_head(verifier *v) {
    const tir_kernel *k = v->k;
    VERIFY(v, is_identifier(k->name), "the kernel's name is no identifier");
    VERIFY(v, k->source != NULL, "kernel '%s' names no source", k->name);
    for (int i = 0; i < k->n_dims; i++) {
        VERIFY(v, is_identifier(k->dims[i]), "dim #%d: its name is no identifier", i);
        for (int j = 0; j < i; j++) {
            VERIFY(v, strcmp(k->dims[i], k->dims[j]) != 0, "two dims are called '%s'", k->dims[i]);
        }
    }
    for (int i = 0; i < k->n_tparams; i++) {
        VERIFY(v, is_identifier(k->tparams[i].name), "tparam #%d: its name is no identifier", i);
    }
    VERIFY(v, verify_choice(v, k->when, "'when'"), "'when' is malformed");
    VERIFY(v, verify_choice(v, k->cost, "'cost'"), "'cost' is malformed");
    for (int i = 0; i < k->n_where; i++) {
        VERIFY(v, k->where[i].text != NULL, "where #%d has no text", i);
        if (!verify_size(v, k->where[i].cond, false, "a 'where'")) {
            return false;
        }
    }
    return true;
}

static bool verify_param(verifier *v, const tir_param *p, int number) {
    VERIFY(v, is_identifier(p->name), "param #%d: its name is no identifier", number);
    for (int i = 0; i < number; i++) {
        VERIFY(v, strcmp(p->name, v->k->params[i].name) != 0, "two params are called '%s'",
               p->name);
    }
    VERIFY(v, (unsigned)p->mode <= MODE_TEMP && (unsigned)p->elem < ELEM_COUNT &&
                  (unsigned)p->scale <= ELEM_NONE,
           "param '%s': no such mode or element type", p->name);
    VERIFY(v, p->format != NULL, "param '%s' has no format", p->name);
    if (!p->is_tensor) {
        VERIFY(v, p->n_dims == 0 && p->scale == ELEM_NONE, "param '%s': a scalar has %d axes%s",
               p->name, p->n_dims, p->scale != ELEM_NONE ? " and scales" : "");
        return true;
    }
    VERIFY(v, p->n_dims >= 1, "param '%s': a tensor of %d axes", p->name, p->n_dims);
    bool scaled = p->scale != ELEM_NONE;
    VERIFY(v, !scaled || p->scale == ELEM_UE4M3 || p->scale == ELEM_UE8M0 || p->scale == ELEM_F32,
           "param '%s': %s is no type of scales", p->name, elem_name(p->scale));
    VERIFY(v, p->granule_rows == 1 || (p->scale == ELEM_F32 && tir_in(p->granule_rows, 1, 1024)),
           "param '%s': %d rows share scales", p->name, p->granule_rows);
    VERIFY(v, scaled ? tir_in(p->granule, 1, 1024) : p->granule == 0,
           "param '%s': a granule of %d elements %s scales", p->name, p->granule,
           scaled ? "with" : "without");
    VERIFY(v, p->align >= 16 && p->align <= 4096 && (p->align & (p->align - 1)) == 0,
           "param '%s': an alignment of %d; a power of two from 16 to 4096", p->name, p->align);
    for (int i = 0; i < p->n_dims; i++) {
        if (!verify_size(v, p->dims[i], false, p->name)) {
            return false;
        }
    }
    VERIFY(v,
           scaled || p->layout == NULL ||
               (layout_find(p->layout) < LAYOUT_COUNT &&
                layout_holds(layout_find(p->layout), p->elem) && p->n_dims >= 2),
           "param '%s': %s elements of %d axes in layout '%s'", p->name, elem_name(p->elem),
           p->n_dims, p->layout != NULL ? p->layout : "");
    VERIFY(v, (unsigned)p->cache <= CACHE_STREAM, "param '%s': the cache knows nothing of the kind",
           p->name);
    VERIFY(v, !p->previous || v->k->pdl, "param '%s' is waited for, but the kernel waits for none",
           p->name);
    VERIFY(v, p->groups == NULL || (p->n_dims >= 2 && scaled), "param '%s': %d axes in groups",
           p->name, p->n_dims);
    return p->groups == NULL || verify_size(v, p->groups, false, p->name);
}

// Bytes of an element of a CUtensorMapDataType in shared memory; 0: not in use.
static int dtype_bytes(int dtype) {
    static const int bytes[MAX_DTYPE + 1] = {
        1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4, [TIR_PAD4] = 1, [TIR_PAD6] = 1};
    return dtype >= 0 && dtype <= MAX_DTYPE ? bytes[dtype] : 0;
}

static bool verify_map(verifier *v, const tir_map *m, int number) {
    const tir_kernel *k = v->k;
    VERIFY(v, tir_in(m->param, 0, k->n_params - 1) && k->params[m->param].is_tensor,
           "map #%d is of no tensor", number);
    const tir_param *p = &k->params[m->param];
    const char *part = m->part == PART_SCALE ? "scale" : "data";
    const char *name = arena_printf(v->mem, "map #%d (%s.%s)", number, p->name, part);
    VERIFY(v, (unsigned)m->part <= PART_SCALE && (m->part == PART_DATA || p->scale != ELEM_NONE),
           "%s: the tensor has no such part", name);
    VERIFY(v, m->part == PART_SCALE || tir_laid(p) == LAYOUT_LINEAR, "%s: elements in layout %s",
           name, p->layout);
    VERIFY(v, (unsigned)m->swizzle <= SWZ_128B, "%s: no such swizzle", name);
    VERIFY(v, m->elem_bytes > 0 && dtype_bytes(m->dtype) == m->elem_bytes,
           "%s: elements of %d bytes with data type %d of %d", name, m->elem_bytes, m->dtype,
           dtype_bytes(m->dtype));
    VERIFY(v, tir_in(m->rank, 1, TIR_MAX_AXES), "%s: rank %d; 1 to %d", name, m->rank,
           TIR_MAX_AXES);
    for (int i = 0; i < m->rank; i++) {
        if (!verify_size(v, m->dims[i], true, name) ||
            (i > 0 && !verify_size(v, m->strides[i], true, name))) {
            return false;
        }
        VERIFY(v, tir_in(m->box[i], 1, TIR_MAX_BOX), "%s: a box of %d along axis %d; 1 to %d", name,
               m->box[i], i, TIR_MAX_BOX);
    }
    bool padded = m->dtype == TIR_PAD4 || m->dtype == TIR_PAD6;
    VERIFY(v, !padded || (m->box[0] == TIR_PAD_ELEMS && m->swizzle == SWZ_128B && p->align >= 32),
           "%s: padding maps have boxes of %d elements, swizzle 128 and tensors aligned to 32",
           name, TIR_PAD_ELEMS);
    VERIFY(v, m->window == 0 || (m->part == PART_DATA && tir_in(m->window, 1, m->rank - 2)),
           "%s: a window on lines of axis %d of %d", name, m->window, m->rank);
    if (m->window > 0) {
        const tir_size *lines = m->dims[m->window];
        VERIFY(v,
               lines->op == SZ_INT && lines->value == m->box[m->window] &&
                   m->box[m->window + 1] == 1,
               "%s: its window on lines is not as long as a box", name);
    }
    if (m->cuts) {
        VERIFY(v,
               m->window == 0 && m->part == PART_DATA && m->rank > 2 && m->elem_bytes == 1 &&
                   !padded && m->dims[0]->op == SZ_INT && m->dims[0]->value == m->box[0] &&
                   m->strides[1]->op == SZ_INT && m->strides[1]->value == TIR_CUT_BYTES &&
                   m->box[1] == 1,
               "%s: a window within lines that are no boxes of bytes in steps of %d", name,
               TIR_CUT_BYTES);
    }
    int row = m->box[0] * m->elem_bytes;
    VERIFY(v, row % 16 == 0, "%s: box rows of %d bytes; multiples of 16", name, row);
    VERIFY(v, m->swizzle == SWZ_NONE || row <= verify_span(m->swizzle),
           "%s: box rows of %d bytes in a swizzle of %d", name, row, verify_span(m->swizzle));
    return true;
}

// Where an axis is the same all over a tile of its loop.
static bool is_of_tile(const tir_kernel *k, const tir_axis *a) {
    int tile = a->loop < 0 ? 1 : k->loops[a->loop].tile;
    return tile == 1 ||
           (a->add == 0 && (a->floor > 0 ? a->floor : a->div) % tile == 0 && a->mul == 1);
}

// Bounds are known before a tile is: made of numbers, sizes, scalars and const tensors, at places
// that the first 'n' loops name.
static bool bound_of(verifier *v, const tir_expr *e, int n, const char *what) {
    const tir_kernel *k = v->k;
    VERIFY(v, e->kind != TX_ACC && e->kind != TX_CALL && e->kind != TX_CONVERT && e->kind != TX_SCALE,
           "%s: a bound made of an accumulator, a function, a conversion or a scale", what);
    VERIFY(v, e->kind != TX_INDEX || e->ref < n,
           "%s: a bound depends on loop #%d, which numbers no groups", what, e->ref);
    if (e->kind == TX_LOAD) {
        VERIFY(v, k->params[e->ref].mode == MODE_CONST && k->params[e->ref].elem == ELEM_I32,
               "%s: a bound is read from '%s', which is no const tensor of i32", what,
               k->params[e->ref].name);
        for (int i = 0; i < e->n_axes; i++) {
            VERIFY(v, e->axes[i].loop < n,
                   "%s: a bound depends on loop #%d, which numbers no groups", what,
                   e->axes[i].loop);
            VERIFY(v, is_of_tile(k, &e->axes[i]),
                   "%s: a bound differs inside of a tile of loop #%d", what, e->axes[i].loop);
        }
    }
    for (int i = 0; i < e->n_args; i++) {
        if (!bound_of(v, e->args[i], n, what)) {
            return false;
        }
    }
    return true;
}

static bool verify_part(verifier *v, const tir_expr *lo, const tir_expr *hi, int n,
                        const char *index) {
    const tir_expr *ends[2] = {lo, hi};
    VERIFY(v, (lo == NULL) == (hi == NULL), "loop '%s' has one bound", index);
    for (int i = 0; i < 2 && lo != NULL; i++) {
        if (!verify_expr(v, ends[i], index) || !bound_of(v, ends[i], n, index)) {
            return false;
        }
        VERIFY(v, ends[i]->type == ELEM_I32, "loop '%s': a bound of type %s", index,
               elem_name(ends[i]->type));
    }
    return true;
}

static bool verify_bounds(verifier *v, const tir_loop *l, int number) {
    int groups = v->k->walk.groups;
    VERIFY(v, tir_in(l->group, -1, groups - 1) && (l->group < 0 || l->lo != NULL),
           "loop '%s': its rows are those of no group", l->index);
    VERIFY(v, number >= groups || l->lo == NULL, "loop '%s' numbers groups: all of them", l->index);
    return verify_part(v, l->lo, l->hi, groups, l->index);
}

static bool verify_loops(verifier *v) {
    const tir_kernel *k = v->k;
    VERIFY(v, tir_in(k->walk.groups, 0, k->n_loops), "walk: %d of %d loops number groups",
           k->walk.groups, k->n_loops);
    for (int i = 0; i < k->n_loops; i++) {
        const tir_loop *l = &k->loops[i];
        VERIFY(v, l->index != NULL, "loop #%d has no name", i);
        VERIFY(v, tir_in(l->tile, 1, 1 << 20), "loop '%s': tiles of %d elements", l->index,
               l->tile);
        if (!verify_size(v, l->dim, false, l->index) || !verify_bounds(v, l, i)) {
            return false;
        }
    }
    for (int i = 0; i < k->n_fors; i++) {
        const tir_for *f = &k->fors[i];
        VERIFY(v, f->index != NULL, "for #%d has no name", i);
        VERIFY(v, tir_in(f->step, 1, 1 << 20), "for '%s': steps of %d elements", f->index, f->step);
        if (!verify_size(v, f->extent, false, f->index) ||
            !verify_part(v, f->lo, f->hi, k->n_loops, f->index)) {
            return false;
        }
    }
    return true;
}

// --- Cluster, warps, registers -------------------------------------------------------------------

static bool verify_cluster(verifier *v) {
    const tir_kernel *k = v->k;
    int most = k->cluster_loop < 0 ? ARCH_MAX_CLUSTER : 2;
    VERIFY(v, tir_in(k->cluster, 1, most), "a cluster of %d CTAs; 1 to %d", k->cluster, most);
    int split = 0;
    for (int i = 0; i < k->n_fors; i++) {
        int n = k->fors[i].split;
        VERIFY(v, n == 1 || n == tir_split(k), "for '%s': split by %d in a cluster of %d",
               k->fors[i].index, n, k->cluster);
        split += n > 1;
    }
    if (k->cluster_loop < 0) {
        VERIFY(v, !k->pair && split == (k->cluster > 1),
               "a cluster of %d without a loop: %d split ones%s", k->cluster, split,
               k->pair ? ", a pair" : "");
        return true;
    }
    VERIFY(v, k->cluster == 2, "a cluster of 1 along a loop");
    VERIFY(v, v->arch->family != MMA_SYNC, "a cluster of %d CTAs on %s", k->cluster, v->arch->name);
    VERIFY(v, tir_in(k->cluster_loop, 0, k->n_loops - 1), "the cluster runs along no loop");
    VERIFY(v, !k->pair || v->arch->family == MMA_TCGEN05, "%s has no pairs of CTAs", v->arch->name);
    const tir_loop *l = &k->loops[k->cluster_loop];
    VERIFY(v, l->tile % k->cluster == 0, "loop '%s': a tile of %d over a cluster of %d", l->index,
           l->tile, k->cluster);
    return true;
}

static bool verify_frag(verifier *v, const tir_role *r) {
    int group = tir_group_warps(r);
    VERIFY(v, (unsigned)r->frag <= FRAG_MMA, "role '%s': no such fragments", r->name);
    if (r->frag == FRAG_NONE) {
        return true;
    }
    VERIFY(v, !r->one_thread, "role '%s' is one thread and holds fragments", r->name);
    VERIFY(v, tir_in(r->warps_m, 1, group) && tir_in(r->warps_n, 1, group) &&
                  r->warps_m * r->warps_n == group,
           "role '%s': a grid of %d x %d warps for %d", r->name, r->warps_m, r->warps_n, group);
    VERIFY(v, r->frag != FRAG_LANE_ROW || r->warps_n == 1,
           "role '%s': lanes hold whole rows, so %d warps lie below each other, not %d x %d",
           r->name, group, r->warps_m, r->warps_n);
    return true;
}

static bool verify_role(verifier *v, const tir_role *r, int number) {
    const tir_kernel *k = v->k;
    VERIFY(v, r->name != NULL, "role #%d has no name", number);
    int warps = k->threads / WARP;
    VERIFY(v, tir_in(r->n_warps, 1, warps) && tir_in(r->first_warp, 0, warps - r->n_warps),
           "role '%s': %d warps from warp %d, of %d", r->name, r->n_warps, r->first_warp, warps);
    for (int i = 0; i < number; i++) {
        const tir_role *o = &k->roles[i];
        VERIFY(v, r->first_warp >= o->first_warp + o->n_warps ||
                      o->first_warp >= r->first_warp + r->n_warps,
               "roles '%s' (warps %d..%d) and '%s' (warps %d..%d) share warps", o->name,
               o->first_warp, o->first_warp + o->n_warps - 1, r->name, r->first_warp,
               r->first_warp + r->n_warps - 1);
    }
    VERIFY(v, tir_in(r->turns, 1, MAX_TURNS) && r->n_warps % r->turns == 0,
           "role '%s': %d warps in %d turns; 1 to %d that divide", r->name, r->n_warps, r->turns,
           MAX_TURNS);
    VERIFY(v,
           tir_in(r->shares, 1, MAX_TURNS) && r->n_warps % r->shares == 0 &&
               (r->turns == 1 || r->shares == 1),
           "role '%s': %d warps in %d shares and %d turns; 1 to %d that divide, and one of them 1",
           r->name, r->n_warps, r->shares, r->turns, MAX_TURNS);
    VERIFY(v, r->shares == 1 || (v->arch->family == MMA_WGMMA && r->frag == FRAG_MMA),
           "role '%s': %d shares of a role that does not multiply by wgmma", r->name, r->shares);
    VERIFY(v, !r->leader_only || k->cluster > 1, "role '%s': a leader of a cluster of 1", r->name);
    VERIFY(v, tir_in(r->regs, 0, MAX_SETMAXNREG), "role '%s': %d registers", r->name, r->regs);
    int first = r->first_warp / ARCH_WG_WARPS;
    int last = (r->first_warp + r->n_warps - 1) / ARCH_WG_WARPS;
    for (int w = first; w <= last; w++) {
        VERIFY(v, k->wg_regs[w] == k->wg_regs[first],
               "role '%s' spans warpgroups of %d and %d registers", r->name, k->wg_regs[first],
               k->wg_regs[w]);
    }
    return verify_frag(v, r);
}

static bool verify_registers(verifier *v) {
    const tir_kernel *k = v->k;
    int groups = k->threads / (ARCH_WG_WARPS * WARP);
    int total = 0;
    bool moves = false;
    VERIFY(v, tir_in(k->entry_regs, 16, ARCH_MAX_REGS), "%d registers a thread at launch; 16 to %d",
           k->entry_regs, ARCH_MAX_REGS);
    VERIFY(v, k->entry_regs * k->threads <= ARCH_REGS, "%d threads x %d registers = %d of %d",
           k->threads, k->entry_regs, k->threads * k->entry_regs, ARCH_REGS);
    for (int i = 0; i < TIR_MAX_WGS; i++) {
        int regs = k->wg_regs[i];
        VERIFY(v, regs == 0 || (tir_in(regs, MIN_SETMAXNREG, MAX_SETMAXNREG) && regs % 8 == 0),
               "warpgroup %d: %d registers; setmaxnreg takes %d to %d in steps of 8", i, regs,
               MIN_SETMAXNREG, MAX_SETMAXNREG);
        VERIFY(v, regs == 0 || i < groups,
               "warpgroup %d has registers, but %d threads are %d groups", i, k->threads, groups);
        moves |= regs > 0;
        total += i < groups ? 128 * (regs > 0 ? regs : k->entry_regs) : 0;
    }
    VERIFY(v, total <= ARCH_REGS, "the warpgroups' registers are %d of %d", total, ARCH_REGS);
    VERIFY(v, !moves || k->threads % (ARCH_WG_WARPS * WARP) == 0,
           "%d threads are no whole warpgroups, which setmaxnreg needs", k->threads);
    return true;
}

static bool verify_launch(verifier *v) {
    const tir_kernel *k = v->k;
    VERIFY(v, tir_in(k->threads, WARP, ARCH_MAX_THREADS) && k->threads % WARP == 0,
           "%d threads; whole warps, at most %d", k->threads, ARCH_MAX_THREADS);
    VERIFY(v, tir_in(k->smem_bytes, 0, v->arch->smem_bytes), "%d bytes of shared memory; %s has %d",
           k->smem_bytes, v->arch->name, v->arch->smem_bytes);
    VERIFY(v, k->tmem_columns == 0 || (tir_in(k->tmem_columns, 32, v->arch->tmem_columns) &&
                                       (k->tmem_columns & (k->tmem_columns - 1)) == 0),
           "%d columns of TMEM; a power of two from 32 to %d", k->tmem_columns,
           v->arch->tmem_columns);
    VERIFY(v, k->tmem_columns == 0 || tir_in(k->tmem_warp, 0, k->threads / WARP - 1),
           "warp %d allocates TMEM; there are %d", k->tmem_warp, k->threads / WARP);
    return verify_cluster(v) && verify_registers(v);
}

static bool verify_walk(verifier *v) {
    const tir_kernel *k = v->k;
    const tir_walk *w = &k->walk;
    VERIFY(v, (unsigned)w->kind <= WALK_ONE, "no such walk");
    VERIFY(v, tir_in(w->raster, -1, k->n_loops - 1), "walk: no loop #%d", w->raster);
    VERIFY(v,
           w->raster < 0 || (w->raster >= w->groups && k->n_loops - w->groups > 1 &&
                             tir_in(w->group, 1, 1 << 20)),
           "walk: raster groups of %d tiles in %d loops", w->group, k->n_loops - w->groups);
    VERIFY(v, tir_in(w->stream, -1, k->n_fors - 1), "walk: no for #%d", w->stream);
    VERIFY(
        v,
        w->stream < 0 ||
            (w->kind == WALK_STATIC && tir_split(k) == 1 && k->fors[w->stream].hi == NULL),
        "walk: steps of '%s' are streamed, which needs a static walk, no other split and no bounds",
        k->fors[w->stream < 0 ? 0 : w->stream].index);
    if (w->kind == WALK_STATIC && w->stream < 0) {
        return true;
    }
    for (int i = 0; i < k->n_loops && w->kind == WALK_CLC; i++) {
        VERIFY(v, k->loops[i].hi == NULL,
               "walk: loop '%s' has bounds, so the launch knows no number of tiles",
               k->loops[i].index);
    }
    if (w->kind == WALK_STATIC) {
        return true;
    }
    VERIFY(v, w->kind == WALK_CLC || tir_record_words(k) <= TIR_RECORD_MOST,
           "walk: records of %d words", tir_record_words(k));
    int readers = tir_walk_readers(k);
    VERIFY(v, tir_in(w->depth, 1, 64), "walk: a ring of %d responses", w->depth);
    VERIFY(v, w->empty_count == readers,
           "walk: empty_count is %d, but %d warps of the cluster read each response",
           w->empty_count, readers);
    return true;
}

// What the kernel before may write, or still read, is reached behind a wait for it.
static bool verify_previous(verifier *v) {
    const tir_kernel *k = v->k;
    int launching = 0;
    for (int i = 0; i < k->n_roles; i++) {
        const tir_role *r = &k->roles[i];
        VERIFY(v, r->waits == (k->pdl && tir_role_waits(k, i)),
               "role '%s' %s for the kernel before", r->name, r->waits ? "waits" : "does not wait");
        VERIFY(v, (unsigned)r->launches <= LAUNCH_LAST, "role '%s': no such place", r->name);
        launching += r->launches != LAUNCH_NONE;
    }
    VERIFY(v, launching == (k->pdl ? 1 : 0), "%d roles let the kernel behind begin", launching);
    return true;
}

static bool verify_records(verifier *v) {
    const tir_kernel *k = v->k;
    for (int i = 0; i < k->n_params; i++) {
        if (!verify_param(v, &k->params[i], i)) {
            return false;
        }
    }
    for (int i = 0; i < k->n_maps; i++) {
        if (!verify_map(v, &k->maps[i], i)) {
            return false;
        }
    }
    if (!verify_loops(v) || !verify_launch(v)) {
        return false;
    }
    for (int i = 0; i < k->n_roles; i++) {
        if (!verify_role(v, &k->roles[i], i)) {
            return false;
        }
    }
    return verify_walk(v);
}

const char *tir_verify(const tir_kernel *k, arena *mem) {
    if ((unsigned)k->arch >= ARCH_COUNT) {
        return "the kernel is for no known machine";
    }
    verifier v = {.k = k, .arch = &arch_infos[k->arch], .mem = mem};
    if (verify_head(&v) && verify_records(&v) && verify_memory(&v) && verify_products(&v) &&
        verify_arrivals(&v) && verify_stores(&v) && verify_places(&v) && verify_bodies(&v)) {
        verify_previous(&v);
    }
    return v.wrong;
}

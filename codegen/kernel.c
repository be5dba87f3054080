// The frame of a kernel: entry with its parameters, prologue, dispatch of roles, teardown.
//
//   prologue   one thread of warp 0 prefetches the maps and initialises the barriers; TMEM is
//              allocated; everybody meets.
//   dispatch   warpgroups that a role spans belong together and carry one setmaxnreg; it is the
//              first instruction of their branch, so that all code behind it is compiled for that
//              budget ("setmaxnreg": all warps of a warpgroup execute the same one). Roles are
//              branches inside it.
//   teardown   everybody meets again where TMEM or peers need it.
#include "cg_int.h"

#include <stdarg.h>
#include <stdio.h>

void cg_fail(cg *c, const char *fmt, ...) {
    if (c->err) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    char text[1024];
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->err = arena_strdup(c->mem, text);
    c->err_code = "X101";
}

// --- Parameters and sizes -----------------------------------------------------------------------

static ll_type scalar_type(elem_kind e) {
    return e == ELEM_I64 ? LL_I64 : e == ELEM_I32 ? LL_I32 : LL_F32;
}

static ll_arg entry_arg(cg *c, int i) {
    const tir_kernel *k = c->k;
    const cg_arg *a = &c->args.args[i];
    ll_arg out = {.kind = LL_ARG_PLAIN, .type = LL_I64};
    switch (a->kind) {
    case ARG_MAP:
        out.kind = LL_ARG_MAP;
        out.name = arena_printf(c->mem, "map_%s%s_%d", k->params[k->maps[a->ref].param].name,
                                a->part == PART_SCALE ? "_scale" : "", a->ref);
        break;
    case ARG_POINTER:
        out.type = LL_GLOBAL;
        out.name = arena_printf(c->mem, "%s%s", k->params[a->ref].name,
                                a->part == PART_SCALE ? "_scale" : "");
        break;
    case ARG_PITCH:
        out.name = arena_printf(c->mem, "%s_pitch", k->params[a->ref].name);
        break;
    case ARG_SF_BYTES:
        out.name = arena_printf(c->mem, "%s_sf_bytes", k->params[a->ref].name);
        break;
    case ARG_DIM:
        out.type = LL_I32;
        out.name = k->dims[a->ref];
        break;
    case ARG_SCALAR:
        out.type = scalar_type(k->params[a->ref].elem);
        out.name = k->params[a->ref].name;
        break;
    case ARG_WORKSPACE:
        out.name = "workspace";
        break;
    }
    return out;
}

static void begin_entry(cg *c) {
    const tir_kernel *k = c->k;
    c->args = cg_args_of(k, c->mem);
    ll_arg *args = ARENA_ARRAY(c->mem, ll_arg, c->args.n + 1);
    for (int i = 0; i < c->args.n; i++) {
        args[i] = entry_arg(c, i);
    }
    ll_begin(c->b, &(ll_kernel){.name = k->name,
                                .n_args = c->args.n,
                                .args = args,
                                .threads = k->threads,
                                .max_regs = k->entry_regs,
                                .cluster = k->cluster});
    c->dims = ARENA_ARRAY(c->mem, ll_val, k->n_dims + 1);
    for (int i = 0; i < k->n_dims; i++) {
        c->dims[i] = cg_arg_of(c, ARG_DIM, i, PART_DATA);
    }
}

ll_val cg_arg_of(cg *c, cg_arg_kind kind, int ref, tir_part part) {
    int i = cg_args_find(&c->args, kind, ref, part);
    if (i < 0) {
        cg_fail(c, "internal: kernel '%s' lacks an argument (kind %d of %d)", c->k->name, (int)kind,
                ref);
        return ll_i64(c->b, 0);
    }
    return ll_param(c->b, i);
}

ll_val cg_map(cg *c, int map) {
    return cg_arg_of(c, ARG_MAP, map, c->k->maps[map].part);
}

static ll_val size_binary(cg *c, const tir_size *s) {
    static const struct {
        size_op op;
        ll_op code;
    } arith[] = {{SZ_ADD, LL_ADD}, {SZ_SUB, LL_SUB}, {SZ_MUL, LL_MUL}, {SZ_DIV, LL_SDIV},
                 {SZ_MOD, LL_SREM}, {SZ_AND, LL_AND}, {SZ_OR, LL_OR}};
    static const struct {
        size_op op;
        ll_pred pred;
    } compare[] = {{SZ_EQ, LL_EQ}, {SZ_NE, LL_NE}, {SZ_LT, LL_SLT}, {SZ_LE, LL_SLE},
                   {SZ_GT, LL_SGT}, {SZ_GE, LL_SGE}, {SZ_MIN, LL_SLT}, {SZ_MAX, LL_SGT}};
    ll *b = c->b;
    ll_val x = cg_size(c, s->a), y = cg_size(c, s->b);
    if (s->op == SZ_CEILDIV) {
        ll_val up = ll_add(b, x, ll_addi(b, y, -1));
        return ll_bin(b, LL_SDIV, up, y);
    }
    for (size_t i = 0; i < sizeof(arith) / sizeof(arith[0]); i++) {
        if (arith[i].op == s->op) {
            return ll_bin(b, arith[i].code, x, y);
        }
    }
    for (size_t i = 0; i < sizeof(compare) / sizeof(compare[0]); i++) {
        if (compare[i].op == s->op) {
            ll_val p = ll_cmp(b, compare[i].pred, x, y);
            bool pick = s->op == SZ_MIN || s->op == SZ_MAX;
            return pick ? ll_select(b, p, x, y) : ll_to(b, p, LL_I32);
        }
    }
    cg_fail(c, "a size of kernel '%s' is no integer expression over dims", c->k->name);
    return ll_i32(b, 0);
}

ll_val cg_size(cg *c, const tir_size *s) {
    switch (s->op) {
    case SZ_INT:
        return ll_i32(c->b, s->value);
    case SZ_DIM:
        return c->dims[s->dim];
    case SZ_PITCH:
    case SZ_SF_BYTES:
        cg_fail(c, "the pitch of a tensor cannot size a loop (kernel '%s')", c->k->name);
        return ll_i32(c->b, 0);
    case SZ_SMS:
        cg_fail(c, "the number of multiprocessors cannot size a loop (kernel '%s')", c->k->name);
        return ll_i32(c->b, 0);
    default:
        return size_binary(c, s);
    }
}

ll_val cg_smem_at(cg *c, int offset) {
    return ll_addi(c->b, c->smem, offset);
}

ll_val cg_elect(cg *c) {
    return ll_extract(c->b, LL_INTR(c->b, "llvm.nvvm.elect.sync", ll_i32(c->b, -1)), 1);
}

// --- Prologue ------------------------------------------------------------------------------------

static void init_barriers(cg *c, int offset, int n, int count) {
    for (int i = 0; i < n; i++) {
        LL_INTR(c->b, "llvm.nvvm.mbarrier.init.shared", cg_smem_at(c, offset + 8 * i),
                ll_i32(c->b, count));
    }
}

static void init_all_barriers(cg *c) {
    const tir_kernel *k = c->k;
    for (int i = 0; i < k->n_maps; i++) {
        ll_val map = cg_map(c, i);
        ll_intr(c->b, "llvm.nvvm.prefetch.tensormap", LL_PTR, 1, &map);
    }
    for (int i = 0; i < k->n_channels; i++) {
        const tir_channel *ch = &k->channels[i];
        init_barriers(c, ch->full_bar, ch->depth, ch->full_count);
        init_barriers(c, ch->empty_bar, ch->empty_bars, ch->empty_count);
    }
    for (int i = 0; i < k->n_roles; i++) {
        const tir_role *r = &k->roles[i];
        if (r->turn_bar >= 0 && r->turns > 1) {
            init_barriers(c, r->turn_bar, r->turns, tir_group_warps(r));
        }
        if (r->sum_bar >= 0) {
            cg_combine_barriers(c, r);
        }
    }
    if (tir_has_scheduler(k)) {
        cg_ring_barriers(c);
    }
    LL_INTR0(c->b, "llvm.nvvm.fence.mbarrier_init.release.cluster");
}

// Only partial sums cross between CTAs, and are sent: nobody waits for the others before it sends. Tiles that one
// warp hands out cross at once.
static bool meets_late(const cg *c) {
    return tir_split(c->k) > 1 && tir_sends(c->k) && c->k->walk.kind != WALK_ONE;
}

static void meet(cg *c) {
    if (meets_late(c)) { // barriers were made visible by fence.mbarrier_init
        LL_INTR0(c->b, "llvm.nvvm.barrier.cluster.arrive.relaxed.aligned");
    }
    if (c->k->cluster > 1 && !meets_late(c)) {
        LL_INTR0(c->b, "llvm.nvvm.barrier.cluster.arrive.aligned");
        LL_INTR0(c->b, "llvm.nvvm.barrier.cluster.wait.aligned");
    } else {
        LL_INTR(c->b, "llvm.nvvm.barrier.cta.sync.aligned.all", ll_i32(c->b, 0));
    }
}

static void thread_numbers(cg *c) {
    ll *b = c->b;
    c->smem = ll_smem(b);
    c->tid = LL_INTR0(b, "llvm.nvvm.read.ptx.sreg.tid.x");
    // A shuffle tells ptxas that the warp number is the same in all lanes, so that what follows
    // from it can live in uniform registers.
    ll_val warp = ll_bini(b, LL_LSHR, c->tid, 5);
    c->warp = cg_shuffle(c, warp, ll_i32(b, 0));
    c->lane = ll_bini(b, LL_AND, c->tid, ARCH_LANES - 1);
    c->rank = ll_i32(b, 0);
    if (c->k->cluster > 1) {
        c->rank = LL_INTR0(b, "llvm.nvvm.read.ptx.sreg.cluster.ctarank");
    }
}

static void await_cluster(cg *c) {
    if (meets_late(c)) {
        LL_INTR0(c->b, "llvm.nvvm.barrier.cluster.wait.aligned");
    }
}

// Read by each role for itself, so that nothing but the warp number lives across other roles.
static void cluster_numbers(cg *c) {
    ll *b = c->b;
    ll_val cta = LL_INTR0(b, "llvm.nvvm.read.ptx.sreg.ctaid.x");
    ll_val ctas = LL_INTR0(b, "llvm.nvvm.read.ptx.sreg.nctaid.x");
    c->cluster_id = ll_bini(b, LL_UDIV, cta, c->k->cluster);
    c->n_clusters = ll_bini(b, LL_UDIV, ctas, c->k->cluster);
}

static void prologue(cg *c) {
    ll *b = c->b;
    thread_numbers(c);
    ll_if first = ll_if_begin(b, ll_cmpi(b, LL_EQ, c->warp, 0));
    ll_if one = ll_if_begin(b, cg_elect(c));
    init_all_barriers(c);
    ll_if_end(b, one);
    cg_warp_sync(c);
    ll_if_end(b, first);
    if (c->k->tmem_columns > 0) {
        cg_tmem_alloc(c);
    }
    meet(c);
    if (c->k->tmem_columns > 0) {
        cg_tmem_base(c);
    }
}

// --- Roles ---------------------------------------------------------------------------------------

static bool has_stmt(int n, tir_stmt *const *body, tir_stmt_kind kind) {
    for (int i = 0; i < n; i++) {
        if (body[i]->kind == kind || has_stmt(body[i]->n_body, body[i]->body, kind)) {
            return true;
        }
    }
    return false;
}

int cg_role_regs(const cg *c) {
    int regs = c->k->wg_regs[c->role->first_warp / 4];
    return regs ? regs : c->k->entry_regs;
}

int cg_role_accs(const cg *c) {
    return tir_sum_registers(c->k, cg_role_number(c));
}

bool cg_is_umma(const cg *c) {
    const tir_role *r = c->role;
    return c->k->arch == ARCH_SM100A && r->frag != FRAG_MMA && has_stmt(r->n_body, r->body, TS_MMA);
}

static void begin_role(cg *c, const tir_role *r) {
    const tir_kernel *k = c->k;
    ll *b = c->b;
    c->role = r;
    cluster_numbers(c);
    int n = tir_group_warps(r);
    bool groups = n < r->n_warps;
    // The group is uniform, so that what follows from it (tiles, slots) can live in uniform
    // registers; the warp is for addresses of lanes, and ptxas computes it again rather than keeps
    // it.
    ll_val uniform = ll_addi(b, c->warp, -r->first_warp);
    ll_val warp = ll_addi(b, ll_bini(b, LL_LSHR, c->tid, 5), -r->first_warp);
    c->group = groups ? ll_bini(b, LL_UDIV, uniform, n) : ll_i32(b, 0);
    c->role_warp = groups ? ll_bini(b, LL_UREM, warp, n) : warp;
    c->starts = ARENA_ARRAY(c->mem, ll_val, k->n_loops + k->n_fors + 1);
    c->parts = ARENA_ARRAY(c->mem, cg_part, k->n_loops + 1);
    c->spans = ARENA_ARRAY(c->mem, cg_part, k->n_fors + 1);
    c->groups = NULL;
    c->one = NULL;
    c->lanes = false;
    c->lines = NULL;
    c->chans = ARENA_ARRAY(c->mem, cg_chan, k->n_channels + 1);
    c->accs = ARENA_ARRAY(c->mem, cg_acc, k->n_accs + 1);
    c->fresh = ARENA_ARRAY(c->mem, ll_var, k->n_accs + 1);
    c->stage = ARENA_ARRAY(c->mem, ll_var, k->n_stores + 1);
    c->wgmma = NULL;
    for (int i = 0; i < k->n_stores; i++) {
        c->stage[i] = ll_variable(b, LL_I32, "stage");
        ll_set(b, c->stage[i], ll_i32(b, 0));
    }
    if (r->sum_bar >= 0) {
        c->sums = ll_variable(b, LL_I32, "sums");
        ll_set(b, c->sums, ll_i32(b, 0));
    }
    cg_channels_begin(c);
}

// PTX ISA "createpolicy": evict_last keeps lines in the L2 cache, evict_first lets them go before others.
static void make_policies(cg *c) {
    static const char *const names[] = {[CACHE_KEEP] = "evict_last", [CACHE_STREAM] = "evict_first"};
    for (int cache = CACHE_KEEP; cache <= CACHE_STREAM; cache++) {
        c->policies[cache] = NULL;
        for (int i = 0; i < c->k->n_params && !c->policies[cache]; i++) {
            if (c->k->params[i].cache == (tir_cache)cache) {
                ll_asm a = {.text = arena_printf(c->mem, "createpolicy.fractional.L2::%s.b64 $0, 1.0;", names[cache]),
                            .constraints = "=l",
                            .n_out = 1,
                            .out = {LL_I64}};
                c->policies[cache] = ll_call_asm(c->b, &a, 0, NULL);
            }
        }
    }
}

ll_val cg_policy(cg *c, int param, ll_val *has) {
    tir_cache cache = c->k->params[param].cache;
    *has = ll_i1(c->b, cache != CACHE_ANY);
    return cache == CACHE_ANY ? ll_i64(c->b, 0) : c->policies[cache];
}

// Programmatic dependent launch (PTX ISA "griddepcontrol"): 'wait' until the kernel before is over and what it
// wrote can be seen; 'launch_dependents' when the one behind may begin. It waits for this one in the same way.
static void grid_control(cg *c, const char *what) {
    ll_asm a = {.text = arena_printf(c->mem, "griddepcontrol.%s;", what), .constraints = "~{memory}", .effect = true};
    ll_call_asm(c->b, &a, 0, NULL);
}

// Whether the role copies operands for warps that compute between products, decode or scale sums.
// Its instructions take turns with theirs: where one lane of a warp walks by itself nothing is known
// to be the same in a warp, and the loop is slower. On an H200 that is 4 % of products with f32
// scales, 1 to 2 % of those of decoded weights; others gain nothing, and small ones lose
// (tests/h200/README.md).
static bool feeds_arithmetic(const cg *c) {
    const tir_kernel *k = c->k;
    for (int i = 0; i < k->n_mmas; i++) {
        const tir_mma *m = &k->mmas[i];
        int a = k->operands[m->a].channel, b = k->operands[m->b].channel, own = cg_role_number(c);
        bool here = k->channels[a].from == own || k->channels[b].from == own;
        if (here && (m->decode || m->promote > 0)) {
            return true;
        }
    }
    return false;
}

static void emit_role(cg *c, const tir_role *r) {
    ll *b = c->b;
    begin_role(c, r);
    ll_if one = {0};
    c->lanes = r->one_thread && feeds_arithmetic(c);
    bool groups = c->k->walk.kind == WALK_STATIC && cg_has_groups(c);
    bool warp_walks = r->one_thread && (c->lanes || groups);
    if (warp_walks) {
        c->one = cg_elect(c);
    } else if (r->one_thread) {
        one = ll_if_begin(b, cg_elect(c));
    }
    if (cg_is_umma(c)) {
        cg_umma_begin(c);
    }
    if (r->sum_bar >= 0) {
        await_cluster(c);
    }
    cg_wgmma_tables(c);
    make_policies(c);
    if (r->launches == LAUNCH_FIRST) {
        grid_control(c, "launch_dependents");
    }
    if (r->waits) {
        grid_control(c, "wait");
    }
    cg_stmts(c, r->n_body, r->body);
    if (r->sum_bar >= 0) {
        cg_combine_end(c);
    }
    if (r->launches == LAUNCH_LAST) {
        grid_control(c, "launch_dependents");
    }
    if (warp_walks) {
        one = ll_if_begin(b, c->one);
    }
    cg_umma_tail(c);
    if (has_stmt(r->n_body, r->body, TS_STORE)) { // bulk stores still read shared memory
        LL_INTR(b, "llvm.nvvm.cp.async.bulk.wait.group.read", ll_i32(b, 0));
    }
    if (r->one_thread) {
        ll_if_end(b, one);
    }
    cg_warp_sync(c);
}

static ll_val role_here(cg *c, const tir_role *r) {
    ll *b = c->b;
    int n = r->one_thread ? 1 : r->n_warps;
    ll_val warp = ll_addi(b, c->warp, -r->first_warp);
    ll_val here = ll_cmpi(b, LL_ULT, warp, n);
    if (r->leader_only && c->k->cluster > 1) {
        here = ll_bin(b, LL_AND, here, ll_cmpi(b, LL_EQ, c->rank, 0));
    }
    return here;
}

static void set_registers(cg *c, int regs) {
    if (regs == 0 || regs == c->k->entry_regs) {
        return;
    }
    const char *name = regs > c->k->entry_regs ? "llvm.nvvm.setmaxnreg.inc.sync.aligned.u32"
                                               : "llvm.nvvm.setmaxnreg.dec.sync.aligned.u32";
    LL_INTR(c->b, name, ll_i32(c->b, regs));
}

// if (c) { body by the caller } else next test; the body ends with a branch to 'exit'.
typedef struct {
    ll_block next, exit;
} branch;

static branch branch_begin(cg *c, ll_val when, ll_block exit) {
    ll_block yes = ll_new_block(c->b, "role");
    branch f = {.next = ll_new_block(c->b, "next"), .exit = exit};
    ll_cond(c->b, when, yes, f.next);
    ll_at(c->b, yes);
    return f;
}

static void branch_end(cg *c, branch f) {
    ll_br(c->b, f.exit);
    ll_at(c->b, f.next);
}

// Warpgroups first .. last - 1 and the roles in them.
static void emit_component(cg *c, int first, int last, ll_block exit) {
    const tir_kernel *k = c->k;
    ll *b = c->b;
    for (int w = first + 1; w < last; w++) {
        if (k->wg_regs[w] != k->wg_regs[first]) {
            cg_fail(c, "warpgroups %d and %d of kernel '%s' share a role but not a register budget "
                       "(%d and %d)", first, w, k->name, k->wg_regs[first], k->wg_regs[w]);
            return;
        }
    }
    ll_val warp = ll_addi(b, c->warp, -first * ARCH_WG_WARPS);
    branch here = branch_begin(c, ll_cmpi(b, LL_ULT, warp, (last - first) * ARCH_WG_WARPS), exit);
    set_registers(c, k->wg_regs[first]);
    for (int i = 0; i < k->n_roles && CG_OK(c); i++) {
        const tir_role *r = &k->roles[i];
        if (r->first_warp / ARCH_WG_WARPS >= first && r->first_warp / ARCH_WG_WARPS < last) {
            branch in = branch_begin(c, role_here(c, r), exit);
            emit_role(c, r);
            branch_end(c, in);
        }
    }
    branch_end(c, here);
}

static void emit_roles(cg *c) {
    const tir_kernel *k = c->k;
    int n = (k->threads + ARCH_WG_WARPS * ARCH_LANES - 1) / (ARCH_WG_WARPS * ARCH_LANES);
    ll_block exit = ll_new_block(c->b, "exit");
    for (int first = 0; first < n && CG_OK(c);) {
        int last = first + 1;
        for (bool grew = true; grew;) {
            grew = false;
            for (int i = 0; i < k->n_roles; i++) {
                const tir_role *r = &k->roles[i];
                int lo = r->first_warp / ARCH_WG_WARPS;
                int hi = (r->first_warp + r->n_warps - 1) / ARCH_WG_WARPS + 1;
                if (lo < last && hi > last) {
                    last = hi;
                    grew = true;
                }
            }
        }
        emit_component(c, first, last, exit);
        first = last;
    }
    ll_br(c->b, exit);
    ll_at(c->b, exit);
}

// Warps that send or receive no sums: whoever arrived at the cluster barrier waits at it.
static void await_peers(cg *c) {
    ll *b = c->b;
    ll_val sums = ll_i1(b, false);
    for (int i = 0; i < c->k->n_roles; i++) {
        const tir_role *r = &c->k->roles[i];
        if (r->sum_bar >= 0) {
            ll_val warp = ll_addi(b, c->warp, -r->first_warp);
            sums = ll_bin(b, LL_OR, sums, ll_cmpi(b, LL_ULT, warp, r->n_warps));
        }
    }
    ll_if f = ll_if_begin(b, ll_not(b, sums));
    cg_warp_sync(c);
    await_cluster(c);
    ll_if_end(b, f);
}

static void teardown(cg *c) {
    if (meets_late(c)) {
        await_peers(c);
    }
    if (c->k->tmem_columns > 0) {
        cg_tmem_free(c);
    } else if (c->k->cluster > 1 && !meets_late(c)) {
        meet(c); // a CTA does not exit while its peer may still signal its barriers
    }
    ll_ret(c->b);
}

// --- Entry ---------------------------------------------------------------------------------------

static bool supported(cg *c) {
    const tir_kernel *k = c->k;
    if (k->arch == ARCH_SM120A && k->cluster_loop >= 0) {
        cg_fail(c, "kernel '%s': a cluster of %d CTAs on sm_120a, where multicast is emulated in "
                   "software; the cluster must be 1", k->name, k->cluster);
    } else if (k->threads > TIR_MAX_WGS * ARCH_WG_WARPS * ARCH_LANES ||
               k->threads % ARCH_LANES != 0) {
        cg_fail(c, "kernel '%s' has %d threads; at most %d, a multiple of %d", k->name, k->threads,
                TIR_MAX_WGS * ARCH_WG_WARPS * ARCH_LANES, ARCH_LANES);
    }
    return CG_OK(c);
}

static const char *generate(cg *c, const cg_options *opt, cg_result *out) {
    begin_entry(c);
    prologue(c);
    emit_roles(c);
    teardown(c);
    if (!CG_OK(c)) {
        out->code = c->err_code;
        return c->err;
    }
    const char *bad = ll_verify(c->b);
    if (bad) {
        out->code = "X901";
        return arena_printf(c->mem, "internal error: codegen made malformed IR for kernel '%s': %s",
                            c->k->name, bad);
    }
    if (opt->emit_ir) {
        out->ir = ll_ir(c->b, &out->ir_len);
    }
    return opt->no_ptx ? NULL : ll_ptx(c->b, &out->ptx, &out->ptx_len);
}

const char *cg_compile(const tir_kernel *k, const cg_options *opt, arena *mem, cg_result *out) {
    *out = (cg_result){0};
    cg c = {.k = k, .mem = mem, .shallow = opt->shallow};
    const char *why = NULL;
    if (supported(&c)) {
        c.b = ll_new(arch_infos[k->arch].name, "+ptx88", mem, &why);
    }
    if (!c.b) {
        out->code = "X101";
        return c.err ? c.err : why;
    }
    const char *result = generate(&c, opt, out);
    ll_free(c.b);
    return result;
}

// Values -> roles -> warps.
//
// Requires: products. Provides: p->roles, who loads, multiplies and stores what; k->roles (warps),
// k->threads, wg_regs, entry_regs, tmem_warp; the scheduler role of a clc walk, or
// of one from one warp.
//
// setmaxnreg acts on warpgroups of four warps (PTX ISA "setmaxnreg": all warps of a warpgroup
// execute the same one), so roles with different register counts never share one.
#include "plan_int.h"

#include <string.h>

enum { ELEMENTWISE_REGS = 128 };

static int find_role(const planner *p, const char *name) {
    for (int i = 0; i < p->n_roles; i++) {
        if (strcmp(p->roles[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static int add_role(planner *p, plan_role role) {
    p->roles[p->n_roles] = role;
    return p->n_roles++;
}

// --- Names ---------------------------------------------------------------------------------------

static bool is_operand(const graph *g, const char *name) {
    for (int i = 0; i < g->n_operands; i++) {
        if (strcmp(g->operands[i].param->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_store(const graph *g, const char *name) {
    for (int i = 0; i < g->n_stores; i++) {
        if (strcmp(g->stores[i].param->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static const ast_sym *let_of(const ast_kernel *k, const char *name) {
    for (int i = 0; i < k->n_lets; i++) {
        if (strcmp(k->lets[i]->name, name) == 0) {
            return k->lets[i];
        }
    }
    return NULL;
}

static bool is_param(const ast_kernel *k, const char *name) {
    for (int i = 0; i < k->n_params; i++) {
        if (strcmp(k->params[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

// A name in a role or pipe must be a value of this kernel that passes through it.
static void check_value(planner *p, const fact_name *v, const char *where) {
    const ast_kernel *k = p->req->kernel;
    if (is_operand(p->g, v->text) || is_store(p->g, v->text) || let_of(k, v->text) != NULL) {
        return;
    }
    if (is_param(k, v->text)) {
        PLAN_REFUSE(p, "F105", v->span,
                    "'%s' feeds no product: the role that uses it reads it straight from memory",
                    v->text);
        diag_help(p->d, "leave '%s' out of the %s", v->text, where);
        return;
    }
    PLAN_REFUSE(p, "F103", v->span, "kernel '%s' has no value called '%s'", k->name, v->text);
}

static bool is_acc(const graph *g, const char *name) {
    for (int i = 0; i < g->n_accs; i++) {
        if (strcmp(g->accs[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

// What passes from role to role has slots: operands, in shared memory, and sums of tcgen05, in
// TMEM.
static void check_passes(planner *p, const fact_pipe *pipe, const fact_name *v) {
    bool operand = is_operand(p->g, v->text);
    bool acc = is_acc(p->g, v->text);
    if (!operand && !(acc && p->arch->family == MMA_TCGEN05)) {
        PLAN_REFUSE(p, "F105", v->span,
                    "'%s' stays with the role that computes it: it has no slots", v->text);
        if (acc) {
            diag_because(p->d, "%s sums in the registers of the warps that multiply",
                         p->arch->name);
        }
        diag_help(p->d, "leave '%s' out of the pipe", v->text);
    } else if (operand && pipe->space != PIPE_SMEM && pipe->space != PIPE_ANY) {
        PLAN_REFUSE(p, "X101", pipe->span, "'%s' comes by TMA, which reaches shared memory only",
                    v->text);
    } else if (operand && pipe->overlap) {
        PLAN_REFUSE(
            p, "F105", pipe->span,
            "'overlap' lets slots share columns of tensor memory, but '%s' lies in shared memory",
            v->text);
    }
}

static void check_names(planner *p) {
    const facts *f = p->f;
    for (int i = 0; i < f->n_roles; i++) {
        const fact_role *r = &f->roles[i];
        for (int j = 0; j < r->values.n; j++) {
            check_value(p, &r->values.at[j], "role");
            const fact_role *first = facts_role_of(f, r->values.at[j].text);
            if (first != r && p->ok) {
                PLAN_REFUSE(p, "F104", r->values.at[j].span, "'%s' has two roles",
                            r->values.at[j].text);
                diag_note(p->d, first->span, "first stated here");
            }
        }
    }
    for (int i = 0; i < f->n_pipes; i++) {
        for (int j = 0; j < f->pipes[i].values.n && p->ok; j++) {
            check_value(p, &f->pipes[i].values.at[j], "pipe");
            if (p->ok) {
                check_passes(p, &f->pipes[i], &f->pipes[i].values.at[j]);
            }
        }
    }
    for (int i = 0; i < f->n_stores; i++) {
        for (int j = 0; j < f->stores[i].values.n; j++) {
            if (!is_store(p->g, f->stores[i].values.at[j].text)) {
                PLAN_REFUSE(p, "F103", f->stores[i].values.at[j].span, "kernel '%s' stores no '%s'",
                            p->req->kernel->name, f->stores[i].values.at[j].text);
            }
        }
    }
}

// --- Who does what -------------------------------------------------------------------------------

// The role that names a value; else the role of a sibling; else a derived role of that name.
static int role_for(planner *p, const char *value, int sibling, plan_role derived) {
    const fact_role *r = facts_role_of(p->f, value);
    if (r != NULL) {
        return find_role(p, r->name.text);
    }
    if (sibling >= 0) {
        return sibling;
    }
    int at = find_role(p, derived.name);
    return at >= 0 ? at : add_role(p, derived);
}

static bool walks_by_clc(const planner *p) {
    return p->f->has_walk && strcmp(p->f->walk, "clc") == 0;
}

// Registers of derived roles. Following a clc walk takes a loading thread more than 40; where CTAs
// divide a tile's steps, ptxas needs more for both roles of mma.sync, or keeps what outlives them in
// local memory (measured over tiles and formats with CUDA 13.0).
static bool divides(const planner *p) {
    return p->arch->family == MMA_SYNC && (tir_split(p->k) > 1 || p->k->walk.stream >= 0);
}

// Of warps that bring, and with tcgen05 of those that multiply: a stage of 8-bit elements with
// their scales has up to 24 products and copies, each with operands of its own.
static int load_regs(const planner *p) {
    for (int i = 0; i < p->g->n_operands && !plan_acc_in_regs(p); i++) {
        if (p->operands[i].scaled) {
            return 80;
        }
    }
    return divides(p) ? 72 : plan_acc_in_regs(p) && !walks_by_clc(p) ? 40 : 56;
}

// What is left for each of one to four warpgroups beside the loading one.
static int sync_regs(const planner *p, int warps) {
    return warps > 12 ? 104 : warps > 8 ? 152 : divides(p) ? 216 : walks_by_clc(p) ? 224 : 232;
}

static void assign_loads(planner *p) {
    bool sync = plan_acc_in_regs(p);
    plan_role derived = {
        .name = "load", .warps = sync ? 4 : 1, .regs = load_regs(p), .turns = 1, .span = p->at};
    int sibling = -1;
    for (int pass = 0; pass < 2; pass++) { // stated ones first: they are the siblings
        for (int i = 0; i < p->g->n_operands; i++) {
            const char *name = p->g->operands[i].param->name;
            if ((facts_role_of(p->f, name) != NULL) == (pass == 0)) {
                p->operands[i].role = role_for(p, name, sibling, derived);
                sibling = p->operands[i].role;
                p->roles[sibling].loads = true;
            }
        }
    }
}

// Rows along the last axis are 64 consecutive ones an instruction: warps hold no others in between,
// so a warpgroup has one instruction's rows (codegen/wgmma.c).
static bool rows_of_one_instruction(const planner *p) {
    for (int i = 0; i < p->k->n_mmas; i++) {
        if (p->arch->family == MMA_WGMMA && p->operands[p->k->mmas[i].a].mn_major) {
            return true;
        }
    }
    return false;
}

// Whether two warpgroups can share a tile: 64 rows for each.
static bool halves(const planner *p) {
    bool whole = true;
    for (int i = 0; i < p->k->n_accs; i++) {
        whole &= p->arch->family != MMA_WGMMA || p->k->accs[i].rows % 128 == 0;
    }
    return whole;
}

static bool finds_tiles(const planner *p) {
    bool bounds = false;
    for (int i = 0; i < p->k->n_loops; i++) {
        bounds = bounds || p->k->loops[i].hi != NULL;
    }
    return bounds && !p->f->from_one;
}

// Tensors that are read, but not as operands of products.
static bool reads_beside_products(const planner *p) {
    const ast_kernel *kernel = p->req->kernel;
    bool found = false;
    for (int i = 0; i < kernel->n_params; i++) {
        const ast_sym *param = kernel->params[i];
        bool operand = param->mode == MODE_OUT || param->mode == MODE_CONST || param->n_dims == 0;
        for (int j = 0; j < p->g->n_operands; j++) {
            operand = operand || p->g->operands[j].param == param;
        }
        found = found || !operand;
    }
    return found;
}

// Groups of derived warps that multiply. Two warpgroups take tiles by turns where one can hold a
// tile's accumulators, and share each tile otherwise.
static int derived_turns(const planner *p) {
    if (!plan_acc_in_regs(p) || walks_by_clc(p) || tir_split(p->k) > 1 || p->f->groups_by > 1 ||
        p->k->walk.stream >= 0) {
        return 1;
    }
    int held = 0; // registers a thread of one warpgroup
    for (int i = 0; i < p->k->n_accs; i++) {
        held += p->k->accs[i].rows * p->k->accs[i].cols / 128;
    }
    int room = p->arch->family == MMA_WGMMA ? 128 : sync_regs(p, 8) - PLAN_WORK_REGS;
    int quantises = 0;
    for (int i = 0; i < p->g->n_stores; i++) {
        quantises += p->g->stores[i].param->format->scale != ELEM_NONE;
    }
    // What one store computes may be kept for the next; pieces of rows are computed anew
    // (codegen/store_mma.c), but where these wait for the scales of their granules.
    held += p->g->n_stores > 1 ? (quantises > 0 ? held : held / 2) : 0;
    if (p->arch->family != MMA_WGMMA) {
        room -= quantises * TIR_ROW_REGS;
        room -= finds_tiles(p) && reads_beside_products(p) ? PLAN_BOUNDS_REGS : 0;
    }
    return halves(p) && (held > room || rows_of_one_instruction(p)) ? 1 : 2;
}

// The CTAs of a split loop meet after each tile: all warps take the same one.
static int derived_warps(const planner *p) {
    if (p->f->groups_by > 1) {
        return ARCH_WG_WARPS * p->f->groups_by;
    }
    return !plan_acc_in_regs(p) ? 1 : (tir_split(p->k) > 1 || p->k->walk.stream >= 0) && !halves(p) ? 4 : 8;
}

static void assign_products(planner *p) {
    bool sync = plan_acc_in_regs(p);
    plan_role derived = {.name = "math",
                         .warps = derived_warps(p),
                         .regs = sync ? sync_regs(p, derived_warps(p)) : load_regs(p),
                         .turns = derived_turns(p),
                         .span = p->at};
    int sibling = -1;
    for (int i = 0; i < p->g->n_accs; i++) {
        const char *name = p->g->accs[i]->name;
        p->accs[i].role = role_for(p, name, sibling, derived);
        sibling = p->accs[i].role;
        p->roles[sibling].multiplies = true;
        p->k->accs[i].role = sibling;
    }
    for (int i = 0; i < p->g->n_mmas; i++) {
        p->mma_role[i] = p->accs[p->k->mmas[i].acc].role;
    }
}

static void assign_stores(planner *p) {
    bool sync = plan_acc_in_regs(p);
    plan_role derived = {.name = "epi", .warps = 4, .regs = 208, .turns = 1, .span = p->at};
    if (plan_is_elementwise(p)) {
        derived.warps = plan_elementwise_warps(p);
        derived.regs = ELEMENTWISE_REGS;
    }
    int sibling = -1;
    for (int i = 0; i < p->g->n_stores; i++) {
        const graph_store *st = &p->g->stores[i];
        int home = plan_is_elementwise(p) ? sibling : p->accs[graph_acc_of(p->g, st->accs[0])].role;
        int r = role_for(p, st->param->name, sync ? home : sibling, derived);
        if (sync && home >= 0 && r != home && !plan_is_elementwise(p)) {
            PLAN_REFUSE(p, "F105", p->roles[r].span,
                        "'%s' is stored from registers of role '%s', which holds '%s'",
                        st->param->name, p->roles[home].name, st->accs[0]->name);
            diag_help(p->d, "name '%s' in role '%s'", st->param->name, p->roles[home].name);
            return;
        }
        p->store_role[i] = r;
        if (plan_is_elementwise(p)) {
            if (sibling >= 0 && r != sibling) {
                PLAN_REFUSE(p, "X101", p->roles[r].span,
                            "results of one tile in two roles have no lowering yet");
                return;
            }
            p->k->accs[0].role = r;
        }
        p->roles[r].stores = true;
        sibling = r;
    }
}

// A let may be named in a role; its value is computed where it is used.
static void check_lets(planner *p) {
    const facts *f = p->f;
    for (int i = 0; i < f->n_roles; i++) {
        for (int j = 0; j < f->roles[i].values.n; j++) {
            const ast_sym *let = let_of(p->req->kernel, f->roles[i].values.at[j].text);
            int r = find_role(p, f->roles[i].name.text);
            if (let != NULL && !let->is_acc && !p->roles[r].stores) {
                PLAN_REFUSE(
                    p, "X101", f->roles[i].values.at[j].span,
                    "'%s' would cross from role '%s' to the one that stores it: no lowering yet",
                    let->name, f->roles[i].name.text);
            }
        }
    }
}

// Groups of its warps that take steps by turns.
static int role_shares(const planner *p, const plan_role *r) {
    return r->multiplies && p->f->groups_by > 1 ? p->f->groups_by : 1;
}

static void check_work(planner *p) {
    for (int i = 0; i < p->n_roles && p->ok; i++) {
        const plan_role *r = &p->roles[i];
        if (!r->loads && !r->multiplies && !r->stores) {
            PLAN_REFUSE(p, "F105", r->span, "role '%s' has nothing to do", r->name);
        } else if (r->loads && (r->multiplies || r->stores)) {
            PLAN_REFUSE(p, "X101", r->span,
                        "role '%s' loads and computes: give loads a role of their own", r->name);
        } else if (r->multiplies && r->stores && !plan_acc_in_regs(p)) {
            PLAN_REFUSE(p, "X101", r->span,
                        "role '%s' multiplies and stores: tcgen05 needs one thread for the one and "
                        "four warps for the other",
                        r->name);
        } else if (plan_is_elementwise(p) && (r->warps != plan_elementwise_warps(p) || r->turns != 1)) {
            PLAN_REFUSE(p, "A111", r->span,
                        "role '%s' has %d warps; a tile of %d rows takes %d, 32 rows each", r->name,
                        r->warps, p->k->accs[0].rows, plan_elementwise_warps(p));
        } else if (r->stores && !plan_is_elementwise(p) && p->arch->family == MMA_TCGEN05 &&
                   (r->warps != 4 || r->turns != 1)) {
            PLAN_REFUSE(
                p, "A111", r->span,
                "role '%s' reads TMEM: it needs 4 warps, one for each quarter of the lanes, not %d",
                r->name, r->warps);
        } else if (r->multiplies && plan_acc_in_regs(p) &&
                   (r->warps % (4 * r->turns) != 0 || r->warps > PLAN_MATH_WARPS)) {
            PLAN_REFUSE(
                p, "A111", r->span,
                "role '%s' multiplies with %d warps in %d turns: turns are whole warpgroups of 4",
                r->name, r->warps, r->turns);
        } else if (role_shares(p, r) > 1 && r->warps % (ARCH_WG_WARPS * role_shares(p, r)) != 0) {
            PLAN_REFUSE(
                p, "A111", r->span,
                "role '%s' multiplies with %d warps in %d groups: groups are whole warpgroups of 4",
                r->name, r->warps, role_shares(p, r));
            diag_help(p->d, "%d warps", ARCH_WG_WARPS * role_shares(p, r));
        } else if (r->turns > 1 && role_shares(p, r) > 1) {
            PLAN_REFUSE(p, "X101", r->span,
                        "'%s' takes tiles by turns of %d groups, but 'split %s by %d groups' puts "
                        "all of its warps on each tile",
                        r->name, r->turns, p->f->groups.text, p->f->groups_by);
            diag_help(p->d, "%d warps without 'pingpong %d'", r->warps, r->turns);
        } else if (r->turns > 1 && walks_by_clc(p)) {
            PLAN_REFUSE(p, "X101", r->span,
                        "'pingpong' takes tiles in a fixed order, 'walk clc' gives none");
            diag_fix(p->d, plan_fact_span(p, p->f->walk_span), "walk static;",
                     "hand tiles out in order");
        } else if (r->turns > 1 && !r->multiplies) {
            PLAN_REFUSE(p, "X101", r->span,
                        "'pingpong' of a role without products has no lowering yet");
        }
    }
}

// --- Warps ---------------------------------------------------------------------------------------

typedef struct {
    int n_wgs;
    int regs[TIR_MAX_WGS];
    int used[TIR_MAX_WGS]; // bit w: warp w of the group has a role
} warp_plan;

// First warp for n warps; a role of whole warpgroups gets its own.
static int place(planner *p, warp_plan *w, int n, int regs, int reserve, ast_span at) {
    if (reserve % ARCH_WG_WARPS != 0) {
        for (int i = 0; i < w->n_wgs; i++) {
            for (int first = 0; first + n <= ARCH_WG_WARPS; first++) {
                int mask = ((1 << n) - 1) << first;
                if (w->regs[i] == regs && (w->used[i] & mask) == 0) {
                    w->used[i] |= mask;
                    return i * ARCH_WG_WARPS + first;
                }
            }
        }
    }
    int groups = (reserve + ARCH_WG_WARPS - 1) / ARCH_WG_WARPS;
    if (w->n_wgs + groups > TIR_MAX_WGS) {
        PLAN_REFUSE(p, "R202", at, "the roles need %d threads, a CTA has %d",
                    (w->n_wgs + groups) * 128, ARCH_MAX_THREADS);
        return 0;
    }
    int first = w->n_wgs * ARCH_WG_WARPS;
    for (int i = 0; i < groups; i++) {
        int left = n - i * ARCH_WG_WARPS;
        w->regs[w->n_wgs] = regs;
        w->used[w->n_wgs++] = left >= ARCH_WG_WARPS ? 15 : left > 0 ? (1 << left) - 1 : 0;
    }
    return first;
}

static int take_spare(planner *p, warp_plan *w, int regs) {
    for (int i = 0; i < w->n_wgs; i++) {
        for (int warp = 0; warp < ARCH_WG_WARPS; warp++) {
            if ((w->used[i] & (1 << warp)) == 0) {
                w->used[i] |= 1 << warp;
                return i * ARCH_WG_WARPS + warp;
            }
        }
    }
    return place(p, w, 1, regs, 1, p->at);
}

static int default_regs(const planner *p, const plan_role *r) {
    if (r->stated == NULL || r->stated->regs > 0) {
        return r->regs;
    }
    if (plan_is_elementwise(p)) {
        return ELEMENTWISE_REGS;
    }
    if (!r->multiplies && !r->stores) {
        return load_regs(p);
    }
    if (p->arch->family == MMA_TCGEN05) {
        return r->stores ? 208 : load_regs(p);
    }
    return sync_regs(p, r->warps);
}

static void place_roles(planner *p) {
    tir_kernel *k = p->k;
    warp_plan w = {0};
    bool tmem = p->arch->family == MMA_TCGEN05 && !plan_is_elementwise(p);
    k->roles = ARENA_ARRAY(p->mem, tir_role, p->n_roles + 1);
    for (int i = 0; i < p->n_roles && p->ok; i++) {
        plan_role *r = &p->roles[i];
        r->regs = default_regs(p, r);
        bool one = r->loads || (r->multiplies && tmem);
        int warps = one ? 1 : r->warps;
        k->roles[k->n_roles++] =
            (tir_role){.name = r->name,
                       .first_warp = place(p, &w, warps, r->regs, r->warps, r->span),
                       .n_warps = warps,
                       .regs = r->regs,
                       .turns = r->turns,
                       .shares = role_shares(p, r),
                       .one_thread = one,
                       .leader_only = k->pair && r->multiplies,
                       .turn_bar = -1,
                       .sum_bar = -1};
    }
    int least = w.regs[0];
    for (int i = 1; i < w.n_wgs; i++) {
        least = w.regs[i] < least ? w.regs[i] : least;
    }
    bool clc = walks_by_clc(p);
    if (clc || p->f->from_one) {
        int warp = take_spare(p, &w, least);
        k->roles[k->n_roles++] = (tir_role){.name = "sched",
                                            .first_warp = warp,
                                            .n_warps = 1,
                                            .regs = w.regs[warp / ARCH_WG_WARPS],
                                            .turns = 1,
                                            .shares = 1,
                                            .one_thread = clc,
                                            .leader_only = !clc && k->cluster > 1,
                                            .turn_bar = -1,
                                            .sum_bar = -1};
    }
    k->tmem_warp = tmem ? take_spare(p, &w, least) : -1;
    k->threads = w.n_wgs * ARCH_WG_WARPS * 32;
    for (int i = 0; i < w.n_wgs; i++) {
        k->wg_regs[i] = w.regs[i];
    }
}

void plan_roles(planner *p) {
    const facts *f = p->f;
    check_names(p);
    for (int i = 0; i < f->n_roles && p->ok; i++) {
        const fact_role *r = &f->roles[i];
        add_role(p, (plan_role){.name = r->name.text,
                                .stated = r,
                                .warps = r->warps,
                                .regs = r->regs,
                                .turns = r->pingpong,
                                .span = r->span});
    }
    if (p->ok) {
        assign_loads(p);
        assign_products(p);
        assign_stores(p);
    }
    if (p->ok) {
        check_lets(p);
        check_work(p);
    }
    if (p->ok) {
        place_roles(p);
    }
}

// Decoders of barriers, mbarriers, warp collectives, fences and hints.
#include "ptx.h"
#include "sync.h"

static const uint16_t sync_words[] = {W_SYNC, W_ALIGNED};

static void take_sync(struct ptx_ins *i) {
    ptx_take_all(i, sync_words, 2);
}

// ---- collectives --------------------------------------------------------------------------------
static uint32_t pair_pred(struct ptx_parser *p, const struct ptx_operand *o) {
    return o->pair < 0 ? 2 : ptx_pred_dst(p, &p->ins->pool[o->pair]);
}

// shfl.sync.mode.b32 d[|p], a, b, c, membermask
void dec_shfl(struct ptx_parser *p, struct ptx_ins *i) {
    static const uint16_t modes[] = {W_UP, W_DOWN, W_BFLY, W_IDX};
    take_sync(i);
    int mode = ptx_take_one(i, modes, 4);
    ptx_need_args(p, 5, 5);
    if (mode < 0 || ptx_need_type(p) != W_B32) {
        ptx_refuse(p, "unsupported shuffle");
    }
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), W_B32);
    uint32_t pred = pair_pred(p, ptx_arg(i, 0));
    uint32_t r[4];
    for (int n = 0; n < 4; n++) {
        r[n] = ptx_row_src(p, ptx_arg(i, n + 1), W_B32);
    }
    struct uop *u = ptx_emit_rows(p, run_shfl, d, r);
    u->imm = r[3];
    u->flag = (uint8_t)mode;
    u->aux = (const void *)(uintptr_t)pred;
}

// vote.sync.mode d, [!]a, membermask
void dec_vote(struct ptx_parser *p, struct ptx_ins *i) {
    static const uint16_t modes[] = {W_ALL, W_ANY, W_UNI, W_BALLOT};
    take_sync(i);
    int mode = ptx_take_one(i, modes, 4);
    enum ptx_word type = ptx_need_type(p);
    ptx_need_args(p, 3, 3);
    if (mode < 0 || (mode == VOTE_BALLOT) != (type == W_B32)) {
        ptx_refuse(p, "unsupported vote");
    }
    bool negated;
    uint32_t d =
        type == W_PRED ? ptx_pred_dst(p, ptx_arg(i, 0)) : ptx_row_dst(p, ptx_arg(i, 0), type);
    uint32_t a = ptx_pred_src(p, ptx_arg(i, 1), &negated);
    uint32_t b = ptx_row_src(p, ptx_arg(i, 2), W_B32);
    struct uop *u = ptx_emit(p, run_vote);
    u->d = d;
    u->a = a;
    u->b = b;
    u->flag = (uint8_t)(mode | negated << 2);
}

// match.any.sync.type d, a, membermask;  match.all.sync.type d[|p], a, membermask
void dec_match(struct ptx_parser *p, struct ptx_ins *i) {
    take_sync(i);
    bool all = ptx_take(i, W_ALL);
    bool any = ptx_take(i, W_ANY);
    enum ptx_word type = ptx_need_type(p);
    ptx_need_args(p, 3, 3);
    if (all == any || (type != W_B32 && type != W_B64)) {
        ptx_refuse(p, "unsupported match");
    }
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), W_B32);
    uint32_t pred = pair_pred(p, ptx_arg(i, 0));
    uint32_t a = ptx_row_src(p, ptx_arg(i, 1), type);
    uint32_t b = ptx_row_src(p, ptx_arg(i, 2), W_B32);
    struct uop *u = ptx_emit(p, run_match);
    u->d = d;
    u->a = a;
    u->b = b;
    u->c = type == W_B64;
    u->imm = pred;
    u->flag = all;
}

void dec_activemask(struct ptx_parser *p, struct ptx_ins *i) {
    ptx_need_type(p);
    ptx_need_args(p, 1, 1);
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), W_B32);
    ptx_emit(p, run_activemask)->d = d;
}

// redux.sync.op[.abs][.NaN].type d, a, membermask
void dec_redux(struct ptx_parser *p, struct ptx_ins *i) {
    static const uint16_t ops[] = {W_ADD, W_MIN, W_MAX, W_AND, W_OR, W_XOR};
    take_sync(i);
    struct redux_aux *x = ptx_aux_alloc(p, sizeof *x);
    int op = ptx_take_one(i, ops, 6);
    x->abs = ptx_take(i, W_ABS);
    x->nan = ptx_take(i, W_NAN);
    x->type = ptx_need_type(p);
    ptx_need_args(p, 3, 3);
    bool minmax = op == 1 || op == 2;
    if (op < 0 || (x->type == W_F32 && !minmax) || ptx_type_bits((enum ptx_word)x->type) != 32) {
        ptx_refuse(p, "unsupported reduction");
    }
    x->op = ops[op];
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), W_B32);
    uint32_t a = ptx_row_src(p, ptx_arg(i, 1), (enum ptx_word)x->type);
    uint32_t b = ptx_row_src(p, ptx_arg(i, 2), W_B32);
    struct uop *u = ptx_emit(p, run_redux);
    u->d = d;
    u->a = a;
    u->b = b;
    u->aux = x;
}

void dec_elect(struct ptx_parser *p, struct ptx_ins *i) {
    take_sync(i);
    ptx_need_args(p, 2, 2);
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), W_B32);
    uint32_t pred = pair_pred(p, ptx_arg(i, 0));
    uint32_t b = ptx_row_src(p, ptx_arg(i, 1), W_B32);
    struct uop *u = ptx_emit(p, run_elect);
    u->d = d;
    u->b = b;
    u->c = pred;
}

// ---- barriers -----------------------------------------------------------------------------------
static void dec_cluster_bar(struct ptx_parser *p, struct ptx_ins *i) {
    bool arrive = ptx_take(i, W_ARRIVE);
    bool wait = ptx_take(i, W_WAIT);
    ptx_take_order(i);
    bool aligned = ptx_take(i, W_ALIGNED);
    ptx_need_args(p, 0, 0);
    if (arrive == wait) {
        ptx_refuse(p, "unsupported cluster barrier");
    }
    ptx_emit(p, arrive ? run_cluster_arrive : run_cluster_wait)->flag = aligned ? BAR_ALIGNED : 0;
}

static void dec_bar_warp(struct ptx_parser *p, struct ptx_ins *i) {
    ptx_take(i, W_SYNC);
    ptx_need_args(p, 1, 1);
    uint32_t a = ptx_row_src(p, ptx_arg(i, 0), W_B32);
    ptx_emit(p, run_bar_warp)->a = a;
}

// bar[.cta].sync|arrive a[, n];  bar[.cta].red.popc.u32 d, a[, n], [!]p;  .red.and|or.pred
void dec_bar(struct ptx_parser *p, struct ptx_ins *i) {
    bool old = i->opcode_length == 3; // bar is barrier.cta with .aligned
    if (!old && ptx_take(i, W_CLUSTER)) {
        dec_cluster_bar(p, i);
        return;
    }
    if (old && ptx_take(i, W_WARP)) {
        dec_bar_warp(p, i);
        return;
    }
    ptx_take(i, W_CTA);
    bool arrive = ptx_take(i, W_ARRIVE);
    bool red = ptx_take(i, W_RED);
    ptx_take(i, W_SYNC);
    bool aligned = ptx_take(i, W_ALIGNED) || old;
    int flag = (aligned ? BAR_ALIGNED : 0) | (arrive ? BAR_ARRIVE : 0);
    uint32_t d = 0;
    int first = 0;
    int last = i->n_args;
    bool negated = false;
    uint32_t pred = 0;
    if (red) {
        flag |= ptx_take(i, W_POPC)  ? BAR_POPC
                : ptx_take(i, W_AND) ? BAR_AND
                : ptx_take(i, W_OR)  ? BAR_OR
                                     : 0;
        enum ptx_word type = ptx_need_type(p);
        ptx_need_args(p, 3, 4);
        d = type == W_PRED ? ptx_pred_dst(p, ptx_arg(i, 0)) : ptx_row_dst(p, ptx_arg(i, 0), type);
        first = 1;
        last--;
        pred = ptx_pred_src(p, ptx_arg(i, last), &negated);
    }
    if (last - first < 1 || last - first > 2) {
        ptx_refuse(p, "wrong number of operands");
    }
    uint32_t a = ptx_row_src(p, ptx_arg(i, first), W_U32);
    uint32_t n = last - first == 2 ? ptx_row_src(p, ptx_arg(i, first + 1), W_U32) : 0;
    struct uop *u = ptx_emit(p, run_bar);
    u->d = d;
    u->a = a;
    u->b = n;
    u->c = pred;
    u->imm = negated ? FULL : 0;
    u->flag = (uint8_t)(flag | (last - first == 2 ? BAR_COUNTED : 0));
}

// ---- mbarrier -----------------------------------------------------------------------------------
static void dec_mbar_wait(struct ptx_parser *p, struct ptx_ins *i, bool test) {
    bool parity = ptx_take(i, W_PARITY);
    ptx_need_args(p, 3, test ? 3 : 4);
    uint32_t d = ptx_pred_dst(p, ptx_arg(i, 0));
    int64_t offset;
    uint32_t a = ptx_row_address(p, ptx_arg(i, 1), &offset);
    uint32_t b = ptx_row_src(p, ptx_arg(i, 2), parity ? W_U32 : W_B64);
    struct uop *u = ptx_emit(p, run_mbar_wait);
    u->d = d;
    u->a = a;
    u->b = b;
    u->imm = offset;
    u->flag = (uint8_t)(parity | test << 1);
}

static struct uop *dec_mbar_arrive(struct ptx_parser *p, struct ptx_ins *i, bool drop) {
    struct mbar_aux *x = ptx_aux_alloc(p, sizeof *x);
    x->arrive = true;
    x->drop = drop;
    x->expect = ptx_take(i, W_EXPECT_TX);
    ptx_take(i, W_NOCOMPLETE);
    // the sink may be left out for barriers of other CTAs
    int at = ptx_arg(i, 0)->kind == OP_ADDRESS ? 0 : 1;
    ptx_need_args(p, at + 1, at + 2);
    x->state = at == 1 && ptx_arg(i, 0)->kind != OP_SINK;
    uint32_t d = x->state ? ptx_row_dst(p, ptx_arg(i, 0), W_B64) : 0;
    int64_t offset;
    uint32_t a = ptx_row_address(p, ptx_arg(i, at), &offset);
    uint32_t n = i->n_args == at + 2 ? ptx_row_src(p, ptx_arg(i, at + 1), W_U32) : 0;
    x->counted = i->n_args == at + 2 && !x->expect;
    if (x->expect && i->n_args != at + 2) {
        ptx_refuse(p, "expect_tx needs the number of bytes");
    }
    struct uop *u = ptx_emit(p, run_mbar_arrive);
    u->d = d;
    u->a = a;
    u->b = u->c = n;
    u->imm = offset;
    u->aux = x;
    return u;
}

static void dec_mbar_tx(struct ptx_parser *p, struct ptx_ins *i, bool complete) {
    struct mbar_aux *x = ptx_aux_alloc(p, sizeof *x);
    x->expect = true;
    ptx_need_args(p, 2, 2);
    int64_t offset;
    uint32_t a = ptx_row_address(p, ptx_arg(i, 0), &offset);
    uint32_t n = ptx_row_src(p, ptx_arg(i, 1), W_U32);
    struct uop *u = ptx_emit(p, complete ? run_mbar_complete : run_mbar_arrive);
    u->a = a;
    u->c = n;
    u->imm = offset;
    u->aux = x;
}

static void dec_mbar_init(struct ptx_parser *p, struct ptx_ins *i, bool init) {
    ptx_need_args(p, init ? 2 : 1, init ? 2 : 1);
    int64_t offset;
    uint32_t a = ptx_row_address(p, ptx_arg(i, 0), &offset);
    uint32_t n = init ? ptx_row_src(p, ptx_arg(i, 1), W_U32) : 0;
    struct uop *u = ptx_emit(p, init ? run_mbar_init : run_mbar_inval);
    u->a = a;
    u->b = n;
    u->imm = offset;
}

void dec_mbarrier(struct ptx_parser *p, struct ptx_ins *i) {
    bool cluster;
    ptx_take_space(i, &cluster);
    ptx_take_order(i);
    ptx_take(i, W_B64);
    if (ptx_take(i, W_INIT)) {
        dec_mbar_init(p, i, true);
    } else if (ptx_take(i, W_INVAL)) {
        dec_mbar_init(p, i, false);
    } else if (ptx_take(i, W_TRY_WAIT)) {
        dec_mbar_wait(p, i, false);
    } else if (ptx_take(i, W_TEST_WAIT)) {
        dec_mbar_wait(p, i, true);
    } else if (ptx_take(i, W_ARRIVE_DROP)) {
        ptx_need_args(p, 1, 3);
        dec_mbar_arrive(p, i, true);
    } else if (ptx_take(i, W_ARRIVE)) {
        ptx_need_args(p, 1, 3);
        dec_mbar_arrive(p, i, false);
    } else if (ptx_take(i, W_EXPECT_TX)) {
        dec_mbar_tx(p, i, false);
    } else if (ptx_take(i, W_COMPLETE_TX)) {
        dec_mbar_tx(p, i, true);
    } else if (ptx_take(i, W_PENDING_COUNT)) {
        ptx_need_args(p, 2, 2);
        uint32_t a = ptx_row_src(p, ptx_arg(i, 1), W_B64);
        uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), W_U32);
        struct uop *u = ptx_emit(p, run_mbar_pending);
        u->d = d;
        u->a = a;
    } else {
        ptx_refuse(p, "unsupported mbarrier instruction");
    }
}

// ---- fences and hints ---------------------------------------------------------------------------
// Memory is sequentially consistent here; fences stay in the program as events without effect.
void dec_fence(struct ptx_parser *p, struct ptx_ins *i) {
    static const uint16_t list[] = {W_PROXY,
                                    W_ASYNC,
                                    W_ASYNC_GLOBAL,
                                    W_ALIAS,
                                    W_PROXY_ASYNC,
                                    W_ASYNC_GENERIC,
                                    W_ASYNC_SHARED_CTA,
                                    W_ASYNC_SHARED_CLUSTER,
                                    W_TENSORMAP,
                                    W_TENSORMAP_GENERIC,
                                    W_GENERIC_TENSORMAP,
                                    W_MBARRIER_INIT,
                                    W_RESTRICT_SHARED_CTA,
                                    W_RESTRICT_SHARED_CLUSTER,
                                    W_GLOBAL,
                                    W_SHARED,
                                    W_SHARED_CTA,
                                    W_SHARED_CLUSTER};
    for (int n = 0; n < i->n_mods; n++) { // beyond the cluster: something is handed over in device memory
        p->kernel->meets |= i->mods[n] == W_GPU || i->mods[n] == W_GL || i->mods[n] == W_SYS;
    }
    ptx_take_all(i, list, sizeof list / sizeof *list);
    ptx_take_order(i);
    ptx_need_args(p, 0, 2);
    ptx_emit(p, run_nop);
}

void dec_nanosleep(struct ptx_parser *p, struct ptx_ins *i) {
    (void)i;
    ptx_need_type(p);
    ptx_need_args(p, 1, 1);
    ptx_emit(p, run_yield);
}

void dec_griddep(struct ptx_parser *p, struct ptx_ins *i) {
    ptx_take(i, W_WAIT);
    ptx_take(i, W_LAUNCH_DEPENDENTS);
    ptx_need_args(p, 0, 0);
    ptx_emit(p, run_nop);
}

void dec_setmaxnreg(struct ptx_parser *p, struct ptx_ins *i) {
    bool inc = ptx_take(i, W_INC);
    bool dec = ptx_take(i, W_DEC);
    take_sync(i);
    ptx_need_type(p);
    ptx_need_args(p, 1, 1);
    uint64_t n = ptx_need_int(p, ptx_arg(i, 0));
    if (inc == dec || n < 24 || n > 256 || n % 8 != 0) {
        ptx_refuse(p, "setmaxnreg takes 24 to 256 registers in steps of 8");
    }
    struct uop *u = ptx_emit(p, run_setmaxnreg);
    u->imm = (int64_t)n;
    u->flag = inc;
}

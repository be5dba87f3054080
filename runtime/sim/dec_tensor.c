// Decoders of tcgen05, mma.sync, ldmatrix, stmatrix, movmatrix.
#include "async.h"
#include "ptx.h"

static int take_group(struct ptx_parser *p) {
    static const uint16_t list[] = {W_CTA_GROUP_1, W_CTA_GROUP_2};
    int g = ptx_take_one(p->ins, list, 2) + 1;
    if (g == 0) {
        ptx_refuse(p, "the instruction has no .cta_group");
    }
    if (p->kernel->cta_group != 0 && p->kernel->cta_group != g) {
        ptx_refuse(p, "the kernel mixes .cta_group::1 and .cta_group::2");
    }
    p->kernel->cta_group = g;
    return g;
}

static int take_kind(struct ptx_ins *i) {
    static const uint16_t list[] = {
        W_KIND_F16,      W_KIND_TF32, W_KIND_F8F6F4,  W_KIND_I8,
        W_KIND_MXF8F6F4, W_KIND_MXF4, W_KIND_MXF4NVF4}; // ORDER unit_kind
    return ptx_take_one(i, list, 7);
}

// Elements a scale serves; 0 when the instruction does not say.
static int take_block(struct ptx_ins *i, int kind) {
    if (ptx_take(i, W_BLOCK16) || ptx_take(i, W_SCALE_VEC_4X)) {
        return 16;
    }
    if (ptx_take(i, W_BLOCK32) || ptx_take(i, W_SCALE_VEC_2X) || ptx_take(i, W_SCALE_VEC_1X)) {
        return 32;
    }
    return kind == UNIT_KIND_MXF8F6F4 || kind == UNIT_KIND_MXF4 ? 32 : 0;
}

static uint32_t tmem_address(struct ptx_parser *p, const struct ptx_operand *o, int64_t *offset) {
    uint32_t r = ptx_row_address(p, o, offset);
    if ((r & ADDRESS_32) == 0) {
        ptx_refuse(p, "a tensor memory address has 32 bits");
    }
    return r & ~ADDRESS_32;
}

static uint32_t row_32(struct ptx_parser *p, const struct ptx_operand *o) {
    return ptx_row_src(p, o, W_B32);
}

static void emit_tensor(struct ptx_parser *p, const struct tensor_aux *x) {
    ptx_emit(p, run_tensor)->aux = x;
}

static void dec_mma_tail(struct ptx_parser *p, struct tensor_aux *x, int at) {
    struct ptx_ins *i = p->ins;
    if (at < i->n_args && ptx_arg(i, at)->kind == OP_VECTOR) { // lanes that are not written
        const struct ptx_operand *v = ptx_arg(i, at);
        if (v->n != 4 * x->group) {
            ptx_refuse(p, "wrong number of lane masks");
        }
        x->n_disable = v->n;
        for (int n = 0; n < v->n; n++) {
            x->disable[n] = row_32(p, ptx_part(i, v, n));
        }
        at++;
    }
    if (at >= i->n_args) {
        ptx_refuse(p, "wrong number of operands");
    }
    x->pred = ptx_pred_src(p, ptx_arg(i, at), &x->pred_negated);
    if (at + 1 < i->n_args) {
        x->mma.scale_d = (int)(ptx_need_int(p, ptx_arg(i, at + 1)) & 15);
        at++;
    }
    if (at + 1 != i->n_args) {
        ptx_refuse(p, "wrong number of operands");
    }
}

// .ws: [d], a, b-desc, idesc, enable-input-d {, zero-column-mask}. A mask of 0 masks nothing.
static void dec_ws_tail(struct ptx_parser *p, struct tensor_aux *x) {
    struct ptx_ins *i = p->ins;
    ptx_need_args(p, 5, 6);
    x->pred = ptx_pred_src(p, ptx_arg(i, 4), &x->pred_negated);
    if (i->n_args == 6 && ptx_need_int(p, ptx_arg(i, 5)) != 0) {
        ptx_refuse(p, "a zero-column mask is not supported");
    }
}

static void take_collectors(struct ptx_ins *i) {
    for (int w = W_COLLECTOR_A_FILL; w <= W_COLLECTOR_B3_DISCARD; w++) { // ORDER words.def
        if (w != W_WS) {
            ptx_take(i, (enum ptx_word)w);
        }
    }
}

// [d], a-desc | [a], b-desc, {[sp-meta],} idesc, ([sfa], [sfb], | {masks},) enable-input-d {, scale-input-d}
static void dec_tc_mma(struct ptx_parser *p, struct ptx_ins *i) {
    struct tensor_aux *x = ptx_aux_alloc(p, sizeof *x);
    x->kind = ASYNC_MMA;
    x->group = take_group(p);
    int kind = take_kind(i);
    bool sparse = ptx_take(i, W_SP);
    bool scaled = ptx_take(i, W_BLOCK_SCALE);
    int block = take_block(i, kind);
    bool needs = kind >= UNIT_KIND_MXF8F6F4;
    bool ws = ptx_take(i, W_WS);
    take_collectors(i);
    ptx_need_args(p, sparse ? 6 : 5, sparse ? 9 : 8);
    if (ws && (scaled || sparse || x->group != 1)) {
        ptx_refuse(p, ".ws is for one CTA, a dense A and no scales");
    }
    if (kind < 0 || scaled != needs || (scaled && block == 0) || (!scaled && block != 0)) {
        ptx_refuse(p, "unsupported kind or scale vector size");
    }
    x->mma.form = (struct unit_mma_form){(enum unit_kind)kind, x->group, block, ws, sparse};
    x->d = tmem_address(p, ptx_arg(i, 0), &x->d_off);
    x->mma.a_in_tmem = ptx_arg(i, 1)->kind == OP_ADDRESS;
    x->a = x->mma.a_in_tmem ? tmem_address(p, ptx_arg(i, 1), &x->a_off)
                            : ptx_row_src(p, ptx_arg(i, 1), W_B64);
    x->b = ptx_row_src(p, ptx_arg(i, 2), W_B64);
    int at = 3;
    if (sparse) {
        x->meta = tmem_address(p, ptx_arg(i, at++), &x->meta_off);
    }
    x->idesc = row_32(p, ptx_arg(i, at++));
    if (scaled) {
        ptx_need_args(p, at + 3, at + 3);
        x->sfa = tmem_address(p, ptx_arg(i, at++), &x->sfa_off);
        x->sfb = tmem_address(p, ptx_arg(i, at++), &x->sfb_off);
    }
    if (ws) {
        dec_ws_tail(p, x);
    } else {
        dec_mma_tail(p, x, at);
    }
    emit_tensor(p, x);
}

static void dec_tc_cp(struct ptx_parser *p, struct ptx_ins *i, bool shift) {
    static const uint16_t shapes[] = {W_CP_32X128B, W_CP_64X128B, W_CP_128X128B, W_CP_128X256B,
                                      W_CP_4X256B};
    static const enum unit_cp_shape codes[] = {UNIT_CP_32X128B_WARPX4, UNIT_CP_64X128B_WARPX2_02_13,
                                               UNIT_CP_128X128B, UNIT_CP_128X256B, UNIT_CP_4X256B};
    struct tensor_aux *x = ptx_aux_alloc(p, sizeof *x);
    x->kind = shift ? ASYNC_TSHIFT : ASYNC_UTCCP;
    x->group = take_group(p);
    if (shift) {
        ptx_take(i, W_DOWN);
        ptx_need_args(p, 1, 1);
        x->d = tmem_address(p, ptx_arg(i, 0), &x->d_off);
        emit_tensor(p, x);
        return;
    }
    int shape = ptx_take_one(i, shapes, 5);
    bool x4 = ptx_take(i, W_WARPX4);
    bool m02 = ptx_take(i, W_WARPX2_02_13);
    bool m01 = ptx_take(i, W_WARPX2_01_23);
    ptx_need_args(p, 2, 2);
    if (shape < 0 || x4 != (shape == 0) || (m02 || m01) != (shape == 1) || (m02 && m01)) {
        ptx_refuse(p, "unsupported shape or multicast");
    }
    x->cp.shape = m01 ? UNIT_CP_64X128B_WARPX2_01_23 : codes[shape];
    if (ptx_take(i, W_B8X16)) {
        x->cp.unpack = ptx_take(i, W_B4X16_P64)   ? UNIT_UNPACK_B4X16_P64
                       : ptx_take(i, W_B6X16_P32) ? UNIT_UNPACK_B6X16_P32
                                                  : UNIT_UNPACK_NONE;
    }
    x->d = tmem_address(p, ptx_arg(i, 0), &x->d_off);
    x->a = ptx_row_src(p, ptx_arg(i, 1), W_B64);
    emit_tensor(p, x);
}

static void dec_tc_commit(struct ptx_parser *p, struct ptx_ins *i) {
    struct tensor_aux *x = ptx_aux_alloc(p, sizeof *x);
    bool cluster;
    x->kind = ASYNC_COMMIT;
    x->group = take_group(p);
    ptx_take(i, W_ARRIVE_ONE);
    ptx_take_space(i, &cluster);
    ptx_take(i, W_B64);
    x->multicast = ptx_take(i, W_MULTICAST);
    ptx_need_args(p, x->multicast ? 2 : 1, x->multicast ? 2 : 1);
    x->mbar = ptx_row_address(p, ptx_arg(i, 0), &x->mbar_off);
    if (x->multicast) {
        x->mask = ptx_row_src(p, ptx_arg(i, 1), W_U16);
    }
    emit_tensor(p, x);
}

static void dec_tc_ldst(struct ptx_parser *p, struct ptx_ins *i, bool load) {
    static const uint16_t shapes[] = {W_SHAPE_32X32B, W_SHAPE_16X64B, W_SHAPE_16X128B,
                                      W_SHAPE_16X256B, W_SHAPE_16X32BX2}; // ORDER unit_tmem_shape
    static const uint16_t nums[] = {W_X1, W_X2, W_X4, W_X8, W_X16, W_X32, W_X64, W_X128};
    struct ldst_aux *x = ptx_aux_alloc(p, sizeof *x);
    ptx_take(i, W_SYNC);
    ptx_take(i, W_ALIGNED);
    int shape = ptx_take_one(i, shapes, 5);
    int num = ptx_take_one(i, nums, 8);
    ptx_take(i, W_B32);
    x->op.pack = ptx_take(i, load ? W_PACK_16B : W_UNPACK_16B);
    bool split = shape == UNIT_T16X32BX2;
    ptx_need_args(p, split ? 3 : 2, split ? 3 : 2);
    if (shape < 0 || num < 0) {
        ptx_refuse(p, "unsupported shape");
    }
    x->op.shape = (enum unit_tmem_shape)shape;
    x->op.num = 1 << num;
    int address = load ? 1 : 0;
    int half = load ? 2 : 1;
    const struct ptx_operand *v = ptx_arg(i, load ? 0 : split ? 2 : 1);
    x->op.half_split = split ? (int)ptx_need_int(p, ptx_arg(i, half)) : 0;
    int n = unit_ldst_regs(&x->op);
    if (n == 0 || (v->kind == OP_VECTOR ? v->n : 1) != n) {
        ptx_refuse(p, "wrong number of registers");
    }
    for (int r = 0; r < n; r++) {
        const struct ptx_operand *o = v->kind == OP_VECTOR ? ptx_part(i, v, r) : v;
        x->row[r] = load ? ptx_row_dst(p, o, W_B32) : ptx_row_src(p, o, W_B32);
    }
    int64_t offset;
    uint32_t a = tmem_address(p, ptx_arg(i, address), &offset);
    struct uop *u = ptx_emit(p, load ? run_tmem_ld : run_tmem_st);
    u->a = a;
    u->imm = offset;
    u->aux = x;
}

static void dec_tc_alloc(struct ptx_parser *p, struct ptx_ins *i) {
    bool cluster;
    int group = take_group(p);
    ptx_take(i, W_SYNC);
    ptx_take(i, W_ALIGNED);
    ptx_take_space(i, &cluster);
    ptx_take(i, W_B32);
    ptx_need_args(p, 2, 2);
    int64_t offset;
    uint32_t a = ptx_row_address(p, ptx_arg(i, 0), &offset);
    uint32_t b = row_32(p, ptx_arg(i, 1));
    struct uop *u = ptx_emit(p, run_tmem_alloc);
    u->a = a;
    u->b = b;
    u->imm = offset;
    u->flag = (uint8_t)group;
}

static void dec_tc_dealloc(struct ptx_parser *p, struct ptx_ins *i) {
    int group = take_group(p);
    ptx_take(i, W_SYNC);
    ptx_take(i, W_ALIGNED);
    ptx_take(i, W_B32);
    ptx_need_args(p, 2, 2);
    uint32_t a = row_32(p, ptx_arg(i, 0));
    uint32_t b = row_32(p, ptx_arg(i, 1));
    struct uop *u = ptx_emit(p, run_tmem_dealloc);
    u->a = a;
    u->b = b;
    u->flag = (uint8_t)group;
}

void dec_tcgen05(struct ptx_parser *p, struct ptx_ins *i) {
    if (p->module->target / 10 != 10 && p->module->target / 10 != 11) {
        ptx_refuse(p, "the target has no tcgen05 instructions");
    }
    if (ptx_take(i, W_MMA)) {
        dec_tc_mma(p, i);
    } else if (ptx_take(i, W_CP)) {
        dec_tc_cp(p, i, false);
    } else if (ptx_take(i, W_SHIFT)) {
        dec_tc_cp(p, i, true);
    } else if (ptx_take(i, W_COMMIT)) {
        dec_tc_commit(p, i);
    } else if (ptx_take(i, W_LD)) {
        dec_tc_ldst(p, i, true);
    } else if (ptx_take(i, W_ST)) {
        dec_tc_ldst(p, i, false);
    } else if (ptx_take(i, W_ALLOC)) {
        dec_tc_alloc(p, i);
    } else if (ptx_take(i, W_DEALLOC)) {
        dec_tc_dealloc(p, i);
    } else if (ptx_take(i, W_RELINQUISH)) {
        take_group(p);
        ptx_take(i, W_SYNC);
        ptx_take(i, W_ALIGNED);
        ptx_emit(p, run_tmem_relinquish);
    } else if (ptx_take(i, W_BEFORE_THREAD_SYNC) || ptx_take(i, W_AFTER_THREAD_SYNC)) {
        ptx_emit(p, run_nop);
    } else if (ptx_take(i, W_WAIT_LD) || ptx_take(i, W_WAIT_ST)) {
        ptx_take(i, W_SYNC);
        ptx_take(i, W_ALIGNED);
        ptx_emit(p, run_tmem_wait);
    } else {
        ptx_refuse(p, "unsupported tcgen05 instruction");
    }
}

// ---- mma.sync -----------------------------------------------------------------------------------
static int format(enum ptx_word t) {
    static const struct {
        enum ptx_word word;
        enum num_fmt fmt;
    } list[] = {{W_E4M3, NUM_E4M3},   {W_E5M2, NUM_E5M2},  {W_E2M3, NUM_E2M3}, {W_E3M2, NUM_E3M2},
                {W_E2M1, NUM_E2M1},   {W_F16, NUM_F16},    {W_BF16, NUM_BF16}, {W_TF32, NUM_TF32},
                {W_F32, NUM_F32},     {W_S32, NUM_I32},    {W_S8, NUM_S8},     {W_U8, NUM_U8},
                {W_UE8M0, NUM_UE8M0}, {W_UE4M3, NUM_UE4M3}};
    for (size_t n = 0; n < sizeof list / sizeof *list; n++) {
        if (list[n].word == t) {
            return (int)list[n].fmt;
        }
    }
    return -1;
}

enum num_fmt ptx_need_format(struct ptx_parser *p) {
    int f = format(ptx_need_type(p));
    if (f < 0) {
        ptx_refuse(p, "unsupported element type");
    }
    return (enum num_fmt)f;
}

void ptx_fragment(struct ptx_parser *p, int n, int regs, uint32_t *rows, bool dst) {
    struct ptx_ins *i = p->ins;
    const struct ptx_operand *o = ptx_arg(i, n);
    if ((o->kind == OP_VECTOR ? o->n : 1) != regs) {
        ptx_refuse(p, "a fragment has the wrong number of registers");
    }
    for (int r = 0; r < regs; r++) {
        const struct ptx_operand *e = o->kind == OP_VECTOR ? ptx_part(i, o, r) : o;
        bool f = e->kind == OP_FLOAT || e->kind == OP_FLOAT32;
        rows[r] = dst ? ptx_row_dst(p, e, W_B32) : ptx_row_src(p, e, f ? W_F32 : W_B32);
    }
}

static uint32_t selector(struct ptx_parser *p, int n, int which) {
    const struct ptx_operand *v = ptx_arg(p->ins, n);
    if (v->kind != OP_VECTOR || v->n != 2) {
        ptx_refuse(p, "a selector {byte, thread} is expected");
    }
    const struct ptx_operand *e = ptx_part(p->ins, v, which);
    return ptx_row_src(p, e, e->kind == OP_REG ? e->type : W_U16);
}

// Which form without .kind: from the types.
static void plain_kind(struct ptx_parser *p, struct unit_msync *op) {
    switch (op->a) {
    case NUM_F16:
    case NUM_BF16:
        op->kind = UNIT_KIND_F16;
        break;
    case NUM_TF32:
        op->kind = UNIT_KIND_TF32;
        break;
    case NUM_S8:
    case NUM_U8:
        op->kind = UNIT_KIND_I8;
        break;
    case NUM_E4M3:
    case NUM_E5M2:
        op->kind = UNIT_KIND_F8F6F4;
        op->no_kind = true;
        op->native_fp8 = p->module->target >= 120;
        break;
    default:
        ptx_refuse(p, "unsupported element type");
    }
}

// The metadata and its selector, behind c.
static void take_metadata(struct ptx_parser *p, struct msync_aux *x) {
    x->op.sparse = true;
    ptx_fragment(p, 4, 1, &x->meta, false);
    uint64_t selector = ptx_need_int(p, ptx_arg(p->ins, 5));
    x->op.selector = selector < 4 ? (int)selector : -1;
    if (!unit_msync_form(&x->op)) {
        ptx_refuse(p, "unsupported sparse shape, types or sparsity selector");
    }
}

// mma[.sp].sync.aligned.shape.row.col[.kind..].d.a.b.c[.scale] d, a, b, c[, metadata, selector][, sfa, {byte, thread},
// sfb, {..}]
void dec_mma(struct ptx_parser *p, struct ptx_ins *i) {
    static const uint16_t shapes[] = {W_M16N8K4,  W_M16N8K8,  W_M16N8K16,
                                      W_M16N8K32, W_M16N8K64, W_M16N8K128};
    struct msync_aux *x = ptx_aux_alloc(p, sizeof *x);
    bool sparse = ptx_take(i, W_SP_ORDERED) || ptx_take(i, W_SP);
    ptx_take(i, W_SYNC);
    ptx_take(i, W_ALIGNED);
    ptx_take(i, W_ROW);
    ptx_take(i, W_COL);
    int shape = ptx_take_one(i, shapes, 6);
    int kind = take_kind(i);
    x->scaled = ptx_take(i, W_BLOCK_SCALE);
    int block = take_block(i, kind);
    x->op.saturate = ptx_take(i, W_SATFINITE);
    x->op.d = ptx_need_format(p);
    x->op.a = ptx_need_format(p);
    x->op.b = ptx_need_format(p);
    if (ptx_need_format(p) != x->op.d || shape < 0) {
        ptx_refuse(p, "unsupported shape or types");
    }
    x->op.k = (4 << shape) / (sparse ? 2 : 1);
    x->op.block = x->scaled ? block : 0;
    x->op.scale = x->scaled ? ptx_need_format(p) : NUM_UE8M0;
    x->op.kind = (enum unit_kind)kind;
    if (kind < 0) {
        plain_kind(p, &x->op);
    } else if (p->module->target < 120 || !p->module->target_a) {
        ptx_refuse(p, "the target has no mma.sync with .kind");
    } else if (x->scaled != (kind >= UNIT_KIND_MXF8F6F4) || (x->scaled && block == 0)) {
        ptx_refuse(p, "unsupported kind or scale vector size");
    }
    int n_args = (x->scaled ? 8 : 4) + (sparse ? 2 : 0);
    ptx_need_args(p, n_args, n_args);
    if (sparse) {
        take_metadata(p, x);
    }
    bool narrow =
        x->op.k * (x->op.kind == UNIT_KIND_TF32 ? 4 : 2) <= 16 && x->op.kind <= UNIT_KIND_TF32;
    bool bytes = x->op.kind == UNIT_KIND_I8 || x->op.kind == UNIT_KIND_F8F6F4;
    narrow |= bytes && x->op.k == 16;
    x->nd = x->op.d == NUM_F16 ? 2 : 4;
    x->na = narrow ? 2 : 4;
    x->nb = (narrow ? 1 : 2) * (sparse ? 2 : 1);
    ptx_fragment(p, 1, x->na, x->a, false);
    ptx_fragment(p, 2, x->nb, x->b, false);
    ptx_fragment(p, 3, x->nd, x->c, false);
    if (x->scaled) {
        int at = n_args - 4;
        ptx_fragment(p, at, 1, &x->sfa, false); // as a register or a vector of one
        ptx_fragment(p, at + 2, 1, &x->sfb, false);
        for (int s = 0; s < 4; s++) {
            x->sel[s] = selector(p, s < 2 ? at + 1 : at + 3, s & 1);
        }
    }
    ptx_fragment(p, 0, x->nd, x->d, true);
    ptx_emit(p, run_msync)->aux = x;
}

// ---- matrix moves -------------------------------------------------------------------------------
static void dec_matrix(struct ptx_parser *p, struct ptx_ins *i, bool load) {
    static const uint16_t shapes[] = {W_M8N8, W_M16N16, W_M8N16, W_M16N8}; // ORDER unit_lm_shape
    static const uint16_t nums[] = {W_X1, W_X2, W_X4};
    struct lm_aux *x = ptx_aux_alloc(p, sizeof *x);
    bool cluster;
    ptx_take(i, W_SYNC);
    ptx_take(i, W_ALIGNED);
    ptx_take_space(i, &cluster);
    int shape = ptx_take_one(i, shapes, 4);
    int num = ptx_take_one(i, nums, 3);
    x->op.trans = ptx_take(i, W_TRANS);
    ptx_take(i, W_B16);
    ptx_take(i, W_B8);
    if (ptx_take(i, W_B8X16)) {
        x->op.unpack = ptx_take(i, W_B4X16_P64)   ? UNIT_UNPACK_B4X16_P64
                       : ptx_take(i, W_B6X16_P32) ? UNIT_UNPACK_B6X16_P32
                                                  : UNIT_UNPACK_NONE;
    }
    ptx_need_args(p, 2, 2);
    x->op.shape = (enum unit_lm_shape)shape;
    x->op.num = num < 0 ? 0 : 1 << num;
    int n = shape < 0 || num < 0 ? 0 : unit_lm_regs(&x->op);
    if (n == 0 || n > 4 || (load && shape == 3) || (!load && (shape == 1 || shape == 2))) {
        ptx_refuse(p, "unsupported shape");
    }
    ptx_fragment(p, load ? 0 : 1, n, x->row, load);
    int64_t offset;
    uint32_t a = ptx_row_address(p, ptx_arg(i, load ? 1 : 0), &offset);
    struct uop *u = ptx_emit(p, load ? run_ldmatrix : run_stmatrix);
    u->a = a;
    u->imm = offset;
    u->aux = x;
}

void dec_ldmatrix(struct ptx_parser *p, struct ptx_ins *i) {
    dec_matrix(p, i, true);
}

void dec_stmatrix(struct ptx_parser *p, struct ptx_ins *i) {
    dec_matrix(p, i, false);
}

void dec_movmatrix(struct ptx_parser *p, struct ptx_ins *i) {
    ptx_take(i, W_SYNC);
    ptx_take(i, W_ALIGNED);
    ptx_take(i, W_M8N8);
    ptx_take(i, W_TRANS);
    ptx_take(i, W_B16);
    ptx_need_args(p, 2, 2);
    uint32_t a = row_32(p, ptx_arg(i, 1));
    uint32_t d = ptx_row_dst(p, ptx_arg(i, 0), W_B32);
    struct uop *u = ptx_emit(p, run_movmatrix);
    u->d = d;
    u->a = a;
}

// Decoder of wgmma: mma_async with A from shared memory or registers, fence, commit and wait.
// PTX ISA "Asynchronous Warpgroup Level Matrix Instructions".
#include "async.h"
#include "ptx.h"

static bool need_scale(struct ptx_parser *p, const struct ptx_operand *o) {
    int64_t v = (int64_t)ptx_need_int(p, o);
    if (v != 1 && v != -1) {
        ptx_refuse(p, "imm-scale is 1 or -1");
    }
    return v < 0;
}

static bool need_bit(struct ptx_parser *p, const struct ptx_operand *o) {
    uint64_t v = ptx_need_int(p, o);
    if (v > 1) {
        ptx_refuse(p, "imm-trans is 0 or 1");
    }
    return v != 0;
}

static int bits_of(enum num_fmt f) {
    switch (f) {
    case NUM_TF32:
        return 32;
    case NUM_F16:
    case NUM_BF16:
        return 16;
    case NUM_E4M3:
    case NUM_E5M2:
    case NUM_S8:
    case NUM_U8:
        return 8;
    default:
        return 0;
    }
}

// scale-d {, imm-scale-a, imm-scale-b {, imm-trans-a} {, imm-trans-b}} from argument 'at' on
static void read_scales(struct ptx_parser *p, struct wgmma_aux *x, int at) {
    struct ptx_ins *i = p->ins;
    bool integer = x->op.d == NUM_I32;
    int trans = bits_of(x->op.a) == 16 ? (x->op.a_in_regs ? 1 : 2) : 0;
    int want = at + 1 + (integer ? 0 : 2) + trans;
    ptx_need_args(p, want, want);
    x->pred = ptx_pred_src(p, ptx_arg(i, at), &x->pred_negated);
    if (integer) {
        return;
    }
    x->op.neg_a = need_scale(p, ptx_arg(i, at + 1));
    x->op.neg_b = need_scale(p, ptx_arg(i, at + 2));
    if (trans == 2) {
        x->op.mn_a = need_bit(p, ptx_arg(i, at + 3));
    }
    if (trans > 0) {
        x->op.mn_b = need_bit(p, ptx_arg(i, want - 1));
    }
}

// sp-meta, sp-sel, from argument 3 on
static void read_metadata(struct ptx_parser *p, struct wgmma_aux *x) {
    ptx_fragment(p, 3, 1, &x->meta, false);
    uint64_t selector = ptx_need_int(p, ptx_arg(p->ins, 4));
    if (selector > (bits_of(x->op.a) == 8 ? 0 : 1)) {
        ptx_refuse(p, "the sparsity selector is 0, or of 16- and 32-bit elements 0 or 1");
    }
    x->op.selector = (int)selector;
}

// d, a-desc | {a0..a3}, b-desc, {sp-meta, sp-sel,} scale-d, ...
static void dec_mma_async(struct ptx_parser *p, struct ptx_ins *i) {
    struct wgmma_aux *x = ptx_aux_alloc(p, sizeof *x);
    if (!ptx_take(i, W_M64NK)) {
        ptx_refuse(p, "unsupported shape");
    }
    x->op.sparse = ptx_take(i, W_SP);
    x->op.saturate = ptx_take(i, W_SATFINITE);
    x->op.d = ptx_need_format(p);
    x->op.a = ptx_need_format(p);
    x->op.b = ptx_need_format(p);
    x->op.n = i->shape_n;
    ptx_need_args(p, 4, 10);
    x->op.a_in_regs = ptx_arg(i, 1)->kind == OP_VECTOR;
    int bits = bits_of(x->op.a);
    if (bits == 0 || i->shape_k * bits != (x->op.sparse ? 512 : 256) || !unit_wgmma_form(&x->op) ||
        (x->op.saturate && x->op.d != NUM_I32)) {
        ptx_refuse(p, "unsupported shape or types");
    }
    if (x->op.a_in_regs) {
        ptx_fragment(p, 1, 4, x->a, false);
    } else {
        x->adesc = ptx_row_src(p, ptx_arg(i, 1), W_B64);
    }
    x->bdesc = ptx_row_src(p, ptx_arg(i, 2), W_B64);
    if (x->op.sparse) {
        ptx_need_args(p, 6, 10);
        read_metadata(p, x);
    }
    read_scales(p, x, x->op.sparse ? 5 : 3);
    ptx_fragment(p, 0, unit_wgmma_regs(&x->op), x->d, true);
    ptx_emit(p, run_wgmma)->aux = x;
}

void dec_wgmma(struct ptx_parser *p, struct ptx_ins *i) {
    if (p->module->target / 10 != 9 || !p->module->target_a) {
        ptx_refuse(p, "the target has no wgmma instructions");
    }
    ptx_take(i, W_SYNC);
    ptx_take(i, W_ALIGNED);
    if (ptx_take(i, W_MMA_ASYNC)) {
        dec_mma_async(p, i);
    } else if (ptx_take(i, W_FENCE)) {
        ptx_need_args(p, 0, 0);
        ptx_emit(p, run_nop);
    } else if (ptx_take(i, W_COMMIT_GROUP)) {
        ptx_need_args(p, 0, 0);
        ptx_emit(p, run_wgmma_commit);
    } else if (ptx_take(i, W_WAIT_GROUP)) {
        ptx_need_args(p, 1, 1);
        int64_t n = (int64_t)ptx_need_int(p, ptx_arg(i, 0));
        ptx_emit(p, run_wgmma_wait)->imm = n;
    } else {
        ptx_refuse(p, "unsupported wgmma instruction");
    }
}

// wgmma (PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions"): registers and shared memory
// that a product holds until its group has been waited for. Registers are checked in v_warp.c.
#include "v.h"
#include "v_desc.h"

#include <stdio.h>
#include <string.h>

bool v_wgmma_fence(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    (void)m;
    if (!v_together(w, i, mask)) {
        return false;
    }
    w->fence_at = w->steps;
    return true;
}

// PTX ISA "wgmma.fence": needed before the first wgmma.mma_async, and between any other access to a
// register and a product that takes it.
static void hold(v_machine *m, v_warp *w, const v_ins *i, const v_operand *o, bool result) {
    for (int p = 0; p < o->n; p++) {
        int reg = o->part[p].kind == VO_REG ? o->part[p].reg : -1;
        if (reg < 0) {
            continue;
        }
        v_matrix_reg *r = &w->mreg[reg];
        if (r->touched_at > w->fence_at) {
            v_refuse(m, w, i,
                     "%s takes a register that was written or read since the last wgmma.fence: "
                     "they may come in another order",
                     i->op);
        }
        if (result && !r->result && r->group > w->done_groups) {
            v_refuse(m, w, i, "%s writes a register that a product still reads", i->op);
        }
        r->group = w->wgmma.groups + 1;
        r->result = result;
    }
    if (w->fence_at == 0) {
        v_refuse(m, w, i, "%s without a wgmma.fence before it", i->op);
    }
}

static void reads(v_machine *m, v_warp *w, const v_ins *i, uint32_t op, uint64_t desc,
                  const v_operand_shape *shape) {
    v_span spans[V_MOST_SPANS];
    int n = v_desc_spans(desc, shape, spans);
    const v_clock *g = NULL, *a = NULL;
    (void)i;
    V_EACH(lane, w->live) { // each lane has to know; those that know the same need one look
        const v_thread *t = &m->thread[w->first + lane];
        if (lane != 0 && t->g == g && t->a == a) {
            continue;
        }
        g = t->g;
        a = t->a;
        for (int k = 0; k < n; k++) {
            v_touch_async(m, w, op, lane, (v_place){w->cta, spans[k].from}, spans[k].bytes, false);
        }
    }
}

// d, a-desc or {a}, b-desc, p, scale-a, scale-b{, trans-a}, trans-b
bool v_wgmma(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    const char *shape = strstr(i->op, "m64n");
    unsigned n = 0, k = 0;
    if (shape == NULL || sscanf(shape, "m64n%uk%u", &n, &k) != 2 || n > 256 || k == 0 ||
        i->n_args < 4) {
        v_refuse(m, w, i, "a shape of wgmma that is not followed");
    }
    uint32_t elem = 32 / k, op = v_async_new(m, VA_WGMMA, w->first, i);
    bool registers = i->arg[1].kind == VO_VECTOR;
    bool a_turned = i->n_args > 7 && v_need_same(m, w, i, &i->arg[6], mask) != 0;
    int last = registers ? 6 : 7; // of trans-b
    bool b_turned = i->n_args > last && v_need_same(m, w, i, &i->arg[last], mask) != 0;
    hold(m, w, i, &i->arg[0], true);
    if (registers) {
        hold(m, w, i, &i->arg[1], false);
    } else {
        reads(m, w, i, op, v_need_same(m, w, i, &i->arg[1], mask),
              &(v_operand_shape){64, elem, a_turned, 62});
    }
    reads(m, w, i, op, v_need_same(m, w, i, &i->arg[2], mask),
          &(v_operand_shape){n, elem, b_turned, 62});
    v_set_unknown(m, w, &i->arg[0], mask);
    v_pend(m, &w->wgmma, op);
    return true;
}

bool v_wgmma_commit(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    (void)m;
    if (!v_together(w, i, mask)) {
        return false;
    }
    w->wgmma.groups++;
    return true;
}

bool v_wgmma_wait(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask) {
    if (!v_together(w, i, mask)) {
        return false;
    }
    uint32_t left = (uint32_t)v_need_same(m, w, i, &i->arg[0], mask);
    v_finish(m, &w->wgmma, left, w->first);
    uint32_t upto = w->wgmma.groups > left ? w->wgmma.groups - left : 0;
    w->done_groups = upto > w->done_groups ? upto : w->done_groups;
    return true;
}

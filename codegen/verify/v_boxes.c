// See v_boxes.h.
#include "v_boxes.h"

void v_boxes_load(v_machine *m, int box, v_place to, v_mbar *b, const v_ins *i) {
    if (b->loads == NULL) {
        b->loads = ARENA_ARRAY(m->mem, uint32_t, VERIFY_MOST_PARAMS);
    }
    b->loads[box]++;
    b->loaded = true;
    m->boxes->starts[to.offset / V_GRANULE] = (uint8_t)(1 + box);
    m->boxes->ins[box] = i;
}

static void find_gaps(v_machine *m) {
    v_boxes *x = m->boxes;
    for (int n = 0; n < m->n_mbars; n++) {
        uint8_t *at = &x->starts[m->mbars[n]->offset / V_GRANULE];
        *at = *at == 0 ? 255 : *at;
    }
    uint32_t end = V_SMEM_BYTES / V_GRANULE;
    for (uint32_t g = V_SMEM_BYTES / V_GRANULE; g-- > 0;) {
        if (x->starts[g] == 0) {
            continue;
        }
        int box = x->starts[g] - 1;
        uint32_t gap = (end - g) * V_GRANULE;
        if (box < VERIFY_MOST_PARAMS && (x->gap[box] == 0 || gap < x->gap[box])) {
            x->gap[box] = gap;
        }
        end = g;
    }
}

// What a barrier's equation leaves for the boxes that are not known; their number in *open.
static int64_t rest_of(const v_machine *m, const v_mbar *b, int *open, int *one) {
    int64_t rest = b->expected;
    *open = 0;
    for (int box = 0; box < VERIFY_MOST_PARAMS; box++) {
        if (b->loads[box] != 0 && m->boxes->bytes[box] == 0) {
            ++*open;
            *one = *open == 1 || m->boxes->gap[box] < m->boxes->gap[*one] ? box : *one;
        }
        rest -= (int64_t)b->loads[box] * m->boxes->bytes[box];
    }
    return rest;
}

_Noreturn static void refuse_box(const v_machine *m, const v_mbar *b, int box) {
    v_fail(m->x, m->boxes->ins[box]->line,
           "the mbarrier at %u expects %lld bytes in all, and the boxes that it waits for do not "
           "add up to that: one has room "
           "for %u bytes; a module (.tkm) or program (.tk) says how large they are",
           b->offset, (long long)b->expected, m->boxes->gap[box]);
}

// One box is open: the equation says it. Several: the largest fill their room, which leaves the
// smallest.
static bool solve_one(v_machine *m, bool guess) {
    for (int n = 0; n < m->n_mbars; n++) {
        const v_mbar *b = m->mbars[n];
        int open = 0, one = 0;
        if (b->loads == NULL) {
            continue;
        }
        int64_t rest = rest_of(m, b, &open, &one);
        if (open == 0 || (open > 1 && !guess)) {
            continue;
        }
        for (int box = 0; box < VERIFY_MOST_PARAMS; box++) {
            if (box != one && b->loads[box] != 0 && m->boxes->bytes[box] == 0) {
                m->boxes->bytes[box] = m->boxes->gap[box];
                rest -= (int64_t)b->loads[box] * m->boxes->gap[box];
            }
        }
        int64_t bytes = rest / b->loads[one];
        if (rest <= 0 || rest % b->loads[one] != 0 || bytes % 16 != 0 ||
            bytes > m->boxes->gap[one]) {
            refuse_box(m, b, one);
        }
        m->boxes->bytes[one] = (uint32_t)bytes;
        return true;
    }
    return false;
}

void v_boxes_solve(v_machine *m) {
    find_gaps(m);
    while (solve_one(m, false) || solve_one(m, true)) {
    }
    for (int n = 0; n < m->n_mbars; n++) { // every equation holds
        int open = 0, one = 0;
        if (m->mbars[n]->loads != NULL && rest_of(m, m->mbars[n], &open, &one) != 0) {
            for (int box = 0; box < VERIFY_MOST_PARAMS; box++) {
                one = m->mbars[n]->loads[box] != 0 ? box : one;
            }
            refuse_box(m, m->mbars[n], one);
        }
    }
}

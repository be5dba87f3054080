// What was done last to every byte of shared memory and every cell of TMEM, and whether it is
// ordered before what is done now. The rules are the rows of fence.def.
#include "v.h"

#include <stdio.h>
#include <string.h>

uint32_t v_async_new(v_machine *m, v_async_kind kind, uint32_t thread, const v_ins *i) {
    if (m->n_async + 1 >= m->most_async) {
        uint32_t room = m->most_async == 0 ? 1024 : 2 * m->most_async;
        v_async *more = ARENA_ARRAY(m->mem, v_async, room);
        if (m->n_async > 0) {
            memcpy(more, m->async, (m->n_async + 1) * sizeof *more);
        }
        m->async = more;
        m->most_async = room;
    }
    m->async[++m->n_async] = (v_async){.kind = kind, .thread = thread, .ins = i};
    return m->n_async;
}

static v_access *new_access(v_machine *m) {
    v_access *a = m->free;
    if (a != NULL) {
        m->free = a->next;
        return a;
    }
    v_access *block = ARENA_ARRAY(m->mem, v_access, 1024);
    for (int i = 1; i < 1024; i++) {
        block[i].next = m->free;
        m->free = &block[i];
    }
    return block;
}

// ---- what an access is ordered behind -----------------------------------------------------------
typedef enum {
#define ROW(ID, edge, need) ROW_##ID,
#include "fence.def"
#undef ROW
    ROW_COUNT
} row;

static const struct {
    const char *edge, *need;
} rows[] = {
#define ROW(ID, edge, need) {edge, need},
#include "fence.def"
#undef ROW
};

static bool is_wait_group(v_async_kind k) {
    return k == VA_STORE || k == VA_WGMMA || k == VA_CP_ASYNC;
}

// The row that orders x before y, given who they are.
static row row_of(const v_machine *m, const v_access *x, bool y_async, v_async_kind y) {
    if (x->async == 0) {
        if (!y_async) {
            return ROW_THREADS;
        }
        if (x->write) {
            return ROW_WRITE_ASYNC;
        }
        return y == VA_CANCEL ? ROW_READ_CANCEL : ROW_READ_ASYNC;
    }
    v_async_kind k = m->async[x->async].kind;
    return k == VA_COPY || k == VA_CANCEL ? ROW_COPY
           : k == VA_TENSOR               ? ROW_TENSOR
           : is_wait_group(k)             ? ROW_GROUP
                                          : ROW_TMEM;
}

static const char *who(const v_machine *m, uint32_t thread, char out[64]) {
    snprintf(out, 64, "warp %u of CTA %u", thread % m->per_cta / V_LANES, thread / m->per_cta);
    return out;
}

_Noreturn static void unordered(v_machine *m, const v_warp *w, const v_ins *i, const v_access *x,
                                row r, const char *where) {
    char by[64];
    bool known = x->async == 0 && v_knows(m, w->first, x->comp, x->at) && r != ROW_THREADS;
    v_refuse(
        m, w, i, "%s %s, which '%s' of %s at line %u %s and nothing orders before: %s needs %s%s",
        i->op, where, x->ins->op, who(m, x->async != 0 ? m->async[x->async].thread : x->comp, by),
        x->ins->line, x->write ? "writes" : "reads", rows[r].edge, rows[r].need,
        known ? " (the fence is missing)" : "");
}

// ---- shared memory ------------------------------------------------------------------------------
typedef struct {
    uint32_t async, comp, at, lanes; // lanes: see v_access
    uint32_t thread;
    bool write;
    v_async_kind kind;
    const v_ins *ins;
} doing;

// An operand is hundreds of rows, and the same few operations touched them before.
static bool is_over(v_machine *m, uint32_t thread, uint32_t async) {
    v_answer *a = &m->answers[async % V_ANSWERS];
    if (a->step != m->steps || a->thread != thread || a->async != async) {
        *a = (v_answer){m->steps, thread, async, v_knows_async(m, thread, &m->async[async], false)};
    }
    return a->over;
}

static bool ordered(v_machine *m, const v_access *x, const doing *y, row r) {
    if (x->async != 0) {
        return is_over(m, y->thread, x->async);
    }
    bool fence = r == ROW_WRITE_ASYNC || r == ROW_READ_CANCEL, all = true;
    V_EACH(l, x->lanes) {
        all &= v_knows(m, y->thread, x->comp + l, x->at) &&
               (!fence || v_shows(m, y->thread, x->comp + l, x->at));
    }
    return all;
}

// Newer accesses come first. Whoever is behind one of them is behind the write that came before it,
// but for the fence that a generic write needs.
static void check(v_machine *m, v_warp *w, const doing *y, v_access *const *list, uint64_t mask,
                  v_place at) {
    uint64_t behind = 0;
    for (const v_access *x = *list; x != NULL; x = x->next) {
        bool own = x->async != 0 && x->async == y->async;
        bool excused =
            (mask & x->mask & ~behind) == 0 && x->write && (x->async != 0 || y->async == 0);
        if ((x->mask & mask) == 0 || own || excused) {
            continue;
        }
        if (!x->write && !y->write && x->lanes != 1) {
            continue;
        }
        row r = row_of(m, x, y->async != 0, y->kind);
        if (ordered(m, x, y, r)) {
            behind |= x->mask;
        } else if (x->write || y->write) {
            char where[80];
            snprintf(where, sizeof where, "%s shared memory at %u of CTA %d",
                     y->write ? "writes" : "reads", at.offset, at.cta);
            unordered(m, w, y->ins, x, r, where);
        }
    }
}

// A later access by the same hand stands for the earlier one: products, groups and threads are over
// in order.
static bool same_hand(const v_machine *m, const v_access *x, const doing *y) {
    if (x->async == 0 || y->async == 0) {
        return x->async == y->async && x->comp == y->comp && (x->lanes & ~y->lanes) == 0;
    }
    const v_async *a = &m->async[x->async], *b = &m->async[y->async];
    return a->thread == b->thread && a->kind == b->kind && a->kind != VA_COPY &&
           a->kind != VA_CANCEL;
}

static void note(v_machine *m, const doing *y, v_access **list, uint64_t mask) {
    for (v_access **at = list; *at != NULL;) {
        v_access *x = *at;
        bool same = x->write == y->write && same_hand(m, x, y);
        if (y->write || same) {
            x->mask = y->write ? x->mask & ~mask : x->mask;
            if (same && !y->write && (x->mask | mask) == mask) {
                x->mask = 0;
            }
            if (x->mask == 0) {
                *at = x->next;
                x->next = m->free;
                m->free = x;
                continue;
            }
        }
        at = &x->next;
    }
    v_access *n = new_access(m);
    *n = (v_access){*list, y->ins, y->async, y->comp, y->at, y->lanes, mask, y->write, 0};
    *list = n;
}

// A read after one by the same hand, and no write came between: what that was ordered behind, this is.
static v_access *again(const v_machine *m, const doing *y, v_access *list, uint64_t mask) {
    for (v_access *x = list; x != NULL && !x->write && !y->write; x = x->next) {
        if (same_hand(m, x, y) && x->lanes == y->lanes && x->mask == mask) {
            return x;
        }
    }
    return NULL;
}

enum { TO_CHECK = 1, TO_NOTE = 2 };

static void touch(v_machine *m, v_warp *w, const doing *y, v_place at, uint32_t bytes, int what) {
    if (m->learn) {
        return;
    }
    uint64_t end = (uint64_t)at.offset + bytes;
    if (end > V_SMEM_BYTES) {
        v_refuse(m, w, y->ins, "shared memory %u to %llu: the machine has %d bytes", at.offset,
                 (unsigned long long)end, V_SMEM_BYTES);
    }
    v_cta *c = &m->cta[at.cta];
    for (uint32_t b = at.offset / V_BLOCK; b * V_BLOCK < end; b++) {
        uint32_t first = b * V_BLOCK, from = first < at.offset ? at.offset - first : 0;
        uint32_t n = (end - first < V_BLOCK ? (uint32_t)(end - first) : V_BLOCK) - from;
        uint64_t mask = (n == V_BLOCK ? UINT64_MAX : (1ull << n) - 1) << from;
        v_access *same = again(m, y, c->smem[b], mask);
        if (same == NULL && (what & TO_CHECK)) {
            check(m, w, y, &c->smem[b], mask, (v_place){at.cta, first + from});
        }
        if (same == NULL && (what & TO_NOTE)) {
            note(m, y, &c->smem[b], mask);
        } else if (what & TO_NOTE) {
            same->ins = y->ins;
            same->async = y->async;
            same->at = y->at;
        }
    }
}

// PTX ISA "Cluster of Cooperative Thread Arrays": a block's shared memory lasts as long as the block.
void v_remote(v_machine *m, const v_warp *w, const v_ins *i, int to, uint32_t comp, uint32_t at) {
    v_cta *c = &m->cta[to];
    if (c->exited) {
        v_refuse(m, w, i, "'%s' reaches the shared memory of CTA %d, which has ended", i->op, to);
    }
    if (c->remote[comp] < at) {
        c->remote[comp] = at;
        c->remote_ins[comp] = i;
    }
}

void v_touch(v_machine *m, v_warp *w, const v_ins *i, uint32_t lane, v_place at, uint32_t bytes,
             bool write) {
    uint32_t id = w->first + lane;
    doing y = {0, id, w->now, 1, id, write, VA_COPY, i};
    touch(m, w, &y, at, bytes, TO_CHECK | TO_NOTE);
    if (at.cta != w->cta) {
        v_remote(m, w, i, at.cta, id, w->now);
    }
}

void v_touch_somewhere(v_machine *m, v_warp *w, const v_ins *i, uint32_t mask, v_place at,
                       uint32_t bytes) {
    const v_clock *same = NULL;
    uint32_t first = (uint32_t)__builtin_ctz(mask);
    doing y = {0, w->first + first, w->now, mask >> first, w->first, false, VA_COPY, i};
    V_EACH(lane, mask) { // lanes that know the same need one look
        y.thread = w->first + lane;
        if (lane == first || m->thread[y.thread].g != same) {
            touch(m, w, &y, at, bytes, TO_CHECK);
        }
        same = m->thread[y.thread].g;
        if (at.cta != w->cta) {
            v_remote(m, w, i, at.cta, y.thread, w->now);
        }
    }
    touch(m, w, &y, at, bytes, TO_NOTE);
}

void v_touch_async(v_machine *m, v_warp *w, uint32_t async, uint32_t lane, v_place at,
                   uint32_t bytes, bool write) {
    const v_async *a = &m->async[async];
    doing y = {async, 0, 0, 1, w->first + lane, write, a->kind, a->ins};
    touch(m, w, &y, at, bytes, TO_CHECK | TO_NOTE);
    if (write && at.offset + bytes <= V_SMEM_BYTES) {
        memset(m->cta[at.cta].known + at.offset, 0, bytes);
    }
}

// ---- TMEM ---------------------------------------------------------------------------------------
static bool writes_tmem(v_tmem_use use) {
    return use == VU_ACCUMULATE || use == VU_COPY || use == VU_STORE || use == VU_FREE;
}

// Pairs that the tensor unit keeps in the order of one thread (PTX ISA, "tcgen05 Memory Consistency
// Model": mma after mma, mma after cp; scales read and then copied over rely on the same pipe).
static bool pipelined(v_tmem_use x, v_tmem_use y) {
    return x != VU_LOAD && x != VU_STORE && y != VU_LOAD && y != VU_STORE && y != VU_FREE &&
           x != VU_FREE;
}

void v_touch_tmem(v_machine *m, v_warp *w, uint32_t async, uint32_t mask, int cta, uint32_t column,
                  v_tmem_use use, uint32_t quarters) {
    const v_async *a = &m->async[async];
    if (m->learn) {
        return;
    }
    for (uint32_t q = 0; q < 4; q++) {
        if ((quarters >> q & 1) == 0) {
            continue;
        }
        v_access **list = &m->cta[cta].tmem[column * 4 + q];
        for (v_access **at = list; *at != NULL;) {
            v_access *x = *at;
            const v_async *xa = &m->async[x->async];
            bool conflict = x->async != async && (x->write || writes_tmem(use));
            bool free = pipelined((v_tmem_use)x->role, use) && xa->thread == a->thread;
            if (conflict && !free) {
                const v_clock *same = NULL; // lanes that know the same need one look
                V_EACH(lane, mask) {
                    const v_clock *t = m->thread[w->first + lane].t;
                    if (t != NULL && t == same) {
                        continue;
                    }
                    same = t;
                    if (!v_knows_async(m, w->first + lane, xa, true)) {
                        char where[80];
                        snprintf(where, sizeof where, "%s TMEM column %u of CTA %d",
                                 writes_tmem(use) ? "writes" : "reads", column, cta);
                        unordered(m, w, a->ins, x,
                                  xa->kind == VA_TENSOR ? ROW_TENSOR_TMEM : ROW_TMEM, where);
                    }
                }
            }
            bool again = x->role == use && xa->thread == a->thread;
            if (writes_tmem(use) || again) {
                *at = x->next;
                x->next = m->free;
                m->free = x;
            } else {
                at = &x->next;
            }
        }
        v_access *n = new_access(m);
        *n = (v_access){*list, a->ins, async, 0, 0, 1, 1, writes_tmem(use), (uint8_t)use};
        *list = n;
    }
}

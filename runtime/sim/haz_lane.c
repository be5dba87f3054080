// Lanes of one warp. They are threads of their own: what one of them did to memory is ordered
// before what another does only by bar.warp.sync or by a barrier that both take part in (PTX ISA
// "bar.warp.sync": memory ordering among the participating threads; shuffles, votes, elections and
// matrix instructions promise none). A warp has one clock; beside it stand
//   COMP_LANES  up to which epoch of its own work all its lanes are known: what a synchronisation
//               of the whole warp has passed on
//   part        lanes that have acquired something which the others have not, as when one lane
//               waits for all; 'every' is what all of them know
//   releasers   lanes that have released on their own: their own work goes with what they release
//   copied      of each lane, which of its cp.async a cp.async.mbarrier.arrive of its own covers
// Rules are lax where a warp synchronises in parts: a bar.warp.sync of several lanes counts for
// all.
#include "haz.h"

// 'from' is acquired by the lanes m.
void haz_acquire(struct haz_thread *t, const struct haz_clock *from, uint32_t m) {
    haz_part(t, m);
    haz_join(t->cluster, &t->now, from);
    if (t->part != 0 && m == t->warp->alive) {
        haz_join(t->cluster, &t->every, from);
    }
}

// Only the lanes m learn what comes next.
void haz_part(struct haz_thread *t, uint32_t m) {
    if (m == t->warp->alive) {
        return;
    }
    if (t->part == 0) {
        haz_copy(t->cluster, &t->every, &t->now);
    }
    t->part |= m;
}

// The lanes m have completed operations of the warp's component 'comp'.
void haz_done(struct haz_thread *t, uint32_t m, uint32_t comp, uint32_t epoch) {
    haz_part(t, m);
    haz_set(t->cluster, &t->now, comp, epoch);
    if (t->part != 0 && m == t->warp->alive) {
        haz_set(t->cluster, &t->every, comp, epoch);
    }
}

// The lanes m release k, a clock of the warp, into 'to'; NULL when k itself is handed on.
void haz_release(struct haz_thread *t, struct haz_clock *to, const struct haz_clock *k,
                 uint32_t m) {
    if (to != NULL) {
        haz_join(t->cluster, to, k);
    }
    if (m != t->warp->alive) {
        t->releasers |= m;
    } else if (to != NULL) {
        haz_set(t->cluster, to, t->base + COMP_LANES, k->v[t->base + COMP_OWN]);
    }
}

// The warp has met: every lane knows what each of them knew.
void haz_warp_met(struct haz_thread *t) {
    t->now.v[t->base + COMP_LANES] = t->now.v[t->base + COMP_OWN];
    t->part = 0;
    haz_tick(t);
}

const struct uop *haz_bar_warp(struct warp *w, const struct uop *u) {
    uint32_t m = exec_mask(w, u);
    const struct uop *next = haz_do(w, u);
    if (next != STOP && m != 0) {
        m = w->active & ((const u32 *)row(w, u->a))[first_lane(m)];
        if (m == w->alive || (m & (m - 1)) != 0) {
            haz_warp_met(haz_thread_of(w));
        }
    }
    return next;
}

// ---- conflicts ----------------------------------------------------------------------------------
// Is x later than what the lanes of its warp have passed on to each other, as far as 'a' knows?
static bool is_recent(const struct haz_access *a, const struct haz_rec *x) {
    const struct haz_cluster *cl = a->t->cluster;
    bool thread = (x->flags & (REC_ASYNC | REC_SET)) == 0 || x->pipe == PIPE_LD ||
                  x->pipe == PIPE_ST;
    return thread && x->lane != LANE_UNKNOWN && x->uid == cl->uid &&
           x->issue > haz_get(cl, &a->t->now, PLANE_G, x->warp * N_COMPS + COMP_LANES);
}

bool haz_lanes_matter(const struct haz_access *a, const struct haz_rec *x) {
    return is_recent(a, x);
}

// x came before 'a' as far as their warps are concerned. 'lane' of the cell and the bytes of it
// that are accessed: one lane may have touched only some of them.
static bool by_other_lanes(const struct haz_access *a, const struct haz_rec *x, uint8_t lane,
                           uint32_t bytes) {
    if (!is_recent(a, x)) {
        return false;
    }
    lane = x->lane == LANE_CELL ? lane : x->lane;
    if (lane == LANE_UNKNOWN) {
        return false;
    }
    if (x->warp == a->t->index) {
        bool memory = x->pipe == PIPE_NONE && a->lane != LANE_UNKNOWN;
        bool several = lane == LANE_SEVERAL && (x->lane == LANE_SEVERAL || bytes == ALL_BYTES);
        return memory && (several || (lane != LANE_SEVERAL && lane != a->lane));
    }
    const struct haz_thread *of = &a->t->cluster->thread[x->warp];
    uint32_t lanes = lane == LANE_SEVERAL ? of->warp->exists : 1u << (lane - 1);
    FOR_LANES(l, (x->flags & REC_CP) != 0 ? lanes : 0) {
        lanes &= ~((uint32_t)(x->epoch <= of->copied[l]) << l);
    }
    return (lanes & ~of->releasers) != 0;
}

// Does 'a' build on what only other lanes of its warp have waited for?
static bool not_for_every(const struct haz_access *a, const struct haz_rec *x) {
    const struct haz_thread *t = a->t;
    uint32_t comp = x->comp - t->base;
    bool own = x->uid == t->cluster->uid && x->warp == t->index;
    if ((a->lanes & ~t->part) == 0 || t->part == 0 ||
        (own && comp != COMP_SOURCE && comp != COMP_STORED)) {
        return false;
    }
    return !haz_known(t->cluster, &t->every, PLANE_G, x);
}

bool haz_lane_conflict(const struct haz_access *a, const struct haz_rec *x, uint8_t lane,
                       uint32_t bytes) {
    return by_other_lanes(a, x, lane, bytes) || not_for_every(a, x);
}

// The lane of a cell's readers once 'a' has read it; r: the last of them so far, or NULL.
uint8_t haz_reader_lane(const struct haz_access *a, const struct haz_rec *r, uint8_t lane) {
    bool joined = r != NULL && r->uid == a->t->cluster->uid && r->warp == a->t->index &&
                  is_recent(a, r);
    return !joined || lane == a->lane ? a->lane : LANE_SEVERAL;
}

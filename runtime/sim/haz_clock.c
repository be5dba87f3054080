// Vector clocks of the detector: planes of one cluster's components, and copies of components of
// other clusters that memory operations at gpu scope have handed over.
#include "haz.h"
#include <stdlib.h>

#define MORE_COMPS 64

static void fail(struct haz_cluster *cl) {
    cl->haz->failed = true;
}

bool haz_clock_make(struct haz_cluster *cl, struct haz_clock *k) {
    *k = (struct haz_clock){.next = cl->clocks};
    k->v = calloc((size_t)cl->planes * cl->capacity, sizeof *k->v);
    if (k->v == NULL) {
        fail(cl);
        return false;
    }
    cl->clocks = k;
    return true;
}

static void free_foreign(struct haz_foreign *f, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        free(f[i].v[0]);
        free(f[i].v[1]);
        free(f[i].v[2]);
    }
    free(f);
}

void haz_clock_free(struct haz_clock *k) {
    free_foreign(k->foreign, k->n_foreign);
    free(k->v);
}

static bool grow(struct haz_cluster *cl) {
    uint32_t more = cl->capacity + MORE_COMPS;
    for (struct haz_clock *k = cl->clocks; k != NULL; k = k->next) {
        u32 *v = calloc((size_t)cl->planes * more, sizeof *v);
        if (v == NULL) {
            fail(cl);
            return false;
        }
        for (uint32_t p = 0; p < cl->planes; p++) {
            memcpy(v + (size_t)p * more, k->v + (size_t)p * cl->capacity,
                   cl->capacity * sizeof *v);
        }
        free(k->v);
        k->v = v;
    }
    cl->capacity = more;
    return true;
}

uint32_t haz_new_comp(struct haz_cluster *cl) {
    // Clocks of different capacities never meet: all of them grow, or the detector gives up.
    if (cl->haz->failed || (cl->n_comps == cl->capacity && !grow(cl))) {
        return 0;
    }
    return cl->n_comps++;
}

static void join_row(u32 *to, const u32 *from, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        to[i] = to[i] > from[i] ? to[i] : from[i];
    }
}

// The copy of cluster 'uid' in a list, made when it is not there; NULL when out of memory.
static struct haz_foreign *find(struct haz_foreign **list, uint32_t *n, uint32_t uid,
                                uint32_t comps) {
    struct haz_foreign *f = NULL;
    for (uint32_t i = 0; i < *n && f == NULL; i++) {
        f = (*list)[i].uid == uid ? &(*list)[i] : NULL;
    }
    if (f == NULL) {
        struct haz_foreign *more = realloc(*list, (*n + 1) * sizeof *more);
        if (more == NULL) {
            return NULL;
        }
        *list = more;
        f = &more[(*n)++];
        *f = (struct haz_foreign){.uid = uid};
    }
    if (f->n < comps) {
        for (int p = 0; p < 3; p++) {
            u32 *v = realloc(f->v[p], comps * sizeof *v);
            if (v == NULL) {
                return NULL;
            }
            memset(v + f->n, 0, (comps - f->n) * sizeof *v);
            f->v[p] = v;
        }
        f->n = comps;
    }
    return f;
}

static bool join_foreign(struct haz_foreign **list, uint32_t *n, const struct haz_foreign *from) {
    struct haz_foreign *f = find(list, n, from->uid, from->n);
    if (f != NULL) {
        join_row(f->v[0], from->v[0], from->n);
        join_row(f->v[1], from->v[1], from->n);
        if (from->v[2] != NULL) {
            join_row(f->v[2], from->v[2], from->n);
        }
    }
    return f != NULL;
}

void haz_join(struct haz_cluster *cl, struct haz_clock *to, const struct haz_clock *from) {
    for (uint32_t p = 0; p < cl->planes; p++) {
        size_t at = (size_t)p * cl->capacity;
        join_row(to->v + at, from->v + at, cl->n_comps);
    }
    for (uint32_t i = 0; i < from->n_foreign; i++) {
        if (!join_foreign(&to->foreign, &to->n_foreign, &from->foreign[i])) {
            fail(cl);
        }
    }
}

void haz_copy(struct haz_cluster *cl, struct haz_clock *to, const struct haz_clock *from) {
    memcpy(to->v, from->v, (size_t)cl->planes * cl->capacity * sizeof *to->v);
    for (uint32_t i = 0; i < from->n_foreign; i++) {
        if (!join_foreign(&to->foreign, &to->n_foreign, &from->foreign[i])) {
            fail(cl);
        }
    }
}

// PTX ISA "membar/fence": a fence.proxy.async that names a state space is restricted to it.
void haz_publish(struct haz_cluster *cl, struct haz_clock *k, uint32_t own, enum haz_fence f) {
    u32 *g = k->v;
    if (f != FENCE_ASYNC_GLOBAL) {
        memcpy(g + cl->capacity, g, cl->n_comps * sizeof *g);
        memcpy(g + (size_t)PLANE_W * cl->capacity + own, g + own, N_COMPS * sizeof *g);
    }
    if (f != FENCE_ASYNC_SHARED && cl->planes > PLANE_B) {
        memcpy(g + (size_t)PLANE_B * cl->capacity, g, cl->n_comps * sizeof *g);
    }
    for (uint32_t i = 0; i < k->n_foreign && f != FENCE_ASYNC_SHARED; i++) {
        memcpy(k->foreign[i].v[1], k->foreign[i].v[0], k->foreign[i].n * sizeof *g);
    }
}

// fence.proxy.tensormap::generic.acquire. Whoever it happens before need not have one of its own (PTX ISA "Causality
// Order": a proxy fence along the path); another cluster needs one, as its SMs have read the map on their own.
void haz_publish_maps(struct haz_cluster *cl, struct haz_clock *k) {
    u32 *g = k->v;
    memcpy(g + (size_t)PLANE_MAP * cl->capacity, g, cl->n_comps * sizeof *g);
    for (uint32_t i = 0; i < k->n_foreign; i++) {
        memcpy(k->foreign[i].v[2], k->foreign[i].v[0], k->foreign[i].n * sizeof *g);
    }
}

void haz_set(struct haz_cluster *cl, struct haz_clock *k, uint32_t comp, uint32_t epoch) {
    u32 *v = k->v + comp;
    *v = *v > epoch ? *v : epoch;
    // Completed asynchronous work needs no proxy fence (PTX ISA "Async proxy"), but for cp.async.
    bool generic = comp < cl->n_threads * N_COMPS && comp % N_COMPS == COMP_CP;
    for (uint32_t p = PLANE_A; p <= PLANE_B && p < cl->planes && !generic; p++) {
        u32 *a = k->v + (size_t)p * cl->capacity + comp;
        *a = *a > epoch ? *a : epoch;
    }
}

void haz_tick(struct haz_thread *t) {
    t->now.v[t->base + COMP_OWN]++;
}

bool haz_known(const struct haz_cluster *cl, const struct haz_clock *k, int plane,
               const struct haz_rec *x) {
    if (x->comp == UNRESOLVED) {
        return false;
    }
    if (x->uid == cl->uid) {
        return haz_get(cl, k, plane, x->comp) >= x->epoch;
    }
    for (uint32_t i = 0; i < k->n_foreign; i++) {
        const struct haz_foreign *f = &k->foreign[i];
        if (f->uid == x->uid) {
            int row = plane == PLANE_G ? 0 : plane == PLANE_MAP ? 2 : 1;
            return x->comp < f->n && f->v[row][x->comp] >= x->epoch;
        }
    }
    return false;
}

// ---- locations that synchronise -----------------------------------------------------------------
static struct haz_place *place_of(struct haz *h, uint64_t key, bool make) {
    if (h->n_places * 2 >= h->place_capacity) {
        uint32_t more = h->place_capacity == 0 ? 64 : h->place_capacity * 2;
        struct haz_place *list = make ? calloc(more, sizeof *list) : NULL;
        if (list == NULL) {
            h->failed |= make;
            if (h->place_capacity == 0 || make) {
                return NULL;
            }
        } else {
            for (uint32_t i = 0; i < h->place_capacity; i++) {
                if (h->place[i].key != 0) {
                    uint64_t at = h->place[i].key * 0x9E3779B97F4A7C15ull >> 32;
                    while (list[at % more].key != 0) {
                        at++;
                    }
                    list[at % more] = h->place[i];
                }
            }
            free(h->place);
            h->place = list;
            h->place_capacity = more;
        }
    }
    uint64_t at = key * 0x9E3779B97F4A7C15ull >> 32;
    for (;; at++) {
        struct haz_place *p = &h->place[at % h->place_capacity];
        if (p->key == key) {
            return p;
        }
        if (p->key == 0) {
            if (!make) {
                return NULL;
            }
            p->key = key;
            h->n_places++;
            return p;
        }
    }
}

void haz_place_release(struct haz *h, uint64_t key, struct haz_thread *t,
                       const struct haz_clock *k) {
    struct haz_cluster *cl = t->cluster;
    struct haz_place *p = place_of(h, key, true);
    if (p == NULL) {
        return;
    }
    struct haz_foreign own = {
        .uid = cl->uid, .n = cl->n_comps, .v = {k->v, k->v + cl->capacity, NULL}};
    h->failed |= !join_foreign(&p->v, &p->n, &own);
    for (uint32_t i = 0; i < k->n_foreign; i++) {
        struct haz_foreign f = k->foreign[i];
        f.v[2] = NULL;
        h->failed |= !join_foreign(&p->v, &p->n, &f);
    }
}

void haz_place_acquire(struct haz *h, uint64_t key, struct haz_thread *t, struct haz_clock *k) {
    struct haz_cluster *cl = t->cluster;
    const struct haz_place *p = h->n_places == 0 ? NULL : place_of(h, key, false);
    for (uint32_t i = 0; p != NULL && i < p->n; i++) {
        const struct haz_foreign *f = &p->v[i];
        if (f->uid == cl->uid) {
            join_row(k->v, f->v[0], f->n);
            join_row(k->v + cl->capacity, f->v[1], f->n);
        } else {
            h->failed |= !join_foreign(&k->foreign, &k->n_foreign, f);
        }
    }
}

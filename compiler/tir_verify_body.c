// Checks of the roles' bodies: every wait has its signal, every use stands between them, and both
// ends of a channel run equally often.
//
// Each body is run once in the abstract. A channel is idle, then open (acquired or awaited), then
// filled (smem: loaded), then idle again; a loop leaves every channel as it found it.
#include "tir_verify_int.h"

#include <string.h>

enum { MAX_NEST = 64 };

typedef enum { CH_IDLE, CH_OPEN, CH_FILLED } channel_state;

// Where a channel is advanced: the loops around the statement.
typedef struct {
    int times;
    int n;
    int fors[MAX_NEST];
} chain;

typedef struct {
    verifier *v;
    int role;
    const tir_role *r;
    channel_state *state; // per channel
    chain *produced, *consumed;
    int *mma_runs, *store_runs;
    int n_fors;
    int fors[MAX_NEST];
    bool in_walk;
    bool in_combine;
    int combines;
    int schedulers;
} walker;

static bool walk_body(walker *w, int n, tir_stmt *const *body, int depth);

static bool in_scope(const walker *w, int number) {
    for (int i = 0; i < w->n_fors; i++) {
        if (w->fors[i] == number) {
            return true;
        }
    }
    return false;
}

static void advance(walker *w, int channel, bool produce) {
    chain *c = produce ? &w->produced[channel] : &w->consumed[channel];
    c->times++;
    c->n = w->n_fors;
    memcpy(c->fors, w->fors, sizeof(c->fors[0]) * (size_t)w->n_fors);
    w->state[channel] = CH_IDLE;
}

static const char *state_word(channel_state s) {
    static const char *const words[] = {"idle", "open", "filled"};
    return words[s];
}

// One step of a channel's cycle by the role at the right end.
static bool step(walker *w, const tir_stmt *s, bool producer, channel_state from) {
    verifier *v = w->v;
    static const char *const words[] = {
        [TS_ACQUIRE] = "acquire", [TS_LOAD] = "load",       [TS_PUBLISH] = "publish",
        [TS_AWAIT] = "await",     [TS_RELEASE] = "release",
    };
    const char *word = words[s->kind];
    VERIFY(v, tir_in(s->ref, 0, v->k->n_channels - 1), "role '%s': %s of channel #%d", w->r->name,
           word, s->ref);
    const tir_channel *c = &v->k->channels[s->ref];
    VERIFY(v, (producer ? c->from : c->to) == w->role,
           "role '%s': %s of channel '%s', whose %s is '%s'", w->r->name, word, c->name,
           producer ? "producer" : "consumer", v->k->roles[producer ? c->from : c->to].name);
    VERIFY(v, w->state[s->ref] == from, "role '%s': %s of channel '%s', which is %s, not %s",
           w->r->name, word, c->name, state_word(w->state[s->ref]), state_word(from));
    return true;
}

static bool walk_load(walker *w, const tir_stmt *s) {
    verifier *v = w->v;
    const tir_kernel *k = v->k;
    if (!step(w, s, true, CH_OPEN)) {
        return false;
    }
    const tir_channel *c = &k->channels[s->ref];
    VERIFY(v, c->space == SPACE_SMEM, "role '%s': load of channel '%s', which is in TMEM",
           w->r->name, c->name);
    VERIFY(v, w->r->one_thread && !w->r->leader_only,
           "role '%s': one thread of each CTA loads channel '%s'", w->r->name, c->name);
    for (int i = 0; i < c->n_boxes; i++) {
        for (int axis = 0; axis < k->maps[c->boxes[i].map].rank; axis++) {
            int f = c->boxes[i].coords[axis].loop - k->n_loops;
            VERIFY(v, f < 0 || in_scope(w, f),
                   "role '%s': channel '%s' is loaded outside its loop '%s'", w->r->name, c->name,
                   k->fors[f].index);
        }
    }
    for (int i = 0; i < k->n_operands; i++) {
        bool scaled = k->operands[i].channel == s->ref && k->operands[i].factors >= 0;
        int f = scaled ? k->mmas[tir_factors(k, i).mma].loop : -1;
        VERIFY(v, f < 0 || in_scope(w, f),
               "role '%s': scales of channel '%s' are loaded outside their loop '%s'", w->r->name,
               c->name, f < 0 ? "" : k->fors[f].index);
    }
    w->state[s->ref] = CH_FILLED;
    return true;
}

static bool needs_open(walker *w, int channel, const char *what) {
    verifier *v = w->v;
    VERIFY(v, w->state[channel] == CH_OPEN, "role '%s': %s uses channel '%s', which is %s",
           w->r->name, what, v->k->channels[channel].name, state_word(w->state[channel]));
    return true;
}

static bool walk_mma(walker *w, const tir_stmt *s) {
    verifier *v = w->v;
    const tir_kernel *k = v->k;
    VERIFY(v, tir_in(s->ref, 0, k->n_mmas - 1), "role '%s': no mma #%d", w->r->name, s->ref);
    const tir_mma *m = &k->mmas[s->ref];
    const tir_acc *a = &k->accs[m->acc];
    bool tcgen05 = v->arch->family == MMA_TCGEN05;
    VERIFY(v, a->role == w->role, "role '%s': mma of acc '%s', which is of role '%s'", w->r->name,
           a->name, k->roles[a->role].name);
    VERIFY(v, w->r->one_thread == tcgen05, "role '%s': mma is issued by %s", w->r->name,
           tcgen05 ? "one thread" : "whole warps");
    VERIFY(v, w->r->leader_only == k->pair, "role '%s': mma by %s", w->r->name,
           k->pair ? "the leader of a pair alone" : "every CTA");
    VERIFY(v, m->loop < 0 || in_scope(w, m->loop), "role '%s': mma outside its loop '%s'",
           w->r->name, k->fors[m->loop < 0 ? 0 : m->loop].index);
    VERIFY(v, tir_split(k) == 1 || (w->n_fors > 0 && k->fors[w->fors[0]].split > 1),
           "role '%s': mma of acc '%s' outside of the split loop", w->r->name, a->name);
    VERIFY(v, k->walk.stream < 0 || (w->n_fors > 0 && w->fors[0] == k->walk.stream),
           "role '%s': mma of acc '%s' outside of the streamed loop", w->r->name, a->name);
    VERIFY(v, w->r->shares == 1 || w->n_fors > 0, "role '%s': mma of acc '%s' by every share",
           w->r->name, a->name);
    w->mma_runs[s->ref]++;
    for (int i = 0; i < 2; i++) {
        int channel = k->operands[i == 0 ? m->a : m->b].channel;
        VERIFY(v, k->channels[channel].to == w->role, "role '%s': mma of channel '%s' of role '%s'",
               w->r->name, k->channels[channel].name, k->roles[k->channels[channel].to].name);
        if (!needs_open(w, channel, "mma")) {
            return false;
        }
    }
    return a->channel < 0 || needs_open(w, a->channel, "mma");
}

static bool walk_store(walker *w, const tir_stmt *s) {
    verifier *v = w->v;
    const tir_kernel *k = v->k;
    VERIFY(v, tir_in(s->ref, 0, k->n_stores - 1), "role '%s': no store #%d", w->r->name, s->ref);
    const tir_store *st = &k->stores[s->ref];
    VERIFY(v, w->n_fors == 0, "role '%s': store '%s' inside loop '%s'", w->r->name,
           verify_param_name(k, st->param), k->fors[w->n_fors > 0 ? w->fors[0] : 0].index);
    VERIFY(v, w->in_combine == tir_meets(k, w->r), "role '%s': store '%s' %s 'combine'", w->r->name,
           verify_param_name(k, st->param), w->in_combine ? "in a" : "outside of");
    w->store_runs[s->ref]++;
    int accs[8];
    int n = verify_accs_of(st->value, accs, 0, 8);
    n = verify_accs_of(st->divide, accs, n, 8);
    for (int i = 0; i < n; i++) {
        int channel = k->accs[accs[i]].channel;
        if (channel >= 0 && !needs_open(w, channel, "store")) {
            return false;
        }
    }
    if (st->release >= 0) {
        if (!needs_open(w, st->release, "store")) {
            return false;
        }
        advance(w, st->release, false);
    }
    return true;
}

static bool walk_for(walker *w, const tir_stmt *s, int depth) {
    verifier *v = w->v;
    const tir_kernel *k = v->k;
    VERIFY(v, tir_in(s->ref, 0, k->n_fors - 1), "role '%s': no for #%d", w->r->name, s->ref);
    VERIFY(v, !in_scope(w, s->ref), "role '%s': loop '%s' inside itself", w->r->name,
           k->fors[s->ref].index);
    channel_state *before = ARENA_ARRAY(v->mem, channel_state, k->n_channels + 1);
    memcpy(before, w->state, sizeof(*before) * (size_t)k->n_channels);
    w->fors[w->n_fors++] = s->ref;
    bool fine = walk_body(w, s->n_body, s->body, depth + 1);
    w->n_fors--;
    for (int i = 0; fine && i < k->n_channels; i++) {
        VERIFY(v, w->state[i] == before[i],
               "role '%s': loop '%s' finds channel '%s' %s and leaves it %s", w->r->name,
               k->fors[s->ref].index, k->channels[i].name, state_word(before[i]),
               state_word(w->state[i]));
    }
    return fine;
}

static bool walk_publish(walker *w, const tir_stmt *s) {
    verifier *v = w->v;
    VERIFY(v, tir_in(s->ref, 0, v->k->n_channels - 1), "role '%s': publish of channel #%d",
           w->r->name, s->ref);
    bool smem = v->k->channels[s->ref].space == SPACE_SMEM;
    if (!step(w, s, true, smem ? CH_FILLED : CH_OPEN)) {
        return false;
    }
    advance(w, s->ref, true);
    return true;
}

// The last statement of a tile: sums of what the role's lanes hold, and its stores.
static bool walk_combine(walker *w, const tir_stmt *s, int depth) {
    verifier *v = w->v;
    const tir_role *r = w->r;
    VERIFY(v, tir_meets(v->k, r) && w->n_fors == 0 && !w->in_combine,
           "role '%s': a combine that sums nothing", r->name);
    VERIFY(v, (r->sum_bar >= 0) == (tir_split(v->k) > 1) && r->frag != FRAG_NONE && r->turns == 1,
           "role '%s' combines without barriers, fragments or by turns", r->name);
    for (int i = 0; i < s->n_body; i++) {
        VERIFY(v, s->body[i]->kind == TS_STORE, "role '%s': a combine holds stores", r->name);
    }
    w->combines++;
    w->in_combine = true;
    bool fine = walk_body(w, s->n_body, s->body, depth + 1);
    w->in_combine = false;
    return fine;
}

static bool walk_stmt(walker *w, const tir_stmt *s, int depth) {
    verifier *v = w->v;
    VERIFY(v, (unsigned)s->kind <= TS_SCHED, "role '%s': no such statement", w->r->name);
    bool top = s->kind == TS_WALK || s->kind == TS_SCHED;
    VERIFY(v, top != w->in_walk,
           "role '%s': a body is one 'walk' or 'sched', and statements in the walk", w->r->name);
    switch (s->kind) {
    case TS_WALK:
        w->in_walk = true;
        return walk_body(w, s->n_body, s->body, depth + 1);
    case TS_FOR:
        return walk_for(w, s, depth);
    case TS_ACQUIRE:
    case TS_AWAIT:
        if (!step(w, s, s->kind == TS_ACQUIRE, CH_IDLE)) {
            return false;
        }
        VERIFY(v, w->r->shares == 1 || w->n_fors == 1,
               "role '%s': %d loops around channel '%s', whose steps are shared", w->r->name,
               w->n_fors, v->k->channels[s->ref].name);
        w->state[s->ref] = CH_OPEN;
        return true;
    case TS_LOAD:
        return walk_load(w, s);
    case TS_PUBLISH:
        return walk_publish(w, s);
    case TS_RELEASE:
        if (!step(w, s, false, CH_OPEN)) {
            return false;
        }
        advance(w, s->ref, false);
        return true;
    case TS_MMA:
        return walk_mma(w, s);
    case TS_STORE:
        return walk_store(w, s);
    case TS_COMBINE:
        return walk_combine(w, s, depth);
    case TS_SCHED:
        if (v->k->walk.kind == WALK_CLC) {
            VERIFY(v, w->r->one_thread && !w->r->leader_only,
                   "role '%s': one thread of each CTA schedules", w->r->name);
        } else {
            VERIFY(v, !w->r->one_thread && w->r->n_warps == 1 && w->r->frag == FRAG_NONE &&
                          w->r->leader_only == (v->k->cluster > 1),
                   "role '%s': one warp of the cluster hands out tiles", w->r->name);
        }
        w->schedulers++;
        return true;
    }
    return true;
}

static bool walk_body(walker *w, int n, tir_stmt *const *body, int depth) {
    VERIFY(w->v, depth < MAX_NEST, "role '%s': bodies nested more than %d deep", w->r->name,
           MAX_NEST);
    for (int i = 0; i < n; i++) {
        if (!walk_stmt(w, body[i], depth)) {
            return false;
        }
    }
    return true;
}

static bool walk_role(walker *w, int role) {
    verifier *v = w->v;
    w->role = role;
    w->r = &v->k->roles[role];
    w->in_walk = false;
    w->combines = 0;
    VERIFY(v, w->r->n_body == 1,
           "role '%s': a body is one 'walk' or 'sched', and statements in the walk", w->r->name);
    memset(w->state, 0, sizeof(*w->state) * (size_t)v->k->n_channels);
    if (!walk_body(w, w->r->n_body, w->r->body, 0)) {
        return false;
    }
    bool sums =
        w->r->sum_bar >= 0 || w->r->shares > 1 || (v->k->walk.stream >= 0 && tir_meets(v->k, w->r));
    VERIFY(v, w->combines == sums, "role '%s' combines %d times", w->r->name, w->combines);
    for (int i = 0; i < v->k->n_channels; i++) {
        VERIFY(v, w->state[i] == CH_IDLE, "role '%s' leaves channel '%s' %s", w->r->name,
               v->k->channels[i].name, state_word(w->state[i]));
    }
    return true;
}

// Both ends of a channel once, in the same loops.
static bool verify_balance(walker *w) {
    verifier *v = w->v;
    for (int i = 0; i < v->k->n_channels; i++) {
        const chain *p = &w->produced[i];
        const chain *c = &w->consumed[i];
        const char *name = v->k->channels[i].name;
        VERIFY(v, p->times == 1, "channel '%s' is published %d times by role '%s', not once", name,
               p->times, v->k->roles[v->k->channels[i].from].name);
        VERIFY(v, c->times == 1, "channel '%s' is released %d times by role '%s', not once", name,
               c->times, v->k->roles[v->k->channels[i].to].name);
        VERIFY(v, p->n == c->n && memcmp(p->fors, c->fors, sizeof(p->fors[0]) * (size_t)p->n) == 0,
               "channel '%s' is published in %d loops and released in %d, or in other ones", name,
               p->n, c->n);
    }
    return true;
}

static bool verify_runs(walker *w) {
    verifier *v = w->v;
    const tir_kernel *k = v->k;
    for (int i = 0; i < k->n_mmas; i++) {
        VERIFY(v, w->mma_runs[i] == 1, "mma #%d of acc '%s' stands in %d places", i,
               k->accs[k->mmas[i].acc].name, w->mma_runs[i]);
    }
    for (int i = 0; i < k->n_stores; i++) {
        VERIFY(v, w->store_runs[i] == 1, "store '%s' stands in %d places",
               verify_param_name(k, k->stores[i].param), w->store_runs[i]);
    }
    int wanted = tir_has_scheduler(k) ? 1 : 0;
    VERIFY(v, w->schedulers == wanted, "%d schedulers for this walk, not %d", w->schedulers,
           wanted);
    return true;
}

bool verify_bodies(verifier *v) {
    const tir_kernel *k = v->k;
    walker w = {.v = v,
                .state = ARENA_ARRAY(v->mem, channel_state, k->n_channels + 1),
                .produced = ARENA_ARRAY(v->mem, chain, k->n_channels + 1),
                .consumed = ARENA_ARRAY(v->mem, chain, k->n_channels + 1),
                .mma_runs = ARENA_ARRAY(v->mem, int, k->n_mmas + 1),
                .store_runs = ARENA_ARRAY(v->mem, int, k->n_stores + 1)};
    for (int i = 0; i < k->n_roles; i++) {
        if (!walk_role(&w, i)) {
            return false;
        }
    }
    return verify_balance(&w) && verify_runs(&w);
}

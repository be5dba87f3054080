// Projection: each role gets the control skeleton of the program with its own operations, and the
// edges between roles as waits and signals.
//
// Requires: everything else. Provides: bodies of k->roles.
// Full edge: definition -> use in another role. Empty edge: last use of instance i -> definition of
// instance i + depth. Both ends of both edges stand in the loop that fills the channel.
#include "plan_int.h"

#include <string.h>

static tir_stmt *new_stmt(planner *p, tir_stmt_kind kind, int ref) {
    tir_stmt *s = ARENA_NEW(p->mem, tir_stmt);
    *s = (tir_stmt){.kind = kind, .ref = ref};
    return s;
}

typedef struct {
    planner *p;
    int role;
    tir_stmt *out[8 * GRAPH_MAX];
    int n;
} block;

static void put(block *b, tir_stmt_kind kind, int ref) {
    b->out[b->n++] = new_stmt(b->p, kind, ref);
}

static void close_block(block *b, tir_stmt *into) {
    into->n_body = b->n;
    into->body = ARENA_ARRAY(b->p->mem, tir_stmt *, b->n + 1);
    memcpy(into->body, b->out, sizeof b->out[0] * (size_t)b->n);
}

// Whether a node lies in loop 'level', at any depth.
static bool inside(const graph *g, const graph_node *n, int level) {
    for (int l = n->level; l != GRAPH_TILE_LEVEL; l = g->fors[l].parent) {
        if (l == level) {
            return true;
        }
    }
    return level == GRAPH_TILE_LEVEL;
}

static bool mma_uses(const planner *p, int mma, int channel) {
    const tir_mma *m = &p->k->mmas[mma];
    return p->k->operands[m->a].channel == channel || p->k->operands[m->b].channel == channel ||
           p->k->accs[m->acc].channel == channel;
}

static bool store_reads(const planner *p, int store, int channel) {
    const graph_store *s = &p->g->stores[store];
    for (int i = 0; i < s->n_accs; i++) {
        if (p->k->accs[graph_acc_of(p->g, s->accs[i])].channel == channel) {
            return true;
        }
    }
    return false;
}

static bool node_is_of(const planner *p, const graph_node *n, int role) {
    switch (n->kind) {
    case NODE_MMA:
        return p->mma_role[n->ref] == role;
    case NODE_STORE:
        return p->store_role[n->ref] == role;
    default:
        return false;
    }
}

// Whether the role has an operation on the channel inside node n (itself or, for a loop, its body).
static bool touches(const planner *p, int node, int role, int channel) {
    const graph_node *n = &p->g->nodes[node];
    if (n->kind != NODE_FOR) {
        return node_is_of(p, n, role) && (n->kind == NODE_MMA ? mma_uses(p, n->ref, channel)
                                                              : store_reads(p, n->ref, channel));
    }
    for (int i = node + 1; i < p->g->n_nodes; i++) {
        const graph_node *in = &p->g->nodes[i];
        if (in->kind != NODE_FOR && inside(p->g, in, n->ref) && touches(p, i, role, channel)) {
            return true;
        }
    }
    return false;
}

// First or last node standing directly in 'level' that touches the channel; -1: none.
static int edge_node(const planner *p, int level, int role, int channel, bool last) {
    int found = -1;
    for (int i = 0; i < p->g->n_nodes; i++) {
        if (p->g->nodes[i].level == level && touches(p, i, role, channel) && (last || found < 0)) {
            found = i;
        }
    }
    return found;
}

static bool loads_in(const planner *p, int role, int level) {
    for (int c = 0; c < p->n_channels; c++) {
        if (p->k->channels[c].space == SPACE_SMEM && p->k->channels[c].from == role) {
            for (int l = p->channels[c].level; l != GRAPH_TILE_LEVEL; l = p->g->fors[l].parent) {
                if (l == level) {
                    return true;
                }
            }
        }
    }
    return false;
}

static bool works_in(const planner *p, int role, int node) {
    int level = p->g->nodes[node].ref;
    if (loads_in(p, role, level)) {
        return true;
    }
    for (int i = node + 1; i < p->g->n_nodes; i++) {
        if (inside(p->g, &p->g->nodes[i], level) && node_is_of(p, &p->g->nodes[i], role)) {
            return true;
        }
    }
    return false;
}

static void project_level(block *b, int level);

// Waits before the first, signals after the last operation of this role on each
// channel of the level.
static void open_edges(block *b, int level, int node) {
    planner *p = b->p;
    for (int c = 0; c < p->n_channels; c++) {
        const tir_channel *ch = &p->k->channels[c];
        if (p->channels[c].level != level || edge_node(p, level, b->role, c, false) != node) {
            continue;
        }
        if (ch->to == b->role) {
            put(b, TS_AWAIT, c);
        } else if (ch->from == b->role && ch->space == SPACE_TMEM) {
            put(b, TS_ACQUIRE, c);
        }
    }
}

static void close_edges(block *b, int level, int node) {
    planner *p = b->p;
    for (int c = 0; c < p->n_channels; c++) {
        const tir_channel *ch = &p->k->channels[c];
        if (p->channels[c].level != level || edge_node(p, level, b->role, c, true) != node) {
            continue;
        }
        if (ch->to == b->role && ch->space == SPACE_SMEM) {
            put(b, TS_RELEASE, c);
        } else if (ch->from == b->role && ch->space == SPACE_TMEM) {
            put(b, TS_PUBLISH, c);
        }
    }
}

static void project_loads(block *b, int level) {
    planner *p = b->p;
    for (int c = 0; c < p->n_channels; c++) {
        const tir_channel *ch = &p->k->channels[c];
        if (ch->space == SPACE_SMEM && ch->from == b->role && p->channels[c].level == level) {
            put(b, TS_ACQUIRE, c);
            put(b, TS_LOAD, c);
            put(b, TS_PUBLISH, c);
        }
    }
}

static void project_node(block *b, int node) {
    planner *p = b->p;
    const graph_node *n = &p->g->nodes[node];
    if (n->kind == NODE_FOR) {
        if (works_in(p, b->role, node)) {
            block inner = {.p = p, .role = b->role};
            project_level(&inner, n->ref);
            tir_stmt *loop = new_stmt(p, TS_FOR, n->ref);
            close_block(&inner, loop);
            b->out[b->n++] = loop;
        }
    } else if (node_is_of(p, n, b->role)) {
        put(b, n->kind == NODE_MMA ? TS_MMA : TS_STORE, n->ref);
    }
}

static void project_level(block *b, int level) {
    const graph *g = b->p->g;
    project_loads(b, level);
    for (int i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].level == level) {
            open_edges(b, level, i);
            project_node(b, i);
            close_edges(b, level, i);
        }
    }
}

// All that the role does for a tile, then its stores, which need the sums of the whole cluster.
static void combine_stores(block *b) {
    block stores = {.p = b->p, .role = b->role};
    int n = 0;
    for (int i = 0; i < b->n; i++) {
        if (b->out[i]->kind == TS_STORE) {
            stores.out[stores.n++] = b->out[i];
        } else {
            b->out[n++] = b->out[i];
        }
    }
    tir_stmt *combine = new_stmt(b->p, TS_COMBINE, 0);
    close_block(&stores, combine);
    b->n = n;
    b->out[b->n++] = combine;
}

void plan_project(planner *p) {
    tir_kernel *k = p->k;
    for (int r = 0; r < k->n_roles; r++) {
        tir_role *role = &k->roles[r];
        role->body = ARENA_ARRAY(p->mem, tir_stmt *, 1);
        role->n_body = 1;
        if (r >= p->n_roles) { // the derived scheduler
            role->body[0] = new_stmt(p, TS_SCHED, 0);
            continue;
        }
        block b = {.p = p, .role = r};
        project_level(&b, GRAPH_TILE_LEVEL);
        role->body[0] = new_stmt(p, TS_WALK, 0);
        if (p->meets[r]) {
            combine_stores(&b);
        }
        close_block(&b, role->body[0]);
    }
    k->walk.empty_count = tir_has_scheduler(k) ? tir_walk_readers(k) : 0;
}

// Const tensors whose entries bound loops: what a random run puts into them.
//
// Offsets of a ragged dimension ascend within its size; groups are empty, whole tiles, single rows
// or any length, and now and then rows before the first group or behind the last one belong to
// none. Entries that bound an index ('in lo .. hi') are anything from 0 to a little beyond its
// dimension, often an end of it; those that name one ('at x') are places of it, and now and then none.
#include "run.h"

#include "graph.h"

static const ast_ragged *ragged_at(const run_state *r, const ast_sym *param) {
    for (int i = 0; i < r->b->ast->n_body; i++) {
        const ast_stmt *s = r->b->ast->body[i];
        if (s->kind == ST_RAGGED && s->ragged->at->kind == EX_NAME && s->ragged->at->sym == param) {
            return s->ragged;
        }
    }
    return NULL;
}

const ast_ragged *run_ragged_of(const run_state *r, int param) {
    const ast_sym *sym = r->b->ast->params[param];
    if (r->b->tir->params[param].groups == NULL) {
        return NULL;
    }
    return graph_ragged_of(r->b->ast, sym->dims[sym->n_dims - 2]);
}

static int64_t tile_of(const run_state *r, const ast_sym *dim) {
    int64_t tile = 1;
    for (int i = 0; i < r->b->ast->n_indices; i++) {
        const ast_sym *x = r->b->ast->indices[i];
        if (x->ragged != NULL && x->ragged->dim == dim && x->tile != NULL) {
            eval_size(x->tile, r->tparams, r->dims, &tile);
        }
    }
    return tile > 0 ? tile : 1;
}

static void draw_offsets(const run_state *r, const ast_ragged *ragged, eval_tensor *codes,
                         uint64_t seed) {
    int64_t rows = r->dims[ragged->dim->id];
    int64_t groups = codes->dims[0] - !ragged->to;
    int64_t tile = tile_of(r, ragged->dim), align = 1;
    bool loose = run_random(&seed) % 4 == 0;
    int64_t at = loose && rows > 0 && !ragged->to ? (int64_t)(run_random(&seed) % 5) % (rows + 1) : 0;
    if (ragged->align != NULL) {
        eval_size(ragged->align, r->tparams, r->dims, &align);
    }
    for (int64_t g = 0; g <= groups; g++) {
        if (!ragged->to) {
            eval_set_code(codes, g, (uint64_t)at);
        } else if (g > 0) {
            eval_set_code(codes, g - 1, (uint64_t)at);
        }
        int64_t next = (at + align - 1) / align * align;
        bool aligns = next < rows && (ragged->to || !loose); // no room: the group is empty
        at = aligns ? next : at;
        int64_t left = rows - at;
        uint64_t x = run_random(&seed);
        int64_t n = (int64_t)(x >> 8) % (2 * left / (groups - g > 0 ? groups - g : 1) + 2);
        n = x % 5 == 0 ? 0 : x % 5 == 1 ? tile * (1 + (int64_t)(x >> 8) % 2) : x % 5 == 2 ? 1 : n;
        n = g + 1 == groups && !loose ? left : n;
        at += n < left ? n : left;
    }
}

static void draw_bounds(int64_t size, eval_tensor *codes, uint64_t seed) {
    for (int64_t i = 0; i < eval_count(codes); i++) {
        uint64_t x = run_random(&seed);
        int64_t v = (int64_t)(x >> 8) % (size + 3);
        v = x % 5 == 0 ? 0 : x % 5 == 1 ? size : x % 5 == 2 ? v % 9 : v;
        eval_set_code(codes, i, (uint64_t)v);
    }
}

static void draw_places(int64_t size, eval_tensor *codes, uint64_t seed) {
    for (int64_t i = 0; i < eval_count(codes); i++) {
        uint64_t x = run_random(&seed);
        int64_t v = size > 0 ? (int64_t)(x >> 8) % size : 0;
        v = x % 6 == 0 ? -1 : x % 31 == 1 ? size : v;
        eval_set_code(codes, i, (uint64_t)v);
    }
}

bool run_draw_index(const run_state *r, const ast_sym *param, eval_tensor *codes, uint64_t seed) {
    const ast_ragged *ragged = ragged_at(r, param);
    if (param->mode != MODE_CONST || !elem_is_int(param->format->elem)) {
        return true;
    }
    if (ragged != NULL) {
        draw_offsets(r, ragged, codes, seed);
        return true;
    }
    for (int i = 0; i < r->b->ast->n_indices; i++) {
        const ast_sym *x = r->b->ast->indices[i];
        int64_t size = 0;
        if (graph_mentions(x->lo, param) || graph_mentions(x->hi, param)) {
            if (!eval_size(x->dim, r->tparams, r->dims, &size)) {
                return false;
            }
            (x->at ? draw_places : draw_bounds)(size, codes, seed);
        }
    }
    return true;
}

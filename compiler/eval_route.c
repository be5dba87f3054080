// Records that modules make. std.moe: plan = moe.route(route[, gate]) sorts the (token, slot) pairs
// of route[T, TOPK] by expert, tokens in order within an expert; negative entries take no part.
// With one rank:
//   plan.first[e]  rows of expert e are first[e] .. first[e + 1]; entries: groups + 1
//   plan.row[p]    token of row p          plan.slot[p]  which of its TOPK choices
//   plan.rank[p]   0                       plan.gate[p]  gate[row, slot]; 1 without a gate tensor
// The number of rows becomes the size of the dimension that 'ragged P by E at plan.first' names.
#include "eval_impl.h"

#include <stdlib.h>
#include <string.h>

static const ast_format format_i32 = {.name = "i32", .elem = ELEM_I32, .scale = ELEM_NONE};
static const ast_format format_f32 = {.name = "f32", .elem = ELEM_F32, .scale = ELEM_NONE};

void record_free(record *r) {
    storage_free(&r->first);
    storage_free(&r->rank);
    storage_free(&r->row);
    storage_free(&r->slot);
    storage_free(&r->gate);
}

storage *record_field(eval *x, const ast_expr *member) {
    const ast_sym *s = member->a != NULL ? member->a->sym : NULL;
    record *r = s != NULL && s->kind == SYM_LET ? &x->records[s->id] : NULL;
    const char *names[] = {"first", "rank", "row", "slot", "gate"};
    storage *fields[] = {r != NULL ? &r->first : NULL, r != NULL ? &r->rank : NULL,
                         r != NULL ? &r->row : NULL, r != NULL ? &r->slot : NULL,
                         r != NULL ? &r->gate : NULL};
    for (int i = 0; r != NULL && r->set && i < 5; i++) {
        if (strcmp(names[i], member->name) == 0) {
            return fields[i];
        }
    }
    eval_fail(x, EVAL_EPROGRAM, member->span, "no field '%s' here", member->name);
    return NULL;
}

// The 'ragged' declaration whose offsets are a field of this record.
static const ast_ragged *ragged_of(const ast_kernel *k, const ast_sym *let) {
    for (int i = 0; i < k->n_body; i++) {
        const ast_stmt *s = k->body[i];
        if (s->kind == ST_RAGGED && s->ragged->at->kind == EX_MEMBER &&
            s->ragged->at->a->sym == let) {
            return s->ragged;
        }
    }
    return NULL;
}

static bool make_field(eval *x, storage *st, const char *name, const ast_format *f, int64_t n) {
    storage_free(st);
    *st = (storage){.name = name, .t = {.format = f, .n_dims = 1, .dims = {n}}};
    st->is_const = f->elem == ELEM_I32;
    if (!storage_alloc(st)) {
        eval_fail(x, EVAL_EMEMORY, x->k->span, "no memory for '%s' of %lld entries", name,
                  (long long)n);
    }
    return !x->failed;
}

static storage *gate_tensor(eval *x, const ast_expr *call) {
    if (call->n_args > 1) {
        return eval_place(x, call->args[1]).st;
    }
    for (int i = 0; i < x->k->n_params; i++) {
        const ast_sym *s = x->k->params[i];
        if (strcmp(s->name, "gate") == 0 && s->n_dims == 2) {
            return &x->params[s->id];
        }
    }
    return NULL;
}

// Counts each expert's pairs and turns the counts into offsets.
static int64_t count_groups(eval *x, const ast_expr *at, const eval_tensor *route, record *r) {
    int64_t groups = r->first.t.dims[0] - 1;
    int64_t n = eval_count(route);
    uint32_t *first = r->first.t.data;
    for (int64_t i = 0; i < n; i++) {
        int32_t e = (int32_t)eval_get_code(route, i);
        if (e >= groups) {
            eval_fail(x, EVAL_EDATA, at->span, "entry %lld of the routing names expert %d of %lld",
                      (long long)i, (int)e, (long long)groups);
            return 0;
        }
        if (e >= 0) {
            first[e + 1]++;
        }
    }
    for (int64_t e = 0; e < groups; e++) {
        first[e + 1] += first[e];
    }
    return first[groups];
}

static void fill_rows(const eval_tensor *route, const storage *gate, record *r, int64_t *next) {
    int64_t slots = route->dims[1];
    int64_t n = eval_count(route);
    for (int64_t i = 0; i < n; i++) {
        int32_t e = (int32_t)eval_get_code(route, i);
        if (e < 0) {
            continue;
        }
        int64_t p = next[e]++;
        eval_set_code(&r->row.t, p, (uint64_t)(i / slots));
        eval_set_code(&r->slot.t, p, (uint64_t)(i % slots));
        uint32_t one = mach_encode(ELEM_F32, 1);
        eval_set_code(&r->gate.t, p, gate != NULL ? eval_get_code(&gate->t, i) : one);
    }
}

void exec_record(eval *x, const ast_stmt *s) {
    record *r = &x->records[s->sym->id];
    const ast_expr *call = s->value;
    const ast_ragged *ragged = ragged_of(x->k, s->sym);
    storage *route = call->n_args > 0 ? eval_place(x, call->args[0]).st : NULL;
    if (x->failed || ragged == NULL || route == NULL || route->t.n_dims != 2) {
        eval_fail(
            x, EVAL_EPROGRAM, s->span,
            "moe.route takes an index tensor [T, TOPK], and its '.first' must cut a dimension "
            "('ragged P by E at %s.first')",
            s->sym->name);
        return;
    }
    int64_t groups = eval_int(x, ragged->by);
    if (x->failed || !make_field(x, &r->first, "first", &format_i32, groups + 1)) {
        return;
    }
    int64_t rows = count_groups(x, call, &route->t, r);
    if (x->failed || !make_field(x, &r->rank, "rank", &format_i32, rows) ||
        !make_field(x, &r->row, "row", &format_i32, rows) ||
        !make_field(x, &r->slot, "slot", &format_i32, rows) ||
        !make_field(x, &r->gate, "gate", &format_f32, rows)) {
        return;
    }
    int64_t *next = malloc((size_t)(groups + 1) * sizeof *next);
    if (next == NULL) {
        eval_fail(x, EVAL_EMEMORY, s->span, "no memory for %lld groups", (long long)groups);
        return;
    }
    for (int64_t e = 0; e <= groups; e++) {
        next[e] = (int64_t)eval_get_code(&r->first.t, e);
    }
    fill_rows(&route->t, gate_tensor(x, call), r, next);
    free(next);
    r->set = true;
    x->job->dims[ragged->dim->id] = rows;
}

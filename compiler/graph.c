// Checked tree -> dataflow graph.
//
// Requires: a tree that lang_check accepted.
// Provides: the loops, operands, products and stores of a kernel's one tile nest, in text order.
// Refuses: what the theorem of the language excludes (values that cross iterations, bounds that two
// roles would compute from mutable memory), and shapes without a lowering, each at its place.
#include "graph.h"

#include <string.h>

typedef struct {
    graph *g;
    diag *d;
    arena *mem;
    bool ok;
} builder;

#define REFUSE(b, code, span, ...)                                                                 \
    do {                                                                                           \
        diag_report((b)->d, DIAG_ERROR, (code), (span), __VA_ARGS__);                              \
        (b)->ok = false;                                                                           \
    } while (0)

int graph_loop_of(const graph *g, const ast_sym *index) {
    for (int i = 0; i < g->n_loops; i++) {
        if (g->loops[i] == index) {
            return i;
        }
    }
    return -1;
}

int graph_for_of(const graph *g, const ast_sym *index) {
    for (int i = 0; i < g->n_fors; i++) {
        if (g->fors[i].sym == index) {
            return i;
        }
    }
    return -1;
}

int graph_acc_of(const graph *g, const ast_sym *acc) {
    for (int i = 0; i < g->n_accs; i++) {
        if (g->accs[i] == acc) {
            return i;
        }
    }
    return -1;
}

int graph_sum_of(const graph *g, const ast_sym *acc) {
    for (int i = 0; i < g->n_sums; i++) {
        if (g->sums[i].acc == acc) {
            return i;
        }
    }
    return -1;
}

const ast_ragged *graph_ragged_of(const ast_kernel *k, const ast_expr *dim) {
    for (int i = 0; i < k->n_body; i++) {
        const ast_stmt *s = k->body[i];
        if (s->kind == ST_RAGGED && dim->kind == EX_NAME && dim->sym == s->ragged->dim) {
            return s->ragged;
        }
    }
    return NULL;
}

static bool full(builder *b, int n, ast_span at, const char *what) {
    if (n == GRAPH_MAX) {
        REFUSE(b, "X101", at, "more than %d %s in one kernel", GRAPH_MAX, what);
    }
    return n == GRAPH_MAX;
}

// Elements of a tile of a loop index; 1 when it steps by single elements.
static int tile_of(builder *b, const ast_sym *index) {
    int64_t n = 1;
    if (index->tile != NULL && !lang_const_int(index->tile, b->g->tparams, &n)) {
        REFUSE(b, "X101", index->span, "the tile of '%s' is not a constant", index->name);
        return 1;
    }
    if (n < 1 || n > 65536) {
        REFUSE(b, "A111", index->span, "the tile of '%s' is %lld elements, 1 to 65536 is possible",
               index->name, (long long)n);
        return 1;
    }
    return (int)n;
}

// --- Operands and products -----------------------------------------------------------------------

bool graph_subscript(const graph *g, const ast_expr *e, graph_place *out) {
    int64_t v = 0;
    *out = (graph_place){.div = 1};
    if (lang_const_int(e, g->tparams, &v)) {
        out->add = (int)v;
        return v >= 0 && v <= INT32_MAX;
    }
    const ast_expr *name = e;
    if (e->kind == EX_BINARY && e->op == OP_DIV && lang_const_int(e->b, g->tparams, &v)) {
        out->div = (int)v;
        name = v >= 1 && v <= 1 << 20 ? e->a : NULL;
    }
    if (name == NULL || name->kind != EX_NAME || name->sym == NULL ||
        name->sym->kind != SYM_INDEX) {
        return false;
    }
    out->index = name->sym;
    int loop = graph_loop_of(g, out->index);
    int step = graph_for_of(g, out->index);
    bool single = (loop >= 0 && g->tiles[loop] == 1) || (step >= 0 && g->steps[step] == 1);
    return out->div == 1 || single;
}

static bool same_slice(const graph *g, const ast_expr *x, const ast_expr *y) {
    bool same = x->n_args == y->n_args && x->a->sym == y->a->sym;
    for (int i = 0; same && i < x->n_args; i++) {
        graph_place p, q;
        graph_subscript(g, x->args[i], &p);
        graph_subscript(g, y->args[i], &q);
        same = p.index == q.index && p.div == q.div && p.add == q.add;
    }
    return same;
}

static bool is_tensor_slice(const ast_expr *e) {
    return e->kind == EX_INDEX && e->a->kind == EX_NAME && e->a->sym != NULL &&
           e->a->sym->kind == SYM_PARAM;
}

// What a copy can find: a box begins where its indices are.
static void check_place(builder *b, const ast_expr *slice, int axis) {
    const ast_expr *e = slice->args[axis];
    graph_place at;
    if (!graph_subscript(b->g, e, &at)) {
        REFUSE(b, "X101", e->span,
               "an operand of a product is subscripted by indices and numbers: a copy brings the "
               "box that begins there");
        if (at.index != NULL) {
            diag_help(b->d, "'%s' walks several elements at once: '/' takes one that walks them "
                            "one by one",
                      at.index->name);
        } else {
            diag_help(b->d, "let an index of the tile loop find it: tile ..., i of %s at %s",
                      expr_text(b->mem, slice->a->sym->dims[axis]), expr_text(b->mem, e));
        }
    }
}

static int add_operand(builder *b, const ast_expr *e) {
    graph *g = b->g;
    for (int i = 0; i < e->n_args && b->ok; i++) {
        check_place(b, e, i);
    }
    for (int i = 0; i < g->n_operands && b->ok; i++) {
        if (same_slice(g, g->operands[i].expr, e)) {
            return i;
        }
    }
    if (!b->ok || full(b, g->n_operands, e->span, "operands")) {
        return -1;
    }
    graph_operand *o = &g->operands[g->n_operands];
    *o = (graph_operand){.param = e->a->sym, .expr = e, .level = GRAPH_TILE_LEVEL};
    for (int i = 0; i < e->n_axes; i++) {
        int f = graph_for_of(g, e->axes[i]);
        o->level = f > o->level ? f : o->level;
    }
    return g->n_operands++;
}

// Elements of a step along a whole dimension: 128 bytes of the narrower operand, fewer where plain
// operands have fewer, and whole granules of f32 scales.
static int step_of_all(const builder *b, const ast_stmt *s, const ast_sym *index) {
    const ast_format *x = graph_factor(s->value->a)->type;
    const ast_format *y = graph_factor(s->value->b)->type;
    int bits = elem_bits(x->elem) < elem_bits(y->elem) ? elem_bits(x->elem) : elem_bits(y->elem);
    int step = 128 * 8 / bits;
    int64_t extent = 0;
    bool plain = x->scale == ELEM_NONE && y->scale == ELEM_NONE && x->elem == y->elem;
    bool known = lang_const_int(index->dim, b->g->tparams, &extent);
    while (plain && known && extent <= step / 2 && step * bits > 32 * 8) {
        step /= 2;
    }
    const ast_format *const both[] = {x, y};
    for (int i = 0; i < 2; i++) {
        int granule = both[i]->scale == ELEM_F32 ? (int)both[i]->granule[both[i]->n_granule - 1] : 0;
        step = granule > step ? granule : step;
    }
    return step;
}

// A whole dimension that a product sums over is a loop around it, and around the products over the
// same one that stand right behind it. Returns the level that the product stands in.
static int enter_all(builder *b, const ast_stmt *s, int level) {
    graph *g = b->g;
    const ast_sym *index = NULL;
    for (int i = 0; i < s->n_contracted; i++) {
        index = s->contracted[i]->walk == WALK_ALL ? s->contracted[i] : index;
    }
    if (index == NULL) {
        return level;
    }
    int n = graph_for_of(g, index);
    const graph_node *last = g->n_nodes > 0 ? &g->nodes[g->n_nodes - 1] : NULL;
    if (n >= 0 && g->fors[n].parent == level && last != NULL && last->level == n) {
        return n;
    }
    if (n >= 0) {
        REFUSE(b, "X101", s->span,
               "products over all of '%s' stand in two places: one loop walks it", index->name);
        diag_help(b->d, "put them side by side, or walk it in steps: for %s:STEP of ...",
                  index->name);
        return level;
    }
    if (full(b, g->n_fors, s->span, "loops")) {
        return level;
    }
    n = g->n_fors++;
    g->fors[n] = (graph_for){index, s, level};
    g->steps[n] = step_of_all(b, s, index);
    g->nodes[g->n_nodes++] = (graph_node){NODE_FOR, n, level};
    return n;
}

// Indices of the tile loop stand still. Of those summed over one walks in steps, the K of
// instructions; others walk element by element, inside it or around it.
static bool find_summed(builder *b, const ast_stmt *s, graph_mma *m) {
    const graph *g = b->g;
    const ast_sym *single = NULL;
    for (int i = 0; i < s->n_contracted; i++) {
        const ast_sym *index = s->contracted[i];
        int loop = graph_for_of(g, index);
        if (graph_loop_of(g, index) >= 0) {
            continue;
        }
        if (loop < 0) {
            REFUSE(b, "X101", s->span,
                   "the summed index '%s' is not that of a loop around the product", index->name);
            return false;
        }
        if (g->steps[loop] == 1) {
            single = index;
        } else if (m->k != NULL) {
            REFUSE(
                b, "X101", s->span,
                "a product sums over '%s' and '%s' in steps of several elements: one may have them",
                m->k->name, index->name);
            diag_help(b->d, "walk the other one element by element: for %s:1 of ...", m->k->name);
            return false;
        } else {
            m->k = index;
        }
    }
    m->k = m->k != NULL ? m->k : single;
    if (m->k == NULL) {
        REFUSE(b, "X101", s->span, "a product without a summed index has no lowering yet");
    }
    return m->k != NULL;
}

const ast_expr *graph_factor(const ast_expr *e) {
    const ast_expr *name = e->kind == EX_INDEX ? e->a : e;
    bool let = name->kind == EX_NAME && name->sym != NULL && name->sym->kind == SYM_LET;
    if (!let || name->sym->is_acc || name->sym->stmt == NULL) {
        return e;
    }
    const ast_expr *value = graph_factor(name->sym->stmt->value);
    bool read_only = is_tensor_slice(value) &&
                     (value->a->sym->mode == MODE_IN || value->a->sym->mode == MODE_CONST);
    return read_only ? value : e;
}

static void refuse_product(builder *b, const ast_expr *v) {
    REFUSE(b, "X101", v->span,
           "an accumulator takes products of two tensor slices: acc[m, n] += A[m, k] * B[n, k]");
    bool sum = v->kind == EX_BINARY && (v->op == OP_ADD || v->op == OP_SUB);
    bool product = v->kind == EX_BINARY && v->op == OP_MUL;
    const ast_expr *x = product ? graph_factor(v->a) : v;
    const ast_expr *y = product ? graph_factor(v->b) : v;
    const ast_expr *call = x->kind == EX_CALL ? x : y;
    if (product && call->kind == EX_CALL && call->call == CALL_CONVERT && call->n_args == 1 &&
        call->format->elem == ELEM_F32 && is_tensor_slice(graph_factor(call->args[0]))) {
        diag_help(b->d, "leave 'f32(...)' out: products of narrow elements are exact, and their "
                        "sums are f32");
    } else if (sum) {
        diag_help(b->d, "each product by a '+=' of its own, and what is no product where the sum is "
                        "stored: D[m, n] = ... acc[m, n] + bias[n] ...");
    } else if (product) {
        diag_help(b->d, "what does not vary with the summed index is multiplied where the sum is "
                        "stored; else a kernel before this one stores an operand that has it, or "
                        "the operand's format has scales");
    }
}

static void add_mma(builder *b, const ast_stmt *s, int level) {
    graph *g = b->g;
    const ast_expr *v = s->value;
    if (full(b, g->n_mmas, s->span, "products")) {
        return;
    }
    bool product = v->kind == EX_BINARY && v->op == OP_MUL;
    const ast_expr *x = product ? graph_factor(v->a) : v;
    const ast_expr *y = product ? graph_factor(v->b) : v;
    if (!product || !is_tensor_slice(x) || !is_tensor_slice(y)) {
        refuse_product(b, v);
        return;
    }
    level = enter_all(b, s, level);
    graph_mma m = {.stmt = s, .acc = s->target->a->sym, .level = level};
    if (!b->ok || !find_summed(b, s, &m)) {
        return;
    }
    m.left = add_operand(b, x);
    m.right = add_operand(b, y);
    if (m.left < 0 || m.right < 0) {
        return;
    }
    g->nodes[g->n_nodes++] = (graph_node){NODE_MMA, g->n_mmas, level};
    g->mmas[g->n_mmas++] = m;
}

// --- Sums without products -----------------------------------------------------------------------

// What an expression reads of sums is whole: their loops stand before it.
static void check_sums_read(builder *b, const ast_expr *e, int level) {
    if (e == NULL) {
        return;
    }
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_LET && !e->sym->is_acc) {
        check_sums_read(b, e->sym->stmt->value, level);
    }
    int sum = e->kind == EX_NAME ? graph_sum_of(b->g, e->sym) : -1;
    if (sum >= 0 && (b->g->sums[sum].stmt == NULL || b->g->sums[sum].level == level)) {
        REFUSE(b, "X101", e->span,
               "'%s' is read before the loop that sums it up has ended: no lowering yet",
               e->sym->name);
    }
    check_sums_read(b, e->a, level);
    check_sums_read(b, e->b, level);
    for (int i = 0; i < e->n_args && b->ok; i++) {
        check_sums_read(b, e->args[i], level);
    }
}

static void add_sum(builder *b, const ast_stmt *s, int sum, int level) {
    graph_sum *m = &b->g->sums[sum];
    if (m->stmt != NULL) {
        REFUSE(b, "X101", s->span,
               "'%s' is added to a second time: no lowering yet without products", m->acc->name);
        return;
    }
    if (level == GRAPH_TILE_LEVEL || b->g->fors[level].parent != GRAPH_TILE_LEVEL) {
        REFUSE(b, "X101", s->span, "'%s' takes no products: it is summed up in one loop, not in %s",
               m->acc->name, level == GRAPH_TILE_LEVEL ? "none" : "loops inside of each other");
        return;
    }
    const ast_sym *index = b->g->fors[level].sym;
    if (index->lo != NULL || index->group != NULL) {
        REFUSE(b, "X101", s->span,
               "'%s' takes no products: its sum over a part of a dimension has no lowering yet",
               m->acc->name);
        return;
    }
    if (s->n_contracted != 1 || s->contracted[0] != index) {
        REFUSE(b, "X101", s->value->span, "'%s' sums over '%s' alone: what is added %s",
               m->acc->name, index->name,
               s->n_contracted > 0 ? "varies with other indices too: no lowering yet"
                                   : "does not vary with it, a product by the number of steps");
        return;
    }
    check_sums_read(b, s->value, level);
    m->stmt = s;
    m->level = level;
}

// --- Stores --------------------------------------------------------------------------------------

// Collects the accumulators that an expression reads, through lets and functions' arguments.
static void collect_accs(builder *b, const ast_expr *e, graph_store *st) {
    if (e == NULL) {
        return;
    }
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_LET &&
        graph_sum_of(b->g, e->sym) < 0) {
        if (!e->sym->is_acc) {
            collect_accs(b, e->sym->stmt->value, st);
            return;
        }
        for (int i = 0; i < st->n_accs; i++) {
            if (st->accs[i] == e->sym) {
                return;
            }
        }
        if (!full(b, st->n_accs, e->span, "accumulators")) {
            st->accs[st->n_accs++] = e->sym;
        }
    }
    collect_accs(b, e->a, st);
    collect_accs(b, e->b, st);
    for (int i = 0; i < e->n_args; i++) {
        collect_accs(b, e->args[i], st);
    }
}

static void add_store(builder *b, const ast_stmt *s, int level) {
    graph *g = b->g;
    const ast_expr *t = s->target;
    if (full(b, g->n_stores, s->span, "stores")) {
        return;
    }
    if (t->kind != EX_INDEX || t->a->kind != EX_NAME || t->a->sym->kind != SYM_PARAM) {
        REFUSE(b, "X101", t->span, "only slices of this kernel's own tensors can be stored yet");
        return;
    }
    if (level != GRAPH_TILE_LEVEL) {
        REFUSE(b, "X101", s->span, "a store inside a 'for' loop has no lowering yet");
        return;
    }
    graph_store st = {.stmt = s, .param = t->a->sym};
    check_sums_read(b, s->value, GRAPH_TILE_LEVEL);
    collect_accs(b, s->value, &st);
    g->nodes[g->n_nodes++] = (graph_node){NODE_STORE, g->n_stores, level};
    g->stores[g->n_stores++] = st;
}

// --- Statements ----------------------------------------------------------------------------------

static void add_block(builder *b, ast_stmt *const *body, int n, int level);

// Bounds that a tensor gives must not change while roles compute them (condition 3).
static void check_bound(builder *b, const ast_expr *e) {
    if (e == NULL) {
        return;
    }
    if (e->kind == EX_NAME && e->sym != NULL && e->sym->kind == SYM_PARAM && e->sym->n_dims > 0 &&
        e->sym->mode != MODE_CONST) {
        REFUSE(b, "L104", e->span,
               "'%s' bounds a loop, but it is not 'const': two roles could read different values",
               e->sym->name);
    }
    check_bound(b, e->a);
    check_bound(b, e->b);
    for (int i = 0; i < e->n_args; i++) {
        check_bound(b, e->args[i]);
    }
}

// Offsets are entries of a tensor that the launch is given.
static void check_offsets(builder *b, const ast_sym *index) {
    const ast_expr *at = index->ragged != NULL ? index->ragged->at : NULL;
    if (at != NULL && (at->kind != EX_NAME || at->sym->format->elem != ELEM_I32)) {
        REFUSE(b, "X101", at->span, "offsets that are no tensor of i32 have no lowering yet");
    }
}

static bool sums_over(const ast_stmt *s, const ast_sym *index) {
    bool found = false;
    bool product = s->kind == ST_ASSIGN && s->accumulate && s->target->n_axes > 1;
    for (int i = 0; product && i < s->n_contracted; i++) {
        found = found || s->contracted[i] == index;
    }
    for (int i = 0; i < s->n_body; i++) {
        found = found || sums_over(s->body[i], index);
    }
    return found;
}

// A whole dimension is a loop that reductions walk, where products do not bring one.
static void add_all(builder *b, const ast_stmt *s) {
    graph *g = b->g;
    for (int i = 0; i < s->n_indices && !full(b, g->n_fors, s->span, "loops"); i++) {
        bool product = false;
        for (int j = 0; j < g->kernel->n_body; j++) {
            product = product || sums_over(g->kernel->body[j], s->indices[i]);
        }
        if (!product) {
            g->steps[g->n_fors] = 1;
            g->fors[g->n_fors++] = (graph_for){s->indices[i], s, GRAPH_TILE_LEVEL};
        }
    }
}

static void add_for(builder *b, const ast_stmt *s, int level) {
    graph *g = b->g;
    const ast_sym *index = s->indices[0];
    if (full(b, g->n_fors, s->span, "loops")) {
        return;
    }
    check_bound(b, index->lo);
    check_bound(b, index->hi);
    check_offsets(b, index);
    int n = g->n_fors++;
    g->fors[n] = (graph_for){index, s, level};
    g->steps[n] = tile_of(b, index);
    g->nodes[g->n_nodes++] = (graph_node){NODE_FOR, n, level};
    add_block(b, s->body, s->n_body, n);
}

static void add_let(builder *b, const ast_stmt *s, int level) {
    graph *g = b->g;
    if (!s->sym->is_acc) {
        return; // inlined where it is used
    }
    if (level != GRAPH_TILE_LEVEL) {
        REFUSE(b, "X101", s->span, "an accumulator made inside a 'for' loop has no lowering yet");
        diag_help(b->d,
                  "add the products to one in front of the loop; a factor of each step of '%s' goes "
                  "into an operand, or into scales of its format (per [1, 128], or [128, 128])",
                  b->g->fors[level].sym->name);
        return;
    }
    if (full(b, g->n_accs > g->n_sums ? g->n_accs : g->n_sums, s->span, "accumulators")) {
        return;
    }
    if (s->value->n_args == 1) { // products make matrices
        g->sums[g->n_sums++] = (graph_sum){.acc = s->sym, .zero = s, .level = GRAPH_TILE_LEVEL};
    } else {
        g->acc_stmts[g->n_accs] = s;
        g->accs[g->n_accs++] = s->sym;
    }
}

static void add_stmt(builder *b, const ast_stmt *s, int level) {
    switch (s->kind) {
    case ST_FOR:
        add_for(b, s, level);
        break;
    case ST_LET:
        add_let(b, s, level);
        break;
    case ST_ASSIGN: {
        const ast_expr *t = s->target->kind == EX_INDEX ? s->target->a : s->target;
        bool to_acc = t->kind == EX_NAME && t->sym != NULL && t->sym->kind == SYM_LET;
        int sum = to_acc ? graph_sum_of(b->g, t->sym) : -1;
        if (sum >= 0 && s->accumulate) {
            add_sum(b, s, sum, level);
        } else if (to_acc && s->accumulate) {
            add_mma(b, s, level);
        } else if (to_acc) {
            REFUSE(b, "X101", s->span, "an accumulator that is assigned anew has no lowering yet");
        } else {
            add_store(b, s, level);
        }
        break;
    }
    case ST_ALL:
        add_all(b, s);
        break;
    default:
        REFUSE(b, "X101", s->span, "this statement has no lowering yet; the evaluator runs it");
        break;
    }
}

static void add_block(builder *b, ast_stmt *const *body, int n, int level) {
    for (int i = 0; i < n && b->ok; i++) {
        add_stmt(b, body[i], level);
    }
}

// --- The tile space ------------------------------------------------------------------------------

bool graph_mentions(const ast_expr *e, const ast_sym *name) {
    bool found = e != NULL && e->kind == EX_NAME && e->sym == name;
    found = found || (e != NULL && (graph_mentions(e->a, name) || graph_mentions(e->b, name)));
    for (int i = 0; e != NULL && i < e->n_args; i++) {
        found = found || graph_mentions(e->args[i], name);
    }
    return found;
}

static bool is_bounded(const ast_sym *index) {
    return index->group != NULL || index->lo != NULL;
}

static bool bounds_depend(const ast_sym *bounded, const ast_sym *index) {
    return bounded->group == index || graph_mentions(bounded->lo, index) ||
           graph_mentions(bounded->hi, index);
}

// Whether the bounds of other tile loops depend on this one.
static bool numbers_groups(const graph *g, const ast_sym *index) {
    bool any = false;
    for (int i = 0; i < g->n_loops; i++) {
        any = any || bounds_depend(g->loops[i], index);
    }
    return any;
}

// Loops that number groups come first, the rest as written.
static void groups_first(builder *b) {
    graph *g = b->g;
    const ast_sym *loops[GRAPH_MAX];
    int tiles[GRAPH_MAX];
    int n = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < g->n_loops; i++) {
            if (numbers_groups(g, g->loops[i]) == (pass == 0)) {
                loops[n] = g->loops[i];
                tiles[n++] = g->tiles[i];
            }
        }
        g->n_groups = pass == 0 ? n : g->n_groups;
    }
    memcpy(g->loops, loops, sizeof loops[0] * (size_t)n);
    memcpy(g->tiles, tiles, sizeof tiles[0] * (size_t)n);
    for (int i = 0; i < g->n_groups; i++) {
        if (is_bounded(g->loops[i])) {
            REFUSE(b, "X101", g->loops[i]->span,
                   "'%s' has bounds of its own, and the bounds of another tile loop depend on it: "
                   "no lowering yet",
                   g->loops[i]->name);
        }
    }
}

static void add_tile(builder *b, const ast_stmt *s) {
    graph *g = b->g;
    g->tile = s;
    for (int i = 0; i < s->n_indices && b->ok; i++) {
        const ast_sym *index = s->indices[i];
        check_bound(b, index->lo);
        check_bound(b, index->hi);
        check_offsets(b, index);
        if (full(b, g->n_loops, s->span, "tile loops")) {
            return;
        }
        g->tiles[g->n_loops] = tile_of(b, index);
        g->loops[g->n_loops++] = index;
    }
    groups_first(b);
    if (b->ok) {
        add_block(b, s->body, s->n_body, GRAPH_TILE_LEVEL);
    }
}

static int count_nests(const ast_kernel *k, const ast_stmt **second) {
    int n = 0;
    for (int i = 0; i < k->n_body; i++) {
        if (k->body[i]->kind == ST_TILE && ++n == 2) {
            *second = k->body[i];
        }
    }
    return n;
}

// Condition 4: tiles may only communicate through temps, and then need an order and residence.
static void check_temps(builder *b) {
    const ast_schedule *sched = b->g->sched;
    if (b->g->kernel->n_temps == 0 || sched == NULL) {
        return;
    }
    for (int i = 0; i < sched->n_facts; i++) {
        const ast_fact *f = &sched->facts[i];
        if (f->n_toks >= 2 && strcmp(f->toks[0].text, "walk") == 0 &&
            strcmp(f->toks[1].text, "clc") == 0) {
            REFUSE(b, "L102", f->span,
                   "'walk clc' gives no tile order, but the waits on temp '%s' need one",
                   b->g->kernel->temps[0]->name);
            diag_fix(b->d, f->toks[1].span, "static", "hand tiles out in order");
        }
    }
}

bool graph_build(const ast_kernel *k, const ast_schedule *sched, arena *mem, diag *d, graph *out) {
    *out = (graph){.kernel = k, .sched = sched};
    out->tparams = ARENA_ARRAY(mem, int64_t, k->n_tparams + 1);
    lang_tparam_values(k, sched, out->tparams);
    builder b = {out, d, mem, true};
    check_temps(&b);
    const ast_stmt *second = NULL;
    int nests = count_nests(k, &second);
    if (nests == 0) {
        REFUSE(&b, "X101", k->name_span, "kernel '%s' has no 'tile' loop", k->name);
    } else if (nests > 1) {
        REFUSE(&b, "X101", second->span, "several tile nests in one kernel have no lowering yet");
    }
    for (int i = 0; i < k->n_body && b.ok; i++) {
        if (k->body[i]->kind == ST_TILE) {
            add_tile(&b, k->body[i]);
        } else if (k->body[i]->kind == ST_ALL) {
            add_all(&b, k->body[i]);
        } else if (k->body[i]->kind != ST_RAGGED) {
            REFUSE(&b, "X101", k->body[i]->span,
                   "this statement has no lowering yet; the evaluator runs it");
        }
    }
    return b.ok && graph_check_order(out, d);
}

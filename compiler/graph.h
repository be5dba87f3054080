// Dataflow of a kernel's tile values: what is loaded, multiplied, stored, and in which loops.
//
// The graph is the sequential program with names resolved to operations; it still has one thread of
// control. Projection (project.c) splits it on roles.
#ifndef FP4_COMPILER_GRAPH_H
#define FP4_COMPILER_GRAPH_H

#include "../lang/lang.h"

enum { GRAPH_MAX = 32, GRAPH_TILE_LEVEL = -1 };

// A tensor slice that feeds a matrix product, once per distinct slice.
typedef struct {
    const ast_sym *param;
    const ast_expr *expr; // EX_INDEX
    int level;            // innermost loop it varies with: number in fors[], or GRAPH_TILE_LEVEL
} graph_operand;

// Where an operand lies along one axis: the element of its index over 'div', or a number.
typedef struct {
    const ast_sym *index; // NULL: 'add'
    int div, add;
} graph_place;

typedef struct {
    const ast_sym *acc;
    const ast_stmt *stmt;
    int left, right; // operands, in text order
    const ast_sym *k; // the contracted index
    int level;        // the for loop it stands in, or GRAPH_TILE_LEVEL
} graph_mma;

// A vector that a loop sums up, of what is no product of matrices.
typedef struct {
    const ast_sym *acc;
    const ast_stmt *zero; // where it begins
    const ast_stmt *stmt; // what is added; NULL: nothing so far
    int level;            // the for loop it stands in
} graph_sum;

typedef struct {
    const ast_stmt *stmt;
    const ast_sym *param;
    int n_accs; // accumulators that the stored value reads
    const ast_sym *accs[GRAPH_MAX];
} graph_store;

typedef struct {
    const ast_sym *sym;
    const ast_stmt *stmt;
    int parent; // enclosing for loop, or GRAPH_TILE_LEVEL
} graph_for;

typedef enum { NODE_FOR, NODE_MMA, NODE_STORE } graph_node_kind;

typedef struct {
    graph_node_kind kind;
    int ref;   // number in fors, mmas or stores
    int level; // where it stands: for loop number or GRAPH_TILE_LEVEL
} graph_node; // in text order; a loop's node stands before those of its body

typedef struct {
    const ast_kernel *kernel;
    const ast_schedule *sched;
    int64_t *tparams; // values by id
    const ast_stmt *tile;
    int n_groups; // of the loops, the first ones: they number the groups that others' bounds depend
                  // on
    int n_loops;
    const ast_sym *loops[GRAPH_MAX];
    int tiles[GRAPH_MAX]; // elements of a tile
    int n_fors;
    graph_for fors[GRAPH_MAX];
    int steps[GRAPH_MAX]; // elements of a step
    int n_accs;
    const ast_sym *accs[GRAPH_MAX];
    const ast_stmt *acc_stmts[GRAPH_MAX];
    int n_sums;
    graph_sum sums[GRAPH_MAX];
    int n_operands;
    graph_operand operands[GRAPH_MAX];
    int n_mmas;
    graph_mma mmas[GRAPH_MAX];
    int n_stores;
    graph_store stores[GRAPH_MAX];
    int n_nodes;
    graph_node nodes[4 * GRAPH_MAX];
} graph;

// Builds the graph. False, with diagnostics, if the theorem's conditions fail or if the program has
// a shape that no lowering exists for.
bool graph_build(const ast_kernel *k, const ast_schedule *sched, arena *mem, diag *d, graph *out);

int graph_loop_of(const graph *g, const ast_sym *index); // -1: not a tile loop
int graph_for_of(const graph *g, const ast_sym *index);  // -1: not a for loop
int graph_acc_of(const graph *g, const ast_sym *acc);    // -1: not an accumulator of products
int graph_sum_of(const graph *g, const ast_sym *acc);    // -1: not a sum without products
// False: neither an index, nor one that walks element by element over a number, nor a number.
bool graph_subscript(const graph *g, const ast_expr *e, graph_place *out);
// A factor of a product: the slice of a tensor that nobody stores to behind the name of a 'let', with
// its own indices behind it or without; else what it is given.
const ast_expr *graph_factor(const ast_expr *e);
// The declaration that cuts a dimension in groups, or NULL.
const ast_ragged *graph_ragged_of(const ast_kernel *k, const ast_expr *dim);
// graph_order.c. Whether all that is read of stored tensors has one value in every
// order; graph_build asks.
bool graph_check_order(const graph *g, diag *d);
bool graph_mentions(const ast_expr *e, const ast_sym *name);

#endif

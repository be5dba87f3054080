// What the parts of the verifier share: tir_verify.c (kernel, parameters, maps, roles, registers),
// tir_verify_expr.c (sizes, expressions, positions), tir_verify_memory.c (channels, boxes, places),
// tir_verify_mma.c (operands, accumulators, products), tir_verify_store.c,
// tir_verify_body.c (statements).
//
// Each part requires what the ones before it have checked, in that order; the first mistake ends
// it.
#ifndef FP4_COMPILER_TIR_VERIFY_INT_H
#define FP4_COMPILER_TIR_VERIFY_INT_H

#include "arch.h"
#include "arena.h"
#include "tir.h"

enum {
    TIR_MAX_DEPTH = 400, // of sizes and expressions
    TIR_MAX_AXES = 5,    // of a tensor map, and of what is stored
};

typedef struct {
    const tir_kernel *k;
    const arch_info *arch;
    arena *mem;
    const char *wrong; // the first mistake
    uint64_t walked;   // loops and fors whose index an enclosing reduction gives
} verifier;

// Records a mistake unless there is one already; false, for use in a return.
bool tir_wrong(verifier *v, const char *fmt, ...);
#define VERIFY(v, cond, ...)                                                                       \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            return tir_wrong((v), __VA_ARGS__);                                                    \
        }                                                                                          \
    } while (0)

static inline bool tir_in(int64_t x, int64_t lo, int64_t hi) {
    return x >= lo && x <= hi;
}

// tir_verify_expr.c. 'what' names the place for the message.
bool verify_size(verifier *v, const tir_size *s, bool pitches, const char *what);
bool verify_choice(verifier *v, const tir_size *s, const char *what); // 'when', 'cost'; may be NULL
bool verify_axes(verifier *v, const tir_axis *axes, int n, const char *what);
bool verify_expr(verifier *v, const tir_expr *e, const char *what);
// Numbers of the accumulators that an expression reads are added to accs; more than 'most': -1.
int verify_accs_of(const tir_expr *e, int *accs, int n, int most);

bool verify_memory(verifier *v);   // channels and their boxes
bool verify_products(verifier *v); // operands, accumulators, matrix instructions
bool verify_arrivals(verifier *v); // what fills slots: behind the products, whose scales count
bool verify_stores(verifier *v);
bool verify_places(verifier *v);   // shared memory and TMEM: everything inside, nothing twice
bool verify_bodies(verifier *v);

// The role that executes a store, or -1.
int verify_role_of_store(const tir_kernel *k, int store);
// TMEM columns of one slot of a channel: up to the end of its last accumulator.
int verify_slot_columns(const tir_kernel *k, int channel);
// CTAs of the cluster among which a box is shared out.
int verify_shares(const tir_kernel *k, const tir_box *b);
int verify_span(tir_swizzle s); // bytes, 0 without swizzle
const char *verify_param_name(const tir_kernel *k, int param);

#endif

// The evaluator: runs a checked kernel on host tensors, tile by tile in text order. It is the
// meaning of the program in executable form (every construct but several ranks: with one rank
// peer(X, 0) is X and 'meet' does nothing).
//
// In: a checked kernel, values of its compile-time parameters and sizes, tensors of codes, scalars.
// Out: the out, inout and temp tensors written as codes; for exact runs, if asked, a bound for
// every element on how far any run of the machine may be from it.
//
//   EVAL_EXACT    arithmetic in double on the decoded operands; rounds only where the program
//                 converts or stores. Accumulators and lets stay double.
//   EVAL_MACHINE  the arithmetic of mach.h for one target: f32 elementwise, accumulators by the
//                 tensor-core formula in K order. fp4c run --check compares this bit for bit.
//
// Indices are clipped at the end of their dimension or group, so tails never reach a sum or a max.
// A load whose affine subscript lies outside its tensor is 0 (and is left out of a max or min), a
// store outside is dropped; a subscript that comes from the data of a const tensor must lie inside.
#ifndef FP4_COMPILER_EVAL_H
#define FP4_COMPILER_EVAL_H

#include "ast.h"
#include "mach.h"

enum { EVAL_MAX_DIMS = 6 };

// A tensor of codes in plain row-major order. data holds one code an element in
// eval_code_bytes(elem) bytes (4- and 6-bit codes in a byte of their own). scales holds one code a
// granule, row-major over the axes divided by their granules, rounded up: [..., rows,
// ceil(cols / 16)] for nvfp4. How a device packs them is the runtime's business.
typedef struct {
    const ast_format *format;
    int n_dims;
    int64_t dims[EVAL_MAX_DIMS];
    void *data;
    uint8_t *scales; // NULL for unscaled formats; f32 scales take 4 bytes each
} eval_tensor;

typedef struct {
    double f;  // float scalars
    int64_t i; // integer scalars
} eval_scalar;

typedef enum { EVAL_EXACT, EVAL_MACHINE } eval_mode;

typedef struct {
    const ast_kernel *kernel;
    const ast_schedule *schedule; // values of tparams come from its 'with'; NULL: the defaults
    const int64_t *tparams;       // by sym->id; when given, wins over schedule
    int64_t *dims;                // by sym->id, every run-time size (moe.route sets the row count)
    eval_tensor *tensors;         // by parameter id; unused for scalars. temps may have data NULL
    const eval_scalar *scalars;   // by parameter id
    eval_mode mode;
    mach_target target;           // EVAL_MACHINE, and the machine that bounds speak of
    int clusters;                 // that the device runs at once: ranges of 'split k over sms', at
                                  // most
    double **bounds;              // EVAL_EXACT: NULL, or by parameter id: NULL or one double an
                                  // element, zeroed by the caller: |machine - exact|, decoded
} eval_job;

typedef enum {
    EVAL_OK,
    EVAL_EDATA,    // offsets, indices or sizes that the program cannot be run with
    EVAL_EPROGRAM, // a construct that has no meaning here (no such instruction, more than one rank)
    EVAL_EMEMORY,
} eval_status;

typedef struct {
    eval_status status;
    ast_span at;    // the expression or statement
    char text[320]; // a sentence
} eval_error;

// The bound of an element is a running error analysis of the machine's arithmetic beside the exact:
//   a step of f32 arithmetic adds 2^-24 of its result, an approximation (exp, ...) 2^-21 (tanh 2^-11, log
//     also 2^-22)
//   a product over K adds, for each instruction step, with L terms (33, 17 or 9; 5 for FP4 groups),
//     top = the product of the rows' greatest 2^exponent and M = |acc| + sum |a b| so far,
//         L * 2^-F * max(top, M)     terms truncated at 2^-F of the greatest exponent
//       + 2^-23 * M (2^-13: Hopper FP8)  the result truncated
//   a conversion adds a unit in the last place of its type, since both sides round
//   a quantised granule: its inputs' bound + twice half the widest gap of the element type times
//     the scale + what saturates
eval_status eval_run(const eval_job *job, eval_error *err);

// Evaluates a size or condition over dims and tparams ('where', 'when', a parameter's dims).
// False if it is not an integer expression of sizes.
bool eval_size(const ast_expr *e, const int64_t *tparams, const int64_t *dims, int64_t *out);

// Tensors.
size_t eval_code_bytes(elem_kind e); // 1, 2, 4 or 8
int64_t eval_count(const eval_tensor *t);
int64_t eval_scale_count(const eval_tensor *t);
// The code of scale i (4 bytes where it is an f32).
uint32_t eval_scale_code(const eval_tensor *t, int64_t i);
void eval_set_scale_code(eval_tensor *t, int64_t i, uint32_t code);
// Number of scales along an axis.
int64_t eval_scale_dim(const eval_tensor *t, int axis);
int64_t eval_scale_index(const eval_tensor *t, const int64_t *coords);
// Allocates zeroed data and scales for format, n_dims and dims. False: out of memory.
bool eval_tensor_alloc(eval_tensor *t);
void eval_tensor_free(eval_tensor *t);
uint64_t eval_get_code(const eval_tensor *t, int64_t i);
void eval_set_code(eval_tensor *t, int64_t i, uint64_t code);
// The decoded element i (row-major) times its scale.
double eval_value(const eval_tensor *t, int64_t i);

// Fills data and scales, reproducibly for a seed: codes over the whole finite range of 4-, 6- and
// 8-bit elements, values of varied exponent (2^-6 .. 2^2) for wider ones, scales that differ from
// granule to granule within 2^-3 .. 2^3. Integers: 0 .. 7 (index tensors are the caller's to make).
void eval_random(eval_tensor *t, uint64_t seed);

// Compares a result with the exact one element by element.
typedef struct {
    double max_error;    // largest |got - exact|
    double max_bound;    // largest bound (0 without bounds)
    int64_t n_outside;   // elements whose error exceeds their bound
    int64_t first;       // row-major index of the first of them, or -1
} eval_difference;
eval_difference eval_compare(const eval_tensor *exact, const double *bound, const eval_tensor *got);
// Number of differing codes (data and scales); *first gets the row-major element of the first, or
// -1. NaN codes are compared as codes.
int64_t eval_diff_codes(const eval_tensor *a, const eval_tensor *b, int64_t *first);

#endif

// A loaded module and its kernels, as module_meta.c reads them and launch.c uses them.
// Everything is constant after loading but the fields under the context's lock.
#ifndef FP4_RUNTIME_KERNEL_H
#define FP4_RUNTIME_KERNEL_H

#include "expr.h"
#include "rt.h"

typedef struct {
    const char *name;
    fp4_param_kind kind;
    fp4_mode mode;
    fp4_format format;
    int rank;
    const rt_expr *dims[FP4_MAX_RANK];
    int align;   // bytes: 16, or 32 where a tensor map pads elements of 4 or 6 bits
    bool mapped; // a tensor map speaks of its data: rows begin at multiples of 'align' as well
} rt_param;

typedef struct {
    const rt_expr *expr;
    const char *text;
    int line;
} rt_where;

typedef enum { RT_ARG_TENSORMAP, RT_ARG_POINTER, RT_ARG_DIM, RT_ARG_SCALAR, RT_ARG_WORKSPACE } rt_arg_kind;
typedef enum { RT_I32, RT_I64, RT_F32 } rt_arg_type;

// One parameter of the PTX entry, and how to make it (module.h, ARG).
typedef struct {
    rt_arg_kind kind;
    int param;           // TENSORMAP, POINTER, SCALAR: which parameter of the kernel
    bool scale;          // TENSORMAP, POINTER: its scales, not its data
    rt_arg_type type;    // DIM, SCALAR
    const rt_expr *expr; // DIM; TENSORMAP: offset in bytes, or NULL
    uint32_t dtype, rank, swizzle;
    const rt_expr *dims[5], *strides[4];
    uint32_t box[5];
} rt_entry_arg;

typedef struct rt_tune_point rt_tune_point; // tune.c

struct fp4_kernel {
    fp4_module *module;
    const char *name, *arch, *entry;
    const rt_expr *when; // NULL: always
    const rt_expr *cost; // NULL: 0
    int n_dims;
    const char *dims[FP4_MAX_DIMS];
    int n_params;
    rt_param *params;
    int n_where;
    rt_where *where;
    int n_args;
    rt_entry_arg *args;
    uint32_t threads, smem_bytes, cluster[3];
    const rt_expr *tiles;
    bool persistent, pdl, cooperative;
    int per_sm; // thread blocks that an SM holds at once
    int64_t workspace; // bytes a thread block, 0: none
    int regs, spill_bytes, stack_bytes;
    const char *ptx; // NUL-terminated, NULL: none
    size_t ptx_bytes;
    const void *cubin;
    size_t cubin_bytes;
    rt_tune_point *points;           // measured times, linked
    rt_image *image;                 // under the lock
    _Atomic(rt_function *) function; // set once the code is on the device
};

struct fp4_module {
    fp4_ctx *ctx;
    fp4_module *next;
    rt_pool pool;
    const char *source;
    int n_kernels;
    fp4_kernel *kernels;
    bool tuned;  // some kernel has measured times
    bool costed; // some kernel has a cost
    bool streamed; // some kernel takes a workspace
};

// module_meta.c: fills source and kernels from the text of section META.
fp4_status rt_meta_read(fp4_module *module, const char *text, size_t bytes);
// module_file.c: the whole file; prefixes no name.
fp4_status rt_module_read(fp4_module *module, const uint8_t *bytes, size_t n_bytes);
// module_file.c: the module file with another TUNE section, in the pool.
fp4_status rt_module_retune(rt_pool *pool, const rt_mapping *file, const char *text, uint8_t **out,
                            size_t *n_out);

// How well a variant suits a call: the smaller the better, in this order.
typedef struct {
    float distance; // of the nearest measurement, INFINITY: none
    int64_t ns;
    int64_t cost;
} rt_rank;

// tune.c
fp4_status rt_tune_read(fp4_module *module, const char *text, size_t bytes);
void rt_tune_judge(const fp4_kernel *kernel, const int64_t *sizes, int sms, rt_rank *rank);
bool rt_rank_better(const rt_rank *a, const rt_rank *b);

typedef struct {
    bool holds;                  // its 'when', else nothing was launched
    int64_t sizes[FP4_MAX_DIMS]; // of the call
} rt_outcome;

// launch.c: this variant and no other.
fp4_status rt_launch_one(fp4_kernel *variant, const fp4_arg *args, int n_args, void *stream,
                         rt_outcome *outcome);
// The next kernel of the same name and target; NULL after the last.
fp4_kernel *rt_next_variant(const fp4_kernel *kernel);

// workspace.c: bytes that a launch needs at most, flags included; 0: none.
int64_t rt_workspace_need(const fp4_kernel *kernel);

// module.c: brings the kernel's code onto the device unless it is there.
fp4_status rt_kernel_load(fp4_kernel *kernel);

#endif

// Code generation: a role program in, PTX out. The kernel's schedule is not questioned here; a role
// program that a recipe cannot spell comes back as a sentence, never as wrong code.
#ifndef FP4_CODEGEN_CG_H
#define FP4_CODEGEN_CG_H

#include "arena.h"
#include "tir.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    bool emit_ir;  // also keep the LLVM IR before its passes
    bool no_ptx;   // stop after the IR
    bool shallow;  // spend fewer registers: what to try when ptxas spilled
} cg_options;

typedef struct {
    const char *ptx; // lives in the arena
    size_t ptx_len;
    const char *ir;  // with emit_ir
    size_t ir_len;
    const char *code; // code of the refusal ("X101"), with a non-NULL return
} cg_result;

// NULL for success or a sentence that lives in the arena.
const char *cg_compile(const tir_kernel *k, const cg_options *opt, arena *mem, cg_result *out);

#endif

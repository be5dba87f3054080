// Test support: a .tk text through the whole compiler, in memory.
#ifndef FP4_TESTS_CODEGEN_TK_H
#define FP4_TESTS_CODEGEN_TK_H

#include "artefact.h"
#include "cg.h"

typedef struct {
    tir_kernel *kernel;
    const char *ptx;
    size_t ptx_len;
    bool assembled;      // ptxas was found and ran
    ptxas_result report; // if so
    module_image module;
} tk_artefact;

// The first kernel of the text, for its first schedule on 'arch'. NULL for success or what went
// wrong: a diagnostic of the front end or the planner, or a sentence of code generation or ptxas.
const char *tk_compile(const char *text, const char *arch, arena *mem, tk_artefact *out);
// From out->kernel on.
const char *tk_build(const char *arch, arena *mem, tk_artefact *out);
// As far as the role program; NULL with *why otherwise.
tir_kernel *tk_plan(const char *text, const char *arch, arena *mem, const char **why);

#endif

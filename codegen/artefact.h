// From PTX to files: ptxas as a child process, the metadata of a kernel as JSON, the module file.
//
// All functions return NULL for success or a sentence that lives in the arena given.
#ifndef FP4_CODEGEN_ARTEFACT_H
#define FP4_CODEGEN_ARTEFACT_H

#include "arena.h"
#include "tir.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FP4C_VERSION "0.1.0"

// ---- ptxas.c ------------------------------------------------------------------------------------

typedef struct {
    const char *program; // NULL: $FP4_PTXAS, then the PATH, then $CUDA_HOME/bin and $CUDA_PATH/bin,
                         // then where the build found it
    const char *arch;    // "sm_100a"
    const char *entry;   // kernel whose numbers are reported
    const char *ptx;
    size_t ptx_len;
    bool allow_spills; // otherwise spills and stack use are a failure
} ptxas_job;

typedef struct {
    void *cubin;
    size_t cubin_len;
    int regs, stack, spill_stores, spill_loads, barriers;
    int short_of; // > 0: ptxas gave up, an instruction needs more registers than these of the launch
    const char *log; // everything that ptxas said
} ptxas_result;

const char *ptxas_run(const ptxas_job *job, ptxas_result *out, arena *mem);
// Path of the program that a job without 'program' would run; NULL if there is none.
const char *ptxas_find(arena *mem);
// Reads the numbers of 'entry' from what 'ptxas -v' printed, and refuses the messages that mean a
// kernel is not what was asked for. Part of ptxas_run; public for its tests.
const char *ptxas_read_log(const ptxas_job *job, ptxas_result *out, arena *mem);

// ---- meta.c -------------------------------------------------------------------------------------

// The object of one kernel in "kernels" of module.h. report: NULL if ptxas was not run.
const char *meta_kernel(const tir_kernel *k, const ptxas_result *report, arena *mem,
                        const char **json);

// ---- module.c -----------------------------------------------------------------------------------

typedef struct {
    const char *meta; // from meta_kernel
    const char *ptx;
    size_t ptx_len;
    const void *cubin; // NULL: none
    size_t cubin_len;
} module_kernel;

typedef struct {
    const char *name; // of the source file
    const char *tune; // section TUNE, NULL: none
} module_source;

// Names a kernel's code in .tune files.
uint64_t module_code_hash(const char *ptx, size_t len);

typedef struct {
    unsigned char *bytes;
    size_t len;
} module_image;

// The bytes of a module: the same kernels give the same bytes.
const char *module_build(const module_source *source, const module_kernel *kernels, int n, arena *mem,
                         module_image *out);
// Writes a file whole or not at all: a temporary file beside it is renamed over it.
const char *module_write(const char *path, const void *bytes, size_t len, arena *mem);

#endif

// What the emitters of C share: names that C can take, templates, documentation, words of data.
#ifndef FP4_CODEGEN_EMIT_INT_H
#define FP4_CODEGEN_EMIT_INT_H

#include "emit.h"

// ---- emit_text.c --------------------------------------------------------------------------------

typedef struct {
    const char *key;
    const char *value; // NULL: not set
} emit_slot;

typedef struct {
    const emit_job *job;
    const char *prefix; // the stem as an identifier
    const char *upper;  // the same in capitals
    int n_slots;
    emit_slot slots[64];
} emit_text;

// Sets the slots that every template knows: P, U (upper case), STEM, SOURCE, VERSION.
void emit_begin(emit_text *t, const emit_job *job);
void emit_set(emit_text *t, const char *key, const char *value);
// Copies a template: @KEY@ is replaced by the slot's value; lines between '@@if KEY' and '@@end'
// are there when the slot is set. An '@' that encloses no key stays.
void emit_template(const emit_text *t, const char *text, FILE *out);
// 'words' as lines of 64-bit numbers, little-endian, filled up with 0.
void emit_words(FILE *out, const void *bytes, size_t len);

// A stream into arena memory: emit_open, print, emit_close gives the text.
typedef struct {
    FILE *out;
    char *text;
    size_t len;
} emit_buffer;

FILE *emit_open(emit_buffer *b);
const char *emit_close(emit_buffer *b, arena *mem);

// ---- emit_name.c --------------------------------------------------------------------------------

// The names of one kernel in C: no keyword, no name of the templates, each once.
typedef struct {
    const char **dims;
    const char **params;
    const char **pitch; // per parameter: a local for its pitch
    const char **sf;    // and for the bytes of its scales
} emit_names;

emit_names emit_names_of(const tir_kernel *k, arena *mem);
const char *emit_identifier(const char *text, arena *mem);
// "gemm_nvfp4_gemm": the C function of a kernel.
const char *emit_function(const char *prefix, const tir_kernel *k, arena *mem);
// A size as the language writes it.
void emit_size_text(FILE *out, const tir_kernel *k, const tir_size *s);
// First kernel of each name in the job, in order; the others are its variants.
bool emit_is_first(const emit_job *job, int index);
// Whether no tensor's axis is this size alone, so that the caller has to give it.
bool emit_dim_is_free(const tir_kernel *k, int dim);
// Whether a tensor map of several axes speaks of the data: rows begin at multiples of 16 bytes.
bool emit_is_mapped(const tir_kernel *k, int param);

// ---- emit_doc.c ---------------------------------------------------------------------------------

// What a kernel takes, as a comment: formats, shapes, layouts, alignment, clauses, variants.
void emit_doc(FILE *out, const emit_job *job, const tir_kernel *k);
// "int gemm_k(const gemm_kernels *kernels, const fp4_tensor *A, ..., void *stream)"
void emit_prototype(FILE *out, const emit_text *t, const tir_kernel *k);
// Prototypes of all kernels with their comments.
const char *emit_interface(const emit_text *t);

// ---- emit_driver.c ------------------------------------------------------------------------------

const char *emit_driver_c(emit_text *t, FILE *out);

#endif

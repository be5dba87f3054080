// Reading .gguf files, version 2 and 3: names, types, shapes and bytes of tensors, and the
// metadata; nothing is copied.
//
// Every promise of the header is checked before a tensor is given out: known types, rows of whole
// blocks, tensors that follow each other without a hole inside the file. Statuses and
// fp4_last_error() as in fp4rt.h.
#ifndef FP4_GGUF_H
#define FP4_GGUF_H

#include "fp4rt.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FP4_GGUF_MAX_RANK = 4 };

typedef struct fp4_gguf fp4_gguf;

typedef struct fp4_gguf_tensor {
    uint32_t size;
    const char *name;
    const char *type;  // ggml's: "NVFP4", "Q4_K"
    fp4_format format; // "NVFP4" and "MXFP4": layout gguf; elem FP4_ELEM_NONE where we have none
    int32_t rank;
    int64_t dims[FP4_GGUF_MAX_RANK]; // elements, outermost first: ggml's in reverse
    const void *data;                // valid until the file is closed
    int64_t bytes;
} fp4_gguf_tensor;

// config: only its allocator is used; NULL: the C library's. The bytes stay the caller's and must
// outlive the object.
FP4_API fp4_status fp4_gguf_open_memory(const fp4_config *config, const void *bytes, size_t n_bytes,
                                        fp4_gguf **out);
// Maps the file; it must not be changed while it is open.
FP4_API fp4_status fp4_gguf_open_file(const fp4_config *config, const char *path, fp4_gguf **out);
FP4_API void fp4_gguf_close(fp4_gguf *file); // NULL is allowed

FP4_API int fp4_gguf_count(const fp4_gguf *file);
// By position, in the order of the file.
FP4_API fp4_status fp4_gguf_at(const fp4_gguf *file, int index, fp4_gguf_tensor *out);
FP4_API fp4_status fp4_gguf_find(const fp4_gguf *file, const char *name, fp4_gguf_tensor *out);
FP4_SIZED(fp4_gguf_tensor)
#define fp4_gguf_at(file, index, out) fp4_gguf_at((file), (index), fp4_gguf_tensor_sized(out))
#define fp4_gguf_find(file, name, out) fp4_gguf_find((file), (name), fp4_gguf_tensor_sized(out))
// The tensor's bytes as a host tensor, which only reads them: for fp4_tensor_import,
// fp4_host_decode and fp4_host_repack. Its global scale is a tensor of its own ("x.scale" beside
// "x.weight"), to be multiplied.
FP4_API fp4_status fp4_gguf_host(const fp4_gguf_tensor *tensor, fp4_host *host);

// Metadata of one key: a text, which does not end with a 0; a number or truth value.
FP4_API fp4_status fp4_gguf_text(const fp4_gguf *file, const char *key, const char **text,
                                 size_t *n_bytes);
FP4_API fp4_status fp4_gguf_number(const fp4_gguf *file, const char *key, double *value);

#ifdef __cplusplus
}
#endif

#endif

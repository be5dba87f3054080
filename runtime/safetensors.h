// Reading .safetensors files: names, types, shapes and the bytes of tensors, nothing copied.
//
// The format: 8 bytes little-endian header length, a JSON object, the data. Every promise of the
// header is checked before a tensor is given out: known types, shapes that match their bytes, and
// offsets that tile the data without a hole or an overlap. Statuses and fp4_last_error() as in
// fp4rt.h.
#ifndef FP4_SAFETENSORS_H
#define FP4_SAFETENSORS_H

#include "fp4rt.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { FP4_SAFETENSORS_MAX_RANK = 8 };

typedef struct fp4_safetensors fp4_safetensors;

typedef struct fp4_safetensor {
    uint32_t size;
    const char *name;
    const char *dtype; // as in the file: "F4", "F8_E4M3", "BF16", ...
    fp4_elem elem;     // of "F4" e2m1, "F8_E8M0" ue8m0 and so on; FP4_ELEM_NONE where there is none
    int32_t rank;
    int64_t dims[FP4_SAFETENSORS_MAX_RANK]; // elements; of "F4" too, two to a byte
    const void *data;                       // valid until the file is closed
    int64_t bytes;
} fp4_safetensor;

// config: only its allocator is used; NULL: the C library's. The bytes stay the caller's and must
// outlive the object.
FP4_API fp4_status fp4_safetensors_open_memory(const fp4_config *config, const void *bytes,
                                               size_t n_bytes, fp4_safetensors **out);
// Maps the file; it must not be changed while it is open. A path that ends in ".json" is the index
// of a checkpoint in several files ("model.safetensors.index.json"): all tensors of the files that
// its "weight_map" names, which lie beside it.
FP4_API fp4_status fp4_safetensors_open_file(const fp4_config *config, const char *path,
                                             fp4_safetensors **out);
FP4_API void fp4_safetensors_close(fp4_safetensors *file); // NULL is allowed

FP4_API int fp4_safetensors_count(const fp4_safetensors *file);
// By position, in the order of the data, file after file.
FP4_API fp4_status fp4_safetensors_at(const fp4_safetensors *file, int index, fp4_safetensor *out);
FP4_API fp4_status fp4_safetensors_find(const fp4_safetensors *file, const char *name,
                                        fp4_safetensor *out);
FP4_SIZED(fp4_safetensor)
#define fp4_safetensors_at(file, index, out)                                                       \
    fp4_safetensors_at((file), (index), fp4_safetensor_sized(out))
#define fp4_safetensors_find(file, name, out)                                                      \
    fp4_safetensors_find((file), (name), fp4_safetensor_sized(out))
// A text of "__metadata__" (of an index, of its first file's); NULL when there is none of that key.
FP4_API const char *fp4_safetensors_metadata(const fp4_safetensors *file, const char *key);

#ifdef __cplusplus
}
#endif

#endif

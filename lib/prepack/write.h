// Writes a .safetensors file piece by piece, for fp4-prepack: first all names, types and shapes, then the bytes,
// in any order. The file has its name only when it is whole: until then it is called otherwise beside it.
#ifndef FP4_PREPACK_WRITE_H
#define FP4_PREPACK_WRITE_H

#include "fp4rt.h"

typedef struct out_file out_file;

typedef struct {
    const char *name, *dtype;
    int rank;
    int64_t dims[8];
    int64_t bytes;
} out_tensor;

// The order of tensors is that of 'tensors', which is sorted by the size of elements before, so that each lies
// where its elements can be read in place. 'path' must live until the file is closed.
fp4_status out_open(const char *path, const out_tensor *tensors, int n, out_file **out);
fp4_status out_write(out_file *f, int tensor, const void *bytes);
// Gives the file its name, or removes it.
fp4_status out_close(out_file *f, int whole);

#endif

// Module files made by hand, after runtime/module.h and with nothing of the runtime's reader.
#ifndef FP4_TESTS_SAMPLE_H
#define FP4_TESTS_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t kind, index;
    const void *bytes;
    size_t n_bytes;
} sample_section;

typedef struct {
    uint8_t *bytes; // from malloc
    size_t n_bytes;
} sample_file;

sample_file sample_write(const sample_section *sections, int n);
// Sets the header's checksum to what the bytes give.
void sample_seal(sample_file *file);
// One kernel: META text and PTX text.
sample_file sample_of(const char *meta, const char *ptx);
// Text with the first 'old' replaced by 'new', from malloc; fails the test when 'old' is not there.
char *sample_replace(const char *text, const char *old, const char *new);

// META of gemm.tk's kernel for sm_100a, as fp4c writes it.
extern const char sample_gemm_meta[];
extern const char sample_gemm_ptx[];

#endif

// Formats and shapes, checked; for the other files of the runtime.
#ifndef FP4_RUNTIME_FORMAT_H
#define FP4_RUNTIME_FORMAT_H

#include "rt.h"

// Whether the format can be stored: known elements, positive granule, a layout that takes them.
fp4_status rt_format_check(const fp4_format *format);
bool rt_format_equal(const fp4_format *a, const fp4_format *b);
bool rt_format_scaled(const fp4_format *format);
// Plain elements whose matrices lie in a layout of their own, not row by row.
bool rt_format_laid(const fp4_format *format);
// Whether elements of that many bits can lie in the layout.
bool rt_layout_holds(fp4_sf_layout layout, int bits);
// Elements and bytes of one of ggml's blocks of this format; false when ggml has none.
bool rt_gguf_block(const fp4_format *format, int64_t *elems, int64_t *bytes);
// The host tensor's struct, format, sizes and memory; 'function' begins the sentence.
fp4_status rt_host_check(const fp4_host *host, const char *function, fp4_storage *storage);
// "nvfp4 @ sf8x4": the name, and the layout when it has one.
const char *rt_format_text(const fp4_format *format, char buffer[FP4_MAX_NAME]);

#endif

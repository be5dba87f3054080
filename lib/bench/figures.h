// Options of fp4-bench, and its figures: medians, floors, the table, the JSON.
#ifndef FP4_BENCH_FIGURES_H
#define FP4_BENCH_FIGURES_H

#include "fp4rt.h"

#include <stdbool.h>

enum { BENCH_MAX_SHAPES = 256, BENCH_MAX_RESULTS = 128 };

typedef struct {
    int64_t m, n, k;
} bench_shape;

typedef struct {
    const char *device, *cublas, *json, *svg;
    const char *clean; // module that reads a matrix after each flush, or NULL
    int rounds, flush_mib;
    double tbs, tflops; // of the floor
    bool fast;          // cuBLASLt accumulates without promotion
    bool each;          // every schedule of a kernel by itself
    const char *tune;   // file for measured times, or NULL
    int n_shapes;
    bench_shape shapes[BENCH_MAX_SHAPES];
} bench_options;

// Returns the number of the first module among the arguments, or -1 after a message.
int options_read(int argc, char **argv, bench_options *out);

typedef struct {
    double median, low, high; // us; percentiles 10 and 90
} bench_time;

typedef struct {
    const char *label;
    bench_time time, reference; // the reference timed in the same rounds
    double distance;            // of the results from the reference's
    int64_t bytes;
} bench_result;

typedef struct {
    bench_shape shape;
    char refused[256]; // by the reference, or ""
    int n;
    bench_result results[BENCH_MAX_RESULTS];
} bench_row;

void figures_add(bench_row *row, const char *label, double *us, int rounds, int64_t bytes);
// The reference does not do this shape: why; NULL: it does.
void figures_refused(bench_row *row, const char *why);
// Of the result added last.
void figures_reference(bench_row *row, double *us, int rounds, double distance);
void figures_head(const bench_options *opt, const fp4_device_info *info);
void figures_print(const bench_options *opt, const bench_row *row);
// Some row's results are further from the reference's than sums in another order.
bool figures_differ(const bench_row *rows, int n);
void figures_means(const bench_row *rows, int n);
bool figures_svg(const bench_options *opt, const fp4_device_info *info, const bench_row *rows, int n);
bool figures_json(const bench_options *opt, const fp4_device_info *info, const bench_row *rows, int n);

#endif

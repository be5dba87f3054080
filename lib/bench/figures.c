// What fp4-bench reads from its command line and what it writes. See figures.h.
#include "figures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// --- Options ---------------------------------------------------------------------------------------

static bool add_shape(bench_options *o, const char *text, const char *form) {
    long long m, n, k;
    if (o->n_shapes == BENCH_MAX_SHAPES || sscanf(text, form, &m, &n, &k) != 3 || m < 1 || n < 1 || k < 1) {
        fprintf(stderr, "fp4-bench: no shape M N K: %s\n", text);
        return false;
    }
    o->shapes[o->n_shapes++] = (bench_shape){m, n, k};
    return true;
}

static bool read_shapes(bench_options *o, const char *path) {
    FILE *f = fopen(path, "r");
    char line[256];
    bool ok = f != NULL;
    if (!ok) {
        fprintf(stderr, "fp4-bench: '%s' cannot be read\n", path);
    }
    while (ok && fgets(line, sizeof line, f)) {
        if (line[0] != '#' && line[0] != '\n') {
            ok = add_shape(o, line, "%lld %lld %lld");
        }
    }
    if (f) {
        fclose(f);
    }
    return ok;
}

static bool read_option(bench_options *o, const char *name, const char *value) {
    if (strcmp(name, "--shapes") == 0) {
        return read_shapes(o, value);
    }
    if (strcmp(name, "--shape") == 0) {
        return add_shape(o, value, "%lldx%lldx%lld");
    }
    if (strcmp(name, "--device") == 0) {
        o->device = value;
    } else if (strcmp(name, "--cublas") == 0) {
        o->cublas = value;
    } else if (strcmp(name, "--json") == 0) {
        o->json = value;
    } else if (strcmp(name, "--svg") == 0) {
        o->svg = value;
    } else if (strcmp(name, "--clean") == 0) {
        o->clean = value;
    } else if (strcmp(name, "--rounds") == 0) {
        o->rounds = atoi(value);
    } else if (strcmp(name, "--flush") == 0) {
        o->flush_mib = atoi(value);
    } else if (strcmp(name, "--tbs") == 0) {
        o->tbs = atof(value);
    } else if (strcmp(name, "--tflops") == 0) {
        o->tflops = atof(value);
    } else if (strcmp(name, "--each") == 0) {
        o->each = atoi(value) != 0;
    } else if (strcmp(name, "--tune") == 0) {
        o->tune = value;
        o->each = true;
    } else if (strcmp(name, "--fast") == 0) {
        o->fast = atoi(value) != 0;
    } else {
        fprintf(stderr, "fp4-bench: unknown option %s\n", name);
        return false;
    }
    return true;
}

int options_read(int argc, char **argv, bench_options *o) {
    *o = (bench_options){.device = "cuda:0", .rounds = 20, .flush_mib = 256, .tbs = 4.2, .tflops = 1979,
                         .fast = true};
    int at = 1;
    while (at + 1 < argc && strncmp(argv[at], "--", 2) == 0) {
        if (!read_option(o, argv[at], argv[at + 1])) {
            return -1;
        }
        at += 2;
    }
    if (at >= argc || o->n_shapes == 0 || o->rounds < 1 || o->rounds > 1000) {
        fprintf(stderr, "usage: fp4-bench [--shapes FILE | --shape MxNxK] [--json FILE] ... MODULE.tkm ...\n");
        return -1;
    }
    return at;
}

// --- Figures ---------------------------------------------------------------------------------------

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bench_time time_of(double *us, int n) {
    qsort(us, (size_t)n, sizeof *us, by_value);
    return (bench_time){us[n / 2], us[n / 10], us[n - 1 - n / 10]};
}

void figures_add(bench_row *row, const char *label, double *us, int rounds, int64_t bytes) {
    if (row->n < BENCH_MAX_RESULTS) {
        row->results[row->n++] = (bench_result){.label = label, .time = time_of(us, rounds), .bytes = bytes};
    }
}

void figures_refused(bench_row *row, const char *why) {
    snprintf(row->refused, sizeof row->refused, "%s", why ? why : "");
}

void figures_reference(bench_row *row, double *us, int rounds, double distance) {
    bench_result *r = &row->results[row->n - 1];
    r->reference = time_of(us, rounds);
    r->distance = distance;
}

static const bench_result *best_of(const bench_row *row) {
    const bench_result *best = row->n > 0 ? &row->results[0] : NULL;
    for (int i = 1; i < row->n; i++) {
        best = row->results[i].time.median < best->time.median ? &row->results[i] : best;
    }
    return best;
}

// The fastest the reference was beside any contestant's runs: its times differ by noise alone.
static double reference_of(const bench_row *row) {
    double least = 0;
    for (int i = 0; i < row->n; i++) {
        double t = row->results[i].reference.median;
        least = least == 0 || (t > 0 && t < least) ? t : least;
    }
    return least;
}

static double operations(const bench_shape *s) {
    return 2.0 * (double)s->m * (double)s->n * (double)s->k;
}

static double floor_of(const bench_options *o, const bench_shape *s, int64_t bytes) {
    return fmax((double)bytes / o->tbs * 1e-6, operations(s) / o->tflops * 1e-6);
}

// FP8 sums of many terms are cut to 13 fraction bits in another order: some percent where they cancel.
static bool is_far(const bench_result *r) {
    return r->distance > 0.2 || isnan(r->distance);
}

bool figures_differ(const bench_row *rows, int n) {
    bool differ = false;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < rows[i].n; j++) {
            differ |= is_far(&rows[i].results[j]);
        }
    }
    return differ;
}

void figures_head(const bench_options *opt, const fp4_device_info *info) {
    printf("%s, %d SMs; medians of %d rounds, L2 flushed%s; floor: %.2f TB/s, %.0f TFLOP/s\n", info->name,
           info->n_sms, opt->rounds, opt->clean ? " and read" : "", opt->tbs, opt->tflops);
    printf("%6s %6s %6s %9s %17s %8s %7s %6s %9s %6s  %s\n", "M", "N", "K", "us", "10%..90%", "TFLOP/s", "GB/s",
           "floor", "cuBLASLt", "ratio", "kernel");
}

void figures_print(const bench_options *opt, const bench_row *row) {
    const bench_result *r = best_of(row);
    const bench_shape *s = &row->shape;
    if (!r) {
        printf("%6lld %6lld %6lld   no kernel admits it\n", (long long)s->m, (long long)s->n, (long long)s->k);
        return;
    }
    double theirs = reference_of(row), us = r->time.median;
    printf("%6lld %6lld %6lld %9.2f %8.2f %8.2f %8.0f %7.0f %5.0f%% ", (long long)s->m, (long long)s->n,
           (long long)s->k, us, r->time.low, r->time.high, operations(s) / us * 1e-6,
           (double)r->bytes / us * 1e-3, 100 * floor_of(opt, s, r->bytes) / us);
    if (theirs > 0) {
        printf("%9.2f %6.2f", theirs, theirs / us);
    } else {
        printf("%9s %6s", "-", "-");
    }
    printf("  %s%s\n", r->label, is_far(r) ? "  RESULTS DIFFER" : "");
    if (row->refused[0]) {
        printf("%20s %s\n", "", row->refused);
    }
    fflush(stdout);
}

// Geometric means of the ratio to the reference: the whole list, and each M.
static void mean(const bench_row *rows, int n, int64_t m) {
    double sum = 0, least = INFINITY;
    int count = 0;
    for (int i = 0; i < n; i++) {
        const bench_result *r = best_of(&rows[i]);
        double theirs = reference_of(&rows[i]);
        if (r && theirs > 0 && (m == 0 || rows[i].shape.m == m)) {
            sum += log(theirs / r->time.median);
            least = fmin(least, theirs / r->time.median);
            count++;
        }
    }
    if (count > 0 && m == 0) {
        printf("all %d shapes: geometric mean of the ratio %.3f, least %.3f\n", count, exp(sum / count), least);
    } else if (count > 0) {
        printf("M = %lld, %d shapes: geometric mean of the ratio %.3f, least %.3f\n", (long long)m, count,
               exp(sum / count), least);
    }
}

void figures_means(const bench_row *rows, int n) {
    for (int i = 0; i < n; i++) {
        bool seen = false;
        for (int j = 0; j < i; j++) {
            seen |= rows[j].shape.m == rows[i].shape.m;
        }
        if (!seen) {
            mean(rows, n, rows[i].shape.m);
        }
    }
    mean(rows, n, 0);
}

static void json_result(FILE *f, const bench_options *o, const bench_row *row, const bench_result *r) {
    fprintf(f, "      {\"kernel\": \"%s\", \"us\": %.3f, \"us_10\": %.3f, \"us_90\": %.3f, \"tflops\": %.2f, "
               "\"gbs\": %.1f, \"floor_us\": %.3f",
            r->label, r->time.median, r->time.low, r->time.high,
            operations(&row->shape) / r->time.median * 1e-6, (double)r->bytes / r->time.median * 1e-3,
            floor_of(o, &row->shape, r->bytes));
    if (r->reference.median > 0) {
        fprintf(f, ", \"cublaslt_us\": %.3f, \"cublaslt_us_10\": %.3f, \"cublaslt_us_90\": %.3f, "
                   "\"ratio\": %.4f, \"distance\": %.2e",
                r->reference.median, r->reference.low, r->reference.high,
                r->reference.median / r->time.median, r->distance);
    }
    fprintf(f, "}");
}

bool figures_json(const bench_options *o, const fp4_device_info *info, const bench_row *rows, int n) {
    FILE *f = fopen(o->json, "w");
    if (!f) {
        fprintf(stderr, "fp4-bench: '%s' cannot be written\n", o->json);
        return false;
    }
    char date[32] = "";
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(date, sizeof date, "%Y-%m-%d", &utc);
    fprintf(f, "{\n  \"machine\": \"%s\", \"sms\": %d, \"date\": \"%s\", \"rounds\": %d, \"flush_mib\": %d, "
               "\"clean\": %s,\n  \"floor\": {\"tbs\": %.3f, \"tflops\": %.0f}, \"cublaslt_fast\": %s,\n  \"shapes\": [\n",
            info->name, info->n_sms, date, o->rounds, o->flush_mib, o->clean ? "true" : "false",
            o->tbs, o->tflops, o->fast ? "true" : "false");
    for (int i = 0; i < n; i++) {
        const bench_shape *s = &rows[i].shape;
        fprintf(f, "    {\"m\": %lld, \"n\": %lld, \"k\": %lld, \"results\": [\n", (long long)s->m,
                (long long)s->n, (long long)s->k);
        for (int j = 0; j < rows[i].n; j++) {
            json_result(f, o, &rows[i], &rows[i].results[j]);
            fprintf(f, "%s\n", j + 1 < rows[i].n ? "," : "");
        }
        fprintf(f, "    ]");
        if (rows[i].refused[0]) {
            fprintf(f, ", \"cublaslt_refused\": \"%s\"", rows[i].refused);
        }
        fprintf(f, "}%s\n", i + 1 < n ? "," : "");
    }
    fprintf(f, "  ]\n}\n");
    return fclose(f) == 0;
}

// --- Plot ------------------------------------------------------------------------------------------

enum { BAR = 18, LEFT = 170, WIDTH = 760, TOP = 40 };

// One bar a shape: the share of the floor that was reached; a mark where cuBLASLt stands.
static void svg_row(FILE *f, const bench_options *o, const bench_row *row, int number) {
    const bench_result *r = best_of(row);
    const bench_shape *s = &row->shape;
    int y = TOP + number * (BAR + 6);
    double scale = WIDTH - LEFT - 60;
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%lld x %lld x %lld</text>\n", LEFT - 8, y + BAR - 5,
            (long long)s->m, (long long)s->n, (long long)s->k);
    if (!r) {
        return;
    }
    double floor = floor_of(o, s, r->bytes), ours = floor / r->time.median, theirs = reference_of(row);
    fprintf(f, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"#4878a8\"/>\n", LEFT, y, ours * scale,
            BAR);
    if (theirs > 0) {
        fprintf(f, "<rect x=\"%.1f\" y=\"%d\" width=\"3\" height=\"%d\" fill=\"#c04020\"/>\n",
                LEFT + floor / theirs * scale, y - 2, BAR + 4);
    }
    fprintf(f, "<text x=\"%.1f\" y=\"%d\">%.1f us</text>\n", LEFT + fmax(ours, theirs > 0 ? floor / theirs : 0) * scale + 8,
            y + BAR - 5, r->time.median);
}

bool figures_svg(const bench_options *o, const fp4_device_info *info, const bench_row *rows, int n) {
    FILE *f = fopen(o->svg, "w");
    if (!f) {
        fprintf(stderr, "fp4-bench: '%s' cannot be written\n", o->svg);
        return false;
    }
    fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
               "font-size=\"12\">\n<text x=\"8\" y=\"20\">%s: share of the floor (%.1f TB/s, %.0f TFLOP/s), M x N x K; "
               "red: cuBLASLt</text>\n", WIDTH, TOP + n * (BAR + 6) + 10, info->name, o->tbs, o->tflops);
    for (int i = 0; i < n; i++) {
        svg_row(f, o, &rows[i], i);
    }
    fprintf(f, "</svg>\n");
    return fclose(f) == 0;
}

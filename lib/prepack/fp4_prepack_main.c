// fp4-prepack: the weights of a checkpoint in the kernels' layouts, once and for all.
//
//   fp4-prepack [--rest] [--quiet] INPUT OUTPUT [LAYER...]     (-- ends the options)
//   fp4-prepack --list INPUT
//
// INPUT is a .safetensors or .gguf file (told by its first bytes), or the .json index of a checkpoint in several
// files; OUTPUT a .safetensors file. Each layer becomes
// LAYER.fp4_data (elements, row by row, the even one of a byte low), LAYER.fp4_scale (128 x 4 tiles, f32 scales
// linear; [matrices, bytes]) and LAYER.fp4_global (the factor of its numbers): fp4_prepack() imports them as
// they are. Without LAYERs all that are known, and what looks like a part of one whose other parts are not there
// is refused; --rest takes along what belongs to no layer, unchanged, and that too.
//
// Everything is checked before OUTPUT is made, and it has its name only when it is whole. Exit: 0; 1 if the
// input is refused or a file cannot be read or written, with a sentence; 2 for a wrong call.
#include "fp4_prepack.h"
#include "prepack_names.h"
#include "write.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    bool list, rest, quiet;
    const char *input, *output;
    char **layers;
    int n_layers;
} options;

typedef enum { PART_GLOBAL, PART_SCALE, PART_DATA, PART_REST } part_kind;

// A layer on its way.
typedef struct {
    char name[FP4_PREPACK_NAME];
    fp4_prepack_layer in;
    fp4_format format; // as the kernels read it
    fp4_storage storage;
    int at[PART_REST]; // its three tensors among the parts
} layer;

typedef struct {
    part_kind kind;
    int layer; // PART_REST: -1
    int elem_bytes;
    const void *bytes; // PART_REST
    char name[FP4_PREPACK_NAME + 16];
    out_tensor out;
} part;

typedef struct {
    options o;
    fp4_safetensors *safetensors;
    fp4_gguf *gguf; // one of the two
    layer *layers;
    int n_layers;
    part *parts;
    int n_parts;
} job;

// --- The file ------------------------------------------------------------------------------------

static bool said(const job *j, fp4_status status) {
    if (status != FP4_OK) {
        fprintf(stderr, "fp4-prepack: %s: %s\n", j->o.input, fp4_last_error());
    }
    return status == FP4_OK;
}

static bool open_input(job *j) {
    char magic[4] = {0};
    FILE *f = fopen(j->o.input, "rb");
    bool gguf = f && fread(magic, 1, sizeof magic, f) == sizeof magic && memcmp(magic, "GGUF", 4) == 0;
    if (f) {
        fclose(f);
    }
    fp4_status status = gguf ? fp4_gguf_open_file(NULL, j->o.input, &j->gguf)
                             : fp4_safetensors_open_file(NULL, j->o.input, &j->safetensors);
    if (status != FP4_OK) { // the readers name the file themselves
        fprintf(stderr, "fp4-prepack: %s\n", fp4_last_error());
    }
    return status == FP4_OK;
}

static int count(const job *j) {
    return j->gguf ? fp4_gguf_count(j->gguf) : fp4_safetensors_count(j->safetensors);
}

static fp4_status part_of(const job *j, int index, char *name, int *is_data) {
    return j->gguf ? fp4_prepack_part_gguf(j->gguf, index, name, is_data)
                   : fp4_prepack_part(j->safetensors, index, name, is_data);
}

static fp4_status find(const job *j, const char *name, fp4_prepack_layer *out) {
    return j->gguf ? fp4_prepack_find_gguf(j->gguf, name, out) : fp4_prepack_find(j->safetensors, name, out);
}

// --- What is to be written -----------------------------------------------------------------------

static bool add_layer(job *j, const char *name) {
    layer *l = &j->layers[j->n_layers];
    if (strlen(name) >= sizeof l->name) {
        fprintf(stderr, "fp4-prepack: a layer's name has at most %d bytes\n", FP4_PREPACK_NAME - 1);
        return false;
    }
    memcpy(l->name, name, strlen(name) + 1);
    if (!said(j, find(j, name, &l->in))) {
        return false;
    }
    l->format = l->in.host.format;
    l->format.layout = l->format.scale == FP4_ELEM_F32 ? FP4_SF_LINEAR : FP4_SF_128X4;
    l->storage = (fp4_storage){.size = sizeof l->storage};
    j->n_layers++;
    return said(j, fp4_storage_of(&l->format, l->in.host.rank, l->in.host.dims, 0, &l->storage));
}

static bool find_layers(job *j) {
    int n = count(j);
    char name[FP4_PREPACK_NAME];
    int is_data;
    for (int i = 0; i < j->o.n_layers; i++) {
        for (int k = 0; k < i; k++) {
            if (strcmp(j->o.layers[i], j->o.layers[k]) == 0) {
                fprintf(stderr, "fp4-prepack: layer '%s' is named twice\n", j->o.layers[i]);
                return false;
            }
        }
        if (!add_layer(j, j->o.layers[i])) {
            return false;
        }
    }
    for (int i = 0; i < n && j->o.n_layers == 0; i++) {
        fp4_status status = part_of(j, i, name, &is_data);
        if (status == FP4_ERROR_MISMATCH && !j->o.list && !j->o.rest) {
            fprintf(stderr, "fp4-prepack: %s: %s; name the LAYERs to be written, or take it along with --rest\n",
                    j->o.input, fp4_last_error());
            return false;
        }
        if (status == FP4_OK && is_data && !add_layer(j, name)) {
            return false;
        }
    }
    if (j->n_layers == 0) {
        fprintf(stderr, "fp4-prepack: %s: none of its %d tensors is the weight of a layer in a layout that is known\n",
                j->o.input, n);
    }
    return j->n_layers > 0;
}

static part *new_part(job *j, part_kind kind, const char *name, const char *ending, const char *dtype) {
    part *p = &j->parts[j->n_parts++];
    *p = (part){.kind = kind, .layer = -1};
    snprintf(p->name, sizeof p->name, "%s%s", name, ending);
    p->out = (out_tensor){.name = p->name, .dtype = dtype};
    return p;
}

static void plan_layer(job *j, int number) {
    const layer *l = &j->layers[number];
    const fp4_format *f = &l->format;
    bool wide = f->scale == FP4_ELEM_F32;
    part *p = new_part(j, PART_GLOBAL, l->name, FP4_PREPACK_GLOBAL, "F32");
    p->layer = number;
    p->elem_bytes = 4;
    p->out.bytes = 4;
    p = new_part(j, PART_SCALE, l->name, FP4_PREPACK_SCALE,
                 wide ? "F32" : f->scale == FP4_ELEM_UE8M0 ? "F8_E8M0" : "F8_E4M3");
    p->layer = number;
    p->elem_bytes = wide ? 4 : 1;
    p->out.rank = 2;
    p->out.dims[0] = l->storage.n_matrices;
    p->out.dims[1] = l->storage.scale_matrix_bytes / p->elem_bytes;
    p->out.bytes = l->storage.scale_bytes;
    p = new_part(j, PART_DATA, l->name, FP4_PREPACK_DATA, f->elem == FP4_ELEM_E2M1 ? "F4" : "F8_E4M3");
    p->layer = number;
    p->elem_bytes = 1;
    p->out.rank = l->in.host.rank;
    memcpy(p->out.dims, l->in.host.dims, sizeof l->in.host.dims);
    p->out.bytes = l->storage.data_bytes;
}

static const char *dtype_of(fp4_elem elem) {
    switch (elem) {
    case FP4_ELEM_F32:
        return "F32";
    case FP4_ELEM_F16:
        return "F16";
    case FP4_ELEM_BF16:
        return "BF16";
    case FP4_ELEM_I32:
        return "I32";
    case FP4_ELEM_I64:
        return "I64";
    default:
        return NULL;
    }
}

static bool plan_rest_gguf(job *j, int index) {
    fp4_gguf_tensor t;
    if (!said(j, fp4_gguf_at(j->gguf, index, &t))) {
        return false;
    }
    const char *dtype = t.format.scale == FP4_ELEM_NONE ? dtype_of(t.format.elem) : NULL;
    if (!dtype) {
        fprintf(stderr, "fp4-prepack: %s: '%s' is of ggml's type %s, which no safetensors file holds; name the "
                        "layers, or leave --rest out\n", j->o.input, t.name, t.type);
        return false;
    }
    part *p = new_part(j, PART_REST, "", "", dtype);
    p->out.name = t.name;
    p->elem_bytes = fp4_elem_bits(t.format.elem) / 8;
    p->bytes = t.data;
    p->out.rank = t.rank;
    memcpy(p->out.dims, t.dims, sizeof t.dims);
    p->out.bytes = t.bytes;
    return true;
}

static bool plan_rest(job *j, int index) {
    fp4_safetensor t;
    if (j->gguf) {
        return plan_rest_gguf(j, index);
    }
    if (!said(j, fp4_safetensors_at(j->safetensors, index, &t))) {
        return false;
    }
    part *p = new_part(j, PART_REST, "", "", t.dtype);
    int64_t n = 1;
    for (int i = 0; i < t.rank; i++) {
        n *= t.dims[i];
    }
    p->elem_bytes = n > 0 && t.bytes >= n ? (int)(t.bytes / n) : 1;
    p->bytes = t.data;
    p->out = (out_tensor){.name = t.name, .dtype = t.dtype, .rank = t.rank, .bytes = t.bytes};
    memcpy(p->out.dims, t.dims, sizeof t.dims);
    return true;
}

// Of a layer's part the name lies in the part itself, which sorting moves; of others in the input.
static const char *name_of(const part *p) {
    return p->name[0] ? p->name : p->out.name;
}

static int by_width(const void *a, const void *b) {
    const part *x = a;
    const part *y = b;
    int order = y->elem_bytes - x->elem_bytes;
    return order ? order : strcmp(name_of(x), name_of(y));
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool check_names(const job *j) {
    const char **names = calloc((size_t)j->n_parts + 1, sizeof *names);
    if (!names) {
        fprintf(stderr, "fp4-prepack: memory is used up\n");
        return false;
    }
    for (int i = 0; i < j->n_parts; i++) {
        names[i] = j->parts[i].out.name;
    }
    qsort(names, (size_t)j->n_parts, sizeof *names, by_text);
    const char *twice = NULL;
    for (int i = 1; i < j->n_parts && !twice; i++) {
        twice = strcmp(names[i - 1], names[i]) == 0 ? names[i] : NULL;
    }
    if (twice) {
        fprintf(stderr, "fp4-prepack: %s: a tensor of no layer is called '%s', as a part of one would be\n",
                j->o.input, twice);
    }
    free(names);
    return !twice;
}

static bool plan(job *j) {
    int n = count(j);
    char name[FP4_PREPACK_NAME];
    int is_data;
    for (int i = 0; i < j->n_layers; i++) {
        plan_layer(j, i);
    }
    for (int i = 0; i < n && j->o.rest; i++) {
        if (part_of(j, i, name, &is_data) != FP4_OK && !plan_rest(j, i)) {
            return false;
        }
    }
    qsort(j->parts, (size_t)j->n_parts, sizeof *j->parts, by_width);
    for (int i = 0; i < j->n_parts; i++) {
        part *p = &j->parts[i];
        p->out.name = name_of(p);
        if (p->layer >= 0) {
            j->layers[p->layer].at[p->kind] = i;
        }
    }
    return !j->o.rest || check_names(j);
}

// --- Writing -------------------------------------------------------------------------------------

static void progress(const job *j, int done, int64_t bytes) {
    if (!j->o.quiet && isatty(2)) {
        fprintf(stderr, "\r%d of %d layers, %lld MiB%s", done, j->n_layers, (long long)(bytes >> 20),
                done == j->n_layers ? "\n" : "");
        fflush(stderr);
    }
}

static fp4_status write_layer(const job *j, int number, out_file *f) {
    const layer *l = &j->layers[number];
    fp4_host host;
    fp4_status status = fp4_host_init(&host, &l->format, l->in.host.rank, l->in.host.dims);
    if (status != FP4_OK) {
        return status;
    }
    host.data = malloc((size_t)l->storage.data_bytes + 1);
    host.scale = malloc((size_t)l->storage.scale_bytes + 1);
    status = host.data && host.scale ? fp4_host_repack(&l->in.host, &host)
                                     : fp4_fail(FP4_ERROR_MEMORY, "memory is used up");
    if (status == FP4_OK) {
        status = out_write(f, l->at[PART_GLOBAL], &l->in.global);
    }
    if (status == FP4_OK) {
        status = out_write(f, l->at[PART_SCALE], host.scale);
    }
    if (status == FP4_OK) {
        status = out_write(f, l->at[PART_DATA], host.data);
    }
    free(host.data);
    free(host.scale);
    return status;
}

static bool write_all(job *j) {
    out_tensor *tensors = calloc((size_t)j->n_parts + 1, sizeof *tensors);
    out_file *f = NULL;
    for (int i = 0; i < j->n_parts && tensors; i++) {
        tensors[i] = j->parts[i].out;
    }
    fp4_status status = tensors ? out_open(j->o.output, tensors, j->n_parts, &f)
                                : fp4_fail(FP4_ERROR_MEMORY, "memory is used up");
    free(tensors);
    int64_t bytes = 0;
    for (int i = 0; i < j->n_layers && status == FP4_OK; i++) {
        status = write_layer(j, i, f);
        bytes += j->layers[i].storage.data_bytes + j->layers[i].storage.scale_bytes;
        progress(j, i + 1, bytes);
    }
    for (int i = 0; i < j->n_parts && status == FP4_OK; i++) {
        if (j->parts[i].kind == PART_REST) {
            status = out_write(f, i, j->parts[i].bytes);
        }
    }
    if (f) {
        fp4_status closed = out_close(f, status == FP4_OK);
        status = status == FP4_OK ? closed : status;
    }
    if (status != FP4_OK) {
        fprintf(stderr, "fp4-prepack: %s\n", fp4_last_error());
    }
    return status == FP4_OK;
}

static void list(const job *j) {
    for (int i = 0; i < j->n_layers; i++) {
        const layer *l = &j->layers[i];
        char name[FP4_MAX_NAME];
        printf("%s  %s  %s [", l->name, l->in.writer, fp4_format_name(&l->format, name));
        for (int d = 0; d < l->in.host.rank; d++) {
            printf("%s%lld", d > 0 ? ", " : "", (long long)l->in.host.dims[d]);
        }
        printf("]  %.9g\n", (double)l->in.global);
    }
}

// --- The call ------------------------------------------------------------------------------------

static int usage(const char *why) {
    if (why) {
        fprintf(stderr, "fp4-prepack: %s\n", why);
    }
    fprintf(why ? stderr : stdout,
            "usage: fp4-prepack [--rest] [--quiet] INPUT OUTPUT [LAYER...]\n"
            "       fp4-prepack --list INPUT\n"
            "INPUT: .safetensors, its index (.json) or .gguf; OUTPUT: .safetensors with the layers as the kernels read\n"
            "them\n"
            "  --list   name, writer, format, shape and factor of each layer\n"
            "  --rest   tensors of no layer as well, unchanged\n"
            "  --quiet  no progress on the terminal\n");
    return why ? 2 : 0;
}

// Options may stand anywhere, up to '--'; what is left is moved to the front of argv.
static bool read_options(int argc, char **argv, options *o, const char **why) {
    int left = 0;
    bool open = true;
    for (int i = 1; i < argc; i++) {
        if (!open || argv[i][0] != '-' || argv[i][1] == 0) {
            argv[left++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            open = false;
        } else if (strcmp(argv[i], "--list") == 0) {
            o->list = true;
        } else if (strcmp(argv[i], "--rest") == 0) {
            o->rest = true;
        } else if (strcmp(argv[i], "--quiet") == 0) {
            o->quiet = true;
        } else {
            *why = "there is no such option";
            return false;
        }
    }
    *why = left < 1               ? "there is no INPUT"
           : o->list && left > 1  ? "--list takes one INPUT and nothing else"
           : !o->list && left < 2 ? "there is no OUTPUT"
                                  : NULL;
    if (*why) {
        return false;
    }
    o->input = argv[0];
    o->output = o->list ? NULL : argv[1];
    o->layers = argv + 2;
    o->n_layers = o->list ? 0 : left - 2;
    return true;
}

static bool run(job *j) {
    if (!open_input(j)) {
        return false;
    }
    int most = count(j) > j->o.n_layers ? count(j) : j->o.n_layers;
    j->layers = calloc((size_t)most + 1, sizeof *j->layers);
    j->parts = calloc(3 * (size_t)most + (size_t)count(j) + 1, sizeof *j->parts);
    if (!j->layers || !j->parts) {
        fprintf(stderr, "fp4-prepack: memory is used up\n");
        return false;
    }
    if (!find_layers(j)) {
        return false;
    }
    if (j->o.list) {
        list(j);
        return true;
    }
    if (!plan(j)) {
        return false;
    }
    return write_all(j);
}

int main(int argc, char **argv) {
    job j = {.n_parts = 0};
    const char *why = NULL;
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        return usage(NULL);
    }
    if (!read_options(argc, argv, &j.o, &why)) {
        return usage(why);
    }
    bool fine = run(&j);
    fp4_safetensors_close(j.safetensors);
    fp4_gguf_close(j.gguf);
    free(j.layers);
    free(j.parts);
    return fine && fflush(stdout) == 0 ? 0 : 1;
}

// Buffers of a launch file: made of files, listed values or generators, laid out as packed elements
// of a type, with addresses of each other and tensor maps; at the end read back, saved, compared.
#include "job.h"
#include "num.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES (1ull << 34)

enum { CLASS_FLOAT, CLASS_UNSIGNED, CLASS_SIGNED };
static const struct elem {
    const char *name;
    int bits, class;
    enum num_fmt fmt; // CLASS_FLOAT
} elems[] = {
    {"u8", 8, CLASS_UNSIGNED, NUM_I32},   {"u16", 16, CLASS_UNSIGNED, NUM_I32},
    {"u32", 32, CLASS_UNSIGNED, NUM_I32}, {"u64", 64, CLASS_UNSIGNED, NUM_I32},
    {"s8", 8, CLASS_SIGNED, NUM_I32},     {"s16", 16, CLASS_SIGNED, NUM_I32},
    {"s32", 32, CLASS_SIGNED, NUM_I32},   {"s64", 64, CLASS_SIGNED, NUM_I32},
    {"e2m1", 4, CLASS_FLOAT, NUM_E2M1},   {"e2m3", 6, CLASS_FLOAT, NUM_E2M3},
    {"e3m2", 6, CLASS_FLOAT, NUM_E3M2},   {"e4m3", 8, CLASS_FLOAT, NUM_E4M3},
    {"e5m2", 8, CLASS_FLOAT, NUM_E5M2},   {"ue4m3", 8, CLASS_FLOAT, NUM_UE4M3},
    {"ue8m0", 8, CLASS_FLOAT, NUM_UE8M0}, {"f16", 16, CLASS_FLOAT, NUM_F16},
    {"bf16", 16, CLASS_FLOAT, NUM_BF16},  {"tf32", 32, CLASS_FLOAT, NUM_TF32},
    {"f32", 32, CLASS_FLOAT, NUM_F32},
};
enum { N_ELEMS = sizeof elems / sizeof *elems };

const char *buffer_type_name(const struct buffer *b) {
    return elems[b->type].name;
}

struct buffer *buffer_find(struct job *j, const char *name) {
    for (int n = 0; n < j->n_buffers; n++) {
        if (strcmp(j->buffers[n].name, name) == 0) {
            return &j->buffers[n];
        }
    }
    return NULL;
}

// ---- elements -----------------------------------------------------------------------------------
// Integers beyond 64 bits end at the last one; NaN is 0.
static uint64_t encode_integer(bool sign, double v) {
    if (sign || v < 0) {
        return v != v ? 0 : v < -0x1p63 ? 1ull << 63 : v < 0x1p63 ? (uint64_t)(int64_t)v : INT64_MAX;
    }
    return v < 0x1p64 ? (uint64_t)v : v != v ? 0 : UINT64_MAX;
}

static uint64_t encode(const struct elem *e, double v) {
    if (e->class != CLASS_FLOAT) {
        return encode_integer(e->class == CLASS_SIGNED, v);
    }
    return num_encode(e->fmt, (float)v, e->fmt == NUM_UE8M0 ? NUM_RP : NUM_RN, false);
}

static void put(uint8_t *to, const struct elem *e, uint64_t index, uint64_t code) {
    if (e->bits >= 8) {
        memcpy(to + index * (uint64_t)(e->bits / 8), &code, (size_t)(e->bits / 8));
        return;
    }
    for (int b = 0; b < e->bits; b++) { // low bits first
        uint64_t at = index * (uint64_t)e->bits + (uint64_t)b;
        to[at / 8] =
            (uint8_t)((to[at / 8] & ~(1u << at % 8)) | (uint32_t)(code >> b & 1) << at % 8);
    }
}

static uint64_t draw(uint64_t *state) { // splitmix64
    uint64_t z = *state += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}

static double unit(uint64_t *state) { // [0, 1)
    return (double)(draw(state) >> 11) * 0x1p-53;
}

static double normal(uint64_t *state) { // twelve uniform numbers: the same on every host
    double sum = -6;
    for (int n = 0; n < 12; n++) {
        sum += unit(state);
    }
    return sum;
}

// ---- filling ------------------------------------------------------------------------------------
struct range {
    double low, high;
    uint64_t seed;
};

static bool fill_by(struct job *j, const char *where, struct buffer *b, const char *how,
                    struct range r) {
    const struct elem *e = &elems[b->type];
    uint64_t state = r.seed * 0x632BE59BD9B4E019u + 1;
    if (strcmp(how, "zero") == 0) {
        return true;
    }
    if (strcmp(how, "nan") == 0) { // all bits set: NaN in the formats that have one
        memset(b->host, 0xFF, b->bytes);
        return true;
    }
    bool bits = strcmp(how, "random") == 0;
    bool uniform = strcmp(how, "uniform") == 0;
    bool is_normal = strcmp(how, "normal") == 0;
    if (!bits && !uniform && !is_normal && strcmp(how, "index") != 0) {
        return job_fail(j, where, "fill '%.40s': zero, nan, random, uniform, normal or index", how);
    }
    double span = r.high - r.low + (e->class == CLASS_FLOAT ? 0 : 1);
    for (uint64_t n = 0; n < b->count; n++) {
        uint64_t code = bits ? draw(&state)
                             : encode(e, uniform     ? r.low + span * unit(&state)
                                         : is_normal ? normal(&state) * r.high
                                                     : (double)n);
        put(b->host, e, n, code);
    }
    return true;
}

static bool fill_values(struct job *j, const char *where, struct buffer *b, const cJSON *list) {
    const struct elem *e = &elems[b->type];
    if (!cJSON_IsArray(list) || (uint64_t)cJSON_GetArraySize(list) > b->count) {
        return job_fail(j, where, "values: a list of at most %llu numbers is expected",
                        (unsigned long long)b->count);
    }
    uint64_t n = 0;
    const cJSON *v;
    cJSON_ArrayForEach(v, list) {
        uint64_t code;
        if (cJSON_IsNumber(v)) {
            put(b->host, e, n++, encode(e, v->valuedouble));
        } else if (job_number(j, where, v, UINT64_MAX, &code)) { // "0x7f": the bits
            put(b->host, e, n++, code);
        } else {
            return false;
        }
    }
    return true;
}

static bool fill_file(struct job *j, const char *where, struct buffer *b, const cJSON *v) {
    if (!cJSON_IsString(v)) {
        return job_fail(j, where, "file: a file name is expected");
    }
    char *path = job_path(j, v->valuestring);
    size_t n = 0;
    uint8_t *bytes = path == NULL ? NULL : read_file(path, &n);
    bool ok = bytes != NULL && n == b->bytes;
    if (bytes == NULL) {
        job_fail(j, where, "cannot read '%s'", v->valuestring);
    } else if (!ok) {
        job_fail(j, where, "'%s' has %zu bytes, the buffer %llu", v->valuestring, n,
                 (unsigned long long)b->bytes);
    } else {
        memcpy(b->host, bytes, n);
    }
    free(bytes);
    free(path);
    return ok;
}

// ---- one buffer ---------------------------------------------------------------------------------
static bool read_type(struct job *j, const char *where, const cJSON *v, struct buffer *b) {
    for (int n = 0; n < N_ELEMS && cJSON_IsString(v); n++) {
        if (strcmp(v->valuestring, elems[n].name) == 0) {
            b->type = n;
            return true;
        }
    }
    return v == NULL ||
           job_fail(j, where, "unknown type '%.20s'", cJSON_IsString(v) ? v->valuestring : "");
}

static bool read_shape(struct job *j, const char *where, const cJSON *v, struct buffer *b) {
    b->count = 1;
    int rank = cJSON_IsArray(v) ? cJSON_GetArraySize(v) : -1;
    if (rank < 0) {
        return v == NULL ? job_fail(j, where, "'shape' is missing")
                         : job_number(j, where, v, MOST_BYTES, &b->count);
    }
    for (int a = 0; a < rank; a++) {
        uint64_t n;
        if (!job_number(j, where, cJSON_GetArrayItem(v, a), MOST_BYTES, &n)) {
            return false;
        }
        if (n != 0 && b->count > MOST_BYTES / n) {
            return job_fail(j, where, "the buffer is larger than 16 GiB");
        }
        b->count *= n;
    }
    return true;
}

static bool read_file_name(struct job *j, const char *where, const cJSON *object, const char *key,
                           const char **out) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);
    *out = cJSON_IsString(v) ? v->valuestring : NULL;
    return v == NULL || *out != NULL || job_fail(j, where, "%s: a file name is expected", key);
}

static bool fill(struct job *j, const char *where, struct buffer *b, const cJSON *o) {
    const cJSON *how = cJSON_GetObjectItemCaseSensitive(o, "fill");
    const cJSON *file = cJSON_GetObjectItemCaseSensitive(o, "file");
    const cJSON *values = cJSON_GetObjectItemCaseSensitive(o, "values");
    const cJSON *low = cJSON_GetObjectItemCaseSensitive(o, "low");
    const cJSON *high = cJSON_GetObjectItemCaseSensitive(o, "high");
    const cJSON *seed = cJSON_GetObjectItemCaseSensitive(o, "seed");
    struct range r = {cJSON_IsNumber(low) ? low->valuedouble : 0,
                      cJSON_IsNumber(high) ? high->valuedouble : 1, (uint64_t)j->n_buffers};
    if ((how != NULL) + (file != NULL) + (values != NULL) > 1) {
        return job_fail(j, where, "'fill', 'file' and 'values' exclude each other");
    }
    if (seed != NULL && !job_number(j, where, seed, UINT64_MAX, &r.seed)) {
        return false;
    }
    if (file != NULL) {
        return fill_file(j, where, b, file);
    }
    if (values != NULL) {
        return fill_values(j, where, b, values);
    }
    if (cJSON_IsNumber(how)) {
        for (uint64_t n = 0; n < b->count; n++) {
            put(b->host, &elems[b->type], n, encode(&elems[b->type], how->valuedouble));
        }
        return true;
    }
    if (how != NULL && !cJSON_IsString(how)) {
        return job_fail(j, where, "fill: a number or the name of a generator is expected");
    }
    return how == NULL || fill_by(j, where, b, how->valuestring, r);
}

static void name_place(char where[100], const char *buffer) {
    snprintf(where, 100, "buffers.%.60s", buffer);
}

static bool make_one(struct job *j, const cJSON *o) {
    char where[100];
    struct buffer *b = &j->buffers[j->n_buffers];
    name_place(where, o->string);
    b->name = o->string;
    b->fields = cJSON_GetObjectItemCaseSensitive(o, "fields");
    if (!job_keys(j, where, o,
                  " type shape fill file values fields seed low high save expect comment ") ||
        !read_type(j, where, cJSON_GetObjectItemCaseSensitive(o, "type"), b) ||
        !read_shape(j, where, cJSON_GetObjectItemCaseSensitive(o, "shape"), b) ||
        !read_file_name(j, where, o, "save", &b->save) ||
        !read_file_name(j, where, o, "expect", &b->expect)) {
        return false;
    }
    b->bytes = (b->count * (uint64_t)elems[b->type].bits + 7) / 8;
    b->host = b->bytes > MOST_BYTES ? NULL : calloc(1, b->bytes + 8);
    if (b->host == NULL) {
        return job_fail(j, where, "no memory for %llu bytes", (unsigned long long)b->bytes);
    }
    j->n_buffers++;
    b->address = sim_alloc(j->sim, b->bytes);
    if (b->address == 0) {
        return job_fail(j, where, "%s", sim_last_error(j->sim));
    }
    return fill(j, where, b, o);
}

// Once all buffers have their addresses.
static bool send_one(struct job *j, struct buffer *b) {
    char where[100];
    name_place(where, b->name);
    if (b->fields != NULL && !fields_pack(j, where, b->fields, b->host, b->bytes)) {
        return false;
    }
    if (j->beside_gpu) {
        b->start = malloc(b->bytes + 8);
        if (b->start == NULL) {
            return job_fail(j, where, "no memory for %llu bytes", (unsigned long long)b->bytes);
        }
        memcpy(b->start, b->host, b->bytes);
    }
    return sim_copy_to(j->sim, b->address, b->host, b->bytes) == SIM_OK ||
           job_fail(j, where, "%s", sim_last_error(j->sim));
}

bool buffers_make(struct job *j) {
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(j->root, "buffers");
    if (list != NULL && !cJSON_IsObject(list)) {
        return job_fail(j, "buffers", "an object {...} is expected");
    }
    j->buffers = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *j->buffers);
    const cJSON *o;
    cJSON_ArrayForEach(o, list) {
        if (j->buffers == NULL || !make_one(j, o)) {
            return false;
        }
    }
    for (int n = 0; n < j->n_buffers; n++) {
        if (!send_one(j, &j->buffers[n])) {
            return false;
        }
    }
    return true;
}

// ---- the end ------------------------------------------------------------------------------------
static bool save(struct job *j, const struct buffer *b, const char *out) {
    char path[1000];
    bool absolute = b->save[0] == '/' || out == NULL;
    snprintf(path, sizeof path, "%s%s%s", absolute ? "" : out, absolute ? "" : "/", b->save);
    FILE *f = fopen(path, "wb");
    bool ok = f != NULL && fwrite(b->host, 1, b->bytes, f) == b->bytes;
    ok = f != NULL && fclose(f) == 0 && ok;
    return ok || job_fail(j, b->name, "cannot write '%.900s'", path);
}

static bool compare(struct job *j, struct buffer *b) {
    char *path = job_path(j, b->expect);
    size_t n = 0;
    uint8_t *want = path == NULL ? NULL : read_file(path, &n);
    free(path);
    if (want == NULL || n != b->bytes) {
        free(want);
        return job_fail(j, b->name, "'%.300s' cannot be read or has not %llu bytes", b->expect,
                        (unsigned long long)b->bytes);
    }
    uint64_t bits = (uint64_t)elems[b->type].bits;
    b->compared = true;
    for (uint64_t k = 0; k < b->count; k++) {
        uint64_t from = k * bits / 8;
        uint64_t upto = ((k + 1) * bits + 7) / 8;
        bool same = memcmp(want + from, b->host + from, upto - from) == 0;
        if (!same && bits < 8) { // the element's own bits
            same = true;
            for (uint64_t at = k * bits; at < (k + 1) * bits; at++) {
                same &= ((want[at / 8] ^ b->host[at / 8]) >> at % 8 & 1) == 0;
            }
        }
        if (!same && b->differing++ == 0) {
            b->first = k;
        }
    }
    free(want);
    return true;
}

bool buffers_finish(struct job *j, const char *out) {
    for (int n = 0; n < j->n_buffers; n++) {
        struct buffer *b = &j->buffers[n];
        if (sim_copy_from(j->sim, b->host, b->address, b->bytes) != SIM_OK) {
            return job_fail(j, b->name, "%s", sim_last_error(j->sim));
        }
        if ((b->save != NULL && !save(j, b, out)) || (b->expect != NULL && !compare(j, b))) {
            return false;
        }
    }
    return true;
}

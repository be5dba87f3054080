// Parameters of a launch: scalars, addresses of buffers, tensor maps, structs of these, packed at
// the offsets that the kernel declares; the same values in buffers.
#include "job.h"
#include "num.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const map_types[] = {
    "u8",   "u16",     "u32",  "s32",      "u64",   "s64",       "f16",      "f32", "f64",
    "bf16", "f32_ftz", "tf32", "tf32_ftz", "b4x16", "b4x16_p64", "b6x16_p32"}; // ORDER tmap_dtype
static const char *const swizzles[] = {"none",      "32",         "64",
                                       "128",       "128_atom32", "128_atom32_flip8",
                                       "128_atom64"}; // ORDER tmap_swizzle

static int find_word(const cJSON *v, const char *const *list, int n) {
    char number[20];
    const char *word = cJSON_IsString(v) ? v->valuestring : "";
    if (cJSON_IsNumber(v)) {
        snprintf(number, sizeof number, "%d", v->valueint);
        word = v->valueint == 0 ? "none" : number;
    }
    for (int k = 0; k < n; k++) {
        if (strcmp(word, list[k]) == 0) {
            return k;
        }
    }
    return -1;
}

struct map_lists {
    uint64_t dim[5], stride[5], box[5], elem[5];
};

static bool read_list(struct job *j, const char *where, const cJSON *o, const char *key,
                      uint64_t out[5], int *n) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    *n = cJSON_IsArray(v) ? cJSON_GetArraySize(v) : 0;
    if (v != NULL && (!cJSON_IsArray(v) || *n > 5)) {
        return job_fail(j, where, "map.%s: a list of at most 5 numbers is expected", key);
    }
    for (int k = 0; k < *n; k++) {
        if (!job_number(j, where, cJSON_GetArrayItem(v, k), 1ull << 40, &out[k])) {
            return false;
        }
    }
    return true;
}

static bool buffer_address(struct job *j, const char *where, const cJSON *o, uint64_t *out) {
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(o, "buffer");
    const cJSON *off = cJSON_GetObjectItemCaseSensitive(o, "offset");
    struct buffer *b = cJSON_IsString(name) ? buffer_find(j, name->valuestring) : NULL;
    uint64_t offset = 0;
    if (b == NULL) {
        return job_fail(j, where, "there is no buffer '%.60s'",
                        cJSON_IsString(name) ? name->valuestring : "");
    }
    if (off != NULL && !job_number(j, where, off, b->bytes, &offset)) {
        return false;
    }
    *out = b->address + offset;
    return true;
}

static bool encode_map(struct job *j, const char *where, const cJSON *o, uint8_t out[128]) {
    struct map_lists l;
    int rank;
    int n[3];
    sim_tensormap t = {.dtype = 0};
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(o, "type");
    const cJSON *swizzle = cJSON_GetObjectItemCaseSensitive(o, "swizzle");
    const cJSON *nan = cJSON_GetObjectItemCaseSensitive(o, "oob_nan");
    if (!job_keys(
            j, where, o,
            " buffer offset type dims strides box element_strides swizzle oob_nan comment ") ||
        !buffer_address(j, where, o, &t.address) || !read_list(j, where, o, "dims", l.dim, &rank) ||
        !read_list(j, where, o, "strides", l.stride, &n[0]) ||
        !read_list(j, where, o, "box", l.box, &n[1]) ||
        !read_list(j, where, o, "element_strides", l.elem, &n[2])) {
        return false;
    }
    t.dtype = find_word(type, map_types, sizeof map_types / sizeof *map_types);
    t.swizzle = swizzle == NULL ? 0 : find_word(swizzle, swizzles, 7);
    if (t.dtype < 0 || t.swizzle < 0) {
        return job_fail(j, where, "map: unknown type or swizzle");
    }
    if (rank < 1 || n[0] != rank - 1 || n[1] != rank || (n[2] != 0 && n[2] != rank)) {
        return job_fail(j, where,
                        "map: %d dims need %d strides (bytes, from the second axis on) and %d box "
                        "sizes",
                        rank, rank - 1, rank);
    }
    uint32_t box[5];
    uint32_t elem[5];
    for (int a = 0; a < rank; a++) {
        box[a] = (uint32_t)(l.box[a] > UINT32_MAX ? UINT32_MAX : l.box[a]);
        elem[a] = n[2] == 0 ? 1 : (uint32_t)(l.elem[a] > UINT32_MAX ? UINT32_MAX : l.elem[a]);
    }
    t.rank = (uint32_t)rank;
    t.dim = l.dim;
    t.stride = l.stride;
    t.box = box;
    t.elem_stride = elem;
    t.oob_nan = cJSON_IsTrue(nan);
    if (j->gpu != NULL) {
        return hardware_map(j, where, &t, out);
    }
    if (sim_tensormap_encode(j->sim, out, &t) != SIM_OK) {
        return job_fail(j, where, "map: %s", sim_last_error(j->sim));
    }
    return true;
}

// ---- one value ----------------------------------------------------------------------------------
static const struct scalar {
    const char *key;
    uint32_t bytes;
    char class; // i integer, f float
} scalars[] = {{"u8", 1, 'i'},  {"u16", 2, 'i'}, {"u32", 4, 'i'}, {"u64", 8, 'i'},
               {"s8", 1, 'i'},  {"s16", 2, 'i'}, {"s32", 4, 'i'}, {"s64", 8, 'i'},
               {"f32", 4, 'f'}, {"f64", 8, 'd'}, {"f16", 2, 'h'}, {"bf16", 2, 'b'}};

static bool scalar_bits(struct job *j, const char *where, const struct scalar *s, const cJSON *v,
                        uint64_t *out) {
    if (s->class != 'i' && cJSON_IsNumber(v)) {
        float f = (float)v->valuedouble;
        memcpy(out, &v->valuedouble, 8);
        *out = s->class == 'd'   ? *out
               : s->class == 'f' ? num_bits(f)
               : s->class == 'h' ? num_f16_of(f, NUM_RN)
                                 : num_bf16_of(f, NUM_RN);
        return true;
    }
    if (cJSON_IsNumber(v) && v->valuedouble < 0 && v->valuedouble >= -9007199254740992.0) {
        *out = (uint64_t)(int64_t)v->valuedouble;
        return true;
    }
    return job_number(j, where, v, s->bytes == 8 ? UINT64_MAX : (1ull << 8 * s->bytes) - 1, out);
}

static bool put_bytes(struct job *j, const char *where, uint8_t *to, uint64_t room, const void *v,
                      uint32_t bytes) {
    if (bytes > room) {
        return job_fail(j, where, "%u bytes, there is room for %llu", bytes,
                        (unsigned long long)room);
    }
    memcpy(to, v, bytes);
    return true;
}

static bool put_hex(struct job *j, const char *where, const cJSON *v, uint8_t *to, uint64_t room) {
    const char *s = cJSON_IsString(v) ? v->valuestring : "x";
    size_t n = strlen(s);
    for (size_t k = 0; k < n; k += 2) {
        unsigned byte;
        char two[3] = {s[k], s[k + 1], '\0'};
        if (k / 2 >= room || strspn(two, "0123456789abcdefABCDEF") != 2 ||
            sscanf(two, "%x", &byte) != 1) {
            return job_fail(j, where, "hex: an even number of hexadecimal digits, at most %llu bytes",
                            (unsigned long long)room);
        }
        to[k / 2] = (uint8_t)byte;
    }
    return true;
}

static bool put_value(struct job *j, const char *where, const cJSON *v, uint8_t *to, uint64_t room,
                      int depth);

static bool put_fields(struct job *j, const char *where, const cJSON *list, uint8_t *to,
                       uint64_t room, int depth) {
    if (!cJSON_IsArray(list)) {
        return job_fail(j, where, "fields: a list [...] is expected");
    }
    const cJSON *f;
    cJSON_ArrayForEach(f, list) {
        uint64_t at = 0;
        if (!job_number(j, where, cJSON_GetObjectItemCaseSensitive(f, "at"), room, &at) ||
            !put_value(j, where, f, to + at, room - at, depth + 1)) {
            return false;
        }
    }
    return true;
}

static bool put_value(struct job *j, const char *where, const cJSON *v, uint8_t *to, uint64_t room,
                      int depth) {
    uint64_t bits = 0;
    if (!job_keys(j, where, v,
                  " at u8 u16 u32 u64 s8 s16 s32 s64 f32 f64 f16 bf16 buffer offset map hex fields "
                  "comment ")) {
        return false;
    }
    for (size_t n = 0; n < sizeof scalars / sizeof *scalars; n++) {
        const cJSON *s = cJSON_GetObjectItemCaseSensitive(v, scalars[n].key);
        if (s != NULL) {
            return scalar_bits(j, where, &scalars[n], s, &bits) &&
                   put_bytes(j, where, to, room, &bits, scalars[n].bytes);
        }
    }
    const cJSON *inner = cJSON_GetObjectItemCaseSensitive(v, "map");
    if (inner != NULL) {
        uint8_t map[128];
        return encode_map(j, where, inner, map) && put_bytes(j, where, to, room, map, 128);
    }
    if (cJSON_GetObjectItemCaseSensitive(v, "buffer") != NULL) {
        return buffer_address(j, where, v, &bits) && put_bytes(j, where, to, room, &bits, 8);
    }
    inner = cJSON_GetObjectItemCaseSensitive(v, "hex");
    if (inner != NULL) {
        return put_hex(j, where, inner, to, room);
    }
    inner = cJSON_GetObjectItemCaseSensitive(v, "fields");
    if (inner != NULL && depth < 4) {
        return put_fields(j, where, inner, to, room, depth);
    }
    return job_fail(j, where, "a value is a scalar, a buffer, a map, hex or fields");
}

bool fields_pack(struct job *j, const char *where, const cJSON *list, uint8_t *to, uint64_t room) {
    return put_fields(j, where, list, to, room, 0);
}

bool params_pack(struct job *j, const char *where, const cJSON *list, const sim_kernel_info *k,
                 uint8_t *out) {
    uint32_t n = cJSON_IsArray(list) ? (uint32_t)cJSON_GetArraySize(list) : 0;
    if ((list != NULL && !cJSON_IsArray(list)) || n != k->n_params) {
        return job_fail(j, where, "params: the kernel takes %u parameters, the list has %u",
                        k->n_params, n);
    }
    for (uint32_t p = 0; p < n; p++) {
        char at[100];
        const cJSON *v = cJSON_GetArrayItem(list, (int)p);
        snprintf(at, sizeof at, "%.40s%sparams[%u]", where, where[0] == '\0' ? "" : ".", p);
        if (cJSON_IsNull(v)) {
            continue; // zeros
        }
        if (!put_value(j, at, v, out + k->params[p].offset, k->params[p].bytes, 0)) {
            return false;
        }
    }
    return true;
}

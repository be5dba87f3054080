// The GGUF reader. In: bytes that nobody vouches for. Out: metadata and tensors in the file's
// order, each checked; or a sentence. The rules are those of the reference reader (ggml, gguf.cpp):
// no repeated key or name, rows of whole blocks, each tensor where the one before it ends, rounded
// up to the alignment.
//
//   header    "GGUF", u32 version, u64 tensors, u64 pairs; all little-endian
//   pair      text key, u32 type, value; text: u64 bytes, the bytes
//   tensor    text name, u32 rank, u64 dims (innermost first), u32 type, u64 offset into the data
//   data      from the next multiple of the alignment ("general.alignment", else 32)
#include "gguf.h"
#include "format.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_ITEMS = 1 << 20, MIN_PAIR = 13, MIN_TENSOR = 24 }; // bytes of the smallest of each

typedef enum {
    TYPE_U8,
    TYPE_I8,
    TYPE_U16,
    TYPE_I16,
    TYPE_U32,
    TYPE_I32,
    TYPE_F32,
    TYPE_BOOL,
    TYPE_TEXT,
    TYPE_ARRAY,
    TYPE_U64,
    TYPE_I64,
    TYPE_F64,
    N_TYPES
} pair_type; // gguf.h of ggml, enum gguf_type

static const uint8_t type_bytes[N_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct {
    const char *key;
    uint64_t key_bytes;
    pair_type type;
    const uint8_t *value; // a text's bytes
    uint64_t value_bytes; // of a text
} pair;

typedef struct {
    uint32_t number;
    const char *name;
    int64_t elems, bytes; // of a block
    const char *format;   // ours, NULL: none
} type_row;

static const type_row types[] = {
#define GGML_TYPE(number, name, elems, bytes, format) {number, name, elems, bytes, format},
#include "gguf_types.def"
#undef GGML_TYPE
};

typedef struct {
    char name[FP4_MAX_NAME];
    const type_row *type;
    int rank;
    int64_t dims[FP4_GGUF_MAX_RANK]; // outermost first
    uint64_t offset;
    int64_t bytes;
} entry;

struct fp4_gguf {
    rt_heap heap;
    rt_mapping mapping; // empty: the caller's memory
    pair *pairs;
    entry *entries;
    uint64_t n_pairs, n_entries; // and the capacities of the two
    const uint8_t *data;
    uint64_t data_bytes;
};

// ---- reading bytes ------------------------------------------------------------------------------

typedef struct {
    const uint8_t *begin, *at, *end;
} cursor;

static bool skip(cursor *c, uint64_t n) {
    if (n > (uint64_t)(c->end - c->at)) {
        return false;
    }
    c->at += n;
    return true;
}

static bool get(cursor *c, void *out, size_t n) {
    const uint8_t *from = c->at;
    if (!skip(c, n)) {
        return false;
    }
    memcpy(out, from, n);
    return true;
}

static bool get_text(cursor *c, const char **text, uint64_t *bytes) {
    if (!get(c, bytes, sizeof *bytes)) {
        return false;
    }
    *text = (const char *)c->at;
    return skip(c, *bytes);
}

static fp4_status cut_off(const cursor *c, const char *what, uint64_t index) {
    return rt_fail(FP4_ERROR_FILE, "the file ends inside %s %llu (%llu bytes)", what,
                   (unsigned long long)index, (unsigned long long)(c->end - c->begin));
}

// ---- metadata -----------------------------------------------------------------------------------

static bool skip_array(cursor *c) {
    uint32_t type;
    uint64_t n;
    if (!get(c, &type, sizeof type) || !get(c, &n, sizeof n) || type >= N_TYPES ||
        type == TYPE_ARRAY) {
        return false;
    }
    if (type != TYPE_TEXT) {
        return n <= (uint64_t)(c->end - c->at) && skip(c, n * type_bytes[type]);
    }
    for (uint64_t i = 0; i < n; i++) { // each takes 8 bytes at least
        const char *text;
        uint64_t bytes;
        if (!get_text(c, &text, &bytes)) {
            return false;
        }
    }
    return true;
}

static fp4_status read_pair(cursor *c, uint64_t index, pair *p) {
    uint32_t type;
    if (!get_text(c, &p->key, &p->key_bytes) || !get(c, &type, sizeof type)) {
        return cut_off(c, "metadata pair", index);
    }
    if (type >= N_TYPES) {
        return rt_fail(FP4_ERROR_FILE, "metadata pair %llu has the unknown type %u",
                       (unsigned long long)index, (unsigned)type);
    }
    p->type = (pair_type)type;
    p->value = c->at;
    const char *text = NULL;
    bool fits = type == TYPE_ARRAY  ? skip_array(c)
                : type == TYPE_TEXT ? get_text(c, &text, &p->value_bytes)
                                    : skip(c, type_bytes[type]);
    p->value = text ? (const uint8_t *)text : p->value;
    return fits ? FP4_OK
                : rt_fail(FP4_ERROR_FILE, "the value of metadata pair %llu is no value of type %u",
                          (unsigned long long)index, (unsigned)type);
}

static int by_key(const void *a, const void *b) {
    const pair *x = *(const pair *const *)a;
    const pair *y = *(const pair *const *)b;
    uint64_t n = x->key_bytes < y->key_bytes ? x->key_bytes : y->key_bytes;
    int order = memcmp(x->key, y->key, (size_t)n);
    return order ? order : (x->key_bytes > y->key_bytes) - (x->key_bytes < y->key_bytes);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const entry *const *)a)->name, (*(const entry *const *)b)->name);
}

// Whether two of n objects are equal in the order, which compares pointers to them.
static fp4_status find_twins(rt_heap *heap, const void *objects, size_t n, size_t object_bytes,
                             int (*order)(const void *, const void *), bool *twins) {
    *twins = false;
    size_t bytes = (n + 1) * sizeof(void *);
    const void **list = rt_resize(heap, NULL, 0, bytes);
    if (!list) {
        return FP4_ERROR_MEMORY;
    }
    for (size_t i = 0; i < n; i++) {
        list[i] = (const char *)objects + i * object_bytes;
    }
    qsort(list, n, sizeof *list, order);
    for (size_t i = 1; i < n && !*twins; i++) {
        *twins = order(&list[i - 1], &list[i]) == 0;
    }
    rt_release(heap, list, bytes);
    return FP4_OK;
}

static const pair *find_pair(const fp4_gguf *f, const char *key) {
    size_t n = strlen(key);
    for (uint64_t i = 0; i < f->n_pairs; i++) {
        if (f->pairs[i].key_bytes == n && memcmp(f->pairs[i].key, key, n) == 0) {
            return &f->pairs[i];
        }
    }
    return NULL;
}

static fp4_status read_pairs(fp4_gguf *f, cursor *c) {
    for (uint64_t i = 0; i < f->n_pairs; i++) {
        fp4_status status = read_pair(c, i, &f->pairs[i]);
        if (status != FP4_OK) {
            return status;
        }
    }
    bool twins;
    fp4_status status = find_twins(&f->heap, f->pairs, f->n_pairs, sizeof(pair), by_key, &twins);
    if (status == FP4_OK && twins) {
        status = rt_fail(FP4_ERROR_FILE, "a metadata key is there twice");
    }
    return status;
}

static fp4_status read_alignment(const fp4_gguf *f, uint64_t *alignment) {
    *alignment = 32; // GGUF_DEFAULT_ALIGNMENT
    const pair *p = find_pair(f, "general.alignment");
    if (!p) {
        return FP4_OK;
    }
    uint32_t value = 0;
    if (p->type == TYPE_U32) {
        memcpy(&value, p->value, sizeof value);
    }
    if (value == 0 || (value & (value - 1)) != 0) {
        return rt_fail(FP4_ERROR_FILE, "'general.alignment' is no power of two of type u32");
    }
    *alignment = value;
    return FP4_OK;
}

// ---- tensors ------------------------------------------------------------------------------------

static fp4_status read_type(cursor *c, uint64_t index, entry *e) {
    uint32_t number;
    if (!get(c, &number, sizeof number) || !get(c, &e->offset, sizeof e->offset)) {
        return cut_off(c, "tensor", index);
    }
    for (size_t i = 0; i < sizeof types / sizeof types[0] && !e->type; i++) {
        e->type = types[i].number == number ? &types[i] : NULL;
    }
    if (!e->type) {
        return rt_fail(FP4_ERROR_FILE, "tensor '%s' has the unknown type %u", e->name,
                       (unsigned)number);
    }
    int64_t cols = e->rank > 0 ? e->dims[e->rank - 1] : 1;
    if (cols % e->type->elems != 0) {
        return rt_fail(FP4_ERROR_FILE, "tensor '%s': rows of %lld do not fill the blocks of %lld",
                       e->name, (long long)cols, (long long)e->type->elems);
    }
    e->bytes = cols / e->type->elems;
    bool fits = rt_mul(e->bytes, e->type->bytes, &e->bytes);
    for (int i = 0; i + 1 < e->rank && fits; i++) {
        fits = rt_mul(e->bytes, e->dims[i], &e->bytes);
    }
    return fits ? FP4_OK
                : rt_fail(FP4_ERROR_FILE, "tensor '%s': its size does not fit 63 bits", e->name);
}

static fp4_status read_entry(cursor *c, uint64_t index, entry *e) {
    *e = (entry){.rank = 0};
    const char *name;
    uint64_t name_bytes;
    uint32_t rank;
    if (!get_text(c, &name, &name_bytes) || !get(c, &rank, sizeof rank)) {
        return cut_off(c, "tensor", index);
    }
    if (name_bytes >= sizeof e->name || memchr(name, 0, (size_t)name_bytes)) {
        return rt_fail(FP4_ERROR_FILE,
                       "the name of tensor %llu is longer than %d bytes or not text",
                       (unsigned long long)index, (int)sizeof e->name - 1);
    }
    memcpy(e->name, name, (size_t)name_bytes);
    if (rank > FP4_GGUF_MAX_RANK) {
        return rt_fail(FP4_ERROR_FILE, "tensor '%s' has %u dimensions, at most %d", e->name,
                       (unsigned)rank, FP4_GGUF_MAX_RANK);
    }
    e->rank = (int)rank;
    for (int i = e->rank - 1; i >= 0; i--) {
        if (!get(c, &e->dims[i], sizeof e->dims[i])) {
            return cut_off(c, "tensor", index);
        }
        if (e->dims[i] < 0) {
            return rt_fail(FP4_ERROR_FILE, "tensor '%s': dimension %d does not fit 63 bits",
                           e->name, i);
        }
    }
    return read_type(c, index, e);
}

// Each tensor begins where the one before it ends, rounded up; all end inside the file.
static fp4_status check_places(const fp4_gguf *f, uint64_t alignment) {
    uint64_t at = 0;
    for (uint64_t i = 0; i < f->n_entries; i++) {
        const entry *e = &f->entries[i];
        if (e->offset != at) {
            return rt_fail(FP4_ERROR_FILE, "tensor '%s' begins at byte %llu, expected %llu",
                           e->name, (unsigned long long)e->offset, (unsigned long long)at);
        }
        if (at > f->data_bytes || (uint64_t)e->bytes > f->data_bytes - at) {
            return rt_fail(FP4_ERROR_FILE, "tensor '%s' of %lld bytes ends behind the file",
                           e->name, (long long)e->bytes);
        }
        at += (uint64_t)e->bytes;
        at += (alignment - at % alignment) % alignment;
    }
    if (f->data_bytes > at) {
        return rt_fail(FP4_ERROR_FILE, "there are %llu bytes behind the last tensor",
                       (unsigned long long)(f->data_bytes - at));
    }
    return FP4_OK;
}

static fp4_status read_entries(fp4_gguf *f, cursor *c) {
    for (uint64_t i = 0; i < f->n_entries; i++) {
        fp4_status status = read_entry(c, i, &f->entries[i]);
        if (status != FP4_OK) {
            return status;
        }
    }
    bool twins;
    uint64_t alignment = 0;
    fp4_status status =
        find_twins(&f->heap, f->entries, f->n_entries, sizeof(entry), by_name, &twins);
    if (status == FP4_OK && twins) {
        status = rt_fail(FP4_ERROR_FILE, "two tensors have the same name");
    }
    if (status == FP4_OK) {
        status = read_alignment(f, &alignment);
    }
    if (status != FP4_OK || f->n_entries == 0) {
        return status;
    }
    uint64_t used = (uint64_t)(c->at - c->begin);
    if (!skip(c, (alignment - used % alignment) % alignment)) {
        return rt_fail(FP4_ERROR_FILE, "the file ends before the data of its tensors");
    }
    f->data = c->at;
    f->data_bytes = (uint64_t)(c->end - c->at);
    return check_places(f, alignment);
}

static fp4_status read_header(cursor *c, uint64_t *n_pairs, uint64_t *n_tensors) {
    char magic[4];
    uint32_t version;
    if (!get(c, magic, 4) || memcmp(magic, "GGUF", 4) != 0) {
        return rt_fail(FP4_ERROR_FILE, "not a GGUF file: it does not begin with 'GGUF'");
    }
    if (!get(c, &version, sizeof version) || version < 2 || version > 3) {
        return rt_fail(FP4_ERROR_FILE, "GGUF of another version than 2 and 3, little-endian");
    }
    if (!get(c, n_tensors, sizeof *n_tensors) || !get(c, n_pairs, sizeof *n_pairs)) {
        return cut_off(c, "the header's byte", 8);
    }
    uint64_t left = (uint64_t)(c->end - c->at);
    if (*n_pairs > MAX_ITEMS || *n_tensors > MAX_ITEMS || *n_pairs * MIN_PAIR > left ||
        *n_tensors * MIN_TENSOR > left) {
        return rt_fail(FP4_ERROR_FILE,
                       "%llu metadata pairs and %llu tensors do not fit the %llu bytes of the file",
                       (unsigned long long)*n_pairs, (unsigned long long)*n_tensors,
                       (unsigned long long)(c->end - c->begin));
    }
    return FP4_OK;
}

static fp4_status read_file(fp4_gguf *f, const uint8_t *bytes, size_t n_bytes) {
    cursor c = {bytes, bytes, bytes + n_bytes};
    uint64_t n_pairs = 0;
    uint64_t n_entries = 0;
    fp4_status status = read_header(&c, &n_pairs, &n_entries);
    if (status != FP4_OK) {
        return status;
    }
    f->pairs = rt_resize(&f->heap, NULL, 0, (n_pairs + 1) * sizeof *f->pairs);
    if (!f->pairs) {
        return FP4_ERROR_MEMORY;
    }
    f->n_pairs = n_pairs;
    f->entries = rt_resize(&f->heap, NULL, 0, (n_entries + 1) * sizeof *f->entries);
    if (!f->entries) {
        return FP4_ERROR_MEMORY;
    }
    f->n_entries = n_entries;
    status = read_pairs(f, &c);
    return status == FP4_OK ? read_entries(f, &c) : status;
}

// ---- opening and closing ------------------------------------------------------------------------

static fp4_status new_file(const fp4_config *config, fp4_gguf **out) {
    rt_heap heap;
    rt_heap_init(&heap, config ? config->alloc : NULL, config ? config->alloc_user : NULL);
    *out = rt_resize(&heap, NULL, 0, sizeof **out);
    if (!*out) {
        return FP4_ERROR_MEMORY;
    }
    **out = (fp4_gguf){.heap = heap};
    return FP4_OK;
}

fp4_status fp4_gguf_open_memory(const fp4_config *config, const void *bytes, size_t n_bytes,
                                fp4_gguf **out) {
    if (!bytes || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_gguf_open_memory(): NULL argument");
    }
    fp4_status status = new_file(config, out);
    if (status == FP4_OK && (status = read_file(*out, bytes, n_bytes)) != FP4_OK) {
        fp4_gguf_close(*out);
        *out = NULL;
    }
    return status;
}

fp4_status fp4_gguf_open_file(const fp4_config *config, const char *path, fp4_gguf **out) {
    if (!path || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_gguf_open_file(): NULL argument");
    }
    fp4_status status = new_file(config, out);
    if (status != FP4_OK) {
        return status;
    }
    status = rt_map_file(path, &(*out)->mapping);
    if (status == FP4_OK) {
        status = read_file(*out, (*out)->mapping.bytes, (*out)->mapping.n);
    }
    if (status != FP4_OK) {
        fp4_gguf_close(*out);
        *out = NULL;
        return rt_prefix(status, "%s: ", path);
    }
    return status;
}

void fp4_gguf_close(fp4_gguf *file) {
    if (!file) {
        return;
    }
    rt_heap heap = file->heap;
    rt_release(&heap, file->pairs, (file->n_pairs + 1) * sizeof *file->pairs);
    rt_release(&heap, file->entries, (file->n_entries + 1) * sizeof *file->entries);
    rt_unmap(&file->mapping);
    rt_release(&heap, file, sizeof *file);
}

// ---- questions ----------------------------------------------------------------------------------

int fp4_gguf_count(const fp4_gguf *file) {
    return file ? (int)file->n_entries : 0;
}

static fp4_status give(const fp4_gguf *f, const entry *e, fp4_gguf_tensor *out) {
    fp4_gguf_tensor full = {.size = sizeof full,
                            .name = e->name,
                            .type = e->type->name,
                            .format = {.elem = FP4_ELEM_NONE, .scale = FP4_ELEM_NONE},
                            .rank = e->rank,
                            .data = f->data + e->offset,
                            .bytes = e->bytes};
    memcpy(full.dims, e->dims, sizeof full.dims);
    if (e->type->format && fp4_format_find(e->type->format, &full.format) == FP4_OK &&
        rt_format_scaled(&full.format)) {
        full.format.layout = FP4_SF_GGUF;
    }
    return rt_give("fp4_gguf_tensor", out, &full, sizeof full);
}

fp4_status(fp4_gguf_at)(const fp4_gguf *file, int index, fp4_gguf_tensor *out) {
    if (!file || !out || index < 0 || (uint64_t)index >= file->n_entries) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_gguf_at(): there is no tensor %d", index);
    }
    return give(file, &file->entries[index], out);
}

fp4_status(fp4_gguf_find)(const fp4_gguf *file, const char *name, fp4_gguf_tensor *out) {
    if (!file || !name || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_gguf_find(): NULL argument");
    }
    for (uint64_t i = 0; i < file->n_entries; i++) {
        if (strcmp(file->entries[i].name, name) == 0) {
            return give(file, &file->entries[i], out);
        }
    }
    return rt_fail(FP4_ERROR_NOT_FOUND, "there is no tensor '%.200s' in the file", name);
}

fp4_status fp4_gguf_host(const fp4_gguf_tensor *tensor, fp4_host *host) {
    if (!tensor || !host) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_gguf_host(): NULL argument");
    }
    fp4_status status =
        rt_check_size("fp4_gguf_tensor", tensor->size, sizeof *tensor, sizeof *tensor);
    if (status == FP4_OK && tensor->format.elem == FP4_ELEM_NONE) {
        status = rt_fail(FP4_ERROR_UNSUPPORTED, "tensor '%s': there is no format for type %s",
                         tensor->name, tensor->type);
    }
    if (status == FP4_OK) {
        status = fp4_host_init(host, &tensor->format, tensor->rank, tensor->dims);
    }
    if (status == FP4_OK) {
        host->data = (void *)tensor->data;
    }
    return status;
}

static fp4_status need_pair(const char *function, const fp4_gguf *file, const char *key,
                            const void *out, const pair **p) {
    if (!file || !key || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "%s(): NULL argument", function);
    }
    *p = find_pair(file, key);
    return *p ? FP4_OK : rt_fail(FP4_ERROR_NOT_FOUND, "there is no metadata '%.200s'", key);
}

fp4_status fp4_gguf_text(const fp4_gguf *file, const char *key, const char **text,
                         size_t *n_bytes) {
    const pair *p;
    fp4_status status = need_pair("fp4_gguf_text", file, key, text && n_bytes ? text : NULL, &p);
    if (status == FP4_OK && p->type != TYPE_TEXT) {
        status = rt_fail(FP4_ERROR_MISMATCH, "metadata '%.200s' is no text", key);
    }
    if (status == FP4_OK) {
        *text = (const char *)p->value;
        *n_bytes = (size_t)p->value_bytes;
    }
    return status;
}

fp4_status fp4_gguf_number(const fp4_gguf *file, const char *key, double *value) {
    const pair *p;
    fp4_status status = need_pair("fp4_gguf_number", file, key, value, &p);
    if (status != FP4_OK) {
        return status;
    }
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        float f32;
        uint64_t u64;
        int64_t i64;
        double f64;
    } v = {.u64 = 0};
    memcpy(&v, p->value, type_bytes[p->type]);
    switch (p->type) {
    case TYPE_U8:
    case TYPE_BOOL:
        *value = v.u8;
        return FP4_OK;
    case TYPE_I8:
        *value = v.i8;
        return FP4_OK;
    case TYPE_U16:
        *value = v.u16;
        return FP4_OK;
    case TYPE_I16:
        *value = v.i16;
        return FP4_OK;
    case TYPE_U32:
        *value = v.u32;
        return FP4_OK;
    case TYPE_I32:
        *value = v.i32;
        return FP4_OK;
    case TYPE_F32:
        *value = v.f32;
        return FP4_OK;
    case TYPE_U64:
        *value = (double)v.u64;
        return FP4_OK;
    case TYPE_I64:
        *value = (double)v.i64;
        return FP4_OK;
    case TYPE_F64:
        *value = v.f64;
        return FP4_OK;
    default:
        return rt_fail(FP4_ERROR_MISMATCH, "metadata '%.200s' is no number", key);
    }
}

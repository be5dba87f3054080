// The safetensors reader. In: bytes that nobody vouches for. Out: entries sorted by their place in
// the data, each checked; or a sentence. A checkpoint of several files is one with the entries of
// all of them, file after file. The rules are those of the reference reader (huggingface
// safetensors, tensor.rs): header at most 100 MB, offsets tile the data, no unknown type.
#include "safetensors.h"
#include "rt.h"
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 100 * 1000 * 1000, MAX_TENSORS = 1 << 20 };

typedef struct {
    const char *name;
    int bits;
    fp4_elem elem;
} dtype_row;

static const dtype_row dtypes[] = {
    {"F4", 4, FP4_ELEM_E2M1},      {"F6_E2M3", 6, FP4_ELEM_E2M3}, {"F6_E3M2", 6, FP4_ELEM_E3M2},
    {"F8_E4M3", 8, FP4_ELEM_E4M3}, {"F8_E5M2", 8, FP4_ELEM_E5M2}, {"F8_E8M0", 8, FP4_ELEM_UE8M0},
    {"BF16", 16, FP4_ELEM_BF16},   {"F16", 16, FP4_ELEM_F16},     {"F32", 32, FP4_ELEM_F32},
    {"I32", 32, FP4_ELEM_I32},     {"I64", 64, FP4_ELEM_I64},     {"U8", 8, FP4_ELEM_NONE},
    {"I8", 8, FP4_ELEM_NONE},      {"I16", 16, FP4_ELEM_NONE},    {"U16", 16, FP4_ELEM_NONE},
    {"U32", 32, FP4_ELEM_NONE},    {"F64", 64, FP4_ELEM_NONE},    {"U64", 64, FP4_ELEM_NONE},
    {"BOOL", 8, FP4_ELEM_NONE},    {"C64", 64, FP4_ELEM_NONE},
};

typedef struct {
    const char *name;
    const dtype_row *dtype;
    int rank;
    int64_t dims[FP4_SAFETENSORS_MAX_RANK];
    int64_t begin, end;  // bytes of the data
    const uint8_t *data; // of its file
    int shard;           // number of its file
} entry;

struct fp4_safetensors {
    rt_heap heap;
    cJSON *header; // owns the names and the metadata
    const uint8_t *data;
    int64_t data_bytes;
    entry *entries;
    const entry **named; // the same by name
    int n_entries, cap_entries;
    rt_mapping mapping;       // empty: the caller's memory
    fp4_safetensors **shards; // of an index: the files that it names, in order of their names
    int n_shards, cap_shards;
};

// ---- header -------------------------------------------------------------------------------------

static bool get_size(const cJSON *item, int64_t *out) {
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || !(item->valuedouble <= 0x1p53) ||
        item->valuedouble != (double)(int64_t)item->valuedouble) {
        return false;
    }
    *out = (int64_t)item->valuedouble;
    return true;
}

static fp4_status read_shape(const cJSON *list, entry *e) {
    e->rank = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : -1;
    if (e->rank < 0 || e->rank > FP4_SAFETENSORS_MAX_RANK) {
        return rt_fail(FP4_ERROR_FILE,
                       "tensor '%.100s': 'shape' is missing or has more than %d axes", e->name,
                       FP4_SAFETENSORS_MAX_RANK);
    }
    const cJSON *item = list->child;
    for (int i = 0; i < e->rank; i++, item = item->next) {
        if (!get_size(item, &e->dims[i])) {
            return rt_fail(FP4_ERROR_FILE, "tensor '%.100s': axis %d of 'shape' is no size",
                           e->name, i);
        }
    }
    return FP4_OK;
}

static fp4_status read_offsets(const fp4_safetensors *f, const cJSON *list, entry *e) {
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != 2 ||
        !get_size(list->child, &e->begin) || !get_size(list->child->next, &e->end)) {
        return rt_fail(FP4_ERROR_FILE, "tensor '%.100s': 'data_offsets' is not [begin, end]",
                       e->name);
    }
    if (e->begin > e->end || e->end > f->data_bytes) {
        return rt_fail(FP4_ERROR_FILE, "tensor '%.100s' lies at %lld .. %lld of %lld bytes",
                       e->name, (long long)e->begin, (long long)e->end, (long long)f->data_bytes);
    }
    return FP4_OK;
}

// Bytes of the shape equal the bytes of the data.
static fp4_status check_bytes(const entry *e) {
    int64_t bits = e->dtype->bits;
    bool fits = true;
    for (int i = 0; i < e->rank && fits; i++) {
        fits = rt_mul(bits, e->dims[i], &bits);
    }
    if (!fits || bits % 8 != 0 || bits / 8 != e->end - e->begin) {
        return rt_fail(FP4_ERROR_FILE,
                       "tensor '%.100s': its shape does not make the %lld bytes that it has",
                       e->name, (long long)(e->end - e->begin));
    }
    return FP4_OK;
}

static fp4_status read_entry(fp4_safetensors *f, const cJSON *item, entry *e) {
    *e = (entry){.name = item->string, .data = f->data};
    const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0] && cJSON_IsString(dtype); i++) {
        if (strcmp(dtypes[i].name, dtype->valuestring) == 0) {
            e->dtype = &dtypes[i];
        }
    }
    if (!e->dtype) {
        return rt_fail(FP4_ERROR_FILE, "tensor '%.100s': 'dtype' is missing or not known (%.20s)",
                       e->name, cJSON_IsString(dtype) ? dtype->valuestring : "no text");
    }
    fp4_status status = read_shape(cJSON_GetObjectItemCaseSensitive(item, "shape"), e);
    if (status == FP4_OK) {
        status = read_offsets(f, cJSON_GetObjectItemCaseSensitive(item, "data_offsets"), e);
    }
    return status == FP4_OK ? check_bytes(e) : status;
}

static fp4_status check_metadata(const cJSON *item) {
    const cJSON *text = NULL;
    cJSON_ArrayForEach(text, item) {
        if (!cJSON_IsString(text)) {
            return rt_fail(FP4_ERROR_FILE, "'__metadata__' holds something that is no text");
        }
    }
    return cJSON_IsObject(item) ? FP4_OK
                                : rt_fail(FP4_ERROR_FILE, "'__metadata__' is no object of texts");
}

static int by_place(const void *a, const void *b) {
    const entry *x = a;
    const entry *y = b;
    int order = x->shard - y->shard;
    order = order ? order : (x->begin > y->begin) - (x->begin < y->begin);
    order = order ? order : (x->end > y->end) - (x->end < y->end);
    return order ? order : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const entry *const *)a)->name, (*(const entry *const *)b)->name);
}

static const entry *find(const fp4_safetensors *f, const char *name) {
    const entry key = {.name = name};
    const entry *wanted = &key;
    size_t n = (size_t)f->n_entries;
    const entry **at = n > 0 ? bsearch(&wanted, f->named, n, sizeof *f->named, by_name) : NULL;
    return at ? *at : NULL;
}

// Room for n entries; one more, so that there is some for none.
static fp4_status make_room(fp4_safetensors *f, int n) {
    f->cap_entries = n + 1;
    f->entries = rt_resize(&f->heap, NULL, 0, (size_t)f->cap_entries * sizeof *f->entries);
    f->named = rt_resize(&f->heap, NULL, 0, (size_t)f->cap_entries * sizeof *f->named);
    return f->entries && f->named ? FP4_OK : FP4_ERROR_MEMORY;
}

// Puts all entries in order of their places; no two have a name.
static fp4_status order_entries(fp4_safetensors *f) {
    qsort(f->entries, (size_t)f->n_entries, sizeof *f->entries, by_place);
    for (int i = 0; i < f->n_entries; i++) {
        f->named[i] = &f->entries[i];
    }
    qsort(f->named, (size_t)f->n_entries, sizeof *f->named, by_name);
    for (int i = 1; i < f->n_entries; i++) {
        if (by_name(&f->named[i - 1], &f->named[i]) == 0) {
            return rt_fail(FP4_ERROR_FILE, "there are two tensors '%.100s'", f->named[i]->name);
        }
    }
    return FP4_OK;
}

static fp4_status check_tiling(const fp4_safetensors *f) {
    int64_t at = 0;
    for (int i = 0; i < f->n_entries; i++) {
        if (f->entries[i].begin != at) {
            return rt_fail(FP4_ERROR_FILE,
                           "tensor '%.100s' begins at byte %lld, expected %lld: "
                           "the data has a hole or an overlap",
                           f->entries[i].name, (long long)f->entries[i].begin, (long long)at);
        }
        at = f->entries[i].end;
    }
    if (at != f->data_bytes) {
        return rt_fail(FP4_ERROR_FILE, "the tensors end at byte %lld of %lld", (long long)at,
                       (long long)f->data_bytes);
    }
    return FP4_OK;
}

static fp4_status read_entries(fp4_safetensors *f) {
    int n = cJSON_GetArraySize(f->header);
    if (n > MAX_TENSORS) {
        return rt_fail(FP4_ERROR_FILE, "the header names %d tensors, more than %d", n, MAX_TENSORS);
    }
    fp4_status status = make_room(f, n);
    if (status != FP4_OK) {
        return status;
    }
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, f->header) {
        if (strcmp(item->string, "__metadata__") == 0) {
            status = check_metadata(item);
        } else {
            status = read_entry(f, item, &f->entries[f->n_entries++]);
        }
        if (status != FP4_OK) {
            return status;
        }
    }
    status = order_entries(f);
    return status == FP4_OK ? check_tiling(f) : status;
}

static fp4_status read_header(fp4_safetensors *f, const uint8_t *bytes, size_t n_bytes) {
    uint64_t length = 0;
    if (n_bytes >= sizeof length) {
        memcpy(&length, bytes, sizeof length);
    }
    if (length < 2 || length > MAX_HEADER || length > n_bytes - sizeof length ||
        bytes[sizeof length] != '{') {
        return rt_fail(
            FP4_ERROR_FILE,
            "not a safetensors file: no header of 2 .. 100000000 bytes at its beginning");
    }
    const char *text = (const char *)bytes + sizeof length;
    const char *end = NULL;
    f->header = cJSON_ParseWithLengthOpts(text, (size_t)length, &end, false);
    if (!cJSON_IsObject(f->header)) {
        return rt_fail(FP4_ERROR_FILE, "the header is no JSON object, or memory is used up");
    }
    while (end < text + length && *end == ' ') {
        end++;
    }
    if (end != text + length) {
        return rt_fail(FP4_ERROR_FILE, "the header has %zu bytes behind its end",
                       (size_t)(text + length - end));
    }
    f->data = bytes + sizeof length + length;
    f->data_bytes = (int64_t)(n_bytes - sizeof length - length);
    return read_entries(f);
}

// ---- opening and closing ------------------------------------------------------------------------

static fp4_status new_file(const fp4_config *config, fp4_safetensors **out) {
    rt_heap heap;
    rt_heap_init(&heap, config ? config->alloc : NULL, config ? config->alloc_user : NULL);
    fp4_safetensors *f = rt_resize(&heap, NULL, 0, sizeof *f);
    if (!f) {
        return FP4_ERROR_MEMORY;
    }
    *f = (fp4_safetensors){.heap = heap};
    *out = f;
    return FP4_OK;
}

fp4_status fp4_safetensors_open_memory(const fp4_config *config, const void *bytes, size_t n_bytes,
                                       fp4_safetensors **out) {
    if (!bytes || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_safetensors_open_memory(): NULL argument");
    }
    *out = NULL;
    fp4_safetensors *f = NULL;
    fp4_status status = new_file(config, &f);
    if (status == FP4_OK) {
        status = read_header(f, bytes, n_bytes);
    }
    if (status != FP4_OK) {
        fp4_safetensors_close(f);
        return status;
    }
    *out = f;
    return FP4_OK;
}

static fp4_status open_plain(const fp4_config *config, const char *path, fp4_safetensors **out) {
    fp4_safetensors *f = NULL;
    fp4_status status = new_file(config, &f);
    if (status != FP4_OK) {
        return status;
    }
    status = rt_map_file(path, &f->mapping);
    if (status == FP4_OK) {
        status = read_header(f, f->mapping.bytes, f->mapping.n);
    }
    if (status != FP4_OK) {
        fp4_safetensors_close(f);
        return rt_prefix(status, "%s: ", path);
    }
    *out = f;
    return FP4_OK;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// The files that the map of an index names, each once and in order. They lie where the index does.
static fp4_status list_shards(const cJSON *map, const char **names, int *n) {
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, map) {
        const char *name = cJSON_GetStringValue(item);
        if (!name || !*name || strchr(name, '/')) {
            return rt_fail(FP4_ERROR_FILE,
                           "'weight_map' says of '%.100s' no name of a file beside it",
                           item->string);
        }
        names[(*n)++] = name;
    }
    qsort(names, (size_t)*n, sizeof *names, by_text);
    int left = 0;
    for (int i = 0; i < *n; i++) {
        if (left == 0 || strcmp(names[left - 1], names[i]) != 0) {
            names[left++] = names[i];
        }
    }
    *n = left;
    return FP4_OK;
}

static fp4_status open_shards(const fp4_config *config, const char *path, fp4_safetensors *f,
                              const char **names) {
    int n = 0;
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(f->header, "weight_map");
    fp4_status status = list_shards(map, names, &n);
    const char *slash = strrchr(path, '/');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
    f->cap_shards = n + 1;
    f->shards = rt_resize(&f->heap, NULL, 0, (size_t)f->cap_shards * sizeof(fp4_safetensors *));
    status = status == FP4_OK && !f->shards ? FP4_ERROR_MEMORY : status;
    for (int i = 0; i < n && status == FP4_OK; i++) {
        size_t bytes = folder + strlen(names[i]) + 1;
        char *file = rt_resize(&f->heap, NULL, 0, bytes);
        if (!file) {
            return FP4_ERROR_MEMORY;
        }
        memcpy(file, path, folder);
        memcpy(file + folder, names[i], bytes - folder);
        status = open_plain(config, file, &f->shards[i]);
        f->n_shards += status == FP4_OK;
        rt_release(&f->heap, file, bytes);
    }
    return status;
}

// All entries of all files; each tensor of the map is one of them.
static fp4_status join_shards(fp4_safetensors *f) {
    int64_t n = 0;
    for (int i = 0; i < f->n_shards; i++) {
        n += f->shards[i]->n_entries;
    }
    if (n > MAX_TENSORS) {
        return rt_fail(FP4_ERROR_FILE, "the files have %lld tensors, more than %d", (long long)n,
                       MAX_TENSORS);
    }
    fp4_status status = make_room(f, (int)n);
    for (int i = 0; i < f->n_shards && status == FP4_OK; i++) {
        for (int k = 0; k < f->shards[i]->n_entries; k++) {
            f->entries[f->n_entries] = f->shards[i]->entries[k];
            f->entries[f->n_entries++].shard = i;
        }
    }
    status = status == FP4_OK ? order_entries(f) : status;
    const cJSON *item = NULL;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(f->header, "weight_map")) {
        if (status == FP4_OK && !find(f, item->string)) {
            status = rt_fail(FP4_ERROR_FILE,
                             "'weight_map' names tensor '%.100s', which no file has", item->string);
        }
    }
    return status;
}

static fp4_status read_index(const fp4_config *config, const char *path, fp4_safetensors *f) {
    fp4_status status = rt_map_file(path, &f->mapping);
    if (status != FP4_OK) {
        return status;
    }
    f->header = f->mapping.n <= MAX_HEADER
                    ? cJSON_ParseWithLength((const char *)f->mapping.bytes, f->mapping.n)
                    : NULL;
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(f->header, "weight_map");
    if (!cJSON_IsObject(map)) {
        return rt_fail(FP4_ERROR_FILE,
                       "not the index of a checkpoint: no JSON with a 'weight_map'");
    }
    size_t bytes = ((size_t)cJSON_GetArraySize(map) + 1) * sizeof(char *);
    const char **names = rt_resize(&f->heap, NULL, 0, bytes);
    status = names ? open_shards(config, path, f, names) : FP4_ERROR_MEMORY;
    rt_release(&f->heap, names, bytes);
    return status == FP4_OK ? join_shards(f) : status;
}

static bool is_index(const char *path) {
    static const char ending[] = ".json";
    size_t n = strlen(path);
    return n >= sizeof ending && strcmp(path + n - (sizeof ending - 1), ending) == 0;
}

fp4_status fp4_safetensors_open_file(const fp4_config *config, const char *path,
                                     fp4_safetensors **out) {
    if (!path || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_safetensors_open_file(): NULL argument");
    }
    *out = NULL;
    if (!is_index(path)) {
        return open_plain(config, path, out);
    }
    fp4_safetensors *f = NULL;
    fp4_status status = new_file(config, &f);
    if (status != FP4_OK) {
        return status;
    }
    status = read_index(config, path, f);
    if (status != FP4_OK) {
        fp4_safetensors_close(f);
        return rt_prefix(status, "%s: ", path);
    }
    *out = f;
    return FP4_OK;
}

void fp4_safetensors_close(fp4_safetensors *file) {
    if (!file) {
        return;
    }
    rt_heap heap = file->heap;
    for (int i = 0; i < file->n_shards; i++) {
        fp4_safetensors_close(file->shards[i]);
    }
    cJSON_Delete(file->header);
    rt_release(&heap, file->shards, (size_t)file->cap_shards * sizeof(fp4_safetensors *));
    rt_release(&heap, file->named, (size_t)file->cap_entries * sizeof *file->named);
    rt_release(&heap, file->entries, (size_t)file->cap_entries * sizeof *file->entries);
    rt_unmap(&file->mapping);
    rt_release(&heap, file, sizeof *file);
}

// ---- questions ----------------------------------------------------------------------------------

int fp4_safetensors_count(const fp4_safetensors *file) {
    return file ? file->n_entries : 0;
}

static fp4_status give(const entry *e, fp4_safetensor *out) {
    fp4_safetensor full = {.size = sizeof full,
                           .name = e->name,
                           .dtype = e->dtype->name,
                           .elem = e->dtype->elem,
                           .rank = e->rank,
                           .data = e->data + e->begin,
                           .bytes = e->end - e->begin};
    memcpy(full.dims, e->dims, sizeof full.dims);
    return rt_give("fp4_safetensor", out, &full, sizeof full);
}

fp4_status(fp4_safetensors_at)(const fp4_safetensors *file, int index, fp4_safetensor *out) {
    if (!file || !out || index < 0 || index >= file->n_entries) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_safetensors_at(): there is no tensor %d", index);
    }
    return give(&file->entries[index], out);
}

fp4_status(fp4_safetensors_find)(const fp4_safetensors *file, const char *name,
                                 fp4_safetensor *out) {
    if (!file || !name || !out) {
        return rt_fail(FP4_ERROR_ARGUMENT, "fp4_safetensors_find(): NULL argument");
    }
    const entry *e = find(file, name);
    return e ? give(e, out)
             : rt_fail(FP4_ERROR_NOT_FOUND, "there is no tensor '%.200s' in the file", name);
}

const char *fp4_safetensors_metadata(const fp4_safetensors *file, const char *key) {
    if (!file || !key) {
        return NULL;
    }
    const fp4_safetensors *first = file->n_shards > 0 ? file->shards[0] : file;
    const cJSON *metadata = cJSON_GetObjectItemCaseSensitive(first->header, "__metadata__");
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(metadata, key));
}

// The module file: header, section table, checksum (module.h). Nothing in it is believed before it
// is checked; every refusal is a sentence. META goes to module_meta.c, code is copied to the
// kernels.
#include "kernel.h"
#include "module.h"
#include <string.h>

enum { MAX_SECTIONS = 4096 };

typedef struct {
    uint32_t kind, index;
    uint64_t offset, bytes;
} section;

typedef struct {
    const uint8_t *bytes;
    size_t n_bytes;
    uint32_t n_sections;
} file;

static uint32_t u32_at(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t u64_at(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static section section_at(const file *f, uint32_t i) {
    const uint8_t *p = f->bytes + FP4_MODULE_HEADER_BYTES + (size_t)i * FP4_MODULE_SECTION_BYTES;
    return (section){u32_at(p), u32_at(p + 4), u64_at(p + 8), u64_at(p + 16)};
}

static fp4_status check_header(file *f) {
    if (f->n_bytes < FP4_MODULE_HEADER_BYTES ||
        memcmp(f->bytes, FP4_MODULE_MAGIC, strlen(FP4_MODULE_MAGIC)) != 0) {
        return rt_fail(FP4_ERROR_MODULE,
                       "not a module file: it does not begin with the mark of one");
    }
    uint32_t version = u32_at(f->bytes + 8);
    if (version != FP4_MODULE_VERSION) {
        return rt_fail(
            FP4_ERROR_MODULE,
            "module version %u, this library reads version %u; compile it again with the "
            "fp4c that belongs to the library",
            (unsigned)version, FP4_MODULE_VERSION);
    }
    uint64_t total = u64_at(f->bytes + 16);
    if (total != f->n_bytes) {
        return rt_fail(FP4_ERROR_MODULE,
                       "the module is cut off or has grown: it says %llu bytes, "
                       "there are %zu",
                       (unsigned long long)total, f->n_bytes);
    }
    f->n_sections = u32_at(f->bytes + 12);
    size_t room = (f->n_bytes - FP4_MODULE_HEADER_BYTES) / FP4_MODULE_SECTION_BYTES;
    if (f->n_sections > MAX_SECTIONS || f->n_sections > room) {
        return rt_fail(FP4_ERROR_MODULE, "the module says it has %u sections, which do not fit it",
                       (unsigned)f->n_sections);
    }
    uint64_t sum = fp4_module_hash(f->bytes + FP4_MODULE_HEADER_BYTES, f->n_bytes - FP4_MODULE_HEADER_BYTES);
    if (sum != u64_at(f->bytes + 24)) {
        return rt_fail(FP4_ERROR_MODULE, "the module is damaged: its checksum does not match");
    }
    return FP4_OK;
}

static fp4_status check_section(const file *f, uint32_t i) {
    section s = section_at(f, i);
    uint64_t first = FP4_MODULE_HEADER_BYTES + (uint64_t)f->n_sections * FP4_MODULE_SECTION_BYTES;
    if (s.kind < FP4_MODULE_META || s.kind > FP4_MODULE_TUNE) {
        return rt_fail(FP4_ERROR_MODULE,
                       "section %u is of kind %u, which this version does not know", (unsigned)i,
                       (unsigned)s.kind);
    }
    if (s.offset % 16 != 0 || s.offset < first || s.offset > f->n_bytes ||
        s.bytes > f->n_bytes - s.offset) {
        return rt_fail(FP4_ERROR_MODULE,
                       "section %u lies at offset %llu with %llu bytes, outside the file of %zu or "
                       "not on 16 bytes",
                       (unsigned)i, (unsigned long long)s.offset, (unsigned long long)s.bytes,
                       f->n_bytes);
    }
    for (uint32_t j = 0; j < i; j++) {
        section t = section_at(f, j);
        if (s.kind == t.kind && s.index == t.index) {
            return rt_fail(FP4_ERROR_MODULE, "sections %u and %u are both kind %u, index %u",
                           (unsigned)j, (unsigned)i, (unsigned)s.kind, (unsigned)s.index);
        }
        if (s.bytes && t.bytes && s.offset < t.offset + t.bytes && t.offset < s.offset + s.bytes) {
            return rt_fail(FP4_ERROR_MODULE, "sections %u and %u overlap", (unsigned)j,
                           (unsigned)i);
        }
    }
    return FP4_OK;
}

static fp4_status read_meta(fp4_module *module, const file *f) {
    for (uint32_t i = 0; i < f->n_sections; i++) {
        section s = section_at(f, i);
        if (s.kind == FP4_MODULE_META && s.index == 0) {
            return rt_meta_read(module, (const char *)f->bytes + s.offset, (size_t)s.bytes);
        }
    }
    return rt_fail(FP4_ERROR_MODULE, "the module has no META section with index 0");
}

static fp4_status read_code(fp4_module *module, const file *f, section s) {
    if (s.index >= (uint32_t)module->n_kernels) {
        return rt_fail(FP4_ERROR_MODULE, "there is code for kernel %u, the module has %d",
                       (unsigned)s.index, module->n_kernels);
    }
    fp4_kernel *kernel = &module->kernels[s.index];
    const char *bytes = (const char *)f->bytes + s.offset;
    if (s.kind == FP4_MODULE_PTX) {
        size_t n = strnlen(bytes, (size_t)s.bytes);
        if (n + 1 < s.bytes) {
            return rt_fail(FP4_ERROR_MODULE, "the PTX of %s() holds a 0 byte", kernel->name);
        }
        kernel->ptx_bytes = n;
        kernel->ptx = rt_pool_text(&module->pool, bytes, n);
        return kernel->ptx ? FP4_OK : FP4_ERROR_MEMORY;
    }
    kernel->cubin_bytes = (size_t)s.bytes;
    kernel->cubin = rt_pool_text(&module->pool, bytes, (size_t)s.bytes);
    return kernel->cubin ? FP4_OK : FP4_ERROR_MEMORY;
}

fp4_status rt_module_read(fp4_module *module, const uint8_t *bytes, size_t n_bytes) {
    file f = {.bytes = bytes, .n_bytes = n_bytes};
    fp4_status status = check_header(&f);
    for (uint32_t i = 0; i < f.n_sections && status == FP4_OK; i++) {
        status = check_section(&f, i);
    }
    if (status == FP4_OK) {
        status = read_meta(module, &f);
    }
    for (uint32_t i = 0; i < f.n_sections && status == FP4_OK; i++) {
        section s = section_at(&f, i);
        if (s.kind == FP4_MODULE_TUNE) {
            status = rt_tune_read(module, (const char *)f.bytes + s.offset, (size_t)s.bytes);
        } else if (s.kind != FP4_MODULE_META) {
            status = read_code(module, &f, s);
        }
    }
    for (int i = 0; i < module->n_kernels && status == FP4_OK; i++) {
        const fp4_kernel *k = &module->kernels[i];
        if (!k->ptx && !k->cubin) {
            status = rt_fail(FP4_ERROR_MODULE, "%s() for %s has neither PTX nor cubin", k->name,
                             k->arch);
        }
    }
    return status;
}

// ---- writing ------------------------------------------------------------------------------------

static void put(uint8_t *p, uint64_t value, size_t bytes) {
    memcpy(p, &value, bytes);
}

// Appends a section to the file that is being made; its table entry is number 'i'.
static void put_section(uint8_t *out, size_t *end, uint32_t i, section s, const void *bytes) {
    *end = (*end + 15) / 16 * 16;
    uint8_t *entry = out + FP4_MODULE_HEADER_BYTES + (size_t)i * FP4_MODULE_SECTION_BYTES;
    put(entry, s.kind, 4);
    put(entry + 4, s.index, 4);
    put(entry + 8, *end, 8);
    put(entry + 16, s.bytes, 8);
    memcpy(out + *end, bytes, (size_t)s.bytes);
    *end += (size_t)s.bytes;
}

fp4_status rt_module_retune(rt_pool *pool, const rt_mapping *mapping, const char *text,
                            uint8_t **out, size_t *n_out) {
    file f = {.bytes = mapping->bytes, .n_bytes = mapping->n};
    fp4_status status = check_header(&f);
    if (status != FP4_OK) {
        return status;
    }
    section tune = {FP4_MODULE_TUNE, 0, 0, strlen(text)};
    size_t most = f.n_bytes + FP4_MODULE_SECTION_BYTES + tune.bytes + 16 * (f.n_sections + 2);
    uint8_t *bytes = rt_pool_new(pool, most);
    if (!bytes) {
        return FP4_ERROR_MEMORY;
    }
    uint32_t n = 1;
    for (uint32_t i = 0; i < f.n_sections; i++) {
        n += section_at(&f, i).kind != FP4_MODULE_TUNE;
    }
    size_t end = FP4_MODULE_HEADER_BYTES + (size_t)n * FP4_MODULE_SECTION_BYTES;
    uint32_t done = 0;
    for (uint32_t i = 0; i < f.n_sections; i++) {
        section s = section_at(&f, i);
        if (s.kind != FP4_MODULE_TUNE) {
            put_section(bytes, &end, done++, s, f.bytes + s.offset);
        }
    }
    put_section(bytes, &end, done, tune, text);
    memcpy(bytes, FP4_MODULE_MAGIC, strlen(FP4_MODULE_MAGIC));
    put(bytes + 8, FP4_MODULE_VERSION, 4);
    put(bytes + 12, n, 4);
    put(bytes + 16, end, 8);
    put(bytes + 24, fp4_module_hash(bytes + FP4_MODULE_HEADER_BYTES, end - FP4_MODULE_HEADER_BYTES), 8);
    *out = bytes;
    *n_out = end;
    return FP4_OK;
}

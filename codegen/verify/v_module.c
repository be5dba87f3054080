// What a module says beside the PTX (runtime/module.h): boxes of tensor maps, threads, shared
// memory.
#include "v_module.h"

#include "module.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static uint64_t number(const cJSON *o, const char *key, uint64_t most) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
    return cJSON_IsNumber(v) && v->valuedouble >= 0 && v->valuedouble <= (double)most
               ? (uint64_t)v->valuedouble
               : 0;
}

// Bits of an element by CUtensorMapDataType (CUDA Driver API). The padded 4- and 6-bit types take
// 16 bytes of shared memory for 16 elements; mbarriers count the packed bits.
static uint32_t element_bits(uint64_t dtype, bool packed) {
    static const uint8_t bits[16] = {8, 16, 32, 32, 64, 64, 16, 32, 64, 16, 32, 32, 32, 4, 4, 6};
    return dtype > 15 ? 0 : dtype > 13 && !packed ? 8 : bits[dtype];
}

static uint32_t box_bytes(const cJSON *arg, bool packed) {
    const cJSON *box = cJSON_GetObjectItemCaseSensitive(arg, "box"), *extent;
    uint64_t bits = element_bits(number(arg, "dtype", 15), packed);
    cJSON_ArrayForEach(extent, box) {
        if (!cJSON_IsNumber(extent) || extent->valuedouble < 1 || extent->valuedouble > 256) {
            return 0;
        }
        bits *= (uint64_t)extent->valuedouble;
        if (bits > UINT32_MAX) {
            return 0;
        }
    }
    return cJSON_IsArray(box) ? (uint32_t)(bits / 8) : 0;
}

static void read_kernel(const cJSON *k, facts_kernel *out) {
    *out = (facts_kernel){0};
    const cJSON *launch = cJSON_GetObjectItemCaseSensitive(k, "launch"), *arg;
    out->facts.threads = (uint32_t)number(launch, "threads", 1024);
    out->facts.smem_bytes = (uint32_t)number(launch, "smem", 1 << 20);
    out->facts.entry_regs = (uint32_t)number(launch, "entry_regs", 256);
    out->facts.pdl = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(launch, "pdl"));
    int n = 0;
    cJSON_ArrayForEach(arg, cJSON_GetObjectItemCaseSensitive(k, "args")) {
        const cJSON *kind = cJSON_GetObjectItemCaseSensitive(arg, "kind");
        if (n < VERIFY_MOST_PARAMS && cJSON_IsString(kind) &&
            strcmp(kind->valuestring, "tensormap") == 0) {
            out->facts.box_bytes[n] = box_bytes(arg, false);
            out->facts.box_tx[n] = box_bytes(arg, true);
            out->facts.early[n] = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(arg, "early"));
        }
        n++;
    }
}

const char *facts_of_kernel(const char *json, size_t len, facts_kernel *out) {
    cJSON *k = cJSON_ParseWithLength(json, len);
    if (!cJSON_IsObject(k)) {
        cJSON_Delete(k);
        return "the metadata is no JSON object";
    }
    read_kernel(k, out);
    cJSON_Delete(k);
    return NULL;
}

static uint64_t little(const unsigned char *p, int bytes) {
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) {
        v |= (uint64_t)p[i] << (8 * i);
    }
    return v;
}

const char *facts_of_module(const void *bytes, size_t len, facts_kernel *out, int most, int *n) {
    const unsigned char *b = bytes;
    if (len < FP4_MODULE_HEADER_BYTES || memcmp(b, FP4_MODULE_MAGIC, 8) != 0 ||
        little(b + 8, 4) != FP4_MODULE_VERSION) {
        return "this is no module of this version";
    }
    uint64_t sections = little(b + 12, 4);
    if (sections > (len - FP4_MODULE_HEADER_BYTES) / FP4_MODULE_SECTION_BYTES) {
        return "the module is cut off";
    }
    cJSON *meta = NULL;
    for (int pass = 0; pass < 2; pass++) { // the metadata first, then the texts that go with it
        for (uint64_t s = 0; s < sections; s++) {
            const unsigned char *e = b + FP4_MODULE_HEADER_BYTES + s * FP4_MODULE_SECTION_BYTES;
            uint64_t kind = little(e, 4), index = little(e + 4, 4), at = little(e + 8, 8),
                     size = little(e + 16, 8);
            if (at > len || size > len - at) {
                cJSON_Delete(meta);
                return "the module is cut off";
            }
            if (pass == 0 && kind == FP4_MODULE_META && meta == NULL) {
                meta = cJSON_ParseWithLength((const char *)b + at, size);
            } else if (pass == 1 && kind == FP4_MODULE_PTX && index < (uint64_t)*n) {
                out[index].ptx = (const char *)b + at;
                out[index].len = size;
            }
        }
        const cJSON *kernels = cJSON_GetObjectItemCaseSensitive(meta, "kernels"), *k;
        if (pass == 0) {
            *n = 0;
            cJSON_ArrayForEach(k, kernels) {
                if (*n < most) {
                    read_kernel(k, &out[(*n)++]);
                }
            }
        }
    }
    cJSON_Delete(meta);
    return *n == 0 ? "the module has no kernels" : NULL;
}

// Writing module files for tests.
#include "sample.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char sample_gemm_meta[] =
    "{\"fp4c\":\"0.1.0\",\"source\":\"gemm.tk\",\"kernels\":[{"
    "\"name\":\"nvfp4_gemm\",\"arch\":\"sm_100a\",\"entry\":\"nvfp4_gemm\","
    "\"dims\":[\"M\",\"N\",\"K\"],\"tparams\":{\"BM\":256,\"BN\":256},"
    "\"params\":["
    "{\"name\":\"A\",\"kind\":\"tensor\",\"mode\":\"in\",\"format\":\"nvfp4\",\"elem\":\"e2m1\","
    "\"scale\":\"ue4m3\",\"granule\":[1,16],\"layout\":\"sf128x4\",\"dims\":[\"M\",\"K\"],"
    "\"align\":16},"
    "{\"name\":\"B\",\"kind\":\"tensor\",\"mode\":\"in\",\"format\":\"nvfp4\",\"elem\":\"e2m1\","
    "\"scale\":\"ue4m3\",\"granule\":[1,16],\"layout\":\"sf128x4\",\"dims\":[\"N\",\"K\"],"
    "\"align\":16},"
    "{\"name\":\"D\",\"kind\":\"tensor\",\"mode\":\"out\",\"format\":\"bf16\",\"elem\":\"bf16\","
    "\"scale\":null,\"granule\":[],\"layout\":null,\"dims\":[\"M\",\"N\"],\"align\":16},"
    "{\"name\":\"alpha\",\"kind\":\"scalar\",\"elem\":\"f32\"}],"
    "\"where\":["
    "{\"expr\":[\"==\",[\"%\",\"N\",8],0],\"text\":\"N % 8 == 0\",\"line\":9},"
    "{\"expr\":[\"==\",[\"%\",\"K\",32],0],\"text\":\"K % 32 == 0\",\"line\":9}],"
    "\"args\":["
    "{\"kind\":\"tensormap\",\"tensor\":\"A\",\"part\":\"data\",\"dtype\":0,"
    "\"dims\":[[\"/\",\"K\",2],\"M\"],\"strides\":[\"A.pitch\"],\"box\":[128,128],\"swizzle\":3},"
    "{\"kind\":\"tensormap\",\"tensor\":\"A\",\"part\":\"scale\",\"dtype\":0,"
    "\"dims\":[\"A.sf_bytes\"],\"strides\":[],\"box\":[256],\"swizzle\":0},"
    "{\"kind\":\"pointer\",\"tensor\":\"D\",\"part\":\"data\"},"
    "{\"kind\":\"dim\",\"expr\":\"D.pitch\",\"type\":\"i64\"},"
    "{\"kind\":\"dim\",\"expr\":\"M\",\"type\":\"i32\"},"
    "{\"kind\":\"dim\",\"expr\":[\"ceildiv\",\"K\",\"BN\"],\"type\":\"i32\"},"
    "{\"kind\":\"scalar\",\"name\":\"alpha\",\"type\":\"f32\"}],"
    "\"launch\":{\"threads\":192,\"smem\":200000,\"cluster\":[2,1,1],"
    "\"grid\":{\"tiles\":[\"*\",[\"ceildiv\",\"M\",256],[\"ceildiv\",\"N\",256]],"
    "\"persistent\":true},\"entry_regs\":128},"
    "\"report\":{\"regs\":128,\"spills\":0,\"stack\":0}}]}";

const char sample_gemm_ptx[] = ".version 8.6\n.target sm_100a\n.visible .entry nvfp4_gemm() {}\n";

static void put(uint8_t *p, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
        p[i] = (uint8_t)(value >> 8 * i);
    }
}

void sample_seal(sample_file *file) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 32; i < file->n_bytes; i++) {
        hash ^= file->bytes[i];
        hash *= 1099511628211u;
    }
    put(file->bytes + 24, hash, 8);
}

sample_file sample_write(const sample_section *sections, int n) {
    size_t at = 32 + 24 * (size_t)n;
    size_t total = at;
    for (int i = 0; i < n; i++) {
        total = (total + 15) / 16 * 16 + sections[i].n_bytes;
    }
    sample_file file = {calloc(1, total + 1), total};
    assert_non_null(file.bytes);
    memcpy(file.bytes, "FP4TKM\r\n", 8);
    put(file.bytes + 8, 1, 4);
    put(file.bytes + 12, (uint64_t)n, 4);
    put(file.bytes + 16, total, 8);
    for (int i = 0; i < n; i++) {
        at = (at + 15) / 16 * 16;
        uint8_t *entry = file.bytes + 32 + 24 * (size_t)i;
        put(entry, sections[i].kind, 4);
        put(entry + 4, sections[i].index, 4);
        put(entry + 8, at, 8);
        put(entry + 16, sections[i].n_bytes, 8);
        memcpy(file.bytes + at, sections[i].bytes, sections[i].n_bytes);
        at += sections[i].n_bytes;
    }
    sample_seal(&file);
    return file;
}

sample_file sample_of(const char *meta, const char *ptx) {
    sample_section sections[] = {{1, 0, meta, strlen(meta)}, {2, 0, ptx, strlen(ptx)}};
    return sample_write(sections, 2);
}

char *sample_replace(const char *text, const char *old, const char *new) {
    const char *at = strstr(text, old);
    assert_non_null(at);
    size_t before = (size_t)(at - text);
    char *out = malloc(strlen(text) - strlen(old) + strlen(new) + 1);
    assert_non_null(out);
    memcpy(out, text, before);
    strcpy(out + before, new);
    strcat(out, at + strlen(old));
    return out;
}

// Device memory: a sorted table of allocations, each in host memory of its own. Addresses grow and
// are never given out twice, so that what was freed stays a fault; 4 KiB and more lie between
// allocations.
#include "core.h"
#include <stdlib.h>

#define FIRST_ADDRESS 0x100000000000ull
#define RED_ZONE 4096u
#define ALIGN 256u
// CUDA C++ "Dynamic Global Memory Allocation": eight megabytes unless the host sets another size.
#define HEAP_BYTES (8u << 20)
#define HEAP_UNIT 64u

static size_t find(const struct devmem *m, uint64_t address) { // the last one at or below
    size_t lo = 0;
    size_t hi = m->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (m->list[mid].base <= address) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo; // number of allocations at or below
}

uint8_t *devmem_at(const struct devmem *m, uint64_t address, uint64_t bytes) {
    size_t n = find(m, address);
    if (n == 0) {
        return NULL;
    }
    const struct allocation *a = &m->list[n - 1];
    uint64_t off = address - a->base;
    return off <= a->bytes && bytes <= a->bytes - off ? a->host + off : NULL;
}

const struct allocation *devmem_nearest(const struct devmem *m, uint64_t address) {
    size_t n = find(m, address);
    if (m->n == 0) {
        return NULL;
    }
    if (n == 0) {
        return &m->list[0];
    }
    const struct allocation *below = &m->list[n - 1];
    if (n == m->n || address - below->base < below->bytes) {
        return below;
    }
    uint64_t after = address - (below->base + below->bytes);
    return m->list[n].base - address < after ? &m->list[n] : below;
}

static bool make_room(struct devmem *m) {
    if (m->n < m->capacity) {
        return true;
    }
    size_t more = m->capacity == 0 ? 64 : m->capacity * 2;
    struct allocation *list = realloc(m->list, more * sizeof *list);
    if (list == NULL) {
        return false;
    }
    m->list = list;
    m->capacity = more;
    return true;
}

uint64_t sim_alloc(sim *s, size_t bytes) {
    struct devmem *m = &s->mem;
    if (bytes > m->limit - m->used) {
        sim_set_error(s, SIM_ERROR_MEMORY, "no room for %zu bytes: %llu of %llu bytes are in use",
                      bytes, (unsigned long long)m->used, (unsigned long long)m->limit);
        return 0;
    }
    uint8_t *host = make_room(m) ? malloc(bytes > 0 ? bytes : 1) : NULL;
    if (host == NULL) {
        sim_set_error(s, SIM_ERROR_MEMORY, "out of host memory for %zu bytes", bytes);
        return 0;
    }
    memset(host, 0xA5, bytes);
    m->next = m->next == 0 ? FIRST_ADDRESS : m->next;
    m->list[m->n++] = (struct allocation){m->next, bytes, host, false};
    uint64_t base = m->next;
    m->used += bytes;
    m->next = (base + bytes + RED_ZONE + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
    return base;
}

static void take_out(struct devmem *m, size_t n) {
    m->used -= m->list[n].bytes;
    free(m->list[n].host);
    m->n--;
    memmove(&m->list[n], &m->list[n + 1], (m->n - n) * sizeof *m->list);
}

// What the kernels' malloc has made is theirs to free, and nothing else is ("Dynamic Global Memory
// Allocation and Operations").
int sim_free(sim *s, uint64_t address) {
    struct devmem *m = &s->mem;
    size_t n = find(m, address);
    if (n == 0 || m->list[n - 1].base != address || m->list[n - 1].heap) {
        return sim_set_error(s, SIM_ERROR_ARGUMENT, "0x%llx is not the start of an allocation%s",
                             (unsigned long long)address,
                             n > 0 && m->list[n - 1].base == address ? " of the host" : "");
    }
    take_out(m, n - 1);
    return SIM_OK;
}

static uint64_t heap_size(uint64_t bytes) {
    return bytes == 0 ? HEAP_UNIT : (bytes + HEAP_UNIT - 1) / HEAP_UNIT * HEAP_UNIT;
}

uint64_t devmem_heap_alloc(sim *s, uint64_t bytes) {
    struct devmem *m = &s->mem;
    if (bytes > HEAP_BYTES || heap_size(bytes) > HEAP_BYTES - m->heap_used) {
        return 0;
    }
    uint64_t base = sim_alloc(s, bytes);
    if (base != 0) {
        m->list[m->n - 1].heap = true;
        m->heap_used += heap_size(bytes);
    }
    return base;
}

bool devmem_heap_free(sim *s, uint64_t address) {
    struct devmem *m = &s->mem;
    size_t n = find(m, address);
    if (n == 0 || m->list[n - 1].base != address || !m->list[n - 1].heap) {
        return false;
    }
    m->heap_used -= heap_size(m->list[n - 1].bytes);
    take_out(m, n - 1);
    return true;
}

static uint8_t *range(sim *s, uint64_t address, size_t bytes) {
    uint8_t *p = devmem_at(&s->mem, address, bytes);
    if (p == NULL) {
        sim_set_error(s, SIM_ERROR_ARGUMENT, "0x%llx + %zu bytes is not within one allocation",
                      (unsigned long long)address, bytes);
    }
    return p;
}

int sim_copy_to(sim *s, uint64_t to, const void *from, size_t bytes) {
    uint8_t *p = bytes == 0 ? NULL : range(s, to, bytes);
    if (p == NULL) {
        return bytes == 0 ? SIM_OK : SIM_ERROR_ARGUMENT;
    }
    memcpy(p, from, bytes);
    return SIM_OK;
}

int sim_copy_from(sim *s, void *to, uint64_t from, size_t bytes) {
    const uint8_t *p = bytes == 0 ? NULL : range(s, from, bytes);
    if (p == NULL) {
        return bytes == 0 ? SIM_OK : SIM_ERROR_ARGUMENT;
    }
    memcpy(to, p, bytes);
    return SIM_OK;
}

int sim_copy(sim *s, uint64_t to, uint64_t from, size_t bytes) {
    if (bytes == 0) {
        return SIM_OK;
    }
    uint8_t *d = range(s, to, bytes);
    const uint8_t *p = d == NULL ? NULL : range(s, from, bytes);
    if (p == NULL) {
        return SIM_ERROR_ARGUMENT;
    }
    memmove(d, p, bytes);
    return SIM_OK;
}

int sim_fill(sim *s, uint64_t to, uint8_t value, size_t bytes) {
    uint8_t *p = bytes == 0 ? NULL : range(s, to, bytes);
    if (p == NULL) {
        return bytes == 0 ? SIM_OK : SIM_ERROR_ARGUMENT;
    }
    memset(p, value, bytes);
    return SIM_OK;
}

uint64_t sim_memory_used(const sim *s) {
    return s->mem.used;
}

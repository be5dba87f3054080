// Loads, stores and atomics: what their decoder (dec_mem.c) tells their code (mem.c).
#ifndef FP4_SIM_MEM_H
#define FP4_SIM_MEM_H

#include "ptx.h"

struct access {
    enum ptx_space space;
    uint32_t bytes; // of one lane's access
    uint32_t align;
    bool cluster; // .shared::cluster: other CTAs too
    bool strong;  // volatile, relaxed or acquire: its value may come from a running thread
};
struct element {
    uint32_t bytes;
    uint32_t reg_bits; // of the row
    uint32_t mask;     // of what a 32-bit row keeps
    bool sign;
};
struct mem_aux {
    struct access access;
    struct element element;
    int n;
    uint32_t row[8];
};

enum atom_op {
    ATOM_ADD,
    ATOM_MIN,
    ATOM_MAX,
    ATOM_INC,
    ATOM_DEC,
    ATOM_AND,
    ATOM_OR,
    ATOM_XOR,
    ATOM_EXCH,
    ATOM_CAS
};
struct atom_aux {
    struct access access;
    enum atom_op op;
    enum ptx_word type;
    int bytes, n;
    uint32_t value[8], dst[8], swap;
    bool returns;
    uint32_t order; // SIM_ORDER_*
};

// Host pointers of the lanes in m at row u->a + u->imm; false after a fault.
bool sim_lane_pointers(struct warp *w, const struct uop *u, uint32_t m, uint8_t *ptr[LANES],
                       const struct access *x);
uint8_t *sim_lane_pointer(struct warp *w, const struct uop *u, uint64_t address, int lane,
                          const struct access *x);

uop_fn run_ld, run_st, run_ld_shared_32, run_st_shared_32, run_atom, run_st_bulk;
// dec_st and dec_atom hand these over (remote.c).
struct ptx_parser;
void dec_st_async(struct ptx_parser *p);
void dec_st_bulk(struct ptx_parser *p);
void dec_red_async(struct ptx_parser *p);

uop_fn run_mapa, run_getctarank, run_isspacep;

#endif

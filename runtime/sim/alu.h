// Keys of the arithmetic micro-operations of alu.def and their signatures.
#ifndef FP4_SIM_ALU_H
#define FP4_SIM_ALU_H

#include "core.h"

#define ROUND_ODD 8 // beside num_round, of integers as doubles: another rounding may follow

enum alu_key {
    ALU_NONE,
#define ALU1(KEY, D, A, expr) ALU_##KEY,
#define ALU2(KEY, D, A, B, expr) ALU_##KEY,
#define ALU3(KEY, D, A, B, C, expr) ALU_##KEY,
#define CMP(KEY, T, cond) ALU_CMP_##KEY,
#include "alu.def"
#undef ALU1
#undef ALU2
#undef ALU3
#undef CMP
    ALU_SELP_32,
    ALU_SELP_64,
    ALU_COUNT
};

// Bytes of a lane's result and sources; n sources.
struct alu_sig {
    uint8_t n, d, a, b, c;
};
extern const struct alu_sig alu_sigs[ALU_COUNT];

// Two compilations of the same code: for any x86-64, and with AVX2 and FMA (chosen at load).
extern uop_fn *const alu_base[ALU_COUNT];
extern uop_fn *const alu_avx2[ALU_COUNT];
uop_fn *alu_fn(enum alu_key key);

// What a comparison does with its result r: p = r op c, q = !r op c, packed in uop.imm.
struct cmp_out {
    uint16_t q, c; // predicates; q 2 (sink) when absent
    uint8_t op;    // 0 none, 1 and, 2 or, 3 xor
    uint8_t negated;
    uint16_t imm; // of testp
};

#endif

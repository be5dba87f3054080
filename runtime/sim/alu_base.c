// The arithmetic for any machine, and the choice between the two compilations.
#ifndef __SANITIZE_ADDRESS__ // with checks in them, loops become no vectors
#pragma GCC optimize("O3")
#endif
#define TABLE alu_base
#include "alu_rows.h"

const struct alu_sig alu_sigs[ALU_COUNT] = {
#define ALU1(KEY, D, A, expr) [ALU_##KEY] = {1, sizeof(D), sizeof(A), 0, 0},
#define ALU2(KEY, D, A, B, expr) [ALU_##KEY] = {2, sizeof(D), sizeof(A), sizeof(B), 0},
#define ALU3(KEY, D, A, B, C, expr) [ALU_##KEY] = {3, sizeof(D), sizeof(A), sizeof(B), sizeof(C)},
#define CMP(KEY, T, cond) [ALU_CMP_##KEY] = {2, 0, sizeof(T), sizeof(T), 0},
#include "alu.def"
#undef ALU1
#undef ALU2
#undef ALU3
#undef CMP
    [ALU_SELP_32] = {2, 4, 4, 4, 0},
    [ALU_SELP_64] = {2, 8, 8, 8, 0},
};

uop_fn *alu_fn(enum alu_key key) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return alu_avx2[key];
    }
#endif
    return alu_base[key];
}

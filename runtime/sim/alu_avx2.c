// The arithmetic with AVX2 and FMA; the results are the same bits as alu_base.c gives.
#ifdef __x86_64__
#ifndef __SANITIZE_ADDRESS__ // with checks in them, loops become no vectors
#pragma GCC optimize("O3")
#endif
#pragma GCC target("avx2,fma,popcnt,lzcnt,bmi,bmi2")
#include <immintrin.h>
#endif
#define TABLE alu_avx2
#include "alu_rows.h"

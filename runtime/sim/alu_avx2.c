// The arithmetic with AVX2 and FMA; the results are the same bits as alu_base.c gives.
#ifdef __x86_64__
#pragma GCC optimize("O3")
#pragma GCC target("avx2,fma,popcnt,lzcnt,bmi,bmi2")
#include <immintrin.h>
#endif
#define TABLE alu_avx2
#include "alu_rows.h"

// Shared by the matrix units: from the containers of one instruction's operand rows to plain codes,
// and from a kind to its arithmetic.
#ifndef FP4_SIM_UNIT_OPERAND_H
#define FP4_SIM_UNIT_OPERAND_H

#include "num_mm.h"
#include "units.h"

// tcgen05 8-bit kinds: 16 elements in 16 bytes, e2m1 in the first 8, e2m3/e3m2 in the first 12.
// In place; 8-, 16- and 32-bit formats and packed FP4 stay as they are.
void unit_unpack_containers(enum num_fmt f, bool packed, uint8_t (*rows)[32], int n);

// b4x16_p64 / b6x16_p32: one 16-byte container to 16 codes, one a byte.
void unit_expand_16(enum unit_unpack how, const uint8_t in[16], uint8_t out[16]);

// Flips the sign of every element.
void unit_negate(enum num_fmt f, bool packed, uint8_t (*rows)[32], int n);

// The arithmetic of a kind at its native width (k products, F = 25); 'packed' kinds give GST.
struct num_mm unit_arithmetic(const struct unit_idesc *d);

#endif

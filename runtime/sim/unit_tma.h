// Shared by the tensor map encoder and the copy engine: element sizes and swizzles of a tensor map.
#ifndef FP4_SIM_UNIT_TMA_H
#define FP4_SIM_UNIT_TMA_H

#include "units.h"

// Tells the runs of global memory that a copy touches, row by row.
void unit_tma_rows(const struct unit_tma *t,
                   void (*row)(void *user, uint64_t address, uint64_t bytes), void *user);

int unit_tmap_elem_bits(int dtype);        // in global memory
uint32_t unit_tmap_swizzle_span(int mode); // bytes of the repeated row; 0 without swizzle
// Could an encoder and replacements have made it? Kernels write maps as bytes too.
bool unit_tmap_is_sound(const struct sim_tmap *map);
bool unit_tmap_is_float(int dtype);
// Padded sub-byte types: 16 elements take 16 bytes of shared memory.
bool unit_tmap_is_padded(int dtype);

#endif

// Names of a prepacked layer's parts: what fp4-prepack writes and fp4_prepack reads.
#ifndef FP4_PREPACK_NAMES_H
#define FP4_PREPACK_NAMES_H

#define FP4_PREPACK_DATA ".fp4_data"     // F4 or F8_E4M3 [.., N, K]
#define FP4_PREPACK_SCALE ".fp4_scale"   // [matrices, bytes of one], f32: [matrices, numbers of one]
#define FP4_PREPACK_GLOBAL ".fp4_global" // F32 []: the factor of the numbers

#endif

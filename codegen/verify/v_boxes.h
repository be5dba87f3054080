// Sizes of boxes, when only the PTX is there: from a first run in which no bytes are counted.
//
// Over a whole run an mbarrier is told to expect as many bytes as the copies that signal it bring.
// That gives one equation a barrier; what it leaves open is settled by the distance to whatever
// else lies in shared memory, which no box can exceed.
#ifndef FP4_V_BOXES_H
#define FP4_V_BOXES_H

#include "v.h"

typedef struct v_boxes {
    uint32_t bytes[VERIFY_MOST_PARAMS];
    uint32_t gap[VERIFY_MOST_PARAMS]; // most that fits, 0: the box is not loaded
    uint8_t *starts; // by 16 bytes of shared memory: something begins there; 1 + its box
    const v_ins *ins[VERIFY_MOST_PARAMS];
} v_boxes;

void v_boxes_load(v_machine *m, int box, v_place to, v_mbar *b, const v_ins *i);
// After the run: sizes of all boxes that were loaded; refused when they cannot be told.
void v_boxes_solve(v_machine *m);

#endif

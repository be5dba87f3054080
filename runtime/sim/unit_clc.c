// The 16-byte response of clusterlaunchcontrol.try_cancel. PTX keeps it opaque (query_cancel reads
// it), so this image is ours: a flag word, then the first CTA's coordinates.
#include "units.h"

#define CANCELED 1u

void unit_clc_encode(uint8_t out[UNIT_CLC_BYTES], bool canceled, const uint32_t ctaid[3]) {
    uint32_t words[4] = {0};
    if (canceled) {
        words[0] = CANCELED;
        memcpy(words + 1, ctaid, 3 * sizeof(uint32_t));
    }
    memcpy(out, words, UNIT_CLC_BYTES);
}

bool unit_clc_decode(const uint8_t in[UNIT_CLC_BYTES], uint32_t ctaid[3]) {
    uint32_t words[4];
    memcpy(words, in, UNIT_CLC_BYTES);
    memcpy(ctaid, words + 1, 3 * sizeof(uint32_t));
    return words[0] == CANCELED;
}

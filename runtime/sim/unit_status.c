// The sentences of unit_status.def.
#include "units.h"

const char *unit_reason(enum unit_status s) {
    switch (s) {
#define UNIT(ID, text)                                                                             \
    case UNIT_##ID:                                                                                \
        return text;
#include "unit_status.def"
#undef UNIT
    default:
        return "unknown status";
    }
}

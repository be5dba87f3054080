// The table of all diagnostics (diag_codes.def), for 'fp4c explain CODE' and for the tests.
#include "diag.h"

#include <string.h>

static const diag_info infos[] = {
#define FP4_DIAG(code, title, explanation) {code, title, explanation},
#include "diag_codes.def"
#undef FP4_DIAG
};

#define N_INFOS ((int)(sizeof infos / sizeof infos[0]))

const diag_info *diag_info_at(int i) {
    return i >= 0 && i < N_INFOS ? &infos[i] : NULL;
}

const diag_info *diag_explain(const char *code) {
    for (int i = 0; i < N_INFOS; i++) {
        if (strcmp(infos[i].code, code) == 0) {
            return &infos[i];
        }
    }
    return NULL;
}

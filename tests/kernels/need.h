// What a test program of the runtime cannot go on without: says the line, the condition and the library's last
// sentence, and ends.
#ifndef FP4C_TESTS_NEED_H
#define FP4C_TESTS_NEED_H

#include "fp4rt.h"
#include <stdio.h>
#include <stdlib.h>

#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s does not hold (%s)\n", __LINE__, #condition,              \
                    fp4_last_error());                                                             \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#endif

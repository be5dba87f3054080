// fp4c: compiles, runs, explains, checks and formats .tk programs, and verifies PTX.
#include "driver.h"

int main(int argc, char **argv) {
    options opt;
    int code = EXIT_MISTAKE;
    if (!options_parse(argc, argv, &opt, &code)) {
        return code;
    }
    static int (*const commands[])(const options *) = {
        [CMD_COMPILE] = command_compile, [CMD_RUN] = command_run,
        [CMD_TUNE] = command_tune,       [CMD_EXPLAIN] = command_explain,
        [CMD_CHECK] = command_check,     [CMD_FMT] = command_fmt,
        [CMD_VERIFY] = command_verify,
    };
    code = commands[opt.cmd](&opt);
    options_free(&opt);
    return code;
}

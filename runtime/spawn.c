// One child process, from start to end, without a shell.
#define _GNU_SOURCE // pipe2
#include "cache.h"
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// Everything the child writes; the beginning is kept.
static void listen_to(int fd, rt_child *child) {
    size_t used = 0;
    char rest[512];
    for (;;) {
        bool full = used == sizeof child->said - 1;
        ssize_t n = full ? read(fd, rest, sizeof rest)
                         : read(fd, child->said + used, sizeof child->said - 1 - used);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            break;
        }
        used += full ? 0 : (size_t)n;
    }
    while (used > 0 && child->said[used - 1] == '\n') {
        used--;
    }
    child->said[used] = 0;
}

static void wait_for(pid_t pid, rt_child *child) {
    int status = 0;
    pid_t got;
    do {
        got = waitpid(pid, &status, 0);
    } while (got < 0 && errno == EINTR);
    // A program that ignores SIGCHLD never learns how its children ended; then the files decide.
    child->code = got != pid || WIFEXITED(status) ? (got == pid ? WEXITSTATUS(status) : 0) : -1;
    child->signal = got == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static int start(const char *const *argv, int out, pid_t *pid) {
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) {
        return error;
    }
    error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (error == 0) {
        error = posix_spawn_file_actions_adddup2(&actions, out, 1);
    }
    if (error == 0) {
        error = posix_spawn_file_actions_adddup2(&actions, out, 2);
    }
    if (error == 0) {
        error = posix_spawn(pid, argv[0], &actions, NULL, (char *const *)argv, environ);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

fp4_status rt_spawn(const char *const *argv, rt_child *child) {
    *child = (rt_child){0};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return rt_fail(FP4_ERROR_UNAVAILABLE, "%s cannot be started: %s", argv[0], strerror(errno));
    }
    pid_t pid = 0;
    int error = start(argv, ends[1], &pid);
    close(ends[1]);
    if (error == 0) {
        listen_to(ends[0], child);
    }
    close(ends[0]);
    if (error != 0) {
        return rt_fail(FP4_ERROR_UNAVAILABLE, "%s cannot be started: %s", argv[0], strerror(error));
    }
    wait_for(pid, child);
    return FP4_OK;
}

// SPDX-License-Identifier: MIT
// For tests of assertions: runs a function in a child process and says how the child ended.
#ifndef TESTS_UNIT_DIES_H
#define TESTS_UNIT_DIES_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// True when `run(arg)` ends in abort(); what it wrote to stderr then stands in `said`.
static inline bool dies(void (*run)(void *arg), void *arg, char *said, size_t size)
{
    int ends[2];
    if (pipe(ends) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        run(arg);
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    ssize_t got = 1;
    while (got > 0 && len < size - 1) {
        got = read(ends[0], said + len, size - 1 - len);
        len += got > 0 ? (size_t)got : 0;
    }
    said[len] = '\0';
    close(ends[0]);
    int status = 0;
    return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

#endif

// SPDX-License-Identifier: MIT
// Several processes that share memory: started, woken, watched, ended.
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workers.h"

enum { TOLD_MAX = 1 << 16 };

void *cn_workers_share(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static _Noreturn void run(pid_t parent, int errors, int index,
                          int (*work)(int index, void *context), void *context)
{
    signal(SIGINT, SIG_IGN);
    if (dup2(errors, STDERR_FILENO) < 0)
        _exit(1);
    // The starter may be gone already: then nobody is left to kill us.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(1);
    _exit(work(index, context));
}

bool cn_workers_start(struct cn_workers *workers, int count, int (*work)(int index, void *context),
                      void *context)
{
    *workers = (struct cn_workers){.errors = memfd_create("errors", MFD_CLOEXEC)};
    if (workers->errors < 0)
        return false;
    for (int i = 0; i < count && i < CN_WORKERS_MAX; i++)
        workers->wakes[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pid_t parent = getpid();
    while (workers->count < count && workers->count < CN_WORKERS_MAX) {
        int index = workers->count;
        pid_t pid = workers->wakes[index] < 0 ? -1 : fork();
        if (pid == 0)
            run(parent, workers->errors, index, work, context);
        if (pid < 0) {
            cn_workers_stop(workers);
            return false;
        }
        workers->pids[workers->count++] = pid;
    }
    return true;
}

void cn_workers_wake(const struct cn_workers *workers, int index)
{
    uint64_t one = 1;
    ssize_t written = write(workers->wakes[index], &one, sizeof(one));
    (void)written; // full means that it is awake already
}

void cn_workers_wake_all(const struct cn_workers *workers)
{
    for (int i = 0; i < workers->count; i++)
        cn_workers_wake(workers, i);
}

static void reap(struct cn_workers *workers, int index, int flags)
{
    int status = 0;
    pid_t ended = workers->pids[index] ? waitpid(workers->pids[index], &status, flags) : 0;
    if (ended != workers->pids[index] || ended == 0)
        return;
    workers->pids[index] = 0;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    if (workers->code == 0)
        workers->code = code;
}

int cn_workers_running(struct cn_workers *workers)
{
    int running = 0;
    for (int i = 0; i < workers->count; i++) {
        reap(workers, i, WNOHANG);
        running += workers->pids[i] != 0;
    }
    return running;
}

void cn_workers_stop(struct cn_workers *workers)
{
    for (int i = 0; i < workers->count; i++) {
        if (workers->pids[i] != 0)
            kill(workers->pids[i], SIGKILL);
        reap(workers, i, 0);
    }
}

// Lines that are like the ones before them are left out: many processes fail for the same reason.
static void print_lines(const char *text)
{
    const char *before = "";
    size_t before_len = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        if (len != before_len || memcmp(text, before, len) != 0)
            fprintf(stderr, "%.*s\n", (int)len, text);
        before = text;
        before_len = len;
        text += len + (text[len] == '\n');
    }
}

bool cn_workers_tell(struct cn_workers *workers)
{
    char text[TOLD_MAX + 1];
    ssize_t len = pread(workers->errors, text, TOLD_MAX, 0);
    close(workers->errors);
    workers->errors = -1;
    if (len <= 0)
        return false;
    text[len] = '\0';
    print_lines(text);
    return true;
}

long cn_workers_raise_descriptors(void)
{
    struct rlimit limit = {.rlim_cur = 0};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); // refused: the limit stays what it was
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > 1 << 20 ? 1 << 20 : (long)limit.rlim_cur;
}

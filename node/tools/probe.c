// SPDX-License-Identifier: MIT
// The probe: reads /proc/PID/stat, /proc/PID/task/TID/schedstat, /proc/stat and CPU clocks.
#include "probe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chatnode/clock.h"

enum { FILE_BYTES = 1024 };

// ---- One file of /proc ----

// Reads the beginning of a file as text; false with errno when it cannot be read.
static bool read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, text, size - 1);
    int error = errno;
    (void)close(fd);
    errno = error;
    text[len > 0 ? len : 0] = '\0';
    return len >= 0;
}

struct process_stat {
    char state;
    uint64_t began_ticks;
    int64_t rss_pages;
};

// Fields 3, 22 and 24. The name before them stands in parentheses and may have some itself.
static bool parse_stat(const char *text, struct process_stat *out)
{
    const char *at = strrchr(text, ')');
    if (at == NULL)
        return false;
    int read = sscanf(at + 1,
                      " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                      "%" SCNu64 " %*s %" SCNd64,
                      &out->state, &out->began_ticks, &out->rss_pages);
    return read == 3;
}

// CN_OK, CN_NOTFOUND when there is no such process or a dead one only, or CN_SYSTEM.
static enum cn_err read_stat(pid_t pid, struct process_stat *out)
{
    char path[64];
    char text[FILE_BYTES];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (!read_text(path, text, sizeof(text)))
        return errno == ENOENT || errno == ESRCH ? CN_NOTFOUND : CN_SYSTEM;
    if (!parse_stat(text, out)) {
        errno = EPROTO;
        return CN_SYSTEM;
    }
    return strchr("ZXx", out->state) != NULL ? CN_NOTFOUND : CN_OK;
}

// ---- The processes ----

static enum cn_err fail(struct cn_probe *probe, enum cn_err err, pid_t pid, const char *what)
{
    (void)snprintf(probe->why, sizeof(probe->why), "process %d %s", (int)pid, what);
    return err;
}

enum cn_err cn_probe_add(struct cn_probe *probe, pid_t pid)
{
    struct process_stat stat;
    if (probe->count == CN_PROBE_PROCESSES)
        return fail(probe, CN_FULL, pid, "is one more than can be watched");
    enum cn_err err = pid > 0 ? read_stat(pid, &stat) : CN_NOTFOUND;
    if (err != CN_OK)
        return fail(probe, err, pid, err == CN_NOTFOUND ? "does not exist" : strerror(errno));
    probe->processes[probe->count].pid = pid;
    probe->processes[probe->count].began_ticks = stat.began_ticks;
    probe->count++;
    return CN_OK;
}

// CPU of all threads that the process ever had; false when it is gone.
static bool read_process_cpu(pid_t pid, int64_t *us)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return false;
    *us = (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
    return true;
}

// The first number of schedstat: nanoseconds on a processor, up to a tick out of date while it
// runs. A thread that just ended is left out.
static void read_thread(pid_t pid, pid_t tid, struct cn_probe_sample *out)
{
    char path[64];
    char text[FILE_BYTES];
    uint64_t ns;
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)pid, (int)tid);
    if (!read_text(path, text, sizeof(text)) || sscanf(text, "%" SCNu64, &ns) != 1)
        return;
    out->threads[out->thread_count].tid = tid;
    out->threads[out->thread_count].cpu_us = (int64_t)(ns / 1000);
    out->thread_count++;
}

static bool read_threads(pid_t pid, struct cn_probe_sample *out)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return false;
    struct dirent *entry;
    while (out->thread_count < CN_PROBE_THREADS && (entry = readdir(folder)) != NULL) {
        long tid = strtol(entry->d_name, NULL, 10);
        if (tid > 0)
            read_thread(pid, (pid_t)tid, out);
    }
    (void)closedir(folder);
    return true;
}

static enum cn_err read_process(struct cn_probe *probe, int at, struct cn_probe_sample *out)
{
    pid_t pid = probe->processes[at].pid;
    struct process_stat stat;
    int64_t cpu_us = 0;
    enum cn_err err = read_stat(pid, &stat);
    if (err == CN_SYSTEM)
        return fail(probe, CN_SYSTEM, pid, strerror(errno));
    if (err != CN_OK || stat.began_ticks != probe->processes[at].began_ticks ||
        !read_process_cpu(pid, &cpu_us) || !read_threads(pid, out))
        return fail(probe, CN_CLOSED, pid, "went away");
    out->cpu_us += cpu_us;
    out->rss_bytes += stat.rss_pages * sysconf(_SC_PAGESIZE);
    return CN_OK;
}

// The first line of /proc/stat: ticks of all processors for users, nice ones, the system, idle,
// waiting for disks, interrupts (2), and stolen by other guests. Guests' time is in the users'.
static bool read_machine(struct cn_probe_sample *out)
{
    char text[FILE_BYTES];
    int64_t ticks[8];
    if (!read_text("/proc/stat", text, sizeof(text)) ||
        sscanf(text,
               "cpu %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64
               " %" SCNd64 " %" SCNd64,
               &ticks[0], &ticks[1], &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6],
               &ticks[7]) != 8)
        return false;
    int64_t all = 0;
    for (int i = 0; i < 8; i++)
        all += ticks[i];
    int64_t tick_us = 1000000 / sysconf(_SC_CLK_TCK);
    out->machine_us = all * tick_us;
    out->machine_busy_us = (all - ticks[3] - ticks[4]) * tick_us;
    return true;
}

enum cn_err cn_probe_read(struct cn_probe *probe, struct cn_probe_sample *out)
{
    memset(out, 0, sizeof(*out));
    out->at_us = cn_clock_us();
    for (int i = 0; i < probe->count; i++) {
        enum cn_err err = read_process(probe, i, out);
        if (err != CN_OK)
            return err;
    }
    if (!read_machine(out)) {
        (void)snprintf(probe->why, sizeof(probe->why), "/proc/stat cannot be read");
        return CN_SYSTEM;
    }
    return CN_OK;
}

// ---- The difference ----

static int64_t thread_cpu(const struct cn_probe_sample *sample, pid_t tid)
{
    for (int i = 0; i < sample->thread_count; i++)
        if (sample->threads[i].tid == tid)
            return sample->threads[i].cpu_us;
    return 0; // it began later
}

static int64_t busiest_us(const struct cn_probe_sample *before, const struct cn_probe_sample *after)
{
    int64_t most = 0;
    for (int i = 0; i < after->thread_count; i++) {
        int64_t used = after->threads[i].cpu_us - thread_cpu(before, after->threads[i].tid);
        if (used > most)
            most = used;
    }
    return most;
}

static double share_of(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

struct cn_probe_usage cn_probe_between(const struct cn_probe_sample *before,
                                       const struct cn_probe_sample *after)
{
    int64_t elapsed_us = after->at_us - before->at_us;
    int64_t cpu_us = after->cpu_us - before->cpu_us;
    return (struct cn_probe_usage){
        .elapsed_us = elapsed_us,
        .cpu_us = cpu_us,
        .cpu_share = share_of(cpu_us, elapsed_us),
        .busiest_share = share_of(busiest_us(before, after), elapsed_us),
        .machine_share = share_of(after->machine_busy_us - before->machine_busy_us,
                                  after->machine_us - before->machine_us),
        .rss_bytes = after->rss_bytes,
    };
}

// SPDX-License-Identifier: MIT
// What the measuring programs share: time, CPU of a process, and histograms of durations.
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"

void measure_fail(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
            errno ? strerror(errno) : "failed");
    exit(1);
}

int64_t measure_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

// ---- A process, seen through /proc ----

// The first number of /proc/PID/task/TID/schedstat: nanoseconds on a processor. 0 if it has ended.
static int64_t task_us(int pid, const char *task)
{
    char path[512];
    snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, task);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    long long ns = 0;
    int read = fscanf(file, "%lld", &ns);
    fclose(file);
    return read == 1 ? ns / 1000 : 0;
}

int64_t measure_cpu_us(int pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        measure_fail(path);
    int64_t sum = 0;
    struct dirent *task;
    while ((task = readdir(tasks)) != NULL)
        if (task->d_name[0] != '.')
            sum += task_us(pid, task->d_name);
    closedir(tasks);
    return sum;
}

int64_t measure_main_cpu_us(int pid)
{
    char task[16];
    snprintf(task, sizeof(task), "%d", pid);
    return task_us(pid, task);
}

int64_t measure_rss_bytes(int pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    FILE *file = fopen(path, "r");
    long total = 0;
    long resident = 0;
    if (file == NULL || fscanf(file, "%ld %ld", &total, &resident) != 2)
        measure_fail(path);
    fclose(file);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

void measure_raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        measure_fail("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        measure_fail("setrlimit");
}

// ---- Histograms ----

void histogram_add(struct histogram *histogram, int64_t us, long times)
{
    int bucket = us < 1 ? 0 : (int)(log((double)us) / log(1.01));
    histogram->buckets[bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1] += times;
    histogram->count += times;
    if (us > histogram->max_us)
        histogram->max_us = us;
}

double histogram_at(const struct histogram *histogram, double share)
{
    long below = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS && histogram->count > 0; i++) {
        below += histogram->buckets[i];
        if ((double)below >= share * (double)histogram->count)
            return pow(1.01, i);
    }
    return 0;
}

size_t measure_header_size(const unsigned char *head)
{
    int len = head[1] & 127;
    return len == 127 ? 10 : len == 126 ? 4 : 2;
}

size_t measure_payload_size(const unsigned char *head)
{
    size_t len = head[1] & 127;
    if (len < 126)
        return len;
    int bytes = len == 126 ? 2 : 8;
    len = 0;
    for (int i = 0; i < bytes; i++)
        len = len << 8 | head[2 + i];
    return len;
}

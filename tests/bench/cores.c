// SPDX-License-Identifier: MIT
// How far apart two cores are: the time of a round trip of one cache line between two threads that
// are pinned to them. Virtual CPUs may move between sharing a cache and not, which changes all
// other figures; so this is measured beside each run. Prints one JSON line with nanoseconds.
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHUNKS = 41, TRIPS = 2000, CACHE_LINE = 64 };

// One thread writes the odd numbers into `ball`, the other one the even ones.
struct court {
    _Alignas(CACHE_LINE) atomic_uint ball;
    _Alignas(CACHE_LINE) int cores[2];
};

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        perror("sched_setaffinity");
        exit(1);
    }
}

static void await(struct court *court, unsigned number)
{
    while (atomic_load_explicit(&court->ball, memory_order_acquire) != number)
        ;
}

static void *answer(void *arg)
{
    struct court *court = arg;
    pin(court->cores[1]);
    for (unsigned trip = 0; trip < CHUNKS * TRIPS; trip++) {
        await(court, 2 * trip + 1);
        atomic_store_explicit(&court->ball, 2 * trip + 2, memory_order_release);
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a;
    int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

// Fills in each chunk's nanoseconds, in rising order.
static void play(struct court *court, int64_t *chunks)
{
    for (unsigned chunk = 0; chunk < CHUNKS; chunk++) {
        int64_t begin = now_ns();
        for (unsigned trip = chunk * TRIPS; trip < (chunk + 1) * TRIPS; trip++) {
            atomic_store_explicit(&court->ball, 2 * trip + 1, memory_order_release);
            await(court, 2 * trip + 2);
        }
        chunks[chunk] = now_ns() - begin;
    }
    qsort(chunks, CHUNKS, sizeof(*chunks), compare);
}

int main(int argc, char **argv)
{
    static struct court court;
    pthread_t thread;
    int64_t chunks[CHUNKS];
    if (argc != 3) {
        fprintf(stderr, "usage: bench_cores CORE CORE\n");
        return 64;
    }
    court.cores[0] = (int)strtol(argv[1], NULL, 10);
    court.cores[1] = (int)strtol(argv[2], NULL, 10);
    pin(court.cores[0]);
    int failed = pthread_create(&thread, NULL, answer, &court);
    if (failed != 0) {
        fprintf(stderr, "pthread_create: %s\n", strerror(failed));
        return 1;
    }
    play(&court, chunks);
    pthread_join(thread, NULL);
    printf("{\"least_ns\":%.1f,\"median_ns\":%.1f}\n", (double)chunks[0] / TRIPS,
           (double)chunks[CHUNKS / 2] / TRIPS);
    return 0;
}

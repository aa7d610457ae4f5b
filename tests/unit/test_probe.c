// SPDX-License-Identifier: MIT
// The probe, on this process and on children: CPU, threads, memory, and processes that went away.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "probe.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chatnode/clock.h"

// Much more than a tick: by that much a running thread's time may be out of date.
enum { BURNT_US = 100000, MEMORY_BYTES = 32 << 20 };

// Uses this much CPU on the calling thread.
static void *burn(void *unused)
{
    int64_t until_us = cn_clock_thread_cpu_us() + BURNT_US;
    while (cn_clock_thread_cpu_us() < until_us)
        ;
    return unused;
}

static struct cn_probe probe_of_self(void)
{
    struct cn_probe probe = {0};
    assert_int_equal(cn_probe_add(&probe, getpid()), CN_OK);
    return probe;
}

static struct cn_probe_sample read_sample(struct cn_probe *probe)
{
    struct cn_probe_sample sample;
    assert_int_equal(cn_probe_read(probe, &sample), CN_OK);
    return sample;
}

static void test_cpu_of_one_thread(void **state)
{
    (void)state;
    struct cn_probe probe = probe_of_self();
    struct cn_probe_sample before = read_sample(&probe);
    burn(NULL);
    struct cn_probe_sample after = read_sample(&probe);
    struct cn_probe_usage usage = cn_probe_between(&before, &after);
    assert_true(usage.cpu_us >= BURNT_US);
    assert_true(usage.elapsed_us >= BURNT_US);
    assert_true(usage.cpu_share > 0 && usage.busiest_share > 0);
    assert_true(usage.busiest_share * (double)usage.elapsed_us >= 0.8 * BURNT_US);
    assert_true(usage.machine_share >= 0 && usage.machine_share <= 1);
}

// Its clock is gone with it, but the process's has its time.
static void test_cpu_of_a_thread_that_ended(void **state)
{
    (void)state;
    pthread_t thread;
    struct cn_probe probe = probe_of_self();
    struct cn_probe_sample before = read_sample(&probe);
    assert_int_equal(pthread_create(&thread, NULL, burn, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    struct cn_probe_sample after = read_sample(&probe);
    struct cn_probe_usage usage = cn_probe_between(&before, &after);
    assert_true(usage.cpu_us >= BURNT_US);
    assert_true(usage.busiest_share * (double)usage.elapsed_us < BURNT_US);
}

struct idler {
    pthread_barrier_t burnt;
    pthread_barrier_t seen;
};

static void *burn_and_wait(void *context)
{
    struct idler *idler = context;
    burn(NULL);
    (void)pthread_barrier_wait(&idler->burnt);
    (void)pthread_barrier_wait(&idler->seen);
    return NULL;
}

static void test_the_busiest_of_two_threads(void **state)
{
    (void)state;
    pthread_t thread;
    struct idler idler;
    struct cn_probe probe = probe_of_self();
    assert_int_equal(pthread_barrier_init(&idler.burnt, NULL, 2), 0);
    assert_int_equal(pthread_barrier_init(&idler.seen, NULL, 2), 0);
    struct cn_probe_sample before = read_sample(&probe);
    assert_int_equal(pthread_create(&thread, NULL, burn_and_wait, &idler), 0);
    burn(NULL);
    burn(NULL);
    (void)pthread_barrier_wait(&idler.burnt);
    struct cn_probe_sample after = read_sample(&probe);
    (void)pthread_barrier_wait(&idler.seen);
    assert_int_equal(pthread_join(thread, NULL), 0);
    struct cn_probe_usage usage = cn_probe_between(&before, &after);
    double busiest_us = usage.busiest_share * (double)usage.elapsed_us;
    assert_true(after.thread_count >= 2 && usage.cpu_us >= 3 * BURNT_US);
    assert_true(busiest_us >= 1.8 * BURNT_US &&
                busiest_us <= (double)usage.cpu_us - 0.7 * BURNT_US);
}

static void test_memory_grows(void **state)
{
    (void)state;
    struct cn_probe probe = probe_of_self();
    struct cn_probe_sample before = read_sample(&probe);
    char *memory = malloc(MEMORY_BYTES);
    assert_non_null(memory);
    memset(memory, 1, MEMORY_BYTES);
    struct cn_probe_sample after = read_sample(&probe);
    assert_int_equal(memory[MEMORY_BYTES - 1], 1);
    free(memory);
    assert_true(before.rss_bytes > 0);
    assert_true(after.rss_bytes - before.rss_bytes >= MEMORY_BYTES * 9 / 10);
    assert_int_equal(cn_probe_between(&before, &after).rss_bytes, after.rss_bytes);
}

static pid_t start_child(void)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); // when the test fails
        for (;;)
            (void)pause();
    }
    return pid;
}

static void check_gone(struct cn_probe *probe, pid_t pid)
{
    struct cn_probe_sample sample;
    char why[64];
    (void)snprintf(why, sizeof(why), "process %d went away", (int)pid);
    assert_int_equal(cn_probe_read(probe, &sample), CN_CLOSED);
    assert_string_equal(probe->why, why);
}

static void test_a_process_that_went_away(void **state)
{
    (void)state;
    siginfo_t info;
    pid_t pid = start_child();
    struct cn_probe probe = probe_of_self();
    assert_int_equal(cn_probe_add(&probe, pid), CN_OK);
    struct cn_probe_sample both = read_sample(&probe);
    assert_true(both.rss_bytes > 0 && both.thread_count >= 2);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    check_gone(&probe, pid); // it is dead, but still in the table of processes
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    check_gone(&probe, pid);
    assert_int_equal(cn_probe_add(&probe, pid), CN_NOTFOUND);
    assert_non_null(strstr(probe.why, "does not exist"));
}

static void test_another_process_of_the_same_number(void **state)
{
    (void)state;
    struct cn_probe probe = probe_of_self();
    probe.processes[0].began_ticks++;
    check_gone(&probe, getpid());
}

static void test_bounds(void **state)
{
    (void)state;
    struct cn_probe probe = {0};
    struct cn_probe_sample nothing = read_sample(&probe);
    assert_int_equal(nothing.cpu_us, 0);
    assert_int_equal(cn_probe_add(&probe, 0), CN_NOTFOUND);
    for (int i = 0; i < CN_PROBE_PROCESSES; i++)
        assert_int_equal(cn_probe_add(&probe, getpid()), CN_OK);
    assert_int_equal(cn_probe_add(&probe, getpid()), CN_FULL);
    assert_int_equal(probe.count, CN_PROBE_PROCESSES);
    struct cn_probe_usage usage = cn_probe_between(&nothing, &nothing);
    assert_true(usage.cpu_share == 0 && usage.busiest_share == 0 && usage.machine_share == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cpu_of_one_thread),
        cmocka_unit_test(test_cpu_of_a_thread_that_ended),
        cmocka_unit_test(test_the_busiest_of_two_threads),
        cmocka_unit_test(test_memory_grows),
        cmocka_unit_test(test_a_process_that_went_away),
        cmocka_unit_test(test_another_process_of_the_same_number),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

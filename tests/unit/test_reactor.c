// SPDX-License-Identifier: MIT
// The reactor: timers, descriptors, signals, and wake-ups from threads.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "chatnode/reactor.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "chatnode/clock.h"
#include "chatnode/thread.h"

enum { DEADLINE_MS = 10000, WAKES = 20000 };

// Linked with --wrap=calloc: what reactor.c allocates can be made to fail.
static int allocations_left = -1;
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return __real_calloc(count, size);
}

static struct cn_reactor *reactor;
static atomic_int wakes;

static void on_wake(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static int set_up(void **state)
{
    (void)state;
    wakes = 0;
    return cn_reactor_new(&reactor, on_wake, &wakes) == CN_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    cn_reactor_free(reactor);
    return 0;
}

// Turns until *counter is at least `least`; fails at the deadline.
static void turn_until(const int *counter, int least)
{
    int64_t deadline_ms = cn_clock_ms() + DEADLINE_MS;
    while (*counter < least) {
        assert_true(cn_clock_ms() < deadline_ms);
        cn_reactor_turn(reactor, 100);
    }
}

static void stop_reactor(void *arg)
{
    (void)arg;
    cn_reactor_stop(reactor);
}

struct alarm {
    struct cn_timer *timer;
    struct alarm *other;
    int fired;
    int64_t fired_us;
};

static void note_fired(void *arg)
{
    struct alarm *alarm = arg;
    alarm->fired++;
    alarm->fired_us = cn_clock_us();
}

static void test_timers_fire_in_order_and_not_early(void **state)
{
    (void)state;
    struct alarm late = {.fired = 0};
    struct alarm soon = {.fired = 0};
    assert_int_equal(cn_timer_new(reactor, note_fired, &late, &late.timer), CN_OK);
    assert_int_equal(cn_timer_new(reactor, note_fired, &soon, &soon.timer), CN_OK);
    int64_t start_us = cn_clock_us();
    cn_timer_start(late.timer, 30);
    cn_timer_start(soon.timer, 10);
    turn_until(&late.fired, 1);
    assert_int_equal(soon.fired, 1);
    assert_true(soon.fired_us - start_us >= 10000);
    assert_true(late.fired_us - start_us >= 30000);
    assert_true(soon.fired_us <= late.fired_us);
    cn_timer_free(late.timer);
    cn_timer_free(soon.timer);
    cn_timer_free(NULL);
}

static void test_timer_started_anew_fires_once(void **state)
{
    (void)state;
    struct alarm alarm = {.fired = 0};
    struct alarm end = {.fired = 0};
    assert_int_equal(cn_timer_new(reactor, note_fired, &alarm, &alarm.timer), CN_OK);
    assert_int_equal(cn_timer_new(reactor, note_fired, &end, &end.timer), CN_OK);
    cn_timer_start(alarm.timer, 3600000);
    cn_timer_start(alarm.timer, -5);
    cn_timer_start(end.timer, 20);
    turn_until(&end.fired, 1);
    assert_int_equal(alarm.fired, 1);
    cn_timer_start(alarm.timer, 0);
    cn_timer_stop(alarm.timer);
    cn_timer_stop(alarm.timer);
    cn_timer_start(end.timer, 5);
    turn_until(&end.fired, 2);
    assert_int_equal(alarm.fired, 1);
    cn_timer_free(alarm.timer);
    cn_timer_free(end.timer);
}

// A long callback makes the loop's idea of the time stale; the timer must count from now.
static void start_after_work(void *arg)
{
    struct alarm *alarm = arg;
    int64_t start_us = cn_clock_us();
    while (cn_clock_us() < start_us + 30000)
        ;
    alarm->fired_us = cn_clock_us();
    cn_timer_start(alarm->other->timer, 20);
}

static void test_timer_counts_from_its_start(void **state)
{
    (void)state;
    struct alarm second = {.fired = 0};
    struct alarm first = {.other = &second};
    assert_int_equal(cn_timer_new(reactor, start_after_work, &first, &first.timer), CN_OK);
    assert_int_equal(cn_timer_new(reactor, note_fired, &second, &second.timer), CN_OK);
    cn_timer_start(first.timer, 0);
    turn_until(&second.fired, 1);
    assert_true(second.fired_us - first.fired_us >= 20000);
    cn_timer_free(first.timer);
    cn_timer_free(second.timer);
}

static void free_both(void *arg)
{
    struct alarm *alarm = arg;
    alarm->fired++;
    cn_timer_free(alarm->other->timer);
    cn_timer_free(alarm->timer);
}

// Both are due in one turn; whichever comes first frees both.
static void test_timer_may_free_itself_and_others(void **state)
{
    (void)state;
    struct alarm a = {.fired = 0};
    struct alarm b = {.other = &a};
    a.other = &b;
    assert_int_equal(cn_timer_new(reactor, free_both, &a, &a.timer), CN_OK);
    assert_int_equal(cn_timer_new(reactor, free_both, &b, &b.timer), CN_OK);
    cn_timer_start(a.timer, 0);
    cn_timer_start(b.timer, 0);
    cn_reactor_turn(reactor, 1000);
    cn_reactor_turn(reactor, 0);
    assert_int_equal(a.fired + b.fired, 1);
}

static void restart(void *arg)
{
    struct alarm *alarm = arg;
    if (++alarm->fired < 5)
        cn_timer_start(alarm->timer, 0);
    else
        cn_reactor_stop(reactor);
}

static void test_run_until_stopped(void **state)
{
    (void)state;
    struct alarm alarm = {.fired = 0};
    assert_int_equal(cn_timer_new(reactor, restart, &alarm, &alarm.timer), CN_OK);
    cn_timer_start(alarm.timer, 0);
    cn_reactor_run(reactor);
    assert_int_equal(alarm.fired, 5);
    cn_timer_start(alarm.timer, 0);
    cn_reactor_run(reactor);
    assert_int_equal(alarm.fired, 6);
    cn_timer_free(alarm.timer);
}

static void test_turn_waits_at_most_as_told(void **state)
{
    (void)state;
    int64_t start_us = cn_clock_us();
    cn_reactor_turn(reactor, 20);
    assert_true(cn_clock_us() - start_us >= 20000);
    cn_reactor_turn(reactor, 0);
    assert_true(cn_clock_us() - start_us < (int64_t)DEADLINE_MS * 1000);
}

struct watched {
    struct cn_io *io;
    int ends[2];
    int calls;
    int events;
};

static void note_ready(void *arg, int events)
{
    struct watched *watched = arg;
    watched->calls++;
    watched->events = events;
}

static void free_on_ready(void *arg, int events)
{
    struct watched *watched = arg;
    note_ready(arg, events);
    cn_io_free(watched->io);
}

static void open_watched(struct watched *watched, void (*ready)(void *arg, int events))
{
    *watched = (struct watched){.calls = 0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, watched->ends), 0);
    assert_int_equal(cn_io_new(reactor, watched->ends[0], ready, watched, &watched->io), CN_OK);
}

static void close_watched(struct watched *watched)
{
    close(watched->ends[0]);
    close(watched->ends[1]);
}

static void test_io_reports_exactly_what_is_watched(void **state)
{
    (void)state;
    struct watched watched;
    open_watched(&watched, note_ready);
    assert_int_equal(write(watched.ends[1], "x", 1), 1);
    cn_reactor_turn(reactor, 0);
    assert_int_equal(watched.calls, 0);
    cn_io_watch(watched.io, CN_IO_READ);
    turn_until(&watched.calls, 1);
    assert_int_equal(watched.events, CN_IO_READ);
    cn_io_watch(watched.io, CN_IO_READ | CN_IO_WRITE);
    turn_until(&watched.calls, 2);
    assert_int_equal(watched.events, CN_IO_READ | CN_IO_WRITE);
    cn_io_watch(watched.io, CN_IO_WRITE);
    turn_until(&watched.calls, 3);
    assert_int_equal(watched.events, CN_IO_WRITE);
    turn_until(&watched.calls, 4);
    cn_io_watch(watched.io, 0);
    cn_reactor_turn(reactor, 0);
    assert_int_equal(watched.calls, 4);
    cn_io_free(watched.io);
    cn_io_free(NULL);
    close_watched(&watched);
}

static void test_io_reports_the_end_of_the_stream(void **state)
{
    (void)state;
    struct watched watched;
    open_watched(&watched, note_ready);
    cn_io_watch(watched.io, CN_IO_READ);
    assert_int_equal(shutdown(watched.ends[1], SHUT_RDWR), 0);
    turn_until(&watched.calls, 1);
    assert_int_equal(watched.events, CN_IO_READ);
    cn_io_free(watched.io);
    close_watched(&watched);
}

static void test_io_may_free_itself(void **state)
{
    (void)state;
    struct watched watched;
    open_watched(&watched, free_on_ready);
    cn_io_watch(watched.io, CN_IO_READ | CN_IO_WRITE);
    turn_until(&watched.calls, 1);
    cn_reactor_turn(reactor, 0);
    assert_int_equal(watched.calls, 1);
    close_watched(&watched);
}

static void test_unwatchable_descriptor_is_refused(void **state)
{
    (void)state;
    struct cn_io *io = NULL;
    assert_int_equal(cn_io_new(reactor, 9999, note_ready, NULL, &io), CN_SYSTEM);
    assert_int_equal(errno, EBADF);
    assert_null(io);
}

static void wake_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < WAKES; i++)
        cn_reactor_wake(reactor);
}

static void test_several_wakes_are_one(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        cn_reactor_wake(reactor);
    cn_reactor_turn(reactor, 1000);
    cn_reactor_turn(reactor, 0);
    assert_int_equal(wakes, 1);
    cn_reactor_wake(reactor);
    cn_reactor_turn(reactor, 1000);
    assert_int_equal(wakes, 2);
}

static void wake_again(void *arg)
{
    if (++*(int *)arg < 3)
        cn_reactor_wake(reactor);
}

static void test_wake_within_on_wake_runs_it_again(void **state)
{
    (void)state;
    struct cn_reactor *kept = reactor;
    int rounds = 0;
    assert_int_equal(cn_reactor_new(&reactor, wake_again, &rounds), CN_OK);
    cn_reactor_wake(reactor);
    turn_until(&rounds, 3);
    cn_reactor_free(reactor);
    reactor = kept;
}

static atomic_int produced;

static void produce(void *arg)
{
    (void)arg;
    for (int i = 0; i < WAKES; i++) {
        atomic_fetch_add_explicit(&produced, 1, memory_order_relaxed);
        cn_reactor_wake(reactor);
    }
}

static int consumed;

static void consume(void *arg)
{
    (void)arg;
    consumed = atomic_load_explicit(&produced, memory_order_relaxed);
}

// What was done before a wake is seen by the on_wake that follows: none may be lost.
static void test_wakes_from_threads_lose_nothing(void **state)
{
    (void)state;
    struct cn_reactor *kept = reactor;
    struct cn_thread threads[2];
    produced = 0;
    consumed = 0;
    assert_int_equal(cn_reactor_new(&reactor, consume, NULL), CN_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(cn_thread_start(&threads[i], "producer", produce, NULL), CN_OK);
    turn_until(&consumed, 2 * WAKES);
    for (int i = 0; i < 2; i++)
        cn_thread_join(&threads[i]);
    cn_reactor_free(reactor);
    reactor = kept;
}

static void test_wake_ends_the_wait_of_run(void **state)
{
    (void)state;
    struct cn_reactor *kept = reactor;
    struct cn_thread thread;
    assert_int_equal(cn_reactor_new(&reactor, stop_reactor, NULL), CN_OK);
    assert_int_equal(cn_thread_start(&thread, "waker", wake_often, NULL), CN_OK);
    cn_reactor_run(reactor);
    cn_thread_join(&thread);
    cn_reactor_free(reactor);
    reactor = kept;
}

static void note_after(void *arg)
{
    int *afters = arg;
    if (++*afters == 3)
        cn_reactor_stop(reactor);
    cn_reactor_wake(reactor);
}

static void test_after_each_turn_and_before_the_first(void **state)
{
    (void)state;
    int afters = 0;
    cn_reactor_set_after(reactor, note_after, &afters);
    cn_reactor_turn(reactor, 0);
    assert_int_equal(afters, 1);
    assert_int_equal(wakes, 0);
    cn_reactor_run(reactor); // before its first turn, and after it
    assert_int_equal(afters, 3);
    assert_int_equal(wakes, 1);
    cn_reactor_set_after(reactor, NULL, NULL);
    cn_reactor_turn(reactor, 0);
    assert_int_equal(afters, 3);
}

static void note_signal(void *arg)
{
    (*(int *)arg)++;
}

static void test_signals(void **state)
{
    (void)state;
    int hups = 0;
    int usrs = 0;
    struct cn_signal *hup = NULL;
    struct cn_signal *usr = NULL;
    assert_int_equal(cn_signal_new(reactor, SIGHUP, note_signal, &hups, &hup), CN_OK);
    assert_int_equal(cn_signal_new(reactor, SIGUSR1, note_signal, &usrs, &usr), CN_OK);
    assert_int_equal(raise(SIGHUP), 0);
    turn_until(&hups, 1);
    assert_int_equal(raise(SIGHUP), 0);
    turn_until(&hups, 2);
    assert_int_equal(usrs, 0);
    assert_int_equal(raise(SIGUSR1), 0);
    turn_until(&usrs, 1);
    assert_int_equal(hups, 2);
    cn_signal_free(hup);
    cn_signal_free(usr);
    cn_signal_free(NULL);
}

static void test_without_memory_nothing_opens(void **state)
{
    (void)state;
    struct cn_reactor *other = NULL;
    struct cn_timer *timer = NULL;
    struct cn_io *io = NULL;
    struct cn_signal *sig = NULL;
    allocations_left = 0;
    enum cn_err reactor_err = cn_reactor_new(&other, on_wake, &wakes);
    enum cn_err timer_err = cn_timer_new(reactor, note_fired, NULL, &timer);
    enum cn_err io_err = cn_io_new(reactor, 0, note_ready, NULL, &io);
    enum cn_err signal_err = cn_signal_new(reactor, SIGHUP, note_signal, NULL, &sig);
    allocations_left = -1;
    assert_int_equal(reactor_err, CN_NOMEM);
    assert_int_equal(timer_err, CN_NOMEM);
    assert_int_equal(io_err, CN_NOMEM);
    assert_int_equal(signal_err, CN_NOMEM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_timers_fire_in_order_and_not_early),
        TEST(test_timer_started_anew_fires_once),
        TEST(test_timer_counts_from_its_start),
        TEST(test_timer_may_free_itself_and_others),
        TEST(test_run_until_stopped),
        TEST(test_turn_waits_at_most_as_told),
        TEST(test_io_reports_exactly_what_is_watched),
        TEST(test_io_reports_the_end_of_the_stream),
        TEST(test_io_may_free_itself),
        TEST(test_unwatchable_descriptor_is_refused),
        TEST(test_several_wakes_are_one),
        TEST(test_wake_within_on_wake_runs_it_again),
        TEST(test_wakes_from_threads_lose_nothing),
        TEST(test_wake_ends_the_wait_of_run),
        TEST(test_after_each_turn_and_before_the_first),
        TEST(test_signals),
        TEST(test_without_memory_nothing_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

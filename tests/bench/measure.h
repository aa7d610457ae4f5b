// SPDX-License-Identifier: MIT
// What the measuring programs share: time, CPU of a process, and histograms of durations.
#ifndef CHATNODE_BENCH_MEASURE_H
#define CHATNODE_BENCH_MEASURE_H

#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 2560 }; // logarithmic, 1 % wide: up to a day in microseconds

struct histogram {
    long buckets[HISTOGRAM_BUCKETS];
    long count;
    int64_t max_us;
};

// Says what failed, with errno's reason if there is one, and ends the program with 1.
_Noreturn void measure_fail(const char *what);

// Microseconds of CLOCK_MONOTONIC, which Python calls time.monotonic().
int64_t measure_now_us(void);

// CPU time of all threads of a process in microseconds; fails when there is no such process.
int64_t measure_cpu_us(int pid);

// The same of its first thread only.
int64_t measure_main_cpu_us(int pid);

// Resident memory of a process.
int64_t measure_rss_bytes(int pid);

// Notes a duration that occurred `times` times.
void histogram_add(struct histogram *histogram, int64_t us, long times);

// The duration that the share (0 to 1) of all stay below, within 1 %; 0 when there are none.
double histogram_at(const struct histogram *histogram, double share);

// Lets this process open as many descriptors as the system allows it.
void measure_raise_limits(void);

// Of a server's WebSocket frame: the bytes of its header, and of its payload (RFC 6455
// section 5.2). `head` has at least 2 bytes, and as many as the header takes for the payload.
size_t measure_header_size(const unsigned char *head);
size_t measure_payload_size(const unsigned char *head);

#endif

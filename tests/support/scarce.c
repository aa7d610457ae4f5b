// SPDX-License-Identifier: MIT
// A node with little memory: linked before the C library, it lets some allocations of our own code
// fail. SCARCE_SEED begins the series, SCARCE_PER_MILLE of the allocations fail; SIGUSR2 turns it
// on, SIGWINCH off. What libraries allocate for themselves is left alone.
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);

static atomic_bool on;
static atomic_uint_fast64_t state;
static unsigned per_mille;

static void on_signal(int number)
{
    atomic_store(&on, number == SIGUSR2);
}

__attribute__((constructor)) static void begin(void)
{
    const char *seed = getenv("SCARCE_SEED");
    const char *share = getenv("SCARCE_PER_MILLE");
    atomic_store(&state, seed ? strtoul(seed, NULL, 10) : 1);
    per_mille = share ? (unsigned)strtoul(share, NULL, 10) : 0;
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    if (sigaction(SIGUSR2, &action, NULL) != 0 || sigaction(SIGWINCH, &action, NULL) != 0)
        abort();
}

// SplitMix64.
static int fails(void)
{
    if (!atomic_load_explicit(&on, memory_order_relaxed))
        return 0;
    uint64_t z = atomic_fetch_add(&state, UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % 1000 < per_mille;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

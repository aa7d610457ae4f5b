// SPDX-License-Identifier: MIT
// Assertions for our own bugs, and the attributes that make the compiler check a contract.
#ifndef CHATNODE_CHECK_H
#define CHATNODE_CHECK_H

// The result must be looked at.
#define CN_MUSTCHECK __attribute__((warn_unused_result))

// Checks a printf-like argument list: `format` and `first` are 1-based argument numbers.
#define CN_PRINTF(format_at, first) __attribute__((format(printf, format_at, first)))

#define CN_COUNT(array) (sizeof(array) / sizeof((array)[0]))

// Defined where the address sanitizer watches: GCC says so by a macro, Clang by a feature.
#if defined(__SANITIZE_ADDRESS__)
#define CN_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CN_ADDRESS_SANITIZER 1
#endif
#endif

// Aborts with a readable report when `expr` is false; on in every build. Only for invariants of
// our own: a peer's bytes never reach an assertion.
#define CN_ASSERT(expr) ((expr) ? (void)0 : cn_check_failed(#expr, __FILE__, __LINE__))

// Reports the failed assertion on stderr and aborts. Any thread.
_Noreturn void cn_check_failed(const char *expr, const char *file, int line);

#endif

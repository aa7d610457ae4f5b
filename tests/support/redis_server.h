// SPDX-License-Identifier: MIT
// A private redis-server for a test: in a directory of its own, gone when the test ends.
#ifndef CHATNODE_TEST_REDIS_SERVER_H
#define CHATNODE_TEST_REDIS_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

struct redisReply;

struct redis_server {
    pid_t pid; // 0: not running
    char dir[64];
    char socket[96];
    char url[160]; // redis:// when it has a port, else unix://; as the user of
                   // deploy/redis-users.acl
    int port;      // 0: unix socket only
    const char *const *args;
};

// Whether that user may CONFIG GET as well. False unless a test sets it before all else.
extern bool redis_server_shows_config;

// Starts it with further arguments ({"--appendonly", "yes", NULL}, or NULL; borrowed until it is
// stopped for good) and waits until it accepts. With `tcp` it listens on a free loopback port too.
// Fails the test if it does not start.
void redis_server_start(struct redis_server *server, bool tcp, const char *const *args);

// Starts one that was ended before, on the same directory and port.
void redis_server_restart(struct redis_server *server);

// Ends it with the signal and waits for its end; the directory stays.
void redis_server_kill(struct redis_server *server, int signo);

// Sends a signal (SIGSTOP, SIGCONT).
void redis_server_signal(const struct redis_server *server, int signo);

// Ends it and removes its directory.
void redis_server_stop(struct redis_server *server);

// Runs one command without arguments that need quoting; fails the test on an error. The integer
// or 0 of the answer.
long long redis_server_command(const struct redis_server *server, const char *command);

// A loopback port that nothing listens on at this moment.
int redis_server_free_port(void);

#endif

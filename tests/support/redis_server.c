// SPDX-License-Identifier: MIT
// A private redis-server for a test: in a directory of its own, gone when the test ends.
#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "support/redis_server.h"

#include "chatnode/clock.h"

enum { START_MS = 20000, ARGS_MAX = 128, SERVERS_MAX = 64, RULES_BYTES = 2048 };

bool redis_server_shows_config;

// What this process started, so that nothing is left when a test fails half-way.
static struct {
    pid_t pid;
    char dir[64];
} started[SERVERS_MAX];

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_dir(const char *dir)
{
    (void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void clean_up(void)
{
    for (int i = 0; i < SERVERS_MAX; i++) {
        if (started[i].pid > 0 && kill(started[i].pid, SIGKILL) == 0)
            (void)waitpid(started[i].pid, NULL, 0);
        if (started[i].dir[0])
            remove_dir(started[i].dir);
    }
}

// Notes the process of the directory; 0 when it has ended.
static void note(const char *dir, pid_t pid)
{
    static bool registered;
    int slot = 0;
    if (!registered)
        registered = atexit(clean_up) == 0;
    while (slot < SERVERS_MAX && started[slot].dir[0] && strcmp(started[slot].dir, dir) != 0)
        slot++;
    assert_true(slot < SERVERS_MAX);
    snprintf(started[slot].dir, sizeof(started[slot].dir), "%s", dir);
    started[slot].pid = pid;
}

int redis_server_free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

// The words behind `user` of deploy/redis-users.acl for the user chatnode, with the password
// "node".
static int add_user(const char **argv, int count)
{
    static char line[RULES_BYTES];
    FILE *file = fopen(CN_SOURCE_DIR "/deploy/redis-users.acl", "re");
    bool found = false;
    while (file && !found && fgets(line, sizeof(line), file))
        found = strncmp(line, "user chatnode ", 14) == 0;
    if (!found)
        _exit(126);
    argv[count++] = "--user";
    char *rest = line + 5;
    for (char *word; (word = strsep(&rest, " \n")) != NULL && count + 2 < ARGS_MAX;)
        if (word[0])
            argv[count++] = word[0] == '#' ? ">node" : word;
    if (redis_server_shows_config)
        argv[count++] = "+config|get";
    return count;
}

static void run(const struct redis_server *server, int out)
{
    char port[16];
    const char *argv[ARGS_MAX] = {"redis-server", "--save",     "",      "--daemonize",
                                  "no",           "--loglevel", "notice"};
    int count = 7;
    snprintf(port, sizeof(port), "%d", server->port);
    const char *fixed[] = {"--dir",        server->dir, "--port",       port,
                           "--bind",       "127.0.0.1", "--unixsocket", server->socket,
                           "--maxclients", "500",       "--logfile",    ""};
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        argv[count++] = fixed[i];
    for (int i = 0; server->args && server->args[i] && count + 1 < ARGS_MAX; i++)
        argv[count++] = server->args[i];
    count = add_user(argv, count);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execvp("redis-server", (char *const *)argv);
    _exit(127);
}

// Reads what the server prints until it says that it is ready.
static bool wait_ready(int fd)
{
    char text[8192];
    size_t len = 0;
    int64_t end = cn_clock_ms() + START_MS;
    while (len + 1 < sizeof(text)) {
        int64_t left = end - cn_clock_ms();
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        if (left <= 0 || poll(&poll_fd, 1, (int)left) <= 0)
            break;
        ssize_t got = read(fd, text + len, sizeof(text) - 1 - len);
        if (got <= 0)
            break;
        len += (size_t)got;
        text[len] = '\0';
        if (strstr(text, "Ready to accept connections") ||
            strstr(text, "ready to accept connections"))
            return true;
    }
    text[len] = '\0';
    print_error("redis-server did not start: %s\n", text);
    return false;
}

void redis_server_restart(struct redis_server *server)
{
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0)
        run(server, pipe_fds[1]);
    note(server->dir, server->pid);
    close(pipe_fds[1]);
    bool ready = wait_ready(pipe_fds[0]);
    close(pipe_fds[0]);
    assert_true(ready);
}

void redis_server_start(struct redis_server *server, bool tcp, const char *const *args)
{
    *server = (struct redis_server){.args = args};
    strcpy(server->dir, "/tmp/chatnode-redis-XXXXXX");
    assert_non_null(mkdtemp(server->dir));
    snprintf(server->socket, sizeof(server->socket), "%s/redis.sock", server->dir);
    if (tcp)
        server->port = redis_server_free_port();
    if (tcp)
        snprintf(server->url, sizeof(server->url), "redis://chatnode:node@127.0.0.1:%d",
                 server->port);
    else
        snprintf(server->url, sizeof(server->url), "unix://chatnode:node@%s", server->socket);
    redis_server_restart(server);
}

void redis_server_signal(const struct redis_server *server, int signo)
{
    assert_true(server->pid > 0);
    assert_int_equal(kill(server->pid, signo), 0);
}

void redis_server_kill(struct redis_server *server, int signo)
{
    if (server->pid == 0)
        return;
    redis_server_signal(server, signo);
    assert_int_equal(waitpid(server->pid, NULL, 0), server->pid);
    server->pid = 0;
    note(server->dir, 0);
}

void redis_server_stop(struct redis_server *server)
{
    redis_server_kill(server, SIGKILL);
    if (server->dir[0])
        remove_dir(server->dir);
    server->dir[0] = '\0';
}

long long redis_server_command(const struct redis_server *server, const char *command)
{
    redisContext *context = redisConnectUnix(server->socket);
    assert_non_null(context);
    assert_int_equal(context->err, 0);
    redisReply *reply = redisCommand(context, command);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        print_error("%s: %s\n", command, reply->str);
    assert_int_not_equal(reply->type, REDIS_REPLY_ERROR);
    long long value = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    freeReplyObject(reply);
    redisFree(context);
    return value;
}

// SPDX-License-Identifier: MIT
// The node: makes its parts in order, runs, ends them in reverse.
#include "chatnode/node.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "chatnode/clock.h"
#include "chatnode/hash.h"
#include "chatnode/log.h"
#include "chatnode/metrics.h"
#include "chatnode/metrics_table.h"
#include "node_private.h"

enum {
    RESERVED_DESCRIPTORS = 128, // the log, the bus, listeners, operators' connections
    LOOP_DESCRIPTORS = 8,       // libuv's and libwebsockets' own, for each loop
    LOOPS_MAX = 64,
    REPORT_MAX_BYTES = 65536
};

// ---- Before anything runs ----

static enum cn_err set_log_level(const struct cn_config *config)
{
    enum cn_log_level level;
    enum cn_err err = cn_log_level_parse(cn_str_of(config->log_level), &level);
    if (!err)
        cn_log_set_level(level);
    return err;
}

static enum cn_err open_log(const struct cn_config *config)
{
    static const struct {
        const char *word;
        enum cn_log_format format;
    } formats[] = {{"auto", CN_LOG_AUTO}, {"text", CN_LOG_TEXT}, {"json", CN_LOG_JSON}};
    enum cn_log_format format = CN_LOG_AUTO;
    for (size_t i = 0; i < CN_COUNT(formats); i++)
        if (strcmp(config->log_format, formats[i].word) == 0)
            format = formats[i].format;
    return cn_log_open(config->log_file[0] ? config->log_file : NULL, format);
}

static void make_name(struct cn_node *node)
{
    const char *given = node->config->node_name;
    if (given[0]) {
        snprintf(node->name, sizeof(node->name), "%s", given);
        return;
    }
    char host[48] = "node";
    (void)!gethostname(host, sizeof(host) - 1);
    const char *colon = strrchr(node->config->listen, ':');
    snprintf(node->name, sizeof(node->name), "%s-%s", host, colon ? colon + 1 : "0");
}

static unsigned count_loops(const struct cn_config *config)
{
    cpu_set_t cpus;
    int count = (int)config->loops;
    if (count == 0 && sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
        count = CPU_COUNT(&cpus);
    if (count < 1)
        count = 1;
    return (unsigned)(count > LOOPS_MAX ? LOOPS_MAX : count);
}

// Asks for as many descriptors as connections need, and no more: beyond 10 million libwebsockets
// falls back to a few thousand. Fewer connections where the system gives less. CN_SYSTEM: not even
// enough for the loops, without which libuv would crash.
static enum cn_err limit_descriptors(struct cn_config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return CN_SYSTEM;
    rlim_t reserved = RESERVED_DESCRIPTORS + LOOP_DESCRIPTORS * count_loops(config);
    rlim_t wanted = (rlim_t)config->max_connections + reserved;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return CN_SYSTEM;
    if (limit.rlim_cur <= reserved) {
        CN_LOG(ERROR, "limits.descriptors", "the system allows too few descriptors for the loops",
               CN_F_INT("allowed", (int64_t)limit.rlim_cur),
               CN_F_INT("needed", (int64_t)reserved + 1));
        return CN_SYSTEM;
    }
    int64_t possible = (int64_t)(limit.rlim_cur - reserved);
    if (possible >= config->max_connections)
        return CN_OK;
    CN_LOG(WARN, "limits.descriptors", "the system allows fewer connections than configured",
           CN_F_INT("max_connections", config->max_connections), CN_F_INT("possible", possible));
    config->max_connections = possible;
    return CN_OK;
}

// ---- Signals ----

static void stop(struct cn_node *node)
{
    cn_reactor_stop(node->reactor);
}

static void on_terminate(void *arg)
{
    struct cn_node *node = arg;
    if (node->drain) {
        CN_LOG(WARN, "drain.cut", "a second signal: stopping now");
        stop(node);
    } else if (cn_drain_start(node, stop, &node->drain)) {
        stop(node);
    }
}

// What was applied, and what is still to be: names of settings.
static void say_reloaded(const struct cn_node *node, const struct cn_config *fresh)
{
    struct cn_buf applied;
    struct cn_buf left;
    cn_buf_init(&applied, REPORT_MAX_BYTES);
    cn_buf_init(&left, REPORT_MAX_BYTES);
    const struct cn_config *before = node->reloaded ? &node->latest : node->config;
    if (cn_config_changes(before, fresh, true, &applied) ||
        cn_config_changes(node->config, fresh, false, &left))
        CN_LOG(WARN, "config.reload", "the configuration was read again; no memory to say more");
    else
        CN_LOG(INFO, "config.reload", "the configuration was read again",
               CN_F_VIEW("applied", cn_buf_str(&applied)),
               CN_F_VIEW("needs_restart", cn_buf_str(&left)));
    cn_buf_fini(&applied);
    cn_buf_fini(&left);
}

// Each part takes what it can from a fresh configuration; the one of the start stays. A part that
// finds a fault changes nothing of its own.
static enum cn_err apply(struct cn_node *node, const struct cn_config *fresh)
{
    const char *why = "see above";
    enum cn_err err = cn_edge_reload(node->edge, fresh);
    if (!err)
        err = cn_hub_reload(node->hub, fresh, &why);
    if (!err)
        err = set_log_level(fresh);
    if (err)
        CN_LOG(ERROR, "config.reload",
               "part of the configuration is bad; of that part nothing was changed",
               CN_F_STR("why", why));
    return err;
}

static void on_reload(void *arg)
{
    struct cn_node *node = arg;
    struct cn_config fresh = {0};
    struct cn_buf report;
    enum cn_config_action action;
    cn_buf_init(&report, REPORT_MAX_BYTES);
    if (cn_config_load(&fresh, node->sources, &action, &report)) {
        CN_LOG(ERROR, "config.reload", "the configuration is bad; nothing was changed",
               CN_F_VIEW("report", cn_buf_str(&report)));
        cn_config_fini(&fresh);
    } else if (apply(node, &fresh)) {
        cn_config_fini(&fresh);
    } else {
        say_reloaded(node, &fresh);
        cn_config_fini(&node->latest);
        node->latest = fresh;
        node->reloaded = true;
    }
    cn_buf_fini(&report);
}

static void on_reopen(void *arg)
{
    struct cn_node *node = arg;
    if (open_log(node->config))
        CN_LOG(ERROR, "log.reopen", "the log file could not be opened again; the old one stays");
    else
        CN_LOG(INFO, "log.reopen", "the log file was opened again");
}

static const struct {
    int signo;
    void (*caught)(void *arg);
} signals[] = {
    {SIGTERM, on_terminate}, {SIGINT, on_terminate}, {SIGHUP, on_reload}, {SIGUSR1, on_reopen}};

// Signals wait while `how` is SIG_BLOCK: libuv, inside libwebsockets, sets handlers of its own when
// a loop is made, so ours must come after those, and none may be lost in between.
static void hold_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < CN_COUNT(signals); i++)
        sigaddset(&set, signals[i].signo);
    pthread_sigmask(how, &set, NULL);
}

static enum cn_err catch_signals(struct cn_node *node)
{
    _Static_assert(CN_COUNT(signals) <= CN_COUNT(((struct cn_node *)0)->signals), "room for each");
    enum cn_err err = CN_OK;
    for (size_t i = 0; !err && i < CN_COUNT(signals); i++)
        err = cn_signal_new(node->reactor, signals[i].signo, signals[i].caught, node,
                            &node->signals[i]);
    hold_signals(SIG_UNBLOCK);
    return err;
}

// ---- Life ----

static void on_fatal(void *arg, const char *why)
{
    struct cn_node *node = arg;
    CN_LOG(ERROR, "bus.fatal", "the bus can never work as configured", CN_F_STR("why", why));
    node->exit = CN_EXIT_CONFIG;
    stop(node);
}

static void on_wake(void *arg)
{
    struct cn_node *node = arg;
    if (node->hub)
        cn_hub_turn(node->hub);
}

static enum cn_err make_hub(struct cn_node *node)
{
    const char *why = "";
    const struct cn_hub_parts parts = {.config = node->config,
                                       .reactor = node->reactor,
                                       .node_name = node->name,
                                       .loops = count_loops(node->config),
                                       .on_fatal = on_fatal,
                                       .arg = node};
    enum cn_err err = cn_hub_new(&parts, &node->hub, &why);
    if (err)
        CN_LOG(ERROR, "bus.invalid", "the bus cannot be made", CN_F_STR("why", why));
    return err;
}

static enum cn_err make(struct cn_node *node)
{
    enum cn_err err = cn_hash_seed();
    if (!err)
        err = cn_metrics_start(cn_metric_table(), CN_METRIC_ROWS);
    if (!err)
        err = cn_metrics_join();
    if (!err)
        err = cn_reactor_new(&node->reactor, on_wake, node);
    if (!err)
        err = make_hub(node);
    if (err)
        return err;
    const struct cn_edge_parts parts = {node->config, node->reactor, node->hub};
    err = cn_edge_new(&parts, &node->edge);
    if (!err)
        err = cn_edge_start(node->edge);
    if (!err)
        err = catch_signals(node);
    return err ? err : cn_hub_start(node->hub);
}

static void unmake(struct cn_node *node)
{
    hold_signals(SIG_BLOCK);
    cn_drain_free(node->drain);
    if (node->edge)
        cn_edge_stop(node->edge);
    cn_hub_free(node->hub);
    cn_edge_free(node->edge);
    for (size_t i = 0; i < CN_COUNT(node->signals); i++)
        cn_signal_free(node->signals[i]);
    cn_reactor_free(node->reactor);
    cn_metrics_stop();
    cn_config_fini(&node->latest);
}

static void say_ready(const struct cn_node *node)
{
    if (node->config->conformance_echo)
        CN_LOG(WARN, "conformance.echo", "/echo is open to everybody: this is for tests only");
    CN_LOG(INFO, "node.ready", "chatnode " CN_VERSION " serves",
           CN_F_STR("listen", node->config->listen), CN_F_INT("port", cn_edge_port(node->edge)),
           CN_F_STR("url_scheme", node->config->tls_cert[0] ? "wss" : "ws"),
           CN_F_INT("internal_port", cn_edge_internal_port(node->edge)),
           CN_F_STR("bus", node->config->redis_url[0] ? "redis" : "memory"),
           CN_F_INT("loops", cn_hub_loops(node->hub)),
           CN_F_INT("max_connections", node->config->max_connections), CN_F_INT("pid", getpid()));
}

enum cn_exit cn_node_run(struct cn_config *config, const struct cn_config_sources *sources)
{
    struct cn_node node = {.config = config, .sources = sources, .exit = CN_EXIT_OK};
    if (set_log_level(config) || open_log(config)) {
        fprintf(stderr, "chatnode: the log file %s cannot be opened\n", config->log_file);
        return CN_EXIT_CONFIG;
    }
    make_name(&node);
    cn_log_set_node(node.name);
    signal(SIGPIPE, SIG_IGN);
    hold_signals(SIG_BLOCK);
    enum cn_err err = limit_descriptors(config);
    if (!err)
        err = make(&node);
    if (err) {
        CN_LOG(ERROR, "node.failed", "the node cannot start", CN_F_STR("error", cn_err_str(err)));
        node.exit = err == CN_INVALID ? CN_EXIT_CONFIG : CN_EXIT_FAILED;
    } else {
        say_ready(&node);
        cn_reactor_run(node.reactor);
    }
    unmake(&node);
    CN_LOG(INFO, "node.ended", "the node has ended", CN_F_INT("exit", node.exit));
    cn_log_close();
    return node.exit;
}

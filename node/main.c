// SPDX-License-Identifier: MIT
// The program: arguments, configuration, exit code.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chatnode/buf.h"
#include "chatnode/config.h"
#include "chatnode/edge.h"
#include "chatnode/node.h"
#include "node_private.h"

enum { TEXT_MAX_BYTES = 1 << 20 };

static void print(FILE *stream, const struct cn_buf *text)
{
    if (text->len > 0)
        fwrite(text->data, 1, text->len, stream);
}

static enum cn_exit print_help(void)
{
    struct cn_buf text;
    cn_buf_init(&text, TEXT_MAX_BYTES);
    enum cn_err err = cn_config_help(&text);
    print(stdout, &text);
    cn_buf_fini(&text);
    return err ? CN_EXIT_FAILED : CN_EXIT_OK;
}

// Says what was found, for --check-config.
static enum cn_exit print_config(const struct cn_config *config)
{
    if (cn_edge_check(config))
        return CN_EXIT_CONFIG;
    struct cn_buf text;
    cn_buf_init(&text, TEXT_MAX_BYTES);
    enum cn_err err = cn_config_show(config, &text);
    print(stdout, &text);
    cn_buf_fini(&text);
    puts("the configuration is good");
    return err ? CN_EXIT_FAILED : CN_EXIT_OK;
}

static enum cn_exit act(enum cn_config_action action, struct cn_config *config,
                        const struct cn_config_sources *sources)
{
    switch (action) {
    case CN_ACTION_HELP:
        return print_help();
    case CN_ACTION_VERSION:
        puts("chatnode " CN_VERSION);
        return CN_EXIT_OK;
    case CN_ACTION_CHECK:
        return print_config(config);
    case CN_ACTION_HEALTHCHECK:
        return cn_healthcheck(config);
    case CN_ACTION_RUN:
        return cn_node_run(config, sources);
    }
    return CN_EXIT_FAILED;
}

// What is right by itself may not be right together.
static enum cn_err check_together(const struct cn_config *config)
{
    if (!config->conformance_echo || !config->redis_url[0])
        return CN_OK;
    fputs("conformance-echo: is not allowed together with redis-url: it is for tests of a single "
          "node\n",
          stderr);
    return CN_INVALID;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--print-docs") == 0)
        return (int)cn_document_print(argv[2]);
    struct cn_config config = {0};
    struct cn_buf report;
    cn_buf_init(&report, TEXT_MAX_BYTES);
    const struct cn_config_sources sources = {argc, argv, environ};
    enum cn_config_action action = CN_ACTION_RUN;
    enum cn_err err = cn_config_load(&config, &sources, &action, &report);
    print(stderr, &report);
    cn_buf_fini(&report);
    if (!err && (action == CN_ACTION_RUN || action == CN_ACTION_CHECK))
        err = check_together(&config);
    enum cn_exit code = CN_EXIT_CONFIG;
    if (!err)
        code = act(action, &config, &sources);
    else if (err == CN_NOMEM)
        code = CN_EXIT_FAILED;
    cn_config_fini(&config);
    return (int)code;
}

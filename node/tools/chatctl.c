// SPDX-License-Identifier: MIT
// The program chatctl: one command after its name, from a table.
#include <stdio.h>
#include <string.h>

#include "bench_private.h"
#include "mint.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv); // `argv` begins behind the command's name
    const char *summary;
};

static int bench(int argc, char **argv)
{
    static const struct cn_dialect *const dialects[] = {&cn_dialect_chatnode, &cn_dialect_plain,
                                                        NULL};
    return cn_bench_command("chatctl bench", dialects, argc, argv);
}

static const struct command commands[] = {
    {"bench", bench, "put load on one node or several, and measure"},
    {"token", cn_mint_command, "make tokens and keys, and look into tokens"},
};

static int print_help(FILE *stream)
{
    fprintf(stream, "usage: chatctl COMMAND [ARGUMENTS]\n\n");
    for (size_t i = 0; i < CN_COUNT(commands); i++)
        fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(stream,
            "\nchatctl COMMAND --help says more. chatctl --version says which one this is.\n");
    return stream == stdout ? 0 : CN_BENCH_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return print_help(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_help(stdout);
    if (strcmp(argv[1], "--version") == 0) {
        puts("chatctl " CN_VERSION);
        return 0;
    }
    for (size_t i = 0; i < CN_COUNT(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 2, argv + 2);
    fprintf(stderr, "chatctl: %s is no command\n\n", argv[1]);
    return print_help(stderr);
}

// SPDX-License-Identifier: MIT
// Runs a fuzz target over kept inputs without libFuzzer: `replay_X FOLDER|FILE...`. A crash names
// its input: the last one printed with -v, or, without, the one that CN_ASSERT's message follows.
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fuzz/fuzz.h"

enum { INPUT_MAX_BYTES = 1 << 24 };

static size_t inputs;
static bool is_loud;

static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    uint8_t *data = malloc(INPUT_MAX_BYTES);
    CN_ASSERT(data);
    size_t size = fread(data, 1, INPUT_MAX_BYTES, file);
    fclose(file);
    uint8_t *exact = realloc(data, size ? size : 1);
    CN_ASSERT(exact);
    if (is_loud)
        fprintf(stderr, "%s\n", path);
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    inputs++;
}

static void run_path(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        run_file(path);
        return;
    }
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char inside[4096];
        snprintf(inside, sizeof(inside), "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            run_path(inside);
        free(names[i]);
    }
    if (count >= 0)
        free(names);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "-v") == 0)
            is_loud = true;
        else
            run_path(argv[i]);
    printf("%zu inputs\n", inputs);
    return inputs ? 0 : 1;
}

// SPDX-License-Identifier: MIT
// The embedded files: each is found under its path, whole, with its type and a strong ETag.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chatnode/web.h"

// What the page asks for; the file's name below CN_WEB_FOLDER.
static const struct {
    const char *path;
    const char *file;
    const char *content_type;
} expected[] = {
    {"/", "index.html", "text/html; charset=utf-8"},
    {"/style.css", "style.css", "text/css; charset=utf-8"},
    {"/favicon.svg", "favicon.svg", "image/svg+xml"},
    {"/page.mjs", "page.mjs", "text/javascript; charset=utf-8"},
    {"/conversations.mjs", "conversations.mjs", "text/javascript; charset=utf-8"},
    {"/view.mjs", "view.mjs", "text/javascript; charset=utf-8"},
    {"/sdk/chatnode.mjs", "sdk/chatnode.mjs", "text/javascript; charset=utf-8"},
    {"/sdk/chatnode.d.ts", "sdk/chatnode.d.ts", "text/plain; charset=utf-8"},
};

enum { EXPECTED_COUNT = sizeof(expected) / sizeof(expected[0]) };

static const struct cn_asset *find(const char *path)
{
    return cn_asset_find(cn_str_of(path));
}

// The whole file, to be freed by the caller.
static unsigned char *read_file(const char *name, size_t *len)
{
    char path[1024];
    assert_in_range(snprintf(path, sizeof(path), "%s/%s", CN_WEB_FOLDER, name), 1,
                    sizeof(path) - 1);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    unsigned char *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    *len = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    assert_in_range(*len, 1, (1 << 20) - 1);
    return bytes;
}

static void test_each_file_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXPECTED_COUNT; i++) {
        const struct cn_asset *asset = find(expected[i].path);
        assert_non_null(asset);
        assert_string_equal(asset->path, expected[i].path);
        assert_string_equal(asset->content_type, expected[i].content_type);
        size_t len;
        unsigned char *bytes = read_file(expected[i].file, &len);
        assert_int_equal(asset->len, len);
        assert_memory_equal(asset->bytes, bytes, len);
        free(bytes);
    }
}

static void test_etags_are_quoted_and_differ(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXPECTED_COUNT; i++) {
        const char *etag = find(expected[i].path)->etag;
        size_t len = strlen(etag);
        assert_int_equal(len, 34);
        assert_int_equal(etag[0], '"');
        assert_int_equal(etag[len - 1], '"');
        assert_int_equal(strspn(etag + 1, "0123456789abcdef"), len - 2);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(etag, find(expected[k].path)->etag);
    }
}

static void test_other_paths_are_not_found(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "",      "//",          "/index.html", "/style.cs", "style.css",        "/STYLE.CSS",
        "/sdk/", "/style.css/", "/../x",       "/sdk",      "/sdk/../style.css"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        assert_null(find(paths[i]));
    assert_null(cn_asset_find((struct cn_str){NULL, 0}));
    assert_null(cn_asset_find((struct cn_str){"/style.css\0x", 12}));
}

// A view need not end with NUL.
static void test_a_path_may_be_part_of_a_longer_text(void **state)
{
    (void)state;
    assert_ptr_equal(cn_asset_find((struct cn_str){"/style.css?v=1", 10}), find("/style.css"));
}

static const char *find_text(const struct cn_asset *asset, const char *text)
{
    return memmem(asset->bytes, asset->len, text, strlen(text));
}

// The page must work under the policy that the server sends: nothing inline, nothing from afar.
static void test_the_page_keeps_to_its_policy(void **state)
{
    (void)state;
    const struct cn_asset *page = find("/");
    assert_non_null(find_text(page, "<script type=\"module\" src=\"page.mjs\"></script>"));
    static const char *const forbidden[] = {" style=", " onclick=", "<style", "//", "javascript:"};
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
        assert_null(find_text(page, forbidden[i]));
    static const char *const sinks[] = {"innerHTML", "outerHTML", "insertAdjacentHTML",
                                        "document.write"};
    for (size_t i = 0; i < sizeof(sinks) / sizeof(sinks[0]); i++) {
        assert_null(find_text(find("/page.mjs"), sinks[i]));
        assert_null(find_text(find("/conversations.mjs"), sinks[i]));
        assert_null(find_text(find("/view.mjs"), sinks[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_file_is_whole),
        cmocka_unit_test(test_etags_are_quoted_and_differ),
        cmocka_unit_test(test_other_paths_are_not_found),
        cmocka_unit_test(test_a_path_may_be_part_of_a_longer_text),
        cmocka_unit_test(test_the_page_keeps_to_its_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

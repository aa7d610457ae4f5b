// SPDX-License-Identifier: MIT
// Certificates from files: which are taken, and what is said about the others.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "support/pki.h"

#include "chatnode/tls.h"

static struct pki pki;

static enum cn_err load(const char *cert, const char *key, const char *ca, int64_t now_s,
                        struct cn_tls_identity **out, struct cn_tls_why *why)
{
    static char paths[3][PKI_PATH_BYTES];
    const struct cn_tls_files files = {cert ? pki_path(&pki, cert, paths[0]) : "",
                                       key ? pki_path(&pki, key, paths[1]) : NULL,
                                       ca ? pki_path(&pki, ca, paths[2]) : ""};
    return cn_tls_identity_load(&files, now_s, out, why);
}

static void refuse(const char *cert, const char *key, const char *ca, int64_t now_s,
                   const char *words)
{
    struct cn_tls_identity *identity = NULL;
    struct cn_tls_why why;
    assert_int_equal(load(cert, key, ca, now_s, &identity, &why), CN_INVALID);
    assert_null(identity);
    if (!strstr(why.text, words))
        fail_msg("%s: %s", words, why.text);
}

static void test_a_certificate_with_its_key_is_taken(void **state)
{
    (void)state;
    struct cn_tls_identity *identity;
    struct cn_tls_why why;
    int64_t now_s = time(NULL);
    assert_int_equal(load("good.crt", "good.key", "both.crt", now_s, &identity, &why), CN_OK);
    int64_t left_s = cn_tls_identity_expiry_s(identity) - now_s;
    assert_true(left_s > 29 * 86400 && left_s <= 30 * 86400);
    cn_tls_identity_hold(identity);
    cn_tls_identity_release(identity);
    assert_true(cn_tls_identity_expiry_s(identity) > now_s);
    cn_tls_identity_release(identity);
    cn_tls_identity_release(NULL);
}

static void test_authorities_alone_are_enough(void **state)
{
    (void)state;
    struct cn_tls_identity *identity;
    struct cn_tls_why why;
    assert_int_equal(load(NULL, NULL, "both.crt", time(NULL), &identity, &why), CN_OK);
    assert_int_equal(cn_tls_identity_expiry_s(identity), 0);
    cn_tls_identity_release(identity);
    assert_int_equal(load(NULL, NULL, NULL, 0, &identity, &why), CN_OK);
    cn_tls_identity_release(identity);
}

static void test_what_does_not_fit_is_named(void **state)
{
    (void)state;
    int64_t now_s = time(NULL);
    refuse("good.crt", NULL, NULL, now_s, "a certificate needs its key");
    refuse(NULL, "good.key", NULL, now_s, "a certificate needs its key");
    refuse("none.crt", "good.key", NULL, now_s, "none.crt: cannot be read: No such file");
    refuse("good.crt", "none.key", NULL, now_s, "none.key: cannot be read: No such file");
    refuse("good.crt", "good.key", "none.crt", now_s, "none.crt: cannot be read: No such file");
    refuse("good.key", "good.key", NULL, now_s, "good.key: it holds no certificate");
    refuse("good.crt", "good.crt", NULL, now_s, "good.crt: it holds no private key");
    refuse("good.crt", "good.key", "good.key", now_s, "good.key: it holds no certificate");
    refuse("good.crt", "ca.key", NULL, now_s, "the key does not belong to the certificate");
    refuse("cut.crt", "good.key", NULL, now_s, "cut.crt: a certificate in it cannot be read");
    refuse("many.crt", "good.key", NULL, now_s, "many.crt: it holds too many certificates");
    refuse("weak.crt", "weak.key", NULL, now_s, "ee key too small");
    refuse("good.crt", "locked.key", NULL, now_s, "without a passphrase");
}

static void test_times_are_judged(void **state)
{
    (void)state;
    int64_t now_s = time(NULL);
    refuse("good.crt", "good.key", NULL, now_s - 86400,
           "good.crt: the certificate is not valid yet");
    refuse("good.crt", "good.key", NULL, now_s + 31 * 86400,
           "good.crt: the certificate has expired");
    refuse("expired.crt", "expired.key", NULL, now_s, "expired.crt: the certificate has expired");
}

static void test_a_client_needs_good_files_too(void **state)
{
    (void)state;
    char path[PKI_PATH_BYTES];
    struct ssl_ctx_st *context = NULL;
    struct cn_tls_why why;
    const struct cn_tls_files good = {.ca = pki_path(&pki, "both.crt", path)};
    const struct cn_tls_files bad = {.ca = "/nowhere"};
    assert_int_equal(cn_tls_client_new(&good, time(NULL), &context, &why), CN_OK);
    assert_non_null(context);
    cn_tls_client_free(context);
    assert_int_equal(cn_tls_client_new(&bad, time(NULL), &context, &why), CN_INVALID);
    assert_string_equal(why.text, "/nowhere: cannot be read: No such file or directory");
    cn_tls_client_free(NULL);
}

static void shell(const char *text)
{
    char command[1024];
    snprintf(command, sizeof(command), "cd %s && { %s ; } 2>log", pki.dir, text);
    assert_int_equal(system(command), 0);
}

static int set_up(void **state)
{
    (void)state;
    pki_open(&pki);
    pki_issue(&pki, "good", "ca", "DNS:good", 30);
    pki_issue(&pki, "expired", "ca", "DNS:expired", -1);
    shell("cat ca.crt other.crt >both.crt");
    shell("head -c 300 good.crt >cut.crt");
    shell("for i in $(seq 300); do cat good.crt; done >many.crt");
    shell(
        "openssl req -x509 -newkey rsa:1024 -nodes -keyout weak.key -out weak.crt -subj /CN=weak");
    shell("openssl pkey -in good.key -aes256 -passout pass:x -out locked.key");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pki_close(&pki);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_certificate_with_its_key_is_taken),
        cmocka_unit_test(test_authorities_alone_are_enough),
        cmocka_unit_test(test_what_does_not_fit_is_named),
        cmocka_unit_test(test_times_are_judged),
        cmocka_unit_test(test_a_client_needs_good_files_too),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

// SPDX-License-Identifier: MIT
// Authorities and certificates for a test, made with openssl(1) in a directory of its own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "support/pki.h"

enum { COMMAND_BYTES = 1024 };

#define NEW_KEY "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"

__attribute__((format(printf, 2, 3))) static void run(const struct pki *pki, const char *format,
                                                      ...)
{
    char command[COMMAND_BYTES];
    va_list args;
    int at = snprintf(command, sizeof(command), "cd %s && ", pki->dir);
    va_start(args, format);
    vsnprintf(command + at, sizeof(command) - (size_t)at, format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("%s", command);
}

static void make_authority(const struct pki *pki, const char *name)
{
    run(pki, "openssl req -x509 " NEW_KEY " -keyout %s.key -out %s.crt -days 30 -subj /CN=%s 2>log",
        name, name, name);
}

void pki_open(struct pki *pki)
{
    *pki = (struct pki){"/tmp/chatnode-pki-XXXXXX"};
    assert_non_null(mkdtemp(pki->dir));
    make_authority(pki, "ca");
    make_authority(pki, "other");
}

void pki_close(struct pki *pki)
{
    char path[PKI_PATH_BYTES];
    run(pki, "rm -f *.crt *.key *.csr *.srl *.ext log");
    remove(pki_path(pki, "", path));
}

// Days below 0 are not taken from OpenSSL 3.4 on; before that, moments are not.
static void sign(const struct pki *pki, const char *name, const char *by, const char *times)
{
    run(pki,
        "for times in %s; do openssl x509 -req -in %s.csr -CA %s.crt -CAkey %s.key -CAcreateserial "
        "$(echo $times | tr = ' ' | tr , ' ') -extfile %s.ext -out %s.crt 2>log && exit; done; "
        "exit 1",
        times, name, by, by, name, name);
}

void pki_issue(const struct pki *pki, const char *name, const char *by, const char *alt, int days)
{
    char times[96] = "-days=-1 -not_before=20200101000000Z,-not_after=20200102000000Z";
    if (days >= 0)
        snprintf(times, sizeof(times), "-days=%d", days);
    run(pki, "echo subjectAltName=%s >%s.ext", alt, name);
    run(pki, "openssl req -new " NEW_KEY " -keyout %s.key -out %s.csr -subj /CN=%s 2>log", name,
        name, name);
    sign(pki, name, by, times);
}

const char *pki_path(const struct pki *pki, const char *file, char out[PKI_PATH_BYTES])
{
    snprintf(out, PKI_PATH_BYTES, "%s/%s", pki->dir, file);
    return out;
}

// SPDX-License-Identifier: MIT
// TLS as this program speaks it: whom it believes and what it shows.
#include "chatnode/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chatnode/ref.h"

enum { CERTIFICATES_MAX = 256 }; // in one file

struct cn_tls_identity {
    struct cn_ref refs;
    X509 *cert; // NULL: none is shown
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    X509_STORE *authorities; // NULL: none were named
    STACK_OF(X509_NAME) * authority_names;
    int64_t expiry_s;
};

// ---- What went wrong ----

__attribute__((format(printf, 2, 3))) static enum cn_err blame(struct cn_tls_why *why,
                                                               const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof(why->text), format, args);
    va_end(args);
    ERR_clear_error();
    return CN_INVALID;
}

void cn_tls_error(struct cn_tls_why *why)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    // Errors of the system have no text of OpenSSL's.
    snprintf(why->text, sizeof(why->text), "%s",
             reason                           ? reason
             : code && ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
                                              : "no reason given");
    ERR_clear_error();
}

static enum cn_err blame_openssl(struct cn_tls_why *why, const char *path)
{
    struct cn_tls_why reason = {0};
    cn_tls_error(&reason);
    return blame(why, "%.160s: %.120s", path, reason.text);
}

// ---- Reading files ----

static bool is_given(const char *path)
{
    return path && path[0];
}

static BIO *open_file(const char *path, struct cn_tls_why *why)
{
    errno = 0;
    BIO *file = BIO_new_file(path, "r");
    if (!file)
        (void)blame(why, "%.160s: cannot be read: %s", path,
                    errno ? strerror(errno) : "out of memory");
    return file;
}

// Calls `take` with each certificate of the file, which may keep it by a reference of its own.
static enum cn_err read_certificates(const char *path,
                                     bool (*take)(struct cn_tls_identity *identity, X509 *cert),
                                     struct cn_tls_identity *identity, struct cn_tls_why *why)
{
    BIO *file = open_file(path, why);
    if (!file)
        return CN_INVALID;
    unsigned count = 0;
    bool taken = true;
    X509 *cert;
    while (taken && count < CERTIFICATES_MAX &&
           (cert = PEM_read_bio_X509(file, NULL, NULL, NULL))) {
        taken = take(identity, cert);
        X509_free(cert);
        count++;
    }
    BIO_free(file);
    // A file ends with the error that there is no further beginning of a certificate.
    unsigned long last = ERR_peek_last_error();
    bool is_whole = count > 0 && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
    if (!taken)
        return blame_openssl(why, path);
    if (!is_whole)
        return blame(why, "%.160s: %s", path,
                     count == CERTIFICATES_MAX ? "it holds too many certificates"
                     : count == 0 && ERR_GET_REASON(last) == PEM_R_NO_START_LINE
                         ? "it holds no certificate in PEM form"
                         : "a certificate in it cannot be read");
    ERR_clear_error();
    return CN_OK;
}

static bool take_shown(struct cn_tls_identity *identity, X509 *cert)
{
    if (!X509_up_ref(cert))
        return false;
    if (!identity->cert) {
        identity->cert = cert;
        return true;
    }
    return sk_X509_push(identity->chain, cert) > 0 || (X509_free(cert), false);
}

static bool take_believed(struct cn_tls_identity *identity, X509 *cert)
{
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(cert));
    if (!name || sk_X509_NAME_push(identity->authority_names, name) <= 0) {
        X509_NAME_free(name);
        return false;
    }
    return X509_STORE_add_cert(identity->authorities, cert) == 1;
}

// Else OpenSSL would ask on the terminal.
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static enum cn_err read_key(const char *path, EVP_PKEY **out, struct cn_tls_why *why)
{
    BIO *file = open_file(path, why);
    if (!file)
        return CN_INVALID;
    *out = PEM_read_bio_PrivateKey(file, NULL, no_passphrase, NULL);
    BIO_free(file);
    if (*out)
        return CN_OK;
    return blame(why, "%.160s: it holds no private key in PEM form without a passphrase", path);
}

// ---- Checking ----

static bool seconds_of(const ASN1_TIME *time, int64_t *out)
{
    struct tm parts;
    if (!ASN1_TIME_to_tm(time, &parts))
        return false;
    *out = (int64_t)timegm(&parts);
    return true;
}

static enum cn_err check_times(struct cn_tls_identity *identity, const char *path, int64_t now_s,
                               struct cn_tls_why *why)
{
    int64_t begins_s;
    if (!seconds_of(X509_get0_notBefore(identity->cert), &begins_s) ||
        !seconds_of(X509_get0_notAfter(identity->cert), &identity->expiry_s))
        return blame(why, "%.160s: the certificate's times cannot be read", path);
    if (begins_s > now_s)
        return blame(why, "%.160s: the certificate is not valid yet", path);
    if (identity->expiry_s <= now_s)
        return blame(why, "%.160s: the certificate has expired", path);
    return CN_OK;
}

static enum cn_err read_shown(struct cn_tls_identity *identity, const struct cn_tls_files *files,
                              int64_t now_s, struct cn_tls_why *why)
{
    enum cn_err err = read_certificates(files->cert, take_shown, identity, why);
    if (!err)
        err = read_key(files->key, &identity->key, why);
    if (!err && X509_check_private_key(identity->cert, identity->key) != 1)
        err = blame(why, "%.150s: the key does not belong to the certificate in %.120s", files->key,
                    files->cert);
    return err ? err : check_times(identity, files->cert, now_s, why);
}

static bool believe(const struct cn_tls_identity *identity, SSL_CTX *context)
{
    STACK_OF(X509_NAME) *names = SSL_dup_CA_list(identity->authority_names);
    if (!names)
        return false;
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set1_cert_store(context, identity->authorities);
    return true;
}

static enum cn_err apply(const struct cn_tls_identity *identity, SSL_CTX *context,
                         struct cn_tls_why *why)
{
    ERR_clear_error();
    if (identity->cert &&
        SSL_CTX_use_cert_and_key(context, identity->cert, identity->key, identity->chain, 1) != 1)
        return blame_openssl(why, "the certificate or its key");
    if (identity->authorities && !believe(identity, context))
        return blame_openssl(why, "the authorities");
    return CN_OK;
}

// OpenSSL judges the strength of keys and signatures only where they are used.
static enum cn_err try_out(const struct cn_tls_identity *identity, struct cn_tls_why *why)
{
    SSL_CTX *context = SSL_CTX_new(TLS_method());
    enum cn_err err = context ? apply(identity, context, why) : CN_NOMEM;
    SSL_CTX_free(context);
    return err;
}

static struct cn_tls_identity *new_identity(void)
{
    struct cn_tls_identity *identity = calloc(1, sizeof(*identity));
    if (!identity)
        return NULL;
    cn_ref_init(&identity->refs);
    identity->chain = sk_X509_new_null();
    identity->authority_names = sk_X509_NAME_new_null();
    if (identity->chain && identity->authority_names)
        return identity;
    cn_tls_identity_release(identity);
    return NULL;
}

enum cn_err cn_tls_identity_load(const struct cn_tls_files *files, int64_t now_s,
                                 struct cn_tls_identity **out, struct cn_tls_why *why)
{
    why->text[0] = '\0';
    if (is_given(files->cert) != is_given(files->key))
        return blame(why, "a certificate needs its key, and a key its certificate");
    struct cn_tls_identity *identity = new_identity();
    if (!identity)
        return CN_NOMEM;
    ERR_clear_error();
    enum cn_err err = CN_OK;
    if (is_given(files->cert))
        err = read_shown(identity, files, now_s, why);
    if (!err && is_given(files->ca)) {
        identity->authorities = X509_STORE_new();
        err = identity->authorities ? read_certificates(files->ca, take_believed, identity, why)
                                    : CN_NOMEM;
    }
    if (!err)
        err = try_out(identity, why);
    if (err) {
        cn_tls_identity_release(identity);
        return err;
    }
    *out = identity;
    return CN_OK;
}

void cn_tls_identity_hold(struct cn_tls_identity *identity)
{
    cn_ref_hold(&identity->refs);
}

void cn_tls_identity_release(struct cn_tls_identity *identity)
{
    if (!identity || !cn_ref_release(&identity->refs))
        return;
    X509_free(identity->cert);
    EVP_PKEY_free(identity->key);
    X509_STORE_free(identity->authorities);
    sk_X509_pop_free(identity->chain, X509_free);
    sk_X509_NAME_pop_free(identity->authority_names, X509_NAME_free);
    free(identity);
}

int64_t cn_tls_identity_expiry_s(const struct cn_tls_identity *identity)
{
    return identity->expiry_s;
}

// ---- Contexts ----

enum cn_err cn_tls_identity_use(const struct cn_tls_identity *identity, struct ssl_ctx_st *context,
                                struct cn_tls_why *why)
{
    enum cn_err err = apply(identity, context, why);
    if (!err)
        SSL_CTX_set_verify(context,
                           identity->authorities ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                                 : SSL_VERIFY_NONE,
                           NULL);
    return err;
}

// A client that offers protocols (ALPN) but not this one is not meant for us: RFC 7301 section 3.2.
static int on_protocols(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                        const unsigned char *offered, unsigned offered_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static void on_info(const SSL *ssl, int where, int result)
{
    (void)result;
    const struct cn_tls_rules *rules = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (where & (SSL_CB_HANDSHAKE_START | SSL_CB_HANDSHAKE_DONE))
        rules->counted(where & SSL_CB_HANDSHAKE_DONE);
}

// Forward secrecy and authenticated encryption; TLS 1.3 has nothing else.
static bool set_strength(SSL_CTX *context, bool only_newest)
{
    return SSL_CTX_set_min_proto_version(context, only_newest ? TLS1_3_VERSION : TLS1_2_VERSION) &&
           SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20");
}

enum cn_err cn_tls_serve(struct ssl_ctx_st *context, const struct cn_tls_rules *rules,
                         struct cn_tls_why *why)
{
    ERR_clear_error();
    // Without resumption: a client that comes back comes to another loop or node, whose keys for
    // tickets are others, and what a ticket protects would hang on one key for long.
    if (!set_strength(context, rules->only_newest) || !SSL_CTX_set_num_tickets(context, 0))
        return blame_openssl(why, "the rules");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_tlsext_servername_callback(context, NULL);
    SSL_CTX_set_alpn_select_cb(context, on_protocols, NULL);
    if (rules->counted) {
        SSL_CTX_set_app_data(context, (void *)(uintptr_t)rules);
        SSL_CTX_set_info_callback(context, on_info);
    }
    return CN_OK;
}

static enum cn_err set_client(SSL_CTX *context, const struct cn_tls_identity *identity,
                              struct cn_tls_why *why)
{
    ERR_clear_error();
    if (!set_strength(context, false))
        return blame_openssl(why, "the rules");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    // Many servers end a connection without saying so in TLS; what is said over it must show for
    // itself whether it is whole.
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (!identity->authorities && !SSL_CTX_set_default_verify_paths(context))
        return blame_openssl(why, "the system's authorities");
    return apply(identity, context, why);
}

enum cn_err cn_tls_client_new(const struct cn_tls_files *files, int64_t now_s,
                              struct ssl_ctx_st **out, struct cn_tls_why *why)
{
    struct cn_tls_identity *identity = NULL;
    enum cn_err err = cn_tls_identity_load(files, now_s, &identity, why);
    if (err)
        return err;
    CN_ASSERT(identity);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    err = context ? set_client(context, identity, why) : CN_NOMEM;
    cn_tls_identity_release(identity);
    if (err) {
        SSL_CTX_free(context);
        return err;
    }
    *out = context;
    return CN_OK;
}

void cn_tls_client_free(struct ssl_ctx_st *context)
{
    SSL_CTX_free(context);
}

// ---- Asking oneself ----

static bool exchange(SSL *ssl, const char *question, char *answer, size_t answer_len)
{
    size_t len = strlen(question);
    size_t got = 0;
    size_t part;
    if (SSL_connect(ssl) != 1 || !SSL_write_ex(ssl, question, len, &part) || part != len)
        return false;
    while (got < answer_len && SSL_read_ex(ssl, answer + got, answer_len - got, &part))
        got += part;
    return got == answer_len;
}

bool cn_tls_ask(int fd, const char *question, char *answer, size_t answer_len)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = context ? SSL_new(context) : NULL;
    bool well = ssl && SSL_set_fd(ssl, fd) && exchange(ssl, question, answer, answer_len);
    SSL_free(ssl);
    SSL_CTX_free(context);
    ERR_clear_error();
    return well;
}

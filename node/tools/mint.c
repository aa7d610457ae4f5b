// SPDX-License-Identifier: MIT
// chatctl token: makes tokens for development and operations, and looks into tokens.
#include "mint.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "chatnode/clock.h"
#include "chatnode/token_sign.h"

// ---- Options ----

enum kind { TEXT, SWITCH, ROOM };

static const struct option {
    const char *name;
    enum kind kind;
    size_t offset; // of the field in struct cn_mint
    const char *value;
    const char *help;
} options[] = {
    {"user", TEXT, offsetof(struct cn_mint, user), "NAME", "whose token it is"},
    {"room", ROOM, 0, "PATTERN=RIGHTS",
     "what is allowed where: 'team.*=join,send,history', 'lobby=*'; may be given again"},
    {"secret-file", TEXT, offsetof(struct cn_mint, secret_file), "FILE", "signs with HS256"},
    {"key", TEXT, offsetof(struct cn_mint, key), "FILE", "signs with this private key in PEM"},
    {"kid", TEXT, offsetof(struct cn_mint, kid), "TEXT", "the key's id"},
    {"ttl", TEXT, offsetof(struct cn_mint, ttl), "TIME",
     "how long it lasts: 90s, 15m, 1h (the default), 30d"},
    {"name", TEXT, offsetof(struct cn_mint, name), "TEXT", "how to show the user"},
    {"issuer", TEXT, offsetof(struct cn_mint, issuer), "TEXT",
     "iss; with --verify: the expected one"},
    {"audience", TEXT, offsetof(struct cn_mint, audience), "TEXT",
     "aud; with --verify: the expected one"},
    {"jti", TEXT, offsetof(struct cn_mint, jti), "TEXT", "the token's id; without it a random one"},
    {"direct", SWITCH, offsetof(struct cn_mint, direct), NULL, "may send messages to users"},
    {"admin", SWITCH, offsetof(struct cn_mint, admin), NULL, "may do what only operators may"},
    {"decode", TEXT, offsetof(struct cn_mint, decode), "TOKEN",
     "prints header and claims, believed or not"},
    {"verify", TEXT, offsetof(struct cn_mint, verify), "TOKEN",
     "the same if it is believed with --secret-file or --keys-file; - reads it from stdin"},
    {"keys-file", TEXT, offsetof(struct cn_mint, keys_file), "FILE",
     "a JWK set, or public keys in PEM"},
    {"new-key", TEXT, offsetof(struct cn_mint, new_key), "KIND",
     "ed25519, es256, rs256 or hs256: writes it to --out, prints the JWK set that verifies"},
    {"out", TEXT, offsetof(struct cn_mint, out), "FILE", "a new file for the new key"},
};

static int print_help(void)
{
    puts("usage: chatctl token --user NAME [--room PATTERN=RIGHTS]... --key FILE | --secret-file "
         "FILE\n"
         "       chatctl token --verify TOKEN --keys-file FILE | --secret-file FILE\n"
         "       chatctl token --decode TOKEN\n"
         "       chatctl token --new-key KIND --out FILE [--kid TEXT]\n");
    for (size_t i = 0; i < CN_COUNT(options); i++) {
        char flag[64];
        snprintf(flag, sizeof(flag), "--%s %s", options[i].name,
                 options[i].value ? options[i].value : "");
        printf("  %-24s %s\n", flag, options[i].help);
    }
    return 0;
}

static const struct option *find_option(const char *word)
{
    for (size_t i = 0; strncmp(word, "--", 2) == 0 && i < CN_COUNT(options); i++) {
        size_t len = strlen(options[i].name);
        if (strncmp(word + 2, options[i].name, len) == 0 &&
            (word[2 + len] == '\0' || word[2 + len] == '='))
            return &options[i];
    }
    return NULL;
}

static int complain(const char *what, const char *why)
{
    cn_mint_fail(what, why);
    return CN_MINT_USAGE;
}

// Puts one value where it belongs; returns 0 or the exit code.
static int set_option(struct cn_mint *mint, const struct option *option, const char *value)
{
    char *field = (char *)mint + option->offset;
    if (option->kind == ROOM) {
        if (mint->room_count == CN_MINT_ROOMS_MAX)
            return complain("--room", "64 at most");
        mint->rooms[mint->room_count++] = value;
    } else {
        memcpy(field, &value, sizeof(value));
    }
    return 0;
}

static int read_options(int argc, char **argv, struct cn_mint *mint)
{
    for (int i = 0; i < argc; i++) {
        const struct option *option = find_option(argv[i]);
        if (!option)
            return complain(argv[i], "is no option; --help shows them");
        const char *value = strchr(argv[i], '=');
        if (option->kind == SWITCH) {
            if (value)
                return complain(argv[i], "takes no value");
            *(bool *)((char *)mint + option->offset) = true;
            continue;
        }
        value = value ? value + 1 : ++i < argc ? argv[i] : NULL;
        if (!value)
            return complain(option->name, "needs a value");
        int code = set_option(mint, option, value);
        if (code)
            return code;
    }
    return 0;
}

// ---- Making ----

// Seconds of "90s", "15m", "1h", "30d"; 0 when it is none of these.
static int64_t read_ttl(const char *text)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;
    long count = strtol(text, &end, 10);
    for (size_t i = 0; i < CN_COUNT(units); i++) {
        if (count > 0 && count <= 36500 * 86400L / units[i].seconds && end[0] == units[i].unit &&
            end[1] == '\0' && text[0] >= '0' && text[0] <= '9')
            return count * units[i].seconds;
    }
    return 0;
}

// The bits of "join,send" or "*"; false for another word.
static bool read_rights(const char *text, unsigned *rights)
{
    *rights = ((1u << CN_RIGHT_COUNT) - 1u) & ~(1u << CN_RIGHT_MODERATE);
    if (strcmp(text, "*") == 0)
        return true;
    *rights = 0;
    while (*text) {
        size_t len = strcspn(text, ",");
        unsigned before = *rights, bit = 1;
        for (unsigned i = 0; i < CN_RIGHT_COUNT; i++, bit <<= 1) {
            if (cn_str_equal((struct cn_str){text, len},
                             cn_str_of(cn_right_word((enum cn_right)i))))
                *rights |= bit;
        }
        if (*rights == before)
            return false;
        text += len + (text[len] == ',');
    }
    return *rights != 0;
}

static int fill_rooms(const struct cn_mint *mint, struct cn_grant *grant)
{
    for (size_t i = 0; i < mint->room_count; i++) {
        const char *equals = strrchr(mint->rooms[i], '=');
        struct cn_grant_rule *rule = &grant->rules[i];
        if (!equals || !read_rights(equals + 1, &rule->rights))
            return complain(mint->rooms[i],
                            "is not PATTERN=RIGHTS: join,send,history,presence,moderate, or *");
        rule->pattern = (struct cn_str){mint->rooms[i], (size_t)(equals - mint->rooms[i])};
        rule->from_ms = 0;
        grant->rule_count++;
    }
    return 0;
}

// 32 hexadecimal digits that nobody guesses.
static bool make_jti(char jti[33])
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return false;
    for (size_t i = 0; i < sizeof(bytes); i++)
        snprintf(jti + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

// Reads the claims as a node would, so that no token is made that none believes.
static int sign(const struct cn_mint *mint, const struct cn_signer *signer, struct cn_str claims)
{
    const struct cn_token_rules rules = {.now_s = cn_clock_wall_ms() / 1000};
    struct cn_grant *grant;
    const char *why;
    struct cn_buf token;
    if (cn_grant_read(claims, &rules, &grant, &why) != CN_TOKEN_NONE)
        return complain("no node would believe it", why);
    cn_grant_free(grant);
    cn_buf_init(&token, CN_TOKEN_BYTES_MAX);
    enum cn_err err = cn_signer_sign(signer, cn_str_of(mint->kid), claims, &token);
    if (err == CN_OK)
        printf("%.*s\n", (int)token.len, token.data);
    cn_buf_fini(&token);
    return err == CN_OK ? 0 : cn_mint_fail("the token", cn_err_str(err));
}

static int write_claims(const struct cn_mint *mint, struct cn_grant *grant, struct cn_buf *claims)
{
    int64_t ttl_s = read_ttl(mint->ttl ? mint->ttl : "1h");
    if (ttl_s == 0)
        return complain("--ttl", "is a number and s, m, h or d");
    grant->issued_s = cn_clock_wall_ms() / 1000;
    grant->expires_s = grant->issued_s + ttl_s;
    int code = fill_rooms(mint, grant);
    if (code)
        return code;
    enum cn_err err =
        cn_grant_write(grant, cn_str_of(mint->issuer), cn_str_of(mint->audience), claims);
    return err == CN_OK ? 0 : complain("the claims", cn_err_str(err));
}

static int make_with(const struct cn_mint *mint, const struct cn_signer *signer)
{
    char jti[33];
    struct cn_grant *grant = calloc(1, sizeof(*grant) + mint->room_count * sizeof(grant->rules[0]));
    if (!grant || !make_jti(jti)) {
        free(grant);
        return cn_mint_fail("the token", "no memory, or no randomness");
    }
    grant->user = cn_str_of(mint->user);
    grant->name = cn_str_of(mint->name);
    grant->jti = cn_str_of(mint->jti ? mint->jti : jti);
    grant->direct = mint->direct;
    grant->admin = mint->admin;
    struct cn_buf claims;
    cn_buf_init(&claims, CN_TOKEN_BYTES_MAX);
    int code = write_claims(mint, grant, &claims);
    if (code == 0)
        code = sign(mint, signer, cn_buf_str(&claims));
    cn_buf_fini(&claims);
    free(grant);
    return code;
}

static int make(const struct cn_mint *mint)
{
    const char *path = mint->key ? mint->key : mint->secret_file;
    if (!path || (mint->key && mint->secret_file))
        return complain("--key or --secret-file", "one of them signs; --help shows more");
    struct cn_buf text;
    struct cn_signer *signer;
    const char *why = "out of memory";
    struct cn_str none = {NULL, 0};
    int code = CN_MINT_REFUSED;
    if (cn_mint_read_file(path, &text)) {
        struct cn_str bytes = cn_buf_str(&text);
        if (cn_signer_read(mint->key ? bytes : none, mint->key ? none : bytes, &signer, &why) ==
            CN_OK) {
            code = make_with(mint, signer);
            cn_signer_free(signer);
        } else {
            cn_mint_fail(path, why);
        }
    }
    cn_buf_fini(&text);
    return code;
}

// ---- Looking ----

static int print(struct cn_str token)
{
    struct cn_buf text;
    cn_buf_init(&text, 262144);
    enum cn_err err = cn_token_print(token, &text);
    if (err == CN_OK)
        printf("%.*s", (int)text.len, text.data);
    cn_buf_fini(&text);
    return err == CN_OK ? 0 : cn_mint_fail("not a token", cn_err_str(err));
}

static int verify_with(const struct cn_mint *mint, struct cn_str token, const struct cn_keys *keys)
{
    const struct cn_token_rules rules = {.audience = cn_str_of(mint->audience),
                                         .issuer = cn_str_of(mint->issuer),
                                         .now_s = cn_clock_wall_ms() / 1000};
    struct cn_grant *grant;
    enum cn_token_fault fault = cn_token_verify(keys, token, &rules, &grant);
    cn_grant_free(grant);
    if (fault == CN_TOKEN_NONE)
        return print(token);
    const char *why = NULL;
    if (fault != CN_TOKEN_SIGNATURE && fault != CN_TOKEN_UNKNOWN_KEY)
        why = cn_token_complaint(token, &rules);
    return cn_mint_fail(cn_token_fault_word(fault), why ? why : "it is not believed");
}

static int verify(const struct cn_mint *mint, struct cn_str token)
{
    struct cn_buf keys_text, secret;
    struct cn_keys *keys;
    const char *why;
    int code = CN_MINT_REFUSED;
    cn_buf_init(&keys_text, 0);
    cn_buf_init(&secret, 0);
    if ((!mint->keys_file || cn_mint_read_file(mint->keys_file, &keys_text)) &&
        (!mint->secret_file || cn_mint_read_file(mint->secret_file, &secret))) {
        if (cn_keys_parse(cn_buf_str(&keys_text), cn_buf_str(&secret), &keys, &why) == CN_OK) {
            code = verify_with(mint, token, keys);
            cn_keys_free(keys);
        } else {
            cn_mint_fail("the keys", why);
        }
    }
    cn_buf_fini(&keys_text);
    cn_buf_fini(&secret);
    return code;
}

// The token of the arguments, or of stdin for "-", and what is to be done with it.
static int look(const struct cn_mint *mint)
{
    const char *text = mint->verify ? mint->verify : mint->decode;
    char line[CN_TOKEN_BYTES_MAX + 2];
    if (strcmp(text, "-") == 0) {
        if (!fgets(line, sizeof(line), stdin))
            return cn_mint_fail("stdin", "there is no token");
        line[strcspn(line, "\r\n")] = '\0';
        text = line;
    }
    return mint->verify ? verify(mint, cn_str_of(text)) : print(cn_str_of(text));
}

int cn_mint_command(int argc, char **argv)
{
    struct cn_mint mint = {.user = NULL};
    if (argc == 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0))
        return print_help();
    int code = read_options(argc, argv, &mint);
    if (code)
        return code;
    if (mint.verify || mint.decode)
        return look(&mint);
    if (mint.new_key)
        return mint.out ? cn_mint_new_key(&mint) : complain("--out", "names the file for the key");
    return mint.user ? make(&mint) : complain("--user", "is missing; --help shows more");
}

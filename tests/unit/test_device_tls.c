/*
 * clients/device as a whole, on one end of a socket pair: whom it trusts, and what it does as time (an
 * argument) goes by. The other end is OpenSSL's server with certificates made here.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "device/internal.h"

#define NAME   "push.example.com"
#define UNIX_S 1790000000
#define DAY_S  86400

/* Certificates ---------------------------------------------------------------------------------------- */

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

static void extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

struct wish {
    const char *subject, *san, *usage; /* NULL: without the extension */
    bool ca, expired;
    EVP_PKEY *key; /* NULL: a new one; else taken over by reference */
};

/* issuer NULL: self-signed. */
static struct identity make(const struct identity *issuer, struct wish wish)
{
    static long serial = 1;
    struct identity it = {.key = wish.key, .certificate = X509_new()};
    if (it.key)
        EVP_PKEY_up_ref(it.key);
    else
        it.key = EVP_EC_gen("P-256");
    X509 *x = it.certificate, *from = issuer ? issuer->certificate : x;
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(x), -2 * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(x), wish.expired ? -DAY_S : DAY_S);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)wish.subject, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(from));
    X509_set_pubkey(x, it.key);
    extend(x, from, NID_basic_constraints, wish.ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (wish.san)
        extend(x, from, NID_subject_alt_name, wish.san);
    if (wish.usage)
        extend(x, from, NID_ext_key_usage, wish.usage);
    assert_true(X509_sign(x, issuer ? issuer->key : it.key, EVP_sha256()) > 0);
    return it;
}

static void discard(struct identity *it)
{
    EVP_PKEY_free(it->key);
    X509_free(it->certificate);
}

static void pin_of(const struct identity *it, uint8_t ret[NP_PIN_BYTES])
{
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(it->key, &der);
    assert_true(len > 0);
    assert_int_equal(np_sha256(der, (size_t)len, ret), NP_OK);
    OPENSSL_free(der);
}

/* Two ends -------------------------------------------------------------------------------------------- */

struct pair {
    SSL_CTX *ctx;
    SSL *server;
    const char *alpn;
    int fds[2]; /* phone, server */
    uint8_t pins[NP_PINS_MAX][NP_PIN_BYTES];
    size_t pin_count;
    struct np_connection *c;
    struct np_account *account;
    int64_t now_mono_ms;
    bool opened, closed;
    enum np_error why;
    unsigned welcomes, resolved, sessions;
};

static void on_open(struct np_connection *c, void *arg)
{
    struct pair *p = arg;
    p->opened = true;
    if (p->account)
        assert_int_equal(np_connection_hello(c, p->account), NP_OK);
}

static void on_welcome(struct np_connection *c, const struct np_welcome *welcome, void *arg)
{
    struct pair *p = arg;
    (void)c;
    p->welcomes += welcome->account == p->account;
}

static uint8_t kept[NP_SESSION_BYTES_MAX]; /* the last session */
static size_t kept_len;

static void on_session(struct np_connection *c, struct np_account *account, const uint8_t *session,
                       size_t len, void *arg)
{
    struct pair *p = arg;
    (void)c;
    assert_ptr_equal(account, p->account);
    assert_true(p->welcomes > 0 && len <= sizeof kept);
    memcpy(kept, session, len);
    kept_len = len;
    p->sessions++;
}

static void on_challenge(struct np_connection *c, const struct np_challenge *challenge, void *arg)
{
    struct pair *p = arg;
    (void)c;
    assert_int_equal(np_seen(challenge->account, challenge->id, challenge->attempt), NP_OK);
    assert_int_equal(np_answer(challenge->account, challenge->id, NP_DENY, NULL, p->now_mono_ms), NP_OK);
}

static void on_resolved(struct np_connection *c, struct np_account *account, const char *challenge_id,
                        enum np_challenge_state state, bool by_this_phone, void *arg)
{
    struct pair *p = arg;
    (void)c, (void)account, (void)challenge_id, (void)by_this_phone;
    assert_int_equal(state, NP_CHALLENGE_UNKNOWN);
    p->resolved++;
}

static void on_closed(struct np_connection *c, enum np_error why, const char *text, void *arg)
{
    struct pair *p = arg;
    (void)c;
    assert_false(p->closed);
    assert_true(*text);
    p->closed = true;
    p->why = why;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *arg)
{
    const struct pair *p = arg;
    (void)ssl, (void)in, (void)in_len;
    if (!p->alpn)
        return SSL_TLSEXT_ERR_NOACK;
    *out = (const unsigned char *)p->alpn;
    *out_len = (unsigned char)strlen(p->alpn);
    return SSL_TLSEXT_ERR_OK;
}

/* chain: the server's own certificate first; NULL ends it. */
static void connect_pair(struct pair *p, const struct identity *const *chain, const char *name)
{
    static const struct np_callbacks callbacks = {
        .on_open = on_open,
        .on_welcome = on_welcome,
        .on_session = on_session,
        .on_challenge = on_challenge,
        .on_resolved = on_resolved,
        .on_closed = on_closed,
    };
    if (!p->ctx)
        p->ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_alpn_select_cb(p->ctx, select_alpn, p);
    assert_int_equal(SSL_CTX_use_certificate(p->ctx, chain[0]->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(p->ctx, chain[0]->key), 1);
    for (size_t i = 1; chain[i]; i++)
        assert_int_equal(SSL_CTX_add1_chain_cert(p->ctx, chain[i]->certificate), 1);
    SSL_CTX_set_mode(p->ctx, SSL_MODE_AUTO_RETRY);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p->fds), 0);
    p->server = SSL_new(p->ctx);
    SSL_set_fd(p->server, p->fds[1]);
    SSL_set_accept_state(p->server);
    struct np_endpoint at = {
        .server_name = name, .pins = (const uint8_t(*)[NP_PIN_BYTES])p->pins, .pin_count = p->pin_count};
    assert_int_equal(np_connection_new(&at, &callbacks, p, p->fds[0], p->now_mono_ms, &p->c), NP_OK);
}

static void handshake(struct pair *p)
{
    for (int i = 0; i < 10 && !p->opened && !p->closed; i++) {
        np_connection_step(p->c, p->now_mono_ms);
        SSL_do_handshake(p->server);
    }
    SSL_do_handshake(p->server);
}

static void disconnect_pair(struct pair *p)
{
    np_connection_free(p->c);
    np_account_free(p->account);
    SSL_free(p->server);
    SSL_CTX_free(p->ctx);
    close(p->fds[0]);
    if (p->fds[1] >= 0)
        close(p->fds[1]);
}

/* Trust ----------------------------------------------------------------------------------------------- */

static struct identity root, between, other, leaf;

static int make_identities(void **state)
{
    (void)state;
    root = make(NULL, (struct wish){.subject = "root", .ca = true});
    between = make(&root, (struct wish){.subject = "between", .ca = true});
    other = make(NULL, (struct wish){.subject = "root", .ca = true}); /* the root's name, another key */
    leaf = make(&root, (struct wish){.subject = "leaf", .san = "DNS:" NAME, .usage = "serverAuth"});
    return 0;
}

static int discard_identities(void **state)
{
    (void)state;
    discard(&root);
    discard(&between);
    discard(&other);
    discard(&leaf);
    return 0;
}

static enum np_error outcome(const struct identity *pinned, const char *name, const char *alpn,
                             const struct identity *const *chain)
{
    struct pair p = {.alpn = alpn, .pin_count = 1};
    pin_of(pinned, p.pins[0]);
    connect_pair(&p, chain, name);
    handshake(&p);
    assert_true(p.opened != p.closed);
    enum np_error why = p.closed ? p.why : NP_OK;
    disconnect_pair(&p);
    return why;
}

#define OUTCOME(pinned, ...)                                                                                 \
    outcome(pinned, NAME, "nanopush/1", (const struct identity *const[]){__VA_ARGS__, NULL})

static void chain_of_the_pinned_ca_is_trusted(void **state)
{
    (void)state;
    struct identity deep = make(&between, (struct wish){.subject = "deep", .san = "DNS:" NAME});
    struct identity address = make(&root, (struct wish){.subject = "a", .san = "IP:192.0.2.7"});
    assert_int_equal(OUTCOME(&root, &leaf, &root), NP_OK);
    assert_int_equal(OUTCOME(&between, &deep, &between), NP_OK); /* no root needed */
    assert_int_equal(OUTCOME(&between, &deep, &between, &root), NP_OK);
    assert_int_equal(
        outcome(&root, "192.0.2.7", "nanopush/1", (const struct identity *const[]){&address, &root, NULL}),
        NP_OK);
    discard(&deep);
    discard(&address);
}

static void ca_that_is_not_pinned_is_refused(void **state)
{
    (void)state;
    struct identity deep = make(&between, (struct wish){.subject = "deep", .san = "DNS:" NAME});
    struct identity forged = make(&other, (struct wish){.subject = "forged", .san = "DNS:" NAME});
    assert_int_equal(OUTCOME(&other, &leaf, &root), NP_UNTRUSTED);
    assert_int_equal(OUTCOME(&root, &leaf), NP_UNTRUSTED);                  /* the CA is not sent */
    assert_int_equal(OUTCOME(&root, &forged, &root), NP_UNTRUSTED);         /* sent, but not the issuer */
    assert_int_equal(OUTCOME(&root, &forged, &other, &root), NP_UNTRUSTED); /* of the same name */
    assert_int_equal(OUTCOME(&root, &deep, &between, &root), NP_UNTRUSTED); /* not the issuer itself */
    discard(&deep);
    discard(&forged);
}

static void pinned_key_must_be_that_of_a_ca(void **state)
{
    (void)state;
    struct identity no_ca = make(NULL, (struct wish){.subject = "root", .key = root.key});
    struct identity alone = make(NULL, (struct wish){.subject = "alone", .san = "DNS:" NAME, .ca = true});
    assert_int_equal(OUTCOME(&root, &leaf, &no_ca), NP_UNTRUSTED);
    assert_int_equal(OUTCOME(&alone, &alone), NP_UNTRUSTED);
    discard(&no_ca);
    discard(&alone);
}

static void certificate_must_be_for_this_server_now(void **state)
{
    (void)state;
    struct identity by_cn = make(&root, (struct wish){.subject = NAME});
    struct identity wrong = make(&root, (struct wish){.subject = "w", .san = "DNS:pull.example.com"});
    struct identity partly = make(&root, (struct wish){.subject = "p", .san = "DNS:pu*.example.com"});
    struct identity expired = make(&root, (struct wish){.subject = "e", .san = "DNS:" NAME, .expired = true});
    struct identity client =
        make(&root, (struct wish){.subject = "c", .san = "DNS:" NAME, .usage = "clientAuth"});
    assert_int_equal(OUTCOME(&root, &by_cn, &root), NP_UNTRUSTED);
    assert_int_equal(OUTCOME(&root, &wrong, &root), NP_UNTRUSTED);
    assert_int_equal(OUTCOME(&root, &partly, &root), NP_UNTRUSTED);
    assert_int_equal(OUTCOME(&root, &expired, &root), NP_UNTRUSTED);
    assert_int_equal(OUTCOME(&root, &client, &root), NP_UNTRUSTED);
    assert_int_equal(
        outcome(&root, "192.0.2.7", "nanopush/1", (const struct identity *const[]){&leaf, &root, NULL}),
        NP_UNTRUSTED);
    discard(&by_cn);
    discard(&wrong);
    discard(&partly);
    discard(&expired);
    discard(&client);
}

static void peer_must_speak_nanopush(void **state)
{
    (void)state;
    const struct identity *const chain[] = {&leaf, &root, NULL};
    assert_int_equal(outcome(&root, NAME, NULL, chain), NP_UNTRUSTED);
    assert_int_not_equal(outcome(&root, NAME, "http/1.1", chain), NP_OK);
    assert_int_not_equal(outcome(&root, NAME, "nanopush/2", chain), NP_OK);
}

static void tls_1_2_is_refused(void **state)
{
    (void)state;
    struct pair p = {.alpn = "nanopush/1", .pin_count = 1, .ctx = SSL_CTX_new(TLS_server_method())};
    SSL_CTX_set_max_proto_version(p.ctx, TLS1_2_VERSION);
    pin_of(&root, p.pins[0]);
    connect_pair(&p, (const struct identity *const[]){&leaf, &root, NULL}, NAME);
    handshake(&p);
    assert_true(p.closed);
    assert_int_equal(p.why, NP_IO);
    disconnect_pair(&p);
}

/* Time ------------------------------------------------------------------------------------------------ */

static enum np_error sign_zeros(const uint8_t *message, size_t len, uint8_t *signature, void *arg)
{
    (void)message, (void)len, (void)arg;
    memset(signature, 0, NP_SIGNATURE_BYTES);
    return NP_OK;
}

static int open_pair(void **state)
{
    struct pair *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->alpn = "nanopush/1";
    p->now_mono_ms = 1000;
    p->pin_count = 2;
    p->pins[1][0] = 1;
    pin_of(&root, p->pins[0]);
    struct np_account_options o = {.organisation = "o",
                                   .user = "u",
                                   .device_id = "d",
                                   .host = "h",
                                   .port = 1,
                                   .server_name = NAME,
                                   .pin_count = 2,
                                   .possession.sign = sign_zeros};
    memcpy(o.pins, p->pins, sizeof o.pins);
    assert_int_equal(np_account_new(&o, &p->account), NP_OK);
    connect_pair(p, (const struct identity *const[]){&leaf, &root, NULL}, NAME);
    handshake(p);
    assert_true(p->opened);
    *state = p;
    return 0;
}

static int close_pair(void **state)
{
    disconnect_pair(*state);
    free(*state);
    return 0;
}

static void deliver(struct pair *p, Nanopush__V1__BrokerMessage *message)
{
    uint8_t bytes[1024];
    size_t len = nanopush__v1__broker_message__pack(message, bytes + 1);
    assert_true(len < 0x80);
    bytes[0] = (uint8_t)len;
    assert_int_equal(SSL_write(p->server, bytes, (int)len + 1), (int)len + 1);
    np_connection_step(p->c, p->now_mono_ms);
}

static void deliver_welcome(struct pair *p)
{
    Nanopush__V1__Welcome welcome = NANOPUSH__V1__WELCOME__INIT;
    welcome.device_id = (char[]){"d"};
    welcome.heartbeat_ms = 30000;
    welcome.broker_unix_ms = UNIX_S * UINT64_C(1000);
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_WELCOME;
    message.welcome = &welcome;
    deliver(p, &message);
    assert_int_equal(p->welcomes, 1);
}

/* Resumption ------------------------------------------------------------------------------------------ */

static SSL_CTX *context(void)
{
    return SSL_CTX_new(TLS_server_method());
}

struct again {
    SSL_CTX *ctx; /* a reference is taken */
    const char *name, *device_id;
    const struct identity *pinned, *issuer, *leaf;
};

static struct again as_before(SSL_CTX *ctx)
{
    return (struct again){ctx, NAME, "d", &root, &root, &leaf};
}

/* Up to the first step. */
static void begin(struct pair *p, struct again how)
{
    *p = (struct pair){.alpn = "nanopush/1", .now_mono_ms = 1000, .pin_count = 1, .ctx = how.ctx};
    SSL_CTX_up_ref(how.ctx);
    pin_of(how.pinned, p->pins[0]);
    struct np_account_options o = {.organisation = "o",
                                   .user = "u",
                                   .device_id = how.device_id,
                                   .host = "h",
                                   .port = 1,
                                   .server_name = how.name,
                                   .pin_count = 1,
                                   .possession.sign = sign_zeros};
    memcpy(o.pins, p->pins, sizeof o.pins);
    assert_int_equal(np_account_new(&o, &p->account), NP_OK);
    connect_pair(p, (const struct identity *const[]){how.leaf, how.issuer, NULL}, how.name);
}

/* A session of the account "d", by a full handshake. */
static void keep_session(SSL_CTX *ctx)
{
    struct pair p;
    begin(&p, as_before(ctx));
    handshake(&p);
    np_connection_step(p.c, p.now_mono_ms);
    assert_true(p.opened && !p.c->resumed);
    assert_int_equal(p.sessions, 0); /* who is not welcome keeps nothing */
    deliver_welcome(&p);
    assert_int_equal(p.sessions, 1);
    disconnect_pair(&p);
}

/* What np_connection_resume() says; *opened: the handshake went well; *resumed: shortened. */
static enum np_error resume(struct again how, bool *opened, bool *resumed)
{
    struct pair p;
    begin(&p, how);
    enum np_error error = np_connection_resume(p.c, p.account, kept, kept_len);
    handshake(&p);
    *opened = p.opened;
    *resumed = p.opened && p.c->resumed;
    assert_int_equal(SSL_session_reused(p.server), *resumed);
    assert_true(p.opened || p.why == NP_UNTRUSTED);
    disconnect_pair(&p);
    return error;
}

static void session_is_resumed_under_its_pin_and_gives_the_next(void **state)
{
    (void)state;
    SSL_CTX *ctx = context();
    keep_session(ctx);
    for (int i = 0; i < 3; i++) {
        struct pair p;
        begin(&p, as_before(ctx));
        assert_int_equal(np_connection_resume(p.c, p.account, kept, kept_len), NP_OK);
        handshake(&p);
        assert_true(p.opened && p.c->resumed && SSL_session_reused(p.server));
        assert_memory_equal(p.c->pin, p.pins[0], NP_PIN_BYTES);
        assert_int_equal(np_connection_resume(p.c, p.account, kept, kept_len), NP_BAD_STATE);
        struct np_enrolment_uri uri = {0};
        struct np_signer key = {.sign = sign_zeros};
        assert_int_equal(np_connection_enrol(p.c, &uri, "n", NP_PLATFORM_OTHER, &key, &key), NP_BAD_STATE);
        deliver_welcome(&p);
        assert_int_equal(p.sessions, 1);
        disconnect_pair(&p);
    }
    SSL_CTX_free(ctx);
}

static void session_counts_for_no_other_account_name_or_pin(void **state)
{
    (void)state;
    SSL_CTX *ctx = context();
    bool opened, resumed;
    keep_session(ctx);
    struct again how = as_before(ctx);
    how.device_id = "another";
    assert_int_equal(resume(how, &opened, &resumed), NP_INVALID);
    assert_true(opened && !resumed);
    how = as_before(ctx);
    how.name = "other.example.com";
    assert_int_equal(resume(how, &opened, &resumed), NP_INVALID);
    assert_false(opened); /* nor is the certificate for it */
    how = as_before(ctx);
    how.pinned = &other;
    assert_int_equal(resume(how, &opened, &resumed), NP_INVALID);
    assert_false(opened);
    SSL_CTX_free(ctx);
}

static void session_that_the_broker_does_not_know_is_a_full_handshake_with_its_checks(void **state)
{
    (void)state;
    SSL_CTX *ctx = context(), *restarted = context(), *stranger = context();
    struct identity forged = make(&other, (struct wish){.subject = "forged", .san = "DNS:" NAME});
    bool opened, resumed;
    keep_session(ctx);
    assert_int_equal(resume(as_before(restarted), &opened, &resumed), NP_OK);
    assert_true(opened && !resumed);
    struct again how = as_before(stranger);
    how.issuer = &other;
    how.leaf = &forged;
    assert_int_equal(resume(how, &opened, &resumed), NP_OK);
    assert_false(opened);
    discard(&forged);
    SSL_CTX_free(ctx);
    SSL_CTX_free(restarted);
    SSL_CTX_free(stranger);
}

static void broken_session_is_refused_at_every_length_and_the_handshake_is_full(void **state)
{
    (void)state;
    SSL_CTX *ctx = context();
    keep_session(ctx);
    struct pair p;
    begin(&p, as_before(ctx));
    for (size_t len = 0; len < kept_len; len++)
        assert_int_not_equal(np_connection_resume(p.c, p.account, kept, len), NP_OK);
    kept[0]++;
    assert_int_equal(np_connection_resume(p.c, p.account, kept, kept_len), NP_MALFORMED);
    handshake(&p);
    assert_true(p.opened && !p.c->resumed);
    disconnect_pair(&p);
    SSL_CTX_free(ctx);
}

static void deliver_challenge(struct pair *p)
{
    uint8_t nonce[16] = {0}, display[] = {0x0a, 0x01, 'x'};
    Nanopush__V1__ChallengePush push = NANOPUSH__V1__CHALLENGE_PUSH__INIT;
    push.challenge_id = (char[]){"c"};
    push.device_id = (char[]){"d"};
    push.portal_id = (char[]){"p"};
    push.display = (ProtobufCBinaryData){sizeof display, display};
    push.nonce = (ProtobufCBinaryData){sizeof nonce, nonce};
    push.mode = NANOPUSH__V1__MODE__MODE_TAP;
    push.user_verification = NANOPUSH__V1__USER_VERIFICATION__USER_VERIFICATION_REQUIRED;
    push.expire_unix_s = UNIX_S + 5;
    push.broker_unix_ms = UNIX_S * UINT64_C(1000);
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_CHALLENGE;
    message.challenge = &push;
    deliver(p, &message);
}

/* What the phone sent since: one letter a message; records are padded, frames here shorter than 16 KiB. */
static const char *heard(struct pair *p)
{
    static const char letters[] = "0HEASNRUXPB";
    static char kinds[64];
    static uint8_t bytes[8192];
    size_t len = 0, count = 0, got = 0;
    while (SSL_read_ex(p->server, bytes + len, sizeof bytes - len, &got) == 1)
        len += got;
    for (size_t at = 0; at < len && count < sizeof kinds - 1;) {
        struct np_frame frame = {0};
        size_t used = 0;
        bool whole = false;
        assert_int_equal(np_frame_take(&frame, bytes + at, len - at, &used, &whole), NP_OK);
        assert_true(whole);
        Nanopush__V1__PhoneMessage *message =
            nanopush__v1__phone_message__unpack(NULL, frame.payload_len, frame.payload);
        assert_non_null(message);
        kinds[count++] = letters[message->message_case];
        nanopush__v1__phone_message__free_unpacked(message, NULL);
        np_frame_done(&frame);
        at += used;
    }
    kinds[count] = '\0';
    return kinds;
}

static void wait_ms(struct pair *p, int64_t ms)
{
    p->now_mono_ms += ms;
    np_connection_step(p->c, p->now_mono_ms);
}

static void both_ends_have_the_same_channel_binding(void **state)
{
    struct pair *p = *state;
    uint8_t exporter[EXPORTER_BYTES];
    static const char label[] = "EXPORTER-nanopush-v1";
    assert_int_equal(
        SSL_export_keying_material(p->server, exporter, sizeof exporter, label, strlen(label), NULL, 0, 0),
        1);
    assert_memory_equal(exporter, p->c->exporter, EXPORTER_BYTES);
    assert_memory_equal(p->c->pin, p->pins[0], NP_PIN_BYTES);
    assert_string_equal(heard(p), "H");
    assert_string_equal(SSL_get_servername(p->server, TLSEXT_NAMETYPE_host_name), NAME);
}

static void answer_is_repeated_until_the_end(void **state)
{
    struct pair *p = *state;
    deliver_welcome(p);
    deliver_challenge(p);
    assert_string_equal(heard(p), "HASN");
    wait_ms(p, 1999);
    assert_string_equal(heard(p), "");
    wait_ms(p, 1);
    assert_string_equal(heard(p), "N");
    bool readable, writable;
    int64_t deadline_mono_ms;
    np_connection_want(p->c, &readable, &writable, &deadline_mono_ms);
    assert_true(readable);
    assert_false(writable);
    assert_int_equal(deadline_mono_ms, p->now_mono_ms + 2000);
    wait_ms(p, 5000 + EXPIRY_GRACE_MS - 2000 - 1);
    assert_int_equal(p->resolved, 0);
    wait_ms(p, 1);
    assert_int_equal(p->resolved, 1);
}

static void expect_repeated_each_2_s(struct pair *p, const char *letter)
{
    bool readable, writable;
    int64_t deadline_mono_ms;
    np_connection_step(p->c, p->now_mono_ms);
    assert_string_equal(heard(p), letter);
    for (int i = 0; i < 3; i++) {
        np_connection_want(p->c, &readable, &writable, &deadline_mono_ms);
        assert_int_equal(deadline_mono_ms, p->now_mono_ms + 2000);
        wait_ms(p, 1999);
        assert_string_equal(heard(p), "");
        wait_ms(p, 1);
        assert_string_equal(heard(p), letter);
    }
}

static void deliver_about_account(struct pair *p, Nanopush__V1__Accepted__Act act, bool refused)
{
    Nanopush__V1__Accepted accepted = NANOPUSH__V1__ACCEPTED__INIT;
    Nanopush__V1__Error error = NANOPUSH__V1__ERROR__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    accepted.device_id = error.subject = (char[]){"d"};
    accepted.act = act;
    accepted.generation = act == NANOPUSH__V1__ACCEPTED__ACT__ACT_ROTATED;
    error.code = NANOPUSH__V1__ERROR__CODE__CODE_INVALID;
    message.message_case = refused ? NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ERROR
                                   : NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ACCEPTED;
    if (refused)
        message.error = &error;
    else
        message.accepted = &accepted;
    deliver(p, &message);
}

static void act_is_repeated_until_it_is_accepted_or_refused(void **state)
{
    struct pair *p = *state;
    struct np_signer possession = {.public_key = {3}, .sign = sign_zeros};
    struct np_signer verification = {.public_key = {4}, .sign = sign_zeros};
    np_account_set_user_verification(p->account, sign_zeros, NULL);
    deliver_welcome(p);
    assert_string_equal(heard(p), "H");
    assert_int_equal(np_unlock(p->c, p->account, p->now_mono_ms), NP_OK);
    expect_repeated_each_2_s(p, "U");
    deliver_about_account(p, NANOPUSH__V1__ACCEPTED__ACT__ACT_UNLOCKED, false);
    assert_int_equal(np_rotate(p->c, p->account, &possession, &verification, p->now_mono_ms), NP_OK);
    expect_repeated_each_2_s(p, "R");
    deliver_about_account(p, NANOPUSH__V1__ACCEPTED__ACT__ACT_ROTATED, false);
    assert_int_equal(np_account_options(p->account)->generation, 1);
    assert_int_equal(np_remove(p->c, p->account, p->now_mono_ms), NP_OK);
    expect_repeated_each_2_s(p, "X");
    deliver_about_account(p, NANOPUSH__V1__ACCEPTED__ACT__ACT_REMOVED, true);
    wait_ms(p, 2000);
    assert_string_equal(heard(p), "");
}

static void deliver_enrolled(struct pair *p, bool waiting)
{
    Nanopush__V1__Enrolled enrolled = NANOPUSH__V1__ENROLLED__INIT;
    enrolled.enrolment_id = (char[]){"e"};
    enrolled.organisation = (char[]){"o"};
    enrolled.user = (char[]){"u"};
    enrolled.device_id = (char[]){"d"};
    enrolled.waiting = waiting;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_ENROLLED;
    message.enrolled = &enrolled;
    deliver(p, &message);
}

static void enrol_is_repeated_while_it_waits(void **state)
{
    struct pair *p = *state;
    struct np_enrolment_uri uri = {
        .server_name = NAME, .organisation = "o", .user = "u", .enrolment_id = "e", .token = {7}};
    struct np_signer possession = {.public_key = {1}, .sign = sign_zeros};
    struct np_signer verification = {.public_key = {2}, .sign = sign_zeros};
    memcpy(uri.pin, p->pins[0], NP_PIN_BYTES);
    deliver_welcome(p);
    assert_int_equal(np_connection_enrol(p->c, &uri, "x", NP_PLATFORM_IOS, &possession, &verification),
                     NP_OK);
    np_connection_step(p->c, p->now_mono_ms);
    assert_string_equal(heard(p), "HE");
    wait_ms(p, 4000);
    assert_string_equal(heard(p), ""); /* nothing says that it waits */
    deliver_enrolled(p, true);
    expect_repeated_each_2_s(p, "E");
    deliver_enrolled(p, false);
    assert_null(p->c->enrol.p); /* nor the token in it */
    wait_ms(p, 2000);
    assert_string_equal(heard(p), "");
}

static void phone_pings_and_notices_silence(void **state)
{
    struct pair *p = *state;
    deliver_welcome(p);
    assert_string_equal(heard(p), "H");
    wait_ms(p, 26999);
    assert_string_equal(heard(p), "");
    wait_ms(p, 3001);
    assert_string_equal(heard(p), "P");
    wait_ms(p, 14999);
    assert_false(p->closed);
    wait_ms(p, 1);
    assert_true(p->closed);
    assert_int_equal(p->why, NP_TIMEOUT);
}

static void what_waited_in_the_socket_counts_as_heard(void **state)
{
    struct pair *p = *state;
    deliver_welcome(p);
    p->now_mono_ms += 3600000; /* the phone slept */
    Nanopush__V1__Pong pong = NANOPUSH__V1__PONG__INIT;
    Nanopush__V1__BrokerMessage message = NANOPUSH__V1__BROKER_MESSAGE__INIT;
    message.message_case = NANOPUSH__V1__BROKER_MESSAGE__MESSAGE_PONG;
    message.pong = &pong;
    deliver(p, &message);
    assert_false(p->closed);
}

static void bye_is_said_before_the_end(void **state)
{
    struct pair *p = *state;
    np_connection_bye(p->c);
    assert_false(p->closed);
    wait_ms(p, 0);
    assert_true(p->closed);
    assert_int_equal(p->why, NP_OK);
    assert_string_equal(heard(p), "HB");
    assert_int_equal(SSL_get_shutdown(p->server) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    wait_ms(p, 0);
    bool readable, writable;
    int64_t deadline_mono_ms;
    np_connection_want(p->c, &readable, &writable, &deadline_mono_ms);
    assert_int_equal(deadline_mono_ms, INT64_MAX);
    assert_int_equal(np_connection_hello(p->c, p->account), NP_BAD_STATE);
}

static void peer_that_goes_is_no_signal(void **state)
{
    struct pair *p = *state;
    SSL_free(p->server);
    p->server = NULL;
    close(p->fds[1]);
    p->fds[1] = -1;
    np_connection_bye(p->c); /* writes into a socket without another end: SIGPIPE would end this program */
    wait_ms(p, 0);
    assert_true(p->closed);
    assert_int_equal(p->why, NP_IO);
}

static void close_by_the_broker_is_told(void **state)
{
    struct pair *p = *state;
    SSL_shutdown(p->server);
    wait_ms(p, 0);
    assert_true(p->closed);
    assert_int_equal(p->why, NP_CLOSED);
}

static void handshake_has_15_seconds(void **state)
{
    (void)state;
    struct pair p = {.alpn = "nanopush/1", .pin_count = 1};
    pin_of(&root, p.pins[0]);
    connect_pair(&p, (const struct identity *const[]){&leaf, &root, NULL}, NAME);
    wait_ms(&p, 14999);
    assert_false(p.closed);
    wait_ms(&p, 1);
    assert_true(p.closed);
    assert_int_equal(p.why, NP_TIMEOUT);
    disconnect_pair(&p);
}

#define TEST(name)      cmocka_unit_test(name)
#define PAIR_TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(chain_of_the_pinned_ca_is_trusted),
        TEST(ca_that_is_not_pinned_is_refused),
        TEST(pinned_key_must_be_that_of_a_ca),
        TEST(certificate_must_be_for_this_server_now),
        TEST(peer_must_speak_nanopush),
        TEST(tls_1_2_is_refused),
        PAIR_TEST(both_ends_have_the_same_channel_binding),
        PAIR_TEST(answer_is_repeated_until_the_end),
        PAIR_TEST(act_is_repeated_until_it_is_accepted_or_refused),
        PAIR_TEST(enrol_is_repeated_while_it_waits),
        PAIR_TEST(phone_pings_and_notices_silence),
        PAIR_TEST(what_waited_in_the_socket_counts_as_heard),
        PAIR_TEST(bye_is_said_before_the_end),
        PAIR_TEST(peer_that_goes_is_no_signal),
        PAIR_TEST(close_by_the_broker_is_told),
        TEST(handshake_has_15_seconds),
        TEST(session_is_resumed_under_its_pin_and_gives_the_next),
        TEST(session_counts_for_no_other_account_name_or_pin),
        TEST(session_that_the_broker_does_not_know_is_a_full_handshake_with_its_checks),
        TEST(broken_session_is_refused_at_every_length_and_the_handshake_is_full),
    };
    return cmocka_run_group_tests_name("device_tls", tests, make_identities, discard_identities);
}

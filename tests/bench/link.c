#include "link.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

#define RECEIVE_BYTES     65536
#define TYPE_ALERT        21
#define TYPE_HANDSHAKE    22
#define TYPE_APPLICATION  23
#define MESSAGE_KEYUPDATE 24
#define SUITE             "TLS_AES_128_GCM_SHA256"
#define SECRET_OF_SERVER  "SERVER_TRAFFIC_SECRET_0 "
#define SECRET_OF_CLIENT  "CLIENT_TRAFFIC_SECRET_0 "

int link_epoll = -1;

/* ---- OpenSSL ---- */

/* "LABEL <client random in hex> <secret in hex>" */
static void on_keylog(const SSL *ssl, const char *line)
{
    struct link *link = SSL_get_app_data(ssl);
    int direction = -1;
    if (strncmp(line, SECRET_OF_SERVER, sizeof SECRET_OF_SERVER - 1) == 0)
        direction = RECORDS_READ;
    else if (strncmp(line, SECRET_OF_CLIENT, sizeof SECRET_OF_CLIENT - 1) == 0)
        direction = RECORDS_WRITE;
    const char *secret = strrchr(line, ' ');
    if (link && direction >= 0 && secret &&
        hex_decode(bytes_of(secret + 1), link->half[direction].secret, RECORDS_SECRET_BYTES) != ERR_OK)
        abort(); /* the suite is fixed, and with it the length */
}

static int ticket_index(void)
{
    static int index = -1;
    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    return index;
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    link_ticket_fn **on_ticket = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ticket_index());
    if (on_ticket)
        (*on_ticket)(SSL_get_app_data(ssl), session);
    return 0;
}

SSL_CTX *link_context(const char *alpn)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, SUITE) != 1 || SSL_CTX_set1_groups_list(ctx, "X25519") != 1)
        abort();
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_keylog_callback(ctx, on_keylog);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (alpn) {
        uint8_t wire[32];
        wire[0] = (uint8_t)strlen(alpn);
        memcpy(wire + 1, alpn, wire[0]);
        if (SSL_CTX_set_alpn_protos(ctx, wire, 1U + wire[0]) != 0)
            abort();
    }
    return ctx;
}

void link_on_ticket(SSL_CTX *ctx, link_ticket_fn *on_ticket)
{
    link_ticket_fn **kept = mem_new(sizeof *kept);
    *kept = on_ticket;
    SSL_CTX_set_ex_data(ctx, ticket_index(), kept);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
}

static void tls_free(struct link *link)
{
    if (!link->tls)
        return;
    SSL_free(link->tls->ssl);
    free(link->tls);
    link->tls = NULL;
}

/* Parking counts what link_write() writes, and needs no second opinion. */
static void on_written(struct bytes out, void *arg)
{
    (void)out, (void)arg;
}

static enum err tls_start(struct link *link, const struct link_target *target, SSL_SESSION *session)
{
    struct link_handshake *tls = link->tls = mem_new(sizeof *tls);
    tls->pipe.out = &link->out;
    tls->pipe.on_written = on_written;
    tls->ssl = SSL_new(target->ctx);
    BIO *bio = record_bio_new(&tls->pipe);
    if (!tls->ssl || !bio)
        return ERR_NOMEM;
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, link);
    SSL_set_tlsext_host_name(tls->ssl, "localhost");
    if (session && SSL_set_session(tls->ssl, session) != 1)
        return ERR_CRYPTO;
    SSL_set_connect_state(tls->ssl);
    return ERR_OK;
}

/* ---- the socket ---- */

void link_close(struct link *link)
{
    static const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (link->state == LINK_CLOSED)
        return;
    setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(link->fd);
    tls_free(link);
    buf_done(&link->raw);
    buf_done(&link->out);
    link->state = LINK_CLOSED;
    link->wants_out = false;
}

static void link_fail(struct link *link, const char *why)
{
    link_close(link);
    link->on->on_closed(link, why);
}

static void watch(struct link *link, bool out, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (out ? (uint32_t)EPOLLOUT : 0),
                                .data.ptr = link};
    link->wants_out = out;
    if (epoll_ctl(link_epoll, operation, link->fd, &event) != 0)
        abort();
}

/* Send what waits. @return false: the connection broke; the next read says so. */
static void flush(struct link *link)
{
    while (buf_len(&link->out) > 0) {
        struct bytes out = buf_view(&link->out);
        ssize_t n = send(link->fd, out.p, out.len, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        buf_consume(&link->out, (size_t)n);
    }
    bool wants = buf_len(&link->out) > 0;
    if (wants != link->wants_out)
        watch(link, wants, EPOLL_CTL_MOD);
}

static int dial(const struct link_target *target, uint32_t source)
{
    static const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source)};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if ((source != 0 && bind(fd, (const struct sockaddr *)&from, sizeof from) != 0) ||
        (connect(fd, (const struct sockaddr *)&target->address, sizeof target->address) != 0 &&
         errno != EINPROGRESS)) {
        close(fd);
        return -1;
    }
    return fd;
}

enum err link_open_raw(struct link *link, const struct link_target *target, uint32_t source)
{
    int fd = dial(target, source);
    if (fd < 0)
        return ERR_IO;
    link->fd = fd;
    link->state = LINK_CONNECTING;
    watch(link, true, EPOLL_CTL_ADD);
    return ERR_OK;
}

enum err link_open(struct link *link, const struct link_target *target, uint32_t source, SSL_SESSION *session)
{
    TRY(link_open_raw(link, target, source));
    memset(link->half, 0, sizeof link->half);
    link->resumed = false;
    if (tls_start(link, target, session) != ERR_OK)
        abort();
    return ERR_OK;
}

/* ---- records in ---- */

static void handshake(struct link *link)
{
    int done = SSL_do_handshake(link->tls->ssl);
    if (done != 1 && SSL_get_error(link->tls->ssl, done) != SSL_ERROR_WANT_READ) {
        ERR_clear_error();
        flush(link); /* the alert */
        link_fail(link, "handshake failed");
        return;
    }
    if (done == 1) {
        link->state = LINK_OPEN;
        link->resumed = SSL_session_reused(link->tls->ssl) == 1;
        link->on->on_open(link);
    }
    if (link->state != LINK_CLOSED)
        flush(link);
}

/* One record while OpenSSL still has the connection. */
static void read_open(struct link *link, struct bytes record)
{
    static uint8_t plain[RECORDS_PLAIN_MAX];
    link->tls->pipe.in = record;
    if (record.p[0] == TYPE_APPLICATION)
        link->half[RECORDS_READ].count++;
    while (link->state == LINK_OPEN) {
        int n = SSL_read(link->tls->ssl, plain, sizeof plain);
        if (n > 0) {
            link->on->on_bytes(link, bytes_make(plain, (size_t)n));
            continue;
        }
        if (SSL_get_error(link->tls->ssl, n) != SSL_ERROR_WANT_READ) {
            ERR_clear_error();
            link_fail(link, "closed");
        }
        return;
    }
}

static enum err on_handshake_message(struct link *link, struct bytes in)
{
    if (in.len < 5 || in.p[0] != MESSAGE_KEYUPDATE)
        return ERR_OK; /* a ticket that comes late is of no use any more */
    TRY(records_update(&link->half[RECORDS_READ]));
    if (in.p[4] == 0)
        return ERR_OK;
    static const uint8_t answer[] = {MESSAGE_KEYUPDATE, 0, 0, 1, 0};
    TRY(records_seal(&link->half[RECORDS_WRITE], TYPE_HANDSHAKE, bytes_make(answer, sizeof answer),
                     &link->out));
    flush(link);
    return records_update(&link->half[RECORDS_WRITE]);
}

static void read_parked(struct link *link, struct bytes record)
{
    static uint8_t plain[RECORD_HEADER_BYTES + RECORD_BODY_MAX_BYTES];
    size_t len;
    uint8_t type;
    if (records_open(&link->half[RECORDS_READ], record, plain, &len, &type) != ERR_OK)
        link_fail(link, "record does not open");
    else if (type == TYPE_APPLICATION)
        link->on->on_bytes(link, bytes_make(plain, len));
    else if (type == TYPE_ALERT || on_handshake_message(link, bytes_make(plain, len)) != ERR_OK)
        link_fail(link, "closed");
}

static void on_record(struct link *link, struct bytes record)
{
    if (link->state == LINK_PARKED) {
        read_parked(link, record);
    } else if (link->state == LINK_OPEN) {
        read_open(link, record);
    } else {
        link->tls->pipe.in = record;
        handshake(link);
    }
}

/* Records of @p in, in order, until one closes the link. @return bytes used. */
static size_t take_records(struct link *link, struct bytes in)
{
    size_t used = 0, len;
    while (link->state != LINK_CLOSED) {
        struct bytes rest = bytes_make(in.p + used, in.len - used);
        enum record_verdict verdict = record_check(rest, &len);
        if (verdict == RECORD_PARTIAL)
            break;
        if (verdict != RECORD_WHOLE) {
            link_fail(link, "not TLS");
            break;
        }
        on_record(link, bytes_make(rest.p, len));
        used += len;
    }
    return used;
}

static void receive(struct link *link)
{
    static uint8_t received[RECEIVE_BYTES];
    ssize_t n = recv(link->fd, received, sizeof received, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        link_fail(link, n == 0 ? "closed" : "reset");
        return;
    }
    if (!link->tls && link->state != LINK_PARKED)
        return;
    struct bytes in = bytes_make(received, (size_t)n);
    struct buf before = link->raw;
    link->raw = (struct buf){0};
    if (buf_len(&before) > 0) {
        if (buf_append(&before, in) != ERR_OK)
            abort();
        in = buf_view(&before);
    }
    size_t used = take_records(link, in);
    if (link->state != LINK_CLOSED && used < in.len &&
        buf_append(&link->raw, bytes_make(in.p + used, in.len - used)) != ERR_OK)
        abort();
    buf_done(&before);
}

void link_on_event(struct link *link, uint32_t events)
{
    if (link->state == LINK_CLOSED)
        return; /* closed by what the same round brought before */
    if (link->state == LINK_CONNECTING) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            link_fail(link, "refused");
            return;
        }
        link->state = LINK_HANDSHAKE;
        if (link->tls)
            handshake(link);
        else
            link->on->on_open(link);
        return;
    }
    if (events & EPOLLOUT)
        flush(link);
    if (link->state != LINK_CLOSED && (events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)))
        receive(link);
}

/* ---- out ---- */

void link_write(struct link *link, struct bytes out)
{
    while (out.len > 0 && link->state >= LINK_OPEN) {
        size_t n = out.len < RECORDS_PLAIN_MAX ? out.len : RECORDS_PLAIN_MAX;
        bool done;
        if (link->state == LINK_PARKED) {
            done = records_seal(&link->half[RECORDS_WRITE], TYPE_APPLICATION, bytes_make(out.p, n),
                                &link->out) == ERR_OK;
        } else {
            done = SSL_write(link->tls->ssl, out.p, (int)n) == (int)n;
            link->half[RECORDS_WRITE].count++;
        }
        if (!done)
            abort();
        out = bytes_make(out.p + n, out.len - n);
    }
    if (link->state >= LINK_OPEN)
        flush(link);
}

void link_write_raw(struct link *link, struct bytes out)
{
    if (link->state == LINK_CLOSED)
        return;
    if (buf_append(&link->out, out) != ERR_OK)
        abort();
    flush(link);
}

enum err link_export(struct link *link, const char *label, uint8_t out[32])
{
    if (link->state != LINK_OPEN)
        return ERR_BAD_STATE;
    return SSL_export_keying_material(link->tls->ssl, out, 32, label, strlen(label), NULL, 0, 0) == 1
               ? ERR_OK
               : ERR_CRYPTO;
}

void link_park(struct link *link)
{
    if (link->state != LINK_OPEN)
        return;
    for (int i = 0; i < 2; i++)
        if (records_derive(&link->half[i]) != ERR_OK)
            abort();
    link->state = LINK_PARKED;
    tls_free(link);
}

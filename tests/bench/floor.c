/*
 * floor: the least that a TLS server can do. Accepts, makes the handshake, echoes what comes; one process, one loop,
 * OpenSSL as it is: no authentication, no queue, no deadline. What a broker costs is measured against it.
 *
 *     floor PORT CHAIN KEY [TICKETS]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX  256
#define ACCEPTS_MAX 32
#define BACKLOG     4096
#define READ_BYTES  16384

struct connection {
    int fd;
    SSL *ssl;
};

static int loop;
static SSL_CTX *ctx;

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void hang_up(struct connection *connection)
{
    SSL_free(connection->ssl);
    close(connection->fd);
    free(connection);
    ERR_clear_error();
}

static void accept_some(int listener)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        static const int on = 1;
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = calloc(1, sizeof *connection);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        if (!connection || !(connection->ssl = SSL_new(ctx)) || SSL_set_fd(connection->ssl, fd) != 1 ||
            epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) != 0)
            fail("connection");
        connection->fd = fd;
        SSL_set_accept_state(connection->ssl);
    }
}

static void on_event(struct connection *connection)
{
    static char in[READ_BYTES];
    for (;;) {
        int n = SSL_read(connection->ssl, in, sizeof in); /* makes the handshake, too */
        if (n > 0 && SSL_write(connection->ssl, in, n) == n)
            continue;
        int error = SSL_get_error(connection->ssl, n);
        if (n <= 0 && (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE))
            return;
        hang_up(connection);
        return;
    }
}

static int listen_on(const char *port)
{
    static const int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, BACKLOG) != 0)
        fail("listen");
    return fd;
}

static SSL_CTX *context(const char *chain, const char *key, size_t tickets)
{
    SSL_CTX *made = SSL_CTX_new(TLS_server_method());
    if (!made || SSL_CTX_set_min_proto_version(made, TLS1_3_VERSION) != 1 ||
        SSL_CTX_use_certificate_chain_file(made, chain) != 1 ||
        SSL_CTX_use_PrivateKey_file(made, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_set_num_tickets(made, tickets) != 1)
        fail("TLS");
    SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
    return made;
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS_MAX];
    struct rlimit limit;
    if (argc < 4) {
        fprintf(stderr, "usage: floor PORT CHAIN KEY [TICKETS]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it ends with the benchmark */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    ctx = context(argv[2], argv[3], argc > 4 ? strtoul(argv[4], NULL, 10) : 1);
    int listener = listen_on(argv[1]);
    loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event) != 0)
        fail("epoll");
    for (;;) {
        int n = epoll_wait(loop, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++)
            if (events[i].data.ptr)
                on_event(events[i].data.ptr);
            else
                accept_some(listener);
    }
}

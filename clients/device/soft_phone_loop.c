#include "soft_phone_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_MS 3000

int64_t soft_phone_now_mono_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int connect_to(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0, on = 1;
    if (fd < 0)
        return -1;
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    socklen_t len = sizeof error;
    if ((connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) ||
        poll(&writable, 1, CONNECT_TIMEOUT_MS) != 1 ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error) {
        close(fd);
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* The first address that answers; -1 with *why. Blocks, which a program for the command line may. */
static int dial(const struct np_endpoint *at, const char **why)
{
    char port[6];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    snprintf(port, sizeof port, "%u", (unsigned)at->port);
    int result = getaddrinfo(at->host, port, &hints, &found);
    if (result != 0) {
        *why = gai_strerror(result);
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *address = found; address && fd < 0; address = address->ai_next)
        fd = connect_to(address);
    freeaddrinfo(found);
    *why = "no address of the broker answers";
    return fd;
}

static void plan_retry(struct soft_phone *phone, enum np_error why, const char *text)
{
    int64_t retry_ms = -1;
    if (!phone->stopping) {
        retry_ms = np_backoff_ms(phone->attempt++, phone->return_after_ms);
        phone->dial_mono_ms = soft_phone_now_mono_ms() + retry_ms;
        phone->return_after_ms = 0;
    }
    soft_phone_print_closed(phone->options, why, text, retry_ms);
}

/* Whatever is wrong with what was stored, the handshake is a full one. */
static void resume(struct soft_phone *phone)
{
    uint8_t session[NP_SESSION_BYTES_MAX];
    size_t len = soft_phone_store_take_session(&phone->store, session);
    enum np_error error =
        len > 0 ? np_connection_resume(phone->connection, phone->account, session, len) : NP_OK;
    (void)error;
    OPENSSL_cleanse(session, sizeof session);
}

static void connect_now(struct soft_phone *phone)
{
    const char *why = "";
    if (phone->account)
        np_account_endpoint(phone->account, &phone->endpoint);
    phone->fd = dial(&phone->endpoint, &why);
    if (phone->fd < 0) {
        plan_retry(phone, NP_IO, why);
        return;
    }
    phone->closed = false;
    enum np_error error = np_connection_new(&phone->endpoint, phone->callbacks, phone, phone->fd,
                                            soft_phone_now_mono_ms(), &phone->connection);
    if (error != NP_OK) {
        close(phone->fd);
        plan_retry(phone, error, np_error_text(error));
    } else if (phone->account) {
        resume(phone);
    }
}

static void step(struct soft_phone *phone)
{
    np_connection_step(phone->connection, soft_phone_now_mono_ms());
    if (!phone->closed)
        return;
    np_connection_free(phone->connection);
    close(phone->fd);
    phone->connection = NULL;
}

void soft_phone_on_closed(struct np_connection *c, enum np_error why, const char *text, void *arg)
{
    struct soft_phone *phone = arg;
    (void)c;
    phone->closed = true;
    plan_retry(phone, why, text);
}

void soft_phone_stop(struct soft_phone *phone, int exit_code)
{
    if (!phone->stopping)
        phone->exit_code = exit_code;
    phone->stopping = true;
    if (phone->connection)
        np_connection_bye(phone->connection);
}

static int poll_timeout_ms(int64_t deadline_mono_ms, int64_t now_mono_ms)
{
    int64_t wait_ms = deadline_mono_ms - now_mono_ms;
    return wait_ms < 0 ? 0 : wait_ms < 60000 ? (int)wait_ms : 60000;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void wait_and_handle(struct soft_phone *phone)
{
    enum { SOCKET, SIGNAL, STDIN };
    bool readable = false, writable = false;
    int64_t deadline_mono_ms = phone->dial_mono_ms, now_mono_ms = soft_phone_now_mono_ms();
    if (phone->connection)
        np_connection_want(phone->connection, &readable, &writable, &deadline_mono_ms);
    deadline_mono_ms = earlier(deadline_mono_ms, soft_phone_answer_deadline(phone));
    if (!phone->stopping)
        deadline_mono_ms = earlier(deadline_mono_ms, phone->end_mono_ms);
    struct pollfd polled[] = {
        [SOCKET] = {.fd = readable || writable ? phone->fd : -1,
                    .events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0))},
        [SIGNAL] = {.fd = phone->stopping ? -1 : phone->signal_fd, .events = POLLIN},
        [STDIN] = {.fd = phone->stdin_open ? STDIN_FILENO : -1, .events = POLLIN},
    };
    if (poll(polled, 3, poll_timeout_ms(deadline_mono_ms, now_mono_ms)) < 0)
        return;
    now_mono_ms = soft_phone_now_mono_ms();
    if (polled[SIGNAL].revents)
        soft_phone_stop(phone, SOFT_PHONE_OK);
    if (polled[STDIN].revents)
        soft_phone_read_decisions(phone);
    soft_phone_answer_due(phone, now_mono_ms);
    if (!phone->stopping && now_mono_ms >= phone->end_mono_ms)
        soft_phone_stop(phone, phone->options->once || phone->uri || phone->act ? SOFT_PHONE_TIMED_OUT
                                                                                : SOFT_PHONE_OK);
    if (phone->connection)
        step(phone);
}

void soft_phone_loop(struct soft_phone *phone)
{
    sigset_t stops, before;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigprocmask(SIG_BLOCK, &stops, &before);
    phone->signal_fd = signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK);
    while (!phone->stopping || phone->connection) {
        if (!phone->connection && soft_phone_now_mono_ms() >= phone->dial_mono_ms)
            connect_now(phone);
        wait_and_handle(phone);
    }
    struct signalfd_siginfo taken; /* else it would end the process now */
    while (read(phone->signal_fd, &taken, sizeof taken) > 0)
        continue;
    close(phone->signal_fd);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

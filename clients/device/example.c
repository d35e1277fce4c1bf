/**
 * The shortest useful phone: enrol with the URI of a QR code, wait for one sign-in, show it, say no to it.
 *
 *   example 'nanopush://enrol?v=1&h=...'
 *
 * An app stores keys and account before it goes on, comes back with np_backoff_ms() when the connection is
 * lost, and asks the person.
 */
#include "nanopush_device.h"

#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct phone {
    struct np_enrolment_uri uri;
    struct np_signer possession, user_verification;
    struct np_account *account;
    bool closed;
};

static int64_t now_mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void complain(enum np_error error)
{
    if (error != NP_OK)
        fprintf(stderr, "%s\n", np_error_text(error));
}

static void on_open(struct np_connection *c, void *arg)
{
    struct phone *phone = arg;
    complain(np_connection_enrol(c, &phone->uri, "Example phone", NP_PLATFORM_OTHER, &phone->possession,
                                 &phone->user_verification));
}

static void on_enrolled(struct np_connection *c, const struct np_enrolled *enrolled, void *arg)
{
    struct phone *phone = arg;
    struct np_endpoint at;
    if (enrolled->waiting) {
        printf("%s%s%s\n",
               *enrolled->code ? "type into the portal: " : "type into your old phone: ", enrolled->code,
               enrolled->number);
        return;
    }
    np_enrolment_uri_endpoint(&phone->uri, &at);
    struct np_account_options options = {
        .organisation = enrolled->organisation,
        .user = enrolled->user,
        .device_id = enrolled->device_id,
        .generation = enrolled->generation,
        .host = at.host,
        .port = at.port,
        .server_name = at.server_name,
        .pin_count = 1,
        .possession = phone->possession,
        .user_verification = phone->user_verification,
    };
    for (size_t i = 0; i < NP_PIN_BYTES; i++)
        options.pins[0][i] = at.pins[0][i];
    printf("enrolled as a phone of %s\n", enrolled->user);
    enum np_error error = np_account_new(&options, &phone->account);
    complain(error == NP_OK ? np_connection_hello(c, phone->account) : error);
}

static void on_challenge(struct np_connection *c, const struct np_challenge *challenge, void *arg)
{
    (void)c, (void)arg;
    printf("%s asks: is it you, %s, who signs in to %s from %s (%s)?\n", challenge->portal, challenge->user,
           challenge->application, challenge->place, challenge->browser);
    complain(np_seen(challenge->account, challenge->id, challenge->attempt));
    complain(np_answer(challenge->account, challenge->id, NP_DENY, NULL, now_mono_ms()));
}

static void on_resolved(struct np_connection *c, struct np_account *account, const char *challenge_id,
                        enum np_challenge_state state, bool by_this_phone, void *arg)
{
    (void)account, (void)challenge_id, (void)by_this_phone, (void)arg;
    printf("%s\n", state == NP_CHALLENGE_DENIED ? "denied" : "over");
    np_connection_bye(c);
}

static void on_error(struct np_connection *c, enum np_error error, const char *subject, const char *text,
                     void *arg)
{
    (void)arg;
    fprintf(stderr, "%s %s: %s\n", np_error_text(error), subject, text);
    np_connection_bye(c);
}

static void on_closed(struct np_connection *c, enum np_error why, const char *text, void *arg)
{
    struct phone *phone = arg;
    (void)c, (void)why;
    printf("%s\n", text);
    phone->closed = true;
}

static int dial(const struct np_endpoint *at)
{
    char port[6];
    snprintf(port, sizeof port, "%u", (unsigned)at->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(at->host, port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        connect(fd, found->ai_addr,
                found->ai_addrlen); /* goes on in the background; TLS reports its failure */
    freeaddrinfo(found);
    return fd;
}

static void run(struct phone *phone, struct np_connection *c, int fd)
{
    while (!phone->closed) {
        bool readable, writable;
        int64_t deadline_mono_ms;
        np_connection_want(c, &readable, &writable, &deadline_mono_ms);
        int64_t wait_ms = deadline_mono_ms - now_mono_ms();
        struct pollfd socket = {.fd = fd,
                                .events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0))};
        poll(&socket, 1, wait_ms < 0 ? 0 : wait_ms < 60000 ? (int)wait_ms : 60000);
        np_connection_step(c, now_mono_ms());
    }
}

int main(int argc, char **argv)
{
    static const struct np_callbacks callbacks = {
        .on_open = on_open,
        .on_enrolled = on_enrolled,
        .on_challenge = on_challenge,
        .on_resolved = on_resolved,
        .on_error = on_error,
        .on_closed = on_closed,
    };
    struct phone phone = {0};
    struct np_key *possession = NULL, *user_verification = NULL;
    struct np_connection *c = NULL;
    struct np_endpoint at;
    int fd = -1;
    enum np_error error = argc == 2 ? np_enrolment_uri_parse(argv[1], &phone.uri) : NP_INVALID;
    if (error == NP_OK)
        error = np_key_generate(&possession);
    if (error == NP_OK)
        error = np_key_generate(&user_verification);
    if (error == NP_OK)
        error = np_key_signer(possession, &phone.possession);
    if (error == NP_OK)
        error = np_key_signer(user_verification, &phone.user_verification);
    if (error == NP_OK) {
        np_enrolment_uri_endpoint(&phone.uri, &at);
        fd = dial(&at);
        error = fd < 0 ? NP_IO : np_connection_new(&at, &callbacks, &phone, fd, now_mono_ms(), &c);
    }
    if (error == NP_OK)
        run(&phone, c, fd);
    complain(error);
    np_connection_free(c);
    if (fd >= 0)
        close(fd);
    np_account_free(phone.account);
    np_key_free(possession);
    np_key_free(user_verification);
    np_enrolment_uri_cleanse(&phone.uri);
    return error == NP_OK ? 0 : 1;
}

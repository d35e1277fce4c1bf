#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define UNIX_PREFIX     "unix:"
#define PORT_MAX_DIGITS 5

static const size_t unix_path_max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

static enum err parse_unix(const char *path, struct address *ret)
{
    size_t len = strlen(path);
    if (path[0] != '/')
        return ERR_MALFORMED;
    if (len > unix_path_max)
        return ERR_TOO_BIG;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memcpy(un.sun_path, path, len);
    *ret = (struct address){.len = sizeof(un)};
    memcpy(&ret->storage, &un, sizeof(un));
    return ERR_OK;
}

static enum err parse_port(const char *text, in_port_t *ret)
{
    size_t len = strlen(text);
    if (len == 0 || len > PORT_MAX_DIGITS || strspn(text, "0123456789") != len || (len > 1 && text[0] == '0'))
        return ERR_MALFORMED;
    long port = strtol(text, NULL, 10);
    if (port > UINT16_MAX)
        return ERR_MALFORMED;
    *ret = htons((uint16_t)port);
    return ERR_OK;
}

/* Where the port begins; the host goes to @p host without its brackets. */
static enum err split_host(const char *text, char host[INET6_ADDRSTRLEN], const char **port)
{
    bool bracketed = text[0] == '[';
    const char *start = text + bracketed;
    const char *end = strchr(start, bracketed ? ']' : ':');
    if (!end || end == start || end - start >= INET6_ADDRSTRLEN || (bracketed && end[1] != ':'))
        return ERR_MALFORMED;
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    *port = end + 1 + bracketed;
    return ERR_OK;
}

enum err address_parse(const char *text, struct address *ret)
{
    if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        return parse_unix(text + strlen(UNIX_PREFIX), ret);
    char host[INET6_ADDRSTRLEN];
    const char *port_text = NULL;
    in_port_t port = 0;
    TRY(split_host(text, host, &port_text));
    TRY(parse_port(port_text, &port));
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};
    if (text[0] != '[' && inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        *ret = (struct address){.len = sizeof(v4)};
        memcpy(&ret->storage, &v4, sizeof(v4));
    } else if (text[0] == '[' && inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        *ret = (struct address){.len = sizeof(v6)};
        memcpy(&ret->storage, &v6, sizeof(v6));
    } else {
        return ERR_MALFORMED;
    }
    return ERR_OK;
}

void address_print(const struct address *a, char out[ADDRESS_TEXT_SIZE])
{
    char host[INET6_ADDRSTRLEN] = "";
    if (a->storage.ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, &a->storage, sizeof(v4));
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
        snprintf(out, ADDRESS_TEXT_SIZE, "%s:%u", host, ntohs(v4.sin_port));
    } else if (a->storage.ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, &a->storage, sizeof(v6));
        inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
        snprintf(out, ADDRESS_TEXT_SIZE, "[%s]:%u", host, ntohs(v6.sin6_port));
    } else {
        struct sockaddr_un un;
        memcpy(&un, &a->storage, sizeof(un));
        size_t head = offsetof(struct sockaddr_un, sun_path);
        size_t path_max = a->len > head ? a->len - head : 0; /* the peer of a unix socket may have no name */
        if (path_max > sizeof(un.sun_path))
            path_max = sizeof(un.sun_path);
        snprintf(out, ADDRESS_TEXT_SIZE, UNIX_PREFIX "%.*s", (int)path_max, un.sun_path);
    }
}

/* Those of one form are compared as text: the rest of the storage is anybody's. */
bool address_equal(const struct address *a, const struct address *b)
{
    char texts[2][ADDRESS_TEXT_SIZE];
    if (a->len != b->len || a->len == 0)
        return a->len == b->len;
    address_print(a, texts[0]);
    address_print(b, texts[1]);
    return strcmp(texts[0], texts[1]) == 0;
}

bool address_is_unix(const struct address *a)
{
    return a->storage.ss_family == AF_UNIX;
}

bool address_same_host(const struct address *a, const struct address *b)
{
    const struct sockaddr_in *a4 = (const void *)&a->storage, *b4 = (const void *)&b->storage;
    const struct sockaddr_in6 *a6 = (const void *)&a->storage, *b6 = (const void *)&b->storage;
    if (a->storage.ss_family != b->storage.ss_family)
        return false;
    if (a->storage.ss_family == AF_INET)
        return a4->sin_addr.s_addr == b4->sin_addr.s_addr;
    return a->storage.ss_family != AF_INET6 || memcmp(&a6->sin6_addr, &b6->sin6_addr, 8) == 0;
}

enum err address_of_socket(int fd, struct address *ret)
{
    struct address a = {.len = sizeof(a.storage)};
    if (getsockname(fd, (struct sockaddr *)&a.storage, &a.len))
        return ERR_IO;
    *ret = a;
    return ERR_OK;
}

enum err address_of_peer(int fd, struct address *ret)
{
    struct address a = {.len = sizeof(a.storage)};
    if (getpeername(fd, (struct sockaddr *)&a.storage, &a.len))
        return ERR_IO;
    *ret = a;
    return ERR_OK;
}

enum err address_connect(const struct address *a, int *fd)
{
    int family = a->storage.ss_family, on = 1;
    int made = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (made < 0)
        return ERR_IO;
    if (family != AF_UNIX)
        setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(made, (const struct sockaddr *)&a->storage, a->len) && errno != EINPROGRESS) {
        close(made);
        return ERR_UNAVAILABLE;
    }
    *fd = made;
    return ERR_OK;
}

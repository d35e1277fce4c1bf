/**
 * Addresses that sockets listen on or connect to: IPv4, IPv6 and unix. No names are resolved: what a
 * configuration means must not depend on DNS.
 */
#ifndef NANOPUSH_NET_ADDRESS_H
#define NANOPUSH_NET_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/bytes.h"

/** Longest text form with its NUL: "unix:" and a path of 107 characters. */
#define ADDRESS_TEXT_SIZE 128

struct address {
    struct sockaddr_storage storage;
    socklen_t len; /* of what is used in storage */
};

/**
 * Parse "127.0.0.1:7440", "[::1]:7440" or "unix:/absolute/path". The host is never left out. Port 0 means a
 * free one, for listening. No zone, no leading zeros.
 * @param[out] ret  untouched on error.
 * @return ERR_OK; ERR_MALFORMED; ERR_TOO_BIG for a unix path above 107 characters.
 */
MUST_CHECK enum err address_parse(const char *text, struct address *ret);

/** Text form, which address_parse() reads back; "unix:" for the nameless peer of a unix socket. */
void address_print(const struct address *a, char out[ADDRESS_TEXT_SIZE]);

bool address_is_unix(const struct address *a);

bool address_equal(const struct address *a, const struct address *b);

/** True for one host, whatever the ports: the whole of an IPv4 address, the first 64 bits of an IPv6 one. */
bool address_same_host(const struct address *a, const struct address *b);

/** The address that @p fd is bound to. @return ERR_OK; ERR_IO. */
MUST_CHECK enum err address_of_socket(int fd, struct address *ret);

/** The address of @p fd's peer. @return ERR_OK; ERR_IO if it is not connected. */
MUST_CHECK enum err address_of_peer(int fd, struct address *ret);

/**
 * Start connecting: a new non-blocking, close-on-exec socket, TCP_NODELAY where it is TCP. Whether it
 * succeeds shows when it becomes writable, as stream.h does it for STREAM_CLIENT.
 * @param[out] fd  the caller's to close, or to give to stream_new().
 * @return ERR_OK (connected or under way); ERR_UNAVAILABLE if it is refused at once; ERR_IO if there is no
 * socket.
 */
MUST_CHECK enum err address_connect(const struct address *a, int *fd);

#endif

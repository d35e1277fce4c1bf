#include "net/proxy_header.h"

#include <netinet/in.h>
#include <string.h>

#define SIGNATURE_BYTES 12
#define VERSION_2       0x20
#define UNIX_BYTES      216 /* two paths of 108 */

enum { COMMAND_LOCAL, COMMAND_PROXY };
enum { FAMILY_UNSPEC, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX };
enum { TRANSPORT_UNSPEC, TRANSPORT_STREAM };

static const uint8_t signature[SIGNATURE_BYTES] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                                   '\n', 'Q',  'U',  'I',  'T', '\n'};

enum err proxy_header_length(struct bytes start, size_t *ret)
{
    size_t signed_bytes = start.len < SIGNATURE_BYTES ? start.len : SIGNATURE_BYTES;
    if (signed_bytes && memcmp(start.p, signature, signed_bytes) != 0)
        return ERR_MALFORMED;
    if (start.len > 12 && (start.p[12] & 0xf0) != VERSION_2)
        return ERR_MALFORMED;
    size_t length = PROXY_HEADER_START_BYTES;
    if (start.len >= PROXY_HEADER_START_BYTES)
        length += (size_t)start.p[14] << 8 | start.p[15];
    if (length > PROXY_HEADER_MAX_BYTES)
        return ERR_TOO_BIG;
    *ret = length;
    return ERR_OK;
}

static void set_ipv4(struct address *a, const uint8_t *host, const uint8_t *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    memcpy(&in.sin_addr, host, sizeof in.sin_addr);
    memcpy(&in.sin_port, port, sizeof in.sin_port);
    memcpy(&a->storage, &in, sizeof in);
    a->len = sizeof in;
}

static void set_ipv6(struct address *a, const uint8_t *host, const uint8_t *port)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6};
    memcpy(&in.sin6_addr, host, sizeof in.sin6_addr);
    memcpy(&in.sin6_port, port, sizeof in.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
        set_ipv4(a, host + 12, port);
        return;
    }
    memcpy(&a->storage, &in, sizeof in);
    a->len = sizeof in;
}

/* Source and destination host, then source and destination port. */
static enum err read_addresses(unsigned family, struct bytes addresses, struct address *ret)
{
    static const size_t sizes[] = {[FAMILY_INET] = 12, [FAMILY_INET6] = 36, [FAMILY_UNIX] = UNIX_BYTES};
    struct address a = {0};
    if (family > FAMILY_UNIX || addresses.len < sizes[family])
        return ERR_MALFORMED;
    if (family == FAMILY_INET) {
        set_ipv4(&a, addresses.p, addresses.p + 8);
    } else if (family == FAMILY_INET6) {
        set_ipv6(&a, addresses.p, addresses.p + 32);
    } else if (family == FAMILY_UNIX) {
        a.storage.ss_family = AF_UNIX;
        a.len = sizeof a.storage.ss_family;
    }
    *ret = a;
    return ERR_OK;
}

enum err proxy_header_source(struct bytes header, struct address *ret)
{
    size_t length;
    TRY(proxy_header_length(header, &length));
    if (header.len != length)
        return ERR_MALFORMED;
    unsigned command = header.p[12] & 0x0f, family = header.p[13] >> 4, transport = header.p[13] & 0x0f;
    if (command > COMMAND_PROXY)
        return ERR_MALFORMED;
    if (command == COMMAND_LOCAL) { /* what else it says is to be passed over */
        *ret = (struct address){0};
        return ERR_OK;
    }
    if (transport != (family == FAMILY_UNSPEC ? TRANSPORT_UNSPEC : TRANSPORT_STREAM))
        return ERR_UNSUPPORTED;
    struct bytes addresses =
        bytes_make(header.p + PROXY_HEADER_START_BYTES, length - PROXY_HEADER_START_BYTES);
    return read_addresses(family, addresses, ret);
}

#include "core/config_check.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define NAME_MAX_CHARS 253
#define DIGITS         "0123456789"
#define LETTERS        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_ipv4(const char *s)
{
    struct in_addr address;
    return inet_pton(AF_INET, s, &address) == 1;
}

static bool is_ipv6(const char *s)
{
    struct in6_addr address;
    return inet_pton(AF_INET6, s, &address) == 1;
}

static bool is_host_name(const char *s)
{
    const char *label = s;
    if (strlen(s) > NAME_MAX_CHARS)
        return false;
    for (;;) {
        size_t len = strspn(label, LETTERS DIGITS "-");
        if (len == 0 || len > 63 || label[0] == '-' || label[len - 1] == '-')
            return false;
        if (label[len] == '\0')
            return strspn(label, DIGITS) < len; /* a last label of digits only is an address gone wrong */
        if (label[len] != '.')
            return false;
        label += len + 1;
    }
}

bool config_is_name(const char *s)
{
    return is_ipv4(s) || is_ipv6(s) || is_host_name(s);
}

static bool is_unix(const char *s)
{
    struct sockaddr_un address;
    return strncmp(s, "unix:/", 6) == 0 && strlen(s + 5) < sizeof address.sun_path;
}

static bool is_port(const char *s, long min)
{
    size_t len = strlen(s);
    if (len < 1 || len > 5 || strspn(s, DIGITS) != len || (s[0] == '0' && len > 1))
        return false;
    long port = strtol(s, NULL, 10);
    return port >= min && port <= 65535;
}

/* "host:port" with the host in brackets exactly when it is IPv6. */
static bool is_host_with_port(const char *s, bool name_allowed, long port_min)
{
    char host[NAME_MAX_CHARS + 1];
    const char *colon = strrchr(s, ':');
    if (!colon || !is_port(colon + 1, port_min))
        return false;
    size_t len = (size_t)(colon - s);
    bool bracketed = len >= 2 && s[0] == '[' && s[len - 1] == ']';
    if (bracketed) {
        s++;
        len -= 2;
    }
    if (len > NAME_MAX_CHARS)
        return false;
    memcpy(host, s, len);
    host[len] = '\0';
    return bracketed ? is_ipv6(host) : is_ipv4(host) || (name_allowed && is_host_name(host));
}

bool config_is_host_port(const char *s)
{
    return is_host_with_port(s, true, 1);
}

bool config_is_dial(const char *s)
{
    return is_unix(s) || config_is_host_port(s);
}

bool config_is_listen(const char *s)
{
    return is_unix(s) || is_host_with_port(s, false, 0);
}

bool config_is_format(const char *s)
{
    return strcmp(s, "text") == 0 || strcmp(s, "json") == 0;
}

bool config_is_durability(const char *s)
{
    return strcmp(s, "fast") == 0 || strcmp(s, "replicated") == 0 || strcmp(s, "always") == 0;
}

bool config_is_ports(const char *s)
{
    return strcmp(s, "device") == 0 || strcmp(s, "all") == 0 || strcmp(s, "off") == 0;
}

bool config_is_proxy(const char *s)
{
    return strcmp(s, "refused") == 0 || strcmp(s, "required") == 0;
}

bool config_is_secrets(const char *s)
{
    return strcmp(s, "kdf") == 0 || strcmp(s, "keylog") == 0;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

unsigned config_edit_distance(const char *a, const char *b)
{
    unsigned row[64]; /* distances of what is read of a to each prefix of b */
    size_t b_len = strlen(b);
    if (strlen(a) > 63 || b_len > 63)
        return UINT_MAX;
    for (unsigned i = 0; i <= b_len; i++)
        row[i] = i;
    for (; *a; a++) {
        unsigned diagonal = row[0]++;
        for (size_t i = 1; i <= b_len; i++) {
            unsigned above = row[i];
            row[i] = min3(above + 1, row[i - 1] + 1, diagonal + (*a != b[i - 1]));
            diagonal = above;
        }
    }
    return row[b_len];
}

/**
 * Syntax of configuration values. Nothing is resolved or opened here.
 */
#ifndef NANOPUSH_CORE_CONFIG_CHECK_H
#define NANOPUSH_CORE_CONFIG_CHECK_H

#include <stdbool.h>

/** True for an IPv4 or IPv6 address, or a host name (RFC 1123) of at most 253 characters. */
bool config_is_name(const char *s);

/** True for "name:port", "192.0.2.7:port" or "[2001:db8::7]:port" with a port of 1 to 65535. */
bool config_is_host_port(const char *s);

/** True for what config_is_host_port() takes, and for "unix:/absolute/path" of at most 107 characters of
 * path. */
bool config_is_dial(const char *s);

/** As config_is_dial(), with an address instead of a name, and port 0 allowed. */
bool config_is_listen(const char *s);

/** True for "text" and "json". */
bool config_is_format(const char *s);

/** True for "fast", "replicated" and "always". */
bool config_is_durability(const char *s);

/** True for "device", "all" and "off": the ports that something is for. */
bool config_is_ports(const char *s);

/** True for "refused" and "required": what a listener does about a PROXY header. */
bool config_is_proxy(const char *s);

/** True for "kdf" and "keylog": where the secrets of a TLS connection come from. */
bool config_is_secrets(const char *s);

/** Edits (insert, drop or change a character) that make @p b of @p a; a large number if one is above 63 long.
 */
unsigned config_edit_distance(const char *a, const char *b);

#endif

#include "store/key.h"

#include <stdarg.h>
#include <stdio.h>

static PRINTF(1, 2) struct key key_of(const char *format, ...)
{
    struct key key;
    va_list args;
    va_start(args, format);
    vsnprintf(key.text, sizeof key.text, format, args);
    va_end(args);
    return key;
}

struct key key_organisation(const char *id)
{
    return key_of("np1:org:{%.*s}", NAME_MAX_LEN, id);
}

struct key key_portal(const char *id)
{
    return key_of("np1:portal:{%.*s}", NAME_MAX_LEN, id);
}

struct key key_index(const char *what)
{
    return key_of("np1:index:{%s}", what);
}

struct key key_users(const char *organisation, char shard)
{
    return key_of("np1:users:{%.*s:%c}", NAME_MAX_LEN, organisation, shard);
}

struct key key_events(const char *organisation)
{
    return key_of("np1:events:{%.*s}", NAME_MAX_LEN, organisation);
}

struct key key_events_state(const char *organisation)
{
    return key_of("np1:events:{%.*s}:state", NAME_MAX_LEN, organisation);
}

struct key key_event(const char *organisation, const char *uid)
{
    return key_of("np1:events:{%.*s}:%.*s", NAME_MAX_LEN, organisation, 32, uid);
}

struct key key_certificate(const char *fingerprint)
{
    return key_of("np1:certificate:{%.*s}", 64, fingerprint);
}

struct key key_permits(const char *portal)
{
    return key_of("np1:portal:{%.*s}:permits", NAME_MAX_LEN, portal);
}

struct key key_inbox(const char *inbox)
{
    return key_of("np1:inbox:{%.*s}", INBOX_SIZE, inbox);
}

struct key key_public(const char *hash)
{
    return key_of("np1:key:{%.*s}", 64, hash);
}

struct key key_user(const char *tag, const char *part)
{
    return key_of("np1:{%.*s}:%s", TAG_LEN, tag, part);
}

struct key key_challenge(const char *id)
{
    return key_of("np1:{%.*s}:c:%.*s", TAG_LEN, id_tag(id), ID_LEN, id);
}

struct key key_enrolment(const char *id)
{
    return key_of("np1:{%.*s}:e:%.*s", TAG_LEN, id_tag(id), ID_LEN, id);
}

struct key key_idempotency(const char *tag, const char *hash)
{
    return key_of("np1:{%.*s}:i:%.*s", TAG_LEN, tag, 64, hash);
}

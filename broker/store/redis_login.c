#include "store/redis_login.h"

#include <string.h>

#include "base/clock.h"
#include "crypto/digest.h"

/* Lets Redis itself say what its ACL lacks, for inside a script an error does not name the command. What is older than
   acl_check_cmd (7.0) is not asked. */
static const char permissions_script[] =
    "local missing = {}\n"
    "for i = 2, #ARGV do\n"
    "  local known, allowed = pcall(redis.acl_check_cmd or function() return true end, ARGV[i], ARGV[1])\n"
    "  if known and not allowed then missing[#missing + 1] = ARGV[i] end\n"
    "end\n"
    "return missing\n";

/* The id that is there; where there is none and ARGV[2] allows it, ARGV[1] from now on. */
static const char lineage_script[] = "local id = redis.call('GET', KEYS[1])\n"
                                     "if not id and ARGV[2] == '1' then\n"
                                     "  id = ARGV[1]\n"
                                     "  redis.call('SET', KEYS[1], id)\n"
                                     "end\n"
                                     "return id\n";

static const char *const commands[] = {
#define REDIS_COMMAND(name) #name,
#include "store/redis_command.def"
#undef REDIS_COMMAND
};

#define COMMAND_COUNT (sizeof commands / sizeof *commands)

/* Kind, number, CR LF: a few for each argument of each command, for which printf() would be most of the work. */
static enum err append_count(char kind, size_t count, struct buf *out)
{
    char text[1 + 20 + 2], *end = text + sizeof text, *at = end;
    *--at = '\n';
    *--at = '\r';
    do
        *--at = (char)('0' + count % 10);
    while ((count /= 10) > 0);
    *--at = kind;
    return buf_append(out, bytes_make(at, (size_t)(end - at)));
}

enum err redis_encode(size_t argc, const struct bytes *argv, struct buf *out)
{
    TRY(append_count('*', argc, out));
    for (size_t i = 0; i < argc; i++) {
        TRY(append_count('$', argv[i].len, out));
        TRY(buf_append(out, argv[i]));
        TRY(buf_append(out, bytes_of("\r\n")));
    }
    return ERR_OK;
}

const char *redis_step_name(enum redis_step step)
{
    static const char *const names[] = {
        [REDIS_STEP_AUTH] = "auth",
        [REDIS_STEP_SELECT] = "select",
        [REDIS_STEP_PING] = "ping",
        [REDIS_STEP_ROLE] = "role",
        [REDIS_STEP_PERMISSIONS] = "permissions",
        [REDIS_STEP_LINEAGE] = "lineage",
        [REDIS_STEP_DONE] = "done",
        [REDIS_STEP_APPENDFSYNC] = "appendfsync",
    };
    return names[step];
}

static bool is_needed(const struct redis_login *login, enum redis_step step)
{
    switch (step) {
    case REDIS_STEP_AUTH:
        return login->password.len > 0;
    case REDIS_STEP_SELECT:
        return login->database != 0;
    case REDIS_STEP_ROLE:
        return login->master;
    case REDIS_STEP_APPENDFSYNC:
        return login->appendfsync;
    case REDIS_STEP_PERMISSIONS:
        return login->permissions;
    case REDIS_STEP_LINEAGE:
        return login->lineage != NULL;
    default:
        return true;
    }
}

static enum err encode_auth(const struct redis_login *login, struct buf *out)
{
    struct bytes argv[3] = {bytes_of("AUTH")};
    size_t argc = 1;
    if (login->user && login->user[0])
        argv[argc++] = bytes_of(login->user);
    argv[argc++] = login->password;
    return redis_encode(argc, argv, out);
}

static enum err encode_select(const struct redis_login *login, struct buf *out)
{
    char number[16];
    int len = snprintf(number, sizeof number, "%u", login->database);
    const struct bytes argv[] = {bytes_of("SELECT"), bytes_make(number, (size_t)len)};
    return redis_encode(2, argv, out);
}

static enum err encode_permissions(struct buf *out)
{
    struct bytes argv[4 + COMMAND_COUNT] = {bytes_of("EVAL"), bytes_of(permissions_script), bytes_of("0"),
                                            bytes_of("np1:{permissions}")};
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        argv[4 + i] = bytes_of(commands[i]);
    return redis_encode(4 + COMMAND_COUNT, argv, out);
}

/* Nobody who had it became master: what was there is gone, for everybody. */
static bool is_foreign_for_good(const struct redis_lineage *lineage)
{
    return lineage->foreign_mono_ms && clock_mono_ms() - lineage->foreign_mono_ms >= REDIS_FOREIGN_MS;
}

static enum err encode_lineage(const struct redis_lineage *lineage, struct buf *out)
{
    uint8_t bits[16];
    char fresh[REDIS_LINEAGE_SIZE];
    bool may_make = !lineage->id[0] || is_foreign_for_good(lineage);
    TRY(random_bytes(bits, sizeof bits));
    hex_encode(bytes_make(bits, sizeof bits), fresh);
    const struct bytes argv[] = {
        bytes_of("EVAL"),          bytes_of(lineage_script), bytes_of("1"),
        bytes_of("np1:{lineage}"), bytes_of(fresh),          bytes_of(may_make ? "1" : "0"),
    };
    return redis_encode(sizeof argv / sizeof *argv, argv, out);
}

enum err redis_login_next(const struct redis_login *login, enum redis_step from, struct buf *out,
                          enum redis_step *next)
{
    while (!is_needed(login, from))
        from++;
    *next = from;
    switch (from) {
    case REDIS_STEP_AUTH:
        return encode_auth(login, out);
    case REDIS_STEP_SELECT:
        return encode_select(login, out);
    case REDIS_STEP_PING:
        return redis_encode(1, (const struct bytes[]){bytes_of("PING")}, out);
    case REDIS_STEP_ROLE:
        return redis_encode(1, (const struct bytes[]){bytes_of("ROLE")}, out);
    case REDIS_STEP_APPENDFSYNC:
        return redis_encode(
            3, (const struct bytes[]){bytes_of("CONFIG"), bytes_of("GET"), bytes_of("append*")}, out);
    case REDIS_STEP_PERMISSIONS:
        return encode_permissions(out);
    case REDIS_STEP_LINEAGE:
        return encode_lineage(login->lineage, out);
    case REDIS_STEP_DONE:
        break;
    }
    return ERR_OK;
}

static enum err refuse_role(const redisReply *reply, struct buf *why)
{
    const redisReply *role = reply->type == REDIS_REPLY_ARRAY && reply->elements ? reply->element[0] : NULL;
    bool named = role && (role->type == REDIS_REPLY_STRING || role->type == REDIS_REPLY_STATUS);
    if (named && strcmp(role->str, "master") == 0)
        return ERR_OK;
    TRY(buf_printf(why, "it is a %s, not a master", named ? role->str : "server of unknown role"));
    return ERR_DENIED;
}

/* Names and values in turn. */
static bool has_setting(const redisReply *reply, const char *name, const char *value)
{
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2)
        if (reply->element[i]->type == REDIS_REPLY_STRING &&
            reply->element[i + 1]->type == REDIS_REPLY_STRING && strcmp(reply->element[i]->str, name) == 0)
            return strcmp(reply->element[i + 1]->str, value) == 0;
    return false;
}

static enum err refuse_appendfsync(const redisReply *reply, struct buf *why)
{
    if (has_setting(reply, "appendonly", "yes") && has_setting(reply, "appendfsync", "always"))
        return ERR_OK;
    TRY(buf_printf(why, "durability is always, but it has not appendonly yes and appendfsync always"));
    return ERR_DENIED;
}

static enum err refuse_permissions(const redisReply *reply, struct buf *why)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
        return ERR_OK;
    TRY(buf_printf(why, "the ACL does not allow, on keys np1:*:"));
    for (size_t i = 0; i < reply->elements; i++)
        if (reply->element[i]->type == REDIS_REPLY_STRING)
            TRY(buf_printf(why, " %s", reply->element[i]->str));
    return ERR_DENIED;
}

static enum err refuse_lineage(struct redis_lineage *lineage, const redisReply *reply, struct buf *why)
{
    struct bytes id = bytes_make(NULL, 0);
    if (reply->type == REDIS_REPLY_STRING && reply->len == REDIS_LINEAGE_SIZE - 1)
        id = bytes_make(reply->str, (size_t)reply->len);
    if (lineage->id[0] && !bytes_equal(id, bytes_of(lineage->id)) && !is_foreign_for_good(lineage)) {
        if (!lineage->foreign_mono_ms)
            lineage->foreign_mono_ms = clock_mono_ms();
        TRY(buf_printf(why, "it came back without what was in it"));
        return ERR_DENIED;
    }
    lineage->foreign_mono_ms = 0;
    if (id.len)
        memcpy(lineage->id, id.p, id.len);
    return ERR_OK;
}

enum err redis_login_check(const struct redis_login *login, enum redis_step step, const redisReply *reply,
                           struct buf *why)
{
    if (reply->type == REDIS_REPLY_ERROR) {
        TRY(buf_printf(why, "%s", reply->str));
        return strncmp(reply->str, "LOADING", 7) == 0 ? ERR_UNAVAILABLE : ERR_DENIED;
    }
    switch (step) {
    case REDIS_STEP_ROLE:
        return refuse_role(reply, why);
    case REDIS_STEP_APPENDFSYNC:
        return refuse_appendfsync(reply, why);
    case REDIS_STEP_PERMISSIONS:
        return refuse_permissions(reply, why);
    case REDIS_STEP_LINEAGE:
        return refuse_lineage(login->lineage, reply, why);
    default:
        return ERR_OK;
    }
}

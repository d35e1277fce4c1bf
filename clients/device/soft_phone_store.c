#include "soft_phone_store.h"

#include "encode.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX    65536
#define FILE_NAME_SIZE    40
#define ROTATIONS_MAX     999999999

#define POSSESSION        "possession"
#define USER_VERIFICATION "user-verification"
#define SESSION           "session"

#define FIRST_LINE        "nanopush-soft-phone 1"

/* The account's texts, one "name value" line each. */
static const struct text_row {
    const char *name;
    size_t offset, size;
} texts[] = {
#define TEXT(member)                                                                                         \
    {                                                                                                        \
#member, offsetof(struct soft_phone_store, member), sizeof(((struct soft_phone_store *)0)->member)   \
    }
    TEXT(enrolment_id), TEXT(organisation), TEXT(user), TEXT(device_id), TEXT(host), TEXT(server_name),
#undef TEXT
};

static bool fail(struct soft_phone_store *s, enum np_error error, const char *why)
{
    s->error = error;
    s->why = why;
    return false;
}

bool soft_phone_store_open(const char *state_dir, bool create, struct soft_phone_store *s)
{
    *s = (struct soft_phone_store){.dir_fd = -1};
    if (create && mkdir(state_dir, 0700) != 0 && errno != EEXIST)
        return fail(s, NP_IO, "the state directory cannot be made");
    s->dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0)
        return fail(s, NP_IO, "the state directory cannot be opened");
    if (flock(s->dir_fd, LOCK_EX | LOCK_NB) != 0)
        return fail(s, NP_BAD_STATE, "another soft phone uses the state directory");
    return true;
}

void soft_phone_store_close(struct soft_phone_store *s)
{
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    np_key_free(s->possession);
    np_key_free(s->user_verification);
    np_key_free(s->next_possession);
    np_key_free(s->next_user_verification);
    *s = (struct soft_phone_store){.dir_fd = -1};
}

/* The whole of a small file that nobody else can read; NULL with an empty s->why where there is none. */
static char *read_file(struct soft_phone_store *s, const char *name)
{
    struct stat at;
    s->why = NULL;
    int fd = openat(s->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        s->why = errno == ENOENT ? NULL : "a file of the state directory cannot be opened";
        return NULL;
    }
    char *text = NULL;
    if (fstat(fd, &at) != 0 || !S_ISREG(at.st_mode) || at.st_size > FILE_BYTES_MAX || (at.st_mode & 077)) {
        s->why = "a file of the state directory is too large, or open to other users";
    } else if ((text = calloc(1, (size_t)at.st_size + 1)) &&
               read(fd, text, (size_t)at.st_size) != at.st_size) {
        np_text_free(text);
        text = NULL;
    }
    if (!text && !s->why)
        s->why = "a file of the state directory cannot be read";
    close(fd);
    return text;
}

static bool write_all(int fd, const void *p, size_t len)
{
    while (len) {
        ssize_t written = write(fd, p, len);
        if (written < 0)
            return false;
        p = (const char *)p + written;
        len -= (size_t)written;
    }
    return fsync(fd) == 0;
}

static bool write_file(struct soft_phone_store *s, const char *name, const void *p, size_t len)
{
    char temporary[64];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    unlinkat(s->dir_fd, temporary, 0);
    int fd = openat(s->dir_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(s, NP_IO, "a file of the state directory cannot be made");
    bool written = write_all(fd, p, len);
    close(fd);
    if (!written || renameat(s->dir_fd, temporary, s->dir_fd, name) != 0 || fsync(s->dir_fd) != 0)
        return fail(s, NP_IO, "a file of the state directory cannot be written");
    return true;
}

static bool write_buf(struct soft_phone_store *s, const char *name, struct np_buf *b)
{
    bool ok =
        b->error == NP_OK ? write_file(s, name, b->p, b->len) : fail(s, b->error, np_error_text(b->error));
    np_buf_done(b);
    return ok;
}

/* Account --------------------------------------------------------------------------------------------- */

bool soft_phone_store_save_account(struct soft_phone_store *s)
{
    struct np_buf b = {0};
    np_buf_add_text(&b, FIRST_LINE "\n");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        np_buf_add_text(&b, texts[i].name);
        np_buf_add_text(&b, " ");
        np_buf_add_text(&b, (const char *)s + texts[i].offset);
        np_buf_add_text(&b, "\n");
    }
    np_buf_add_text(&b, "port ");
    np_buf_add_number(&b, s->port);
    np_buf_add_text(&b, "\ngeneration ");
    np_buf_add_number(&b, s->generation);
    np_buf_add_text(&b, "\nrotations ");
    np_buf_add_number(&b, s->rotations);
    np_buf_add_text(&b, "\n");
    for (size_t i = 0; i < s->pin_count; i++) {
        np_buf_add_text(&b, "pin ");
        np_buf_add_base64url(&b, s->pins[i], NP_PIN_BYTES);
        np_buf_add_text(&b, "\n");
    }
    return write_buf(s, "account", &b);
}

static bool parse_number(const char *text, unsigned long most, unsigned long *ret)
{
    char *end = NULL;
    errno = 0;
    *ret = strtoul(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && errno == 0 && *ret <= most;
}

static bool parse_line(struct soft_phone_store *s, const char *name, const char *value)
{
    unsigned long number = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(texts[i].name, name) != 0)
            continue;
        if (strlen(value) >= texts[i].size)
            return false;
        memcpy((char *)s + texts[i].offset, value, strlen(value) + 1);
        return true;
    }
    if (strcmp(name, "port") == 0 && parse_number(value, UINT16_MAX, &number))
        s->port = (uint16_t)number;
    else if (strcmp(name, "generation") == 0 && parse_number(value, UINT32_MAX, &number))
        s->generation = (uint32_t)number;
    else if (strcmp(name, "rotations") == 0 && parse_number(value, ROTATIONS_MAX, &number))
        s->rotations = (uint32_t)number;
    else if (strcmp(name, "pin") == 0 && s->pin_count < NP_PINS_MAX &&
             np_base64url_decode(value, strlen(value), s->pins[s->pin_count], NP_PIN_BYTES))
        s->pin_count++;
    else
        return false;
    return true;
}

static bool parse_account(struct soft_phone_store *s, char *text)
{
    char *rest = NULL, *line = strtok_r(text, "\n", &rest);
    if (!line || strcmp(line, FIRST_LINE) != 0)
        return false;
    while ((line = strtok_r(NULL, "\n", &rest))) {
        char *value = strchr(line, ' ');
        if (!value)
            return false;
        *value++ = '\0';
        if (!parse_line(s, line, value))
            return false;
    }
    return true;
}

/* Keys ------------------------------------------------------------------------------------------------ */

/* Each pair of keys has files of its own, and the account names the pair: so that one write moves from the
 * old keys to the next. */
static const char *key_file(const char *stem, uint32_t rotations, char ret[FILE_NAME_SIZE])
{
    if (rotations)
        snprintf(ret, FILE_NAME_SIZE, "%s-%u.pem", stem, (unsigned)rotations);
    else
        snprintf(ret, FILE_NAME_SIZE, "%s.pem", stem);
    return ret;
}

static bool load_key(struct soft_phone_store *s, const char *name, const char *passcode, struct np_key **ret)
{
    char *pem = read_file(s, name);
    if (!pem)
        return fail(s, NP_IO, s->why ? s->why : "a key is missing in the state directory");
    enum np_error error = np_key_from_pem(pem, passcode, ret);
    np_text_free(pem);
    if (error == NP_OK)
        return true;
    return fail(s, passcode ? NP_NO_KEY : error,
                passcode ? "the passcode is wrong" : "a key in the state directory is broken");
}

static bool make_key(struct soft_phone_store *s, const char *name, const char *passcode, struct np_key **ret)
{
    struct np_key *key = NULL;
    char *pem = NULL;
    enum np_error error = np_key_generate(&key);
    if (error == NP_OK)
        error = np_key_to_pem(key, passcode, &pem);
    bool ok = error == NP_OK ? write_file(s, name, pem, strlen(pem)) : fail(s, error, np_error_text(error));
    np_text_free(pem);
    if (!ok) {
        np_key_free(key);
        return false;
    }
    np_key_free(*ret);
    *ret = key;
    return true;
}

static bool make_pair(struct soft_phone_store *s, uint32_t rotations, const char *passcode,
                      struct np_key **possession, struct np_key **user_verification)
{
    char name[FILE_NAME_SIZE];
    return make_key(s, key_file(POSSESSION, rotations, name), NULL, possession) &&
           make_key(s, key_file(USER_VERIFICATION, rotations, name), passcode, user_verification);
}

static void unlink_pair(struct soft_phone_store *s, uint32_t rotations)
{
    char name[FILE_NAME_SIZE];
    unlinkat(s->dir_fd, key_file(POSSESSION, rotations, name), 0);
    unlinkat(s->dir_fd, key_file(USER_VERIFICATION, rotations, name), 0);
}

bool soft_phone_store_make_keys(struct soft_phone_store *s, const char *passcode)
{
    unlink_pair(s, s->rotations + 1); /* a rotation of an account that is no more */
    return make_pair(s, s->rotations, passcode, &s->possession, &s->user_verification);
}

bool soft_phone_store_make_next_keys(struct soft_phone_store *s, const char *passcode)
{
    if (s->next_possession && s->next_user_verification)
        return true;
    if (s->rotations == ROTATIONS_MAX)
        return fail(s, NP_LIMIT, "the keys were rotated too often");
    return make_pair(s, s->rotations + 1, passcode, &s->next_possession, &s->next_user_verification);
}

bool soft_phone_store_adopt_next_keys(struct soft_phone_store *s, uint32_t generation)
{
    np_key_free(s->possession);
    np_key_free(s->user_verification);
    s->possession = s->next_possession;
    s->user_verification = s->next_user_verification;
    s->next_possession = s->next_user_verification = NULL;
    s->generation = generation;
    s->rotations++;
    if (!soft_phone_store_save_account(s))
        return false;
    unlink_pair(s, s->rotations - 1);
    return true;
}

bool soft_phone_store_wipe(struct soft_phone_store *s)
{
    if (unlinkat(s->dir_fd, "account", 0) != 0)
        return fail(s, NP_IO, "the account cannot be deleted");
    unlinkat(s->dir_fd, "alerted", 0);
    unlinkat(s->dir_fd, SESSION, 0);
    unlink_pair(s, s->rotations);
    unlink_pair(s, s->rotations + 1);
    return true;
}

static bool load_pair(struct soft_phone_store *s, uint32_t rotations, const char *passcode,
                      struct np_key **possession, struct np_key **user_verification)
{
    char name[FILE_NAME_SIZE];
    if (!load_key(s, key_file(POSSESSION, rotations, name), NULL, possession))
        return false;
    return !passcode ||
           load_key(s, key_file(USER_VERIFICATION, rotations, name), passcode, user_verification);
}

/* The pair is made with its user-verification key last: without that one it was never used. */
static bool has_next_pair(const struct soft_phone_store *s)
{
    char name[FILE_NAME_SIZE];
    return faccessat(s->dir_fd, key_file(USER_VERIFICATION, s->rotations + 1, name), F_OK, 0) == 0;
}

bool soft_phone_store_load(struct soft_phone_store *s, const char *passcode)
{
    char *text = read_file(s, "account");
    if (!text)
        return !s->why || fail(s, NP_IO, s->why);
    bool ok = parse_account(s, text);
    free(text);
    if (!ok)
        return fail(s, NP_MALFORMED, "the file account of the state directory is broken");
    if (!load_pair(s, s->rotations, passcode, &s->possession, &s->user_verification))
        return false;
    return !has_next_pair(s) ||
           load_pair(s, s->rotations + 1, passcode, &s->next_possession, &s->next_user_verification);
}

/* Alerts ---------------------------------------------------------------------------------------------- */

bool soft_phone_store_save_alerted(struct soft_phone_store *s, const struct np_account *account)
{
    struct np_alerted alerted[NP_ALERTED_MAX];
    size_t count = np_account_alerted(account, alerted);
    struct np_buf b = {0};
    for (size_t i = 0; i < count; i++) {
        np_buf_add_number(&b, alerted[i].attempt);
        np_buf_add_text(&b, " ");
        np_buf_add_text(&b, alerted[i].challenge_id);
        np_buf_add_text(&b, "\n");
    }
    return write_buf(s, "alerted", &b);
}

/* A line that is broken costs one alert too many, no more. */
static void load_alerted(struct soft_phone_store *s, struct np_account *account)
{
    struct np_alerted alerted[NP_ALERTED_MAX];
    size_t count = 0;
    char *rest = NULL, *text = read_file(s, "alerted");
    for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line && count < NP_ALERTED_MAX;
         line = strtok_r(NULL, "\n", &rest)) {
        unsigned long attempt = 0;
        char *id = strchr(line, ' ');
        if (!id)
            continue;
        *id++ = '\0';
        if (!parse_number(line, UINT32_MAX, &attempt) || !np_text_fits(id, NP_ID_SIZE))
            continue;
        alerted[count].attempt = (uint32_t)attempt;
        memcpy(alerted[count++].challenge_id, id, strlen(id) + 1);
    }
    free(text);
    np_account_set_alerted(account, alerted, count);
}

/* To resume TLS by ------------------------------------------------------------------------------------ */

bool soft_phone_store_save_session(struct soft_phone_store *s, const uint8_t *session, size_t len)
{
    struct np_buf b = {0};
    np_buf_add_base64url(&b, session, len);
    return write_buf(s, SESSION, &b);
}

/* One that cannot be deleted is not used: it would be used again. */
size_t soft_phone_store_take_session(struct soft_phone_store *s, uint8_t *session)
{
    char *text = read_file(s, SESSION);
    size_t chars = text ? strlen(text) : 0, len = chars / 4 * 3 + (chars % 4 ? chars % 4 - 1 : 0);
    bool taken = unlinkat(s->dir_fd, SESSION, 0) == 0 && len <= NP_SESSION_BYTES_MAX &&
                 np_base64url_decode(text, chars, session, len);
    np_text_free(text);
    return taken ? len : 0;
}

/* The account, for the library ------------------------------------------------------------------------ */

/* Without a passcode the user-verification key stays away, and its public part with it. */
static enum np_error set_next_keys(struct soft_phone_store *s, struct np_account *account)
{
    struct np_signer possession, user_verification = {.sign = NULL};
    enum np_error error = np_key_signer(s->next_possession, &possession);
    if (error == NP_OK && s->next_user_verification)
        error = np_key_signer(s->next_user_verification, &user_verification);
    return error == NP_OK ? np_account_set_next_keys(account, &possession, &user_verification) : error;
}

bool soft_phone_store_account(struct soft_phone_store *s, struct np_account **ret)
{
    struct np_account_options options = {
        .organisation = s->organisation,
        .user = s->user,
        .device_id = s->device_id,
        .generation = s->generation,
        .host = s->host,
        .port = s->port,
        .server_name = s->server_name,
        .pin_count = s->pin_count,
    };
    memcpy(options.pins, s->pins, sizeof s->pins);
    enum np_error error = np_key_signer(s->possession, &options.possession);
    if (error == NP_OK && s->user_verification)
        error = np_key_signer(s->user_verification, &options.user_verification);
    if (error == NP_OK)
        error = np_account_new(&options, ret);
    if (error == NP_OK && s->next_possession)
        error = set_next_keys(s, *ret);
    if (error != NP_OK)
        return fail(s, error, np_error_text(error));
    load_alerted(s, *ret);
    return true;
}

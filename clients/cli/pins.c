#include "cli/pins.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/pins_file.h"

struct pins {
    struct pins_file file;
    json_t *root;
};

/* The object of that name in @p of; made when it is missing. NULL when memory is out, or it is no object. */
static json_t *object_in(json_t *of, const char *name)
{
    json_t *object = json_object_get(of, name);
    if (!object && json_object_set_new(of, name, json_object()) == 0)
        object = json_object_get(of, name);
    return json_is_object(object) ? object : NULL;
}

static const char *text_in(const json_t *of, const char *name)
{
    return json_string_value(json_object_get(of, name));
}

/* @return false when the text is not UTF-8 or memory is out; jansson does not say which. */
static bool set_text(json_t *object, const char *name, const char *text)
{
    return json_object_set_new(object, name, json_string(text)) == 0;
}

/* Exactly @p len bytes in base64url. */
static enum err bytes_in(const json_t *of, const char *name, uint8_t *out, size_t len)
{
    size_t got = 0;
    const char *text = text_in(of, name);
    if (!text || base64url_decode(bytes_of(text), out, len, &got) != ERR_OK || got != len)
        return ERR_MALFORMED;
    return ERR_OK;
}

static bool set_bytes(json_t *object, const char *name, struct bytes in)
{
    char text[BASE64URL_SIZE(P256_PUBLIC_BYTES)];
    base64url_encode(in, text);
    return set_text(object, name, text);
}

static enum err parse_root(struct bytes content, json_t **ret)
{
    json_t *root = content.len
                       ? json_loadb((const char *)content.p, content.len, JSON_REJECT_DUPLICATES, NULL)
                       : json_object();
    bool whole = json_is_object(root) && object_in(root, "users") && object_in(root, "pending") &&
                 object_in(root, "challenges");
    if (!whole) {
        json_decref(root);
        return content.len ? ERR_MALFORMED : ERR_NOMEM;
    }
    *ret = root;
    return ERR_OK;
}

enum err pins_open(const char *path, struct pins **ret)
{
    struct pins *pins = calloc(1, sizeof *pins);
    struct buf content = {0};
    if (!pins)
        return ERR_NOMEM;
    enum err e = pins_file_open(path, &pins->file);
    if (e != ERR_OK) {
        free(pins);
        return e;
    }
    e = pins_file_read(&pins->file, PINS_MAX_BYTES, &content);
    if (e == ERR_OK)
        e = parse_root(buf_view(&content), &pins->root);
    buf_done(&content);
    if (e != ERR_OK) {
        int kept = errno;
        pins_close(pins);
        errno = kept;
        return e;
    }
    *ret = pins;
    return ERR_OK;
}

enum err pins_save(const struct pins *pins)
{
    char *text = json_dumps(pins->root, JSON_INDENT(2) | JSON_SORT_KEYS);
    if (!text)
        return ERR_NOMEM;
    enum err e = pins_file_replace(&pins->file, bytes_of(text));
    bytes_cleanse(text, strlen(text));
    free(text);
    return e;
}

void pins_close(struct pins *pins)
{
    if (!pins)
        return;
    pins_file_close(&pins->file);
    json_decref(pins->root);
    free(pins);
}

enum err pins_add_enrolment(struct pins *pins, const char *id, const char *user, const char *org,
                            const uint8_t s[ENROLMENT_SECRET_BYTES])
{
    json_t *pending = json_object_get(pins->root, "pending");
    if (json_object_get(pending, id))
        return ERR_EXISTS;
    json_t *entry = json_object();
    if (!entry)
        return ERR_NOMEM;
    bool filled = set_text(entry, "user", user) && set_text(entry, "org", org) &&
                  set_bytes(entry, "s", bytes_make(s, ENROLMENT_SECRET_BYTES));
    if (!filled) {
        json_decref(entry);
        return ERR_INVALID;
    }
    return json_object_set_new(pending, id, entry) == 0 ? ERR_OK : ERR_INVALID;
}

enum err pins_find_enrolment(const struct pins *pins, const char *id, struct pending_enrolment *ret)
{
    const json_t *entry = json_object_get(json_object_get(pins->root, "pending"), id);
    if (!entry)
        return ERR_NOT_FOUND;
    struct pending_enrolment found = {.user = text_in(entry, "user"), .org = text_in(entry, "org")};
    TRY(bytes_in(entry, "s", found.s, sizeof found.s));
    if (!found.user || !found.org)
        return ERR_MALFORMED;
    *ret = found;
    return ERR_OK;
}

void pins_drop_enrolment(struct pins *pins, const char *id)
{
    json_object_del(json_object_get(pins->root, "pending"), id);
}

/* Both keys as the file says, with thumbprints of our own making. */
static enum err read_device(const char *id, const char *org, const json_t *entry, struct pinned_device *ret)
{
    struct pinned_device device = {.device_id = id, .org = org};
    TRY(bytes_in(entry, "possession_key", device.possession_key, P256_PUBLIC_BYTES));
    TRY(bytes_in(entry, "user_verification_key", device.user_verification_key, P256_PUBLIC_BYTES));
    TRY(p256_thumbprint(device.possession_key, device.possession));
    TRY(p256_thumbprint(device.user_verification_key, device.user_verification));
    const char *possession = text_in(entry, "possession");
    const char *user_verification = text_in(entry, "user_verification");
    if (!org || !possession || strcmp(possession, device.possession) != 0 || !user_verification ||
        strcmp(user_verification, device.user_verification) != 0)
        return ERR_MALFORMED;
    *ret = device;
    return ERR_OK;
}

enum err pins_devices(const struct pins *pins, const char *user, struct pinned_device ret[PINS_DEVICES_MAX],
                      size_t *count)
{
    json_t *entry = json_object_get(json_object_get(pins->root, "users"), user);
    json_t *devices = json_object_get(entry, "devices");
    size_t found = 0;
    if (entry && !json_is_object(devices))
        return ERR_MALFORMED;
    if (json_object_size(devices) > PINS_DEVICES_MAX)
        return ERR_LIMIT;
    const char *id;
    json_t *device;
    json_object_foreach(devices, id, device)
        TRY(read_device(id, text_in(entry, "org"), device, &ret[found++]));
    *count = found;
    return ERR_OK;
}

static enum err make_device(const uint8_t possession_key[P256_PUBLIC_BYTES],
                            const uint8_t user_verification_key[P256_PUBLIC_BYTES], json_t **ret)
{
    struct bytes possession = bytes_make(possession_key, P256_PUBLIC_BYTES);
    struct bytes user_verification = bytes_make(user_verification_key, P256_PUBLIC_BYTES);
    char tp1[P256_THUMBPRINT_SIZE], tp2[P256_THUMBPRINT_SIZE];
    TRY(p256_check_public(possession));
    TRY(p256_check_public(user_verification));
    if (bytes_equal(possession, user_verification))
        return ERR_INVALID;
    TRY(p256_thumbprint(possession_key, tp1));
    TRY(p256_thumbprint(user_verification_key, tp2));
    json_t *device = json_object();
    bool filled = device && set_text(device, "possession", tp1) &&
                  set_bytes(device, "possession_key", possession) &&
                  set_text(device, "user_verification", tp2) &&
                  set_bytes(device, "user_verification_key", user_verification);
    if (!filled) {
        json_decref(device);
        return ERR_NOMEM;
    }
    *ret = device;
    return ERR_OK;
}

/* The user's entry, made when it is missing; ERR_EXISTS when it is of another organisation. */
static enum err user_entry(struct pins *pins, const char *user, const char *org, json_t **ret)
{
    json_t *entry = object_in(json_object_get(pins->root, "users"), user);
    if (!entry)
        return ERR_INVALID;
    const char *pinned = text_in(entry, "org");
    if (pinned && strcmp(pinned, org) != 0)
        return ERR_EXISTS;
    if (!set_text(entry, "org", org) || !object_in(entry, "devices"))
        return ERR_INVALID;
    *ret = entry;
    return ERR_OK;
}

enum err pins_add_device(struct pins *pins, const char *user, const char *org, const char *device_id,
                         const uint8_t possession_key[P256_PUBLIC_BYTES],
                         const uint8_t user_verification_key[P256_PUBLIC_BYTES])
{
    json_t *entry, *device;
    TRY(make_device(possession_key, user_verification_key, &device));
    enum err e = user_entry(pins, user, org, &entry);
    if (e != ERR_OK) {
        json_decref(device);
        return e;
    }
    json_t *devices = json_object_get(entry, "devices");
    json_t *pinned = json_object_get(devices, device_id);
    if (pinned) {
        e = json_equal(pinned, device) ? ERR_OK : ERR_EXISTS;
        json_decref(device);
        return e;
    }
    return json_object_set_new(devices, device_id, device) == 0 ? ERR_OK : ERR_INVALID;
}

enum err pins_replace_device(struct pins *pins, const char *user, const struct pinned_device *device)
{
    json_t *entry = json_object_get(json_object_get(pins->root, "users"), user), *keys;
    json_t *devices = json_object_get(entry, "devices");
    if (!json_object_get(devices, device->device_id))
        return ERR_NOT_FOUND;
    TRY(make_device(device->possession_key, device->user_verification_key, &keys));
    return json_object_set_new(devices, device->device_id, keys) == 0 ? ERR_OK : ERR_NOMEM;
}

enum err pins_add_challenge(struct pins *pins, const char *id, struct bytes request, const char *number)
{
    json_t *challenges = json_object_get(pins->root, "challenges");
    if (json_object_get(challenges, id))
        return ERR_OK;
    json_t *asked = json_loadb((const char *)request.p, request.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(asked)) {
        json_decref(asked);
        return ERR_MALFORMED;
    }
    json_t *entry = json_pack("{s:o, s:s}", "request", asked, "number", number);
    if (!entry)
        return ERR_INVALID;
    return json_object_set_new(challenges, id, entry) == 0 ? ERR_OK : ERR_INVALID;
}

enum err pins_find_challenge(const struct pins *pins, const char *id, char **request, const char **number)
{
    const json_t *entry = json_object_get(json_object_get(pins->root, "challenges"), id);
    const json_t *asked = json_object_get(entry, "request");
    if (!entry)
        return ERR_NOT_FOUND;
    if (!json_is_object(asked) || !text_in(entry, "number"))
        return ERR_MALFORMED;
    char *text = json_dumps(asked, JSON_COMPACT);
    if (!text)
        return ERR_NOMEM;
    *request = text;
    *number = text_in(entry, "number");
    return ERR_OK;
}

void pins_drop_challenge(struct pins *pins, const char *id)
{
    json_object_del(json_object_get(pins->root, "challenges"), id);
}

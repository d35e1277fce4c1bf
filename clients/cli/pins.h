/**
 * The pins file: what a portal remembers by itself, so that it need not believe the broker. A JSON object,
 * mode 0600:
 *
 *     {"users": {"ada": {"org": "nano", "devices": {"<device id>": {
 *          "possession": "<thumbprint>", "possession_key": "<base64url>",
 *          "user_verification": "<thumbprint>", "user_verification_key": "<base64url>"}}}},
 *      "pending": {"<enrolment id>": {"user": "ada", "org": "nano", "s": "<base64url>"}},
 *      "challenges": {"<challenge id>": {"request": {what CreateChallenge was asked, proto3 JSON}, "number":
 * "42"}}}
 *
 * Between pins_open() and pins_close() the file's directory is locked (flock), so that several nanopush at
 * once lose nothing: keep it short, and never wait for the broker in between.
 */
#ifndef NANOPUSH_CLI_PINS_H
#define NANOPUSH_CLI_PINS_H

#include "base/bytes.h"
#include "crypto/p256.h"

#define PINS_MAX_BYTES         (16 * 1024 * 1024)
#define PINS_DEVICES_MAX       100 /* of one user */
#define ENROLMENT_SECRET_BYTES 16

struct pins;

/** One phone of a user, as it was proven at enrolment. */
struct pinned_device {
    const char *device_id, *org; /* valid until the file's pins are changed or closed */
    uint8_t possession_key[P256_PUBLIC_BYTES];
    uint8_t user_verification_key[P256_PUBLIC_BYTES];
    char possession[P256_THUMBPRINT_SIZE]; /* computed from the keys, never believed */
    char user_verification[P256_THUMBPRINT_SIZE];
};

/** An enrolment that waits for its phone. */
struct pending_enrolment {
    const char *user, *org; /* valid as above */
    uint8_t s[ENROLMENT_SECRET_BYTES];
};

/**
 * Open, lock and read. A file that is not there is an empty one; nothing is written before pins_save().
 *
 * @param[out] ret  ended with pins_close().
 * @return ERR_OK; ERR_DENIED if group or others may read it; ERR_TOO_BIG above PINS_MAX_BYTES; ERR_MALFORMED
 * if it is no JSON object or one with duplicates; ERR_IO (errno says more); ERR_NOMEM.
 */
MUST_CHECK enum err pins_open(const char *path, struct pins **ret);

/**
 * Write what was changed: a new file of mode 0600, synced, then renamed over the old, so that a reader or a
 * crash finds the one or the other whole. @return ERR_OK; ERR_IO (errno says more; the old file is
 * untouched); ERR_NOMEM.
 */
MUST_CHECK enum err pins_save(const struct pins *pins);

/** Unlock and free; NULL is allowed. What was not saved is lost. */
void pins_close(struct pins *pins);

/** Remember an enrolment's s. @return ERR_OK; ERR_EXISTS; ERR_INVALID if a text is not UTF-8; ERR_NOMEM. */
MUST_CHECK enum err pins_add_enrolment(struct pins *pins, const char *id, const char *user, const char *org,
                                       const uint8_t s[ENROLMENT_SECRET_BYTES]);

/** @return ERR_OK; ERR_NOT_FOUND; ERR_MALFORMED if the entry is damaged. */
MUST_CHECK enum err pins_find_enrolment(const struct pins *pins, const char *id,
                                        struct pending_enrolment *ret);

/** Forget it; harmless when it is not there. */
void pins_drop_enrolment(struct pins *pins, const char *id);

/**
 * Pin a phone's keys, whose proof the caller has checked. The same keys again change nothing.
 *
 * @return ERR_OK; ERR_EXISTS if the device is pinned with other keys, or the user in another organisation;
 *         ERR_MALFORMED, ERR_INVALID if a key is no point on P-256, both are one, or a text is not UTF-8;
 * ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err pins_add_device(struct pins *pins, const char *user, const char *org,
                                    const char *device_id, const uint8_t possession_key[P256_PUBLIC_BYTES],
                                    const uint8_t user_verification_key[P256_PUBLIC_BYTES]);

/**
 * The phones of a user.
 *
 * @param[out] ret    room for PINS_DEVICES_MAX.
 * @param[out] count  how many; 0 for a user that is not known.
 * @return ERR_OK; ERR_MALFORMED if an entry is damaged or a thumbprint is not its key's; ERR_LIMIT above
 *         PINS_DEVICES_MAX; ERR_CRYPTO.
 */
MUST_CHECK enum err pins_devices(const struct pins *pins, const char *user,
                                 struct pinned_device ret[PINS_DEVICES_MAX], size_t *count);

/**
 * Pin other keys of a phone, whose rotation the caller has checked (rotation_check()). What pins_devices()
 * found stays valid.
 *
 * @return ERR_OK; ERR_NOT_FOUND if the device is not pinned; otherwise as pins_add_device().
 */
MUST_CHECK enum err pins_replace_device(struct pins *pins, const char *user,
                                        const struct pinned_device *device);

/**
 * Remember what was asked. A challenge that is there already stays as it is: an idempotent repeat is the same
 * question.
 *
 * @param request  CreateChallengeRequest in proto3 JSON.
 * @param number   what the portal shows to the person; empty in mode TAP.
 * @return ERR_OK; ERR_MALFORMED if @p request is no JSON object; ERR_INVALID if a text is not UTF-8;
 * ERR_NOMEM.
 */
MUST_CHECK enum err pins_add_challenge(struct pins *pins, const char *id, struct bytes request,
                                       const char *number);

/**
 * What was asked.
 *
 * @param[out] request  proto3 JSON, freed with free().
 * @param[out] number   valid until the pins are changed or closed.
 * @return ERR_OK; ERR_NOT_FOUND; ERR_MALFORMED if the entry is damaged; ERR_NOMEM.
 */
MUST_CHECK enum err pins_find_challenge(const struct pins *pins, const char *id, char **request,
                                        const char **number);

/** Forget it, so that its nonce is accepted once only; harmless when it is not there. */
void pins_drop_challenge(struct pins *pins, const char *id);

#endif

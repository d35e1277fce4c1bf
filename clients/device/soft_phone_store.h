/**
 * The soft phone's state directory; see soft_phone.h for its files. Each file is replaced as a whole or not
 * at all.
 */
#ifndef NANOPUSH_DEVICE_SOFT_PHONE_STORE_H
#define NANOPUSH_DEVICE_SOFT_PHONE_STORE_H

#include "nanopush_device.h"

struct soft_phone_store {
    int dir_fd;
    char enrolment_id[NP_ID_SIZE];
    char organisation[NP_ID_SIZE];
    char user[NP_USER_SIZE];
    char device_id[NP_ID_SIZE]; /* empty until the broker has answered the enrolment */
    uint32_t generation;
    char host[NP_HOST_SIZE];
    uint16_t port;
    char server_name[NP_HOST_SIZE];
    uint8_t pins[NP_PINS_MAX][NP_PIN_BYTES];
    size_t pin_count;
    uint32_t rotations; /* how often the keys were; names their files */
    struct np_key *possession;
    struct np_key *user_verification;      /* NULL without a passcode */
    struct np_key *next_possession;        /* of a rotation that is not known to be accepted; else NULL */
    struct np_key *next_user_verification; /* likewise; NULL without a passcode */
    enum np_error error;                   /* both after a function returned false */
    const char *why;                       /* static */
};

/** Open and lock the directory; @p create it where it is missing. @return false, with s->why, on failure. */
bool soft_phone_store_open(const char *state_dir, bool create, struct soft_phone_store *s);

/** Close, unlock, free the keys. Also after a failed open. */
void soft_phone_store_close(struct soft_phone_store *s);

/** Read account and keys. @return false with s->why; true with an empty enrolment_id where nothing is stored
 * yet. */
bool soft_phone_store_load(struct soft_phone_store *s, const char *passcode);

/** Store the account as it is in @p s. @return false with s->why. */
bool soft_phone_store_save_account(struct soft_phone_store *s);

/** Make two new keys and store them. @return false with s->why. */
bool soft_phone_store_make_keys(struct soft_phone_store *s, const char *passcode);

/** Make two keys for the next rotation and store them beside the present ones, unless they are there. @return
 * as above. */
bool soft_phone_store_make_next_keys(struct soft_phone_store *s, const char *passcode);

/**
 * The next keys are the present ones: what is stored changes from the one to the other at once, and the old
 * keys go. The account of soft_phone_store_account() has adopted them. @return false with s->why: the next
 * keys stay stored.
 */
bool soft_phone_store_adopt_next_keys(struct soft_phone_store *s, uint32_t generation);

/** Delete account and keys: the directory is ready for another enrolment. @return false with s->why. */
bool soft_phone_store_wipe(struct soft_phone_store *s);

/** The account as the library wants it; @p s must outlive it. @return false with s->why. */
bool soft_phone_store_account(struct soft_phone_store *s, struct np_account **ret);

/** Store what the next TLS handshake of the account is shortened by. @return false with s->why. */
bool soft_phone_store_save_session(struct soft_phone_store *s, const uint8_t *session, size_t len);

/**
 * Take out what was stored so: it is not there any more.
 * @param[out] session  NP_SESSION_BYTES_MAX bytes; the caller cleanses them.
 * @return how many bytes; 0 where there are none.
 */
size_t soft_phone_store_take_session(struct soft_phone_store *s, uint8_t *session);

/** Store which challenges have alerted. @return false with s->why. */
bool soft_phone_store_save_alerted(struct soft_phone_store *s, const struct np_account *account);

#endif

/**
 * A fleet: phones that were enrolled through the broker's real API, with the keys that they made, in a file beside the
 * broker's data directory, so that it can be used again as often as that Redis lives.
 */
#ifndef NANOPUSH_BENCH_FLEET_H
#define NANOPUSH_BENCH_FLEET_H

#include "base/id.h"
#include "crypto/digest.h"
#include "keys.h"

#define FLEET_NAME_SIZE       65
#define FLEET_CREDENTIAL_SIZE 256
#define FLEET_USER_SIZE       16

struct fleet_head {
    char magic[8];
    uint32_t count;
    char organisation[FLEET_NAME_SIZE];
    char portal[FLEET_NAME_SIZE];
    char credential[FLEET_CREDENTIAL_SIZE];
    uint8_t anchor[SHA256_BYTES]; /* what the phones pin */
};

struct fleet_phone {
    char device_id[ID_SIZE]; /* empty: not enrolled yet */
    uint32_t generation;
    struct key_pair possession, user_verification;
};

/** A view of the file; what is written to phones is in the file at once. */
struct fleet {
    struct fleet_head *head;
    struct fleet_phone *phones;
};

/**
 * Make the file and all keys of @p count phones, none of them enrolled.
 * @param credential  of the portal that enrols and asks: "<portal id>.<secret>".
 * @return ERR_OK; ERR_IO (errno; EEXIST: it is there); ERR_CRYPTO.
 */
MUST_CHECK enum err fleet_make(const char *path, uint32_t count, const char *organisation,
                               const char *credential, const uint8_t anchor[SHA256_BYTES]);

/** Open it. @return ERR_OK; ERR_IO (errno); ERR_INVALID: not a fleet. */
MUST_CHECK enum err fleet_open(const char *path, struct fleet *ret);

/** Name of the user whose phone is number @p index. */
void fleet_user(uint32_t index, char out[FLEET_USER_SIZE]);

#endif

/**
 * Ids of challenges, enrolments and devices: 128 bits in hex, "-", and the tag of the user that they belong to. The
 * tag is the hash tag of all of the user's keys in Redis, so an id finds its slot by itself (crypto/secret.h makes
 * tags; SECURITY: ids are names, not secrets).
 *
 *     7a0c...e1-5f3a9c...d2        32 + 1 + 20 characters
 */
#ifndef NANOPUSH_BASE_ID_H
#define NANOPUSH_BASE_ID_H

#include "base/bytes.h"

#define ID_RANDOM_BYTES 16
#define TAG_LEN         20
#define TAG_SIZE        (TAG_LEN + 1) /* NUL included */
#define ID_LEN          (ID_RANDOM_BYTES * 2 + 1 + TAG_LEN)
#define ID_SIZE         (ID_LEN + 1)

/** Write the id of @p bits under @p tag (TAG_LEN characters). */
void id_make(const uint8_t bits[ID_RANDOM_BYTES], const char *tag, char out[ID_SIZE]);

/** True if @p text has the form of an id: lower-case hex of the right lengths. Says nothing about existence. */
bool id_valid(struct bytes text);

/** An id as what is kept by the ten thousand: its bits, then its tag's. */
#define ID_BYTES     (ID_RANDOM_BYTES + ID_TAG_BYTES)
#define ID_TAG_BYTES (TAG_LEN / 2)

/** @return false, and @p out untouched, where @p text is no valid id. */
bool id_pack(struct bytes text, uint8_t out[ID_BYTES]);
void id_unpack(const uint8_t packed[ID_BYTES], char out[ID_SIZE]);

/** The tag inside a valid id; points into @p id. */
const char *id_tag(const char *id);

#endif

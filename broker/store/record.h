/**
 * Sealed records: what the broker writes to Redis and believes again only when the seal fits (SECURITY, "One cluster
 * secret"). The seal covers the place, so a record copied from one user, portal or field to another does not open.
 *
 *     record   mac[32] message                       place: key name "/" field
 *     device   head[38] mac[32] message              the mac covers head and message
 *              head: "1" state ("A" active) u32 generation SHA-256(possession key)      scripts may read the head
 */
#ifndef NANOPUSH_STORE_RECORD_H
#define NANOPUSH_STORE_RECORD_H

#include <protobuf-c/protobuf-c.h>

#include "base/buf.h"
#include "crypto/secret.h"
#include "store/key.h"
#include "store/record.pb-c.h"

#define DEVICE_HEAD_BYTES       38
#define DEVICE_HEAD_START_BYTES (6 + DEVICE_KEY_DIGEST_BYTES) /* as much as says which key it is */

/**
 * Seal a message for a place.
 * @param      field  a hash's field, or "" where the key is a plain string.
 * @param[out] ret    appended to.
 * @return ERR_OK; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err record_seal(const struct secret *secret, const struct key *key, const char *field,
                                const ProtobufCMessage *message, struct buf *ret);

/**
 * Open what record_seal() made.
 * @param[out] ret  freed with protobuf_c_message_free_unpacked().
 * @return ERR_OK; ERR_MALFORMED; ERR_BAD_SIGNATURE; ERR_NOMEM; ERR_CRYPTO.
 */
MUST_CHECK enum err record_open(const struct secret *secret, const struct key *key, const char *field,
                                struct bytes value, const ProtobufCMessageDescriptor *type,
                                ProtobufCMessage **ret);

/** The head of an active device's value. @return ERR_OK; ERR_CRYPTO. */
MUST_CHECK enum err record_device_head(uint32_t generation, struct bytes possession_key,
                                       uint8_t head[DEVICE_HEAD_BYTES]);

/** The start of that head, which scripts compare where the key is known by its digest only. */
void record_device_head_start(uint32_t generation, const uint8_t key_digest[DEVICE_KEY_DIGEST_BYTES],
                              uint8_t start[DEVICE_HEAD_START_BYTES]);

/** As record_seal(), for an active device at its place under its user's tag. */
MUST_CHECK enum err record_seal_device(const struct secret *secret, const Record__Device *device,
                                       struct buf *ret);

/** As record_open(). ERR_BAD_SIGNATURE also where head and message do not say the same. */
MUST_CHECK enum err record_open_device(const struct secret *secret, const char *device_id, struct bytes value,
                                       Record__Device **ret);

#endif

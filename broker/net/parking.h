/**
 * Where one worker's connections are parked: once its handshake is done and its owner has taken what it needs of it, an
 * SSL object (14 KB) is replaced by keys and counters (136 bytes), struct parked.
 *
 *     OpenSSL --message callback------------------> park_notes (in the channel) --parking_take()--> parked
 *             --TLS13-KDF, or keylog callback-------'
 *
 * The two counters are the danger: one that is too low would use a nonce twice. They are counted from OpenSSL's message
 * callback, and believed only when they prove themselves, on that very connection, by opening the last record that
 * OpenSSL wrote and the last that it read. parking_self_test() tries the whole of it before the first connection.
 */
#ifndef NANOPUSH_NET_PARKING_H
#define NANOPUSH_NET_PARKING_H

#include <openssl/ssl.h>

#include "base/slab.h"
#include "net/parked.h"

/* Where the traffic secrets of a connection come from. */
enum parking_secrets {
    SECRETS_KDF,    /* our own TLS13-KDF, with keys and IVs: crypto/tls13_kdf.h */
    SECRETS_KEYLOG, /* OpenSSL's keylog callback, in hex; keys are derived once more */
};

struct parking_options {
    enum parking_secrets secrets;
    uint32_t records_per_key; /* our own key update, and the wish for the peer's, after so many records */
    uint32_t records_max;     /* of the peer, with one key; a peer that goes on is cut off */
    uint32_t update_s;        /* our own key update, with the first record after so many seconds */
};

/** By the KDF; 2^20 records, 2^24 records (RFC 8446, 5.5, allows 2^24.5 for AES-GCM), one hour. */
extern const struct parking_options parking_options_default;

struct parking {
    struct parking_options options;
    struct traffic_ciphers *ciphers;
    struct parking_shelf {
        struct slab slab;
        struct parking *parking;
        const struct traffic_suite *suite;
    } shelves[TRAFFIC_SUITE_COUNT];
    bool alarmed; /* a proof has failed once */
    void (*on_mismatch)(void *arg);
    void *arg;
};

/**
 * @param options      copied.
 * @param on_mismatch  called at the first proof that fails, for the operator to be told; may be NULL.
 * @return NULL when memory is out, or OpenSSL lacks a cipher or does not take our KDF.
 */
struct parking *parking_new(const struct parking_options *options, void (*on_mismatch)(void *arg), void *arg);

/** Nothing may be parked in it any more. NULL is allowed. */
void parking_free(struct parking *parking);

/**
 * Let the connections of @p ctx be parked here: takes its message callback, and its keylog callback if secrets are to
 * come from there. Before its first connection; with SECRETS_KDF the context was made with TLS13_KDF_PREFERRED.
 * @param padding  as parked_new(); OpenSSL pads the records of these connections alike.
 * @return ERR_OK; ERR_CRYPTO.
 */
MUST_CHECK enum err parking_attach(struct parking *parking, SSL_CTX *ctx, unsigned padding);

/** What is noted of a connection while it has an SSL object; in the channel, NULL where nothing is to be parked. */
struct park_notes;

/** Note from now on what @p ssl does. @return NULL unless its context is attached. */
struct park_notes *park_notes_new(SSL *ssl);

/** Cleanse and free; NULL is allowed. */
void park_notes_free(struct park_notes *notes);

/** Those of the parking that its context is attached to; the default ones for NULL. */
const struct parking_options *park_notes_options(const struct park_notes *notes);

/**
 * Around each call of OpenSSL for this connection that may make keys: what the KDF derives in between is this
 * connection's. NULL @p notes are allowed, then it is nobody's.
 */
void park_notes_begin(struct park_notes *notes);
void park_notes_end(void);

/** OpenSSL was given @p record, or has written @p out, whole records or parts of them. NULL @p notes are allowed. */
void park_notes_read(struct park_notes *notes, struct bytes record);
void park_notes_written(struct park_notes *notes, struct bytes out);

enum park_result {
    PARK_DONE,
    PARK_LATER,   /* not at a boundary: ask again after the next record */
    PARK_REFUSED, /* never: the counters do not prove themselves, or memory is out */
};

/**
 * Take a connection over from its SSL object, which is not used any more with PARK_DONE: the caller frees it, and sends
 * nothing that it may still write.
 * @param[out] ret  with PARK_DONE the connection, freed with parked_free(); untouched otherwise.
 */
enum park_result parking_take(struct park_notes *notes, SSL *ssl, struct parked **ret);

/**
 * Shake hands with OpenSSL itself, in memory, once with each suite, park, and go on: records, tickets before them, key
 * updates of both sides, the close. Some 20 ms.
 * @return ERR_OK; ERR_CRYPTO: do not park; ERR_NOMEM.
 */
MUST_CHECK enum err parking_self_test(struct parking *parking);

/**
 * parking_new() and parking_self_test(); where these fail with SECRETS_KDF, our KDF is unloaded and both are done again
 * with SECRETS_KEYLOG: the options of @p ret say which it is.
 * @return as parking_self_test().
 */
MUST_CHECK enum err parking_start(const struct parking_options *options, void (*on_mismatch)(void *arg),
                                  void *arg, struct parking **ret);

/** True if this version of OpenSSL is among those that parking was tested with: parking_version.def. */
bool parking_version_known(void);

#endif

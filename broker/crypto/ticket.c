#include "crypto/ticket.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "crypto/openssl_calls.h"

#define RING_SLOTS     4 /* three periods are in use; the fourth is being written meanwhile */
#define NAME_BYTES     16
#define CIPHER_BYTES   32 /* AES-256-CBC, as RFC 5077 has it */
#define MAC_BYTES      32 /* HMAC-SHA-256 */
#define IV_BYTES       16
#define OWN_CONTEXT_ID "nanopush/1 device" /* a ticket for it resumes on no other service */

/* The name is derived like the rest: it is how a server tells which key a ticket is under. */
struct ticket_key {
    uint8_t name[NAME_BYTES], cipher[CIPHER_BYTES], mac[MAC_BYTES];
};

/* period is 0 while key is being written: who sees the same other number before and after has read it whole. */
struct slot {
    _Atomic uint64_t period;
    struct ticket_key key;
};

struct ticket_ring {
    struct slot slots[RING_SLOTS];
};

/* Owned by the SSL_CTX, as its application data under enabled_index(). */
struct enabled {
    const struct ticket_ring *ring;
    int64_t (*now_unix_s)(void);
    EVP_CIPHER *cipher;
};

/* In each ticket: when the full handshake was that it descends from. */
struct origin {
    int64_t unix_s;
};

struct ticket_ring *ticket_ring_new(void)
{
    struct ticket_ring *ring =
        mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED)
        return NULL;
    madvise(ring, sizeof *ring, MADV_DONTDUMP);
    return ring;
}

void ticket_ring_free(struct ticket_ring *ring)
{
    if (ring)
        munmap(ring, sizeof *ring);
}

static uint64_t period_of(int64_t unix_s)
{
    return unix_s > 0 ? (uint64_t)unix_s / TICKET_PERIOD_S : 0;
}

enum err ticket_ring_turn(struct ticket_ring *ring, const struct secret *secret,
                          const uint8_t anchor[SHA256_BYTES], int64_t unix_s)
{
    uint64_t first = period_of(unix_s) - 1;
    for (uint64_t period = first; period < first + 3; period++) {
        struct slot *slot = &ring->slots[period % RING_SLOTS];
        uint8_t bytes[sizeof slot->key];
        if (atomic_load(&slot->period) == period)
            continue;
        TRY(secret_ticket_key(secret, period, anchor, bytes, sizeof bytes));
        atomic_store(&slot->period, 0);
        memcpy(&slot->key, bytes, sizeof bytes);
        atomic_store(&slot->period, period);
        bytes_cleanse(bytes, sizeof bytes);
    }
    return ERR_OK;
}

static bool read_key(const struct ticket_ring *ring, uint64_t period, struct ticket_key *ret)
{
    const struct slot *slot = &ring->slots[period % RING_SLOTS];
    if (atomic_load(&slot->period) != period)
        return false;
    *ret = slot->key;
    return atomic_load(&slot->period) == period;
}

static bool find_key(const struct enabled *enabled, const uint8_t name[NAME_BYTES], struct ticket_key *ret)
{
    uint64_t now = period_of(enabled->now_unix_s());
    for (uint64_t period = now - 1; period <= now + 1; period++)
        if (read_key(enabled->ring, period, ret) && memcmp(ret->name, name, NAME_BYTES) == 0)
            return true;
    return false;
}

static void free_enabled(void *parent, void *value, CRYPTO_EX_DATA *all, int index, long argl, void *argp)
{
    (void)parent, (void)all, (void)index, (void)argl, (void)argp;
    struct enabled *enabled = value;
    if (enabled)
        EVP_CIPHER_free(enabled->cipher);
    free(enabled);
}

static int enabled_index(void)
{
    static int index = -1;
    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_enabled);
    return index;
}

static bool set_up(const struct enabled *enabled, const struct ticket_key *key, uint8_t iv[IV_BYTES],
                   EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, MAC_BYTES),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex(cipher, enabled->cipher, NULL, key->cipher, iv, encrypt) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* What SSL_CTX_set_tlsext_ticket_key_evp_cb() asks for: 1 ready, 0 no key (full handshake, no ticket), -1 failed. */
static int choose_key(SSL *ssl, unsigned char name[NAME_BYTES], unsigned char iv[IV_BYTES],
                      EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt)
{
    const struct enabled *enabled = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), enabled_index());
    struct ticket_key key;
    bool found = encrypt ? read_key(enabled->ring, period_of(enabled->now_unix_s()), &key)
                         : find_key(enabled, name, &key);
    if (!found)
        return 0;
    if (encrypt)
        memcpy(name, key.name, NAME_BYTES);
    bool ready =
        (!encrypt || RAND_bytes(iv, IV_BYTES) == 1) && set_up(enabled, &key, iv, cipher, mac, encrypt);
    bytes_cleanse(&key, sizeof key);
    return ready ? 1 : -1;
}

/* A resumed session is a copy of the one in the ticket, its origin included. */
static int before_giving(SSL *ssl, void *arg)
{
    const struct enabled *enabled = arg;
    struct origin origin = {.unix_s = enabled->now_unix_s()};
    if (SSL_session_reused(ssl))
        return 1;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &origin, sizeof origin);
}

/* How they were found wanting is the ticket's business: what is not used is no error, but a full handshake. */
static SSL_TICKET_RETURN after_taking(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                      size_t name_len, SSL_TICKET_STATUS status, void *arg)
{
    const struct enabled *enabled = arg;
    struct origin origin;
    void *bytes = NULL;
    size_t len = 0;
    (void)ssl, (void)name, (void)name_len;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (SSL_SESSION_get0_ticket_appdata(session, &bytes, &len) != 1 || len != sizeof origin)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    memcpy(&origin, bytes, sizeof origin);
    return enabled->now_unix_s() - origin.unix_s < TICKET_DAY_S ? SSL_TICKET_RETURN_USE_RENEW
                                                                : SSL_TICKET_RETURN_IGNORE_RENEW;
}

enum err ticket_enable(SSL_CTX *ctx, const struct ticket_ring *ring, int64_t (*now_unix_s)(void))
{
    struct enabled *enabled = calloc(1, sizeof *enabled);
    if (!enabled)
        return ERR_NOMEM;
    enabled->ring = ring;
    enabled->now_unix_s = now_unix_s;
    enabled->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (!enabled->cipher || SSL_CTX_set_ex_data(ctx, enabled_index(), enabled) != 1) {
        EVP_CIPHER_free(enabled->cipher);
        free(enabled);
        return openssl_failed(ERR_CRYPTO);
    }
    bool done = SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, choose_key) == 1 &&
                SSL_CTX_set_session_ticket_cb(ctx, before_giving, after_taking, enabled) == 1 &&
                SSL_CTX_set_session_id_context(ctx, (const uint8_t *)OWN_CONTEXT_ID,
                                               sizeof OWN_CONTEXT_ID - 1) == 1 &&
                SSL_CTX_set_num_tickets(ctx, 1) == 1;
    SSL_CTX_set_timeout(ctx, TICKET_DAY_S); /* the life that clients are told */
    return done ? ERR_OK : openssl_failed(ERR_CRYPTO);
}

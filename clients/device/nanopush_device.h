/**
 * nanopush for app developers: the phone's end of a push approval.
 *
 * What it is: a library that speaks proto/nanopush/v1/device.proto over a socket that the app opened. It has
 * no event loop, no thread, no global state, no file and no clock of its own. What it is not: it draws
 * nothing and asks nobody; the person's decision comes from the app.
 *
 *      app                                      library                              broker
 *       |  np_connection_new(endpoint, fd)         |                                    |
 *       |  poll(fd, np_connection_want())          |                                    |
 *       |  np_connection_step(now) --------------> |  ------ TLS 1.3, pinned CA ------> |
 *       | <---------------------------- on_open    |                                    |
 *       |  np_connection_hello(account) ---------> |  ------ Hello -------------------> |
 *       | <------------------------- on_welcome    |  <----- Welcome ------------------ |
 *       | <----------------------- on_challenge    |  <----- ChallengePush, Ack ------> |
 *       |  np_seen(), np_answer(approve) --------> |  ------ Answer, each 2 s --------> |
 *       | <------------------------ on_resolved    |  <----- Resolved ----------------- |
 *       |  np_rotate(), np_unlock(), np_remove() > |  ------ Rotate, each 2 s --------> |
 *       | <------------------------ on_accepted    |  <----- Accepted ----------------- |
 *
 * An app needs three steps. Enrol once: np_enrolment_uri_parse(), two keys, a connection,
 * np_connection_enrol() from on_open, np_account_new() from on_enrolled. Connect: a connection to
 * np_account_endpoint(), np_connection_hello() from on_open; when it closes, wait for np_backoff_ms() and
 * connect anew. Answer: show what on_challenge brings, then np_answer(). example.c is a whole program.
 * Later on the person may give the phone new keys, lift a lock, or take the phone off the account.
 *
 * Conventions
 *   - Text is UTF-8 and NUL-terminated. What a callback is handed lives until the callback returns.
 *   - Time is an argument: now_mono_ms, in milliseconds, of a clock that never goes back and runs on while
 * the phone sleeps (CLOCK_BOOTTIME). The phone's wall clock plays no part in a challenge: the broker's is
 * estimated. (The validity dates of the broker's certificate are checked against the wall clock, as TLS does
 * everywhere.)
 *   - Callbacks run inside np_connection_step() and nowhere else, and may call every function here but
 *     np_connection_step(), np_connection_free() and np_account_free().
 *   - An object is used by one thread at a time, a connection and its accounts together.
 *   - Link with OpenSSL 3 (libcrypto, libssl) and protobuf-c.
 */
#ifndef NANOPUSH_DEVICE_H
#define NANOPUSH_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NP_MUST_CHECK __attribute__((warn_unused_result))

/* Errors ---------------------------------------------------------------------------------------------- */

/** Row: name, text. From MALFORMED to REMOVED the broker uses them too (Error.Code of device.proto). */
#define NP_ERRORS(ROW)                                                                                       \
    ROW(OK, "ok")                                                                                            \
    ROW(MALFORMED, "malformed")                                                                              \
    ROW(UNSUPPORTED, "of a kind, or with a value, that is not known")                                        \
    ROW(DENIED, "unknown device or wrong signature: do not repeat unchanged")                                \
    ROW(NOT_FOUND, "no such challenge, enrolment or account")                                                \
    ROW(EXPIRED, "too late")                                                                                 \
    ROW(USED, "the enrolment was used with other keys and is void")                                          \
    ROW(INVALID, "a value is not allowed")                                                                   \
    ROW(LIMIT, "a limit is reached")                                                                         \
    ROW(UNAVAILABLE, "try again, nothing was lost")                                                          \
    ROW(EXISTS, "the user has a phone already, and this enrolment may not add another")                      \
    ROW(REMOVED, "the account is no more: forget it")                                                        \
    ROW(NOMEM, "out of memory")                                                                              \
    ROW(TOO_BIG, "larger than its limit")                                                                    \
    ROW(BAD_STATE, "not possible now")                                                                       \
    ROW(NO_KEY, "the key that must sign is not usable now")                                                  \
    ROW(CRYPTO, "the cryptographic library, or a signer, failed")                                            \
    ROW(UNTRUSTED, "the peer is not the broker of the enrolment")                                            \
    ROW(TIMEOUT, "nothing was heard for too long")                                                           \
    ROW(CLOSED, "closed by the broker")                                                                      \
    ROW(IO, "the network failed")

#define NP_ERROR_ROW(name, text) NP_##name,
enum np_error { NP_ERRORS(NP_ERROR_ROW) NP_ERROR_COUNT };
#undef NP_ERROR_ROW

/** The error's text, for a log. Never NULL, static. */
const char *np_error_text(enum np_error error);

/* Limits ---------------------------------------------------------------------------------------------- */

#define NP_KEY_BYTES          65    /* a P-256 public key, uncompressed point */
#define NP_SIGNATURE_BYTES    64    /* ECDSA, raw r||s */
#define NP_PIN_BYTES          32    /* SHA-256 of a SubjectPublicKeyInfo */
#define NP_PINS_MAX           2     /* the present trust anchor and the next */
#define NP_ID_SIZE            128   /* longest id of anything, NUL included */
#define NP_HOST_SIZE          254   /* longest host name, NUL included */
#define NP_USER_SIZE          257   /* longest user name, NUL included */
#define NP_NAME_SIZE          65    /* longest name of a phone, NUL included */
#define NP_URI_BYTES_MAX      2048  /* longest enrolment URI */
#define NP_FRAME_BYTES_MAX    16384 /* largest message of either side */
#define NP_ACCOUNTS_MAX       16    /* accounts on one connection */
#define NP_CHALLENGES_MAX     32    /* challenges that wait in one account */
#define NP_ALERTED_MAX        32    /* alerts that an account remembers */
#define NP_DISPLAY_FIELDS_MAX 16    /* further lines of a challenge */
#define NP_OPTIONS_MAX        8     /* numbers to choose from */
#define NP_CODE_DIGITS_MAX    8     /* digits of the code of a challenge */
#define NP_SESSION_BYTES_MAX  8192  /* longest of what a TLS session is resumed by */

/* Keys ------------------------------------------------------------------------------------------------ */

/**
 * Sign @p message: ECDSA over P-256 with SHA-256 (the signer hashes), raw r||s, both numbers 32 bytes
 * big-endian.
 *
 * May block, for instance while the person shows face or finger. A platform's key store (Secure Enclave,
 * Android Keystore) usually returns DER, which the app converts.
 *
 * @param      message   what to sign; not kept.
 * @param      len       bytes at @p message.
 * @param[out] signature NP_SIGNATURE_BYTES.
 * @param      arg       as in struct np_signer.
 * @return NP_OK; anything else is handed through to the caller of the function that needed the signature.
 */
typedef enum np_error np_sign_fn(const uint8_t *message, size_t len, uint8_t *signature, void *arg);

/** A private key that somebody else keeps. @p sign NULL: the key is not usable now (its public part still
 * counts). */
struct np_signer {
    uint8_t public_key[NP_KEY_BYTES];
    np_sign_fn *sign;
    void *arg; /* outlives what the signer is given to */
};

/** A P-256 private key in memory, for platforms without a key store, and for tests. */
struct np_key;

/** Make a new key. @return NP_OK with *ret to be freed by np_key_free(); NP_CRYPTO. */
NP_MUST_CHECK enum np_error np_key_generate(struct np_key **ret);

/** Cleanse and free; NULL is fine. */
void np_key_free(struct np_key *key);

/**
 * The signer that signs with @p key, which must outlive what the signer is given to.
 * @return NP_OK; NP_CRYPTO.
 */
NP_MUST_CHECK enum np_error np_key_signer(struct np_key *key, struct np_signer *ret);

/**
 * PKCS #8 PEM of @p key.
 * @param      passphrase encrypts it (PBES2, scrypt N 16384, AES-256-CBC); NULL: in the clear.
 * @param[out] ret        NUL-terminated text, to be freed by np_text_free().
 * @return NP_OK; NP_NOMEM; NP_CRYPTO.
 */
NP_MUST_CHECK enum np_error np_key_to_pem(const struct np_key *key, const char *passphrase, char **ret);

/**
 * Read what np_key_to_pem() wrote.
 * @param pem        text; not kept.
 * @param passphrase NULL only for one in the clear.
 * @return NP_OK with *ret to be freed by np_key_free(); NP_MALFORMED: not PEM, or not with this passphrase;
 * NP_INVALID: another kind of key; NP_NOMEM; NP_CRYPTO.
 */
NP_MUST_CHECK enum np_error np_key_from_pem(const char *pem, const char *passphrase, struct np_key **ret);

/** Cleanse and free a text that this library made; NULL is fine. */
void np_text_free(char *text);

/** RFC 7638 thumbprint, SHA-256, 43 characters of base64url and NUL. @return NP_OK; NP_CRYPTO. */
NP_MUST_CHECK enum np_error np_key_thumbprint(const uint8_t public_key[NP_KEY_BYTES], char ret[44]);

/* Where to connect ------------------------------------------------------------------------------------ */

/** A view: the texts belong to the account or URI that it was taken from. */
struct np_endpoint {
    const char
        *host; /* name, IPv4 or IPv6 address without brackets: for the app, which resolves and connects */
    uint16_t port;
    const char *server_name;             /* what the certificate must bear: a DNS name or an address */
    const uint8_t (*pins)[NP_PIN_BYTES]; /* one of them is the key of the CA that issued the certificate */
    size_t pin_count;                    /* 1 to NP_PINS_MAX */
};

/* Enrolment ------------------------------------------------------------------------------------------- */

/** What a QR code says; see proto/nanopush/v1/enrolment.proto. The token and the secret are worth a phone. */
struct np_enrolment_uri {
    char host[NP_HOST_SIZE];
    uint16_t port;
    char server_name[NP_HOST_SIZE];
    char organisation[NP_ID_SIZE];
    char user[NP_USER_SIZE];
    char enrolment_id[NP_ID_SIZE];
    uint8_t token[16];
    uint8_t pin[NP_PIN_BYTES];
    bool has_secret; /* the portal brought its own secret, that the broker never sees */
    uint8_t secret[16];
};

/**
 * Parse an enrolment URI strictly: exactly the parameters h n o u e t p and v=1, each once, in any order;
 * nothing else; optionally the fragment s=SECRET. Percent-encoding as in RFC 3986; "+" is a plus sign.
 *
 * @param      text NUL-terminated; not kept.
 * @param[out] ret  cleanse with np_enrolment_uri_cleanse() after use.
 * @return NP_OK; NP_TOO_BIG above NP_URI_BYTES_MAX; NP_UNSUPPORTED: another v; NP_MALFORMED: anything else,
 * also a value that is empty, too long, not UTF-8 or has control characters.
 */
NP_MUST_CHECK enum np_error np_enrolment_uri_parse(const char *text, struct np_enrolment_uri *ret);

/** Overwrite with zeros. */
void np_enrolment_uri_cleanse(struct np_enrolment_uri *uri);

/** Where the URI says to connect; @p ret is a view of @p uri. */
void np_enrolment_uri_endpoint(const struct np_enrolment_uri *uri, struct np_endpoint *ret);

/** Values as in common.proto, message Platform. */
enum np_platform { NP_PLATFORM_IOS = 1, NP_PLATFORM_ANDROID = 2, NP_PLATFORM_OTHER = 3 };

/** What the broker answered. All of it is checked against the URI. */
struct np_enrolled {
    bool waiting; /* not done yet: the code is to be confirmed, or an old phone of the user to approve */
    const char *organisation;
    const char *organisation_name; /* to show */
    const char *user;
    const char *device_id; /* while waiting it may be empty */
    uint32_t generation;
    const char *code; /* while waiting: the person types it into the portal; empty where none is asked */
    const char
        *number; /* while an old phone is asked: the person types it in there; else empty. Show it large */
};

/* Accounts -------------------------------------------------------------------------------------------- */

/** One user's enrolment on this phone: what an app stores, and hands to np_account_new() at each start. */
struct np_account_options {
    const char *organisation;
    const char *user;
    const char *device_id;
    uint32_t generation;
    const char *host;
    uint16_t port;
    const char *server_name;
    uint8_t pins[NP_PINS_MAX][NP_PIN_BYTES];
    size_t pin_count;
    struct np_signer possession;        /* must be usable always: signs Hello and refusals */
    struct np_signer user_verification; /* behind face, finger or passcode: signs approvals */
};

/** An account holds the challenges that wait and the answers not yet confirmed; they outlive a connection. */
struct np_account;

/**
 * @param options copied; the signers' @p arg must outlive the account.
 * @return NP_OK with *ret to be freed by np_account_free(); NP_INVALID: a text missing, too long or not clean
 * UTF-8, no pin, no possession signer; NP_NOMEM.
 */
NP_MUST_CHECK enum np_error np_account_new(const struct np_account_options *options, struct np_account **ret);

/** Free; NULL is fine. Not before the connection that it said Hello on is freed. */
void np_account_free(struct np_account *account);

/** What the account is made of now, as a view. The pins change when a Welcome announces a new trust anchor.
 */
const struct np_account_options *np_account_options(const struct np_account *account);

/** Where to connect for this account; @p ret is a view, valid until the next np_connection_step(). */
void np_account_endpoint(const struct np_account *account, struct np_endpoint *ret);

/**
 * Say that the user-verification key became usable, or with @p sign NULL that it is not now (phone locked).
 * The public key stays as it is.
 */
void np_account_set_user_verification(struct np_account *account, np_sign_fn *sign, void *arg);

/**
 * Keys of a rotation whose outcome is not known, because the phone was stopped before on_accepted: where the
 * broker denies the present keys, the account says Hello with these and the next generation, and when that is
 * welcome they are the present ones and on_accepted says so. Call it before np_connection_hello().
 *
 * @param possession        must be usable.
 * @param user_verification its public key counts also where it is not usable now.
 * @return NP_OK; NP_BAD_STATE: the account is on a connection; NP_NO_KEY: @p possession; NP_INVALID: both are
 * one key, or @p possession is the present one.
 */
NP_MUST_CHECK enum np_error np_account_set_next_keys(struct np_account *account,
                                                     const struct np_signer *possession,
                                                     const struct np_signer *user_verification);

/**
 * Until when the user's push is locked, by the broker's clock in milliseconds since 1970; 0: it is not. As of
 * the last Welcome and what the broker said since. A time that is over by np_account_broker_unix_ms() locks
 * nothing.
 */
int64_t np_account_locked_until_unix_ms(const struct np_account *account);

/** (challenge, attempt) pairs that have alerted the person already. */
struct np_alerted {
    char challenge_id[NP_ID_SIZE];
    uint32_t attempt;
};

/**
 * The alerts that the account remembers, oldest first. An app that stores them after each on_challenge with
 * alert set alerts once, even when it is killed and started again.
 * @return how many were written to @p ret, at most NP_ALERTED_MAX.
 */
size_t np_account_alerted(const struct np_account *account, struct np_alerted ret[NP_ALERTED_MAX]);

/** Put back what np_account_alerted() gave. Of more than NP_ALERTED_MAX the last ones count. */
void np_account_set_alerted(struct np_account *account, const struct np_alerted *alerted, size_t count);

/** The broker's time as estimated, in milliseconds since 1970; 0 before the first Welcome. */
int64_t np_account_broker_unix_ms(const struct np_account *account, int64_t now_mono_ms);

/* Challenges ------------------------------------------------------------------------------------------ */

/** Values as in common.proto, message Mode. */
enum np_mode {
    NP_MODE_TAP = 1,    /* "Yes, it's me" or "No, it's not me" */
    NP_MODE_CHOOSE = 2, /* one of np_challenge.options stands on the portal's page: the person picks it */
    NP_MODE_CODE = 3,   /* the person types the number that stands on the portal's page */
};

/** Values as in common.proto, message UserVerification. */
enum np_user_verification {
    NP_USER_VERIFICATION_REQUIRED = 1,
    NP_USER_VERIFICATION_PREFERRED = 2,
    NP_USER_VERIFICATION_NOT_ASKED = 3,
};

/** Values as in common.proto, message Occasion. */
enum np_occasion {
    NP_OCCASION_UNSPECIFIED = 0,
    NP_OCCASION_SIGN_IN = 1,
    NP_OCCASION_NEW_PHONE = 2, /* approving adds another phone to the account: say so, and that the number to
                                  type in stands on the new phone */
};

/** Values as in common.proto, message ChallengeState. */
enum np_challenge_state {
    NP_CHALLENGE_UNKNOWN = 0, /* over, and the broker did not say how */
    NP_CHALLENGE_APPROVED = 2,
    NP_CHALLENGE_DENIED = 3,
    NP_CHALLENGE_REPORTED = 4,
    NP_CHALLENGE_FAILED = 5, /* a wrong number was entered */
    NP_CHALLENGE_EXPIRED = 6,
    NP_CHALLENGE_CANCELLED = 7,
    NP_CHALLENGE_SUPERSEDED = 8, /* a newer one of the same portal took its place */
};

struct np_display_field {
    const char *label;
    const char *value;
};

/**
 * A sign-in to decide about. Show every text that is not empty: the person's signature covers all of them.
 * They are checked to be UTF-8 without control and bidirectional formatting characters.
 */
struct np_challenge {
    struct np_account *account;
    const char *id;
    uint32_t attempt;
    bool alert; /* ring, or show the notification: true only the first time that (id, attempt) is met */
    bool other_sign_in;    /* say before all else: "Another sign-in is under way. If you did not start
                           both, say No." */
    const char *portal_id; /* for a log; show portal */
    const char *organisation;
    const char *portal;
    const char *user;
    const char *application; /* what is signed in to */
    const char *address;     /* the browser's network address and where that is */
    const char *place;
    const char *browser;
    const char *operating_system;
    const char *message;
    enum np_occasion occasion;
    const struct np_display_field *fields; /* further lines, in order */
    size_t field_count;
    enum np_mode mode;
    enum np_user_verification user_verification;
    const char *const *options; /* mode CHOOSE: what to offer */
    size_t option_count;
    int64_t expire_unix_s; /* by the broker's clock */
    int64_t seconds_left;  /* by the broker's clock as estimated now; may be negative */
    bool answered;         /* np_answer() was called for it before; the answer is on its way */
};

enum np_decision {
    NP_APPROVE, /* "Yes, it's me" */
    NP_DENY,    /* "No" */
    NP_NOT_ME,  /* "No, it's not me": somebody else knows the password */
};

/**
 * Say that the person has the challenge on the screen. Sent with the next np_connection_step().
 * @return NP_OK; NP_NOT_FOUND: @p challenge_id does not wait in @p account.
 */
NP_MUST_CHECK enum np_error np_seen(struct np_account *account, const char *challenge_id, uint32_t attempt);

/**
 * Sign the person's decision, and keep sending it until the broker confirms it with on_resolved: with the
 * next np_connection_step() after, every 2 s, and on each new connection. Call np_connection_want() again
 * after it.
 *
 * An approval is signed by the user-verification key; where that is PREFERRED and has no usable signer, or is
 * NOT_ASKED, by the possession key. A refusal is signed by the possession key. The signer runs inside this
 * call.
 *
 * @param challenge_id from on_challenge.
 * @param code         for an approval in mode CHOOSE the option picked, in mode CODE the digits entered; else
 * NULL.
 * @param now_mono_ms  now.
 * @return NP_OK; NP_NOT_FOUND: no such challenge waits; NP_BAD_STATE: answered already; NP_EXPIRED: by the
 * broker's time as estimated; NP_INVALID: @p code missing, not of the options, not 1 to NP_CODE_DIGITS_MAX
 * digits, or not NULL where none belongs; NP_NO_KEY: the key that must sign is not usable now; NP_NOMEM;
 * NP_CRYPTO; what the signer returned. After an error the challenge waits as before.
 */
NP_MUST_CHECK enum np_error np_answer(struct np_account *account, const char *challenge_id,
                                      enum np_decision decision, const char *code, int64_t now_mono_ms);

/* Connections ----------------------------------------------------------------------------------------- */

struct np_connection;

/** What an account did to itself. Values as in device.proto, message Accepted. */
enum np_act {
    NP_ACT_ROTATED = 1,  /* the account has the new keys and generation: store them now */
    NP_ACT_UNLOCKED = 2, /* push is not locked any more */
    NP_ACT_REMOVED = 3,  /* the phone is off the account: take its challenges off the screen, forget it */
};

/** Values as in device.proto, message Notice. */
enum np_notice_kind {
    NP_NOTICE_PHONE_ADDED = 1,
    NP_NOTICE_PHONE_REMOVED = 2,
    NP_NOTICE_LOCKED = 3, /* somebody was denied or reported too often; np_unlock() lifts it */
    NP_NOTICE_UNLOCKED = 4,
};

/** Something that the account's owner should be told. */
struct np_notice {
    struct np_account *account;
    enum np_notice_kind kind;
    const char *phone_name; /* PHONE_*: the other phone's; empty where it is not fit to be shown */
    int64_t until_unix_ms;  /* LOCKED: by the broker's clock */
};

/** Values as in device.proto, message GoAway. */
enum np_go_away {
    NP_GO_AWAY_UNSPECIFIED = 0,
    NP_GO_AWAY_DRAINING = 1,   /* the broker goes; come back, to another */
    NP_GO_AWAY_TAKEN_OVER = 2, /* another connection of the same device took over */
    NP_GO_AWAY_IDLE = 3,
    NP_GO_AWAY_OVERLOADED =
        4, /* in place of on_welcome: too many phones; come back in the time that it says */
    NP_GO_AWAY_NO_ACCOUNT = 5, /* the last account was removed: come back only where another is left */
    NP_GO_AWAY_RENEW = 6,      /* the connection is a day old: come back, with new keys */
};

struct np_welcome {
    struct np_account *account;
    uint32_t heartbeat_ms;
    uint32_t pending_count; /* so many challenges wait; an on_challenge follows for each */
    bool pins_changed;      /* the account has a new pin: store np_account_options() */
};

/** Each may be NULL. The connection comes first, what new() was given as @p arg last. */
struct np_callbacks {
    /** TLS is up, and the peer is the broker of the endpoint: say Hello or Enrol within 10 s. */
    void (*on_open)(struct np_connection *c, void *arg);
    void (*on_welcome)(struct np_connection *c, const struct np_welcome *welcome, void *arg);
    /**
     * The phone is enrolled: np_account_new(), and np_connection_hello(). With @p enrolled->waiting it is not
     * yet, so show its code, or, for the old phone that is asked, its number; that comes once on a connection,
     * again only with another code or number.
     */
    void (*on_enrolled)(struct np_connection *c, const struct np_enrolled *enrolled, void *arg);
    /** Once for each push: again, with alert false, when the broker repeats it after a lost connection. */
    void (*on_challenge)(struct np_connection *c, const struct np_challenge *challenge, void *arg);
    /**
     * The challenge is over: take it off the screen. @p by_this_phone: its own answer decided. State UNKNOWN:
     * the broker was not heard until 5 s after its end, or does not know it any more.
     */
    void (*on_resolved)(struct np_connection *c, struct np_account *account, const char *challenge_id,
                        enum np_challenge_state state, bool by_this_phone, void *arg);
    /** np_rotate(), np_unlock() or np_remove() took effect. After REMOVED the account hears nothing more. */
    void (*on_accepted)(struct np_connection *c, struct np_account *account, enum np_act act, void *arg);
    void (*on_notice)(struct np_connection *c, const struct np_notice *notice, void *arg);
    /**
     * What went wrong without ending the connection: an Error of the broker, or a challenge that cannot be
     * shown (NP_UNSUPPORTED, NP_INVALID, NP_MALFORMED, NP_LIMIT) and so cannot be approved here. @p subject:
     * the device, challenge or enrolment id, or empty. @p text: for the developer's log, never for a person.
     * DENIED about a device: it is not, or no more, enrolled. REMOVED: it was taken off the account just now, by
     * an administrator or from another phone: it and its challenges are off the connection, forget it. INVALID about a challenge: its answer was
     * dropped. About a device that rotates, unlocks or removes: that is dropped, but for UNAVAILABLE.
     */
    void (*on_error)(struct np_connection *c, enum np_error error, const char *subject, const char *text,
                     void *arg);
    /**
     * What shortens the next handshake of @p account, see np_connection_resume(): store it in place of the one before.
     * Up to NP_SESSION_BYTES_MAX bytes, and a secret like a key: who has it can pass for the broker to this phone for a day,
     * and read that connection, though not sign anything. Once a connection, mostly. Without this callback there is none.
     */
    void (*on_session)(struct np_connection *c, struct np_account *account, const uint8_t *session,
                       size_t len, void *arg);
    /** The connection closes by itself after it. Come back in np_backoff_ms(attempt, return_after_ms). */
    void (*on_go_away)(struct np_connection *c, enum np_go_away reason, uint32_t return_after_ms, void *arg);
    /**
     * The last callback, once. The socket is not used any more: close it, and free the connection after
     * np_connection_step() returned. @p why: NP_OK after np_connection_bye() or GoAway; NP_CLOSED; NP_IO;
     * NP_TIMEOUT; NP_UNTRUSTED: not the broker of the endpoint; NP_MALFORMED, NP_TOO_BIG: the broker broke
     * the protocol; NP_LIMIT: the broker does not read; NP_NOMEM; NP_CRYPTO. @p text: for a log.
     */
    void (*on_closed)(struct np_connection *c, enum np_error why, const char *text, void *arg);
};

/**
 * Begin TLS on a socket. Nothing is sent before the first np_connection_step().
 *
 * The peer's chain must hold a CA certificate whose key is a pin and that issued the server certificate
 * directly; that certificate, and no other root, is trusted. TLS 1.3 and ALPN "nanopush/1" only. Sessions
 * are resumed where the app keeps them: np_connection_resume().
 *
 * @param endpoint    copied; host and port are not used.
 * @param callbacks   copied.
 * @param fd          non-blocking stream socket, connected or connecting; the app closes it after on_closed.
 * @param now_mono_ms now; the handshake has 15 s from here.
 * @return NP_OK with *ret to be freed by np_connection_free(); NP_INVALID: no pin or no server name;
 * NP_NOMEM; NP_CRYPTO.
 */
NP_MUST_CHECK enum np_error np_connection_new(const struct np_endpoint *endpoint,
                                              const struct np_callbacks *callbacks, void *arg, int fd,
                                              int64_t now_mono_ms, struct np_connection **ret);

/**
 * Shorten the handshake by what on_session gave for @p account, right after np_connection_new(). Optional. Each is used
 * once: delete what is stored before this call, so that two connections cannot be told to be of one phone by it.
 *
 * A resumed handshake shows no certificate. What was stored says under which pin, name and account the full one was made,
 * and it is offered only where they are still the ones of this connection. Hello is said as ever: it makes nobody known.
 * Where the broker does not take it, and where this call fails, the handshake is a full one. Nobody enrols on a connection
 * that was resumed.
 *
 * @param session not kept.
 * @return NP_OK; NP_BAD_STATE: after the first step; NP_INVALID: made for another account or server name, or under a pin
 * that is none of the endpoint's; NP_MALFORMED; NP_NOMEM.
 */
NP_MUST_CHECK enum np_error np_connection_resume(struct np_connection *c, const struct np_account *account,
                                                 const uint8_t *session, size_t len);

/** Free at once, without a callback or a word to the broker; NULL is fine. Its accounts may join another
 * connection. */
void np_connection_free(struct np_connection *c);

/**
 * What the connection waits for. Ask before each poll(): the answer changes with every call of another
 * function.
 * @param[out] read        call np_connection_step() when the socket is readable,
 * @param[out] write       when it is writable,
 * @param[out] deadline_mono_ms or at this time, whichever comes first; INT64_MAX: at no time.
 */
void np_connection_want(const struct np_connection *c, bool *read, bool *write, int64_t *deadline_mono_ms);

/**
 * Do what can be done now without blocking: handshake, read and handle messages, repeat answers, ping, write.
 * Harmless when there is nothing to do. Handles at most 64 KiB of messages in one call, and then asks to be
 * called at once.
 */
void np_connection_step(struct np_connection *c, int64_t now_mono_ms);

/**
 * Make this a connection of @p account too, signed by its possession key; on_welcome follows, or on_error
 * with NP_DENIED. An account is on one connection at a time.
 * @return NP_OK; NP_BAD_STATE: before on_open, after the end, or the account is on a connection; NP_LIMIT:
 * there are NP_ACCOUNTS_MAX; NP_INVALID: the account's pins and server name are not this connection's;
 * NP_NO_KEY; NP_NOMEM; what the signer returned.
 */
NP_MUST_CHECK enum np_error np_connection_hello(struct np_connection *c, struct np_account *account);

/**
 * Say that the code of @p uri was scanned: right from on_open, before the person is asked anything and keys are made. The
 * portal's page goes on to its next step. Then there is a minute for np_connection_enrol(). A broker that does not know
 * it answers UNSUPPORTED about nothing, which does no harm.
 * @return NP_OK; NP_BAD_STATE: before on_open, or after the end; NP_INVALID: @p uri is not for this connection; NP_LIMIT;
 * NP_NOMEM.
 */
NP_MUST_CHECK enum np_error np_connection_scan(struct np_connection *c, const struct np_enrolment_uri *uri);

/**
 * Use the token of @p uri: make the two keys of @p possession and @p user_verification those of a new device.
 * on_enrolled follows, or on_error with the enrolment's id. Where it says that the enrolment waits, it is
 * asked for again every 2 s, and on_enrolled follows again when it is done. After a lost connection repeat it
 * on a new one with the same keys, so store them before: other keys make the enrolment void.
 *
 * @param uri               copied in part; the connection's endpoint is that of the URI.
 * @param name              the phone's, "Ada's phone", 1 to 64 bytes of clean UTF-8.
 * @param possession        both usable, two different keys; used in this call only.
 * @return NP_OK; NP_BAD_STATE: before on_open, after the end, on a resumed connection, or an enrolment is under way; NP_INVALID: @p
 * name, keys or pin; NP_NO_KEY; NP_NOMEM; NP_CRYPTO; what a signer returned.
 */
NP_MUST_CHECK enum np_error np_connection_enrol(struct np_connection *c, const struct np_enrolment_uri *uri,
                                                const char *name, enum np_platform platform,
                                                const struct np_signer *possession,
                                                const struct np_signer *user_verification);

/* What an account does to itself. Each is signed inside the call, sent with the next np_connection_step(), and
   again every 2 s until on_accepted, on_error with the device's id, or the end of the connection: then call it
   again on the next one, after on_welcome. One at a time. */

/**
 * Give the account new keys, signed by its present user-verification key. Store the new ones before, beside
 * the present ones, and both until on_accepted: the broker may know the new ones before the phone hears of
 * it. When the connection or the phone is lost between, the account tries the present keys and then the new
 * ones (np_account_set_next_keys()); where the present ones are welcome call np_rotate() again, with the same
 * new keys.
 *
 * @param possession, user_verification copied, both usable; their @p arg outlives the account.
 * @return NP_OK; NP_BAD_STATE: not welcome on @p c yet, or another act is under way; NP_NO_KEY: a new key, or
 * the present user-verification key; NP_INVALID: a new key is a present one, or both are one; NP_NOMEM;
 * NP_CRYPTO; what the signer returned.
 */
NP_MUST_CHECK enum np_error np_rotate(struct np_connection *c, struct np_account *account,
                                      const struct np_signer *possession,
                                      const struct np_signer *user_verification, int64_t now_mono_ms);

/** Lift the lock of the user's push, signed by the user-verification key. @return as np_rotate(). */
NP_MUST_CHECK enum np_error np_unlock(struct np_connection *c, struct np_account *account,
                                      int64_t now_mono_ms);

/** Take this phone off the account, signed by the possession key. @return as np_rotate(). */
NP_MUST_CHECK enum np_error np_remove(struct np_connection *c, struct np_account *account,
                                      int64_t now_mono_ms);

/** Say Bye and close: on_closed follows within 2 s of steps. Harmless when closed. */
void np_connection_bye(struct np_connection *c);

/**
 * How long to wait before connecting anew: @p minimum_ms and a random time up to 1 s, doubling with each
 * failed attempt up to 5 minutes.
 * @param attempt    0 after a connection that had a Welcome, then 1, 2, ...
 * @param minimum_ms what the last GoAway asked; else 0.
 */
int64_t np_backoff_ms(unsigned attempt, uint32_t minimum_ms);

#endif

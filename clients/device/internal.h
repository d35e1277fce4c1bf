/**
 * What the parts of this library know of each other. Not installed.
 *
 *    account.c  what waits and what was answered          connection.c  time, states, callbacks
 *    act.c      new keys, unlock, remove                   receive.c     messages of the broker
 *    statement.c  what is signed                           frame.c       bytes <-> messages
 *    display.c  what may be shown                          tls.c         OpenSSL: bytes <-> socket
 *    keys.c  OpenSSL: keys and digests                     session.c     what is kept to resume TLS by
 */
#ifndef NANOPUSH_DEVICE_INTERNAL_H
#define NANOPUSH_DEVICE_INTERNAL_H

#include "encode.h"
#include "nanopush/v1/device.pb-c.h"

#define SHA256_BYTES    32
#define EXPORTER_BYTES  32
#define THUMBPRINT_SIZE 44 /* 43 characters and NUL */
#define UNIX_MS_MAX                                                                                          \
    253402300799000 /* the end of the year 9999: later times are refused, so sums stay in range */

/* keys.c ---------------------------------------------------------------------------------------------- */

NP_MUST_CHECK enum np_error np_sha256(const void *p, size_t len, uint8_t ret[SHA256_BYTES]);
NP_MUST_CHECK enum np_error np_hmac_sha256(const void *key, size_t key_len, const void *p, size_t len,
                                           uint8_t ret[SHA256_BYTES]);

/* statement.c ----------------------------------------------------------------------------------------- */

/** Capabilities of Hello and Enrol: CHOOSE and CODE. */
#define NP_CAPABILITIES 3u

/** What Hello signs: device.proto, message Hello. Errors as in np_buf.error. */
NP_MUST_CHECK enum np_error np_hello_input(const uint8_t exporter[EXPORTER_BYTES],
                                           const struct np_account_options *who,
                                           const uint8_t pin[NP_PIN_BYTES], struct np_buf *ret);

/** What both keys sign in Enrol: device.proto, message Enrol. */
NP_MUST_CHECK enum np_error np_enrol_input(const uint8_t exporter[EXPORTER_BYTES],
                                           const struct np_enrolment_uri *uri,
                                           const char tp1[THUMBPRINT_SIZE], const char tp2[THUMBPRINT_SIZE],
                                           struct np_buf *ret);

/** The portal's proof: enrolment.proto, EnrolledDevice.proof. @p uri has a secret. */
NP_MUST_CHECK enum np_error np_enrol_proof(const struct np_enrolment_uri *uri,
                                           const char tp1[THUMBPRINT_SIZE], const char tp2[THUMBPRINT_SIZE],
                                           uint8_t ret[SHA256_BYTES]);

/** What an answer says, beside what the account says. Views. */
struct np_statement {
    const Nanopush__V1__ChallengePush *push;
    enum np_decision decision;
    const char *code; /* NULL: no claim */
    int64_t issued_unix_s;
};

/**
 * The compact JWS of challenge.proto, message Answer.
 * @param[out] ret appended to; without NUL.
 * @return NP_OK; NP_NOMEM; NP_CRYPTO; what the signer returned.
 */
NP_MUST_CHECK enum np_error np_statement_sign(const struct np_account_options *who,
                                              const struct np_statement *statement,
                                              const struct np_signer *signer, struct np_buf *ret);

/** What a Rotate, Unlock or Remove says, beside what the account says. Views. */
struct np_act_statement {
    enum np_act act;
    int64_t issued_unix_s;
    const uint8_t *exporter;                                          /* UNLOCKED, REMOVED */
    const struct np_signer *next_possession, *next_user_verification; /* ROTATED */
};

/** The compact JWS of device.proto, messages Rotate, Unlock and Remove. As np_statement_sign(). */
NP_MUST_CHECK enum np_error np_act_sign(const struct np_account_options *who,
                                        const struct np_act_statement *statement,
                                        const struct np_signer *signer, struct np_buf *ret);

/* display.c ------------------------------------------------------------------------------------------- */

/**
 * Parse what is to be shown. Only the one serialisation that protobuf-c itself makes of it is accepted, so
 * nothing of the signed bytes is hidden from the person: no unknown field, no field twice, no NUL inside a
 * text.
 * @param[out] ret   freed by nanopush__v1__display__free_unpacked(..., NULL).
 * @return NP_OK; NP_MALFORMED; NP_UNSUPPORTED: a field or enum value that is not known; NP_INVALID: a text
 * that cannot be shown, or more than NP_DISPLAY_FIELDS_MAX fields.
 */
NP_MUST_CHECK enum np_error np_display_parse(const uint8_t *p, size_t len, Nanopush__V1__Display **ret);

/** True if @p code is 1 to NP_CODE_DIGITS_MAX decimal digits. */
bool np_code_fits(const char *code);

/** Check the other fields of a push. @return as np_display_parse(). */
NP_MUST_CHECK enum np_error np_push_check(const Nanopush__V1__ChallengePush *push);

/* account.c ------------------------------------------------------------------------------------------- */

#define ANSWER_REPEAT_MS 2000
#define EXPIRY_GRACE_MS  5000

/** A challenge that waits. */
struct np_waiting {
    Nanopush__V1__ChallengePush *push; /* owned; never replaced: what was shown first is what is signed */
    Nanopush__V1__Display *display;    /* owned; parsed from push->display */
    uint32_t seen_attempt;
    bool seen_due;        /* Seen is to be sent */
    char *jws;            /* owned; the answer, or NULL */
    int64_t send_mono_ms; /* when to send the answer (again) */
};

struct np_account {
    struct np_account_options options; /* texts are owned */
    struct np_signer next_possession, next_user_verification;
    bool has_next;        /* a rotation to the next keys is under way, or its outcome is not known */
    bool hello_with_next; /* the present keys were denied: Hello says the next ones */
    enum np_act act;      /* with act_jws: what is under way */
    char *act_jws;        /* owned; NULL: nothing is */
    int64_t act_mono_ms;  /* when to send it (again) */
    int64_t locked_until_unix_ms;
    struct np_waiting waiting[NP_CHALLENGES_MAX];
    size_t waiting_count;
    struct np_alerted alerted[NP_ALERTED_MAX]; /* oldest first */
    size_t alerted_count;
    bool has_clock;
    int64_t clock_offset_ms; /* broker's unix_ms - mono_ms */
    struct np_connection *connection;
    bool welcomed; /* on that connection */
};

/** The challenge of that id, or NULL. */
struct np_waiting *np_account_find(struct np_account *account, const char *challenge_id);

/**
 * Take in a push. The account owns @p push and @p display from here on, also on error and repetition.
 * @param[out] ret what waits now.
 * @return NP_OK; NP_LIMIT; NP_INVALID: a challenge of that id waits, and says something else.
 */
NP_MUST_CHECK enum np_error np_account_add(struct np_account *account, Nanopush__V1__ChallengePush *push,
                                           Nanopush__V1__Display *display, struct np_waiting **ret);

/** Free it and forget it; the pointers of all others become invalid. */
void np_account_remove(struct np_account *account, struct np_waiting *waiting);

/** Forget the answer: the person may give another. */
void np_waiting_drop_answer(struct np_waiting *waiting);

/** True the first time; remembered. */
bool np_account_alert(struct np_account *account, const char *challenge_id, uint32_t attempt);

/** Learn from a message of the broker what time it is there. @p fresh: forget what was believed before. */
void np_account_set_clock(struct np_account *account, uint64_t broker_unix_ms, int64_t now_mono_ms,
                          bool fresh);

/** Pin the next trust anchor beside @p used, the one of this connection. @return true if the pins changed. */
bool np_account_pin_next(struct np_account *account, const uint8_t used[NP_PIN_BYTES],
                         const uint8_t next[NP_PIN_BYTES]);

/* act.c ----------------------------------------------------------------------------------------------- */

#define ACT_REPEAT_MS 2000

/** Nothing is under way any more. */
void np_act_drop(struct np_account *account);

/** The broker has the next keys: they are the present ones. */
void np_account_adopt_next_keys(struct np_account *account);

/** What an Error about the device means; REMOVED takes it off the connection. @return true if it is not for the app: another Hello was sent
 * instead. */
bool np_account_settle_error(struct np_connection *c, struct np_account *account, enum np_error error);

/** What was under way took effect. */
void np_act_accepted(struct np_connection *c, struct np_account *account, const Nanopush__V1__Accepted *in);

/* hello.c --------------------------------------------------------------------------------------------- */

#define ENROL_REPEAT_MS 2000

/** Send the Hello of an account that is on the connection. @return as np_connection_hello(). */
NP_MUST_CHECK enum np_error np_hello_send(struct np_connection *c, const struct np_account *account);

/** No enrolment is under way any more. */
void np_enrol_done(struct np_connection *c);

/* frame.c --------------------------------------------------------------------------------------------- */

/** One frame on its way in. Zero-initialised waits for the first byte of a frame. */
struct np_frame {
    uint32_t prefix; /* value so far */
    unsigned prefix_len;
    uint8_t *payload; /* NULL until the prefix is complete */
    size_t payload_len, received;
};

/**
 * Take bytes from the front of @p in until one frame is whole or @p in is used up.
 * @param[out] used  bytes taken.
 * @param[out] whole payload and payload_len are complete; then call np_frame_done().
 * @return NP_OK; NP_TOO_BIG before any allocation; NP_MALFORMED: a length not in its shortest form; NP_NOMEM.
 */
NP_MUST_CHECK enum np_error np_frame_take(struct np_frame *frame, const uint8_t *in, size_t len, size_t *used,
                                          bool *whole);

/** Free the payload; ready for the next frame. */
void np_frame_done(struct np_frame *frame);

/** Append a message as a frame. @return NP_OK; NP_NOMEM; NP_TOO_BIG; @p out is unchanged on error. */
NP_MUST_CHECK enum np_error np_frame_add(struct np_buf *out, const Nanopush__V1__PhoneMessage *message);

/* tls.c ----------------------------------------------------------------------------------------------- */

struct np_tls;

enum np_tls_result { NP_TLS_OK, NP_TLS_WAIT_READ, NP_TLS_WAIT_WRITE, NP_TLS_FAILED };

/** @p sessions: the app wants those that the peer gives. */
NP_MUST_CHECK enum np_error np_tls_new(const struct np_endpoint *endpoint, bool sessions, int fd,
                                       struct np_tls **ret);
void np_tls_free(struct np_tls *tls);
enum np_tls_result np_tls_handshake(struct np_tls *tls);
enum np_tls_result np_tls_read(struct np_tls *tls, uint8_t *p, size_t size, size_t *len);
enum np_tls_result np_tls_write(struct np_tls *tls, const uint8_t *p, size_t len, size_t *written);

/**
 * Offer a session, before the handshake begins; the peer may refuse it, and a full handshake follows.
 * @param pin the one that np_tls_export() gave on the session's connection.
 * @param der from np_tls_session(); not kept.
 * @return NP_OK; NP_BAD_STATE: too late; NP_INVALID: @p pin is not pinned any more; NP_MALFORMED: @p der.
 */
NP_MUST_CHECK enum np_error np_tls_resume(struct np_tls *tls, const uint8_t pin[NP_PIN_BYTES],
                                          const uint8_t *der, size_t len);

/** After the handshake: a session was resumed. */
bool np_tls_resumed(const struct np_tls *tls);

/** The last session that the peer gave, a secret; empty where there is none new. The caller ends it with np_buf_done(). */
struct np_buf *np_tls_session(struct np_tls *tls);

/** Tell the peer that nothing follows, if the socket takes it now. */
void np_tls_close(struct np_tls *tls);

/** Why a call returned NP_TLS_FAILED; @p text is static or belongs to @p tls. */
enum np_error np_tls_failure(const struct np_tls *tls, const char **text);

/** After the handshake: the channel binding, and the pin that the peer's chain ended in, then or when the session began. */
NP_MUST_CHECK enum np_error np_tls_export(struct np_tls *tls, uint8_t exporter[EXPORTER_BYTES],
                                          uint8_t pin[NP_PIN_BYTES]);

/* session.c ------------------------------------------------------------------------------------------- */

/** Hand the app what the peer gave to resume by, for the first account that is welcome; until one is, it is kept. */
void np_session_offer(struct np_connection *c);

/* connection.c ---------------------------------------------------------------------------------------- */

enum np_connection_state {
    NP_STATE_HANDSHAKE,
    NP_STATE_OPEN,
    NP_STATE_CLOSING, /* writes what is left, Bye last */
    NP_STATE_CLOSED,
};

struct np_connection {
    enum np_connection_state state;
    struct np_tls *tls; /* NULL in tests of what comes behind TLS */
    struct np_callbacks callbacks;
    void *arg;
    char server_name[NP_HOST_SIZE];
    uint8_t exporter[EXPORTER_BYTES];
    uint8_t pin[NP_PIN_BYTES]; /* the one of the endpoint's that the peer has */
    struct np_account *accounts[NP_ACCOUNTS_MAX];
    size_t account_count;
    bool resumed; /* no certificate was shown: nobody enrols here */
    bool enrolling;
    struct np_enrolment_uri enrolment; /* without its token and secret; valid while enrolling */
    struct np_buf enrol;               /* its Enrol, a frame; has the token */
    bool enrol_waits;                  /* the app was told so, of this code and this number: */
    char enrol_code[NP_CODE_DIGITS_MAX + 1], enrol_number[NP_CODE_DIGITS_MAX + 1];
    int64_t enrol_mono_ms; /* when to send it again, while it waits */
    struct np_frame frame;
    struct np_buf out;
    bool io_wants_read, io_wants_write; /* what OpenSSL waits for, beyond what the state says */
    bool more;                          /* the last step left bytes unread */
    int64_t now_mono_ms;                /* of the last step */
    int64_t heard_mono_ms;              /* when a byte last came */
    int64_t ping_mono_ms;               /* when to ping; INT64_MAX before the first Welcome */
    uint32_t heartbeat_ms;              /* 0 before the first Welcome */
    int64_t deadline_mono_ms;           /* of HANDSHAKE and CLOSING */
    enum np_error closed_error;
    char closed_text[128];
    bool closed_told; /* on_closed was called */
};

/** End the connection: on_closed follows at the end of the step. The first reason counts. */
void np_connection_fail(struct np_connection *c, enum np_error error, const char *text);

/** Queue a message. @return NP_OK; NP_NOMEM; NP_TOO_BIG; NP_LIMIT: the broker does not read. */
NP_MUST_CHECK enum np_error np_connection_send(struct np_connection *c,
                                               const Nanopush__V1__PhoneMessage *message);

/** Queue a message that is a frame already. @return as np_connection_send(). */
NP_MUST_CHECK enum np_error np_connection_send_frame(struct np_connection *c, const struct np_buf *frame);

/** When the next ping is due: a heartbeat from @p now_mono_ms, up to a tenth sooner. */
void np_connection_plan_ping(struct np_connection *c, int64_t now_mono_ms);

/* receive.c ------------------------------------------------------------------------------------------- */

#define HEARTBEAT_MIN_MS 1000u
#define HEARTBEAT_MAX_MS 3600000u

/** Bytes of the broker, after TLS: calls back for each message; a broken one ends the connection. */
void np_connection_receive(struct np_connection *c, const uint8_t *p, size_t len);

/** The challenge is over: forget it, and say so. */
void np_connection_resolve(struct np_connection *c, struct np_account *account, struct np_waiting *waiting,
                           enum np_challenge_state state, bool by_this_phone);

#endif

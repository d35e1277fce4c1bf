/**
 * One connection of a phone. Internal to device/.
 *
 *     HANDSHAKE --on_open--> GREETING --Hello or Enrol accepted--> ATTACHED --> CLOSING --> freed
 *                               '--- hello_timeout_ms, silence, protocol error, drain ---^
 *
 * An account stands in its session before its attach is sent, so that no push can fall between: what comes while it is
 * attaching makes it read again.
 *
 * A phone is idle nearly all of its life, and thousands are at once. So what a session or account needs only while
 * something is under way hangs off a pointer that is NULL at rest, and there is no timer: sweep.c looks at every session
 * in turn.
 *
 *     connection number = serial << CONNECTION_PLACE_BITS | place in server.sessions      no table to look it up in
 */
#ifndef NANOPUSH_DEVICE_SESSION_H
#define NANOPUSH_DEVICE_SESSION_H

#include "base/id.h"
#include "base/slab.h"
#include "crypto/inputs.h"
#include "crypto/p256.h"
#include "device/server.h"
#include "domain/challenge.h"
#include "domain/device.h"
#include "domain/enrolment.h"
#include "nanopush/v1/device.pb-c.h"
#include "net/address_count.h"
#include "net/stream.h"

#define ACCOUNTS_MAX   16 /* of one connection */
#define OPERATIONS_MAX 8  /* of what one phone asked for, under way */
#define REPORTS_MAX    8  /* Acks and Seens under way, at which a session is not read on */
#define STRIKES_MAX                                                                                          \
    3 /* refused Hellos and Enrols of an attached connection; before that the first one closes */
#define MESSAGES_PER_TURN     32
#define ENROL_WAIT_MS         60000 /* a connection that waits for a confirmation lives so long without Hello */
#define CONNECTION_PLACE_BITS 16
#define OVERLOADED_RETURN_MS  60000 /* phones that are too many come back within so much */

struct device_server {
    struct domain *domain;
    SSL_CTX *tls;
    struct device_options options;
    struct stream_limits limits;
    const struct accepted_handlers *handlers;
    void *arg;
    struct address_counts unauthenticated;
    struct slab session_slab, account_slab;
    struct session **sessions; /* by place; NULL where free */
    uint16_t *free_places;     /* the first free_count of them are */
    unsigned place_count, free_count;
    size_t session_count, attached_count;
    uint64_t last_serial;
    int64_t start_mono_ms;       /* device_server_now() counts from here */
    char inboxes[2][INBOX_SIZE]; /* the one that attaches name now, at inbox_at, and the one before */
    unsigned inbox_at;
    struct timer renew, drain, sweep;
    unsigned renew_at, drain_at, sweep_at; /* places */
    bool renew_again;
    unsigned drain_per_tick;
};

enum session_state { SESSION_HANDSHAKE, SESSION_GREETING, SESSION_ATTACHED, SESSION_CLOSING };

/** What a connection needs until it has said who it is. */
struct greeting {
    struct timer deadline; /* of GREETING */
    int64_t accept_mono_us;
    struct address_key from;
};

struct session {
    struct device_server *server;
    struct stream *stream;
    uint64_t connection; /* for presence and logs; unique in this process's life */
    struct account *accounts;
    struct operation *operations;
    struct greeting *greeting; /* NULL once attached */
    uint32_t heard_ds;         /* see device_server_now() */
    uint32_t end_ds;           /* then it is asked to come back anew */
    uint16_t heartbeat_s;      /* what Welcome says */
    uint8_t state;             /* enum session_state */
    uint8_t strikes;
    uint8_t account_count;
    uint8_t report_count; /* of the operations */
    bool resumed; /* by a ticket: no certificate was shown on this connection, so nobody enrols on it */
    bool held; /* a message waits in the stream for its account, or for what is under way, see must_wait() */
    uint8_t channel_binding[CHANNEL_BINDING_BYTES];
};

/** A device on a connection. */
struct account {
    struct account *next; /* of the same session */
    union {
        struct session *session; /* at rest; see account_session() */
        struct awake *awake;     /* else, and it has the session */
    };
    uint32_t generation;
    uint8_t id[ID_BYTES]; /* of the device, as id_pack() has it */
    uint8_t key_digest[DEVICE_KEY_DIGEST_BYTES];
    uint8_t capabilities : 2;
    bool at_rest : 1;
    bool attached : 1;
    bool stale : 1;       /* its presence is to name the inbox of now */
    uint8_t inbox_at : 1; /* which of server.inboxes its presence names */
};

/** What an account is doing: attaching, reading what is pending, having its record at hand for an answer. */
struct awake {
    struct session *session;
    char organisation[NAME_MAX_LEN + 1]; /* that Hello named; until it is attached */
    Record__Device *device;              /* as it is in Redis; NULL until that is known */
    uint32_t used_ds;
    struct store_call *attach;
    uint32_t attach_generation; /* of the keys that the attach under way names */
    bool read_pending;          /* what the attach finds pending is to be pushed */
    bool again;                 /* something came while it was attaching */
    bool failed;                /* the record could not be had */
    unsigned rotating;          /* its keys may be others in Redis by now than they are here */
    bool denied;                /* meanwhile: attach again when the rotation has ended */
    bool doubtful;              /* a rotation ended without an answer of Redis: it may have been done */
    char (*pending)[ID_SIZE];   /* challenges still to be read and pushed, one after the other */
    size_t pending_count, pending_next;
    struct store_call *pending_read;
    struct timer pending_retry;
};

/** Something that a session asked for; ends in silence with it. */
struct operation {
    struct operation *next;
    struct session *session;
    struct challenge_op *answer;
    struct enrolment_op *enrolment;
    struct device_op *act;
    bool report; /* of an Ack or Seen */
    char subject[ID_SIZE];
    char device_id[ID_SIZE];
};

/** @return NULL when memory is out, or the server or the share of @p peer full; @p fd is closed then. */
struct session *session_new(struct device_server *server, int fd, const struct address *peer);

/** Move to @p state, and log it. */
void session_set_state(struct session *session, enum session_state state);

/** Close in order; no more messages are read. */
void session_close(struct session *session, enum close_reason reason);

/** GoAway, then close. */
void session_go_away(struct session *session, Nanopush__V1__GoAway__Reason reason, unsigned return_after_ms,
                     enum close_reason why);

/** Write one message; a phone that does not read is cut off. */
void session_send(struct session *session, const Nanopush__V1__BrokerMessage *message);

/** Write bytes that are whole frames. @return false when they could not be queued; the session is closing then. */
bool session_write(struct session *session, struct bytes frames);

/** Write an Error; @p subject is what it is about, cut to an id's length, or "". */
void session_error(struct session *session, Nanopush__V1__Error__Code code, const char *subject,
                   const char *text);

/** Begin something; NULL, and Error LIMIT is written, when too much is under way. */
struct operation *operation_new(struct session *session, const char *subject, const char *device_id);

/** The same for an Ack or Seen, whatever is under way: REPORTS_MAX is seen to before. */
struct operation *operation_new_report(struct session *session, const char *subject, const char *device_id);
void operation_free(struct operation *operation);

/** A Hello or Enrol was refused: too many, or the first before any was accepted, and the connection ends. */
void session_strike(struct session *session);

/** GoAway, and the end, for a session that has lost its last account. */
void session_end_without_account(struct session *session);

/** Live @p ms without Hello, from now on. */
void session_extend_greeting(struct session *session, unsigned ms);

/** Read on, where a message waited for an attach or a report that has ended now. */
void session_release(struct session *session);

/** The session's attached account of @p device_id, or NULL. */
struct account *session_account(struct session *session, const char *device_id);

/**
 * An attached account of the session that the challenge @p id is for, or NULL: the first, or the next one @p after one. A
 * phone that was enrolled twice for one person has two.
 */
struct account *session_account_for(struct session *session, const char *id, struct account *after);

/**
 * True where a message about @p subject, a device or something of its user, has to wait: the device said Hello and is not
 * answered yet; or, with @p record, its record is needed and is being read.
 */
bool session_must_wait(struct session *session, const char *subject, bool record);

/** Give a new session its place and number. @return false when the server is full, or memory out. */
bool device_server_enter(struct device_server *server, struct session *session);
void device_server_leave(struct device_server *server, struct session *session);

/** Tell whoever accepted it that a connection has ended its handshake, or ended. */
void device_server_settled(struct device_server *server);
void device_server_closed(struct device_server *server);

/** The session of that number, or NULL. */
struct session *device_server_session(const struct device_server *server, uint64_t connection);

/** Tenths of a second since the server began, monotonic. */
uint32_t device_server_now(const struct device_server *server);

/** A random number in [0, @p limit), for times to come back at. */
unsigned device_server_random_below(unsigned limit);

/** Attach @p account again, among those that wait for it, a while from now. */
void device_server_renew_later(struct device_server *server, struct account *account);

/** The sweep's timer; it runs while there are sessions. */
void sweep_init(struct device_server *server);
void sweep_start(struct device_server *server);

/** @p hello is verified. @return NULL when memory is out. */
struct account *account_new(struct session *session, const Nanopush__V1__Hello *hello);

/** Take an account off its session, and its presence out of Redis unless it was taken. */
void account_free(struct account *account, bool clear_presence);

/**
 * The account of @p device_id on @p connection of this worker, or NULL. Both, since anybody may say Hello for a device
 * and stands here until the store has refused it.
 */
struct account *account_find(struct device_server *server, const char *device_id, uint64_t connection);

/** The session that the account stands in. */
struct session *account_session(const struct account *account);

/** The device's id as text. */
void account_id(const struct account *account, char out[ID_SIZE]);

/** Have the account's record at hand, for the answer or act that is to come. */
void account_wake(struct account *account);

/** The record; NULL where it is not at hand. */
const Record__Device *account_record(const struct account *account);

/** The device is now what @p next says: it was rotated. */
void account_rotated(struct account *account, const Record__Device *next);

/** Give up what an account holds that is quiet: at once where it has no record, that since a minute. */
void account_rest(struct account *account);

/** Write presence and read what is pending; while one is under way, once more after it. */
void account_attach(struct account *account);

/** A rotation, counted in awake.rotating, has ended with @p e: what was denied on its account is attached again. */
void account_rotation_ended(struct account *account, enum err e);

/** Push what @p attached says is pending, one after the other, in place of what was still to be pushed. */
void pending_take(struct account *account, const struct device_attached *attached);

/** Nothing more is read or pushed. */
void pending_done(struct awake *awake);

/* One handler a message; each a file. A message is valid during the call. */
void on_hello(struct session *session, const Nanopush__V1__Hello *hello);
void on_scan(struct session *session, const Nanopush__V1__Scan *scan);
void on_enrol(struct session *session, const Nanopush__V1__Enrol *enrol);
void on_ack(struct session *session, const Nanopush__V1__Ack *ack);
void on_seen(struct session *session, const Nanopush__V1__Seen *seen);
void on_answer(struct session *session, const Nanopush__V1__AnswerMessage *answer);
void on_rotate(struct session *session, const Nanopush__V1__Rotate *rotate);
void on_unlock(struct session *session, const Nanopush__V1__Unlock *unlock);
void on_remove(struct session *session, const Nanopush__V1__Remove *remove);

#endif

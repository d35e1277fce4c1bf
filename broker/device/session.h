/**
 * One connection of a phone. Internal to device/.
 *
 *     HANDSHAKE --on_open--> GREETING --Hello or Enrol accepted--> ATTACHED --> CLOSING --> freed
 *                               '--- hello_timeout_ms, silence, protocol error, drain ---^
 *
 * An account stands in the server's table before its attach is sent, so that no push can fall between: what comes
 * while it is attaching makes it read again.
 */
#ifndef NANOPUSH_DEVICE_SESSION_H
#define NANOPUSH_DEVICE_SESSION_H

#include "base/table.h"
#include "crypto/inputs.h"
#include "crypto/p256.h"
#include "device/server.h"
#include "domain/challenge.h"
#include "domain/device.h"
#include "domain/enrolment.h"
#include "nanopush/v1/device.pb-c.h"
#include "net/stream.h"

#define ACCOUNTS_MAX   16 /* of one connection */
#define OPERATIONS_MAX 8  /* of what one phone asked for, under way */
#define STRIKES_MAX                                                                                          \
    3 /* refused Hellos and Enrols of an attached connection; before that the first one closes */
#define MESSAGES_PER_TURN 32
#define ENROL_WAIT_MS     60000 /* a connection that waits for a confirmation lives so long without Hello */

struct device_server {
    struct domain *domain;
    SSL_CTX *tls;
    struct device_options options;
    struct stream_limits limits;
    void (*on_closed)(void *arg);
    void *arg;
    struct list sessions; /* struct session */
    size_t session_count;
    struct table accounts; /* struct account, by device id */
    uint64_t last_connection;
    struct list renewing; /* struct account: to be attached again */
    struct timer renew, drain;
    unsigned drain_per_tick;
};

enum session_state { SESSION_HANDSHAKE, SESSION_GREETING, SESSION_ATTACHED, SESSION_CLOSING };

struct session {
    struct list node; /* in server.sessions */
    struct device_server *server;
    struct stream *stream;
    enum session_state state;
    uint64_t connection; /* number of this connection in this process, for presence and logs */
    struct timer timer;  /* the deadline of GREETING, then of silence */
    int64_t heard_mono_ms;
    uint8_t channel_binding[CHANNEL_BINDING_BYTES];
    struct list accounts; /* struct account */
    size_t account_count;
    struct list operations; /* struct operation */
    size_t operation_count;
    unsigned strikes;
    bool resumed; /* by a ticket: no certificate was shown on this connection, so nobody enrols on it */
    bool held;    /* a message waits in the stream until its account is attached, see on_message() */
};

/** A device on a connection. */
struct account {
    struct table_node by_id; /* in server.accounts */
    struct list node;        /* in session.accounts */
    struct list renewing;    /* in server.renewing */
    struct session *session;
    char device_id[ID_SIZE];
    char organisation[NAME_MAX_LEN + 1];
    uint32_t generation, capabilities;
    uint8_t possession_key[P256_PUBLIC_BYTES];
    struct presence presence; /* what stands in Redis for it */
    char (*pending)[ID_SIZE]; /* challenges still to be read and pushed, one after the other */
    size_t pending_count, pending_next;
    struct store_call *pending_read;
    struct timer pending_retry;
    struct store_call *attach;
    uint32_t attach_generation; /* of the keys that the attach under way names */
    bool again;                 /* something came while it was attaching */
    unsigned rotating;          /* its keys may be others in Redis by now than they are here */
    bool denied;                /* meanwhile: attach again when the rotation has ended */
    bool doubtful;              /* a rotation ended without an answer of Redis: it may have been done */
    Record__Device *device;     /* NULL until it is attached */
};

/** Something that a session asked for; ends in silence with it. */
struct operation {
    struct list node; /* in session.operations */
    struct session *session;
    struct challenge_op *answer;
    struct enrolment_op *enrolment;
    struct device_op *act;
    char subject[ID_SIZE];
    char device_id[ID_SIZE];
};

struct session *session_new(struct device_server *server, int fd);

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
void operation_free(struct operation *operation);

/** A Hello or Enrol was refused: too many, or the first before any was accepted, and the connection ends. */
void session_strike(struct session *session);

/** GoAway, and the end, for a session that has lost its last account. */
void session_end_without_account(struct session *session);

/** Live @p ms without Hello, from now on. */
void session_extend_greeting(struct session *session, unsigned ms);

/** Take an account off its session, and its presence out of Redis unless it was taken. */
void account_free(struct account *account, bool clear_presence);

/**
 * The account of @p device_id on @p connection of this worker, or NULL. Both, since anybody may say Hello for a device
 * and stands in the table until the store has refused it.
 */
struct account *account_find(struct device_server *server, const char *device_id, uint64_t connection);

/** Read on, where a message waited for an attach that has ended now. */
void session_release(struct session *session);

/** The session's attached account of @p device_id, or NULL. */
struct account *session_account(struct session *session, const char *device_id);

/**
 * An attached account of the session that the challenge @p id is for, or NULL: the first, or the next one @p after one. A
 * phone that was enrolled twice for one person has two.
 */
struct account *session_account_for(struct session *session, const char *id, struct account *after);

/** Attach @p account again, among those that wait for it, a while from now. */
void device_server_renew_later(struct device_server *server, struct account *account);

/** Prepare the retry timer of a new account. */
void account_init_retry(struct account *account);

/** Write presence and read what is pending; while one is under way, once more after it. */
void account_attach(struct account *account);

/** A rotation, counted in account.rotating, has ended with @p e: what was denied on its account is attached again. */
void account_rotation_ended(struct account *account, enum err e);

/* One handler a message; each a file. A message is valid during the call. */
void on_hello(struct session *session, const Nanopush__V1__Hello *hello);
void on_enrol(struct session *session, const Nanopush__V1__Enrol *enrol);
void on_ack(struct session *session, const Nanopush__V1__Ack *ack);
void on_seen(struct session *session, const Nanopush__V1__Seen *seen);
void on_answer(struct session *session, const Nanopush__V1__AnswerMessage *answer);
void on_rotate(struct session *session, const Nanopush__V1__Rotate *rotate);
void on_unlock(struct session *session, const Nanopush__V1__Unlock *unlock);
void on_remove(struct session *session, const Nanopush__V1__Remove *remove);

#endif

/**
 * One run of the soft phone, and how its parts share it:
 *
 *    soft_phone.c         enrol and run: what the callbacks of the library mean
 *    soft_phone_act.c     new keys, unlock, remove
 *    soft_phone_loop.c    connect, poll, reconnect, signals, time
 *    soft_phone_decide.c  what to answer, and when
 */
#ifndef NANOPUSH_DEVICE_SOFT_PHONE_INTERNAL_H
#define NANOPUSH_DEVICE_SOFT_PHONE_INTERNAL_H

#include "soft_phone_print.h"
#include "soft_phone_store.h"

#define LINE_BYTES_MAX 512

/** A challenge on the screen. */
struct soft_phone_shown {
    char id[NP_ID_SIZE];
    enum np_mode mode;
    bool answered;
    int64_t answer_mono_ms; /* when to answer by itself; INT64_MAX: not */
};

struct soft_phone {
    const struct soft_phone_options *options;
    const struct np_callbacks *callbacks;
    struct np_endpoint endpoint;
    struct soft_phone_store store;
    struct np_account *account;                /* run */
    enum np_act act;                           /* run: what it is for; 0: to answer challenges */
    bool welcome;                              /* run: on this connection */
    bool remove_asked;                         /* run: the phone may be off the account already */
    const struct np_enrolment_uri *uri;        /* enrol */
    const char *name;                          /* enrol */
    enum np_platform platform;                 /* enrol */
    struct np_signer possession, verification; /* enrol */

    struct np_connection *connection; /* NULL between two */
    int fd;
    bool closed;      /* on_closed was called: free it after the step */
    unsigned attempt; /* failed ones in a row */
    uint32_t return_after_ms;
    int64_t dial_mono_ms; /* when to connect anew */
    int64_t end_mono_ms;  /* of max_seconds */
    int signal_fd;
    bool stopping; /* no new connection; ends when this one is closed */
    int exit_code;

    struct soft_phone_shown shown[NP_CHALLENGES_MAX]; /* oldest first */
    size_t shown_count;
    bool stdin_open;
    char line[LINE_BYTES_MAX]; /* of stdin, unfinished */
    size_t line_len;
};

int64_t soft_phone_now_mono_ms(void);

/** Work until soft_phone_stop(), a signal or end_mono_ms. Sets exit_code in the latter cases. */
void soft_phone_loop(struct soft_phone *phone);

/** The library's callback: plans to come back, unless stopping. */
void soft_phone_on_closed(struct np_connection *c, enum np_error why, const char *text, void *arg);

/** Say Bye and end the loop with @p exit_code. */
void soft_phone_stop(struct soft_phone *phone, int exit_code);

/** Begin what the person wants; on an error, which is said, nothing is under way. */
void soft_phone_begin(struct soft_phone *phone, enum np_act act);

/** After a Welcome: what it was started for, or a rotation that was cut off. */
void soft_phone_begin_due(struct soft_phone *phone);

/** The library's callbacks. */
void soft_phone_on_accepted(struct np_connection *c, struct np_account *account, enum np_act act, void *arg);
void soft_phone_on_notice(struct np_connection *c, const struct np_notice *notice, void *arg);

/** The phone is off the account: delete what is stored, and end. */
void soft_phone_removed(struct soft_phone *phone);

/** Say on @p phone's behalf what went wrong. @return SOFT_PHONE_FAILED. */
int soft_phone_complain(const struct soft_phone_options *options, enum np_error error, const char *text);

/** A challenge came, or came again. */
void soft_phone_show(struct soft_phone *phone, const struct np_challenge *challenge);

/** It is over. */
void soft_phone_forget(struct soft_phone *phone, const char *challenge_id);

/** Give the answers that are due. */
void soft_phone_answer_due(struct soft_phone *phone, int64_t now_mono_ms);

/** When the next is due; INT64_MAX: never. */
int64_t soft_phone_answer_deadline(const struct soft_phone *phone);

/** Read stdin, which is readable, and carry out the decisions in it. */
void soft_phone_read_decisions(struct soft_phone *phone);

#endif

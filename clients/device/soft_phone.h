/**
 * A phone without a phone, for the command line and for tests: enrols, and answers challenges from a
 * terminal, from lines of stdin, or by itself. Its state is a directory (mode 0700), one account in it, one
 * process at a time:
 *
 *   account                where to connect and who it is, text
 *   possession.pem         in the clear, mode 0600; after N rotations possession-N.pem
 *   user-verification.pem  encrypted with the passcode; after N rotations user-verification-N.pem
 *   session                what the next TLS handshake is shortened by, used once
 *   alerted                which challenges have alerted already
 *
 * The keys of the next rotation stand beside the present ones until the broker has accepted them.
 */
#ifndef NANOPUSH_DEVICE_SOFT_PHONE_H
#define NANOPUSH_DEVICE_SOFT_PHONE_H

#include <stdbool.h>

enum soft_phone_answer {
    SOFT_PHONE_ASK,
    SOFT_PHONE_APPROVE,
    SOFT_PHONE_DENY,
    SOFT_PHONE_NOT_ME,
    SOFT_PHONE_IGNORE, /* shows, and never answers */
};

struct soft_phone_options {
    const char *state_dir; /* made where it is missing; its parent exists */
    const char *passcode;  /* of 4 characters or more; NULL: the user-verification key is not usable */
    enum soft_phone_answer answer;
    const char *code; /* what APPROVE says in the modes CHOOSE and CODE; NULL: it cannot approve those */
    unsigned answer_delay_ms; /* before it answers by itself */
    bool json;                /* one JSON object a line, and decisions in lines of stdin */
    bool once;                /* end when the first challenge is over */
    int max_seconds;          /* end after so many seconds; 0: never */
    bool quiet;               /* text: challenges, how they ended, and errors only */
};

enum soft_phone_exit {
    SOFT_PHONE_OK = 0,
    SOFT_PHONE_FAILED = 1,
    SOFT_PHONE_TIMED_OUT = 2, /* max_seconds passed, and what it was to wait for did not happen */
};

/**
 * Enrol with @p uri and store the account. Says what it did in a line, {"event":"enrolled",...}, on stdout;
 * what went wrong on stderr, with json {"event":"error",...} on stdout. Where a code is to be confirmed, or
 * an old phone to approve, it says so with the code, {"event":"waiting",...}, again after a lost connection,
 * and waits.
 *
 * An attempt that was cut off is continued by a call with the same URI, within the life of its token. Tries
 * for max_seconds, or 60, or 600 where it waits.
 *
 * @param name     1 to 64 bytes, as shown to the person and to administrators.
 * @param platform a value of enum np_platform.
 * @return an exit code; FAILED also where the directory holds an account, or options->passcode is missing or
 * too short.
 */
int soft_phone_enrol(const char *uri, const char *name, int platform,
                     const struct soft_phone_options *options);

/**
 * Be the phone until SIGTERM or SIGINT (answered with Bye and OK), options->once or options->max_seconds.
 *
 * Events on stdout, with json one object a line, "event" first: welcome, locked, challenge, answered,
 * resolved, notice, accepted, error, go_away, closed. Comes back with backoff after a loss. A rotation whose
 * outcome is not known is finished, if there is a passcode.
 *
 * With answer ASK it reads lines of stdin: WORD [CHALLENGE] [CODE]. WORD is y or approve, n or deny, r or
 * not_me; without CHALLENGE it is the oldest one that is not answered. Or the line is unlock, rotate or
 * remove, as soft_phone_act(). The end of stdin ends the asking, not the phone.
 *
 * @return an exit code; FAILED also when the broker says that this is no device (any more), or the passcode
 * is wrong.
 */
int soft_phone_run(const struct soft_phone_options *options);

/**
 * Change the account: new keys, lift the lock of the user's push, or take this phone off the account and
 * delete what is stored. Says {"event":"accepted",...}. Tries for max_seconds, or 60.
 *
 * @param act  a value of enum np_act. ROTATED and UNLOCKED want options->passcode.
 * @return an exit code; FAILED as soft_phone_run(), and where the broker refuses.
 */
int soft_phone_act(int act, const struct soft_phone_options *options);

#endif

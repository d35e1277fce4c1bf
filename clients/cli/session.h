/**
 * Where the broker is and as whom we call it, as the options say: for the commands, which report here what is
 * wrong and end with the status that they are given.
 */
#ifndef NANOPUSH_CLI_SESSION_H
#define NANOPUSH_CLI_SESSION_H

#include "cli/args.h"
#include "cli/connect.h"
#include "cli/exit_status.h"

#define PORTAL_ID_SIZE 65 /* NUL included */

struct session {
    struct connect_client *client;
    char portal[PORTAL_ID_SIZE]; /* our own id; empty on the admin socket */
    char *credential;            /* "<portal id>.<secret>"; NULL on the admin socket */
    bool json;
    int directory; /* keeps the admin socket reachable; -1: none */
};

/** Set up the portal's session; nothing is sent. @return EXIT_STATUS_OK; EXIT_STATUS_ERROR, said on standard
 * error. */
MUST_CHECK enum exit_status session_open_portal(const struct args *args, struct session *ret);

/** Set up a session over <data>/admin.sock. @return as session_open_portal(). */
MUST_CHECK enum exit_status session_open_admin(const struct args *args, struct session *ret);

/** With a credential as session_open_portal(), without one as session_open_admin(): for what both may do. */
MUST_CHECK enum exit_status session_open_any(const struct args *args, struct session *ret);

void session_close(struct session *session);

/** What to do with a response, valid during the call. @return what the program ends with. */
typedef enum exit_status (*session_response_fn)(struct session *session, const ProtobufCMessage *response,
                                                void *arg);

/**
 * Call, and hand the response over.
 * @param what  said before the reason where the call fails: "cannot ask".
 * @return what @p on_response returns; EXIT_STATUS_ERROR, said on standard error.
 */
MUST_CHECK enum exit_status session_call(struct session *session, const char *procedure,
                                         const ProtobufCMessage *request,
                                         const ProtobufCMessageDescriptor *descriptor, const char *what,
                                         session_response_fn on_response, void *arg);

/**
 * <data>/@p name.
 * @return freed with free(); NULL when memory is out.
 */
char *session_path(const struct args *args, const char *name);

/**
 * The address that <data>/ports names, with a wildcard made dialable: "127.0.0.1:7442".
 * @param      port  "portal" or "stats".
 * @param[out] ret   freed with free().
 * @return as session_open_portal().
 */
MUST_CHECK enum exit_status session_address(const struct args *args, const char *port, char **ret);

#endif

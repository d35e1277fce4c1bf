/**
 * What every child process of the master has: the setup that it was forked with, and an end that comes from outside.
 */
#ifndef NANOPUSH_PROC_CHILD_H
#define NANOPUSH_PROC_CHILD_H

#include <openssl/ssl.h>

#include "core/config.h"
#include "core/drain_order.h"
#include "core/loop.h"
#include "core/metrics.h"
#include "crypto/secret.h"
#include "crypto/ticket.h"
#include "proc/datadir.h"
#include "store/redis_options.h"

struct audit;

/** Records to phones are padded to a multiple of this (RFC 8446, 5.4): a push and what follows it look alike. */
#define DEVICE_RECORD_BYTES 128

/** Made by the master before it forks; the children's copies are their own. */
struct child_setup {
    struct config *config;
    const char *config_file; /* NULL: none */
    const struct datadir *dir;
    struct secret *secret;       /* the children's without the ticket root */
    struct ticket_ring *tickets; /* the master turns it, workers read */
    SSL_CTX *device_tls, *portal_tls;
    uint8_t trust_anchor[SHA256_BYTES];
    struct metrics_page *page;
    struct recent *recent;
    struct drain_order *drain_order;
    unsigned worker_count;
    struct redis_options redis;                   /* what store_open() takes */
    char device_address[ADDRESS_TEXT_SIZE];       /* what phones dial */
    int device_fd, portal_fd, stats_fd, admin_fd; /* listening */
    bool succeeds;                                /* another broker serves these sockets still */
    int lifeline_fd;                              /* at its end when the master is gone */
};

/** Begin the audit of the process of that name, in <data>/audit. @return ERR_OK; ERR_CRYPTO. */
MUST_CHECK enum err child_audit_open(const struct child_setup *setup, struct loop *loop, const char *process,
                                     struct audit **ret);

/** Watches for the end: SIGTERM, or the master's death; and for SIGHUP. */
struct child_end {
    struct io signals, lifeline;
    int signal_fd;
    loop_fn on_end, on_reload;
    void *arg;
    bool ending;
};

/** @p on_end is called once; @p on_reload with each SIGHUP, and may be NULL. @return ERR_OK; ERR_IO; ERR_NOMEM. */
MUST_CHECK enum err child_end_watch(struct child_end *end, struct loop *loop, int lifeline_fd, loop_fn on_end,
                                    loop_fn on_reload, void *arg);
void child_end_done(struct child_end *end);

#endif

/**
 * What one TLS record brought, whether an SSL object or a parked connection took it.
 */
#ifndef NANOPUSH_NET_TLS_EVENT_H
#define NANOPUSH_NET_TLS_EVENT_H

/** Records without plaintext, one after the other: empty ones, key updates. More are a flood. */
#define TLS_DRY_RECORDS_MAX 32

enum tls_event {
    TLS_RECORD,    /* one was processed, there is nothing to tell */
    TLS_OPENED,    /* the handshake is done */
    TLS_PLAINTEXT, /* some was appended */
    TLS_PEER_DONE, /* close_notify */
    TLS_FAILED,    /* the channel says why; where an alert was made, it is in the output */
};

#endif

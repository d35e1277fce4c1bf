#include "cli/follow.h"

#include <time.h>

struct following {
    follow_snapshot_fn on_snapshot;
    void *arg;
    bool final;
    bool heard; /* since the present attempt began */
};

static bool on_message(const ProtobufCMessage *message, void *arg)
{
    struct following *following = arg;
    following->heard = true;
    following->final = following->on_snapshot(message, following->arg);
    return !following->final;
}

static void pause_ms(long ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

enum err follow(struct connect_client *client, const char *procedure, const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *descriptor, follow_snapshot_fn on_snapshot, void *arg,
                struct connect_problem *problem)
{
    struct following following = {.on_snapshot = on_snapshot, .arg = arg};
    for (unsigned attempt = 1;; attempt++) {
        following.heard = false;
        enum err e = connect_stream(client, procedure, request, descriptor, on_message, &following, problem);
        if (following.final)
            return ERR_OK;
        if (e == ERR_OK) {
            connect_problem_set(problem, "unavailable", "the broker ended the stream early");
            e = ERR_UNAVAILABLE;
        }
        bool again = e == ERR_UNAVAILABLE || (e == ERR_DENIED && connect_problem_passes(problem));
        if (following.heard)
            attempt = 1;
        if (!again || attempt >= FOLLOW_ATTEMPTS_MAX)
            return e;
        pause_ms(FOLLOW_PAUSE_MS);
    }
}

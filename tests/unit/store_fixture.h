/**
 * What the tests of store/ share: a loop, a cluster secret, two workers' stores on one Redis, people with a phone, and
 * each call of store.h as one that waits for its callback. What the callback was given is copied into `got`, which is
 * valid until the next such call.
 */
#ifndef NANOPUSH_TESTS_STORE_FIXTURE_H
#define NANOPUSH_TESTS_STORE_FIXTURE_H

#include "base/buf.h"
#include "core/log.h"
#include "core/metrics.h"
#include "crypto/digest.h"
#include "crypto/secret.h"
#include "redis_fixture.h"
#include "store/record.h"
#include "store/store.h"

#define PATIENCE_MS  10000
#define TIMEOUT_MS   2000 /* of the stores */
#define ORGANISATION "acme"
#define PORTAL       "intranet"
#define LIFE_MS      60000
#define HINTS_MAX    64
#define TOLD_MAX     8
#define CURRENT      "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
#define OTHER        "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"

/* One store as a worker has it, and what it was told. */
struct worker {
    struct store *store;
    unsigned inboxes; /* on_inbox calls */
    size_t hint_count;
    struct hint {
        enum hint_kind kind;
        char id[ID_SIZE], device_id[ID_SIZE];
        uint64_t connection;
        size_t frame_len;
        uint8_t frame_first, frame_last;
    } hints[HINTS_MAX];
};

static struct loop *loop;
static struct secret *secret;
static struct metrics_page *metrics;
static struct worker a, b; /* slots 1 and 2 */

/* ---- turning ---- */

static inline void on_turned(void *arg)
{
    (void)arg;
    loop_stop(loop);
}

/** Turn the loop for @p ms, or until a callback stops it. */
static inline void turn(unsigned ms)
{
    struct timer end;
    timer_init(&end, loop, on_turned, NULL);
    timer_start(&end, ms);
    loop_run(loop);
    timer_cancel(&end);
}

#define TURN_UNTIL(condition)                                                                                \
    for (int64_t until_ = clock_mono_ms() + PATIENCE_MS; !(condition); turn(5))                              \
        if (clock_mono_ms() > until_)                                                                        \
    fail_msg("never came: %s", #condition)

/* ---- workers ---- */

static inline void worker_on_hint(const Record__Hint *hint, void *arg)
{
    struct worker *w = arg;
    if (w->hint_count == HINTS_MAX)
        return;
    struct hint *copy = &w->hints[w->hint_count++];
    *copy = (struct hint){.kind = (enum hint_kind)hint->kind, .connection = hint->connection};
    snprintf(copy->id, sizeof copy->id, "%s", hint->id);
    snprintf(copy->device_id, sizeof copy->device_id, "%s", hint->device_id);
    copy->frame_len = hint->frame.len;
    copy->frame_first = hint->frame.len ? hint->frame.data[0] : 0;
    copy->frame_last = hint->frame.len ? hint->frame.data[hint->frame.len - 1] : 0;
    loop_stop(loop);
}

static inline void worker_on_inbox(void *arg)
{
    struct worker *w = arg;
    w->inboxes++;
    loop_stop(loop);
}

static inline void worker_open(struct worker *w, const struct secret *with, unsigned slot,
                               unsigned timeout_ms)
{
    static const struct store_events events = {.on_hint = worker_on_hint, .on_inbox = worker_on_inbox};
    const struct store_options options = {.redis = &redis.options, .timeout_ms = timeout_ms, .slot = slot};
    *w = (struct worker){0};
    w->store = store_open(loop, with, &options, &events, w);
}

/** Close, and see the inbox removed. */
static inline void worker_close(struct worker *w)
{
    char inbox[INBOX_SIZE];
    if (!w->store)
        return;
    snprintf(inbox, sizeof inbox, "%s", store_inbox(w->store));
    bool was_up = store_up(w->store);
    store_close(w->store);
    w->store = NULL;
    if (was_up && inbox[0])
        TURN_UNTIL(redis_do("EXISTS %s", key_inbox(inbox).text) == 0);
    turn(2); /* what the connections deferred */
}

/* ---- setting up ---- */

static inline struct secret *load_secret(const char *roots)
{
    char path[64];
    struct secret *loaded;
    snprintf(path, sizeof path, "%s/secret", redis.dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "tag 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n%s", roots);
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(secret_load(path, &loaded), ERR_OK);
    return loaded;
}

static inline int group_set_up(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    metrics = metrics_page_new(1);
    if (!metrics || redis_start() != 0)
        return -1;
    metrics_use_slot(metrics, 0);
    secret = load_secret("current " CURRENT "\n");
    return 0;
}

static inline int group_tear_down(void **state)
{
    (void)state;
    secret_free(secret);
    metrics_page_free(metrics);
    redis_end();
    return 0;
}

static inline int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    worker_open(&a, secret, 1, TIMEOUT_MS);
    worker_open(&b, secret, 2, TIMEOUT_MS);
    TURN_UNTIL(a.inboxes == 1 && b.inboxes == 1);
    return 0;
}

/* ---- what a callback was given ---- */

struct told {
    struct route devices[TOLD_MAX];
    size_t device_count;
    char inboxes[TOLD_MAX][INBOX_SIZE];
    size_t inbox_count;
};

static struct {
    bool came;
    enum err e;
    bool given; /* a view, not NULL */
    Record__Organisation *organisation;
    Record__Portal *portal;
    struct enrolment_view enrolment;
    struct challenge_view challenge;
    struct challenge_progress progress[TOLD_MAX];
    struct buf fence;
    int64_t now_unix_ms, expire_unix_ms;
    bool replay, same_session, moved, superseded;
    int64_t locked_until_unix_ms;
    size_t other_count;
    enum challenge_state state;
    enum enrolment_state step;
    char other_id[ID_SIZE], device_id[ID_SIZE];
    struct told told;
    struct presence taken;
    char pending[TOLD_MAX][ID_SIZE];
    size_t pending_count;
    size_t device_count;
    Record__Device *devices[TOLD_MAX];
    struct presence presences[TOLD_MAX];
} got;

static inline void got_free(const void *message)
{
    if (message)
        protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)message, NULL);
}

static inline void got_forget(void)
{
    got_free(got.organisation);
    got_free(got.portal);
    got_free(got.enrolment.record);
    got_free(got.enrolment.enrolled);
    got_free(got.challenge.record);
    got_free(got.challenge.settlement);
    for (size_t i = 0; i < got.device_count; i++)
        got_free(got.devices[i]);
    buf_done(&got.fence);
    memset(&got, 0, sizeof got);
}

static inline void *got_copy(const void *message)
{
    return message ? store_record_copy(message) : NULL;
}

static inline void got_came(enum err e, const void *view)
{
    got.e = e;
    got.given = view != NULL;
    got.came = true;
    loop_stop(loop);
}

static inline void got_told(const struct routes *routes)
{
    got.told.device_count = routes->device_count < TOLD_MAX ? routes->device_count : TOLD_MAX;
    for (size_t i = 0; i < got.told.device_count; i++)
        got.told.devices[i] = routes->devices[i];
    got.told.inbox_count = routes->inbox_count < TOLD_MAX ? routes->inbox_count : TOLD_MAX;
    for (size_t i = 0; i < got.told.inbox_count; i++)
        memcpy(got.told.inboxes[i], routes->inboxes[i], INBOX_SIZE);
}

/** What happens to a call on its way, once; NULL: nothing. */
static void (*got_meanwhile)(void);

/** Wait for the call that was just made. */
static inline enum err got_wait(struct store_call *call)
{
    assert_non_null(call);
    got_forget();
    if (got_meanwhile)
        got_meanwhile();
    got_meanwhile = NULL;
    TURN_UNTIL(got.came);
    return got.e;
}

static inline bool told_inbox(const char *inbox)
{
    for (size_t i = 0; i < got.told.inbox_count; i++)
        if (strcmp(got.told.inboxes[i], inbox) == 0)
            return true;
    return false;
}

static inline void assert_presence(const struct presence *presence, const char *inbox, uint64_t connection)
{
    assert_string_equal(presence->inbox, inbox);
    assert_int_equal(presence->connection, connection);
}

static inline void assert_same(const void *one, const void *other)
{
    const ProtobufCMessage *const messages[] = {one, other};
    struct buf packed[2] = {{0}, {0}};
    for (size_t i = 0; i < 2; i++) {
        assert_non_null(messages[i]);
        size_t len = protobuf_c_message_get_packed_size(messages[i]);
        uint8_t *at = buf_reserve(&packed[i], len + 1);
        assert_non_null(at);
        buf_commit(&packed[i], protobuf_c_message_pack(messages[i], at));
    }
    bool same = bytes_equal(buf_view(&packed[0]), buf_view(&packed[1]));
    buf_done(&packed[0]);
    buf_done(&packed[1]);
    assert_true(same);
}

/* ---- the calls ---- */

static inline void on_done(enum err e, void *arg)
{
    (void)arg;
    got_came(e, NULL);
}

static inline void on_told(enum err e, const struct routes *told, void *arg)
{
    (void)arg;
    got_told(told);
    got_came(e, told);
}

static inline void on_enrolment(enum err e, const struct enrolment_view *view, void *arg)
{
    (void)arg;
    if (view) {
        got.enrolment = *view;
        got.enrolment.record = got_copy(view->record);
        got.enrolment.enrolled = got_copy(view->enrolled);
        got_told(&view->told);
        if (buf_append(&got.fence, view->fence) != ERR_OK)
            abort();
        got.enrolment.fence = buf_view(&got.fence);
        got.enrolment.told = (struct routes){0};
    }
    got_came(e, view);
}

static inline void on_enrolment_created(enum err e, int64_t expire_unix_ms, void *arg)
{
    (void)arg;
    got.expire_unix_ms = expire_unix_ms;
    got_came(e, NULL);
}

static inline void on_enrolment_step(enum err e, const struct enrolment_step *step, void *arg)
{
    (void)arg;
    if (step) {
        got.replay = !step->moved;
        got.step = step->state;
        got_told(&step->told);
    }
    got_came(e, step);
}

static inline void on_attached(enum err e, const struct device_attached *attached, void *arg)
{
    (void)arg;
    if (attached) {
        got.devices[got.device_count++] = got_copy(attached->device);
        got.now_unix_ms = attached->now_unix_ms;
        got.taken = attached->taken;
        for (size_t i = 0; i < attached->pending_count && i < TOLD_MAX; i++)
            memcpy(got.pending[got.pending_count++], attached->pending[i], ID_SIZE);
    }
    got_came(e, attached);
}

static inline void on_user(enum err e, const struct user_view *view, void *arg)
{
    (void)arg;
    for (size_t i = 0; view && i < view->device_count && i < TOLD_MAX; i++) {
        got.presences[got.device_count] = view->devices[i].presence;
        got.devices[got.device_count++] = got_copy(view->devices[i].record);
    }
    got_came(e, view);
}

static inline void on_created(enum err e, const struct challenge_created *created, void *arg)
{
    (void)arg;
    if (created) {
        got.now_unix_ms = created->now_unix_ms;
        got.expire_unix_ms = created->expire_unix_ms;
        got.replay = created->replay;
        got.same_session = created->other_same_session;
        got.superseded = created->superseded;
        memcpy(got.other_id, created->other_id, ID_SIZE);
        struct routes told = created->routes;
        told.inboxes = created->others.inboxes;
        told.inbox_count = created->others.inbox_count;
        got_told(&told);
    }
    got_came(e, created);
}

static inline void on_challenge(enum err e, const struct challenge_view *view, void *arg)
{
    (void)arg;
    if (view) {
        got.challenge = *view;
        got.challenge.record = got_copy(view->record);
        got.challenge.settlement = got_copy(view->settlement);
        if (buf_append(&got.fence, view->fence) != ERR_OK)
            abort();
        got.challenge.fence = buf_view(&got.fence);
        for (size_t i = 0; i < view->progress_count && i < TOLD_MAX; i++)
            got.progress[i] = view->progress[i];
        got.challenge.progress = got.progress;
    }
    got_came(e, view);
}

static inline void on_settled(enum err e, const struct challenge_settled *settled, void *arg)
{
    (void)arg;
    if (settled) {
        got.moved = settled->moved;
        got.locked_until_unix_ms = settled->locked_until_unix_ms;
        got.other_count = settled->other_count;
        got.state = settled->state;
        memcpy(got.device_id, settled->device_id, ID_SIZE);
        got_told(&settled->routes);
    }
    got_came(e, settled);
}

static inline enum err enrolment_get(struct worker *w, const char *id, bool wait)
{
    return got_wait(store_enrolment_get(w->store, id, wait, on_enrolment, NULL));
}

static inline enum err challenge_get(struct worker *w, const char *id, bool wait)
{
    return got_wait(store_challenge_get(w->store, id, wait, on_challenge, NULL));
}

static inline enum err user_get(struct worker *w, const char *tag)
{
    return got_wait(store_user_get(w->store, tag, on_user, NULL));
}

static inline enum err progress(struct worker *w, const char *id, const char *device_id, unsigned step)
{
    struct challenge_reached reached = {.step = step};
    snprintf(reached.device_id, sizeof reached.device_id, "%s", device_id);
    return got_wait(store_challenge_progress(w->store, id, &reached, 1, on_told, NULL));
}

/* ---- people ---- */

/* A user, and the phone that they have or will have. */
struct person {
    char user[24], tag[TAG_SIZE];
    char phone[ID_SIZE];
    uint8_t keys[2][65]; /* the store does not look at what they are */
};

static inline void fill_id(const char *tag, char id[ID_SIZE])
{
    uint8_t bits[ID_RANDOM_BYTES];
    assert_int_equal(random_bytes(bits, sizeof bits), ERR_OK);
    id_make(bits, tag, id);
}

static inline struct person person_new(void)
{
    static unsigned count;
    struct person person = {0};
    snprintf(person.user, sizeof person.user, "user-%u", ++count);
    assert_int_equal(secret_user_tag(secret, bytes_of(ORGANISATION), bytes_of(person.user), person.tag),
                     ERR_OK);
    assert_int_equal(random_bytes(person.keys[0], sizeof person.keys), ERR_OK);
    fill_id(person.tag, person.phone);
    return person;
}

/** The same person with another phone. */
static inline struct person person_with_other_phone(const struct person *person)
{
    struct person other = person_new();
    memcpy(other.user, person->user, sizeof other.user);
    memcpy(other.tag, person->tag, sizeof other.tag);
    fill_id(other.tag, other.phone);
    return other;
}

/** Points into @p person. */
static inline Record__Device device_of(struct person *person)
{
    Record__Device device = RECORD__DEVICE__INIT;
    device.id = person->phone;
    device.organisation = ORGANISATION;
    device.user = person->user;
    device.generation = 1;
    device.possession_key = (ProtobufCBinaryData){.data = person->keys[0], .len = sizeof person->keys[0]};
    device.user_verification_key =
        (ProtobufCBinaryData){.data = person->keys[1], .len = sizeof person->keys[1]};
    device.name = "Phone";
    return device;
}

static inline Record__Enrolment enrolment_of(struct person *person, char id[ID_SIZE], bool may_add)
{
    static uint8_t token_hash[SHA256_BYTES] = {1, 2, 3};
    Record__Enrolment record = RECORD__ENROLMENT__INIT;
    fill_id(person->tag, id);
    record.id = id;
    record.organisation = record.organisation_name = ORGANISATION;
    record.user = person->user;
    record.portal = PORTAL;
    record.token_hash = (ProtobufCBinaryData){.data = token_hash, .len = sizeof token_hash};
    record.may_add = may_add;
    return record;
}

static inline enum err enrolment_create(struct worker *w, const Record__Enrolment *record, unsigned life_ms)
{
    return got_wait(store_enrolment_create(w->store, record, life_ms, on_enrolment_created, NULL));
}

/** Use enrolment @p id, as read just now, with the person's phone. */
static inline enum err enrolment_use(struct worker *w, const char *id, struct bytes fence,
                                     struct person *person, bool may_add, unsigned devices_max)
{
    Record__Device device = device_of(person);
    Record__Enrolled enrolled = RECORD__ENROLLED__INIT;
    enrolled.device = &device;
    const struct enrolment_use use = {
        .id = id, .fence = fence, .enrolled = &enrolled, .may_add = may_add, .devices_max = devices_max};
    return got_wait(store_enrolment_use(w->store, &use, on_enrolment_step, NULL));
}

/** Give the person their phone. */
static inline void enrol(struct worker *w, struct person *person)
{
    char id[ID_SIZE];
    Record__Enrolment record = enrolment_of(person, id, true);
    assert_int_equal(enrolment_create(w, &record, LIFE_MS), ERR_OK);
    assert_int_equal(enrolment_get(w, id, false), ERR_OK);
    assert_int_equal(enrolment_use(w, id, got.enrolment.fence, person, true, TOLD_MAX), ERR_OK);
}

static inline struct person person_with_phone(void)
{
    struct person person = person_new();
    enrol(&a, &person);
    return person;
}

/* As attaches name a possession key; valid until the next call. */
static inline const uint8_t *digest_of(const uint8_t key[65])
{
    static uint8_t digest[DEVICE_KEY_DIGEST_BYTES];
    assert_int_equal(store_key_digest(bytes_make(key, 65), digest), ERR_OK);
    return digest;
}

static inline enum err attach(struct worker *w, const struct person *person, uint32_t generation,
                              uint64_t connection)
{
    const struct presence presence = store_presence(w->store, connection, 0);
    return got_wait(store_device_attach(w->store, person->phone, generation, digest_of(person->keys[0]),
                                        &presence, on_attached, NULL));
}

/* ---- challenges ---- */

static inline Record__Challenge challenge_of(struct person *person, char id[ID_SIZE], unsigned life_ms)
{
    static uint8_t nonce[16] = {7}, display[] = "display";
    Record__Challenge record = RECORD__CHALLENGE__INIT;
    fill_id(person->tag, id);
    record.id = id;
    record.organisation = ORGANISATION;
    record.user = person->user;
    record.portal = PORTAL;
    record.display = (ProtobufCBinaryData){.data = display, .len = sizeof display};
    record.nonce = (ProtobufCBinaryData){.data = nonce, .len = sizeof nonce};
    record.mode = 1;
    record.user_verification = 1;
    record.life_ms = life_ms;
    return record;
}

static inline enum err challenge_create_as(struct worker *w, const struct challenge_create *create)
{
    return got_wait(store_challenge_create(w->store, create, on_created, NULL));
}

/** One without browser session or idempotency key. */
static inline enum err challenge_create_plain(struct worker *w, const Record__Challenge *record)
{
    const struct challenge_create create = {.record = record, .pending_of = record->portal, .session = ""};
    return challenge_create_as(w, &create);
}

/** A challenge that waits; @p id is its id. */
static inline void challenge_new(struct worker *w, struct person *person, char id[ID_SIZE], unsigned life_ms)
{
    Record__Challenge record = challenge_of(person, id, life_ms);
    assert_int_equal(challenge_create_plain(w, &record), ERR_OK);
}

static const char *settle_enrolment; /* what the answers are about; NULL: nothing */

/** Settle what stands in Redis, by an answer of the person's phone where @p person is not NULL. */
static inline enum err challenge_settle(struct worker *w, const char *id, enum challenge_state state,
                                        struct person *person)
{
    size_t len;
    const char *stored = redis_text(&len, "HGET %s record", key_challenge(id).text);
    struct challenge_settle settle = {.id = id, .fence = bytes_make(stored, len), .state = state};
    Record__Device device;
    Record__Settlement settlement = RECORD__SETTLEMENT__INIT;
    if (person) {
        device = device_of(person);
        settlement.state = (uint32_t)state;
        settlement.device_id = device.id;
        settlement.jws = "header.payload.signature";
        settle.device = &device;
        settle.settlement = &settlement;
        settle.enrolment = settle_enrolment;
    }
    return got_wait(store_challenge_settle(w->store, &settle, on_settled, NULL));
}

/* ---- tearing down ---- */

static inline int tear_down(void **state)
{
    (void)state;
    worker_close(&a);
    worker_close(&b);
    got_forget();
    loop_free(loop);
    return 0;
}

#endif

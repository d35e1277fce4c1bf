/** domain/watch, on two workers and a real Redis: snapshots as they come, and what keeps moving when news are lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "domain_fixture.h"

#define PROMPT_MS 1500 /* sooner than any re-read: it came by a hint */

/* A watch, and what it was handed. */
struct watcher {
    struct watch *watch; /* NULL once it is over */
    unsigned snapshots, errors;
    enum err error;
    uint64_t revision;
    int state;
    bool went_back, was_again; /* a revision lower than, or the same as, one before */
    struct watcher *cancels;   /* in its next callback */
    const char *starts;        /* a further watch on that id, in its next callback */
    struct watcher *started;
    const char *moves; /* this challenge, silently, in its next callback */
};

static void follow(struct node *node, struct watcher *w, const char *id, uint64_t after);

static void note_snapshot(struct watcher *w, enum err e, uint64_t revision, int state, bool final)
{
    if (e != ERR_OK) {
        w->errors++;
        w->error = e;
    } else {
        w->went_back |= revision < w->revision;
        w->was_again |= w->snapshots && revision == w->revision;
        w->snapshots++;
        w->revision = revision;
        w->state = state;
    }
    if (e != ERR_OK || final)
        w->watch = NULL;
    loop_stop(loop);
}

/* Change the challenge behind everybody's back. */
static void move_silently(const char *id)
{
    redis_do("HINCRBY %s revision 1", key_challenge(id).text);
}

static void on_moved(enum err e, const struct challenge_view *view, void *arg)
{
    struct watcher *w = arg;
    note_snapshot(w, e, view ? view->revision : 0, view ? (int)view->state : 0,
                  view && challenge_state_final(view->state));
    if (w->cancels) {
        watch_cancel(w->cancels->watch);
        w->cancels->watch = NULL;
        w->cancels = NULL;
    }
    if (w->moves) {
        move_silently(w->moves);
        w->moves = NULL;
    }
    if (w->starts) {
        follow(&near, w->started, w->starts, 0);
        w->starts = NULL;
    }
}

static void on_enrolment_moved(enum err e, const struct enrolment_view *view, void *arg)
{
    note_snapshot(arg, e, view ? view->revision : 0, view ? (int)view->state : 0,
                  view && view->state != ENROLMENT_WAITING);
}

static void follow(struct node *node, struct watcher *w, const char *id, uint64_t after)
{
    *w = (struct watcher){0};
    w->watch = watch_challenge(node->domain.watches, id, after, on_moved, w);
    assert_int_equal(w->snapshots + w->errors, 0); /* never inside the call */
}

static void follow_enrolment(struct node *node, struct watcher *w, const char *id)
{
    *w = (struct watcher){0};
    w->watch = watch_enrolment(node->domain.watches, id, on_enrolment_moved, w);
}

/* ---- snapshots ---- */

static void changes_of_another_worker_come_in_order(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher w;
    char id[ID_SIZE];
    int64_t start_mono_ms = clock_mono_ms();
    challenge_new(&a, &person, id, LIFE_MS);
    follow(&near, &w, id, 0);
    TURN_UNTIL(w.revision == 1);
    for (unsigned step = 2; step <= 4; step++) {
        progress_note(far.domain.progress, id, person.phone, step, NULL, NULL);
        TURN_UNTIL(w.revision == step);
        assert_int_equal(w.state, CHALLENGE_PENDING);
    }
    assert_int_equal(challenge_get(&a, id, false), ERR_OK);
    challenge_cancel(&far.domain, &got.challenge, NULL, NULL, NULL);
    TURN_UNTIL(!w.watch);
    assert_int_equal(w.state, CHALLENGE_CANCELLED);
    assert_int_equal(w.snapshots, 5);
    assert_false(w.went_back || w.was_again || w.errors);
    assert_true(clock_mono_ms() - start_mono_ms < PROMPT_MS);
}

static void many_changes_may_be_one_snapshot_but_the_last_is_seen(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher w;
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    follow(&near, &w, id, 0);
    for (unsigned i = 0; i < 30; i++) {
        move_silently(id);
        watches_changed(near.domain.watches, id);
    }
    TURN_UNTIL(w.revision == 31);
    assert_false(w.went_back || w.was_again);
    watch_cancel(w.watch);
}

static void change_during_a_read_is_read_for_again(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher w;
    char id[ID_SIZE];
    int64_t start_mono_ms = clock_mono_ms();
    challenge_new(&a, &person, id, LIFE_MS);
    follow(&near, &w, id, 0);
    w.moves = id; /* when what is being read is read */
    watches_changed(near.domain.watches, id);
    TURN_UNTIL(w.revision == 2);
    assert_true(clock_mono_ms() - start_mono_ms < PROMPT_MS);
    watch_cancel(w.watch);
}

static void revisions_that_are_known_are_not_handed_out(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher known, later;
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    follow(&near, &known, id, 1);
    follow(&near, &later, id, 2);
    turn(50);
    watches_changed(near.domain.watches, id);
    turn(50);
    assert_int_equal(known.snapshots, 0);
    progress_note(far.domain.progress, id, person.phone, 2, NULL, NULL);
    TURN_UNTIL(known.snapshots == 1);
    assert_int_equal(known.revision, 2);
    assert_int_equal(later.snapshots, 0);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_CANCELLED, NULL), ERR_OK);
    watches_changed(near.domain.watches, id);
    TURN_UNTIL(!known.watch && !later.watch);
    assert_int_equal(later.state, CHALLENGE_CANCELLED);
}

static void revision_never_goes_down(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher w;
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    redis_do("HSET %s revision 7", key_challenge(id).text);
    follow(&near, &w, id, 0);
    TURN_UNTIL(w.snapshots == 1);
    redis_do("HSET %s revision 3", key_challenge(id).text);
    watches_changed(near.domain.watches, id);
    turn(50);
    assert_int_equal(w.snapshots, 1);
    redis_do("HSET %s revision 8", key_challenge(id).text);
    watches_changed(near.domain.watches, id);
    TURN_UNTIL(w.snapshots == 2);
    assert_false(w.went_back);
    watch_cancel(w.watch);
}

static void final_one_is_handed_out_once_whatever_is_known(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher w;
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_DENIED, &person), ERR_OK);
    follow(&near, &w, id, 99);
    TURN_UNTIL(!w.watch);
    assert_int_equal(w.state, CHALLENGE_DENIED);
    watches_changed(near.domain.watches, id);
    turn(20);
    assert_int_equal(w.snapshots, 1);
}

static void what_cannot_be_read_ends_the_watch(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher unknown, tampered, both;
    char id[ID_SIZE], no_id[ID_SIZE];
    fill_id(person.tag, no_id);
    follow(&near, &unknown, no_id, 0);
    TURN_UNTIL(unknown.errors == 1);
    assert_int_equal(unknown.error, ERR_NOT_FOUND);
    challenge_new(&a, &person, id, LIFE_MS);
    follow(&near, &tampered, id, 0);
    follow(&near, &both, id, 0);
    TURN_UNTIL(tampered.snapshots == 1);
    redis_do("HSET %s state approved", key_challenge(id).text);
    watches_changed(near.domain.watches, id);
    TURN_UNTIL(tampered.errors == 1 && both.errors == 1);
    assert_int_equal(tampered.error, ERR_MALFORMED);
    assert_int_equal(tampered.snapshots, 1);
    assert_null(tampered.watch);
}

/* ---- several watches, and cancelling ---- */

static void watches_on_one_id_are_each_their_own(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher first, second, elsewhere;
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    follow(&near, &first, id, 0);
    TURN_UNTIL(first.snapshots == 1);
    follow(&near, &second, id, 0); /* which gets what the first has had already */
    follow(&far, &elsewhere, id, 0);
    TURN_UNTIL(second.snapshots == 1 && elsewhere.snapshots == 1);
    assert_int_equal(first.snapshots, 1);
    watch_cancel(first.watch);
    progress_note(far.domain.progress, id, person.phone, 2, NULL, NULL);
    TURN_UNTIL(second.snapshots == 2 && elsewhere.snapshots == 2);
    assert_int_equal(first.snapshots, 1);
    watch_cancel(second.watch);
    watch_cancel(elsewhere.watch);
}

static void cancelling_is_silence(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher w, left;
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    follow(&near, &w, id, 0);
    watch_cancel(w.watch); /* its read is under way */
    watch_cancel(NULL);
    watches_changed(near.domain.watches, id);
    turn(30);
    follow(&far, &left, id, 0);
    watches_free(far.domain.watches);
    far.domain.watches = watches_new(&far.domain);
    turn(30);
    assert_int_equal(w.snapshots + w.errors + left.snapshots + left.errors, 0);
}

static void callback_may_cancel_itself_and_others(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    for (int target = 0; target < 3; target++) { /* the one before, itself, the one behind */
        struct watcher w[3];
        for (int i = 0; i < 3; i++)
            follow(&near, &w[i], id, 0);
        w[1].cancels = &w[target];
        TURN_UNTIL(w[1].snapshots == 1 && w[2].snapshots == (target != 2));
        turn(20);
        assert_int_equal(w[0].snapshots, 1);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(w[i].watch == NULL, i == target);
            watch_cancel(w[i].watch);
        }
    }
}

static void callback_may_cancel_the_last_and_start_another(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher w, next;
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    follow(&near, &w, id, 0);
    w.cancels = &w;
    w.starts = id;
    w.started = &next;
    TURN_UNTIL(w.snapshots == 1 && next.snapshots == 1);
    assert_null(w.watch);
    assert_non_null(next.watch);
    /* At the end, too: the new one finds it final. */
    next.starts = id;
    next.started = &w;
    assert_int_equal(challenge_settle(&a, id, CHALLENGE_CANCELLED, NULL), ERR_OK);
    watches_changed(near.domain.watches, id);
    TURN_UNTIL(!next.watch && w.snapshots == 1 && !w.watch);
    assert_int_equal(w.state, CHALLENGE_CANCELLED);
}

/* ---- time ---- */

static void watchers_settle_what_is_over_and_count_it_once(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher w[3];
    char id[ID_SIZE];
    int64_t before = metrics_sum(metrics, METRIC_CHALLENGES_EXPIRED);
    hang(&far, &person, 8);
    challenge_new(&a, &person, id, 150);
    follow(&near, &w[0], id, 0);
    follow(&near, &w[1], id, 0);
    follow(&far, &w[2], id, 0);
    TURN_UNTIL(!w[0].watch && !w[1].watch && !w[2].watch);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(w[i].state, CHALLENGE_EXPIRED);
        assert_int_equal(w[i].errors, 0);
    }
    assert_int_equal(metrics_sum(metrics, METRIC_CHALLENGES_EXPIRED) - before, 1);
    TURN_UNTIL(far.resolved_count > 0); /* the phone is told, too */
    assert_string_equal(far.last.id, id);
    assert_string_equal(far.last.device_id, person.phone);
    assert_int_equal(far.last.connection, 8);
    assert_int_equal(challenge_get(&a, id, false), ERR_OK);
    assert_int_equal(got.challenge.state, CHALLENGE_EXPIRED);
}

static void lost_news_are_found_by_reading_again(void **state)
{
    (void)state;
    struct person person = person_with_phone(), busy = person_with_phone();
    struct watcher w, delivered;
    char id[ID_SIZE], busy_id[ID_SIZE];
    hang(&far, &person, 5);
    hang(&far, &busy, 6);
    challenge_new(&a, &person, id, LIFE_MS); /* and pushes it to nobody */
    challenge_new(&a, &busy, busy_id, LIFE_MS);
    assert_int_equal(progress(&a, busy_id, busy.phone, 3), ERR_OK);
    int64_t start_mono_ms = clock_mono_ms();
    follow(&near, &w, id, 0);
    follow(&near, &delivered, busy_id, 0);
    TURN_UNTIL(w.snapshots == 1 && delivered.snapshots == 1);
    move_silently(id);
    TURN_UNTIL(w.snapshots == 2);
    assert_in_range(clock_mono_ms() - start_mono_ms, 1990, 3500);
    TURN_UNTIL(far.push_count > 0); /* whoever waits pushes what nobody is known to have */
    assert_string_equal(far.last.id, id);
    assert_string_equal(far.last.device_id, person.phone);
    assert_int_equal(far.last.connection, 5);
    turn(100);
    assert_int_equal(far.push_count, 1);
    watch_cancel(w.watch);
    watch_cancel(delivered.watch);
}

/* A worker that dies between its hints to two phones: the second is found by whoever waits. */
static void phone_that_was_left_out_is_pushed_to(void **state)
{
    (void)state;
    struct person person = person_with_phone(), second = person_with_other_phone(&person);
    struct watcher w;
    char id[ID_SIZE];
    enrol(&a, &second);
    hang(&far, &person, 5);
    hang(&far, &second, 6);
    challenge_new(&a, &person, id, LIFE_MS);
    assert_int_equal(progress(&a, id, person.phone, 3), ERR_OK);
    follow(&near, &w, id, 0);
    TURN_UNTIL(far.push_count > 0);
    assert_string_equal(far.last.device_id, second.phone);
    assert_int_equal(far.last.connection, 6);
    turn(100);
    assert_int_equal(far.push_count, 1);
    watch_cancel(w.watch);
}

/* ---- Redis and the inbox come and go ---- */

/* No turn sends more than its share of reads; in the end each was read. */
static void renewal_of_many_is_paced(void **state)
{
    enum { MANY = 600, SHARE = 256 };
    static struct watcher many[MANY];
    int64_t begin, last, most = 0;
    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        struct person person = person_new();
        char id[ID_SIZE];
        Record__Enrolment record = enrolment_of(&person, id, true);
        assert_int_equal(enrolment_create(&a, &record, LIFE_MS), ERR_OK);
        follow_enrolment(&near, &many[i], id);
        TURN_UNTIL(many[i].snapshots == 1);
    }
    begin = last = metrics_sum(metrics, METRIC_STORE_COMMANDS);
    watches_renew(near.domain.watches);
    for (int64_t sum; last < begin + MANY; last = sum) {
        turn(1);
        sum = metrics_sum(metrics, METRIC_STORE_COMMANDS);
        most = sum - last > most ? sum - last : most;
    }
    assert_in_range(most, SHARE / 2, SHARE + SHARE / 4); /* and what else there is to say */
    for (unsigned i = 0; i < MANY; i++)
        watch_cancel(many[i].watch);
}

static void new_inbox_is_registered_and_all_is_read_again(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher w;
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    follow(&near, &w, id, 0);
    TURN_UNTIL(w.snapshots == 1);
    redis_do("DEL %s", key_inbox(store_inbox(near.domain.store)).text);
    move_silently(id);
    redis_do("CLIENT KILL TYPE normal SKIPME yes");
    TURN_UNTIL(near.inboxes == 2);
    TURN_UNTIL(w.revision == 2);
    int64_t start_mono_ms = clock_mono_ms();
    progress_note(far.domain.progress, id, person.phone, 2, NULL, NULL);
    TURN_UNTIL(w.revision == 3);
    assert_true(clock_mono_ms() - start_mono_ms < PROMPT_MS);
    watch_cancel(w.watch);
}

static void who_has_a_snapshot_waits_while_redis_is_away(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct watcher had, has_not;
    char id[ID_SIZE];
    challenge_new(&a, &person, id, LIFE_MS);
    follow(&near, &had, id, 0);
    TURN_UNTIL(had.snapshots == 1);
    kill(redis.pid, SIGSTOP);
    follow(&near, &has_not, id, 0);
    TURN_UNTIL(has_not.errors == 1);
    assert_true(has_not.error == ERR_TIMEOUT || has_not.error == ERR_UNAVAILABLE);
    assert_int_equal(had.errors, 0);
    kill(redis.pid, SIGCONT);
    move_silently(id);
    TURN_UNTIL(had.revision == 2);
    assert_int_equal(had.errors, 0);
    watch_cancel(had.watch);
}

/* ---- enrolments ---- */

static void enrolment_is_watched_until_it_is_done(void **state)
{
    (void)state;
    struct person person = person_new();
    struct watcher w, expiring, elsewhere;
    char id[ID_SIZE], short_id[ID_SIZE];
    Record__Enrolment record = enrolment_of(&person, id, true);
    assert_int_equal(enrolment_create(&a, &record, LIFE_MS), ERR_OK);
    record = enrolment_of(&person, short_id, true);
    assert_int_equal(enrolment_create(&a, &record, 150), ERR_OK);
    follow_enrolment(&near, &w, id);
    follow_enrolment(&near, &expiring, short_id);
    follow_enrolment(&far, &elsewhere, short_id);
    TURN_UNTIL(w.snapshots == 1 && expiring.snapshots == 1 && elsewhere.snapshots == 1);
    assert_int_equal(w.state, ENROLMENT_WAITING);
    TURN_UNTIL(!expiring.watch && !elsewhere.watch); /* which nobody but they has let expire */
    assert_int_equal(expiring.state, ENROLMENT_EXPIRED);
    assert_int_equal(elsewhere.state, ENROLMENT_EXPIRED);
    assert_int_equal(expiring.snapshots, 2);
    assert_int_equal(enrolment_get(&a, id, false), ERR_OK);
    assert_int_equal(enrolment_use(&a, id, got.enrolment.fence, &person, true, 2), ERR_OK);
    watches_changed(near.domain.watches, id);
    TURN_UNTIL(!w.watch);
    assert_int_equal(w.state, ENROLMENT_DONE);
    assert_int_equal(w.snapshots, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, nodes_set_up, nodes_tear_down)
        TEST(changes_of_another_worker_come_in_order),
        TEST(many_changes_may_be_one_snapshot_but_the_last_is_seen),
        TEST(change_during_a_read_is_read_for_again),
        TEST(revisions_that_are_known_are_not_handed_out),
        TEST(revision_never_goes_down),
        TEST(final_one_is_handed_out_once_whatever_is_known),
        TEST(what_cannot_be_read_ends_the_watch),
        TEST(watches_on_one_id_are_each_their_own),
        TEST(cancelling_is_silence),
        TEST(callback_may_cancel_itself_and_others),
        TEST(callback_may_cancel_the_last_and_start_another),
        TEST(watchers_settle_what_is_over_and_count_it_once),
        TEST(lost_news_are_found_by_reading_again),
        TEST(renewal_of_many_is_paced),
        TEST(phone_that_was_left_out_is_pushed_to),
        TEST(new_inbox_is_registered_and_all_is_read_again),
        TEST(who_has_a_snapshot_waits_while_redis_is_away),
        TEST(enrolment_is_watched_until_it_is_done),
    };
    return cmocka_run_group_tests_name("watch", tests, group_set_up, group_tear_down);
}

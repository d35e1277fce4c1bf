/** domain/challenge_cache: what a worker has in hand, how long, and when it is not believed any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "domain_fixture.h"

/* A challenge of @p person as store_challenge_get() would show it. */
static struct challenge_view view_of(const Record__Challenge *record, int64_t now_unix_ms, int64_t life_ms)
{
    return (struct challenge_view){.record = record,
                                   .fence = bytes_of("sealed"),
                                   .state = CHALLENGE_PENDING,
                                   .revision = 1,
                                   .attempt = 1,
                                   .now_unix_ms = now_unix_ms,
                                   .create_unix_ms = now_unix_ms,
                                   .expire_unix_ms = now_unix_ms + life_ms};
}

static Record__Challenge record_of(const struct person *person, char id[ID_SIZE])
{
    Record__Challenge record = RECORD__CHALLENGE__INIT;
    fill_id(person->tag, id);
    record.id = id;
    record.user = (char *)"jane";
    return record;
}

static void what_is_put_is_found_until_it_is_over(void **state)
{
    (void)state;
    struct person person = person_new();
    struct challenge_cache *cache = challenge_cache_new();
    struct challenge_view found;
    char id[ID_SIZE], other[ID_SIZE];
    Record__Challenge record = record_of(&person, id);
    const struct challenge_view view = view_of(&record, 1000, 60000);
    fill_id(person.tag, other);
    challenge_cache_put(cache, &view, true);
    challenge_cache_put(cache, &view, true); /* again: once is enough */
    assert_false(challenge_cache_find(cache, other, &found));
    assert_true(challenge_cache_find(cache, id, &found));
    assert_ptr_not_equal(found.record, &record);
    assert_string_equal(found.record->user, "jane");
    assert_true(bytes_equal(found.fence, bytes_of("sealed")));
    assert_true(found.now_unix_ms >= 1000 && found.now_unix_ms < 1000 + PATIENCE_MS);
    assert_int_equal(found.expire_unix_ms, 61000);
    challenge_cache_drop(cache, id);
    challenge_cache_drop(cache, other);
    assert_false(challenge_cache_find(cache, id, &found));
    challenge_cache_free(cache);
    challenge_cache_free(NULL);
}

static void who_keeps_none_finds_none(void **state)
{
    (void)state;
    struct person person = person_new();
    struct challenge_view found;
    char id[ID_SIZE];
    Record__Challenge record = record_of(&person, id);
    const struct challenge_view view = view_of(&record, 1000, 60000);
    challenge_cache_put(NULL, &view, true);
    challenge_cache_changed(NULL, id);
    challenge_cache_doubt(NULL);
    challenge_cache_drop(NULL, id);
    assert_false(challenge_cache_find(NULL, id, &found) || challenge_cache_unchanged(NULL, id, &found));
}

static void it_is_unchanged_until_told_or_in_doubt(void **state)
{
    (void)state;
    struct person person = person_new();
    struct challenge_cache *cache = challenge_cache_new();
    struct challenge_view found;
    char ids[3][ID_SIZE];
    for (size_t i = 0; i < 3; i++) {
        Record__Challenge record = record_of(&person, ids[i]);
        const struct challenge_view view = view_of(&record, 1000, 60000);
        challenge_cache_put(cache, &view, i < 2);
    }
    assert_true(challenge_cache_unchanged(cache, ids[0], &found));
    assert_true(challenge_cache_unchanged(cache, ids[1], &found));
    assert_false(challenge_cache_unchanged(cache, ids[2], &found)); /* nobody tells this worker */
    challenge_cache_changed(cache, ids[0]);
    assert_false(challenge_cache_unchanged(cache, ids[0], &found));
    assert_true(challenge_cache_unchanged(cache, ids[1], &found));
    challenge_cache_doubt(cache);
    assert_false(challenge_cache_unchanged(cache, ids[1], &found));
    for (size_t i = 0; i < 3; i++)
        assert_true(challenge_cache_find(cache, ids[i], &found)); /* its record is what it was */
    challenge_cache_free(cache);
}

static void there_is_a_limit_and_the_expired_go_first(void **state)
{
    (void)state;
    struct person person = person_new();
    struct challenge_cache *cache = challenge_cache_new();
    struct challenge_view found;
    char expired[ID_SIZE], first[ID_SIZE], id[ID_SIZE];
    Record__Challenge record = record_of(&person, expired);
    struct challenge_view view = view_of(&record, 1000, 0);
    challenge_cache_put(cache, &view, true);
    record = record_of(&person, first);
    view = view_of(&record, 1000, 60000);
    challenge_cache_put(cache, &view, true);
    assert_false(challenge_cache_find(cache, expired, &found));
    for (size_t i = 0; i < CACHED_MAX; i++) {
        assert_true(challenge_cache_find(cache, first, &found));
        record = record_of(&person, id);
        view = view_of(&record, 1000, 60000);
        challenge_cache_put(cache, &view, true);
    }
    assert_false(challenge_cache_find(cache, first, &found));
    assert_true(challenge_cache_find(cache, id, &found));
    challenge_cache_free(cache);
}

/* ---- of one that was accepted here ---- */

static char accepted_id[ID_SIZE];

static void on_accepted(enum err e, const struct challenge_accepted *accepted, void *arg)
{
    (void)arg;
    assert_int_equal(e, ERR_OK);
    snprintf(accepted_id, sizeof accepted_id, "%s", accepted->id);
    loop_stop(loop);
}

static void accept_one(struct node *node, const struct person *person)
{
    const struct challenge_request request = {.organisation = ORGANISATION,
                                              .portal = PORTAL,
                                              .user = person->user,
                                              .display = bytes_of("display"),
                                              .mode = 1,
                                              .user_verification = 1,
                                              .life_ms = LIFE_MS,
                                              .browser_session = "browser"};
    accepted_id[0] = '\0';
    challenge_create(&node->domain, &request, on_accepted, NULL);
    TURN_UNTIL(accepted_id[0]);
}

static uint64_t shown; /* revision */
static enum challenge_state shown_state;

static void on_shown(enum err e, const struct challenge_view *view, void *arg)
{
    (void)arg;
    assert_int_equal(e, ERR_OK);
    shown = view->revision;
    shown_state = view->state;
    loop_stop(loop);
}

static struct watch *look(struct node *node)
{
    shown = 0;
    struct watch *watch = watch_challenge(node->domain.watches, accepted_id, 0, on_shown, NULL);
    TURN_UNTIL(shown);
    return watch;
}

/* It was registered with the challenge itself, so what happens before anybody watches is not missed. */
static void its_worker_is_told_from_the_first_moment(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct challenge_view found;
    accept_one(&near, &person);
    assert_true(challenge_cache_unchanged(near.domain.challenge_cache, accepted_id, &found));
    progress_note(far.domain.progress, accepted_id, person.phone, 2, NULL, NULL);
    TURN_UNTIL(!challenge_cache_unchanged(near.domain.challenge_cache, accepted_id, &found));
    struct watch *watch = look(&near);
    assert_int_equal(shown, 2);
    assert_int_equal(challenge_get(&a, accepted_id, false), ERR_OK);
    challenge_cancel(&far.domain, &got.challenge, NULL, NULL, NULL);
    TURN_UNTIL(challenge_state_final(shown_state));
    (void)watch;
}

static void new_inbox_puts_it_in_doubt(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct challenge_view found;
    accept_one(&near, &person);
    redis_do("DEL %s", key_inbox(store_inbox(near.domain.store)).text);
    unsigned inboxes = near.inboxes;
    TURN_UNTIL(near.inboxes == inboxes + 1);
    assert_false(challenge_cache_unchanged(near.domain.challenge_cache, accepted_id, &found));
    redis_do("HINCRBY %s revision 1", key_challenge(accepted_id).text); /* nobody is told */
    watch_cancel(look(&near));
    assert_int_equal(shown, 2);
}

static void it_goes_when_it_is_settled_here(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    struct challenge_view found;
    accept_one(&near, &person);
    look(&near);
    assert_int_equal(shown_state, CHALLENGE_PENDING);
    assert_true(challenge_cache_find(near.domain.challenge_cache, accepted_id, &found));
    challenge_cancel(&near.domain, &found, NULL, NULL, NULL);
    TURN_UNTIL(shown_state == CHALLENGE_CANCELLED);
    assert_false(challenge_cache_find(near.domain.challenge_cache, accepted_id, &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_found_until_it_is_over),
        cmocka_unit_test(who_keeps_none_finds_none),
        cmocka_unit_test(it_is_unchanged_until_told_or_in_doubt),
        cmocka_unit_test(there_is_a_limit_and_the_expired_go_first),
#define TEST(name) cmocka_unit_test_setup_teardown(name, nodes_set_up, nodes_tear_down)
        TEST(its_worker_is_told_from_the_first_moment),
        TEST(new_inbox_puts_it_in_doubt),
        TEST(it_goes_when_it_is_settled_here),
    };
    return cmocka_run_group_tests_name("challenge_cache", tests, group_set_up, group_tear_down);
}

/**
 * The contract of store/store.h against a real Redis: what the store is asked for without a challenge or an enrolment
 * (test_store_challenge.c, test_store_enrolment.c), with Redis behaving (test_store_faults.c) and nobody else writing to
 * it (test_store_attack.c).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_fixture.h"

/* ---- opening and closing ---- */

static void closing_and_cancelling_nothing_is_allowed(void **state)
{
    (void)state;
    store_close(NULL);
    store_cancel(NULL);
}

static void open_store_is_up_and_answers(void **state)
{
    (void)state;
    assert_true(store_up(a.store));
    assert_in_range(store_since_unix_ms(a.store), clock_unix_ms() - PATIENCE_MS, clock_unix_ms());
    assert_int_equal(got_wait(store_ping(a.store, on_done, NULL)), ERR_OK);
}

static void store_without_hints_has_no_inbox(void **state)
{
    (void)state;
    const struct store_options options = {.redis = &redis.options, .timeout_ms = TIMEOUT_MS, .slot = 3};
    struct worker w = {.store = store_open(loop, secret, &options, NULL, NULL)};
    assert_false(store_up(w.store)); /* not before the loop turned */
    assert_int_equal(got_wait(store_ping(w.store, on_done, NULL)), ERR_OK);
    assert_true(store_up(w.store));
    assert_string_equal(store_inbox(w.store), "");
    worker_close(&w);
}

static void inboxes_are_named_once(void **state)
{
    (void)state;
    char first[INBOX_SIZE];
    snprintf(first, sizeof first, "%s", store_inbox(a.store));
    assert_memory_equal(first, "w1.", 3);
    assert_memory_equal(store_inbox(b.store), "w2.", 3);
    assert_int_equal(redis_do("EXISTS %s", key_inbox(first).text), 1);
    assert_in_range(redis_do("PTTL %s", key_inbox(first).text), 20000, 30000);
    worker_close(&a); /* which removes it */
    worker_open(&a, secret, 1, TIMEOUT_MS);
    TURN_UNTIL(a.inboxes == 1);
    assert_string_not_equal(store_inbox(a.store), first);
}

static unsigned silent_calls;

static void on_silent(enum err e, void *arg)
{
    (void)e;
    (void)arg;
    silent_calls++;
}

static void cancelled_call_stays_silent(void **state)
{
    (void)state;
    silent_calls = 0;
    store_cancel(store_ping(a.store, on_silent, NULL));
    struct store_call *later = store_ping(a.store, on_silent, NULL);
    assert_int_equal(got_wait(store_ping(a.store, on_done, NULL)), ERR_OK); /* Redis answers in order */
    assert_int_equal(silent_calls, 1);
    (void)later; /* its callback came: the handle is gone */
}

static void closing_fails_what_is_under_way(void **state)
{
    (void)state;
    silent_calls = 0;
    for (int i = 0; i < 5; i++)
        store_ping(a.store, on_silent, NULL);
    store_cancel(store_ping(a.store, on_silent, NULL));
    got_forget();
    store_user_get(a.store, "00112233445566778899", on_user, NULL);
    store_close(a.store);
    a.store = NULL;
    assert_int_equal(silent_calls, 5);
    assert_true(got.came);
    assert_int_equal(got.e, ERR_UNAVAILABLE);
    assert_false(got.given);
    turn(20);
    assert_int_equal(silent_calls, 5);
}

static void on_closing(enum err e, void *arg)
{
    (void)arg;
    got_came(e, NULL);
    assert_string_equal(store_inbox(a.store), "");
}

static void callback_of_a_closing_store_may_ask_for_the_inbox(void **state)
{
    (void)state;
    got_forget();
    store_ping(a.store, on_closing, NULL);
    store_close(a.store);
    a.store = NULL;
    assert_true(got.came);
    turn(5);
}

/* ---- registry ---- */

static void on_organisation(enum err e, const Record__Organisation *organisation, struct bytes fence,
                            void *arg)
{
    (void)fence;
    (void)arg;
    got.organisation = got_copy(organisation);
    got_came(e, organisation);
}

static void on_portal(enum err e, const struct portal_view *view, void *arg)
{
    (void)arg;
    got.portal = got_copy(view ? view->record : NULL);
    got_came(e, view);
}

static void organisations_are_put_once(void **state)
{
    (void)state;
    Record__Organisation acme = RECORD__ORGANISATION__INIT, other = RECORD__ORGANISATION__INIT;
    acme.id = other.id = "acme";
    acme.name = "ACME \xe2\x84\xa2";
    acme.support_text = "Call 42";
    other.name = "Others";
    assert_int_equal(got_wait(store_organisation_get(a.store, "acme", on_organisation, NULL)), ERR_NOT_FOUND);
    assert_false(got.given);
    assert_int_equal(got_wait(store_organisation_put(a.store, &acme, on_done, NULL)), ERR_OK);
    assert_int_equal(got_wait(store_organisation_put(b.store, &acme, on_done, NULL)), ERR_OK);
    assert_int_equal(got_wait(store_organisation_put(b.store, &other, on_done, NULL)), ERR_EXISTS);
    assert_int_equal(got_wait(store_organisation_get(b.store, "acme", on_organisation, NULL)), ERR_OK);
    assert_same(got.organisation, &acme);
    assert_int_equal(got_wait(store_organisation_get(b.store, "acm", on_organisation, NULL)), ERR_NOT_FOUND);
}

static void portals_are_put_once(void **state)
{
    (void)state;
    uint8_t hash[SHA256_BYTES] = {0, 1, 255};
    uint32_t modes[] = {1, 3}, scopes[] = {2};
    Record__Portal portal = RECORD__PORTAL__INIT, other = RECORD__PORTAL__INIT;
    portal.id = other.id = "intranet";
    portal.organisation = "acme";
    portal.name = "Intranet";
    portal.n_modes = 2;
    portal.modes = modes;
    portal.n_scopes = 1;
    portal.scopes = scopes;
    portal.secret_hash = (ProtobufCBinaryData){.data = hash, .len = sizeof hash};
    assert_int_equal(got_wait(store_portal_get(a.store, "intranet", on_portal, NULL)), ERR_NOT_FOUND);
    assert_int_equal(got_wait(store_portal_put(a.store, &portal, on_done, NULL)), ERR_OK);
    assert_int_equal(got_wait(store_portal_put(a.store, &portal, on_done, NULL)), ERR_OK);
    assert_int_equal(got_wait(store_portal_put(a.store, &other, on_done, NULL)), ERR_EXISTS);
    assert_int_equal(got_wait(store_portal_get(b.store, "intranet", on_portal, NULL)), ERR_OK);
    assert_same(got.portal, &portal);
    /* An organisation of that name is another thing. */
    assert_int_equal(got_wait(store_organisation_get(a.store, "intranet", on_organisation, NULL)),
                     ERR_NOT_FOUND);
}

/* ---- hints ---- */

static enum err hint(struct worker *from, const char *inbox, const char *id, struct bytes frame)
{
    Record__Hint record = RECORD__HINT__INIT;
    record.kind = HINT_PUSH;
    record.id = (char *)(uintptr_t)id;
    record.device_id = "device";
    record.connection = UINT64_MAX;
    record.frame = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)frame.p, .len = frame.len};
    return got_wait(store_hint(from->store, inbox, &record, on_done, NULL));
}

static void hints_arrive_whole_and_in_order(void **state)
{
    (void)state;
    static uint8_t frame[16400];
    frame[0] = 0xca;
    frame[sizeof frame - 1] = 0xfe;
    for (unsigned i = 0; i < 20; i++) {
        char id[8];
        snprintf(id, sizeof id, "%u", i);
        assert_int_equal(hint(&a, store_inbox(b.store), id, bytes_make(frame, i ? sizeof frame : 0)), ERR_OK);
    }
    TURN_UNTIL(b.hint_count >= 20);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(strtoul(b.hints[i].id, NULL, 10), i);
        assert_int_equal(b.hints[i].kind, HINT_PUSH);
        assert_string_equal(b.hints[i].device_id, "device");
        assert_true(b.hints[i].connection == UINT64_MAX);
        assert_int_equal(b.hints[i].frame_len, i ? sizeof frame : 0);
        assert_int_equal(b.hints[i].frame_first, i ? 0xca : 0);
        assert_int_equal(b.hints[i].frame_last, i ? 0xfe : 0);
    }
    turn(20);
    assert_int_equal(b.hint_count, 20); /* each once */
    assert_int_equal(a.hint_count, 0);
}

static void hints_may_go_to_oneself_and_unheard(void **state)
{
    (void)state;
    Record__Hint record = RECORD__HINT__INIT;
    record.kind = HINT_CHANGED;
    store_hint(a.store, store_inbox(a.store), &record, NULL, NULL);
    store_hint(a.store, "w9.0011223344556677.1", &record, NULL, NULL);
    TURN_UNTIL(a.hint_count == 1);
    assert_int_equal(a.hints[0].kind, HINT_CHANGED);
}

static void dead_inbox_is_not_made_anew(void **state)
{
    (void)state;
    static const char dead[] = "w9.0011223344556677.1";
    assert_int_equal(hint(&a, dead, "x", bytes_make(NULL, 0)), ERR_NOT_FOUND);
    assert_int_equal(redis_do("EXISTS %s", key_inbox(dead).text), 0);
    char closed[INBOX_SIZE];
    snprintf(closed, sizeof closed, "%s", store_inbox(b.store));
    assert_int_equal(hint(&a, closed, "x", bytes_make(NULL, 0)), ERR_OK);
    worker_close(&b);
    assert_int_equal(hint(&a, closed, "x", bytes_make(NULL, 0)), ERR_NOT_FOUND);
}

static void hint_that_cannot_be_read_is_skipped(void **state)
{
    (void)state;
    struct key key = key_inbox(store_inbox(b.store));
    redis_do("XADD %s * hint %b", key.text, "\xff\xff\xff", (size_t)3);
    redis_do("XADD %s * other field", key.text);
    redis_do("XADD %s * hint %s", key.text, "");
    assert_int_equal(hint(&a, store_inbox(b.store), "good", bytes_make(NULL, 0)), ERR_OK);
    TURN_UNTIL(b.hint_count > 0);
    assert_string_equal(b.hints[b.hint_count - 1].id, "good");
}

/* ---- devices ---- */

static void assert_stored_presence(const struct person *person, const char *expected)
{
    struct key key = key_user(person->tag, "presence");
    assert_string_equal(redis_text(NULL, "HGET %s %s", key.text, person->phone), expected);
}

static void attach_takes_the_device(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    Record__Device device = device_of(&person);
    char presence[96];
    assert_int_equal(attach(&a, &person, 1, 77), ERR_OK);
    assert_int_equal(got.device_count, 1);
    assert_same(got.devices[0], &device);
    assert_string_equal(got.taken.inbox, "");
    assert_int_equal(got.pending_count, 0);
    assert_in_range(got.now_unix_ms, clock_unix_ms() - PATIENCE_MS, clock_unix_ms() + 1);
    snprintf(presence, sizeof presence, "%s#77#0", store_inbox(a.store));
    assert_stored_presence(&person, presence);
    /* A repeat, as after a lost reply, takes it from nobody. */
    assert_int_equal(attach(&a, &person, 1, 77), ERR_OK);
    assert_string_equal(got.taken.inbox, "");
}

static void attach_of_what_is_not_the_device_is_denied(void **state)
{
    (void)state;
    struct person person = person_with_phone(), unknown = person_with_other_phone(&person),
                  wrong_key = person;
    assert_int_equal(attach(&a, &person, 1, 1), ERR_OK);
    assert_int_equal(attach(&b, &person, 0, 2), ERR_DENIED);
    assert_false(got.given);
    assert_int_equal(attach(&b, &person, 2, 2), ERR_DENIED);
    assert_int_equal(attach(&b, &person, 1 << 24, 2), ERR_DENIED);
    wrong_key.keys[0][64] ^= 1;
    assert_int_equal(attach(&b, &wrong_key, 1, 2), ERR_DENIED);
    assert_int_equal(attach(&b, &unknown, 1, 2), ERR_DENIED);
    struct person nobody = person_new();
    assert_int_equal(attach(&b, &nobody, 1, 2), ERR_DENIED);
    assert_int_equal(attach(&b, &person, 1, 3), ERR_OK); /* none of them took it */
    assert_presence(&got.taken, store_inbox(a.store), 1);
}

static void take_over_says_whom_it_took_it_from(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    assert_int_equal(attach(&a, &person, 1, 1), ERR_OK);
    assert_int_equal(attach(&b, &person, 1, 1), ERR_OK);
    assert_presence(&got.taken, store_inbox(a.store), 1);
    assert_int_equal(attach(&b, &person, 1, UINT64_MAX), ERR_OK);
    assert_presence(&got.taken, store_inbox(b.store), 1);
    assert_int_equal(attach(&a, &person, 1, 2), ERR_OK);
    assert_presence(&got.taken, store_inbox(b.store), UINT64_MAX);
}

static enum err detach(struct worker *w, const struct person *person, const char *inbox, uint64_t connection)
{
    struct presence presence = {.connection = connection};
    snprintf(presence.inbox, sizeof presence.inbox, "%s", inbox);
    return got_wait(store_device_detach(w->store, person->phone, &presence, on_done, NULL));
}

static void detach_is_fenced(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char presence[96];
    assert_int_equal(detach(&a, &person, store_inbox(a.store), 1), ERR_OK); /* nothing there */
    assert_int_equal(attach(&a, &person, 1, 1), ERR_OK);
    assert_int_equal(attach(&b, &person, 1, 2), ERR_OK);
    snprintf(presence, sizeof presence, "%s#2#0", store_inbox(b.store));
    assert_int_equal(detach(&a, &person, store_inbox(a.store), 1), ERR_OK); /* who lost it */
    assert_stored_presence(&person, presence);
    assert_int_equal(detach(&b, &person, store_inbox(b.store), 1), ERR_OK); /* another connection */
    assert_stored_presence(&person, presence);
    assert_int_equal(detach(&a, &person, store_inbox(b.store), 2), ERR_OK); /* whoever names it */
    assert_stored_presence(&person, "##0");
    assert_int_equal(attach(&b, &person, 1, 3), ERR_OK);
    struct presence now = {.connection = 3};
    snprintf(now.inbox, sizeof now.inbox, "%s", store_inbox(b.store));
    store_device_detach(b.store, person.phone, &now, NULL, NULL);
    TURN_UNTIL(strcmp(redis_text(NULL, "HGET %s %s", key_user(person.tag, "presence").text, person.phone),
                      "##0") == 0);
}

static void attach_lists_what_is_pending(void **state)
{
    (void)state;
    struct person person = person_with_phone();
    char waiting[ID_SIZE], settled[ID_SIZE], over[ID_SIZE];
    Record__Challenge record = challenge_of(&person, settled, LIFE_MS);
    record.portal = "second";
    assert_int_equal(challenge_create_plain(&a, &record), ERR_OK);
    assert_int_equal(challenge_settle(&a, settled, CHALLENGE_CANCELLED, NULL), ERR_OK);
    challenge_new(&a, &person, waiting, LIFE_MS);
    record = challenge_of(&person, over, 1);
    record.portal = "first";
    assert_int_equal(challenge_create_plain(&a, &record), ERR_OK);
    TURN_UNTIL(attach(&b, &person, 1, 1) == ERR_OK && got.pending_count < 2); /* one millisecond is over */
    assert_int_equal(got.pending_count, 1);
    assert_string_equal(got.pending[0], waiting);
}

static void user_and_their_devices(void **state)
{
    (void)state;
    struct person person = person_new(), second = person_with_other_phone(&person), nobody = person_new();
    char id[ID_SIZE];
    assert_int_equal(user_get(&a, nobody.tag), ERR_NOT_FOUND);
    assert_false(got.given);
    Record__Enrolment record = enrolment_of(&person, id, true);
    assert_int_equal(enrolment_create(&a, &record, LIFE_MS), ERR_OK);
    assert_int_equal(user_get(&a, person.tag), ERR_OK); /* began, and has no phone */
    assert_int_equal(got.device_count, 0);
    enrol(&a, &person);
    enrol(&a, &second);
    assert_int_equal(attach(&b, &second, 1, 5), ERR_OK);
    assert_int_equal(user_get(&a, person.tag), ERR_OK);
    assert_int_equal(got.device_count, 2);
    size_t first_at = strcmp(got.devices[0]->id, person.phone) == 0 ? 0 : 1;
    Record__Device devices[] = {device_of(&person), device_of(&second)};
    assert_same(got.devices[first_at], &devices[0]);
    assert_same(got.devices[1 - first_at], &devices[1]);
    assert_string_equal(got.presences[first_at].inbox, "");
    assert_presence(&got.presences[1 - first_at], store_inbox(b.store), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(closing_and_cancelling_nothing_is_allowed),
        TEST(open_store_is_up_and_answers),
        TEST(store_without_hints_has_no_inbox),
        TEST(inboxes_are_named_once),
        TEST(cancelled_call_stays_silent),
        TEST(closing_fails_what_is_under_way),
        TEST(callback_of_a_closing_store_may_ask_for_the_inbox),
        TEST(organisations_are_put_once),
        TEST(portals_are_put_once),
        TEST(hints_arrive_whole_and_in_order),
        TEST(hints_may_go_to_oneself_and_unheard),
        TEST(dead_inbox_is_not_made_anew),
        TEST(hint_that_cannot_be_read_is_skipped),
        TEST(attach_takes_the_device),
        TEST(attach_of_what_is_not_the_device_is_denied),
        TEST(take_over_says_whom_it_took_it_from),
        TEST(detach_is_fenced),
        TEST(attach_lists_what_is_pending),
        TEST(user_and_their_devices),
    };
    return cmocka_run_group_tests_name("store", tests, group_set_up, group_tear_down);
}

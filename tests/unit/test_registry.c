/* Whose credential it is: what is read for it, and what is remembered, on a real Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "domain/registry.h"
#include "store_fixture.h"

static struct domain domain;
static char credential[CREDENTIAL_SIZE];

static struct {
    bool came;
    enum err e;
    struct portal *portal;
    struct proof proof;
    unsigned changes;
    bool gone;
} seen;

static int set_up_registry(void **state)
{
    if (set_up(state) != 0)
        return -1;
    domain = (struct domain){.loop = loop, .store = a.store, .secret = secret};
    domain.registry = registry_new(&domain);
    memset(&seen, 0, sizeof seen);
    return 0;
}

static int tear_down_registry(void **state)
{
    portal_unref(seen.portal);
    worker_close(&a);
    registry_free(domain.registry);
    return tear_down(state);
}

static void on_added(enum err e, const struct portal_view *view, const char *made, void *arg)
{
    (void)arg;
    (void)view;
    if (made)
        snprintf(credential, sizeof credential, "%s", made);
    seen.e = e;
    seen.came = true;
}

static void on_accepted(enum err e, struct portal *portal, const struct proof *proof, const char *why,
                        void *arg)
{
    (void)arg;
    (void)why;
    portal_unref(seen.portal);
    seen.portal = portal ? portal_ref(portal) : NULL;
    if (proof)
        seen.proof = *proof;
    seen.e = e;
    seen.came = true;
}

static void on_change(const char *id, const struct portal *now, void *arg)
{
    (void)id;
    (void)arg;
    seen.changes++;
    seen.gone = !portal_accepts(now, &seen.proof);
}

static enum err authenticate(const char *text)
{
    seen.came = false;
    const struct shown shown = {.credential = bytes_of(text)};
    registry_authenticate(domain.registry, &shown, on_accepted, NULL);
    assert_false(seen.came);
    TURN_UNTIL(seen.came);
    return seen.e;
}

static enum err outcome(struct registry_op *op)
{
    (void)op;
    TURN_UNTIL(seen.came);
    seen.came = false;
    return seen.e;
}

static void add_portal(char *id)
{
    Record__Organisation organisation = RECORD__ORGANISATION__INIT;
    Record__Portal portal = RECORD__PORTAL__INIT;
    organisation.id = organisation.name = "acme";
    portal.id = portal.name = id;
    portal.organisation = "acme";
    assert_int_equal(got_wait(store_organisation_put(a.store, &organisation, on_done, NULL)), ERR_OK);
    seen.came = false;
    assert_int_equal(outcome(registry_add_portal(domain.registry, &portal, 1, on_added, NULL)), ERR_OK);
}

/* Reads of records since the test began, whoever made them. */
static int64_t reads(void)
{
    return redis_do("EVAL %s 0", "local s = redis.call('INFO', 'commandstats') "
                                 "return tonumber(string.match(s, 'cmdstat_get:calls=(%d+)') or 0)");
}

static void accepted_once_is_remembered_for_a_while(void **state)
{
    (void)state;
    add_portal("remembered");
    assert_int_equal(authenticate(credential), ERR_OK);
    int64_t before = reads();
    for (int i = 0; i < 100; i++)
        assert_int_equal(authenticate(credential), ERR_OK);
    assert_int_equal(reads() - before, 0);
}

static void unknown_portal_and_wrong_secret_cost_the_same(void **state)
{
    (void)state;
    char wrong[CREDENTIAL_SIZE], unknown[CREDENTIAL_SIZE + 8];
    add_portal("known");
    assert_int_equal(authenticate(credential), ERR_OK); /* it is remembered now */
    snprintf(wrong, sizeof wrong, "%s", credential);
    wrong[sizeof "known."] = wrong[sizeof "known."] == 'A' ? 'B' : 'A';
    snprintf(unknown, sizeof unknown, "nobody%s", strchr(credential, '.'));
    for (int i = 0; i < 3; i++) {
        int64_t before = reads();
        assert_int_equal(authenticate(wrong), ERR_DENIED);
        assert_int_equal(reads() - before, 1);
        before = reads();
        assert_int_equal(authenticate(unknown), ERR_DENIED);
        assert_int_equal(reads() - before, 1);
    }
}

static void what_is_no_credential_is_refused_unread(void **state)
{
    (void)state;
    static const char *const none[] = {"", ".", "x", ".x", "No-Name.x", "a b.x"};
    int64_t before = reads();
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(authenticate(none[i]), ERR_DENIED);
    assert_int_equal(reads() - before, 0);
}

static void new_secret_counts_at_once_and_the_old_one_beside_it(void **state)
{
    (void)state;
    char old[CREDENTIAL_SIZE];
    add_portal("rotated");
    snprintf(old, sizeof old, "%s", credential);
    assert_int_equal(authenticate(old), ERR_OK);
    seen.came = false;
    assert_int_equal(outcome(registry_rotate(domain.registry, "rotated", 60, on_added, NULL)), ERR_OK);
    assert_string_not_equal(old, credential);
    assert_int_equal(authenticate(credential), ERR_OK);
    assert_int_equal(authenticate(old), ERR_OK);
    seen.came = false;
    assert_int_equal(outcome(registry_rotate(domain.registry, "rotated", 60, on_added, NULL)), ERR_EXISTS);
}

static void removed_portal_is_noticed_while_it_is_held(void **state)
{
    (void)state;
    add_portal("removed");
    registry_on_change(domain.registry, on_change, NULL);
    assert_int_equal(authenticate(credential), ERR_OK);
    seen.came = false;
    assert_int_equal(outcome(registry_remove(domain.registry, "removed", on_added, NULL)), ERR_OK);
    TURN_UNTIL(seen.changes == 1);
    assert_true(seen.gone);
    assert_false(portal_accepts(NULL, &seen.proof));
    assert_int_equal(authenticate(credential), ERR_DENIED);
}

static void nothing_is_read_once_it_is_closed(void **state)
{
    (void)state;
    add_portal("closing");
    assert_int_equal(authenticate(credential), ERR_OK);
    int64_t before = reads();
    registry_close(domain.registry);
    turn(PORTAL_REREAD_MS + 100);
    assert_int_equal(reads() - before, 0);
}

static void deleted_record_is_noticed_too(void **state)
{
    (void)state;
    add_portal("deleted");
    registry_on_change(domain.registry, on_change, NULL);
    assert_int_equal(authenticate(credential), ERR_OK);
    redis_do("DEL %s", key_portal("deleted").text);
    TURN_UNTIL(seen.changes >= 1);
    assert_true(seen.gone);
}

static void nobody_reads_for_a_portal_that_nobody_uses(void **state)
{
    (void)state;
    add_portal("idle");
    assert_int_equal(authenticate(credential), ERR_OK);
    portal_unref(seen.portal);
    seen.portal = NULL;
    turn(2 * PORTAL_REREAD_MS + PORTAL_FRESH_MS);
    int64_t before = reads();
    turn(2 * PORTAL_REREAD_MS);
    assert_int_equal(reads() - before, 0);
}

static void on_stranger(enum err e, struct portal *portal, const struct proof *proof, const char *why,
                        void *arg)
{
    unsigned *answers = arg;
    (void)portal, (void)proof, (void)why;
    answers[e == ERR_LIMIT]++;
}

/* Nor does their flood keep anybody out who is remembered. */
static void strangers_read_so_much_at_a_time(void **state)
{
    (void)state;
    unsigned answers[2] = {0};
    const struct shown stranger = {.credential = bytes_of("nobody.secret")};
    add_portal("well-known");
    assert_int_equal(authenticate(credential), ERR_OK);
    for (int i = 0; i < 2 * AUTHENTICATIONS_MAX; i++)
        registry_authenticate(domain.registry, &stranger, on_stranger, answers);
    assert_int_equal(authenticate(credential), ERR_OK);
    TURN_UNTIL(answers[false] + answers[true] == 2 * AUTHENTICATIONS_MAX);
    assert_int_equal(answers[true], AUTHENTICATIONS_MAX);
    assert_int_equal(authenticate("nobody.secret"), ERR_DENIED); /* there is room again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_registry, tear_down_registry)
        TEST(accepted_once_is_remembered_for_a_while),
        TEST(unknown_portal_and_wrong_secret_cost_the_same),
        TEST(what_is_no_credential_is_refused_unread),
        TEST(new_secret_counts_at_once_and_the_old_one_beside_it),
        TEST(removed_portal_is_noticed_while_it_is_held),
        TEST(nothing_is_read_once_it_is_closed),
        TEST(deleted_record_is_noticed_too),
        TEST(nobody_reads_for_a_portal_that_nobody_uses),
        TEST(strangers_read_so_much_at_a_time),
    };
    return cmocka_run_group_tests_name("registry", tests, group_set_up, group_tear_down);
}

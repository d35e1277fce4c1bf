/** store/challenge_state: names, numbers of the contract, and the table of legal moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nanopush/v1/common.pb-c.h"
#include "store/challenge_state.h"

static void numbers_and_names_are_the_contracts(void **state)
{
    (void)state;
    static const char prefix[] = "CHALLENGE_STATE_";
    const ProtobufCEnumDescriptor *contract = &nanopush__v1__challenge_state__descriptor;
    assert_int_equal(contract->n_values, CHALLENGE_STATE_COUNT);
    for (unsigned i = CHALLENGE_NONE + 1; i < CHALLENGE_STATE_COUNT; i++) {
        const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(contract, (int)i);
        assert_non_null(value);
        assert_memory_equal(value->name, prefix, sizeof prefix - 1);
        assert_int_equal(strcasecmp(value->name + sizeof prefix - 1, challenge_state_name(i)), 0);
        assert_int_equal(challenge_state_parse(bytes_of(challenge_state_name(i))), i);
    }
}

static void unknown_names_are_no_states(void **state)
{
    (void)state;
    static const char *const unknown[] = {"",         "none",     "Pending",  "pendin",
                                          "pendings", " pending", "approved "};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_int_equal(challenge_state_parse(bytes_of(unknown[i])), CHALLENGE_NONE);
    assert_int_equal(challenge_state_parse(bytes_make("pending\0", 8)), CHALLENGE_NONE);
    assert_int_equal(challenge_state_parse(bytes_of(NULL)), CHALLENGE_NONE);
    assert_string_equal(challenge_state_name(CHALLENGE_NONE), "none");
    assert_string_equal(challenge_state_name(CHALLENGE_STATE_COUNT), "none");
    assert_string_equal(challenge_state_name((enum challenge_state) - 1), "none");
}

/* Written out here once more: from PENDING to each other one, from nowhere else, and never back. */
static void only_pending_moves(void **state)
{
    (void)state;
    for (unsigned from = 0; from <= CHALLENGE_STATE_COUNT; from++)
        for (unsigned to = 0; to <= CHALLENGE_STATE_COUNT; to++) {
            bool legal = from == CHALLENGE_PENDING && to > CHALLENGE_PENDING && to < CHALLENGE_STATE_COUNT;
            assert_int_equal(challenge_state_may_move(from, to), legal);
        }
}

static void all_but_pending_are_final(void **state)
{
    (void)state;
    for (unsigned i = CHALLENGE_NONE + 1; i < CHALLENGE_STATE_COUNT; i++)
        assert_int_equal(challenge_state_final(i), i != CHALLENGE_PENDING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_names_are_the_contracts),
        cmocka_unit_test(unknown_names_are_no_states),
        cmocka_unit_test(only_pending_moves),
        cmocka_unit_test(all_but_pending_are_final),
    };
    return cmocka_run_group_tests_name("challenge_state", tests, NULL, NULL);
}

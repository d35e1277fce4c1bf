#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nanopush/v1/challenge.pb-c.h"
#include "nanopush/v1/common.pb-c.h"
#include "nanopush/v1/device.pb-c.h"
#include "wire/message.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_MAX_BYTES);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

/* Field by field, so that it shows what was lost. */
static void what_is_packed_is_parsed(void **state)
{
    (void)state;
    Nanopush__V1__Enrol enrol = NANOPUSH__V1__ENROL__INIT;
    enrol.organisation = "acme";
    enrol.enrolment_id = "e1";
    enrol.token = (ProtobufCBinaryData){.len = 4, .data = (uint8_t *)"\0\x01\xff\0"};
    enrol.name = "Ada\xe2\x80\x99s phone";
    enrol.platform = NANOPUSH__V1__PLATFORM__PLATFORM_IOS;
    Nanopush__V1__PhoneMessage phone = NANOPUSH__V1__PHONE_MESSAGE__INIT;
    phone.message_case = NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ENROL;
    phone.enrol = &enrol;
    struct buf wire = {0};
    assert_int_equal(message_pack(&phone.base, &wire), ERR_OK);

    ProtobufCMessage *message;
    assert_int_equal(message_parse(phone.base.descriptor, buf_view(&wire), SCAN_STRICT, &arena, &message),
                     ERR_OK);
    buf_done(&wire);
    const Nanopush__V1__PhoneMessage *parsed = (const Nanopush__V1__PhoneMessage *)message;
    assert_int_equal(parsed->message_case, NANOPUSH__V1__PHONE_MESSAGE__MESSAGE_ENROL);
    assert_string_equal(parsed->enrol->organisation, "acme");
    assert_string_equal(parsed->enrol->enrolment_id, "e1");
    assert_int_equal(parsed->enrol->token.len, 4);
    assert_memory_equal(parsed->enrol->token.data, "\0\x01\xff\0", 4);
    assert_string_equal(parsed->enrol->name, "Ada\xe2\x80\x99s phone");
    assert_int_equal(parsed->enrol->platform, NANOPUSH__V1__PLATFORM__PLATFORM_IOS);
    assert_int_equal(parsed->enrol->proof.len, 0);
}

static void no_bytes_are_an_empty_message(void **state)
{
    (void)state;
    ProtobufCMessage *message;
    assert_int_equal(
        message_parse(&nanopush__v1__display__descriptor, bytes_make(NULL, 0), SCAN_STRICT, &arena, &message),
        ERR_OK);
    assert_string_equal(((Nanopush__V1__Display *)message)->user, "");
    struct buf wire = {0};
    assert_int_equal(message_pack(message, &wire), ERR_OK);
    assert_int_equal(buf_len(&wire), 0);
    buf_done(&wire);
}

static void an_unknown_kind_parses_as_none(void **state)
{
    (void)state;
    ProtobufCMessage *message;
    assert_int_equal(message_parse(&nanopush__v1__phone_message__descriptor, bytes_make("\x7a\x03xyz", 5), 0,
                                   &arena, &message),
                     ERR_OK);
    assert_int_equal(((Nanopush__V1__PhoneMessage *)message)->message_case,
                     NANOPUSH__V1__PHONE_MESSAGE__MESSAGE__NOT_SET);
}

static void what_the_scan_refuses_is_not_unpacked(void **state)
{
    (void)state;
    ProtobufCMessage *message = NULL;
    const ProtobufCMessageDescriptor *display = &nanopush__v1__display__descriptor;
    assert_int_equal(message_parse(display, bytes_make("\x1a\x03x\0y", 5), 0, &arena, &message),
                     ERR_MALFORMED);
    assert_int_equal(message_parse(display, bytes_make("\x50\x09", 2), SCAN_STRICT, &arena, &message),
                     ERR_UNSUPPORTED);
    assert_null(message);
    assert_null(arena.newest);
}

/* 3 bytes that become a whole message, each: protobuf-c's amplification. */
static void a_full_arena_is_too_big(void **state)
{
    (void)state;
    struct buf wire = {0};
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_append(&wire, bytes_make("\x32\x00", 2)), ERR_OK);
    ProtobufCMessage *message = NULL;
    const ProtobufCMessageDescriptor *challenge = &nanopush__v1__challenge__descriptor;
    assert_int_equal(message_parse(challenge, buf_view(&wire), 0, &arena, &message), ERR_TOO_BIG);
    assert_null(message);
    arena_done(&arena);
    assert_int_equal(message_parse(challenge, bytes_make("\x32\x00", 2), 0, &arena, &message), ERR_OK);
    buf_done(&wire);
}

int main(void)
{
    const struct CMUnitTest message[] = {
        cmocka_unit_test_setup_teardown(what_is_packed_is_parsed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_bytes_are_an_empty_message, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_kind_parses_as_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_scan_refuses_is_not_unpacked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_arena_is_too_big, set_up, tear_down),
    };
    return cmocka_run_group_tests(message, NULL, NULL);
}

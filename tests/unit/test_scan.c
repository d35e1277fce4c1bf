#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nanopush/v1/admin.pb-c.h"
#include "nanopush/v1/challenge.pb-c.h"
#include "nanopush/v1/common.pb-c.h"
#include "nanopush/v1/device.pb-c.h"
#include "wire/scan.h"

#define SCAN(type, wire, flags)                                                                              \
    scan_message(&nanopush__v1__##type##__descriptor, bytes_make(wire, sizeof(wire) - 1), flags)

static void takes_what_protobuf_c_packs(void **state)
{
    (void)state;
    Nanopush__V1__DisplayField field = NANOPUSH__V1__DISPLAY_FIELD__INIT, *fields[] = {&field, &field};
    field.label = "Amount";
    field.value = "\xe2\x82\xac 5";
    Nanopush__V1__Display display = NANOPUSH__V1__DISPLAY__INIT;
    display.user = "ada";
    display.occasion = NANOPUSH__V1__OCCASION__OCCASION_SIGN_IN;
    display.n_fields = 2;
    display.fields = fields;
    uint8_t wire[128];
    size_t len = protobuf_c_message_pack(&display.base, wire);
    assert_int_equal(scan_message(display.base.descriptor, bytes_make(wire, len), SCAN_STRICT), ERR_OK);
    assert_int_equal(scan_message(display.base.descriptor, bytes_make(NULL, 0), SCAN_STRICT), ERR_OK);
}

/* One field, so that every cut is inside it. */
static void refuses_a_message_cut_anywhere(void **state)
{
    (void)state;
    static const char good[] = "\x0a\x0a\x0a\x03"
                               "acm\x20\x80\x01\x30\x01";
    for (size_t len = 1; len < sizeof good - 1; len++)
        assert_int_equal(scan_message(&nanopush__v1__phone_message__descriptor, bytes_make(good, len), 0),
                         ERR_MALFORMED);
    assert_int_equal(SCAN(phone_message, good, 0), ERR_OK);
}

static void refuses_strings_that_c_or_unicode_cannot_hold(void **state)
{
    (void)state;
    assert_int_equal(SCAN(display,
                          "\x1a\x03"
                          "a\0b",
                          0),
                     ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\x1a\x01\0", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\x1a\x01\xff", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\x1a\x02\xc0\x80", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\x1a\x03\xed\xa0\x80", 0), ERR_MALFORMED); /* a surrogate */
    assert_int_equal(SCAN(display, "\x5a\x03\x0a\x01\xff", 0), ERR_MALFORMED); /* in a nested message */
    assert_int_equal(SCAN(challenge_push, "\x5a\x01\0", 0), ERR_MALFORMED);    /* in a list */
    assert_int_equal(SCAN(display, "\x1a\x02\xc3\xa9", 0), ERR_OK);
    assert_int_equal(SCAN(challenge_push, "\x2a\x02\0\xff", 0), ERR_OK); /* bytes may be anything */
}

static void refuses_bad_tags_and_groups(void **state)
{
    (void)state;
    assert_int_equal(SCAN(display, "\x00\x00", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\x80\x00\x00", 0), ERR_MALFORMED); /* number 0, written longer */
    assert_int_equal(SCAN(display, "\xa3\x06\xa4\x06", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\xa6\x06", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\xa7\x06", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\xf8\xff\xff\xff\x0f\x01", 0), ERR_OK); /* 2^29 - 1 */
    assert_int_equal(SCAN(display, "\xf8\xff\xff\xff\x1f\x01", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\xf8\xff\xff\xff\x8f\x00\x01", 0), ERR_MALFORMED);
}

static void refuses_varints_of_more_than_64_bits(void **state)
{
    (void)state;
    assert_int_equal(SCAN(pong, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0), ERR_OK);
    assert_int_equal(SCAN(pong, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(pong, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x00", 0), ERR_MALFORMED);
}

static void refuses_lengths_that_protobuf_c_does_not_read(void **state)
{
    (void)state;
    assert_int_equal(SCAN(display, "\x1a\x81\x80\x80\x80\x00x", 0), ERR_OK);
    assert_int_equal(SCAN(display, "\x1a\x81\x80\x80\x80\x80\x00x", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\x1a\x80\x80\x80\x80\x08", 0), ERR_MALFORMED); /* 2 GiB */
    assert_int_equal(SCAN(display, "\x1a\xff\xff\xff\xff\x1f", 0), ERR_MALFORMED);
}

static void refuses_another_wire_type(void **state)
{
    (void)state;
    assert_int_equal(SCAN(display, "\x18\x01", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\x1d\0\0\0\0", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(pong, "\x0a\x01\x01", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(pong, "\x09\0\0\0\0\0\0\0\0", 0), ERR_MALFORMED);
}

/* protobuf-c would merge the two messages wrongly, and parsers differ over which string counts. */
static void refuses_a_field_or_oneof_that_stands_twice(void **state)
{
    (void)state;
    assert_int_equal(SCAN(display, "\x1a\x01x\x1a\x01x", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(phone_message, "\x4a\x00\x4a\x00", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(phone_message, "\x4a\x00\x52\x00", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(display, "\x5a\x00\x5a\x00", 0), ERR_OK);
    assert_int_equal(SCAN(phone_message, "\x4a\x00\x7a\x00\x7a\x00", 0), ERR_OK); /* unknown ones may */
}

static void only_strict_refuses_what_it_does_not_know(void **state)
{
    (void)state;
    static const char field[] = "\x1a\x01x\xa0\x06\x01", nested[] = "\x5a\x02\x18\x01", value[] = "\x50\x09";
    assert_int_equal(SCAN(display, field, 0), ERR_OK);
    assert_int_equal(SCAN(display, field, SCAN_STRICT), ERR_UNSUPPORTED);
    assert_int_equal(SCAN(display, nested, 0), ERR_OK);
    assert_int_equal(SCAN(display, nested, SCAN_STRICT), ERR_UNSUPPORTED);
    assert_int_equal(SCAN(display, value, 0), ERR_OK);
    assert_int_equal(SCAN(display, value, SCAN_STRICT), ERR_UNSUPPORTED);
    assert_int_equal(SCAN(display, "\x50\x02", SCAN_STRICT), ERR_OK);
    assert_int_equal(SCAN(portal, "\x22\x02\x01\x03", SCAN_STRICT), ERR_OK);
    assert_int_equal(SCAN(portal, "\x22\x02\x01\x09", SCAN_STRICT), ERR_UNSUPPORTED);
    assert_int_equal(SCAN(portal, "\x20\x01\x20\x03", SCAN_STRICT), ERR_OK); /* not packed */
}

static void refuses_a_packed_list_cut_short(void **state)
{
    (void)state;
    assert_int_equal(SCAN(portal, "\x22\x02\x01\x83", 0), ERR_MALFORMED);
    assert_int_equal(SCAN(portal, "\x22\x00", 0), ERR_OK);
}

static void counts_fields_and_packed_elements(void **state)
{
    (void)state;
    static uint8_t empty_strings[2 * (SCAN_MAX_FIELDS + 1)], packed[3 + SCAN_MAX_FIELDS];
    for (size_t i = 0; i < sizeof empty_strings; i += 2)
        empty_strings[i] = 0x5a;
    const ProtobufCMessageDescriptor *push = &nanopush__v1__challenge_push__descriptor;
    assert_int_equal(scan_message(push, bytes_make(empty_strings, 2 * SCAN_MAX_FIELDS), 0), ERR_OK);
    assert_int_equal(scan_message(push, bytes_make(empty_strings, sizeof empty_strings), 0), ERR_TOO_BIG);

    const ProtobufCMessageDescriptor *portal = &nanopush__v1__portal__descriptor;
    size_t count = SCAN_MAX_FIELDS - 1; /* and the list itself */
    memcpy(packed, (uint8_t[]){0x22, (uint8_t)(count | 0x80), (uint8_t)(count >> 7)}, 3);
    assert_int_equal(scan_message(portal, bytes_make(packed, 3 + count), 0), ERR_OK);
    count++;
    memcpy(packed, (uint8_t[]){0x22, (uint8_t)(count | 0x80), (uint8_t)(count >> 7)}, 3);
    assert_int_equal(scan_message(portal, bytes_make(packed, 3 + count), 0), ERR_TOO_BIG);
}

/* None of the project's messages contains itself, so one that does is made here. */
static void refuses_to_follow_a_recursive_type_too_deep(void **state)
{
    (void)state;
    ProtobufCMessageDescriptor recursive = nanopush__v1__create_portal_request__descriptor;
    ProtobufCFieldDescriptor field = recursive.fields[0];
    field.descriptor = &recursive;
    recursive.fields = &field;
    uint8_t wire[2 * SCAN_MAX_DEPTH];
    for (size_t level = 0; level < SCAN_MAX_DEPTH; level++) {
        wire[2 * level] = 0x0a;
        wire[2 * level + 1] = (uint8_t)(2 * (SCAN_MAX_DEPTH - level - 1));
    }
    assert_int_equal(scan_message(&recursive, bytes_make(wire + 2, sizeof wire - 2), 0), ERR_OK);
    assert_int_equal(scan_message(&recursive, bytes_make(wire, sizeof wire), 0), ERR_TOO_BIG);
}

static void refuses_a_descriptor_with_too_many_fields(void **state)
{
    (void)state;
    ProtobufCMessageDescriptor wide = nanopush__v1__pong__descriptor;
    wide.n_fields = 65;
    assert_int_equal(scan_message(&wide, bytes_make("\x08\x01", 2), 0), ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest scan[] = {
        cmocka_unit_test(takes_what_protobuf_c_packs),
        cmocka_unit_test(refuses_a_message_cut_anywhere),
        cmocka_unit_test(refuses_strings_that_c_or_unicode_cannot_hold),
        cmocka_unit_test(refuses_bad_tags_and_groups),
        cmocka_unit_test(refuses_varints_of_more_than_64_bits),
        cmocka_unit_test(refuses_lengths_that_protobuf_c_does_not_read),
        cmocka_unit_test(refuses_another_wire_type),
        cmocka_unit_test(refuses_a_field_or_oneof_that_stands_twice),
        cmocka_unit_test(only_strict_refuses_what_it_does_not_know),
        cmocka_unit_test(refuses_a_packed_list_cut_short),
        cmocka_unit_test(counts_fields_and_packed_elements),
        cmocka_unit_test(refuses_to_follow_a_recursive_type_too_deep),
        cmocka_unit_test(refuses_a_descriptor_with_too_many_fields),
    };
    return cmocka_run_group_tests(scan, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nanopush/v1/device.pb-c.h"
#include "wire/frame.h"

/* A prefix of three bytes, then zeros: the largest frame that there is, and one byte more of room. */
static uint8_t large[3 + FRAME_MAX_BYTES + 1];

static void set_prefix(size_t len)
{
    large[0] = (uint8_t)(len | 0x80);
    large[1] = (uint8_t)(len >> 7 | 0x80);
    large[2] = (uint8_t)(len >> 14);
}

static void assert_refused(struct bytes in, enum err expected)
{
    uint8_t mark;
    struct bytes payload = {&mark, 1};
    size_t consumed = 77;
    assert_int_equal(frame_next(in, &payload, &consumed), expected);
    assert_ptr_equal(payload.p, &mark);
    assert_int_equal(consumed, 77);
}

static void assert_needs_more(struct bytes in)
{
    uint8_t mark;
    struct bytes payload = {&mark, 1};
    size_t consumed = 77;
    assert_int_equal(frame_next(in, &payload, &consumed), ERR_OK);
    assert_ptr_equal(payload.p, &mark);
    assert_int_equal(consumed, 0);
}

static void finds_a_frame_and_leaves_the_next(void **state)
{
    (void)state;
    static const uint8_t two[] = {3, 'a', 'b', 'c', 1, 'd'};
    struct bytes payload;
    size_t consumed;
    assert_int_equal(frame_next(bytes_make(two, sizeof two), &payload, &consumed), ERR_OK);
    assert_int_equal(consumed, 4);
    assert_ptr_equal(payload.p, two + 1);
    assert_int_equal(payload.len, 3);
}

static void an_empty_payload_is_a_frame(void **state)
{
    (void)state;
    struct bytes payload;
    size_t consumed;
    assert_int_equal(frame_next(bytes_make("", 1), &payload, &consumed), ERR_OK);
    assert_int_equal(consumed, 1);
    assert_int_equal(payload.len, 0);
}

static void waits_for_every_missing_byte(void **state)
{
    (void)state;
    assert_needs_more(bytes_make(NULL, 0));
    set_prefix(FRAME_MAX_BYTES);
    for (size_t len = 1; len < 3 + FRAME_MAX_BYTES; len++)
        assert_needs_more(bytes_make(large, len));
    struct bytes payload;
    size_t consumed;
    assert_int_equal(frame_next(bytes_make(large, 3 + FRAME_MAX_BYTES), &payload, &consumed), ERR_OK);
    assert_int_equal(consumed, 3 + FRAME_MAX_BYTES);
    assert_int_equal(payload.len, FRAME_MAX_BYTES);
}

static void refuses_what_is_too_big_by_its_prefix_alone(void **state)
{
    (void)state;
    set_prefix(FRAME_MAX_BYTES + 1);
    assert_refused(bytes_make(large, 3), ERR_TOO_BIG);
    assert_refused(bytes_make(large, sizeof large), ERR_TOO_BIG);
    assert_refused(bytes_make("\xff\xff\x7f", 3), ERR_TOO_BIG);
    assert_refused(bytes_make("\x80\x80\x80", 3), ERR_TOO_BIG);
    assert_refused(bytes_make("\x80\x80\x80\x80\x08", 5), ERR_TOO_BIG); /* 2 GiB */
    assert_refused(bytes_make("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10), ERR_TOO_BIG);
}

static void refuses_a_prefix_longer_than_needed(void **state)
{
    (void)state;
    assert_refused(bytes_make("\x80\x00", 2), ERR_MALFORMED);
    assert_refused(bytes_make("\x83\x00zzz", 5), ERR_MALFORMED);
    assert_refused(bytes_make("\xff\x80\x00", 3), ERR_MALFORMED);
}

static void appends_what_it_can_find_again(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 100, 125, 200, 16000, FRAME_MAX_BYTES - 3};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        Nanopush__V1__ChallengePush push = NANOPUSH__V1__CHALLENGE_PUSH__INIT;
        push.display = (ProtobufCBinaryData){.len = lengths[i], .data = large};
        struct buf out = {0};
        assert_int_equal(buf_append(&out, bytes_of("x")), ERR_OK);
        assert_int_equal(frame_append(&out, &push.base), ERR_OK);
        struct bytes payload, view = buf_view(&out);
        size_t consumed;
        assert_int_equal(frame_next(bytes_make(view.p + 1, view.len - 1), &payload, &consumed), ERR_OK);
        assert_int_equal(consumed, view.len - 1);
        assert_int_equal(payload.len, protobuf_c_message_get_packed_size(&push.base));
        buf_done(&out);
    }
}

static void appends_nothing_that_is_too_big(void **state)
{
    (void)state;
    Nanopush__V1__ChallengePush push = NANOPUSH__V1__CHALLENGE_PUSH__INIT;
    push.display =
        (ProtobufCBinaryData){.len = FRAME_MAX_BYTES - 3 + 1, .data = large}; /* 3: tag and length */
    struct buf out = {0};
    assert_int_equal(frame_append(&out, &push.base), ERR_TOO_BIG);
    assert_int_equal(buf_len(&out), 0);
}

int main(void)
{
    const struct CMUnitTest frame[] = {
        cmocka_unit_test(finds_a_frame_and_leaves_the_next),
        cmocka_unit_test(an_empty_payload_is_a_frame),
        cmocka_unit_test(waits_for_every_missing_byte),
        cmocka_unit_test(refuses_what_is_too_big_by_its_prefix_alone),
        cmocka_unit_test(refuses_a_prefix_longer_than_needed),
        cmocka_unit_test(appends_what_it_can_find_again),
        cmocka_unit_test(appends_nothing_that_is_too_big),
    };
    return cmocka_run_group_tests(frame, NULL, NULL);
}

/* clients/device/display.c: nothing of what is signed is hidden from the person. */
#include "device_vectors.h"

#include <stdlib.h>

#include "device/internal.h"

static enum np_error parse_display(const void *p, size_t len)
{
    Nanopush__V1__Display *display = NULL;
    enum np_error error = np_display_parse(p, len, &display);
    assert_true((error == NP_OK) == (display != NULL));
    if (display)
        nanopush__v1__display__free_unpacked(display, NULL);
    return error;
}

static void display_with_anything_hidden_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        enum np_error error;
    } rows[] = {
#define ROW(bytes, error) {bytes, sizeof bytes - 1, error}
        ROW("\x0a\x01x\x50\x01", NP_OK),
        ROW("", NP_MALFORMED),
        ROW("\x0a\x01x\x60\x01", NP_OK),                   /* another sign-in */
        ROW("\x0a\x01x\x60\x00", NP_MALFORMED),            /* none, spelled out */
        ROW("\x0a\x01x\x60\x02", NP_MALFORMED),            /* true in another spelling */
        ROW("\x0a\x01x\x62\x01y", NP_MALFORMED),           /* field 12 of another type */
        ROW("\x0a\x01x\x6a\x01y", NP_UNSUPPORTED),         /* field 13 */
        ROW("\x5a\x06\x0a\x01x\x1a\x01y", NP_UNSUPPORTED), /* field 3 of a further line */
        ROW("\x0a\x01x\x50\x03", NP_UNSUPPORTED),          /* an occasion of a later version */
        ROW("\x0a\x01\xff", NP_INVALID),                   /* not UTF-8 */
        ROW("\x0a\x03\xed\xa0\x80", NP_INVALID),           /* a surrogate */
        ROW("\x0a\x02\xc0\x80", NP_INVALID),               /* over-long */
        ROW("\x0a\x01\x1b", NP_INVALID),                   /* an escape */
        ROW("\x0a\x03\xe2\x80\xae", NP_INVALID),           /* right-to-left override */
        ROW("\x5a\x05\x0a\x01x\x12\x00", NP_MALFORMED),    /* a default, spelled out */
        ROW("\x0a\x03x\x00y", NP_MALFORMED),               /* what follows the NUL would be hidden */
        ROW("\x0a\x01x\x0a\x01y", NP_MALFORMED),           /* the second hides the first */
        ROW("\x12\x01y\x0a\x01x", NP_MALFORMED),           /* another order */
        ROW("\x0a\x81\x00x", NP_MALFORMED),                /* a length that is not the shortest */
        ROW("\x0a\x05x", NP_MALFORMED),
#undef ROW
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(parse_display(rows[i].bytes, rows[i].len), rows[i].error);
}

static void display_cut_short_is_never_shown_whole(void **state)
{
    (void)state;
    uint8_t whole[1024];
    json_t *file = vectors_load("display");
    size_t len =
        vector_bytes(json_array_get(json_object_get(file, "vectors"), 0), "bytes", whole, sizeof whole);
    json_decref(file);
    assert_int_equal(parse_display(whole, len), NP_OK);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *part = malloc(cut + 1); /* exact, for the address sanitizer */
        memcpy(part, whole, cut);
        Nanopush__V1__Display *display = NULL;
        if (np_display_parse(part, cut, &display) == NP_OK) {
            assert_true(display->n_fields < 2); /* cut between two fields: fewer of them, none changed */
            nanopush__v1__display__free_unpacked(display, NULL);
        }
        free(part);
    }
}

static void display_has_at_most_16_further_lines(void **state)
{
    (void)state;
    uint8_t bytes[17 * 5];
    for (size_t i = 0; i < 17; i++)
        memcpy(bytes + 5 * i, "\x5a\x03\x0a\x01x", 5);
    assert_int_equal(parse_display(bytes, 16 * 5), NP_OK);
    assert_int_equal(parse_display(bytes, 17 * 5), NP_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(display_with_anything_hidden_is_refused),
        cmocka_unit_test(display_cut_short_is_never_shown_whole),
        cmocka_unit_test(display_has_at_most_16_further_lines),
    };
    return cmocka_run_group_tests_name("device_display", tests, NULL, NULL);
}

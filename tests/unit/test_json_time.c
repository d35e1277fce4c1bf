#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/json_time.h"

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

/* text is what is read, canonical what is written; NULL: the same. */
struct row {
    const char *text;
    int64_t seconds;
    int32_t nanos;
    const char *canonical;
};

static const struct row timestamps[] = {
    {"1970-01-01T00:00:00Z", 0, 0, NULL},
    {"1972-01-01T10:00:20.021Z", 63108020, 21000000, NULL},
    {"1972-01-01T10:00:20.0210Z", 63108020, 21000000, "1972-01-01T10:00:20.021Z"},
    {"1969-12-31T23:59:59.5Z", -1, 500000000, "1969-12-31T23:59:59.500Z"},
    {"2026-01-31T09:30:00.000001+02:00", 1769844600, 1000, "2026-01-31T07:30:00.000001Z"},
    {"2026-12-31T23:30:00.123456789-01:30", 1798765200, 123456789, "2027-01-01T01:00:00.123456789Z"},
    {"2024-02-29T12:00:00Z", 1709208000, 0, NULL},
    {"2000-02-29T00:00:00Z", 951782400, 0, NULL},
    {"0001-01-01T00:00:00Z", -62135596800, 0, NULL},
    {"9999-12-31T23:59:59.999999999Z", 253402300799, 999999999, NULL},
};

static const struct row durations[] = {
    {"60s", 60, 0, NULL},
    {"060s", 60, 0, "60s"},
    {"1.5s", 1, 500000000, "1.500s"},
    {"0s", 0, 0, NULL},
    {"-0s", 0, 0, "0s"},
    {"-0.5s", 0, -500000000, "-0.500s"},
    {"-3.000000001s", -3, -1, NULL},
    {"0.000001s", 0, 1000, NULL},
    {"315576000000s", 315576000000, 0, NULL},
    {"-315576000000.999999999s", -315576000000, -999999999, NULL},
};

static const char *const no_timestamps[] = {
    "",
    "2026-01-31",
    "2026-01-31 09:30:00Z",
    "2026-01-31t09:30:00Z",
    "2026-01-31T09:30:00z",
    "2026-1-31T09:30:00Z",
    "26-01-31T09:30:00Z",
    "2026-01-31T09:30Z",
    "2026-01-31T09:30:00.Z",
    "2026-01-31T09:30:00.1234567890Z",
    "2026-01-31T09:30:00ZZ",
    "2026-01-31T09:30:00+0200",
    "2026-01-31T09:30:00+2:00",
    "+026-01-31T09:30:00Z",
};

static const char *const no_dates[] = {
    "2026-02-29T00:00:00Z",      "1900-02-29T00:00:00Z", "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",      "2026-01-00T00:00:00Z", "2026-01-31T24:00:00Z",
    "2026-01-31T09:60:00Z",      "2016-12-31T23:59:60Z", "2026-01-31T09:30:00+24:00",
    "2026-01-31T09:30:00+23:60", "0000-12-31T00:00:00Z", "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
};

static const char *const no_durations[] = {
    "",    "s",   "60",   "60 s", " 60s", "60S",   "60ss",          "1.s",
    ".5s", "+1s", "--1s", "-s",   "1e1s", "1m30s", "1.0000000000s", "9999999999999s",
};

static void timestamps_are_read_with_any_offset_and_written_in_utc(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(timestamps); i++) {
        const struct row *row = &timestamps[i];
        int64_t seconds;
        int32_t nanos;
        char text[JSON_TIME_SIZE];
        assert_int_equal(json_time_decode_timestamp(bytes_of(row->text), &seconds, &nanos), ERR_OK);
        assert_int_equal(seconds, row->seconds);
        assert_int_equal(nanos, row->nanos);
        assert_int_equal(json_time_encode_timestamp(seconds, nanos, text), ERR_OK);
        assert_string_equal(text, row->canonical ? row->canonical : row->text);
    }
}

static void durations_are_read_and_written_in_seconds(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(durations); i++) {
        const struct row *row = &durations[i];
        int64_t seconds;
        int32_t nanos;
        char text[JSON_TIME_SIZE];
        assert_int_equal(json_time_decode_duration(bytes_of(row->text), &seconds, &nanos), ERR_OK);
        assert_int_equal(seconds, row->seconds);
        assert_int_equal(nanos, row->nanos);
        assert_int_equal(json_time_encode_duration(seconds, nanos, text), ERR_OK);
        assert_string_equal(text, row->canonical ? row->canonical : row->text);
    }
}

static void other_texts_are_malformed(void **state)
{
    (void)state;
    int64_t seconds = 77;
    int32_t nanos = 77;
    for (size_t i = 0; i < COUNT_OF(no_timestamps); i++)
        assert_int_equal(json_time_decode_timestamp(bytes_of(no_timestamps[i]), &seconds, &nanos),
                         ERR_MALFORMED);
    for (size_t i = 0; i < COUNT_OF(no_durations); i++)
        assert_int_equal(json_time_decode_duration(bytes_of(no_durations[i]), &seconds, &nanos),
                         ERR_MALFORMED);
    assert_int_equal(seconds, 77);
    assert_int_equal(nanos, 77);
}

static void texts_cut_anywhere_are_malformed(void **state)
{
    (void)state;
    static const char timestamp[] = "2026-01-31T09:30:00.25+02:00", duration[] = "-60.25s";
    int64_t seconds;
    int32_t nanos;
    for (size_t len = 0; len < sizeof timestamp - 1; len++)
        assert_int_equal(json_time_decode_timestamp(bytes_make(timestamp, len), &seconds, &nanos),
                         ERR_MALFORMED);
    for (size_t len = 0; len < sizeof duration - 1; len++)
        assert_int_equal(json_time_decode_duration(bytes_make(duration, len), &seconds, &nanos),
                         ERR_MALFORMED);
}

static void refuses_dates_that_there_are_not(void **state)
{
    (void)state;
    int64_t seconds;
    int32_t nanos;
    for (size_t i = 0; i < COUNT_OF(no_dates); i++)
        assert_int_equal(json_time_decode_timestamp(bytes_of(no_dates[i]), &seconds, &nanos), ERR_INVALID);
    assert_int_equal(json_time_decode_duration(bytes_of("315576000001s"), &seconds, &nanos), ERR_INVALID);
    assert_int_equal(json_time_decode_duration(bytes_of("-315576000001s"), &seconds, &nanos), ERR_INVALID);
}

static void values_out_of_range_are_not_written(void **state)
{
    (void)state;
    char text[JSON_TIME_SIZE];
    assert_int_equal(json_time_encode_timestamp(-62135596801, 0, text), ERR_INVALID);
    assert_int_equal(json_time_encode_timestamp(253402300800, 0, text), ERR_INVALID);
    assert_int_equal(json_time_encode_timestamp(INT64_MIN, 0, text), ERR_INVALID);
    assert_int_equal(json_time_encode_timestamp(0, -1, text), ERR_INVALID);
    assert_int_equal(json_time_encode_timestamp(0, 1000000000, text), ERR_INVALID);
    assert_int_equal(json_time_encode_duration(INT64_MIN, 0, text), ERR_INVALID);
    assert_int_equal(json_time_encode_duration(315576000001, 0, text), ERR_INVALID);
    assert_int_equal(json_time_encode_duration(0, 1000000000, text), ERR_INVALID);
    assert_int_equal(json_time_encode_duration(0, INT32_MIN, text), ERR_INVALID);
    assert_int_equal(json_time_encode_duration(1, -1, text), ERR_INVALID);
    assert_int_equal(json_time_encode_duration(-1, 1, text), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest json_time[] = {
        cmocka_unit_test(timestamps_are_read_with_any_offset_and_written_in_utc),
        cmocka_unit_test(durations_are_read_and_written_in_seconds),
        cmocka_unit_test(other_texts_are_malformed),
        cmocka_unit_test(texts_cut_anywhere_are_malformed),
        cmocka_unit_test(refuses_dates_that_there_are_not),
        cmocka_unit_test(values_out_of_range_are_not_written),
    };
    return cmocka_run_group_tests(json_time, NULL, NULL);
}

#include "wire/json_time.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define TIMESTAMP_MIN_S INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define TIMESTAMP_MAX_S INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define DURATION_MAX_S  INT64_C(315576000000)
#define NANOS_PER_S     1000000000
#define FRACTION_DIGITS 9
#define DURATION_DIGITS 12 /* of DURATION_MAX_S */
#define FRACTION_SIZE   (FRACTION_DIGITS + 2)

static void format_fraction(int32_t nanos, char out[FRACTION_SIZE])
{
    unsigned fraction = (unsigned)nanos % NANOS_PER_S;
    if (fraction == 0)
        *out = '\0';
    else if (fraction % 1000000 == 0)
        snprintf(out, FRACTION_SIZE, ".%03u", fraction / 1000000);
    else if (fraction % 1000 == 0)
        snprintf(out, FRACTION_SIZE, ".%06u", fraction / 1000);
    else
        snprintf(out, FRACTION_SIZE, ".%09u", fraction);
}

/* Read min to max digits, as many as there are. */
static enum err take_digits(struct bytes *in, size_t min, size_t max, int64_t *value, size_t *digit_count)
{
    int64_t sum = 0;
    size_t n = 0;
    for (; n < max && n < in->len && in->p[n] >= '0' && in->p[n] <= '9'; n++)
        sum = sum * 10 + (in->p[n] - '0');
    if (n < min)
        return ERR_MALFORMED;
    *in = bytes_make(in->p + n, in->len - n);
    *value = sum;
    *digit_count = n;
    return ERR_OK;
}

static enum err take_number(struct bytes *in, size_t digit_count, int *value)
{
    int64_t number;
    TRY(take_digits(in, digit_count, digit_count, &number, &digit_count));
    *value = (int)number;
    return ERR_OK;
}

static bool take_char(struct bytes *in, char c)
{
    if (in->len == 0 || in->p[0] != (uint8_t)c)
        return false;
    *in = bytes_make(in->p + 1, in->len - 1);
    return true;
}

static enum err take_fraction(struct bytes *in, int32_t *nanos)
{
    int64_t value = 0;
    size_t digit_count = 0;
    if (take_char(in, '.'))
        TRY(take_digits(in, 1, FRACTION_DIGITS, &value, &digit_count));
    for (; digit_count < FRACTION_DIGITS; digit_count++)
        value *= 10;
    *nanos = (int32_t)value;
    return ERR_OK;
}

static enum err take_offset(struct bytes *in, int *offset_s)
{
    int sign = 1, hours, minutes;
    *offset_s = 0;
    if (take_char(in, 'Z'))
        return ERR_OK;
    if (take_char(in, '-'))
        sign = -1;
    else if (!take_char(in, '+'))
        return ERR_MALFORMED;
    TRY(take_number(in, 2, &hours));
    if (!take_char(in, ':'))
        return ERR_MALFORMED;
    TRY(take_number(in, 2, &minutes));
    if (hours > 23 || minutes > 59)
        return ERR_INVALID;
    *offset_s = sign * (hours * 3600 + minutes * 60);
    return ERR_OK;
}

static enum err take_date_and_time(struct bytes *in, struct tm *ret)
{
    static const char after[] = "--T::";
    int value[6];
    for (size_t i = 0; i < 6; i++) {
        TRY(take_number(in, i == 0 ? 4 : 2, &value[i]));
        if (i < 5 && !take_char(in, after[i]))
            return ERR_MALFORMED;
    }
    *ret = (struct tm){.tm_year = value[0] - 1900,
                       .tm_mon = value[1] - 1,
                       .tm_mday = value[2],
                       .tm_hour = value[3],
                       .tm_min = value[4],
                       .tm_sec = value[5]};
    return ERR_OK;
}

enum err json_time_encode_timestamp(int64_t seconds, int32_t nanos, char out[JSON_TIME_SIZE])
{
    if (seconds < TIMESTAMP_MIN_S || seconds > TIMESTAMP_MAX_S || nanos < 0 || nanos >= NANOS_PER_S)
        return ERR_INVALID;
    time_t at = seconds;
    struct tm utc;
    gmtime_r(&at, &utc);
    char fraction[FRACTION_SIZE], date[] = "yyyy-mm-ddThh:mm:ss";
    strftime(date, sizeof date, "%4Y-%m-%dT%H:%M:%S", &utc);
    format_fraction(nanos, fraction);
    snprintf(out, JSON_TIME_SIZE, "%s%sZ", date, fraction);
    return ERR_OK;
}

enum err json_time_decode_timestamp(struct bytes text, int64_t *seconds, int32_t *nanos)
{
    struct tm utc;
    int32_t fraction;
    int offset_s;
    TRY(take_date_and_time(&text, &utc));
    TRY(take_fraction(&text, &fraction));
    TRY(take_offset(&text, &offset_s));
    if (text.len)
        return ERR_MALFORMED;

    struct tm normal = utc; /* timegm() turns 31 February into a day in March, and says so in its argument */
    int64_t at = timegm(&normal);
    if (normal.tm_mon != utc.tm_mon || normal.tm_hour != utc.tm_hour || normal.tm_min != utc.tm_min ||
        normal.tm_sec != utc.tm_sec)
        return ERR_INVALID;
    at -= offset_s;
    if (at < TIMESTAMP_MIN_S || at > TIMESTAMP_MAX_S)
        return ERR_INVALID;
    *seconds = at;
    *nanos = fraction;
    return ERR_OK;
}

static bool is_duration(int64_t seconds, int32_t nanos)
{
    return seconds >= -DURATION_MAX_S && seconds <= DURATION_MAX_S && nanos > -NANOS_PER_S &&
           nanos < NANOS_PER_S && !(seconds > 0 && nanos < 0) && !(seconds < 0 && nanos > 0);
}

enum err json_time_encode_duration(int64_t seconds, int32_t nanos, char out[JSON_TIME_SIZE])
{
    if (!is_duration(seconds, nanos))
        return ERR_INVALID;
    bool negative = seconds < 0 || nanos < 0;
    char fraction[FRACTION_SIZE];
    format_fraction(negative ? -nanos : nanos, fraction);
    snprintf(out, JSON_TIME_SIZE, "%s%" PRId64 "%ss", negative ? "-" : "", negative ? -seconds : seconds,
             fraction);
    return ERR_OK;
}

enum err json_time_decode_duration(struct bytes text, int64_t *seconds, int32_t *nanos)
{
    int64_t whole;
    int32_t fraction;
    size_t digit_count;
    bool negative = take_char(&text, '-');
    TRY(take_digits(&text, 1, DURATION_DIGITS, &whole, &digit_count));
    TRY(take_fraction(&text, &fraction));
    if (!take_char(&text, 's') || text.len)
        return ERR_MALFORMED;
    if (!is_duration(whole, fraction))
        return ERR_INVALID;
    *seconds = negative ? -whole : whole;
    *nanos = negative ? -fraction : fraction;
    return ERR_OK;
}

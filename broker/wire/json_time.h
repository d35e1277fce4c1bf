/**
 * The JSON text of google.protobuf.Timestamp and Duration, as their .proto files define it. Private to wire/.
 *
 *     Timestamp  "2026-01-31T09:30:00Z", read with any offset, written in UTC; years 0001 to 9999
 *     Duration   "60s", "-1.5s"; up to 315,576,000,000 s (10,000 years) either way
 *
 * A fraction has 1 to 9 digits when read, and 0, 3, 6 or 9 when written: the fewest that lose nothing.
 */
#ifndef NANOPUSH_WIRE_JSON_TIME_H
#define NANOPUSH_WIRE_JSON_TIME_H

#include "base/bytes.h"

#define JSON_TIME_SIZE 32 /* the longest text, NUL included: "2026-01-31T09:30:00.123456789Z" */

/** @return ERR_OK; ERR_INVALID if @p seconds or @p nanos is out of its range (@p out untouched). */
MUST_CHECK enum err json_time_encode_timestamp(int64_t seconds, int32_t nanos, char out[JSON_TIME_SIZE]);

/**
 * @param[out] seconds  since 1970-01-01T00:00:00Z.
 * @param[out] nanos    0 to 999999999, counted forward also before 1970.
 * @return ERR_OK; ERR_MALFORMED for anything but RFC 3339 with upper-case T and Z; ERR_INVALID for a date
 * that there is not (leap seconds included) or that is out of range.
 */
MUST_CHECK enum err json_time_decode_timestamp(struct bytes text, int64_t *seconds, int32_t *nanos);

/** @return ERR_OK; ERR_INVALID if out of range, or if the signs of the two differ (@p out untouched). */
MUST_CHECK enum err json_time_encode_duration(int64_t seconds, int32_t nanos, char out[JSON_TIME_SIZE]);

/** @p nanos has the sign of @p seconds. @return ERR_OK; ERR_MALFORMED; ERR_INVALID if out of range. */
MUST_CHECK enum err json_time_decode_duration(struct bytes text, int64_t *seconds, int32_t *nanos);

#endif

/**
 * proto/vectors/ for the tests of clients/device. The Makefile defines VECTOR_DIR as the path of that
 * directory.
 */
#ifndef NANOPUSH_TESTS_DEVICE_VECTORS_H
#define NANOPUSH_TESTS_DEVICE_VECTORS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

/** The file of that name; json_decref() it. */
static inline json_t *vectors_load(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.json", VECTOR_DIR, name);
    json_t *file = json_load_file(path, 0, NULL);
    assert_non_null(file);
    return file;
}

/** A member that is a text. */
static inline const char *vector_text(const json_t *vector, const char *member)
{
    const char *text = json_string_value(json_object_get(vector, member));
    assert_non_null(text);
    return text;
}

/** Decode a member in hex. @return its length, at most @p size. */
static inline size_t vector_bytes(const json_t *vector, const char *member, uint8_t *ret, size_t size)
{
    const char *text = vector_text(vector, member);
    size_t len = strlen(text) / 2;
    assert_true(len <= size);
    for (size_t i = 0; i < len; i++) {
        unsigned byte;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
        ret[i] = (uint8_t)byte;
    }
    return len;
}

#endif

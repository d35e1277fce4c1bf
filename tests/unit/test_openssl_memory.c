/** crypto/openssl_memory: what OpenSSL frees holds nothing any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "crypto/openssl_memory.h"

static void sizes_and_contents_are_kept(void **state)
{
    (void)state;
    assert_null(OPENSSL_malloc(0));
    uint8_t *p = OPENSSL_zalloc(100);
    memset(p, 7, 100);
    p = OPENSSL_realloc(p, 50);
    p = OPENSSL_realloc(p, 5000);
    for (int i = 0; i < 50; i++)
        assert_int_equal(p[i], 7);
    assert_null(OPENSSL_realloc(p, 0));
    p = OPENSSL_realloc(NULL, 10);
    assert_non_null(p);
    OPENSSL_free(p);
    OPENSSL_free(NULL);
}

#ifndef __SANITIZE_ADDRESS__
static void what_is_freed_is_cleansed(void **state)
{
    (void)state;
    enum { BYTES = 2000 };
    uint8_t *first = OPENSSL_malloc(BYTES), *fence = OPENSSL_malloc(BYTES);
    memset(first, 7, BYTES);
    volatile uint8_t *gone = first;
    OPENSSL_free(first);
    for (size_t i = 64; i < BYTES; i++) /* the allocator's own links come first */
        assert_int_equal(gone[i], 0);
    OPENSSL_free(fence);
}
#endif

static int set_up(void **state)
{
    (void)state;
    return openssl_memory_cleanse() == ERR_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_and_contents_are_kept),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(what_is_freed_is_cleansed),
#endif
    };
    return cmocka_run_group_tests_name("openssl_memory", tests, set_up, NULL);
}

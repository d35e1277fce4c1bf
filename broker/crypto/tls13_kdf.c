#include "crypto/tls13_kdf.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <string.h>

#include "crypto/hkdf.h"
#include "crypto/openssl_calls.h"

#define PREFIX "tls13 "

static OSSL_PROVIDER *loaded;
static tls13_kdf_fn observer;
static void *observer_arg;

/* What libssl hands over with a derivation, in views of its own memory. */
struct request {
    const char *digest;
    int mode; /* EVP_KDF_HKDF_MODE_... */
    struct bytes key, salt, prefix, label, context;
};

static bool take_bytes(const OSSL_PARAM *p, struct bytes *ret)
{
    const void *at = NULL;
    size_t len = 0;
    if (OSSL_PARAM_get_octet_string_ptr(p, &at, &len) != 1)
        return false;
    *ret = bytes_make(at, len);
    return true;
}

/* False for a parameter of another form, or one that is none of TLS 1.3's. */
static bool take(const OSSL_PARAM *p, struct request *r)
{
    const struct {
        const char *name;
        struct bytes *into;
    } octets[] = {
        {OSSL_KDF_PARAM_KEY, &r->key},       {OSSL_KDF_PARAM_SALT, &r->salt},
        {OSSL_KDF_PARAM_PREFIX, &r->prefix}, {OSSL_KDF_PARAM_LABEL, &r->label},
        {OSSL_KDF_PARAM_DATA, &r->context},
    };
    if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0)
        return OSSL_PARAM_get_int(p, &r->mode) == 1;
    if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0)
        return OSSL_PARAM_get_utf8_string_ptr(p, &r->digest) == 1;
    for (size_t i = 0; i < sizeof octets / sizeof *octets; i++)
        if (strcmp(p->key, octets[i].name) == 0)
            return take_bytes(p, octets[i].into);
    return false;
}

static bool expand(const struct hkdf *h, const struct request *r, uint8_t *out, size_t len)
{
    if (hkdf_expand_label(h, r->key, r->label, r->context, out, len) != ERR_OK)
        return false;
    if (observer)
        observer(r->key, r->label, bytes_make(out, len), observer_arg);
    return true;
}

/* One step down the schedule: from the secret above (the salt, none at the top), by way of "derived", and with what is
 * new (the key; zeros for nothing) to the next secret. */
static bool extract(const struct hkdf *h, const struct request *r, uint8_t *out)
{
    static const uint8_t zeros[HKDF_BLOCK_MAX_BYTES];
    uint8_t salt[HKDF_BLOCK_MAX_BYTES];
    size_t len = hkdf_bytes(h);
    struct bytes input = r->key.p ? r->key : bytes_make(zeros, len);
    if (!r->salt.p)
        return hkdf_extract(h, (struct bytes){0}, input, out) == ERR_OK;
    bool done =
        hkdf_expand_label(h, r->salt, r->label, bytes_make(hkdf_empty_digest(h), len), salt, len) == ERR_OK &&
        hkdf_extract(h, bytes_make(salt, len), input, out) == ERR_OK;
    bytes_cleanse(salt, sizeof salt);
    return done;
}

static int derive(void *ctx, unsigned char *out, size_t len, const OSSL_PARAM params[])
{
    struct request r = {.mode = -1};
    (void)ctx;
    for (const OSSL_PARAM *p = params; p && p->key; p++)
        if (!take(p, &r))
            return 0;
    const struct hkdf *h = r.digest ? hkdf_find(r.digest) : NULL;
    if (!h || !bytes_equal(r.prefix, bytes_of(PREFIX)))
        return 0;
    switch (r.mode) {
    case EVP_KDF_HKDF_MODE_EXPAND_ONLY:
        return expand(h, &r, out, len);
    case EVP_KDF_HKDF_MODE_EXTRACT_ONLY:
        return len == hkdf_bytes(h) && extract(h, &r, out);
    default:
        return 0;
    }
}

/* libssl hands all parameters over with the derivation, so a context holds nothing. */
static void *new_context(void *provider)
{
    return provider;
}

static void free_context(void *ctx)
{
    (void)ctx;
}

static const OSSL_ALGORITHM *query(void *provider, int operation, int *uncacheable)
{
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_KDF_NEWCTX, (void (*)(void))new_context},
        {OSSL_FUNC_KDF_FREECTX, (void (*)(void))free_context},
        {OSSL_FUNC_KDF_DERIVE, (void (*)(void))derive},
        {0, NULL},
    };
    static const OSSL_ALGORITHM algorithms[] = {
        {OSSL_KDF_NAME_TLS1_3_KDF, "provider=" TLS13_KDF_PROVIDER, functions, NULL},
        {NULL, NULL, NULL, NULL},
    };
    (void)provider;
    *uncacheable = 0;
    return operation == OSSL_OP_KDF ? algorithms : NULL;
}

static int init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core, const OSSL_DISPATCH **ret,
                void **provider)
{
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
        {0, NULL},
    };
    (void)core;
    *ret = functions;
    *provider = (void *)handle;
    return 1;
}

enum err tls13_kdf_load(void)
{
    static bool known;
    if (loaded)
        return ERR_OK;
    known = known || OSSL_PROVIDER_add_builtin(NULL, TLS13_KDF_PROVIDER, init) == 1;
    if (known)
        loaded =
            OSSL_PROVIDER_try_load(NULL, TLS13_KDF_PROVIDER, 1); /* 1: and the default provider as before */
    return openssl_failed(loaded ? ERR_OK : ERR_CRYPTO);
}

void tls13_kdf_unload(void)
{
    if (!loaded)
        return;
    OSSL_PROVIDER_unload(loaded);
    loaded = NULL;
    ERR_clear_error();
}

void tls13_kdf_observe(tls13_kdf_fn fn, void *arg)
{
    observer = fn;
    observer_arg = arg;
}

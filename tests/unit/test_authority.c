/*
 * crypto/authority and crypto/certificate: what is made verifies as OpenSSL's own verifier sees it, what is
 * there stays, and what will not do is made anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "crypto/authority.h"
#include "crypto/certificate.h"

#define DAY_S (24 * 60 * 60)

static char dir[] = "/tmp/test_authority.XXXXXX";
static const char *const sans[] = {"push.example.com", "127.0.0.1", "::1", "*.example.org"};
static const char *const files[] = {"device-ca.pem", "device-ca.key", "device.pem",
                                    "device.key",    "other-ca.pem",  "other-ca.key"};

static const char *path_of(const char *name)
{
    static char path[64];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(path_of(files[i]));
    return rmdir(dir); /* fails if a temporary file is left */
}

/* First certificate of a file, and the second where @p second is not NULL. */
static X509 *read_cert(const char *name, X509 **second)
{
    FILE *file = fopen(path_of(name), "r");
    assert_non_null(file);
    X509 *cert = PEM_read_X509(file, NULL, NULL, NULL);
    assert_non_null(cert);
    if (second) {
        *second = PEM_read_X509(file, NULL, NULL, NULL);
        assert_non_null(*second);
    }
    fclose(file);
    return cert;
}

static EVP_PKEY *read_key(const char *name)
{
    FILE *file = fopen(path_of(name), "r");
    assert_non_null(file);
    EVP_PKEY *key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    assert_non_null(key);
    fclose(file);
    return key;
}

static void write_text(const char *name, const char *text, mode_t mode)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path_of(name), mode), 0);
}

static void copy_file(const char *from, const char *to)
{
    char text[8192];
    FILE *file = fopen(path_of(from), "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    write_text(to, text, 0600);
}

/* Changes whenever a file is written anew. */
static ino_t inode_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(path_of(name), &st), 0);
    return st.st_ino;
}

static void ensure(void)
{
    assert_int_equal(authority_ensure(dir, "device"), ERR_OK);
    assert_int_equal(authority_ensure_leaf(dir, "device", "device", sans, 4), ERR_OK);
}

static bool ensure_renews(const char *const *names, size_t count)
{
    X509 *before = read_cert("device.pem", NULL);
    assert_int_equal(authority_ensure_leaf(dir, "device", "device", names, count), ERR_OK);
    X509 *after = read_cert("device.pem", NULL);
    bool renewed = X509_cmp(before, after) != 0;
    X509_free(before);
    X509_free(after);
    return renewed;
}

/* Replace the leaf by one for @p key_name, issued by @p ca_name as of @p now. */
static void plant_leaf(const char *ca_name, const char *ca_key_name, const char *key_name, time_t now)
{
    X509 *cert, *ca = read_cert(ca_name, NULL);
    EVP_PKEY *ca_key = read_key(ca_key_name), *key = read_key(key_name);
    const struct certificate_leaf leaf = {
        .key = key, .common_name = "leaf", .sans = sans, .san_count = 4, .ca = ca, .ca_key = ca_key};
    assert_int_equal(certificate_new_leaf(&leaf, now, &cert), ERR_OK);
    FILE *file = fopen(path_of("device.pem"), "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, cert), 1);
    fclose(file);
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
}

static int verify_as_client(X509 *leaf, X509 *ca, const char *host)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509_STORE_add_cert(store, ca);
    X509_STORE_CTX_init(ctx, store, leaf, NULL);
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM_set1_host(param, host, 0);
    int verified = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return verified;
}

static void test_what_is_made_verifies(void **state)
{
    (void)state;
    X509 *chained;
    int days, seconds;
    ensure();
    X509 *leaf = read_cert("device.pem", &chained), *ca = read_cert("device-ca.pem", NULL);
    EVP_PKEY *key = read_key("device.key");
    assert_int_equal(X509_cmp(chained, ca), 0);
    assert_int_equal(X509_check_private_key(leaf, key), 1);
    assert_int_equal(verify_as_client(leaf, ca, "push.example.com"), X509_V_OK);
    assert_int_equal(verify_as_client(leaf, ca, "a.example.org"), X509_V_OK);
    assert_int_equal(verify_as_client(leaf, ca, "example.com"), X509_V_ERR_HOSTNAME_MISMATCH);
    assert_int_equal(X509_check_ip_asc(leaf, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(leaf, "::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(leaf, "127.0.0.2", 0), 0);

    assert_int_equal(X509_check_ca(ca), 1);
    assert_int_equal(X509_get_pathlen(ca), 0);
    assert_int_equal(X509_get_key_usage(ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
    assert_int_equal(X509_check_ca(leaf), 0);
    assert_int_equal(X509_get_key_usage(leaf), KU_DIGITAL_SIGNATURE);
    assert_int_equal(X509_get_extended_key_usage(leaf), XKU_SSL_SERVER);
    assert_in_range(ASN1_STRING_length(X509_get0_serialNumber(leaf)), 12, 17);

    assert_int_equal(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(leaf), X509_get0_notAfter(leaf)), 1);
    assert_int_equal(days, 397);
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(ca), X509_get0_notAfter(ca)), 1);
    assert_int_equal(days, 7305);
    X509_free(leaf);
    X509_free(chained);
    X509_free(ca);
    EVP_PKEY_free(key);
}

static void test_modes(void **state)
{
    (void)state;
    struct stat st;
    mode_t mask = umask(0);
    ensure();
    umask(mask);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(stat(path_of(files[i]), &st), 0);
        assert_int_equal(st.st_mode & 07777, strstr(files[i], ".key") ? 0600 : 0644);
    }
}

static void test_what_is_there_stays(void **state)
{
    (void)state;
    ino_t before[4];
    ensure();
    for (size_t i = 0; i < 4; i++)
        before[i] = inode_of(files[i]);
    ensure();
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(inode_of(files[i]), before[i]);
    assert_false(ensure_renews(sans + 1, 2));
    assert_false(ensure_renews((const char *const[]){"PUSH.example.com", "0:0::1"}, 2));
}

static void test_cut_short_start_keeps_the_pin(void **state)
{
    (void)state;
    uint8_t before[SHA256_BYTES], after[SHA256_BYTES];
    ensure();
    assert_int_equal(authority_spki_sha256(path_of("device-ca.pem"), before), ERR_OK);
    unlink(path_of("device-ca.pem"));
    ensure();
    assert_int_equal(authority_spki_sha256(path_of("device-ca.pem"), after), ERR_OK);
    assert_memory_equal(before, after, sizeof before);
}

static void test_pin_is_of_the_spki(void **state)
{
    (void)state;
    uint8_t pin[SHA256_BYTES], expected[SHA256_BYTES], *der = NULL;
    ensure();
    EVP_PKEY *key = read_key("device-ca.key");
    int len = i2d_PUBKEY(key, &der);
    assert_true(len > 0);
    SHA256(der, (size_t)len, expected);
    assert_int_equal(authority_spki_sha256(path_of("device-ca.pem"), pin), ERR_OK);
    assert_memory_equal(pin, expected, sizeof pin);
    assert_int_equal(authority_spki_sha256(path_of("nothing.pem"), pin), ERR_NOT_FOUND);
    assert_int_equal(authority_spki_sha256(path_of("device-ca.key"), pin), ERR_MALFORMED);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
}

static void test_ca_that_does_not_fit_is_left_alone(void **state)
{
    (void)state;
    ensure();
    assert_int_equal(chmod(path_of("device-ca.key"), 0640), 0);
    assert_int_equal(authority_ensure(dir, "device"), ERR_DENIED);
    assert_int_equal(authority_ensure(dir, "other"), ERR_OK);
    copy_file("other-ca.key", "device-ca.key");
    assert_int_equal(chmod(path_of("device-ca.key"), 0600), 0);
    assert_int_equal(authority_ensure(dir, "device"), ERR_CONFIG);
    unlink(path_of("device-ca.key"));
    assert_int_equal(authority_ensure(dir, "device"), ERR_NOT_FOUND);
    write_text("device-ca.pem", "garbage", 0644);
    assert_int_equal(authority_ensure(dir, "device"), ERR_MALFORMED);
    write_text("device-ca.pem", "", 0644);
    assert_int_equal(authority_ensure(dir, "device"), ERR_MALFORMED);
    assert_int_equal(authority_ensure("/nonexistent", "device"), ERR_NOT_FOUND);
    assert_int_equal(ERR_peek_error(), 0);
}

/* And nobody is asked for the passphrase. */
static void test_encrypted_key_is_refused(void **state)
{
    (void)state;
    char passphrase[] = "passphrase";
    ensure();
    EVP_PKEY *key = read_key("device-ca.key");
    FILE *file = fopen(path_of("device-ca.key"), "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, EVP_aes_128_cbc(), NULL, 0, NULL, passphrase), 1);
    fclose(file);
    EVP_PKEY_free(key);
    assert_int_equal(authority_ensure(dir, "device"), ERR_MALFORMED);
}

static void test_leaf_is_renewed_for_a_new_name(void **state)
{
    (void)state;
    ensure();
    ino_t key = inode_of("device.key");
    assert_true(ensure_renews((const char *const[]){"push.example.com", "127.0.0.2"}, 2));
    assert_true(ensure_renews((const char *const[]){"push.example.net"}, 1));
    assert_true(ensure_renews((const char *const[]){"*.example.net"}, 1));
    assert_true(ensure_renews((const char *const[]){"push.example.net"}, 1)); /* a wildcard does not count */
    assert_int_equal(inode_of("device.key"), key);
}

static void test_leaf_is_renewed_30_days_before_its_end(void **state)
{
    (void)state;
    ensure();
    time_t now = time(NULL), life_s = CERTIFICATE_LEAF_DAYS * DAY_S - CERTIFICATE_BACKDATE_S;
    plant_leaf("device-ca.pem", "device-ca.key", "device.key", now - life_s + 30 * DAY_S + 600);
    assert_false(ensure_renews(sans, 4));
    plant_leaf("device-ca.pem", "device-ca.key", "device.key", now - life_s + 30 * DAY_S - 600);
    assert_true(ensure_renews(sans, 4));
    plant_leaf("device-ca.pem", "device-ca.key", "device.key", now - life_s - DAY_S);
    assert_true(ensure_renews(sans, 4));
}

static void test_leaf_is_renewed_for_another_ca_or_key(void **state)
{
    (void)state;
    ensure();
    assert_int_equal(authority_ensure(dir, "other"), ERR_OK);
    plant_leaf("other-ca.pem", "other-ca.key", "device.key", time(NULL));
    assert_true(ensure_renews(sans, 4));
    plant_leaf("device-ca.pem", "other-ca.key", "device.key", time(NULL)); /* right name, wrong signature */
    assert_true(ensure_renews(sans, 4));
    plant_leaf("device-ca.pem", "device-ca.key", "other-ca.key", time(NULL));
    assert_true(ensure_renews(sans, 4));
    unlink(path_of("device.key"));
    assert_true(ensure_renews(sans, 4));
    assert_false(ensure_renews(sans, 4));
}

static void test_leaf_without_its_ca_key(void **state)
{
    (void)state;
    ensure();
    unlink(path_of("device-ca.key"));
    assert_false(ensure_renews(sans, 4)); /* nothing to sign, so not needed */
    const char *const other[] = {"push.example.net"};
    assert_int_equal(authority_ensure_leaf(dir, "device", "device", other, 1), ERR_NOT_FOUND);
    assert_int_equal(authority_ensure_leaf(dir, "other", "device", sans, 4), ERR_NOT_FOUND);
    assert_int_equal(chmod(path_of("device.key"), 0644), 0);
    assert_int_equal(authority_ensure_leaf(dir, "device", "device", sans, 4), ERR_DENIED);
}

static void test_names(void **state)
{
    (void)state;
    char long_label[2 + CERTIFICATE_DNS_LABEL_MAX] = {0}, long_name[300] = {0};
    memset(long_label, 'a', sizeof long_label - 1);
    for (size_t i = 0; i < CERTIFICATE_DNS_NAME_MAX + 1; i++)
        long_name[i] = i % 2 ? '.' : 'a';
    const char *const refused[] = {"",          ".",     "a..b",        ".a",       "a.",      "a b",
                                   "a,DNS:b",   "a/b",   "a_b",         "*",        "a.*",     "*a.b",
                                   "1.2.3.4/8", "[::1]", "\xc3\xbc.de", long_label, long_name, "a:1"};
    const char *const allowed[] = {"localhost", "a.b",         "*.a.b",       "xn--bcher-kva.example",
                                   "10.0.0.1",  "2001:db8::1", &long_label[1]};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (certificate_san_valid(refused[i]))
            fail_msg("\"%s\" is allowed", refused[i]);
    }
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++) {
        if (!certificate_san_valid(allowed[i]))
            fail_msg("\"%s\" is refused", allowed[i]);
    }
    const char *many[CERTIFICATE_SANS_MAX + 1];
    for (size_t i = 0; i <= CERTIFICATE_SANS_MAX; i++)
        many[i] = "a.example";
    assert_int_equal(authority_ensure(dir, "device"), ERR_OK);
    assert_int_equal(authority_ensure_leaf(dir, "device", "device", refused + 6, 1), ERR_INVALID);
    assert_int_equal(authority_ensure_leaf(dir, "device", "device", sans, 0), ERR_INVALID);
    assert_int_equal(authority_ensure_leaf(dir, "device", "device", many, CERTIFICATE_SANS_MAX + 1),
                     ERR_INVALID);
    assert_int_equal(authority_ensure_leaf(dir, "device", "device", many, CERTIFICATE_SANS_MAX), ERR_OK);
    assert_int_equal(authority_ensure(dir, long_label), ERR_TOO_BIG);
    assert_int_equal(ERR_peek_error(), 0);
}

#define IN_OWN_DIR(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_OWN_DIR(test_what_is_made_verifies),
        IN_OWN_DIR(test_modes),
        IN_OWN_DIR(test_what_is_there_stays),
        IN_OWN_DIR(test_cut_short_start_keeps_the_pin),
        IN_OWN_DIR(test_pin_is_of_the_spki),
        IN_OWN_DIR(test_ca_that_does_not_fit_is_left_alone),
        IN_OWN_DIR(test_encrypted_key_is_refused),
        IN_OWN_DIR(test_leaf_is_renewed_for_a_new_name),
        IN_OWN_DIR(test_leaf_is_renewed_30_days_before_its_end),
        IN_OWN_DIR(test_leaf_is_renewed_for_another_ca_or_key),
        IN_OWN_DIR(test_leaf_without_its_ca_key),
        IN_OWN_DIR(test_names),
    };
    return cmocka_run_group_tests_name("authority", tests, NULL, NULL);
}

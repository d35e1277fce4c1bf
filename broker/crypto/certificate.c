#include "crypto/certificate.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "crypto/openssl_calls.h"

static ASN1_OCTET_STRING *parse_address(const char *san)
{
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(san);
    ERR_clear_error(); /* a DNS name fails there, and is no failure */
    return address;
}

static bool label_valid(const char *label, size_t len, bool first)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
    if (first && len == 1 && label[0] == '*')
        return true;
    return len > 0 && len <= CERTIFICATE_DNS_LABEL_MAX && strspn(label, allowed) >= len;
}

static bool dns_name_valid(const char *name)
{
    if (strlen(name) > CERTIFICATE_DNS_NAME_MAX)
        return false;
    for (const char *label = name;;) {
        size_t len = strcspn(label, ".");
        if (!label_valid(label, len, label == name))
            return false;
        if (label[len] == '\0')
            return label != name || label[0] != '*';
        label += len + 1;
    }
}

bool certificate_san_valid(const char *san)
{
    ASN1_OCTET_STRING *address = parse_address(san);
    ASN1_OCTET_STRING_free(address);
    return address || dns_name_valid(san);
}

static bool set_serial(X509 *cert)
{
    BIGNUM *serial = BN_new();
    bool done = serial &&
                BN_rand(serial, CERTIFICATE_SERIAL_BITS, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
                BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert));
    BN_free(serial);
    return done;
}

static bool set_validity(X509 *cert, int days, time_t now)
{
    return X509_time_adj_ex(X509_getm_notBefore(cert), 0, -CERTIFICATE_BACKDATE_S, &now) &&
           X509_time_adj_ex(X509_getm_notAfter(cert), days, -CERTIFICATE_BACKDATE_S, &now);
}

static bool set_subject(X509 *cert, const char *common_name)
{
    return X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
                                      (const unsigned char *)common_name, -1, -1, 0) == 1;
}

/* @p ca is @p cert itself when that is to be self-signed. */
static X509 *begin(EVP_PKEY *key, const char *common_name, X509 *ca, int days, time_t now)
{
    X509 *cert = X509_new();
    if (!cert)
        return NULL;
    if (X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) && set_validity(cert, days, now) &&
        set_subject(cert, common_name) && X509_set_pubkey(cert, key) == 1 &&
        X509_set_issuer_name(cert, X509_get_subject_name(ca ? ca : cert)) == 1)
        return cert;
    X509_free(cert);
    return NULL;
}

static bool add_extension(X509 *cert, X509 *ca, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, ca, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool done = extension && X509_add_ext(cert, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return done;
}

static GENERAL_NAME *general_name(const char *san)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_OCTET_STRING *address = parse_address(san);
    ASN1_IA5STRING *dns = address ? NULL : ASN1_IA5STRING_new();
    if (name && address) {
        GENERAL_NAME_set0_value(name, GEN_IPADD, address);
        return name;
    }
    if (name && dns && ASN1_STRING_set(dns, san, -1) == 1) {
        GENERAL_NAME_set0_value(name, GEN_DNS, dns);
        return name;
    }
    GENERAL_NAME_free(name);
    ASN1_OCTET_STRING_free(address);
    ASN1_IA5STRING_free(dns);
    return NULL;
}

/* Built as objects: in the text form that X509V3_EXT_conf_nid() takes, a comma would begin another name. */
static bool add_sans(X509 *cert, const char *const *sans, size_t count)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool done = names != NULL;
    for (size_t i = 0; done && i < count; i++) {
        GENERAL_NAME *name = general_name(sans[i]);
        done = name && sk_GENERAL_NAME_push(names, name) > 0;
        if (!done)
            GENERAL_NAME_free(name);
    }
    done = done && X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return done;
}

static enum err sign(X509 *cert, bool complete, EVP_PKEY *key, X509 **ret)
{
    if (!complete || X509_sign(cert, key, EVP_sha256()) <= 0) {
        X509_free(cert);
        return openssl_failed(ERR_CRYPTO);
    }
    *ret = cert;
    return ERR_OK;
}

enum err certificate_new_ca(EVP_PKEY *key, const char *common_name, time_t now, X509 **ret)
{
    if (strlen(common_name) > CERTIFICATE_NAME_MAX)
        return ERR_TOO_BIG;
    X509 *cert = begin(key, common_name, NULL, CERTIFICATE_CA_DAYS, now);
    bool complete = cert && add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
                    add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
                    add_extension(cert, cert, NID_subject_key_identifier, "hash");
    return sign(cert, complete, key, ret);
}

enum err certificate_new_leaf(const struct certificate_leaf *leaf, time_t now, X509 **ret)
{
    if (strlen(leaf->common_name) > CERTIFICATE_NAME_MAX)
        return ERR_TOO_BIG;
    if (leaf->san_count == 0 || leaf->san_count > CERTIFICATE_SANS_MAX)
        return ERR_INVALID;
    for (size_t i = 0; i < leaf->san_count; i++) {
        if (!certificate_san_valid(leaf->sans[i]))
            return ERR_INVALID;
    }
    X509 *cert = begin(leaf->key, leaf->common_name, leaf->ca, CERTIFICATE_LEAF_DAYS, now);
    bool complete = cert && add_extension(cert, leaf->ca, NID_basic_constraints, "critical,CA:FALSE") &&
                    add_extension(cert, leaf->ca, NID_key_usage, "critical,digitalSignature") &&
                    add_extension(cert, leaf->ca, NID_ext_key_usage, "serverAuth") &&
                    add_extension(cert, leaf->ca, NID_subject_key_identifier, "hash") &&
                    add_extension(cert, leaf->ca, NID_authority_key_identifier, "keyid:always") &&
                    add_sans(cert, leaf->sans, leaf->san_count);
    return sign(cert, complete, leaf->ca_key, ret);
}

bool certificate_issued_by(X509 *cert, X509 *ca)
{
    bool issued = X509_check_issued(ca, cert) == X509_V_OK && X509_verify(cert, X509_get0_pubkey(ca)) == 1;
    ERR_clear_error();
    return issued;
}

bool certificate_has_san(X509 *cert, const char *san)
{
    const unsigned flags = X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    ASN1_OCTET_STRING *address = parse_address(san);
    bool found =
        address ? X509_check_ip_asc(cert, san, 0) == 1 : X509_check_host(cert, san, 0, flags, NULL) == 1;
    ASN1_OCTET_STRING_free(address);
    ERR_clear_error();
    return found;
}

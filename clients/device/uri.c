#include "encode.h"

#include <openssl/crypto.h>
#include <string.h>

#define URI_PREFIX "nanopush://enrol?"

/* Each parameter has its bit, so that one that is missing or comes twice shows. */
enum parameter { V = 1, H = 2, N = 4, O = 8, U = 16, E = 32, T = 64, P = 128, ALL = 255 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RFC 3986, 3.4, without "&", which separates; with brackets, which readers of QR codes leave as they are. */
static bool is_query_character(char c)
{
    bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return alphanumeric || (c && strchr("-._~!$'()*+,;=:@/?[]", c));
}

/* Percent-decode into text of at most size - 1 bytes that is fit to be shown. */
static bool decode_text(const char *in, size_t len, char *ret, size_t size)
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        char c = in[i];
        if (c == '%') {
            int high = len - i > 2 ? hex_digit(in[i + 1]) : -1;
            int low = len - i > 2 ? hex_digit(in[i + 2]) : -1;
            if (high < 0 || low < 0 || (high | low) == 0)
                return false;
            c = (char)(high << 4 | low);
            i += 2;
        } else if (!is_query_character(c)) {
            return false;
        }
        if (out == size - 1)
            return false;
        ret[out++] = c;
    }
    ret[out] = '\0';
    return np_text_fits(ret, size);
}

static bool parse_port(const char *text, uint16_t *ret)
{
    uint32_t port = 0;
    if (*text < '1' || *text > '9')
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (uint32_t)(*text - '0');
        if (port > UINT16_MAX)
            return false;
    }
    *ret = (uint16_t)port;
    return true;
}

/* A name or an address: what getaddrinfo() is handed, and so no other character. */
static bool is_host(const char *text, const char *also)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    for (; *text; text++)
        if (!strchr(letters, *text) && !strchr(also, *text))
            return false;
    return true;
}

static bool parse_host_port(const char *in, size_t len, struct np_enrolment_uri *ret)
{
    char text[NP_HOST_SIZE + sizeof "[]:65535"];
    if (!decode_text(in, len, text, sizeof text))
        return false;
    char *host = text, *end = strrchr(text, ':');
    if (!end || !parse_port(end + 1, &ret->port))
        return false;
    *end = '\0';
    bool bracketed = *host == '[';
    if (bracketed) {
        if (end[-1] != ']')
            return false;
        end[-1] = '\0';
        host++;
    }
    size_t host_len = strlen(host);
    if (host_len == 0 || host_len >= sizeof ret->host || !is_host(host, bracketed ? ":" : ""))
        return false;
    memcpy(ret->host, host, host_len + 1);
    return true;
}

static enum np_error parse_parameter(const char *in, size_t len, unsigned *seen, struct np_enrolment_uri *ret)
{
    static const char names[] = "vhnouetp"; /* in the order of enum parameter */
    const char *name = len > 2 && in[1] == '=' ? memchr(names, in[0], sizeof names - 1) : NULL;
    unsigned bit = name ? 1u << (name - names) : 0;
    if (!bit || *seen & bit)
        return NP_MALFORMED;
    *seen |= bit;
    in += 2;
    len -= 2;
    bool ok = false;
    switch ((enum parameter)bit) {
    case V:
        return len == 1 && *in == '1' ? NP_OK : NP_UNSUPPORTED;
    case H:
        ok = parse_host_port(in, len, ret);
        break;
    case N:
        ok =
            decode_text(in, len, ret->server_name, sizeof ret->server_name) && is_host(ret->server_name, ":");
        break;
    case O:
        ok = decode_text(in, len, ret->organisation, sizeof ret->organisation);
        break;
    case U:
        ok = decode_text(in, len, ret->user, sizeof ret->user);
        break;
    case E:
        ok = decode_text(in, len, ret->enrolment_id, sizeof ret->enrolment_id);
        break;
    case T:
        ok = np_base64url_decode(in, len, ret->token, sizeof ret->token);
        break;
    case P:
        ok = np_base64url_decode(in, len, ret->pin, sizeof ret->pin);
        break;
    case ALL:
        break;
    }
    return ok ? NP_OK : NP_MALFORMED;
}

static enum np_error parse(const char *text, struct np_enrolment_uri *ret)
{
    if (strnlen(text, NP_URI_BYTES_MAX + 1) > NP_URI_BYTES_MAX)
        return NP_TOO_BIG;
    if (strncmp(text, URI_PREFIX, strlen(URI_PREFIX)) != 0)
        return NP_MALFORMED;
    const char *in = text + strlen(URI_PREFIX);
    unsigned seen = 0;
    for (;;) {
        size_t len = strcspn(in, "&#");
        enum np_error error = parse_parameter(in, len, &seen, ret);
        if (error != NP_OK)
            return error;
        in += len;
        if (*in != '&')
            break;
        in++;
    }
    if (seen != ALL)
        return NP_MALFORMED;
    if (!*in)
        return NP_OK;
    ret->has_secret = strncmp(in, "#s=", 3) == 0 &&
                      np_base64url_decode(in + 3, strlen(in + 3), ret->secret, sizeof ret->secret);
    return ret->has_secret ? NP_OK : NP_MALFORMED;
}

enum np_error np_enrolment_uri_parse(const char *text, struct np_enrolment_uri *ret)
{
    struct np_enrolment_uri uri = {0};
    enum np_error error = parse(text, &uri);
    if (error == NP_OK)
        *ret = uri;
    np_enrolment_uri_cleanse(&uri);
    return error;
}

void np_enrolment_uri_cleanse(struct np_enrolment_uri *uri)
{
    OPENSSL_cleanse(uri, sizeof *uri);
}

void np_enrolment_uri_endpoint(const struct np_enrolment_uri *uri, struct np_endpoint *ret)
{
    *ret = (struct np_endpoint){
        .host = uri->host,
        .port = uri->port,
        .server_name = uri->server_name,
        .pins = &uri->pin,
        .pin_count = 1,
    };
}

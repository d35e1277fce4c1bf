#include "ops/dashboard.h"

#include <stdio.h>
#include <string.h>

#include "crypto/digest.h"

extern const char dashboard_page[]; /* generated, NUL-terminated */

struct bytes dashboard_html(void)
{
    return bytes_of(dashboard_page);
}

/* In base64, of what stands between two tags (Content Security Policy Level 3, 8.3). */
static enum err hash_between(const char *open, const char *close, char out[BASE64URL_SIZE(SHA256_BYTES)])
{
    uint8_t digest[SHA256_BYTES];
    const char *begin = strstr(dashboard_page, open), *end = begin ? strstr(begin, close) : NULL;
    if (!end)
        return ERR_MALFORMED;
    begin += strlen(open);
    TRY(sha256(bytes_make(begin, (size_t)(end - begin)), digest));
    base64_encode(bytes_make(digest, sizeof digest), out);
    return ERR_OK;
}

enum err dashboard_policy(char out[DASHBOARD_POLICY_SIZE])
{
    char style[BASE64URL_SIZE(SHA256_BYTES)], script[BASE64URL_SIZE(SHA256_BYTES)];
    TRY(hash_between("<style>", "</style>", style));
    TRY(hash_between("<script>", "</script>", script));
    snprintf(out, DASHBOARD_POLICY_SIZE,
             "default-src 'none'; style-src 'sha256-%s='; script-src 'sha256-%s='; connect-src 'self'; "
             "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             style, script);
    return ERR_OK;
}

/* The certificate that a portal shows: whatever parses as one is read, and names nobody by what is not a name. */
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/client_certificate.h"

static void check_name(const char *name)
{
    size_t len = strlen(name);
    if (len >= CLIENT_CERTIFICATE_NAME_SIZE || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct client_certificate read;
    const unsigned char *at = data;
    X509 *cert = d2i_X509(NULL, &at, (long)size);
    if (cert && client_certificate_read(cert, true, &read) == ERR_OK) {
        check_name(read.organisation);
        check_name(read.portal);
        if (!read.organisation[0] != !read.portal[0])
            abort();
    }
    X509_free(cert);
    return 0;
}

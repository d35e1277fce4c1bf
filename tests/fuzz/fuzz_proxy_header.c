/* What a load balancer says of a connection: read whole, or refused; and refused early is refused late too. */
#include <stdlib.h>

#include "net/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length = 0, early;
    enum err e = proxy_header_length(bytes_make(data, size), &length);
    for (size_t len = 0; len < size && len <= PROXY_HEADER_START_BYTES; len++)
        if (proxy_header_length(bytes_make(data, len), &early) != ERR_OK && e == ERR_OK)
            abort();
    if (e != ERR_OK || length > size)
        return 0;
    if (length < PROXY_HEADER_START_BYTES || length > PROXY_HEADER_MAX_BYTES)
        abort();
    struct address source;
    char text[ADDRESS_TEXT_SIZE];
    if (proxy_header_source(bytes_make(data, length), &source) == ERR_OK && source.len)
        address_print(&source, text);
    return 0;
}

#include "base/id.h"

#include <string.h>

void id_make(const uint8_t bits[ID_RANDOM_BYTES], const char *tag, char out[ID_SIZE])
{
    hex_encode(bytes_make(bits, ID_RANDOM_BYTES), out);
    out[ID_RANDOM_BYTES * 2] = '-';
    memcpy(out + ID_RANDOM_BYTES * 2 + 1, tag, TAG_SIZE);
}

bool id_valid(struct bytes text)
{
    if (text.len != ID_LEN || text.p[ID_RANDOM_BYTES * 2] != '-')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        bool hex = (text.p[i] >= '0' && text.p[i] <= '9') || (text.p[i] >= 'a' && text.p[i] <= 'f');
        if (!hex && i != ID_RANDOM_BYTES * 2)
            return false;
    }
    return true;
}

const char *id_tag(const char *id)
{
    return id + ID_LEN - TAG_LEN;
}

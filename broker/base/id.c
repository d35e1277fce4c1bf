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

bool id_pack(struct bytes text, uint8_t out[ID_BYTES])
{
    return id_valid(text) &&
           hex_decode(bytes_make(text.p, ID_RANDOM_BYTES * 2), out, ID_RANDOM_BYTES) == ERR_OK &&
           hex_decode(bytes_make(text.p + ID_LEN - TAG_LEN, TAG_LEN), out + ID_RANDOM_BYTES, ID_TAG_BYTES) ==
               ERR_OK;
}

void id_unpack(const uint8_t packed[ID_BYTES], char out[ID_SIZE])
{
    char tag[TAG_SIZE];
    hex_encode(bytes_make(packed + ID_RANDOM_BYTES, ID_TAG_BYTES), tag);
    id_make(packed, tag, out);
}

const char *id_tag(const char *id)
{
    return id + ID_LEN - TAG_LEN;
}

#include "domain/text.h"

#include "store/key.h"

/* Decodes one character of valid UTF-8 and steps over it. */
static uint32_t next_point(struct bytes text, size_t *at)
{
    uint8_t lead = text.p[(*at)++];
    unsigned more = lead < 0x80 ? 0 : lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    uint32_t point = more ? lead & (0x3fu >> more) : lead;
    while (more--)
        point = point << 6 | (text.p[(*at)++] & 0x3f);
    return point;
}

static bool deceives(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || /* C0, DEL, C1 */
           point == 0x61c ||                                  /* Arabic letter mark */
           point == 0x200e || point == 0x200f ||              /* left-to-right and right-to-left mark */
           (point >= 0x2028 && point <= 0x202e) ||            /* separators, embeddings, overrides */
           (point >= 0x2066 && point <= 0x2069);              /* isolates */
}

enum err text_check(struct bytes text, size_t max)
{
    if (text.len > max)
        return ERR_TOO_BIG;
    if (!utf8_valid(text))
        return ERR_INVALID;
    for (size_t at = 0; at < text.len;)
        if (deceives(next_point(text, &at)))
            return ERR_INVALID;
    return ERR_OK;
}

bool text_is_name(struct bytes text)
{
    if (text.len == 0 || text.len > NAME_MAX_LEN || text.p[0] == '-' || text.p[text.len - 1] == '-')
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!((text.p[i] >= 'a' && text.p[i] <= 'z') || (text.p[i] >= '0' && text.p[i] <= '9') ||
              text.p[i] == '-'))
            return false;
    return true;
}

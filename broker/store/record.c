#include "store/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"
#include "crypto/digest.h"
#include "store/store.h"

struct place {
    char text[KEY_SIZE + ID_SIZE + 1];
};

static struct bytes place_of(const struct key *key, const char *field, struct place *place)
{
    int len = snprintf(place->text, sizeof place->text, "%s/%s", key->text, field);
    return bytes_make(place->text, (size_t)len);
}

static enum err append_packed(const ProtobufCMessage *message, struct buf *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *at = buf_reserve(out, len ? len : 1);
    if (!at)
        return ERR_NOMEM;
    buf_commit(out, protobuf_c_message_pack(message, at));
    return ERR_OK;
}

/* head || mac || message; the seal is over head || message. */
static enum err seal(const struct secret *secret, struct bytes place, struct bytes head,
                     const ProtobufCMessage *message, struct buf *ret)
{
    struct buf sealed = {0};
    uint8_t mac[SHA256_BYTES];
    enum err e = buf_append(&sealed, head);
    if (e == ERR_OK)
        e = append_packed(message, &sealed);
    if (e == ERR_OK)
        e = secret_seal(secret, place, buf_view(&sealed), mac);
    if (e == ERR_OK && !buf_reserve(ret, buf_len(&sealed) + sizeof mac))
        e = ERR_NOMEM;
    if (e == ERR_OK) {
        struct bytes all = buf_view(&sealed);
        if (buf_append(ret, head) != ERR_OK || buf_append(ret, bytes_make(mac, sizeof mac)) != ERR_OK ||
            buf_append(ret, bytes_make(all.p + head.len, all.len - head.len)) != ERR_OK)
            e = ERR_NOMEM;
    }
    buf_done(&sealed);
    return e;
}

/* Somebody writes to Redis who does not have the cluster secret, or the secret is not the one it was. */
static void broken(struct bytes place)
{
    METRIC_ADD(SEAL_FAILURES, 1);
    LOG(ERROR, STORE, "seal-broken", "place=%s", LOG_BYTES(place));
}

static enum err open_sealed(const struct secret *secret, struct bytes place, size_t head_len,
                            struct bytes value, const ProtobufCMessageDescriptor *type,
                            ProtobufCMessage **ret)
{
    if (value.len < head_len + SHA256_BYTES)
        return ERR_MALFORMED;
    struct bytes message = bytes_make(value.p + head_len + SHA256_BYTES, value.len - head_len - SHA256_BYTES);
    struct buf sealed = {0};
    enum err e = buf_append(&sealed, bytes_make(value.p, head_len));
    if (e == ERR_OK)
        e = buf_append(&sealed, message);
    if (e == ERR_OK)
        e = secret_check_seal(secret, place, buf_view(&sealed), value.p + head_len);
    buf_done(&sealed);
    if (e == ERR_BAD_SIGNATURE)
        broken(place);
    TRY(e);
    ProtobufCMessage *unpacked = protobuf_c_message_unpack(type, NULL, message.len, message.p);
    if (!unpacked)
        return ERR_MALFORMED;
    *ret = unpacked;
    return ERR_OK;
}

enum err record_seal(const struct secret *secret, const struct key *key, const char *field,
                     const ProtobufCMessage *message, struct buf *ret)
{
    struct place place;
    return seal(secret, place_of(key, field, &place), bytes_make(NULL, 0), message, ret);
}

enum err record_open(const struct secret *secret, const struct key *key, const char *field,
                     struct bytes value, const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret)
{
    struct place place;
    return open_sealed(secret, place_of(key, field, &place), 0, value, type, ret);
}

ProtobufCMessage *store_record_copy(const ProtobufCMessage *record)
{
    size_t len = protobuf_c_message_get_packed_size(record);
    uint8_t *packed = mem_new(len + 1);
    protobuf_c_message_pack(record, packed);
    ProtobufCMessage *copy = protobuf_c_message_unpack(record->descriptor, NULL, len, packed);
    free(packed);
    if (!copy)
        abort(); /* what was just packed unpacks, unless memory is out; see mem_new() */
    return copy;
}

static void begin_head(uint32_t generation, uint8_t *head)
{
    head[0] = '1';
    head[1] = 'A';
    for (int i = 0; i < 4; i++)
        head[2 + i] = (uint8_t)(generation >> (24 - 8 * i));
}

enum err record_device_head(uint32_t generation, struct bytes possession_key, uint8_t head[DEVICE_HEAD_BYTES])
{
    begin_head(generation, head);
    return sha256(possession_key, head + 6);
}

void record_device_head_start(uint32_t generation, const uint8_t key_digest[DEVICE_KEY_DIGEST_BYTES],
                              uint8_t start[DEVICE_HEAD_START_BYTES])
{
    begin_head(generation, start);
    memcpy(start + 6, key_digest, DEVICE_KEY_DIGEST_BYTES);
}

enum err store_key_digest(struct bytes possession_key, uint8_t out[DEVICE_KEY_DIGEST_BYTES])
{
    uint8_t digest[SHA256_BYTES];
    TRY(sha256(possession_key, digest));
    memcpy(out, digest, DEVICE_KEY_DIGEST_BYTES);
    return ERR_OK;
}

static struct bytes bytes_of_field(const ProtobufCBinaryData *field)
{
    return bytes_make(field->data, field->len);
}

static struct bytes device_place(const char *device_id, struct place *place)
{
    struct key key = key_user(id_tag(device_id), "devices");
    return place_of(&key, device_id, place);
}

enum err record_seal_device(const struct secret *secret, const Record__Device *device, struct buf *ret)
{
    struct place place;
    uint8_t head[DEVICE_HEAD_BYTES];
    TRY(record_device_head(device->generation, bytes_of_field(&device->possession_key), head));
    return seal(secret, device_place(device->id, &place), bytes_make(head, sizeof head), &device->base, ret);
}

enum err record_open_device(const struct secret *secret, const char *device_id, struct bytes value,
                            Record__Device **ret)
{
    struct place place;
    ProtobufCMessage *message = NULL;
    TRY(open_sealed(secret, device_place(device_id, &place), DEVICE_HEAD_BYTES, value,
                    &record__device__descriptor, &message));
    Record__Device *device = (Record__Device *)message;
    uint8_t head[DEVICE_HEAD_BYTES];
    enum err e = record_device_head(device->generation, bytes_of_field(&device->possession_key), head);
    if (e == ERR_OK && (memcmp(head, value.p, sizeof head) != 0 || strcmp(device->id, device_id) != 0))
        e = ERR_BAD_SIGNATURE;
    if (e != ERR_OK) {
        record__device__free_unpacked(device, NULL);
        return e;
    }
    *ret = device;
    return ERR_OK;
}

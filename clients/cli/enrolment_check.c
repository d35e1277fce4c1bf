#include "cli/enrolment_check.h"

#include <string.h>

#include "crypto/inputs.h"

static enum err take_key(struct bytes key, const char *said, uint8_t out[P256_PUBLIC_BYTES],
                         char thumbprint[P256_THUMBPRINT_SIZE])
{
    TRY(p256_check_public(key));
    TRY(p256_thumbprint(key.p, thumbprint));
    if (strcmp(said, thumbprint) != 0)
        return ERR_BAD_SIGNATURE;
    memcpy(out, key.p, P256_PUBLIC_BYTES);
    return ERR_OK;
}

enum err enrolment_check(const struct pending_enrolment *pending, const char *enrolment_id,
                         const Nanopush__V1__EnrolledDevice *device, struct pinned_device *ret)
{
    struct pinned_device checked = {.device_id = device->device_id, .org = pending->org};
    uint8_t proof[SHA256_BYTES];
    TRY(take_key(bytes_make(device->possession_key.data, device->possession_key.len),
                 device->possession_thumbprint, checked.possession_key, checked.possession));
    TRY(take_key(bytes_make(device->user_verification_key.data, device->user_verification_key.len),
                 device->user_verification_thumbprint, checked.user_verification_key,
                 checked.user_verification));
    if (strcmp(checked.possession, checked.user_verification) == 0)
        return ERR_INVALID;
    TRY(enrol_proof(bytes_make(pending->s, sizeof pending->s), bytes_of(pending->org),
                    bytes_of(pending->user), bytes_of(enrolment_id), checked.possession,
                    checked.user_verification, proof));
    if (!bytes_equal_secret(bytes_make(proof, sizeof proof),
                            bytes_make(device->proof.data, device->proof.len)))
        return ERR_BAD_SIGNATURE;
    *ret = checked;
    return ERR_OK;
}

#include "domain/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "nanopush/v1/common.pb-c.h"

/* A number for one purpose of a challenge. */
static enum err derive(const struct secret *secret, const char *challenge_id, const char *purpose,
                       unsigned digits, char out[NUMBER_SIZE])
{
    char name[ID_SIZE + 32];
    int len = snprintf(name, sizeof name, "%s/%s", challenge_id, purpose);
    return secret_challenge_code(secret, bytes_make(name, (size_t)len), digits, out);
}

enum err number_options(const struct secret *secret, const char *challenge_id,
                        char out[NUMBER_OPTIONS][NUMBER_SIZE])
{
    char made[NUMBER_OPTIONS][NUMBER_SIZE] = {{0}};
    for (unsigned count = 0, turn = 0; count < NUMBER_OPTIONS; turn++) {
        char purpose[24];
        bool there = false;
        snprintf(purpose, sizeof purpose, "option %u", turn);
        TRY(derive(secret, challenge_id, purpose, NUMBER_CHOOSE_DIGITS, made[count]));
        for (unsigned i = 0; i < count; i++)
            there = there || strcmp(made[i], made[count]) == 0;
        count += !there;
    }
    memcpy(out, made, sizeof made);
    return ERR_OK;
}

enum err number_to_show(const struct secret *secret, const Record__Challenge *challenge,
                        char out[NUMBER_SIZE])
{
    char options[NUMBER_OPTIONS][NUMBER_SIZE], place[NUMBER_SIZE];
    out[0] = '\0';
    if (challenge->mode == NANOPUSH__V1__MODE__MODE_CODE)
        return derive(secret, challenge->id, "code",
                      challenge->code_digits ? challenge->code_digits : NUMBER_CODE_DIGITS, out);
    if (challenge->mode != NANOPUSH__V1__MODE__MODE_CHOOSE)
        return ERR_OK;
    TRY(number_options(secret, challenge->id, options));
    TRY(derive(secret, challenge->id, "place", CODE_MAX_DIGITS, place));
    memcpy(out, options[atoi(place) % NUMBER_OPTIONS], NUMBER_SIZE);
    return ERR_OK;
}

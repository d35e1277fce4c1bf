/**
 * The numbers of the modes CHOOSE and CODE. Derived from the challenge's id under the cluster secret, so that a repeat
 * finds the same and Redis never holds them (SECURITY, "One cluster secret").
 */
#ifndef NANOPUSH_DOMAIN_NUMBER_H
#define NANOPUSH_DOMAIN_NUMBER_H

#include "crypto/secret.h"

#define NUMBER_SIZE          (CODE_MAX_DIGITS + 1)
#define NUMBER_CODE_DIGITS   3
#define NUMBER_CHOOSE_DIGITS 2
#define NUMBER_OPTIONS       3

/**
 * What the portal shows: CODE a number of NUMBER_CODE_DIGITS, CHOOSE one of the options, TAP "".
 * @param mode  number of nanopush.v1.Mode.
 * @return ERR_OK; as secret_challenge_code().
 */
MUST_CHECK enum err number_to_show(const struct secret *secret, const char *challenge_id, int mode,
                                   char out[NUMBER_SIZE]);

/** What CHOOSE offers on every phone and attempt: different numbers, the right one in a place that says nothing. */
MUST_CHECK enum err number_options(const struct secret *secret, const char *challenge_id,
                                   char out[NUMBER_OPTIONS][NUMBER_SIZE]);

#endif

/**
 * The numbers of the modes CHOOSE and CODE. Derived from the challenge's id under the cluster secret, so that a repeat
 * finds the same and Redis never holds them (SECURITY, "One cluster secret").
 */
#ifndef NANOPUSH_DOMAIN_NUMBER_H
#define NANOPUSH_DOMAIN_NUMBER_H

#include "crypto/secret.h"
#include "store/store.h"

#define NUMBER_SIZE          (CODE_MAX_DIGITS + 1)
#define NUMBER_CODE_DIGITS   3
#define NUMBER_LONG_DIGITS   6 /* where guessing it once is worth more */
#define NUMBER_CHOOSE_DIGITS 2
#define NUMBER_OPTIONS       3

/**
 * What is shown beside the challenge: CODE a number of its code_digits, or NUMBER_CODE_DIGITS where it names none, CHOOSE
 * one of the options, TAP "".
 * @return ERR_OK; as secret_challenge_code().
 */
MUST_CHECK enum err number_to_show(const struct secret *secret, const Record__Challenge *challenge,
                                   char out[NUMBER_SIZE]);

/** What CHOOSE offers on every phone and attempt: different numbers, the right one in a place that says nothing. */
MUST_CHECK enum err number_options(const struct secret *secret, const char *challenge_id,
                                   char out[NUMBER_OPTIONS][NUMBER_SIZE]);

#endif

/**
 * A fuzz target without a fuzzer: every seed of its corpus, each whole and cut short in a dozen places. It is linked with
 * each target as build/tests/unit/replay_<name> and runs with the unit tests, so that one that no longer fits what it
 * feeds, or fails on what it knew, is seen at once. Writes TAP.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED_MAX (1 << 20)
#define CUTS     12

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

/* Of its own size on the heap, so that a sanitizer sees each byte that is read behind it. */
static void feed(const uint8_t *seed, size_t len)
{
    uint8_t *in = malloc(len + !len);
    if (!in)
        abort();
    memcpy(in, seed, len);
    LLVMFuzzerTestOneInput(in, len);
    free(in);
}

static bool replay(const char *directory, const char *name)
{
    static uint8_t seed[SEED_MAX];
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    size_t len = fread(seed, 1, sizeof seed, file);
    fclose(file);
    feed(seed, len);
    for (size_t cut = 0; cut < CUTS; cut++)
        feed(seed, len * cut / CUTS);
    return true;
}

int main(int argc, char **argv)
{
    const char *prefix = "replay_", *name = argc > 0 ? strstr(argv[0], prefix) : NULL;
    char directory[256];
    snprintf(directory, sizeof directory, "tests/fuzz/corpus/%s", name ? name + strlen(prefix) : "");
    DIR *corpus = opendir(directory);
    int count = 0, failed = 0;
    for (struct dirent *entry; corpus && (entry = readdir(corpus));) {
        if (entry->d_name[0] == '.')
            continue;
        bool ok = replay(directory, entry->d_name);
        failed += !ok;
        printf("%s %d - %s\n", ok ? "ok" : "not ok", ++count, entry->d_name);
    }
    if (corpus)
        closedir(corpus);
    if (count == 0)
        printf("not ok 1 - %s has no seeds\n", directory);
    return count > 0 && !failed ? EXIT_SUCCESS : EXIT_FAILURE;
}

/** The audit's chain: what it lets nobody do, and the files that it is written to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/verify.h"
#include "audit/writer.h"
#include "core/log.h"

static char directory[] = "/tmp/nanopush-audit-XXXXXX";
static struct secret *secret;
static struct loop *loop;

static const char entry[] = "{\"kind\":\"phone_added\",\"user\":\"ada\"}";

/* The next line of @p chain, without its line feed, into @p line. */
static void append(struct chain *chain, uint64_t lost, struct buf *line)
{
    struct chain next;
    assert_int_equal(chain_append(chain, secret, bytes_of(entry), lost, line, &next), ERR_OK);
    assert_int_equal(next.seq, chain->seq + 1);
    line->tail--;
    *chain = next;
}

static enum err read_back(struct bytes line, struct chain *chain)
{
    char prev[CHAIN_MAC_SIZE];
    struct bytes found;
    uint64_t lost;
    return chain_read(secret, line, chain, prev, &found, &lost);
}

static void lines_are_read_back(void **state)
{
    (void)state;
    struct chain chain, read;
    char prev[CHAIN_MAC_SIZE], before[CHAIN_MAC_SIZE];
    assert_int_equal(chain_begin(&chain), ERR_OK);
    for (uint64_t i = 1; i <= 3; i++) {
        struct buf line = {0};
        struct bytes found;
        uint64_t lost = 99;
        memcpy(before, chain.mac, sizeof before);
        append(&chain, i == 2 ? 7 : 0, &line);
        assert_int_equal(chain_read(secret, buf_view(&line), &read, prev, &found, &lost), ERR_OK);
        assert_string_equal(read.id, chain.id);
        assert_int_equal(read.seq, i);
        assert_string_equal(read.mac, chain.mac);
        assert_string_equal(prev, i == 1 ? chain_no_mac : before);
        assert_true(bytes_equal(found, bytes_of(entry)));
        assert_int_equal(lost, i == 2 ? 7 : 0);
        buf_done(&line);
    }
}

static void changed_anywhere_it_is_noticed(void **state)
{
    (void)state;
    struct chain chain, read;
    struct buf line = {0};
    assert_int_equal(chain_begin(&chain), ERR_OK);
    append(&chain, 3, &line);
    for (size_t i = 0; i < buf_len(&line); i++) {
        line.p[line.head + i] ^= 1;
        enum err e = read_back(buf_view(&line), &read);
        assert_true(e == ERR_MALFORMED || e == ERR_BAD_SIGNATURE);
        line.p[line.head + i] ^= 1;
        assert_int_not_equal(read_back(bytes_make(buf_view(&line).p, i), &read), ERR_OK);
    }
    assert_int_equal(read_back(buf_view(&line), &read), ERR_OK);
    buf_done(&line);
}

static void line_that_is_too_long_is_not_written(void **state)
{
    (void)state;
    static char large[CHAIN_LINE_MAX_BYTES];
    struct chain chain, next;
    struct buf line = {0};
    memset(large, 'x', sizeof large - 1);
    assert_int_equal(chain_begin(&chain), ERR_OK);
    assert_int_equal(chain_append(&chain, secret, bytes_of(large), 0, &line, &next), ERR_TOO_BIG);
    buf_done(&line);
}

/* ---- files ---- */

/* Files of the directory; each is checked, and its lines follow the ones before. */
static unsigned check_files(const char *where, uint64_t *lost_sum)
{
    struct dirent **names;
    int count = scandir(where, &names, NULL, alphasort);
    unsigned files = 0;
    struct chain last = {.seq = 0}, read;
    char path[512], line[CHAIN_LINE_MAX_BYTES], prev[CHAIN_MAC_SIZE];
    memcpy(last.mac, chain_no_mac, sizeof last.mac);
    *lost_sum = 0;
    for (int i = 0; i < count; free(names[i++])) {
        struct stat status;
        if (names[i]->d_name[0] == '.')
            continue;
        files++;
        snprintf(path, sizeof path, "%s/%s", where, names[i]->d_name);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        while (fgets(line, sizeof line, file)) {
            struct bytes found;
            uint64_t lost;
            line[strcspn(line, "\n")] = '\0';
            assert_int_equal(chain_read(secret, bytes_of(line), &read, prev, &found, &lost), ERR_OK);
            assert_int_equal(read.seq, last.seq + 1);
            assert_string_equal(prev, last.mac);
            *lost_sum += lost;
            last = read;
        }
        fclose(file);
    }
    free(names);
    return files;
}

static struct audit *open_audit(const char *name, char where[128])
{
    struct audit *audit = NULL;
    snprintf(where, 128, "%s/%s", directory, name);
    const struct audit_options options = {.directory = where, .process = "worker-1", .file_bytes = 4096};
    assert_int_equal(audit_open(loop, secret, &options, &audit), ERR_OK);
    return audit;
}

static void files_are_closed_at_their_size_and_the_chain_goes_on(void **state)
{
    (void)state;
    char where[128];
    uint64_t lost;
    struct audit *audit = open_audit("rotated", where);
    assert_int_not_equal(access(where, F_OK), 0); /* nothing happened yet: no file */
    for (unsigned i = 0; i < 100; i++)
        audit_append(audit, bytes_of(entry));
    audit_close(audit);
    assert_in_range(check_files(where, &lost), 4, 12);
    assert_int_equal(lost, 0);
}

/* A file where the directory should be stands for a disk that takes nothing. */
static void what_could_not_be_written_is_told_by_the_next_line(void **state)
{
    (void)state;
    char where[128];
    uint64_t lost;
    struct audit *audit = open_audit("full", where);
    int fd = open(where, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    audit_append(audit, bytes_of(entry));
    audit_append(audit, bytes_of(entry));
    assert_int_equal(unlink(where), 0);
    audit_append(audit, bytes_of(entry));
    audit_append(audit, bytes_of(entry));
    audit_close(audit);
    assert_int_equal(check_files(where, &lost), 1);
    assert_int_equal(lost, 2);
}

static int set_up(void **state)
{
    (void)state;
    char path[128];
    log_init("test", LOG_LEVEL_ERROR);
    if (!mkdtemp(directory))
        return 1;
    snprintf(path, sizeof path, "%s/secret", directory);
    loop = loop_new();
    return !loop || secret_create(path) != ERR_OK || secret_load(path, &secret) != ERR_OK;
}

static char kept[] = "/tmp/nanopush-kept-XXXXXX"; /* a copy of the audit, to be tampered with */

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    secret_free(secret);
    loop_free(loop);
    snprintf(command, sizeof command, "rm -rf '%s' '%s'", directory, kept);
    return system(command);
}

/* ---- verifying what others may have touched ---- */

struct found {
    unsigned of[AUDIT_FINDING_COUNT];
};

static void on_line(const struct audit_line *line, void *arg)
{
    ((struct found *)arg)->of[line->finding]++;
    assert_true(line->finding != AUDIT_HOLDS || bytes_equal(line->entry, bytes_of(entry)));
}

static struct found verify(const struct chain *head, struct audit_summary *ret)
{
    struct found found = {{0}};
    assert_int_equal(audit_verify(kept, secret, head, on_line, &found, ret), ERR_OK);
    return found;
}

/* Writes file @p number of a chain: those of its @p count lines that @p keep names, in that order, from 0. */
static void put_file(unsigned number, char (*lines)[512], const char *keep)
{
    char path[64];
    snprintf(path, sizeof path, "%s/t-worker-1-c.%u.jsonl", kept, number);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (; *keep; keep++)
        fprintf(file, "%s\n", lines[*keep - '0']);
    fclose(file);
}

static void make_lines(struct chain heads[6], char lines[6][512])
{
    struct chain chain;
    assert_int_equal(chain_begin(&chain), ERR_OK);
    for (size_t i = 0; i < 6; i++) {
        struct buf line = {0};
        append(&chain, i == 3 ? 2 : 0, &line);
        snprintf(lines[i], 512, "%.*s", (int)buf_len(&line), (const char *)buf_view(&line).p);
        heads[i] = chain;
        buf_done(&line);
    }
}

static void what_was_taken_out_moved_or_changed_is_found(void **state)
{
    (void)state;
    struct chain heads[6];
    char lines[6][512], forged[6][512];
    struct audit_summary summary;
    assert_non_null(mkdtemp(kept));
    make_lines(heads, lines);

    put_file(9, lines, "012");
    put_file(10, lines, "345"); /* behind 9, not behind 1 */
    struct found found = verify(&heads[5], &summary);
    assert_int_equal(found.of[AUDIT_HOLDS], 6);
    assert_int_equal(summary.findings, 0);
    assert_int_equal(summary.chains, 1);
    assert_int_equal(summary.lines, 6);
    assert_int_equal(summary.lost, 2);

    put_file(10, lines, "34"); /* cut: only the head tells */
    assert_int_equal(verify(NULL, &summary).of[AUDIT_HOLDS], 5);
    assert_int_equal(summary.findings, 0);
    assert_int_equal(verify(&heads[5], &summary).of[AUDIT_HEAD_MISSING], 1);
    assert_int_equal(verify(&heads[4], &summary).of[AUDIT_HEAD_MISSING], 0);
    struct chain other = heads[4];
    memcpy(other.mac, heads[3].mac, sizeof other.mac);
    assert_int_equal(verify(&other, &summary).of[AUDIT_HEAD_OTHER], 1);

    put_file(10, lines, "35"); /* one is missing */
    assert_int_equal(verify(NULL, &summary).of[AUDIT_ORDER], 1);
    put_file(10, lines, "3445"); /* repeated */
    assert_int_equal(verify(NULL, &summary).of[AUDIT_ORDER], 1);
    put_file(10, lines, "435"); /* reordered */
    assert_int_equal(verify(NULL, &summary).of[AUDIT_ORDER], 3);
    put_file(9, lines, ""); /* a file is missing */
    put_file(10, lines, "345");
    assert_int_equal(verify(NULL, &summary).of[AUDIT_ORDER], 1);

    put_file(9, lines, "012");
    memcpy(forged, lines, sizeof forged);
    memcpy(strstr(forged[4], "ada"), "eve", 3);
    put_file(10, forged, "345");
    found = verify(NULL, &summary);
    assert_int_equal(found.of[AUDIT_SEAL], 1);
    assert_int_equal(found.of[AUDIT_ORDER], 1);
    forged[4][20] = '\0'; /* torn */
    put_file(10, forged, "34");
    assert_int_equal(verify(NULL, &summary).of[AUDIT_MALFORMED], 1);
    put_file(9, lines, "");
    put_file(10, lines, "");
    assert_int_equal(verify(&heads[0], &summary).of[AUDIT_HEAD_MISSING], 1);
}

static void lines_of_any_length_are_survived(void **state)
{
    (void)state;
    char path[64];
    struct audit_summary summary;
    snprintf(path, sizeof path, "%s/t-worker-1-c.9.jsonl", kept);
    FILE *file = fopen(path, "w");
    for (size_t i = 0; i < 5 * CHAIN_LINE_MAX_BYTES; i++)
        putc('x', file);
    fputs("\n\n", file);
    fputc('\0', file);
    fputs("\nx", file);
    fclose(file);
    assert_true(verify(NULL, &summary).of[AUDIT_MALFORMED] >= 3);
    assert_int_equal(summary.lines, 0);
    struct found found;
    assert_int_equal(audit_verify("/nowhere", secret, NULL, on_line, &found, &summary), ERR_NOT_FOUND);
}

/* What only seems to end, for who reads strings, hides nothing behind it. */
static void line_with_a_nul_hides_no_other(void **state)
{
    (void)state;
    struct chain heads[6];
    char lines[6][512], path[64];
    struct audit_summary summary;
    make_lines(heads, lines);
    snprintf(path, sizeof path, "%s/t-worker-1-c.9.jsonl", kept);
    FILE *file = fopen(path, "w");
    fprintf(file, "%s\n", lines[0]);
    fwrite("x\0y\n", 1, 4, file);
    fprintf(file, "%s\n", lines[1]);
    fclose(file);
    struct found found = verify(&heads[1], &summary);
    assert_int_equal(found.of[AUDIT_MALFORMED], 1);
    assert_int_equal(found.of[AUDIT_HOLDS], 2);
    assert_int_equal(summary.findings, 1);
}

static void what_grows_is_followed_line_by_line_and_file_by_file(void **state)
{
    (void)state;
    struct chain heads[6];
    char lines[6][512], path[64];
    struct found found = {{0}};
    make_lines(heads, lines);
    snprintf(path, sizeof path, "%s/t-worker-1-c.9.jsonl", kept);
    struct audit_follower *follower = audit_follow(kept, secret, on_line, &found);
    put_file(9, lines, "0");
    assert_int_equal(audit_follower_turn(follower), ERR_OK);
    assert_int_equal(found.of[AUDIT_HOLDS], 1);
    FILE *file = fopen(path, "a");
    fprintf(file, "%.100s", lines[1]);
    fflush(file);
    assert_int_equal(audit_follower_turn(follower), ERR_OK); /* half a line: not yet */
    assert_int_equal(found.of[AUDIT_HOLDS], 1);
    fprintf(file, "%s\n", lines[1] + 100);
    fclose(file);
    put_file(10, lines, "23");
    assert_int_equal(audit_follower_turn(follower), ERR_OK);
    assert_int_equal(audit_follower_turn(follower), ERR_OK); /* each once */
    assert_int_equal(found.of[AUDIT_HOLDS], 4);
    put_file(11, lines, "5");
    assert_int_equal(audit_follower_turn(follower), ERR_OK);
    assert_int_equal(found.of[AUDIT_ORDER], 1);
    assert_int_equal(found.of[AUDIT_MALFORMED], 0);
    audit_follower_free(follower);
    assert_int_equal(unlink(path), 0);
}

static void heads_are_read(void **state)
{
    (void)state;
    struct chain head;
    char text[128];
    snprintf(text, sizeof text, "0123456789abcdef:7:%s", chain_no_mac);
    assert_true(audit_head_parse(text, &head));
    assert_int_equal(head.seq, 7);
    assert_string_equal(head.id, "0123456789abcdef");
    assert_string_equal(head.mac, chain_no_mac);
    for (size_t len = strlen(text); len-- > 0;) {
        text[len] = '\0';
        assert_false(audit_head_parse(text, &head));
    }
    snprintf(text, sizeof text, "0123456789abcdef:7:%s0", chain_no_mac);
    assert_false(audit_head_parse(text, &head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read_back),
        cmocka_unit_test(changed_anywhere_it_is_noticed),
        cmocka_unit_test(line_that_is_too_long_is_not_written),
        cmocka_unit_test(files_are_closed_at_their_size_and_the_chain_goes_on),
        cmocka_unit_test(what_could_not_be_written_is_told_by_the_next_line),
        cmocka_unit_test(what_was_taken_out_moved_or_changed_is_found),
        cmocka_unit_test(lines_of_any_length_are_survived),
        cmocka_unit_test(line_with_a_nul_hides_no_other),
        cmocka_unit_test(what_grows_is_followed_line_by_line_and_file_by_file),
        cmocka_unit_test(heads_are_read),
    };
    return cmocka_run_group_tests_name("audit", tests, set_up, tear_down);
}

/* audit show, audit follow, audit verify: the files of <data>/audit, with the cluster secret beside them; no broker is asked. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "audit/verify.h"
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"

#define FOLLOW_EACH_MS 250
#define SECOND_LEN     19 /* of "2026-11-24T10:50:00": in UTC, as all are, the earlier one sorts first */

static void print_bytes(struct bytes text)
{
    fwrite(text.p, 1, text.len, stdout);
    putchar('\n');
}

static void print_finding(const struct audit_line *line)
{
    char place[512];
    if (line->finding == AUDIT_HOLDS)
        return;
    snprintf(place, sizeof place, line->file[0] ? "%s:%lu" : "--head", line->file, line->line);
    say_error(place, audit_finding_text(line->finding));
}

static void on_shown(const struct audit_line *line, void *arg)
{
    (void)arg;
    print_finding(line);
    if (line->entry.len)
        print_bytes(line->entry);
}

static void on_verified(const struct audit_line *line, void *arg)
{
    (void)arg;
    print_finding(line);
}

static enum exit_status load_secret(const char *path, struct secret **ret)
{
    enum err e = secret_load(path, ret);
    if (e == ERR_OK)
        return EXIT_STATUS_OK;
    say_file_error("cannot read the cluster secret", path, e);
    return EXIT_STATUS_ERROR;
}

static enum exit_status read_directory(const char *directory, const char *secret_path,
                                       const struct chain *head, audit_line_fn fn, struct audit_summary *ret)
{
    struct secret *secret;
    enum exit_status status = load_secret(secret_path, &secret);
    if (status != EXIT_STATUS_OK)
        return status;
    enum err e = audit_verify(directory, secret, head, fn, NULL, ret);
    secret_free(secret);
    if (e != ERR_OK) {
        say_file_error("cannot read the audit", directory, e);
        return EXIT_STATUS_ERROR;
    }
    return ret->findings ? EXIT_STATUS_UNVERIFIED : EXIT_STATUS_OK;
}

static enum exit_status read_audit(const struct args *args, const struct chain *head, audit_line_fn fn,
                                   struct audit_summary *ret)
{
    char *directory = session_path(args, "audit"), *secret = session_path(args, "cluster.secret");
    enum exit_status status = directory && secret ? read_directory(directory, secret, head, fn, ret)
                                                  : say_failure("the audit", ERR_NOMEM);
    free(directory);
    free(secret);
    return status;
}

enum exit_status command_audit_show(const struct args *args)
{
    struct audit_summary summary;
    return read_audit(args, NULL, on_shown, &summary);
}

/* ---- follow ---- */

struct following {
    char since[SECOND_LEN + 1];
    bool json;
};

static const char *text_of(const json_t *entry, const char *name)
{
    const char *text = json_string_value(json_object_get(entry, name));
    return text ? text : "";
}

/* "<time> <kind> <organisation>/<user> key=value ...": who reads the times sees the kinds below one another. */
static void print_entry(const json_t *entry)
{
    static const char *const names[] = {"portal", "challengeId", "enrolmentId", "deviceId", "by", "detail"};
    printf("%s  %-21s ", text_of(entry, "time"), text_of(entry, "kind"));
    say_text(stdout, text_of(entry, "organisation"));
    if (*text_of(entry, "user"))
        putchar('/');
    say_text(stdout, text_of(entry, "user"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = text_of(entry, names[i]);
        if (!*text)
            continue;
        printf(" %s=", names[i]);
        say_text(stdout, text);
    }
    putchar('\n');
}

static void on_followed(const struct audit_line *line, void *arg)
{
    const struct following *following = arg;
    print_finding(line);
    json_t *entry = json_loadb((const char *)line->entry.p, line->entry.len, 0, NULL);
    if (entry && strncmp(text_of(entry, "time"), following->since, SECOND_LEN) >= 0) {
        if (following->json)
            print_bytes(line->entry);
        else
            print_entry(entry);
    }
    json_decref(entry);
}

/* An audit that is not there yet is one that nothing has happened in. Ends when nobody reads any more. */
static enum exit_status follow_directory(const char *directory, const struct secret *secret,
                                         struct following *following)
{
    struct audit_follower *follower = audit_follow(directory, secret, on_followed, following);
    enum err e;
    do {
        usleep(FOLLOW_EACH_MS * 1000);
        e = audit_follower_turn(follower);
    } while ((e == ERR_OK || e == ERR_NOT_FOUND) && fflush(stdout) == 0);
    audit_follower_free(follower);
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        say_file_error("cannot read the audit", directory, e);
    return EXIT_STATUS_ERROR;
}

static bool take_since(const char *text, struct following *ret)
{
    struct tm utc = {0};
    time_t now_s = (time_t)(clock_unix_ms() / 1000);
    const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &utc) : NULL;
    if (text && (!end || strcmp(end, "Z") != 0))
        return false;
    return (text || gmtime_r(&now_s, &utc)) &&
           strftime(ret->since, sizeof ret->since, "%Y-%m-%dT%H:%M:%S", &utc) == SECOND_LEN;
}

enum exit_status command_audit_follow(const struct args *args)
{
    struct following following = {.json = args_given(args, OPTION_JSON)};
    if (!take_since(args->texts[OPTION_SINCE], &following)) {
        say_error("--since", "must be a time in UTC, as 2026-11-24T10:50:00Z");
        return EXIT_STATUS_USAGE;
    }
    struct secret *secret = NULL;
    char *directory = session_path(args, "audit"), *path = session_path(args, "cluster.secret");
    enum exit_status status =
        directory && path ? load_secret(path, &secret) : say_failure("the audit", ERR_NOMEM);
    if (status == EXIT_STATUS_OK)
        status = follow_directory(directory, secret, &following);
    secret_free(secret);
    free(directory);
    free(path);
    return status;
}

/* ---- verify ---- */

static void print_summary(const struct audit_summary *summary, bool against_head)
{
    printf("%zu chains, %zu lines, %zu findings; %llu entries that could not be written\n", summary->chains,
           summary->lines, summary->findings, (unsigned long long)summary->lost);
    if (summary->findings)
        return;
    printf(
        "Nobody without the cluster secret changed, reordered or took out a line%s\n",
        against_head
            ? ", and that head's\nchain is whole up to it. Of other chains their last lines may be missing, "
              "and other chains may be missing whole."
            : ", but for last lines of\nchains and whole chains: those only --head proves. "
              "Against who has the secret it proves nothing.");
}

enum exit_status command_audit_verify(const struct args *args)
{
    struct audit_summary summary;
    struct chain head;
    bool against_head = args_given(args, OPTION_HEAD);
    if (against_head && !audit_head_parse(args->texts[OPTION_HEAD], &head)) {
        say_error("--head", "must be CHAIN:SEQ:MAC, as the log's audit-head lines have them");
        return EXIT_STATUS_USAGE;
    }
    enum exit_status status = read_audit(args, against_head ? &head : NULL, on_verified, &summary);
    if (status != EXIT_STATUS_ERROR)
        print_summary(&summary, against_head);
    return status;
}

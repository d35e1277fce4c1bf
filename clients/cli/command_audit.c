/* audit show, audit verify: the files of <data>/audit, with the cluster secret beside them; no broker is asked. */
#include <stdio.h>
#include <stdlib.h>

#include "audit/verify.h"
#include "cli/commands.h"
#include "cli/say.h"
#include "cli/session.h"

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

static enum exit_status read_directory(const char *directory, const char *secret_path,
                                       const struct chain *head, audit_line_fn fn, struct audit_summary *ret)
{
    struct secret *secret;
    enum err e = secret_load(secret_path, &secret);
    if (e != ERR_OK) {
        say_file_error("cannot read the cluster secret", secret_path, e);
        return EXIT_STATUS_ERROR;
    }
    e = audit_verify(directory, secret, head, fn, NULL, ret);
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

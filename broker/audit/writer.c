#include "audit/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "core/log.h"
#include "core/metrics.h"

#define WRITEBACK_MS 1000
#define HEAD_MS      60000
#define PATH_SIZE    4096

struct audit {
    const struct secret *secret;
    struct chain chain;
    char *directory, *stem; /* "<time>-<process>-<chain>" */
    size_t file_max;
    int fd; /* -1: none */
    unsigned file_number;
    size_t file_len;
    uint64_t lost;          /* entries since the last line */
    uint64_t published_seq; /* of the head that the log has */
    struct timer writeback, head;
};

static void set_failing(struct audit *audit, const char *what)
{
    if (audit->lost++ == 0) {
        METRIC_SET(AUDIT_FAILING, 1);
        metrics_set_audit_failing(clock_unix_ms());
        LOG(ERROR, AUDIT, "audit-failing", "what=%s error=%s", what, LOG_STR(strerror(errno)));
    }
    METRIC_ADD(AUDIT_LOST, 1);
}

static void publish_head(struct audit *audit)
{
    if (audit->published_seq == audit->chain.seq)
        return;
    LOG(INFO, AUDIT, "audit-head", "chain=%s seq=%llu mac=%s", audit->chain.id,
        (unsigned long long)audit->chain.seq, audit->chain.mac);
    audit->published_seq = audit->chain.seq;
}

static void on_head_due(void *arg)
{
    publish_head(arg);
}

/* Begins to write to the disk what is not there yet; does not wait. */
static void on_writeback_due(void *arg)
{
    struct audit *audit = arg;
    if (audit->fd >= 0 && sync_file_range(audit->fd, 0, 0, SYNC_FILE_RANGE_WRITE) != 0)
        LOG(WARN, AUDIT, "audit-writeback", "error=%s", LOG_STR(strerror(errno)));
}

static void close_file(struct audit *audit)
{
    if (audit->fd < 0)
        return;
    if (fdatasync(audit->fd) != 0)
        LOG(ERROR, AUDIT, "audit-not-on-disk", "error=%s", LOG_STR(strerror(errno)));
    close(audit->fd);
    audit->fd = -1;
}

static bool open_file(struct audit *audit)
{
    char path[PATH_SIZE];
    if (audit->fd >= 0 && audit->file_len < audit->file_max)
        return true;
    close_file(audit);
    if (mkdir(audit->directory, 0700) != 0 && errno != EEXIST)
        return false;
    int len = snprintf(path, sizeof path, "%s/%s.%04u.jsonl", audit->directory, audit->stem,
                       audit->file_number + 1);
    if (len < 0 || (size_t)len >= sizeof path) {
        errno = ENAMETOOLONG;
        return false;
    }
    audit->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (audit->fd < 0)
        return false;
    audit->file_number++;
    audit->file_len = 0;
    return true;
}

/* All of it, or nothing: half a line would look like somebody's doing. */
static bool write_line(struct audit *audit, struct bytes line)
{
    ssize_t written = write(audit->fd, line.p, line.len);
    if (written == (ssize_t)line.len) {
        audit->file_len += line.len;
        return true;
    }
    int why = written < 0 ? errno : ENOSPC;
    if (written > 0 && ftruncate(audit->fd, (off_t)audit->file_len) != 0)
        LOG(ERROR, AUDIT, "audit-half-a-line", "error=%s", LOG_STR(strerror(errno)));
    errno = why;
    return false;
}

void audit_append(struct audit *audit, struct bytes entry)
{
    struct buf line = {0};
    struct chain next;
    if (!open_file(audit)) {
        set_failing(audit, "open");
    } else if (chain_append(&audit->chain, audit->secret, entry, audit->lost, &line, &next) != ERR_OK) {
        errno = 0;
        set_failing(audit, "seal");
    } else if (!write_line(audit, buf_view(&line))) {
        set_failing(audit, "write");
    } else {
        if (audit->lost) {
            METRIC_SET(AUDIT_FAILING, 0);
            metrics_set_audit_failing(0);
            LOG(WARN, AUDIT, "audit-works-again", "lost=%llu", (unsigned long long)audit->lost);
        }
        audit->chain = next;
        audit->lost = 0;
        if (!timer_armed(&audit->writeback))
            timer_start(&audit->writeback, WRITEBACK_MS);
        if (!timer_armed(&audit->head))
            timer_start(&audit->head, HEAD_MS);
    }
    buf_done(&line);
}

enum err audit_open(struct loop *loop, const struct secret *secret, const struct audit_options *options,
                    struct audit **ret)
{
    struct chain chain;
    char stem[128], at[32] = "";
    time_t now_s = (time_t)(clock_unix_ms() / 1000);
    struct tm utc;
    TRY(chain_begin(&chain));
    if (gmtime_r(&now_s, &utc))
        strftime(at, sizeof at, "%Y%m%dT%H%M%SZ", &utc);
    snprintf(stem, sizeof stem, "%s-%s-%s", at, options->process, chain.id);
    struct audit *audit = mem_new(sizeof *audit);
    audit->secret = secret;
    audit->chain = chain;
    audit->directory = mem_copy_string(options->directory);
    audit->stem = mem_copy_string(stem);
    audit->file_max = options->file_bytes;
    audit->fd = -1;
    timer_init(&audit->writeback, loop, on_writeback_due, audit);
    timer_init(&audit->head, loop, on_head_due, audit);
    *ret = audit;
    return ERR_OK;
}

void audit_close(struct audit *audit)
{
    if (!audit)
        return;
    timer_cancel(&audit->writeback);
    timer_cancel(&audit->head);
    publish_head(audit);
    close_file(audit);
    free(audit->directory);
    free(audit->stem);
    free(audit);
}

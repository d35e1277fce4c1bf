#include "audit/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"

/* A chain as far as it was read. */
struct seen {
    struct list node;
    struct chain chain;
};

/* A file as far as it was read. */
struct place {
    struct list node;
    char *name;
    off_t offset;
    unsigned long line; /* lines before that */
};

struct reading {
    const struct secret *secret;
    const struct chain *head;
    bool head_found;
    audit_line_fn fn;
    void *arg;
    struct list chains; /* struct seen */
    struct list places; /* struct place */
    struct audit_summary summary;
    char line[CHAIN_LINE_MAX_BYTES];
};

struct audit_follower {
    struct reading reading;
    char *directory;
};

const char *audit_finding_text(enum audit_finding finding)
{
    static const char *const texts[] = {
#define AUDIT_FINDING(ident, text) text,
#include "audit/finding.def"
#undef AUDIT_FINDING
    };
    return texts[finding];
}

static void tell(struct reading *r, const struct audit_line *line)
{
    r->summary.findings += line->finding != AUDIT_HOLDS;
    r->fn(line, r->arg);
}

static struct seen *find_chain(struct reading *r, const char *id)
{
    LIST_EACH (node, &r->chains) {
        struct seen *seen = CONTAINER_OF(node, struct seen, node);
        if (strcmp(seen->chain.id, id) == 0)
            return seen;
    }
    struct seen *seen = mem_new(sizeof *seen);
    memcpy(seen->chain.id, id, sizeof seen->chain.id);
    memcpy(seen->chain.mac, chain_no_mac, sizeof seen->chain.mac);
    list_append(&r->chains, &seen->node);
    r->summary.chains++;
    return seen;
}

/* A sealed line: does it follow the one before, and is it the head's? After a break the chain goes on from here. */
static enum audit_finding place(struct reading *r, const struct chain *now, const char *prev)
{
    struct seen *seen = find_chain(r, now->id);
    bool follows = now->seq == seen->chain.seq + 1 && strcmp(prev, seen->chain.mac) == 0;
    seen->chain = *now;
    if (r->head && strcmp(r->head->id, now->id) == 0 && r->head->seq == now->seq) {
        r->head_found = true;
        if (strcmp(r->head->mac, now->mac) != 0)
            return AUDIT_HEAD_OTHER;
    }
    return follows ? AUDIT_HOLDS : AUDIT_ORDER;
}

static void read_line(struct reading *r, struct bytes text, struct audit_line *line)
{
    struct chain now;
    char prev[CHAIN_MAC_SIZE];
    uint64_t lost = 0;
    enum err e = chain_read(r->secret, text, &now, prev, &line->entry, &lost);
    if (e == ERR_OK) {
        r->summary.lines++;
        r->summary.lost += lost;
        line->finding = place(r, &now, prev);
    } else {
        line->entry = (struct bytes){0};
        line->finding = e == ERR_BAD_SIGNATURE ? AUDIT_SEAL : AUDIT_MALFORMED;
    }
    tell(r, line);
}

/*
 * Reads up to the next line feed; what is longer than a line may be is read all the same, and its length is too large.
 * A NUL is a byte as any other: text that only seems to end must not hide what follows. @return false at the end.
 */
static bool next_line(struct reading *r, FILE *file, size_t *len, bool *whole)
{
    int c = EOF;
    for (*len = 0; (c = getc(file)) != EOF && c != '\n'; (*len)++)
        if (*len < sizeof r->line)
            r->line[*len] = (char)c;
    *whole = c == '\n';
    return *len || *whole;
}

/* Goes on where it ended last time. Half a line at the end is being written, or was cut: with @p last that counts. */
static enum err read_lines(struct reading *r, FILE *file, struct place *place, bool last)
{
    struct audit_line line = {.file = place->name};
    size_t len;
    bool whole;
    if (fseeko(file, place->offset, SEEK_SET) != 0)
        return ERR_IO;
    while (next_line(r, file, &len, &whole) && (whole || last)) {
        place->offset += (off_t)len + whole;
        line.line = ++place->line;
        line.finding = AUDIT_MALFORMED;
        line.entry = (struct bytes){0};
        if (whole && len <= sizeof r->line)
            read_line(r, bytes_make(r->line, len), &line);
        else
            tell(r, &line);
    }
    return ferror(file) ? ERR_IO : ERR_OK;
}

static enum err err_of_errno(void)
{
    return errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_IO;
}

static struct place *find_place(struct reading *r, const char *name)
{
    LIST_EACH (node, &r->places) {
        struct place *place = CONTAINER_OF(node, struct place, node);
        if (strcmp(place->name, name) == 0)
            return place;
    }
    struct place *place = mem_new(sizeof *place);
    place->name = mem_copy_string(name);
    list_append(&r->places, &place->node);
    return place;
}

static enum err read_file(struct reading *r, int directory, const char *name, bool last)
{
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (!file)
        return err_of_errno();
    enum err e = read_lines(r, file, find_place(r, name), last);
    fclose(file);
    return e;
}

static int is_audit_file(const struct dirent *entry)
{
    static const char end[] = ".jsonl";
    size_t len = strlen(entry->d_name);
    return len > sizeof end - 1 && strcmp(entry->d_name + len - (sizeof end - 1), end) == 0;
}

static void forget(struct reading *r)
{
    while (!list_empty(&r->chains)) {
        struct seen *seen = CONTAINER_OF(r->chains.next, struct seen, node);
        list_remove(&seen->node);
        free(seen);
    }
    while (!list_empty(&r->places)) {
        struct place *place = CONTAINER_OF(r->places.next, struct place, node);
        list_remove(&place->node);
        free(place->name);
        free(place);
    }
}

/* versionsort() has .10. behind .9. */
static enum err read_directory(struct reading *r, const char *path, bool last)
{
    struct dirent **names;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return err_of_errno();
    int count = scandirat(directory, ".", &names, is_audit_file, versionsort);
    enum err e = count < 0 ? err_of_errno() : ERR_OK;
    for (int i = 0; i < count; i++) {
        if (e == ERR_OK)
            e = read_file(r, directory, names[i]->d_name, last);
        if (e == ERR_NOT_FOUND) /* somebody took it away meanwhile: an operator may */
            e = ERR_OK;
        free(names[i]);
    }
    if (count >= 0)
        free(names);
    close(directory);
    return e;
}

static void begin(struct reading *r, const struct secret *secret, audit_line_fn fn, void *arg)
{
    *r = (struct reading){.secret = secret, .fn = fn, .arg = arg};
    list_init(&r->chains);
    list_init(&r->places);
}

enum err audit_verify(const char *directory, const struct secret *secret, const struct chain *head,
                      audit_line_fn fn, void *arg, struct audit_summary *ret)
{
    struct reading *r = mem_new(sizeof *r);
    const struct audit_line missing = {.finding = AUDIT_HEAD_MISSING, .file = ""};
    begin(r, secret, fn, arg);
    r->head = head;
    enum err e = read_directory(r, directory, true);
    if (e == ERR_OK && head && !r->head_found)
        tell(r, &missing);
    if (e == ERR_OK)
        *ret = r->summary;
    forget(r);
    free(r);
    return e;
}

struct audit_follower *audit_follow(const char *directory, const struct secret *secret, audit_line_fn fn,
                                    void *arg)
{
    struct audit_follower *follower = mem_new(sizeof *follower);
    begin(&follower->reading, secret, fn, arg);
    follower->directory = mem_copy_string(directory);
    return follower;
}

enum err audit_follower_turn(struct audit_follower *follower)
{
    return read_directory(&follower->reading, follower->directory, false);
}

void audit_follower_free(struct audit_follower *follower)
{
    if (!follower)
        return;
    forget(&follower->reading);
    free(follower->directory);
    free(follower);
}

bool audit_head_parse(const char *text, struct chain *ret)
{
    unsigned long long seq;
    int end = 0;
    if (sscanf(text, "%16[0-9a-f]:%18llu:%64[0-9a-f]%n", ret->id, &seq, ret->mac, &end) != 3)
        return false;
    ret->seq = seq;
    return strlen(ret->id) == CHAIN_ID_SIZE - 1 && strlen(ret->mac) == CHAIN_MAC_SIZE - 1 && !text[end];
}

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

struct reading {
    const struct secret *secret;
    const struct chain *head;
    bool head_found;
    audit_line_fn fn;
    void *arg;
    struct list chains; /* struct seen */
    struct audit_summary summary;
    char line[CHAIN_LINE_MAX_BYTES + 2]; /* with line feed and NUL */
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

static void skip_line(FILE *file)
{
    int c;
    do
        c = getc(file);
    while (c != EOF && c != '\n');
}

static enum err read_lines(struct reading *r, FILE *file, const char *name)
{
    struct audit_line line = {.file = name};
    while (fgets(r->line, sizeof r->line, file)) {
        size_t len = strlen(r->line);
        line.line++;
        if (len && r->line[len - 1] == '\n') {
            read_line(r, bytes_make(r->line, len - 1), &line);
            continue;
        }
        skip_line(file);
        line.finding = AUDIT_MALFORMED;
        line.entry = (struct bytes){0};
        tell(r, &line);
    }
    return ferror(file) ? ERR_IO : ERR_OK;
}

static enum err err_of_errno(void)
{
    return errno == ENOENT ? ERR_NOT_FOUND : errno == EACCES ? ERR_DENIED : ERR_IO;
}

static enum err read_file(struct reading *r, int directory, const char *name)
{
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (!file)
        return err_of_errno();
    enum err e = read_lines(r, file, name);
    fclose(file);
    return e;
}

static int is_audit_file(const struct dirent *entry)
{
    static const char end[] = ".jsonl";
    size_t len = strlen(entry->d_name);
    return len > sizeof end - 1 && strcmp(entry->d_name + len - (sizeof end - 1), end) == 0;
}

static void forget_chains(struct reading *r)
{
    while (!list_empty(&r->chains)) {
        struct seen *seen = CONTAINER_OF(r->chains.next, struct seen, node);
        list_remove(&seen->node);
        free(seen);
    }
}

/* versionsort() has .10. behind .9. */
static enum err read_directory(struct reading *r, const char *path)
{
    struct dirent **names;
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return err_of_errno();
    int count = scandirat(directory, ".", &names, is_audit_file, versionsort);
    enum err e = count < 0 ? err_of_errno() : ERR_OK;
    for (int i = 0; i < count; i++) {
        if (e == ERR_OK)
            e = read_file(r, directory, names[i]->d_name);
        free(names[i]);
    }
    if (count >= 0)
        free(names);
    close(directory);
    return e;
}

enum err audit_verify(const char *directory, const struct secret *secret, const struct chain *head,
                      audit_line_fn fn, void *arg, struct audit_summary *ret)
{
    struct reading *r = mem_new(sizeof *r);
    const struct audit_line missing = {.finding = AUDIT_HEAD_MISSING, .file = ""};
    r->secret = secret;
    r->head = head;
    r->fn = fn;
    r->arg = arg;
    list_init(&r->chains);
    enum err e = read_directory(r, directory);
    if (e == ERR_OK && head && !r->head_found)
        tell(r, &missing);
    if (e == ERR_OK)
        *ret = r->summary;
    forget_chains(r);
    free(r);
    return e;
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

#include "proc/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/authority.h"
#include "crypto/secret.h"

#define NAMES_MAX 32

static enum err fail(struct buf *why, enum err e, const char *path, const char *text)
{
    return buf_printf(why, "%s: %s", path, text) == ERR_OK ? e : ERR_NOMEM;
}

/* Whoever can write here can plant a secret or a Redis of his own. */
static bool is_ours(int dir_fd, const char *name)
{
    struct stat st;
    int found = name ? fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) : fstat(dir_fd, &st);
    return found == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 022) == 0;
}

enum err datadir_open(const char *path, struct datadir *ret, struct buf *why)
{
    struct datadir dir = {.path = path, .fd = -1, .lock_fd = -1};
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return fail(why, errno == EACCES ? ERR_DENIED : ERR_IO, path,
                    errno == EACCES ? "cannot be made: permission denied; name another with --data"
                                    : strerror(errno));
    dir.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir.fd < 0)
        return fail(why, ERR_IO, path, strerror(errno));
    if (!is_ours(dir.fd, NULL)) {
        datadir_close(&dir);
        return fail(why, ERR_DENIED, path, "must belong to this user and be writable by nobody else");
    }
    dir.lock_fd = openat(dir.fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    enum err e = dir.lock_fd < 0 ? ERR_IO : datadir_lock(&dir);
    if (e == ERR_OK || e == ERR_EXISTS) {
        *ret = dir;
        return ERR_OK;
    }
    e = fail(why, e, path, strerror(errno));
    datadir_close(&dir);
    return e;
}

enum err datadir_lock(struct datadir *dir)
{
    dir->locked = flock(dir->lock_fd, LOCK_EX | LOCK_NB) == 0;
    return dir->locked ? ERR_OK : errno == EWOULDBLOCK ? ERR_EXISTS : ERR_IO;
}

void datadir_unlock(struct datadir *dir)
{
    flock(dir->lock_fd, LOCK_UN); /* also where a child that is about to exec has a copy of the descriptor */
    dir->locked = false;
}

void datadir_close(struct datadir *dir)
{
    if (dir->lock_fd >= 0)
        close(dir->lock_fd);
    if (dir->fd >= 0)
        close(dir->fd);
    dir->fd = dir->lock_fd = -1;
}

void datadir_file(const struct datadir *dir, const char *name, char out[DATADIR_PATH_SIZE])
{
    snprintf(out, DATADIR_PATH_SIZE, "%s/%s", dir->path, name);
}

void datadir_socket(const struct datadir *dir, const char *name, char out[ADDRESS_TEXT_SIZE])
{
    snprintf(out, ADDRESS_TEXT_SIZE, "unix:/proc/self/fd/%d/%s", dir->fd, name);
}

static enum err prepare_certificate(const struct datadir *dir, const char *const *names, size_t name_count)
{
    static const char *const loopback[] = {"localhost", "127.0.0.1", "::1"};
    const char *all[NAMES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < name_count && count < NAMES_MAX - 3; i++)
        all[count++] = names[i];
    for (size_t i = 0; i < 3; i++) {
        bool there = false;
        for (size_t k = 0; k < count; k++)
            there = there || strcmp(all[k], loopback[i]) == 0;
        if (!there)
            all[count++] = loopback[i];
    }
    TRY(authority_ensure(dir->path, "device"));
    return authority_ensure_leaf(dir->path, "device", "server", all, count);
}

enum err datadir_prepare(const struct datadir *dir, const char *const *names, size_t name_count,
                         struct buf *why)
{
    char path[DATADIR_PATH_SIZE];
    datadir_file(dir, "cluster.secret", path);
    enum err e = secret_create(path);
    if (e != ERR_OK && e != ERR_EXISTS)
        return fail(why, e, path, err_text(e));
    if (mkdirat(dir->fd, "redis", 0700) < 0 && errno != EEXIST)
        return fail(why, ERR_IO, dir->path, strerror(errno));
    if (!is_ours(dir->fd, "redis"))
        return fail(why, ERR_DENIED, dir->path,
                    "redis/ in it must belong to this user and be writable by nobody else");
    e = prepare_certificate(dir, names, name_count);
    if (e != ERR_OK)
        return fail(why, e, dir->path,
                    e == ERR_INVALID  ? "server_names: one is no DNS name and no address"
                    : e == ERR_DENIED ? "a key file can be read by others, or cannot be read"
                                      : err_text(e));
    return ERR_OK;
}

enum err datadir_write_ports(const struct datadir *dir, const char *device, const char *portal,
                             const char *stats)
{
    char text[4 * ADDRESS_TEXT_SIZE];
    int len = snprintf(text, sizeof text, "device=%s\nportal=%s\nstats=%s\n", device, portal, stats);
    int fd = openat(dir->fd, "ports.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return ERR_IO;
    bool written = write(fd, text, (size_t)len) == len;
    close(fd);
    return written && renameat(dir->fd, "ports.new", dir->fd, "ports") == 0 ? ERR_OK : ERR_IO;
}

void datadir_remove(const struct datadir *dir, const char *name)
{
    unlinkat(dir->fd, name, 0);
}

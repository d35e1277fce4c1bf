#include "crypto/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/digest.h"

#define SUFFIX_BYTES 8

static enum err errno_to_err(int code)
{
    switch (code) {
    case ENOENT:
    case ENOTDIR:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERR_DENIED;
    case EEXIST:
        return ERR_EXISTS;
    case ENAMETOOLONG:
        return ERR_TOO_BIG;
    default:
        return ERR_IO;
    }
}

static enum err check_file(int fd, enum keyfile_access access, size_t max)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return ERR_IO;
    if (!S_ISREG(st.st_mode))
        return ERR_INVALID;
    if (access == KEYFILE_PRIVATE && (st.st_mode & (S_IRWXG | S_IRWXO)))
        return ERR_DENIED;
    return (uintmax_t)st.st_size > max ? ERR_TOO_BIG : ERR_OK;
}

/* One byte more than the limit is asked for, to notice a file that grew since fstat(). */
static enum err read_all(int fd, size_t max, struct buf *ret)
{
    uint8_t *at = buf_reserve(ret, max + 1);
    if (!at)
        return ERR_NOMEM;
    while (buf_len(ret) <= max) {
        ssize_t got = read(fd, at + buf_len(ret), max + 1 - buf_len(ret));
        if (got == 0)
            return ERR_OK;
        if (got > 0)
            buf_commit(ret, (size_t)got);
        else if (errno != EINTR)
            return errno_to_err(errno);
    }
    return ERR_TOO_BIG;
}

enum err keyfile_read(const char *path, enum keyfile_access access, size_t max, struct buf *ret)
{
    struct buf contents = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold up the start */
    if (fd < 0)
        return errno_to_err(errno);
    enum err e = check_file(fd, access, max);
    if (e == ERR_OK)
        e = read_all(fd, max, &contents);
    close(fd);
    if (e == ERR_OK)
        *ret = contents;
    else
        buf_done(&contents);
    return e;
}

static enum err write_all(int fd, struct bytes contents)
{
    while (contents.len) {
        ssize_t written = write(fd, contents.p, contents.len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno_to_err(errno);
        contents = bytes_make(contents.p + written, contents.len - (size_t)written);
    }
    return fsync(fd) == 0 ? ERR_OK : ERR_IO;
}

static enum err write_temporary(const char *path, enum keyfile_access access, struct bytes contents)
{
    mode_t mode = access == KEYFILE_PRIVATE ? 0600 : 0644;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return errno_to_err(errno);
    enum err e = fchmod(fd, mode) == 0 ? write_all(fd, contents) : ERR_IO; /* whatever the umask says */
    if (close(fd) != 0 && e == ERR_OK)
        e = ERR_IO;
    if (e != ERR_OK)
        unlink(path);
    return e;
}

/* A new name is on disk only once its directory is. */
static enum err sync_directory(const char *path)
{
    char copy[PATH_MAX]; /* dirname() may write to its argument */
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno_to_err(errno);
    int synced = fsync(fd);
    close(fd);
    return synced == 0 ? ERR_OK : ERR_IO;
}

static enum err temporary_name(const char *path, char out[PATH_MAX])
{
    uint8_t suffix[SUFFIX_BYTES];
    char hex[HEX_SIZE(SUFFIX_BYTES)];
    TRY(random_bytes(suffix, sizeof suffix));
    hex_encode(bytes_make(suffix, sizeof suffix), hex);
    int len = snprintf(out, PATH_MAX, "%s.%s", path, hex);
    return len < 0 || len >= PATH_MAX ? ERR_TOO_BIG : ERR_OK;
}

enum err keyfile_replace(const char *path, enum keyfile_access access, struct bytes contents)
{
    char temporary[PATH_MAX];
    TRY(temporary_name(path, temporary));
    TRY(write_temporary(temporary, access, contents));
    if (rename(temporary, path) != 0) {
        enum err e = errno_to_err(errno);
        unlink(temporary);
        return e;
    }
    return sync_directory(path);
}

enum err keyfile_create(const char *path, enum keyfile_access access, struct bytes contents)
{
    char temporary[PATH_MAX];
    TRY(temporary_name(path, temporary));
    TRY(write_temporary(temporary, access, contents));
    /* link() fails where rename() would overwrite: of two processes that start at once, one wins. */
    enum err e = link(temporary, path) == 0 ? ERR_OK : errno_to_err(errno);
    unlink(temporary);
    TRY(e);
    return sync_directory(path);
}

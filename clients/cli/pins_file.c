#include "cli/pins_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file.h"

static void close_keeping_errno(int fd)
{
    int kept = errno;
    close(fd);
    errno = kept;
}

enum err pins_file_open(const char *path, struct pins_file *ret)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!*name)
        return ERR_INVALID;
    char *directory_path = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    char *name_copy = strdup(name);
    int fd = -1;
    enum err e = directory_path && name_copy ? ERR_OK : ERR_NOMEM;
    if (e == ERR_OK && (fd = open(directory_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        e = ERR_IO;
    /* The directory, not the file: the file is replaced by each save, and a lock would go with the old one.
     */
    while (e == ERR_OK && flock(fd, LOCK_EX) < 0)
        e = errno == EINTR ? ERR_OK : ERR_IO;
    free(directory_path);
    if (e != ERR_OK) {
        if (fd >= 0)
            close_keeping_errno(fd);
        free(name_copy);
        return e;
    }
    *ret = (struct pins_file){.directory = fd, .name = name_copy};
    return ERR_OK;
}

enum err pins_file_read(const struct pins_file *file, size_t max, struct buf *ret)
{
    struct buf content = {0};
    struct stat st;
    int fd = openat(file->directory, file->name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno == ENOENT) {
        *ret = content;
        return ERR_OK;
    }
    if (fd < 0)
        return ERR_IO;
    enum err e = fstat(fd, &st) < 0 ? ERR_IO : ERR_OK;
    if (e == ERR_OK && st.st_mode & (S_IRWXG | S_IRWXO))
        e = ERR_DENIED;
    if (e == ERR_OK)
        e = file_read_fd(fd, max, &content);
    close_keeping_errno(fd);
    if (e == ERR_OK)
        *ret = content;
    return e;
}

static enum err replace(const struct pins_file *file, const char *temporary, struct bytes content)
{
    if (unlinkat(file->directory, temporary, 0) < 0 && errno != ENOENT)
        return ERR_IO;
    int fd = openat(file->directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0)
        return ERR_IO;
    enum err e = file_write_fd(fd, content);
    close_keeping_errno(fd);
    if (e == ERR_OK && renameat(file->directory, temporary, file->directory, file->name) < 0)
        e = ERR_IO;
    if (e != ERR_OK) {
        int kept = errno;
        unlinkat(file->directory, temporary, 0);
        errno = kept;
        return e;
    }
    return fsync(file->directory) < 0 ? ERR_IO : ERR_OK;
}

enum err pins_file_replace(const struct pins_file *file, struct bytes content)
{
    char *temporary;
    if (asprintf(&temporary, ".%s.new", file->name) < 0)
        return ERR_NOMEM;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before); /* Ctrl-C shall leave no half-written file lying about */
    enum err e = replace(file, temporary, content);
    int kept = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = kept;
    free(temporary);
    return e;
}

void pins_file_close(struct pins_file *file)
{
    close(file->directory);
    free(file->name);
    *file = (struct pins_file){.directory = -1};
}

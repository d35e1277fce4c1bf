#include "cli/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK_BYTES 16384

enum err file_read_fd(int fd, size_t max, struct buf *ret)
{
    struct buf content = {0};
    enum err e = ERR_OK;
    ssize_t got = 1;
    while (e == ERR_OK && got != 0) {
        uint8_t *at = buf_reserve(&content, READ_CHUNK_BYTES);
        got = at ? read(fd, at, READ_CHUNK_BYTES) : 0;
        if (!at)
            e = ERR_NOMEM;
        else if (got < 0 && errno != EINTR)
            e = ERR_IO;
        else if (got > 0)
            buf_commit(&content, (size_t)got);
        if (buf_len(&content) > max)
            e = ERR_TOO_BIG;
    }
    if (e != ERR_OK) {
        buf_done(&content);
        return e;
    }
    *ret = content;
    return ERR_OK;
}

enum err file_read(const char *path, size_t max, bool *open_to_others, struct buf *ret)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return ERR_IO;
    enum err e = fstat(fd, &st) < 0 ? ERR_IO : file_read_fd(fd, max, ret);
    int kept = errno;
    close(fd);
    errno = kept;
    if (e == ERR_OK && open_to_others)
        *open_to_others = st.st_mode & (S_IRWXG | S_IRWXO);
    return e;
}

enum err file_read_line(const char *path, size_t max, bool *open_to_others, char **ret)
{
    struct buf content = {0};
    bool standard_input = strcmp(path, "-") == 0;
    TRY(standard_input ? file_read_fd(STDIN_FILENO, max, &content)
                       : file_read(path, max, open_to_others, &content));
    struct bytes text = buf_view(&content);
    size_t len = 0;
    while (len < text.len && text.p[len] != '\n' && text.p[len] != '\r' && text.p[len])
        len++;
    bool nul = len < text.len && !text.p[len];
    char *line = len && !nul ? strndup((const char *)text.p, len) : NULL;
    buf_done(&content);
    if (!line)
        return len && !nul ? ERR_NOMEM : ERR_MALFORMED;
    *ret = line;
    return ERR_OK;
}

void line_free(char *line)
{
    if (line)
        bytes_cleanse(line, strlen(line));
    free(line);
}

enum err file_write_fd(int fd, struct bytes content)
{
    while (content.len > 0) {
        ssize_t put = write(fd, content.p, content.len);
        if (put < 0 && errno != EINTR)
            return ERR_IO;
        if (put > 0)
            content = bytes_make(content.p + put, content.len - (size_t)put);
    }
    return fsync(fd) < 0 && errno != EINVAL ? ERR_IO : ERR_OK; /* EINVAL: a pipe or device, nothing to sync */
}

enum err file_create(const char *path, int *fd)
{
    int made = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, S_IRUSR | S_IWUSR);
    if (made < 0)
        return errno == EEXIST ? ERR_EXISTS : ERR_IO;
    *fd = made;
    return ERR_OK;
}

#include "proc/succession.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ADMIN "admin.sock"
#define NEXT  "admin.sock.new"

/* Who listens on admin.sock, by the kernel's word: a number in a file could be anybody's by now. */
static int find_master(const struct datadir *dir)
{
    char text[ADDRESS_TEXT_SIZE];
    struct address address;
    struct ucred peer = {0};
    socklen_t len = sizeof peer;
    int fd;
    datadir_socket(dir, ADMIN, text);
    if (address_parse(text, &address) != ERR_OK || address_connect(&address, &fd) != ERR_OK)
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        peer.pid = 0;
    close(fd);
    return peer.pid;
}

enum err succession_begin(struct succession *succession, const struct datadir *dir,
                          const struct activation *activation, struct buf *why)
{
    if (!activation_is_whole(activation))
        return buf_printf(why, "%s: another nanopushd runs on this data directory", dir->path) == ERR_OK
                   ? ERR_EXISTS
                   : ERR_NOMEM;
    succession->predecessor_pid = find_master(dir);
    if (succession->predecessor_pid > 0)
        return ERR_OK;
    return buf_printf(why, "%s: another nanopushd runs on this data directory, and does not listen on " ADMIN,
                      dir->path) == ERR_OK
               ? ERR_EXISTS
               : ERR_NOMEM;
}

const char *succession_admin_name(const struct succession *succession)
{
    return succession->predecessor_pid ? NEXT : ADMIN;
}

enum err succession_note_admin(struct succession *succession, const struct datadir *dir)
{
    struct stat st;
    if (fstatat(dir->fd, succession_admin_name(succession), &st, AT_SYMLINK_NOFOLLOW) < 0)
        return ERR_IO;
    succession->admin_dev = st.st_dev;
    succession->admin_ino = st.st_ino;
    return ERR_OK;
}

enum err succession_announce(struct succession *succession, const struct datadir *dir)
{
    succession->announced = true;
    if (renameat(dir->fd, NEXT, dir->fd, ADMIN) < 0)
        return ERR_IO;
    if (!dir->locked)
        kill(succession->predecessor_pid, SIGUSR1);
    return ERR_OK;
}

bool succession_displaced(const struct succession *succession, const struct datadir *dir)
{
    struct stat st;
    return fstatat(dir->fd, ADMIN, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode) &&
           (st.st_dev != succession->admin_dev || st.st_ino != succession->admin_ino);
}

enum err succession_start(struct succession *succession, const struct activation *sockets,
                          const char *program, char *const *argv)
{
    if (succession->successor_pid)
        return ERR_EXISTS;
    int pid = fork();
    if (pid == 0)
        activation_exec(sockets, program, argv);
    if (pid < 0)
        return ERR_IO;
    succession->successor_pid = pid;
    return ERR_OK;
}

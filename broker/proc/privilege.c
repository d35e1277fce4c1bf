#include "proc/privilege.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/log.h"

static enum err fail(struct buf *why, enum err e, const char *what, const char *text)
{
    return buf_printf(why, "user: %s: %s", what, text) == ERR_OK ? e : ERR_NOMEM;
}

/* Permitted and effective; nothing is inheritable. */
static int set_capabilities(uint32_t low)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct both[2] = {{.permitted = low, .effective = low}};
    return (int)syscall(SYS_capset, &header, both);
}

/* Only root can make it where it usually is, and it is to be the user's. One that exists is left as it is. */
static enum err make_data_dir(const char *path, const struct passwd *user, struct buf *why)
{
    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? ERR_OK : fail(why, ERR_IO, path, strerror(errno));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int failed = fd < 0 || fchown(fd, user->pw_uid, user->pw_gid) < 0;
    int number = errno;
    if (fd >= 0)
        close(fd);
    return failed ? fail(why, ERR_IO, path, strerror(number)) : ERR_OK;
}

enum err privilege_become(const char *user, const char *data_dir, struct buf *why)
{
    if (!user[0]) {
        if (geteuid() == 0)
            LOG(INFO, PROC, "runs-as-root", "advice=\"set the option user: it then becomes that user\"");
        return ERR_OK;
    }
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (!entry)
        return fail(why, errno ? ERR_IO : ERR_NOT_FOUND, user, errno ? strerror(errno) : "no such user");
    if (entry->pw_uid == geteuid())
        return ERR_OK;
    if (geteuid() != 0)
        return fail(why, ERR_DENIED, user,
                    "only who is started as root can become another user; start it as this one, or as root");
    TRY(make_data_dir(data_dir, entry, why));
    /* PR_SET_DUMPABLE: who changes users loses it, and with it /proc/self/fd. Dumps are forbidden by RLIMIT_CORE. */
    if (initgroups(user, entry->pw_gid) < 0 || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ||
        setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) < 0 ||
        setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid) < 0 ||
        set_capabilities(1U << CAP_NET_BIND_SERVICE | 1U << CAP_SETPCAP) < 0 ||
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
        return fail(why, ERR_IO, user, strerror(errno));
    LOG(INFO, PROC, "became-user", "user=%s uid=%u gid=%u", LOG_STR(user), entry->pw_uid, entry->pw_gid);
    return ERR_OK;
}

enum err privilege_drop(struct buf *why)
{
    /* Where we may not (not root, or a container's root without that capability), there is nothing to lose either. */
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (set_capabilities(0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return buf_printf(why, "capabilities cannot be given up: %s", strerror(errno)) == ERR_OK ? ERR_IO
                                                                                                 : ERR_NOMEM;
    return ERR_OK;
}

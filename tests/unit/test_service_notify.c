/** What the service manager is told, on a socket with a path and on an abstract one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proc/service_notify.h"

/* Listen on @p name, whose first character is '@' where it is abstract. */
static int listen_on(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, len), 0);
    return fd;
}

static void is_told(const char *name)
{
    char said[64] = "";
    int fd = listen_on(name);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    assert_int_equal(service_notify("READY=1"), ERR_OK);
    assert_int_equal(recv(fd, said, sizeof said - 1, 0), 7);
    assert_string_equal(said, "READY=1");
    close(fd);
}

static void manager_on_a_path_or_an_abstract_name_is_told(void **state)
{
    (void)state;
    char directory[] = "/tmp/nanopush-test-XXXXXX", name[64];
    assert_non_null(mkdtemp(directory));
    snprintf(name, sizeof name, "%s/notify", directory);
    is_told(name);
    assert_int_equal(service_notify("READY=1"), ERR_IO); /* nobody listens any more */
    unlink(name);
    rmdir(directory);
    snprintf(name, sizeof name, "@nanopush-test-%d", (int)getpid());
    is_told(name);
}

static void who_did_not_ask_is_told_nothing(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(service_notify("READY=1"), ERR_OK);
    setenv("NOTIFY_SOCKET", "", 1);
    assert_int_equal(service_notify("READY=1"), ERR_OK);
}

static void name_that_is_none_is_refused(void **state)
{
    (void)state;
    char longest[128];
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_int_equal(service_notify("READY=1"), ERR_INVALID);
    memset(longest, 'a', sizeof longest);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    setenv("NOTIFY_SOCKET", longest, 1);
    assert_int_equal(service_notify("READY=1"), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manager_on_a_path_or_an_abstract_name_is_told),
        cmocka_unit_test(who_did_not_ask_is_told_nothing),
        cmocka_unit_test(name_that_is_none_is_refused),
    };
    return cmocka_run_group_tests_name("service_notify", tests, NULL, NULL);
}
